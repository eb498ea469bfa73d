#include "quicksilver/plan/walk.h"

#include <algorithm>

namespace qs::plan {

bool find_walk(const Layout& tensor, const Layout& view, Walk& out) {
  SmallVector<int, 8> by_size;
  for (int d = 0; d < tensor.rank(); ++d)
    if (tensor.shape[d] > 1) by_size.push_back(d);
  std::sort(by_size.begin(), by_size.end(),
            [&](int a, int b) { return tensor.strides[a] > tensor.strides[b]; });
  int64_t rest = view.offset;
  out.start.resize(tensor.shape.size(), 0);
  for (int d : by_size) {
    if (tensor.strides[d] <= 0) return false;
    out.start[d] = rest / tensor.strides[d];
    rest %= tensor.strides[d];
  }
  if (rest != 0) return false;
  Dims low = out.start, high = out.start;
  for (int e = 0; e < view.rank(); ++e) {
    out.dim.push_back(-1);
    out.step.push_back(0);
    const int64_t stride = view.strides[e], n = view.shape[e];
    if (n == 1 || stride == 0) continue;
    for (int d : by_size) {
      const int64_t step = stride / tensor.strides[d];
      if (step * tensor.strides[d] != stride) continue;
      const int64_t reach = step * (n - 1);
      if (low[d] + std::min<int64_t>(reach, 0) < 0 ||
          high[d] + std::max<int64_t>(reach, 0) >= tensor.shape[d])
        continue;
      low[d] += std::min<int64_t>(reach, 0);
      high[d] += std::max<int64_t>(reach, 0);
      out.dim.back() = d;
      out.step.back() = step;
      break;
    }
    if (out.dim.back() < 0) return false;
  }
  return true;
}

Layout look_through(const Layout& operand, DimSpan shape, const Walk& walk, DimSpan view) {
  const Layout whole = broadcast_to(operand, shape);
  Layout l;
  l.shape = Dims(view.data(), view.data() + view.size());
  int64_t offset = 0;
  for (size_t d = 0; d < walk.start.size(); ++d) offset += walk.start[d] * whole.strides[d];
  l.offset = operand.offset + offset;
  for (size_t e = 0; e < view.size(); ++e)
    l.strides.push_back(
        walk.dim[e] < 0 ? 0 : whole.strides[static_cast<size_t>(walk.dim[e])] * walk.step[e]);
  return l;
}

}  // namespace qs::plan
