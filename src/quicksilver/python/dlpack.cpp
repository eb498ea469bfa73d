// DLPack: tensors handed to, and taken from, PyTorch, JAX, CuPy and NumPy without a copy.
//
// The structs below are DLPack's ABI, both kinds of capsule: the unversioned one (0.8), which every
// library takes, and the versioned one (1.x), which also says whether memory may be written. The
// device that is told is the memory's true one: what mps keeps in host memory is host memory.
//
// A storage whose address has gone out is pinned (plan/tape.h): its block stays where it is, and
// what is recorded on it runs at once. Memory that came in is pinned as well; when its owner does
// not let us write, so is the storage read-only.
#include <bit>
#include <memory>

#include "quicksilver/autograd/verbs.h"
#include "quicksilver/python/functions.h"
#include "quicksilver/python/module.h"
#include "quicksilver/runtime/device.h"
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
struct DLManagedTensorVersioned {
  uint32_t major, minor;
  void* context;
  void (*deleter)(DLManagedTensorVersioned*);
  uint64_t flags;
  DLTensor tensor;
};
constexpr uint64_t k_flag_read_only = 1, k_flag_copied = 2;
constexpr int32_t k_host = 1;

/// What differs between the two kinds of capsule.
template <class Managed>
struct Names;
template <>
struct Names<DLManagedTensor> {
  static constexpr const char* fresh = "dltensor";
  static constexpr const char* used = "used_dltensor";
};
template <>
struct Names<DLManagedTensorVersioned> {
  static constexpr const char* fresh = "dltensor_versioned";
  static constexpr const char* used = "used_dltensor_versioned";
};

struct MemoryDevice {
  int32_t type, id;
  bool operator==(const MemoryDevice&) const = default;
};

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

// ---- export

/// Where a tensor's memory is, in DLPack's words.
MemoryDevice memory_device(const Tensor& t) {
  if (t.is_cpu()) return {k_host, 0};
  const driver::DriverInfo& info = device_runtime(DeviceType::mps).info();
  if (!info.dlpack_device)
    raise(PyExc_BufferError,
          "the memory of {} cannot be shared through DLPack; use Tensor.cpu() to copy it first",
          info.driver);
  return {info.dlpack_device, 0};
}

/// What a capsule keeps alive. It dies on any thread, with or without the interpreter's lock.
template <class Managed>
struct Exported {
  Managed managed{};
  Ref<Storage> storage;
  Dims shape, strides;

  static void destroy(Managed* m) {
    const std::unique_ptr<Exported> owned(static_cast<Exported*>(m->context));
  }
  static void destroy_capsule(PyObject* capsule) {
    if (!PyCapsule_IsValid(capsule, Names<Managed>::fresh)) return;  // somebody took it over
    auto* m = static_cast<Managed*>(PyCapsule_GetPointer(capsule, Names<Managed>::fresh));
    m->deleter(m);
  }
};

template <class Managed>
std::unique_ptr<Exported<Managed>> describe(const Tensor& t, MemoryDevice device) {
  auto e = std::make_unique<Exported<Managed>>();
  e->storage = t.impl()->storage;
  e->shape = Dims(t.shape());
  e->strides = Dims(t.strides());
  e->managed.context = e.get();
  e->managed.deleter = Exported<Managed>::destroy;
  DLTensor& d = e->managed.tensor;
  d.data = t.numel() ? t.data_ptr() : nullptr;
  d.device = {device.type, device.id};
  d.ndim = t.dim();
  d.dtype = {code_of(t.dtype()), static_cast<uint8_t>(size_of(t.dtype()) * 8), 1};
  d.shape = e->shape.data();
  d.strides = e->strides.data();
  d.byte_offset = 0;
  return e;
}
template <class Managed>
PyObject* capsule_of(std::unique_ptr<Exported<Managed>> e) {
  PyObject* capsule =
      PyCapsule_New(&e->managed, Names<Managed>::fresh, Exported<Managed>::destroy_capsule);
  if (capsule) (void)e.release();
  return capsule;
}

/// True, false, or neither for None.
std::optional<bool> choice(PyObject* o) {
  if (o == Py_None) return std::nullopt;
  const int truth = PyObject_IsTrue(o);
  check(truth);
  return truth != 0;
}
MemoryDevice to_memory_device(PyObject* pair) {
  PyRef tuple = PyRef::steal(PySequence_Tuple(pair));
  MemoryDevice d{};
  if (!PyArg_ParseTuple(tuple.get(), "ii:dl_device", &d.type, &d.id)) throw PythonError();
  return d;
}
bool takes_versioned(PyObject* max_version) {
  if (max_version == Py_None) return false;
  const PyRef tuple = PyRef::steal(PySequence_Tuple(max_version));
  int major = 0, minor = 0;
  if (!PyArg_ParseTuple(tuple.get(), "ii:max_version", &major, &minor)) throw PythonError();
  return major >= 1;
}
/// Work on host memory is done when a capsule is: there is no stream to wait for.
void check_stream(PyObject* stream) {
  if (stream == Py_None) return;
  if (!PyLong_Check(stream)) raise(PyExc_TypeError, "stream must be ``int`` or ``none``");
  const long number = PyLong_AsLong(stream);
  if (number == -1 && PyErr_Occurred()) throw PythonError();
  if (number != -1) raise(PyExc_AssertionError, "stream should be None on cpu.");
}

PyObject* export_tensor(const Tensor& given, PyObject* stream, bool versioned, PyObject* dl_device,
                        std::optional<bool> copy) {
  if (given.requires_grad())
    raise(PyExc_BufferError, "Can't export tensors that require gradient, use tensor.detach()");
  Tensor t = given;
  MemoryDevice device = memory_device(t);
  if (device.type == k_host) check_stream(stream);
  bool copied = false;
  if (dl_device != Py_None && to_memory_device(dl_device) != device) {
    if (to_memory_device(dl_device) != MemoryDevice{k_host, 0})
      raise(PyExc_BufferError, "a tensor on {} can be exported there or to host memory only",
            t.device().str());
    if (copy == false)
      raise(PyExc_ValueError, "a tensor on {} cannot be exported to host memory without a copy",
            t.device().str());
    t = to(t, Device(DeviceType::cpu), std::nullopt);
    device = {k_host, 0};
    copied = true;
  }
  if (copy == true && !copied) {
    t = clone(t);
    copied = true;
  }
  const bool read_only = t.storage().read_only;
  if (!versioned) {
    if (read_only)
      raise(PyExc_BufferError,
            "a read-only tensor can only be exported to a library that asks with max_version=(1, "
            "0) or above; or export a copy");
    return capsule_of(describe<DLManagedTensor>(t, device));
  }
  auto e = describe<DLManagedTensorVersioned>(t, device);
  e->managed.major = 1;
  e->managed.minor = 0;
  e->managed.flags = (read_only ? k_flag_read_only : 0) | (copied ? k_flag_copied : 0);
  return capsule_of(std::move(e));
}

PyObject* export_method(PyObject* self, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"stream", "max_version", "dl_device", "copy", nullptr};
    PyObject *stream = Py_None, *version = Py_None, *device = Py_None, *copy = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$OOOO:__dlpack__", const_cast<char**>(names),
                                     &stream, &version, &device, &copy))
      return nullptr;
    return export_tensor(tensor_of(self), stream, takes_versioned(version), device, choice(copy));
  });
}
PyObject* to_dlpack(PyObject*, PyObject* t) {
  return guarded(
      [&] { return export_tensor(to_tensor(t), Py_None, false, Py_None, std::nullopt); });
}
PyObject* device_method(PyObject* self, PyObject*) {
  return guarded([&]() -> PyObject* {
    const MemoryDevice d = memory_device(tensor_of(self));
    return Py_BuildValue("(ii)", d.type, d.id);
  });
}

// ---- import

DType dtype_of(const DLDataType& d) {
  for (int i = 0; i < k_dtype_count; ++i) {
    const auto dtype = static_cast<DType>(i);
    if (d.lanes == 1 && code_of(dtype) == d.code && size_of(dtype) * 8 == d.bits) return dtype;
  }
  if (d.lanes == 1 && d.code == code_uint && d.bits == 1) return DType::bool_;
  raise(PyExc_RuntimeError, "Unsupported DLPack dtype: code {}, {} bits, {} lanes", d.code, d.bits,
        d.lanes);
}

/// The producer's deleter may run Python: a capsule calls it later, under the interpreter's lock.
template <class Managed>
void delete_imported(PyObject* capsule) {
  auto* m = static_cast<Managed*>(PyCapsule_GetPointer(capsule, "quicksilver.imported"));
  if (m && m->deleter) m->deleter(m);
}

Layout layout_of(const DLTensor& d) {
  Layout layout;
  if (d.ndim < 0 || (d.ndim && !d.shape)) raise(PyExc_BufferError, "from_dlpack(): no shape");
  for (int i = 0; i < d.ndim; ++i) {
    if (d.shape[i] < 0) raise(PyExc_BufferError, "from_dlpack(): an extent of {}", d.shape[i]);
    layout.shape.push_back(d.shape[i]);
  }
  checked_numel(layout.shape);
  double last = 0;
  layout.strides = contiguous_strides(layout.shape);
  for (int i = 0; i < d.ndim && d.strides; ++i) {
    if (d.strides[i] < 0)
      raise(PyExc_ValueError, "from_dlpack(): negative strides are not supported; copy the array");
    layout.strides[static_cast<size_t>(i)] = d.strides[i];
  }
  for (size_t i = 0; i < layout.shape.size(); ++i)
    last += static_cast<double>(layout.shape[i]) * static_cast<double>(layout.strides[i]);
  if (layout.numel() && last > 0x1p48)
    raise(PyExc_BufferError, "from_dlpack(): more elements than any memory has");
  return layout;
}

/// The memory of a capsule, which is used up, as a tensor of `device`.
template <class Managed>
Tensor take_capsule(PyObject* capsule, DeviceType device) {
  auto* m = static_cast<Managed*>(PyCapsule_GetPointer(capsule, Names<Managed>::fresh));
  uint64_t flags = 0;
  if constexpr (std::is_same_v<Managed, DLManagedTensorVersioned>) {
    if (m->major != 1)
      raise(PyExc_BufferError, "from_dlpack() understands DLPack 1, but the capsule is of {}.{}",
            m->major, m->minor);
    flags = m->flags;
  }
  const DLTensor& d = m->tensor;
  const DType dtype = dtype_of(d.dtype);
  const Layout layout = layout_of(d);
  char* data = static_cast<char*>(d.data) + d.byte_offset;
  const size_t item = size_of(dtype) / (is_complex(dtype) ? 2 : 1);
  if (layout.numel() && !d.data) raise(PyExc_BufferError, "from_dlpack(): no memory");
  if (layout.numel() && std::bit_cast<uintptr_t>(data) % item)
    raise(PyExc_BufferError, "from_dlpack(): the memory is not aligned to its elements");
  PyRef owner = PyRef::steal(PyCapsule_New(m, "quicksilver.imported", delete_imported<Managed>));
  check(PyCapsule_SetName(capsule, Names<Managed>::used));
  check(PyCapsule_SetDestructor(capsule, nullptr));
  if (layout.numel() == 0) return empty_tensor(layout.shape, dtype, device);
  Tensor t = from_external(
      data, layout, dtype, layout.extent().second * static_cast<int64_t>(size_of(dtype)),
      [](void* o) { drop_later(static_cast<PyObject*>(o)); }, owner.get(), device);
  owner.release();
  t.storage().pinned = true;
  t.storage().read_only = flags & k_flag_read_only;
  return t;
}

/// Asks for a capsule of DLPack 1 first; `copy` is null when the producer was not told.
PyRef ask(PyObject* source, bool to_host, PyObject*& copy) {
  const PyRef method = PyRef::steal(PyObject_GetAttrString(source, "__dlpack__"));
  const PyRef nothing = PyRef::steal(PyTuple_New(0));
  const PyRef version = PyRef::steal(Py_BuildValue("{s(ii)}", "max_version", 1, 0));
  if (copy != Py_None) check(PyDict_SetItemString(version.get(), "copy", copy));
  if (to_host)
    check(PyDict_SetItemString(version.get(), "dl_device",
                               PyRef::steal(Py_BuildValue("(ii)", k_host, 0)).get()));
  if (PyObject* capsule = PyObject_Call(method.get(), nothing.get(), version.get()))
    return PyRef::steal(capsule);
  if (to_host || !PyErr_ExceptionMatches(PyExc_TypeError)) throw PythonError();
  PyErr_Clear();  // it is older than these arguments
  copy = nullptr;
  return PyRef::steal(PyObject_CallNoArgs(method.get()));
}

/// A tensor of ours: no capsule is wanted.
Tensor from_own(const Tensor& t, std::optional<Device> device, std::optional<bool> copy) {
  if (t.requires_grad())
    raise(PyExc_BufferError, "Can't export tensors that require gradient, use tensor.detach()");
  if (device && device->type != t.device_type()) {
    if (copy == false)
      raise(PyExc_ValueError, "from_dlpack(): a tensor on {} cannot be moved to {} without a copy",
            t.device().str(), device->str());
    return to(detach(t), *device, std::nullopt);
  }
  return copy == true ? clone(t) : detach(t);
}

PyObject* from_dlpack(PyObject*, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"", "device", "copy", nullptr};
    PyObject *source, *device_object = Py_None, *copy_object = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$OO:from_dlpack", const_cast<char**>(names),
                                     &source, &device_object, &copy_object))
      return nullptr;
    std::optional<Device> device;
    if (device_object != Py_None) device = to_device(device_object);
    const std::optional<bool> copy = choice(copy_object);
    if (is_tensor(source)) return wrap(from_own(tensor_of(source), device, copy));

    PyRef capsule = PyRef::borrow(source);
    bool copied = false;
    if (!PyCapsule_CheckExact(source)) {
      const PyRef where = PyRef::steal(PyObject_CallMethod(source, "__dlpack_device__", nullptr));
      const bool foreign = to_memory_device(where.get()).type != k_host;
      if (foreign && (!device || copy == false))
        raise(PyExc_BufferError,
              "from_dlpack(): the array is not in host memory; device=\"cpu\" asks for a copy");
      // Moved between devices it is copied anyway.
      PyObject* told = device && device->is_mps() && copy == true ? Py_None : copy_object;
      capsule = ask(source, foreign, told);
      copied = told == Py_True || foreign;
    }
    const bool versioned = PyCapsule_IsValid(capsule.get(), "dltensor_versioned");
    if (!versioned && !PyCapsule_IsValid(capsule.get(), "dltensor"))
      raise(PyExc_RuntimeError,
            "from_dlpack received an invalid capsule. Note that DLTensor capsules can be "
            "consumed only once, so you might have already constructed a tensor from it once.");
    // Host memory that mps is to share, not to copy.
    const bool shared = device && device->is_mps() && copy == false;
    if (shared && !device_runtime(DeviceType::mps).info().host_memory)
      raise(PyExc_ValueError, "from_dlpack(): host memory cannot be moved to {} without a copy",
            device->str());
    const DeviceType type = shared ? DeviceType::mps : DeviceType::cpu;
    Tensor t = versioned ? take_capsule<DLManagedTensorVersioned>(capsule.get(), type)
                         : take_capsule<DLManagedTensor>(capsule.get(), type);
    if (device && device->type != type)
      t = to(t, *device, std::nullopt);
    else if (copy == true && !copied)
      t = clone(t);
    return wrap(std::move(t));
  });
}

template <class F>
PyCFunction with_keywords(F* f) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(f));
}

PyMethodDef functions[] = {
    {"from_dlpack", with_keywords(from_dlpack), METH_VARARGS | METH_KEYWORDS,
     "from_dlpack(x, *, device=None, copy=None)\n\n"
     "A tensor over the memory of `x`: an array of another library with `__dlpack__`, or a "
     "capsule.\nHost memory is shared by a tensor of the cpu; with device=\"mps\" it is copied, "
     "unless copy=False\nasks to share it, which works where mps has host memory. What its owner "
     "calls read-only raises\nwhen it is written. copy=True always copies."},
    {"_to_dlpack", to_dlpack, METH_O, nullptr},
    {},
};

}  // namespace

PyMethodDef dlpack_methods[] = {
    {"__dlpack__", with_keywords(export_method), METH_VARARGS | METH_KEYWORDS, nullptr},
    {"__dlpack_device__", device_method, METH_NOARGS, nullptr},
    {},
};

void add_dlpack(PyObject* module) { check(PyModule_AddFunctions(module, functions)); }

}  // namespace qs::python
