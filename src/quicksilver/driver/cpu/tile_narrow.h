// Elements that lie narrower in memory than they are computed with: how vectors of them are read
// and written. Included only by files that are compiled for one instruction set.
#pragma once
#include <type_traits>

#include "quicksilver/core/half.h"
#include "quicksilver/driver/cpu/tile_simd.h"

namespace qs::driver::cpu::QS_ISA_NAMESPACE {
namespace {

constexpr int k_lanes32 = k_bytes / 4;
/// As many elements as a vector has of four bytes.
template <class T>
using Few __attribute__((vector_size(k_lanes32 * sizeof(T)))) = T;

QS_INLINE vu32 bf16_rounded(vu32 bits) {  // the high 16 bits of each are the result
  const vu32 up = bits + 0x7fffu + ((bits >> 16) & 1u);
  return (bits & 0x7fffffffu) > 0x7f800000u ? bits | 0x400000u : up;
}
QS_INLINE vf32 read_f16(const char* p) {
#if defined(__AVX512F__)
  return (vf32)_mm512_cvtph_ps(load<__m256i>(p));
#elif defined(__AVX2__)
  return (vf32)_mm256_cvtph_ps(load<__m128i>(p));
#else
  vf32 x;
  for (int i = 0; i < k_lanes32; ++i) x[i] = f16_to_f32(reinterpret_cast<const uint16_t*>(p)[i]);
  return x;
#endif
}
QS_INLINE void write_f16(char* p, vf32 x) {
#if defined(__AVX512F__)
  store(p, _mm512_cvtps_ph((Float)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#elif defined(__AVX2__)
  store(p, _mm256_cvtps_ph((Float)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#else
  for (int i = 0; i < k_lanes32; ++i) reinterpret_cast<uint16_t*>(p)[i] = f32_to_f16(x[i]);
#endif
}

struct F16Round {
  static QS_INLINE vf32 apply(vf32 x) {
    alignas(64) char rounded[k_lanes32 * 2];
    write_f16(rounded, x);
    return read_f16(rounded);
  }
};
struct Bf16Round {
  static QS_INLINE vf32 apply(vf32 x) { return (vf32)(bf16_rounded((vu32)x) & 0xffff0000u); }
};

// gcc 12 converts vectors of bytes one by one; these are the instructions for it.
template <class T>
QS_INLINE vu32 read_whole(const char* p) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, uint8_t>) return (vu32)_mm512_cvtepu8_epi32(load<__m128i>(p));
  if constexpr (std::is_same_v<T, int8_t>) return (vu32)_mm512_cvtepi8_epi32(load<__m128i>(p));
  if constexpr (std::is_same_v<T, int16_t>) return (vu32)_mm512_cvtepi16_epi32(load<__m256i>(p));
#elif defined(__AVX2__)
  const __m128i x = sizeof(T) == 1 ? _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))
                                   : _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  if constexpr (std::is_same_v<T, uint8_t>) return (vu32)_mm256_cvtepu8_epi32(x);
  if constexpr (std::is_same_v<T, int8_t>) return (vu32)_mm256_cvtepi8_epi32(x);
  if constexpr (std::is_same_v<T, int16_t>) return (vu32)_mm256_cvtepi16_epi32(x);
#else
  return (vu32) __builtin_convertvector(load<Few<T>>(p), vi32);
#endif
}
template <class T>
QS_INLINE void write_whole(char* p, vu32 x) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 1) store(p, _mm512_cvtepi32_epi8((Int)x));
  if constexpr (sizeof(T) == 2) store(p, _mm512_cvtepi32_epi16((Int)x));
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 1) {  // the low bytes of each half, one behind the other
    const Int low = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0,
                                     4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    const Int packed = _mm256_shuffle_epi8((Int)x, low);
    _mm_storel_epi64(
        reinterpret_cast<__m128i*>(p),
        _mm_unpacklo_epi32(_mm256_castsi256_si128(packed), _mm256_extracti128_si256(packed, 1)));
  } else {
    const Int low = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, -1, -1, -1, -1, -1, -1, -1, -1, 0, 1,
                                     4, 5, 8, 9, 12, 13, -1, -1, -1, -1, -1, -1, -1, -1);
    const Int packed = _mm256_shuffle_epi8((Int)x, low);
    store(p, _mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08)));
  }
#else
  store(p, __builtin_convertvector(x, Few<T>));
#endif
}
/// The dtype `T` in memory of what is computed in vectors V.
struct F16 {
  static constexpr int size = 2;
  static QS_INLINE vf32 read(const char* p) { return read_f16(p); }
  static QS_INLINE void write(char* p, vf32 x) { write_f16(p, x); }
};
struct Bf16 {
  static constexpr int size = 2;
  static QS_INLINE vf32 read(const char* p) {
#if defined(__AVX512F__)
    return (vf32)((vu32)_mm512_cvtepu16_epi32(load<__m256i>(p)) << 16);
#elif defined(__AVX2__)
    return (vf32)((vu32)_mm256_cvtepu16_epi32(load<__m128i>(p)) << 16);
#else
    return (vf32)(__builtin_convertvector(load<Few<uint16_t>>(p), vu32) << 16);
#endif
  }
  static QS_INLINE void write(char* p, vf32 x) {
    write_whole<uint16_t>(p, bf16_rounded((vu32)x) >> 16);
  }
};
/// bf16 of what is one: nothing to round.
struct ExactBf16 : Bf16 {
  static QS_INLINE void write(char* p, vf32 x) { write_whole<uint16_t>(p, (vu32)x >> 16); }
};

template <class T>
struct Whole {
  static constexpr int size = sizeof(T);
  static QS_INLINE vu32 read(const char* p) { return read_whole<T>(p); }
  static QS_INLINE void write(char* p, vu32 x) { write_whole<T>(p, x); }
};
/// What a comparison gives, in lanes of any kind, as bool.
struct Flags {
  static constexpr int size = 1;
  template <class V>
  static QS_INLINE void write(char* p, V x) {
    write_whole<uint8_t>(p, (vu32)x);
  }
};
template <class T>
struct Wrapped {
  static QS_INLINE vu32 apply(vu32 x) {
    constexpr int k_off = 32 - 8 * sizeof(T);
    return T(-1) < T(0) ? (vu32)((vi32)(x << k_off) >> k_off) : (x << k_off) >> k_off;
  }
};

}  // namespace
}  // namespace qs::driver::cpu::QS_ISA_NAMESPACE
