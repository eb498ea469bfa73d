// The text of pool_rows_*.cpp: plain loops that the compiler vectorises for the flags of each file.
#include <cstring>
#include <type_traits>

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

// Loops over so few elements are unrolled before they are vectorised: blocks are spelled as
// vectors.
template <int N>
struct Lanes {
  typedef float F __attribute__((vector_size(4 * N)));
  typedef int32_t I __attribute__((vector_size(4 * N)));
};

template <class V>
inline V load(const void* from) {
  V v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

/// Elements 0, 2, 4, ... (or 1, 3, 5, ...) of 2 N.
template <int N, bool odd>
inline typename Lanes<N>::F every_other(const float* from) {
  using F = typename Lanes<N>::F;
  const F a = load<F>(from), b = load<F>(from + N);
  if constexpr (N == 4)
    return __builtin_shufflevector(a, b, 0 + odd, 2 + odd, 4 + odd, 6 + odd);
  else if constexpr (N == 8)
    return __builtin_shufflevector(a, b, 0 + odd, 2 + odd, 4 + odd, 6 + odd, 8 + odd, 10 + odd,
                                   12 + odd, 14 + odd);
  else
    return __builtin_shufflevector(a, b, 0 + odd, 2 + odd, 4 + odd, 6 + odd, 8 + odd, 10 + odd,
                                   12 + odd, 14 + odd, 16 + odd, 18 + odd, 20 + odd, 22 + odd,
                                   24 + odd, 26 + odd, 28 + odd, 30 + odd);
}

template <int N, bool two_rows>
inline void max_block(const float* first, const float* second, float* best, int32_t* at,
                      int32_t first_base, int32_t second_base) {
  using F = typename Lanes<N>::F;
  using I = typename Lanes<N>::I;
  I step = {};
  for (int i = 0; i < N; ++i) step[i] = 2 * i;
  F m = every_other<N, false>(first);
  I p = step + first_base;
  const auto take = [&](F x, I place) {
    const I takes = (x > m) | (x != x);
    m = takes ? x : m;
    p = takes ? place : p;
  };
  take(every_other<N, true>(first), step + (first_base + 1));
  if constexpr (two_rows) {
    take(every_other<N, false>(second), step + second_base);
    take(every_other<N, true>(second), step + (second_base + 1));
  }
  std::memcpy(best, &m, sizeof m);
  std::memcpy(at, &p, sizeof p);
}

template <int N>
inline void mean_block(const float* first, const float* second, float divisor, float* mean) {
  const auto sum = (every_other<N, false>(first) + every_other<N, false>(second)) +
                   (every_other<N, true>(first) + every_other<N, true>(second));
  const auto result = sum / divisor;
  std::memcpy(mean, &result, sizeof result);
}

/// Calls f<N>(i) for whole blocks of N from i on; the last one overlaps the one before rather than
/// leaving a rest. Fewer than four are left to `one`.
template <class F, class One>
inline void for_blocks(int64_t n, F&& f, One&& one) {
  const auto blocks = [&]<int N>(std::integral_constant<int, N> size) {
    for (int64_t i = 0; i < n; i += N) f(size, i + N <= n ? i : n - N);
  };
  // Vectors wider than the processor's are taken apart, element by element.
#if defined(__AVX512F__)
  if (n >= 16) return blocks(std::integral_constant<int, 16>());
#endif
#if defined(__AVX2__)
  if (n >= 8) return blocks(std::integral_constant<int, 8>());
#endif
  if (n >= 4) return blocks(std::integral_constant<int, 4>());
  for (int64_t i = 0; i < n; ++i) one(i);
}

void max_2x2(const float* first, const float* second, int64_t n, float* best, int32_t* at,
             int32_t first_base, int32_t second_base) {
  for_blocks(
      n,
      [&]<int N>(std::integral_constant<int, N>, int64_t i) {
        const auto shift = static_cast<int32_t>(2 * i);
        max_block<N, true>(first + 2 * i, second + 2 * i, best + i, at + i, first_base + shift,
                     second_base + shift);
      },
      [&](int64_t i) {
        const auto shift = static_cast<int32_t>(2 * i);
        best[i] = first[2 * i];
        at[i] = first_base + shift;
        tap_max(first + 2 * i + 1, 1, 1, best + i, at + i, first_base + shift + 1);
        tap_max(second + 2 * i, 1, 1, best + i, at + i, second_base + shift);
        tap_max(second + 2 * i + 1, 1, 1, best + i, at + i, second_base + shift + 1);
      });
}

void max_1x2(const float* row, int64_t n, float* best, int32_t* at, int32_t base) {
  for_blocks(
      n,
      [&]<int N>(std::integral_constant<int, N>, int64_t i) {
        max_block<N, false>(row + 2 * i, nullptr, best + i, at + i,
                            base + static_cast<int32_t>(2 * i), 0);
      },
      [&](int64_t i) {
        const auto place = base + static_cast<int32_t>(2 * i);
        best[i] = row[2 * i];
        at[i] = place;
        tap_max(row + 2 * i + 1, 1, 1, best + i, at + i, place + 1);
      });
}

void mean_2x2(const float* first, const float* second, int64_t n, float divisor, float* mean) {
  for_blocks(
      n,
      [&]<int N>(std::integral_constant<int, N>, int64_t i) {
        mean_block<N>(first + 2 * i, second + 2 * i, divisor, mean + i);
      },
      [&](int64_t i) {
        mean[i] =
            ((first[2 * i] + second[2 * i]) + (first[2 * i + 1] + second[2 * i + 1])) / divisor;
      });
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
