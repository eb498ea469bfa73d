// Reductions, sorting and products.
#include <cmath>

#include "quicksilver/autograd/verbs.h"
#include "quicksilver/python/adapters.h"
#include "quicksilver/python/functions.h"

namespace qs::python {

namespace {

#define REDUCED "(Tensor input, int[1]? dim=None, bool keepdim=False)"
#define REDUCED_AS "(Tensor input, int[1]? dim=None, bool keepdim=False, *, dtype? dtype=None)"

OptionalDims some(OptionalDims dims) {  // an empty list means all, as PyTorch has it
  return dims && dims->empty() ? std::nullopt : std::move(dims);
}
Tensor sum_of(const Tensor& x, const OptionalDims& d, bool keep, std::optional<DType> t) {
  return sum(x, some(d), keep, t);
}
Tensor mean_of(const Tensor& x, const OptionalDims& d, bool keep, std::optional<DType> t) {
  if (!t && is_integral(x.dtype()))
    raise(PyExc_RuntimeError,
          "mean(): could not infer output dtype. Input dtype must be either a floating point or "
          "complex dtype. Got: {}",
          scalar_type_name(x.dtype()));
  return mean(x, some(d), keep, t);
}
Tensor nansum(const Tensor& x, const OptionalDims& d, bool keep, std::optional<DType> t) {
  if (is_integral(x.dtype())) return sum(x, some(d), keep, t);
  return sum(where(isnan(x), Scalar(0.0), x), some(d), keep, t);
}
PyObject* prod_all(Call& c) {
  return wrap(prod(c.tensor(0), std::nullopt, false, c.optional_dtype(1)));
}

/// var and std: (dim, unbiased) as it was, (dim, correction) as it is.
template <Tensor (*verb)(const Tensor&, const OptionalDims&, double, bool)>
PyObject* spread(Call& c) {  // (input, dim, correction, keepdim)
  return wrap(
      verb(c.tensor(0), some(c.optional_dims(1)), c.given(2) ? c.real(2) : 1.0, c.boolean(3)));
}
template <Tensor (*verb)(const Tensor&, const OptionalDims&, double, bool)>
PyObject* spread_unbiased(Call& c) {  // (input, dim, unbiased, keepdim)
  return wrap(verb(c.tensor(0), some(c.optional_dims(1)), c.boolean(2) ? 1.0 : 0.0, c.boolean(3)));
}
template <Tensor (*verb)(const Tensor&, const OptionalDims&, double, bool)>
PyObject* spread_all(Call& c) {  // (input, unbiased)
  return wrap(verb(c.tensor(0), std::nullopt, c.boolean(1) ? 1.0 : 0.0, false));
}
#define SPREAD(name, verb, doc)                                                           \
  FN(name, "fmo", "(Tensor input, bool unbiased)", &spread_all<verb>, doc),               \
      FN(name, "fmo", "(Tensor input, int[1]? dim, bool unbiased, bool keepdim=False)",   \
         &spread_unbiased<verb>, doc),                                                    \
      FN(name, "fmo",                                                                     \
         "(Tensor input, int[1]? dim=None, *, Number? correction=1, bool keepdim=False)", \
         &spread<verb>, doc)

template <Tensor (*verb)(const Tensor&, const OptionalDims&, double, bool)>
PyObject* spread_and_mean(Call& c) {
  const OptionalDims dims = some(c.optional_dims(1));
  const double correction = c.given(2) ? c.real(2) : 1.0;
  return wrap_tuple(
      {verb(c.tensor(0), dims, correction, c.boolean(3)), mean(c.tensor(0), dims, c.boolean(3))});
}

PyObject* max_all(Call& c) { return wrap(amax(c.tensor(0))); }
PyObject* min_all(Call& c) { return wrap(amin(c.tensor(0))); }
PyObject* max_two(Call& c) { return wrap(maximum(c.tensor(0), c.tensor(1))); }
PyObject* min_two(Call& c) { return wrap(minimum(c.tensor(0), c.tensor(1))); }
PyObject* aminmax(Call& c) {
  OptionalDims dims;
  if (c.given(1)) dims = Dims{c.integer(1)};
  return wrap_named(c,
                    {amin(c.tensor(0), dims, c.boolean(2)), amax(c.tensor(0), dims, c.boolean(2))},
                    {"min", "max"});
}
Tensor logsumexp_of(const Tensor& x, const Dims& dims, bool keepdim) {
  return logsumexp(x, dims, keepdim);
}

/// torch.norm's p: a number, inf, or the name of the norm.
PyObject* norm_any(Call& c) {  // (input, p, dim, keepdim, dtype)
  double p = 2;
  if (c.given(1)) {
    if (PyUnicode_Check(c.args[1])) {
      const std::string name = text_of(c.args[1]);
      if (name == "nuc") {  // sums singular values
        const PyRef home = PyRef::steal(PyImport_ImportModule("quicksilver.linalg"));
        const PyRef x =
            PyRef::steal(wrap(c.given(4) ? to(c.tensor(0), {}, c.dtype(4)) : c.tensor(0)));
        return PyObject_CallMethod(home.get(), "norm", "OsOO", x.get(), "nuc",
                                   c.given(2) ? c.args[2] : Py_None,
                                   c.boolean(3) ? Py_True : Py_False);
      }
      if (name != "fro")
        raise(PyExc_RuntimeError, "norm(): p='{}' is no norm: 'fro', 'nuc' or a number is", name);
    } else {
      p = to_scalar(c.args[1]).to_double();
    }
  }
  const Tensor& x = c.tensor(0);
  return wrap(
      norm(c.given(4) ? to(x, {}, c.dtype(4)) : x, p, some(c.optional_dims(2)), c.boolean(3)));
}
Tensor dist(const Tensor& x, const Tensor& y, double p) { return norm(sub(x, y), p); }

Tensor cumulative_sum_(const Tensor& x, int64_t dim) { return copy_(x, cumsum(x, dim)); }
std::pair<Tensor, Tensor> sort_stable(const Tensor& x, bool, int64_t dim, bool descending) {
  return sort(x, dim, descending);
}
PyObject* argsort_stable(Call& c) { return wrap(argsort(c.tensor(0), c.integer(1), c.boolean(2))); }
Tensor count_nonzero(const Tensor& x, const OptionalDims& dims) {
  return sum(ne(x, Scalar(0)), some(dims));
}

Tensor isclose(const Tensor& x, const Tensor& y, double rtol, double atol, bool equal_nan) {
  if (x.dtype() == DType::bool_ && y.dtype() == DType::bool_) return eq(x, y);
  Tensor close =
      logical_or(eq(x, y), le(abs(sub(x, y)), add(mul(abs(y), Scalar(rtol)), Scalar(atol))));
  if (is_floating(x.dtype())) {
    close = logical_or(eq(x, y), logical_and(close, isfinite(sub(x, y))));
    if (equal_nan) close = logical_or(close, logical_and(isnan(x), isnan(y)));
  }
  return close;
}
PyObject* allclose(Call& c) {
  return py_bool(item_of(all(isclose(c.tensor(0), c.tensor(1), c.real(2), c.real(3), c.boolean(4))))
                     .to_bool());
}
PyObject* equal_tensors(Call& c) {
  bool same;
  {
    GilRelease release(may_wait(c.tensor(0)));
    same = equal(c.tensor(0), c.tensor(1));
  }
  return py_bool(same);
}

const Tensor& addmm_(const Tensor& x, const Tensor& a, const Tensor& b, Scalar beta, Scalar alpha) {
  return copy_(x, addmm(x, a, b, beta, alpha));
}
/// alpha * product + beta * x; with beta 0 x is not read, not even its NaNs.
Tensor added(const Tensor& x, const Tensor& product, Scalar beta, Scalar alpha) {
  const Tensor scaled = mul(product, alpha);
  const Tensor shape = expand(x, product.shape());  // x must fit the product, not widen it
  if (beta.to_double() == 0 && beta.imag() == 0) return scaled;
  return add(scaled, beta.to_double() == 1.0 && beta.imag() == 0 ? shape : mul(shape, beta));
}
Tensor baddbmm(const Tensor& x, const Tensor& a, const Tensor& b, Scalar beta, Scalar alpha) {
  return added(x, bmm(a, b), beta, alpha);
}
Tensor addmv(const Tensor& x, const Tensor& a, const Tensor& b, Scalar beta, Scalar alpha) {
  if (x.dim() > 1 || a.dim() != 2 || b.dim() != 1)
    raise(PyExc_RuntimeError, "vector + matrix @ vector expected, got {}, {}, {}", x.dim(), a.dim(),
          b.dim());
  return added(x, mv(a, b), beta, alpha);
}
Tensor addr(const Tensor& x, const Tensor& a, const Tensor& b, Scalar beta, Scalar alpha) {
  return added(x, outer(a, b), beta, alpha);
}
/// Sums of products along the last dimensions: [..., k], [..., k] -> both other shapes joined.
Tensor inner(const Tensor& x, const Tensor& y) {
  if (x.dim() == 0 || y.dim() == 0) return mul(x, y);
  if (x.shape().back() != y.shape().back())
    raise(PyExc_RuntimeError,
          "inner() the last dimension must match on both input tensors but got shapes {} and {}",
          to_string(x.shape()), to_string(y.shape()));
  const int64_t k = x.shape().back();
  Dims shape(x.shape().first(x.shape().size() - 1));
  for (int64_t n : y.shape().first(y.shape().size() - 1)) shape.push_back(n);
  const auto rows = [k](const Tensor& t) {
    int64_t n = 1;
    for (int64_t s : t.shape().first(t.shape().size() - 1)) n *= s;
    return reshape(t, Dims{n, k});
  };
  return reshape(mm(rows(x), transpose(rows(y), 0, 1)), shape);
}
PyObject* spread_unbiased(Call& c, Tensor (*verb)(const Tensor&, const OptionalDims&, double, bool),
                          int unbiased, bool over_dims) {
  const OptionalDims dims = over_dims ? some(c.optional_dims(1)) : OptionalDims();
  const bool keepdim = over_dims && c.boolean(3);
  return wrap_tuple({verb(c.tensor(0), dims, c.boolean(unbiased) ? 1.0 : 0.0, keepdim),
                     mean(c.tensor(0), dims, keepdim)});
}
#define ADDED "*, Number beta=1, Number alpha=1)"

const Row rows[] = {
    FN("sum", "fmo", REDUCED_AS, &sum_of, "Sum over dimensions."),
    FN("mean", "fmo", REDUCED_AS, &mean_of, "Mean over dimensions."),
    FN("nansum", "fmo", REDUCED_AS, &nansum, "Sum over dimensions, NaN counting as 0."),
    FN("prod", "fmo", "(Tensor input, *, dtype? dtype=None)", &prod_all,
       "Product of all elements."),
    FN("prod", "fmo", "(Tensor input, int dim, bool keepdim=False, *, dtype? dtype=None)",
       &qs::prod, "Product over a dimension."),
    SPREAD("var", &qs::var, "Variance over dimensions, divided by n - correction."),
    SPREAD("std", &qs::std_, "Standard deviation over dimensions."),
#define UNBIASED(name, verb)                                                           \
  FN(                                                                                  \
      name, "f", "(Tensor input, bool unbiased)",                                      \
      +[](Call& c) -> PyObject* { return spread_unbiased(c, verb, 1, false); },        \
      "Divided by n - 1, or by n."),                                                   \
      FN(                                                                              \
          name, "f", "(Tensor input, int[1]? dim, bool unbiased, bool keepdim=False)", \
          +[](Call& c) -> PyObject* { return spread_unbiased(c, verb, 2, true); },     \
          "Divided by n - 1, or by n.")
    UNBIASED("var_mean", &qs::var),
    FN("var_mean", "f",
       "(Tensor input, int[1]? dim=None, *, Number? correction=1, bool keepdim=False)",
       &spread_and_mean<&qs::var>, "(variance, mean)"),
    UNBIASED("std_mean", &qs::std_),
    FN("std_mean", "f",
       "(Tensor input, int[1]? dim=None, *, Number? correction=1, bool keepdim=False)",
       &spread_and_mean<&qs::std_>, "(standard deviation, mean)"),
    FN("amax", "fmo", "(Tensor input, int[1]? dim=None, bool keepdim=False)", &qs::amax,
       "Largest over dimensions."),
    FN("amin", "fmo", "(Tensor input, int[1]? dim=None, bool keepdim=False)", &qs::amin,
       "Smallest over dimensions."),
    FN("any", "fmo", REDUCED, &qs::any, "Whether one element is not zero."),
    FN("all", "fmo", REDUCED, &qs::all, "Whether no element is zero."),
    FN("max", "fmo", "(Tensor input)", &max_all, "The largest element."),
    FN("max", "fmo", "(Tensor input, int dim, bool keepdim=False)", &qs::max_dim,
       "(values, indices) of the largest along a dimension."),
    FN("max", "fmo", "(Tensor input, Tensor other)", &max_two, "The larger of two, elementwise."),
    FN("min", "fmo", "(Tensor input)", &min_all, "The smallest element."),
    FN("min", "fmo", "(Tensor input, int dim, bool keepdim=False)", &qs::min_dim,
       "(values, indices) of the smallest along a dimension."),
    FN("min", "fmo", "(Tensor input, Tensor other)", &min_two, "The smaller of two, elementwise."),
    FN("aminmax", "fm", "(Tensor input, *, int? dim=None, bool keepdim=False)", &aminmax,
       "(min, max)"),
    FN("argmax", "fmo", "(Tensor input, int? dim=None, bool keepdim=False)", &qs::argmax,
       "The index of the largest."),
    FN("argmin", "fmo", "(Tensor input, int? dim=None, bool keepdim=False)", &qs::argmin,
       "The index of the smallest."),
    FN("logsumexp", "fmo", "(Tensor input, int[1] dim, bool keepdim=False)", &logsumexp_of,
       "log(sum(exp(input)))"),
    FN("norm", "fm",
       "(Tensor input, object p=None, int[1]? dim=None, bool keepdim=False, dtype? dtype=None)",
       &norm_any, "The p-norm over dimensions."),
    FN("dist", "fm", "(Tensor input, Tensor other, float p=2.0)", &dist,
       "The p-norm of the difference."),
    FN("cumsum", "fmo", "(Tensor input, int dim, *, dtype? dtype=None)", &qs::cumsum,
       "Running sum."),
    FN("cumsum_", "m", "(Tensor input, int dim)", &cumulative_sum_, "Running sum, in place."),
    FN("cumprod", "fmo", "(Tensor input, int dim, *, dtype? dtype=None)", &qs::cumprod,
       "Running product."),
    FN("sort", "fmo", "(Tensor input, int dim=-1, bool descending=False)", &qs::sort,
       "(values, indices) in order; stable."),
    FN("sort", "fmo", "(Tensor input, *, bool stable, int dim=-1, bool descending=False)",
       &sort_stable, "(values, indices) in order; stable."),
    FN("argsort", "fm", "(Tensor input, int dim=-1, bool descending=False, bool stable=True)",
       &argsort_stable, "The indices that sort."),
    FN("topk", "fmo", "(Tensor input, int k, int dim=-1, bool largest=True, bool sorted=True)",
       &qs::topk, "(values, indices) of the k largest."),
    FN("count_nonzero", "fm", "(Tensor input, int[1]? dim=None)", &count_nonzero,
       "How many are not zero."),
    FN("equal", "fm", "(Tensor input, Tensor other)", &equal_tensors,
       "Same shape, same elements; a bool."),
    FN("isclose", "fm",
       "(Tensor input, Tensor other, float rtol=1e-05, float atol=1e-08, bool equal_nan=False)",
       &isclose, "|input - other| <= atol + rtol * |other|"),
    FN("allclose", "fm",
       "(Tensor input, Tensor other, float rtol=1e-05, float atol=1e-08, bool equal_nan=False)",
       &allclose, "isclose everywhere; a bool."),
    FN("matmul", "fmo", "(Tensor input, Tensor other)", &qs::matmul,
       "Matrix product, batched over leading dimensions."),
    FN("mm", "fmo", "(Tensor input, Tensor mat2)", &qs::mm, "Product of two matrices."),
    FN("bmm", "fmo", "(Tensor input, Tensor mat2)", &qs::bmm,
       "Products of two batches of matrices."),
    FN("mv", "fmo", "(Tensor input, Tensor vec)", &qs::mv, "Matrix times vector."),
    FN("dot", "fmo", "(Tensor input, Tensor tensor)", &qs::dot, "Inner product of two vectors."),
    FN("inner", "fmo", "(Tensor input, Tensor other)", &inner,
       "Sum product over the last dimensions."),
    FN("outer", "fmo", "(Tensor input, Tensor vec2)", &qs::outer, "Outer product of two vectors."),
    FN("ger", "fm", "(Tensor input, Tensor vec2)", &qs::outer, "Outer product of two vectors."),
    FN("addmm", "fmo", "(Tensor input, Tensor mat1, Tensor mat2, " ADDED, &qs::addmm,
       "beta * input + alpha * mat1 @ mat2"),
    FN("addmm_", "m", "(Tensor input, Tensor mat1, Tensor mat2, " ADDED, &addmm_,
       "addmm in place."),
    FN("baddbmm", "fmo", "(Tensor input, Tensor batch1, Tensor batch2, " ADDED, &baddbmm,
       "beta * input + alpha * batch1 @ batch2"),
    FN("addmv", "fmo", "(Tensor input, Tensor mat, Tensor vec, " ADDED, &addmv,
       "beta * input + alpha * mat @ vec"),
    FN("addr", "fmo", "(Tensor input, Tensor vec1, Tensor vec2, " ADDED, &addr,
       "beta * input + alpha * outer(vec1, vec2)"),
    {nullptr, "", "", nullptr, nullptr},
};

}  // namespace

QS_REGISTER(register_reduce, rows)

}  // namespace qs::python
