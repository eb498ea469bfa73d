// Elementwise verbs: one recorded op each. The families come from the lists in verbs.h.
#include <cmath>

#include "quicksilver/autograd/apply.h"
#include "quicksilver/core/error.h"

namespace qs {

using namespace autograd;

namespace {

DType dtype_of(const Operand& o) { return o.is_tensor() ? o.impl()->dtype : o.number().dtype(); }

bool is_bool(const Operand& o) {
  return o.kind() != Operand::absent && dtype_of(o) == DType::bool_;
}

void require_some_tensor(const Operand& x, const Operand& y, const char* verb) {
  QS_CHECK(x.kind() != Operand::absent && y.kind() != Operand::absent, TypeError,
           "{}(): expected two operands, got an undefined tensor", verb);
  QS_CHECK(x.is_tensor() || y.is_tensor(), TypeError,
           "{}(): argument 'input' (position 1) must be Tensor, not a number", verb);
}

/// PyTorch's rules for add's and sub's factor.
void check_alpha(const Operand& x, const Operand& y, const Scalar& alpha) {
  const Operand both[] = {x, y};
  const DType common = result_type(both);
  QS_CHECK(alpha.kind() != Scalar::Kind::boolean || common == DType::bool_, Error,
           "Boolean alpha only supported for Boolean results.");
  QS_CHECK(is_floating(common) || is_complex(common) || alpha.is_integral(), Error,
           "For integral input tensors, argument alpha must not be a floating point number.");
}

void check_sub(const Operand& x, const Operand& y) {
  QS_CHECK(!(is_bool(x) && is_bool(y)), Error,
           "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
           "`logical_xor()` operator instead.");
  QS_CHECK(!is_bool(x) && !is_bool(y), Error,
           "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying "
           "to invert a mask, use the `~` or `logical_not()` operator instead.");
}

bool is_one(const Scalar& s) { return s.is_integral() ? s.to_int() == 1 : s.to_double() == 1; }

Scalar negated(const Scalar& s) {
  return s.is_integral() ? Scalar(-s.to_int()) : Scalar(-s.to_double());
}

Op division(const std::string& mode) {
  if (mode.empty()) return Op::div;
  if (mode == "floor") return Op::floor_divide;
  QS_CHECK(mode == "trunc", Error,
           "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{}'",
           mode);
  return Op::trunc_divide;
}

/// The op and exponent of a power: squares and roots have ops of their own.
Op power(const Operand& x, const Operand& y) {
  if (!x.is_tensor() || y.is_tensor()) return Op::pow;
  const DType d = x.impl()->dtype;
  const Scalar& e = y.number();
  QS_CHECK(!is_integral(d) || !e.is_integral() || e.to_int() >= 0, Error,
           "Integers to negative integer powers are not allowed.");
  const bool inexact = (is_floating(d) || is_complex(d)) && e.imag() == 0;
  if (inexact && e.to_double() == 2) return Op::square;
  if (inexact && e.to_double() == 0.5) return Op::sqrt;
  return Op::pow;
}

/// What PyTorch's kernels serve, where that is less than every dtype.
enum class Serves : uint8_t { all, not_bool, floating, integers, integers_and_bool };

Serves serves(Op op) {
  switch (op) {
    case Op::abs:
    case Op::floor:
    case Op::ceil:
    case Op::trunc:
    case Op::round:
    case Op::relu:
    case Op::neg:
    case Op::floor_divide:
    case Op::trunc_divide:
    case Op::remainder:
    case Op::fmod:
    case Op::pow:
    case Op::addcmul:
    case Op::addcmul_value:
    case Op::clamp:
    case Op::threshold:
      return Serves::not_bool;
    case Op::frac:
    case Op::silu:
    case Op::gelu:
    case Op::gelu_tanh:
    case Op::leaky_relu:
    case Op::elu:
    case Op::softplus:
    case Op::hypot:
    case Op::lerp:
    case Op::log_sigmoid:
    case Op::hardsigmoid:
    case Op::hardswish:
    case Op::mish:
    case Op::selu:
    case Op::celu:
    case Op::softshrink:
    case Op::hardshrink:
    case Op::logaddexp:
    case Op::logaddexp2:
    case Op::igamma:
    case Op::igammac:
      return Serves::floating;
    case Op::bitwise_left_shift:
    case Op::bitwise_right_shift:
    case Op::gcd:
    case Op::lcm:
      return Serves::integers;
    case Op::bitwise_not:
    case Op::bitwise_and:
    case Op::bitwise_or:
    case Op::bitwise_xor:
      return Serves::integers_and_bool;
    default:
      return Serves::all;
  }
}

void check_served(Op op, DType d) {
  const Serves s = serves(op);
  if (s == Serves::all) [[likely]]
    return;
  const bool fine = s == Serves::not_bool   ? d != DType::bool_
                    : s == Serves::floating ? !is_integral(d)
                    : s == Serves::integers ? is_integral(d) && d != DType::bool_
                                            : is_integral(d);
  if (fine) [[likely]]
    return;
  QS_CHECK(op != Op::relu, Error, "Boolean inputs not supported for relu");
  QS_CHECK(op != Op::neg, Error,
           "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to "
           "invert a mask, use the `~` or `logical_not()` operator instead.");
  throw NotImplementedError(
      qs::format("\"{}_cpu\" not implemented for '{}'", graph::name_of(op), scalar_type_name(d)));
}

void check_unary(Op op, const Tensor& x) {
  require_defined(x, graph::name_of(op).data());
  check_served(op, x.dtype());
}

void check_binary(Op op, const Operand& x, const Operand& y) {
  require_some_tensor(x, y, graph::name_of(op).data());
  QS_CHECK(op != Op::heaviside || dtype_of(x) == dtype_of(y), Error,
           "heaviside is not yet implemented for tensors with different dtypes.");
  if (serves(op) == Serves::all) return;
  const Operand both[] = {x, y};
  check_served(op, result_type(both));
}

/// add_scaled computes in the dtype of its two terms: the factor does not take part.
RecordOptions scaled_options(const Operand& x, const Operand& y) {
  const Operand both[] = {x, y};
  RecordOptions options;
  options.compute = result_type(both);
  return options;
}

}  // namespace

// square is written out below.
// clang-format off
#define QS_PLAIN_UNARY_VERBS(V)                                                                \
  V(neg) V(sign) V(floor) V(ceil) V(trunc) V(round) V(frac) V(relu) V(sqrt) V(rsqrt)    \
  V(reciprocal) V(exp) V(exp2) V(expm1) V(log) V(log2) V(log10) V(log1p) V(sin) V(cos) V(tan)  \
  V(asin) V(acos) V(atan) V(sinh) V(cosh) V(asinh) V(acosh) V(atanh) V(tanh) V(sigmoid) V(erf) \
  V(erfc) V(erfinv) V(lgamma) V(digamma) V(sinc) V(i0) V(silu) V(logical_not) V(bitwise_not)
// clang-format on
#define V(verb)                              \
  Tensor verb(const Tensor& x) {             \
    check_unary(Op::verb, x);                \
    return apply(Op::verb, {x});             \
  }                                          \
  const Tensor& verb##_(const Tensor& x) {   \
    check_unary(Op::verb, x);                \
    return apply_in_place(Op::verb, x, {x}); \
  }
QS_PLAIN_UNARY_VERBS(V)
QS_ACTIVATION_VERBS(V)
#undef V
#undef QS_PLAIN_UNARY_VERBS

Tensor log_sigmoid(const Tensor& x) {
  check_unary(Op::log_sigmoid, x);
  RecordOptions options;
  options.row_major = true;  // as PyTorch's
  return apply(Op::log_sigmoid, {x}, {}, options);
}

Tensor abs(const Tensor& x) {
  check_unary(Op::abs, x);
  if (!is_complex(x.dtype())) return apply(Op::abs, {x});
  RecordOptions options;
  options.compute = x.dtype();
  options.dtype = x.dtype() == DType::c128 ? DType::f64 : DType::f32;
  return apply(Op::complex_abs, {x}, {}, options);
}

const Tensor& abs_(const Tensor& x) {
  check_unary(Op::abs, x);
  QS_CHECK(!is_complex(x.dtype()), Error, "In-place abs is not supported for complex tensors.");
  return apply_in_place(Op::abs, x, {x});
}

Tensor square(const Tensor& x) {
  require_defined(x, "square");
  return x.dtype() == DType::bool_ ? pow(x, 2) : apply(Op::square, {x});
}

const Tensor& square_(const Tensor& x) {
  require_defined(x, "square_");
  return x.dtype() == DType::bool_ ? pow_(x, 2) : apply_in_place(Op::square, x, {x});
}

#define V(verb)                  \
  Tensor verb(const Tensor& x) { \
    require_defined(x, #verb);   \
    return apply(Op::verb, {x}); \
  }
QS_TEST_VERBS(V)
QS_SPECIAL_VERBS(V)
#undef V
#define V(verb)                                     \
  Tensor verb(const Operand& x, const Operand& y) { \
    check_binary(Op::verb, x, y);                   \
    return apply(Op::verb, {x, y});                 \
  }
QS_SPECIAL_BINARY_VERBS(V)
#undef V

// pow is written out below.
// clang-format off
#define QS_PLAIN_BINARY_VERBS(V)                                                               \
  V(mul) V(maximum) V(minimum) V(fmax) V(fmin) V(floor_divide) V(remainder) V(fmod) V(atan2)   \
  V(hypot) V(copysign) V(nextafter) V(eq) V(ne) V(lt) V(le) V(gt) V(ge) V(logical_and)         \
  V(logical_or) V(logical_xor) V(bitwise_and) V(bitwise_or) V(bitwise_xor)                     \
  V(bitwise_left_shift) V(bitwise_right_shift) V(logaddexp) V(logaddexp2) V(xlogy)             \
  V(heaviside) V(gcd) V(lcm) V(igamma) V(igammac)
// clang-format on
#define V(verb)                                              \
  Tensor verb(const Operand& x, const Operand& y) {          \
    check_binary(Op::verb, x, y);                            \
    return apply(Op::verb, {x, y});                          \
  }                                                          \
  const Tensor& verb##_(const Tensor& x, const Operand& y) { \
    check_binary(Op::verb, x, y);                            \
    return apply_in_place(Op::verb, x, {x, y});              \
  }
QS_PLAIN_BINARY_VERBS(V)
#undef V
#undef QS_PLAIN_BINARY_VERBS

Tensor pow(const Operand& x, const Operand& y) {
  if (x.is_tensor() && x.impl()->dtype == DType::bool_ && y.kind() == Operand::scalar &&
      is_bool(y)) {
    const Tensor base{Ref<TensorImpl>(x.impl())};
    return y.number().to_bool() ? clone(base) : full_like(base, true);
  }
  check_binary(Op::pow, x, y);
  if (!x.is_tensor()) {  // PyTorch lays a number's powers out row-major
    RecordOptions options;
    options.row_major = true;
    return apply(Op::pow, {x, y}, {}, options);
  }
  const Op op = power(x, y);
  return op == Op::pow ? apply(op, {x, y}) : apply(op, {x});
}

const Tensor& pow_(const Tensor& x, const Operand& y) {
  check_binary(Op::pow, x, y);
  const Op op = power(x, y);
  return op == Op::pow ? apply_in_place(op, x, {x, y}) : apply_in_place(op, x, {x});
}

Tensor add(const Operand& x, const Operand& y, Scalar alpha) {
  if (is_one(alpha)) {
    require_some_tensor(x, y, "add");
    return apply(Op::add, {x, y});
  }
  require_some_tensor(x, y, "add");
  check_alpha(x, y, alpha);
  return apply(Op::add_scaled, {x, y, alpha}, {}, scaled_options(x, y));
}

const Tensor& add_(const Tensor& x, const Operand& y, Scalar alpha) {
  require_some_tensor(x, y, "add_");
  if (is_one(alpha)) return apply_in_place(Op::add, x, {x, y});
  check_alpha(x, y, alpha);
  return apply_in_place(Op::add_scaled, x, {x, y, alpha}, {}, scaled_options(x, y));
}

Tensor sub(const Operand& x, const Operand& y, Scalar alpha) {
  require_some_tensor(x, y, "sub");
  check_sub(x, y);
  if (is_one(alpha)) return apply(Op::sub, {x, y});
  check_alpha(x, y, alpha);
  return apply(Op::add_scaled, {x, y, negated(alpha)}, {}, scaled_options(x, y));
}

const Tensor& sub_(const Tensor& x, const Operand& y, Scalar alpha) {
  require_some_tensor(x, y, "sub_");
  check_sub(x, y);
  if (is_one(alpha)) return apply_in_place(Op::sub, x, {x, y});
  check_alpha(x, y, alpha);
  return apply_in_place(Op::add_scaled, x, {x, y, negated(alpha)}, {}, scaled_options(x, y));
}

Tensor rsub(const Tensor& x, const Operand& y, Scalar alpha) { return sub(y, x, alpha); }

Tensor div(const Operand& x, const Operand& y, const std::string& rounding_mode) {
  const Op op = division(rounding_mode);
  check_binary(op, x, y);
  return apply(op, {x, y});
}

const Tensor& div_(const Tensor& x, const Operand& y, const std::string& rounding_mode) {
  const Op op = division(rounding_mode);
  check_binary(op, x, y);
  return apply_in_place(op, x, {x, y});
}

Tensor where(const Tensor& condition, const Operand& x, const Operand& y) {
  require_defined(condition, "where");
  QS_CHECK(condition.dtype() == DType::bool_ || condition.dtype() == DType::u8, Error,
           "where expected condition to be a boolean tensor, but got a tensor with dtype {}",
           scalar_type_name(condition.dtype()));
  QS_CHECK(x.kind() != Operand::absent && y.kind() != Operand::absent, TypeError,
           "where(): expected two values, got an undefined tensor");
  return apply(Op::where, {condition, x, y});
}

namespace {

void check_clamp(const Tensor& x, const Operand& min, const Operand& max) {
  const Operand all[] = {x, min, max};
  check_served(Op::clamp, result_type(all));
}

}  // namespace

Tensor clamp(const Tensor& x, const Operand& min, const Operand& max) {
  require_defined(x, "clamp");
  QS_CHECK(min.kind() != Operand::absent || max.kind() != Operand::absent, Error,
           "torch.clamp: At least one of 'min' or 'max' must not be None");
  check_clamp(x, min, max);
  return apply(Op::clamp, {x, min, max});
}

Tensor hardtanh(const Tensor& x, Scalar min, Scalar max) {
  Tensor out;
  {
    const NoGrad guard;
    out = to(clamp(x, min, max), {}, x.dtype());  // integers stay what they are
  }
  auto node = with_gradient("Hardtanh", {&x, 1}, {&out, 1},
                            [min, max](FunctionNodeBase& self, std::vector<Tensor>& grads) {
                              std::vector<Tensor> back(1);
                              if (!grads[0].defined()) return back;
                              const Tensor result = self.unpack(0);
                              back[0] =
                                  where(logical_or(le(result, min), ge(result, max)), 0, grads[0]);
                              return back;
                            });
  if (node) node->saved.emplace_back(out, true);  // not x, which the in-place form overwrites
  return out;
}

const Tensor& clamp_(const Tensor& x, const Operand& min, const Operand& max) {
  require_defined(x, "clamp_");
  QS_CHECK(min.kind() != Operand::absent || max.kind() != Operand::absent, Error,
           "torch.clamp: At least one of 'min' or 'max' must not be None");
  check_clamp(x, min, max);
  return apply_in_place(Op::clamp, x, {x, min, max});
}

namespace {

void check_lerp(const Tensor& x, const Tensor& end, const Operand& weight) {
  require_defined(x, "lerp");
  require_defined(end, "lerp");
  QS_CHECK(x.dtype() == end.dtype(), Error, "expected dtype {} for `end` but got dtype {}",
           name_of(x.dtype()), name_of(end.dtype()));
  QS_CHECK(x.dtype() != DType::bool_ || weight.is_tensor(), Error,
           "expected a floating point tensor for `lerp`, got Bool");
  check_served(Op::lerp, x.dtype());
  QS_CHECK(!weight.is_tensor() || weight.impl()->dtype == x.dtype(), Error,
           "expected dtype {} for `weight` but got dtype {}", name_of(x.dtype()),
           name_of(dtype_of(weight)));
}

}  // namespace

Tensor lerp(const Tensor& x, const Tensor& end, const Operand& weight) {
  check_lerp(x, end, weight);
  if (is_complex(x.dtype())) return add(x, mul(sub(end, x), weight));
  return apply(Op::lerp, {x, end, weight});
}

const Tensor& lerp_(const Tensor& x, const Tensor& end, const Operand& weight) {
  check_lerp(x, end, weight);
  if (is_complex(x.dtype())) return copy_(x, lerp(x, end, weight));
  return apply_in_place(Op::lerp, x, {x, end, weight});
}

namespace {

void check_addcmul(const Tensor& x, const Tensor& a, const Tensor& b) {
  const Operand all[] = {x, a, b};
  check_served(Op::addcmul, result_type(all));
}

}  // namespace

Tensor addcmul(const Tensor& x, const Tensor& a, const Tensor& b, Scalar value) {
  check_addcmul(x, a, b);
  if (is_one(value)) return apply(Op::addcmul, {x, a, b});
  return apply(Op::addcmul_value, {x, a, b, value});
}

const Tensor& addcmul_(const Tensor& x, const Tensor& a, const Tensor& b, Scalar value) {
  check_addcmul(x, a, b);
  if (is_one(value)) return apply_in_place(Op::addcmul, x, {x, a, b});
  return apply_in_place(Op::addcmul_value, x, {x, a, b, value});
}

namespace {

void check_addcdiv(const Tensor& a, const Tensor& b) {
  QS_CHECK(!(is_integral(a.dtype()) && is_integral(b.dtype())), Error,
           "Integer division with addcdiv is no longer supported, and in a future  release addcdiv "
           "will perform a true division of tensor1 and tensor2. The historic addcdiv behavior can "
           "be implemented as (input + value * torch.trunc(tensor1 / tensor2)).to(input.dtype) for "
           "integer inputs and as (input + value * tensor1 / tensor2) for float inputs.");
}

}  // namespace

Tensor addcdiv(const Tensor& x, const Tensor& a, const Tensor& b, Scalar value) {
  check_addcdiv(a, b);
  return apply(Op::addcdiv, {x, a, b, value});
}

const Tensor& addcdiv_(const Tensor& x, const Tensor& a, const Tensor& b, Scalar value) {
  check_addcdiv(a, b);
  return apply_in_place(Op::addcdiv, x, {x, a, b, value});
}

namespace {

/// masked_fill keeps x's dtype: the value is converted, not promoted.
RecordOptions fill_options(const Tensor& x, const Tensor& mask, const Operand& value) {
  require_defined(x, "masked_fill");
  require_defined(mask, "masked_fill");
  QS_CHECK(mask.dtype() == DType::bool_, Error,
           "masked_fill_ only supports boolean masks, but got mask with dtype {}",
           scalar_type_name(mask.dtype()));
  QS_CHECK(!value.is_tensor() || value.impl()->layout.rank() == 0, Error,
           "masked_fill_ only supports a 0-dimensional value tensor, but got tensor with {} "
           "dimension(s).",
           value.impl()->layout.rank());
  QS_CHECK(is_complex(x.dtype()) || !is_complex(dtype_of(value)), Error,
           "value cannot be converted to type {} without overflow", name_of(x.dtype()));
  if (!value.is_tensor() && is_integral(x.dtype()) && x.dtype() != DType::bool_)
    QS_CHECK(std::fabs(value.number().to_double()) <= 0x1p63, Error,
             "value cannot be converted to type {} without overflow",
             x.dtype() == DType::i64 ? "int64_t" : c_type_name(x.dtype()));
  RecordOptions options;
  options.dtype = x.dtype();
  options.compute = x.dtype();
  return options;
}

}  // namespace

Tensor masked_fill(const Tensor& x, const Tensor& mask, const Operand& value) {
  RecordOptions options = fill_options(x, mask, value);
  options.row_major = true;
  return apply(Op::where, {mask, value, x}, {}, options);
}

const Tensor& masked_fill_(const Tensor& x, const Tensor& mask, const Operand& value) {
  return apply_in_place(Op::where, x, {mask, value, x}, {}, fill_options(x, mask, value));
}

Tensor gelu(const Tensor& x, const std::string& approximate) {
  check_unary(Op::gelu, x);
  QS_CHECK(approximate == "none" || approximate == "tanh", Error,
           "approximate argument must be either none or tanh.");
  return apply(approximate == "tanh" ? Op::gelu_tanh : Op::gelu, {x});
}

Tensor leaky_relu(const Tensor& x, double negative_slope) {
  check_unary(Op::leaky_relu, x);
  return apply(Op::leaky_relu, {x, negative_slope});
}

Tensor elu(const Tensor& x, double alpha) {
  check_unary(Op::elu, x);
  return apply(Op::elu, {x, alpha});
}

Tensor softplus(const Tensor& x, double beta, double threshold) {
  check_unary(Op::softplus, x);
  return apply(Op::softplus, {x, beta, threshold});
}

namespace {

Tensor triangle(Op op, const Tensor& x, int64_t diagonal) {
  require_defined(x, graph::name_of(op).data());
  QS_CHECK(x.dim() >= 2, Error, "{}: input tensor must have at least 2 dimensions",
           graph::name_of(op));
  RecordOptions options;
  options.row_major = true;
  return apply(op, {x}, {attr(diagonal)}, options);
}

}  // namespace

Tensor tril(const Tensor& x, int64_t diagonal) { return triangle(Op::tril, x, diagonal); }
Tensor triu(const Tensor& x, int64_t diagonal) { return triangle(Op::triu, x, diagonal); }

}  // namespace qs
