// Special functions of one number or two, in double: what the C library lacks.
//
// The tables are coefficients of Chebyshev series, fitted with 40 digits to a relative error below
// 1e-17 of the largest value; each function says of what, and over which argument.
#include "quicksilver/driver/cpu/special_math.h"

#include <cmath>
#include <cstdint>
#include <limits>

namespace qs::driver::cpu::special {
namespace {

constexpr double k_inf = std::numeric_limits<double>::infinity();
constexpr double k_nan = std::numeric_limits<double>::quiet_NaN();
constexpr double k_pi = 3.14159265358979323846;

// clang-format off
constexpr double k_i0_small[] = {
    0.3383976372047380425, -0.30468267234319839868, 0.17162090152220877535,
    -0.094901097048047644421, 0.049305284239670708488, -0.023737414805899468816,
    0.010546460394594998318, -0.0043243099950505759443, 0.0016394756169413357984,
    -0.00057637557453858236588, 0.00018850288509584165573, -0.00005754195010082103704,
    0.000016448448070728897089, -4.4167383584587505636e-6, 1.1173875391201037182e-6,
    -2.6707938539406117339e-7, 6.0469950225419189493e-8, -1.3000250099862480421e-8,
    2.6598237246823866503e-9, -5.1897956016352629067e-10, 9.6758090353732369122e-11,
    -1.7268262914415557072e-11, 2.9550526631296398346e-12, -4.8564467831119294609e-13,
    7.6761854986049356169e-14, -1.1685332877993451681e-14, 1.7153912855551330306e-15,
    -2.4312798465479546936e-16, 3.3307945188222380978e-17, -4.4153416464793393795e-18};
constexpr double k_i0_large[] = {
    0.4022452055070544158, 0.0033691164782556940899, 0.000068897583469168239843,
    2.891370520834756483e-6, 2.0489185894690637418e-7, 2.2666689904981780646e-8,
    3.3962320257083863452e-9, 4.9406023882249695891e-10, 1.1889147107846438342e-11,
    -3.1499165279632413645e-11, -1.3215811840447713119e-11, -1.7941785315068061178e-12,
    7.1801244513836662337e-13, 3.8527783827421427011e-13, 1.5400862175214098269e-14,
    -4.1505693472872220866e-14, -9.5548466988283076487e-15, 3.8116806693526224207e-15,
    1.7725601330565263836e-15, -3.4254856196772191346e-16, -2.8276239805165834849e-16,
    3.4612228676974610931e-17, 4.465621420296759999e-17, -4.8305044859441820713e-18,
    -7.2331804878747539546e-18, 9.9214754121736985989e-19, 1.1936508908459820855e-18};
constexpr double k_i1_small[] = {
    0.12629359322181682741, -0.17641651835783405515, 0.10264365868984709538,
    -0.052945981208094991427, 0.024726449030626516828, -0.010564084894626198156,
    0.0041564229443128881567, -0.001513572450631253149, 0.0005122859561685757729,
    -0.00016176081582589674559, 0.000047815651075500542264, -0.000013273163656039435828,
    3.4702513081376784767e-6, -8.5687202646954547407e-7, 2.0032947535521352623e-7,
    -4.4450591287963280807e-8, 9.3815373864957717839e-9, -1.8872497517228292879e-9,
    3.625590281552117037e-10, -6.6634897235020277422e-11, 1.1736186298890901631e-11,
    -1.9839743977649437152e-12, 3.2237933659455747098e-13, -5.0421855047279116871e-14,
    7.6006842947354069341e-15, -1.105596947735386308e-15, 1.5536319577362004689e-16,
    -2.1114212143581660782e-17, 2.7779141127610463705e-18, -3.5415817725421362052e-19};
constexpr double k_i1_large[] = {
    0.38928811750914006024, -0.0097610974913614684078, -0.00011058893876262371629,
    -3.8825648088776903935e-6, -2.5122362378702089253e-7, -2.6314688468895195068e-8,
    -3.835380385964237022e-9, -5.5897434621965838069e-10, -1.8974958123505412345e-11,
    3.2526035830154882386e-11, 1.4125807436613781332e-11, 2.0356285441470895072e-12,
    -7.1985517762459085121e-13, -4.0835511110921973182e-13, -2.101541842772664313e-14,
    4.2724400167119513543e-14, 1.0420276984128802764e-14, -3.8144030724370078048e-15,
    -1.8803547755107824485e-15, 3.3082023109209282827e-16, 2.9626289976459501391e-16,
    -3.2095259219934239588e-17, -4.6503053684893583256e-17, 4.4143483230717079499e-18,
    7.5172963108421048054e-18, -9.3141788673268833757e-19, -1.2421932751948909561e-18};
constexpr double k_k0_small[] = {
    -0.26766369661695138436, 0.34428989992462848689, 0.035979936515361501627,
    0.0012646154114469259234, 0.000022862121031194517861, 2.5347910790261494573e-7,
    1.904516377220208859e-9, 1.0349695257633624585e-11, 4.2598161427910825765e-14,
    1.3744654358807508969e-16};
constexpr double k_k0_large[] = {
    1.2201515410329777273, -0.031448101311964500543, 0.0015698838857300533749,
    -0.00012849549581627802638, 0.000013949813718876499364, -1.8317555227191194848e-6,
    2.7668136394450150761e-7, -4.6604898976879476656e-8, 8.5740340174142260858e-9,
    -1.6975345093890615156e-9, 3.5773972814003284472e-10, -7.9574892444773970377e-11,
    1.855949114954926555e-11, -4.5145978833745191751e-12, 1.1403405882073442347e-12,
    -2.9800969231481783548e-13, 8.0328907750683743694e-14, -2.2275133267462963604e-14,
    6.3400764762766459661e-15, -1.8485933779209071694e-15, 5.5120559994043333649e-16,
    -1.6782311257549006383e-16, 5.2103917776435541125e-17, -1.6475805939842632815e-17,
    5.300433771177335771e-18};
constexpr double k_k1_small[] = {
    0.76265011366947388527, -0.35315596077654487567, -0.12261118082265714823,
    -0.0069757238596398643502, -0.0001730288957513052063, -2.433406141565968235e-6,
    -2.2133876307347258558e-8, -1.4114883926335277611e-10, -6.6669016941993290061e-13,
    -2.4274498505193659339e-15, -7.0238634793862875972e-18};
constexpr double k_k1_large[] = {
    1.3603130952422213347, 0.10392373657681723844, -0.0028578168596227793868,
    0.00019521551847135163111, -0.0000193619797416608296, 2.4064849478372171171e-6,
    -3.5019606030878125421e-7, 5.7410841254500492923e-8, -1.0345762465678097027e-8,
    2.0150497551970346161e-9, -4.1903547593419255842e-10, 9.2183151876053141258e-11,
    -2.1299678384277910216e-11, 5.1396396734823435404e-12, -1.2891739609498229352e-12,
    3.3484196660522431201e-13, -8.9767051820101460692e-14, 2.4771544242195986813e-14,
    -7.0198370892147688513e-15, 2.0387031662398608799e-15, -6.0570472706430178228e-16,
    1.8380935752430454256e-16, -5.6894628491936483743e-17, 1.7940510478863572914e-17,
    -5.7567444820733024503e-18};
constexpr double k_erfcx[] = {
    1.1774832005374486986, 0.0072607966203019004784, -0.081265123236184997858,
    -0.060092128041222249997, -0.028753935580276660271, -0.010595663363472860014,
    -0.0031369272945542642383, -0.00074564943725361840431, -0.00013696965030100540681,
    -0.000017183861600300937113, -7.1583646234503468633e-7, 2.4261399442449532014e-7,
    5.5765709395703564039e-8, 2.1057869513809494813e-9, -1.1717889351884956849e-9,
    -1.909835517245668792e-10, 1.4088717642088129665e-11, 6.9011083204808149553e-12,
    9.1679583641112932862e-14, -2.1454508286554552991e-13, -1.4716575027010624224e-14,
    6.6686751187704079242e-15, 7.5045985098800830254e-16, -2.2200930066663200355e-16,
    -3.1704898956330888357e-17, 8.1935703098843323335e-18};
// clang-format on

/// The series at x in [low, high] (Clenshaw).
template <size_t n>
double series(const double (&c)[n], double x, double low, double high) {
  const double t = (2 * x - low - high) / (high - low);
  double a = 0, b = 0;
  for (size_t i = n - 1; i > 0; --i) {
    const double next = 2 * t * a - b + c[i];
    b = a;
    a = next;
  }
  return t * a - b + c[0];
}

/// x - log(1 + x) without cancellation.
double minus_log1p(double x) {
  if (std::fabs(x) > 0.5) return x - std::log1p(x);
  // log1p(x) = 2 atanh(r), r = x / (2 + x), and x - 2 r = x r.
  const double r = x / (2 + x), r2 = r * r;
  double sum = 0, term = 1;
  for (int k = 3; k < 60; k += 2) {
    sum += term / k;
    term *= r2;
    if (term < 1e-18) break;
  }
  return x * r - 2 * r * r2 * sum;
}

/// x^a e^-x / Gamma(a + 1)
double gamma_density(double a, double x) {
  if (a < 20) return std::exp(a * std::log(x) - x - std::lgamma(a + 1));
  // Stirling: Gamma(a + 1) = sqrt(2 pi a) (a / e)^a e^s.
  const double i2 = 1 / (a * a);
  const double s =
      (1.0 / 12 - i2 * (1.0 / 360 - i2 * (1.0 / 1260 - i2 * (1.0 / 1680 - i2 / 1188)))) / a;
  return std::exp(-a * minus_log1p((x - a) / a) - s) / std::sqrt(2 * k_pi * a);
}

/// P below the mean, Q above it; `upper` says which was computed.
double incomplete_gamma(double a, double x, bool& upper) {
  constexpr double k_large = 1e6;
  if (a > k_large) {  // Temme's uniform expansion, its first two terms
    const double mu = (x - a) / a;
    const double eta = std::copysign(std::sqrt(2 * minus_log1p(mu)), mu);
    const double c = std::fabs(eta) < 0.05
                         ? -1.0 / 3 + eta * (1.0 / 12 - eta * (2.0 / 135 - eta / 864))
                         : 1 / mu - 1 / eta;
    const double rest = std::exp(-0.5 * a * eta * eta) / std::sqrt(2 * k_pi * a) * c;
    upper = x > a;
    const double tail = 0.5 * std::erfc(std::fabs(eta) * std::sqrt(a / 2));
    return upper ? tail + rest : tail - rest;
  }
  constexpr int k_most = 20000;
  upper = x > a + 1;
  const double density = gamma_density(a, x);
  if (!upper) {  // sum of x^n / ((a + 1) ... (a + n))
    double term = 1, sum = 1;
    for (int n = 1; n < k_most; ++n) {
      term *= x / (a + n);
      sum += term;
      if (term < sum * 1e-17) break;
    }
    return density * sum;
  }
  // Lentz's continued fraction for Q.
  constexpr double k_tiny = 1e-300;
  double b = x + 1 - a, c = 1 / k_tiny, d = 1 / b, h = d;
  for (int n = 1; n < k_most; ++n) {
    const double top = -n * (n - a);
    b += 2;
    d = top * d + b;
    c = b + top / c;
    if (std::fabs(d) < k_tiny) d = k_tiny;
    if (std::fabs(c) < k_tiny) c = k_tiny;
    d = 1 / d;
    const double step = d * c;
    h *= step;
    if (std::fabs(step - 1) < 1e-16) break;
  }
  return density * a * h;
}

/// The answers that need no computing, or false.
bool gamma_edge(double a, double x, double& p) {
  if (std::isnan(a) || std::isnan(x) || a < 0 || x < 0) {
    p = k_nan;
  } else if (a == 0) {
    p = x > 0 ? 1 : k_nan;
  } else if (x == 0) {
    p = 0;
  } else if (std::isinf(a)) {
    p = std::isinf(x) ? k_nan : 0;
  } else if (std::isinf(x)) {
    p = 1;
  } else {
    return false;
  }
  return true;
}

}  // namespace

double i0e(double x) {
  x = std::fabs(x);
  return x <= 8 ? series(k_i0_small, x, 0, 8) : series(k_i0_large, 8 / x, 0, 1) / std::sqrt(x);
}

double i1e(double x) {
  const double a = std::fabs(x);
  const double y =
      a <= 8 ? a * series(k_i1_small, a, 0, 8) : series(k_i1_large, 8 / a, 0, 1) / std::sqrt(a);
  return std::copysign(y, x);
}

double i0(double x) {
  const double a = std::fabs(x);
  if (a <= 700) return std::exp(a) * i0e(a);
  const double half = std::exp(a / 2);  // e^a alone overflows before i0 does
  return half * i0e(a) * half;
}

double i1(double x) {
  const double a = std::fabs(x);
  if (a <= 700) return std::exp(a) * i1e(x);
  const double half = std::exp(a / 2);
  return half * i1e(x) * half;
}

double k0e(double x) {
  if (x == 0) return k_inf;
  if (!(x > 0)) return k_nan;
  if (x > 2) return series(k_k0_large, 2 / x, 0, 1) / std::sqrt(x);
  return (series(k_k0_small, x * x, 0, 4) - std::log(x / 2) * i0(x)) * std::exp(x);
}

double k1e(double x) {
  if (x == 0) return k_inf;
  if (!(x > 0)) return k_nan;
  if (x > 2) return series(k_k1_large, 2 / x, 0, 1) / std::sqrt(x);
  return (series(k_k1_small, x * x, 0, 4) / x + std::log(x / 2) * i1(x)) * std::exp(x);
}

double erfcx(double x) {
  if (x < -26.7) return k_inf;
  const double a = std::fabs(x);
  const double y = std::isinf(a) ? 0 : series(k_erfcx, 4 / (4 + a), 0, 1) / (1 + 2 * a);
  if (x >= 0 || std::isnan(x)) return y;
  const double high = static_cast<float>(a);  // its square is exact
  return 2 * std::exp(high * high) * std::exp((a - high) * (a + high)) - y;
}

double ndtri(double p) {
  if (!(p > 0 && p < 1)) return p == 0 ? -k_inf : p == 1 ? k_inf : k_nan;
  const double tail = 2 * (p < 0.5 ? p : 1 - p);  // solve erfc(y) = tail
  double y;
  if (tail > 0.5) {
    y = std::fabs(1 - 2 * p) * 0.88622692545275801365;  // sqrt(pi) / 2
  } else {
    const double l = -std::log(tail);
    y = std::sqrt(l);
    y = std::sqrt(std::fmax(0.05, l - std::log(y * 1.7724538509055160273)));
  }
  for (int i = 0; i < 6; ++i) {
    // In units of erfc's slope, and with erfcx where erfc is tiny.
    const double scaled = erfcx(y);
    const double error = tail > 0.5
                             ? ((p < 0.5 ? 1 - 2 * p : 2 * p - 1) - std::erf(y)) * std::exp(y * y)
                             : scaled - tail * std::exp(y * y);
    const double step = error / 1.12837916709551257390;
    const double change = step / (1 + y * step);
    y += change;
    if (std::fabs(change) <= 1e-16 * std::fabs(y)) break;
  }
  y *= 1.41421356237309504880;
  return p < 0.5 ? -y : y;
}

double zeta(double s, double q) {
  if (std::isnan(s) || std::isnan(q) || s < 1) return k_nan;
  if (s == 1) return k_inf;
  if (q <= 0) {
    if (q == std::floor(q)) return k_inf;
    if (s != std::floor(s)) return k_nan;
  }
  if (q > 1e8) return (1 / (s - 1) + 1 / (2 * q)) * std::pow(q, 1 - s);
  // Euler and Maclaurin: terms up to n, the integral beyond, and its corrections.
  constexpr double k_bernoulli[] = {
      // B_2k / (2k)!
      0.083333333333333333333,    -0.0013888888888888888889,  3.3068783068783068783e-05,
      -8.2671957671957671958e-07, 2.0876756987868098979e-08,  -5.2841901386874931848e-10,
      1.3382536530684678833e-11,  -3.3896802963225828668e-13, 8.5860620562778445641e-15,
      -2.1748686985580618730e-16, 5.5090028283602295152e-18,  -1.3954464685812523341e-19};
  double sum = 0, n = q;
  const int64_t least = 10;
  for (int64_t i = 0; i < least || n < 10; ++i, n += 1) {
    const double term = std::pow(n, -s);
    sum += term;
    if (n > 0 && term < 1e-18 * sum) return sum;
  }
  const double end = std::pow(n, -s);
  sum += end * n / (s - 1) + end / 2;
  double factor = s * end / n;
  for (int k = 0; k < 12; ++k) {
    const double term = k_bernoulli[k] * factor;
    sum += term;
    if (std::fabs(term) < 1e-18 * std::fabs(sum)) break;
    factor *= (s + 2 * k + 1) * (s + 2 * k + 2) / (n * n);
  }
  return sum;
}

double igamma(double a, double x) {
  double p;
  if (gamma_edge(a, x, p)) return p;
  bool upper;
  p = incomplete_gamma(a, x, upper);
  return upper ? 1 - p : p;
}

double igammac(double a, double x) {
  double p;
  if (gamma_edge(a, x, p)) return 1 - p;
  bool upper;
  p = incomplete_gamma(a, x, upper);
  return upper ? p : 1 - p;
}

}  // namespace qs::driver::cpu::special
