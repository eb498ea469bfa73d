// Views, joining and repeating.
#include <algorithm>

#include "quicksilver/autograd/autograd.h"
#include "quicksilver/autograd/verbs.h"
#include "quicksilver/core/format.h"
#include "quicksilver/python/adapters.h"
#include "quicksilver/python/functions.h"

namespace qs::python {

namespace {

/// The bytes as another dtype: a view.
Tensor view_as_dtype(const Tensor& x, DType dtype) {
  const auto from = static_cast<int64_t>(size_of(x.dtype())),
             to = static_cast<int64_t>(size_of(dtype));
  Layout layout = x.layout();
  if (from != to) {
    const std::string what = qs::format("to view {} as {} (different element sizes)",
                                        scalar_type_name(x.dtype()), scalar_type_name(dtype));
    if (x.dim() == 0) raise(PyExc_RuntimeError, "self.dim() cannot be 0 {}", what);
    if (x.stride(-1) != 1)
      raise(PyExc_RuntimeError, "self.stride(-1) must be 1 {}, but got {}", what, x.stride(-1));
    const auto convert = [&](int64_t& n, const std::string& name) {
      if (n * from % to != 0)
        raise(PyExc_RuntimeError, "self.{} must be divisible by {} {}, but got {}", name, to / from,
              what, n);
      n = n * from / to;
    };
    convert(layout.shape.back(), "size(-1)");
    convert(layout.offset, "storage_offset()");
    for (size_t d = 0; d + 1 < layout.strides.size(); ++d)
      convert(layout.strides[d], qs::format("stride({})", d));
  }
  Tensor out(make_ref<TensorImpl>(x.impl()->storage, layout, dtype));
  out.impl()->own_versions = x.impl()->own_versions;
  return out;
}

PyObject* view_dtype(Call& c) {
  const Tensor& x = c.tensor(0);
  const DType dtype = c.dtype(1);
  if (dtype == x.dtype()) return wrap(view(x, x.shape()));
  return wrap(view_as_dtype(x, dtype));
}
Tensor expand_as(const Tensor& x, const Tensor& other) { return expand(x, other.shape()); }
Tensor view_as(const Tensor& x, const Tensor& other) { return view(x, other.shape()); }
Tensor reshape_as(const Tensor& x, const Tensor& other) { return reshape(x, other.shape()); }
Tensor ravel(const Tensor& x) { return reshape(contiguous(x), Dims{-1}); }
Tensor broadcast_to_shape(const Tensor& x, DimSpan shape) { return expand(x, shape); }

/// squeeze(dim) of an int or several; without: every dimension of extent 1.
Tensor squeeze_dims(const Tensor& x, const OptionalDims& dims) { return squeeze(x, dims); }

void move_dims(const Tensor& x, const Dims& from, const Dims& to_dims, Dims& order) {
  const int rank = x.dim();
  std::vector<int64_t> at(static_cast<size_t>(rank), -1);
  std::vector<bool> used(static_cast<size_t>(rank));
  if (from.size() != to_dims.size())
    raise(PyExc_RuntimeError,
          "movedim: Invalid source or destination dims: source ({} dims) should contain the same "
          "number of dims as destination ({} dims)",
          from.size(), to_dims.size());
  for (size_t i = 0; i < from.size(); ++i) {
    const auto f = static_cast<size_t>(wrap_dim(from[i], rank)),
               t = static_cast<size_t>(wrap_dim(to_dims[i], rank));
    if (rank == 0) return;
    if (used[f] || at[t] >= 0)
      raise(PyExc_RuntimeError, "movedim: repeated dim in `{}` ({})",
            used[f] ? "source" : "destination", to_string(used[f] ? from : to_dims));
    at[t] = static_cast<int64_t>(f);
    used[f] = true;
  }
  size_t next = 0;
  for (int64_t a : at) {
    if (a < 0) {
      while (used[next]) ++next;
      a = static_cast<int64_t>(next++);
    }
    order.push_back(a);
  }
}
Tensor movedim(const Tensor& x, DimSpan from, DimSpan to) {
  Dims order;
  move_dims(x, Dims(from), Dims(to), order);
  return permute(x, order);
}

PyObject* split_any(Call& c) {
  const bool sizes = PyTuple_Check(c.args[1]) || PyList_Check(c.args[1]);
  if (sizes) return wrap_tuple(split_sizes(c.tensor(0), to_dims(c.args[1]), c.integer(2)));
  if (!is_integer(c.args[1]))
    raise(PyExc_TypeError,
          "split(): argument 'split_size_or_sections' must be int or list of ints, not {}",
          type_name(c.args[1]));
  return wrap_tuple(split(c.tensor(0), to_integer(c.args[1]), c.integer(2)));
}
/// tensor_split: n parts as equal as can be, or parts that end at the given indices.
PyObject* tensor_split(Call& c) {
  const Tensor& x = c.tensor(0);
  const int64_t dim = wrap_dim(c.integer(2), x.dim());
  const int64_t extent = x.size(dim);
  Dims sizes;
  if (is_integer(c.args[1])) {
    const int64_t parts = to_integer(c.args[1]);
    if (parts <= 0)
      raise(PyExc_RuntimeError, "number of sections must be larger than 0, got {}", parts);
    for (int64_t i = 0; i < parts; ++i) sizes.push_back(extent / parts + (i < extent % parts));
  } else {
    // Slices between neighbouring ends; where ends go down a slice is empty.
    std::vector<Tensor> parts;
    int64_t before = 0;
    Dims ends = to_dims(c.args[1]);
    ends.push_back(extent);
    for (int64_t end : ends) {
      parts.push_back(slice(x, dim, before, end));
      before = end;
    }
    return wrap_tuple(parts);
  }
  return wrap_tuple(split_sizes(x, sizes, dim));
}

Tensor cat_named(const TensorList& tensors, int64_t dim) { return cat(tensors, dim); }
Tensor roll_dims(const Tensor& x, DimSpan shifts, const OptionalDims& dims) {
  if (dims && !dims->empty()) return roll(x, shifts, *dims);
  return reshape(roll(reshape(x, Dims{-1}), shifts, Dims{0}), x.shape());
}
Tensor tile(const Tensor& x, DimSpan given) {
  Dims dims(given);
  while (static_cast<int>(dims.size()) < x.dim()) dims.insert(0, 1);
  return repeat(x, dims);
}
Tensor fliplr(const Tensor& x) { return flip(x, Dims{1}); }
Tensor flipud(const Tensor& x) { return flip(x, Dims{0}); }
Tensor repeat_interleave_flat(const Tensor& x, int64_t n, std::optional<int64_t> dim) {
  return repeat_interleave(x, n, dim);
}

TensorList at_least(const TensorList& in, int rank) {
  TensorList out;
  for (Tensor t : in) {
    while (t.dim() < rank) t = unsqueeze(t, 0);
    out.push_back(std::move(t));
  }
  return out;
}
Tensor vstack(const TensorList& t) { return cat(at_least(t, 2), 0); }
Tensor hstack(const TensorList& t) {
  const TensorList parts = at_least(t, 1);
  return cat(parts, !parts.empty() && parts[0].dim() == 1 ? 0 : 1);
}
PyObject* broadcast_tensors(Call& c) {
  const TensorList in = c.tensors(0);
  Dims shape;
  for (const Tensor& t : in) shape = broadcast_shapes(shape, t.shape());
  TensorList out;
  for (const Tensor& t : in) out.push_back(expand(t, shape));
  return wrap_tuple(out);
}
PyObject* meshgrid(Call& c) {
  TensorList in = c.tensors(0);
  const std::string indexing = c.string(1);
  if (indexing != "ij" && indexing != "xy")
    raise(PyExc_RuntimeError,
          "torch.meshgrid: indexing must be one of \"xy\" or \"ij\", but received: {}", indexing);
  const bool swap = indexing == "xy" && in.size() >= 2;
  if (swap) std::swap(in[0], in[1]);
  Dims shape;
  for (const Tensor& t : in) {
    if (t.dim() > 1)
      raise(PyExc_RuntimeError,
            "torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {} dimensions",
            t.dim());
    shape.push_back(t.numel());
  }
  TensorList out;
  for (size_t i = 0; i < in.size(); ++i) {
    Dims own(in.size(), 1);
    own[i] = shape[i];
    out.push_back(expand(reshape(in[i], own), shape));
  }
  if (swap) {
    std::swap(out[0], out[1]);
  }
  return wrap_tuple(out);
}
/// resize_: new memory when the old is too small; elements are kept in order.
PyObject* resize_method(Call& c) {
  const Tensor& x = c.tensor(0);
  const Dims shape = c.dims(1);
  const int64_t need = checked_numel(shape);
  if (Dims(x.shape()) == shape) return new_ref(c.args[0]);
  if (x.requires_grad()) raise(PyExc_RuntimeError, "cannot resize variables that require grad");
  if (need * static_cast<int64_t>(size_of(x.dtype())) > x.storage().bytes) {
    const Tensor fresh = empty_tensor(shape, x.dtype(), x.device_type());
    if (x.numel()) copy_(slice(view(fresh, Dims{need}), 0, 0, x.numel()), reshape(x, Dims{-1}));
    x.impl()->storage = fresh.impl()->storage;
  }
  x.impl()->layout = Layout(shape, contiguous_strides(shape), x.impl()->layout.offset);
  return new_ref(c.args[0]);
}
template <class F>
PyObject* restride(Call& c, F&& f) {  // in-place views: squeeze_, unsqueeze_, transpose_, t_
  const Tensor& x = c.tensor(0);
  const bool tracked = autograd::grad_enabled() && x.requires_grad();
  if (tracked) autograd::check_in_place(x);
  const bool is_view = autograd::view_base(x).defined();
  // What it was stays behind as a tensor of its own, so that the history goes through the view.
  Tensor before = x;
  if (tracked && !is_view) {
    before = make_view(x, x.layout());
    autograd::set_history(before, autograd::grad_fn(x), autograd::grad_meta(x).edge.input);
  }
  const Tensor after = f(tracked ? before : detach(x));
  x.impl()->layout = after.layout();
  if (tracked) {
    const autograd::GradMeta& meta = autograd::grad_meta(after);
    autograd::set_history(x, meta.edge.node, meta.edge.input);
  }
  return new_ref(c.args[0]);
}

const Row rows[] = {
    FN("view", "m", "(Tensor input, dtype dtype)", &view_dtype, "The same bytes as another dtype."),
    FN("view", "m", "(Tensor input, int[] size)", &qs::view,
       "The same elements in another shape, without a copy."),
    FN("reshape", "fm", "(Tensor input, int[] shape)", &qs::reshape,
       "The same elements in another shape; a copy where a view cannot be."),
    FN("flatten", "fm", "(Tensor input, int start_dim=0, int end_dim=-1)", &qs::flatten,
       "Dimensions start_dim to end_dim made one."),
    FN("unflatten", "fm", "(Tensor input, int dim, int[] sizes)", &qs::unflatten,
       "One dimension made several."),
    FN("ravel", "fm", "(Tensor input)", &ravel, "One dimension."),
    FN("permute", "fm", "(Tensor input, int[] dims)", &qs::permute,
       "The dimensions in another order."),
    FN("transpose", "fm", "(Tensor input, int dim0, int dim1)", &qs::transpose,
       "Two dimensions swapped."),
    FN("swapaxes", "fm", "(Tensor input, int axis0, int axis1)", &qs::transpose,
       "Two dimensions swapped."),
    FN("swapdims", "fm", "(Tensor input, int dim0, int dim1)", &qs::transpose,
       "Two dimensions swapped."),
    FN("t", "fm", "(Tensor input)", &qs::t, "The transpose of a matrix."),
    FN(
        "adjoint", "fm", "(Tensor input)",
        +[](Call& c) -> PyObject* { return wrap(transpose(c.tensor(0), -2, -1)); },
        "The last two dimensions swapped."),
    FN("movedim", "fm", "(Tensor input, int[1] source, int[1] destination)", &movedim,
       "Dimensions moved to new places."),
    FN("moveaxis", "fm", "(Tensor input, int[1] source, int[1] destination)", &movedim,
       "Dimensions moved to new places."),
    FN(
        "expand", "m", "(Tensor input, int[] size, *, bool implicit=False)",
        +[](Call& c) -> PyObject* { return wrap(expand(c.tensor(0), c.dims(1))); },
        "Dimensions of extent 1 stretched, without a copy."),
    FN("expand_as", "m", "(Tensor input, Tensor other)", &expand_as, "expand to other's shape."),
    FN("broadcast_to", "fm", "(Tensor input, int[] size)", &broadcast_to_shape, "expand"),
    FN("view_as", "m", "(Tensor input, Tensor other)", &view_as, "view with other's shape."),
    FN("reshape_as", "m", "(Tensor input, Tensor other)", &reshape_as,
       "reshape with other's shape."),
    FN("squeeze", "fm", "(Tensor input, int[1]? dim=None)", &squeeze_dims,
       "Without dimensions of extent 1."),
    FN("unsqueeze", "fm", "(Tensor input, int dim)", &qs::unsqueeze,
       "A new dimension of extent 1."),
    FN("select", "fm", "(Tensor input, int dim, int index)", &qs::select,
       "One index of a dimension."),
    FN("narrow", "fm", "(Tensor input, int dim, int start, int length)", &qs::narrow,
       "length indices of a dimension."),
    FN("diagonal", "fm", "(Tensor input, int offset=0, int dim1=0, int dim2=1)", &qs::diagonal,
       "A view of a diagonal."),
    FN("as_strided", "fm", "(Tensor input, int[] size, int[] stride, int? storage_offset=None)",
       &qs::as_strided, "A view with strides of your own."),
    FN("unfold", "m", "(Tensor input, int dimension, int size, int step)", &qs::unfold,
       "Sliding windows, as a last dimension."),
    FN("split", "fm", "(Tensor input, object split_size, int dim=0)", &split_any,
       "Parts of one size, or of given sizes."),
    FN("split", "f", "(Tensor tensor, object split_size_or_sections, int dim=0)", &split_any,
       "Parts of one size, or of given sizes."),
    FN("split_with_sizes", "fm", "(Tensor input, int[] split_sizes, int dim=0)", &qs::split_sizes,
       "Parts of given sizes."),
    FN("tensor_split", "fm", "(Tensor input, object indices_or_sections, int dim=0)", &tensor_split,
       "Parts as equal as can be, or ending at indices."),
    FN("chunk", "fm", "(Tensor input, int chunks, int dim=0)", &qs::chunk,
       "At most so many parts of one size."),
    FN("unbind", "fm", "(Tensor input, int dim=0)", &qs::unbind, "All indices of a dimension."),
    FN("cat", "fo", "(Tensor[] tensors, int dim=0)", &cat_named, "Joined along a dimension."),
    FN("concat", "fo", "(Tensor[] tensors, int dim=0)", &cat_named, "cat"),
    FN("concatenate", "fo", "(Tensor[] tensors, int dim=0)", &cat_named, "cat"),
    FN("stack", "fo", "(Tensor[] tensors, int dim=0)", &qs::stack, "Joined along a new dimension."),
    FN("vstack", "f", "(Tensor[] tensors)", &vstack, "Joined as rows."),
    FN("hstack", "f", "(Tensor[] tensors)", &hstack, "Joined as columns."),
    FN("_broadcast_tensors", "f", "(Tensor[] tensors)", &broadcast_tensors,
       "Each expanded to the common shape."),
    FN("_meshgrid", "f", "(Tensor[] tensors, str indexing='ij')", &meshgrid, "Coordinate grids."),
    FN("flip", "fm", "(Tensor input, int[1] dims)", &qs::flip, "Reversed along dimensions."),
    FN("fliplr", "fm", "(Tensor input)", &fliplr, "Columns reversed."),
    FN("flipud", "fm", "(Tensor input)", &flipud, "Rows reversed."),
    FN("roll", "fm", "(Tensor input, int[1] shifts, int[1]? dims=None)", &roll_dims,
       "Shifted along dimensions, around the end."),
    FN("repeat", "m", "(Tensor input, int[] repeats)", &qs::repeat,
       "Repeated along each dimension."),
    FN("tile", "fm", "(Tensor input, int[] dims)", &tile,
       "Repeated; missing dimensions count as 1."),
    FN(
        "_repeat_interleave", "f",
        "(Tensor input, int repeats, int? dim=None, *, int? output_size=None)",
        +[](Call& c) -> PyObject* {
          return wrap(repeat_interleave_flat(c.tensor(0), c.integer(1), c.optional_integer(2)));
        },
        "Each element repeated."),
    FN("resize_", "m", "(Tensor input, int[] size, *, memory_format? memory_format=None)",
       &resize_method, "Another shape in place."),
    FN(
        "squeeze_", "m", "(Tensor input, int[1]? dim=None)",
        +[](Call& c) -> PyObject* {
          return restride(c, [&](const Tensor& x) { return squeeze(x, c.optional_dims(1)); });
        },
        "squeeze in place."),
    FN(
        "unsqueeze_", "m", "(Tensor input, int dim)",
        +[](Call& c) -> PyObject* {
          return restride(c, [&](const Tensor& x) { return unsqueeze(x, c.integer(1)); });
        },
        "unsqueeze in place."),
    FN(
        "transpose_", "m", "(Tensor input, int dim0, int dim1)",
        +[](Call& c) -> PyObject* {
          return restride(
              c, [&](const Tensor& x) { return transpose(x, c.integer(1), c.integer(2)); });
        },
        "transpose in place."),
    FN(
        "t_", "m", "(Tensor input)",
        +[](Call& c) -> PyObject* {
          return restride(c, [&](const Tensor& x) { return qs::t(x); });
        },
        "t in place."),
    {nullptr, "", "", nullptr, nullptr},
};

}  // namespace

QS_REGISTER(register_shape, rows)

}  // namespace qs::python
