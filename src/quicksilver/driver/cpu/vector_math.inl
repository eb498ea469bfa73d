// Vector versions of the elementary functions. Included by tile_math.inl, once per instruction set.
//
// The polynomials are minimax fits of our own (weighted least squares, reweighted until the error
// is level) where coefficients look odd, Taylor series where they are plain fractions. Every
// operation is lane by lane and correctly rounded, so AVX2 and AVX-512 give the same bits. fma is
// used inside these functions only. f32 functions are computed in f32 (vector_math_f32.inl has the
// longer ones) or, where that is too coarse or they are seldom wanted, in f64 and rounded once.
namespace qs::driver::cpu::QS_ISA_NAMESPACE {
namespace {

constexpr double k_ln2_high = 0x1.62e42fee00000p-1, k_ln2_low = 0x1.a39ef35793c76p-33;
constexpr float k_inf_f = __builtin_inff(), k_nan_f = __builtin_nanf("");

template <class V, class T, class... Rest>
QS_INLINE V horner(V x, V sum, T next, Rest... rest) {
  if constexpr (sizeof...(rest) == 0) {
    return fma(sum, x, next);
  } else {
    return horner(x, fma(sum, x, next), rest...);
  }
}
/// Coefficients from the highest power down.
template <class V, class T, class... Rest>
QS_INLINE V polynomial(V x, T first, Rest... rest) {
  return horner(x, splat(first), rest...);
}

template <class F>
QS_INLINE vf32 in_f64(vf32 x, F f) {
  return narrow(f(widen_low(x)), f(widen_high(x)));
}

// ---- f32

/// y * 2^n for integers n in [-300, 300], one rounding.
QS_INLINE vf32 scale(vf32 y, vf32 n) {
#if defined(__AVX512F__)
  return (vf32)_mm512_scalef_ps((Float)y, (Float)n);
#else
  const vi32 whole = to_int(n), half = whole >> 1;
  const vu32 rest = (vu32)whole - (vu32)half;
  return y * (vf32)(((vu32)half + 127) << 23) * (vf32)((rest + 127) << 23);
#endif
}

struct Exp {
  static QS_INLINE vf32 apply(vf32 x) {
    x = x > 89.0f ? splat(89.0f) : x;
    x = x < -105.0f ? splat(-105.0f) : x;
    const vf32 n = nearest(x * 1.44269504f);
    vf32 r = fma(n, splat(-0.693359375f), x);
    r = fma(n, splat(2.12194440e-4f), r);
    const vf32 p =
        polynomial(r, 0.00138144649f, 0.00836878084f, 0.0416683927f, 0.166665196f, 0.49999994f);
    return scale(fma(r * r, p, r) + 1.0f, n);
  }
};

struct Log {
  static QS_INLINE vf32 apply(vf32 x) {
    const auto tiny = x < 0x1p-126f;
    const vf32 normal = tiny ? x * 0x1p23f : x;
    const vi32 i =
        (vi32)((vu32)normal - 0x3f3504f3u);  // sqrt(1/2): mantissa in [sqrt(1/2), sqrt(2))
    const vf32 e = to_float(i >> 23) - (tiny ? splat(23.0f) : vf32{});
    const vf32 f = (vf32)((i & 0x7fffff) + 0x3f3504f3) - 1.0f;
    const vf32 z = f * f;
    vf32 y = polynomial(f, 0.067465879f, -0.116760388f, 0.118883938f, -0.124055468f, 0.14219518f,
                        -0.166679963f, 0.200021207f, -0.250000089f, 0.333333135f) *
             f * z;
    y = fma(e, splat(-2.12194440e-4f), y);
    y = fma(z, splat(-0.5f), y);
    y = fma(e, splat(0.693359375f), f + y);
    y = x < k_inf_f ? y : x;  // inf, NaN
    y = x == 0.0f ? splat(-k_inf_f) : y;
    return x < 0.0f ? splat(k_nan_f) : y;
  }
};

struct Exp2 {
  static QS_INLINE vf32 apply(vf32 x) {
    x = x > 130.0f ? splat(130.0f) : x;
    x = x < -155.0f ? splat(-155.0f) : x;
    const vf32 n = nearest(x), r = (x - n) * 0.693147181f;
    const vf32 p =
        polynomial(r, 0.00138144649f, 0.00836878084f, 0.0416683927f, 0.166665196f, 0.49999994f);
    return scale(fma(r * r, p, r) + 1.0f, n);
  }
};

struct Log1p {
  static QS_INLINE vf32 apply(vf32 x) {
    const vf32 u = x + 1.0f;
    const vf32 y = Log::apply(u) + (x - (u - 1.0f)) / u;  // what the sum has rounded away
    const vf32 plain = x < k_inf_f ? y : x;               // inf, NaN
    const vf32 small = x == 0.0f ? x : fma(x * x, fma(x, splat(0.333333343f), -0.5f), x);
    return abs_of(x) < 0x1p-8f ? small : (x > -1.0f ? plain : Log::apply(u));
  }
};

struct Sigmoid {
  static QS_INLINE vf32 apply(vf32 x) {
    const vf32 e =
        Exp::apply((vf32)((vu32)x | 0x80000000u));  // exp(-|x|): small results stay exact
    return (x < 0.0f ? e : splat(1.0f)) / (e + 1.0f);
  }
};

struct Tanh {
  static QS_INLINE vf32 apply(vf32 x) {
    const vf32 a = abs_of(x), z = x * x;
    const vf32 p =
        polynomial(z, -0.00628246693f, 0.021077754f, -0.0538538583f, 0.133326024f, -0.333333194f);
    const vf32 small = with_sign(abs_of(fma(x * z, p, x)), x);  // -0 stays
    const vf32 large = 1.0f - 2.0f / (Exp::apply(a + a) + 1.0f);
    return a < 0.55f ? small : with_sign(large, x);
  }
};

struct Erf {
  static QS_INLINE vf32 apply(vf32 x) {
    const vf32 a = abs_of(x), z = x * x;
    const vf32 p = polynomial(z, 8.4099207e-05f, -0.000815262785f, 0.00520196045f, -0.0268597994f,
                              0.112837031f, -0.376126349f, 0.128379166f);
    const vf32 small = fma(x, p, x);
    const vf32 t = a > 4.0f ? splat(4.0f) : a;  // erf(4) rounds to 1
    const vf32 q = polynomial(t, 1.04331193e-05f, -0.00031485816f, 0.00361034204f, -0.0236945655f,
                              0.106159046f, 0.635198057f, 0.128637075f);
    const vf32 large = 1.0f - Exp::apply(-fma(t, q, t));
    return a < 0.92f ? small : (x == x ? with_sign(large, x) : x);
  }
};

// ---- f64

/// y * 2^n for integers n, |n| < 2000, one rounding.
QS_INLINE vf64 scale(vf64 y, vf64 n) {
#if defined(__AVX512F__)
  return (vf64)_mm512_scalef_pd((Double)y, (Double)n);
#else
  // n + 1.5 * 2^52 has the integer in its low bits.
  const vf64 half = rounded<k_down>(n * 0.5), rest = n - half;
  const vu64 a = ((vu64)(half + 0x1.8p52) + 1023) << 52, b = ((vu64)(rest + 0x1.8p52) + 1023) << 52;
  return y * (vf64)a * (vf64)b;
#endif
}

QS_INLINE vf64 exp_f64(vf64 x) {
  x = x > 710.0 ? splat(710.0) : x;
  x = x < -746.0 ? splat(-746.0) : x;
  const vf64 n = nearest(x * 1.44269504088896340736);
  vf64 r = fma(n, splat(-k_ln2_high), x);
  r = fma(n, splat(-k_ln2_low), r);
  const vf64 p =
      polynomial(r, 1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880,
                 1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5);
  return scale(fma(r * r, p, r) + 1.0, n);
}

QS_INLINE vf64 log_f64(vf64 x) {
  const auto tiny = x < 0x1p-1022;
  const vf64 normal = tiny ? x * 0x1p54 : x;
  constexpr uint64_t k_root = 0x3fe6a09e667f3bcd;  // sqrt(1/2)
  // The exponent, biased by 1023 so that no arithmetic shift is needed, as the mantissa of 2^52 +
  // e.
  const vu64 i = (vu64)normal - k_root + (uint64_t{1023} << 52);
  const vf64 e =
      (vf64)((i >> 52) | 0x4330000000000000ull) - (0x1p52 + 1023.0) - (tiny ? splat(54.0) : vf64{});
  const vf64 f = (vf64)((i & 0xfffffffffffffull) + k_root) - 1.0;
  const vf64 half = 0.5 * f * f, s = f / (2.0 + f), z = s * s;
  const vf64 series = z * polynomial(z, 2.0 / 21, 2.0 / 19, 2.0 / 17, 2.0 / 15, 2.0 / 13, 2.0 / 11,
                                     2.0 / 9, 2.0 / 7, 2.0 / 5, 2.0 / 3);
  vf64 y = e * k_ln2_high - ((half - (s * (half + series) + e * k_ln2_low)) - f);
  y = x < __builtin_inf() ? y : x;
  y = x == 0.0 ? splat(-__builtin_inf()) : y;
  return x < 0.0 ? splat(__builtin_nan("")) : y;
}

struct ExpF64 {
  static QS_INLINE vf64 apply(vf64 x) { return exp_f64(x); }
};
struct LogF64 {
  static QS_INLINE vf64 apply(vf64 x) { return log_f64(x); }
};
struct SigmoidF64 {
  static QS_INLINE vf64 apply(vf64 x) {
    const vf64 e = exp_f64((vf64)((vu64)x | (1ull << 63)));
    return (x < 0.0 ? e : splat(1.0)) / (e + 1.0);
  }
};

// ---- f32 through f64

#define THROUGH_F64(Name, ...)                         \
  struct Name {                                        \
    static QS_INLINE vf32 apply(vf32 wide) {           \
      return in_f64(wide, [](vf64 x) { __VA_ARGS__ }); \
    }                                                  \
  };
THROUGH_F64(Expm1, const vf64 small = x + x * x * (0.5 + x * (1.0 / 6));
            return abs_of(x) < 0x1p-13 ? (x == 0.0 ? x : small) : exp_f64(x) - 1.0;)
THROUGH_F64(Sinh, const vf64 e = exp_f64(x), z = x * x;
            return abs_of(x) < 0x1p-5 ? x + x * z * (1.0 / 6 + z * (1.0 / 120))
                                      : 0.5 * (e - 1.0 / e);)
THROUGH_F64(Cosh, const vf64 e = exp_f64(x); return 0.5 * (e + 1.0 / e);)
#undef THROUGH_F64

/// x minus the nearest multiple of pi/2, for |x| <= 2^30; `quarter` gets that multiple.
QS_INLINE vf64 reduce(vf64 x, vu64& quarter) {
  const vf64 n = nearest(x * 0.63661977236758134308);
  quarter = (vu64)(n + 0x1.8p52);
  const vf64 r = fma(n, splat(-0x1.921fb54442d18p+0), x);
  return fma(n, splat(-0x1.1a62633145c07p-54), r);
}
QS_INLINE vf64 sin_part(vf64 r, vf64 z) {
  return fma(r * z, polynomial(z, -1.0 / 39916800, 1.0 / 362880, -1.0 / 5040, 1.0 / 120, -1.0 / 6),
             r);
}
QS_INLINE vf64 cos_part(vf64 z) {
  return polynomial(z, 1.0 / 479001600, -1.0 / 3628800, 1.0 / 40320, -1.0 / 720, 1.0 / 24, -0.5,
                    1.0);
}
/// sin(x + shift * pi/2)
template <int shift>
QS_INLINE vf64 sine(vf64 x) {
  vu64 quarter;
  const vf64 r = reduce(x, quarter), z = r * r;
  quarter += shift;
  const vf64 y = (vi64)(quarter & 1) != 0 ? cos_part(z) : sin_part(r, z);
  return (vf64)((vu64)y ^ ((quarter & 2) << 62));
}
/// Lanes where `special` holds are computed anew by the C library.
template <class F>
QS_INLINE vf32 repaired(vf32 y, vf32 x, vi32 special, F f) {
  if (any(special)) [[unlikely]] {
    for (int i = 0; i < VecOf<float>::lanes; ++i)
      if (special[i]) y[i] = static_cast<float>(f(static_cast<double>(x[i])));
  }
  return y;
}
struct FarSin {
  static QS_INLINE vf32 apply(vf32 x) {
    const vf32 y = in_f64(x, [](vf64 v) { return v == 0.0 ? v : sine<0>(v); });
    return repaired(y, x, (vi32) ~(abs_of(x) <= 0x1p30f), [](double v) { return ::sin(v); });
  }
};
struct FarCos {
  static QS_INLINE vf32 apply(vf32 x) {
    const vf32 y = in_f64(x, [](vf64 v) { return sine<1>(v); });
    return repaired(y, x, (vi32) ~(abs_of(x) <= 0x1p30f), [](double v) { return ::cos(v); });
  }
};
struct FarTan {
  static QS_INLINE vf32 apply(vf32 x) {
    const vf32 y = in_f64(x, [](vf64 v) {
      vu64 quarter;
      const vf64 r = reduce(v, quarter), z = r * r, s = sin_part(r, z), c = cos_part(z);
      const auto odd = (vi64)(quarter & 1) != 0;
      return v == 0.0 ? v : (odd ? -c : s) / (odd ? s : c);
    });
    return repaired(y, x, (vi32) ~(abs_of(x) <= 0x1p30f), [](double v) { return ::tan(v); });
  }
};

}  // namespace
}  // namespace qs::driver::cpu::QS_ISA_NAMESPACE
