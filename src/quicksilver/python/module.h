// What each file of the extension adds to the module, in the order module.cpp calls it.
#pragma once
#include "quicksilver/python/common.h"

namespace qs::python {

void add_errors(PyObject* module);
void add_small_types(PyObject* module);
void add_tensor_type(PyObject* module);
void add_functions(PyObject* module);
void add_autograd(PyObject* module);
void add_numpy(PyObject* module);
void add_dlpack(PyObject* module);
void add_mps(PyObject* module);
void add_explain(PyObject* module);
void add_module_base(PyObject* module);
void add_optim(PyObject* module);
void add_autocast(PyObject* module);

}  // namespace qs::python
