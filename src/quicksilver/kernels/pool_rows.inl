// The text of pool_rows_*.cpp: plain loops that the compiler vectorises for the flags of each file.
#include "quicksilver/kernels/pool_rows.h"

namespace qs::kernels {
namespace {

template <int64_t Stride>
inline void tap_max_by(const float* __restrict row, int64_t stride, int64_t n,
                       float* __restrict best, int32_t* __restrict at, int32_t base) {
  const int64_t step = Stride ? Stride : stride;
  for (int64_t i = 0; i < n; ++i) {
    const float x = row[i * step];
    const bool takes = (x > best[i]) | (x != x);
    best[i] = takes ? x : best[i];
    at[i] = takes ? base + static_cast<int32_t>(i * step) : at[i];
  }
}

void tap_max(const float* row, int64_t stride, int64_t n, float* best, int32_t* at, int32_t base) {
  if (stride == 1) return tap_max_by<1>(row, 1, n, best, at, base);
  if (stride == 2) return tap_max_by<2>(row, 2, n, best, at, base);
  tap_max_by<0>(row, stride, n, best, at, base);
}

template <int N>
inline void block_2x2(const float* __restrict first, const float* __restrict second,
                      float* __restrict best, int32_t* __restrict at, int32_t first_base,
                      int32_t second_base) {
  for (int i = 0; i < N; ++i) {
    float m = first[2 * i];
    int32_t p = first_base + 2 * i;
    const float b = first[2 * i + 1], c = second[2 * i], d = second[2 * i + 1];
    bool takes = (b > m) | (b != b);
    m = takes ? b : m;
    p = takes ? first_base + 2 * i + 1 : p;
    takes = (c > m) | (c != c);
    m = takes ? c : m;
    p = takes ? second_base + 2 * i : p;
    takes = (d > m) | (d != d);
    m = takes ? d : m;
    p = takes ? second_base + 2 * i + 1 : p;
    best[i] = m;
    at[i] = p;
  }
}

/// Whole blocks of N; the last one overlaps the one before rather than leaving a rest.
template <int N>
inline void blocks_2x2(const float* first, const float* second, int64_t n, float* best, int32_t* at,
                       int32_t first_base, int32_t second_base) {
  for (int64_t i = 0; i < n; i += N) {
    const int64_t k = i + N <= n ? i : n - N;
    const auto shift = static_cast<int32_t>(2 * k);
    block_2x2<N>(first + 2 * k, second + 2 * k, best + k, at + k, first_base + shift,
                 second_base + shift);
  }
}

void max_2x2(const float* first, const float* second, int64_t n, float* best, int32_t* at,
             int32_t first_base, int32_t second_base) {
  if (n >= 16) return blocks_2x2<16>(first, second, n, best, at, first_base, second_base);
  if (n >= 8) return blocks_2x2<8>(first, second, n, best, at, first_base, second_base);
  if (n >= 4) return blocks_2x2<4>(first, second, n, best, at, first_base, second_base);
  blocks_2x2<1>(first, second, n, best, at, first_base, second_base);
}

template <int64_t Stride>
inline void add_by(const float* __restrict row, int64_t stride, int64_t n, float* __restrict sum) {
  const int64_t step = Stride ? Stride : stride;
  for (int64_t i = 0; i < n; ++i) sum[i] += row[i * step];
}

void add(const float* row, int64_t stride, int64_t n, float* sum) {
  if (stride == 1) return add_by<1>(row, 1, n, sum);
  if (stride == 2) return add_by<2>(row, 2, n, sum);
  add_by<0>(row, stride, n, sum);
}

void add_scaled(const float* __restrict row, float weight, int64_t n, float* __restrict sum) {
  for (int64_t i = 0; i < n; ++i) sum[i] += weight * row[i];
}

void pairs(const float* __restrict row, const int32_t* __restrict index,
           const float* __restrict weight, int64_t n, float* __restrict out) {
  for (int64_t i = 0; i < n; ++i)
    out[i] = row[index[2 * i]] * weight[2 * i] + row[index[2 * i + 1]] * weight[2 * i + 1];
}

}  // namespace
}  // namespace qs::kernels
