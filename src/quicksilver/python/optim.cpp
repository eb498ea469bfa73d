// The steps of SGD, Adam and AdamW over a whole parameter group in one call, and forgetting
// gradients.
//
// They read the group's dict (numbers, "params") and keep the state where Python expects it: a dict
// a parameter with PyTorch's names. A count of steps is a 0-dim cpu tensor, written in place.
#include "quicksilver/autograd/autograd.h"
#include "quicksilver/autograd/verbs.h"
#include "quicksilver/python/functions.h"
#include "quicksilver/python/module.h"

namespace qs::python {

namespace {

PyObject* interned(const char* name) {
  PyObject* o = PyUnicode_InternFromString(name);
  if (!o) throw PythonError();
  return o;
}

/// What a group or a state says under a name; borrowed, null when it says nothing.
PyObject* find(PyObject* dict, PyObject* name) {
  PyObject* found = PyDict_GetItemWithError(dict, name);
  if (!found && PyErr_Occurred()) throw PythonError();
  return found;
}
PyObject* need(PyObject* dict, PyObject* name) {
  if (PyObject* found = find(dict, name)) return found;
  PyErr_SetObject(PyExc_KeyError, name);
  throw PythonError();
}
double number(PyObject* o) {
  const double v = PyFloat_AsDouble(o);
  if (v == -1.0 && PyErr_Occurred()) throw PythonError();
  return v;
}
bool truth(PyObject* o) {
  const int v = PyObject_IsTrue(o);
  check(v);
  return v != 0;
}

struct Names {
  PyObject *params = interned("params"), *lr = interned("lr"), *momentum = interned("momentum"),
           *dampening = interned("dampening"), *weight_decay = interned("weight_decay"),
           *nesterov = interned("nesterov"), *maximize = interned("maximize"),
           *momentum_buffer = interned("momentum_buffer"), *betas = interned("betas"),
           *eps = interned("eps"), *amsgrad = interned("amsgrad"),
           *decoupled = interned("decoupled_weight_decay"), *step = interned("step"),
           *exp_avg = interned("exp_avg"), *exp_avg_sq = interned("exp_avg_sq"),
           *max_exp_avg_sq = interned("max_exp_avg_sq");
};
const Names& names() {
  static const Names n;
  return n;
}

/// The state dict of a parameter, made when there is none; borrowed.
PyObject* state_of(PyObject* state, PyObject* parameter) {
  if (PyObject* own = find(state, parameter)) return own;
  const PyRef made = PyRef::steal(PyDict_New());
  check(PyDict_SetItem(state, parameter, made.get()));
  return find(state, parameter);
}
const Tensor& kept(PyObject* own, PyObject* name) { return to_tensor(need(own, name)); }
Tensor zeros_of(const Tensor& like) {
  const autograd::NoGrad guard;
  return full_like(detach(like), 0);
}
void keep(PyObject* own, PyObject* name, const Tensor& tensor) {
  check(PyDict_SetItem(own, name, PyRef::steal(wrap(tensor)).get()));
}

/// f(parameter's object, parameter, gradient) for each parameter of the group that has a gradient.
template <class F>
void for_each(PyObject* group, F f) {
  const PyRef params =
      PyRef::steal(PySequence_Fast(need(group, names().params), "params must be a list"));
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(params.get()); ++i) {
    const PyRef object = PyRef::borrow(PySequence_Fast_GET_ITEM(params.get(), i));
    const Tensor p = to_tensor(object.get()), g = p.grad();
    if (g.defined()) f(object.get(), p, g);
  }
}

void sgd_group(PyObject* group, PyObject* state) {
  const Names& n = names();
  const double lr = number(need(group, n.lr)), momentum = number(need(group, n.momentum)),
               dampening = number(need(group, n.dampening)),
               decay = number(need(group, n.weight_decay));
  const bool nesterov = truth(need(group, n.nesterov)), maximize = truth(need(group, n.maximize));
  for_each(group, [&](PyObject* object, const Tensor& p, const Tensor& g) {
    Tensor buffer;
    bool first = false;
    if (momentum != 0) {
      PyObject* own = state_of(state, object);
      PyObject* known = find(own, n.momentum_buffer);
      // 0 * momentum + g, whatever the dampening: the first buffer is g itself.
      first = !known || known == Py_None;
      buffer = first ? zeros_of(p) : to_tensor(known);
      if (first) keep(own, n.momentum_buffer, buffer);
    }
    const GilRelease release(is_heavy(p));
    sgd_step_(p, g, buffer, lr, decay, momentum, first ? 0 : dampening, nesterov, maximize);
  });
}

/// Adds one to the count in `own` and returns it.
double count_step(PyObject* own) {
  PyObject* known = need(own, names().step);
  if (is_tensor(known)) {
    const Tensor& t = tensor_of(known);
    if (t.is_cpu() && t.dtype() == DType::f32 && t.numel() == 1) {
      const float count = *t.data<float>() += 1;
      t.impl()->bump_version();
      return static_cast<double>(count);
    }
    const double count = item_of(t).to_double() + 1;
    const autograd::NoGrad guard;
    fill_(t, Scalar(count));
    return count;
  }
  const double count = number(known) + 1;  // a state of an older version
  const auto as_float = static_cast<float>(count);
  keep(own, names().step, from_host(&as_float, {}, DType::f32, DeviceType::cpu));
  return count;
}

void adam_group(PyObject* group, PyObject* state) {
  const Names& n = names();
  AdamNumbers a{};
  a.lr = number(need(group, n.lr));
  const PyRef betas = PyRef::steal(PySequence_Tuple(need(group, n.betas)));
  if (PyTuple_GET_SIZE(betas.get()) != 2) raise(PyExc_ValueError, "betas must be two numbers");
  a.beta1 = number(PyTuple_GET_ITEM(betas.get(), 0));
  a.beta2 = number(PyTuple_GET_ITEM(betas.get(), 1));
  a.eps = number(need(group, n.eps));
  a.weight_decay = number(need(group, n.weight_decay));
  a.maximize = truth(need(group, n.maximize));
  PyObject* decoupled = find(group, n.decoupled);
  a.decoupled = decoupled && truth(decoupled);
  const bool amsgrad = truth(need(group, n.amsgrad));
  for_each(group, [&](PyObject* object, const Tensor& p, const Tensor& g) {
    PyObject* own = state_of(state, object);
    if (PyDict_GET_SIZE(own) == 0) {
      const float zero = 0;  // all tensors are there before the first is kept: one may raise
      const Tensor zeros[] = {zeros_of(p), zeros_of(p), amsgrad ? zeros_of(p) : Tensor()};
      keep(own, n.step, from_host(&zero, {}, DType::f32, DeviceType::cpu));
      keep(own, n.exp_avg, zeros[0]);
      keep(own, n.exp_avg_sq, zeros[1]);
      if (amsgrad) keep(own, n.max_exp_avg_sq, zeros[2]);
    }
    const Tensor m = kept(own, n.exp_avg), v = kept(own, n.exp_avg_sq),
                 most = amsgrad ? kept(own, n.max_exp_avg_sq) : Tensor();
    a.count = count_step(own);
    const GilRelease release(is_heavy(p));
    adam_step_(p, g, m, v, most, a);
  });
}

template <void (*step)(PyObject* group, PyObject* state)>
PyObject* group_step(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&] {
    if (n != 2 || !PyDict_Check(args[0]) || !PyDict_Check(args[1]))
      raise(PyExc_TypeError, "expected a parameter group and a state, both dicts");
    step(args[0], args[1]);
    return none();
  });
}

PyObject* forget_gradients(PyObject*, PyObject* groups) {
  return guarded([&] {
    const PyRef all = PyRef::steal(PySequence_Fast(groups, "param_groups must be a list"));
    for (Py_ssize_t k = 0; k < PySequence_Fast_GET_SIZE(all.get()); ++k) {
      const PyRef group = PyRef::borrow(PySequence_Fast_GET_ITEM(all.get(), k));
      if (!PyDict_Check(group.get())) raise(PyExc_TypeError, "a parameter group must be a dict");
      const PyRef params =
          PyRef::steal(PySequence_Fast(need(group.get(), names().params), "params must be a list"));
      for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(params.get()); ++i)
        to_tensor(PySequence_Fast_GET_ITEM(params.get(), i)).set_grad({});
    }
    safe_point();
    return none();
  });
}

template <class F>
PyCFunction as_method(F f) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(f));
}
PyMethodDef functions[] = {
    {"_sgd_group_step", as_method(&group_step<sgd_group>), METH_FASTCALL,
     "_sgd_group_step(group, state): one step of SGD on a parameter group."},
    {"_adam_group_step", as_method(&group_step<adam_group>), METH_FASTCALL,
     "_adam_group_step(group, state): one step of Adam or AdamW on a parameter group."},
    {"_forget_gradients", forget_gradients, METH_O,
     "_forget_gradients(param_groups): no parameter has a gradient any more."},
    {},
};

}  // namespace

void add_optim(PyObject* module) { check(PyModule_AddFunctions(module, functions)); }

}  // namespace qs::python
