// Expressions spelled as arithmetic: the functions and operators of ops.def's expansions.
#pragma once
#include "quicksilver/graph/expr.h"

namespace qs::graph {
namespace math {

inline E emit1(Prim p, E x) { return x.builder->emit(p, std::span<const E>(&x, 1)); }
inline E emit2(Prim p, E x, E y) {
  const E s[] = {x, y};
  return x.builder->emit(p, s);
}
/// A number of the kind that x is.
inline E like(E x, double v) {
  const DType d = x.builder->dtype(x);
  if (is_integral(d)) return x.builder->number(static_cast<int64_t>(v), d);
  const E n = x.builder->number(v);  // of a complex node's compute dtype it may be complex
  return x.builder->is_complex(n) && !x.builder->is_complex(x) ? x.builder->real(n) : n;
}

// clang-format off
#define UNARY(name) \
  inline E name(E x) { return emit1(Prim::name, x); }
UNARY(abs) UNARY(sign) UNARY(square) UNARY(sqrt) UNARY(rsqrt) UNARY(reciprocal) UNARY(exp)
UNARY(exp2) UNARY(expm1) UNARY(log) UNARY(log2) UNARY(log10) UNARY(log1p) UNARY(sin) UNARY(cos)
UNARY(tan) UNARY(asin) UNARY(acos) UNARY(atan) UNARY(sinh) UNARY(cosh) UNARY(asinh) UNARY(acosh)
UNARY(atanh) UNARY(tanh) UNARY(sigmoid) UNARY(erf) UNARY(erfc) UNARY(erfinv) UNARY(lgamma)
UNARY(digamma) UNARY(i0) UNARY(i0e) UNARY(i1) UNARY(i1e) UNARY(k0e) UNARY(k1e) UNARY(j0) UNARY(j1)
UNARY(y0) UNARY(y1) UNARY(erfcx) UNARY(ndtri) UNARY(ndtr) UNARY(floor) UNARY(ceil) UNARY(trunc) UNARY(round) UNARY(isnan) UNARY(isinf)
UNARY(isfinite) UNARY(signbit) UNARY(logical_not) UNARY(bit_not)
#undef UNARY
#define BINARY(name) \
  inline E name(E x, E y) { return emit2(Prim::name, x, y); }
BINARY(floor_div) BINARY(trunc_div) BINARY(rem) BINARY(fmod) BINARY(maximum) BINARY(minimum)
BINARY(fmax) BINARY(fmin) BINARY(pow) BINARY(atan2) BINARY(hypot) BINARY(copysign)
BINARY(nextafter) BINARY(bit_and) BINARY(bit_or) BINARY(bit_xor) BINARY(shift_left)
BINARY(shift_right) BINARY(check_index) BINARY(zeta) BINARY(igamma) BINARY(igammac) BINARY(gcd)
#undef BINARY
inline E where(E c, E x, E y) {
  const E s[] = {c, x, y};
  return c.builder->emit(Prim::where, s);
}
}  // namespace math

// Operators, where argument-dependent lookup finds them.
inline E operator-(E x) { return math::emit1(Prim::neg, x); }
#define OPERATOR(op, prim)                                                      \
  inline E operator op(E x, E y) { return math::emit2(Prim::prim, x, y); }  \
  inline E operator op(E x, double y) { return x op math::like(x, y); }     \
  inline E operator op(double x, E y) { return math::like(y, x) op y; }
OPERATOR(+, add) OPERATOR(-, sub) OPERATOR(*, mul) OPERATOR(/, div)
OPERATOR(==, eq) OPERATOR(!=, ne) OPERATOR(<, lt) OPERATOR(<=, le) OPERATOR(>, gt) OPERATOR(>=, ge)
#undef OPERATOR
// clang-format on

}  // namespace qs::graph
