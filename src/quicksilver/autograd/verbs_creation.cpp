// Tensors from nothing: constants, sequences, and the default dtype and device.
#include <algorithm>
#include <cmath>

#include "quicksilver/autograd/apply.h"
#include "quicksilver/core/error.h"

namespace qs {

using namespace autograd;

namespace {

constexpr int64_t k_large_eye = 65536;  // elements

struct Kind {
  DType dtype;
  DeviceType device;
};

Kind kind_of(const Options& o, DType dtype) {
  return {o.dtype.value_or(dtype), o.device.value_or(Device(DeviceType::cpu)).type};
}

void check_shape(DimSpan shape) {
  for (int64_t s : shape)
    QS_CHECK(s >= 0, Error, "Trying to create tensor with negative dimension {}: {}", s,
             to_string(shape));
}

Tensor create(Op op, std::initializer_list<Operand> in, DimSpan shape, Kind kind,
              const Options& options) {
  check_shape(shape);
  const ResultSpec spec[] = {{kind.dtype, Dims(shape)}};
  RecordOptions own;
  own.dtype = own.compute = kind.dtype;
  own.device = kind.device;
  own.results = spec;
  Tensor out;
  record(op, Operands(in.begin(), in.size()), {}, own, {&out, 1});
  honour_requires_grad(out, options);
  return out;
}

DType dtype_of_number(const Scalar& s) {
  return s.kind() == Scalar::Kind::boolean   ? DType::bool_
         : s.kind() == Scalar::Kind::integer ? DType::i64
                                             : default_dtype();
}

}  // namespace

Tensor empty(DimSpan shape, const Options& options) {
  check_shape(shape);
  const Kind kind = kind_of(options, default_dtype());
  Tensor out = empty_tensor(shape, kind.dtype, kind.device);
  honour_requires_grad(out, options);
  return out;
}

Tensor full(DimSpan shape, Scalar value, const Options& options) {
  const Kind kind = kind_of(options, dtype_of_number(value));
  check_fits(value, kind.dtype);
  return create(Op::full, {value}, shape, kind, options);
}

Tensor zeros(DimSpan shape, const Options& options) {
  return create(Op::full, {0}, shape, kind_of(options, default_dtype()), options);
}

Tensor ones(DimSpan shape, const Options& options) {
  return create(Op::full, {1}, shape, kind_of(options, default_dtype()), options);
}

Tensor full_like(const Tensor& x, Scalar value, const Options& options) {
  require_defined(x, "full_like");
  Options own = options;
  if (!own.dtype) own.dtype = x.dtype();
  if (!own.device) own.device = x.device();
  return full(x.shape(), value, own);
}

Tensor arange(Scalar start, Scalar end, Scalar step, const Options& options) {
  const bool integers = start.is_integral() && end.is_integral() && step.is_integral();
  const Kind kind = kind_of(options, integers ? DType::i64 : default_dtype());
  const double from = start.to_double(), to = end.to_double(), by = step.to_double();
  QS_CHECK(start.kind() != Scalar::Kind::complex && end.kind() != Scalar::Kind::complex &&
               step.kind() != Scalar::Kind::complex,
           Error, "value cannot be converted to type double without overflow");
  QS_CHECK(by != 0, Error, "step must be nonzero");
  QS_CHECK(!is_integral(kind.dtype) || std::fabs(by) >= 1, ValueError, "step must be nonzero");
  QS_CHECK(std::isfinite(from) && std::isfinite(to), Error, "unsupported range: {} -> {}", from,
           to);
  QS_CHECK((by > 0 && to >= from) || (by < 0 && to <= from), Error,
           "upper bound and lower bound inconsistent with step sign");
  int64_t count;
  if (integers) {
    const int64_t reach = end.to_int() - start.to_int(), s = step.to_int();
    count = (reach + s - (s > 0 ? 1 : -1)) / s;
  } else {
    count = static_cast<int64_t>(std::ceil((to - from) / by));
  }
  return create(Op::arange, {start, step}, Dims{count}, kind, options);
}

Tensor linspace(Scalar start, Scalar end, int64_t steps, const Options& options) {
  QS_CHECK(steps >= 0, Error, "number of steps must be non-negative");
  const Kind kind = kind_of(options, default_dtype());
  QS_CHECK(start.kind() != Scalar::Kind::complex && end.kind() != Scalar::Kind::complex,
           NotImplementedError, "linspace(): complex bounds are not supported");
  const double from = start.to_double(), to = end.to_double();
  const double step = steps > 1 ? (to - from) / double(steps - 1) : 0;
  // (start, end, step, last index, first index counted from the end; a single element is the start)
  const double half = steps == 1 ? 1 : double(steps / 2);
  const std::initializer_list<Operand> in = {from, to, step, double(steps - 1), half};
  if (!is_integral(kind.dtype)) return create(Op::linspace, in, Dims{steps}, kind, options);
  const Tensor exact = create(Op::linspace, in, Dims{steps}, {DType::f64, kind.device}, {});
  const Tensor out = qs::to(exact, {}, kind.dtype);  // cut off, not rounded, as in PyTorch
  honour_requires_grad(out, options);
  return out;
}

Tensor eye(int64_t rows, int64_t columns, const Options& options) {
  QS_CHECK(rows >= 0, Error, "n must be greater or equal to 0, got {}", rows);
  const Dims shape{rows, columns < 0 ? rows : columns};
  const Kind kind = kind_of(options, default_dtype());
  if (shape[0] * shape[1] < k_large_eye) return create(Op::eye, {}, shape, kind, options);
  // Comparing positions takes much longer than writing zeros.
  const Tensor x = zeros(shape, Options(kind.dtype, kind.device));
  fill_(diagonal(x), 1.0);
  honour_requires_grad(x, options);
  return x;
}

}  // namespace qs
