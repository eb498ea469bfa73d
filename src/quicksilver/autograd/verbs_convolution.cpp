// Convolutions. Arguments are checked in PyTorch's order and words; all end in one of the three ops
// on tensors with a batch dimension, which are each other's gradients.
#include <algorithm>

#include "quicksilver/autograd/apply.h"
#include "quicksilver/autograd/gradients.h"
#include "quicksilver/core/error.h"
#include "quicksilver/tensor/rules.h"

namespace qs {

using namespace autograd;

namespace {

/// What a convolution op needs beside its operands: PyTorch's parameters, one number a dimension.
struct Geometry {
  Dims stride, padding, dilation;
  int64_t groups = 1;
  int spatial() const { return static_cast<int>(stride.size()); }
  SmallVector<uint64_t, 10> attrs() const {
    SmallVector<uint64_t, 10> out;
    out.push_back(attr(groups));
    for (const Dims* list : {&stride, &padding, &dilation})
      for (int64_t v : *list) out.push_back(attr(v));
    return out;
  }
};

bool is_channels_last(const Tensor& t) {
  return t.dim() == 4 && suggests_channels_last(t.layout());
}

/// Records one of the three ops; the result has `shape`.
Tensor record_conv(Op op, const Tensor& a, const Tensor& b, const Tensor& bias, Dims shape,
                   std::span<const uint64_t> attrs, bool channels_last) {
  ResultSpec spec{a.dtype(), std::move(shape)};
  if (channels_last) spec.strides = channels_last_strides(spec.shape);
  RecordOptions options;
  options.results = {&spec, 1};
  const Operand in[] = {a, b, bias};
  const size_t operands = op == Op::conv_backward_weight ? 2 : 3;
  return apply(op, Operands(in, operands), attrs, options);
}

/// "(5 x 5)"
std::string crossed(DimSpan sizes) {
  std::string text = "(";
  for (size_t i = 0; i < sizes.size(); ++i) text += format("{}{}", i ? " x " : "", sizes[i]);
  return text + ")";
}

Dims expanded(DimSpan list, const char* name, int spatial) {
  if (list.size() == 1) return Dims(static_cast<size_t>(spatial), list[0]);
  QS_CHECK(list.size() == static_cast<size_t>(spatial), Error,
           "expected {} to be a single integer value or a list of {} values to match the "
           "convolution dimensions, but got {}={}",
           name, spatial, name, to_string(list));
  return Dims(list);
}

bool any_below(DimSpan list, int64_t least) {
  return std::any_of(list.begin(), list.end(), [&](int64_t v) { return v < least; });
}

/// What both directions ask of their arguments.
void check_parameters(const Tensor& x, const Tensor& weight, const Geometry& g,
                      DimSpan output_padding) {
  QS_CHECK(!any_below(g.padding, 0), Error, "negative padding is not supported");
  QS_CHECK(!any_below(output_padding, 0), Error, "negative output_padding is not supported");
  QS_CHECK(!any_below(g.stride, 1), Error, "non-positive stride is not supported");
  QS_CHECK(!any_below(g.dilation, 1), Error, "dilation should be greater than zero, but got {}",
           to_string(g.dilation));
  QS_CHECK(weight.dim() == x.dim(), Error,
           "Expected {}-dimensional input for {}-dimensional weight {}, but got {}-dimensional "
           "input of size {} instead",
           weight.dim(), weight.dim(), to_string(weight.shape()), x.dim(), to_string(x.shape()));
  const int64_t first = weight.size(0);
  QS_CHECK(first >= g.groups, Error,
           "Given groups={}, expected weight to be at least {} at dimension 0, but got weight of "
           "size {} instead",
           g.groups, g.groups, to_string(weight.shape()));
  QS_CHECK(first % g.groups == 0, Error,
           "Given groups={}, expected weight to be divisible by {} at dimension 0, but got weight "
           "of size [{}] instead",
           g.groups, g.groups, to_string(weight.shape()));
}

void check_bias(const Tensor& x, const Tensor& bias) {
  if (!bias.defined()) return;
  QS_CHECK(bias.dtype() == x.dtype(), Error,
           "Input type ({}) and bias type ({}) should be the same", c_type_name(x.dtype()),
           c_type_name(bias.dtype()));
}

void check_kernel_sizes(DimSpan kernel) {
  if (!any_below(kernel, 1)) return;
  constexpr const char* names[] = {"depth", "height", "width"};
  const size_t shown = std::max<size_t>(2, kernel.size());  // one dimension is a row of two
  std::string text;
  for (size_t i = 0; i < shown; ++i) {
    const size_t own = i + kernel.size() - shown;
    text += format(" kernel_{}: {}", names[3 - shown + i], own < kernel.size() ? kernel[own] : 1);
  }
  throw Error(format("kernel size should be greater than zero, but got{}", text));
}

void check_dtype(const Tensor& x, const Tensor& weight, const Geometry& g, bool transposed) {
  QS_CHECK(x.dtype() == weight.dtype(), Error, "expected scalar type {} but found {}",
           scalar_type_name(x.dtype()), scalar_type_name(weight.dtype()));
  const DType dtype = x.dtype();
  if (!is_integral(dtype)) return;
  const bool solid = g.spatial() == 3;
  const auto refuse = [&](const char* kernel) {
    throw NotImplementedError(
        format("\"{}\" not implemented for '{}'", kernel, scalar_type_name(dtype)));
  };
  const bool narrow = dtype != DType::i64;
  if (transposed && narrow)
    refuse(solid ? "slow_conv_transpose3d_out_cpu" : "slow_conv_transpose2d_out_cpu");
  if (any_below(g.dilation, 2) ? false : narrow) refuse("slow_conv_dilated<>");
  if (dtype == DType::bool_) refuse(solid ? "compute_columns3d" : "slow_conv2d_cpu");
}

/// Narrow integers wrap around: the low bits of a wider result are theirs.
std::optional<DType> wider(DType d) {
  if (!is_integral(d) || d == DType::i32 || d == DType::i64) return {};
  return size_of(d) < 4 ? DType::i32 : DType::i64;
}

bool has_no_elements(const Tensor& x) {
  for (int64_t s : x.shape().subspan(2))
    if (s == 0) return true;
  return false;
}

Tensor forward(const Tensor& x, const Tensor& weight, const Tensor& bias, const Geometry& g,
               DimSpan padding_behind) {
  check_parameters(x, weight, g, {});
  QS_CHECK(x.size(1) == weight.size(1) * g.groups, Error,
           "Given groups={}, weight of size {}, expected input{} to have {} channels, but got {} "
           "channels instead",
           g.groups, to_string(weight.shape()), to_string(x.shape()), weight.size(1) * g.groups,
           x.size(1));
  QS_CHECK(!bias.defined() || (bias.dim() == 1 && bias.size(0) == weight.size(0)), Error,
           "Given weight of size {}, expected bias to be 1-dimensional with {} elements, but got "
           "bias of size {} instead",
           to_string(weight.shape()), weight.size(0),
           bias.defined() ? to_string(bias.shape()) : std::string());
  Dims padded, extent, shape{x.size(0), weight.size(0)};
  bool fits = true;
  for (int d = 0; d < g.spatial(); ++d) {
    padded.push_back(x.size(2 + d) + g.padding[d] + padding_behind[static_cast<size_t>(d)]);
    extent.push_back(g.dilation[d] * (weight.size(2 + d) - 1) + 1);
    fits = fits && extent[d] <= padded[d];
    shape.push_back((padded[d] - extent[d]) / g.stride[d] + 1);
  }
  QS_CHECK(fits, Error,
           "Calculated padded input size per channel: {}. Kernel size: {}. Kernel size can't be "
           "greater than actual input size",
           crossed(padded), crossed(extent));
  QS_CHECK(!has_no_elements(x), Error,
           "Only zero batch or zero channel inputs are supported, but got input shape: {}",
           to_string(x.shape()));
  check_kernel_sizes(weight.shape().subspan(2));
  check_bias(x, bias);
  check_dtype(x, weight, g, false);
  const bool last = is_channels_last(x) || is_channels_last(weight);
  if (const auto wide = wider(x.dtype()))
    return to(
        record_conv(Op::conv, to(x, {}, *wide), to(weight, {}, *wide),
                    bias.defined() ? to(bias, {}, *wide) : bias, std::move(shape), g.attrs(), last),
        {}, x.dtype());
  return record_conv(Op::conv, x, weight, bias, std::move(shape), g.attrs(), last);
}

/// x of one element a channel: each weight meets it once, so the result is a matrix product.
Tensor from_single(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  Dims shape(weight.shape());
  shape[0] = x.size(0);
  const int64_t in = x.size(1);
  const Tensor y =
      view(matmul(reshape(x, Dims{x.size(0), in}), reshape(weight, Dims{in, -1})), shape);
  if (!bias.defined()) return y;
  Dims channel(shape.size(), 1);
  channel[1] = shape[1];
  return y + view(bias, channel);
}

Tensor transposed(const Tensor& x, const Tensor& weight, const Tensor& bias, const Geometry& g,
                  DimSpan output_padding) {
  check_parameters(x, weight, g, output_padding);
  const int64_t channels = weight.size(1) * g.groups;
  QS_CHECK(x.size(1) == weight.size(0), Error,
           "Given transposed=1, weight of size {}, expected input{} to have {} channels, but got "
           "{} channels instead",
           to_string(weight.shape()), to_string(x.shape()), weight.size(0), x.size(1));
  QS_CHECK(!bias.defined() || (bias.dim() == 1 && bias.size(0) == channels), Error,
           "Given transposed=1, weight of size {}, expected bias to be 1-dimensional with {} "
           "elements, but got bias of size {} instead",
           to_string(weight.shape()), channels,
           bias.defined() ? to_string(bias.shape()) : std::string());
  check_kernel_sizes(weight.shape().subspan(2));
  Dims shape{x.size(0), channels};
  bool small_enough = true, single = true;
  for (int d = 0; d < g.spatial(); ++d) {
    const int64_t out_pad = output_padding[static_cast<size_t>(d)];
    small_enough = small_enough && (out_pad < g.stride[d] || out_pad < g.dilation[d]);
    shape.push_back((x.size(2 + d) - 1) * g.stride[d] - 2 * g.padding[d] +
                    g.dilation[d] * (weight.size(2 + d) - 1) + out_pad + 1);
    single =
        single && x.size(2 + d) == 1 && g.padding[d] == 0 && g.dilation[d] == 1 && out_pad == 0;
  }
  if (!small_enough) {
    constexpr const char* names[] = {"depth", "height", "width"};
    const int shown = std::max(2, g.spatial());
    std::string text;
    const auto list = [&](const char* name, DimSpan values, int64_t filler) {
      for (int i = 0; i < shown; ++i) {
        const int own = i + g.spatial() - shown;
        text += format(" {}_{}: {}", name, names[3 - shown + i],
                       own >= 0 ? values[static_cast<size_t>(own)] : filler);
      }
    };
    list("output_padding", output_padding, 0);
    list("stride", g.stride, 1);
    list("dilation", g.dilation, 1);
    throw Error(
        format("output padding must be smaller than either stride or dilation, but got{}", text));
  }
  const DimSpan out = DimSpan(shape).subspan(2);
  QS_CHECK(!any_below(out, 1), Error,
           "Given input size per channel: {}. Calculated output size per channel: {}. Output size "
           "is too small",
           crossed(x.shape().subspan(2)), crossed(out));
  QS_CHECK(!has_no_elements(x), Error,
           "Only zero batch or zero channel inputs are supported, but got input shape: {}",
           to_string(x.shape()));
  check_bias(x, bias);
  check_dtype(x, weight, g, true);
  const bool last = is_channels_last(x);
  const bool rounds_twice = bias.defined() && size_of(x.dtype()) < 4;
  if (single && g.groups == 1 && !last && x.numel() > 0 && !is_integral(x.dtype()) && !rounds_twice)
    return from_single(x, weight, bias);
  return record_conv(Op::conv_backward_input, x, weight, bias, std::move(shape), g.attrs(), last);
}

/// Lends an unbatched input a batch of one; `name` and `spatial` are those of the verb.
Tensor batched(const char* name, int spatial, const Tensor& x, bool& added) {
  require_defined(x, name);
  added = x.dim() == spatial + 1;
  QS_CHECK(added || x.dim() == spatial + 2, Error,
           "Expected {}D (unbatched) or {}D (batched) input to {}, but got input of size: {}",
           spatial + 1, spatial + 2, name, to_string(x.shape()));
  return added ? unsqueeze(x, 0) : x;
}

Geometry geometry_of(const Tensor& weight, DimSpan stride, DimSpan padding, DimSpan dilation,
                     int64_t groups) {
  require_defined(weight, "convolution");
  QS_CHECK(weight.dim() > 2, Error, "weight should have at least three dimensions");
  QS_CHECK(groups > 0, Error, "non-positive groups is not supported");
  QS_CHECK(weight.dim() <= 5, Error, "expected a convolution of one to three dimensions, got {}",
           weight.dim() - 2);
  const int spatial = weight.dim() - 2;
  Geometry g;
  g.stride = expanded(stride, "stride", spatial);
  g.padding = expanded(padding, "padding", spatial);
  g.dilation = expanded(dilation, "dilation", spatial);
  g.groups = groups;
  return g;
}

constexpr const char* k_names[] = {"", "conv1d", "conv2d", "conv3d"};
constexpr const char* k_transposed_names[] = {"", "conv_transpose1d", "conv_transpose2d",
                                              "conv_transpose3d"};

Tensor conv_nd(int dims, const Tensor& x, const Tensor& weight, const Tensor& bias, DimSpan stride,
               DimSpan padding, DimSpan dilation, int64_t groups) {
  bool added = false;
  const Tensor in = batched(k_names[dims], dims, x, added);
  const Geometry g = geometry_of(weight, stride, padding, dilation, groups);
  const Tensor out = forward(in, weight, bias, g, g.padding);
  return added ? squeeze(out, Dims{0}) : out;
}

Tensor conv_transpose_nd(int dims, const Tensor& x, const Tensor& weight, const Tensor& bias,
                         DimSpan stride, DimSpan padding, DimSpan output_padding, int64_t groups,
                         DimSpan dilation) {
  bool added = false;
  const Tensor in = batched(k_transposed_names[dims], dims, x, added);
  const Geometry g = geometry_of(weight, stride, padding, dilation, groups);
  const Dims behind = expanded(output_padding, "output_padding", g.spatial());
  const Tensor out = transposed(in, weight, bias, g, behind);
  return added ? squeeze(out, Dims{0}) : out;
}

}  // namespace

#define V(n)                                                                                   \
  Tensor conv##n##d(const Tensor& x, const Tensor& weight, const Tensor& bias, DimSpan stride, \
                    DimSpan padding, DimSpan dilation, int64_t groups) {                       \
    return conv_nd(n, x, weight, bias, stride, padding, dilation, groups);                     \
  }                                                                                            \
  Tensor conv_transpose##n##d(const Tensor& x, const Tensor& weight, const Tensor& bias,       \
                              DimSpan stride, DimSpan padding, DimSpan output_padding,         \
                              int64_t groups, DimSpan dilation) {                              \
    return conv_transpose_nd(n, x, weight, bias, stride, padding, output_padding, groups,      \
                             dilation);                                                        \
  }
V(1)
V(2)
V(3)
#undef V

Tensor conv_named_padding(int dims, const Tensor& x, const Tensor& weight, const Tensor& bias,
                          DimSpan stride, const std::string& padding, DimSpan dilation,
                          int64_t groups) {
  bool added = false;
  const Tensor in = batched(k_names[dims], dims, x, added);
  QS_CHECK(padding == "same" || padding == "valid", Error, "Invalid padding string: '{}'", padding);
  Geometry g = geometry_of(weight, stride, Dims{0}, dilation, groups);
  Dims behind = g.padding;
  if (padding == "same") {
    for (int64_t s : g.stride)
      QS_CHECK(s == 1, Error, "padding='same' is not supported for strided convolutions");
    for (int d = 0; d < g.spatial(); ++d) {
      const int64_t total = g.dilation[d] * (weight.size(2 + d) - 1);
      g.padding[d] = total / 2;
      behind[d] = total - g.padding[d];
    }
  }
  const Tensor out = forward(in, weight, bias, g, behind);
  return added ? squeeze(out, Dims{0}) : out;
}

Tensor convolution(const Tensor& x, const Tensor& weight, const Tensor& bias, DimSpan stride,
                   DimSpan padding, DimSpan dilation, bool is_transposed, DimSpan output_padding,
                   int64_t groups) {
  require_defined(x, "convolution");
  const Geometry g = geometry_of(weight, stride, padding, dilation, groups);
  const Dims behind = expanded(output_padding, "output_padding", g.spatial());
  return is_transposed ? transposed(x, weight, bias, g, behind)
                       : forward(x, weight, bias, g, g.padding);
}

namespace autograd {

Tensor conv_of(Op op, const Context& c, const Tensor& a, const Tensor& b, int input) {
  const int spatial = a.dim() - 2;
  SmallVector<uint64_t, 10> attrs;
  for (int i = 0; i < 1 + 3 * spatial; ++i) attrs.push_back(c.attr(i));
  const bool last = op != Op::conv_backward_weight && (is_channels_last(a) || is_channels_last(b));
  return record_conv(op, a, b, {}, Dims(c.shape(input)), attrs, last);
}

Tensor channel_sum(const Tensor& g) {
  Dims dims{0};
  for (int d = 2; d < g.dim(); ++d) dims.push_back(d);
  return sum(g, dims);
}

}  // namespace autograd

}  // namespace qs
