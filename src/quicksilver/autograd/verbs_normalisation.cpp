// Normalisation: over trailing dimensions (layer, RMS), over all but the channels (batch), over
// groups of channels. Means and variances are kept in the compute dtype; half-precision inputs may
// come with f32 parameters and statistics, as in PyTorch.
#include "quicksilver/autograd/gradients.h"
#include "quicksilver/core/error.h"

namespace qs {

using namespace autograd;

namespace {

bool is_half(DType d) { return d == DType::f16 || d == DType::bf16; }

/// The parameters have x's dtype, or are all f32 where x is half precision. Returns the options
/// with which a composite computes wide enough and gives x's dtype.
RecordOptions mixed_options(const Tensor& x, std::span<const Tensor* const> parameters) {
  RecordOptions options;
  options.dtype = x.dtype();
  options.compute = x.dtype();
  size_t wide = 0, own = 0;
  for (const Tensor* p : parameters) {
    if (!p->defined()) continue;
    const bool same = p->dtype() == x.dtype();
    own += same;
    wide += !same;
    if (same || (is_half(x.dtype()) && p->dtype() == DType::f32)) continue;
    QS_CHECK(x.dtype() != DType::f64, Error,
             "mixed dtype (CPU): all inputs must share same datatype.");
    throw Error("mixed dtype (CPU): expect parameter to have scalar type of Float");
  }
  if (wide && own) {
    QS_CHECK(!parameters[0]->defined() || parameters[0]->dtype() != x.dtype(), Error,
             "expected scalar type {} but found Float", scalar_type_name(x.dtype()));
    throw Error("mixed dtype (CPU): expect parameter to have scalar type of Float");
  }
  if (wide) options.compute = DType::f32;
  return options;
}

void check_normalized(const Tensor& x, const Dims& shape, const Tensor& weight, const Tensor& bias,
                      bool is_rms) {
  const size_t n = shape.size();
  QS_CHECK(n >= 1, Error,
           "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one "
           "element, but got normalized_shape = {}",
           to_string(shape));
  for (const auto& [t, what] :
       {std::pair<const Tensor&, const char*>(weight, "weight"), {bias, "bias"}})
    QS_CHECK(!t.defined() || Dims(t.shape()) == shape, Error,
             "Expected {} to be of same shape as normalized_shape, but got {} of shape {} and "
             "normalized_shape = {}",
             what, what, to_string(t.shape()), to_string(shape));
  QS_CHECK(static_cast<size_t>(x.dim()) >= n && Dims(x.shape().last(n)) == shape, Error,
           "Given normalized_shape={}, expected input with shape [*{}{}, but got input of size{}",
           to_string(shape), is_rms ? "" : ", ", to_string(shape).substr(1), to_string(x.shape()));
  QS_CHECK(is_floating(x.dtype()), NotImplementedError, "\"{}\" not implemented for '{}'",
           is_rms ? "rms_norm" : "LayerNormKernelImpl", scalar_type_name(x.dtype()));
}

uint64_t trailing_axes(const Tensor& x, size_t n) {
  return ((uint64_t{1} << n) - 1) << (static_cast<size_t>(x.dim()) - n);
}

/// layer_norm's op over any axes; weight and bias broadcast from the right.
Tensor normalise(const Tensor& x, uint64_t axes, const Tensor& weight, const Tensor& bias,
                 double eps) {
  const Tensor* parameters[] = {&weight, &bias};
  const Operand in[] = {x, weight, bias};
  const uint64_t attrs[] = {axes, 0, attr(eps)};
  Tensor out[3];
  apply_all(Op::layer_norm, in, attrs, mixed_options(x, parameters), out);
  return std::move(out[0]);
}

/// [c] as [c, 1, ...], which lines up with channels before `after` more dimensions.
Tensor as_channels(const Tensor& t, int after) {
  if (!t.defined()) return t;
  Dims shape(static_cast<size_t>(after) + 1, 1);
  shape[0] = t.numel();
  return reshape(t, shape);
}

/// The dimensions of t first, then `after` of extent 1.
Tensor as_leading(const Tensor& t, int after) {
  Dims shape(t.shape());
  for (int d = 0; d < after; ++d) shape.push_back(1);
  return reshape(t, shape);
}

}  // namespace

Tensor layer_norm(const Tensor& x, DimSpan normalized_shape, const Tensor& weight,
                  const Tensor& bias, double eps) {
  require_defined(x, "layer_norm");
  const Dims shape(normalized_shape);
  check_normalized(x, shape, weight, bias, false);
  return normalise(x, trailing_axes(x, shape.size()), weight, bias, eps);
}

Tensor rms_norm(const Tensor& x, DimSpan normalized_shape, const Tensor& weight,
                std::optional<double> eps) {
  require_defined(x, "rms_norm");
  const Dims shape(normalized_shape);
  check_normalized(x, shape, weight, {}, true);
  RecordOptions options;
  options.dtype = x.dtype();
  options.compute = x.dtype();
  if (weight.defined() && weight.dtype() != x.dtype()) {
    const Operand both[] = {x, weight};
    options.compute = result_type(both);
  }
  constexpr double k_eps_f32 = 1.1920928955078125e-07, k_eps_f64 = 2.220446049250313e-16;
  const double least = x.dtype() == DType::f64    ? k_eps_f64
                       : x.dtype() == DType::f16  ? 0x1p-10
                       : x.dtype() == DType::bf16 ? 0x1p-7
                                                  : k_eps_f32;
  const Operand in[] = {x, weight};
  const uint64_t attrs[] = {trailing_axes(x, shape.size()), 0, attr(eps.value_or(least))};
  Tensor out[2];
  apply_all(Op::rms_norm, in, attrs, options, out);
  return std::move(out[0]);
}

// ---- batch norm
namespace {

struct BatchAxes {
  uint64_t mask;  // all but the channels
  double count;   // elements of a channel
  double eps;
};

/// batch_norm's gradients from verbs, so that they have gradients themselves.
std::vector<Tensor> composed_gradients(const Tensor& g_in, const Tensor& x_in, const Tensor& weight,
                                       const BatchAxes& a) {
  const DType dtype = x_in.dtype();
  const std::optional<DType> wide = is_half(dtype) ? std::optional(DType::f32) : std::nullopt;
  const Tensor g = wide ? to(g_in, {}, wide) : g_in, x = wide ? to(x_in, {}, wide) : x_in;
  const int after = x.dim() - 2;
  const auto mean_of = [&](const Tensor& t) { return axes_sum(t, a.mask) * (1 / a.count); };
  const Tensor d = x - mean_of(x), r = rsqrt(mean_of(square(d)) + a.eps), h = d * r;
  const Tensor gw = weight.defined() ? g * as_channels(weight, after) : g;
  const Tensor dx = (gw - mean_of(gw) - h * mean_of(gw * h)) * r;
  const auto channel_sum = [&](const Tensor& t) {
    return reshape(axes_sum(t, a.mask), Dims{x.size(1)});
  };
  return {to(dx, {}, dtype), channel_sum(g * h), channel_sum(g)};
}

std::vector<Tensor> recorded_gradients(const Tensor& g, const Tensor& x, const Tensor& weight,
                                       const Tensor& mean, const Tensor& var, const BatchAxes& a) {
  RecordOptions options;
  const DType kept = mean.dtype();
  const Dims channels{x.size(1)};
  const ResultSpec spec[] = {{x.dtype(), Dims(x.shape())}, {kept, channels}, {kept, channels}};
  options.results = spec;
  options.compute = kept;
  const Operand in[] = {g, x, mean, var, weight};
  const uint64_t attrs[] = {a.mask, 0, attr(a.eps)};
  std::vector<Tensor> out(3);
  record(Op::batch_norm_backward, in, attrs, options, out);
  return out;
}

/// running <- (1 - momentum) running + momentum value, computed in value's dtype.
void update_running(const Tensor& running, const Tensor& value, double momentum) {
  if (!running.defined()) return;
  if (running.dtype() == value.dtype()) {
    lerp_(running, value, momentum);
  } else {
    copy_(running, lerp(to(running, {}, value.dtype()), value, momentum));
  }
}

Tensor train_batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const Tensor& running_mean, const Tensor& running_var, double momentum,
                        double eps, const RecordOptions& options) {
  const int rank = x.dim();
  BatchAxes a{((uint64_t{1} << rank) - 1) & ~uint64_t{2}, 0, eps};
  a.count = double(x.numel()) / double(x.size(1));
  Tensor out[3];
  {
    const NoGrad guard;
    const Operand in[] = {x, weight, bias};
    const uint64_t attrs[] = {a.mask, 0, attr(eps)};
    record(Op::batch_norm, in, attrs, options, out);
    update_running(running_mean, out[1], momentum);
    if (running_var.defined())
      update_running(running_var, out[2] * (a.count / (a.count - 1)), momentum);
  }
  const Tensor inputs[] = {x, weight, bias};
  auto node = with_gradient(
      "NativeBatchNorm", inputs, {out, 1}, [a](FunctionNodeBase& self, std::vector<Tensor>& g) {
        if (!g[0].defined()) return std::vector<Tensor>(3);
        const Tensor in = self.unpack(0), w = self.saved.size() > 3 ? self.unpack(3) : Tensor();
        std::vector<Tensor> back =
            grad_enabled() ? composed_gradients(g[0], in, w, a)
                           : recorded_gradients(g[0], in, w, self.unpack(1), self.unpack(2), a);
        for (size_t i = 1; i < 3; ++i)  // parameters are wider than x or of its dtype
          if (w.defined() && back[i].dtype() != w.dtype()) back[i] = to(back[i], {}, w.dtype());
        return back;
      });
  if (node) {
    node->saved.emplace_back(x, false);
    node->saved.emplace_back(out[1], false);
    node->saved.emplace_back(out[2], false);
    if (weight.defined()) node->saved.emplace_back(weight, false);
  }
  return std::move(out[0]);
}

Tensor fixed_batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const Tensor& running_mean, const Tensor& running_var, double eps) {
  const int after = x.dim() - 2;
  const DType dtype = x.dtype();
  const auto wide = [&](const Tensor& t) {
    return t.defined() && is_half(t.dtype()) ? to(t, {}, DType::f32) : t;
  };
  Tensor scale = rsqrt(wide(running_var) + eps);
  if (weight.defined()) scale = scale * wide(weight);
  const Tensor centred = wide(x) - as_channels(wide(running_mean), after);
  RecordOptions last;  // PyTorch's result is row-major whatever x is
  last.row_major = true;
  last.dtype = dtype;
  if (is_half(dtype)) last.compute = DType::f32;
  const Tensor factor = as_channels(scale, after), shift = as_channels(wide(bias), after);
  if (!shift.defined()) return apply(Op::mul, {centred, factor}, {}, last);
  return apply(Op::add, {centred * factor, shift}, {}, last);
}

}  // namespace

Tensor batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias,
                  const Tensor& running_mean, const Tensor& running_var, bool training,
                  double momentum, double eps) {
  require_defined(x, "batch_norm");
  const int64_t channels = x.dim() > 1 ? x.size(1) : 0;
  const std::pair<const Tensor*, const char*> named[] = {{&running_mean, "running_mean"},
                                                         {&running_var, "running_var"},
                                                         {&weight, "weight"},
                                                         {&bias, "bias"}};
  for (const auto& [t, name] : named) {
    QS_CHECK(training || t->defined() || name[0] != 'r', Error,
             "{} must be defined in evaluation mode", name);
    QS_CHECK(!t->defined() || t->numel() == channels, Error, "{} should contain {} elements not {}",
             name, channels, t->numel());
  }
  QS_CHECK(x.dim() > 1, Error, "batch_norm(): expected at least 2 dimensions, got input of size {}",
           to_string(x.shape()));
  QS_CHECK(is_floating(x.dtype()), NotImplementedError, "\"batch_norm\" not implemented for '{}'",
           scalar_type_name(x.dtype()));
  const Tensor* parameters[] = {&weight, &bias, &running_mean, &running_var};
  const RecordOptions options = mixed_options(x, parameters);
  if (x.numel() == 0) {  // no statistics to speak of
    Tensor out = clone(x);
    if (weight.defined()) out = out * as_channels(weight, x.dim() - 2);
    if (bias.defined()) out = out + as_channels(bias, x.dim() - 2);
    return out;
  }
  return training
             ? train_batch_norm(x, weight, bias, running_mean, running_var, momentum, eps, options)
             : fixed_batch_norm(x, weight, bias, running_mean, running_var, eps);
}

// ---- groups of channels
namespace {

/// x [n, groups, channels of one, ...], normalised over all after the groups; weight and bias
/// [groups, channels of one], or undefined. One node, whose gradients take one pass for the sums of
/// each channel and one for dx; what lies between has an element a channel.
Tensor grouped_norm(const char* name, const Tensor& x, const Tensor& weight, const Tensor& bias,
                    double eps, const RecordOptions& options, Tensor* statistics) {
  const int rank = x.dim();
  const uint64_t axes = trailing_axes(x, static_cast<size_t>(rank) - 2);
  const uint64_t spatial = axes & ~uint64_t{4};
  const double count = axes_count(x.shape(), axes);
  const auto spread = [rank](const Tensor& t) { return as_leading(t, rank - t.dim()); };
  Tensor out[3];
  {
    const NoGrad guard;
    const Tensor scale = weight.defined() ? as_leading(weight, rank - 3) : weight;
    const Tensor shift = bias.defined() ? as_leading(bias, rank - 3) : bias;
    const Operand in[] = {x, scale, shift};
    const uint64_t attrs[] = {axes, 0, attr(eps)};
    record(Op::layer_norm, in, attrs, options, out);
  }
  const Tensor inputs[] = {x, weight, bias};
  auto node = with_gradient(
      name, inputs, {out, 1},
      [=, dtype = x.dtype()](FunctionNodeBase& self, std::vector<Tensor>& grads) {
        std::vector<Tensor> back(3);
        if (!grads[0].defined()) return back;
        const Tensor saved = self.unpack(0), w = self.saved.size() > 3 ? self.unpack(3) : Tensor();
        const std::optional<DType> wide = is_half(dtype) ? std::optional(DType::f32) : std::nullopt;
        const Tensor in = wide ? to(saved, {}, wide) : saved;
        const Tensor g = wide ? to(grads[0], {}, wide) : grads[0];
        Tensor mean, rstd;  // [n, groups]
        if (grad_enabled()) {
          const auto inner = [&](const Tensor& t) {
            return reshape(axes_sum(t, axes), Dims{t.size(0), t.size(1)}) * (1 / count);
          };
          mean = inner(in);
          rstd = rsqrt(inner(square(in - as_leading(mean, rank - 2))) + eps);
        } else {
          mean = self.unpack(1);
          rstd = self.unpack(2);
        }
        const Tensor d = in - as_leading(mean, rank - 2);
        // Sums over the spatial dimensions: [n, groups, channels of one].
        const auto sums = [&](const Tensor& t) {
          return spatial ? reshape(axes_sum(t, spatial), Dims{t.size(0), t.size(1), t.size(2)}) : t;
        };
        const Tensor along = sums(g * d), total = sums(g), r = unsqueeze(rstd, 2);
        const Dims samples{0}, channels{2};
        if (w.defined()) {
          back[1] = to(sum(along * r, samples), {}, w.dtype());
          back[2] = to(sum(total, samples), {}, w.dtype());
        } else {
          back[2] = sum(total, samples);
        }
        const Tensor factor = w.defined() ? (wide ? to(w, {}, wide) : w) : Tensor();
        const auto weighted = [&](const Tensor& t) { return factor.defined() ? t * factor : t; };
        const Tensor mean_g = sum(weighted(total), channels, true) * (1 / count);
        const Tensor slope = sum(weighted(along), channels, true) * (square(r) * (1 / count));
        const Tensor scale = weighted(r);
        const Tensor dx = g * spread(scale) - (d * spread(slope * r) + spread(mean_g * r));
        back[0] = contiguous(to(dx, {}, dtype));  // as PyTorch's, whatever x is
        return back;
      });
  if (node) {
    node->saved.emplace_back(x, false);
    node->saved.emplace_back(out[1], false);
    node->saved.emplace_back(out[2], false);
    if (weight.defined()) node->saved.emplace_back(weight, false);
  }
  if (statistics) *statistics = out[1];
  return std::move(out[0]);
}

}  // namespace

Tensor group_norm(const Tensor& x, int64_t num_groups, const Tensor& weight, const Tensor& bias,
                  double eps) {
  require_defined(x, "group_norm");
  QS_CHECK(x.dim() >= 2, Error, "Expected at least 2 dimensions for input tensor but received {}",
           x.dim());
  QS_CHECK(num_groups > 0, Error, "Expected num groups to be greater than 0, got {}", num_groups);
  const int64_t channels = x.size(1);
  QS_CHECK(channels % num_groups == 0, Error,
           "Expected number of channels in input to be divisible by num_groups, but got input of "
           "shape {} and num_groups={}",
           to_string(x.shape()), num_groups);
  for (const auto& [t, what] :
       {std::pair<const Tensor&, const char*>(weight, "weight"), {bias, "bias"}})
    QS_CHECK(!t.defined() || (t.dim() == 1 && t.numel() == channels), Error,
             "Expected {} to be a vector of size equal to the number of channels in input, but got "
             "{} of shape {} and input of shape {}",
             what, what, to_string(t.shape()), to_string(x.shape()));
  QS_CHECK(is_floating(x.dtype()), NotImplementedError,
           "\"GroupNormKernelImpl\" not implemented for '{}'", scalar_type_name(x.dtype()));
  const Dims split{num_groups, channels / num_groups};
  const Tensor grouped = unflatten(x, 1, split);  // [n, groups, channels of one, ...]
  const auto parameter = [&](const Tensor& t) { return t.defined() ? reshape(t, split) : t; };
  const Tensor* parameters[] = {&weight, &bias};
  return flatten(grouped_norm("NativeGroupNorm", grouped, parameter(weight), parameter(bias), eps,
                              mixed_options(x, parameters), nullptr),
                 1, 2);
}

Tensor instance_norm(const Tensor& x, const Tensor& weight, const Tensor& bias,
                     const Tensor& running_mean, const Tensor& running_var, bool use_input_stats,
                     double momentum, double eps) {
  require_defined(x, "instance_norm");
  QS_CHECK(use_input_stats || (running_mean.defined() && running_var.defined()), Error,
           "Expected running_mean and running_var to be defined when use_input_stats is false");
  QS_CHECK(x.dim() >= 2, Error, "instance_norm(): expected at least 2 dimensions, got {}", x.dim());
  const int64_t samples = x.size(0), channels = x.size(1);
  const std::pair<const Tensor*, const char*> named[] = {{&running_mean, "running_mean"},
                                                         {&running_var, "running_var"},
                                                         {&weight, "weight"},
                                                         {&bias, "bias"}};
  for (const auto& [t, name] : named)  // PyTorch repeats them for each sample, and says so
    QS_CHECK(!t->defined() || t->numel() == channels, Error, "{} should contain {} elements not {}",
             name, samples * channels, samples * t->numel());
  QS_CHECK(is_floating(x.dtype()), NotImplementedError, "\"batch_norm\" not implemented for '{}'",
           scalar_type_name(x.dtype()));
  if (!use_input_stats)
    return batch_norm(x, weight, bias, running_mean, running_var, false, momentum, eps);
  const Tensor* parameters[] = {&weight, &bias, &running_mean, &running_var};
  const RecordOptions options = mixed_options(x, parameters);
  const int after = x.dim() - 2;
  if (x.numel() == 0) return clone(x);
  QS_CHECK(after > 0, ValueError,
           "Expected more than 1 spatial element when training, got input size {}",
           to_string(x.shape()));
  const Dims single{channels, 1};  // groups of one channel
  const auto parameter = [&](const Tensor& t) { return t.defined() ? reshape(t, single) : t; };
  Tensor means;  // [n, channels]
  const Tensor out = flatten(grouped_norm("InstanceNorm", unsqueeze(x, 2), parameter(weight),
                                          parameter(bias), eps, options, &means),
                             1, 2);
  if (running_mean.defined() || running_var.defined()) {
    const NoGrad guard;
    const double n = double(x.numel()) / double(samples * channels);
    const Dims dims{0};
    update_running(running_mean, mean(means, dims), momentum);
    if (running_var.defined()) {
      // rstd is what the gradient needs; the variance comes straight from x.
      Dims rest;
      for (int d = 2; d < x.dim(); ++d) rest.push_back(d);
      const Tensor wide = is_half(x.dtype()) ? to(x, {}, DType::f32) : x;
      update_running(running_var, mean(var(wide, rest, n > 1 ? 1 : 0), dims), momentum);
    }
  }
  return out;
}

}  // namespace qs
