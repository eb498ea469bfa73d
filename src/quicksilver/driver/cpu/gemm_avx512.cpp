// The matrix product with AVX-512: tiles of 14 x 32 floats, 28 of the 32 registers.
// gcc 12 takes the deliberately undefined operand of its own intrinsics for a mistake.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include <cstring>
#include <type_traits>

#include "quicksilver/core/half.h"
#include "quicksilver/driver/cpu/gemm_table.h"

#define QS_GEMM_NAMESPACE gemm_avx512
#define QS_INLINE [[gnu::always_inline]] inline

namespace qs::driver::cpu::QS_GEMM_NAMESPACE {
namespace {

constexpr int k_vector_bytes = 64;
constexpr int k_tile_rows = 14;

template <class T>
struct VecOf {
  typedef T type __attribute__((vector_size(k_vector_bytes)));
};
template <class T>
using Vec = typename VecOf<T>::type;
template <class T>
QS_INLINE Vec<T> load(const T* p) {
  return (Vec<T>)_mm512_loadu_si512(p);
}
template <class T>
QS_INLINE void store(T* p, Vec<T> v) {
  _mm512_storeu_si512(p, (__m512i)v);
}
template <class T>
QS_INLINE Vec<T> splat(T x) {
  if constexpr (std::is_same_v<T, float>)
    return (Vec<T>)_mm512_set1_ps(x);
  else if constexpr (std::is_same_v<T, double>)
    return (Vec<T>)_mm512_set1_pd(x);
  else if constexpr (sizeof(T) == 4)
    return (Vec<T>)_mm512_set1_epi32(static_cast<int>(x));
  else
    return (Vec<T>)_mm512_set1_epi64(static_cast<long long>(x));
}
template <class V>
QS_INLINE V fma(V a, V b, V c) {
  if constexpr (std::is_same_v<V, Vec<float>>)
    return (V)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
  else if constexpr (std::is_same_v<V, Vec<double>>)
    return (V)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
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
template <class T>
QS_INLINE uint32_t part_mask(int count) {
  return (1u << count) - 1u;
}
template <class T>
QS_INLINE Vec<T> load_part(const T* p, uint32_t mask) {
  if constexpr (sizeof(T) == 4)
    return (Vec<T>)_mm512_maskz_loadu_epi32(static_cast<__mmask16>(mask), p);
  else
    return (Vec<T>)_mm512_maskz_loadu_epi64(static_cast<__mmask8>(mask), p);
}
template <class T>
QS_INLINE void store_part(T* p, Vec<T> v, uint32_t mask) {
  if constexpr (sizeof(T) == 4)
    _mm512_mask_storeu_epi32(p, static_cast<__mmask16>(mask), (__m512i)v);
  else
    _mm512_mask_storeu_epi64(p, static_cast<__mmask8>(mask), (__m512i)v);
}
QS_INLINE __m512 load16(const float* p, __mmask16 m) { return _mm512_maskz_loadu_ps(m, p); }
QS_INLINE __m512 load16(const F16* p, __mmask16 m) {
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, p));
}
QS_INLINE __m512 load16(const BF16* p, __mmask16 m) {
  return _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, p)), 16));
}

QS_INLINE Vec<float> load_half(const F16* p) { return (Vec<float>)load16(p, 0xffff); }
QS_INLINE Vec<float> load_half(const BF16* p) { return (Vec<float>)load16(p, 0xffff); }
template <class S>
void transpose_panel(float* dst, int64_t width, const S* src, int64_t line, int rows, int64_t k);

}  // namespace
}  // namespace qs::driver::cpu::QS_GEMM_NAMESPACE

#include "quicksilver/driver/cpu/gemm_block.inl"

namespace qs::driver::cpu {
namespace gemm_avx512 {
namespace {

// r[i] is row i of a 16 x 16 block; becomes column i.
QS_INLINE void transpose16(__m512 (&r)[16]) {
  __m512 t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const auto d = [](__m512 x) { return _mm512_castps_pd(x); };
    r[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(d(t[4 * i]), d(t[4 * i + 2])));
    r[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(d(t[4 * i]), d(t[4 * i + 2])));
    r[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(d(t[4 * i + 1]), d(t[4 * i + 3])));
    r[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(d(t[4 * i + 1]), d(t[4 * i + 3])));
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {  // t[j]: quarters of rows 0-7 (j < 8) and 8-15
    t[i] = _mm512_shuffle_f32x4(r[i], r[4 + i], 0x88);
    t[4 + i] = _mm512_shuffle_f32x4(r[i], r[4 + i], 0xdd);
    t[8 + i] = _mm512_shuffle_f32x4(r[8 + i], r[12 + i], 0x88);
    t[12 + i] = _mm512_shuffle_f32x4(r[8 + i], r[12 + i], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_f32x4(t[i], t[8 + i], 0x88);
    r[4 + i] = _mm512_shuffle_f32x4(t[4 + i], t[12 + i], 0x88);
    r[8 + i] = _mm512_shuffle_f32x4(t[i], t[8 + i], 0xdd);
    r[12 + i] = _mm512_shuffle_f32x4(t[4 + i], t[12 + i], 0xdd);
  }
}

// Stores whole vectors at a distance of `width`: what a narrow panel's line writes too much is the
// beginning of its next line, which is stored after it; the last line is masked.
template <class S>
void transpose_panel(float* dst, int64_t width, const S* src, int64_t line, int rows, int64_t k) {
  const int64_t room = width < 16 ? width : 16;
  const __mmask16 last = static_cast<__mmask16>((1u << room) - 1u);
  for (int64_t p = 0; p < k; p += 16) {
    const int64_t count = k - p < 16 ? k - p : 16;
    const __mmask16 in = static_cast<__mmask16>((1u << count) - 1u);
    __m512 r[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i)
      r[i] = i < rows ? load16(src + i * line + p, in) : _mm512_setzero_ps();
    transpose16(r);
    float* to = dst + p * width;
    if (count == 16) {
#pragma GCC unroll 15
      for (int i = 0; i < 15; ++i) _mm512_storeu_ps(to + i * width, r[i]);
      _mm512_mask_storeu_ps(to + 15 * width, last, r[15]);
    } else {
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i)
        if (i < count) _mm512_mask_storeu_ps(to + i * width, last, r[i]);
    }
  }
}

}  // namespace
}  // namespace gemm_avx512
}  // namespace qs::driver::cpu

#include "quicksilver/driver/cpu/gemm_pairs.inl"

namespace qs::driver::cpu {

const GemmTable& gemm_avx512_table() {
  static const GemmTable table = [] {
    GemmTable t = gemm_avx512::make_table();
    t.packed_pairs = gemm_avx512::packed_pairs_block;
    return t;
  }();
  return table;
}

}  // namespace qs::driver::cpu
