// Vector versions of special functions, in f64; f32 goes through f64 and is rounded once. Included
// by tile_math.inl, once per instruction set; every operation is lane by lane, so that all sets
// give the same bits.
#include "quicksilver/driver/cpu/special_series.h"

namespace qs::driver::cpu::QS_ISA_NAMESPACE {
namespace {

/// The Chebyshev series at x in [low, high] (Clenshaw).
template <size_t n>
QS_INLINE vf64 series(const double (&c)[n], vf64 x, double low, double high) {
  const vf64 t = (2.0 * x - (low + high)) / (high - low), twice = t + t;
  vf64 a = {}, b = {};
#pragma GCC unroll 1
  for (size_t i = n - 1; i > 0; --i) {
    const vf64 next = fma(twice, a, splat(c[i]) - b);
    b = a;
    a = next;
  }
  return fma(t, a, splat(c[0]) - b);
}

/// A Bessel function of |x| times e^-|x|, from its series up to 8 and beyond.
template <size_t n, size_t m>
QS_INLINE vf64 scaled_bessel(vf64 a, const double (&small)[n], const double (&large)[m], bool odd) {
  const auto near = a <= 8.0;
  vf64 y = series(small, near ? a : splat(8.0), 0, 8);
  if (odd) y = a * y;
  if (any((vi64)~near)) {
    const vf64 far = series(large, 8.0 / a, 0, 1) / sqrt_of(a);
    y = near ? y : far;
  }
  return y;
}
QS_INLINE vf64 i0e_f64(vf64 x) {
  return scaled_bessel(abs_of(x), special::k_i0_small, special::k_i0_large, false);
}
QS_INLINE vf64 i1e_f64(vf64 x) {
  return with_sign(scaled_bessel(abs_of(x), special::k_i1_small, special::k_i1_large, true), x);
}
/// y e^|x|; e^|x| alone overflows before the product does.
QS_INLINE vf64 unscaled(vf64 y, vf64 x) {
  const vf64 a = abs_of(x);
  const auto large = a > 700.0;
  const vf64 e = exp_f64(large ? 0.5 * a : a), once = y * e;
  return large ? once * e : once;
}

QS_INLINE vf64 erfcx_f64(vf64 x) {
  const vf64 a = abs_of(x);
  vf64 y = series(special::k_erfcx, 4.0 / (4.0 + a), 0, 1) / (1.0 + 2.0 * a);
  const auto negative = x < 0.0;
  if (any((vi64)negative)) {
    const vf64 high = (vf64)((vu64)a & ~uint64_t{0x1fffffff});  // its square is exact
    const vf64 full = 2.0 * exp_f64(high * high) * exp_f64((a - high) * (a + high)) - y;
    y = negative ? (x < -26.7 ? splat(__builtin_inf()) : full) : y;
  }
  return y;
}

QS_INLINE vf64 ndtri_f64(vf64 p) {
  const vf64 q = p - 0.5, r = 0.180625 - q * q;
  const auto central = r >= 0.0;
  vf64 y = q * series(special::k_ndtri_central, central ? r : vf64{}, 0, 0.180625);
  if (any((vi64)~central)) {
    const vf64 root = sqrt_of(-log_f64(q < 0.0 ? p : 1.0 - p));
    const auto far = root >= 5.0;
    vf64 tail = series(special::k_ndtri_tail, far ? splat(5.0) : root, 1.6, 5);
    if (any((vi64)far)) tail = far ? series(special::k_ndtri_far, root, 5, 27.4) : tail;
    tail = with_sign(abs_of(tail), q);
    tail = p == 0.0 ? splat(-__builtin_inf()) : (p == 1.0 ? splat(__builtin_inf()) : tail);
    tail = (p >= 0.0) & (p <= 1.0) ? tail : splat(__builtin_nan(""));
    y = central ? y : tail;
  }
  return y;
}

#define BOTH(Name, expr)                                              \
  struct Name##F64 {                                                  \
    static QS_INLINE vf64 apply(vf64 x) { return expr; }              \
  };                                                                  \
  struct Name {                                                       \
    static QS_INLINE vf32 apply(vf32 wide) {                          \
      return in_f64(wide, [](vf64 x) { return Name##F64::apply(x); }); \
    }                                                                 \
  };
BOTH(I0, unscaled(i0e_f64(x), x))
BOTH(I0e, i0e_f64(x))
BOTH(I1, unscaled(i1e_f64(x), x))
BOTH(I1e, i1e_f64(x))
BOTH(Erfcx, erfcx_f64(x))
BOTH(Ndtri, ndtri_f64(x))
#undef BOTH

}  // namespace
}  // namespace qs::driver::cpu::QS_ISA_NAMESPACE
