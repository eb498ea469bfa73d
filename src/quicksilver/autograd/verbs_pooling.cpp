// Pooling over the last one to three dimensions. Arguments are checked in PyTorch's order and
// words.
#include <algorithm>
#include <limits>

#include "quicksilver/autograd/apply.h"
#include "quicksilver/core/error.h"

namespace qs {

using namespace autograd;

namespace {

constexpr const char* k_counts[] = {"", "one int", "two ints", "three ints"};
constexpr std::string_view k_letters[] = {"", "W", "HW", "THW"};

bool is_integer_dtype(DType d) { return is_integral(d) && d != DType::bool_; }

/// One number for each of `n` dimensions; `text` is the complaint about any other count.
Dims for_each_dim(DimSpan given, int n, const std::string& text) {
  QS_CHECK(given.size() == 1 || given.size() == static_cast<size_t>(n), Error, "{}", text);
  Dims out;
  for (int d = 0; d < n; ++d)
    out.push_back(given.size() == 1 ? given[0] : given[static_cast<size_t>(d)]);
  return out;
}

/// "kH: 0 kW: 0"
std::string named(const char* prefix, const Dims& values) {
  std::string text;
  for (size_t d = 0; d < values.size(); ++d)
    text += format("{}{}{}: {}", d ? " " : "", prefix, k_letters[values.size()][d], values[d]);
  return text;
}

struct Pool {
  int n = 0;
  Dims kernel, stride, padding, dilation;
  Dims shape;  // of the result
};

/// How many windows there are along one dimension.
int64_t window_count(int64_t in, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation,
                     bool ceil_mode) {
  QS_CHECK(stride != 0, Error, "stride should not be zero");
  QS_CHECK(padding >= 0, Error, "pad must be non-negative, but got pad: {}", padding);
  QS_CHECK(
      padding <= ((kernel - 1) * dilation + 1) / 2, Error,
      "pad should be at most half of effective kernel size, but got pad={}, kernel_size={} and "
      "dilation={}",
      padding, kernel, dilation);
  const int64_t room =
      in + 2 * padding - dilation * (kernel - 1) - 1 + (ceil_mode ? stride - 1 : 0);
  int64_t out = room / stride - (room % stride != 0 && (room < 0) != (stride < 0)) + 1;
  // The last window has to begin inside the input or the padding on its left.
  if (ceil_mode && (out - 1) * stride >= in + padding) --out;
  return out;
}

void check_rank(const Tensor& x, int n) {
  QS_CHECK(x.dim() == n + 1 || x.dim() == n + 2, Error,
           "non-empty {}D or {}D (batch mode) tensor expected for input", n + 1, n + 2);
}

Dims with_spatial(const Tensor& x, const Dims& spatial) {
  Dims shape(x.shape().first(x.shape().size() - spatial.size()));
  for (int64_t s : spatial) shape.push_back(s);
  return shape;
}

/// Sizes of the windows' results, with the checks that all pools share.
void place_windows(const Tensor& x, Pool& p, bool ceil_mode) {
  const auto n = static_cast<size_t>(p.n);
  const int first = x.dim() - p.n;
  Dims spatial;
  for (size_t d = 0; d < n; ++d)
    spatial.push_back(window_count(x.size(first + static_cast<int>(d)), p.kernel[d], p.stride[d],
                                   p.padding[d], p.dilation[d], ceil_mode));
  const auto check = [](const char* what, const char* prefix, const Dims& values) {
    QS_CHECK(std::all_of(values.begin(), values.end(), [](int64_t v) { return v > 0; }), Error,
             "{} should be greater than zero, but got {}", what, named(prefix, values));
  };
  check("kernel size", "k", p.kernel);
  check("stride", "d", p.stride);
  check("dilation", "dilation", p.dilation);
  bool full = x.dim() == p.n + 1 || x.dim() == p.n + 2;
  for (int d = first - 1; d < x.dim(); ++d) full = full && x.size(d) != 0;
  QS_CHECK(full, Error,
           "Expected {}D or {}D (batch mode) tensor with optional 0 dim batch size for input, but "
           "got:{}",
           p.n + 1, p.n + 2, to_string(x.shape()));
  const auto by_x = [](int64_t channels, DimSpan s) {
    std::string text = format("({}", channels);
    for (int64_t v : s) text += format("x{}", v);
    return text + ")";
  };
  const int64_t channels = x.size(first - 1);
  for (int64_t s : spatial)
    QS_CHECK(s >= 1, Error,
             "Given input size: {}. Calculated output size: {}. Output size is too small",
             by_x(channels, x.shape().last(n)), by_x(channels, spatial));
  p.shape = with_spatial(x, spatial);
}

Pool arguments(const char* verb, int n, DimSpan kernel, DimSpan stride, DimSpan padding,
               DimSpan dilation) {
  Pool p;
  p.n = n;
  const char* count = k_counts[n];
  const bool mean3d = n == 3 && dilation.empty();  // avg_pool3d says it in other words
  p.kernel = for_each_dim(kernel, n,
                          format("{}: kernel_size must {}be a single int, or a tuple of {}", verb,
                                 mean3d ? "" : "either ", count));
  p.stride =
      stride.empty()
          ? p.kernel
          : for_each_dim(stride, n,
                         format("{}: stride must {}be omitted, a single int, or a tuple of {}",
                                verb, mean3d ? "" : "either ", count));
  p.padding = for_each_dim(padding, n,
                           format("{}: padding must {}be a single int, or a tuple of {}", verb,
                                  mean3d ? "" : "either ", count));
  p.dilation =
      dilation.empty()
          ? Dims(static_cast<size_t>(n), 1)
          : for_each_dim(
                dilation, n,
                format("{}: dilation must be either a single int, or a tuple of {}", verb, count));
  return p;
}

/// The op with its positions, which name elements of the plane.
std::pair<Tensor, Tensor> record_max(const Tensor& x, const Pool& p, bool adaptive) {
  int64_t plane = 1;
  for (int64_t s : x.shape().last(static_cast<size_t>(p.n))) plane *= s;
  const DType index = plane <= std::numeric_limits<int32_t>::max() ? DType::i32 : DType::i64;
  const ResultSpec spec[] = {{x.dtype(), p.shape}, {index, p.shape}};
  RecordOptions options;
  options.compute = x.dtype();
  options.results = spec;
  SmallVector<uint64_t, 16> attrs;
  attrs.push_back(static_cast<uint64_t>(p.n));
  attrs.push_back(adaptive);
  for (size_t d = 0; d < static_cast<size_t>(p.n); ++d)
    for (const Dims* v : {&p.kernel, &p.stride, &p.padding, &p.dilation})
      attrs.push_back(attr((*v)[d]));
  const Operand in[] = {x};
  Tensor out[2];
  apply_all(Op::max_pool, in, {attrs.data(), attrs.size()}, options, out);
  return {std::move(out[0]), std::move(out[1])};
}

Tensor record_mean(const Tensor& x, const Pool& p, bool adaptive, bool padding_counts,
                   int64_t divisor) {
  const ResultSpec spec[] = {{x.dtype(), p.shape}};
  RecordOptions options;
  options.compute = x.dtype();
  options.results = spec;
  SmallVector<uint64_t, 16> attrs;
  attrs.push_back(static_cast<uint64_t>(p.n));
  attrs.push_back(uint64_t{adaptive} | uint64_t{padding_counts} << 1);
  attrs.push_back(attr(divisor));
  for (size_t d = 0; d < static_cast<size_t>(p.n); ++d)
    for (const Dims* v : {&p.kernel, &p.stride, &p.padding}) attrs.push_back(attr((*v)[d]));
  const Operand in[] = {x};
  return apply(Op::avg_pool, in, {attrs.data(), attrs.size()}, options);
}

std::pair<Tensor, Tensor> max_windows(const char* verb, int n, const Tensor& x, DimSpan kernel,
                                      DimSpan stride, DimSpan padding, DimSpan dilation,
                                      bool ceil_mode) {
  require_defined(x, verb);
  Pool p = arguments(verb, n, kernel, stride, padding, dilation);
  check_rank(x, n);
  place_windows(x, p, ceil_mode);
  QS_CHECK(is_floating(x.dtype()) || is_integer_dtype(x.dtype()), NotImplementedError,
           "\"{}\" not implemented for '{}'", verb, scalar_type_name(x.dtype()));
  return record_max(x, p, false);
}

Tensor mean_windows(const char* verb, int n, const Tensor& x, DimSpan kernel, DimSpan stride,
                    DimSpan padding, bool ceil_mode, bool count_include_pad,
                    std::optional<int64_t> divisor) {
  require_defined(x, verb);
  Pool p = arguments(verb, n, kernel, stride, padding, {});
  QS_CHECK(!divisor || *divisor != 0, Error, "divisor must be not zero");
  if (n == 3) {
    check_rank(x, n);
    bool fits = ceil_mode;
    for (size_t d = 0; d < 3 && !ceil_mode; ++d) {
      QS_CHECK(p.stride[d] != 0, Error, "stride should not be zero");
      fits = x.size(static_cast<int>(d) - 3) + 2 * p.padding[d] >= p.kernel[d];
      if (!fits) break;
    }
    QS_CHECK(fits, Error, "input image (T: {} H: {} W: {}) smaller than kernel size ({})",
             x.size(-3), x.size(-2), x.size(-1), named("k", p.kernel));
  } else {
    (void)x.size(-3);  // raises as PyTorch does when there are too few dimensions
  }
  place_windows(x, p, ceil_mode);
  QS_CHECK(is_floating(x.dtype()) || x.dtype() == DType::i64, NotImplementedError,
           "\"{}\" not implemented for '{}'", n == 3 ? "avg_pool3d_out_frame" : "avg_pool2d",
           scalar_type_name(x.dtype()));
  return record_mean(x, p, false, count_include_pad, divisor.value_or(0));
}

void check_1d(const char* verb, const Tensor& x) {
  require_defined(x, verb);
  QS_CHECK(
      x.dim() == 2 || x.dim() == 3, Error,
      "Expected 2 to 3 dimensions, but got {}-dimensional tensor for argument #1 'self' (while "
      "checking arguments for {})",
      x.dim(), verb);
}

void check_one(const char* verb, const char* argument, DimSpan given) {
  QS_CHECK(given.size() <= 1, Error, "{}() argument '{}' should contain one int (got {})", verb,
           argument, given.size());
}

/// An adaptive pool's result sizes.
Pool adaptive(const Tensor& x, DimSpan output_size) {
  Pool p;
  p.n = static_cast<int>(output_size.size());
  p.shape = with_spatial(x, Dims(output_size));
  for (Dims* v : {&p.kernel, &p.stride, &p.dilation}) *v = Dims(output_size.size(), 1);
  p.padding = Dims(output_size.size(), 0);
  return p;
}

void check_not_empty(const char* verb, const Tensor& x, int from) {
  for (int d = from; d < x.dim(); ++d)
    QS_CHECK(x.size(d) > 0, Error,
             "{}(): Expected input to have non-zero size for non-batch dimensions, but input has "
             "sizes {} with dimension {} being empty",
             verb, to_string(x.shape()), d);
}

/// PyTorch: no dtypes but floating ones.
void check_adaptive_dtype(const char* kernel, const Tensor& x) {
  QS_CHECK(is_floating(x.dtype()), NotImplementedError, "\"{}\" not implemented for '{}'", kernel,
           scalar_type_name(x.dtype()));
}

Tensor adaptive_mean(const char* verb, const Tensor& x, DimSpan size, const char* kernel) {
  const int n = static_cast<int>(size.size());
  bool all_one = true;
  for (int64_t s : size) all_one = all_one && s == 1;
  if (all_one) {
    Dims dims;
    for (int d = 1; d <= n; ++d) dims.push_back(-d);
    return mean(x, dims, true);
  }
  check_not_empty(verb, x, x.dim() - n);
  check_adaptive_dtype(kernel, x);
  return record_mean(x, adaptive(x, size), true, false, 0);
}

std::pair<Tensor, Tensor> adaptive_max(const char* verb, const Tensor& x, DimSpan size,
                                       const char* kernel) {
  const int n = static_cast<int>(size.size());
  QS_CHECK(x.dim() == n + 1 || x.dim() == n + 2, Error,
           "{}(): Expected {}D or {}D tensor, but got: {}", verb, n + 1, n + 2,
           to_string(x.shape()));
  check_not_empty(verb, x, x.dim() - n - 1);
  const Pool p = adaptive(x, size);
  for (int64_t s : size)
    QS_CHECK(s >= 0, Error, "Trying to create tensor with negative dimension {}: {}", s,
             to_string(p.shape));
  check_adaptive_dtype(kernel, x);
  return record_max(x, p, true);
}

std::pair<Tensor, Tensor> with_i64(std::pair<Tensor, Tensor> r) {
  return {std::move(r.first), to(r.second, {}, DType::i64)};
}

}  // namespace

// ---- the largest
std::pair<Tensor, Tensor> max_pool1d_with_indices(const Tensor& x, DimSpan kernel, DimSpan stride,
                                                  DimSpan padding, DimSpan dilation,
                                                  bool ceil_mode) {
  require_defined(x, "max_pool1d");
  const auto one = [](const char* what, const char* text, DimSpan v, int64_t otherwise) {
    QS_CHECK(v.size() <= 1, Error, "max_pool1d() {} must be {} of size 1 but got size {}", what,
             text, v.size());
    return v.empty() ? otherwise : v[0];
  };
  const int64_t k = one("kernel_size", "an int, list of ints or tuple of ints", kernel, 0);
  const int64_t s = one("stride", "None, an int, list of ints, or tuple of ints", stride, k);
  const int64_t p = one("padding", "an int, list of ints, or tuple of ints", padding, 0);
  const int64_t dilated = one("dilation", "an int, list of ints or tuple of ints", dilation, 1);
  QS_CHECK((x.dim() == 2 || x.dim() == 3) && x.size(-1) != 0 && x.size(-2) != 0, Error,
           "max_pool1d: Expected 2D or 3D (batch mode) tensor with optional 0 dim batch size for "
           "input, but got:{}",
           to_string(x.shape()));
  QS_CHECK(k > 0, Error, "max_pool1d() kernel_size must be greater than zero, but got {}", k);
  QS_CHECK(s > 0, Error, "max_pool1d() stride must be greater than zero, but got {}", s);
  QS_CHECK(p >= 0, Error, "max_pool1d() padding must be non-negative, but got {}", p);
  QS_CHECK(p <= k / 2, Error,
           "max_pool1d() padding should be at most half of kernel size, but got padding={} and "
           "kernel_size={}",
           p, k);
  QS_CHECK(dilated > 0, Error, "max_pool1d() dilation must be greater than zero, but got {}",
           dilated);
  Pool pool;
  pool.n = 1;
  pool.kernel = {k};
  pool.stride = {s};
  pool.padding = {p};
  pool.dilation = {dilated};
  const int64_t out = window_count(x.size(-1), k, s, p, dilated, ceil_mode);
  QS_CHECK(out > 0, Error, "max_pool1d() Invalid computed output size: {}", out);
  QS_CHECK(is_floating(x.dtype()), NotImplementedError,
           "\"max_pool1d_impl\" not implemented for '{}'", scalar_type_name(x.dtype()));
  pool.shape = with_spatial(x, Dims{out});
  return record_max(x, pool, false);
}

std::pair<Tensor, Tensor> max_pool2d_with_indices(const Tensor& x, DimSpan kernel, DimSpan stride,
                                                  DimSpan padding, DimSpan dilation,
                                                  bool ceil_mode) {
  return max_windows("max_pool2d", 2, x, kernel, stride, padding, dilation, ceil_mode);
}

std::pair<Tensor, Tensor> max_pool3d_with_indices(const Tensor& x, DimSpan kernel, DimSpan stride,
                                                  DimSpan padding, DimSpan dilation,
                                                  bool ceil_mode) {
  return max_windows("max_pool3d", 3, x, kernel, stride, padding, dilation, ceil_mode);
}

// clang-format off
#define QS_MAX_POOL(verb)                                                                          \
  Tensor verb(const Tensor& x, DimSpan kernel, DimSpan stride, DimSpan padding, DimSpan dilation,  \
              bool ceil_mode) {                                                                    \
    return verb##_with_indices(x, kernel, stride, padding, dilation, ceil_mode).first;             \
  }
QS_MAX_POOL(max_pool1d)
QS_MAX_POOL(max_pool2d)
QS_MAX_POOL(max_pool3d)
#undef QS_MAX_POOL
// clang-format on

// ---- the mean
Tensor avg_pool1d(const Tensor& x, DimSpan kernel, DimSpan stride, DimSpan padding, bool ceil_mode,
                  bool count_include_pad) {
  check_1d("avg_pool1d", x);
  check_one("avg_pool1d", "kernel_size", kernel);
  check_one("avg_pool1d", "stride", stride);
  check_one("avg_pool1d", "padding", padding);
  // As PyTorch does, over [.., 1, L]: the messages are those of two dimensions.
  const auto pair = [](int64_t first, DimSpan v) { return v.empty() ? Dims{} : Dims{first, v[0]}; };
  return squeeze(mean_windows("avg_pool2d", 2, unsqueeze(x, -2), pair(1, kernel), pair(1, stride),
                              pair(0, padding), ceil_mode, count_include_pad, {}),
                 Dims{-2});
}

Tensor avg_pool2d(const Tensor& x, DimSpan kernel, DimSpan stride, DimSpan padding, bool ceil_mode,
                  bool count_include_pad, std::optional<int64_t> divisor_override) {
  return mean_windows("avg_pool2d", 2, x, kernel, stride, padding, ceil_mode, count_include_pad,
                      divisor_override);
}

Tensor avg_pool3d(const Tensor& x, DimSpan kernel, DimSpan stride, DimSpan padding, bool ceil_mode,
                  bool count_include_pad, std::optional<int64_t> divisor_override) {
  return mean_windows("avg_pool3d", 3, x, kernel, stride, padding, ceil_mode, count_include_pad,
                      divisor_override);
}

// ---- adaptive
Tensor adaptive_avg_pool1d(const Tensor& x, DimSpan output_size) {
  check_1d("adaptive_avg_pool1d", x);
  check_one("adaptive_avg_pool1d", "output_size", output_size);
  return squeeze(adaptive_avg_pool2d(unsqueeze(x, -2), Dims{1, output_size[0]}), Dims{-2});
}

Tensor adaptive_avg_pool2d(const Tensor& x, DimSpan output_size) {
  require_defined(x, "adaptive_avg_pool2d");
  QS_CHECK(output_size.size() == 2, Error, "adaptive_avg_pool2d: output_size must be 2");
  QS_CHECK(output_size[0] >= 0 && output_size[1] >= 0, Error,
           "adaptive_avg_pool2d: elements of output_size must be greater than or equal to 0 but "
           "received {{{}, {}}}",
           output_size[0], output_size[1]);
  const bool ones = output_size[0] == 1 && output_size[1] == 1;
  QS_CHECK(ones || x.dim() == 3 || x.dim() == 4, Error,
           "adaptive_avg_pool2d(): Expected 3D or 4D tensor, but got {}", to_string(x.shape()));
  return adaptive_mean("adaptive_avg_pool2d", x, output_size, "adaptive_avg_pool2d");
}

Tensor adaptive_avg_pool3d(const Tensor& x, DimSpan output_size) {
  require_defined(x, "adaptive_avg_pool3d");
  QS_CHECK(output_size.size() == 3, Error, "adaptive_avg_pool3d: output_size must be 3");
  QS_CHECK(output_size[0] >= 0 && output_size[1] >= 0 && output_size[2] >= 0, Error,
           "adaptive_avg_pool3d: elements of output_size must be greater than or equal to 0 but "
           "received {{{}, {},{}}}",
           output_size[0], output_size[1], output_size[2]);
  const bool ones = output_size[0] == 1 && output_size[1] == 1 && output_size[2] == 1;
  QS_CHECK(ones || x.dim() == 4 || x.dim() == 5, Error,
           "adaptive_avg_pool3d(): Expected 4D or 5D tensor, but got {}", to_string(x.shape()));
  return adaptive_mean("adaptive_avg_pool3d", x, output_size, "adaptive_avg_pool3d_cpu");
}

std::pair<Tensor, Tensor> adaptive_max_pool1d(const Tensor& x, DimSpan output_size) {
  check_1d("adaptive_max_pool1d", x);
  check_one("adaptive_max_pool1d", "output_size", output_size);
  auto [values, indices] = adaptive_max("adaptive_max_pool2d", unsqueeze(x, -2),
                                        Dims{1, output_size[0]}, "adaptive_max_pool2d");
  return with_i64({squeeze(values, Dims{-2}), squeeze(indices, Dims{-2})});
}

std::pair<Tensor, Tensor> adaptive_max_pool2d(const Tensor& x, DimSpan output_size) {
  require_defined(x, "adaptive_max_pool2d");
  QS_CHECK(output_size.size() == 2, Error,
           "adaptive_max_pool2d(): internal error: output_size.size() must be 2");
  return with_i64(adaptive_max("adaptive_max_pool2d", x, output_size, "adaptive_max_pool2d"));
}

std::pair<Tensor, Tensor> adaptive_max_pool3d(const Tensor& x, DimSpan output_size) {
  require_defined(x, "adaptive_max_pool3d");
  QS_CHECK(output_size.size() == 3, Error,
           "adaptive_max_pool3d(): internal error: output_size.size() must be 3");
  return with_i64(adaptive_max("adaptive_max_pool3d", x, output_size, "adaptive_max_pool3d_cpu"));
}

// ---- back to the places that max_pool names
Tensor max_unpool(const Tensor& x, const Tensor& indices, DimSpan output_size) {
  const int n = static_cast<int>(output_size.size());
  require_defined(x, "max_unpool");
  require_defined(indices, "max_unpool");
  QS_CHECK(indices.dtype() == DType::i64, Error,
           "elements in indices should be type int64 but got: {}",
           scalar_type_name(indices.dtype()));
  QS_CHECK(x.dim() == n + 1 || x.dim() == n + 2, Error,
           "Input to max_unpooling{}d should be a {}d or {}d Tensor, but got a tensor with {} "
           "dimensions.",
           n, n + 1, n + 2, x.dim());
  QS_CHECK(Dims(x.shape()) == Dims(indices.shape()), Error,
           "Expected shape of indices to be same as that of the input tensor ({}) but got indices "
           "tensor with shape: {}",
           to_string(x.shape()), to_string(indices.shape()));
  check_adaptive_dtype(format("max_unpool{}d", n).c_str(), x);
  const Dims shape = with_spatial(x, Dims(output_size));
  const auto flat = [&](DimSpan s) {
    Dims rows(s.first(s.size() - static_cast<size_t>(n)));
    int64_t plane = 1;
    for (int64_t v : s.last(static_cast<size_t>(n))) plane *= v;
    rows.push_back(plane);
    return rows;
  };
  const Dims planes = flat(shape);
  const Tensor nothing = zeros(planes, Options(x.dtype(), x.device()));
  // scatter lets -1 name the last element; here it is as wrong as any number outside.
  const Tensor index = reshape(indices, flat(indices.shape()));
  const Tensor checked = where(lt(index, 0), planes.back(), index);
  return reshape(scatter(nothing, -1, checked, reshape(x, flat(x.shape()))), shape);
}

}  // namespace qs
