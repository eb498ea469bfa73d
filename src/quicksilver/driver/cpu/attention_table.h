// The row functions of one instruction set behind attention: what happens to a block of scores
// between two matrix products. Plain data only: files built for one instruction set include it.
#pragma once
#include <cstdint>

#include "quicksilver/core/dtype.h"

namespace qs::driver::cpu {

/// Lines of a block are a multiple of this many elements apart and 64-byte aligned; functions may
/// write the rest of a line.
inline constexpr int64_t k_attention_lanes = 16;

/// A block of scores or of their gradients, in the compute dtype. Row i takes part in the columns
/// [0, min(columns, visible + i)).
template <class T>
struct ScoreBlock {
  T* at = nullptr;
  int64_t line = 0;
  int64_t rows = 0, columns = 0;
  int64_t visible = 0;
};

template <class T>
struct AttentionRows {
  /// A mask on top: -inf where a boolean one is false, else its number added.
  void (*mask)(const ScoreBlock<T>& s, const void* mask, DType dtype, int64_t row, int64_t column);
  /// One step of the running softmax: scores become exp(score - top); `top` and `total` are brought
  /// up to date, and what was summed before must be multiplied by `factor`, one a row each.
  void (*softmax)(const ScoreBlock<T>& s, T* top, T* total, T* factor);
  /// Scores become probabilities: exp(score - logsumexp), 0 out of sight.
  void (*probability)(const ScoreBlock<T>& s, const T* logsumexp);
  /// g = p (g - delta), row by row.
  void (*score_gradient)(const ScoreBlock<T>& g, const T* p, const T* delta);
  /// Multiplies by `scale` what dropout leaves and clears the rest. The first element's draw is
  /// number `first` of the stream; a row further is `row_step` draws further.
  void (*drop)(const ScoreBlock<T>& s, uint64_t first, uint64_t row_step, double keep, double scale,
               uint64_t seed, uint64_t offset);
  /// delta[i] = sum over j of a[i][j] b[i][j]; strides in elements.
  void (*delta)(const T* a, int64_t a_row, int64_t a_column, const T* b, int64_t b_row,
                int64_t b_column, int64_t rows, int64_t columns, T* delta);
  /// x[i] *= factor[i] for rows of `columns` elements.
  void (*scale_rows)(T* x, int64_t line, int64_t rows, int64_t columns, const T* factor);
  /// Dense rows in the compute dtype from memory of any dtype and strides.
  void (*widen)(T* dst, int64_t line, const void* src, DType dtype, int64_t row, int64_t column,
                int64_t rows, int64_t columns);
  /// The other way.
  void (*narrow)(void* dst, DType dtype, int64_t row, int64_t column, const T* src, int64_t line,
                 int64_t rows, int64_t columns);
};

struct AttentionTable {
  AttentionRows<float> f32;
  AttentionRows<double> f64;
};

const AttentionTable& attention_generic_table();
const AttentionTable& attention_avx2_table();    // x86-64 only
const AttentionTable& attention_avx512_table();  // x86-64 only

}  // namespace qs::driver::cpu
