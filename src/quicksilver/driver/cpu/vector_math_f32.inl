// Functions of f32 that need no f64, at most one ulp off; where a result would be the sum of two
// roundings, what the first has lost is carried along. Included by tile_math.inl behind
// vector_math.inl, whose rules hold. Polynomials are minimax fits of the functions named beside
// them.
//
// An argument that such a function cannot serve (a denormal logarithm, a sine of a million) makes
// it compute the whole vector a second way and choose lane by lane, so that no lane depends on its
// neighbours.
namespace qs::driver::cpu::QS_ISA_NAMESPACE {
namespace {

// ---- logarithms

/// x = (1 + f) 2^e with 1 + f in [sqrt(1/2), sqrt(2)), for normal positive x.
QS_INLINE void split(vf32 x, vf32& e, vf32& f) {
  const vi32 i = (vi32)((vu32)x - 0x3f3504f3u);
  e = to_float(i >> 23);
  f = (vf32)((i & 0x7fffff) + 0x3f3504f3) - 1.0f;
}

/// f(x, number to take off the exponent) for every x; f itself knows normal positive numbers only.
template <class F>
QS_INLINE vf32 logarithm(vf32 x, F f) {
  const vf32 y = f(x, vf32{});
  const vi32 above = (vi32)((vu32)x - 0x00800000u);
  const vi32 special = (vi32)(above < 0) | (vi32)(above >= 0x7f000000);
  if (!any(special)) [[likely]]
    return y;
  vf32 other = x > 0.0f ? f(x * 0x1p23f, splat(23.0f)) : splat(k_nan_f);
  other = x == 0.0f ? splat(-k_inf_f) : other;
  other = (vi32)(x == k_inf_f) | (vi32)(x != x) ? x : other;
  return special != 0 ? other : y;
}

struct Log2 {
  static QS_INLINE vf32 apply(vf32 x) {
    return logarithm(x, [](vf32 v, vf32 less) {
      vf32 e, f;
      split(v, e, f);
      e -= less;
      const vf32 q = polynomial(f, -0.110964164f, 0.187217668f, -0.191191331f, 0.204448417f,
                                -0.239581183f, 0.288573772f, -0.360698432f, 0.480898172f,
                                -0.721347332f);
      const vf32 p = f * 1.44269504f, lost = fma(f, splat(1.44269504f), -p);
      const vf32 tail = fma(f * f, q, fma(f, splat(1.92596299e-8f), lost));
      const vf32 sum = e + p;
      return sum + ((p - (sum - e)) + tail);
    });
  }
};
struct Log10 {
  static QS_INLINE vf32 apply(vf32 x) {
    return logarithm(x, [](vf32 v, vf32 less) {
      vf32 e, f;
      split(v, e, f);
      e -= less;
      const vf32 q = polynomial(f, -0.0333034098f, 0.0562440567f, -0.0575359613f, 0.0615613721f,
                                -0.0721254945f, 0.0868687108f, -0.108580843f, 0.144764781f,
                                -0.217147186f);
      const vf32 p = f * 0.434294492f, lost = fma(f, splat(0.434294492f), -p);
      const vf32 tail = fma(f * f, q, fma(f, splat(-1.01030503e-8f), lost));
      const vf32 high = e * 0.301025390625f, sum = high + p;  // the product is exact
      return sum + ((p - (sum - high)) + fma(e, splat(4.60503907e-6f), tail));
    });
  }
};

// ---- circular functions

constexpr float k_circular_limit = 12000.0f;

/// x minus the nearest multiple of pi/2 as r + low, for |x| <= k_circular_limit. The multiples of
/// pi/2's second part, of ten bits, are exact, and so is what they leave.
QS_INLINE vf32 reduce_f32(vf32 x, vf32& low, vu32& quarter) {
  const vf32 n = nearest(x * 0.636619772f);
  quarter = (vu32)to_int(n);
  const vf32 first = fma(n, splat(-0x1.921fb6p+0f), x);
  const vf32 second = n * -0x1.778p-25f;
  const vf32 r = first - second;
  low = fma(n, splat(-0x1.68c234p-39f), (first - r) - second);
  return r;
}
QS_INLINE vf32 sin_part_f32(vf32 r, vf32 low, vf32 z) {
  const vf32 p =
      polynomial(z, 2.82437463e-06f, -0.000198524664f, 0.00833337847f, -0.166666672f);
  return r + fma(low, fma(z, splat(-0.5f), 1.0f), r * z * p);
}
QS_INLINE vf32 cos_part_f32(vf32 r, vf32 low, vf32 z) {
  const vf32 half = 0.5f * z, w = 1.0f - half;
  const vf32 p =
      polynomial(z, -2.87455691e-07f, 2.48208562e-05f, -0.00138889777f, 0.0416666679f);
  return w + (((1.0f - w) - half) + fma(z * z, p, -(r * low)));
}
/// y, and beyond the limit what f64 says.
template <class F>
QS_INLINE vf32 far_in_f64(vf32 y, vf32 x, F f) {
  const vi32 far = (vi32) ~(abs_of(x) <= k_circular_limit);
  if (!any(far)) [[likely]]
    return y;
  return far != 0 ? f(x) : y;
}
/// sin(x + shift * pi/2)
template <int shift>
QS_INLINE vf32 sine_f32(vf32 x) {
  vu32 quarter;
  vf32 low;
  const vf32 r = reduce_f32(x, low, quarter), z = r * r;
  quarter += shift;
  const vf32 y =
      (vi32)(quarter << 31) < 0 ? cos_part_f32(r, low, z) : sin_part_f32(r, low, z);
  return (vf32)((vu32)y ^ ((quarter & 2) << 30));
}
struct Sin {
  static QS_INLINE vf32 apply(vf32 x) {
    const vf32 y = sine_f32<0>(x);
    return far_in_f64(x == 0.0f ? x : y, x, [](vf32 v) { return FarSin::apply(v); });
  }
};
struct Cos {
  static QS_INLINE vf32 apply(vf32 x) {
    return far_in_f64(sine_f32<1>(x), x, [](vf32 v) { return FarCos::apply(v); });
  }
};
/// r z (c + z q) + more for z = r^2. Where that is a quarter of the result its roundings count: those
/// of the factors are carried along.
QS_INLINE vf32 times_part(vf32 r, vf32 z, vf32 q, float c, vf32 more) {
  const vf32 p = fma(z, q, c), p_low = fma(z, q, c - p);
  const vf32 zp = z * p, zp_low = fma(z, p, -zp) + fma(fma(r, r, -z), p, z * p_low);
  return fma(r, zp, fma(r, zp_low, more));
}
struct Tan {
  static QS_INLINE vf32 apply(vf32 x) {
    vu32 quarter;
    vf32 low;
    const vf32 r = reduce_f32(x, low, quarter), z = r * r;
    const vf32 q = polynomial(z, 0.00463993894f, -0.000448708161f, 0.0112635512f, 0.0211158562f,
                              0.0540923998f, 0.133323744f);
    const vf32 more = times_part(r, z, q, 0.333333582f, fma(low, z, low));
    const vf32 t = r + more, lost = (r - t) + more;
    const vf32 turned = -1.0f / t;
    const vf32 error = fma(turned, lost, fma(turned, t, 1.0f));
    const vf32 y = (vi32)(quarter << 31) < 0 ? fma(turned, error, turned) : t;
    return far_in_f64(x == 0.0f ? x : y, x, [](vf32 v) { return FarTan::apply(v); });
  }
};

// ---- inverse circular functions

constexpr float k_half_pi_f = 0x1.921fb6p+0f, k_half_pi_low_f = -4.37113900e-8f;

/// (asin(s) - s) / s for z = s^2 up to 1/4.
QS_INLINE vf32 asin_part_f32(vf32 z) {
  return z * polynomial(z, 0.0378216729f, 0.0142332772f, 0.0318580158f, 0.0445115566f,
                        0.075005278f, 0.166666597f);
}
/// pi/2 - s - part, s up to pi/2
QS_INLINE vf32 from_half_pi(vf32 s, vf32 part) {
  const vf32 w = k_half_pi_f - s;
  return w + (((k_half_pi_f - w) - s) + (k_half_pi_low_f - part));
}
/// What s = sqrt(z) has lost.
QS_INLINE vf32 root_low(vf32 s, vf32 z) {
  const vf32 twice = s + s;
  return fma(-s, s, z) / (twice > 0x1p-30f ? twice : splat(0x1p-30f));
}
struct Asin {
  static QS_INLINE vf32 apply(vf32 x) {
    const vf32 a = abs_of(x), far = (1.0f - a) * 0.5f;
    const auto is_far = a > 0.5f;
    const vf32 z = is_far ? far : a * a, s = is_far ? sqrt_of(far) : a;
    const vf32 part = s * asin_part_f32(z), exact = part + root_low(s, z);
    return with_sign(is_far ? from_half_pi(s + s, exact + exact) : s + part, x);
  }
};
struct Acos {
  static QS_INLINE vf32 apply(vf32 x) {
    const vf32 a = abs_of(x), far = (1.0f - a) * 0.5f;
    const auto is_far = a > 0.5f;
    const vf32 z = is_far ? far : a * a, s = is_far ? sqrt_of(far) : x;
    const vf32 part = s * asin_part_f32(z);
    const vf32 root = s + (part + root_low(s, z));
    const vf32 middle = from_half_pi(s, part);
    return is_far ? (x < 0.0f ? middle + middle : root + root) : middle;
  }
};
struct Atan {
  static QS_INLINE vf32 apply(vf32 x) {
    vf32 a = abs_of(x);
    a = a > 0x1p60f ? splat(0x1p60f) : a;
    const auto steep = a > 1.0f;
    const vf32 over = -1.0f / a, t = steep ? over : a, z = t * t;
    // What the quotient has lost, and pi/2: the angle moves by 1 / (1 + z) of it.
    const vf32 lost = over * fma(over, a, 1.0f);
    const vf32 over_low = fma(lost, fma(z, splat(-0.5f), 1.0f), k_half_pi_low_f);
    const vf32 q =
        polynomial(z, -0.00178818556f, 0.0108900256f, -0.0311315209f, 0.0579105131f,
                   -0.0840066448f, 0.10951221f, -0.142640561f, 0.19998531f);
    const vf32 from = steep ? splat(k_half_pi_f) : vf32{};
    const vf32 low = steep ? over_low : vf32{};
    const vf32 sum = from + t;
    return with_sign(sum + (((from - sum) + t) + times_part(t, z, q, -0.333332986f, low)), x);
  }
};

/// The angle in f64, good to f32: one polynomial over [0, 1], one division.
QS_INLINE vf64 atan2_short(vf64 y, vf64 x) {
  const vf64 a = abs_of(y), b = abs_of(x);
  const auto steep = a > b;
  const vf64 low = steep ? b : a, high = steep ? a : b;
  const auto same = (vi64)(a == b) & (vi64)((a == 0.0) | (a == __builtin_inf()));
  // 0/0 is 0, inf/inf is 1.
  const vf64 t = same ? (a == 0.0 ? vf64{} : splat(1.0)) : low / high;
  const vf64 z = t * t;
  vf64 angle =
      t * polynomial(z, -0.0017539064561552678, 0.010726837685067186, -0.030804398251012333,
                     0.057551901630976655, -0.083773036889432925, 0.10942026613705555,
                     -0.14261932321723236, 0.19998265965567269, -0.33333283638865918,
                     0.99999999763045533);
  angle = steep ? 0x1.921fb54442d18p+0 - angle : angle;
  angle = (vi64)x < 0 ? 0x1.921fb54442d18p+1 - angle : angle;
  return with_sign(angle, y);
}
struct Atan2 {
  static QS_INLINE vf32 apply(vf32 y, vf32 x) {
    const vf32 angle = narrow(atan2_short(widen_low(y), widen_low(x)),
                              atan2_short(widen_high(y), widen_high(x)));
    return (vi32)(x == x) & (vi32)(y == y) ? angle : x + y;
  }
};

// ---- the error function's relatives

/// c0 + t (c1 + t q), the two steps and t with what they have lost.
QS_INLINE vf32 two_steps(vf32 t, vf32 t_low, vf32 q, double c1, double c0, vf32& low) {
  const float k1 = static_cast<float>(c1), k0 = static_cast<float>(c0);
  const float k1_low = static_cast<float>(c1 - k1), k0_low = static_cast<float>(c0 - k0);
  const vf32 p = fma(t, q, k1), p_low = fma(t, q, k1 - p) + k1_low;
  const vf32 y = fma(t, p, k0);
  low = fma(t, p, k0 - y) + fma(t, p_low, fma(t_low, p, k0_low));
  return y;
}

struct Erfc {
  /// erfc(a) for a >= 1/2: e^(-a^2) erfcx(a), erfcx(a) = u G(u) for u = 1 / (a + 2), G as a
  /// polynomial in u - 1/4. Each factor comes with what it has lost.
  static QS_INLINE vf32 far(vf32 a) {
    a = a > 11.0f ? splat(11.0f) : a;  // 0 from 10.06 on
    const vf32 d = a + 2.0f, u = 1.0f / d, t = u - 0.25f;
    // u's error, relative; u G moves by some 1 + 2.7 u of it.
    const vf32 off = fma(-u, d, 1.0f) - u * (a - (d - 2.0f));
    const vf32 q = polynomial(t, -31.6444057f, -35.6802883f, 14.6637622f, 12.5105741f,
                              -6.64955838f, -5.50555201f, 2.33239165f, 4.47155021f);
    vf32 g_low;
    const vf32 g =
        two_steps(t, u - (t + 0.25f), q, 2.7486425942810189, 1.0215827066813223, g_low);
    const vf32 ug = u * g;
    const vf32 ug_low = fma(u, g_low, fma(u, g, -ug)) + ug * (off * fma(u, splat(2.7f), 1.0f));
    const vf32 square = a * a, rest = fma(a, a, -square);
    const vf32 n = nearest(square * -1.44269504f);
    const vf32 first = fma(n, splat(-0.693359375f), -square);
    const vf32 second = fma(n, splat(2.12194440e-4f), -rest);
    const vf32 r = first + second, r_low = (first - r) + second;
    const vf32 p =
        polynomial(r, 0.00138144649f, 0.00836878084f, 0.0416683927f, 0.166665196f, 0.49999994f);
    const vf32 more = fma(r * r, p, r_low), s = r + more, s_low = (r - s) + more;
    const vf32 e = 1.0f + s, e_low = (s - (e - 1.0f)) + s_low;
    const vf32 y = e * ug, y_low = fma(e, ug, -y) + fma(e, ug_low, e_low * ug);
    return scale(y + y_low, n);
  }
  static QS_INLINE vf32 apply(vf32 x) {
    const vf32 a = abs_of(x), z = x * x;
    const vf32 far_y = far(a);
    const vf32 p = polynomial(z, 0.00471821567f, -0.0267579537f, 0.112828486f, -0.376126111f,
                              0.128379166f);
    const vf32 w = 1.0f - x, near = w + (((1.0f - w) - x) - x * p);
    const vf32 y = a < 0.5f ? near : (x < 0.0f ? 2.0f - far_y : far_y);
    return x == x ? y : x;
  }
};

/// The normal distribution function, h or 1 - h with h = e^(-a q(a)) / 2: right to 2^-25 of 1, and to a
/// thousandth of itself down to x = -6. Below it only falls towards 0.
struct Ndtr {
  static QS_INLINE vf32 apply(vf32 x) {
    const vf32 a = abs_of(x), t = a > 6.0f ? splat(6.0f) : a;
    const vf32 q = polynomial(t, -1.22318269e-07f, 3.01457408e-06f, -2.93824269e-05f,
                              0.000123805585f, 0.000122149373f, -0.00493800314f, 0.0364162624f,
                              0.318290561f, 0.797886074f);
    const vf32 h = 0.5f * Exp::apply(-a * q);
    return x < 0.0f ? h : 1.0f - h;
  }
};

/// erfinv(x) / x as a function of w = -log(1 - x^2), as Giles does it, with fits of our own.
struct Erfinv {
  /// -log(v) for v in (0, 1], and what it has lost.
  static QS_INLINE vf32 minus_log(vf32 v, vf32& low) {
    vf32 e, f;
    split(v, e, f);
    const vf32 q = polynomial(f, 0.067465879f, -0.116760388f, 0.118883938f, -0.124055468f,
                              0.14219518f, -0.166679963f, 0.200021207f, -0.250000089f, 0.333333135f);
    const vf32 z = f * f, tail = fma(f * z, q, fma(e, splat(-2.12194440e-4f), z * -0.5f));
    const vf32 high = e * 0.693359375f, sum = high + f;
    const vf32 rest = (f - (sum - high)) + tail, w = -(sum + rest);
    low = -(rest + (sum + w));
    return w;
  }
  static QS_INLINE vf32 times(vf32 a, vf32 t, vf32 t_low, vf32 q, double c1, double c0) {
    vf32 low;
    const vf32 y = two_steps(t, t_low, q, c1, c0, low);
    return fma(a, y, a * low);
  }
  static QS_INLINE vf32 apply(vf32 x) {
    const vf32 a = abs_of(x);
    vf32 w_low;
    const vf32 w = minus_log(fma(-a, a, 1.0f), w_low);
    const vf32 c = w - 2.5f, c_low = (w - (c + 2.5f)) + w_low;
    const vf32 q = polynomial(c, -8.66375129e-09f, 2.34135252e-08f, 4.64594732e-07f,
                              -3.46471364e-06f, -4.95700671e-06f, 0.000218351257f, -0.00125275099f,
                              -0.00417739396f);
    vf32 y = times(a, c, c_low, q, 0.24664028950320452, 1.501409360410892);
    const vi32 far = (vi32)(w >= 5.0f);
    if (any(far)) {
      const vf32 root = sqrt_of(w), lost = (fma(-root, root, w) + w_low) / (root + root);
      const vf32 end = polynomial(root - 3.0f, -3.45757921e-05f, 0.00016854158f, -0.00027226711f,
                                  -0.00013131994f, 0.00147374555f, -0.00356167846f, 0.00568768756f,
                                  -0.00764374573f, 0.0094453230f);
      const vf32 z = times(a, root - 3.0f, lost, end, 1.0016752853175022, 2.8329768011588836);
      y = far != 0 ? z : y;
    }
    y = a < 1.0f ? y : (a == 1.0f ? splat(k_inf_f) : splat(k_nan_f));
    return x == 0.0f ? x : (x == x ? with_sign(y, x) : x);
  }
};

// ---- powers, in f64 but to f32's precision

/// log2(x) for normal x > 0, the relative error below 2^-35.
QS_INLINE vf64 log2_short(vf64 x) {
  constexpr uint64_t k_root = 0x3fe6a09e667f3bcd;  // sqrt(1/2)
  const vu64 i = (vu64)x - k_root + (uint64_t{1023} << 52);
  const vf64 e = (vf64)((i >> 52) | 0x4330000000000000ull) - (0x1p52 + 1023.0);
  const vf64 m = (vf64)((i & 0xfffffffffffffull) + k_root);
  const vf64 s = (m - 1.0) / (m + 1.0), z = s * s;
  constexpr double k = 2.8853900817779268;  // 2 / log(2)
  return fma(s, polynomial(z, 0.11809163023622418 * k, 0.1426746816879276 * k,
                           0.20000193381046635 * k, 0.33333332617653932 * k, 1.0000000000042353 * k),
             e);
}
/// 2^x for |x| < 1000.
QS_INLINE vf64 exp2_short(vf64 x) {
  const vf64 shifted = x + 0x1.8p52, r = x - (shifted - 0x1.8p52);
  const vf64 p = polynomial(r, 1.5201916941933724e-05, 0.00015469291155228028,
                            0.0013333922584267274, 0.0096180272535945511, 0.0555041035342052,
                            0.24022651198158756, 0.69314718072845838, 0.99999999996168165);
  return (vf64)((vu64)p + ((vu64)shifted << 52));
}

constexpr double k_ln2 = 0.693147180559945309417;

/// Small arguments by their series, so that the logarithm's argument keeps what they are.
struct Atanh {
  static QS_INLINE vf32 apply(vf32 x) {
    const auto f = [](vf64 v) __attribute__((always_inline)) {
      const vf64 a = abs_of(v);
      const vf64 y = (0.5 * k_ln2) * log2_short((1.0 + a) / (1.0 - a));
      return a < 0x1p-8 ? fma(a * a * a, fma(a * a, splat(0.2), 1.0 / 3), a) : y;
    };
    vf32 y = narrow(f(widen_low(x)), f(widen_high(x)));
    const vf32 a = abs_of(x);
    y = a < 1.0f ? y : (a == 1.0f ? splat(k_inf_f) : splat(k_nan_f));
    return with_sign(y, x);
  }
};
struct Asinh {
  static QS_INLINE vf32 apply(vf32 x) {
    const auto f = [](vf64 v) __attribute__((always_inline)) {
      const vf64 a = abs_of(v), z = a * a;
      const vf64 y = k_ln2 * log2_short(a + sqrt_of(z + 1.0));
      return a < 0x1p-8 ? fma(a * z, fma(z, splat(0.075), -1.0 / 6), a) : y;
    };
    const vf32 y = narrow(f(widen_low(x)), f(widen_high(x)));
    return with_sign(abs_of(x) < k_inf_f ? y : abs_of(x), x);
  }
};

struct Pow {
  static QS_INLINE vf32 apply(vf32 x, vf32 y) {
    const vi32 three = (vi32)(y == 3.0f);  // products, wherever the exponent comes from
    if (!any(~three)) return x * x * x;
    const vf32 result = general(x, y);
    return three != 0 ? x * x * x : result;
  }
  static QS_INLINE vf32 general(vf32 x, vf32 y) {
    const auto f = [](vf64 a, vf64 b) __attribute__((always_inline)) {
      vf64 t = b * log2_short(a);
      t = t > 200.0 ? splat(200.0) : t;
      return exp2_short(t < -200.0 ? splat(-200.0) : t);
    };
    vf32 result = narrow(f(widen_low(x), widen_low(y)), f(widen_high(x), widen_high(y)));
    const vi32 plain = (vi32)(x > 0.0f) & (vi32)(x < k_inf_f) & (vi32)(abs_of(y) < k_inf_f);
    if (any(~plain)) [[unlikely]] {
      for (int i = 0; i < VecOf<float>::lanes; ++i)
        if (!plain[i])
          result[i] =
              static_cast<float>(::pow(static_cast<double>(x[i]), static_cast<double>(y[i])));
    }
    return result;
  }
};

}  // namespace
}  // namespace qs::driver::cpu::QS_ISA_NAMESPACE
