// The space that gather and scatter share: points, and what indices add to an address at each.
#pragma once
#include <span>
#include <vector>

#include "quicksilver/kernels/kernels.h"

namespace qs::kernels {

/// address(point) = point . strides + sum_j wrap(index_j[point . index_strides_j], bound_j) *
/// step_j, in elements of the indexed tensor.
struct IndexSpace {
  struct Index {
    driver::PtrRef ptr;
    DType dtype;
    int64_t bound, step;
  };
  Signs signs = Signs::not_negative;
  Dims shape;
  Dims strides;
  std::vector<Index> indices;
  std::vector<Dims> index_strides;
};

/// `dims` (ascending) of `indexed` replaced by the indices' dimensions at position `at`.
IndexSpace index_space(const View& indexed, std::span<const View> indices,
                       std::span<const int> dims, int at, Signs signs);
/// How a bound travels to a kernel (IndexReader::read).
inline int64_t bound_word(int64_t bound, Signs signs) {
  return signs == Signs::from_end ? bound : ~bound;
}
/// torch.gather's: the points of `index`, dimension `dim` of `indexed` taken from it.
IndexSpace along_space(const View& indexed, const View& index, int dim);

}  // namespace qs::kernels
