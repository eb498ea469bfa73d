// Python and NumPy numbers to C++ ones. NumPy's types are looked up only when it has been imported.
#include <cstring>

#include "quicksilver/python/arguments.h"

namespace qs::python {

namespace {

struct NumpyTypes {
  PyTypeObject* array = nullptr;
  PyTypeObject* scalar = nullptr;
};
/// Null types while NumPy has not been imported: then nothing can be of its types.
const NumpyTypes& numpy_types() {
  static NumpyTypes types;
  if (!types.array) {
    static PyObject* name = PyUnicode_InternFromString("numpy");
    if (PyObject* numpy = PyImport_GetModule(name)) {
      types.array = reinterpret_cast<PyTypeObject*>(PyObject_GetAttrString(numpy, "ndarray"));
      types.scalar = reinterpret_cast<PyTypeObject*>(PyObject_GetAttrString(numpy, "generic"));
      Py_DECREF(numpy);
    }
    PyErr_Clear();
  }
  return types;
}

bool has_index(PyObject* o) {
  const PyNumberMethods* n = Py_TYPE(o)->tp_as_number;
  return n && n->nb_index;
}

}  // namespace

bool is_numpy_scalar(PyObject* o) {
  if (PyUnicode_CheckExact(o) || PyList_CheckExact(o) || PyTuple_CheckExact(o)) return false;
  PyTypeObject* t = numpy_types().scalar;
  return t && PyType_IsSubtype(Py_TYPE(o), t);
}
bool is_numpy_array(PyObject* o) {
  if (PyUnicode_CheckExact(o) || PyList_CheckExact(o) || PyTuple_CheckExact(o)) return false;
  PyTypeObject* t = numpy_types().array;
  return t && PyType_IsSubtype(Py_TYPE(o), t);
}

bool is_integer(PyObject* o) {
  if (PyLong_Check(o)) return true;
  if (is_tensor(o)) return tensor_of(o).dim() == 0 && is_integral(tensor_of(o).dtype());
  return has_index(o) && !is_numpy_array(o);
}

bool is_number(PyObject* o) {
  if (PyFloat_Check(o) || PyLong_Check(o) || PyComplex_Check(o)) return true;
  if (is_tensor(o)) return false;
  return is_numpy_scalar(o) ? PyNumber_Check(o) : has_index(o) && !is_numpy_array(o);
}

int64_t to_integer(PyObject* o) {
  PyRef index;
  if (!PyLong_Check(o)) {
    if (is_tensor(o)) return item_of(tensor_of(o)).to_int();
    index = PyRef::steal(PyNumber_Index(o));
    o = index.get();
  }
  int overflow = 0;
  const long long v = PyLong_AsLongLongAndOverflow(o, &overflow);
  if (overflow) raise(PyExc_OverflowError, "Overflow when unpacking long");
  if (v == -1 && PyErr_Occurred()) throw PythonError();
  return v;
}

Scalar to_scalar(PyObject* o) {
  if (PyFloat_Check(o)) return Scalar(PyFloat_AS_DOUBLE(o));
  if (PyBool_Check(o)) return Scalar(o == Py_True);
  if (PyLong_Check(o)) return Scalar(to_integer(o));
  if (is_tensor(o)) {
    if (tensor_of(o).requires_grad())
      raise(PyExc_RuntimeError,
            "a tensor that requires grad cannot stand for a number here; use tensor.detach() or "
            "item()");
    return item_of(tensor_of(o));
  }
  if (PyComplex_Check(o)) {
    const Py_complex c = PyComplex_AsCComplex(o);
    return Scalar(c.real, c.imag);
  }
  const std::string_view name = type_name(o);
  if (is_numpy_scalar(o)) {
    if (name.starts_with("bool")) return Scalar(PyObject_IsTrue(o) == 1);
    if (name.starts_with("complex")) {
      const Py_complex c = PyComplex_AsCComplex(o);
      return Scalar(c.real, c.imag);
    }
    if (!has_index(o)) {
      const double v = PyFloat_AsDouble(o);
      if (v == -1.0 && PyErr_Occurred()) throw PythonError();
      return Scalar(v);
    }
  }
  if (has_index(o)) return Scalar(to_integer(o));
  raise(PyExc_TypeError, "expected a number (got {})", name);
}

Dims to_dims(PyObject* o) {
  Dims d;
  if (is_integer(o)) {
    d.push_back(to_integer(o));
    return d;
  }
  const PyRef items = PyRef::steal(PySequence_Fast(o, "expected a sequence of integers"));
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items.get()); ++i)
    d.push_back(to_integer(PySequence_Fast_GET_ITEM(items.get(), i)));
  return d;
}

PyObject* wrap(const Scalar& s) {
  switch (s.kind()) {
    case Scalar::Kind::boolean:
      return py_bool(s.to_bool());
    case Scalar::Kind::integer:
      return PyLong_FromLongLong(s.to_int());
    case Scalar::Kind::floating:
      return PyFloat_FromDouble(s.to_double());
    case Scalar::Kind::complex:
      return PyComplex_FromDoubles(s.to_double(), s.imag());
  }
  return nullptr;
}

}  // namespace qs::python
