// Facts about a tensor, as attributes.
#include "quicksilver/autograd/verbs.h"
#include "quicksilver/python/arguments.h"
#include "quicksilver/python/functions.h"
#include "quicksilver/python/small_types.h"
#include "quicksilver/python/tensor_type.h"

namespace qs::python {

namespace {

PyObject* get_shape(PyObject* self, void*) {
  return guarded([&] { return make_size(tensor_of(self).shape()); });
}
PyObject* get_dtype(PyObject* self, void*) { return wrap(tensor_of(self).dtype()); }
PyObject* get_device(PyObject* self, void*) { return wrap(tensor_of(self).device()); }
PyObject* get_layout(PyObject*, void*) { return strided_layout(); }
PyObject* get_ndim(PyObject* self, void*) { return PyLong_FromLong(tensor_of(self).dim()); }
PyObject* get_itemsize(PyObject* self, void*) {
  return PyLong_FromSize_t(size_of(tensor_of(self).dtype()));
}
PyObject* get_nbytes(PyObject* self, void*) {
  const Tensor& t = tensor_of(self);
  return PyLong_FromLongLong(t.numel() * static_cast<int64_t>(size_of(t.dtype())));
}
PyObject* get_is_mps(PyObject* self, void*) { return flag(tensor_of(self).is_mps()); }
PyObject* get_is_cpu(PyObject* self, void*) { return flag(tensor_of(self).is_cpu()); }
PyObject* get_false(PyObject*, void*) { return py_bool(false); }
PyObject* get_version(PyObject* self, void*) {
  return PyLong_FromUnsignedLong(tensor_of(self).impl()->version());
}

template <int64_t a, int64_t b>
PyObject* get_swapped(PyObject* self, void*) {
  return guarded([&]() -> PyObject* {
    const Tensor& x = tensor_of(self);
    if (x.dim() < 2)
      raise(PyExc_RuntimeError,
            "tensor.mT is only supported on matrices or batches of matrices. "
            "Got {}-D tensor.",
            x.dim());
    return wrap(transpose(x, a, b));
  });
}
PyObject* get_T(PyObject* self, void*) {
  return guarded([&]() -> PyObject* {
    const Tensor& x = tensor_of(self);
    if (x.dim() == 2) return wrap(transpose(x, 0, 1));
    Dims dims;
    for (int d = x.dim(); d-- > 0;) dims.push_back(d);
    return wrap(permute(x, dims));
  });
}
PyObject* get_H(PyObject* self, void*) {
  return guarded([&]() -> PyObject* {
    const Tensor& x = tensor_of(self);
    if (x.dim() != 2)
      raise(PyExc_RuntimeError,
            "tensor.H is only supported on matrices (2-D tensors). Got {}-D "
            "tensor.",
            x.dim());
    return wrap(transpose(conj(x), 0, 1));
  });
}
PyObject* get_mH(PyObject* self, void*) {
  return guarded([&]() -> PyObject* {
    const Tensor& x = tensor_of(self);
    if (x.dim() < 2)
      raise(PyExc_RuntimeError,
            "tensor.mH is only supported on matrices or batches of matrices. Got {}-D tensor.",
            x.dim());
    return wrap(transpose(conj(x), -2, -1));
  });
}
PyObject* get_real(PyObject* self, void*) {
  return guarded([&]() -> PyObject* {
    const Tensor& x = tensor_of(self);
    return is_complex(x.dtype()) ? wrap(real(x)) : new_ref(self);
  });
}
PyObject* get_imag(PyObject* self, void*) {
  return guarded([&]() -> PyObject* { return wrap(imag(tensor_of(self))); });
}
template <Tensor (*part)(const Tensor&)>
int set_part(PyObject* self, PyObject* value, void*) {
  const PyRef done = PyRef::steal(guarded([&]() -> PyObject* {
    if (!value) raise(PyExc_AttributeError, "cannot delete a part of a tensor");
    copy_(part(tensor_of(self)),
          is_tensor(value) ? Operand(tensor_of(value)) : Operand(to_scalar(value)));
    return none();
  }));
  return done.get() ? 0 : -1;
}

}  // namespace

PyGetSetDef tensor_getset[] = {
    {"shape", get_shape, nullptr, "The extents, as a Size.", nullptr},
    {"dtype", get_dtype, nullptr, "The type of the elements.", nullptr},
    {"device", get_device, nullptr, "Where the storage lives.", nullptr},
    {"layout", get_layout, nullptr, nullptr, nullptr},
    {"ndim", get_ndim, nullptr, "The number of dimensions.", nullptr},
    {"itemsize", get_itemsize, nullptr, "Bytes an element.", nullptr},
    {"nbytes", get_nbytes, nullptr, "Bytes of all elements.", nullptr},
    {"is_mps", get_is_mps, nullptr, "Whether the storage belongs to the mps device.", nullptr},
    {"is_cpu", get_is_cpu, nullptr, "Whether the storage is host memory.", nullptr},
    {"is_cuda", get_false, nullptr, nullptr, nullptr},
    {"is_xpu", get_false, nullptr, nullptr, nullptr},
    {"is_meta", get_false, nullptr, nullptr, nullptr},
    {"is_sparse", get_false, nullptr, nullptr, nullptr},
    {"is_sparse_csr", get_false, nullptr, nullptr, nullptr},
    {"is_mkldnn", get_false, nullptr, nullptr, nullptr},
    {"is_quantized", get_false, nullptr, nullptr, nullptr},
    {"is_nested", get_false, nullptr, nullptr, nullptr},
    {"_version", get_version, nullptr, "In-place writes to the storage so far.", nullptr},
    {"T", get_T, nullptr, "The dimensions reversed.", nullptr},
    {"mT", get_swapped<-2, -1>, nullptr, "The last two dimensions swapped.", nullptr},
    {"H", get_H, nullptr, "The conjugate transpose of a matrix.", nullptr},
    {"mH", get_mH, nullptr, "The conjugate transposes of the matrices.", nullptr},
    {"real", get_real, set_part<&real>, "The real part.", nullptr},
    {"imag", get_imag, set_part<&imag>, "The imaginary part.", nullptr},
    {},
};

}  // namespace qs::python
