// Verbs about order: the k-th value, searching, running extremes, and reductions by index.
#include <cmath>

#include "quicksilver/autograd/apply.h"
#include "quicksilver/core/error.h"

namespace qs {

using namespace autograd;

namespace {

std::pair<Tensor, Tensor> two_results(Op op, const Tensor& x, const Dims& shape, Attrs attrs) {
  const ResultSpec spec[] = {{x.dtype(), shape}, {DType::i64, shape}};
  RecordOptions options;
  options.results = spec;
  const Operand in[] = {x};
  Tensor out[2];
  apply_all(op, in, attrs, options, out);
  return {std::move(out[0]), std::move(out[1])};
}

std::pair<Tensor, Tensor> running_extreme(Op op, const Tensor& x, int64_t dim) {
  require_defined(x, graph::name_of(op).data());
  const int at = wrap_dim(dim, x.dim());
  if (x.dim() == 0) {
    auto [values, indices] = running_extreme(op, view(x, Dims{1}), 0);
    return {reshape(values, Dims{}), reshape(indices, Dims{})};
  }
  const uint64_t attrs[] = {attr(int64_t{at})};
  return two_results(op, x, Dims(x.shape()), attrs);
}

}  // namespace

std::pair<Tensor, Tensor> cummax(const Tensor& x, int64_t dim) {
  return running_extreme(Op::cummax, x, dim);
}

std::pair<Tensor, Tensor> cummin(const Tensor& x, int64_t dim) {
  return running_extreme(Op::cummin, x, dim);
}

Tensor logcumsumexp(const Tensor& x, int64_t dim) {
  require_defined(x, "logcumsumexp");
  QS_CHECK(is_floating(x.dtype()), NotImplementedError,
           "\"logcumsumexp_out_cpu\" not implemented for '{}'", scalar_type_name(x.dtype()));
  const int at = wrap_dim(dim, x.dim());
  if (x.dim() == 0) return reshape(logcumsumexp(view(x, Dims{1}), 0), Dims{});
  const ResultSpec spec[] = {{x.dtype(), Dims(x.shape())}};
  RecordOptions options;
  options.results = spec;
  return apply(Op::logcumsumexp, {x}, {attr(int64_t{at})}, options);
}

std::pair<Tensor, Tensor> topk(const Tensor& x, int64_t k, int64_t dim, bool largest,
                               bool /*sorted*/) {
  require_defined(x, "topk");
  QS_CHECK(x.dtype() != DType::bool_, Error, "\"topk_impl_loop\" not implemented for 'Bool'");
  const int at = wrap_dim(dim, x.dim());
  QS_CHECK(k >= 0 && k <= (x.dim() ? x.size(at) : 1), Error, "selected index k out of range");
  if (x.dim() == 0) {
    auto [values, indices] = sort(x, 0, largest);
    return {values, indices};
  }
  Dims shape(x.shape());
  shape[static_cast<size_t>(at)] = k;
  const uint64_t attrs[] = {attr(int64_t{at}), attr(k), attr(largest)};
  return two_results(Op::topk, x, shape, attrs);
}

std::pair<Tensor, Tensor> kthvalue(const Tensor& x, int64_t k, int64_t dim, bool keepdim) {
  require_defined(x, "kthvalue");
  const int at = wrap_dim(dim, x.dim());
  if (x.dim() == 0) {
    QS_CHECK(k == 1, Error, "kthvalue(): selected number k out of range for dimension {}", at);
    auto [values, indices] = kthvalue(view(x, Dims{1}), k, 0, false);
    return {values, indices};
  }
  QS_CHECK(x.size(at) > 0, IndexError,
           "kthvalue(): Expected reduction dim {} to have non-zero size.", at);
  QS_CHECK(k >= 1 && k <= x.size(at), Error,
           "kthvalue(): selected number k out of range for dimension {}", at);
  QS_CHECK(x.dtype() != DType::bool_, NotImplementedError,
           "\"kthvalue_cpu\" not implemented for 'Bool'");
  Dims shape(x.shape());
  shape[static_cast<size_t>(at)] = 1;
  const uint64_t attrs[] = {attr(int64_t{at}), attr(k - 1)};
  auto [values, indices] = two_results(Op::kthvalue, x, shape, attrs);
  if (keepdim) return {values, indices};
  return {squeeze(values, Dims{at}), squeeze(indices, Dims{at})};
}

Tensor searchsorted(const Tensor& sorted, const Tensor& values, bool right) {
  require_defined(sorted, "searchsorted");
  require_defined(values, "searchsorted");
  const NoGrad guard;
  const ResultSpec spec[] = {{DType::i64, Dims(values.shape())}};
  RecordOptions options;
  options.compute = sorted.dtype();
  options.results = spec;
  return apply(Op::searchsorted, {sorted, values}, {attr(right)}, options);
}

// ---- reductions by index
namespace {

enum Mode : uint64_t { product = 2, largest = 3, smallest = 4 };

Scalar identity_of(Mode mode, DType d) {
  if (mode == product) return is_integral(d) ? Scalar(1) : Scalar(1.0);
  if (!is_integral(d)) return mode == largest ? -INFINITY : INFINITY;
  const bool top = mode == smallest;
  switch (d) {
    case DType::bool_:
      return top;
    case DType::u8:
      return int64_t{top ? 255 : 0};
    case DType::i8:
      return int64_t{top ? INT8_MAX : INT8_MIN};
    case DType::i16:
      return int64_t{top ? INT16_MAX : INT16_MIN};
    case DType::i32:
      return int64_t{top ? INT32_MAX : INT32_MIN};
    default:
      return top ? INT64_MAX : INT64_MIN;
  }
}

/// In place on `x`, as scatter_reduce or (with a vector of indices) index_reduce.
const Tensor& reduce_into(Op op, const Tensor& x, int at, const Tensor& index, const Tensor& source,
                          Mode mode) {
  const ResultSpec spec[] = {{x.dtype(), Dims(x.shape())}};
  RecordOptions options;
  options.compute = x.dtype();
  options.results = spec;
  const Operand in[] = {x, index, source};
  const uint64_t attrs[] = {attr(int64_t{at}), mode};
  return apply_in_place(op, x, in, attrs, options);
}

/// A vector of indices along `at` as one for each element of `source`.
Tensor spread(const Tensor& index, int at, const Tensor& source) {
  Dims shape(static_cast<size_t>(source.dim()), 1);
  shape[static_cast<size_t>(at)] = index.numel();
  return expand(view(index, shape), source.shape());
}

/// How many terms each mean has, at least 1.
Tensor counts_of(const Tensor& x, int at, const Tensor& index, DimSpan terms, bool include_self) {
  const NoGrad guard;
  const Options as(x.dtype(), x.device());
  Tensor start = ones(x.shape(), as);
  if (!include_self) start = scatter(start, at, index, 0);
  const Tensor count = scatter_add(start, at, index, ones(terms, as));
  return masked_fill(count, eq(count, 0), 1);
}

Tensor reduce(Op op, const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source,
              const std::string& mode, bool include_self) {
  const char* verb = op == Op::index_reduce ? "index_reduce()" : "scatter_reduce()";
  require_defined(x, verb);
  require_defined(source, verb);
  const bool by_vector = op == Op::index_reduce;
  QS_CHECK(
      mode == "prod" || mode == "mean" || mode == "amax" || mode == "amin" ||
          (mode == "sum" && !by_vector),
      Error, "{} {}prod, mean, amax or amin{} got {}{}",
      by_vector ? "index_reduce(): Expected reduce to be one of" : "reduce argument must be either",
      by_vector ? "" : "sum, ", by_vector ? " but" : ",", mode, by_vector ? "." : "");
  QS_CHECK(index.dtype() == DType::i64 || (by_vector && index.dtype() == DType::i32), Error,
           "{}: Expected dtype int{} for index", by_vector ? verb : "scatter",
           by_vector ? "32/int64" : "64");
  QS_CHECK(x.dtype() == source.dtype(), Error, "{}: Expected self.dtype to be equal to src.dtype",
           by_vector ? verb : "scatter()");
  const int at = wrap_dim(dim, x.dim());
  if (x.dim() == 0) {
    const auto up = [](const Tensor& t) { return t.dim() == 0 ? view(t, Dims{1}) : t; };
    return reshape(reduce(op, up(x), 0, up(index), up(source), mode, include_self), Dims{});
  }
  const Tensor i = index.dim() == 0 ? view(index, Dims{1}) : index;
  Tensor from = source.dim() == 0 ? view(source, Dims{1}) : source;
  if (by_vector) {
    QS_CHECK(i.dim() == 1, IndexError, "index_reduce_(): Index is supposed to be a vector");
    QS_CHECK(from.dim() == x.dim() && i.numel() == from.size(at), Error,
             "index_reduce_(): Number of indices ({}) should be equal to self.size(dim): ({}), for "
             "dim: {}",
             i.numel(), from.size(at), at);
  } else {
    QS_CHECK(x.dim() == i.dim(), Error,
             "Index tensor must have the same number of dimensions as self tensor");
    QS_CHECK(from.dim() == i.dim(), Error,
             "Index tensor must have the same number of dimensions as src tensor");
    for (int d = 0; d < i.dim(); ++d) {
      QS_CHECK(
          (d == at || i.size(d) <= x.size(d)) && i.size(d) <= from.size(d), Error,
          "Expected index {} to be no larger than self {} apart from dimension {} and to be no "
          "larger size than src {}",
          to_string(i.shape()), to_string(x.shape()), at, to_string(from.shape()));
      if (i.size(d) < from.size(d)) from = narrow(from, d, 0, i.size(d));
    }
  }
  if (i.numel() == 0) return clone(x);
  const Tensor full_index = by_vector ? spread(i, at, from) : i;
  if (mode == "sum" || mode == "mean") {
    Tensor base = include_self ? x : scatter(x, at, full_index, 0);
    const Tensor total = scatter_add(base, at, full_index, from);
    if (mode == "sum") return total;
    const Tensor count = counts_of(x, at, full_index, from.shape(), include_self);
    return is_integral(x.dtype()) ? div(total, count, "floor") : div(total, count);
  }
  QS_CHECK(mode == "prod" || !is_complex(x.dtype()), NotImplementedError,
           "\"{}\" not implemented for '{}'", by_vector ? "index_reduce" : "scatter_reduce",
           scalar_type_name(x.dtype()));
  const Mode m = mode == "prod" ? product : mode == "amax" ? largest : smallest;
  const Tensor out =
      include_self ? row_major_copy(x) : scatter(x, at, full_index, identity_of(m, x.dtype()));
  return reduce_into(by_vector ? Op::index_reduce : Op::scatter_reduce, out, at, i, from, m);
}

}  // namespace

Tensor scatter_reduce(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source,
                      const std::string& mode, bool include_self) {
  return reduce(Op::scatter_reduce, x, dim, index, source, mode, include_self);
}

Tensor index_reduce(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source,
                    const std::string& mode, bool include_self) {
  return reduce(Op::index_reduce, x, dim, index, source, mode, include_self);
}

}  // namespace qs
