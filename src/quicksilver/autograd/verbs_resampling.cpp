// Resizing, padding, blocks: verbs that lay the elements of the last dimensions out anew.
#include <algorithm>
#include <cmath>

#include "quicksilver/autograd/apply.h"
#include "quicksilver/core/error.h"

namespace qs {

using namespace autograd;

namespace {

// Values of kernels::Resampling.
enum Mode : uint64_t {
  nearest,
  nearest_exact,
  linear_,
  cubic,
  reflect,
  replicate,
  circular,
  lanczos
};

Dims with_spatial(const Tensor& x, DimSpan spatial) {
  Dims shape(x.shape().first(x.shape().size() - spatial.size()));
  for (int64_t s : spatial) shape.push_back(s);
  return shape;
}

/// attrs after mode and flags: a scale and a padding for each dimension.
Tensor record_resample(const Tensor& x, DimSpan size, Mode mode, uint64_t flags,
                       std::span<const double> scales, DimSpan padding) {
  const ResultSpec spec[] = {{x.dtype(), with_spatial(x, size)}};
  RecordOptions options;
  options.compute = x.dtype();
  options.results = spec;
  SmallVector<uint64_t, 16> attrs;
  attrs.push_back(size.size());
  attrs.push_back(mode);
  attrs.push_back(flags);
  for (size_t d = 0; d < size.size(); ++d) {
    attrs.push_back(attr(scales.empty() ? 0.0 : scales[d]));
    attrs.push_back(padding.empty() ? 0 : attr(padding[d]));
  }
  const Operand in[] = {x};
  return apply(Op::resample, in, {attrs.data(), attrs.size()}, options);
}

struct ModeName {
  std::string_view name;
  Mode mode;
  int spatial;  // 0: any
};
constexpr ModeName k_modes[] = {{"nearest", nearest, 0},   {"nearest-exact", nearest_exact, 0},
                                {"linear", linear_, 1},    {"bilinear", linear_, 2},
                                {"trilinear", linear_, 3}, {"bicubic", cubic, 2},
                                {"lanczos", lanczos, 2}};

std::string extents_text(DimSpan sizes) {
  constexpr std::string_view letters[] = {"", "W", "HW", "DHW"};
  std::string text;
  for (size_t d = 0; d < sizes.size(); ++d)
    text += format("{}{}: {}", d ? ", " : "", letters[sizes.size()][d], sizes[d]);
  return text;
}

}  // namespace

Tensor interpolate(const Tensor& x, DimSpan size, const std::string& mode, bool align_corners,
                   bool antialias, const std::vector<double>& scale_factors) {
  require_defined(x, "interpolate");
  const auto* row = std::find_if(std::begin(k_modes), std::end(k_modes),
                                 [&](const ModeName& m) { return m.name == mode; });
  QS_CHECK(row != std::end(k_modes), NotImplementedError, "interpolate: unknown mode {}", mode);
  const size_t n = size.size();
  QS_CHECK(n >= 1 && n <= 3 && static_cast<size_t>(x.dim()) == n + 2 &&
               (row->spatial == 0 || static_cast<size_t>(row->spatial) == n),
           Error, "interpolate: mode {} does not take an input of size {} and {} sizes", mode,
           to_string(x.shape()), n);
  bool positive = true;
  for (size_t d = 0; d < n; ++d) positive = positive && size[d] > 0 && x.shape()[d + 2] > 0;
  QS_CHECK(positive, Error,
           "Input and output sizes should be greater than 0, but got input ({}) output ({})",
           extents_text(x.shape().last(n)), extents_text(size));
  QS_CHECK(x.size(1) > 0, Error,
           "Non-empty {}D data tensor expected but got a tensor with sizes {}", n + 2,
           to_string(x.shape()));
  const bool picks = row->mode == nearest || row->mode == nearest_exact;
  QS_CHECK(is_floating(x.dtype()) || (x.dtype() == DType::u8 && (picks || n == 2)),
           NotImplementedError, "\"{}\" not implemented for '{}'",
           picks    ? format("upsample_nearest{}d_channels_last", n)
           : n == 2 ? "upsample_bilinear2d_channels_last"
                    : "compute_indices_weights_linear",
           scalar_type_name(x.dtype()));
  const bool corners = align_corners && !picks;
  return record_resample(x, size, row->mode, uint64_t{corners} | uint64_t{antialias} << 1,
                         scale_factors, {});
}

// ---- padding
namespace {

/// (left, right) of each dimension from the last on, as PyTorch takes them.
struct Padding {
  size_t n;                   // dimensions
  Dims before, after, shape;  // outermost first; shape: the whole result
};

Padding read_padding(const Tensor& x, DimSpan given) {
  QS_CHECK(given.size() % 2 == 0, Error, "Padding length must be divisible by 2");
  Padding p;
  p.n = given.size() / 2;
  QS_CHECK(p.n <= static_cast<size_t>(x.dim()), Error, "Padding length too large");
  p.shape = Dims(x.shape());
  for (size_t k = 0; k < p.n; ++k) {
    const size_t from = 2 * (p.n - 1 - k);
    p.before.push_back(given[from]);
    p.after.push_back(given[from + 1]);
    p.shape[p.shape.size() - p.n + k] += given[from] + given[from + 1];
  }
  return p;
}

/// Without what negative padding cuts off, and with the copy's place in the result.
Tensor pad_constant(const Tensor& x, const Padding& p, const Scalar& value) {
  const int first = x.dim() - static_cast<int>(p.n);
  Tensor cut = x;
  for (size_t k = 0; k < p.n; ++k) {
    const int d = first + static_cast<int>(k);
    QS_CHECK(p.shape[static_cast<size_t>(d)] >= 0, Error,
             "The input size {}, plus negative padding {} and {}, resulted in a negative output "
             "size, which is invalid. Check dimension {} of your input.",
             x.size(d), p.before[k], p.after[k], d);
    const int64_t start = std::max<int64_t>(-p.before[k], 0);
    const int64_t left = x.size(d) - start - std::max<int64_t>(-p.after[k], 0);
    if (left != x.size(d))
      cut = narrow(cut, d, std::min(start, x.size(d)), std::max<int64_t>(left, 0));
  }
  const auto none = [](const Dims& sides) {
    return std::all_of(sides.begin(), sides.end(), [](int64_t n) { return n <= 0; });
  };
  if (none(p.before) && none(p.after)) return clone(cut);
  Tensor out;
  {
    const NoGrad guard;
    out = full(p.shape, value, Options(x.dtype(), x.device()));
    Tensor inside = out;
    for (size_t k = 0; k < p.n; ++k) {
      const int d = first + static_cast<int>(k);
      inside = narrow(inside, d,
                      std::min(std::max<int64_t>(p.before[k], 0), p.shape[static_cast<size_t>(d)]),
                      cut.size(d));
    }
    copy_(inside, cut);
  }
  with_gradient_of("ConstantPadNd", cut, out,
                   [before = p.before, first, shape = Dims(cut.shape())](const Tensor& g) {
                     Tensor inside = g;
                     for (size_t k = 0; k < before.size(); ++k) {
                       const int d = first + static_cast<int>(k);
                       inside = narrow(inside, d, std::max<int64_t>(before[k], 0),
                                       shape[static_cast<size_t>(d)]);
                     }
                     return contiguous(inside);
                   });
  return out;
}

Tensor pad_inside(const Tensor& x, const Padding& p, Mode mode) {
  const int rank = x.dim(), first = rank - static_cast<int>(p.n);
  const int spatial = static_cast<int>(p.n);
  bool full = true;
  for (int d = rank - spatial - 1; d < rank; ++d) full = full && x.size(d) != 0;
  if (mode != circular) {
    QS_CHECK(
        full, Error,
        "Expected {}D or {}D (batch mode) tensor with possibly 0 batch size and other non-zero "
        "dimensions for input, but got: {}",
        spatial + 1, spatial + 2, to_string(x.shape()));
    QS_CHECK(x.dtype() != DType::bool_, NotImplementedError,
             "\"{}_pad{}d\" not implemented for 'Bool'",
             mode == reflect ? "reflection" : "replication", spatial);
  }
  for (size_t k = 0; k < p.n; ++k) {
    const int d = first + static_cast<int>(k);
    const int64_t in = x.size(d), before = p.before[k], after = p.after[k];
    QS_CHECK(
        mode != reflect || (before < in && after < in), Error,
        "Argument #{}: Padding size should be less than the corresponding input dimension, but "
        "got: padding ({}, {}) at dimension {} of input {}",
        2 * (p.n - k) + 2, before, after, d, to_string(x.shape()));
    QS_CHECK(mode != circular || (before <= in && after <= in), Error,
             "Padding value causes wrapping around more than once.");
    QS_CHECK(mode != circular || p.shape[static_cast<size_t>(d)] >= 0, Error,
             "Negative padding value is resulting in an empty dimension");
    QS_CHECK(p.shape[static_cast<size_t>(d)] >= 0, Error,
             "Trying to create tensor with negative dimension {}: {}",
             p.shape[static_cast<size_t>(d)], to_string(p.shape));
  }
  Tensor from = x;
  Dims before = p.before;
  if (mode == circular)  // what is cut off does not come round again
    for (size_t k = 0; k < p.n; ++k) {
      const int d = first + static_cast<int>(k);
      const int64_t start = std::max<int64_t>(-before[k], 0);
      const int64_t left = x.size(d) - start - std::max<int64_t>(-p.after[k], 0);
      if (left != x.size(d)) from = narrow(from, d, start, left);
      before[k] = std::max<int64_t>(before[k], 0);
    }
  return record_resample(from, DimSpan(p.shape).last(p.n), mode, 0, {}, before);
}

}  // namespace

Tensor pad(const Tensor& x, DimSpan padding, const std::string& mode, std::optional<Scalar> value) {
  require_defined(x, "pad");
  const Padding p = read_padding(x, padding);
  if (mode == "constant") return pad_constant(x, p, value.value_or(Scalar(0)));
  QS_CHECK(!value || value->to_double() == 0, Error,
           "Padding mode \"{}\" doesn't take in value argument", mode);
  const Mode how = mode == "reflect" ? reflect : mode == "replicate" ? replicate : circular;
  const size_t rank = static_cast<size_t>(x.dim());
  const bool fits = p.n >= 1 && p.n <= 3 && (rank == p.n + 1 || rank == p.n + 2);
  QS_CHECK(!fits || mode == "reflect" || mode == "replicate" || mode == "circular",
           NotImplementedError, "Unrecognised padding mode {}", mode);
  QS_CHECK(fits, NotImplementedError, "Padding size {} is not supported for {}D input tensor.",
           padding.size(), rank);
  return pad_inside(x, p, how);
}

// ---- blocks
namespace {

void check_pairs(const char* verb, std::initializer_list<std::pair<const char*, DimSpan>> given) {
  for (const auto& [name, v] : given)
    QS_CHECK(v.size() == 2, Error, "It is expected {} equals to 2, but got size {}", name,
             v.size());
  (void)verb;
}

int64_t blocks(int64_t in, int64_t size, int64_t dilation, int64_t padding, int64_t stride) {
  const int64_t room = in + 2 * padding - dilation * (size - 1) - 1;
  return room < 0 ? 0 : room / stride + 1;
}

void check_blocks(DimSpan kernel, DimSpan dilation, DimSpan padding, DimSpan stride) {
  QS_CHECK(kernel[0] > 0 && kernel[1] > 0, Error,
           "kernel size should be greater than zero, but got kernel_height: {} kernel_width: {}",
           kernel[0], kernel[1]);
  QS_CHECK(dilation[0] > 0 && dilation[1] > 0, Error,
           "dilation should be greater than zero, but got dilation_height: {} dilation_width: {}",
           dilation[0], dilation[1]);
  QS_CHECK(padding[0] >= 0 && padding[1] >= 0, Error,
           "padding should be non-negative, but got pad_height: {} pad_width: {}", padding[0],
           padding[1]);
  QS_CHECK(stride[0] > 0 && stride[1] > 0, Error,
           "stride should be greater than zero, but got stride_height: {} stride_width: {}",
           stride[0], stride[1]);
}

}  // namespace

Tensor im2col(const Tensor& x, DimSpan kernel, DimSpan dilation, DimSpan padding, DimSpan stride) {
  require_defined(x, "im2col");
  check_pairs(
      "im2col",
      {{"kernel_size", kernel}, {"dilation", dilation}, {"padding", padding}, {"stride", stride}});
  check_blocks(kernel, dilation, padding, stride);
  const int rank = x.dim();
  QS_CHECK((rank == 3 || rank == 4) && x.size(-1) && x.size(-2) && x.size(-3), Error,
           "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero "
           "dimensions for input, but got: {}",
           to_string(x.shape()));
  if (rank == 3)
    return squeeze(im2col(unsqueeze(x, 0), kernel, dilation, padding, stride), Dims{0});
  int64_t count[2];
  for (size_t d = 0; d < 2; ++d)
    count[d] = blocks(x.shape()[d + 2], kernel[d], dilation[d], padding[d], stride[d]);
  QS_CHECK(count[0] >= 1 && count[1] >= 1, Error,
           "Given input with spatial size ({}, {}), kernel_size=({}, {}), dilation=({}, {}), "
           "padding=({}, {}), calculated shape of the array of sliding blocks as ({}, {}), but its "
           "components must be at least one.",
           x.size(2), x.size(3), kernel[0], kernel[1], dilation[0], dilation[1], padding[0],
           padding[1], count[0], count[1]);
  Tensor out;
  {
    const NoGrad guard;
    const Tensor whole =
        padding[0] || padding[1]
            ? pad(x, Dims{padding[1], padding[1], padding[0], padding[0]}, "constant", {})
            : x;
    const Layout& l = whole.layout();
    Layout view;
    view.offset = l.offset;
    view.shape = {l.shape[0], l.shape[1], kernel[0], kernel[1], count[0], count[1]};
    view.strides = {l.strides[0],
                    l.strides[1],
                    l.strides[2] * dilation[0],
                    l.strides[3] * dilation[1],
                    l.strides[2] * stride[0],
                    l.strides[3] * stride[1]};
    out = reshape(row_major_copy(make_view(whole, std::move(view))),
                  Dims{x.size(0), x.size(1) * kernel[0] * kernel[1], count[0] * count[1]});
  }
  with_gradient_of(
      "Im2Col", x, out,
      [size = Dims(x.shape().last(2)), k = Dims(kernel), d = Dims(dilation), p = Dims(padding),
       s = Dims(stride)](const Tensor& g) { return col2im(g, size, k, d, p, s); });
  return out;
}

Tensor col2im(const Tensor& x, DimSpan output_size, DimSpan kernel, DimSpan dilation,
              DimSpan padding, DimSpan stride) {
  require_defined(x, "col2im");
  check_pairs("col2im", {{"output_size", output_size},
                         {"kernel_size", kernel},
                         {"dilation", dilation},
                         {"padding", padding},
                         {"stride", stride}});
  check_blocks(kernel, dilation, padding, stride);
  const int rank = x.dim();
  QS_CHECK(
      (rank == 2 || rank == 3) && x.size(-1) && x.size(-2), Error,
      "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero "
      "dimensions for input, but got: {}",
      to_string(x.shape()));
  const int64_t block = kernel[0] * kernel[1];
  QS_CHECK(
      x.size(-2) % block == 0, Error,
      "Expected size of input's dimension 1 to be divisible by the product of kernel_size, but "
      "got input.size(1)={} and kernel_size=({}, {}).",
      x.size(-2), kernel[0], kernel[1]);
  int64_t count[2];
  for (size_t d = 0; d < 2; ++d)
    count[d] = blocks(output_size[d], kernel[d], dilation[d], padding[d], stride[d]);
  QS_CHECK(
      x.size(-1) == count[0] * count[1], Error,
      "Given output_size=({}, {}), kernel_size=({}, {}), dilation=({}, {}), padding=({}, {}), "
      "stride=({}, {}), expected size of input's dimension 2 to match the calculated number of "
      "sliding blocks {} * {} = {}, but got input.size(2)={}.",
      output_size[0], output_size[1], kernel[0], kernel[1], dilation[0], dilation[1], padding[0],
      padding[1], stride[0], stride[1], count[0], count[1], count[0] * count[1], x.size(-1));
  QS_CHECK(is_floating(x.dtype()), NotImplementedError,
           "\"col2im_out_cpu\" not implemented for '{}'", scalar_type_name(x.dtype()));
  if (rank == 2)
    return squeeze(col2im(unsqueeze(x, 0), output_size, kernel, dilation, padding, stride),
                   Dims{0});
  const ResultSpec spec[] = {
      {x.dtype(), Dims{x.size(0), x.size(1) / block, output_size[0], output_size[1]}}};
  RecordOptions options;
  options.compute = x.dtype();
  options.results = spec;
  uint64_t attrs[8];
  size_t i = 0;
  for (DimSpan v : {kernel, dilation, padding, stride})
    for (size_t d = 0; d < 2; ++d) attrs[i++] = attr(v[d]);
  const Operand in[] = {x};
  return apply(Op::col2im, in, attrs, options);
}

// ---- channels to pixels and back
Tensor pixel_shuffle(const Tensor& x, int64_t upscale_factor) {
  require_defined(x, "pixel_shuffle");
  const int64_t r = upscale_factor;
  QS_CHECK(x.dim() >= 3, Error,
           "pixel_shuffle expects input to have at least 3 dimensions, but got input with {} "
           "dimension(s)",
           x.dim());
  QS_CHECK(r > 0, Error, "pixel_shuffle expects a positive upscale_factor, but got {}", r);
  QS_CHECK(x.size(-3) % (r * r) == 0, Error,
           "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of "
           "upscale_factor, but input.size(-3)={} is not divisible by {}",
           x.size(-3), r * r);
  const int64_t c = x.size(-3) / (r * r), h = x.size(-2), w = x.size(-1);
  Dims lead(x.shape().first(x.shape().size() - 3));
  int64_t n = 1;
  for (int64_t s : lead) n *= s;
  const Tensor parts = permute(reshape(x, Dims{n, c, r, r, h, w}), Dims{0, 1, 4, 2, 5, 3});
  for (int64_t s : {c, h * r, w * r}) lead.push_back(s);
  return reshape(parts, lead);
}

Tensor pixel_unshuffle(const Tensor& x, int64_t downscale_factor) {
  require_defined(x, "pixel_unshuffle");
  const int64_t r = downscale_factor;
  QS_CHECK(x.dim() >= 3, Error,
           "pixel_unshuffle expects input to have at least 3 dimensions, but got input with {} "
           "dimension(s)",
           x.dim());
  QS_CHECK(r > 0, Error, "pixel_unshuffle expects a positive downscale_factor, but got {}", r);
  QS_CHECK(x.size(-2) % r == 0, Error,
           "pixel_unshuffle expects height to be divisible by downscale_factor, but "
           "input.size(-2)={} is not divisible by {}",
           x.size(-2), r);
  QS_CHECK(x.size(-1) % r == 0, Error,
           "pixel_unshuffle expects width to be divisible by downscale_factor, but "
           "input.size(-1)={} is not divisible by {}",
           x.size(-1), r);
  const int64_t c = x.size(-3), h = x.size(-2) / r, w = x.size(-1) / r;
  Dims lead(x.shape().first(x.shape().size() - 3));
  int64_t n = 1;
  for (int64_t s : lead) n *= s;
  const Tensor parts = permute(reshape(x, Dims{n, c, h, r, w, r}), Dims{0, 1, 3, 5, 2, 4});
  for (int64_t s : {c * r * r, h, w}) lead.push_back(s);
  return reshape(parts, lead);
}

Tensor channel_shuffle(const Tensor& x, int64_t groups) {
  require_defined(x, "channel_shuffle");
  QS_CHECK(x.dim() > 2, Error,
           "channel_shuffle expects input with > 2 dims, but got input with sizes {}",
           to_string(x.shape()));
  const int64_t c = x.size(1);
  QS_CHECK(groups > 0, Error,
           "Number of groups to divide channels in must be positive. Value of groups:{}", groups);
  QS_CHECK(c % groups == 0, Error,
           "Number of channels must be divisible by groups. Got {} channels and {} groups.", c,
           groups);
  const Tensor split = unflatten(x, 1, Dims{groups, c / groups});
  return reshape(transpose(split, 1, 2), x.shape());
}

}  // namespace qs
