// The public verbs: every differentiable function on tensors, PyTorch's names and meanings. Each
// checks its arguments, records its op (tensor/record.h) and, when an input wants a gradient, a
// gradient node.
//
// Elementwise verbs come in the families below from one list each (add a name there, its row in
// graph/ops.def and its gradient row in autograd/gradients.def). In-place forms end in an
// underscore and return their first argument. Numbers as operands are launch arguments: changing
// them makes no new plan.
#pragma once
#include <array>
#include <span>
#include <string>
#include <vector>

#include "quicksilver/tensor/record.h"
#include "quicksilver/tensor/tensor.h"

namespace qs {

using TensorList = std::vector<Tensor>;
using OptionalDims = std::optional<Dims>;  // absent: all dimensions

// clang-format off
// ---- elementwise: T name(x), T name_(x) ---------------------------------------------------------
#define QS_UNARY_VERBS(V)                                                                          \
  V(neg) V(abs) V(sign) V(square) V(floor) V(ceil) V(trunc) V(round) V(frac) V(relu) V(sqrt)       \
  V(rsqrt) V(reciprocal) V(exp) V(exp2) V(expm1) V(log) V(log2) V(log10) V(log1p) V(sin) V(cos)    \
  V(tan) V(asin) V(acos) V(atan) V(sinh) V(cosh) V(asinh) V(acosh) V(atanh) V(tanh) V(sigmoid)     \
  V(erf) V(erfc) V(erfinv) V(lgamma) V(digamma) V(sinc) V(i0) V(silu) V(logical_not)               \
  V(bitwise_not)
// What nn.functional has and Tensor has not.
#define QS_ACTIVATION_VERBS(V) V(hardsigmoid) V(hardswish) V(mish) V(selu)
// torch.special's, under its names.
#define QS_SPECIAL_VERBS(V)                                                                        \
  V(special_i0e) V(special_i1) V(special_i1e) V(special_erfcx) V(special_ndtri) V(special_ndtr)    \
  V(special_log_ndtr) V(special_entr) V(special_bessel_j0) V(special_bessel_j1)                    \
  V(special_bessel_y0) V(special_bessel_y1) V(special_spherical_bessel_j0)                         \
  V(special_modified_bessel_k0) V(special_modified_bessel_k1)                                      \
  V(special_scaled_modified_bessel_k0) V(special_scaled_modified_bessel_k1)
#define QS_SPECIAL_BINARY_VERBS(V) V(special_xlog1py) V(special_zeta)
// Without an in-place form.
#define QS_TEST_VERBS(V) V(isposinf) V(isneginf) V(isnan) V(isinf) V(isfinite) V(signbit)
// ---- elementwise: T name(x, y), T name_(x, y); either may be a number, not both ------------------
#define QS_BINARY_VERBS(V)                                                                         \
  V(mul) V(maximum) V(minimum) V(fmax) V(fmin) V(pow) V(floor_divide) V(remainder) V(fmod)         \
  V(atan2) V(hypot) V(copysign) V(nextafter) V(eq) V(ne) V(lt) V(le) V(gt) V(ge) V(logical_and)    \
  V(logical_or) V(logical_xor) V(bitwise_and) V(bitwise_or) V(bitwise_xor) V(bitwise_left_shift)   \
  V(bitwise_right_shift) V(logaddexp) V(logaddexp2) V(xlogy) V(heaviside) V(gcd) V(lcm) V(igamma)  \
  V(igammac)
// clang-format on
#define V(name)                        \
  QS_API Tensor name(const Tensor& x); \
  QS_API const Tensor& name##_(const Tensor& x);
QS_UNARY_VERBS(V)
QS_ACTIVATION_VERBS(V)
#undef V
#define V(name) QS_API Tensor name(const Tensor& x);
QS_TEST_VERBS(V)
QS_SPECIAL_VERBS(V)
#undef V
#define V(name) QS_API Tensor name(const Operand& x, const Operand& y);
QS_SPECIAL_BINARY_VERBS(V)
#undef V
#define V(name)                                           \
  QS_API Tensor name(const Operand& x, const Operand& y); \
  QS_API const Tensor& name##_(const Tensor& x, const Operand& y);
QS_BINARY_VERBS(V)
#undef V
QS_API Tensor add(const Operand& x, const Operand& y, Scalar alpha = 1);
QS_API const Tensor& add_(const Tensor& x, const Operand& y, Scalar alpha = 1);
QS_API Tensor sub(const Operand& x, const Operand& y, Scalar alpha = 1);
QS_API const Tensor& sub_(const Tensor& x, const Operand& y, Scalar alpha = 1);
QS_API Tensor rsub(const Tensor& x, const Operand& y, Scalar alpha = 1);
/// `rounding_mode`: "" (true division), "trunc" or "floor".
QS_API Tensor div(const Operand& x, const Operand& y, const std::string& rounding_mode = "");
QS_API const Tensor& div_(const Tensor& x, const Operand& y, const std::string& rounding_mode = "");
QS_API Tensor where(const Tensor& condition, const Operand& x, const Operand& y);
QS_API Tensor clamp(const Tensor& x, const Operand& min, const Operand& max);
/// clamp whose gradient is 0 at the bounds themselves, as PyTorch's hardtanh and relu6 have it.
QS_API Tensor hardtanh(const Tensor& x, Scalar min, Scalar max);
QS_API const Tensor& clamp_(const Tensor& x, const Operand& min, const Operand& max);
QS_API Tensor lerp(const Tensor& x, const Tensor& end, const Operand& weight);
QS_API const Tensor& lerp_(const Tensor& x, const Tensor& end, const Operand& weight);
QS_API Tensor addcmul(const Tensor& x, const Tensor& a, const Tensor& b, Scalar value = 1);
QS_API const Tensor& addcmul_(const Tensor& x, const Tensor& a, const Tensor& b, Scalar value = 1);
QS_API Tensor addcdiv(const Tensor& x, const Tensor& a, const Tensor& b, Scalar value = 1);
QS_API const Tensor& addcdiv_(const Tensor& x, const Tensor& a, const Tensor& b, Scalar value = 1);
QS_API Tensor masked_fill(const Tensor& x, const Tensor& mask, const Operand& value);
QS_API const Tensor& masked_fill_(const Tensor& x, const Tensor& mask, const Operand& value);
QS_API Tensor gelu(const Tensor& x, const std::string& approximate = "none");
QS_API Tensor leaky_relu(const Tensor& x, double negative_slope = 0.01);
QS_API Tensor elu(const Tensor& x, double alpha = 1.0);
QS_API Tensor softplus(const Tensor& x, double beta = 1.0, double threshold = 20.0);
QS_API Tensor log_sigmoid(const Tensor& x);
QS_API Tensor celu(const Tensor& x, double alpha = 1.0);
QS_API Tensor softshrink(const Tensor& x, double lambd = 0.5);
QS_API Tensor hardshrink(const Tensor& x, double lambd = 0.5);
QS_API Tensor threshold(const Tensor& x, Scalar threshold, Scalar value);
/// x where positive, else weight * x; the weight broadcasts.
QS_API Tensor prelu_kernel(const Tensor& x, const Tensor& weight);
/// `nan`, `posinf` and `neginf` default to 0 and the ends of the dtype's range.
QS_API Tensor nan_to_num(const Tensor& x, std::optional<double> nan = {},
                         std::optional<double> posinf = {}, std::optional<double> neginf = {});
QS_API Tensor polygamma(int64_t n, const Tensor& x);
QS_API Tensor tril(const Tensor& x, int64_t diagonal = 0);
QS_API Tensor triu(const Tensor& x, int64_t diagonal = 0);

// ---- complex numbers (verbs_complex.cpp)
QS_API Tensor complex(const Tensor& real, const Tensor& imag);
QS_API Tensor polar(const Tensor& abs, const Tensor& angle);
/// A copy with the imaginary part negated; x itself when it is real.
QS_API Tensor conj(const Tensor& x);
QS_API Tensor angle(const Tensor& x);
QS_API Tensor sgn(const Tensor& x);
QS_API const Tensor& sgn_(const Tensor& x);
QS_API Tensor real_part(const Tensor& x);  // copies
QS_API Tensor imag_part(const Tensor& x);
QS_API Tensor real(const Tensor& x);  // views
QS_API Tensor imag(const Tensor& x);
QS_API Tensor view_as_real(const Tensor& x);
QS_API Tensor view_as_complex(const Tensor& x);

// ---- copies and casts
QS_API Tensor clone(const Tensor& x);
QS_API Tensor contiguous(const Tensor& x);
/// The order of the dimensions in memory. `preserve`: that of the input, where it is dense.
enum class MemoryFormat : uint8_t { contiguous, preserve, channels_last, channels_last_3d };
QS_API bool is_contiguous(const Tensor& x, MemoryFormat format);
/// A copy in that order.
QS_API Tensor clone(const Tensor& x, MemoryFormat format);
/// The tensor itself when it lies so.
QS_API Tensor contiguous(const Tensor& x, MemoryFormat format);
/// Itself when nothing changes and not `copy`.
QS_API Tensor to(const Tensor& x, std::optional<Device> device, std::optional<DType> dtype,
                 bool copy = false, bool non_blocking = false);
QS_API const Tensor& copy_(const Tensor& x, const Operand& source);
QS_API const Tensor& fill_(const Tensor& x, const Operand& value);
QS_API const Tensor& zero_(const Tensor& x);
QS_API Tensor detach(const Tensor& x);

// ---- creation
QS_API Tensor empty(DimSpan shape, const Options& options = {});
QS_API Tensor full(DimSpan shape, Scalar value, const Options& options = {});
QS_API Tensor zeros(DimSpan shape, const Options& options = {});
QS_API Tensor ones(DimSpan shape, const Options& options = {});
inline Tensor ones(std::initializer_list<int64_t> s, const Options& o = {}) {
  return ones(DimSpan(s.begin(), s.size()), o);
}
inline Tensor zeros(std::initializer_list<int64_t> s, const Options& o = {}) {
  return zeros(DimSpan(s.begin(), s.size()), o);
}
QS_API Tensor arange(Scalar start, Scalar end, Scalar step = 1, const Options& options = {});
QS_API Tensor linspace(Scalar start, Scalar end, int64_t steps, const Options& options = {});
QS_API Tensor eye(int64_t rows, int64_t columns, const Options& options = {});
QS_API Tensor full_like(const Tensor& x, Scalar value, const Options& options = {});
QS_API Tensor rand(DimSpan shape, const Options& options = {});
QS_API Tensor randn(DimSpan shape, const Options& options = {});
QS_API Tensor randint(int64_t low, int64_t high, DimSpan shape, const Options& options = {});
QS_API Tensor randperm(int64_t n, const Options& options = {});
QS_API const Tensor& uniform_(const Tensor& x, double from = 0, double to = 1);
QS_API const Tensor& normal_(const Tensor& x, double mean = 0, double std = 1);
QS_API const Tensor& bernoulli_(const Tensor& x, double p = 0.5);
QS_API Tensor bernoulli(const Tensor& p);
QS_API Tensor dropout(const Tensor& x, double p = 0.5, bool training = true);
QS_API Tensor poisson(const Tensor& rate);
QS_API Tensor standard_gamma(const Tensor& shape);
QS_API Tensor binomial(const Tensor& count, const Tensor& probability);
QS_API void manual_seed(uint64_t seed);  // both devices

// ---- views (record nothing)
QS_API Tensor view(const Tensor& x, DimSpan shape);
QS_API Tensor reshape(const Tensor& x, DimSpan shape);
QS_API Tensor flatten(const Tensor& x, int64_t start_dim = 0, int64_t end_dim = -1);
QS_API Tensor unflatten(const Tensor& x, int64_t dim, DimSpan sizes);
QS_API Tensor permute(const Tensor& x, DimSpan dims);
QS_API Tensor transpose(const Tensor& x, int64_t dim0, int64_t dim1);
QS_API Tensor t(const Tensor& x);
QS_API Tensor expand(const Tensor& x, DimSpan shape);
QS_API Tensor squeeze(const Tensor& x, const OptionalDims& dims = {});
QS_API Tensor unsqueeze(const Tensor& x, int64_t dim);
QS_API Tensor select(const Tensor& x, int64_t dim, int64_t index);
QS_API Tensor slice(const Tensor& x, int64_t dim, std::optional<int64_t> start,
                    std::optional<int64_t> end, int64_t step = 1);
QS_API Tensor narrow(const Tensor& x, int64_t dim, int64_t start, int64_t length);
QS_API Tensor diagonal(const Tensor& x, int64_t offset = 0, int64_t dim1 = 0, int64_t dim2 = 1);
QS_API Tensor as_strided(const Tensor& x, DimSpan shape, DimSpan strides,
                         std::optional<int64_t> offset = {});
QS_API Tensor unfold(const Tensor& x, int64_t dim, int64_t size, int64_t step);
QS_API TensorList split(const Tensor& x, int64_t size, int64_t dim = 0);
QS_API TensorList split_sizes(const Tensor& x, DimSpan sizes, int64_t dim = 0);
QS_API TensorList chunk(const Tensor& x, int64_t chunks, int64_t dim = 0);
QS_API TensorList unbind(const Tensor& x, int64_t dim = 0);

// ---- joining, repeating
QS_API Tensor cat(const TensorList& tensors, int64_t dim = 0);
QS_API Tensor stack(const TensorList& tensors, int64_t dim = 0);
QS_API Tensor flip(const Tensor& x, DimSpan dims);
QS_API Tensor roll(const Tensor& x, DimSpan shifts, DimSpan dims);
QS_API Tensor repeat(const Tensor& x, DimSpan repeats);
QS_API Tensor repeat_interleave(const Tensor& x, int64_t repeats, std::optional<int64_t> dim = {});

// ---- reductions
QS_API Tensor sum(const Tensor& x, const OptionalDims& dims = {}, bool keepdim = false,
                  std::optional<DType> dtype = {});
QS_API Tensor prod(const Tensor& x, std::optional<int64_t> dim = {}, bool keepdim = false,
                   std::optional<DType> dtype = {});
QS_API Tensor mean(const Tensor& x, const OptionalDims& dims = {}, bool keepdim = false,
                   std::optional<DType> dtype = {});
QS_API Tensor var(const Tensor& x, const OptionalDims& dims = {}, double correction = 1,
                  bool keepdim = false);
QS_API Tensor std_(const Tensor& x, const OptionalDims& dims = {}, double correction = 1,
                   bool keepdim = false);
QS_API Tensor amax(const Tensor& x, const OptionalDims& dims = {}, bool keepdim = false);
QS_API Tensor amin(const Tensor& x, const OptionalDims& dims = {}, bool keepdim = false);
QS_API Tensor any(const Tensor& x, const OptionalDims& dims = {}, bool keepdim = false);
QS_API Tensor all(const Tensor& x, const OptionalDims& dims = {}, bool keepdim = false);
QS_API Tensor argmax(const Tensor& x, std::optional<int64_t> dim = {}, bool keepdim = false);
QS_API Tensor argmin(const Tensor& x, std::optional<int64_t> dim = {}, bool keepdim = false);
/// (values, indices)
QS_API std::pair<Tensor, Tensor> max_dim(const Tensor& x, int64_t dim, bool keepdim = false);
QS_API std::pair<Tensor, Tensor> min_dim(const Tensor& x, int64_t dim, bool keepdim = false);
QS_API Tensor logsumexp(const Tensor& x, const Dims& dims, bool keepdim = false);
/// p-norm over dims; p may be inf, -inf, 0, 1, 2 or any number.
QS_API Tensor norm(const Tensor& x, double p = 2, const OptionalDims& dims = {},
                   bool keepdim = false);
QS_API Tensor cumsum(const Tensor& x, int64_t dim, std::optional<DType> dtype = {});
QS_API Tensor cumprod(const Tensor& x, int64_t dim, std::optional<DType> dtype = {});
QS_API std::pair<Tensor, Tensor> sort(const Tensor& x, int64_t dim = -1, bool descending = false);
QS_API Tensor argsort(const Tensor& x, int64_t dim = -1, bool descending = false);
QS_API std::pair<Tensor, Tensor> topk(const Tensor& x, int64_t k, int64_t dim = -1,
                                      bool largest = true, bool sorted = true);
QS_API std::pair<Tensor, Tensor> cummax(const Tensor& x, int64_t dim);
QS_API std::pair<Tensor, Tensor> cummin(const Tensor& x, int64_t dim);
QS_API Tensor logcumsumexp(const Tensor& x, int64_t dim);
/// The k-th smallest (from 1) along dim; NaN is largest.
QS_API std::pair<Tensor, Tensor> kthvalue(const Tensor& x, int64_t k, int64_t dim = -1,
                                          bool keepdim = false);
/// Where values belong in the rows of `sorted`, or in the one row it is; int64.
QS_API Tensor searchsorted(const Tensor& sorted, const Tensor& values, bool right = false);
QS_API bool equal(const Tensor& x, const Tensor& y);

// ---- softmax, normalisation, losses
QS_API Tensor softmax(const Tensor& x, int64_t dim, std::optional<DType> dtype = {});
QS_API Tensor log_softmax(const Tensor& x, int64_t dim, std::optional<DType> dtype = {});
QS_API Tensor layer_norm(const Tensor& x, DimSpan normalized_shape, const Tensor& weight = {},
                         const Tensor& bias = {}, double eps = 1e-5);
/// x / sqrt(mean(x^2) + eps) * weight; eps is the dtype's epsilon when absent.
QS_API Tensor rms_norm(const Tensor& x, DimSpan normalized_shape, const Tensor& weight = {},
                       std::optional<double> eps = {});
/// Over all dimensions but 1. Training: with x's own mean and biased variance, and the running ones
/// move towards x's mean and unbiased variance by `momentum`. Else: with the running ones.
QS_API Tensor batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias,
                         const Tensor& running_mean, const Tensor& running_var, bool training,
                         double momentum = 0.1, double eps = 1e-5);
QS_API Tensor group_norm(const Tensor& x, int64_t num_groups, const Tensor& weight = {},
                         const Tensor& bias = {}, double eps = 1e-5);
QS_API Tensor instance_norm(const Tensor& x, const Tensor& weight, const Tensor& bias,
                            const Tensor& running_mean, const Tensor& running_var,
                            bool use_input_stats, double momentum = 0.1, double eps = 1e-5);
/// x [N, C, ...] or [C]; target: class indices [N, ...], or probabilities of x's shape.
QS_API Tensor cross_entropy(const Tensor& x, const Tensor& target, const Tensor& weight = {},
                            const std::string& reduction = "mean", int64_t ignore_index = -100,
                            double label_smoothing = 0.0);
QS_API Tensor nll_loss(const Tensor& x, const Tensor& target, const Tensor& weight = {},
                       const std::string& reduction = "mean", int64_t ignore_index = -100);
QS_API Tensor mse_loss(const Tensor& x, const Tensor& target,
                       const std::string& reduction = "mean");
QS_API Tensor l1_loss(const Tensor& x, const Tensor& target, const std::string& reduction = "mean");

// ---- products
QS_API Tensor matmul(const Tensor& a, const Tensor& b);
QS_API Tensor mm(const Tensor& a, const Tensor& b);
QS_API Tensor bmm(const Tensor& a, const Tensor& b);
QS_API Tensor mv(const Tensor& a, const Tensor& b);
QS_API Tensor dot(const Tensor& a, const Tensor& b);
QS_API Tensor outer(const Tensor& a, const Tensor& b);
QS_API Tensor addmm(const Tensor& c, const Tensor& a, const Tensor& b, Scalar beta = 1,
                    Scalar alpha = 1);
QS_API Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});
/// softmax(scale query key^T + mask) value over the last two dimensions, PyTorch's
/// scaled_dot_product_attention: query [.., L, E], key [.., S, E], value [.., S, F] -> [.., L, F].
/// `mask` (bool: true takes part; floating: added) broadcasts to [.., L, S]; `scale` defaults to
/// 1 / sqrt(E). A row that sees nothing gives 0. No matrix of scores is kept.
QS_API Tensor scaled_dot_product_attention(const Tensor& query, const Tensor& key,
                                           const Tensor& value, const Tensor& mask = {},
                                           double dropout_p = 0, bool is_causal = false,
                                           std::optional<double> scale = {},
                                           bool enable_gqa = false);
/// Which backends attention may use: bit b for the SDPBackend of value b (0 math, 1 flash: the
/// node).
QS_API uint32_t attention_backends();
QS_API void set_attention_backends(uint32_t mask);

// ---- indexing
QS_API Tensor index_select(const Tensor& x, int64_t dim, const Tensor& index);
QS_API Tensor gather(const Tensor& x, int64_t dim, const Tensor& index);
/// Convolutions of one, two or three spatial dimensions. Lists hold one number or one for each
/// dimension. `padding_mode`: "" takes `padding`, else "same" or "valid".
QS_API Tensor conv1d(const Tensor& x, const Tensor& weight, const Tensor& bias, DimSpan stride,
                     DimSpan padding, DimSpan dilation, int64_t groups);
QS_API Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, DimSpan stride,
                     DimSpan padding, DimSpan dilation, int64_t groups);
QS_API Tensor conv3d(const Tensor& x, const Tensor& weight, const Tensor& bias, DimSpan stride,
                     DimSpan padding, DimSpan dilation, int64_t groups);
QS_API Tensor conv_named_padding(int dims, const Tensor& x, const Tensor& weight,
                                 const Tensor& bias, DimSpan stride, const std::string& padding,
                                 DimSpan dilation, int64_t groups);
QS_API Tensor conv_transpose1d(const Tensor& x, const Tensor& weight, const Tensor& bias,
                               DimSpan stride, DimSpan padding, DimSpan output_padding,
                               int64_t groups, DimSpan dilation);
QS_API Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias,
                               DimSpan stride, DimSpan padding, DimSpan output_padding,
                               int64_t groups, DimSpan dilation);
QS_API Tensor conv_transpose3d(const Tensor& x, const Tensor& weight, const Tensor& bias,
                               DimSpan stride, DimSpan padding, DimSpan output_padding,
                               int64_t groups, DimSpan dilation);
QS_API Tensor convolution(const Tensor& x, const Tensor& weight, const Tensor& bias, DimSpan stride,
                          DimSpan padding, DimSpan dilation, bool transposed,
                          DimSpan output_padding, int64_t groups);
QS_API Tensor embedding(const Tensor& weight, const Tensor& index, int64_t padding_idx = -1);
/// Advanced indexing: one entry a leading dimension of x, undefined entries are full slices. Index
/// tensors are int64 (or narrower) or bool masks; they broadcast together. NumPy's placement rule.
QS_API Tensor index(const Tensor& x, const TensorList& indices);
QS_API const Tensor& index_put_(const Tensor& x, const TensorList& indices, const Tensor& values,
                                bool accumulate = false);
QS_API Tensor index_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source,
                        Scalar alpha = 1);
QS_API const Tensor& index_add_(const Tensor& x, int64_t dim, const Tensor& index,
                                const Tensor& source, Scalar alpha = 1);
QS_API Tensor scatter(const Tensor& x, int64_t dim, const Tensor& index, const Operand& source);
QS_API const Tensor& scatter_(const Tensor& x, int64_t dim, const Tensor& index,
                              const Operand& source);
QS_API Tensor scatter_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source);
QS_API const Tensor& scatter_add_(const Tensor& x, int64_t dim, const Tensor& index,
                                  const Tensor& source);
/// `mode`: "sum", "prod", "amax", "amin" or "mean"; without `include_self`, x counts only where
/// nothing is reduced into it.
QS_API Tensor scatter_reduce(const Tensor& x, int64_t dim, const Tensor& index,
                             const Tensor& source, const std::string& mode,
                             bool include_self = true);
QS_API Tensor index_reduce(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source,
                           const std::string& mode, bool include_self = true);
QS_API Tensor masked_select(const Tensor& x, const Tensor& mask);
QS_API Tensor nonzero(const Tensor& x);
QS_API Tensor one_hot(const Tensor& x, int64_t num_classes = -1);

// ---- windows over the last dimensions: [N, C, ...] or [C, ...]
// kernel, stride (empty: the kernel), padding, dilation: one number, or one for each dimension.
// The positions beside values are flat in the plane, int32 where they fit.
QS_API std::pair<Tensor, Tensor> max_pool1d_with_indices(const Tensor& x, DimSpan kernel,
                                                         DimSpan stride = {}, DimSpan padding = {},
                                                         DimSpan dilation = {},
                                                         bool ceil_mode = false);
QS_API std::pair<Tensor, Tensor> max_pool2d_with_indices(const Tensor& x, DimSpan kernel,
                                                         DimSpan stride, DimSpan padding,
                                                         DimSpan dilation, bool ceil_mode = false);
QS_API std::pair<Tensor, Tensor> max_pool3d_with_indices(const Tensor& x, DimSpan kernel,
                                                         DimSpan stride, DimSpan padding,
                                                         DimSpan dilation, bool ceil_mode = false);
QS_API Tensor max_pool1d(const Tensor& x, DimSpan kernel, DimSpan stride = {}, DimSpan padding = {},
                         DimSpan dilation = {}, bool ceil_mode = false);
QS_API Tensor max_pool2d(const Tensor& x, DimSpan kernel, DimSpan stride = {}, DimSpan padding = {},
                         DimSpan dilation = {}, bool ceil_mode = false);
QS_API Tensor max_pool3d(const Tensor& x, DimSpan kernel, DimSpan stride = {}, DimSpan padding = {},
                         DimSpan dilation = {}, bool ceil_mode = false);
/// x's elements at `indices` of planes of `output_size`; zero elsewhere.
QS_API Tensor max_unpool(const Tensor& x, const Tensor& indices, DimSpan output_size);
QS_API Tensor avg_pool1d(const Tensor& x, DimSpan kernel, DimSpan stride = {}, DimSpan padding = {},
                         bool ceil_mode = false, bool count_include_pad = true);
QS_API Tensor avg_pool2d(const Tensor& x, DimSpan kernel, DimSpan stride = {}, DimSpan padding = {},
                         bool ceil_mode = false, bool count_include_pad = true,
                         std::optional<int64_t> divisor_override = {});
QS_API Tensor avg_pool3d(const Tensor& x, DimSpan kernel, DimSpan stride = {}, DimSpan padding = {},
                         bool ceil_mode = false, bool count_include_pad = true,
                         std::optional<int64_t> divisor_override = {});
QS_API Tensor adaptive_avg_pool1d(const Tensor& x, DimSpan output_size);
QS_API Tensor adaptive_avg_pool2d(const Tensor& x, DimSpan output_size);
QS_API Tensor adaptive_avg_pool3d(const Tensor& x, DimSpan output_size);
/// (values, int64 positions)
QS_API std::pair<Tensor, Tensor> adaptive_max_pool1d(const Tensor& x, DimSpan output_size);
QS_API std::pair<Tensor, Tensor> adaptive_max_pool2d(const Tensor& x, DimSpan output_size);
QS_API std::pair<Tensor, Tensor> adaptive_max_pool3d(const Tensor& x, DimSpan output_size);
/// mode: nearest, nearest-exact, linear, bilinear, bicubic, trilinear, lanczos (with antialias);
/// scale_factors: as the user gave them, or empty.
QS_API Tensor interpolate(const Tensor& x, DimSpan size, const std::string& mode = "nearest",
                          bool align_corners = false, bool antialias = false,
                          const std::vector<double>& scale_factors = {});
/// (left, right) of the last dimension, then of the one before, ...; mode: constant, reflect,
/// replicate, circular. Negative numbers cut off.
QS_API Tensor pad(const Tensor& x, DimSpan padding, const std::string& mode = "constant",
                  std::optional<Scalar> value = {});
/// nn.functional's unfold and fold: [n, c, h, w] to and from [n, c * kernel's size, blocks].
QS_API Tensor im2col(const Tensor& x, DimSpan kernel, DimSpan dilation, DimSpan padding,
                     DimSpan stride);
QS_API Tensor col2im(const Tensor& x, DimSpan output_size, DimSpan kernel, DimSpan dilation,
                     DimSpan padding, DimSpan stride);
QS_API Tensor pixel_shuffle(const Tensor& x, int64_t upscale_factor);
QS_API Tensor pixel_unshuffle(const Tensor& x, int64_t downscale_factor);
QS_API Tensor channel_shuffle(const Tensor& x, int64_t groups);

// ---- optimizer steps: in place, no gradient; every number a launch argument
QS_API void sgd_step_(const Tensor& p, const Tensor& g, const Tensor& momentum_buffer, double lr,
                      double weight_decay, double momentum, double dampening, bool nesterov,
                      bool maximize = false);
/// The numbers of a step of Adam; `count` is the steps taken, this one included.
struct AdamNumbers {
  double lr, beta1, beta2, eps, weight_decay, count;
  bool decoupled = false, maximize = false;
};
/// `largest_v`: amsgrad's; undefined without.
QS_API void adam_step_(const Tensor& p, const Tensor& g, const Tensor& m, const Tensor& v,
                       const Tensor& largest_v, const AdamNumbers& numbers);

// ---- recurrent layers
/// One layer in one direction over x [T, B, in]: (outputs [T, B, out], last h, last c). The
/// weights are PyTorch's: w_ih [4 hidden, in], w_hh [4 hidden, out], gates i, f, g, o; biases may
/// be undefined; w_hr [out, hidden] projects h when it is defined.
QS_API std::array<Tensor, 3> lstm_layer(const Tensor& x, const Tensor& h, const Tensor& c,
                                        const Tensor& w_ih, const Tensor& w_hh, const Tensor& b_ih,
                                        const Tensor& b_hh, const Tensor& w_hr, bool reverse);

// ---- the device
/// Runs everything recorded for the device and waits; raises errors that data caused.
QS_API void synchronize(DeviceType device = DeviceType::mps);
/// Called by optimizers at the end of a step: cuts the tape.
QS_API void step_end();

}  // namespace qs

namespace qs {
// Operators; either side may be a number. No == and !=: use eq and ne.
template <class T>
concept Number = std::is_arithmetic_v<T> || std::is_same_v<T, Scalar>;
namespace detail {
template <Number T>
Operand number_operand(T v) {
  if constexpr (std::is_same_v<T, Scalar>)
    return Operand(v);
  else if constexpr (std::is_same_v<T, bool>)
    return Operand(v);
  else if constexpr (std::is_integral_v<T>)
    return Operand(static_cast<int64_t>(v));
  else
    return Operand(static_cast<double>(v));
}
}  // namespace detail

inline Tensor operator-(const Tensor& x) { return neg(x); }
inline Tensor operator~(const Tensor& x) { return bitwise_not(x); }
#define QS_OPERATOR(op, verb)                                                         \
  inline Tensor operator op(const Tensor& x, const Operand& y) { return verb(x, y); } \
  template <Number T>                                                                 \
  Tensor operator op(const Tensor& x, T y) {                                          \
    return verb(x, detail::number_operand(y));                                        \
  }                                                                                   \
  template <Number T>                                                                 \
  Tensor operator op(T x, const Tensor& y) {                                          \
    return verb(detail::number_operand(x), y);                                        \
  }
QS_OPERATOR(+, add)
QS_OPERATOR(-, sub)
QS_OPERATOR(*, mul)
QS_OPERATOR(/, div)
QS_OPERATOR(>, gt)
QS_OPERATOR(>=, ge)
QS_OPERATOR(<, lt)
QS_OPERATOR(<=, le)
#undef QS_OPERATOR
inline const Tensor& operator+=(const Tensor& x, const Operand& y) { return add_(x, y); }
inline const Tensor& operator-=(const Tensor& x, const Operand& y) { return sub_(x, y); }
inline const Tensor& operator*=(const Tensor& x, const Operand& y) { return mul_(x, y); }
inline const Tensor& operator/=(const Tensor& x, const Operand& y) { return div_(x, y); }
}  // namespace qs
