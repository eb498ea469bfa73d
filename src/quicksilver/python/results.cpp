// What verbs return, as Python sees it; and `out=`.
#include "quicksilver/autograd/autograd.h"
#include "quicksilver/autograd/verbs.h"
#include "quicksilver/python/adapters.h"
#include "quicksilver/python/functions.h"

namespace qs::python {

PyObject* wrap_tuple(const std::vector<Tensor>& tensors) {
  PyRef tuple = PyRef::steal(PyTuple_New(static_cast<Py_ssize_t>(tensors.size())));
  for (size_t i = 0; i < tensors.size(); ++i)
    PyTuple_SET_ITEM(tuple.get(), static_cast<Py_ssize_t>(i),
                     PyRef::steal(wrap(tensors[i])).release());
  return tuple.release();
}

PyObject* wrap_named(Call& call, std::initializer_list<Tensor> fields,
                     std::initializer_list<const char*> names) {
  PyTypeObject*& type = call.function->result_type;
  if (!type) {
    // CPython keeps pointers to these for the type's life, which is the process's.
    auto* members = new PyStructSequence_Field[names.size() + 1]();
    size_t i = 0;
    for (const char* n : names) members[i++].name = n;
    auto* name = new std::string("torch.return_types." + std::string(call.signature->row->name));
    PyStructSequence_Desc desc = {name->c_str(), nullptr, members, static_cast<int>(names.size())};
    type = PyStructSequence_NewType(&desc);
    if (!type) throw PythonError();
  }
  PyRef r = PyRef::steal(PyStructSequence_New(type));
  Py_ssize_t i = 0;
  for (const Tensor& t : fields)
    PyStructSequence_SetItem(r.get(), i++, PyRef::steal(wrap(t)).release());
  return r.release();
}

const char* scalar_type_name(DType d) {
  switch (d) {
    case DType::bool_:
      return "Bool";
    case DType::u8:
      return "Byte";
    case DType::i8:
      return "Char";
    case DType::i16:
      return "Short";
    case DType::i32:
      return "Int";
    case DType::i64:
      return "Long";
    case DType::u16:
      return "UInt16";
    case DType::u32:
      return "UInt32";
    case DType::u64:
      return "UInt64";
    case DType::f16:
      return "Half";
    case DType::bf16:
      return "BFloat16";
    case DType::f32:
      return "Float";
    case DType::f64:
      return "Double";
    case DType::c64:
      return "ComplexFloat";
    case DType::c128:
      return "ComplexDouble";
  }
  return "?";
}

namespace {

void write_one(const char* name, const Tensor& value, const Tensor& out) {
  if (out.same(value)) return;
  if (autograd::grad_enabled() && (value.requires_grad() || out.requires_grad()))
    raise(PyExc_RuntimeError,
          "{}(): functions with out=... arguments don't support automatic differentiation, but one "
          "of the arguments requires grad.",
          name);
  if (out.device_type() != value.device_type())
    raise(PyExc_RuntimeError,
          "{}(): Expected all tensors to be on the same device, but got out on {} "
          "and the result on {}",
          name, out.device().str(), value.device().str());
  // Bool < integers < floats < complex: a result may go up, not down.
  if (kind_of(value.dtype()) > kind_of(out.dtype()))
    raise(PyExc_RuntimeError, "result type {} can't be cast to the desired output type {}",
          scalar_type_name(value.dtype()), scalar_type_name(out.dtype()));
  const Dims shape(value.shape());
  if (!(Dims(out.shape()) == shape)) {
    if (out.numel() != 0)
      check(PyErr_WarnEx(
          PyExc_UserWarning,
          fmt::format(
              "An output with one or more elements was resized since it had shape {}, which does "
              "not match the required output shape {}. This behavior is deprecated, and in a "
              "future PyTorch release outputs will not be resized unless they have zero elements. "
              "You can explicitly reuse an out tensor t by resizing it, inplace, to zero elements "
              "with t.resize_(0).",
              to_string(out.shape()), to_string(shape))
              .c_str(),
          1));
    const Tensor fresh = empty_tensor(shape, out.dtype(), out.device_type());
    out.impl()->storage = fresh.impl()->storage;
    out.impl()->layout = fresh.impl()->layout;
  }
  copy_(out, value);
}

}  // namespace

/// Takes `value` over; returns `out`.
PyObject* write_out(Call& call, PyObject* value, PyObject* out) {
  const PyRef owned = PyRef::steal(value);
  const char* name = call.signature->row->name;
  if (is_tensor(value)) {
    if (!is_tensor(out))
      raise(PyExc_TypeError, "{}(): argument 'out' must be Tensor, not {}", name, type_name(out));
    write_one(name, tensor_of(value), tensor_of(out));
    return new_ref(out);
  }
  if (PyTuple_Check(value) && PyTuple_Check(out) &&
      PyTuple_GET_SIZE(value) == PyTuple_GET_SIZE(out)) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(out); ++i)
      write_one(name, to_tensor(PyTuple_GET_ITEM(value, i)), to_tensor(PyTuple_GET_ITEM(out, i)));
    return new_ref(out);
  }
  raise(PyExc_TypeError, "{}(): argument 'out' must be tuple of Tensors, not {}", name,
        type_name(out));
}

std::string legacy_type_name(DType d) { return std::string(scalar_type_name(d)) + "Tensor"; }
std::string legacy_type_name(const Tensor& t) { return legacy_type_name(t.dtype()); }

}  // namespace qs::python
