// quicksilver._C: the library as Python sees it. The package python/quicksilver stands on this
// module.
//
// What it does. It owns the Tensor type and the functions over it, the small types (dtype, device,
// Size, Generator, ...), gradients, the device's figures, and the two hot paths of nn.Module.
// Everything that is a loop over elements or a kernel is below, in the rooms; everything that is
// convenience is above, in the package. Written against CPython's C API: a recorded op costs 0.15
// us below, and its call from Python should cost little more.
//
// Data structures.
//   TensorObject (tensor_type.h)   a handle, a dict, weak references. TensorImpl points back to it,
//   un-owned,
//                                  so `a.grad is a.grad`. Dead ones are kept in a free list; the
//                                  collector learns of an object when it gets a dict.
//   Row, Signature, Call           functions_*.cpp hold tables of rows: name, flags, a signature in
//   PyTorch's
//     (arguments.h)                words, the C++ verb. A signature is parsed at its first call; a
//     call is
//                                  matched to the overloads in order; `direct` (adapters.h) unpacks
//                                  the arguments by the verb's C++ type. A function that only
//                                  forwards to a verb is one row.
//
// Example: torch.sum(x, dim=1). CPython calls a trampoline with the row's index; dispatch() matches
// "(Tensor input, int[1]? dim=None, bool keepdim=False, *, dtype? dtype=None)", the adapter for
// Tensor(const Tensor&, const OptionalDims&, bool, optional<DType>) unpacks and calls qs::sum, and
// wrap() gives the result a TensorObject.
//
// The surface. Module functions (flag f) lie in _C itself, those of nn.functional (flag n) in
// _C._nn; methods (flag m) on Tensor. The package adds what is composed of these, methods too:
// Tensor takes attributes.
//   types       Tensor Size dtype device Generator finfo iinfo layout memory_format _ModuleBase
//   errors      MPSDeviceError OutOfMemoryError InternalError (RuntimeErrors)
//   registers   _set_parameter_class(cls)  wraps parameters as cls;  _set_repr_function(f)
//   f(tensor) -> str
//               Tensor._make_subclass(cls, data, require_grad), _legacy_tensor(dtype, args,
//               device=None)
//   autograd    _no_grad() _enable_grad() (with blocks) is_grad_enabled _set_grad_enabled
//               _set_inference_mode is_inference_mode_enabled
//               _set_anomaly_enabled(on, check_nan) is_anomaly_enabled
//               is_anomaly_check_nan_enabled
//               _backward(tensors, grad_tensors, retain_graph, create_graph, inputs)
//               _grad(outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused) ->
//               tuple _function_node(backward, name, inputs, outputs, saved=None, materialize=True)
//               -> node:
//                 outputs become results of a node; backward(node, grads) returns a tuple, one
//                 gradient an input (None: none); `saved` are _SavedTensor(tensor, is_output), read
//                 by s.unpack(node)
//   data        from_numpy frombuffer _to_bytes(t) _from_bytes(buffer, dtype, shape, device)
//   device      _mps_* (is_built, is_available, driver, synchronize, memory, ...), step_end,
//   plan_stats(device),
//               get_num_threads set_num_threads _set_default_device get_default_device _info
//               _signatures
//   modules     _ModuleBase calls self.forward, or self._call_with_hooks(args, kwargs) when one of
//   the tables
//               _forward_hooks _forward_pre_hooks _backward_hooks _backward_pre_hooks is not empty
//               or _set_global_module_hooks(True) was said; attributes fall back to _parameters,
//               _buffers, _modules
//
// Complications.
//   The interpreter's lock is dropped around what may run a plan or wait (item, numpy of mps,
//   backward, synchronize, step_end), not around recording. No lock of ours is held while Python
//   runs, and an object that dies under one (a NumPy array behind a storage) is dropped later:
//   drop_later, safe_point. Python errors cross C++ as PythonError (common.h).
#include "quicksilver/python/module.h"

#include "quicksilver/core/version.h"
#include "quicksilver/python/arguments.h"

namespace qs::python {

namespace {

/// [(name, flags, signature and documentation)], for the stubs.
PyObject* signatures(PyObject*, PyObject*) {
  return guarded([] {
    PyRef list = PyRef::steal(PyList_New(0));
    for (const Row* row : all_rows())
      check(PyList_Append(
          list.get(),
          PyRef::steal(Py_BuildValue("(sss)", row->name, row->flags, row->text)).get()));
    return list.release();
  });
}
PyMethodDef functions[] = {
    {"_signatures", signatures, METH_NOARGS, "The rows of all functions."},
    {},
};

void fill(PyObject* module) {
  add(module, "__version__", PyRef::steal(PyUnicode_FromString(qs::version())).get());
  add_errors(module);
  add_small_types(module);
  add_tensor_type(module);
  add_autograd(module);
  add_numpy(module);
  add_dlpack(module);
  add_mps(module);
  add_explain(module);
  add_module_base(module);
  add_optim(module);
  add_autocast(module);
}

/// Types and tables exist once in a process: an import that comes again shares them, and one from
/// another interpreter, whose objects must not meet ours, is refused.
int execute(PyObject* module) {
  if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
    // Not raise(): it takes the lock of the main interpreter, which waits for this one's.
    PyErr_SetString(PyExc_ImportError,
                    "quicksilver cannot be imported in a subinterpreter: use threads or processes");
    return -1;
  }
  return guarded_status([&] {
    static PyObject* first = nullptr;
    if (first) {
      check(PyDict_Update(PyModule_GetDict(module), PyModule_GetDict(first)));
    } else {
      fill(module);
      first = new_ref(module);
    }
    return 0;
  });
}
PyModuleDef_Slot slots[] = {
    {Py_mod_exec, reinterpret_cast<void*>(execute)},
#if PY_VERSION_HEX >= 0x030c0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, nullptr},
};
PyModuleDef definition = {PyModuleDef_HEAD_INIT,
                          "quicksilver._C",
                          "The extension under the package quicksilver.",
                          0,
                          functions,
                          slots,
                          nullptr,
                          nullptr,
                          nullptr};

}  // namespace

}  // namespace qs::python

extern "C" __attribute__((visibility("default"))) PyObject* PyInit__C() {
  return PyModuleDef_Init(&qs::python::definition);
}
