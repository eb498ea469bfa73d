// The transcendental primitives. Included once per instruction set; vector_math.inl has the
// vectors.
#include <math.h>

#include "quicksilver/driver/cpu/special_math.h"
#include "quicksilver/driver/cpu/tile_simd.h"
// (the vectors need the layer above)
#include "quicksilver/driver/cpu/vector_math.inl"
// (and these of f32 need those)
#include "quicksilver/driver/cpu/vector_math_f32.inl"
// (and the f64 functions need those)
#include "quicksilver/driver/cpu/vector_math_f64.inl"
// (and these need both)
#include "quicksilver/driver/cpu/vector_special.inl"

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

double lgamma_of(double x) {
  int sign;
  return ::lgamma_r(x, &sign);
}
/// Never negative, as far as the type can say so; gcd(0, x) is |x|.
template <class T, class U>
T gcd(T x, T y) {
  U a = x < 0 ? U(0) - static_cast<U>(x) : static_cast<U>(x);
  U b = y < 0 ? U(0) - static_cast<U>(y) : static_cast<U>(y);
  while (b != 0) {
    const U rest = a % b;
    a = b;
    b = rest;
  }
  return static_cast<T>(a);
}

template <double (*f)(double, double)>
float through2(float x, float y) {
  return static_cast<float>(f(x, y));
}
template <double (*f)(double, double)>
void put2(IsaTable& t, Prim p) {
  t.op[static_cast<int>(p)][r_f32] = exact2<float, float, through2<f>>;
  t.op[static_cast<int>(p)][r_f64] = exact2<double, double, f>;
}

/// A function of f64 used on f32: one rounding more, still well under one ulp.
template <double (*f)(double)>
float through(float x) {
  return static_cast<float>(f(x));
}
template <double (*f)(double)>
void put(IsaTable& t, Prim p) {
  t.op[static_cast<int>(p)][r_f32] = exact1<float, float, through<f>>;
  t.op[static_cast<int>(p)][r_f64] = exact1<double, double, f>;
}
double hypot_of(double x, double y) { return ::hypot(x, y); }

}  // namespace

// clang-format off
void fill_math(IsaTable& t) {
  // One element at a time, by the C library.
  put<digamma>(t, Prim::digamma);
  put<lgamma_of>(t, Prim::lgamma);
  put<::y0>(t, Prim::y0);
  put<::y1>(t, Prim::y1);
#define ROW(name) put<special::name>(t, Prim::name);
  ROW(k0e) ROW(k1e)
#undef ROW
#define ROW(name) put2<special::name>(t, Prim::name);
  ROW(igamma) ROW(igammac)
#undef ROW
  t.op[static_cast<int>(Prim::gcd)][r_i32] = exact2<int32_t, int32_t, gcd<int32_t, uint32_t>>;
  t.op[static_cast<int>(Prim::gcd)][r_i64] = exact2<int64_t, int64_t, gcd<int64_t, uint64_t>>;
  t.op[static_cast<int>(Prim::log10)][r_f64] = exact1<double, double, ::log10>;
  t.op[static_cast<int>(Prim::j0)][r_f64] = exact1<double, double, ::j0>;
  t.op[static_cast<int>(Prim::j1)][r_f64] = exact1<double, double, ::j1>;
#define ROW(name) t.op[static_cast<int>(Prim::name)][r_f64] = exact2<double, double, name##_of>;
  ROW(hypot)
#undef ROW
  // Vectors.
#define ROW(name, F) t.op[static_cast<int>(Prim::name)][r_f32] = vector_op<float, F, 1>;
  ROW(exp, Exp) ROW(log, Log) ROW(tanh, Tanh) ROW(sigmoid, Sigmoid) ROW(erf, Erf)
#undef ROW
#define ROW(name, F) t.op[static_cast<int>(Prim::name)][r_f32] = vector_op<float, F, 1, true>;
  ROW(exp2, Exp2) ROW(expm1, Expm1) ROW(log2, Log2) ROW(log10, Log10)
  ROW(log1p, Log1p) ROW(sin, Sin) ROW(cos, Cos) ROW(tan, Tan) ROW(asin, Asin) ROW(acos, Acos)
  ROW(atan, Atan) ROW(sinh, Sinh) ROW(cosh, Cosh) ROW(asinh, Asinh) ROW(acosh, Acosh)
  ROW(atanh, Atanh) ROW(erfc, Erfc)
  ROW(erfinv, Erfinv) ROW(lgamma, Lgamma) ROW(j0, J0) ROW(j1, J1)
#undef ROW
#define ROW(name, F) t.op[static_cast<int>(Prim::name)][r_f64] = vector_op<double, F, 1, true>;
  ROW(exp, ExpF64) ROW(exp2, Exp2F64) ROW(expm1, Expm1F64) ROW(log, LogF64) ROW(log2, Log2F64)
  ROW(log1p, Log1pF64) ROW(asin, AsinF64) ROW(acos, AcosF64) ROW(atan, AtanF64)
  ROW(sinh, SinhF64) ROW(cosh, CoshF64) ROW(asinh, AsinhF64) ROW(acosh, AcoshF64)
  ROW(atanh, AtanhF64) ROW(tanh, TanhF64) ROW(sigmoid, SigmoidF64) ROW(erf, ErfF64)
  ROW(erfc, ErfcF64) ROW(erfinv, ErfinvF64) ROW(sin, SinF64) ROW(cos, CosF64) ROW(tan, TanF64)
#undef ROW
#define ROW(name, F)                                                               \
  t.op[static_cast<int>(Prim::name)][r_f32] = vector_op<float, F, 1, true>;        \
  t.op[static_cast<int>(Prim::name)][r_f64] = vector_op<double, F##F64, 1, true>;
  ROW(i0, I0) ROW(i0e, I0e) ROW(i1, I1) ROW(i1e, I1e) ROW(erfcx, Erfcx) ROW(ndtri, Ndtri)
  ROW(ndtr, Ndtr)
#undef ROW
  t.op[static_cast<int>(Prim::pow)][r_f32] = vector_op<float, Pow, 2, true>;
  t.op[static_cast<int>(Prim::pow)][r_f64] = vector_op<double, PowF64, 2, true>;
  t.op[static_cast<int>(Prim::hypot)][r_f32] = vector_op<float, Hypot, 2, true>;
  t.op[static_cast<int>(Prim::zeta)][r_f32] = zeta_op<float, Zeta>;
  t.op[static_cast<int>(Prim::zeta)][r_f64] = zeta_op<double, ZetaF64>;
  t.op[static_cast<int>(Prim::atan2)][r_f32] = vector_op<float, Atan2, 2, true>;
  t.op[static_cast<int>(Prim::atan2)][r_f64] = vector_op<double, Atan2F64, 2, true>;
}
// clang-format on

}  // namespace qs::driver::cpu::QS_ISA_NAMESPACE
