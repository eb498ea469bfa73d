// Elementwise functions: the verbs' lists as they are, then what has parameters of its own.
#include <algorithm>
#include <cstdlib>

#include "quicksilver/autograd/verbs.h"
#include "quicksilver/python/adapters.h"

namespace qs::python {

namespace {

Tensor clamp_min(const Tensor& x, const Operand& min) { return clamp(x, min, {}); }
Tensor clamp_max(const Tensor& x, const Operand& max) { return clamp(x, {}, max); }
const Tensor& clamp_min_(const Tensor& x, const Operand& min) { return clamp_(x, min, {}); }
const Tensor& clamp_max_(const Tensor& x, const Operand& max) { return clamp_(x, {}, max); }

Tensor clamp_checked(const Tensor& x, const Operand& min, const Operand& max) {
  if (min.kind() == Operand::absent && max.kind() == Operand::absent)
    raise(PyExc_RuntimeError, "torch.clamp: At least one of 'min' or 'max' must not be None");
  return clamp(x, min, max);
}
const Tensor& clamp_checked_(const Tensor& x, const Operand& min, const Operand& max) {
  if (min.kind() == Operand::absent && max.kind() == Operand::absent)
    raise(PyExc_RuntimeError, "torch.clamp: At least one of 'min' or 'max' must not be None");
  return clamp_(x, min, max);
}

/// Rounds to `decimals` places after the point.
Tensor round_to(const Tensor& x, int64_t decimals) {
  if (decimals == 0) return round(x);
  if (x.dtype() == DType::f16 || x.dtype() == DType::bf16)  // x * 10 must not be rounded before
    return to(round_to(to(x, {}, DType::f32), decimals), {}, x.dtype());
  double scale = 1;  // beyond 400 it is infinite anyway
  for (int64_t i = std::abs(std::clamp<int64_t>(decimals, -400, 400)); i > 0; --i) scale *= 10;
  return decimals > 0 ? div(round(mul(x, Scalar(scale))), Scalar(scale))
                      : mul(round(div(x, Scalar(scale))), Scalar(scale));
}
Tensor true_divide(const Operand& x, const Operand& y) { return div(x, y); }
const Tensor& true_divide_(const Tensor& x, const Operand& y) { return div_(x, y); }
Tensor logit(const Tensor& x, std::optional<double> eps) {
  const Tensor from = is_integral(x.dtype()) ? to(x, {}, default_dtype()) : x;
  const Tensor p = eps ? clamp(from, Scalar(*eps), Scalar(1 - *eps)) : from;
  return log(div(p, rsub(p, Scalar(1))));
}
Tensor rad2deg(const Tensor& x) { return mul(x, Scalar(57.29577951308232)); }
Tensor deg2rad(const Tensor& x) { return mul(x, Scalar(0.017453292519943295)); }

PyObject* nonzero_tuple(const Tensor& x) { return wrap_tuple(unbind(nonzero(x), 1)); }

#define UNARY_SIGNATURE "(Tensor input)"
#define BINARY_SIGNATURE "(Tensor|Number input, Tensor|Number other)"
#define BINARY_IN_PLACE "(Tensor input, Tensor|Number other)"

// clang-format off
const Row rows[] = {
    // round has a second parameter; the row made from the list below yields to this one.
    FN("round", "fmo", "(Tensor input, *, int decimals=0)", &round_to,
       "Nearest integer, halves to even."),
#define V(name)                                     \
    FN(#name, "fmo", UNARY_SIGNATURE, &qs::name, ""), \
    FN(#name "_", "fm", UNARY_SIGNATURE, &qs::name##_, ""),
    QS_UNARY_VERBS(V)
#undef V
#define V(name) FN(#name, "fmo", UNARY_SIGNATURE, &qs::name, ""),
    QS_TEST_VERBS(V)
#undef V
#define V(name)                                      \
    FN(#name, "fmo", BINARY_SIGNATURE, &qs::name, ""), \
    FN(#name "_", "fm", BINARY_IN_PLACE, &qs::name##_, ""),
    QS_BINARY_VERBS(V)
#undef V
    // PyTorch's other names
#define V(alias, name)                                                            \
    FN(alias, "fmo", UNARY_SIGNATURE, &qs::name, "The same as " #name "."),         \
    FN(alias "_", "fm", UNARY_SIGNATURE, &qs::name##_, "The same as " #name "_."),
    V("negative", neg) V("absolute", abs) V("fix", trunc) V("arcsin", asin) V("arccos", acos)
    V("arctan", atan) V("arcsinh", asinh) V("arccosh", acosh) V("arctanh", atanh)
#undef V
#define V(alias, name)                                                            \
    FN(alias, "fmo", BINARY_SIGNATURE, &qs::name, "The same as " #name "."),        \
    FN(alias "_", "fm", BINARY_IN_PLACE, &qs::name##_, "The same as " #name "_."),
    V("multiply", mul) V("greater", gt) V("greater_equal", ge) V("less", lt) V("less_equal", le)
    V("not_equal", ne) V("arctan2", atan2)
#undef V
    // clang-format on
    FN("add", "fmo", "(Tensor|Number input, Tensor|Number other, *, Number alpha=1)", &qs::add,
       "input + alpha * other"),
    FN("add_", "fm", "(Tensor input, Tensor|Number other, *, Number alpha=1)", &qs::add_,
       "input + alpha * other, in place."),
    FN("sub", "fmo", "(Tensor|Number input, Tensor|Number other, *, Number alpha=1)", &qs::sub,
       "input - alpha * other"),
    FN("sub_", "fm", "(Tensor input, Tensor|Number other, *, Number alpha=1)", &qs::sub_,
       "input - alpha * other, in place."),
    FN("subtract", "fmo", "(Tensor|Number input, Tensor|Number other, *, Number alpha=1)", &qs::sub,
       "input - alpha * other"),
    FN("subtract_", "m", "(Tensor input, Tensor|Number other, *, Number alpha=1)", &qs::sub_,
       "input - alpha * other, in place."),
    FN("rsub", "fmo", "(Tensor input, Tensor|Number other, *, Number alpha=1)", &qs::rsub,
       "other - alpha * input"),
    FN("div", "fmo", "(Tensor|Number input, Tensor|Number other, *, str? rounding_mode=None)",
       &qs::div, "input / other; rounding_mode is None, 'trunc' or 'floor'."),
    FN("div_", "fm", "(Tensor input, Tensor|Number other, *, str? rounding_mode=None)", &qs::div_,
       "input / other, in place."),
    FN("divide", "fmo", "(Tensor|Number input, Tensor|Number other, *, str? rounding_mode=None)",
       &qs::div, "input / other; rounding_mode is None, 'trunc' or 'floor'."),
    FN("divide_", "m", "(Tensor input, Tensor|Number other, *, str? rounding_mode=None)", &qs::div_,
       "input / other, in place."),
    FN("true_divide", "fmo", BINARY_SIGNATURE, &true_divide, "input / other"),
    FN("true_divide_", "m", BINARY_IN_PLACE, &true_divide_, "input / other, in place."),
    FN("where", "f", "(Tensor condition, Tensor|Number input, Tensor|Number other)", &qs::where,
       "input where the condition holds, else other."),
    FN(
        "where", "f", "(Tensor condition)",
        +[](Call& c) -> PyObject* { return nonzero_tuple(c.tensor(0)); },
        "The indices where the condition holds, one tensor a dimension."),
    FN("clamp", "fmo", "(Tensor input, Tensor|Number? min=None, Tensor|Number? max=None)",
       &clamp_checked, "input kept within [min, max]."),
    FN("clamp_", "fm", "(Tensor input, Tensor|Number? min=None, Tensor|Number? max=None)",
       &clamp_checked_, "input kept within [min, max], in place."),
    FN("clip", "fmo", "(Tensor input, Tensor|Number? min=None, Tensor|Number? max=None)",
       &clamp_checked, "clamp"),
    FN("clip_", "fm", "(Tensor input, Tensor|Number? min=None, Tensor|Number? max=None)",
       &clamp_checked_, "clamp_"),
    FN("clamp_min", "fmo", "(Tensor input, Tensor|Number min)", &clamp_min, "No less than min."),
    FN("clamp_min_", "fm", "(Tensor input, Tensor|Number min)", &clamp_min_, "No less than min."),
    FN("clamp_max", "fmo", "(Tensor input, Tensor|Number max)", &clamp_max, "No more than max."),
    FN("clamp_max_", "fm", "(Tensor input, Tensor|Number max)", &clamp_max_, "No more than max."),
    FN("lerp", "fmo", "(Tensor input, Tensor end, Tensor|Number weight)", &qs::lerp,
       "input + weight * (end - input)"),
    FN("lerp_", "m", "(Tensor input, Tensor end, Tensor|Number weight)", &qs::lerp_,
       "input + weight * (end - input), in place."),
    FN("addcmul", "fmo", "(Tensor input, Tensor tensor1, Tensor tensor2, *, Number value=1)",
       &qs::addcmul, "input + value * tensor1 * tensor2"),
    FN("addcmul_", "m", "(Tensor input, Tensor tensor1, Tensor tensor2, *, Number value=1)",
       &qs::addcmul_, "input + value * tensor1 * tensor2, in place."),
    FN("addcdiv", "fmo", "(Tensor input, Tensor tensor1, Tensor tensor2, *, Number value=1)",
       &qs::addcdiv, "input + value * tensor1 / tensor2"),
    FN("addcdiv_", "m", "(Tensor input, Tensor tensor1, Tensor tensor2, *, Number value=1)",
       &qs::addcdiv_, "input + value * tensor1 / tensor2, in place."),
    FN("masked_fill", "fm", "(Tensor input, Tensor mask, Tensor|Number value)", &qs::masked_fill,
       "value where the mask holds, else input."),
    FN("masked_fill_", "m", "(Tensor input, Tensor mask, Tensor|Number value)", &qs::masked_fill_,
       "value where the mask holds, in place."),
    FN("tril", "fmo", "(Tensor input, int diagonal=0)", &qs::tril,
       "The part on and below a diagonal."),
    FN("triu", "fmo", "(Tensor input, int diagonal=0)", &qs::triu,
       "The part on and above a diagonal."),
    FN("logit", "fmo", "(Tensor input, float? eps=None)", &logit, "log(x / (1 - x))"),
    FN("rad2deg", "fmo", UNARY_SIGNATURE, &rad2deg, "Radians to degrees."),
    FN("deg2rad", "fmo", UNARY_SIGNATURE, &deg2rad, "Degrees to radians."),
    {nullptr, "", "", nullptr, nullptr},
};

}  // namespace

QS_REGISTER(register_elementwise, rows)

}  // namespace qs::python
