// Operators. Either side may be a number; for any other type the operator says NotImplemented, so
// that the other side's reflected method gets its turn.
#include <vector>

#include "quicksilver/autograd/verbs.h"
#include "quicksilver/python/arguments.h"
#include "quicksilver/python/autocast.h"

namespace qs::python {

namespace {

using Binary = Tensor (*)(const Operand&, const Operand&);
using InPlace = const Tensor& (*)(const Tensor&, const Operand&);

/// Fills `operand`, or returns false for a foreign type.
bool to_operand(PyObject* o, Operand& operand) {
  if (is_tensor(o)) {
    operand = Operand(tensor_of(o));
  } else if (PyFloat_Check(o)) {
    operand = Operand(PyFloat_AS_DOUBLE(o));
  } else if (is_number(o)) {
    operand = Operand(to_scalar(o));
  } else {
    return false;
  }
  return true;
}

template <Binary verb>
PyObject* binary(PyObject* a, PyObject* b) {
  return guarded([&]() -> PyObject* {
    Operand x, y;
    if (!to_operand(a, x) || !to_operand(b, y)) Py_RETURN_NOTIMPLEMENTED;
    Tensor result;
    {
      GilRelease release(is_heavy(tensor_of(is_tensor(a) ? a : b)));
      result = verb(x, y);
    }
    return wrap(std::move(result));
  });
}
template <InPlace verb>
PyObject* in_place(PyObject* a, PyObject* b) {
  return guarded([&]() -> PyObject* {
    Operand y;
    if (!is_tensor(a) || !to_operand(b, y)) Py_RETURN_NOTIMPLEMENTED;
    {
      GilRelease release(is_heavy(tensor_of(a)));
      verb(tensor_of(a), y);
    }
    return new_ref(a);
  });
}
template <Tensor (*verb)(const Tensor&)>
PyObject* unary(PyObject* a) {
  return guarded([&] { return wrap(verb(tensor_of(a))); });
}

/// ~x: PyTorch's words for a dtype without bits.
Tensor invert(const Tensor& x) {
  if (is_floating(x.dtype()) || is_complex(x.dtype()))
    raise(PyExc_TypeError,
          "~ (operator.invert) is only implemented on integer and Boolean-type tensors");
  return qs::bitwise_not(x);
}
Tensor add_plain(const Operand& x, const Operand& y) { return qs::add(x, y); }
Tensor sub_plain(const Operand& x, const Operand& y) { return qs::sub(x, y); }
Tensor div_plain(const Operand& x, const Operand& y) { return qs::div(x, y); }
const Tensor& add_in_place(const Tensor& x, const Operand& y) { return qs::add_(x, y); }
const Tensor& sub_in_place(const Tensor& x, const Operand& y) { return qs::sub_(x, y); }
const Tensor& div_in_place(const Tensor& x, const Operand& y) { return qs::div_(x, y); }

PyObject* power(PyObject* a, PyObject* b, PyObject*) { return binary<qs::pow>(a, b); }
PyObject* power_in_place(PyObject* a, PyObject* b, PyObject*) { return in_place<qs::pow_>(a, b); }

PyObject* matrix_product(PyObject* a, PyObject* b) {
  return guarded([&]() -> PyObject* {
    if (!is_tensor(a) || !is_tensor(b)) Py_RETURN_NOTIMPLEMENTED;
    Tensor result;
    {
      GilRelease release(is_heavy(tensor_of(a)) || is_heavy(tensor_of(b)));
      result = may_autocast()
                   ? qs::matmul(autocast_lower(tensor_of(a)), autocast_lower(tensor_of(b)))
                   : qs::matmul(tensor_of(a), tensor_of(b));
    }
    return wrap(std::move(result));
  });
}
PyObject* positive(PyObject* a) { return new_ref(a); }

int truth(PyObject* self) {
  return guarded_status([&] {
    const Tensor& t = tensor_of(self);
    const int64_t n = t.numel();
    if (n != 1)
      raise(PyExc_RuntimeError, "Boolean value of Tensor with {} is ambiguous",
            n ? "more than one value" : "no values");
    return item_of(t).to_bool() ? 1 : 0;
  });
}

Scalar one_element(PyObject* self) {
  const Tensor& t = tensor_of(self);
  if (t.numel() != 1)
    raise(PyExc_ValueError, "only one element tensors can be converted to Python scalars");
  return item_of(t);
}
/// The same, refused when it has an imaginary part.
Scalar real_element(PyObject* self, const char* as) {
  const Scalar s = one_element(self);
  if (s.kind() == Scalar::Kind::complex && s.imag() != 0)
    raise(PyExc_RuntimeError, "value cannot be converted to type {} without overflow", as);
  return s;
}
PyObject* to_int(PyObject* self) {
  return guarded([&] {
    const Scalar s = real_element(self, "int64_t");
    if (s.is_integral()) return PyLong_FromLongLong(s.to_int());
    const PyRef f = PyRef::steal(PyFloat_FromDouble(s.to_double()));
    return PyNumber_Long(f.get());
  });
}
PyObject* to_float(PyObject* self) {
  return guarded([&] { return PyFloat_FromDouble(real_element(self, "double").to_double()); });
}
PyObject* to_index(PyObject* self) {
  return guarded([&]() -> PyObject* {
    const Tensor& t = tensor_of(self);
    if (t.numel() != 1 || !is_integral(t.dtype()))
      raise(PyExc_TypeError,
            "only integer tensors of a single element can be converted to an index");
    return PyLong_FromLongLong(item_of(t).to_int());
  });
}

PyObject* compare(PyObject* a, PyObject* b, int op) {
  switch (op) {
    case Py_EQ:
      return binary<qs::eq>(a, b);
    case Py_NE:
      return binary<qs::ne>(a, b);
    case Py_LT:
      return binary<qs::lt>(a, b);
    case Py_LE:
      return binary<qs::le>(a, b);
    case Py_GT:
      return binary<qs::gt>(a, b);
    default:
      return binary<qs::ge>(a, b);
  }
}

}  // namespace

void add_number_slots(std::vector<PyType_Slot>& slots) {
  const auto slot = [&](int id, auto f) { slots.push_back({id, reinterpret_cast<void*>(f)}); };
  slot(Py_nb_add, &binary<add_plain>);
  slot(Py_nb_subtract, &binary<sub_plain>);
  slot(Py_nb_multiply, &binary<qs::mul>);
  slot(Py_nb_true_divide, &binary<div_plain>);
  slot(Py_nb_floor_divide, &binary<qs::floor_divide>);
  slot(Py_nb_remainder, &binary<qs::remainder>);
  slot(Py_nb_power, &power);
  slot(Py_nb_matrix_multiply, &matrix_product);
  slot(Py_nb_and, &binary<qs::bitwise_and>);
  slot(Py_nb_or, &binary<qs::bitwise_or>);
  slot(Py_nb_xor, &binary<qs::bitwise_xor>);
  slot(Py_nb_lshift, &binary<qs::bitwise_left_shift>);
  slot(Py_nb_rshift, &binary<qs::bitwise_right_shift>);
  slot(Py_nb_inplace_add, &in_place<add_in_place>);
  slot(Py_nb_inplace_subtract, &in_place<sub_in_place>);
  slot(Py_nb_inplace_multiply, &in_place<qs::mul_>);
  slot(Py_nb_inplace_true_divide, &in_place<div_in_place>);
  slot(Py_nb_inplace_floor_divide, &in_place<qs::floor_divide_>);
  slot(Py_nb_inplace_remainder, &in_place<qs::remainder_>);
  slot(Py_nb_inplace_power, &power_in_place);
  slot(Py_nb_inplace_and, &in_place<qs::bitwise_and_>);
  slot(Py_nb_inplace_or, &in_place<qs::bitwise_or_>);
  slot(Py_nb_inplace_xor, &in_place<qs::bitwise_xor_>);
  slot(Py_nb_inplace_lshift, &in_place<qs::bitwise_left_shift_>);
  slot(Py_nb_inplace_rshift, &in_place<qs::bitwise_right_shift_>);
  slot(Py_nb_negative, &unary<qs::neg>);
  slot(Py_nb_positive, &positive);
  slot(Py_nb_absolute, &unary<qs::abs>);
  slot(Py_nb_invert, &unary<invert>);
  slot(Py_nb_bool, &truth);
  slot(Py_nb_int, &to_int);
  slot(Py_nb_float, &to_float);
  slot(Py_nb_index, &to_index);
  slot(Py_tp_richcompare, &compare);
}

}  // namespace qs::python
