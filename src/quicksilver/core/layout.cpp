#include "quicksilver/core/layout.h"

#include <algorithm>

#include "quicksilver/core/error.h"

namespace qs {

Dims contiguous_strides(DimSpan shape) {
  Dims strides;
  strides.resize(shape.size());
  int64_t* at = strides.data();
  int64_t step = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    at[i] = step;
    step *= std::max<int64_t>(shape[i], 1);
  }
  return strides;
}

Layout Layout::contiguous(DimSpan shape) { return {Dims(shape), contiguous_strides(shape), 0}; }

bool Layout::is_contiguous() const {
  int64_t step = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    if (shape[i] == 0) return true;
    if (shape[i] != 1) {
      if (strides[i] != step) {
        return std::find(shape.begin(), shape.end(), 0) != shape.end();
      }
      step *= shape[i];
    }
  }
  return true;
}

bool Layout::is_dense() const {
  SmallVector<int, 5> order;
  for (int i = 0; i < rank(); ++i) {
    if (shape[i] == 0) return true;
    if (shape[i] != 1) order.push_back(i);
  }
  std::sort(order.begin(), order.end(), [&](int a, int b) { return strides[a] < strides[b]; });
  int64_t step = 1;
  for (int i : order) {
    if (strides[i] != step) return false;
    step *= shape[i];
  }
  return true;
}

bool Layout::may_self_overlap() const {
  SmallVector<int, 5> order;
  for (int i = 0; i < rank(); ++i) {
    if (shape[i] == 0) return false;
    if (shape[i] != 1) order.push_back(i);
  }
  std::sort(order.begin(), order.end(), [&](int a, int b) { return strides[a] < strides[b]; });
  int64_t reach = 0;  // highest element offset the smaller strides touch
  for (int i : order) {
    if (strides[i] <= reach) return true;
    reach += strides[i] * (shape[i] - 1);
  }
  return false;
}

std::pair<int64_t, int64_t> Layout::extent() const {
  int64_t low = offset, high = offset + 1;
  for (int i = 0; i < rank(); ++i) {
    if (shape[i] == 0) return {offset, offset};
    const int64_t reach = strides[i] * (shape[i] - 1);
    (reach < 0 ? low : high) += reach;
  }
  return {low, high};
}

Dims broadcast_shapes(DimSpan a, DimSpan b) {
  const size_t rank = std::max(a.size(), b.size());
  Dims out(rank);
  for (size_t i = rank; i-- > 0;) {  // PyTorch names the innermost mismatch
    const int64_t sa = i < rank - a.size() ? 1 : a[i - (rank - a.size())];
    const int64_t sb = i < rank - b.size() ? 1 : b[i - (rank - b.size())];
    QS_CHECK(sa == sb || sa == 1 || sb == 1, Error,
             "The size of tensor a ({}) must match the size of tensor b ({}) at non-singleton "
             "dimension {}",
             sa, sb, i);
    out[i] = sa == 1 ? sb : sa;
  }
  return out;
}

Layout broadcast_to(const Layout& layout, DimSpan shape) {
  Layout out;
  out.offset = layout.offset;
  out.shape.assign(shape.data(), shape.size());
  out.strides.resize(shape.size());
  const size_t lead = shape.size() - layout.shape.size();
  for (size_t i = lead; i < shape.size(); ++i)
    if (layout.shape[i - lead] == shape[i]) out.strides[i] = layout.strides[i - lead];
  return out;
}

bool view_strides(const Layout& layout, DimSpan shape, Dims& strides) {
  strides.resize(shape.size());
  int64_t numel = 1;
  for (int64_t s : layout.shape) numel *= s;
  if (numel == 0) {
    strides = contiguous_strides(shape);
    return true;
  }
  // Walk from the innermost dimension over runs of the old layout that are one stretch of memory.
  int64_t view_d = static_cast<int64_t>(shape.size()) - 1;
  int64_t base = layout.rank() ? layout.strides.back() : 1;
  int64_t tensor_numel = 1, view_numel = 1;
  for (int d = layout.rank() - 1; d >= 0; --d) {
    tensor_numel *= layout.shape[d];
    const bool run_ends =
        d == 0 || (layout.shape[d - 1] != 1 && layout.strides[d - 1] != tensor_numel * base);
    if (!run_ends) continue;
    while (view_d >= 0 && (view_numel < tensor_numel || shape[view_d] == 1)) {
      strides[view_d] = view_numel * base;
      view_numel *= shape[view_d];
      --view_d;
    }
    if (view_numel != tensor_numel) return false;
    if (d > 0) {
      base = layout.strides[d - 1];
      tensor_numel = 1;
      view_numel = 1;
    }
  }
  for (; view_d >= 0; --view_d) {
    if (shape[view_d] != 1) return false;
    strides[view_d] = view_numel * base;
  }
  return true;
}

int wrap_dim(int64_t dim, int rank) {
  const int64_t n = std::max(rank, 1);
  QS_CHECK(dim >= -n && dim < n, IndexError,
           "Dimension out of range (expected to be in range of [{}, {}], but got {})", -n, n - 1,
           dim);
  return static_cast<int>(dim < 0 ? dim + n : dim);
}

std::string to_string(DimSpan dims) {
  std::string text = "[";
  for (size_t i = 0; i < dims.size(); ++i) {
    if (i) text += ", ";
    text += std::to_string(dims[i]);
  }
  return text + "]";
}

int64_t checked_numel(DimSpan shape) {
  int64_t n = 1;
  bool zero = false;
  for (int64_t s : shape) zero |= s == 0;
  if (zero) return 0;
  for (int64_t s : shape)
    QS_CHECK(!__builtin_mul_overflow(n, s, &n), Error,
             "Storage size calculation overflowed with sizes={}", to_string(shape));
  return n;
}

}  // namespace qs
