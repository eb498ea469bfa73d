// Reductions, scans and sorting. A 0-dim tensor is seen as one element along one dimension.
#include <algorithm>
#include <cmath>

#include "quicksilver/autograd/apply.h"
#include "quicksilver/core/error.h"

namespace qs {

using namespace autograd;

namespace {

/// One fold or composite over `dims`; attributes after keepdim in `extra`.
Tensor fold(Op op, const Tensor& x, const OptionalDims& dims, bool keepdim,
            std::optional<uint64_t> extra = {}) {
  const uint64_t mask = axes_mask(dims, x.dim());
  if (x.dim() == 0) return reshape(fold(op, view(x, Dims{1}), Dims{0}, false, extra), Dims{});
  if (extra) return apply(op, {x}, {mask, attr(keepdim), *extra});
  return apply(op, {x}, {mask, attr(keepdim)});
}

OptionalDims one_dim(std::optional<int64_t> dim) {
  return dim ? OptionalDims(Dims{*dim}) : OptionalDims();
}

/// Extrema of nothing do not exist.
void check_not_empty(const char* verb, const Tensor& x, const OptionalDims& dims) {
  if (x.numel() != 0) return;
  const uint64_t mask = axes_mask(dims, x.dim());
  QS_CHECK(dims && !dims->empty(), IndexError,
           "{}(): Expected reduction dim to be specified for input.numel() == 0. Specify the "
           "reduction dim with the 'dim' argument.",
           verb);
  for (int d = 0; d < x.dim(); ++d)
    QS_CHECK(!(mask >> d & 1) || x.size(d) != 0, IndexError,
             "{}(): Expected reduction dim {} to have non-zero size.", verb, d);
}

void check_floating(const char* verb, DType d) {
  QS_CHECK(is_floating(d) || is_complex(d), Error,
           "{}(): could not infer output dtype. Input dtype must be either a floating point or "
           "complex dtype. Got: {}",
           verb, scalar_type_name(d));
}

}  // namespace

Tensor sum(const Tensor& x, const OptionalDims& dims, bool keepdim, std::optional<DType> dtype) {
  require_defined(x, "sum");
  if (!dtype) return fold(Op::sum, x, dims, keepdim);
  return to(fold(Op::sum, to(x, {}, *dtype), dims, keepdim), {}, *dtype);  // of int32: int64
}

Tensor prod(const Tensor& x, std::optional<int64_t> dim, bool keepdim, std::optional<DType> dtype) {
  require_defined(x, "prod");
  const DType d = dtype.value_or(x.dtype());
  if (is_complex(d)) {  // the last of the running products
    const Tensor from = to(x, {}, d);
    if (!dim || from.dim() == 0) {
      const Tensor flat = prod(reshape(from, Dims{-1}), 0, false);
      return keepdim ? reshape(flat, Dims(static_cast<size_t>(x.dim()), 1)) : flat;
    }
    const int at = wrap_dim(*dim, from.dim());
    if (from.size(at) == 0) return add(sum(from, Dims{at}, keepdim), 1);
    const Tensor last = narrow(cumprod(from, at), at, from.size(at) - 1, 1);
    return keepdim ? clone(last) : clone(squeeze(last, Dims{at}));
  }
  if (!dtype) return fold(Op::prod, x, one_dim(dim), keepdim);
  return to(fold(Op::prod, to(x, {}, *dtype), one_dim(dim), keepdim), {}, *dtype);
}

Tensor mean(const Tensor& x, const OptionalDims& dims, bool keepdim, std::optional<DType> dtype) {
  require_defined(x, "mean");
  const Tensor from = dtype ? to(x, {}, *dtype) : x;
  check_floating("mean", from.dtype());
  return fold(Op::mean, from, dims, keepdim);
}

namespace {

void check_var(const char* verb, const Tensor& x) {
  require_defined(x, verb);
  QS_CHECK(is_floating(x.dtype()) || is_complex(x.dtype()), Error,
           "std and var only support floating point and complex dtypes");
}

}  // namespace

Tensor var(const Tensor& x, const OptionalDims& dims, double correction, bool keepdim) {
  check_var("var", x);
  if (is_complex(x.dtype()))
    return add(var(real(x), dims, correction, keepdim), var(imag(x), dims, correction, keepdim));
  return fold(Op::var, x, dims, keepdim, attr(correction));
}

Tensor std_(const Tensor& x, const OptionalDims& dims, double correction, bool keepdim) {
  check_var("std", x);
  if (is_complex(x.dtype())) return sqrt(var(x, dims, correction, keepdim));
  Tensor out;
  {
    const NoGrad guard;
    out = sqrt(fold(Op::var, x, dims, keepdim, attr(correction)));
  }
  const uint64_t mask = axes_mask(dims, x.dim());
  // The square root's slope is infinite at 0; PyTorch's gradient is 0 there.
  auto node = with_gradient(
      "Std", {&x, 1}, {&out, 1},
      [mask, keepdim, correction](FunctionNodeBase& self, std::vector<Tensor>& g) {
        std::vector<Tensor> back(1);
        if (!g[0].defined()) return back;
        const Tensor in = self.unpack(0), s = self.unpack(1);
        const Tensor slope = where(eq(s, 0), 0, g[0] / (where(eq(s, 0), 1, s)));
        Dims all;
        double n = 1;
        for (int d = 0; d < in.dim(); ++d) {
          if (!(mask >> d & 1)) continue;
          all.push_back(d);
          n *= double(in.size(d));
        }
        const Tensor centred = in - mean(in, all, true);
        back[0] = with_axes(slope, mask, keepdim) * centred * (1.0 / (n - correction));
        return back;
      });
  if (node) {
    node->saved.emplace_back(x, false);
    node->saved.emplace_back(out, true);
  }
  return out;
}

Tensor amax(const Tensor& x, const OptionalDims& dims, bool keepdim) {
  require_defined(x, "amax");
  check_not_empty("amax", x, dims);
  return fold(Op::amax, x, dims, keepdim);
}

Tensor amin(const Tensor& x, const OptionalDims& dims, bool keepdim) {
  require_defined(x, "amin");
  check_not_empty("amin", x, dims);
  return fold(Op::amin, x, dims, keepdim);
}

namespace {

/// any and all of uint8 are uint8, a left-over of the time before bool.
Tensor like_bytes(const Tensor& x, const Tensor& truth) {
  return x.dtype() == DType::u8 ? to(truth, {}, DType::u8) : truth;
}

}  // namespace

Tensor any(const Tensor& x, const OptionalDims& dims, bool keepdim) {
  require_defined(x, "any");
  return like_bytes(x, fold(Op::any, x, dims, keepdim));
}

Tensor all(const Tensor& x, const OptionalDims& dims, bool keepdim) {
  require_defined(x, "all");
  return like_bytes(x, fold(Op::all, x, dims, keepdim));
}

namespace {

Tensor arg_extremum(Op op, const char* verb, const Tensor& x, std::optional<int64_t> dim,
                    bool keepdim) {
  require_defined(x, verb);
  QS_CHECK(x.dtype() != DType::bool_, Error, "\"{}_cpu\" not implemented for 'Bool'", verb);
  check_not_empty(verb, x, one_dim(dim));
  if (dim) return fold(op, x, one_dim(dim), keepdim);
  const Tensor flat = fold(op, reshape(x, Dims{-1}), Dims{0}, false);
  return keepdim ? reshape(flat, Dims(static_cast<size_t>(x.dim()), 1)) : flat;
}

std::pair<Tensor, Tensor> extremum(Op value_op, Op index_op, const char* verb, const Tensor& x,
                                   int64_t dim, bool keepdim) {
  require_defined(x, verb);
  check_not_empty(verb, x, Dims{dim});
  const int at = wrap_dim(dim, x.dim());
  Tensor values;
  {
    const NoGrad guard;
    values = fold(value_op, x, Dims{at}, keepdim);
  }
  Tensor indices = fold(index_op, x, Dims{at}, keepdim);
  // The gradient goes to the index that was picked.
  auto node = with_gradient(
      value_op == Op::amax ? "Max" : "Min", {&x, 1}, {&values, 1},
      [at, keepdim, shape = Dims(x.shape())](FunctionNodeBase& self, std::vector<Tensor>& g) {
        std::vector<Tensor> back(1);
        if (!g[0].defined()) return back;
        const bool add_dim = !keepdim && !shape.empty();
        const Tensor index = self.unpack(0);
        back[0] =
            scatter(zeros(shape, Options(g[0].dtype(), g[0].device())), at,
                    add_dim ? unsqueeze(index, at) : index, add_dim ? unsqueeze(g[0], at) : g[0]);
        return back;
      });
  if (node) node->saved.emplace_back(indices, false);
  return {std::move(values), std::move(indices)};
}

}  // namespace

Tensor argmax(const Tensor& x, std::optional<int64_t> dim, bool keepdim) {
  return arg_extremum(Op::argmax, "argmax", x, dim, keepdim);
}

Tensor argmin(const Tensor& x, std::optional<int64_t> dim, bool keepdim) {
  return arg_extremum(Op::argmin, "argmin", x, dim, keepdim);
}

std::pair<Tensor, Tensor> max_dim(const Tensor& x, int64_t dim, bool keepdim) {
  return extremum(Op::amax, Op::argmax, "max", x, dim, keepdim);
}

std::pair<Tensor, Tensor> min_dim(const Tensor& x, int64_t dim, bool keepdim) {
  return extremum(Op::amin, Op::argmin, "min", x, dim, keepdim);
}

Tensor logsumexp(const Tensor& x, const Dims& dims, bool keepdim) {
  require_defined(x, "logsumexp");
  return fold(Op::logsumexp, x, dims, keepdim);
}

namespace {

Tensor norm_value(const Tensor& x, double p, const OptionalDims& dims, bool keepdim) {
  if (p == 0) return to(sum(ne(x, 0), dims, keepdim), {}, x.dtype());
  if (p == 1) return sum(abs(x), dims, keepdim);
  if (p == 2) return sqrt(sum(square(x), dims, keepdim));
  if (p == INFINITY) return amax(abs(x), dims, keepdim);
  if (p == -INFINITY) return amin(abs(x), dims, keepdim);
  return pow(sum(pow(abs(x), p), dims, keepdim), 1 / p);
}

}  // namespace

Tensor norm(const Tensor& x, double p, const OptionalDims& dims, bool keepdim) {
  require_defined(x, "norm");
  QS_CHECK(is_floating(x.dtype()) || is_complex(x.dtype()), Error,
           "linalg.vector_norm: Expected a floating point or complex tensor as input. Got {}",
           scalar_type_name(x.dtype()));
  if (is_complex(x.dtype())) return norm(abs(x), p, dims, keepdim);
  if (p == 0 || p == 1 || std::isinf(p)) return norm_value(x, p, dims, keepdim);
  Tensor out;
  {
    const NoGrad guard;
    out = norm_value(x, p, dims, keepdim);
  }
  const uint64_t mask = axes_mask(dims, x.dim());
  auto node = with_gradient(
      "LinalgVectorNorm", {&x, 1}, {&out, 1},
      [p, mask, keepdim](FunctionNodeBase& self, std::vector<Tensor>& g) {
        std::vector<Tensor> back(1);
        if (!g[0].defined()) return back;
        const Tensor in = self.unpack(0);
        const Tensor n = with_axes(self.unpack(1), mask, keepdim);
        const Tensor up = with_axes(g[0], mask, keepdim), none = eq(n, 0), safe = where(none, 1, n);
        if (p == 2) {
          back[0] = in * where(none, 0, up / safe);
          return back;
        }
        // sign(x) |x|^(p - 1) g / norm^(p - 1), and 0 where x is
        const Tensor at_zero = eq(in, 0), size = abs(where(at_zero, 1, in));
        back[0] = where(logical_or(at_zero, none), 0,
                        sign(in) * pow(size, p - 1) * (up / pow(safe, p - 1)));
        return back;
      });
  if (node) {
    node->saved.emplace_back(x, false);
    node->saved.emplace_back(out, true);
  }
  return out;
}

// ---- scans, sorting
namespace {

Tensor scan(Op op, const Tensor& x, int64_t dim, std::optional<DType> dtype) {
  require_defined(x, graph::name_of(op).data());
  const int at = wrap_dim(dim, x.dim());
  const Tensor from = dtype ? to(x, {}, *dtype) : x;
  if (x.dim() == 0) return reshape(scan(op, view(from, Dims{1}), 0, {}), Dims{});
  const DType out = is_integral(from.dtype()) && !dtype ? DType::i64 : from.dtype();
  const ResultSpec spec[] = {{out, Dims(x.shape())}};
  RecordOptions options;
  options.compute = out;
  options.results = spec;
  return apply(op, {from}, {attr(int64_t{at})}, options);
}

}  // namespace

Tensor cumsum(const Tensor& x, int64_t dim, std::optional<DType> dtype) {
  return scan(Op::cumsum, x, dim, dtype);
}

Tensor cumprod(const Tensor& x, int64_t dim, std::optional<DType> dtype) {
  return scan(Op::cumprod, x, dim, dtype);
}

std::pair<Tensor, Tensor> sort(const Tensor& x, int64_t dim, bool descending) {
  require_defined(x, "sort");
  const int at = wrap_dim(dim, x.dim());
  if (x.dim() == 0) {
    auto [values, indices] = sort(view(x, Dims{1}), 0, descending);
    return {reshape(values, Dims{}), reshape(indices, Dims{})};
  }
  const ResultSpec spec[] = {{x.dtype(), Dims(x.shape())}, {DType::i64, Dims(x.shape())}};
  RecordOptions options;
  options.results = spec;
  const Operand in[] = {x};
  const uint64_t attrs[] = {attr(int64_t{at}), attr(descending)};
  Tensor out[2];
  apply_all(Op::sort, in, attrs, options, out);
  return {std::move(out[0]), std::move(out[1])};
}

Tensor argsort(const Tensor& x, int64_t dim, bool descending) {
  const NoGrad guard;
  return sort(x, dim, descending).second;
}

bool equal(const Tensor& x, const Tensor& y) {
  require_defined(x, "equal");
  require_defined(y, "equal");
  QS_CHECK(x.device_type() == y.device_type(), Error,
           "Cannot compare two tensors on different devices. Got: {} and {}", x.device().str(),
           y.device().str());
  if (!(Dims(x.shape()) == Dims(y.shape()))) return false;
  if (x.numel() == 0) return true;
  const NoGrad guard;
  return all(eq(x, y)).item<bool>();
}

}  // namespace qs
