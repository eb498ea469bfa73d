// Tensors of Python data: torch.tensor, as_tensor, torch.Tensor(...).
//
// Two walks over the nested sequences: the first finds the shape (along the first items) and the
// dtype (of all leaves), the second checks every length and writes row-major host memory, which is
// then handed to the device. Leaves are numbers, NumPy scalars, arrays and tensors.
#include <cmath>
#include <cstring>
#include <limits>

#include "quicksilver/autograd/verbs.h"
#include "quicksilver/core/half.h"
#include "quicksilver/python/functions.h"

namespace qs::python {

namespace {

bool is_array_like(PyObject* o) { return is_tensor(o) || is_numpy_array(o) || is_numpy_scalar(o); }
bool is_sequence(PyObject* o) {
  return PyList_Check(o) || PyTuple_Check(o) ||
         (PySequence_Check(o) && !PyUnicode_Check(o) && !PyBytes_Check(o) && !is_array_like(o));
}

/// The array or tensor as a cpu tensor without history.
Tensor as_host(PyObject* o) {
  if (!is_tensor(o)) return from_array(o, false);
  const Tensor& t = tensor_of(o);
  return t.is_cpu() ? detach(t) : to(detach(t), Device(DeviceType::cpu), std::nullopt);
}

struct Shape {
  Dims dims;
  bool empty = false;  // a sequence of no items: what lies deeper is unknown
};

void find_shape(PyObject* o, Shape& shape) {
  PyRef item = PyRef::borrow(o);
  while (is_sequence(item.get())) {
    const Py_ssize_t n = PySequence_Size(item.get());
    if (n < 0) throw PythonError();
    shape.dims.push_back(n);
    if (shape.dims.size() > 128)
      raise(PyExc_ValueError, "too many dimensions '{}'", type_name(item.get()));
    if (n == 0) {
      shape.empty = true;
      return;
    }
    item = PyRef::steal(PySequence_GetItem(item.get(), 0));
  }
  if (PyUnicode_Check(item.get()) && !shape.dims.empty())
    raise(PyExc_ValueError, "too many dimensions 'str'");
  if (is_array_like(item.get()) && !is_tensor(item.get())) {  // a tensor in a list is one number
    const Tensor t = as_host(item.get());
    for (int64_t s : t.shape()) shape.dims.push_back(s);
  }
}

/// Promotes `dtype` (unset: `found` is false) with all leaves of `o`.
void find_dtype(PyObject* o, bool& found, DType& dtype) {
  DType own;
  if (PyFloat_CheckExact(o)) {
    own = default_dtype();
  } else if (PyBool_Check(o)) {
    own = DType::bool_;
  } else if (PyLong_Check(o)) {
    own = DType::i64;
  } else if (is_tensor(o)) {
    own = tensor_of(o).dtype();
  } else if (is_sequence(o)) {
    const PyRef items = PyRef::steal(PySequence_Fast(o, "not a sequence"));
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items.get()); ++i)
      find_dtype(PySequence_Fast_GET_ITEM(items.get(), i), found, dtype);
    return;
  } else if (is_array_like(o)) {
    own = from_array(o, false).dtype();
  } else if (PyFloat_Check(o)) {
    own = default_dtype();
  } else if (PyComplex_Check(o)) {
    own = default_dtype() == DType::f64 ? DType::c128 : DType::c64;
  } else if (is_number(o)) {
    own = DType::i64;
  } else {
    raise(PyExc_TypeError, "new(): invalid data type '{}'", type_name(o));
  }
  dtype = found && dtype != own ? promote(dtype, own) : own;
  found = true;
}

template <class T>
void put(void* p, T v) {
  std::memcpy(p, &v, sizeof v);
}
template <class T>
void put_integer(void* p, int64_t v, const char* name) {
  // Negative numbers wrap round once in unsigned types, as in PyTorch.
  const bool wraps = std::is_unsigned_v<T> && v < 0 && -v <= int64_t{std::numeric_limits<T>::max()};
  if (static_cast<int64_t>(static_cast<T>(v)) != v && !wraps)
    raise(PyExc_RuntimeError, "value cannot be converted to type {} without overflow", name);
  put(p, static_cast<T>(v));
}

void write_number(PyObject* o, DType dtype, void* p) {
  if (PyFloat_CheckExact(o) && dtype == DType::f32)
    return put(p, static_cast<float>(PyFloat_AS_DOUBLE(o)));
  if (!is_number(o)) {
    if (PyList_Check(o) || PyTuple_Check(o))
      raise(PyExc_TypeError, "'{}' object cannot be interpreted as {}", type_name(o),
            is_integral(dtype) ? "an integer" : "a number");
    raise(PyExc_TypeError, "new(): invalid data type '{}'", type_name(o));
  }
  if (dtype == DType::u64 && PyLong_Check(o)) {
    const unsigned long long v = PyLong_AsUnsignedLongLong(o);
    if (v == static_cast<unsigned long long>(-1) && PyErr_Occurred()) throw PythonError();
    return put(p, static_cast<uint64_t>(v));
  }
  const Scalar s = is_floating(dtype) && PyLong_Check(o) && !PyBool_Check(o) ? [&] {
    const double v = PyLong_AsDouble(o);
    if (v == -1.0 && PyErr_Occurred()) throw PythonError();
    return Scalar(v);
  }()
                                                                             : to_scalar(o);
  if (s.kind() == Scalar::Kind::complex && !is_complex(dtype) && dtype != DType::bool_)
    raise(PyExc_TypeError, "must be real number, not complex");
  if (s.kind() == Scalar::Kind::floating && is_integral(dtype) && dtype != DType::bool_ &&
      !(std::fabs(s.to_double()) < 0x1p63))
    raise(PyExc_RuntimeError, "value cannot be converted to type {} without overflow",
          name_of(dtype));
  switch (dtype) {
    case DType::bool_:
      return put(p, static_cast<uint8_t>(s.to_bool()));
    case DType::u8:
      return put_integer<uint8_t>(p, s.to_int(), "uint8");
    case DType::i8:
      return put_integer<int8_t>(p, s.to_int(), "int8");
    case DType::i16:
      return put_integer<int16_t>(p, s.to_int(), "int16");
    case DType::i32:
      return put_integer<int32_t>(p, s.to_int(), "int32");
    case DType::u16:
      return put_integer<uint16_t>(p, s.to_int(), "uint16");
    case DType::u32:
      return put_integer<uint32_t>(p, s.to_int(), "uint32");
    case DType::i64:
    case DType::u64:
      return put(p, s.to_int());
    case DType::f16:
      return put(p, f32_to_f16(static_cast<float>(s.to_double())));
    case DType::bf16:
      return put(p, f32_to_bf16(static_cast<float>(s.to_double())));
    case DType::f32:
      return put(p, static_cast<float>(s.to_double()));
    case DType::f64:
      return put(p, s.to_double());
    case DType::c64: {
      const float parts[] = {static_cast<float>(s.to_double()), static_cast<float>(s.imag())};
      std::memcpy(p, parts, sizeof parts);
      return;
    }
    case DType::c128: {
      const double parts[] = {s.to_double(), s.imag()};
      std::memcpy(p, parts, sizeof parts);
      return;
    }
  }
}

/// Writes `o`, dimension `dim` of `shape`, at `p`; returns where the next goes.
char* write_items(PyObject* o, const Dims& shape, size_t dim, DType dtype, char* p) {
  const size_t size = size_of(dtype);
  if (is_array_like(o)) {
    Tensor t = as_host(o);
    if (is_tensor(o)) {
      if (t.numel() != 1)
        raise(PyExc_ValueError, "only one element tensors can be converted to Python scalars");
      t = reshape(t, Dims{});
    }
    const DimSpan rest(shape.data() + dim, shape.size() - dim);
    if (!(Dims(t.shape()) == Dims(rest))) {
      if (t.dim() == 0) raise(PyExc_TypeError, "not a sequence");
      raise(PyExc_ValueError, "expected sequence of length {} at dim {} (got {})",
            rest.empty() ? 0 : rest[0], dim, t.shape()[0]);
    }
    if (t.dtype() != dtype) t = to(t, std::nullopt, dtype);
    t.to_host(p);
    return p + static_cast<size_t>(t.numel()) * size;
  }
  if (dim == shape.size()) {
    write_number(o, dtype, p);
    return p + size;
  }
  if (!is_sequence(o)) raise(PyExc_TypeError, "not a sequence");
  const PyRef items = PyRef::steal(PySequence_Fast(o, "not a sequence"));
  const Py_ssize_t n = PySequence_Fast_GET_SIZE(items.get());
  if (n != shape[dim])
    raise(PyExc_ValueError, "expected sequence of length {} at dim {} (got {})", shape[dim], dim,
          n);
  for (Py_ssize_t i = 0; i < n; ++i) {
    if (PySequence_Fast_GET_SIZE(items.get()) != n)
      raise(PyExc_RuntimeError, "the list changed while it was read");
    PyObject* item = PySequence_Fast_GET_ITEM(items.get(), i);
    if (dim + 1 == shape.size() && !is_array_like(item)) {
      write_number(item, dtype, p);
      p += size;
    } else {
      p = write_items(item, shape, dim + 1, dtype, p);
    }
  }
  return p;
}

Device device_or_default(const std::optional<Device>& d) { return d ? *d : default_device(); }

bool has_buffer(PyObject* o) { return PyObject_CheckBuffer(o) && !PyBytes_Check(o); }

}  // namespace

Tensor tensor_from_data(PyObject* data, std::optional<DType> dtype, std::optional<Device> device) {
  if (is_tensor(data)) {
    const Tensor source = detach(tensor_of(data));
    return to(source, device ? *device : source.device(), dtype ? *dtype : source.dtype(), true);
  }
  const Device where = device_or_default(device);
  if (is_array_like(data)) {
    const Tensor shared = from_array(data, false);
    return to(shared, where, dtype ? *dtype : shared.dtype(), true);
  }
  if (!is_sequence(data) && PyObject_HasAttrString(data, "__array__")) {
    const PyRef array = PyRef::steal(PyObject_CallMethod(data, "__array__", nullptr));
    return tensor_from_data(array.get(), dtype, device);
  }
  Shape shape;
  find_shape(data, shape);
  if (!dtype) {
    bool found = false;
    DType d = default_dtype();
    find_dtype(data, found, d);
    dtype = found ? d : default_dtype();
  }
  const int64_t n = checked_numel(shape.dims);
  alignas(16) char small[256];
  const size_t bytes = static_cast<size_t>(n) * size_of(*dtype);
  std::unique_ptr<char[]> large;
  char* memory = small;
  if (bytes > sizeof small) {
    large.reset(new char[bytes]);
    memory = large.get();
  }
  write_items(data, shape.dims, 0, *dtype, memory);
  return from_host(memory, shape.dims, *dtype, where.type);
}

Tensor as_tensor(PyObject* data, std::optional<DType> dtype, std::optional<Device> device) {
  if (is_tensor(data)) {
    const Tensor& t = tensor_of(data);
    return to(t, device ? *device : t.device(), dtype ? *dtype : t.dtype());
  }
  if (is_numpy_array(data) || (has_buffer(data) && !is_numpy_scalar(data))) {
    const Tensor shared = from_array(data, true);
    return to(shared, device_or_default(device), dtype ? *dtype : shared.dtype());
  }
  return tensor_from_data(data, dtype, device);
}

Tensor legacy_tensor(PyObject* args, PyObject* kwargs, DType dtype) {
  Device device = default_device();
  if (kwargs)
    if (PyObject* given = PyDict_GetItemString(kwargs, "device"); given && given != Py_None)
      device = to_device(given);
  const Options options(dtype, device);
  const Py_ssize_t n = PyTuple_GET_SIZE(args);
  if (n == 0) return empty(Dims{0}, options);
  PyObject* first = PyTuple_GET_ITEM(args, 0);
  if (n == 1 && is_tensor(first)) {
    const Tensor& t = tensor_of(first);
    return view(to(t, device, dtype), t.shape());
  }
  if (Py_TYPE(first) == size_type) return empty(to_dims(first), options);
  if (PyLong_Check(first) || (is_integer(first) && !is_tensor(first)))
    return empty(to_dims(args), options);
  if (n == 1) return tensor_from_data(first, dtype, device);
  raise(PyExc_TypeError, "new() received an invalid combination of arguments");
}

}  // namespace qs::python
