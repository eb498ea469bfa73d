#include <array>

#include "quicksilver/python/module.h"
#include "quicksilver/python/small_types.h"
#include "quicksilver/tensor/record.h"

namespace qs::python {

// ---- dtype

PyTypeObject* dtype_type = nullptr;
namespace {

struct DTypeObject {
  PyObject_HEAD DType dtype;
};
std::array<PyObject*, k_dtype_count> g_dtypes;

struct Alias {
  const char* name;
  DType dtype;
};
constexpr Alias k_aliases[] = {
    {"float", DType::f32}, {"double", DType::f64}, {"half", DType::f16},   {"long", DType::i64},
    {"int", DType::i32},   {"short", DType::i16},  {"cfloat", DType::c64}, {"cdouble", DType::c128},
};

DType self_dtype(PyObject* self) { return reinterpret_cast<DTypeObject*>(self)->dtype; }

PyObject* dtype_repr(PyObject* self) {
  const std::string_view name = name_of(self_dtype(self));
  return PyUnicode_FromFormat("torch.%s", std::string(name).c_str());
}
PyObject* dtype_reduce(PyObject* self, PyObject*) {
  return PyUnicode_FromString(std::string(name_of(self_dtype(self))).c_str());
}
PyObject* dtype_floating(PyObject* self, void*) { return py_bool(is_floating(self_dtype(self))); }
PyObject* dtype_complex(PyObject* self, void*) { return py_bool(is_complex(self_dtype(self))); }
PyObject* dtype_signed(PyObject* self, void*) { return py_bool(info(self_dtype(self)).is_signed); }
PyObject* dtype_itemsize(PyObject* self, void*) {
  return PyLong_FromSize_t(size_of(self_dtype(self)));
}
PyObject* dtype_to_complex(PyObject* self, PyObject*) {
  const DType d = self_dtype(self);
  return wrap(d == DType::f64 || d == DType::c128 ? DType::c128 : DType::c64);
}
PyObject* dtype_to_real(PyObject* self, PyObject*) {
  const DType d = self_dtype(self);
  return wrap(d == DType::c64 ? DType::f32 : d == DType::c128 ? DType::f64 : d);
}

PyMethodDef dtype_methods[] = {
    {"__reduce__", dtype_reduce, METH_NOARGS, nullptr},
    {"to_complex", dtype_to_complex, METH_NOARGS, "The complex dtype of the same precision."},
    {"to_real", dtype_to_real, METH_NOARGS, "The real dtype of the same precision."},
    {},
};
PyGetSetDef dtype_getset[] = {
    {"is_floating_point", dtype_floating, nullptr, nullptr, nullptr},
    {"is_complex", dtype_complex, nullptr, nullptr, nullptr},
    {"is_signed", dtype_signed, nullptr, nullptr, nullptr},
    {"itemsize", dtype_itemsize, nullptr, "Bytes an element.", nullptr},
    {},
};
PyType_Slot dtype_slots[] = {
    {Py_tp_repr, reinterpret_cast<void*>(dtype_repr)},
    {Py_tp_methods, dtype_methods},
    {Py_tp_getset, dtype_getset},
    {Py_tp_doc, const_cast<char*>("The type of a tensor's elements.")},
    {0, nullptr},
};
PyType_Spec dtype_spec = {"quicksilver.dtype", sizeof(DTypeObject), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, dtype_slots};

void add_dtypes(PyObject* module) {
  dtype_type = make_type(dtype_spec);
  add(module, "dtype", reinterpret_cast<PyObject*>(dtype_type));
  for (int i = 0; i < k_dtype_count; ++i) {
    auto* o = PyObject_New(DTypeObject, dtype_type);
    if (!o) throw PythonError();
    o->dtype = static_cast<DType>(i);
    g_dtypes[static_cast<size_t>(i)] = reinterpret_cast<PyObject*>(o);
    add(module, std::string(name_of(o->dtype)).c_str(), reinterpret_cast<PyObject*>(o));
  }
  for (const Alias& a : k_aliases) add(module, a.name, g_dtypes[static_cast<size_t>(a.dtype)]);
}

}  // namespace

PyObject* wrap(DType dtype) { return new_ref(g_dtypes[static_cast<size_t>(dtype)]); }

bool is_dtype_like(PyObject* o) {
  return is_dtype(o) || o == reinterpret_cast<PyObject*>(&PyFloat_Type) ||
         o == reinterpret_cast<PyObject*>(&PyLong_Type) ||
         o == reinterpret_cast<PyObject*>(&PyBool_Type) ||
         o == reinterpret_cast<PyObject*>(&PyComplex_Type);
}

DType to_dtype(PyObject* o) {
  if (is_dtype(o)) return self_dtype(o);
  if (o == reinterpret_cast<PyObject*>(&PyFloat_Type)) return DType::f64;
  if (o == reinterpret_cast<PyObject*>(&PyLong_Type)) return DType::i64;
  if (o == reinterpret_cast<PyObject*>(&PyBool_Type)) return DType::bool_;
  if (o == reinterpret_cast<PyObject*>(&PyComplex_Type)) return DType::c128;
  raise(PyExc_TypeError, "expected a dtype (got {})", type_name(o));
}

// ---- device

PyTypeObject* device_type = nullptr;
namespace {

struct DeviceObject {
  PyObject_HEAD Device device;
};
PyObject* g_devices[k_device_type_count][2];  // without and with index 0
Device g_default_device{DeviceType::cpu};

Device self_device(PyObject* self) { return reinterpret_cast<DeviceObject*>(self)->device; }

PyObject* device_new(PyTypeObject*, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"type", "index", nullptr};
    PyObject *type = nullptr, *index = nullptr;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:device", const_cast<char**>(names), &type,
                                     &index))
      return nullptr;
    if (!is_device_like(type))
      raise(PyExc_TypeError, "device(): argument 'type' (position 1) must be str, not {}",
            type_name(type));
    Device device = to_device(type);
    if (index && index != Py_None) {
      const long i = PyLong_AsLong(index);
      if (i == -1 && PyErr_Occurred()) return nullptr;
      if (device.index >= 0)
        raise(PyExc_RuntimeError,
              "type (string) must not include an index because index was passed "
              "explicitly: {}",
              device.str());
      if (i != 0)
        raise(mps_device_error, "there is one {} device, index 0 (got {})", device.str(), i);
      device.index = 0;
    }
    return wrap(device);
  });
}
PyObject* device_repr(PyObject* self) {
  const Device d = self_device(self);
  const char* type = d.is_mps() ? "mps" : "cpu";
  return d.index < 0 ? PyUnicode_FromFormat("device(type='%s')", type)
                     : PyUnicode_FromFormat("device(type='%s', index=%d)", type, d.index);
}
PyObject* device_str(PyObject* self) {
  return PyUnicode_FromString(self_device(self).str().c_str());
}
PyObject* device_compare(PyObject* a, PyObject* b, int op) {
  if (!is_device(b) || (op != Py_EQ && op != Py_NE)) Py_RETURN_NOTIMPLEMENTED;
  return py_bool((self_device(a) == self_device(b)) == (op == Py_EQ));
}
Py_hash_t device_hash(PyObject* self) {
  const Device d = self_device(self);
  return 64 + static_cast<int>(d.type) * 8 + d.index;
}
PyObject* device_get_type(PyObject* self, void*) {
  return PyUnicode_InternFromString(self_device(self).is_mps() ? "mps" : "cpu");
}
PyObject* device_get_index(PyObject* self, void*) {
  const Device d = self_device(self);
  return d.index < 0 ? none() : PyLong_FromLong(d.index);
}
PyObject* device_reduce(PyObject* self, PyObject*) {
  return Py_BuildValue("O(N)", Py_TYPE(self), device_str(self));
}
// `with torch.device("mps"):` makes it the default for what is created inside.
std::vector<Device>& device_stack() {
  static auto* v = new std::vector<Device>;
  return *v;
}
PyObject* device_enter(PyObject* self, PyObject*) {
  device_stack().push_back(g_default_device);
  g_default_device = self_device(self);
  return new_ref(self);
}
PyObject* device_exit(PyObject*, PyObject*) {
  if (!device_stack().empty()) {
    g_default_device = device_stack().back();
    device_stack().pop_back();
  }
  Py_RETURN_NONE;
}

PyMethodDef device_methods[] = {
    {"__reduce__", device_reduce, METH_NOARGS, nullptr},
    {"__enter__", device_enter, METH_NOARGS, nullptr},
    {"__exit__", device_exit, METH_VARARGS, nullptr},
    {},
};
PyGetSetDef device_getset[] = {
    {"type", device_get_type, nullptr, "\"cpu\" or \"mps\"", nullptr},
    {"index", device_get_index, nullptr, "0, or None when none was said", nullptr},
    {},
};
PyType_Slot device_slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(device_new)},
    {Py_tp_repr, reinterpret_cast<void*>(device_repr)},
    {Py_tp_str, reinterpret_cast<void*>(device_str)},
    {Py_tp_richcompare, reinterpret_cast<void*>(device_compare)},
    {Py_tp_hash, reinterpret_cast<void*>(device_hash)},
    {Py_tp_methods, device_methods},
    {Py_tp_getset, device_getset},
    {Py_tp_doc, const_cast<char*>("device(type, index=None)\n\nWhere a tensor lives: cpu or mps.")},
    {0, nullptr},
};
PyType_Spec device_spec = {"quicksilver.device", sizeof(DeviceObject), 0, Py_TPFLAGS_DEFAULT,
                           device_slots};

PyObject* set_default_device(PyObject*, PyObject* device) {
  return guarded([&]() -> PyObject* {
    g_default_device = device == Py_None ? Device(DeviceType::cpu) : to_device(device);
    return none();
  });
}
PyObject* get_default_device(PyObject*, PyObject*) { return wrap(g_default_device); }
PyObject* set_default_dtype(PyObject*, PyObject* dtype) {
  return guarded([&]() -> PyObject* {
    if (!is_dtype(dtype)) raise(PyExc_TypeError, "invalid dtype object");
    if (!is_floating(self_dtype(dtype)))
      raise(PyExc_TypeError, "only floating-point types are supported as the default type");
    qs::set_default_dtype(self_dtype(dtype));
    return none();
  });
}
PyObject* get_default_dtype(PyObject*, PyObject*) { return wrap(qs::default_dtype()); }

PyMethodDef functions[] = {
    {"_set_default_device", set_default_device, METH_O, nullptr},
    {"get_default_device", get_default_device, METH_NOARGS, "Where tensors are created."},
    {"set_default_dtype", set_default_dtype, METH_O, "Sets the dtype of floats without one."},
    {"get_default_dtype", get_default_dtype, METH_NOARGS, "The dtype of floats without one."},
    {},
};

void add_devices(PyObject* module) {
  device_type = make_type(device_spec);
  add(module, "device", reinterpret_cast<PyObject*>(device_type));
  for (int t = 0; t < k_device_type_count; ++t)
    for (int i = 0; i < 2; ++i) {
      auto* o = PyObject_New(DeviceObject, device_type);
      if (!o) throw PythonError();
      o->device = Device(static_cast<DeviceType>(t), i - 1);
      g_devices[t][i] = reinterpret_cast<PyObject*>(o);
    }
  check(PyModule_AddFunctions(module, functions));
}

}  // namespace

PyObject* wrap(Device d) { return new_ref(g_devices[static_cast<int>(d.type)][d.index >= 0]); }
Device default_device() { return g_default_device; }

Device to_device(PyObject* o) {
  if (is_device(o)) return self_device(o);
  if (PyUnicode_Check(o)) return Device::parse(text_of(o));
  if (PyLong_Check(o)) {
    const long i = PyLong_AsLong(o);
    if (i != 0) raise(mps_device_error, "there is one mps device, index 0 (got {})", i);
    return Device(DeviceType::mps, 0);
  }
  raise(PyExc_TypeError, "expected a device or its name (got {})", type_name(o));
}

void add_generator(PyObject* module);    // generator.cpp
void add_constants(PyObject* module);    // constants.cpp
void add_number_info(PyObject* module);  // constants.cpp

void add_small_types(PyObject* module) {
  add_dtypes(module);
  add_devices(module);
  add_constants(module);
  add_number_info(module);
  add_generator(module);
}

}  // namespace qs::python
