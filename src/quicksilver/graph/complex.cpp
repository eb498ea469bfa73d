// Complex arithmetic as real arithmetic: what the primitives mean for z = x + iy.
//
// Products are the four-term form with each term rounded, quotients Smith's, so that they agree
// with PyTorch's. The inverse functions are Kahan's ("Branch cuts for complex elementary
// functions", 1987), which keep the signs of zeros on the cuts.
#include "quicksilver/core/error.h"
#include "quicksilver/graph/expr_math.h"

namespace qs::graph {
namespace {

using namespace math;

struct Z {
  E re, im;
};

Z operator+(Z a, Z b) { return {a.re + b.re, a.im + b.im}; }
Z operator-(Z a, Z b) { return {a.re - b.re, a.im - b.im}; }
Z operator-(Z a) { return {-a.re, -a.im}; }
Z operator*(Z a, Z b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
Z operator*(Z a, double s) { return {a.re * s, a.im * s}; }
Z operator+(Z a, double s) { return {a.re + s, a.im}; }
Z where(E c, Z a, Z b) { return {math::where(c, a.re, b.re), math::where(c, a.im, b.im)}; }
Z conj(Z a) { return {a.re, -a.im}; }
Z times_i(Z a) { return {-a.im, a.re}; }
Z over_i(Z a) { return {a.im, -a.re}; }
E modulus(Z a) { return hypot(a.re, a.im); }

Z operator/(Z a, Z b) {
  const E wide = abs(b.re) >= abs(b.im);
  const E big = math::where(wide, b.re, b.im), small = math::where(wide, b.im, b.re);
  const E ratio = math::where(big == 0.0, like(big, 0.0), small / big);
  const E scale = 1.0 / (big + small * ratio);
  const E p = math::where(wide, a.re, a.im), q = math::where(wide, a.im, a.re);
  const E im = (q - p * ratio) * scale;
  return {(p + q * ratio) * scale, math::where(wide, im, -im)};
}

Z sqrt(Z a) {
  const E t = math::sqrt((abs(a.re) + modulus(a)) * 0.5);
  const E other = math::where(t == 0.0, abs(a.im), abs(a.im) / (t * 2.0));
  const E right = a.re >= 0.0;
  return {math::where(right, t, other), copysign(math::where(right, other, t), a.im)};
}

Z exp(Z a) {
  const E size = math::exp(a.re);
  const E flat = a.im == 0.0;  // inf * sin(0) is no NaN
  return {math::where(flat, size, size * cos(a.im)), math::where(flat, a.im, size * sin(a.im))};
}

Z log(Z a) { return {math::log(modulus(a)), atan2(a.im, a.re)}; }

Z log1p(Z a) {
  // |1 + z|^2 - 1 = x (2 + x) + y^2
  const E near = abs(a.re) + abs(a.im) < 0.5;
  const E exact = math::log1p(a.re * (a.re + 2.0) + a.im * a.im) * 0.5;
  return {math::where(near, exact, math::log(hypot(a.re + 1.0, a.im))), atan2(a.im, a.re + 1.0)};
}

Z expm1(Z a) {
  const E half = sin(a.im * 0.5), size = math::exp(a.re);
  return {math::expm1(a.re) * cos(a.im) - half * half * 2.0, size * sin(a.im)};
}

Z sinh(Z a) { return {math::sinh(a.re) * cos(a.im), math::cosh(a.re) * sin(a.im)}; }
Z cosh(Z a) { return {math::cosh(a.re) * cos(a.im), math::sinh(a.re) * sin(a.im)}; }

Z tanh(Z a) {
  const E h = math::tanh(a.re), t = math::tan(a.im), h2 = h * h, t2 = t * t;
  const E below = h2 * t2 + 1.0;
  const E side = 1.0 / square(math::cosh(a.re));
  return {h * (t2 + 1.0) / below, t * side / below};
}

Z asin(Z a) {
  const Z low = sqrt(Z{1.0 - a.re, -a.im}), high = sqrt(a + 1.0);
  return {atan2(a.re, (low * high).re), asinh((conj(low) * high).im)};
}

Z acos(Z a) {
  const Z low = sqrt(Z{1.0 - a.re, -a.im}), high = sqrt(a + 1.0);
  return {atan2(low.re, high.re) * 2.0, asinh((conj(high) * low).im)};
}

Z acosh(Z a) {
  const Z low = sqrt(a + -1.0), high = sqrt(a + 1.0);
  return {asinh((conj(low) * high).re), atan2(low.im, high.re) * 2.0};
}

Z atanh(Z a) {
  const E y2 = a.im * a.im;
  return {math::log1p(a.re * 4.0 / (square(1.0 - a.re) + y2)) * 0.25,
          atan2(a.im * 2.0, (1.0 - a.re) * (a.re + 1.0) - y2) * 0.5};
}

Z pow(Z a, Z b) {
  const E zero = bit_and(a.re == 0.0, a.im == 0.0), none = bit_and(b.re == 0.0, b.im == 0.0);
  const Z safe = {math::where(zero, like(a.re, 1.0), a.re), a.im};
  const Z nothing = {like(a.re, 0.0), like(a.re, 0.0)}, one = {like(a.re, 1.0), like(a.re, 0.0)};
  return where(none, one, where(zero, nothing, exp(b * log(safe))));
}

Z reciprocal(Z a) { return Z{like(a.re, 1.0), like(a.re, 0.0)} / a; }

}  // namespace

E expand_complex(Builder& b, Prim prim, std::span<const E> s) {
  const auto part = [&](size_t i) -> Z { return {b.real(s[i]), b.imag(s[i])}; };
  const auto join = [&](Z z) { return b.complex(z.re, z.im); };
  const size_t first = prim == Prim::where ? 1 : 0;
  const Z x = part(first), y = s.size() > first + 1 ? part(first + 1) : Z{};
  switch (prim) {
    case Prim::copy:
      return join(x);
    case Prim::neg:
      return join(-x);
    case Prim::add:
      return join(x + y);
    case Prim::sub:
      return join(x - y);
    case Prim::mul:
      return join(x * y);
    case Prim::div:
      return join(x / y);
    case Prim::square:
      return join(x * x);
    case Prim::reciprocal:
      return join(reciprocal(x));
    case Prim::sqrt:
      return join(sqrt(x));
    case Prim::rsqrt:
      return join(reciprocal(sqrt(x)));
    case Prim::exp:
      return join(exp(x));
    case Prim::exp2:
      return join(exp(x * 0.69314718055994530942));
    case Prim::expm1:
      return join(expm1(x));
    case Prim::log:
      return join(log(x));
    case Prim::log2:
      return join(log(x) * 1.44269504088896340736);
    case Prim::log10:
      return join(log(x) * 0.43429448190325182765);
    case Prim::log1p:
      return join(log1p(x));
    case Prim::sin:
      return join(over_i(sinh(times_i(x))));
    case Prim::cos:
      return join(cosh(times_i(x)));
    case Prim::tan:
      return join(over_i(tanh(times_i(x))));
    case Prim::sinh:
      return join(sinh(x));
    case Prim::cosh:
      return join(cosh(x));
    case Prim::tanh:
      return join(tanh(x));
    case Prim::asin:
      return join(asin(x));
    case Prim::acos:
      return join(acos(x));
    case Prim::atan:
      return join(over_i(atanh(times_i(x))));
    case Prim::asinh:
      return join(over_i(asin(times_i(x))));
    case Prim::acosh:
      return join(acosh(x));
    case Prim::atanh:
      return join(atanh(x));
    case Prim::sigmoid:
      return join(reciprocal(exp(-x) + 1.0));
    case Prim::pow:
      return join(pow(x, y));
    case Prim::where:
      return join(where(s[0], x, y));
    case Prim::eq:
      return bit_and(x.re == y.re, x.im == y.im);
    case Prim::ne:
      return bit_or(x.re != y.re, x.im != y.im);
    case Prim::isnan:
      return bit_or(isnan(x.re), isnan(x.im));
    case Prim::isinf:
      return bit_or(isinf(x.re), isinf(x.im));
    case Prim::isfinite:
      return bit_and(isfinite(x.re), isfinite(x.im));
    case Prim::logical_not:
      return bit_and(x.re == 0.0, x.im == 0.0);
    default:
      throw NotImplementedError(
          qs::format("\"{}\" is not defined for complex numbers", info(prim).name));
  }
}

}  // namespace qs::graph
