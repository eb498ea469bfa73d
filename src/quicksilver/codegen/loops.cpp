#include "quicksilver/codegen/loops.h"

namespace qs::codegen {
namespace {

/// Points of the reduced space up to which full values are held for a row, by each thread: reading
/// them from a far cache takes a tenth of what an exponential does.
constexpr int64_t k_persist_points = 1 << 20;

int64_t stride_size(const Access& a, uint8_t axis) {
  return a.strides[axis] < 0 ? -a.strides[axis] : a.strides[axis];
}

/// The kept axes, outer to inner, then the reduced ones.
AxisList order_axes(const LoopNest& nest) {
  const Axes& axes = nest.axes;
  AxisList order;
  for (size_t i = 0; i < axes.extents.size(); ++i)
    if (!(axes.reduced >> i & 1)) order.push_back(static_cast<uint8_t>(i));
  if (order.size() > 1) {
    SmallVector<uint32_t, 32> deciding;  // stores first, full accesses before narrow ones
    for (const Store& s : nest.stores)
      if (nest.accesses[s.access].domain == TileDomain::full) deciding.push_back(s.access);
    for (uint32_t i = 0; i < nest.accesses.size(); ++i)
      if (!nest.accesses[i].affine && nest.accesses[i].domain == TileDomain::full)
        deciding.push_back(i);
    for (const Store& s : nest.stores) deciding.push_back(s.access);
    auto outside = [&](uint8_t a, uint8_t b) {  // 1: a belongs outside b, -1: inside, 0: no say
      for (uint32_t d : deciding) {
        const int64_t x = stride_size(nest.accesses[d], a), y = stride_size(nest.accesses[d], b);
        if (x == 0 || y == 0 || x == y) continue;
        return x > y ? 1 : -1;
      }
      return 0;
    };
    for (size_t i = 1; i < order.size(); ++i)
      for (size_t j = i; j > 0 && outside(order[j - 1], order[j]) < 0; --j)
        std::swap(order[j - 1], order[j]);
  }
  for (uint8_t axis : axes.order) order.push_back(axis);
  return order;
}

void collapse(Loops& loops) {
  Dims& extents = loops.extents;
  for (size_t i = 0; i + 1 < extents.size();) {
    const bool border = static_cast<int>(i) == loops.kept - 1;
    bool joined = !border && extents[i + 1] != 0;
    for (const Dims& s : loops.strides) joined = joined && s[i] == s[i + 1] * extents[i + 1];
    if (!joined) {
      ++i;
      continue;
    }
    extents[i + 1] *= extents[i];
    extents.erase(i);
    for (Dims& s : loops.strides) s.erase(i);
    if (static_cast<int>(i) < loops.kept) --loops.kept;
    if (i > 0) --i;
  }
  if (loops.kept == 0) {
    extents.insert(0, 1);
    for (Dims& s : loops.strides) s.insert(0, 0);
    loops.kept = 1;
  }
}

}  // namespace

void arrange(const LoopNest& nest, Loops& loops) {
  const AxisList order = order_axes(nest);
  loops.kept = static_cast<int>(order.size() - nest.axes.order.size());
  loops.extents.clear();
  for (uint8_t axis : order) loops.extents.push_back(nest.axes.extents[axis]);
  loops.strides.resize(nest.accesses.size());
  for (size_t i = 0; i < nest.accesses.size(); ++i) {
    loops.strides[i].clear();
    for (uint8_t axis : order) loops.strides[i].push_back(nest.accesses[i].strides[axis]);
  }
  collapse(loops);
}

bool frame_strides(const Axes& axes, const Dims& strides, const Dims& frame, Dims& out) {
  out.assign(nullptr, 0);
  out.resize(frame.size(), 0);
  size_t axis = axes.extents.size();
  for (size_t f = frame.size(); f-- > 0;) {
    int64_t covered = 1;
    while (covered < frame[f]) {
      if (axis == 0 || (axes.reduced >> (axis - 1) & 1)) return false;
      --axis;
      if (covered == 1)
        out[f] = strides[axis];
      else if (strides[axis] != out[f] * covered)
        return false;
      covered *= axes.extents[axis];
    }
    if (covered != frame[f]) return false;
  }
  return axis == 0;
}

bool arrange(const LoopNest& nest, const Dims& frame, Loops& out) {
  out.extents = frame;
  out.kept = static_cast<int>(frame.size());
  out.strides.resize(nest.accesses.size());
  for (size_t i = 0; i < nest.accesses.size(); ++i)
    if (!frame_strides(nest.axes, nest.accesses[i].strides, frame, out.strides[i])) return false;
  return true;
}

bool holds_rows(const Axes& axes, const Loops& loops) {
  if (axes.mode != driver::TileMode::row) return false;
  int64_t points = 1;
  for (size_t i = static_cast<size_t>(loops.kept); i < loops.extents.size(); ++i)
    points *= loops.extents[i];
  return points <= k_persist_points;
}

}  // namespace qs::codegen
