// Size, the flag object, the constants of layout and memory_format, finfo and iinfo.
#include <cmath>
#include <limits>

#include "quicksilver/python/arguments.h"
#include "quicksilver/python/module.h"
#include "quicksilver/python/small_types.h"

namespace qs::python {

// ---- Size

PyTypeObject* size_type = nullptr;

PyObject* make_size(DimSpan dims) {
  PyObject* t = size_type->tp_alloc(size_type, static_cast<Py_ssize_t>(dims.size()));
  if (!t) throw PythonError();
  for (size_t i = 0; i < dims.size(); ++i) {
    PyObject* n = PyLong_FromLongLong(dims[i]);
    if (!n) {
      Py_DECREF(t);
      throw PythonError();
    }
    PyTuple_SET_ITEM(t, static_cast<Py_ssize_t>(i), n);
  }
  return t;
}

namespace {

/// A Size of a tuple's items; takes the tuple over.
PyObject* as_size(PyObject* tuple) {
  if (!tuple || !PyTuple_Check(tuple)) return tuple;  // an error, NotImplemented, one item
  const Py_ssize_t n = PyTuple_GET_SIZE(tuple);
  PyObject* t = size_type->tp_alloc(size_type, n);
  for (Py_ssize_t i = 0; t && i < n; ++i)
    PyTuple_SET_ITEM(t, i, new_ref(PyTuple_GET_ITEM(tuple, i)));
  Py_DECREF(tuple);
  return t;
}

PyObject* size_new(PyTypeObject*, PyObject* args, PyObject*) {
  return guarded([&]() -> PyObject* {
    PyObject* items = nullptr;
    if (!PyArg_ParseTuple(args, "|O:Size", &items)) return nullptr;
    PyRef tuple = PyRef::steal(items ? PySequence_Tuple(items) : PyTuple_New(0));
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple.get()); ++i) {
      PyObject* item = PyTuple_GET_ITEM(tuple.get(), i);
      if (!is_integer(item))
        raise(PyExc_TypeError, "torch.Size() takes an iterable of 'int' (item {} is '{}')", i,
              type_name(item));
    }
    return as_size(tuple.release());
  });
}
PyObject* size_repr(PyObject* self) {
  return guarded([&] {
    std::string s = "torch.Size([";
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(self); ++i) {
      const PyRef item = PyRef::steal(PyObject_Repr(PyTuple_GET_ITEM(self, i)));
      if (i) s += ", ";
      s += text_of(item.get());
    }
    return PyUnicode_FromString((s + "])").c_str());
  });
}
PyObject* size_numel(PyObject* self, PyObject*) {
  long long n = 1;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(self); ++i) {
    n *= PyLong_AsLongLong(PyTuple_GET_ITEM(self, i));
    if (PyErr_Occurred()) return nullptr;
  }
  return PyLong_FromLongLong(n);
}
PyObject* size_concat(PyObject* a, PyObject* b) {
  return as_size(PyTuple_Type.tp_as_sequence->sq_concat(a, b));
}
PyObject* size_repeat(PyObject* a, Py_ssize_t n) {
  return as_size(PyTuple_Type.tp_as_sequence->sq_repeat(a, n));
}
PyObject* size_subscript(PyObject* self, PyObject* key) {
  PyObject* r = PyTuple_Type.tp_as_mapping->mp_subscript(self, key);
  return PySlice_Check(key) ? as_size(r) : r;
}
PyObject* size_reduce(PyObject* self, PyObject*) {
  return Py_BuildValue("O(N)", size_type, PySequence_List(self));
}
PyMethodDef size_methods[] = {
    {"numel", size_numel, METH_NOARGS, "The number of elements of this shape."},
    {"__reduce__", size_reduce, METH_NOARGS, nullptr},
    {},
};
PyType_Slot size_slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(size_new)},
    {Py_tp_repr, reinterpret_cast<void*>(size_repr)},
    {Py_sq_concat, reinterpret_cast<void*>(size_concat)},
    {Py_sq_repeat, reinterpret_cast<void*>(size_repeat)},
    {Py_mp_subscript, reinterpret_cast<void*>(size_subscript)},
    {Py_tp_methods, size_methods},
    {Py_tp_doc, const_cast<char*>("The extents of a tensor: a tuple of ints.")},
    {0, nullptr},
};
PyType_Spec size_spec = {"quicksilver.Size", 0, 0, Py_TPFLAGS_DEFAULT, size_slots};

// ---- the flag

PyObject* g_flags[2];

PyObject* flag_repr(PyObject* self) {
  return PyUnicode_InternFromString(self == g_flags[1] ? "True" : "False");
}
PyObject* flag_call(PyObject* self, PyObject*, PyObject*) { return py_bool(self == g_flags[1]); }
PyObject* flag_reduce(PyObject* self, PyObject*) {
  return Py_BuildValue("O(i)", &PyBool_Type, self == g_flags[1]);
}
PyMethodDef flag_methods[] = {{"__reduce__", flag_reduce, METH_NOARGS, nullptr}, {}};
PyType_Slot flag_slots[] = {
    {Py_tp_repr, reinterpret_cast<void*>(flag_repr)},
    {Py_tp_str, reinterpret_cast<void*>(flag_repr)},
    {Py_tp_call, reinterpret_cast<void*>(flag_call)},
    {Py_tp_methods, flag_methods},
    {Py_tp_doc, const_cast<char*>("True or False, as an attribute and as a call.")},
    {0, nullptr},
};
PyType_Spec flag_spec = {"quicksilver._Flag", 0, 0, Py_TPFLAGS_DEFAULT, flag_slots};

// ---- constants

struct ConstantObject {
  PyObject_HEAD const char* name;
};
PyObject* g_strided = nullptr;

PyObject* constant_repr(PyObject* self) {
  return PyUnicode_FromFormat("torch.%s", reinterpret_cast<ConstantObject*>(self)->name);
}
PyObject* constant_reduce(PyObject* self, PyObject*) {
  return PyUnicode_FromString(reinterpret_cast<ConstantObject*>(self)->name);
}
PyMethodDef constant_methods[] = {{"__reduce__", constant_reduce, METH_NOARGS, nullptr}, {}};
PyType_Slot constant_slots[] = {
    {Py_tp_repr, reinterpret_cast<void*>(constant_repr)},
    {Py_tp_methods, constant_methods},
    {0, nullptr},
};
PyType_Spec layout_spec = {"quicksilver.layout", sizeof(ConstantObject), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, constant_slots};
PyType_Spec memory_format_spec = {"quicksilver.memory_format", sizeof(ConstantObject), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                                  constant_slots};

PyObject* add_constant(PyObject* module, PyTypeObject* type, const char* name) {
  auto* o = PyObject_New(ConstantObject, type);
  if (!o) throw PythonError();
  o->name = name;
  add(module, name, reinterpret_cast<PyObject*>(o));
  return reinterpret_cast<PyObject*>(o);
}

// ---- finfo and iinfo

struct InfoObject {
  PyObject_HEAD PyObject* dict;
};
PyTypeObject* finfo_type = nullptr;
PyTypeObject* iinfo_type = nullptr;

void info_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  Py_CLEAR(reinterpret_cast<InfoObject*>(self)->dict);
  type->tp_free(self);
  Py_DECREF(type);
}
PyMemberDef info_members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(InfoObject, dict), READONLY, nullptr}, {}};

struct FloatFacts {
  DType dtype;
  double eps, max, tiny, resolution;
};
constexpr FloatFacts k_floats[] = {
    {DType::f16, 0x1p-10, 65504.0, 0x1p-14, 1e-3},
    {DType::bf16, 0x1p-7, 0x1.FEp127, 0x1p-126, 1e-2},
    {DType::f32, 0x1p-23, std::numeric_limits<float>::max(), 0x1p-126, 1e-6},
    {DType::f64, 0x1p-52, std::numeric_limits<double>::max(), 0x1p-1022, 1e-15},
};

void put(PyObject* self, const char* name, PyObject* value) {
  const PyRef v = PyRef::steal(value);
  check(
      PyObject_GenericSetAttr(self, PyRef::steal(PyUnicode_InternFromString(name)).get(), v.get()));
}

PyObject* dtype_name(DType d) {
  const std::string_view n = name_of(d);
  return PyUnicode_FromStringAndSize(n.data(), static_cast<Py_ssize_t>(n.size()));
}

PyObject* finfo_new(PyTypeObject* type, PyObject* args, PyObject*) {
  return guarded([&]() -> PyObject* {
    PyObject* given = nullptr;
    if (!PyArg_ParseTuple(args, "|O:finfo", &given)) return nullptr;
    DType dtype = given ? to_dtype(given) : to_dtype(PyRef::steal(wrap(DType::f32)).get());
    if (dtype == DType::c64) dtype = DType::f32;
    if (dtype == DType::c128) dtype = DType::f64;
    if (!is_floating(dtype))
      raise(PyExc_TypeError,
            "torch.finfo() requires a floating point input type. Use torch.iinfo "
            "to handle 'torch.finfo'");
    PyRef self = PyRef::steal(type->tp_alloc(type, 0));
    for (const FloatFacts& f : k_floats) {
      if (f.dtype != dtype) continue;
      put(self.get(), "bits", PyLong_FromSize_t(size_of(dtype) * 8));
      put(self.get(), "eps", PyFloat_FromDouble(f.eps));
      put(self.get(), "max", PyFloat_FromDouble(f.max));
      put(self.get(), "min", PyFloat_FromDouble(-f.max));
      put(self.get(), "tiny", PyFloat_FromDouble(f.tiny));
      put(self.get(), "smallest_normal", PyFloat_FromDouble(f.tiny));
      put(self.get(), "resolution", PyFloat_FromDouble(f.resolution));
    }
    put(self.get(), "dtype", dtype_name(dtype));
    return self.release();
  });
}
PyObject* iinfo_new(PyTypeObject* type, PyObject* args, PyObject*) {
  return guarded([&]() -> PyObject* {
    PyObject* given = nullptr;
    if (!PyArg_ParseTuple(args, "O:iinfo", &given)) return nullptr;
    const DType dtype = to_dtype(given);
    if (!is_integral(dtype) || dtype == DType::bool_)
      raise(PyExc_TypeError,
            "torch.iinfo() requires an integer input type. Use torch.finfo to "
            "handle '{}'",
            name_of(dtype));
    PyRef self = PyRef::steal(type->tp_alloc(type, 0));
    const auto bits = static_cast<unsigned>(size_of(dtype) * 8);
    const bool is_signed = info(dtype).is_signed;
    const uint64_t top = ~uint64_t{0} >> (64 - bits + (is_signed ? 1 : 0));
    put(self.get(), "bits", PyLong_FromUnsignedLong(bits));
    put(self.get(), "max", PyLong_FromUnsignedLongLong(top));
    put(self.get(), "min",
        PyLong_FromLongLong(is_signed ? -static_cast<int64_t>(top) - 1 : int64_t{0}));
    put(self.get(), "dtype", dtype_name(dtype));
    return self.release();
  });
}
std::string field(PyObject* self, const char* name, const char* format) {
  const PyRef v = PyRef::steal(PyObject_GetAttrString(self, name));
  if (!PyFloat_Check(v.get())) return text_of(PyRef::steal(PyObject_Str(v.get())).get());
  char text[40];
  PyOS_snprintf(text, sizeof text, format, PyFloat_AS_DOUBLE(v.get()));
  return text;
}
PyObject* info_repr(PyObject* self) {
  return guarded([&] {
    const bool is_float = Py_TYPE(self) == finfo_type;
    std::string s;
    for (const char* name :
         {"resolution", "min", "max", "eps", "smallest_normal", "tiny", "dtype"}) {
      if (!is_float && std::string_view("min max dtype").find(name) == std::string_view::npos)
        continue;
      s += fmt::format("{}{}={}", s.empty() ? "" : ", ", name, field(self, name, "%g"));
    }
    return PyUnicode_FromFormat("%s(%s)", is_float ? "finfo" : "iinfo", s.c_str());
  });
}
PyType_Slot finfo_slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(finfo_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(info_dealloc)},
    {Py_tp_repr, reinterpret_cast<void*>(info_repr)},
    {Py_tp_members, info_members},
    {Py_tp_doc, const_cast<char*>("finfo(dtype)\n\nThe limits of a floating-point dtype.")},
    {0, nullptr},
};
PyType_Slot iinfo_slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(iinfo_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(info_dealloc)},
    {Py_tp_repr, reinterpret_cast<void*>(info_repr)},
    {Py_tp_members, info_members},
    {Py_tp_doc, const_cast<char*>("iinfo(dtype)\n\nThe limits of an integer dtype.")},
    {0, nullptr},
};
PyType_Spec finfo_spec = {"quicksilver.finfo", sizeof(InfoObject), 0, Py_TPFLAGS_DEFAULT,
                          finfo_slots};
PyType_Spec iinfo_spec = {"quicksilver.iinfo", sizeof(InfoObject), 0, Py_TPFLAGS_DEFAULT,
                          iinfo_slots};

}  // namespace

PyTypeObject* layout_type = nullptr;
PyTypeObject* memory_format_type = nullptr;

PyObject* flag(bool on) { return new_ref(g_flags[on]); }
std::string_view constant_name(PyObject* o) { return reinterpret_cast<ConstantObject*>(o)->name; }
PyObject* strided_layout() { return new_ref(g_strided); }

void add_constants(PyObject* module) {
  size_type = make_type(size_spec, &PyTuple_Type);
  add(module, "Size", reinterpret_cast<PyObject*>(size_type));
  PyTypeObject* flag_type = make_type(flag_spec, &PyLong_Type);
  for (int i = 0; i < 2; ++i) {
    const PyRef args = PyRef::steal(Py_BuildValue("(i)", i));
    g_flags[i] = PyRef::steal(PyLong_Type.tp_new(flag_type, args.get(), nullptr)).release();
  }
  layout_type = make_type(layout_spec);
  memory_format_type = make_type(memory_format_spec);
  add(module, "layout", reinterpret_cast<PyObject*>(layout_type));
  add(module, "memory_format", reinterpret_cast<PyObject*>(memory_format_type));
  g_strided = add_constant(module, layout_type, "strided");
  for (const char* name : {"sparse_coo", "sparse_csr"}) add_constant(module, layout_type, name);
  for (const char* name :
       {"contiguous_format", "preserve_format", "channels_last", "channels_last_3d"})
    add_constant(module, memory_format_type, name);
}

void add_number_info(PyObject* module) {
  finfo_type = make_type(finfo_spec);
  iinfo_type = make_type(iinfo_spec);
  add(module, "finfo", reinterpret_cast<PyObject*>(finfo_type));
  add(module, "iinfo", reinterpret_cast<PyObject*>(iinfo_type));
}

}  // namespace qs::python
