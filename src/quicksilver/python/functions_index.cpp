// Gather, scatter, masks: functions that take indices as tensors.
#include "quicksilver/autograd/verbs.h"
#include "quicksilver/python/adapters.h"

namespace qs::python {

namespace {

TensorList optional_indices(const Call& c, int i) {
  TensorList list;
  for (Py_ssize_t k = 0; k < PySequence_Fast_GET_SIZE(c.args[i]); ++k) {
    PyObject* o = PySequence_Fast_GET_ITEM(c.args[i], k);
    list.push_back(o == Py_None ? Tensor() : to_tensor(o));
  }
  return list;
}
PyObject* index_put_in_place(Call& c) {
  index_put_(c.tensor(0), optional_indices(c, 1), c.tensor(2), c.boolean(3));
  return new_ref(c.args[0]);
}
PyObject* index_put(Call& c) {
  const Tensor copy = clone(c.tensor(0));
  index_put_(copy, optional_indices(c, 1), c.tensor(2), c.boolean(3));
  return wrap(copy);
}

/// One index tensor along `dim`, whole dimensions before it.
TensorList along(const Tensor& x, int64_t dim, const Tensor& index) {
  TensorList list(static_cast<size_t>(wrap_dim(dim, x.dim())) + 1);
  list.back() = index;
  return list;
}
/// index_put_ wants dimension `dim` of the source where the index stands, which it is.
const Tensor& index_copy_(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source) {
  if (x.dim() > 0) return index_put_(x, along(x, dim, index), source);
  index_copy_(view(x, Dims{1}), dim, index, reshape(source, Dims{-1}));
  return x;
}
Tensor index_copy(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source) {
  const Tensor copy = clone(x);
  index_copy_(copy, dim, index, source);
  return copy;
}
const Tensor& index_fill_(const Tensor& x, int64_t dim, const Tensor& index, const Operand& value) {
  const Tensor v = value.is_tensor()
                       ? to(Tensor(Ref<TensorImpl>(value.impl())), x.device(), x.dtype())
                       : full(Dims{}, value.number(), Options(x.dtype(), x.device()));
  if (x.dim() > 0) return index_put_(x, along(x, dim, index), v);
  index_put_(view(x, Dims{1}), along(x, dim, index), v);
  return x;
}
Tensor index_fill(const Tensor& x, int64_t dim, const Tensor& index, const Operand& value) {
  const Tensor copy = clone(x);
  index_fill_(copy, dim, index, value);
  return copy;
}
Tensor take(const Tensor& x, const Tensor& at) { return index(reshape(x, Dims{-1}), {at}); }
/// gather whose indices may count from the end, as NumPy's.
Tensor take_along_dim(const Tensor& x, const Tensor& at, std::optional<int64_t> dim) {
  const int64_t count = dim ? x.size(*dim) : x.numel();
  const Tensor wrapped = at.dtype() == DType::i64 ? where(lt(at, 0), add(at, count), at) : at;
  return dim ? gather(x, *dim, wrapped)
             : gather(reshape(x, Dims{-1}), 0, reshape(wrapped, Dims{-1}));
}
PyObject* nonzero_any(Call& c) {
  Tensor r;
  {
    GilRelease release(may_wait(c.tensor(0)));
    const bool is_scalar = c.boolean(1) && c.tensor(0).dim() == 0;
    r = nonzero(is_scalar ? unsqueeze(c.tensor(0), 0) : c.tensor(0));
  }
  return c.boolean(1) ? wrap_tuple(unbind(r, 1)) : wrap(r);
}
PyObject* masked_select_any(Call& c) {
  Tensor r;
  {
    GilRelease release(may_wait(c.tensor(0)));
    r = masked_select(c.tensor(0), c.tensor(1));
  }
  return wrap(r);
}
Tensor index_add_plain(const Tensor& x, int64_t dim, const Tensor& i, const Tensor& s,
                       Scalar alpha) {
  return index_add(x, dim, i, s, alpha);
}
/// scatter with reduce='add' or 'multiply', into `x`.
void scatter_reduce_into(const Tensor& x, Call& c) {
  const std::string reduce = c.string(4);
  if (reduce != "add" && reduce != "multiply")
    raise(PyExc_RuntimeError, "reduce argument must be either add or multiply.");
  const Tensor& index = c.tensor(2);
  const Tensor source = is_tensor(c.args[3])
                            ? c.tensor(3)
                            : full(index.shape(), c.number(3), Options(x.dtype(), x.device()));
  if (reduce == "add")
    scatter_add_(x, c.integer(1), index, source);
  else
    copy_(x, scatter_reduce(before_write(x), c.integer(1), to(index, {}, DType::i64), source,
                            "prod", true));
}
PyObject* scatter_reduce_in_place(Call& c) {
  scatter_reduce_into(c.tensor(0), c);
  return new_ref(c.args[0]);
}
PyObject* scatter_reduced(Call& c) {
  const Tensor out = contiguous(clone(c.tensor(0)));
  scatter_reduce_into(out, c);
  return wrap(out);
}
const Tensor& masked_scatter_(const Tensor& x, const Tensor& mask, const Tensor& source) {
  const Tensor full_mask = expand(mask, x.shape());
  // Which element of the source each place takes, were it taken: no list of places is made.
  const Tensor before = sub(cumsum(reshape(full_mask, Dims{-1}), 0), 1);
  const int64_t n = before.numel() ? item_of(select(before, 0, -1)).to_int() + 1 : 0;
  if (n > source.numel())
    raise(PyExc_RuntimeError, "Number of elements of source < number of ones in mask");
  if (n == 0) return x;
  const Tensor taken =
      index_select(reshape(source, Dims{-1}), 0, clamp(before, Scalar(0), std::nullopt));
  return copy_(x, where(full_mask, reshape(taken, x.shape()), x));
}

const Row rows[] = {
    FN("index_select", "fmo", "(Tensor input, int dim, Tensor index)", &qs::index_select,
       "The given indices of a dimension."),
    FN(
        "gather", "fmo", "(Tensor input, int dim, Tensor index, *, bool sparse_grad=False)",
        +[](Call& c) -> PyObject* { return wrap(gather(c.tensor(0), c.integer(1), c.tensor(2))); },
        "input[index[i][j]][j], and so on for each dim."),
    FN("take", "fm", "(Tensor input, Tensor index)", &take, "Elements of the flat input."),
    FN("take_along_dim", "fm", "(Tensor input, Tensor indices, int? dim=None)", &take_along_dim,
       "gather"),
    FN("index_put_", "fm", "(Tensor input, Tensor[] indices, Tensor values, bool accumulate=False)",
       &index_put_in_place, "input[indices] = values"),
    FN("index_put", "fm", "(Tensor input, Tensor[] indices, Tensor values, bool accumulate=False)",
       &index_put, "A copy with input[indices] = values."),
    FN("index_add", "fm", "(Tensor input, int dim, Tensor index, Tensor source, *, Number alpha=1)",
       &index_add_plain, "input with alpha * source added at the indices."),
    FN("index_add_", "m", "(Tensor input, int dim, Tensor index, Tensor source, *, Number alpha=1)",
       &qs::index_add_, "index_add in place."),
    FN("index_copy", "fm", "(Tensor input, int dim, Tensor index, Tensor source)", &index_copy,
       "input with source at the indices."),
    FN("index_copy_", "m", "(Tensor input, int dim, Tensor index, Tensor source)", &index_copy_,
       "index_copy in place."),
    FN("index_fill", "fm", "(Tensor input, int dim, Tensor index, Tensor|Number value)",
       &index_fill, "input with value at the indices."),
    FN("index_fill_", "m", "(Tensor input, int dim, Tensor index, Tensor|Number value)",
       &index_fill_, "index_fill in place."),
    FN("scatter", "fm", "(Tensor input, int dim, Tensor index, Tensor|Number src)", &qs::scatter,
       "input with src at the indices along dim."),
    FN("scatter", "fm", "(Tensor input, int dim, Tensor index, Tensor|Number value)", &qs::scatter,
       "input with value at the indices along dim."),
    FN("scatter", "fm", "(Tensor input, int dim, Tensor index, Tensor|Number src, *, str reduce)",
       &scatter_reduced, "scatter that adds or multiplies."),
    FN("scatter", "fm", "(Tensor input, int dim, Tensor index, Tensor|Number value, *, str reduce)",
       &scatter_reduced, "scatter that adds or multiplies."),
    FN("scatter_", "m", "(Tensor input, int dim, Tensor index, Tensor|Number src)", &qs::scatter_,
       "scatter in place."),
    FN("scatter_", "m", "(Tensor input, int dim, Tensor index, Tensor|Number value)", &qs::scatter_,
       "scatter in place."),
    FN("scatter_", "m", "(Tensor input, int dim, Tensor index, Tensor|Number src, *, str reduce)",
       &scatter_reduce_in_place, "scatter that adds or multiplies."),
    FN("scatter_", "m", "(Tensor input, int dim, Tensor index, Tensor|Number value, *, str reduce)",
       &scatter_reduce_in_place, "scatter that adds or multiplies."),
    FN("scatter_add", "fm", "(Tensor input, int dim, Tensor index, Tensor src)", &qs::scatter_add,
       "input with src added at the indices along dim."),
    FN("scatter_add_", "m", "(Tensor input, int dim, Tensor index, Tensor src)", &qs::scatter_add_,
       "scatter_add in place."),
    FN("masked_select", "fmo", "(Tensor input, Tensor mask)", &masked_select_any,
       "The elements where the mask holds, as one dimension."),
    FN("masked_scatter_", "m", "(Tensor input, Tensor mask, Tensor source)", &masked_scatter_,
       "Elements of source where the mask holds, in order."),
    FN("nonzero", "fm", "(Tensor input, *, bool as_tuple=False)", &nonzero_any,
       "The indices of elements that are not zero."),
    FN("argwhere", "fm", "(Tensor input)", &qs::nonzero, "nonzero"),
    {nullptr, "", "", nullptr, nullptr},
};

}  // namespace

QS_REGISTER(register_index, rows)

}  // namespace qs::python
