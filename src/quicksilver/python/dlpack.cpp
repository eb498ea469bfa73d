// DLPack: tensors of the host handed to, and taken from, PyTorch, JAX, CuPy and NumPy without a
// copy.
//
// The structs below are DLPack's ABI, version 0.8 (unversioned capsules), which every library still
// takes.
#include <memory>

#include "quicksilver/autograd/verbs.h"
#include "quicksilver/python/functions.h"
#include "quicksilver/python/module.h"
#include "quicksilver/tensor/record.h"

namespace qs::python {

namespace {

struct DLDevice {
  int32_t type, id;
};
struct DLDataType {
  uint8_t code, bits;
  uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor tensor;
  void* context;
  void (*deleter)(DLManagedTensor*);
};
constexpr int32_t k_host = 1;
constexpr const char* k_fresh = "dltensor";
constexpr const char* k_used = "used_dltensor";

enum Code : uint8_t {
  code_int = 0,
  code_uint = 1,
  code_float = 2,
  code_bfloat = 4,
  code_complex = 5,
  code_bool = 6
};

uint8_t code_of(DType d) {
  if (d == DType::bool_) return code_bool;
  if (d == DType::bf16) return code_bfloat;
  switch (kind_of(d)) {
    case DTypeKind::floating:
      return code_float;
    case DTypeKind::complex:
      return code_complex;
    default:
      return info(d).is_signed ? code_int : code_uint;
  }
}

struct Exported {
  DLManagedTensor managed;
  Tensor tensor;
  Dims shape, strides;
};
void delete_exported(DLManagedTensor* m) {
  const std::unique_ptr<Exported> owned(static_cast<Exported*>(m->context));
}
void destroy_capsule(PyObject* capsule) {
  if (!PyCapsule_IsValid(capsule, k_fresh)) return;  // somebody took it over
  auto* m = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, k_fresh));
  m->deleter(m);
}

PyObject* export_method(PyObject* self, PyObject*, PyObject*) {
  return guarded([&]() -> PyObject* {
    const Tensor& t = tensor_of(self);
    if (t.requires_grad())
      raise(PyExc_BufferError, "Can't export tensors that require gradient, use tensor.detach()");
    if (t.is_mps())
      raise(PyExc_BufferError,
            "Can't export a tensor of mps through DLPack; use Tensor.cpu() to copy it first.");
    auto e = std::make_unique<Exported>();
    e->tensor = t;
    e->shape = Dims(t.shape());
    e->strides = Dims(t.strides());
    DLTensor& d = e->managed.tensor;
    d.data = t.numel() ? t.data_ptr() : nullptr;
    d.device = {k_host, 0};
    d.ndim = t.dim();
    d.dtype = {code_of(t.dtype()), static_cast<uint8_t>(size_of(t.dtype()) * 8), 1};
    d.shape = e->shape.data();
    d.strides = e->strides.data();
    d.byte_offset = 0;
    e->managed.context = e.get();
    e->managed.deleter = delete_exported;
    PyObject* capsule = PyCapsule_New(&e->managed, k_fresh, destroy_capsule);
    if (capsule) (void)e.release();
    return capsule;
  });
}
PyObject* device_method(PyObject* self, PyObject*) {
  return guarded([&]() -> PyObject* {
    if (tensor_of(self).is_mps())
      raise(PyExc_BufferError,
            "a tensor of mps has no DLPack device; use Tensor.cpu() to copy it first.");
    return Py_BuildValue("(ii)", k_host, 0);
  });
}

DType dtype_of(const DLDataType& d) {
  for (int i = 0; i < k_dtype_count; ++i) {
    const auto dtype = static_cast<DType>(i);
    if (d.lanes == 1 && code_of(dtype) == d.code && size_of(dtype) * 8 == d.bits) return dtype;
  }
  if (d.lanes == 1 && d.code == code_uint && d.bits == 1) return DType::bool_;
  raise(PyExc_RuntimeError, "Unsupported DLPack dtype: code {}, {} bits, {} lanes", d.code, d.bits,
        d.lanes);
}

/// The producer's deleter may run Python: it is called by a capsule, later, under the interpreter's
/// lock.
void delete_imported(PyObject* capsule) {
  auto* m = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, "quicksilver.imported"));
  if (m && m->deleter) m->deleter(m);
}

PyObject* from_dlpack(PyObject*, PyObject* source) {
  return guarded([&]() -> PyObject* {
    PyRef capsule;
    if (PyCapsule_CheckExact(source)) {
      capsule = PyRef::borrow(source);
    } else {
      const PyRef device = PyRef::steal(PyObject_CallMethod(source, "__dlpack_device__", nullptr));
      const PyRef type = PyRef::steal(PySequence_GetItem(device.get(), 0));
      if (PyLong_AsLong(type.get()) != k_host)
        raise(PyExc_BufferError,
              "from_dlpack() takes host memory only; copy the array to the host first");
      capsule = PyRef::steal(PyObject_CallMethod(source, "__dlpack__", nullptr));
    }
    auto* m = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule.get(), k_fresh));
    if (!m) {
      PyErr_Clear();
      raise(PyExc_RuntimeError,
            "from_dlpack received an invalid capsule. Note that DLTensor capsules can be "
            "consumed only once, so you might have already constructed a tensor from it once.");
    }
    const DLTensor& d = m->tensor;
    if (d.device.type != k_host) raise(PyExc_BufferError, "from_dlpack() takes host memory only");
    const DType dtype = dtype_of(d.dtype);
    Layout layout;
    int64_t last = 0;
    for (int i = 0; i < d.ndim; ++i) layout.shape.push_back(d.shape[i]);
    layout.strides = contiguous_strides(layout.shape);
    for (int i = 0; i < d.ndim && d.strides; ++i)
      layout.strides[static_cast<size_t>(i)] = d.strides[i];
    for (size_t i = 0; i < layout.shape.size(); ++i) {
      if (layout.strides[i] < 0)
        raise(PyExc_ValueError,
              "from_dlpack(): negative strides are not supported; copy the array");
      last += (layout.shape[i] - 1) * layout.strides[i];
    }
    PyRef owner = PyRef::steal(PyCapsule_New(m, "quicksilver.imported", delete_imported));
    check(PyCapsule_SetName(capsule.get(), k_used));
    check(PyCapsule_SetDestructor(capsule.get(), nullptr));
    if (layout.numel() == 0) return wrap(empty_tensor(layout.shape, dtype, DeviceType::cpu));
    Tensor t = from_external(
        static_cast<char*>(d.data) + d.byte_offset, layout, dtype,
        (last + 1) * static_cast<int64_t>(size_of(dtype)),
        [](void* o) { drop_later(static_cast<PyObject*>(o)); }, owner.get());
    owner.release();
    return wrap(std::move(t));
  });
}

PyMethodDef functions[] = {
    {"from_dlpack", from_dlpack, METH_O,
     "from_dlpack(x)\n\nA tensor over host memory of another library."},
    {"_to_dlpack", [](PyObject*, PyObject* t) { return export_method(t, nullptr, nullptr); },
     METH_O, nullptr},
    {},
};

}  // namespace

PyMethodDef dlpack_methods[] = {
    {"__dlpack__", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(export_method)),
     METH_VARARGS | METH_KEYWORDS, nullptr},
    {"__dlpack_device__", device_method, METH_NOARGS, nullptr},
    {},
};

void add_dlpack(PyObject* module) { check(PyModule_AddFunctions(module, functions)); }

}  // namespace qs::python
