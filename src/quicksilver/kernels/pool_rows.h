// Rows of f32 pooling, compiled for each instruction set; all give the same bits.
#pragma once
#include <cstdint>

namespace qs::kernels {

struct PoolRows {
  /// best[i], at[i] <- row[i * stride], base + i * stride where that is larger or NaN.
  void (*tap_max)(const float* row, int64_t stride, int64_t n, float* best, int32_t* at,
                  int32_t base);
  /// The largest of the pairs of a row of 2 n elements; `base`: the row's position.
  void (*max_1x2)(const float* row, int64_t n, float* best, int32_t* at, int32_t base);
  /// The largest of the 2 x 2 blocks of two rows of 2 n elements; `base`: position of each row.
  void (*max_2x2)(const float* first, const float* second, int64_t n, float* best, int32_t* at,
                  int32_t first_base, int32_t second_base);
  /// The sums of the 2 x 2 blocks, column by column, divided.
  void (*mean_2x2)(const float* first, const float* second, int64_t n, float divisor, float* mean);
  /// sum[i] += row[i * stride]
  void (*add)(const float* row, int64_t stride, int64_t n, float* sum);
  /// sum[i] += weight * row[i]
  void (*add_scaled)(const float* row, float weight, int64_t n, float* sum);
  /// out[i] = row[index[2 i]] * weight[2 i] + row[index[2 i + 1]] * weight[2 i + 1]
  void (*pairs)(const float* row, const int32_t* index, const float* weight, int64_t n, float* out);
};

/// For the instruction set in use (core/cpu_info.h).
const PoolRows& pool_rows();

extern const PoolRows k_pool_rows_generic;
#if defined(__x86_64__)
extern const PoolRows k_pool_rows_avx2, k_pool_rows_avx512;
#endif

}  // namespace qs::kernels
