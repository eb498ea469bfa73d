// Random numbers. Each op reserves its counters from the device's generator by shape alone, so the
// stream does not depend on what is later computed or dropped; seed and offset are launch
// arguments.
#include "quicksilver/autograd/apply.h"
#include "quicksilver/core/error.h"

namespace qs {

using namespace autograd;

namespace {

struct Draws {
  Operand seed, offset;
};

Draws reserve(DeviceType device, int64_t count) {
  const RandomRange range = device_runtime(device).generator().reserve(count);
  return {Operand(static_cast<int64_t>(range.seed)), Operand(static_cast<int64_t>(range.offset))};
}

/// Attribute 0 of uniform: the binary digits to keep, so that rounding to a short dtype cannot
/// reach the upper bound; of random_int: whether the range needs two draws.
uint64_t draw_attribute(Op op, DType dtype, const Operand& range) {
  if (op == Op::random_int) return range.number().to_int() > int64_t{1} << 32;
  if (op == Op::uniform) return dtype == DType::f16 ? 11 : dtype == DType::bf16 ? 8 : 0;
  return 0;
}

/// Overwrites `x` with draws: (a, b, seed, offset), or (a, seed, offset) when `b` is absent.
const Tensor& draw_into(Op op, const Tensor& x, const Operand& a, const Operand& b, DType compute) {
  const Draws draws = reserve(x.device_type(), x.numel());
  const ResultSpec spec[] = {{x.dtype(), Dims(x.shape())}};
  RecordOptions options;
  options.dtype = x.dtype();
  options.compute = compute;
  options.device = x.device_type();
  options.results = spec;
  if (b.kind() == Operand::absent)
    return apply_in_place(op, x, {a, draws.seed, draws.offset}, {}, options);
  return apply_in_place(op, x, {a, b, draws.seed, draws.offset}, {draw_attribute(op, x.dtype(), b)},
                        options);
}

Tensor draw(Op op, DimSpan shape, const Options& options, DType dtype, const Operand& a,
            const Operand& b) {
  const DType kind = options.dtype.value_or(dtype);
  const DeviceType device = options.device.value_or(Device(DeviceType::cpu)).type;
  for (int64_t s : shape)
    QS_CHECK(s >= 0, Error, "Trying to create tensor with negative dimension {}: {}", s,
             to_string(shape));
  const Draws draws = reserve(device, checked_numel(shape));
  const ResultSpec spec[] = {{kind, Dims(shape)}};
  RecordOptions own;
  own.dtype = kind;
  own.compute = op == Op::random_int ? DType::i64 : kind;
  own.device = device;
  own.results = spec;
  const Operand in[] = {a, b, draws.seed, draws.offset};
  const uint64_t attrs[] = {draw_attribute(op, kind, b)};
  Tensor out;
  record(op, in, attrs, own, {&out, 1});
  honour_requires_grad(out, options);
  return out;
}

void check_float(const char* verb, DType d) {
  QS_CHECK(is_floating(d), NotImplementedError, "\"{}\" not implemented for '{}'", verb,
           scalar_type_name(d));
}

}  // namespace

Tensor rand(DimSpan shape, const Options& options) {
  check_float("check_uniform_bounds", options.dtype.value_or(default_dtype()));
  return draw(Op::uniform, shape, options, default_dtype(), 0.0, 1.0);
}

Tensor randn(DimSpan shape, const Options& options) {
  check_float("normal_kernel_cpu", options.dtype.value_or(default_dtype()));
  return draw(Op::normal, shape, options, default_dtype(), 0.0, 1.0);
}

Tensor randint(int64_t low, int64_t high, DimSpan shape, const Options& options) {
  QS_CHECK(low < high, Error,
           "random_ expects 'from' to be less than 'to', but got from={} >= to={}", low, high);
  return draw(Op::random_int, shape, options, DType::i64, low, high - low);
}

Tensor randperm(int64_t n, const Options& options) {
  QS_CHECK(n >= 0, Error, "n must be non-negative, got {}", n);
  const Options keys(DType::i64, options.device.value_or(Device(DeviceType::cpu)));
  const Tensor order = argsort(randint(0, int64_t{1} << 32, Dims{n}, keys));
  return to(order, {}, options.dtype.value_or(DType::i64));
}

const Tensor& uniform_(const Tensor& x, double from, double to) {
  require_defined(x, "uniform_");
  check_float("check_uniform_bounds", x.dtype());
  QS_CHECK(from <= to, Error,
           "uniform_ expects to return a [from, to) range, but found from={} > to={}", from, to);
  return draw_into(Op::uniform, x, from, to, x.dtype());
}

const Tensor& normal_(const Tensor& x, double mean, double std) {
  require_defined(x, "normal_");
  check_float("normal_kernel_cpu", x.dtype());
  QS_CHECK(std >= 0, Error, "normal expects std >= 0.0, but found std {}", std);
  return draw_into(Op::normal, x, mean, std, x.dtype());
}

const Tensor& bernoulli_(const Tensor& x, double p) {
  require_defined(x, "bernoulli_");
  QS_CHECK(p >= 0 && p <= 1, Error, "bernoulli_ expects p to be in [0, 1], but got p={}", p);
  return draw_into(Op::bernoulli, x, p, {}, is_floating(x.dtype()) ? x.dtype() : DType::f32);
}

Tensor bernoulli(const Tensor& p) {
  require_defined(p, "bernoulli");
  check_float("bernoulli_tensor_cpu_p_", p.dtype());
  const Draws draws = reserve(p.device_type(), p.numel());
  const NoGrad guard;
  RecordOptions options;
  options.dtype = options.compute = p.dtype();
  return apply(Op::bernoulli, {p, draws.seed, draws.offset}, {}, options);
}

namespace {

/// Draws of kernels/draw.cpp, each with parameters of its own.
Tensor drawn(const char* verb, uint64_t which, const Tensor& a, const Tensor& b) {
  require_defined(a, verb);
  check_float(verb, a.dtype());
  const Draws draws = reserve(a.device_type(), a.numel());
  const ResultSpec spec[] = {{a.dtype(), Dims(a.shape())}};
  RecordOptions options;
  options.compute = a.dtype();
  options.results = spec;
  return apply(Op::draw, {a, b, draws.seed, draws.offset}, {which}, options);
}

}  // namespace

Tensor poisson(const Tensor& rate) { return drawn("poisson_cpu", 0, rate, {}); }

Tensor standard_gamma(const Tensor& shape) { return drawn("gamma_cpu", 1, shape, {}); }

Tensor binomial(const Tensor& count, const Tensor& probability) {
  const Dims shape = broadcast_shapes(count.shape(), probability.shape());
  return drawn("binomial_cpu", 2, expand(count, shape), expand(probability, shape));
}

Tensor dropout(const Tensor& x, double p, bool training) {
  require_defined(x, "dropout");
  QS_CHECK(p >= 0 && p <= 1, ValueError,
           "dropout probability has to be between 0 and 1, but got {}", p);
  if (!training || p == 0 || x.numel() == 0) return x;
  if (p == 1) return mul(x, zeros({}, Options(x.dtype(), x.device())));
  const Draws draws = reserve(x.device_type(), x.numel());
  return apply(Op::dropout, {x, 1 - p, 1 / (1 - p), draws.seed, draws.offset});
}

void manual_seed(uint64_t seed) {
  device_runtime(DeviceType::cpu).generator().manual_seed(seed);
  if (mps_is_available()) device_runtime(DeviceType::mps).generator().manual_seed(seed);
}

}  // namespace qs
