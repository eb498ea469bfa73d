// Which elements each result of a resampling is made of along one dimension, and with what weights.
#pragma once
#include <vector>

#include "quicksilver/kernels/windows.h"

namespace qs::kernels {

/// Result o is the sum of weight[t] * x[index[t]] over t in [begin[o], begin[o + 1]).
struct Taps {
  std::vector<int64_t> begin, index;
  std::vector<double> weight;
  /// One element of weight 1 for each result: a gather.
  bool picks() const;
};

/// `in` and `out` are the extents of the input and the result of the forward direction; dimension
/// `d` of `how` says the rest. `single`: positions are computed in single precision, as PyTorch
/// does for all dtypes but double.
Taps taps_of(const Resample& how, int d, int64_t in, int64_t out, bool single);
/// The gradient's: what each input receives, in the order of the results.
Taps transpose(const Taps& taps, int64_t in);

}  // namespace qs::kernels
