// The Python Tensor: a handle, a dict and weak references; one object for each TensorImpl that
// lives.
//
// TensorImpl::python_object points back, un-owned: wrapping the same impl again gives the same
// object while it lives. It is set and cleared under the interpreter's lock only.
#pragma once
#include "quicksilver/python/common.h"
#include "quicksilver/tensor/tensor.h"

namespace qs::python {

struct TensorObject {
  PyObject_HEAD Tensor tensor;
  PyObject* dict;
  PyObject* weakrefs;
};

extern PyTypeObject* tensor_type;

inline bool is_tensor(PyObject* o) {
  return Py_TYPE(o) == tensor_type || PyType_IsSubtype(Py_TYPE(o), tensor_type);
}
/// Only after is_tensor.
inline const Tensor& tensor_of(PyObject* o) { return reinterpret_cast<TensorObject*>(o)->tensor; }
/// For anything else than a tensor: TypeError "expected Tensor (got int)".
const Tensor& to_tensor(PyObject* o);

/// The Python object of a tensor (None when it is undefined).
PyObject* wrap(Tensor t);
/// A new object of a subclass; the tensor has none yet.
PyObject* wrap_as(PyTypeObject* type, Tensor t);

// Slots and attributes that live in files of their own.
extern PyGetSetDef tensor_getset[];                         // tensor_attributes.cpp
void add_number_slots(std::vector<PyType_Slot>& slots);     // number_slots.cpp
PyObject* tensor_subscript(PyObject* self, PyObject* key);  // indexing.cpp
int tensor_assign_subscript(PyObject* self, PyObject* key, PyObject* value);
/// Whether reading `t` may run a plan, so that the interpreter's lock is dropped for it.
inline bool may_wait(const Tensor& t) { return t.is_mps(); }
/// Ops on cpu run at once: large ones without the interpreter's lock.
inline bool is_heavy(const Tensor& t) {
  constexpr int64_t k_worth_it = 1 << 15;
  return t.is_cpu() && t.numel() >= k_worth_it;
}
/// The one element, the lock dropped where that may wait.
Scalar item_of(const Tensor& t);
PyObject* wrap(const Scalar& s);

}  // namespace qs::python
