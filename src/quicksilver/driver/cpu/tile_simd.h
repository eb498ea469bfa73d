// A thin layer over the compiler's vector extensions, included only by files that are compiled for
// one instruction set. Everything lives in a namespace of its own per set: the linker must never
// merge a function built for AVX-512 with one that runs everywhere.
#pragma once
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // gcc 12 trips over its own header
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include <math.h>

#include <cstdint>
#include <cstring>

#include "quicksilver/driver/cpu/tile_code.h"

#if defined(__AVX512F__)
#define QS_ISA_NAMESPACE isa_avx512
#elif defined(__AVX2__)
#define QS_ISA_NAMESPACE isa_avx2
#else
#define QS_ISA_NAMESPACE isa_generic
#endif
#define QS_INLINE __attribute__((always_inline)) inline

namespace qs::driver::cpu::QS_ISA_NAMESPACE {
namespace {

#if defined(__AVX512F__)
constexpr int k_bytes = 64;
using Float = __m512;
using Double = __m512d;
using Int = __m512i;
#elif defined(__AVX2__)
constexpr int k_bytes = 32;
using Float = __m256;
using Double = __m256d;
using Int = __m256i;
#else
constexpr int k_bytes = 16;
#endif

template <class T>
struct VecOf {
  typedef T type __attribute__((vector_size(k_bytes)));
  static constexpr int lanes = k_bytes / sizeof(T);
};
template <class T>
using Vec = typename VecOf<T>::type;
using vf32 = Vec<float>;
using vf64 = Vec<double>;
using vi32 = Vec<int32_t>;
using vu32 = Vec<uint32_t>;
using vi64 = Vec<int64_t>;
using vu64 = Vec<uint64_t>;

template <class V, class P>
QS_INLINE V load(const P* p) {
  V v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
template <class V, class P>
QS_INLINE void store(P* p, V v) {
  __builtin_memcpy(p, &v, sizeof v);
}
template <class To, class From>
QS_INLINE To bits(From v) {
  static_assert(sizeof(To) == sizeof(From));
  return (To)v;
}
QS_INLINE vf32 splat(float x) { return x - vf32{}; }
QS_INLINE vf64 splat(double x) { return x - vf64{}; }

/// How `rounded` rounds.
constexpr int k_to_nearest = 0, k_down = 1, k_up = 2, k_to_zero = 3;

#if defined(__AVX512F__)
QS_INLINE vf32 fma(vf32 a, vf32 b, vf32 c) {
  return (vf32)_mm512_fmadd_ps((Float)a, (Float)b, (Float)c);
}
QS_INLINE vf64 fma(vf64 a, vf64 b, vf64 c) {
  return (vf64)_mm512_fmadd_pd((Double)a, (Double)b, (Double)c);
}
QS_INLINE vf32 sqrt_of(vf32 a) { return (vf32)_mm512_sqrt_ps((Float)a); }
QS_INLINE vf64 sqrt_of(vf64 a) { return (vf64)_mm512_sqrt_pd((Double)a); }
template <int mode>
QS_INLINE vf32 rounded(vf32 a) {
  return (vf32)_mm512_roundscale_ps((Float)a, mode | _MM_FROUND_NO_EXC);
}
template <int mode>
QS_INLINE vf64 rounded(vf64 a) {
  return (vf64)_mm512_roundscale_pd((Double)a, mode | _MM_FROUND_NO_EXC);
}
QS_INLINE vi32 to_int(vf32 a) { return (vi32)_mm512_cvtps_epi32((Float)a); }  // nearest even
QS_INLINE vf32 to_float(vi32 a) { return (vf32)_mm512_cvtepi32_ps((Int)a); }
QS_INLINE vf64 widen_low(vf32 a) { return (vf64)_mm512_cvtps_pd(_mm512_castps512_ps256((Float)a)); }
QS_INLINE vf64 widen_high(vf32 a) {
  return (vf64)_mm512_cvtps_pd(_mm512_extractf32x8_ps((Float)a, 1));
}
QS_INLINE vf32 narrow(vf64 a, vf64 b) {
  return (vf32)_mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps((Double)a)),
                                  _mm512_cvtpd_ps((Double)b), 1);
}
QS_INLINE bool any(vi32 mask) { return _mm512_movepi32_mask((Int)mask) != 0; }
QS_INLINE bool any(vi64 mask) { return _mm512_movepi64_mask((Int)mask) != 0; }
QS_INLINE unsigned lane_bits(vi32 mask) { return _mm512_movepi32_mask((Int)mask); }
QS_INLINE unsigned lane_bits(vi64 mask) { return _mm512_movepi64_mask((Int)mask); }
#elif defined(__AVX2__)
QS_INLINE vf32 fma(vf32 a, vf32 b, vf32 c) {
  return (vf32)_mm256_fmadd_ps((Float)a, (Float)b, (Float)c);
}
QS_INLINE vf64 fma(vf64 a, vf64 b, vf64 c) {
  return (vf64)_mm256_fmadd_pd((Double)a, (Double)b, (Double)c);
}
QS_INLINE vf32 sqrt_of(vf32 a) { return (vf32)_mm256_sqrt_ps((Float)a); }
QS_INLINE vf64 sqrt_of(vf64 a) { return (vf64)_mm256_sqrt_pd((Double)a); }
template <int mode>
QS_INLINE vf32 rounded(vf32 a) {
  return (vf32)_mm256_round_ps((Float)a, mode | _MM_FROUND_NO_EXC);
}
template <int mode>
QS_INLINE vf64 rounded(vf64 a) {
  return (vf64)_mm256_round_pd((Double)a, mode | _MM_FROUND_NO_EXC);
}
QS_INLINE vi32 to_int(vf32 a) { return (vi32)_mm256_cvtps_epi32((Float)a); }
QS_INLINE vf32 to_float(vi32 a) { return (vf32)_mm256_cvtepi32_ps((Int)a); }
QS_INLINE vf64 widen_low(vf32 a) { return (vf64)_mm256_cvtps_pd(_mm256_castps256_ps128((Float)a)); }
QS_INLINE vf64 widen_high(vf32 a) {
  return (vf64)_mm256_cvtps_pd(_mm256_extractf128_ps((Float)a, 1));
}
QS_INLINE vf32 narrow(vf64 a, vf64 b) {
  return (vf32)_mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps((Double)a)),
                                    _mm256_cvtpd_ps((Double)b), 1);
}
QS_INLINE bool any(vi32 mask) { return _mm256_movemask_ps((Float)mask) != 0; }
QS_INLINE bool any(vi64 mask) { return _mm256_movemask_pd((Double)mask) != 0; }
QS_INLINE unsigned lane_bits(vi32 mask) {
  return static_cast<unsigned>(_mm256_movemask_ps((Float)mask));
}
QS_INLINE unsigned lane_bits(vi64 mask) {
  return static_cast<unsigned>(_mm256_movemask_pd((Double)mask));
}
#else
// Any processor: lane by lane, with the same results.
#define QS_LANES(V, expr)                                              \
  V r;                                                                 \
  for (unsigned i = 0; i < sizeof(V) / sizeof(r[0]); ++i) r[i] = expr; \
  return r;
QS_INLINE vf32 fma(vf32 a, vf32 b, vf32 c){QS_LANES(vf32, ::fmaf(a[i], b[i], c[i]))} QS_INLINE vf64
    fma(vf64 a, vf64 b, vf64 c){QS_LANES(vf64, ::fma(a[i], b[i], c[i]))} QS_INLINE vf32
    sqrt_of(vf32 a){QS_LANES(vf32, ::sqrtf(a[i]))} QS_INLINE vf64 sqrt_of(vf64 a) {
  QS_LANES(vf64, ::sqrt(a[i]))
}
template <int mode>
QS_INLINE double round_one(double x) {
  return mode == k_to_nearest ? ::nearbyint(x)
         : mode == k_down     ? ::floor(x)
         : mode == k_up       ? ::ceil(x)
                              : ::trunc(x);
}
template <int mode>
QS_INLINE vf32 rounded(vf32 a) {
  QS_LANES(vf32, static_cast<float>(round_one<mode>(a[i])))
}
template <int mode>
QS_INLINE vf64 rounded(vf64 a){QS_LANES(vf64, round_one<mode>(a[i]))} QS_INLINE vi32
    to_int(vf32 a){QS_LANES(vi32, a[i] > -2147483904.0f && a[i] < 2147483648.0f
                                      ? static_cast<int32_t>(::nearbyint(static_cast<double>(a[i])))
                                      : INT32_MIN)} QS_INLINE vf32
    to_float(vi32 a){QS_LANES(vf32, static_cast<float>(a[i]))} QS_INLINE vf64
    widen_low(vf32 a){QS_LANES(vf64, a[i])} QS_INLINE vf64
    widen_high(vf32 a){QS_LANES(vf64, a[i + 2])} QS_INLINE vf32 narrow(vf64 a, vf64 b) {
  QS_LANES(vf32, static_cast<float>(i < 2 ? a[i] : b[i - 2]))
}
#undef QS_LANES
template <class V>
QS_INLINE unsigned lane_bits(V mask) {
  unsigned found = 0;
  for (unsigned i = 0; i < sizeof(V) / sizeof(mask[0]); ++i) found |= (mask[i] ? 1u : 0u) << i;
  return found;
}
template <class V>
QS_INLINE bool any(V mask) {
  return lane_bits(mask) != 0;
}
#endif

// The larger, the smaller; NaN wins. x86's instruction gives its second source when either is NaN.
template <class V>
QS_INLINE V larger(V x, V y) {
  return (V)(x != x ? x : (x > y ? x : y));
}
template <class V>
QS_INLINE V smaller(V x, V y) {
  return (V)(x != x ? x : (x < y ? x : y));
}
#if defined(__AVX512F__)
#define QS_EXTREME(name, vec, raw, suffix, op)                                                     \
  QS_INLINE vec name(vec x, vec y) {                                                               \
    return (vec)_mm512_mask_mov_##suffix(_mm512_##op##_##suffix((raw)x, (raw)y),                   \
                                         _mm512_cmp_##suffix##_mask((raw)x, (raw)x, _CMP_UNORD_Q), \
                                         (raw)x);                                                  \
  }
#elif defined(__AVX2__)
#define QS_EXTREME(name, vec, raw, suffix, op)                                             \
  QS_INLINE vec name(vec x, vec y) {                                                       \
    return (vec)_mm256_blendv_##suffix(_mm256_##op##_##suffix((raw)x, (raw)y), (raw)x,     \
                                       _mm256_cmp_##suffix((raw)x, (raw)x, _CMP_UNORD_Q)); \
  }
#endif
#if defined(__AVX2__)
QS_EXTREME(larger, vf32, Float, ps, max)
QS_EXTREME(larger, vf64, Double, pd, max)
QS_EXTREME(smaller, vf32, Float, ps, min)
QS_EXTREME(smaller, vf64, Double, pd, min)
#undef QS_EXTREME
#endif

QS_INLINE vf32 fma(vf32 a, vf32 b, float c) { return fma(a, b, splat(c)); }
QS_INLINE vf64 fma(vf64 a, vf64 b, double c) { return fma(a, b, splat(c)); }
QS_INLINE vf32 nearest(vf32 a) { return rounded<k_to_nearest>(a); }
QS_INLINE vf64 nearest(vf64 a) { return rounded<k_to_nearest>(a); }
QS_INLINE vf32 abs_of(vf32 a) { return (vf32)((vu32)a & 0x7fffffffu); }
QS_INLINE vf64 abs_of(vf64 a) { return (vf64)((vu64)a & 0x7fffffffffffffffull); }
QS_INLINE vf32 sign_of(vf32 a) { return (vf32)((vu32)a & 0x80000000u); }
QS_INLINE vf64 sign_of(vf64 a) { return (vf64)((vu64)a & 0x8000000000000000ull); }
QS_INLINE vf32 with_sign(vf32 a, vf32 s) { return (vf32)((vu32)a | (vu32)sign_of(s)); }
QS_INLINE vf64 with_sign(vf64 a, vf64 s) { return (vf64)((vu64)a | (vu64)sign_of(s)); }

/// Walks n elements by groups. `group(d, a, b, c)` computes exactly one whole group; the last,
/// shorter one goes through local copies, so memory beyond the n-th element is never touched.
template <int arity, int size_d, int size_a, int size_b, int size_c, class Group>
QS_INLINE void drive(char* d, const char* a, const char* b, const char* c, int64_t n,
                     const TileStep& step, Group group) {
  const int64_t stride_a = step.stride[0], stride_b = step.stride[1], stride_c = step.stride[2];
  alignas(64) char rest[4][k_group * 8];
  char* out = nullptr;
  for (;;) {
    if (n < k_group) {
      if (n <= 0) return;
      if (arity >= 1 && stride_a) a = static_cast<char*>(std::memcpy(rest[0], a, n * size_a));
      if (arity >= 2 && stride_b) b = static_cast<char*>(std::memcpy(rest[1], b, n * size_b));
      if (arity >= 3 && stride_c) c = static_cast<char*>(std::memcpy(rest[2], c, n * size_c));
      out = d;
      d = rest[3];
    }
    group(d, a, b, c);
    if (out) {
      std::memcpy(out, d, n * size_d);
      return;
    }
    d += k_group * size_d;
    if (arity >= 1) a += stride_a;
    if (arity >= 2) b += stride_b;
    if (arity >= 3) c += stride_c;
    n -= k_group;
  }
}

/// Elementwise kernels on vectors of T: F::apply(va, vb, vc) gives a vector of T. Long functions
/// are unrolled less: they fill the machine by themselves, and compile in a quarter of the time.
template <class T, class F, int arity, bool is_long = false>
void vector_op(char* d, const char* a, const char* b, const char* c, int64_t n,
               const TileStep& step) {
  constexpr int k_size = sizeof(T);
  drive<arity, k_size, k_size, k_size, k_size>(
      d, a, b, c, n, step, [](char* d, const char* a, const char* b, const char* c) {
        using V = Vec<T>;
        const auto one = [&](int k) __attribute__((always_inline)) {
          if constexpr (arity == 1) store(d + k, (V)F::apply(load<V>(a + k)));
          if constexpr (arity == 2) store(d + k, (V)F::apply(load<V>(a + k), load<V>(b + k)));
          if constexpr (arity == 3)
            store(d + k, (V)F::apply(load<V>(a + k), load<V>(b + k), load<V>(c + k)));
        };
        if constexpr (is_long) {
#pragma GCC unroll 1
          for (int k = 0; k < k_group * k_size; k += k_bytes) one(k);
        } else {
#pragma GCC unroll 8
          for (int k = 0; k < k_group * k_size; k += k_bytes) one(k);
        }
      });
}

/// Elementwise kernels written for one element, which the compiler may vectorise.
template <class D, class A, class F>
void scalar_op1(char* d, const char* a, const char* b, const char* c, int64_t n,
                const TileStep& step) {
  drive<1, sizeof(D), sizeof(A), 1, 1>(d, a, b, c, n, step,
                                       [](char* d, const char* a, const char*, const char*) {
                                         D* out = reinterpret_cast<D*>(d);
                                         const A* x = reinterpret_cast<const A*>(a);
#pragma GCC ivdep
                                         for (int i = 0; i < k_group; ++i) out[i] = F::apply(x[i]);
                                       });
}
template <class D, class A, class F>
void scalar_op2(char* d, const char* a, const char* b, const char* c, int64_t n,
                const TileStep& step) {
  drive<2, sizeof(D), sizeof(A), sizeof(A), 1>(
      d, a, b, c, n, step, [](char* d, const char* a, const char* b, const char*) {
        D* out = reinterpret_cast<D*>(d);
        const A* x = reinterpret_cast<const A*>(a);
        const A* y = reinterpret_cast<const A*>(b);
#pragma GCC ivdep
        for (int i = 0; i < k_group; ++i) out[i] = F::apply(x[i], y[i]);
      });
}

// Kernels of functions that look at one element, exactly n of them: none is computed beyond.
template <class T>
QS_INLINE T element(const char* p, int64_t i, int32_t stride) {
  return reinterpret_cast<const T*>(p)[stride ? i : 0];
}
template <class D, class A, D (*f)(A)>
void exact1(char* d, const char* a, const char*, const char*, int64_t n, const TileStep& step) {
  for (int64_t i = 0; i < n; ++i) reinterpret_cast<D*>(d)[i] = f(element<A>(a, i, step.stride[0]));
}
template <class D, class A, D (*f)(A, A)>
void exact2(char* d, const char* a, const char* b, const char*, int64_t n, const TileStep& step) {
  for (int64_t i = 0; i < n; ++i)
    reinterpret_cast<D*>(d)[i] =
        f(element<A>(a, i, step.stride[0]), element<A>(b, i, step.stride[1]));
}

}  // namespace
}  // namespace qs::driver::cpu::QS_ISA_NAMESPACE
