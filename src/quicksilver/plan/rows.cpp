// One index a row: gather and scatter inside the kernel that has the rows.
//
// A kernel of the gather family reads its input from memory, so it parts what belongs together:
//
//   before   row [48] of 200     p = log_softmax(x)          writes p
//            gather              q = p[i, t[i]]              reads p
//   after    row [48] of 200     p = log_softmax(x); q = the one element of the row whose index is
//                                t[i], found by a fold (gather_row)
//
// and p never exists. Likewise zeros().scatter_add(...), the gradient of such a gather, is a map
// (scatter_row) that its readers take into their kernel. Cross entropy written as log_softmax and a
// gather (or x[arange(n), t]) so becomes the kernels of the op, forward and backward.
//
// A fold reads the whole row where a gather reads one element. So it takes a gather's place only
// where the row passes through a kernel that folds it anyway: its maker, or another reader. The
// fold is `max` over that element and -inf elsewhere, which gives the element's very bits; the cpu
// driver looks at that element alone (driver/cpu/tile_points.cpp).
//
// Checks: gather_row checks its indices itself. scatter_row does so unless the same indices are
// checked against the same extent elsewhere in the plan, as a gradient's are.
#include <algorithm>
#include <bit>

#include "quicksilver/plan/execute.h"
#include "quicksilver/plan/passes.h"

namespace qs::plan {
namespace {

using graph::Op;
using graph::Operand;
using graph::Result;

constexpr int k_deepest = 6;  // maps between a fold and the row that is gathered from

class RowMatcher {
 public:
  explicit RowMatcher(Ir& ir) : ir_(ir) {}

  int run() {
    const bool any = std::any_of(ir_.sequence.begin(), ir_.sequence.end(),
                                 [&](NodeId id) { return takes_indices(node(id).op); });
    if (!any) return 0;
    readers_ = readers_of(ir_);
    int matched = 0;
    std::vector<NodeId> sequence;
    sequence.swap(ir_.sequence);
    for (NodeId id : sequence) {
      const NodeId made = is_gather(node(id).op)       ? gather(id)
                          : takes_indices(node(id).op) ? scatter(id)
                                                       : -1;
      ir_.sequence.push_back(made < 0 ? id : made);
      if (made < 0) {
        if (is_gather(node(id).op)) note_check(id);
        continue;
      }
      for (const Result& r : node(made).results) ir_.values[r.value_id].node = made;
      node(id).dead = true;
      ++matched;
    }
    if (matched) drop_dead(ir_);  // the aranges of x[arange(n), t]
    return matched;
  }

 private:
  /// One index for each row of `x` along `axis`, however it was written.
  struct Rows {
    size_t index = 0;  // operand
    int axis = -1;
    bool found() const { return axis >= 0; }
  };
  /// Indices that some node compares with the extents of a tensor.
  struct Check {
    ValueId index;
    graph::Origin index_origin, origin;
    Layout index_layout, layout;
    int axis;
    bool wraps;  // negative indices count from the end
  };

  Node& node(NodeId id) { return ir_.nodes[static_cast<size_t>(id)]; }
  static bool is_gather(Op op) { return op == Op::gather || op == Op::index; }
  static bool takes_indices(Op op) {
    return is_gather(op) || op == Op::scatter || op == Op::scatter_add || op == Op::index_put;
  }

  /// The rows that a node of the gather or scatter family indexes. States what it relied on.
  Rows rows_of(const Node& n) {
    const Operand& x = n.operands[0];
    if (n.op == Op::gather || n.op == Op::scatter || n.op == Op::scatter_add) {
      const int axis = wrap_dim(static_cast<int64_t>(n.attrs[0]), x.layout.rank());
      const Layout& index = n.operands[1].layout;
      if (!reads(n, 1) || index.rank() != x.layout.rank() ||
          index.shape[static_cast<size_t>(axis)] != 1 || !same_shape_without(x.layout, index, axis))
        return {};
      ir_.same_layouts.push_back({x.origin, n.operands[1].origin, true, axis});
      return {1, axis};
    }
    // x[arange(n), t] for x [n, m].
    const size_t first = n.op == Op::index ? 1 : 2;
    if (n.attrs[0] != 3 || x.layout.rank() != 2 || n.operands.size() < first + 2 ||
        !reads(n, first) || !reads(n, first + 1) || !counts_up(n.operands[first]))
      return {};
    for (size_t i = first; i < first + 2; ++i) {
      if (n.operands[i].layout.rank() != 1 ||
          !same_shape_without(x.layout, n.operands[i].layout, 1))
        return {};
      ir_.same_layouts.push_back({x.origin, n.operands[i].origin, true, 1});
    }
    return {first + 1, 1};
  }

  /// Whether an index is 0, 1, 2, ...: guarded, as the numbers are launch words.
  bool counts_up(const Operand& o) {
    const ValueInfo& v = ir_.values[o.value_id];
    if (v.node < 0 || v.base != o.value_id || !o.layout.is_contiguous() || o.layout.offset)
      return false;
    const Node& maker = node(v.node);
    if (maker.op != Op::arange || maker.compute != DType::i64 || o.dtype != DType::i64 ||
        !(maker.results[0].layout == o.layout))
      return false;
    for (size_t i = 0; i < 2; ++i) {
      const Operand& number = maker.operands[i];
      if (number.kind != Operand::scalar || number.dtype != DType::i64 || number.word < 0 ||
          ir_.words[static_cast<size_t>(number.word)] != i)
        return false;
    }
    for (size_t i = 0; i < 2; ++i) ir_.guards.push_back({maker.operands[i].word, -1, i});
    ir_.same_layouts.push_back({maker.results[0].origin, o.origin, false});
    return true;
  }

  /// A new node in place of `id`: operands and what they mean are the caller's business.
  NodeId add_node(NodeId id, Op op, int axis) {
    const auto made = static_cast<NodeId>(ir_.nodes.size());
    Node n;
    n.op = op;
    n.tile = true;
    n.tag = node(id).tag;
    n.region = node(id).region;
    n.line = node(id).line;
    n.compute = node(id).results[0].dtype;
    n.results = node(id).results;
    n.attrs = {uint64_t{1} << axis,
               node(id).results[0].layout.rank() == node(id).operands[0].layout.rank()};
    ir_.nodes.push_back(std::move(n));
    return made;
  }

  NodeId gather(NodeId id) {
    const Operand& x = node(id).operands[0];
    const DType dtype = node(id).results[0].dtype;
    if (unfused() || !reads(node(id), 0) || !is_floating(dtype) || x.dtype != dtype ||
        node(id).results[0].target >= 0 || x.layout.numel() == 0)
      return -1;
    const size_t relied = ir_.same_layouts.size(), guarded = ir_.guards.size();
    const Rows rows = rows_of(node(id));
    if (!rows.found() || !folds_rows(id, x.value_id, x.layout, rows.axis)) {
      ir_.same_layouts.resize(relied);
      ir_.guards.resize(guarded);
      return -1;
    }
    note_check(id, rows);
    const NodeId made = add_node(id, Op::gather_row, rows.axis);
    node(made).operands = {node(id).operands[0], node(id).operands[rows.index]};
    node(made).attrs.push_back(node(id).op == Op::index);
    node(made).space = codegen::space_of(node(made));
    return made;
  }

  NodeId scatter(NodeId id) {
    const Node& n = node(id);
    const Operand& x = n.operands[0];
    const DType dtype = n.results[0].dtype;
    if (unfused() || !is_filled(x.value_id) || ir_.values[x.value_id].live || !n.results[0].full ||
        n.results[0].target != 0 || x.dtype != dtype || is_complex(dtype) ||
        dtype == DType::bool_ || x.layout.numel() == 0)
      return -1;
    const size_t relied = ir_.same_layouts.size(), guarded = ir_.guards.size();
    const Rows rows = rows_of(n);
    const size_t source = n.op == Op::index_put ? 1 : 2;
    if (!rows.found() || !fits_source(n.operands[rows.index], n.operands[source], dtype)) {
      ir_.same_layouts.resize(relied);
      ir_.guards.resize(guarded);
      return -1;
    }
    const bool adds = n.op == Op::scatter_add || (n.op == Op::index_put && n.attrs[1]);
    if (!is_checked(n, rows)) {
      Node check = check_of(n);
      ir_.sequence.push_back(static_cast<NodeId>(ir_.nodes.size()));
      ir_.nodes.push_back(std::move(check));
    }
    const NodeId made = add_node(id, Op::scatter_row, rows.axis);
    Node& fresh = node(made);
    const Node& old = node(id);
    fresh.operands = {old.operands[0], old.operands[rows.index], old.operands[source]};
    fresh.attrs.push_back(adds);
    fresh.attrs.push_back(old.op == Op::index_put);
    fresh.part = Node::write;
    fresh.space = codegen::space_of(fresh);
    return made;
  }

  /// Whether one number is everywhere in a storage of the plan: zeros, or a copy of zeros.
  bool is_filled(ValueId value) {
    const ValueInfo& v = ir_.values[value];
    if (v.node < 0 || v.base != value || v.external) return false;
    const Node& maker = node(v.node);
    if (maker.op == Op::full) return true;
    if (maker.op != Op::copy || maker.operands.empty()) return false;
    return maker.operands[0].kind == Operand::scalar ||
           (reads(maker, 0) && is_filled(maker.operands[0].value_id));
  }

  bool fits_source(const Operand& index, const Operand& source, DType dtype) {
    if (source.kind == Operand::scalar) return true;
    if (source.kind != Operand::value || source.dtype != dtype ||
        !(source.layout.shape == index.layout.shape))
      return false;
    ir_.same_layouts.push_back({index.origin, source.origin, true});
    return true;
  }

  void note_check(NodeId id) {
    const size_t relied = ir_.same_layouts.size(), guarded = ir_.guards.size();
    const Rows rows = rows_of(node(id));
    ir_.same_layouts.resize(relied);
    ir_.guards.resize(guarded);
    if (rows.found()) note_check(id, rows);
  }
  void note_check(NodeId id, const Rows& rows) {
    const Operand &x = node(id).operands[0], &index = node(id).operands[rows.index];
    checks_.push_back({index.value_id, index.origin, x.origin, index.layout, x.layout, rows.axis,
                       node(id).op == Op::index});
  }
  bool is_checked(const Node& n, const Rows& rows) {
    const Operand &x = n.operands[0], &index = n.operands[rows.index];
    for (const Check& c : checks_)
      if (c.index == index.value_id && c.axis == rows.axis && c.wraps == (n.op == Op::index_put) &&
          c.index_layout == index.layout && c.layout.shape == x.layout.shape) {
        ir_.same_layouts.push_back({c.index_origin, index.origin, false});
        ir_.same_layouts.push_back({c.origin, x.origin, true});
        return true;
      }
    return false;
  }

  /// Whether the rows of `x` pass through a kernel that folds them, beside node `id`.
  bool folds_rows(NodeId id, ValueId value, const Layout& x, int axis) {
    if (!x.is_contiguous() || x.offset != 0) return false;
    const int64_t row = x.shape[static_cast<size_t>(axis)];
    if (comes_of_fold(value, x.numel(), row, 0)) return true;
    return std::any_of(readers_[value].begin(), readers_[value].end(), [&](NodeId reader) {
      return reader != id && folds(node(reader), x.numel(), row);
    });
  }
  bool folds(const Node& n, int64_t numel, int64_t row) {
    if (n.dead || !n.tile || !n.space.has_axes || std::popcount(n.space.axes) != 1) return false;
    return n.space.shape[static_cast<size_t>(std::countr_zero(n.space.axes))] == row &&
           Layout::contiguous(n.space.shape).numel() == numel;
  }
  bool comes_of_fold(ValueId value, int64_t numel, int64_t row, int depth) {
    const ValueInfo& v = ir_.values[value];
    if (depth > k_deepest || v.node < 0 || v.external || !node(v.node).tile) return false;
    const Node& maker = node(v.node);
    if (folds(maker, numel, row)) return true;
    if (Layout::contiguous(maker.space.shape).numel() != numel) return false;
    for (size_t i = 0; i < maker.operands.size(); ++i)
      if (reads(maker, i) && comes_of_fold(maker.operands[i].value_id, numel, row, depth + 1))
        return true;
    return false;
  }

  Ir& ir_;
  std::vector<std::vector<NodeId>> readers_;  // by value
  std::vector<Check> checks_;
};

}  // namespace

bool same_shape_without(const Layout& a, const Layout& b, int dim) {
  if (b.rank() != a.rank() && b.rank() != a.rank() - 1) return false;
  const bool lacks = b.rank() != a.rank();
  for (int d = 0, e = 0; d < a.rank(); ++d) {
    if (d == dim) {
      e += !lacks;
      continue;
    }
    if (a.shape[static_cast<size_t>(d)] != b.shape[static_cast<size_t>(e++)]) return false;
  }
  return true;
}

int match_rows(Ir& ir) { return RowMatcher(ir).run(); }

}  // namespace qs::plan
