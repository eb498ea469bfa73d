// Epilogues: maps that read the result of a matrix product element by element run on each block of
// it while that is in the cache: bias and gelu, a residual, the step of an optimizer on a gradient.
//
//   before   matmul              writes c
//            map gelu, add x     reads c and x, writes y
//   after    matmul, on each block: y = gelu(c) + x, where y takes the place of c
//
// The maps become nodes of the matmul's group. They are the same tile program that would have run
// behind it, on parts of its loops, so no bit changes. c keeps a buffer of its own only when
// somebody else wants it; else the last result that looks like it is written in its place.
//
// Legal when the maps are over the very elements of c, none of them writes what the product reads,
// nothing lies between the two groups, and what else the maps read was there before the product
// (or the product would wait, and hold its factors). One kernel of maps a product; when it reads
// two products, it follows the later one.
#include <algorithm>
#include <utility>

#include "quicksilver/codegen/loops.h"
#include "quicksilver/plan/execute.h"
#include "quicksilver/plan/passes.h"

namespace qs::plan {
namespace {

using graph::Operand;
using graph::Result;

/// Whether `maps` (nodes over `axes`) can run on the blocks of the product's result: every access
/// can be walked along the loops [batch, m, n], and the result itself is met in its own order.
bool fits(const Ir& ir, const Node& product, const MatmulLoops& loops, std::span<const NodeId> maps,
          const codegen::Axes& axes) {
  const Result& c = product.results[0];
  if (c.layout.numel() == 0 || !c.layout.is_contiguous()) return false;
  const Dims frame{loops.args.batch, loops.args.m, loops.args.n};
  if (!loops.outer.empty() || axes.numel() != c.layout.numel()) return false;
  const Dims dense = contiguous_strides(axes.extents);
  auto walks = [&](const Node& n, const Touch& t) {
    Dims placed, along;
    if (!codegen::place(n.space, t.strides, axes, placed) ||
        !codegen::frame_strides(axes, placed, frame, along))
      return false;
    if (ir.root(t.value) != ir.root(c.value_id)) return true;
    return t.offset == 0 && t.dtype == c.dtype && placed == dense;
  };
  for (NodeId id : maps) {
    const Node& n = ir.nodes[static_cast<size_t>(id)];
    if (!n.tile) continue;
    const graph::OpKind kind = graph::info(n.op).kind;
    // Composites over an axis and ops that ask where they are need whole axes.
    if (n.space.has_axes || (kind == graph::OpKind::map && knows_its_place(n.op))) return false;
    for (size_t i = 0; i < n.operands.size(); ++i)
      if (reads(n, i) && !walks(n, touch_operand(n, i))) return false;
    for (size_t i = 0; i < n.results.size(); ++i)
      if (!walks(n, touch_result(n, i))) return false;
  }
  return true;
}

class Attacher {
 public:
  explicit Attacher(Ir& ir) : ir_(ir) {}

  int run() {
    look_around();
    int attached = 0;
    for (size_t g = ir_.groups.size(); g-- > 0;) {
      if (ir_.groups[g].kind != Group::matmul || !eligible(g)) continue;
      const int32_t t = find_maps(static_cast<int32_t>(g));
      if (t < 0) continue;
      attach(static_cast<int32_t>(g), t);
      ++attached;
    }
    if (attached) pack();
    return attached;
  }

 private:
  Node& node(NodeId id) { return ir_.nodes[static_cast<size_t>(id)]; }
  Group& group(int32_t g) { return ir_.groups[static_cast<size_t>(g)]; }

  void look_around() {
    group_.assign(ir_.nodes.size(), -1);
    position_.assign(ir_.nodes.size(), -1);
    last_.assign(ir_.groups.size(), -1);
    for (size_t p = 0; p < ir_.sequence.size(); ++p)
      position_[static_cast<size_t>(ir_.sequence[p])] = static_cast<int32_t>(p);
    for (size_t g = 0; g < ir_.groups.size(); ++g)
      for (NodeId id : ir_.groups[g].nodes) {
        group_[static_cast<size_t>(id)] = static_cast<int32_t>(g);
        last_[g] = std::max(last_[g], position_[static_cast<size_t>(id)]);
      }
    readers_ = readers_of(ir_);
  }

  /// A product with a fresh dense result, in one library call.
  bool eligible(size_t g) {
    const Node& n = node(ir_.groups[g].nodes[0]);
    const Result& c = n.results[0];
    return c.target < 0 && c.layout.numel() > 0 && c.layout.is_contiguous();
  }

  int32_t find_maps(int32_t g) {
    const ValueId c = node(group(g).nodes[0]).results[0].value_id;
    for (NodeId reader : readers_[c]) {
      const int32_t t = group_[static_cast<size_t>(reader)];
      if (t >= 0 && t != g && follows(g, t)) return t;
    }
    return -1;
  }

  bool follows(int32_t g, int32_t t) {
    const Group &product = group(g), &maps = group(t);
    if (maps.kind != Group::tile || maps.gone || maps.check || maps.axes.folds()) return false;
    const Node& n = node(product.nodes[0]);
    // Everything else that the maps wait for ran before the product, and waits for nothing that
    // waits for it: a group may have nodes behind the product although others of its nodes, which
    // the maps' operands come from, are before it.
    for (int32_t b : maps.before)
      if (b != g &&
          (last_[static_cast<size_t>(b)] > position_[static_cast<size_t>(product.nodes[0])] ||
           waits_for(b, g)))
        return false;
    for (NodeId id : maps.nodes)
      for (const Result& r : node(id).results)
        for (size_t i = 0; i < n.operands.size(); ++i)
          if (reads(n, i) && ir_.root(n.operands[i].value_id) == ir_.root(r.value_id)) return false;
    return fits(ir_, n, matmul_loops(ir_, n), maps.nodes, maps.axes);
  }

  /// Whether group `late` runs behind group `early`.
  bool waits_for(int32_t late, int32_t early) {
    std::vector<uint8_t> seen(ir_.groups.size(), 0);
    std::vector<int32_t> open{late};
    while (!open.empty()) {
      const int32_t at = open.back();
      open.pop_back();
      if (at == early) return true;
      if (std::exchange(seen[static_cast<size_t>(at)], 1)) continue;
      for (int32_t b : group(at).before) open.push_back(b);
    }
    return false;
  }

  void attach(int32_t g, int32_t t) {
    take_place(g, t);
    Group &product = group(g), &maps = group(t);
    product.nodes.insert(product.nodes.end(), maps.nodes.begin(), maps.nodes.end());
    product.axes = maps.axes;
    product.writes_external |= maps.writes_external;
    for (int32_t b : maps.before)
      if (b != g &&
          std::find(product.before.begin(), product.before.end(), b) == product.before.end())
        product.before.push_back(b);
    maps.gone = true;
    for (NodeId id : maps.nodes) group_[static_cast<size_t>(id)] = g;
    for (Group& other : ir_.groups)
      for (int32_t& b : other.before)
        if (b == t) b = g;
    last_[static_cast<size_t>(g)] =
        std::max(last_[static_cast<size_t>(g)], last_[static_cast<size_t>(t)]);
  }

  /// Writes a result of the maps where the product's is, when nobody else wants that.
  void take_place(int32_t g, int32_t t) {
    const Result& c = node(group(g).nodes[0]).results[0];
    const ValueInfo& value = ir_.values[c.value_id];
    if (value.live || value.successor != c.value_id) return;
    int32_t last_read = -1;
    for (NodeId r : readers_[c.value_id]) {
      if (group_[static_cast<size_t>(r)] != t) return;
      last_read = std::max(last_read, position_[static_cast<size_t>(r)]);
    }
    const auto& list = group(t).nodes;
    const Dims dense = contiguous_strides(group(t).axes.extents);
    for (size_t k = list.size(); k-- > 0;) {
      Node& m = node(list[k]);
      if (position_[static_cast<size_t>(list[k])] < last_read) return;
      for (size_t i = 0; i < m.results.size(); ++i) {
        Result& r = m.results[i];
        ValueInfo& made = ir_.values[r.value_id];
        const bool wanted = made.live || !readers_[r.value_id].empty();
        Dims placed;
        if (!wanted || r.target >= 0 || made.base != r.value_id || r.dtype != c.dtype ||
            !r.layout.is_contiguous() || r.layout.numel() != c.layout.numel() ||
            !codegen::place(m.space, touch_result(m, i).strides, group(t).axes, placed) ||
            !(placed == dense))
          continue;
        bool outside = made.live;
        for (NodeId reader : readers_[r.value_id])
          outside |= group_[static_cast<size_t>(reader)] != t;
        if (!outside) continue;
        Operand place;
        place.kind = Operand::value;
        place.dtype = r.dtype;
        place.read = false;
        place.value_id = c.value_id;
        place.layout = r.layout;
        place.origin = r.origin;
        r.target = static_cast<int32_t>(m.operands.size());
        r.full = true;
        m.operands.push_back(place);
        for (ValueInfo& v : ir_.values)
          if (v.root == r.value_id) v.root = c.value_id;
        made.base = c.value_id;
        ir_.values[c.value_id].successor = r.value_id;
        return;
      }
    }
  }

  void pack() {
    std::vector<int32_t> number(ir_.groups.size(), -1);
    std::vector<Group> packed;
    for (size_t g = 0; g < ir_.groups.size(); ++g) {
      if (ir_.groups[g].gone) continue;
      number[g] = static_cast<int32_t>(packed.size());
      packed.push_back(std::move(ir_.groups[g]));
    }
    for (Group& g : packed) {
      std::vector<int32_t> before;
      for (int32_t b : g.before) {
        const int32_t now = number[static_cast<size_t>(b)];
        if (&packed[static_cast<size_t>(now)] != &g &&
            std::find(before.begin(), before.end(), now) == before.end())
          before.push_back(now);
      }
      g.before = std::move(before);
    }
    ir_.groups = std::move(packed);
  }

  Ir& ir_;
  std::vector<int32_t> group_, position_;     // by node
  std::vector<int32_t> last_;                 // by group: position of its last node
  std::vector<std::vector<NodeId>> readers_;  // by value
};

}  // namespace

bool epilogue_fits(const Ir& ir, const Group& group, const MatmulLoops& loops) {
  return fits(ir, ir.nodes[static_cast<size_t>(group.nodes[0])], loops, group.nodes, group.axes);
}

int attach_epilogues(Ir& ir) { return unfused() ? 0 : Attacher(ir).run(); }

}  // namespace qs::plan
