// Special functions, activations with parameters, complex numbers, and what is about order.
#include "quicksilver/autograd/verbs.h"
#include "quicksilver/python/adapters.h"
#include "quicksilver/python/functions.h"

namespace qs::python {

namespace {

template <Tensor (*verb)(const Tensor&)>
PyObject* activation(Call& c) {
  return written_back(c, 1, verb);
}
PyObject* celu_any(Call& c) {
  return written_back(c, 2, [&](const Tensor& x) { return celu(x, c.real(1)); });
}
PyObject* threshold_any(Call& c) {
  return written_back(c, 3,
                      [&](const Tensor& x) { return threshold(x, c.number(1), c.number(2)); });
}
const Tensor& celu_(const Tensor& x, double alpha) {
  return copy_(x, celu(before_write(x), alpha));
}
const Tensor& nan_to_num_(const Tensor& x, std::optional<double> nan, std::optional<double> posinf,
                          std::optional<double> neginf) {
  return copy_(x, nan_to_num(before_write(x), nan, posinf, neginf));
}
Tensor polygamma_of(const Tensor& x, int64_t n) { return polygamma(n, x); }
const Tensor& polygamma_(const Tensor& x, int64_t n) {
  return copy_(x, polygamma(n, before_write(x)));
}
const Tensor& conj_(const Tensor& x) { return is_complex(x.dtype()) ? copy_(x, conj(x)) : x; }
PyObject* itself(Call& c) { return new_ref(c.args[0]); }

/// reduce is required; include_self last.
PyObject* scatter_reduce_(Call& c) {  // (input, dim, index, src, reduce, include_self)
  const Tensor& x = c.tensor(0);
  copy_(x, scatter_reduce(before_write(x), c.integer(1), c.tensor(2), c.tensor(3), c.string(4),
                          c.boolean(5)));
  return new_ref(c.args[0]);
}
PyObject* index_reduce_(Call& c) {
  const Tensor& x = c.tensor(0);
  copy_(x, index_reduce(before_write(x), c.integer(1), c.tensor(2), c.tensor(3), c.string(4),
                        c.boolean(5)));
  return new_ref(c.args[0]);
}
/// A draw with parameters of its own, from the generator that is the second argument.
template <Tensor (*verb)(const Tensor&)>
PyObject* drawn(Call& c) {
  GeneratorScope scope(c.args[1], c.tensor(0).device_type());
  return wrap(verb(c.tensor(0)));
}
PyObject* binomial_of(Call& c) {
  GeneratorScope scope(c.args[2], c.tensor(0).device_type());
  return wrap(binomial(c.tensor(0), c.tensor(1)));
}

#define UNARY "(Tensor input)"
#define IN_PLACE "(Tensor input, bool inplace=False)"
#define REDUCES \
  "(Tensor input, int dim, Tensor index, Tensor src, str reduce, *, bool include_self=True)"
#define REDUCES_INDEX \
  "(Tensor input, int dim, Tensor index, Tensor source, str reduce, *, bool include_self=True)"

// clang-format off
const Row rows[] = {
#define V(name) FN(#name, "no", UNARY, &qs::name, ""),
    QS_SPECIAL_VERBS(V)
#undef V
#define V(name) FN(#name, "no", "(Tensor|Number input, Tensor|Number other)", &qs::name, ""),
    QS_SPECIAL_BINARY_VERBS(V)
#undef V
    FN("log_sigmoid", "n", UNARY, &qs::log_sigmoid, "log(sigmoid(input))"),
    FN("hardsigmoid", "n", IN_PLACE, &activation<&qs::hardsigmoid>, "relu6(input + 3) / 6"),
    FN("hardswish", "n", IN_PLACE, &activation<&qs::hardswish>, "input * relu6(input + 3) / 6"),
    FN("mish", "n", IN_PLACE, &activation<&qs::mish>, "input * tanh(softplus(input))"),
    FN("selu", "n", IN_PLACE, &activation<&qs::selu>,
       "elu with the constants of Klambauer et al. 2017, arXiv:1706.02515."),
    FN("celu", "n", "(Tensor input, float alpha=1.0, bool inplace=False)", &celu_any,
       "input where positive, else alpha * (exp(input / alpha) - 1) (arXiv:1704.07483)."),
    FN("threshold", "n", "(Tensor input, Number threshold, Number value, bool inplace=False)",
       &threshold_any, "input where above threshold, else value."),
    FN("softshrink", "n", "(Tensor input, float lambd=0.5)", &qs::softshrink,
       "input moved toward 0 by lambd, and 0 where it would pass."),
    FN("hardshrink", "n", "(Tensor input, float lambd=0.5)", &qs::hardshrink,
       "input, and 0 within [-lambd, lambd]."),
    FN("_prelu_kernel", "n", "(Tensor input, Tensor weight)", &qs::prelu_kernel,
       "input where positive, else weight * input."),
    FN("selu", "f", UNARY, &qs::selu, "elu with the constants that keep mean and variance."),
    FN("selu_", "f", UNARY, &qs::selu_, "selu in place."),
    FN("celu", "f", "(Tensor input, float alpha=1.0)", &qs::celu,
       "input where positive, else alpha * (exp(input / alpha) - 1)."),
    FN("celu_", "f", "(Tensor input, float alpha=1.0)", &celu_, "celu in place."),
    FN("hardshrink", "fm", "(Tensor input, float lambd=0.5)", &qs::hardshrink,
       "input, and 0 within [-lambd, lambd]."),
    FN("threshold", "fo", "(Tensor input, Number threshold, Number value)", &qs::threshold,
       "input where above threshold, else value."),
    FN("nan_to_num", "fmo",
       "(Tensor input, float? nan=None, float? posinf=None, float? neginf=None)", &qs::nan_to_num,
       "NaN and infinities replaced, by 0 and the ends of the dtype's range unless given."),
    FN("nan_to_num_", "fm",
       "(Tensor input, float? nan=None, float? posinf=None, float? neginf=None)", &nan_to_num_,
       "nan_to_num in place."),
    FN("polygamma", "fmo", "(int n, Tensor input)", &qs::polygamma,
       "The n-th derivative of digamma."),
    FN("polygamma", "m", "(Tensor input, int n)", &polygamma_of, "The n-th derivative of digamma."),
    FN("polygamma_", "m", "(Tensor input, int n)", &polygamma_, "polygamma in place."),
    // complex numbers
    FN("complex", "fo", "(Tensor real, Tensor imag)", &qs::complex, "real + i imag"),
    FN("polar", "fo", "(Tensor abs, Tensor angle)", &qs::polar, "abs * exp(i angle)"),
    FN("conj", "fm", UNARY, &qs::conj, "The complex conjugate, computed."),
    FN("conj_physical", "fmo", UNARY, &qs::conj, "The complex conjugate."),
    FN("conj_physical_", "fm", UNARY, &conj_, "The complex conjugate, in place."),
    FN("resolve_conj", "fm", UNARY, &itself, "The tensor: conj computes."),
    FN("resolve_neg", "fm", UNARY, &itself, "The tensor."),
    FN("is_conj", "fm", UNARY, +[](Call&) -> PyObject* { return py_bool(false); },
       "False: conj computes."),
    FN("is_neg", "fm", UNARY, +[](Call&) -> PyObject* { return py_bool(false); }, "False."),
    FN("angle", "fmo", UNARY, &qs::angle, "The argument, radians."),
    FN("sgn", "fmo", UNARY, &qs::sgn, "input / |input|; the sign of real numbers."),
    FN("sgn_", "fm", UNARY, &qs::sgn_, "sgn in place."),
    FN("real", "f", UNARY, &qs::real, "A view of the real part; a real tensor itself."),
    FN("imag", "f", UNARY, &qs::imag, "A view of the imaginary part."),
    FN("view_as_real", "f", UNARY, &qs::view_as_real,
       "A view of complex numbers as pairs of real ones, in a last dimension."),
    FN("view_as_complex", "f", UNARY, &qs::view_as_complex,
       "A view of pairs of real numbers as complex ones."),
    // order
    FN("kthvalue", "fmo", "(Tensor input, int k, int dim=-1, bool keepdim=False)", &qs::kthvalue,
       "(values, indices) of the k-th smallest."),
    FN("cummax", "fmo", "(Tensor input, int dim)", &qs::cummax,
       "(values, indices) of the running largest."),
    FN("cummin", "fmo", "(Tensor input, int dim)", &qs::cummin,
       "(values, indices) of the running smallest."),
    FN("logcumsumexp", "fmo", "(Tensor input, int dim)", &qs::logcumsumexp,
       "log of the running sum of exponentials."),
    FN("_searchsorted", "f", "(Tensor sorted, Tensor values, bool right=False)", &qs::searchsorted,
       "Where values belong in sorted rows."),
    FN("scatter_reduce", "fmo", REDUCES, &qs::scatter_reduce,
       "input with src reduced into it at the indices along dim."),
    FN("scatter_reduce_", "m", REDUCES, &scatter_reduce_, "scatter_reduce in place."),
    FN("index_reduce", "fmo", REDUCES_INDEX, &qs::index_reduce,
       "input with rows of source reduced into it."),
    FN("index_reduce_", "m", REDUCES_INDEX, &index_reduce_, "index_reduce in place."),
    // draws
    FN("poisson", "f", "(Tensor input, Generator? generator=None)",
       &drawn<&qs::poisson>,
       "Draws from Poisson distributions with the given rates."),
    FN("_standard_gamma", "f", "(Tensor input, Generator? generator=None)",
       &drawn<&qs::standard_gamma>,
       "Draws from Gamma distributions of scale 1 with the given shapes."),
    FN("binomial", "f", "(Tensor count, Tensor prob, Generator? generator=None)",
       &binomial_of,
       "How many of count trials succeed, each with probability prob."),
    {nullptr, "", "", nullptr, nullptr},
};
// clang-format on

}  // namespace

QS_REGISTER(register_special, rows)

}  // namespace qs::python
