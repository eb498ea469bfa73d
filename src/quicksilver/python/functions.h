// The tables of functions, one file a family; and what tensor_type.cpp collects into the type.
#pragma once
#include "quicksilver/python/arguments.h"

namespace qs::python {

/// Collects the rows of all families.
void register_all(Tables& tables);

extern PyMethodDef numpy_methods[];   // numpy.cpp
extern PyMethodDef dlpack_methods[];  // dlpack.cpp
extern PyGetSetDef autograd_getset[];

// ---- making tensors of Python data (new_tensor.cpp)
/// torch.tensor: nested sequences, numbers, arrays, tensors; always a copy.
Tensor tensor_from_data(PyObject* data, std::optional<DType> dtype, std::optional<Device> device);
/// torch.as_tensor: no copy where none is needed.
Tensor as_tensor(PyObject* data, std::optional<DType> dtype, std::optional<Device> device);
Tensor legacy_tensor(PyObject* args, PyObject* kwargs, DType dtype);
/// A cpu tensor over an array's (or any buffer's) memory (numpy.cpp).
Tensor from_array(PyObject* array, bool warn_read_only);

/// "Float", "Long"
const char* scalar_type_name(DType d);
/// "FloatTensor"
std::string legacy_type_name(const Tensor& t);
std::string legacy_type_name(DType d);

}  // namespace qs::python
