// The transcendental primitives. Included once per instruction set; vector_math.inl has the
// vectors.
#include <math.h>

#include "quicksilver/driver/cpu/tile_simd.h"
// (the vectors need the layer above)
#include "quicksilver/driver/cpu/vector_math.inl"

namespace qs::driver::cpu::QS_ISA_NAMESPACE {
namespace {

constexpr double k_pi = 3.14159265358979323846;

double digamma(double x) {
  if (x == 0) return ::copysign(__builtin_inf(), -x);
  double result = 0;
  if (x < 0) {
    if (x == ::floor(x)) return __builtin_nan("");
    // Reflection; the argument of tan is reduced first, which is exact.
    const double r = x - ::nearbyint(x);
    result = -k_pi / ::tan(k_pi * r);
    x = 1 - x;
  }
  for (; x < 10; x += 1) result -= 1 / x;
  const double y = 1 / (x * x);
  // Asymptotic series: ln x - 1/2x - sum B_2k / (2k x^2k).
  const double series =
      y * (1.0 / 12 -
           y * (1.0 / 120 -
                y * (1.0 / 252 -
                     y * (1.0 / 240 - y * (1.0 / 132 - y * (691.0 / 32760 - y * (1.0 / 12)))))));
  return result + ::log(x) - 0.5 / x - series;
}

double erfinv(double x) {
  if (!(x > -1 && x < 1)) {
    if (x == 1 || x == -1) return x * __builtin_inf();
    return __builtin_nan("");
  }
  if (x == 0) return x;
  // Giles' single precision approximation, then Newton steps on erf or, near the ends, on erfc.
  const double a = ::fabs(x), tail = 1 - a;
  double w = -::log(tail * (1 + a)), y;
  if (w < 5) {
    w -= 2.5;
    y = 2.81022636e-08;
    for (double c : {3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503,
                     -0.00417768164, 0.246640727, 1.50140941})
      y = c + y * w;
  } else {
    w = ::sqrt(w) - 3;
    y = -0.000200214257;
    for (double c : {0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613,
                     0.00943887047, 1.00167406, 2.83297682})
      y = c + y * w;
  }
  y *= a;
  for (int i = 0; i < 3; ++i) {
    const double error = a < 0.5 ? ::erf(y) - a : tail - ::erfc(y);
    const double slope = 1.12837916709551257390 * ::exp(-y * y);
    if (slope == 0) break;
    const double step = error / slope;
    y -= step / (1 + y * step);
  }
  return ::copysign(y, x);
}

double lgamma_of(double x) {
  int sign;
  return ::lgamma_r(x, &sign);
}
double sigmoid_of(double x) {
  const double e = ::exp(-::fabs(x));
  return (x < 0 ? e : 1) / (1 + e);
}
double pow_of(double x, double y) { return ::pow(x, y); }

/// A function of f64 used on f32: one rounding more, still well under one ulp.
template <double (*f)(double)>
float through(float x) {
  return static_cast<float>(f(x));
}
template <double (*f)(double, double)>
float through2(float x, float y) {
  return static_cast<float>(f(x, y));
}

template <double (*f)(double)>
void put(IsaTable& t, Prim p) {
  t.op[static_cast<int>(p)][r_f32] = exact1<float, float, through<f>>;
  t.op[static_cast<int>(p)][r_f64] = exact1<double, double, f>;
}
template <double (*f)(double, double)>
void put2(IsaTable& t, Prim p) {
  t.op[static_cast<int>(p)][r_f32] = exact2<float, float, through2<f>>;
  t.op[static_cast<int>(p)][r_f64] = exact2<double, double, f>;
}

}  // namespace

void fill_math(IsaTable& t) {
#define ROW(name) put<::name>(t, Prim::name);
  ROW(exp)
  ROW(exp2)
  ROW(expm1)
  ROW(log) ROW(log2) ROW(log10) ROW(log1p) ROW(sin) ROW(cos) ROW(tan) ROW(asin) ROW(acos) ROW(atan)
      ROW(sinh) ROW(cosh) ROW(asinh) ROW(acosh) ROW(atanh) ROW(tanh) ROW(erf) ROW(erfc)
#undef ROW
          put<sigmoid_of>(t, Prim::sigmoid);
  put<erfinv>(t, Prim::erfinv);
  put<digamma>(t, Prim::digamma);
  put<lgamma_of>(t, Prim::lgamma);
  put2<::atan2>(t, Prim::atan2);
  put2<pow_of>(t, Prim::pow);
#define ROW(name, F) t.op[static_cast<int>(Prim::name)][r_f32] = vector_op<float, F, 1>;
  ROW(exp, Exp)
  ROW(exp2, Exp2)
  ROW(expm1, Expm1)
  ROW(log, Log) ROW(log2, Log2) ROW(log10, Log10) ROW(log1p, Log1p) ROW(sin, Sin) ROW(cos, Cos)
      ROW(tan, Tan) ROW(sinh, Sinh) ROW(cosh, Cosh) ROW(tanh, Tanh) ROW(sigmoid, Sigmoid)
          ROW(erf, Erf)
#undef ROW
#define ROW(name, F) t.op[static_cast<int>(Prim::name)][r_f64] = vector_op<double, F, 1>;
              ROW(exp, ExpF64) ROW(log, LogF64) ROW(sigmoid, SigmoidF64)
#undef ROW
                  t.op[static_cast<int>(Prim::pow)][r_f32] = vector_op<float, Pow, 2>;
}

}  // namespace qs::driver::cpu::QS_ISA_NAMESPACE
