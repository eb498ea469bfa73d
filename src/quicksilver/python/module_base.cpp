// The base of nn.Module with its two hot paths in C: a call without hooks, and the lookup of
// parameters, buffers and submodules.
//
// The tables are plain dicts in the module's __dict__ (`_parameters`, `_buffers`, `_modules`, and
// those of hooks), so pickling, copying and scripts that edit them work as in PyTorch. A call goes
// straight to `forward` while the tables of hooks are empty, else to `_call_with_hooks(args,
// kwargs)`.
#include "quicksilver/python/module.h"

namespace qs::python {

namespace {

struct ModuleObject {
  PyObject_HEAD PyObject* dict;
  PyObject* weakrefs;
  // CPython takes a class that adds nothing but a dict and weak references for one without fields,
  // and would lay out `class Net(Mixin, nn.Module)` as its Mixin.
  void* keeps_its_layout;
};
bool g_global_hooks = false;

struct Names {
  PyObject* tables[3];
  PyObject* hooks[4];
  PyObject *forward, *call_with_hooks;
};
Names g_names;

PyObject* lookup_in_tables(ModuleObject* self,
                           PyObject* name) {  // borrowed, or null without an error
  if (!self->dict) return nullptr;
  for (PyObject* table_name : g_names.tables) {
    PyObject* table = PyDict_GetItemWithError(self->dict, table_name);
    if (!table || !PyDict_Check(table)) continue;
    if (PyObject* found = PyDict_GetItemWithError(table, name)) return found;
  }
  return nullptr;
}

[[gnu::cold]] PyObject* missing(PyObject* object, PyObject* name) {
  if (!PyErr_Occurred())
    PyErr_Format(PyExc_AttributeError, "'%.100s' object has no attribute '%U'",
                 type_name(object).data(), name);
  return nullptr;
}

/// What the class says first, then __dict__, then the tables: PyTorch's order.
PyObject* module_getattro(PyObject* object, PyObject* name) {
  auto* self = reinterpret_cast<ModuleObject*>(object);
  PyTypeObject* type = Py_TYPE(object);
  PyObject* found = _PyType_Lookup(type, name);  // borrowed
  descrgetfunc get = nullptr;
  if (found) {
    get = Py_TYPE(found)->tp_descr_get;
    if (get && PyDescr_IsData(found)) {
      Py_INCREF(found);
      PyObject* value = get(found, object, reinterpret_cast<PyObject*>(type));
      Py_DECREF(found);
      return value;
    }
  }
  if (self->dict)
    if (PyObject* own = PyDict_GetItemWithError(self->dict, name)) return new_ref(own);
  if (found) {
    if (!get) return new_ref(found);
    Py_INCREF(found);
    PyObject* value = get(found, object, reinterpret_cast<PyObject*>(type));
    Py_DECREF(found);
    return value;
  }
  if (PyObject* item = lookup_in_tables(self, name)) return new_ref(item);
  return missing(object, name);
}

/// For super().__getattr__(name) in subclasses that define their own.
PyObject* module_getattr(PyObject* object, PyObject* name) {
  if (PyObject* item = lookup_in_tables(reinterpret_cast<ModuleObject*>(object), name))
    return new_ref(item);
  return missing(object, name);
}

bool has_hooks(ModuleObject* self) {
  if (g_global_hooks) return true;
  for (PyObject* name : g_names.hooks) {
    PyObject* table = PyDict_GetItemWithError(self->dict, name);
    if (table && PyDict_Check(table) && PyDict_GET_SIZE(table) > 0) return true;
  }
  return false;
}

/// Calls `forward` with the arguments on the C stack when it is a plain function of the class.
PyObject* call_forward(PyObject* object, ModuleObject* self, PyObject* const* args, Py_ssize_t n,
                       PyObject* kwnames) {
  PyObject* forward = self->dict ? PyDict_GetItemWithError(self->dict, g_names.forward) : nullptr;
  if (!forward) {
    PyObject* found = _PyType_Lookup(Py_TYPE(object), g_names.forward);
    if (found && PyFunction_Check(found)) {
      const Py_ssize_t total = n + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
      Py_INCREF(found);
      PyObject* small[10];
      PyObject** stack = small;
      if (total + 2 > 10)
        stack = static_cast<PyObject**>(
            PyMem_Malloc(sizeof(PyObject*) * static_cast<size_t>(total + 2)));
      if (!stack) {
        Py_DECREF(found);
        return PyErr_NoMemory();
      }
      stack[1] = object;  // stack[0] is lent to the callee
      for (Py_ssize_t i = 0; i < total; ++i) stack[i + 2] = args[i];
      PyObject* result = PyObject_Vectorcall(
          found, stack + 1, (static_cast<size_t>(n) + 1) | PY_VECTORCALL_ARGUMENTS_OFFSET, kwnames);
      if (stack != small) PyMem_Free(stack);
      Py_DECREF(found);
      return result;
    }
    forward = module_getattro(object, g_names.forward);
    if (!forward) return nullptr;
  } else {
    Py_INCREF(forward);
  }
  PyObject* result = PyObject_Vectorcall(forward, args, static_cast<size_t>(n), kwnames);
  Py_DECREF(forward);
  return result;
}

PyObject* module_call(PyObject* object, PyObject* args, PyObject* kwargs) {
  auto* self = reinterpret_cast<ModuleObject*>(object);
  if (self->dict && has_hooks(self)) {
    PyObject* keywords = kwargs ? new_ref(kwargs) : PyDict_New();
    if (!keywords) return nullptr;
    PyObject* result =
        PyObject_CallMethodObjArgs(object, g_names.call_with_hooks, args, keywords, nullptr);
    Py_DECREF(keywords);
    return result;
  }
  if (!kwargs || PyDict_GET_SIZE(kwargs) == 0)
    return call_forward(object, self, PySequence_Fast_ITEMS(args), PyTuple_GET_SIZE(args), nullptr);
  PyObject* forward = PyObject_GetAttr(object, g_names.forward);
  if (!forward) return nullptr;
  PyObject* result = PyObject_Call(forward, args, kwargs);
  Py_DECREF(forward);
  return result;
}

int module_traverse(PyObject* object, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(reinterpret_cast<ModuleObject*>(object)->dict);
  return 0;
}
int module_clear(PyObject* object) {
  Py_CLEAR(reinterpret_cast<ModuleObject*>(object)->dict);
  return 0;
}
void module_dealloc(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  if (reinterpret_cast<ModuleObject*>(object)->weakrefs) PyObject_ClearWeakRefs(object);
  Py_TRASHCAN_BEGIN(object, module_dealloc) Py_CLEAR(reinterpret_cast<ModuleObject*>(object)->dict);
  type->tp_free(object);
  Py_DECREF(type);
  Py_TRASHCAN_END
}

PyTypeObject* g_module_base = nullptr;

/// A class that finds our __getattr__ would get CPython's slow slot that calls it after a failed
/// lookup; module_getattro does that work itself. A class with a __getattr__ of its own keeps the
/// slow slot.
PyObject* init_subclass(PyObject* cls, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    static PyObject* name = PyUnicode_InternFromString("__getattr__");
    auto* type = reinterpret_cast<PyTypeObject*>(cls);
    PyObject* found = _PyType_Lookup(type, name);
    if (found && found == PyDict_GetItem(g_module_base->tp_dict, name))
      type->tp_getattro = module_getattro;
    const PyRef super = PyRef::steal(PyObject_CallFunctionObjArgs(
        reinterpret_cast<PyObject*>(&PySuper_Type), g_module_base, cls, nullptr));
    const PyRef next = PyRef::steal(PyObject_GetAttrString(super.get(), "__init_subclass__"));
    return PyObject_Call(next.get(), args, kwargs);
  });
}

PyMethodDef methods[] = {
    {"__getattr__", module_getattr, METH_O, nullptr},
    {"__init_subclass__",
     reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(init_subclass)),
     METH_VARARGS | METH_KEYWORDS | METH_CLASS, nullptr},
    {},
};
PyGetSetDef getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr}, {}};
PyMemberDef members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(ModuleObject, dict), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(ModuleObject, weakrefs), READONLY, nullptr},
    {},
};
PyType_Slot slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(module_dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(module_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(module_clear)},
    {Py_tp_getattro, reinterpret_cast<void*>(module_getattro)},
    {Py_tp_call, reinterpret_cast<void*>(module_call)},
    {Py_tp_methods, methods},
    {Py_tp_getset, getset},
    {Py_tp_members, members},
    {Py_tp_doc, const_cast<char*>("The base of nn.Module: calls and attribute lookup.")},
    {0, nullptr},
};
PyType_Spec spec = {"quicksilver._ModuleBase", sizeof(ModuleObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};

PyObject* set_global_hooks(PyObject*, PyObject* on) {
  const int truth = PyObject_IsTrue(on);
  if (truth < 0) return nullptr;
  g_global_hooks = truth != 0;
  Py_RETURN_NONE;
}
PyMethodDef functions[] = {{"_set_global_module_hooks", set_global_hooks, METH_O,
                            "Whether there are hooks of all modules."},
                           {}};

}  // namespace

void add_module_base(PyObject* module) {
  const auto name = [](const char* s) {
    return PyRef::steal(PyUnicode_InternFromString(s)).release();
  };
  g_names = {{name("_parameters"), name("_buffers"), name("_modules")},
             {name("_forward_hooks"), name("_forward_pre_hooks"), name("_backward_hooks"),
              name("_backward_pre_hooks")},
             name("forward"),
             name("_call_with_hooks")};
  g_module_base = make_type(spec);
  add(module, "_ModuleBase", reinterpret_cast<PyObject*>(g_module_base));
  check(PyModule_AddFunctions(module, functions));
}

}  // namespace qs::python
