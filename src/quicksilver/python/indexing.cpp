// x[key] and x[key] = value: a key becomes views first, then at most one gather or scatter.
//
// Ints, slices, None and Ellipsis make views. What is left (tensors, lists, arrays, masks) is
// collected, one entry a dimension of the view, and handed to index or index_put_.
#include <algorithm>

#include "quicksilver/autograd/verbs.h"
#include "quicksilver/python/functions.h"

namespace qs::python {

namespace {

[[noreturn]] void out_of_bounds(int64_t index, int dim, int64_t size) {
  raise(PyExc_IndexError, "index {} is out of bounds for dimension {} with size {}", index, dim,
        size);
}

Tensor select_checked(const Tensor& x, int dim, int64_t index, int shown_dim) {
  const int64_t size = x.shape()[static_cast<size_t>(dim)];
  if (index < -size || index >= size) out_of_bounds(index, shown_dim, size);
  return select(x, dim, index < 0 ? index + size : index);
}

Tensor slice_checked(const Tensor& x, int dim, PyObject* key) {
  auto* s = reinterpret_cast<PySliceObject*>(key);
  if (s->start == Py_None && s->stop == Py_None && s->step == Py_None) return x;
  Py_ssize_t start, stop, step;
  check(PySlice_Unpack(key, &start, &stop, &step));
  if (step <= 0) raise(PyExc_ValueError, "step must be greater than zero");
  const int64_t size = x.shape()[static_cast<size_t>(dim)];
  PySlice_AdjustIndices(static_cast<Py_ssize_t>(size), &start, &stop, step);
  if (start == 0 && stop == size && step == 1) return x;
  return slice(x, dim, start, stop < start ? start : stop, step);
}

/// A list that means a tuple: it holds slices, None, Ellipsis, tensors or further sequences.
bool stands_for_tuple(PyObject* key) {
  if (!PyList_Check(key)) return false;
  const Py_ssize_t n = PyList_GET_SIZE(key);
  if (n >= 32) return false;
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* o = PyList_GET_ITEM(key, i);
    if (is_tensor(o) || PySlice_Check(o) || o == Py_Ellipsis || o == Py_None || PyList_Check(o) ||
        PyTuple_Check(o) || is_numpy_array(o))
      return true;
  }
  return false;
}

/// bool, and uint8 as older code has it.
bool is_mask(const Tensor& t) {
  return t.dtype() == DType::bool_ || (t.dtype() == DType::u8 && t.dim() > 0);
}

int dimensions_of(PyObject* item) {
  if (item == Py_None || item == Py_Ellipsis || PyBool_Check(item)) return 0;
  if (is_tensor(item)) {
    const Tensor& t = tensor_of(item);
    return is_mask(t) ? t.dim() : 1;
  }
  return 1;
}

/// The views of a key, and what remains for a gather.
struct Walk {
  Tensor x;
  TensorList indices;  // undefined entries: whole dimensions
  bool gathers = false;
};

void put_index(Walk& w, int dim, Tensor index) {
  if (!is_integral(index.dtype()))
    raise(PyExc_IndexError, "tensors used as indices must be long, int, byte or bool tensors");
  if (index.device_type() != w.x.device_type()) index = to(index, w.x.device(), std::nullopt);
  if (static_cast<int>(w.indices.size()) <= dim) w.indices.resize(static_cast<size_t>(dim) + 1);
  if (index.dtype() == DType::bool_) {
    const int at = dim, count = index.dim();
    for (int d = 0; d < count; ++d)
      if (at + d >= w.x.dim() ||
          index.shape()[static_cast<size_t>(d)] != w.x.shape()[static_cast<size_t>(at + d)])
        raise(PyExc_IndexError,
              "The shape of the mask {} at index {} does not match the shape of the indexed tensor "
              "{} "
              "at index {}",
              to_string(index.shape()), d, to_string(w.x.shape()), at + d);
  }
  w.indices[static_cast<size_t>(dim)] = std::move(index);
  w.gathers = true;
}

Walk walk(const Tensor& self, PyObject* const* items, Py_ssize_t n) {
  Walk w{self, {}, false};
  int specified = 0;
  Py_ssize_t gathering = 0;
  for (Py_ssize_t i = 0; i < n; ++i) {
    specified += dimensions_of(items[i]);
    gathering += (is_tensor(items[i]) && tensor_of(items[i]).dim() > 0) || PyList_Check(items[i]) ||
                 PyTuple_Check(items[i]) || is_numpy_array(items[i]);
  }
  if (specified > self.dim())
    raise(PyExc_IndexError, "too many indices for tensor of dimension {}", self.dim());
  int dim = 0, shown = 0;
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* item = items[i];
    if (PySlice_Check(item)) {
      w.x = slice_checked(w.x, dim++, item);
      ++shown;
    } else if (item == Py_None) {
      w.x = unsqueeze(w.x, dim++);
    } else if (item == Py_Ellipsis) {
      dim += self.dim() - specified;
      shown += self.dim() - specified;
    } else if (PyBool_Check(item)) {
      w.x = unsqueeze(w.x, dim);
      const bool on = item == Py_True;
      put_index(w, dim++, full(Dims{1}, Scalar(on), Options(DType::bool_, w.x.device())));
    } else if (PyLong_Check(item) || (!is_tensor(item) && is_integer(item))) {
      w.x = select_checked(w.x, dim, to_integer(item), shown++);
    } else if (is_tensor(item)) {
      const Tensor& t = tensor_of(item);
      if (t.dim() == 0 && t.dtype() != DType::bool_ && is_integral(t.dtype()) &&
          !(t.is_mps() && gathering == 0)) {
        w.x = select_checked(w.x, dim, to_integer(item), shown++);
      } else if (t.dim() == 0 && t.dtype() == DType::bool_) {
        w.x = unsqueeze(w.x, dim);
        put_index(w, dim++, reshape(t, Dims{1}));
      } else {
        // On mps one lone 0-dim index stays on the device: reading it would cut the tape.
        if (t.dim() == 0) ++gathering;
        const int taken = is_mask(t) ? t.dim() : 1;
        put_index(w, dim, is_mask(t) && t.dtype() == DType::u8 ? to(t, {}, DType::bool_) : t);
        dim += taken;
        shown += taken;
        w.indices.resize(std::max<size_t>(w.indices.size(), static_cast<size_t>(dim)));
      }
    } else if (PyList_Check(item) || PyTuple_Check(item) || is_numpy_array(item) ||
               PySequence_Check(item)) {
      Tensor index = tensor_from_data(item, {}, w.x.device());
      if (index.numel() == 0 && is_floating(index.dtype())) index = to(index, {}, DType::i64);
      const int taken = index.dtype() == DType::bool_ ? index.dim() : 1;
      put_index(w, dim, std::move(index));
      dim += taken;
      shown += taken;
      w.indices.resize(std::max<size_t>(w.indices.size(), static_cast<size_t>(dim)));
    } else {
      raise(PyExc_IndexError,
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are "
            "valid indices (got {})",
            type_name(item));
    }
  }
  // A mask of several dimensions is one entry for the verbs: drop the places it covers.
  TensorList packed;
  for (size_t d = 0; d < w.indices.size();) {
    const Tensor& t = w.indices[d];
    const size_t taken =
        t.defined() && t.dtype() == DType::bool_ ? static_cast<size_t>(t.dim()) : 1;
    packed.push_back(t);
    d += taken ? taken : 1;
  }
  w.indices = std::move(packed);
  return w;
}

Walk walk_key(const Tensor& self, PyObject* key) {
  if (PyTuple_Check(key)) return walk(self, PySequence_Fast_ITEMS(key), PyTuple_GET_SIZE(key));
  if (stands_for_tuple(key)) {
    const PyRef items = PyRef::steal(PySequence_Tuple(key));
    return walk(self, PySequence_Fast_ITEMS(items.get()), PyTuple_GET_SIZE(items.get()));
  }
  return walk(self, &key, 1);
}

/// Masks of mps are counted first, which runs the tape.
bool may_wait_for(const Walk& w) {
  if (!w.x.is_mps()) return is_heavy(w.x);
  for (const Tensor& t : w.indices)
    if (t.defined() && t.dtype() == DType::bool_) return true;
  return false;
}
Tensor gathered(const Walk& w) {
  GilRelease release(may_wait_for(w));
  return index(w.x, w.indices);
}

[[noreturn]] void zero_dim_index() {
  raise(
      PyExc_IndexError,
      "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ "
      "to convert a 0-dim tensor to a number");
}

/// Drops leading dimensions of extent 1 that the target does not have.
Tensor without_leading_ones(const Tensor& value, int rank) {
  Tensor v = value;
  while (v.dim() > rank && v.shape()[0] == 1) v = select(v, 0, 0);
  return v;
}

void assign(const Walk& w, PyObject* value) {
  const bool is_a_tensor = is_tensor(value);
  if (!is_a_tensor && !is_number(value))
    raise(PyExc_TypeError, "can't assign a {} to a torch.{}",
          is_numpy_array(value) ? "numpy.ndarray" : type_name(value), legacy_type_name(w.x));
  if (!w.gathers) {
    if (is_a_tensor) {
      const Tensor& v = tensor_of(value);
      copy_(w.x, v.dim() > w.x.dim() ? without_leading_ones(v, w.x.dim()) : v);
    } else {
      fill_(w.x, to_scalar(value));
    }
    return;
  }
  // One mask and one number: an elementwise choice, nothing data-dependent.
  const bool single_mask = w.indices.size() == 1 && w.indices[0].dtype() == DType::bool_;
  if (single_mask && (!is_a_tensor || tensor_of(value).dim() == 0)) {
    Dims shape(w.indices[0].shape());
    while (static_cast<int>(shape.size()) < w.x.dim()) shape.push_back(1);
    const Tensor mask = static_cast<int>(shape.size()) == w.indices[0].dim()
                            ? w.indices[0]
                            : reshape(w.indices[0], shape);
    if (is_a_tensor)
      masked_fill_(w.x, mask, tensor_of(value));
    else
      masked_fill_(w.x, mask, to_scalar(value));
    return;
  }
  Tensor v;
  if (is_a_tensor) {
    v = tensor_of(value);
    if (v.device_type() != w.x.device_type() && v.dim() == 0) v = to(v, w.x.device(), std::nullopt);
    if (v.dtype() != w.x.dtype()) {
      if (v.dim() != 0)
        raise(PyExc_RuntimeError,
              "Index put requires the source and destination dtypes match, got {} for the "
              "destination and {} for the source.",
              name_of(w.x.dtype()), name_of(v.dtype()));
      v = to(v, {}, w.x.dtype());
    }
  } else {
    v = full(Dims{}, to_scalar(value), Options(w.x.dtype(), w.x.device()));
  }
  GilRelease release(may_wait_for(w));
  index_put_(w.x, w.indices, v);
}

}  // namespace

PyObject* tensor_subscript(PyObject* self, PyObject* key) {
  return guarded([&]() -> PyObject* {
    const Tensor& x = tensor_of(self);
    if (PyLong_CheckExact(key)) {
      if (x.dim() == 0) zero_dim_index();
      return wrap(select_checked(x, 0, to_integer(key), 0));
    }
    if (PySlice_Check(key) && x.dim() > 0) {
      Tensor r = slice_checked(x, 0, key);
      return wrap(r.same(x) ? slice(x, 0, {}, {}) : std::move(r));
    }
    if (x.dim() == 0 && !PyTuple_Check(key) && !PyBool_Check(key) && is_integer(key) &&
        !(is_tensor(key) && tensor_of(key).dtype() == DType::bool_))
      zero_dim_index();
    Walk w = walk_key(x, key);
    if (w.gathers) return wrap(gathered(w));
    // x[...] is a new tensor over the same memory.
    return wrap(w.x.same(x) ? view(x, x.shape()) : std::move(w.x));
  });
}

int tensor_assign_subscript(PyObject* self, PyObject* key, PyObject* value) {
  return guarded_status([&] {
    if (!value) raise(PyExc_TypeError, "Tensor does not support deleting items");
    const Tensor& x = tensor_of(self);
    if (x.dim() == 0 && PyLong_CheckExact(key)) zero_dim_index();
    assign(walk_key(x, key), value);
    return 0;
  });
}

}  // namespace qs::python
