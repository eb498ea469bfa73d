#include "quicksilver/python/tensor_type.h"

#include <new>
#include <vector>

#include "quicksilver/autograd/autograd.h"
#include "quicksilver/autograd/verbs.h"
#include "quicksilver/python/functions.h"
#include "quicksilver/python/module.h"
#include "quicksilver/python/small_types.h"

namespace qs::python {

PyTypeObject* tensor_type = nullptr;

namespace {

PyTypeObject* g_parameter_type = nullptr;  // registered by the Python package
PyObject* g_repr_function = nullptr;

// Memory of dead Tensors of the exact type. They are not known to the collector until they have a
// dict: without one nothing in them can be part of a cycle that the collector could see.
constexpr int k_free_most = 256;
TensorObject* g_free[k_free_most];
int g_free_count = 0;

TensorObject* self_of(PyObject* o) { return reinterpret_cast<TensorObject*>(o); }

void tensor_dealloc(PyObject* object) {
  TensorObject* self = self_of(object);
  PyTypeObject* type = Py_TYPE(object);
  if (self->tensor.defined() && self->tensor.impl()->python_object == object)
    self->tensor.impl()->python_object = nullptr;
  if (PyObject_GC_IsTracked(object)) PyObject_GC_UnTrack(object);
  if (self->weakrefs) PyObject_ClearWeakRefs(object);
  Py_CLEAR(self->dict);
  self->tensor.~Tensor();
  if (type == tensor_type && g_free_count < k_free_most) {
    g_free[g_free_count++] = self;
  } else {
    type->tp_free(object);
  }
  Py_DECREF(type);
  safe_point();
}

int tensor_traverse(PyObject* object, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(self_of(object)->dict);
  return 0;
}
int tensor_clear(PyObject* object) {
  Py_CLEAR(self_of(object)->dict);
  return 0;
}

int tensor_setattro(PyObject* object, PyObject* name, PyObject* value) {
  const int status = PyObject_GenericSetAttr(object, name, value);
  if (self_of(object)->dict && !PyObject_GC_IsTracked(object)) PyObject_GC_Track(object);
  return status;
}

PyObject* tensor_get_dict(PyObject* object, void* context) {
  PyObject* dict = PyObject_GenericGetDict(object, context);
  if (dict && !PyObject_GC_IsTracked(object)) PyObject_GC_Track(object);
  return dict;
}
int tensor_set_dict(PyObject* object, PyObject* value, void* context) {
  const int status = PyObject_GenericSetDict(object, value, context);
  if (self_of(object)->dict && !PyObject_GC_IsTracked(object)) PyObject_GC_Track(object);
  return status;
}

Py_hash_t tensor_hash(PyObject* object) {
  const auto p = reinterpret_cast<size_t>(object);
  return static_cast<Py_hash_t>((p >> 4) | (p << (8 * sizeof p - 4))) >> 1;
}

PyObject* tensor_repr(PyObject* object) {
  if (g_repr_function) return PyObject_CallOneArg(g_repr_function, object);
  return guarded([&] {
    const Tensor& t = tensor_of(object);
    return PyUnicode_FromString(fmt::format("<Tensor of {} {} on {}>", name_of(t.dtype()),
                                            to_string(t.shape()), t.device().str())
                                    .c_str());
  });
}

Py_ssize_t tensor_length(PyObject* object) {
  const Tensor& t = tensor_of(object);
  if (t.dim() == 0) {
    PyErr_SetString(PyExc_TypeError, "len() of a 0-d tensor");
    return -1;
  }
  return static_cast<Py_ssize_t>(t.shape()[0]);
}

PyObject* tensor_iter(PyObject* object) {
  return guarded([&]() -> PyObject* {
    const Tensor& t = tensor_of(object);
    if (t.dim() == 0) raise(PyExc_TypeError, "iteration over a 0-d tensor");
    const std::vector<Tensor> parts = unbind(t, 0);
    PyRef list = PyRef::steal(PyList_New(static_cast<Py_ssize_t>(parts.size())));
    for (size_t i = 0; i < parts.size(); ++i)
      PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i),
                      PyRef::steal(wrap(parts[i])).release());
    return PyObject_GetIter(list.get());
  });
}

int tensor_contains(PyObject* object, PyObject* item) {
  return guarded_status([&] {
    if (!is_tensor(item) && !is_number(item))
      raise(PyExc_RuntimeError,
            "Tensor.__contains__ only supports Tensor or scalar, but you passed in a {}.",
            text_of(PyRef::steal(PyObject_Repr(reinterpret_cast<PyObject*>(Py_TYPE(item)))).get()));
    const Tensor hits = is_tensor(item) ? eq(tensor_of(object), tensor_of(item))
                                        : eq(tensor_of(object), to_scalar(item));
    return item_of(any(hits)).to_bool() ? 1 : 0;
  });
}

/// torch.Tensor(): sizes (uninitialised), a sequence, an array or a tensor, in the default dtype.
PyObject* tensor_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    Tensor t = legacy_tensor(args, kwargs, default_dtype());
    return type == tensor_type ? wrap(std::move(t)) : wrap_as(type, detach(t));
  });
}
// What a subclass's constructor was given is the business of its own __init__.
int tensor_init(PyObject*, PyObject*, PyObject*) { return 0; }

// ---- methods that are not verbs

/// _make_subclass(cls, data, require_grad=False): cls over the same memory, without history.
PyObject* make_subclass(PyObject*, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"cls", "data", "require_grad", nullptr};
    PyObject *cls = nullptr, *data = nullptr;
    int wants_grad = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!O|p:_make_subclass",
                                     const_cast<char**>(names), &PyType_Type, &cls, &data,
                                     &wants_grad))
      return nullptr;
    auto* type = reinterpret_cast<PyTypeObject*>(cls);
    if (!PyType_IsSubtype(type, tensor_type))
      raise(PyExc_TypeError, "_make_subclass(): {} is no subclass of Tensor", type->tp_name);
    const Tensor& source = to_tensor(data);
    Tensor t = make_view(source, source.layout());
    if (wants_grad) t.set_requires_grad(true);
    if (g_parameter_type && PyType_IsSubtype(type, g_parameter_type)) t.impl()->is_parameter = true;
    return wrap_as(type, std::move(t));
  });
}

/// A new object of type cls for the same tensor (as_subclass).
PyObject* as_subclass(PyObject* self, PyObject* cls) {
  return guarded([&]() -> PyObject* {
    if (!PyType_Check(cls) || !PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(cls), tensor_type))
      raise(PyExc_TypeError, "cls must be a type (got {})", type_name(cls));
    return wrap_as(reinterpret_cast<PyTypeObject*>(cls),
                   view(tensor_of(self), tensor_of(self).shape()));
  });
}

PyObject* format_tensor(PyObject* self, PyObject* spec) {
  return guarded([&]() -> PyObject* {
    const Tensor& t = tensor_of(self);
    if (!PyUnicode_Check(spec)) raise(PyExc_TypeError, "the format must be str");
    if (t.dim() == 0) {
      const PyRef number = PyRef::steal(wrap(item_of(t)));
      return PyObject_Format(number.get(), spec);
    }
    if (PyUnicode_GET_LENGTH(spec) > 0)
      raise(PyExc_TypeError, "unsupported format string passed to {}.__format__", type_name(self));
    return PyObject_Str(self);
  });
}

PyObject* to_complex(PyObject* self, PyObject*) {
  return guarded([&]() -> PyObject* {
    const Tensor& t = tensor_of(self);
    if (t.numel() != 1)
      raise(PyExc_ValueError, "only one element tensors can be converted to Python scalars");
    const Scalar s = item_of(t);
    return PyComplex_FromDoubles(s.to_double(), s.imag());
  });
}
PyObject* reversed(PyObject* self, PyObject*) {
  return guarded([&]() -> PyObject* {
    const Tensor& t = tensor_of(self);
    return t.dim() == 0 ? new_ref(self) : wrap(flip(t, Dims{0}));
  });
}
/// What NumPy's functions of a tensor give: a tensor again.
PyObject* array_wrap(PyObject*, PyObject* args) {  // (array, context, return_scalar)
  return guarded([&]() -> PyObject* { return wrap(from_array(PyTuple_GetItem(args, 0), true)); });
}

/// The register of classes and functions that Python supplies.
PyObject* set_parameter_class(PyObject*, PyObject* cls) {
  return guarded([&]() -> PyObject* {
    if (!PyType_Check(cls) || !PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(cls), tensor_type))
      raise(PyExc_TypeError, "expected a subclass of Tensor");
    Py_XDECREF(g_parameter_type);
    g_parameter_type = reinterpret_cast<PyTypeObject*>(new_ref(cls));
    return none();
  });
}
PyObject* set_repr_function(PyObject*, PyObject* function) {
  Py_XDECREF(g_repr_function);
  g_repr_function = function == Py_None ? nullptr : new_ref(function);
  Py_RETURN_NONE;
}
PyObject* is_tensor_function(PyObject*, PyObject* o) { return py_bool(is_tensor(o)); }

template <class F>
PyCFunction c_function(F f) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(f));
}

PyMethodDef own_methods[] = {
    {"_make_subclass", c_function(make_subclass), METH_VARARGS | METH_KEYWORDS | METH_STATIC,
     nullptr},
    {"as_subclass", as_subclass, METH_O, "The same data as an object of a subclass."},
    {"__format__", format_tensor, METH_O, nullptr},
    {"__complex__", to_complex, METH_NOARGS, nullptr},
    {"__reversed__", reversed, METH_NOARGS, nullptr},
    {"__array_wrap__", array_wrap, METH_VARARGS, nullptr},
};
PyMethodDef module_functions[] = {
    {"_set_parameter_class", set_parameter_class, METH_O, nullptr},
    {"_set_repr_function", set_repr_function, METH_O, nullptr},
    {"is_tensor", is_tensor_function, METH_O, "Whether the object is a Tensor."},
    {},
};
PyMemberDef members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(TensorObject, dict), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TensorObject, weakrefs), READONLY, nullptr},
    {},
};

}  // namespace

PyGetSetDef tensor_dict_getset = {"__dict__", tensor_get_dict, tensor_set_dict, nullptr, nullptr};

PyObject* wrap(Tensor t) {
  if (!t.defined()) return none();
  TensorImpl* impl = t.impl();
  if (impl->python_object) {
    auto* known = static_cast<PyObject*>(impl->python_object);
    if (Py_REFCNT(known) > 0) return new_ref(known);  // else it is just dying
  }
  if (impl->is_parameter && g_parameter_type) return wrap_as(g_parameter_type, std::move(t));
  TensorObject* self;
  if (g_free_count > 0) {
    self = g_free[--g_free_count];
    PyObject_Init(reinterpret_cast<PyObject*>(self), tensor_type);
  } else {
    self = PyObject_GC_New(TensorObject, tensor_type);
    if (!self) throw PythonError();
  }
  new (&self->tensor) Tensor(std::move(t));
  self->dict = nullptr;
  self->weakrefs = nullptr;
  impl->python_object = self;
  return reinterpret_cast<PyObject*>(self);
}

PyObject* wrap_as(PyTypeObject* type, Tensor t) {
  PyObject* object = type->tp_alloc(type, 0);
  if (!object) throw PythonError();
  TensorImpl* impl = t.impl();
  new (&self_of(object)->tensor) Tensor(std::move(t));
  impl->python_object = object;
  return object;
}

const Tensor& to_tensor(PyObject* o) {
  if (!is_tensor(o)) raise(PyExc_TypeError, "expected Tensor (got {})", type_name(o));
  return tensor_of(o);
}

Scalar item_of(const Tensor& t) {
  GilRelease release(may_wait(t));
  return t.item();
}

void add_tensor_type(PyObject* module) {
  static Tables tables;  // the type and the module keep pointers into these
  static std::vector<PyGetSetDef> getset;
  register_all(tables);
  for (const PyMethodDef& m : own_methods) tables.methods.push_back(m);
  for (PyMethodDef* list : {numpy_methods, dlpack_methods})
    for (PyMethodDef* m = list; m->ml_name; ++m) tables.methods.push_back(*m);
  for (auto* list : {&tables.functions, &tables.methods, &tables.nn}) list->push_back({});
  getset.push_back(tensor_dict_getset);
  for (PyGetSetDef* g = tensor_getset; g->name; ++g) getset.push_back(*g);
  for (PyGetSetDef* g = autograd_getset; g->name; ++g) getset.push_back(*g);
  getset.push_back({});

  std::vector<PyType_Slot> slots = {
      {Py_tp_new, reinterpret_cast<void*>(tensor_new)},
      {Py_tp_init, reinterpret_cast<void*>(tensor_init)},
      {Py_tp_dealloc, reinterpret_cast<void*>(tensor_dealloc)},
      {Py_tp_traverse, reinterpret_cast<void*>(tensor_traverse)},
      {Py_tp_clear, reinterpret_cast<void*>(tensor_clear)},
      {Py_tp_setattro, reinterpret_cast<void*>(tensor_setattro)},
      {Py_tp_hash, reinterpret_cast<void*>(tensor_hash)},
      {Py_tp_repr, reinterpret_cast<void*>(tensor_repr)},
      {Py_tp_iter, reinterpret_cast<void*>(tensor_iter)},
      {Py_sq_contains, reinterpret_cast<void*>(tensor_contains)},
      {Py_mp_length, reinterpret_cast<void*>(tensor_length)},
      {Py_mp_subscript, reinterpret_cast<void*>(tensor_subscript)},
      {Py_mp_ass_subscript, reinterpret_cast<void*>(tensor_assign_subscript)},
      {Py_tp_methods, tables.methods.data()},
      {Py_tp_getset, getset.data()},
      {Py_tp_members, members},
      {Py_tp_doc, const_cast<char*>("A multi-dimensional array of one dtype on one device.")},
  };
  add_number_slots(slots);
  slots.push_back({0, nullptr});
  PyType_Spec spec = {"quicksilver.Tensor", sizeof(TensorObject), 0,
                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots.data()};
  tensor_type = make_type(spec);
  tensor_type->tp_name = "Tensor";  // what messages say; __module__ is set
  add(module, "Tensor", reinterpret_cast<PyObject*>(tensor_type));
  const PyRef priority = PyRef::steal(PyLong_FromLong(1000));
  check(PyObject_SetAttrString(reinterpret_cast<PyObject*>(tensor_type), "__array_priority__",
                               priority.get()));
  check(PyModule_AddFunctions(module, module_functions));
  check(PyModule_AddFunctions(module, tables.functions.data()));
  const PyRef nn = PyRef::steal(PyModule_New("quicksilver._C._nn"));
  check(PyModule_AddFunctions(nn.get(), tables.nn.data()));
  add(module, "_nn", nn.get());
}

}  // namespace qs::python
