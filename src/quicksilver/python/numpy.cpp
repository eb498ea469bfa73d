// NumPy both ways, without its C API: arrays come in through the buffer protocol and go out over an
// object that exports a tensor's memory. Also lists, bytes, copies and pickles.
#include <cstring>

#include "quicksilver/autograd/autograd.h"
#include "quicksilver/autograd/verbs.h"
#include "quicksilver/core/half.h"
#include "quicksilver/python/functions.h"
#include "quicksilver/python/module.h"
#include "quicksilver/tensor/rules.h"

namespace qs::python {

namespace {

/// The dtype of a buffer format such as "<f"; false for what we have no dtype for.
bool parse_format(const char* format, Py_ssize_t size, DType& dtype) {
  if (!format) format = "B";
  if (*format == '@' || *format == '=' || *format == '<' || *format == '^') ++format;
  if (*format == '>' && size > 1)
    raise(PyExc_ValueError,
          "given numpy array has byte order different from the native byte order. "
          "Conversion between byte orders is currently not supported.");
  if (*format == '>') ++format;
  const std::string_view f(format);
  const auto integer = [&](bool is_signed) {
    constexpr DType s[] = {DType::i8, DType::i16, DType::i32, DType::i64};
    constexpr DType u[] = {DType::u8, DType::u16, DType::u32, DType::u64};
    const int k = size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3;
    dtype = is_signed ? s[k] : u[k];
    return true;
  };
  if (f == "?") return dtype = DType::bool_, true;
  if (f == "e") return dtype = DType::f16, true;
  if (f == "f") return dtype = DType::f32, true;
  if (f == "d") return dtype = DType::f64, true;
  if (f == "Zf") return dtype = DType::c64, true;
  if (f == "Zd") return dtype = DType::c128, true;
  if (f == "b" || f == "h" || f == "i" || f == "l" || f == "q" || f == "n") return integer(true);
  if (f == "B" || f == "H" || f == "I" || f == "L" || f == "Q" || f == "N" || f == "c")
    return integer(false);
  return false;
}

[[noreturn]] void unsupported(PyObject* array) {
  PyErr_Clear();
  std::string name = "object";
  if (is_numpy_array(array)) {
    const PyRef dtype = PyRef::steal(PyObject_GetAttrString(array, "dtype"));
    const PyRef type = PyRef::steal(PyObject_GetAttrString(dtype.get(), "type"));
    name = text_of(PyRef::steal(PyObject_GetAttrString(type.get(), "__name__")).get());
  }
  raise(
      PyExc_TypeError,
      "can't convert np.ndarray of type numpy.{}. The only supported types are: float64, float32, "
      "float16, complex64, complex128, int64, int32, int16, int8, uint64, uint32, uint16, uint8, "
      "and bool.",
      name);
}

void release_view(void* view) { drop_later(static_cast<PyObject*>(view)); }

// ---- memory of a tensor, for NumPy

struct MemoryObject {
  PyObject_HEAD Tensor tensor;
  void* data;
  Py_ssize_t bytes;
};
PyTypeObject* g_memory_type = nullptr;

void memory_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  reinterpret_cast<MemoryObject*>(self)->tensor.~Tensor();
  type->tp_free(self);
  Py_DECREF(type);
}
int memory_get_buffer(PyObject* self, Py_buffer* view, int flags) {
  auto* m = reinterpret_cast<MemoryObject*>(self);
  return PyBuffer_FillInfo(view, self, m->data, m->bytes, m->tensor.storage().read_only, flags);
}
PyType_Slot memory_slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(memory_dealloc)},
    {Py_bf_getbuffer, reinterpret_cast<void*>(memory_get_buffer)},
    {Py_tp_doc, const_cast<char*>("A tensor's memory, as a buffer of bytes.")},
    {0, nullptr},
};
PyType_Spec memory_spec = {"quicksilver._Memory", sizeof(MemoryObject), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, memory_slots};

PyObject* memory_of(const Tensor& t) {
  void* data = t.data_ptr();
  Layout from_start = t.layout();
  from_start.offset = 0;
  auto* m = PyObject_New(MemoryObject, g_memory_type);
  if (!m) throw PythonError();
  new (&m->tensor) Tensor(t);
  m->data = data;
  m->bytes = static_cast<Py_ssize_t>(from_start.extent().second *
                                     static_cast<int64_t>(size_of(t.dtype())));
  return reinterpret_cast<PyObject*>(m);
}

PyObject* numpy_attribute(const char* name) {
  const PyRef numpy = PyRef::steal(PyImport_ImportModule("numpy"));
  return PyObject_GetAttrString(numpy.get(), name);
}
/// np.dtype of ours, kept.
PyObject* numpy_dtype(DType d) {
  static PyObject* kept[k_dtype_count] = {};
  PyObject*& o = kept[static_cast<int>(d)];
  if (!o) {
    const PyRef make = PyRef::steal(numpy_attribute("dtype"));
    o = PyRef::steal(PyObject_CallFunction(make.get(), "s", std::string(name_of(d)).c_str()))
            .release();
  }
  return o;
}
PyObject* tuple_of(DimSpan dims, int64_t factor) {
  PyRef t = PyRef::steal(PyTuple_New(static_cast<Py_ssize_t>(dims.size())));
  for (size_t i = 0; i < dims.size(); ++i)
    PyTuple_SET_ITEM(t.get(), static_cast<Py_ssize_t>(i),
                     PyRef::steal(PyLong_FromLongLong(dims[i] * factor)).release());
  return t.release();
}

PyObject* to_numpy(const Tensor& given, bool force) {
  Tensor t = given;
  if (force) {
    t = detach(t);
    if (t.is_mps()) {
      GilRelease release;
      t = to(t, Device(DeviceType::cpu), std::nullopt);
    }
  }
  if (t.is_mps())
    raise(PyExc_TypeError,
          "can't convert mps:0 device type tensor to numpy. Use Tensor.cpu() to copy "
          "the tensor to host memory first.");
  if (t.requires_grad())
    raise(PyExc_RuntimeError,
          "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.");
  if (t.dtype() == DType::bf16) raise(PyExc_TypeError, "Got unsupported ScalarType BFloat16");
  static PyObject* make = numpy_attribute("ndarray");
  if (!make) throw PythonError();
  const PyRef shape = PyRef::steal(tuple_of(t.shape(), 1));
  if (t.numel() == 0)
    return PyObject_CallFunctionObjArgs(make, shape.get(), numpy_dtype(t.dtype()), nullptr);
  const PyRef memory = PyRef::steal(memory_of(t));
  const PyRef strides =
      PyRef::steal(tuple_of(t.strides(), static_cast<int64_t>(size_of(t.dtype()))));
  const PyRef zero = PyRef::steal(PyLong_FromLong(0));
  return PyObject_CallFunctionObjArgs(make, shape.get(), numpy_dtype(t.dtype()), memory.get(),
                                      zero.get(), strides.get(), nullptr);
}

// ---- methods

PyObject* numpy_method(PyObject* self, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"force", nullptr};
    int force = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$p:numpy", const_cast<char**>(names), &force))
      return nullptr;
    return to_numpy(tensor_of(self), force != 0);
  });
}

PyObject* array_method(PyObject* self, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"dtype", "copy", nullptr};
    PyObject *dtype = Py_None, *copy = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OO:__array__", const_cast<char**>(names),
                                     &dtype, &copy))
      return nullptr;
    PyRef array = PyRef::steal(to_numpy(tensor_of(self), false));
    if (dtype != Py_None) {
      const PyRef plain = std::move(array);
      const PyRef method = PyRef::steal(PyObject_GetAttrString(plain.get(), "astype"));
      const PyRef positional = PyRef::steal(PyTuple_Pack(1, dtype));
      const PyRef keywords = PyRef::steal(Py_BuildValue("{s:O}", "copy", Py_False));
      array = PyRef::steal(PyObject_Call(method.get(), positional.get(), keywords.get()));
      if (array.get() != plain.get()) return array.release();
    }
    if (copy == Py_True) return PyObject_CallMethod(array.get(), "copy", nullptr);
    return array.release();
  });
}

PyObject* number_at(const char* p, DType d) {
  const auto as = [&]<class T>(T) {
    T v;
    std::memcpy(&v, p, sizeof v);
    return v;
  };
  switch (d) {
    case DType::bool_:
      return py_bool(*p != 0);
    case DType::u8:
      return PyLong_FromLong(as(uint8_t{}));
    case DType::i8:
      return PyLong_FromLong(as(int8_t{}));
    case DType::i16:
      return PyLong_FromLong(as(int16_t{}));
    case DType::u16:
      return PyLong_FromLong(as(uint16_t{}));
    case DType::i32:
      return PyLong_FromLong(as(int32_t{}));
    case DType::u32:
      return PyLong_FromUnsignedLong(as(uint32_t{}));
    case DType::i64:
      return PyLong_FromLongLong(as(int64_t{}));
    case DType::u64:
      return PyLong_FromUnsignedLongLong(as(uint64_t{}));
    case DType::f16:
      return PyFloat_FromDouble(f16_to_f32(as(uint16_t{})));
    case DType::bf16:
      return PyFloat_FromDouble(bf16_to_f32(as(uint16_t{})));
    case DType::f32:
      return PyFloat_FromDouble(as(float{}));
    case DType::f64:
      return PyFloat_FromDouble(as(double{}));
    case DType::c64: {
      float v[2];
      std::memcpy(v, p, sizeof v);
      return PyComplex_FromDoubles(v[0], v[1]);
    }
    case DType::c128: {
      double v[2];
      std::memcpy(v, p, sizeof v);
      return PyComplex_FromDoubles(v[0], v[1]);
    }
  }
  return nullptr;
}
PyObject* nested_list(const char*& p, DimSpan shape, size_t dim, DType d) {
  if (dim == shape.size()) {
    PyObject* o = number_at(p, d);
    p += size_of(d);
    return o;
  }
  PyRef list = PyRef::steal(PyList_New(static_cast<Py_ssize_t>(shape[dim])));
  for (int64_t i = 0; i < shape[dim]; ++i)
    PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i),
                    PyRef::steal(nested_list(p, shape, dim + 1, d)).release());
  return list.release();
}
std::vector<char> host_bytes(const Tensor& t) {
  std::vector<char> bytes(static_cast<size_t>(t.numel()) * size_of(t.dtype()));
  GilRelease release(may_wait(t));
  t.to_host(bytes.data());
  return bytes;
}
PyObject* tolist(PyObject* self, PyObject*) {
  return guarded([&] {
    const Tensor& t = tensor_of(self);
    const std::vector<char> bytes = host_bytes(t);
    const char* p = bytes.data();
    return nested_list(p, t.shape(), 0, t.dtype());
  });
}

// ---- bytes and pickles

PyObject* bytes_of(const Tensor& t) {
  PyRef bytes = PyRef::steal(PyBytes_FromStringAndSize(
      nullptr, static_cast<Py_ssize_t>(t.numel()) * static_cast<Py_ssize_t>(size_of(t.dtype()))));
  char* p = PyBytes_AS_STRING(bytes.get());
  {
    GilRelease release(may_wait(t));
    t.to_host(p);
  }
  return bytes.release();
}
PyObject* to_bytes(PyObject*, PyObject* o) {
  return guarded([&] { return bytes_of(to_tensor(o)); });
}
/// (a number that tensors over one storage share, its size in bytes)
PyObject* storage_of(PyObject*, PyObject* o) {
  return guarded([&] {
    const Storage& storage = to_tensor(o).storage();
    return Py_BuildValue("(KL)",
                         static_cast<unsigned long long>(reinterpret_cast<size_t>(&storage)),
                         static_cast<long long>(storage.bytes));
  });
}
Tensor from_bytes_checked(PyObject* buffer, PyObject* dtype_object, PyObject* shape_object,
                          PyObject* device) {
  const DType dtype = to_dtype(dtype_object);
  const Dims shape = to_dims(shape_object);
  const Device where = device && device != Py_None ? to_device(device) : Device(DeviceType::cpu);
  const int64_t need = checked_numel(shape) * static_cast<int64_t>(size_of(dtype));
  struct View {
    Py_buffer view{};
    ~View() {
      if (view.obj) PyBuffer_Release(&view);
    }
  } v;
  check(PyObject_GetBuffer(buffer, &v.view, PyBUF_SIMPLE));
  if (v.view.len != need)
    raise(PyExc_ValueError, "a tensor of shape {} and dtype {} has {} bytes, but the buffer has {}",
          to_string(shape), name_of(dtype), need, v.view.len);
  return from_host(v.view.buf, shape, dtype, where.type);
}
PyObject* from_bytes(PyObject*, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"buffer", "dtype", "shape", "device", nullptr};
    PyObject *buffer, *dtype, *shape, *device = nullptr;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOO|O:_from_bytes", const_cast<char**>(names),
                                     &buffer, &dtype, &shape, &device))
      return nullptr;
    return wrap(from_bytes_checked(buffer, dtype, shape, device));
  });
}
/// (bytes, dtype, shape, device, requires_grad, class, __dict__[, strides])
PyObject* rebuild_tensor(PyObject*, PyObject* args) {
  return guarded([&]() -> PyObject* {
    PyObject *buffer, *dtype, *shape, *device, *cls, *dict, *strides = nullptr;
    int requires_grad;
    if (!PyArg_ParseTuple(args, "OOOOpOO|O:_rebuild_tensor", &buffer, &dtype, &shape, &device,
                          &requires_grad, &cls, &dict, &strides))
      return nullptr;
    Tensor t = from_bytes_checked(buffer, dtype, shape, device);
    if (strides && strides != Py_None) {
      const Layout wanted(Dims(t.shape()), to_dims(strides));
      if (wanted.strides.size() != wanted.shape.size() || !wanted.is_dense())
        raise(PyExc_ValueError, "strides {} do not fit a tensor of shape {}",
              to_string(wanted.strides), to_string(wanted.shape));
      Tensor laid_out =
          empty_strided_tensor(wanted.shape, wanted.strides, t.dtype(), t.device_type());
      copy_(laid_out, t);
      t = std::move(laid_out);
    }
    if (requires_grad) t.set_requires_grad(true);
    auto* type = reinterpret_cast<PyTypeObject*>(cls);
    PyRef o = PyRef::steal(type == tensor_type ? wrap(std::move(t)) : wrap_as(type, std::move(t)));
    if (dict != Py_None) check(PyObject_SetAttrString(o.get(), "__dict__", dict));
    return o.release();
  });
}
PyObject* g_rebuild = nullptr;
PyObject* reduce_ex(PyObject* self, PyObject*) {
  return guarded([&]() -> PyObject* {
    const Tensor& t = tensor_of(self);
    PyObject* dict = reinterpret_cast<TensorObject*>(self)->dict;
    const Dims strides = preserved_strides(t.layout());
    PyObject* order = strides == contiguous_strides(t.shape()) ? none() : make_size(strides);
    return Py_BuildValue("O(NNNNOOON)", g_rebuild, PyRef::steal(bytes_of(t)).release(),
                         wrap(t.dtype()), make_size(t.shape()), wrap(t.device()),
                         t.requires_grad() ? Py_True : Py_False, Py_TYPE(self),
                         dict ? dict : Py_None, order);
  });
}
PyObject* deepcopy(PyObject* self, PyObject* memo) {
  return guarded([&]() -> PyObject* {
    const PyRef id = PyRef::steal(PyLong_FromVoidPtr(self));
    if (PyDict_Check(memo))
      if (PyObject* known = PyDict_GetItemWithError(memo, id.get())) return new_ref(known);
    const Tensor& t = tensor_of(self);
    if (!t.is_leaf())
      raise(PyExc_RuntimeError,
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
            "protocol "
            "at the moment.  If you were attempting to deepcopy a module, this may be because of a "
            "torch.nn.utils.weight_norm usage, see https://github.com/pytorch/pytorch/pull/103001");
    Tensor copy = clone(detach(t));
    copy.impl()->is_parameter = t.impl()->is_parameter;
    if (t.requires_grad()) copy.set_requires_grad(true);
    if (const Tensor grad = t.grad(); grad.defined()) copy.set_grad(clone(detach(grad)));
    PyRef o = PyRef::steal(Py_TYPE(self) == tensor_type ? wrap(std::move(copy))
                                                        : wrap_as(Py_TYPE(self), std::move(copy)));
    if (PyDict_Check(memo)) check(PyDict_SetItem(memo, id.get(), o.get()));
    if (PyObject* dict = reinterpret_cast<TensorObject*>(self)->dict) {
      const PyRef module = PyRef::steal(PyImport_ImportModule("copy"));
      const PyRef copied =
          PyRef::steal(PyObject_CallMethod(module.get(), "deepcopy", "OO", dict, memo));
      check(PyObject_SetAttrString(o.get(), "__dict__", copied.get()));
    }
    return o.release();
  });
}

// ---- functions

PyObject* from_numpy(PyObject*, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"ndarray", "device", nullptr};
    PyObject *array, *device = nullptr;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:from_numpy", const_cast<char**>(names),
                                     &array, &device))
      return nullptr;
    if (!is_numpy_array(array))
      raise(PyExc_TypeError, "expected np.ndarray (got {})", type_name(array));
    if (!device || device == Py_None) return wrap(from_array(array, true));
    const Device where = to_device(device);
    const Tensor shared = from_array(array, where.is_cpu());
    return wrap(where.is_cpu() ? shared : to(shared, where, std::nullopt));
  });
}
PyObject* frombuffer(PyObject*, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"buffer", "dtype", "count", "offset", "requires_grad", nullptr};
    PyObject *buffer, *dtype_object;
    Py_ssize_t count = -1, offset = 0;
    int requires_grad = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$Onnp:frombuffer", const_cast<char**>(names),
                                     &buffer, &dtype_object, &count, &offset, &requires_grad))
      return nullptr;
    const DType dtype = to_dtype(dtype_object);
    const auto size = static_cast<Py_ssize_t>(size_of(dtype));
    PyRef view = PyRef::steal(PyMemoryView_FromObject(buffer));
    const Py_buffer* b = PyMemoryView_GET_BUFFER(view.get());
    if (b->len == 0 || count == 0)
      raise(PyExc_ValueError, "both buffer length ({}) and count ({}) must not be 0", b->len,
            count);
    if (offset < 0 || offset >= b->len)
      raise(PyExc_ValueError,
            "offset ({} bytes) must be non-negative and no greater than buffer length "
            "({} bytes) minus 1",
            offset, b->len);
    if (count < 0) {
      if ((b->len - offset) % size)
        raise(PyExc_ValueError,
              "buffer length ({} bytes) after offset ({} bytes) must be a multiple of "
              "element size ({})",
              b->len - offset, offset, size);
      count = (b->len - offset) / size;
    }
    if (offset + count * size > b->len)
      raise(PyExc_ValueError,
            "requested buffer length ({} * {} bytes) after offset ({} bytes) must not be "
            "greater than actual buffer length ({} bytes)",
            count, size, offset, b->len);
    if (b->readonly)
      check(PyErr_WarnEx(PyExc_UserWarning,
                         "The given buffer is not writable, and PyTorch does not support "
                         "non-writable tensors. Writing to the tensor is undefined behavior.",
                         1));
    Tensor t = from_external(static_cast<char*>(b->buf) + offset, Layout::contiguous(Dims{count}),
                             dtype, count * size, release_view, view.get());
    view.release();
    if (requires_grad) t.set_requires_grad(true);
    return wrap(std::move(t));
  });
}
PyObject* make_legacy(PyObject*, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    PyObject *dtype, *rest;
    if (!PyArg_ParseTuple(args, "OO!:_legacy_tensor", &dtype, &PyTuple_Type, &rest)) return nullptr;
    return wrap(legacy_tensor(rest, kwargs, to_dtype(dtype)));
  });
}

template <class F>
PyCFunction c_function(F f) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(f));
}
PyMethodDef functions[] = {
    {"from_numpy", c_function(from_numpy), METH_VARARGS | METH_KEYWORDS,
     "from_numpy(ndarray, device=None)\n\nA cpu tensor that shares the array's memory; a copy on "
     "another device."},
    {"frombuffer", c_function(frombuffer), METH_VARARGS | METH_KEYWORDS,
     "frombuffer(buffer, *, dtype, count=-1, offset=0, requires_grad=False)\n\nA tensor over a "
     "buffer's memory."},
    {"_to_bytes", to_bytes, METH_O, "The elements, row-major."},
    {"_storage_of", storage_of, METH_O,
     "_storage_of(tensor): (a number of its storage, its size in bytes)."},
    {"_from_bytes", c_function(from_bytes), METH_VARARGS | METH_KEYWORDS,
     "_from_bytes(buffer, dtype, shape, device=None): a tensor of a copy of the bytes."},
    {"_rebuild_tensor", rebuild_tensor, METH_VARARGS, nullptr},
    {"_legacy_tensor", c_function(make_legacy), METH_VARARGS | METH_KEYWORDS,
     "_legacy_tensor(dtype, args, device=None): what torch.FloatTensor(*args) makes."},
    {},
};

}  // namespace

PyMethodDef numpy_methods[] = {
    {"numpy", c_function(numpy_method), METH_VARARGS | METH_KEYWORDS,
     "numpy(*, force=False)\n\nThe tensor as an array that shares its memory."},
    {"__array__", c_function(array_method), METH_VARARGS | METH_KEYWORDS, nullptr},
    {"tolist", tolist, METH_NOARGS, "The elements as nested lists of Python numbers."},
    {"__reduce_ex__", reduce_ex, METH_O, nullptr},
    {"__deepcopy__", deepcopy, METH_O, nullptr},
    {},
};

Tensor from_array(PyObject* array, bool warn_read_only) {
  PyObject* made = PyMemoryView_FromObject(array);
  if (!made) unsupported(array);
  PyRef view = PyRef::steal(made);
  const Py_buffer* b = PyMemoryView_GET_BUFFER(view.get());
  DType dtype;
  if (!parse_format(b->format, b->itemsize, dtype)) unsupported(array);
  Layout layout;
  int64_t last = 0;
  for (int d = 0; d < b->ndim; ++d) {
    const Py_ssize_t stride = b->strides ? b->strides[d] : b->itemsize;
    if (stride < 0 && b->shape[d] > 1)
      raise(PyExc_ValueError,
            "At least one stride in the given numpy array is negative, and tensors with negative "
            "strides "
            "are not currently supported. (You can probably work around this by making a copy of "
            "your "
            "array  with array.copy().) ");
    if (stride % b->itemsize)
      raise(PyExc_ValueError,
            "given numpy array strides not a multiple of the element byte size. Copy the "
            "numpy array to reallocate the memory.");
    layout.shape.push_back(b->shape[d]);
    layout.strides.push_back(stride < 0 ? 1 : stride / b->itemsize);
    if (b->shape[d] > 0) last += (b->shape[d] - 1) * layout.strides.back();
  }
  if (b->readonly && warn_read_only && layout.numel() > 0)
    check(PyErr_WarnEx(
        PyExc_UserWarning,
        "The given NumPy array is not writable, and PyTorch does not support non-writable "
        "tensors. This means writing to this tensor will result in undefined behavior. You "
        "may want to copy the array to protect its data or make it writable before "
        "converting it to a tensor.",
        1));
  if (layout.numel() == 0) return empty_tensor(layout.shape, dtype, DeviceType::cpu);
  Tensor t = from_external(b->buf, layout, dtype, (last + 1) * static_cast<int64_t>(b->itemsize),
                           release_view, view.get());
  view.release();  // the storage holds it now
  return t;
}

void add_numpy(PyObject* module) {
  g_memory_type = make_type(memory_spec);
  check(PyModule_AddFunctions(module, functions));
  g_rebuild = PyRef::steal(PyObject_GetAttrString(module, "_rebuild_tensor")).release();
}

}  // namespace qs::python
