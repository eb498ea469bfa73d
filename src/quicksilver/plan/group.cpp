// Grouping: which nodes form one kernel.
//
// Nodes are taken in recorded order. Each starts as a group of its own and is merged with the
// groups that made its operands, then with those that read the same operands, as far as that is
// legal:
//
//   loops      both sides share the loops (codegen/space.h), and their folds agree in mode and
//   order,
//              which are functions of the folded operands alone;
//   elements   every storage that the merged group writes is touched at one and the same element at
//              each point of the loops, by all its nodes, reads and writes alike. So a value made
//              in the group can be handed on in a register, and an in-place write cannot overtake a
//              read;
//   order      no third group lies between the two: it would have to run after one and before the
//   other.
//              `above` holds, for each group, all groups that must run before it;
//   memory     merging must not hold large storages longer than they were needed (holds_back), nor
//              line folds up behind each other that could run side by side (lines_up)
//   size       a kernel stays small enough for registers and compile time.
//
// Example: h = x @ w; y = relu(h + b); s = y.sum(0). The sum runs over [64, 256], keeps 256 columns
// and is in column mode. `add` starts a group, `relu` joins (same loops, h + b at the same
// element), `sum` joins (same loops with axis 0 reduced). One kernel reads h and b and writes y and
// s; h + b never exists.
#include <algorithm>

#include "quicksilver/core/error.h"
#include "quicksilver/plan/execute.h"
#include "quicksilver/plan/passes.h"

namespace qs::plan {
namespace {

using codegen::Axes;
using graph::Operand;
using graph::Result;

constexpr size_t k_most_nodes = 64;
constexpr size_t k_most_touches = 56;
constexpr int k_most_cost = 400;
constexpr int32_t k_sibling_reach = 12;  // groups back that are tried as siblings
constexpr int64_t k_few_points = 64;
constexpr int64_t k_small_fold = 4096;                // points that one kernel folds in no time
constexpr int64_t k_small_bytes = 4096;               // storages that nobody minds holding longer
constexpr int64_t k_most_held = int64_t{256} * 1024;  // larger ones, in sum
constexpr int64_t k_few_rows = 8;                 // fewer rows than this do not fill a machine …
constexpr int64_t k_long_row = int64_t{1} << 15;  // … when each is this long

struct TouchRef {
  ValueId root;
  NodeId node;
  bool write;
  bool whole = false;  // as many elements as the node's loops have points
  Touch touch;
};

/// Who last wrote each storage (all pieces of it: join.cpp) and who has read it since; gives a
/// node's direct predecessors.
class Order {
 public:
  explicit Order(const Ir& ir) : ir_(ir), writers_(ir.values.size()), readers_(ir.values.size()) {}

  void visit(NodeId id, std::vector<NodeId>& before) {
    const Node& n = ir_.nodes[static_cast<size_t>(id)];
    before.clear();
    auto add = [&](NodeId b) {
      if (b >= 0 && b != id && std::find(before.begin(), before.end(), b) == before.end())
        before.push_back(b);
    };
    for (size_t i = 0; i < n.operands.size(); ++i)
      if (reads(n, i))
        for (NodeId writer : writers_[ir_.root(n.operands[i].value_id)]) add(writer);
    for (const Result& r : n.results) {
      const ValueId root = ir_.root(r.value_id);
      if (n.part == Node::piece) continue;
      for (NodeId writer : writers_[root]) add(writer);
      for (NodeId reader : readers_[root]) add(reader);
    }
    for (size_t i = 0; i < n.operands.size(); ++i)
      if (reads(n, i)) readers_[ir_.root(n.operands[i].value_id)].push_back(id);
    for (const Result& r : n.results) {
      const ValueId root = ir_.root(r.value_id);
      if (n.part != Node::piece) writers_[root].clear();
      writers_[root].push_back(id);
      readers_[root].clear();
    }
  }

 private:
  const Ir& ir_;
  std::vector<SmallVector<NodeId, 1>> writers_;
  std::vector<std::vector<NodeId>> readers_;
};

class Grouper {
 public:
  explicit Grouper(Ir& ir)
      : ir_(ir), order_(ir), group_of_(ir.nodes.size(), -1), position_(ir.nodes.size(), 0) {
    const size_t n = ir.sequence.size();
    ir_.groups.reserve(n);
    above_.reserve(n);
    into_.reserve(n);
    touches_.reserve(n);
    last_read_.assign(ir.values.size(), -1);
    for (size_t p = 0; p < n; ++p) {
      const Node& node = ir.nodes[static_cast<size_t>(ir.sequence[p])];
      for (size_t i = 0; i < node.operands.size(); ++i)
        if (reads(node, i))
          last_read_[ir.root(node.operands[i].value_id)] = static_cast<int32_t>(p);
    }
  }

  int run() {
    int merges = 0;
    std::vector<std::vector<NodeId>> before(ir_.nodes.size());
    std::vector<NodeId> direct;
    for (size_t p = 0; p < ir_.sequence.size(); ++p) {
      const NodeId id = ir_.sequence[p];
      position_[static_cast<size_t>(id)] = static_cast<int32_t>(p);
      order_.visit(id, direct);
      before[static_cast<size_t>(id)] = direct;
      int32_t g = start(id, direct);
      if (!ir_.nodes[static_cast<size_t>(id)].tile || unfused()) continue;
      // What did not fit one node may fit the group it has become: loops over rows alone join a
      // fold, those that its new members read as well.
      auto list = candidates(id, g);
      for (bool merged = true; merged;) {
        merged = false;
        for (size_t i = 0; i < list.size(); ++i) {
          const int32_t other = find(list[i]);
          const bool maps = other != g && !group(other).axes.folds();
          if (other == g || !try_merge(other, g)) continue;
          g = find(g);
          if (maps && group(g).axes.folds()) add_row_makers(g, list);
          ++merges;
          merged = true;
        }
      }
    }
    finish(before);
    return merges;
  }

 private:
  int32_t find(int32_t g) const {
    while (into_[static_cast<size_t>(g)] != g) g = into_[static_cast<size_t>(g)];
    return g;
  }
  Group& group(int32_t g) { return ir_.groups[static_cast<size_t>(g)]; }

  int32_t start(NodeId id, const std::vector<NodeId>& direct) {
    const Node& n = ir_.nodes[static_cast<size_t>(id)];
    const auto g = static_cast<int32_t>(ir_.groups.size());
    Group made;
    made.kind = n.tile                                            ? Group::tile
                : graph::info(n.op).kind == graph::OpKind::matmul ? Group::matmul
                                                                  : Group::kernel;
    made.nodes.push_back(id);
    made.cost = graph::info(n.op).kind == graph::OpKind::map ? 3 : 12;
    made.check = graph::info(n.op).can_fail && n.part != Node::write;
    for (const Result& r : n.results) made.writes_external |= ir_.external(r.value_id);
    if (n.tile) made.axes = codegen::axes_of(n.space);
    BitSet above(ir_.groups.size() + 1);
    for (NodeId b : direct) {
      const int32_t other = find(group_of_[static_cast<size_t>(b)]);
      if (std::find(made.before.begin(), made.before.end(), other) == made.before.end())
        made.before.push_back(other);
      above.add(static_cast<size_t>(other));
      above.add(above_[static_cast<size_t>(other)]);
    }
    ir_.groups.push_back(std::move(made));
    above_.push_back(std::move(above));
    into_.push_back(g);
    group_of_[static_cast<size_t>(id)] = g;
    touches_.emplace_back();
    if (!n.tile) return g;
    auto& list = touches_.back();
    list.reserve(n.operands.size() + n.results.size());
    for (size_t i = 0; i < n.operands.size(); ++i) {
      if (!reads(n, i)) continue;
      list.push_back({ir_.root(n.operands[i].value_id), id, false, false, touch_operand(n, i)});
      list.back().whole = is_whole(n.space, list.back().touch);
    }
    for (size_t i = 0; i < n.results.size(); ++i)
      list.push_back({ir_.root(n.results[i].value_id), id, true, false, touch_result(n, i)});
    return g;
  }

  static bool is_whole(const codegen::Space& space, const Touch& touch) {
    for (size_t d = 0; d < space.shape.size(); ++d)
      if (space.shape[d] != 1 && touch.strides[d] == 0) return false;
    return true;
  }

  /// Groups worth merging with: makers of operands first, the newest first, then siblings.
  SmallVector<int32_t, 16> candidates(NodeId id, int32_t g) const {
    SmallVector<int32_t, 16> list;
    auto add = [&](int32_t c) {
      if (c != g && std::find(list.begin(), list.end(), c) == list.end()) list.push_back(c);
    };
    const Node& n = ir_.nodes[static_cast<size_t>(id)];
    for (size_t i = 0; i < n.operands.size(); ++i) {
      if (!reads(n, i)) continue;
      const ValueInfo& v = ir_.values[n.operands[i].value_id];
      if (v.node < 0 || ir_.nodes[static_cast<size_t>(v.node)].dead) continue;
      const int32_t c = find(group_of_[static_cast<size_t>(v.node)]);
      const Group& made = ir_.groups[static_cast<size_t>(c)];
      if (n.clone && !ir_.nodes[static_cast<size_t>(made.nodes[0])].clone) continue;
      if (made.kind == Group::tile) add(c);
    }
    std::sort(list.begin(), list.end(), [](int32_t a, int32_t b) { return a > b; });
    for (int32_t c = g - 1; !n.clone && c >= 0 && c >= g - k_sibling_reach; --c) {
      const Group& other = ir_.groups[static_cast<size_t>(c)];
      if (other.gone || other.kind != Group::tile) continue;
      if (shares_read(c, g)) add(c);
    }
    return list;
  }

  /// Groups that make something for each row of `g`, of which they now may become a part.
  void add_row_makers(int32_t g, SmallVector<int32_t, 16>& list) const {
    const Group& own = ir_.groups[static_cast<size_t>(g)];
    for (NodeId id : own.nodes) {
      const Node& n = ir_.nodes[static_cast<size_t>(id)];
      for (size_t i = 0; i < n.operands.size(); ++i) {
        const NodeId maker = reads(n, i) ? ir_.values[n.operands[i].value_id].node : -1;
        if (maker < 0 || ir_.nodes[static_cast<size_t>(maker)].dead) continue;
        const int32_t c = find(group_of_[static_cast<size_t>(maker)]);
        const Group& made = ir_.groups[static_cast<size_t>(c)];
        if (c != g && made.kind == Group::tile && made.axes.numel() == own.axes.kept_numel() &&
            std::find(list.begin(), list.end(), c) == list.end())
          list.push_back(c);
      }
    }
  }

  bool shares_read(int32_t a, int32_t b) const {
    for (const TouchRef& y : touches_[static_cast<size_t>(b)]) {
      if (y.write || !y.whole) continue;
      for (const TouchRef& x : touches_[static_cast<size_t>(a)])
        if (x.root == y.root && x.whole && !x.write && x.touch.value == y.touch.value) return true;
    }
    return false;
  }

  bool try_merge(int32_t a, int32_t b) {
    Group &x = group(a), &y = group(b);
    if (x.kind != Group::tile || y.kind != Group::tile) return false;
    if (x.nodes.size() + y.nodes.size() > k_most_nodes || x.cost + y.cost > k_most_cost)
      return false;
    if (touches_[static_cast<size_t>(a)].size() + touches_[static_cast<size_t>(b)].size() >
        k_most_touches)
      return false;
    Axes axes;
    if (!codegen::combine(x.axes, y.axes, axes)) return false;
    if (lies_between(a, b) || lies_between(b, a)) return false;
    if (starves(x, y, axes) || lines_up(a, b) || holds_back(a, b)) return false;
    if (!elements_agree(a, b, axes)) return false;
    merge(a, b, std::move(axes));
    return true;
  }

  /// A way from `first` to `second` through a third group.
  bool lies_between(int32_t first, int32_t second) const {
    for (int32_t raw : ir_.groups[static_cast<size_t>(second)].before) {
      const int32_t c = find(raw);
      if (c != first && c != second &&
          above_[static_cast<size_t>(c)].has(static_cast<size_t>(first)))
        return true;
    }
    return false;
  }

  /// One long row is folded by all threads, but what follows the fold in the same kernel would run
  /// on one.
  bool starves(const Group& x, const Group& y, const Axes& axes) const {
    if (!axes.folds() || axes.kept_numel() >= k_few_rows) return false;
    if (axes.numel() / std::max<int64_t>(axes.kept_numel(), 1) < k_long_row) return false;
    return x.axes.folds() && y.axes.numel() == axes.numel();
  }

  /// A few numbers that depend on several folds, such as the sum of all gradients' norms: in the
  /// kernel of one of the folds, they would let that one wait for the others, and folds that are
  /// alike could not be one launch (batch.cpp). Small folds over the same loops all join instead.
  bool lines_up(int32_t a, int32_t b) const {
    const Group &x = ir_.groups[static_cast<size_t>(a)], &y = ir_.groups[static_cast<size_t>(b)];
    const bool first = x.axes.folds();
    const Group &folds = first ? x : y, &few = first ? y : x;
    if (!folds.axes.folds() || few.axes.folds() || few.axes.numel() > k_few_points) return false;
    const size_t own = static_cast<size_t>(first ? a : b),
                 other = static_cast<size_t>(first ? b : a);
    auto joins = [&](const Group& g) {
      return g.axes.numel() <= k_small_fold && g.axes.extents == folds.axes.extents &&
             g.axes.reduced == folds.axes.reduced && g.axes.mode == folds.axes.mode;
    };
    for (size_t g = 0; g < ir_.groups.size(); ++g)
      if (g != own && !joins(ir_.groups[g]) && above_[other].has(g) && !above_[own].has(g) &&
          !ir_.groups[g].gone && ir_.groups[g].axes.folds() && same_ops(ir_.groups[g], folds))
        return true;
    return false;
  }
  bool same_ops(const Group& x, const Group& y) const {
    if (x.nodes.size() != y.nodes.size()) return false;
    for (size_t i = 0; i < x.nodes.size(); ++i)
      if (ir_.nodes[static_cast<size_t>(x.nodes[i])].op !=
          ir_.nodes[static_cast<size_t>(y.nodes[i])].op)
        return false;
    return true;
  }

  /// The merged kernel runs where `b` does. What `a` alone reads of the plan's own storages must
  /// then be held until there; refused when that is more than what `a` makes for `b` and a little.
  bool holds_back(int32_t a, int32_t b) const {
    int32_t start = INT32_MAX;
    for (NodeId id : ir_.groups[static_cast<size_t>(b)].nodes)
      start = std::min(start, position_[static_cast<size_t>(id)]);
    int64_t held = 0;
    for (const TouchRef& t : touches_[static_cast<size_t>(a)]) {
      const ValueInfo& v = ir_.values[t.root];
      if (v.external || v.live || v.bytes <= k_small_bytes) continue;
      if (t.write) {
        if (last_read_[t.root] >= start) held -= v.bytes;
      } else if (last_read_[t.root] < start && !makes(a, t.root)) {
        held += v.bytes;
      }
    }
    return held > k_most_held;
  }
  bool makes(int32_t g, ValueId root) const {
    for (const TouchRef& t : touches_[static_cast<size_t>(g)])
      if (t.write && t.root == root) return true;
    return false;
  }

  bool elements_agree(int32_t a, int32_t b, const Axes& axes) const {
    for (const TouchRef& y : touches_[static_cast<size_t>(b)])
      for (const TouchRef& x : touches_[static_cast<size_t>(a)]) {
        if (x.root != y.root || !(x.write || y.write)) continue;
        if (!same_element(x, y, axes) || reads_ahead(x, y) || reads_ahead(y, x)) return false;
      }
    return true;
  }
  /// Whether `read` wants a later content of the storage than `write` leaves, one that no node of
  /// `write`'s or its own group makes: all pieces of a storage, of which `write` is one.
  bool reads_ahead(const TouchRef& read, const TouchRef& write) const {
    if (read.write || !write.write || read.touch.value == write.touch.value) return false;
    if (position_[static_cast<size_t>(read.node)] < position_[static_cast<size_t>(write.node)])
      return false;
    const NodeId maker = ir_.values[read.touch.value].node;
    if (maker < 0) return true;
    const int32_t made_in = find(group_of_[static_cast<size_t>(maker)]);
    return made_in != find(group_of_[static_cast<size_t>(read.node)]) &&
           made_in != find(group_of_[static_cast<size_t>(write.node)]);
  }

  bool same_element(const TouchRef& x, const TouchRef& y, const Axes& axes) const {
    if (x.touch.dtype != y.touch.dtype || x.touch.word != y.touch.word ||
        x.touch.offset != y.touch.offset)
      return false;
    const auto& sx = ir_.nodes[static_cast<size_t>(x.node)].space;
    const auto& sy = ir_.nodes[static_cast<size_t>(y.node)].space;
    if (sx.shape == sy.shape && x.touch.strides == y.touch.strides) return true;
    Dims px, py;
    return codegen::place(sx, x.touch.strides, axes, px) &&
           codegen::place(sy, y.touch.strides, axes, py) && px == py;
  }

  void merge(int32_t a, int32_t b, Axes axes) {
    Group &x = group(a), &y = group(b);
    x.axes = std::move(axes);
    x.cost += y.cost;
    x.check |= y.check;
    x.writes_external |= y.writes_external;
    x.nodes.insert(x.nodes.end(), y.nodes.begin(), y.nodes.end());
    std::sort(x.nodes.begin(), x.nodes.end(), [&](NodeId m, NodeId n) {
      return position_[static_cast<size_t>(m)] < position_[static_cast<size_t>(n)];
    });
    auto& tx = touches_[static_cast<size_t>(a)];
    auto& ty = touches_[static_cast<size_t>(b)];
    tx.insert(tx.end(), ty.begin(), ty.end());
    ty.clear();
    y.gone = true;
    into_[static_cast<size_t>(b)] = a;
    for (int32_t raw : y.before) {
      const int32_t c = find(raw);
      if (c != a && std::find(x.before.begin(), x.before.end(), c) == x.before.end())
        x.before.push_back(c);
    }
    above_[static_cast<size_t>(a)].add(above_[static_cast<size_t>(b)]);
    for (size_t g = 0; g < above_.size(); ++g) {
      if (ir_.groups[g].gone || static_cast<int32_t>(g) == a) continue;
      if (above_[g].has(static_cast<size_t>(a)) || above_[g].has(static_cast<size_t>(b))) {
        above_[g].add(static_cast<size_t>(a));
        above_[g].add(above_[static_cast<size_t>(a)]);
      }
    }
  }

  /// Packs the groups and states what each must wait for.
  void finish(const std::vector<std::vector<NodeId>>& before) {
    std::vector<int32_t> number(ir_.groups.size(), -1);
    std::vector<Group> packed;
    for (size_t g = 0; g < ir_.groups.size(); ++g) {
      if (ir_.groups[g].gone) continue;
      number[g] = static_cast<int32_t>(packed.size());
      packed.push_back(std::move(ir_.groups[g]));
    }
    for (Group& g : packed) {
      g.before.clear();
      for (NodeId id : g.nodes)
        for (NodeId b : before[static_cast<size_t>(id)]) {
          const int32_t other =
              number[static_cast<size_t>(find(group_of_[static_cast<size_t>(b)]))];
          if (&packed[static_cast<size_t>(other)] == &g) continue;
          if (std::find(g.before.begin(), g.before.end(), other) == g.before.end())
            g.before.push_back(other);
        }
    }
    ir_.groups = std::move(packed);
  }

  Ir& ir_;
  Order order_;
  std::vector<int32_t> group_of_;   // by node
  std::vector<int32_t> position_;   // by node
  std::vector<int32_t> last_read_;  // by root: position of the last reader
  std::vector<int32_t> into_;       // by group: itself, or the group it was merged into
  std::vector<BitSet> above_;       // by group
  std::vector<std::vector<TouchRef>> touches_;
};

}  // namespace

int group_nodes(Ir& ir) { return Grouper(ir).run(); }

}  // namespace qs::plan
