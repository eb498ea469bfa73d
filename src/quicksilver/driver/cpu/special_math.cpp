// Special functions of one number or two, in double: what the C library lacks.
#include "quicksilver/driver/cpu/special_math.h"

#include <cmath>
#include <cstdint>
#include <limits>

#include "quicksilver/driver/cpu/special_series.h"

namespace qs::driver::cpu::special {
namespace {

constexpr double k_inf = std::numeric_limits<double>::infinity();
constexpr double k_nan = std::numeric_limits<double>::quiet_NaN();
constexpr double k_pi = 3.14159265358979323846;

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

/// n^-s; s is mostly the small integer of a polygamma function.
double inverse_power(double n, double s) {
  if (!(s <= 8 && s == std::floor(s))) return std::pow(n, -s);
  double power = n;
  for (int k = 1; k < static_cast<int>(s); ++k) power *= n;
  return 1 / power;
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
    const double term = inverse_power(n, s);
    sum += term;
    if (n > 0 && term < 1e-18 * sum) return sum;
  }
  const double end = inverse_power(n, s);
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
