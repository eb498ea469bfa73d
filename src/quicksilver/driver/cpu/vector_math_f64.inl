// The elementary functions in f64, a few ulps at worst, and those of f32 that are computed through
// them. Included by tile_math.inl behind vector_math.inl; the same rules hold. Polynomials are
// Chebyshev fits of the functions named beside them.
namespace qs::driver::cpu::QS_ISA_NAMESPACE {
namespace {

constexpr double k_inf = __builtin_inf(), k_nan = __builtin_nan("");
constexpr double k_half_pi = 0x1.921fb54442d18p+0, k_half_pi_low = 0x1.1a62633145c07p-54;
constexpr double k_two_over_root_pi = 1.12837916709551257390;
constexpr double k_two_over_root_pi_low = 1.533545961316588e-17;

template <class F>
QS_INLINE vf32 in_f64(vf32 x, vf32 y, F f) {
  return narrow(f(widen_low(x), widen_low(y)), f(widen_high(x), widen_high(y)));
}

// ---- exponentials and logarithms

/// e^x 2^shift without overflow on the way.
QS_INLINE vf64 exp_shifted(vf64 x, double shift) {
  x = x > 1000.0 ? splat(1000.0) : x;
  x = x < -1000.0 ? splat(-1000.0) : x;
  const vf64 n = nearest(x * 1.44269504088896340736);
  vf64 r = fma(n, splat(-k_ln2_high), x);
  r = fma(n, splat(-k_ln2_low), r);
  const vf64 p =
      polynomial(r, 1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880,
                 1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5);
  return scale(fma(r * r, p, r) + 1.0, n + shift);
}

QS_INLINE vf64 expm1_f64(vf64 x) {
  x = x > 720.0 ? splat(720.0) : x;
  x = x < -40.0 ? splat(-40.0) : x;
  const vf64 n = nearest(x * 1.44269504088896340736);
  vf64 r = fma(n, splat(-k_ln2_high), x);
  r = fma(n, splat(-k_ln2_low), r);
  const vf64 p =
      polynomial(r, 1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880,
                 1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5);
  const vf64 small = fma(r * r, p, r);  // e^r - 1
  // 2^n (small + 1) - 1, in two halves of the power so that 2^1024 is never formed.
  const vf64 half = scale(splat(0.5), n);
  const vf64 y = 2.0 * (half * small + (half - 0.5));
  const vf64 far = x > 709.79 ? splat(k_inf) : y;
  return n == 0.0 ? (x == 0.0 ? x : small) : far;
}

QS_INLINE vf64 log1p_f64(vf64 x) {
  const vf64 u = x + 1.0;
  const vf64 y = log_f64(u) + (x - (u - 1.0)) / u;  // what the sum has rounded away
  const vf64 plain = x < k_inf ? y : x;             // inf, NaN
  return x == 0.0 ? x : (x > -1.0 ? plain : log_f64(u));
}

/// log2(x), exact for powers of two.
QS_INLINE vf64 log2_f64(vf64 x) {
  const auto tiny = x < 0x1p-1022;
  const vf64 normal = tiny ? x * 0x1p54 : x;
  constexpr uint64_t k_root = 0x3fe6a09e667f3bcd;  // sqrt(1/2)
  const vu64 i = (vu64)normal - k_root + (uint64_t{1023} << 52);
  const vf64 e =
      (vf64)((i >> 52) | 0x4330000000000000ull) - (0x1p52 + 1023.0) - (tiny ? splat(54.0) : vf64{});
  const vf64 mantissa = (vf64)((i & 0xfffffffffffffull) + k_root);
  const vf64 y = fma(log_f64(mantissa), splat(1.44269504088896340736), e);
  return (vi64)(x > 0.0) & (vi64)(x < k_inf) ? y : log_f64(x);
}

QS_INLINE vf64 exp2_f64(vf64 x) {
  x = x > 1100.0 ? splat(1100.0) : x;
  x = x < -1200.0 ? splat(-1200.0) : x;
  const vf64 n = nearest(x);
  return scale(exp_f64((x - n) * 0.693147180559945309417), n);
}

// ---- hyperbolic functions and their inverses

QS_INLINE vf64 sinh_f64(vf64 x) {
  const vf64 a = abs_of(x), t = expm1_f64(a), half = exp_shifted(a, -1);
  const vf64 y = a < 20.0 ? 0.5 * (t + t / (t + 1.0)) : half;
  return x == x ? with_sign(y, x) : x;
}
QS_INLINE vf64 cosh_f64(vf64 x) {
  const vf64 half = exp_shifted(abs_of(x), -1);
  return half + 0.25 / half;
}
QS_INLINE vf64 tanh_f64(vf64 x) {
  const vf64 a = abs_of(x), t = expm1_f64(a + a);
  const vf64 y = a < 20.0 ? t / (t + 2.0) : splat(1.0);
  return x == x ? with_sign(y, x) : x;
}
QS_INLINE vf64 asinh_f64(vf64 x) {
  const vf64 a = abs_of(x), z = a * a;
  const vf64 near = log1p_f64(a + z / (1.0 + sqrt_of(z + 1.0)));
  const vf64 far = log_f64(a) + 0.693147180559945309417;  // 1/(4 a^2) is below an ulp
  return with_sign(a < 0x1p28 ? near : far, x);
}
QS_INLINE vf64 acosh_f64(vf64 x) {
  const vf64 t = x - 1.0;
  const vf64 near = log1p_f64(t + sqrt_of(t * (x + 1.0)));
  const vf64 far = log_f64(x) + 0.693147180559945309417;
  return x < 1.0 ? splat(k_nan) : (x < 0x1p28 ? near : far);
}
QS_INLINE vf64 atanh_f64(vf64 x) {
  const vf64 a = abs_of(x);
  return with_sign(0.5 * log1p_f64((a + a) / (1.0 - a)), x);
}

// ---- inverse circular functions

/// (asin(s) - s) / s for z = s^2 up to 1/4.
QS_INLINE vf64 asin_part(vf64 z) {
  return z * polynomial(z, 0.02875805719743414, -0.014852182118030889, 0.017401064081047784,
                        0.005457440499079528, 0.010322829371691055, 0.011479175171049853,
                        0.013971213196475301, 0.017352392706346254, 0.02237217294274726,
                        0.030381944138516817, 0.04464285714635561, 0.07499999999998433,
                        0.16666666666666669);
}
QS_INLINE vf64 asin_f64(vf64 x) {
  const vf64 a = abs_of(x), far = (1.0 - a) * 0.5;
  const auto is_far = a > 0.5;
  const vf64 z = is_far ? far : a * a, s = is_far ? sqrt_of(far) : a;
  const vf64 part = s * asin_part(z), near = part + s;
  // pi/2 - 2 (s + part), with s = high + low and pi/2 in two steps of pi/4.
  const vf64 high = (vf64)((vu64)s & 0xffffffff00000000ull), sum = s + high;
  const vf64 low = sum == 0.0 ? sum : (z - high * high) / sum;
  const vf64 rest = 2.0 * part - (k_half_pi_low - 2.0 * low), turn = k_half_pi / 2 - 2.0 * high;
  return with_sign(is_far ? k_half_pi / 2 - (rest - turn) : near, x);
}
QS_INLINE vf64 acos_f64(vf64 x) {
  const vf64 a = abs_of(x), far = (1.0 - a) * 0.5;
  const auto is_far = a > 0.5;
  const vf64 z = is_far ? far : a * a, s = is_far ? sqrt_of(far) : x;
  const vf64 y = fma(s, asin_part(z), s);
  const vf64 near = k_half_pi - (y - k_half_pi_low);
  const vf64 back = 2.0 * (k_half_pi - (y - k_half_pi_low));
  return is_far ? (x < 0.0 ? back : y + y) : near;
}
/// atan(a) for a >= 0 or NaN.
QS_INLINE vf64 atan_positive(vf64 a) {
  const auto large = a > 2.41421356237309504880, medium = a > 0.41421356237309504880;
  const vf64 t = large ? -1.0 / a : (medium ? (a - 1.0) / (a + 1.0) : a);
  const vf64 z = t * t;
  const vf64 p =
      z * polynomial(z, 0.016284375050043393, -0.03456931506332609, 0.045515447340221615,
                     -0.05230443640686948, 0.05878927554473807, -0.0666642476020052,
                     0.07692296368042296, -0.09090908753259112, 0.11111111105150588,
                     -0.14285714285659779, 0.19999999999999804, -0.3333333333333333);
  const vf64 from = large ? splat(k_half_pi) : (medium ? splat(k_half_pi / 2) : vf64{});
  const vf64 low = large ? splat(k_half_pi_low) : (medium ? splat(k_half_pi_low / 2) : vf64{});
  return from + (fma(t, p, low) + t);
}
QS_INLINE vf64 atan_f64(vf64 x) { return with_sign(atan_positive(abs_of(x)), x); }
QS_INLINE vf64 atan2_f64(vf64 y, vf64 x) {
  const vf64 a = abs_of(y), b = abs_of(x);
  const vf64 low = smaller(a, b), high = larger(a, b);
  const auto same = (vi64)(a == b) & (vi64)((a == 0.0) | (a == k_inf));
  // 0/0 is 0, inf/inf is 1; a quotient that leaves the range of f64 is 0 as well.
  vf64 angle = atan_positive(same ? (a == 0.0 ? vf64{} : splat(1.0)) : low / high);
  angle = a > b ? k_half_pi - (angle - k_half_pi_low) : angle;
  const auto left = (vi64)((vu64)x >> 63) != 0;
  angle = left ? 2.0 * k_half_pi - (angle - 2.0 * k_half_pi_low) : angle;
  const auto good = (vi64)(a == a) & (vi64)(b == b);
  return good ? with_sign(angle, y) : x + y;
}

// ---- circular functions

/// x minus the nearest multiple of pi/2 as r + low, for |x| <= 2^20: pi/2 in three parts, of which
/// the first two have 33 bits, so that their multiples are exact.
QS_INLINE vf64 reduce_f64(vf64 x, vf64& low, vu64& quarter) {
  const vf64 n = nearest(x * 0.63661977236758134308);
  quarter = (vu64)(n + 0x1.8p52);
  const vf64 first = x - n * 0x1.921fb54400000p+0, second = n * 0x1.0b4611a600000p-34;
  const vf64 r = first - second;
  low = (first - r) - second - n * 0x1.3198a2e037073p-69;
  const vf64 sum = r + low;
  low = (r - sum) + low;
  return sum;
}
QS_INLINE vf64 sin_part_f64(vf64 r, vf64 low) {
  const vf64 z = r * r;
  const vf64 p = polynomial(z, 1.0 / 355687428096000, -1.0 / 1307674368000, 1.0 / 6227020800,
                            -1.0 / 39916800, 1.0 / 362880, -1.0 / 5040, 1.0 / 120, -1.0 / 6);
  return r + fma(r * z, p, low * (1.0 - 0.5 * z));
}
QS_INLINE vf64 cos_part_f64(vf64 r, vf64 low) {
  const vf64 z = r * r, half = 0.5 * z, w = 1.0 - half;
  const vf64 p =
      polynomial(z, -1.0 / 6402373705728000, 1.0 / 20922789888000, -1.0 / 87178291200,
                 1.0 / 479001600, -1.0 / 3628800, 1.0 / 40320, -1.0 / 720, 1.0 / 24);
  return w + (((1.0 - w) - half) + (z * z * p - r * low));
}
template <class F>
QS_INLINE vf64 repaired_f64(vf64 y, vf64 x, F f) {
  const vi64 special = (vi64) ~(abs_of(x) <= 0x1p20);
  if (any(special)) [[unlikely]]
    for (int i = 0; i < VecOf<double>::lanes; ++i)
      if (special[i]) y[i] = f(x[i]);
  return y;
}
/// sin(x + shift * pi/2)
template <int shift>
QS_INLINE vf64 sine_f64(vf64 x) {
  vu64 quarter;
  vf64 low;
  const vf64 r = reduce_f64(x, low, quarter);
  quarter += shift;
  const vf64 y = (vi64)(quarter & 1) != 0 ? cos_part_f64(r, low) : sin_part_f64(r, low);
  return (vf64)((vu64)y ^ ((quarter & 2) << 62));
}
QS_INLINE vf64 sin_f64(vf64 x) {
  return repaired_f64(x == 0.0 ? x : sine_f64<0>(x), x, [](double v) { return ::sin(v); });
}
QS_INLINE vf64 cos_f64(vf64 x) {
  return repaired_f64(sine_f64<1>(x), x, [](double v) { return ::cos(v); });
}
QS_INLINE vf64 tan_f64(vf64 x) {
  vu64 quarter;
  vf64 low;
  const vf64 r = reduce_f64(x, low, quarter);
  const vf64 s = sin_part_f64(r, low), c = cos_part_f64(r, low);
  const auto odd = (vi64)(quarter & 1) != 0;
  const vf64 y = (odd ? -c : s) / (odd ? s : c);
  return repaired_f64(x == 0.0 ? x : y, x, [](double v) { return ::tan(v); });
}

// ---- the error function and its relatives

QS_INLINE vf64 erf_near(vf64 x) {  // |x| <= 1
  const vf64 z = x * x;
  const vf64 p =
      polynomial(z, -4.374621450325064e-12, 8.800680090460203e-11, -1.219035624032117e-09,
                   1.4796618901290416e-08, -1.6365085592632062e-07, 1.6462076794793434e-06,
                   -1.4925649082364785e-05, 0.0001205533295270044, -0.0008548327023024696,
                   0.005223977625438469, -0.026866170645131082, 0.11283791670955125,
                   -0.37612638903183754);
  return fma(x, splat(k_two_over_root_pi), fma(x * z, p, x * k_two_over_root_pi_low));
}
/// erfc(a) for a in [1/2, 28]: e^(-a^2) times (1 + 2a) erfcx(a) / (1 + 2a).
QS_INLINE vf64 erfc_far(vf64 a) {
  const vf64 t = (a - 3.5) / (a + 3.5), square = a * a, rest = fma(a, a, -square);
  const vf64 p =
      polynomial(t, 1.0591622351425399e-08, 4.2783298300506434e-10, -9.361273365147815e-08,
                   -7.545055693454484e-09, 6.00951725853741e-07, -4.466283205177847e-08,
                   -3.814991076700576e-06, 2.3285625617049886e-06, 2.4261220716444518e-05,
                   -4.278232062220953e-05, -0.00012151250870843876, 0.0005643844370842721,
                   -0.00030226786092849803, -0.004215019910384933, 0.01909933094056669,
                   -0.04882332582769667, 0.08798315382497571, -0.11508959816020042,
                   0.09751909515325563, -0.010555596332218151, -0.1400091801376194,
                   1.2423492448711544);
  const vf64 e = exp_f64(-square);
  return e * (p / (2.0 * a + 1.0)) * (1.0 - rest);
}
QS_INLINE vf64 erfc_f64(vf64 x) {
  vf64 a = abs_of(x);
  a = a > 28.0 ? splat(28.0) : a;
  const vf64 far = erfc_far(a);
  const vf64 near = 1.0 - erf_near(x);
  const vf64 y = abs_of(x) < 0.5 ? near : (x < 0.0 ? 2.0 - far : far);
  return x == x ? y : x;
}
QS_INLINE vf64 erf_f64(vf64 x) {
  vf64 a = abs_of(x);
  a = a > 6.0 ? splat(6.0) : a;  // erf(6) rounds to 1
  const vf64 y = a < 0.9 ? erf_near(a) : 1.0 - erfc_far(a);
  return x == x ? with_sign(y, x) : x;
}

/// erfinv(x) / x as a function of w = -log(1 - x^2), as Giles does it, with fits of our own: to which
/// a step of Halley's method is added, on erf or, near the ends, on erfc.
QS_INLINE vf64 erfinv_f64(vf64 x) {
  const vf64 a = abs_of(x), tail = 1.0 - a;
  const vf64 w = -log_f64(tail * (1.0 + a));
  const vf64 c = w - 2.5, s = sqrt_of(w) - 3.0;
  const vf64 middle =
      polynomial(c, 4.671932509038665e-10, -8.739010702830122e-09, 1.598430613390006e-08,
                 4.6541741050231655e-07, -3.4234142742220455e-06, -4.9596917942159365e-06,
                 0.00021825772396383332, -0.0012527485028416628, -0.004177320040540122,
                 0.24664028942745514, 1.501409351110792);
  const vf64 end =
      polynomial(s, 7.325156822633578e-07, -1.01177385581464e-05, 5.291410446019428e-05,
                     -0.00010431906213702843, -0.00014336174098774225, 0.0012914589453805487,
                     -0.0034461981817761403, 0.005737624805827678, -0.007694030480469546,
                     0.009442158677982237, 1.001680345367668, 2.832976839837171);
  vf64 y = (w < 5.0 ? middle : end) * a;
  const vf64 near = erf_near(y) - a, far = tail - erfc_far(y < 0.5 ? splat(0.5) : y);
  const vf64 error = a < 0.55 ? near : far;  // erfinv(0.55) = 0.534
  const vf64 step = error / (k_two_over_root_pi * exp_f64(-(y * y)));
  y -= step / (1.0 + y * step);
  y = a < 1.0 ? y : (a == 1.0 ? splat(k_inf) : splat(k_nan));
  return x == 0.0 ? x : (x == x ? with_sign(y, x) : x);
}

// ---- the logarithm of the gamma function, to f32's precision

QS_INLINE vf64 lgamma_positive(vf64 x) {  // x > 0
  // Stirling's series from 8 on; smaller arguments are raised by the recurrence.
  const auto raise = x < 8.0;
  const vf64 product = ((x * (x + 7.0)) * ((x + 1.0) * (x + 6.0))) *
                       (((x + 2.0) * (x + 5.0)) * ((x + 3.0) * (x + 4.0)));
  const vf64 y = raise ? x + 8.0 : x;
  const vf64 r = 1.0 / y, z = r * r;
  const vf64 series = r * polynomial(z, 1.0 / 1188, -1.0 / 1680, 1.0 / 1260, -1.0 / 360, 1.0 / 12);
  const vf64 stirling = (y - 0.5) * log_f64(y) - y + (0.91893853320467274178 + series);
  return raise ? stirling - log_f64(product) : stirling;
}
/// The absolute error is some 1e-15, which is an ulp of f32 next to the zeros at 1 and 2.
QS_INLINE vf64 lgamma_f32(vf64 x) {
  const vf64 a = abs_of(x);
  const vf64 fraction = a - rounded<k_down>(a);  // sin(pi a) = +-sin(pi fraction)
  const vf64 f = fraction > 0.5 ? 1.0 - fraction : fraction;
  const vf64 angle = f * (2.0 * k_half_pi), z = angle * angle;
  const auto steep = angle > k_half_pi / 2;
  const vf64 turned = k_half_pi - angle;
  const vf64 sine = steep ? cos_part(turned * turned) : sin_part(angle, z);
  const vf64 positive = lgamma_positive(a);
  const vf64 reflected = 1.14472988584940017414 - log_f64(a * sine) - positive;
  vf64 y = x > 0.0 ? positive : (f == 0.0 ? splat(k_inf) : reflected);
  y = a < k_inf ? y : splat(k_inf);
  y = (x == 1.0) | (x == 2.0) ? vf64{} : y;
  return x == x ? y : x;
}

// ---- powers

/// log(x) as high + low, the relative error some 2^-64, for normal positive numbers.
QS_INLINE vf64 log_pair(vf64 x, vf64& low) {
  constexpr uint64_t k_root = 0x3fe6a09e667f3bcd;  // sqrt(1/2)
  const vu64 i = (vu64)x - k_root + (uint64_t{1023} << 52);
  const vf64 e = (vf64)((i >> 52) | 0x4330000000000000ull) - (0x1p52 + 1023.0);
  const vf64 m = (vf64)((i & 0xfffffffffffffull) + k_root);
  // s = (m - 1) / (m + 1), z = s^2, each with what it has lost.
  const vf64 top = m - 1.0, d = m + 1.0, d_low = m - (d - 1.0), over = 1.0 / d;
  const vf64 s = top * over, s_low = (fma(-s, d, top) - s * d_low) * over;
  const vf64 z = s * s, z_low = fma(s, s, -z) + (s + s) * s_low;
  // log(m) = 2 s (1 + z q), q = 1/3 + z (1/5 + ...)
  const vf64 p = z * polynomial(z, 1.0 / 25, 1.0 / 23, 1.0 / 21, 1.0 / 19, 1.0 / 17, 1.0 / 15,
                                1.0 / 13, 1.0 / 11, 1.0 / 9, 1.0 / 7, 1.0 / 5);
  const vf64 q = p + 1.0 / 3, q_low = ((1.0 / 3 - q) + p) + 0x1.5555555555555p-56;
  const vf64 u = z * q, u_low = fma(z, q, -u) + fma(z, q_low, z_low * q);
  const vf64 v = s * u, v_low = fma(s, u, -v) + fma(s, u_low, s_low * u);
  const vf64 half = s + v, half_low = ((s - half) + v) + (s_low + v_low);
  const vf64 shift = e * k_ln2_high, sum = shift + 2.0 * half;  // the product is exact
  low = (shift - sum) + 2.0 * half + fma(e, splat(k_ln2_low), 2.0 * half_low);
  return sum;
}
struct PowF64 {
  static QS_INLINE vf64 apply(vf64 x, vf64 y) {
    const vi64 three = (vi64)(y == 3.0);  // products, wherever the exponent comes from
    if (!any(~three)) return x * x * x;
    const vf64 result = general(x, y);
    return three != 0 ? x * x * x : result;
  }
  static QS_INLINE vf64 general(vf64 x, vf64 y) {
    const vi64 plain =
        (vi64)(x >= 0x1p-1022) & (vi64)(x < k_inf) & (vi64)(abs_of(y) < k_inf);
    vf64 log_low;
    const vf64 log = log_pair(x, log_low), t = y * log;
    const auto within = abs_of(t) < 760.0;  // else 0 or infinite
    const vf64 bounded = within ? t : (t > 0.0 ? splat(760.0) : splat(-760.0));
    const vf64 t_low = within ? fma(y, log, -t) + y * log_low : vf64{};
    const vf64 n = nearest(bounded * 1.44269504088896340736);
    const vf64 first = fma(n, splat(-k_ln2_high), bounded);
    const vf64 second = fma(n, splat(-k_ln2_low), t_low);
    const vf64 r = first + second, r_low = (first - r) + second;
    const vf64 p = polynomial(r, 1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800,
                              1.0 / 362880, 1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120,
                              1.0 / 24, 1.0 / 6, 0.5);
    vf64 result = scale(1.0 + (r + fma(r * r, p, r_low)), n);
    if (any(~plain)) [[unlikely]]
      for (int i = 0; i < VecOf<double>::lanes; ++i)
        if (!plain[i]) result[i] = ::pow(x[i], y[i]);
    return result;
  }
};

// ---- tables of the vectors above

#define F64(Name, function)                                      \
  struct Name##F64 {                                             \
    static QS_INLINE vf64 apply(vf64 x) { return (function)(x); } \
  };
#define THROUGH(Name, function)                                             \
  struct Name {                                                             \
    static QS_INLINE vf32 apply(vf32 wide) {                                \
      return in_f64(wide, [](vf64 x) { return (function)(x); }); \
    }                                                                       \
  };
F64(Expm1, expm1_f64)
F64(Exp2, exp2_f64)
F64(Log1p, log1p_f64)
F64(Log2, log2_f64)
F64(Sinh, sinh_f64)
F64(Cosh, cosh_f64)
F64(Tanh, tanh_f64)
F64(Asinh, asinh_f64)
F64(Acosh, acosh_f64)
F64(Atanh, atanh_f64)
F64(Asin, asin_f64)
F64(Acos, acos_f64)
F64(Atan, atan_f64)
F64(Sin, sin_f64)
F64(Cos, cos_f64)
F64(Tan, tan_f64)
F64(Erf, erf_f64)
F64(Erfc, erfc_f64)
THROUGH(Acosh, acosh_f64)
THROUGH(Lgamma, lgamma_f32)
#undef F64
#undef THROUGH
struct ErfinvF64 {
  static QS_INLINE vf64 apply(vf64 x) { return erfinv_f64(x); }
};
struct Atan2F64 {
  static QS_INLINE vf64 apply(vf64 y, vf64 x) { return atan2_f64(y, x); }
};
/// sqrt(x^2 + y^2); squares of f32 neither overflow nor vanish in f64.
struct Hypot {
  static QS_INLINE vf32 apply(vf32 x, vf32 y) {
    const vf32 h = in_f64(x, y, [](vf64 a, vf64 b) { return sqrt_of(a * a + b * b); });
    const auto infinite = (vi32)(abs_of(x) == k_inf_f) | (vi32)(abs_of(y) == k_inf_f);
    return infinite ? splat(k_inf_f) : h;  // though the other be NaN
  }
};

}  // namespace
}  // namespace qs::driver::cpu::QS_ISA_NAMESPACE
