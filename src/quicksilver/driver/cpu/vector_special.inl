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

/// 1 / (k! (k + order)!), the coefficients of the modified Bessel functions in x^2 / 4; all are
/// positive, so their sum loses nothing. Enough of them for |x| <= 8.
template <int order>
struct BesselTerms {
  static constexpr int n = 26;
  double c[n];
  constexpr BesselTerms() : c{} {
    long double term = 1;
    for (int k = 0; k < n; ++k) {
      if (k > 0) term /= static_cast<long double>(k) * (k + order);
      c[k] = static_cast<double>(term);
    }
  }
};

/// I_order(a) for 0 <= a <= 8.
template <int order>
QS_INLINE vf64 bessel_near(vf64 a) {
  static constexpr BesselTerms<order> k_terms;
  const vf64 square = a * a, q = 0.25 * square;
  vf64 sum = splat(k_terms.c[BesselTerms<order>::n - 1]);
#pragma GCC unroll 1
  for (int k = BesselTerms<order>::n - 2; k >= 0; --k) sum = fma(sum, q, splat(k_terms.c[k]));
  // What the square lacks counts (a / 2) I1 / I0 times, nearly.
  const vf64 lost = fma(a, a, -square) / square, times = 0.5 * a - 0.25;
  sum = a > 1.0 ? fma(sum, lost * times, sum) : sum;
  return order == 1 ? 0.5 * a * sum : sum;
}

/// I_order(a) (`scaled`: times e^-a); beyond 8, and where it is scaled, from the series of its
/// product with e^-a.
template <int order, bool scaled, size_t m, size_t n>
QS_INLINE vf64 bessel(vf64 a, const double (&small)[m], const double (&large)[n]) {
  const auto near = a <= 8.0;
  const vf64 inside = near ? a : splat(8.0);
  vf64 y;
  if constexpr (scaled) {
    y = series(small, inside, 0, 8);
    if (order == 1) y = inside * y;
  } else {
    y = bessel_near<order>(inside);
  }
  if (any((vi64)~near)) {
    vf64 far = series(large, 8.0 / a, 0, 1) / sqrt_of(a);
    if (!scaled) {  // e^a alone overflows before the product does
      const auto high = a > 700.0;
      const vf64 e = exp_f64(high ? 0.5 * a : a), once = far * e;
      far = high ? once * e : once;
    }
    y = near ? y : far;
  }
  return y;
}
template <bool scaled>
QS_INLINE vf64 i0_f64(vf64 x) {
  return bessel<0, scaled>(abs_of(x), special::k_i0_small, special::k_i0_large);
}
template <bool scaled>
QS_INLINE vf64 i1_f64(vf64 x) {
  return with_sign(bessel<1, scaled>(abs_of(x), special::k_i1_small, special::k_i1_large), x);
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

#define BOTH(Name, expr)                                               \
  struct Name##F64 {                                                   \
    static QS_INLINE vf64 apply(vf64 x) { return expr; }               \
  };                                                                   \
  struct Name {                                                        \
    static QS_INLINE vf32 apply(vf32 wide) {                           \
      return in_f64(wide, [](vf64 x) { return Name##F64::apply(x); }); \
    }                                                                  \
  };
BOTH(I0, i0_f64<false>(x))
BOTH(I0e, i0_f64<true>(x))
BOTH(I1, i1_f64<false>(x))
BOTH(I1e, i1_f64<true>(x))
BOTH(Erfcx, erfcx_f64(x))
BOTH(Ndtri, ndtri_f64(x))
#undef BOTH

}  // namespace
}  // namespace qs::driver::cpu::QS_ISA_NAMESPACE
