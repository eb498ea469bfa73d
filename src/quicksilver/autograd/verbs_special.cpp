// Activations with parameters, special functions with a number, and repair of what is not finite.
#include <limits>

#include "quicksilver/autograd/apply.h"
#include "quicksilver/core/error.h"

namespace qs {

using namespace autograd;

namespace {

Tensor activation(Op op, const Tensor& x, const Operand& parameter) {
  require_defined(x, graph::name_of(op).data());
  QS_CHECK(is_floating(x.dtype()), NotImplementedError, "\"{}_cpu\" not implemented for '{}'",
           graph::name_of(op), scalar_type_name(x.dtype()));
  return apply(op, {x, parameter});
}

/// The largest finite number of a floating dtype.
double largest(DType d) {
  switch (d) {
    case DType::f16:
      return 65504.0;
    case DType::bf16:
      return 3.38953138925153547590e38;
    case DType::f32:
    case DType::c64:
      return std::numeric_limits<float>::max();
    default:
      return std::numeric_limits<double>::max();
  }
}

}  // namespace

Tensor celu(const Tensor& x, double alpha) {
  QS_CHECK(alpha != 0, Error, "ZeroDivisionError: alpha cannot be 0 for CELU");
  return activation(Op::celu, x, alpha);
}

Tensor softshrink(const Tensor& x, double lambd) {
  require_defined(x, "softshrink");
  QS_CHECK(lambd >= 0, Error,
           "lambda must be in range [0, {:g}] for input dtype {}, but found {:g}",
           largest(x.dtype()), scalar_type_name(x.dtype()), lambd);
  return activation(Op::softshrink, x, lambd);
}

Tensor hardshrink(const Tensor& x, double lambd) { return activation(Op::hardshrink, x, lambd); }

Tensor threshold(const Tensor& x, Scalar limit, Scalar value) {
  require_defined(x, "threshold");
  QS_CHECK(x.dtype() != DType::bool_, NotImplementedError,
           "\"threshold_cpu\" not implemented for 'Bool'");
  RecordOptions options;
  options.compute = x.dtype();
  return apply(Op::threshold, {x, limit, value}, {}, options);
}

Tensor prelu_kernel(const Tensor& x, const Tensor& weight) {
  return apply(Op::leaky_relu, {x, weight});
}

Tensor nan_to_num(const Tensor& x, std::optional<double> nan, std::optional<double> posinf,
                  std::optional<double> neginf) {
  require_defined(x, "nan_to_num");
  if (is_integral(x.dtype())) return clone(x);
  if (is_complex(x.dtype()))
    return complex(nan_to_num(real_part(x), nan, posinf, neginf),
                   nan_to_num(imag_part(x), nan, posinf, neginf));
  const double end = largest(x.dtype());
  return apply(Op::nan_to_num, {x, nan.value_or(0.0), posinf.value_or(end), neginf.value_or(-end)},
               {attr(int64_t{!posinf && !neginf})});
}

Tensor polygamma(int64_t n, const Tensor& x) {
  require_defined(x, "polygamma");
  QS_CHECK(n >= 0, Error, "polygamma(n, x) does not support negative n.");
  return n == 0 ? digamma(x) : apply(Op::polygamma, {x}, {attr(n)});
}

}  // namespace qs
