#include "quicksilver/codegen/space.h"

#include <algorithm>
#include <bit>

#include "quicksilver/core/error.h"

namespace qs::codegen {
namespace {

using driver::TileMode;
using graph::Op;

/// Fewer contiguous kept elements than this do not fill a tile: then rows are folded instead.
constexpr int64_t k_narrow_columns = 16;

bool only_maps(Op op) { return op == Op::cross_entropy_backward || op == Op::scatter_row; }

bool is_input(const graph::Node& node, size_t i) {
  const graph::Operand& o = node.operands[i];
  return o.kind == graph::Operand::value && o.read && i < graph::info(node.op).inputs;
}

/// Strides of a layout along `shape`, aligned at the right; `kept` layouts lack the axes.
Dims align(const Layout& l, const Space& space, bool kept) {
  const int rank = static_cast<int>(space.shape.size());
  Dims out(space.shape.size(), 0);
  const int missing = std::popcount(space.axes);
  int from = l.rank();
  const bool skip = kept && l.rank() == rank - missing;
  for (int d = rank; d-- > 0 && from > 0;) {
    if (skip && (space.axes >> d & 1)) continue;
    --from;
    const bool stretched = l.shape[from] == 1 && space.shape[d] != 1;
    out[d] = stretched || l.shape[from] == 1 ? 0 : l.strides[from];
  }
  return out;
}

/// The order of the folds is a function of the folded operand's recorded shape and strides alone.
void decide_order(const graph::Node& node, Space& space) {
  const graph::OpInfo& row = graph::info(node.op);
  const int64_t numel = Layout::contiguous(space.shape).numel();
  Dims strides;
  bool found = false;
  bool by_index = node.op == Op::argmax || node.op == Op::argmin;
  for (size_t i = 0; i < node.operands.size() && !found; ++i) {
    if (!is_input(node, i) || (row.kept_inputs >> i & 1)) continue;
    if (node.operands[i].layout.numel() != numel) continue;
    strides = operand_strides(node, space, i);
    found = true;
  }
  if (!found) strides = contiguous_strides(space.shape);
  auto size = [&](int d) { return strides[d] < 0 ? -strides[d] : strides[d]; };
  int64_t least_reduced = INT64_MAX;
  for (size_t d = 0; d < space.shape.size(); ++d) {
    if (!(space.axes >> d & 1) || space.shape[d] == 1) continue;
    space.order.push_back(static_cast<uint8_t>(d));
    if (size(static_cast<int>(d)) < least_reduced) least_reduced = size(static_cast<int>(d));
  }
  if (!by_index)
    std::stable_sort(space.order.begin(), space.order.end(),
                     [&](uint8_t a, uint8_t b) { return size(a) > size(b); });
  int64_t columns = 1;  // kept elements closer together than those that are folded
  for (size_t d = 0; d < space.shape.size(); ++d) {
    if ((space.axes >> d & 1) || space.shape[d] == 1) continue;
    if (size(static_cast<int>(d)) != 0 && size(static_cast<int>(d)) < least_reduced)
      columns *= space.shape[d];
  }
  space.mode = columns >= k_narrow_columns ? TileMode::column : TileMode::row;
}

struct Refined {
  Dims extents;
  SmallVector<int, 8> a, b;  // which axis of either side each refined axis is a part of
};

/// The common refinement of two row-major spaces with as many elements; false when there is none.
bool refine(DimSpan a, DimSpan b, Refined& out) {
  int i = static_cast<int>(a.size()) - 1, j = static_cast<int>(b.size()) - 1;
  int64_t left = i >= 0 ? a[i] : 1, right = j >= 0 ? b[j] : 1;
  while (i >= 0 && j >= 0) {
    const int64_t step = std::min(left, right);
    if (left % step != 0 || right % step != 0) return false;
    out.extents.push_back(step);
    out.a.push_back(i);
    out.b.push_back(j);
    left /= step;
    right /= step;
    if (left == 1) left = --i >= 0 ? a[i] : 1;
    if (right == 1) right = --j >= 0 ? b[j] : 1;
  }
  if (i >= 0 || j >= 0) return false;
  std::reverse(out.extents.begin(), out.extents.end());
  std::reverse(out.a.begin(), out.a.end());
  std::reverse(out.b.begin(), out.b.end());
  return out.extents.size() <= 12;
}

AxisList expand(const AxisList& order, const SmallVector<int, 8>& from) {
  AxisList out;
  for (uint8_t axis : order)
    for (size_t i = 0; i < from.size(); ++i)
      if (from[i] == axis) out.push_back(static_cast<uint8_t>(i));
  return out;
}
uint32_t expand(uint32_t mask, const SmallVector<int, 8>& from) {
  uint32_t out = 0;
  for (size_t i = 0; i < from.size(); ++i)
    if (mask >> from[i] & 1) out |= 1u << i;
  return out;
}

bool has_zero(DimSpan extents) {
  return std::find(extents.begin(), extents.end(), 0) != extents.end();
}

/// `folded` has folds, `kept` has none and runs over the kept axes of `folded` alone.
bool combine_kept(const Axes& folded, const Axes& kept, Axes& out) {
  Dims kept_extents;
  SmallVector<int, 8> kept_axes;
  for (size_t i = 0; i < folded.extents.size(); ++i) {
    if (folded.reduced >> i & 1) continue;
    kept_extents.push_back(folded.extents[i]);
    kept_axes.push_back(static_cast<int>(i));
  }
  Refined r;
  if (!refine(kept_extents, kept.extents, r)) return false;
  SmallVector<int, 8> from;  // new axis -> axis of `folded`
  out = Axes{};
  size_t next = 0;
  for (size_t i = 0; i < folded.extents.size(); ++i) {
    if (folded.reduced >> i & 1) {
      from.push_back(static_cast<int>(i));
      out.extents.push_back(folded.extents[i]);
      continue;
    }
    for (; next < r.a.size() && kept_axes[static_cast<size_t>(r.a[next])] == static_cast<int>(i);
         ++next) {
      from.push_back(static_cast<int>(i));
      out.extents.push_back(r.extents[next]);
    }
  }
  out.mode = folded.mode;
  out.reduced = expand(folded.reduced, from);
  out.order = expand(folded.order, from);
  return out.extents.size() <= 12;
}

}  // namespace

Space space_of(const graph::Node& node) {
  const graph::OpInfo& row = graph::info(node.op);
  Space space;
  space.has_axes = graph::attribute_is_axes(row);
  if (space.has_axes) space.axes = node.attrs[0];
  bool found = false;
  for (size_t i = 0; i < node.results.size() && !found; ++i) {
    if (row.kept >> i & 1) continue;
    space.shape = node.results[i].layout.shape;
    found = true;
  }
  for (size_t i = 0; i < node.operands.size() && !found; ++i) {  // every result lacks the axes
    if (!is_input(node, i) || (row.kept_inputs >> i & 1)) continue;
    space.shape = space.shape.empty()
                      ? node.operands[i].layout.shape
                      : broadcast_shapes(space.shape, node.operands[i].layout.shape);
  }
  if (space.has_axes && !only_maps(node.op)) {
    for (size_t d = 0; d < space.shape.size(); ++d)
      space.folds |= (space.axes >> d & 1) && space.shape[d] != 1;
    if (space.folds) decide_order(node, space);
  }
  return space;
}

Dims operand_strides(const graph::Node& node, const Space& space, size_t operand) {
  const bool kept = graph::info(node.op).kept_inputs >> operand & 1;
  return align(node.operands[operand].layout, space, space.has_axes && kept);
}

Dims result_strides(const graph::Node& node, const Space& space, size_t result) {
  const bool kept = graph::info(node.op).kept >> result & 1;
  return align(node.results[result].layout, space, space.has_axes && kept);
}

int64_t Axes::numel() const {
  int64_t n = 1;
  for (int64_t e : extents) n *= e;
  return n;
}

int64_t Axes::kept_numel() const {
  int64_t n = 1;
  for (size_t i = 0; i < extents.size(); ++i)
    if (!(reduced >> i & 1)) n *= extents[i];
  return n;
}

Axes axes_of(const Space& space) {
  Axes axes;
  SmallVector<int, 8> at(space.shape.size(), -1);
  for (size_t d = 0; d < space.shape.size(); ++d) {
    if (space.shape[d] == 1) continue;
    at[d] = static_cast<int>(axes.extents.size());
    if (space.folds && (space.axes >> d & 1)) axes.reduced |= 1u << axes.extents.size();
    axes.extents.push_back(space.shape[d]);
  }
  if (space.folds) {
    axes.mode = space.mode;
    for (uint8_t d : space.order) axes.order.push_back(static_cast<uint8_t>(at[d]));
  }
  return axes;
}

bool combine(const Axes& a, const Axes& b, Axes& out) {
  if (has_zero(a.extents) || has_zero(b.extents)) return false;
  if (a.extents == b.extents) {
    if (a.folds() && b.folds() &&
        (a.reduced != b.reduced || a.mode != b.mode || !(a.order == b.order)))
      return false;
    out = a.folds() ? a : b;
    return true;
  }
  const int64_t na = a.numel(), nb = b.numel();
  if (na != nb) {
    if (a.folds() && !b.folds() && a.kept_numel() == nb) return combine_kept(a, b, out);
    if (b.folds() && !a.folds() && b.kept_numel() == na) return combine_kept(b, a, out);
    return false;
  }
  Refined r;
  if (!refine(a.extents, b.extents, r)) return false;
  const uint32_t reduced_a = expand(a.reduced, r.a), reduced_b = expand(b.reduced, r.b);
  const AxisList order_a = expand(a.order, r.a), order_b = expand(b.order, r.b);
  if (a.folds() && b.folds() &&
      (reduced_a != reduced_b || a.mode != b.mode || !(order_a == order_b)))
    return false;
  out.extents = r.extents;
  out.reduced = a.folds() ? reduced_a : reduced_b;
  out.order = a.folds() ? order_a : order_b;
  out.mode = a.folds() ? a.mode : b.mode;
  return true;
}

bool place(const Space& space, const Dims& strides, const Axes& axes, Dims& out) {
  int64_t numel = 1;
  for (int64_t e : space.shape) numel *= e;
  const bool full = numel == axes.numel();
  if (!full && !(axes.folds() && numel == axes.kept_numel())) return false;
  out.assign(nullptr, 0);
  out.resize(axes.extents.size(), 0);
  int d = static_cast<int>(space.shape.size()) - 1;
  int64_t inner = 1;  // elements of node axis d covered by group axes so far
  for (int g = static_cast<int>(axes.extents.size()) - 1; g >= 0; --g) {
    if (!full && (axes.reduced >> g & 1)) continue;
    while (d >= 0 && inner == space.shape[d]) {
      --d;
      inner = 1;
    }
    if (d < 0) return false;
    const int64_t e = axes.extents[g];
    if (e == 0 || space.shape[d] % (inner * e) != 0) {
      if (space.shape[d] != e) return false;
    }
    out[g] = strides[d] * inner;
    inner *= e;
  }
  return true;
}

}  // namespace qs::codegen
