// The matrix product with AVX2 and FMA: tiles of 6 x 16 floats, 12 of the 16 registers.
#include <immintrin.h>

#include <cstring>
#include <type_traits>

#include "quicksilver/core/half.h"
#include "quicksilver/driver/cpu/gemm_table.h"

#define QS_GEMM_NAMESPACE gemm_avx2
#define QS_INLINE [[gnu::always_inline]] inline

namespace qs::driver::cpu::QS_GEMM_NAMESPACE {
namespace {

constexpr int k_vector_bytes = 32;
constexpr int k_tile_rows = 6;

template <class T>
struct VecOf {
  typedef T type __attribute__((vector_size(k_vector_bytes)));
};
template <class T>
using Vec = typename VecOf<T>::type;
template <class T>
QS_INLINE Vec<T> load(const T* p) {
  return (Vec<T>)_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
template <class T>
QS_INLINE void store(T* p, Vec<T> v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), (__m256i)v);
}
template <class T>
QS_INLINE Vec<T> splat(T x) {
  if constexpr (std::is_same_v<T, float>)
    return (Vec<T>)_mm256_set1_ps(x);
  else if constexpr (std::is_same_v<T, double>)
    return (Vec<T>)_mm256_set1_pd(x);
  else if constexpr (sizeof(T) == 4)
    return (Vec<T>)_mm256_set1_epi32(static_cast<int>(x));
  else
    return (Vec<T>)_mm256_set1_epi64x(static_cast<long long>(x));
}
template <class V>
QS_INLINE V fma(V a, V b, V c) {
  if constexpr (std::is_same_v<V, Vec<float>>)
    return (V)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
  else if constexpr (std::is_same_v<V, Vec<double>>)
    return (V)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
  else
    return a * b + c;
}
template <class T>
QS_INLINE T fma_one(T a, T b, T c) {
  if constexpr (std::is_same_v<T, float>)
    return __builtin_fmaf(a, b, c);
  else if constexpr (std::is_same_v<T, double>)
    return __builtin_fma(a, b, c);
  else
    return a * b + c;
}
// All ones in the first `count` lanes.
template <class T>
QS_INLINE __m256i part_mask(int count) {
  if constexpr (sizeof(T) == 4)
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  else
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3));
}
template <class T>
QS_INLINE Vec<T> load_part(const T* p, __m256i mask) {
  if constexpr (sizeof(T) == 4)
    return (Vec<T>)_mm256_maskload_epi32(reinterpret_cast<const int*>(p), mask);
  else
    return (Vec<T>)_mm256_maskload_epi64(reinterpret_cast<const long long*>(p), mask);
}
template <class T>
QS_INLINE void store_part(T* p, Vec<T> v, __m256i mask) {
  if constexpr (sizeof(T) == 4)
    _mm256_maskstore_epi32(reinterpret_cast<int*>(p), mask, (__m256i)v);
  else
    _mm256_maskstore_epi64(reinterpret_cast<long long*>(p), mask, (__m256i)v);
}
QS_INLINE __m256 load8(const float* p) { return _mm256_loadu_ps(p); }
QS_INLINE __m256 load8(const F16* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
QS_INLINE __m256 load8(const BF16* p) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

QS_INLINE Vec<float> load_half(const F16* p) { return (Vec<float>)load8(p); }
QS_INLINE Vec<float> load_half(const BF16* p) { return (Vec<float>)load8(p); }
template <class S>
void transpose_panel(float* dst, int64_t width, const S* src, int64_t line, int rows, int64_t k);

}  // namespace
}  // namespace qs::driver::cpu::QS_GEMM_NAMESPACE

#include "quicksilver/driver/cpu/gemm_block.inl"

namespace qs::driver::cpu {
namespace gemm_avx2 {
namespace {

// r[i] is row i of an 8 x 8 block; becomes column i.
QS_INLINE void transpose8(__m256 (&r)[8]) {
  __m256 t[8];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    r[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
    r[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
    r[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
    r[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm256_permute2f128_ps(r[i], r[4 + i], 0x20);
    t[4 + i] = _mm256_permute2f128_ps(r[i], r[4 + i], 0x31);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) r[i] = t[i];
}

// Stores whole vectors at a distance of `width`: what a narrow panel's line writes too much is the
// beginning of its next line, which is stored after it; the last line is masked.
template <class S>
void transpose_panel(float* dst, int64_t width, const S* src, int64_t line, int rows, int64_t k) {
  const int room = width < 8 ? static_cast<int>(width) : 8;
  const __m256i last = part_mask<float>(room);
  int64_t p = 0;
  for (; p + 8 <= k; p += 8) {
    __m256 r[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) r[i] = i < rows ? load8(src + i * line + p) : _mm256_setzero_ps();
    transpose8(r);
    float* to = dst + p * width;
#pragma GCC unroll 7
    for (int i = 0; i < 7; ++i) _mm256_storeu_ps(to + i * width, r[i]);
    _mm256_maskstore_ps(to + 7 * width, last, r[7]);
  }
  for (; p < k; ++p)
    for (int i = 0; i < room; ++i)
      dst[p * width + i] = i < rows ? widen<float, S>(src[i * line + p]) : 0.0f;
}

}  // namespace
}  // namespace gemm_avx2

const GemmTable& gemm_avx2_table() {
  static const GemmTable table = gemm_avx2::make_table();
  return table;
}

}  // namespace qs::driver::cpu
