// Matrix products. All end in the matmul op on tensors of at least two dimensions.
#include <algorithm>

#include "quicksilver/autograd/apply.h"
#include "quicksilver/core/error.h"

namespace qs {

using namespace autograd;

namespace {

void check_dtypes(const Tensor& a, const Tensor& b) {
  QS_CHECK(a.dtype() == b.dtype(), Error,
           "expected m1 and m2 to have the same dtype, but got: {} != {}", c_type_name(a.dtype()),
           c_type_name(b.dtype()));
}

/// alpha a @ b + beta bias; shapes are right and have at least two dimensions.
Tensor product(const Tensor& a, const Tensor& b, const Tensor& bias, double alpha = 1,
               double beta = 1) {
  check_dtypes(a, b);
  const DType dtype = a.dtype();
  QS_CHECK(dtype != DType::bool_ || a.numel() == 0 || b.numel() == 0, NotImplementedError,
           "\"addmm_impl_cpu_\" not implemented for 'Bool'");
  if (is_complex(dtype)) {
    const Tensor ar = real(a), ai = imag(a), br = real(b), bi = imag(b);
    Tensor out = complex(sub(product(ar, br, {}), product(ai, bi, {})),
                         add(product(ar, bi, {}), product(ai, br, {})));
    if (alpha != 1) out = mul(out, alpha);
    return bias.defined() ? add(out, beta == 1 ? bias : mul(bias, beta)) : out;
  }
  if (is_integral(dtype) && dtype != DType::i32 && dtype != DType::i64) {
    // Narrow integers wrap around: the low bits of a wider product are theirs.
    const DType wide = size_of(dtype) < 4 ? DType::i32 : DType::i64;
    return to(product(to(a, {}, wide), to(b, {}, wide), bias.defined() ? to(bias, {}, wide) : bias,
                      alpha, beta),
              {}, dtype);
  }
  Dims shape;
  if (a.dim() > 2 || b.dim() > 2)
    shape = broadcast_shapes(a.shape().first(static_cast<size_t>(a.dim() - 2)),
                             b.shape().first(static_cast<size_t>(b.dim() - 2)));
  shape.push_back(a.size(-2));
  shape.push_back(b.size(-1));
  const ResultSpec spec[] = {{a.dtype(), std::move(shape)}};
  RecordOptions options;
  options.results = spec;
  return apply(Op::matmul, {a, b, bias}, {attr(alpha), attr(beta)}, options);
}

void check_inner(const Tensor& a, const Tensor& b) {
  QS_CHECK(a.size(-1) == b.size(-2), Error,
           "mat1 and mat2 shapes cannot be multiplied ({}x{} and {}x{})", a.size(-2), a.size(-1),
           b.size(-2), b.size(-1));
}

/// All dimensions but the last as one.
Tensor rows_of(const Tensor& x) {
  int64_t rows = 1;
  for (int64_t s : x.shape().first(x.shape().size() - 1)) rows *= s;
  return reshape(x, Dims{rows, x.size(-1)});
}

bool can_flatten(const Tensor& x) {
  Dims strides;
  return x.size(-1) > 0 &&
         view_strides(x.layout(), Dims{x.numel() / x.size(-1), x.size(-1)}, strides);
}

std::vector<Tensor> linear_gradients(FunctionNodeBase& node, std::vector<Tensor>& grads) {
  std::vector<Tensor> out(3);
  const Tensor& g = grads[0];
  if (!g.defined()) return out;
  if (node.edges[0]) out[0] = matmul(g, conj(node.unpack(1)));
  if (node.edges[1]) out[1] = matmul(t(rows_of(g)), rows_of(conj(node.unpack(0))));
  if (node.edges[2]) out[2] = g;  // the engine sums it to the bias's shape
  return out;
}

Dims with_last(DimSpan shape, int64_t last) {
  Dims out(shape);
  out.back() = last;
  return out;
}

}  // namespace

namespace autograd {

std::string_view c_type_name(DType d) {
  constexpr std::string_view names[k_dtype_count] = {"bool",
                                                     "unsigned char",
                                                     "signed char",
                                                     "short",
                                                     "int",
                                                     "long int",
                                                     "unsigned short",
                                                     "unsigned int",
                                                     "unsigned long",
                                                     "c10::Half",
                                                     "c10::BFloat16",
                                                     "float",
                                                     "double",
                                                     "c10::complex<float>",
                                                     "c10::complex<double>"};
  return names[static_cast<size_t>(d)];
}

}  // namespace autograd

Tensor matmul(const Tensor& a, const Tensor& b) {
  require_defined(a, "matmul");
  require_defined(b, "matmul");
  QS_CHECK(a.dim() > 0 && b.dim() > 0, Error,
           "both arguments to matmul need to be at least 1D, but they are {}D and {}D", a.dim(),
           b.dim());
  if (a.dim() == 1 && b.dim() == 1) return dot(a, b);
  if (a.dim() == 2 && b.dim() == 1) return mv(a, b);
  if (a.dim() == 1) return squeeze(matmul(unsqueeze(a, 0), b), Dims{-2});
  if (b.dim() == 1) return squeeze(matmul(a, unsqueeze(b, 1)), Dims{-1});
  if (a.dim() == 2 && b.dim() == 2) return mm(a, b);
  if (b.dim() == 2 && can_flatten(a)) {  // one large product instead of many
    QS_CHECK(a.size(-1) == b.size(0), Error,
             "mat1 and mat2 shapes cannot be multiplied ({}x{} and {}x{})",
             a.numel() / std::max<int64_t>(a.size(-1), 1), a.size(-1), b.size(0), b.size(1));
    return view(product(rows_of(a), b, {}), with_last(a.shape(), b.size(1)));
  }
  QS_CHECK(a.size(-1) == b.size(-2), Error,
           "Expected size for first two dimensions of batch2 tensor to be: [{}, {}] but got: [{}, "
           "{}].",
           a.dim() > 2 ? a.size(0) : 1, a.size(-1), b.dim() > 2 ? b.size(0) : 1, b.size(-2));
  return product(a, b, {});
}

Tensor mm(const Tensor& a, const Tensor& b) {
  require_defined(a, "mm");
  require_defined(b, "mm");
  QS_CHECK(a.dim() == 2, Error, "self must be a matrix");
  QS_CHECK(b.dim() == 2, Error, "mat2 must be a matrix");
  check_inner(a, b);
  return product(a, b, {});
}

Tensor bmm(const Tensor& a, const Tensor& b) {
  require_defined(a, "bmm");
  require_defined(b, "bmm");
  QS_CHECK(a.dim() == 3, Error, "batch1 must be a 3D tensor");
  QS_CHECK(b.dim() == 3, Error, "batch2 must be a 3D tensor");
  QS_CHECK(a.size(0) == b.size(0) && a.size(2) == b.size(1), Error,
           "Expected size for first two dimensions of batch2 tensor to be: [{}, {}] but got: [{}, "
           "{}].",
           a.size(0), a.size(2), b.size(0), b.size(1));
  return product(a, b, {});
}

Tensor mv(const Tensor& a, const Tensor& b) {
  require_defined(a, "mv");
  require_defined(b, "mv");
  QS_CHECK(a.dim() == 2 && b.dim() == 1, Error, "vector + matrix @ vector expected, got {}, {}, {}",
           1, a.dim(), b.dim());
  QS_CHECK(a.size(1) == b.size(0), Error, "size mismatch, got input ({}), mat ({}x{}), vec ({})",
           a.size(0), a.size(0), a.size(1), b.size(0));
  return squeeze(product(a, unsqueeze(b, 1), {}), Dims{-1});
}

Tensor dot(const Tensor& a, const Tensor& b) {
  require_defined(a, "dot");
  require_defined(b, "dot");
  QS_CHECK(a.dim() == 1 && b.dim() == 1, Error, "1D tensors expected, but got {}D and {}D tensors",
           a.dim(), b.dim());
  QS_CHECK(a.dtype() == b.dtype(), Error,
           "dot : expected both vectors to have same dtype, but found {} and {}",
           scalar_type_name(a.dtype()), scalar_type_name(b.dtype()));
  QS_CHECK(a.numel() == b.numel(), Error,
           "inconsistent tensor size, expected tensor {} and src {} to have the same number of "
           "elements, but got {} and {} elements respectively",
           to_string(a.shape()), to_string(b.shape()), a.numel(), b.numel());
  // A sum is dealt out to threads, an element of a matrix product is not.
  constexpr int64_t k_long = 1 << 16;
  if (a.numel() >= k_long && (a.dtype() == DType::f32 || a.dtype() == DType::f64))
    return sum(mul(a, b));
  return reshape(product(unsqueeze(a, 0), unsqueeze(b, 1), {}), Dims{});
}

Tensor outer(const Tensor& a, const Tensor& b) {
  require_defined(a, "outer");
  require_defined(b, "outer");
  QS_CHECK(a.dim() == 1, Error, "outer: Expected 1-D argument self, but got {}-D", a.dim());
  QS_CHECK(b.dim() == 1, Error, "outer: Expected 1-D argument vec2, but got {}-D", b.dim());
  return mul(unsqueeze(a, 1), b);
}

Tensor addmm(const Tensor& c, const Tensor& a, const Tensor& b, Scalar beta, Scalar alpha) {
  require_defined(c, "addmm");
  require_defined(a, "addmm");
  require_defined(b, "addmm");
  QS_CHECK(a.dim() == 2, Error, "mat1 must be a matrix, got {}-D tensor", a.dim());
  QS_CHECK(b.dim() == 2, Error, "mat2 must be a matrix, got {}-D tensor", b.dim());
  check_inner(a, b);
  const Dims shape{a.size(0), b.size(1)};
  const Tensor bias = expand(c, shape);
  // beta 0 means that c is not read, not even its NaNs.
  if (beta.to_double() == 0) return product(a, b, {}, alpha.to_double());
  return product(a, b, bias.numel() == c.numel() ? bias : c, alpha.to_double(), beta.to_double());
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  require_defined(x, "linear");
  require_defined(weight, "linear");
  if (weight.dim() == 1) {
    const Tensor out = matmul(x, weight);
    return bias.defined() ? out + bias : out;
  }
  QS_CHECK(weight.dim() == 2, Error, "linear(): weight must be 1D or 2D, got {}D", weight.dim());
  QS_CHECK(x.dim() > 0, Error,
           "both arguments to linear need to be at least 1D, but they are 0D and {}D",
           weight.dim());
  const int64_t in = weight.size(1), out = weight.size(0),
                rows = in ? x.numel() / std::max<int64_t>(x.size(-1), 1) : 0;
  QS_CHECK(x.size(-1) == in, Error, "mat1 and mat2 shapes cannot be multiplied ({}x{} and {}x{})",
           rows, x.size(-1), in, out);
  QS_CHECK(
      !bias.defined() || bias.dim() == 0 || bias.size(-1) == out || bias.size(-1) == 1, Error,
      "The expanded size of the tensor ({}) must match the existing size ({}) at non-singleton "
      "dimension 0.  Target sizes: [{}, {}].  Tensor sizes: {}",
      out, bias.size(-1), rows, out, to_string(bias.shape()));
  if (bias.defined())
    QS_CHECK(bias.dtype() == x.dtype(), Error,
             "self and mat2 must have the same dtype, but got {} and {}",
             scalar_type_name(bias.dtype()), scalar_type_name(x.dtype()));
  Tensor y;
  {
    const NoGrad guard;
    const bool flat = x.dim() > 2;
    const Tensor rows_in = flat ? rows_of(x) : x.dim() == 1 ? unsqueeze(x, 0) : x;
    y = product(rows_in, t(weight), bias);
    if (flat || x.dim() == 1) y = make_view(y, Layout::contiguous(with_last(x.shape(), out)));
  }
  // One node for all of it: its saved tensors are x (for the weight) and the weight (for x).
  const Tensor inputs[] = {x, weight, bias};
  auto node = with_gradient("Linear", inputs, {&y, 1}, linear_gradients);
  if (!node) return y;
  node->saved.emplace_back(node->edges[1] ? x : Tensor(), false);
  node->saved.emplace_back(node->edges[0] ? weight : Tensor(), false);
  return y;
}

}  // namespace qs
