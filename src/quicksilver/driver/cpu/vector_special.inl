// Vector versions of special functions, in f64; f32 goes through f64 and is rounded once. Included
// by tile_math.inl, once per instruction set; every operation is lane by lane, so that all sets
// give the same bits.
#include "quicksilver/driver/cpu/special_series.h"

namespace qs::driver::cpu::QS_ISA_NAMESPACE {
namespace {

/// The first `count` terms of the Chebyshev series at x in [low, high] (Clenshaw).
QS_INLINE vf64 series(const double* c, size_t count, vf64 x, double low, double high) {
  const vf64 t = (2.0 * x - (low + high)) * (1.0 / (high - low)), twice = t + t;
  vf64 a = {}, b = {};
#pragma GCC unroll 1
  for (size_t i = count - 1; i > 0; --i) {
    const vf64 next = fma(twice, a, splat(c[i]) - b);
    b = a;
    a = next;
  }
  return fma(t, a, splat(c[0]) - b);
}
/// The same in two chains, of the even terms and of the odd ones, each a series in T2(t): half as long
/// to wait for, and good enough for f32.
QS_INLINE vf64 series_f32(const double* c, size_t count, vf64 x, double low, double high) {
  const vf64 t = (2.0 * x - (low + high)) * (1.0 / (high - low));
  const vf64 u = 2.0 * t * t - 1.0, twice = u + u;
  vf64 even = {}, even_last = {}, odd = {}, odd_last = {};
#pragma GCC unroll 1
  for (size_t i = count / 2; i-- > 0;) {
    const vf64 next_even = fma(twice, even, splat(c[2 * i]) - even_last);
    const vf64 next_odd = fma(twice, odd, splat(c[2 * i + 1]) - odd_last);
    even_last = even;
    even = next_even;
    odd_last = odd;
    odd = next_odd;
  }
  return (even - u * even_last) + t * (odd - odd_last);
}
/// How many terms f32 needs, in pairs.
template <size_t n>
constexpr size_t terms_for_f32(const double (&c)[n]) {
  const auto small = [&](double v) { return v < 1e-10 * c[0] && -v < 1e-10 * c[0]; };
  size_t count = n / 2 * 2;
  while (count > 2 && small(c[count - 1]) && small(c[count - 2])) count -= 2;
  return count;
}
template <bool wide, const auto& c>
QS_INLINE vf64 series_of(vf64 x, double low, double high) {
  if constexpr (wide) {
    return series(c, sizeof(c) / sizeof(c[0]), x, low, high);
  } else {
    constexpr size_t k_count = terms_for_f32(c);
    return series_f32(c, k_count, x, low, high);
  }
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
template <int order, bool scaled, bool wide, const auto& small, const auto& large>
QS_INLINE vf64 bessel(vf64 a) {
  const auto near = a <= 8.0;
  const vf64 inside = near ? a : splat(8.0);
  vf64 y;
  if constexpr (scaled) {
    y = series_of<wide, small>(inside, 0, 8);
    if (order == 1) y = inside * y;
  } else {
    y = bessel_near<order>(inside);
  }
  if (any((vi64)~near)) {
    vf64 far = series_of<wide, large>(8.0 / a, 0, 1) / sqrt_of(a);
    if (!scaled) {  // e^a alone overflows before the product does
      const auto high = a > 700.0;
      const vf64 e = exp_f64(high ? 0.5 * a : a), once = far * e;
      far = high ? once * e : once;
    }
    y = near ? y : far;
  }
  return y;
}
template <bool scaled, bool wide>
QS_INLINE vf64 i0_f64(vf64 x) {
  return bessel<0, scaled, wide, special::k_i0_small, special::k_i0_large>(abs_of(x));
}
template <bool scaled, bool wide>
QS_INLINE vf64 i1_f64(vf64 x) {
  return with_sign(bessel<1, scaled, wide, special::k_i1_small, special::k_i1_large>(abs_of(x)), x);
}

template <bool wide>
QS_INLINE vf64 erfcx_f64(vf64 x) {
  const vf64 a = abs_of(x);
  vf64 y = series_of<wide, special::k_erfcx>(4.0 / (4.0 + a), 0, 1) / (1.0 + 2.0 * a);
  const auto negative = x < 0.0;
  if (any((vi64)negative)) {
    const vf64 high = (vf64)((vu64)a & ~uint64_t{0x1fffffff});  // its square is exact
    const vf64 full = 2.0 * exp_f64(high * high) * exp_f64((a - high) * (a + high)) - y;
    y = negative ? (x < -26.7 ? splat(__builtin_inf()) : full) : y;
  }
  return y;
}

template <bool wide>
QS_INLINE vf64 ndtri_f64(vf64 p) {
  const vf64 q = p - 0.5, r = 0.180625 - q * q;
  const auto central = r >= 0.0;
  vf64 y = q * series_of<wide, special::k_ndtri_central>(central ? r : vf64{}, 0, 0.180625);
  if (any((vi64)~central)) {
    const vf64 root = sqrt_of(-log_f64(q < 0.0 ? p : 1.0 - p));
    const vi64 far = (vi64)(root >= 5.0) & (vi64)(root < __builtin_inf());
    vf64 tail = series_of<wide, special::k_ndtri_tail>(far != 0 ? splat(5.0) : root, 1.6, 5);
    if (any(far)) tail = far != 0 ? series_of<wide, special::k_ndtri_far>(root, 5, 27.4) : tail;
    tail = with_sign(abs_of(tail), q);
    tail = p == 0.0 ? splat(-__builtin_inf()) : (p == 1.0 ? splat(__builtin_inf()) : tail);
    tail = (p >= 0.0) & (p <= 1.0) ? tail : splat(__builtin_nan(""));
    y = central ? y : tail;
  }
  return y;
}

// ---- Bessel functions, to f32's precision

/// J0 and J1 for |x| <= 2^20. Up to 8: their two zeros there as factors, times a polynomial in
/// x^2 / 32 - 1; beyond: sqrt(2 / (pi x)) (P cos(x - c) - Q sin(x - c)), P and Q polynomials in
/// (8 / x)^2.
QS_INLINE vf64 bessel_j_far(vf64 a, vf64 p, vf64 q, bool order_one) {
  vu64 quarter;
  vf64 low;
  const vf64 r = reduce_f64(a, low, quarter);
  const vf64 u = sin_part_f64(r, low), v = cos_part_f64(r, low);
  const auto odd = (vi64)(quarter & 1) != 0;
  const vf64 s = (vf64)((vu64)(odd ? v : u) ^ ((quarter & 2) << 62));
  const vf64 c = (vf64)((vu64)(odd ? u : v) ^ (((quarter + 1) & 2) << 62));
  // x - pi/4, x - 3 pi/4: both by the sum and the difference, times sqrt(1/2).
  const vf64 y = order_one ? p * (s - c) + q * (s + c) : p * (c + s) - q * (s - c);
  return y * sqrt_of(0.318309886183790671538 / a);
}
QS_INLINE vf64 j0_f64(vf64 x) {
  const vf64 a = abs_of(x), z = x * x, t = z * (1.0 / 32) - 1.0;
  const vf64 near =
      ((a - 0x1.33d152e971b3fp+1) * (a + 0x1.33d152e971b3fp+1)) *
      ((a - 0x1.6148f5b2c2e45p+2) * (a + 0x1.6148f5b2c2e45p+2)) *
      polynomial(t, -1.3473639317217124e-14, 3.4107843038022145e-13, -8.0201077937109193e-12,
                 1.6276144161452903e-10, -2.7948672615615562e-09, 3.9988396668657186e-08,
                 -4.6771279958341018e-07, 4.3669323231004828e-06, -3.1573425402926458e-05,
                 0.00016977200714035658, -0.00064153906464054671, 0.0015636431645931204,
                 -0.0021197942894796915, 0.0011434937743762565);
  const auto far = a > 8.0;
  if (!any((vi64)far)) return near;
  const vf64 over = 8.0 / a, u = over * over;
  const vf64 p =
      polynomial(u, 3.6984802005144271e-10, -2.5078950836693451e-09, 8.3123738208966356e-09,
                 -1.9381742425291006e-08, 4.1053998253280822e-08, -1.015482774190692e-07,
                 3.6186777770185e-07, -2.1838997901563045e-06, 2.7380882510053417e-05,
                 -0.001098632812472419, 1.0);
  const vf64 q = over * polynomial(u, -3.3202203024499596e-10, 2.2196541904492031e-09,
                                   -7.1393429114429936e-09, 1.5708845443248201e-08,
                                   -3.0020180783326969e-08, 6.3287982031510755e-08,
                                   -1.8148540350707412e-07, 8.2382704961130402e-07,
                                   -6.9307852488106415e-06, 0.00014305114744586779, -0.015625);
  return far ? bessel_j_far(a, p, q, false) : near;
}
QS_INLINE vf64 j1_f64(vf64 x) {
  const vf64 a = abs_of(x), z = x * x, t = z * (1.0 / 32) - 1.0;
  const vf64 near =
      ((a - 0x1.ea75575af6f09p+1) * (a + 0x1.ea75575af6f09p+1)) *
      ((a - 0x1.c0ff5f3b47250p+2) * (a + 0x1.c0ff5f3b47250p+2)) *
      polynomial(t, 1.1348560712408283e-14, -2.8757948578415001e-13, 6.2847500949156846e-12,
                 -1.1696925396717164e-10, 1.8268547602450724e-09, -2.3521922618767281e-08,
                 2.4425222607579866e-07, -1.9890935158807627e-06, 1.224217365301297e-05,
                 -5.4080032390861285e-05, 0.00015860016799369985, -0.00026975227467163646,
                 0.00019498936985895641);
  const auto far = a > 8.0;
  vf64 y = a * near;
  if (any((vi64)far)) {
    const vf64 over = 8.0 / a, u = over * over;
    const vf64 p =
        polynomial(u, -3.3386029491532886e-10, 2.3927933882253774e-09, -8.3359228940964364e-09,
                   2.0259542173695945e-08, -4.4261916499354671e-08, 1.1209498054093331e-07,
                   -4.1008366526844204e-07, 2.5809683108152446e-06, -3.5203991577392476e-05,
                   0.0018310546874558702, 1.0);
    const vf64 q = over * polynomial(u, 3.6931838069457973e-10, -2.4501261864226633e-09,
                                     7.8200566278539753e-09, -1.7103947601919845e-08,
                                     3.2662167890444221e-08, -6.9432551559297095e-08,
                                     2.0287244957582981e-07, -9.5057625952072622e-07,
                                     8.4709604096565934e-06, -0.00020027160645283323, 0.046875);
    y = far ? bessel_j_far(a, p, q, true) : y;
  }
  return (vf64)((vu64)y ^ (vu64)sign_of(x));
}
template <class F>
QS_INLINE vf32 repaired_far(vf32 y, vf32 x, F f) {
  return repaired(y, x, (vi32) ~(abs_of(x) <= 0x1p20f), f);
}
struct J0 {
  static QS_INLINE vf32 apply(vf32 x) {
    const vf32 y = in_f64(x, [](vf64 v) { return j0_f64(v); });
    return repaired_far(y, x, [](double v) { return ::j0(v); });
  }
};
struct J1 {
  static QS_INLINE vf32 apply(vf32 x) {
    const vf32 y = in_f64(x, [](vf64 v) { return j1_f64(v); });
    return repaired_far(y, x, [](double v) { return ::j1(v); });
  }
};

struct NdtrF64 {
  static QS_INLINE vf64 apply(vf64 x) { return 0.5 * erfc_f64(x * -0.70710678118654752440); }
};

/// n^-s for the integers s in [2, 8].
QS_INLINE vf64 whole_power(vf64 n, vf64 s) {
  vf64 power = n * n;
  for (double k = 2.0; k < 8.0; k += 1.0) {
    const auto more = s > k;
    if (!any((vi64)more)) break;
    power = more ? power * n : power;
  }
  return power;
}
/// Hurwitz's zeta for the integers s in [2, 8], which are those of the polygamma functions, and q in
/// (0, 1e8]: the sum of ten terms, the integral beyond, and `corrections` of Euler and Maclaurin's.
template <int corrections>
QS_INLINE vf64 zeta_of_whole(vf64 s, vf64 q) {
  constexpr double k_bernoulli[] = {
      // B_2k / (2k)!
      0.083333333333333333333,    -0.0013888888888888888889,  3.3068783068783068783e-05,
      -8.2671957671957671958e-07, 2.0876756987868098979e-08,  -5.2841901386874931848e-10,
      1.3382536530684678833e-11,  -3.3896802963225828668e-13, 8.5860620562778445641e-15,
      -2.1748686985580618730e-16, 5.5090028283602295152e-18,  -1.3954464685812523341e-19};
  vf64 sum = {};
#pragma GCC unroll 1
  for (double k = 8.0; k >= 0.0; k -= 2.0) {  // two terms a division, the largest last
    const vf64 a = whole_power(q + k, s), b = whole_power(q + (k + 1.0), s);
    sum += (a + b) / (a * b);
  }
  const vf64 n = q + 10.0, each = 1.0 / n, end = 1.0 / whole_power(n, s);
  vf64 rest = end * n / (s - 1.0) + 0.5 * end, factor = s * end * each;
#pragma GCC unroll 1
  for (int k = 0; k < corrections; ++k) {
    rest += k_bernoulli[k] * factor;
    factor *= (s + (2.0 * k + 1.0)) * (s + (2.0 * k + 2.0)) * (each * each);
  }
  return sum + rest;
}
template <int corrections>
QS_INLINE vf64 zeta_f64(vf64 s, vf64 q) {
  const vi64 whole = (vi64)(s == rounded<k_down>(s)) & (vi64)(s >= 2.0) & (vi64)(s <= 8.0) &
                     (vi64)(q > 0.0) & (vi64)(q <= 1e8);
  vf64 y = any(whole) ? zeta_of_whole<corrections>(s, q) : vf64{};
  if (any(~whole))
    for (int i = 0; i < VecOf<double>::lanes; ++i)
      if (!whole[i]) y[i] = special::zeta(s[i], q[i]);
  return y;
}
struct ZetaF64 {
  static QS_INLINE vf64 apply(vf64 s, vf64 q) { return zeta_f64<12>(s, q); }
};
struct Zeta {
  static QS_INLINE vf32 apply(vf32 s, vf32 q) {
    return in_f64(s, q, [](vf64 a, vf64 b) { return zeta_f64<6>(a, b); });
  }
};
/// Exactly n of them: what lies beyond might be an argument that takes forever.
template <class T, class F>
void zeta_op(char* d, const char* a, const char* b, const char*, int64_t n, const TileStep& step) {
  constexpr int64_t k_lanes = VecOf<T>::lanes;
  for (int64_t i = 0; i < n; i += k_lanes) {
    const int64_t count = n - i < k_lanes ? n - i : k_lanes;
    Vec<T> s = splat(T(2)), q = splat(T(1));
    std::memcpy(&s, a + (step.stride[0] ? i * int64_t{sizeof(T)} : 0), count * sizeof(T));
    std::memcpy(&q, b + (step.stride[1] ? i * int64_t{sizeof(T)} : 0), count * sizeof(T));
    const Vec<T> y = F::apply(s, q);
    std::memcpy(d + i * int64_t{sizeof(T)}, &y, count * sizeof(T));
  }
}

// `wide`: to f64's precision, else to f32's.
#define BOTH(Name, expr)                                      \
  struct Name##F64 {                                          \
    static QS_INLINE vf64 apply(vf64 x) {                     \
      constexpr bool wide = true;                             \
      return expr;                                            \
    }                                                         \
  };                                                          \
  struct Name {                                               \
    static QS_INLINE vf32 apply(vf32 narrow_x) {              \
      constexpr bool wide = false;                            \
      return in_f64(narrow_x, [](vf64 x) { return expr; });   \
    }                                                         \
  };
BOTH(I0, (i0_f64<false, wide>(x)))
BOTH(I0e, (i0_f64<true, wide>(x)))
BOTH(I1, (i1_f64<false, wide>(x)))
BOTH(I1e, (i1_f64<true, wide>(x)))
BOTH(Erfcx, erfcx_f64<wide>(x))
BOTH(Ndtri, ndtri_f64<wide>(x))
#undef BOTH

}  // namespace
}  // namespace qs::driver::cpu::QS_ISA_NAMESPACE
