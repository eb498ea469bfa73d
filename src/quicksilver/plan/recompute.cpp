// Recompute or store: a cheap value that crosses from one kernel to others is computed again where
// it is read, when that moves fewer bytes.
//
// Grouping (group.cpp) leaves values in memory where producer and reader share no loops: a bias
// that is scaled before it is added to a whole matrix, a mask that is read transposed, a difference
// that two unlike folds read. Here the producer is cloned into each reader as the reader sees it
// (its operands get the reader's view of the result), and what is left over is grouped again.
//
//   before   map [256]      t = b * 2             reads b, writes t
//            map [64, 256]  y = x + t             reads x and t, writes y
//   after    map [64, 256]  t' = b * 2; y = x + t'
//
// What is counted: bytes that the readers no longer read, the write, and all that the producer's
// kernel reads when nothing else needs it, against the operands that a reader did not read before.
// Arithmetic counts too, or a long chain would be repeated for every row to save one small buffer.
// The reader keeps its space: the order of its folds is that of the operand it was recorded with.
#include <algorithm>

#include "quicksilver/codegen/tile.h"
#include "quicksilver/plan/execute.h"
#include "quicksilver/plan/passes.h"
#include "quicksilver/plan/walk.h"

namespace qs::plan {
namespace {

using codegen::Axes;
using graph::Op;
using graph::Operand;
using graph::Result;

constexpr int k_deepest = 4;               // clones behind one another
constexpr int32_t k_near = 12;             // groups, as in group.cpp
constexpr double k_work_per_byte = 1.5;    // additions that cost as much as moving a byte
constexpr double k_work_per_launch = 3e4;  // … as a launch
constexpr double k_work_strided = 10;      // … as an element that lies apart from its neighbours

/// Of the innermost dimension that moves at all.
int64_t inner_stride(const Layout& l) {
  for (int d = l.rank(); d-- > 0;)
    if (l.shape[d] > 1) return std::abs(l.strides[d]);
  return 0;
}

int64_t bytes_read(const Operand& o) {
  int64_t n = static_cast<int64_t>(size_of(o.dtype));
  for (int d = 0; d < o.layout.rank(); ++d)
    if (o.layout.strides[d] != 0) n *= o.layout.shape[d];
  return n;
}

/// Whether a view runs through a dense row along dimension D and repeats it along all others.
template <int D>
bool runs_along(const Layout& view) {
  if (D >= view.rank() || view.offset != 0) return false;
  for (int d = 0; d < view.rank(); ++d)
    if (view.shape[d] != 1 && view.strides[d] != (d == D)) return false;
  return view.shape[D] != 1;
}
constexpr bool (*k_runs_along[])(const Layout&) = {runs_along<0>, runs_along<1>, runs_along<2>,
                                                   runs_along<3>, runs_along<4>, runs_along<5>};

double work_of(const Node& n) {
  codegen::GroupNode g;
  g.node = &n;
  g.space = &n.space;
  const codegen::LoopNest nest = codegen::build_nest({&g, 1}, codegen::axes_of(n.space));
  double work = 0;
  for (const codegen::Expr& e : nest.exprs)
    if (e.kind == codegen::Expr::op && e.domain != codegen::TileDomain::uniform)
      work += codegen::cost_of(e.prim);
  return work;
}

class Recomputer {
 public:
  explicit Recomputer(Ir& ir) : ir_(ir) {}

  int run() {
    if (!has_candidate()) return 0;
    int changes = 0;
    for (int round = 0; round < 3; ++round) {
      look_around();
      int here = 0;
      const std::vector<NodeId> sequence = ir_.sequence;
      for (NodeId id : sequence)
        if (!ir_.nodes[static_cast<size_t>(id)].dead) here += consider(id);
      if (!here) break;
      changes += here;
      place_clones();
      drop_dead(ir_);
      ir_.groups.clear();
      group_nodes(ir_);
    }
    return changes;
  }

 private:
  struct Clones {
    std::vector<Node> nodes;            // behind what they read
    std::vector<ValueId> of;            // the value each stands for
    std::vector<Layout> seen;           // … and the view of it
    std::vector<graph::Origin> origin;  // of that view
    double work = 0;
    int64_t bytes = 0;  // read that the reader's group did not read before
    int64_t held = 0;   // of storages that have to live longer
  };

  Node& node(NodeId id) { return ir_.nodes[static_cast<size_t>(id)]; }
  int32_t group_of(NodeId id) const { return group_[static_cast<size_t>(id)]; }

  /// Whether the value of node `id` may be computed elsewhere.
  bool repeatable(const Node& n) const {
    const graph::OpInfo& row = graph::info(n.op);
    if (!n.tile || row.kind != graph::OpKind::map || row.can_fail || n.results.size() != 1 ||
        n.space.folds || (knows_its_place(n.op) && n.op != Op::arange))
      return false;
    const Result& r = n.results[0];
    if (n.op == Op::arange && r.layout.rank() != 1) return false;
    const ValueInfo& v = ir_.values[r.value_id];
    return r.target < 0 && v.base == r.value_id && v.successor == r.value_id && !v.external &&
           r.layout.numel() > 0;
  }

  bool has_candidate() {
    look_around();
    for (NodeId id : ir_.sequence)
      if (repeatable(node(id)) && crosses(node(id).results[0].value_id)) return true;
    return false;
  }
  /// Read by another group, and by nothing but tile groups.
  bool crosses(ValueId v) const {
    if (ir_.values[v].live || readers_[v].empty()) return false;
    bool other = false;
    for (NodeId r : readers_[v]) {
      if (!ir_.nodes[static_cast<size_t>(r)].tile) return false;
      other |= group_of(r) != group_of(ir_.values[v].node);
    }
    return other;
  }

  void look_around() {
    group_.assign(ir_.nodes.size(), -1);
    position_.assign(ir_.nodes.size(), -1);
    for (size_t g = 0; g < ir_.groups.size(); ++g)
      for (NodeId id : ir_.groups[g].nodes)
        group_[static_cast<size_t>(id)] = static_cast<int32_t>(g);
    readers_ = readers_of(ir_);
    replaced_.assign(ir_.values.size(), INT32_MAX);
    last_read_.assign(ir_.values.size(), -1);
    for (size_t p = 0; p < ir_.sequence.size(); ++p) {
      const Node& n = node(ir_.sequence[p]);
      position_[static_cast<size_t>(ir_.sequence[p])] = static_cast<int32_t>(p);
      for (const Result& r : n.results)
        if (r.target >= 0) replaced_[ir_.values[r.value_id].base] = static_cast<int32_t>(p);
      for (size_t i = 0; i < n.operands.size(); ++i)
        if (reads(n, i)) last_read_[ir_.root(n.operands[i].value_id)] = static_cast<int32_t>(p);
    }
    stored_.assign(ir_.values.size(), 0);
    for (size_t v = 0; v < ir_.values.size(); ++v) {
      const ValueInfo& value = ir_.values[v];
      stored_[v] = value.external || value.live || value.base != v || value.node < 0;
      for (NodeId r : readers_[v])
        stored_[v] |= value.node >= 0 && group_of(r) != group_of(value.node);
    }
    before_.assign(ir_.nodes.size(), {});
  }

  /// Whether `v` comes into a kernel over these loops anyway: into `g` itself, or into a group
  /// near it that has the same loops and will be merged with it once both read the same.
  bool comes_in(int32_t g, ValueId v) {
    const Group& own = ir_.groups[static_cast<size_t>(g)];
    const auto n = static_cast<int32_t>(ir_.groups.size());
    for (int32_t k = std::max(0, g - k_near); k < std::min(n, g + k_near + 1); ++k) {
      const Group& near = ir_.groups[static_cast<size_t>(k)];
      if (k != g && (near.kind != Group::tile || near.axes.extents != own.axes.extents ||
                     near.axes.reduced != own.axes.reduced || near.axes.mode != own.axes.mode))
        continue;
      if (group_reads(k, v)) return true;
    }
    return false;
  }
  bool group_reads(int32_t g, ValueId v) {
    for (NodeId id : ir_.groups[static_cast<size_t>(g)].nodes) {
      const Node& n = node(id);
      for (size_t i = 0; i < n.operands.size(); ++i)
        if (reads(n, i) && n.operands[i].value_id == v) return true;
    }
    return false;
  }

  /// The nodes that compute view `seen` of what `o` reads just before `reader`; false when they
  /// cannot, as where the view takes the bytes for another dtype.
  bool clone(const Operand& o, const Layout& seen, graph::Origin origin, NodeId reader, int depth,
             Clones& out) {
    const ValueId v = o.value_id;
    const Node& maker = node(ir_.values[v].node);
    if (depth > k_deepest || o.dtype != maker.results[0].dtype || !repeatable(maker)) return false;
    Walk walk;
    if (!find_walk(maker.results[0].layout, seen, walk)) return false;
    Node copy = maker;
    if (maker.op == Op::arange && !count_along(seen, origin, copy)) return false;
    for (size_t i = 0; i < copy.operands.size(); ++i) {
      Operand& o = copy.operands[i];
      if (o.kind == Operand::value) {
        const Result& made = maker.results[0];
        o.layout = look_through(o.layout, made.layout.shape, walk, seen.shape);
        o.origin = ir_.derive({Derived::through, o.origin, made.origin, origin});
      }
      if (!reads(maker, i)) continue;
      const ValueId u = maker.operands[i].value_id;
      if (u < replaced_.size() && replaced_[u] <= position_[static_cast<size_t>(reader)])
        return false;
      if (u >= stored_.size()) return false;  // a clone of this round: the next one looks again
      if (inner_stride(copy.operands[i].layout) > 1 && inner_stride(seen) <= 1)
        out.work += k_work_strided * static_cast<double>(seen.numel());
      if (stored_[u]) {
        if (!comes_in(group_of(reader), u)) out.bytes += bytes_read(copy.operands[i]);
        const ValueInfo& root = ir_.values[ir_.root(u)];
        if (!root.external && last_read_[ir_.root(u)] < position_[static_cast<size_t>(reader)])
          out.held += root.bytes;
        continue;
      }
      const Operand& inner = copy.operands[i];
      if (!clone(inner, inner.layout, inner.origin, reader, depth + 1, out)) return false;
    }
    Layout dense = Layout::contiguous(seen.shape);
    copy.results[0].layout = dense;
    copy.results[0].origin = origin.made_dense();
    copy.space = codegen::space_of(copy);
    copy.clone = true;
    const bool single = maker.results[0].layout.numel() == 1;
    out.work += single ? 0 : work_of(copy) * static_cast<double>(dense.numel());
    out.nodes.push_back(std::move(copy));
    out.of.push_back(v);
    out.seen.push_back(seen);
    out.origin.push_back(origin);
    return true;
  }

  /// An arange where it is read: along one dimension of its reader.
  bool count_along(const Layout& seen, graph::Origin origin, Node& copy) {
    for (size_t d = 0; d < std::size(k_runs_along); ++d) {
      if (!k_runs_along[d](seen)) continue;
      ir_.choices.push_back({k_runs_along[d], origin, true});
      copy.op = Op::arange_along;
      copy.attrs = {d};
      return true;
    }
    return false;
  }

  /// Operand `i` over all the loops of its reader, so that the clone can share them; one that has a
  /// value for each row of folds is left so.
  Layout seen_by(const Node& n, size_t i, graph::Origin& origin) {
    const Operand& o = n.operands[i];
    const Axes& axes = ir_.groups[static_cast<size_t>(group_of(id_of(n)))].axes;
    origin = o.origin;
    const bool lacks = n.space.has_axes && (graph::info(n.op).kept_inputs >> i & 1);
    if (lacks || (axes.folds() && o.layout.numel() == axes.kept_numel())) return o.layout;
    if (o.layout.shape == n.space.shape) return o.layout;
    origin = {};
    for (const Result& r : n.results)
      if (r.layout.shape == n.space.shape) origin = r.origin;
    for (const Operand& other : n.operands)
      if (other.kind == Operand::value && other.layout.shape == n.space.shape)
        origin = other.origin;
    origin = ir_.derive({Derived::broadcast, o.origin, origin});
    return broadcast_to(o.layout, n.space.shape);
  }
  NodeId id_of(const Node& n) const { return static_cast<NodeId>(&n - ir_.nodes.data()); }

  int consider(NodeId id) {
    const Node& maker = node(id);
    if (!repeatable(maker)) return 0;
    const ValueId v = maker.results[0].value_id;
    if (!crosses(v)) return 0;
    const int32_t home = group_of(id);
    struct Use {
      NodeId reader;
      size_t operand;
      Clones clones;
    };
    std::vector<Use> uses;
    double saved = static_cast<double>(ir_.values[v].bytes), extra = 0, work = 0;
    int64_t held = 0;
    for (NodeId reader : readers_[v]) {
      const Node& n = node(reader);
      if (group_of(reader) == home) continue;
      for (size_t i = 0; i < n.operands.size(); ++i) {
        if (!reads(n, i) || n.operands[i].value_id != v) continue;
        for (const Result& r : n.results)
          if (r.target == static_cast<int32_t>(i)) return 0;
        if (before_[static_cast<size_t>(reader)].size() > 16) return 0;
        uses.push_back({reader, i, {}});
        graph::Origin origin;
        const Layout seen = seen_by(n, i, origin);
        if (!clone(n.operands[i], seen, origin, reader, 0, uses.back().clones)) return 0;
        saved += static_cast<double>(bytes_read(n.operands[i]));
        extra += static_cast<double>(uses.back().clones.bytes);
        work += uses.back().clones.work;
        held = std::max(held, uses.back().clones.held);
      }
    }
    if (held > ir_.values[v].bytes) return 0;
    double launches = 0;
    if (nothing_else(home, v)) {  // its kernel goes, with all that it reads
      launches = k_work_per_launch;
      saved += static_cast<double>(reads_of(home));
    }
    if (saved <= extra || work > (saved - extra) * k_work_per_byte + launches) return 0;
    for (Use& u : uses) take(u.reader, u.operand, std::move(u.clones));
    return static_cast<int>(uses.size());
  }

  /// Whether `v` is all that group `g` is there for.
  bool nothing_else(int32_t g, ValueId v) {
    for (NodeId id : ir_.groups[static_cast<size_t>(g)].nodes)
      for (const Result& r : node(id).results)
        if (r.value_id != v && (stored_[r.value_id] || readers_[r.value_id].empty())) return false;
    for (NodeId r : readers_[v])
      if (group_of(r) == g) return false;
    return true;
  }
  int64_t reads_of(int32_t g) {
    int64_t bytes = 0;
    std::vector<ValueId> seen;
    for (NodeId id : ir_.groups[static_cast<size_t>(g)].nodes) {
      const Node& n = node(id);
      for (size_t i = 0; i < n.operands.size(); ++i) {
        const ValueId u = n.operands[i].value_id;
        if (!reads(n, i) || !stored_[u] || std::find(seen.begin(), seen.end(), u) != seen.end())
          continue;
        seen.push_back(u);
        bytes += bytes_read(n.operands[i]);
      }
    }
    return bytes;
  }

  /// Adds the clones before `reader` and lets its operand read the last of them.
  void take(NodeId reader, size_t operand, Clones clones) {
    std::vector<ValueId> fresh;
    for (size_t k = 0; k < clones.nodes.size(); ++k) {
      const auto made = static_cast<NodeId>(ir_.nodes.size());
      Node& n = clones.nodes[k];
      const Result& r = n.results[0];
      const ValueId value =
          ir_.add_value(made, 0, r.layout.numel() * static_cast<int64_t>(size_of(r.dtype)));
      n.results[0].value_id = value;
      for (size_t i = 0; i < n.operands.size(); ++i) {
        Operand& o = n.operands[i];
        for (size_t m = 0; reads(n, i) && m < k; ++m)
          if (clones.of[m] == o.value_id && clones.seen[m] == o.layout) {
            o.value_id = fresh[m];
            ir_.same_layouts.push_back({clones.origin[m], o.origin, false});
            o.layout = Layout::contiguous(o.layout.shape);
            o.origin = o.origin.made_dense();
            break;
          }
      }
      fresh.push_back(value);
      ir_.nodes.push_back(std::move(n));
      before_[static_cast<size_t>(reader)].push_back(made);
    }
    Operand& o = node(reader).operands[operand];
    o.value_id = fresh.back();
    o.layout = Layout::contiguous(clones.seen.back().shape);
    if (o.recorded.at < 0) o.recorded = o.origin;
    o.origin = clones.origin.back().made_dense();
  }

  void place_clones() {
    std::vector<NodeId> sequence;
    for (NodeId id : ir_.sequence) {
      const auto& list = before_[static_cast<size_t>(id)];
      sequence.insert(sequence.end(), list.begin(), list.end());
      sequence.push_back(id);
    }
    ir_.sequence = std::move(sequence);
  }

  Ir& ir_;
  std::vector<int32_t> group_, position_;     // by node
  std::vector<std::vector<NodeId>> readers_;  // by value
  std::vector<int32_t> replaced_;             // by value: where it is overwritten
  std::vector<int32_t> last_read_;            // by root
  std::vector<uint8_t> stored_;               // by value: it is in memory
  std::vector<std::vector<NodeId>> before_;   // by node: clones that go before it
};

}  // namespace

bool knows_its_place(Op op) {
  return op == Op::arange || op == Op::arange_along || op == Op::linspace || op == Op::eye ||
         op == Op::tril || op == Op::triu;
}

bool see_through(const Layout& operand, const Layout& made, const Layout& view, Layout& out) {
  Walk walk;
  if (!find_walk(made, view, walk)) return false;
  out = look_through(operand, made.shape, walk, view.shape);
  return true;
}

int recompute(Ir& ir) { return unfused() ? 0 : Recomputer(ir).run(); }

}  // namespace qs::plan
