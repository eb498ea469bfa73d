// A layout says which elements of a storage a tensor is: shape, strides and offset, in elements.
#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "quicksilver/core/export.h"
#include "quicksilver/core/small_vector.h"

namespace qs {

using Dims = SmallVector<int64_t, 5>;
using DimSpan = std::span<const int64_t>;

struct QS_API Layout {
  Dims shape;
  Dims strides;  // elements; 0 where the dimension is broadcast
  int64_t offset = 0;

  Layout() = default;
  Layout(Dims shape_in, Dims strides_in, int64_t offset_in = 0)
      : shape(std::move(shape_in)), strides(std::move(strides_in)), offset(offset_in) {}
  /// Row-major over `shape`, offset 0.
  static Layout contiguous(DimSpan shape);

  int rank() const { return static_cast<int>(shape.size()); }
  int64_t numel() const {
    int64_t n = 1;
    for (int64_t s : shape) n *= s;
    return n;
  }
  /// Row-major without gaps (dimensions of extent 1 may have any stride), as PyTorch's
  /// `is_contiguous`; the offset does not matter.
  bool is_contiguous() const;
  /// Every element of [offset, offset + numel) is touched exactly once, in some order.
  bool is_dense() const;
  /// Two indices may name one element (a stride of 0 over more than one, or interleaving).
  bool may_self_overlap() const;
  /// Lowest and one past the highest element touched; equal for an empty layout.
  std::pair<int64_t, int64_t> extent() const;

  friend bool operator==(const Layout& a, const Layout& b) {
    return a.offset == b.offset && a.shape == b.shape && a.strides == b.strides;
  }
};

QS_API Dims contiguous_strides(DimSpan shape);
/// PyTorch's broadcast of two shapes; throws RuntimeError in PyTorch's words when they do not
/// match.
QS_API Dims broadcast_shapes(DimSpan a, DimSpan b);
/// `layout` seen as `shape` (stride 0 in new or stretched dimensions); shapes must be compatible.
QS_API Layout broadcast_to(const Layout& layout, DimSpan shape);
/// The strides a view of `shape` over `layout` has, or false when only a copy can have that shape.
QS_API bool view_strides(const Layout& layout, DimSpan shape, Dims& strides);
/// dim in [-rank, rank) -> [0, rank) (rank 0 counts as 1); IndexError otherwise, PyTorch's words.
QS_API int wrap_dim(int64_t dim, int rank);
/// "[2, 3]"
QS_API std::string to_string(DimSpan dims);
/// Product of extents; throws RuntimeError when it overflows int64.
QS_API int64_t checked_numel(DimSpan shape);

}  // namespace qs
