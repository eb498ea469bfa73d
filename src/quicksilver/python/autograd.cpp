// Gradients as Python sees them: switches, backward, grad_fn, hooks, and nodes whose backward is
// Python.
//
// Backward runs without the interpreter's lock; hooks and Python nodes take it for their call. A
// Python error in one of them stays set in the thread and travels through the engine as
// PythonError.
#include "quicksilver/autograd/autograd.h"
#include "quicksilver/autograd/anomaly.h"

#include <map>
#include <memory>

#include "quicksilver/autograd/verbs.h"
#include "quicksilver/python/adapters.h"
#include "quicksilver/python/functions.h"
#include "quicksilver/python/module.h"

namespace qs::python {

using autograd::GradNode;

namespace {

// ---- grad_fn

struct NodeObject {
  PyObject_HEAD Ref<GradNode> node;
};
PyTypeObject* g_node_type = nullptr;

void node_dealloc(PyObject* self);

/// A class for each name of nodes, as PyTorch has them, so that `type(grad_fn).__name__` says more
/// than "Node". They live as long as the process.
PyTypeObject* node_type(const std::string& name) {
  static std::map<std::string, PyTypeObject*> types;
  const auto [at, fresh] = types.try_emplace(name, nullptr);
  if (fresh || !at->second) {
    static PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(node_dealloc)},
                                  {0, nullptr}};
    PyType_Spec spec = {at->first.c_str(), sizeof(NodeObject), 0,
                        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
    at->second = reinterpret_cast<PyTypeObject*>(
        PyType_FromSpecWithBases(&spec, reinterpret_cast<PyObject*>(g_node_type)));
    if (!at->second) throw PythonError();
  }
  return at->second;
}
bool is_node(PyObject* o) { return PyObject_TypeCheck(o, g_node_type); }

PyObject* wrap_node(Ref<GradNode> node) {
  if (!node) return none();
  std::string name = node->name();
  if (const size_t colon = name.rfind("::"); colon != std::string::npos) name.erase(0, colon + 2);
  auto* o = PyObject_New(NodeObject, node_type("quicksilver.autograd.graph." + name));
  if (!o) throw PythonError();
  new (&o->node) Ref<GradNode>(std::move(node));
  return reinterpret_cast<PyObject*>(o);
}
const Ref<GradNode>& node_of(PyObject* o) { return reinterpret_cast<NodeObject*>(o)->node; }

void node_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  reinterpret_cast<NodeObject*>(self)->node.~Ref();
  type->tp_free(self);
  Py_DECREF(type);
  safe_point();
}
PyObject* node_repr(PyObject* self) {
  return guarded([&] {
    const std::string_view name = Py_TYPE(self)->tp_name;
    return PyUnicode_FromFormat("<%s object at %p>", name.data() + name.rfind('.') + 1,
                                node_of(self).get());
  });
}
PyObject* node_name(PyObject* self, PyObject*) {
  return guarded([&] { return PyUnicode_FromString(node_of(self)->name().c_str()); });
}
PyObject* node_next(PyObject* self, void*) {
  return guarded([&] {
    const auto& edges = node_of(self)->edges;
    PyRef t = PyRef::steal(PyTuple_New(static_cast<Py_ssize_t>(edges.size())));
    for (size_t i = 0; i < edges.size(); ++i) {
      PyObject* pair = Py_BuildValue("(NI)", wrap_node(edges[i].node), edges[i].input);
      PyTuple_SET_ITEM(t.get(), static_cast<Py_ssize_t>(i), PyRef::steal(pair).release());
    }
    return t.release();
  });
}
PyObject* node_compare(PyObject* a, PyObject* b, int op) {
  if (!is_node(b) || (op != Py_EQ && op != Py_NE)) Py_RETURN_NOTIMPLEMENTED;
  return py_bool((node_of(a).get() == node_of(b).get()) == (op == Py_EQ));
}
Py_hash_t node_hash(PyObject* self) {
  return static_cast<Py_hash_t>(reinterpret_cast<size_t>(node_of(self).get()) >> 4);
}
PyObject* node_variable(PyObject* self, void*) {
  return guarded([&]() -> PyObject* {
    const auto* leaf = dynamic_cast<const autograd::AccumulateGrad*>(node_of(self).get());
    if (!leaf)
      raise(PyExc_AttributeError, "'{}' object has no attribute 'variable'", node_of(self)->name());
    return wrap(leaf->variable());
  });
}
PyMethodDef node_methods[] = {{"name", node_name, METH_NOARGS, "\"AddBackward0\""}, {}};
PyGetSetDef node_getset[] = {
    {"next_functions", node_next, nullptr,
     "The nodes of the inputs, each with the result it stands for.", nullptr},
    {"variable", node_variable, nullptr, "The leaf whose gradient the node accumulates.", nullptr},
    {},
};
PyType_Slot node_slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(node_dealloc)},
    {Py_tp_repr, reinterpret_cast<void*>(node_repr)},
    {Py_tp_richcompare, reinterpret_cast<void*>(node_compare)},
    {Py_tp_hash, reinterpret_cast<void*>(node_hash)},
    {Py_tp_methods, node_methods},
    {Py_tp_getset, node_getset},
    {Py_tp_doc, const_cast<char*>("A step of the gradient tape.")},
    {0, nullptr},
};
PyType_Spec node_spec = {
    "quicksilver.autograd.graph.Node", sizeof(NodeObject), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION, node_slots};

// ---- saved tensors of Python functions

struct Saved final : RefCounted {
  autograd::SavedTensor tensor;
};
struct SavedObject {
  PyObject_HEAD Ref<Saved> saved;
};
PyTypeObject* g_saved_type = nullptr;

PyObject* saved_new(PyTypeObject* type, PyObject* args, PyObject*) {
  return guarded([&]() -> PyObject* {
    PyObject* t;
    int result = -1;
    if (!PyArg_ParseTuple(args, "O|i:_SavedTensor", &t, &result)) return nullptr;
    Ref<Saved> saved = make_ref<Saved>();
    saved->tensor = result >= 0 ? autograd::SavedTensor::of_result(to_tensor(t), uint32_t(result))
                                : autograd::SavedTensor(to_tensor(t), false);
    PyRef o = PyRef::steal(type->tp_alloc(type, 0));
    new (&reinterpret_cast<SavedObject*>(o.get())->saved) Ref<Saved>(std::move(saved));
    return o.release();
  });
}
void saved_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  reinterpret_cast<SavedObject*>(self)->saved.~Ref();
  type->tp_free(self);
  Py_DECREF(type);
}
PyObject* saved_unpack(PyObject* self, PyObject* node) {
  return guarded([&] {
    const Ref<GradNode> owner = is_node(node) ? node_of(node) : Ref<GradNode>();
    return wrap(reinterpret_cast<SavedObject*>(self)->saved->tensor.unpack(owner));
  });
}
PyMethodDef saved_methods[] = {
    {"unpack", saved_unpack, METH_O,
     "unpack(node): the tensor; raises when it was overwritten or freed."},
    {}};
PyType_Slot saved_slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(saved_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(saved_dealloc)},
    {Py_tp_methods, saved_methods},
    {Py_tp_doc,
     const_cast<char*>("_SavedTensor(tensor, result=-1)\n\nA tensor kept for backward without "
                       "owning the history of the node that keeps it.")},
    {0, nullptr},
};
PyType_Spec saved_spec = {"quicksilver._SavedTensor", sizeof(SavedObject), 0, Py_TPFLAGS_DEFAULT,
                          saved_slots};

// ---- hooks on what is saved

class PythonPacked final : public autograd::Packed {
 public:
  PythonPacked(PyObject* object, const SharedObject& unpack) : object_(object), unpack_(unpack) {}
  Tensor unpack() override {
    GilAcquire lock;
    const PyRef got =
        PyRef::steal(PyObject_CallFunctionObjArgs(unpack_.get(), object_.get(), nullptr));
    if (!is_tensor(got.get()))
      raise(PyExc_TypeError,
            "Output of saved tensor unpack_hook expected to be a Tensor but got"
            " result of type {}",
            type_name(got.get()));
    return tensor_of(got.get());
  }

 private:
  SharedObject object_, unpack_;
};

class PythonSavingHooks final : public autograd::SavingHooks {
 public:
  PythonSavingHooks(PyObject* pack, PyObject* unpack) : pack_(pack), unpack_(unpack) {}
  Ref<autograd::Packed> pack(const Tensor& t) override {
    GilAcquire lock;
    const PyRef given = PyRef::steal(wrap(t));
    const PyRef got = PyRef::steal(PyObject_CallFunctionObjArgs(pack_.get(), given.get(), nullptr));
    return make_ref<PythonPacked>(got.get(), unpack_);
  }

 private:
  SharedObject pack_, unpack_;
};
thread_local std::vector<std::unique_ptr<PythonSavingHooks>> t_saving_hooks;

PyObject* push_saving_hooks(PyObject*, PyObject* args) {
  return guarded([&]() -> PyObject* {
    PyObject *pack, *unpack;
    if (!PyArg_ParseTuple(args, "OO:_push_saving_hooks", &pack, &unpack)) return nullptr;
    t_saving_hooks.push_back(std::make_unique<PythonSavingHooks>(pack, unpack));
    autograd::set_saving_hooks(t_saving_hooks.back().get());
    return none();
  });
}
PyObject* pop_saving_hooks(PyObject*, PyObject*) {
  return guarded([] {
    if (!t_saving_hooks.empty()) t_saving_hooks.pop_back();
    autograd::set_saving_hooks(t_saving_hooks.empty() ? nullptr : t_saving_hooks.back().get());
    return none();
  });
}

// ---- nodes whose backward is Python

class PythonNode final : public GradNode {
 public:
  PythonNode(PyObject* function, std::string name, bool materialize)
      : function_(function), name_(std::move(name)), materialize_(materialize) {}
  std::string name() const override { return name_; }
  void keep(const Ref<Saved>& saved) { saved_.push_back(saved); }
  void release_saved() override {
    for (const Ref<Saved>& s : saved_) s->tensor.reset();
  }
  std::vector<Tensor> backward(std::vector<Tensor>& grads) override {
    for (size_t i = 0; materialize_ && i < grads.size(); ++i)
      if (!grads[i].defined())
        grads[i] = zeros(results[i].shape, Options(results[i].dtype, Device(results[i].device)));
    GilAcquire lock;
    const PyRef given = PyRef::steal(wrap_tuple(grads));
    const PyRef node = PyRef::steal(wrap_node(Ref<GradNode>(this)));
    const PyRef got = PyRef::steal(
        PyObject_CallFunctionObjArgs(function_.get(), node.get(), given.get(), nullptr));
    std::vector<Tensor> out(edges.size());
    if (!PyTuple_Check(got.get()))
      raise(PyExc_TypeError, "function {} returned a {}, not a tuple", name_, type_name(got.get()));
    const auto count = static_cast<size_t>(PyTuple_GET_SIZE(got.get()));
    if (count != out.size())
      raise(PyExc_RuntimeError,
            "function {} returned an incorrect number of gradients (expected {}, got {})", name_,
            out.size(), count);
    for (size_t i = 0; i < count; ++i) {
      PyObject* o = PyTuple_GET_ITEM(got.get(), static_cast<Py_ssize_t>(i));
      if (o == Py_None) continue;
      if (!is_tensor(o)) raise(PyExc_TypeError, "expected Variable or None (got {})", type_name(o));
      out[i] = tensor_of(o);
    }
    return out;
  }

 private:
  SharedObject function_;
  std::string name_;
  bool materialize_;
  std::vector<Ref<Saved>> saved_;
};

std::vector<Tensor> tensors_of(PyObject* o) {
  std::vector<Tensor> v;
  if (!o || o == Py_None) return v;
  if (is_tensor(o)) return {tensor_of(o)};
  const PyRef items =
      PyRef::steal(PySequence_Fast(o, "expected a tensor or a sequence of tensors"));
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items.get()); ++i) {
    PyObject* item = PySequence_Fast_GET_ITEM(items.get(), i);
    v.push_back(item == Py_None ? Tensor() : to_tensor(item));
  }
  return v;
}

/// _function_node(backward, name, inputs, outputs, saved, materialize) -> node
PyObject* function_node(Call& c) {
  auto node = make_ref<PythonNode>(c.args[0], c.string(1), c.boolean(5));
  for (const Tensor& t : tensors_of(c.args[2]))
    node->edges.push_back(t.defined() ? autograd::gradient_edge(t) : autograd::Edge());
  const std::vector<Tensor> outputs = tensors_of(c.args[3]);
  for (const Tensor& t : outputs) node->results.push_back(GradNode::ResultMeta(*t.impl()));
  if (c.given(4)) {
    const PyRef items = PyRef::steal(PySequence_Fast(c.args[4], "saved must be a sequence"));
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items.get()); ++i) {
      PyObject* o = PySequence_Fast_GET_ITEM(items.get(), i);
      if (Py_TYPE(o) == g_saved_type) node->keep(reinterpret_cast<SavedObject*>(o)->saved);
    }
  }
  for (size_t i = 0; i < outputs.size(); ++i)
    autograd::set_history(outputs[i], Ref<GradNode>(node), static_cast<uint32_t>(i));
  return wrap_node(std::move(node));
}

// ---- hooks

struct HandleObject {
  PyObject_HEAD Tensor tensor;
  int64_t id;
  void (*remove)(const Tensor&, int64_t);
};
PyTypeObject* g_handle_type = nullptr;

void handle_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  reinterpret_cast<HandleObject*>(self)->tensor.~Tensor();
  type->tp_free(self);
  Py_DECREF(type);
  safe_point();
}
PyObject* handle_remove(PyObject* self, PyObject*) {
  return guarded([&] {
    auto* h = reinterpret_cast<HandleObject*>(self);
    if (h->tensor.defined()) h->remove(h->tensor, h->id);
    h->tensor = Tensor();
    return none();
  });
}
PyObject* handle_enter(PyObject* self, PyObject*) { return new_ref(self); }
PyMethodDef handle_methods[] = {
    {"remove", handle_remove, METH_NOARGS, "Removes the hook."},
    {"__enter__", handle_enter, METH_NOARGS, nullptr},
    {"__exit__", handle_remove, METH_VARARGS, nullptr},
    {},
};
PyType_Slot handle_slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(handle_dealloc)},
    {Py_tp_methods, handle_methods},
    {Py_tp_doc,
     const_cast<char*>("Removes a hook of a tensor: handle.remove(), or `with handle:`.")},
    {0, nullptr},
};
PyType_Spec handle_spec = {"quicksilver._HookHandle", sizeof(HandleObject), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, handle_slots};

PyObject* make_handle(const Tensor& t, int64_t id, void (*remove)(const Tensor&, int64_t)) {
  auto* h = PyObject_New(HandleObject, g_handle_type);
  if (!h) throw PythonError();
  new (&h->tensor) Tensor(t);
  h->id = id;
  h->remove = remove;
  return reinterpret_cast<PyObject*>(h);
}
PyObject* register_post_accumulate_grad_hook(Call& c) {
  if (!PyCallable_Check(c.args[1]))
    raise(PyExc_TypeError, "register_post_accumulate_grad_hook(): the hook must be callable");
  const Tensor& t = c.tensor(0);
  const int64_t id =
      autograd::add_post_accumulate_hook(t, [hook = SharedObject(c.args[1])](const Tensor& leaf) {
        GilAcquire lock;
        const PyRef given = PyRef::steal(wrap(leaf));
        const PyRef got = PyRef::steal(PyObject_CallOneArg(hook.get(), given.get()));
        if (got.get() != Py_None)
          raise(PyExc_RuntimeError, "Tensor post accumulate grad hooks should return None.");
      });
  return make_handle(t, id, &autograd::remove_post_accumulate_hook);
}
PyObject* register_hook(Call& c) {
  const Tensor& t = c.tensor(0);
  if (!t.requires_grad())
    raise(PyExc_RuntimeError, "cannot register a hook on a tensor that doesn't require gradient");
  if (!PyCallable_Check(c.args[1]))
    raise(PyExc_TypeError, "register_hook(): the hook must be callable");
  const int64_t id = autograd::add_hook(t, [hook = SharedObject(c.args[1])](const Tensor& grad) {
    GilAcquire lock;
    const PyRef given = PyRef::steal(wrap(grad));
    const PyRef got = PyRef::steal(PyObject_CallOneArg(hook.get(), given.get()));
    if (got.get() == Py_None) return Tensor();
    if (!is_tensor(got.get()))
      raise(PyExc_TypeError, "expected Variable, but hook returned '{}'", type_name(got.get()));
    if (!(Dims(tensor_of(got.get()).shape()) == Dims(grad.shape()))) {
      const PyRef name = PyRef::steal(PyObject_HasAttrString(hook.get(), "__name__")
                                          ? PyObject_GetAttrString(hook.get(), "__name__")
                                          : PyObject_Repr(hook.get()));
      raise(PyExc_RuntimeError, "hook '{}' has changed the size of value", text_of(name.get()));
    }
    return tensor_of(got.get());
  });
  return make_handle(t, id, &autograd::remove_hook);
}

// ---- switches

/// A `with` block that sets the mode; _no_grad() and _enable_grad() make one.
struct GuardObject {
  PyObject_HEAD bool on, before;
};
PyTypeObject* g_guard_type = nullptr;

PyObject* guard_enter(PyObject* self, PyObject*) {
  auto* g = reinterpret_cast<GuardObject*>(self);
  g->before = autograd::grad_enabled();
  autograd::set_grad_enabled(g->on);
  return new_ref(self);
}
PyObject* guard_exit(PyObject* self, PyObject* const*, Py_ssize_t) {
  autograd::set_grad_enabled(reinterpret_cast<GuardObject*>(self)->before);
  return none();
}
PyObject* make_guard(bool on) {
  auto* g = PyObject_New(GuardObject, g_guard_type);
  if (g) g->on = g->before = on;
  return reinterpret_cast<PyObject*>(g);
}
PyMethodDef guard_methods[] = {
    {"__enter__", guard_enter, METH_NOARGS, nullptr},
    {"__exit__", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(guard_exit)),
     METH_FASTCALL, nullptr},
    {},
};
PyType_Slot guard_slots[] = {{Py_tp_methods, guard_methods}, {0, nullptr}};
PyType_Spec guard_spec = {"quicksilver._GradGuard", sizeof(GuardObject), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, guard_slots};

PyObject* no_grad(PyObject*, PyObject*) { return make_guard(false); }
PyObject* enable_grad(PyObject*, PyObject*) { return make_guard(true); }
PyObject* is_grad_enabled(PyObject*, PyObject*) { return py_bool(autograd::grad_enabled()); }
PyObject* set_grad_enabled(PyObject*, PyObject* on) {
  return guarded([&] {
    const int truth = PyObject_IsTrue(on);
    check(truth);
    autograd::set_grad_enabled(truth != 0);
    return none();
  });
}
PyObject* is_inference_mode_enabled(PyObject*, PyObject*) {
  return py_bool(autograd::inference_mode_enabled());
}
PyObject* set_inference_mode(PyObject*, PyObject* on) {
  autograd::set_inference_mode(PyObject_IsTrue(on) == 1);
  return none();
}

// ---- anomaly mode: nodes note Python's stack, and what failed is a warning

std::string place_in_python() {
  GilAcquire acquire;
  PyObject *kind, *value, *trace;  // an exception may be in flight
  PyErr_Fetch(&kind, &value, &trace);
  std::string text;
  try {
    const PyRef module = PyRef::steal(PyImport_ImportModule("traceback"));
    const PyRef lines = PyRef::steal(PyObject_CallMethod(module.get(), "format_stack", nullptr));
    const PyRef nothing = PyRef::steal(PyUnicode_FromString(""));
    const PyRef joined = PyRef::steal(PyUnicode_Join(nothing.get(), lines.get()));
    if (const char* utf8 = PyUnicode_AsUTF8(joined.get())) text = utf8;
  } catch (const PythonError&) {
  }
  PyErr_Clear();
  PyErr_Restore(kind, value, trace);
  return text;
}
void warn_of_anomaly(const std::string& text) {
  GilAcquire acquire;
  PyObject *kind, *value, *trace;
  PyErr_Fetch(&kind, &value, &trace);
  if (PyErr_WarnEx(PyExc_UserWarning, text.c_str(), 1) < 0) PyErr_WriteUnraisable(nullptr);
  PyErr_Restore(kind, value, trace);
}
PyObject* set_anomaly(PyObject*, PyObject* args) {
  int on, check_nan;
  if (!PyArg_ParseTuple(args, "pp", &on, &check_nan)) return nullptr;
  autograd::set_anomaly_mode({on != 0, check_nan != 0});
  return none();
}
PyObject* is_anomaly_enabled(PyObject*, PyObject*) { return py_bool(autograd::anomaly_mode().on); }
PyObject* is_anomaly_check_nan_enabled(PyObject*, PyObject*) {
  return py_bool(autograd::anomaly_mode().check_nan);
}
PyMethodDef functions[] = {
    {"_set_anomaly_enabled", set_anomaly, METH_VARARGS, "_set_anomaly_enabled(on, check_nan)"},
    {"is_anomaly_enabled", is_anomaly_enabled, METH_NOARGS,
     "Whether backward tells which forward op failed (autograd.set_detect_anomaly)."},
    {"is_anomaly_check_nan_enabled", is_anomaly_check_nan_enabled, METH_NOARGS,
     "Whether anomaly mode looks for NaN in gradients."},
    {"_no_grad", no_grad, METH_NOARGS, "A `with` block without gradients."},
    {"_enable_grad", enable_grad, METH_NOARGS, "A `with` block with gradients."},
    {"is_grad_enabled", is_grad_enabled, METH_NOARGS, "Whether verbs make gradient nodes."},
    {"_set_grad_enabled", set_grad_enabled, METH_O, nullptr},
    {"is_inference_mode_enabled", is_inference_mode_enabled, METH_NOARGS, nullptr},
    {"_set_inference_mode", set_inference_mode, METH_O, nullptr},
    {"_push_saving_hooks", push_saving_hooks, METH_VARARGS,
     "_push_saving_hooks(pack, unpack): what backward needs goes through them on this thread."},
    {"_pop_saving_hooks", pop_saving_hooks, METH_NOARGS, "The hooks before the last ones."},
    {},
};

// ---- backward

void run_backward(const std::vector<Tensor>& roots, std::vector<Tensor> gradients, bool retain,
                  bool create, const std::vector<Tensor>& inputs) {
  gradients.resize(roots.size());
  GilRelease release;
  autograd::backward(roots, gradients, retain, create, inputs);
}
/// `inputs=` of backward: None means all leaves, an empty list is a mistake.
std::vector<Tensor> wanted_inputs(PyObject* given) {
  std::vector<Tensor> inputs = tensors_of(given);
  if (inputs.empty() && given && given != Py_None)
    raise(PyExc_RuntimeError, "`inputs` argument to `backward()` cannot be empty.");
  return inputs;
}
PyObject* backward_method(Call& c) {  // (self, gradient, retain_graph, create_graph, inputs)
  const bool create = c.boolean(3), retain = c.given(2) ? c.boolean(2) : create;
  run_backward({c.tensor(0)}, {c.tensor(1)}, retain, create, wanted_inputs(c.args[4]));
  safe_point();
  return none();
}
PyObject* backward_function(
    Call& c) {  // (tensors, grad_tensors, retain_graph, create_graph, inputs)
  const bool create = c.boolean(3), retain = c.given(2) ? c.boolean(2) : create;
  const std::vector<Tensor> roots = tensors_of(c.args[0]), gradients = tensors_of(c.args[1]);
  if (!gradients.empty() && gradients.size() != roots.size())
    raise(PyExc_RuntimeError, "got {} tensors and {} gradients", roots.size(), gradients.size());
  run_backward(roots, gradients, retain, create, wanted_inputs(c.args[4]));
  safe_point();
  return none();
}
PyObject* grad_function(
    Call& c) {  // (outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused)
  const std::vector<Tensor> outputs = tensors_of(c.args[0]), inputs = tensors_of(c.args[1]);
  std::vector<Tensor> given = tensors_of(c.args[2]), got;
  given.resize(outputs.size());
  const bool create = c.boolean(4), retain = c.given(3) ? c.boolean(3) : create;
  {
    GilRelease release;
    got = autograd::grad(outputs, inputs, given, retain, create, c.given(5) && c.boolean(5));
  }
  safe_point();
  return wrap_tuple(got);
}

// ---- methods and attributes

void set_requires_grad(const Tensor& t, bool on) {
  if (!on && !t.is_leaf())
    raise(PyExc_RuntimeError,
          "you can only change requires_grad flags of leaf variables. If you want to use a "
          "computed variable in a subgraph that doesn't require differentiation use "
          "var_no_grad = var.detach().");
  t.set_requires_grad(on);
}
PyObject* requires_grad_method(Call& c) {
  const Tensor& t = c.tensor(0);
  if (c.boolean(1) && !is_floating(t.dtype()) && !is_complex(t.dtype()))
    raise(PyExc_RuntimeError, "only Tensors of floating point dtype can require gradients");
  set_requires_grad(t, c.boolean(1));
  return new_ref(c.args[0]);
}
PyObject* detach_in_place(Call& c) {
  const Tensor& t = c.tensor(0);
  if (autograd::view_base(t).defined())
    raise(PyExc_RuntimeError,
          "Can't detach views in-place. Use detach() instead. If you are using "
          "DistributedDataParallel (DDP) for training, and gradient_as_bucket_view is set as True, "
          "gradients are "
          "views of DDP buckets, and hence detach_() cannot be called on these gradients.");
  t.impl()->grad_slot = nullptr;
  t.impl()->requires_grad = false;
  return new_ref(c.args[0]);
}
void retain_grad_method(const Tensor& t) {
  if (!t.requires_grad())
    raise(PyExc_RuntimeError, "can't retain_grad on Tensor that has requires_grad=False");
  if (!t.is_leaf()) autograd::retain_grad(t);
}

PyObject* is_view(Call& c) { return py_bool(autograd::view_base(c.tensor(0)).defined()); }

#define BACKWARD "bool? retain_graph=None, bool create_graph=False, object inputs=None)"
const Row rows[] = {
    FN("backward", "m", "(Tensor input, Tensor? gradient=None, " BACKWARD, &backward_method,
       "Accumulates the gradients of the leaves that this tensor was made of."),
    FN("_backward", "f", "(object tensors, object grad_tensors=None, " BACKWARD, &backward_function,
       "backward of several tensors together."),
    FN("_grad", "f",
       "(object outputs, object inputs, object grad_outputs=None, bool? retain_graph=None, "
       "bool create_graph=False, bool? allow_unused=None)",
       &grad_function,
       "The gradients of outputs with respect to inputs, one each (None where there is none)."),
    FN("_function_node", "f",
       "(object backward, str name, object inputs, object outputs, object saved=None, "
       "bool materialize=True)",
       &function_node,
       "Makes outputs the results of a node that calls backward(node, grads) -> one gradient an "
       "input."),
    FN("register_hook", "m", "(Tensor input, object hook)", &register_hook,
       "Calls hook(grad) when backward has the gradient; what it returns replaces it."),
    FN("register_post_accumulate_grad_hook", "m", "(Tensor input, object hook)",
       &register_post_accumulate_grad_hook,
       "Calls hook(leaf) whenever backward has added to the leaf's gradient."),
    FN("requires_grad_", "m", "(Tensor input, bool requires_grad=True)", &requires_grad_method,
       "Sets whether the tensor wants a gradient."),
    FN("detach", "fm", "(Tensor input)", &qs::detach, "The same memory without history."),
    FN("detach_", "fm", "(Tensor input)", &detach_in_place, "Forgets the history."),
    FN("_is_view", "m", "(Tensor input)", &is_view, "Whether it is a differentiable view."),
    FN("retain_grad", "m", "(Tensor input)", &retain_grad_method,
       "Keeps the gradient of a result, too."),
    {nullptr, "", "", nullptr, nullptr},
};

PyObject* get_requires_grad(PyObject* self, void*) {
  return py_bool(tensor_of(self).requires_grad());
}
int set_requires_grad_attribute(PyObject* self, PyObject* value, void*) {
  return guarded_status([&] {
    if (!value || !PyBool_Check(value)) raise(PyExc_RuntimeError, "requires_grad must be a bool");
    const Tensor& t = tensor_of(self);
    if (!t.is_leaf())
      raise(PyExc_RuntimeError, "you can only change requires_grad flags of leaf variables.{}",
            value == Py_True ? ""
                             : " If you want to use a computed variable in a subgraph that doesn't "
                               "require differentiation use var_no_grad = var.detach().");
    set_requires_grad(t, value == Py_True);
    return 0;
  });
}
PyObject* get_is_leaf(PyObject* self, void*) {
  return guarded([&] { return py_bool(tensor_of(self).is_leaf()); });
}
PyObject* get_grad(PyObject* self, void*) {
  return guarded([&] { return wrap(tensor_of(self).grad()); });
}
int set_grad(PyObject* self, PyObject* value, void*) {
  return guarded_status([&] {
    const Tensor& t = tensor_of(self);
    if (!value || value == Py_None) {
      t.set_grad(Tensor());
      return 0;
    }
    if (!is_tensor(value))
      raise(PyExc_TypeError,
            "assigned grad expected to be a Tensor or None but got grad of type {}",
            type_name(value));
    if (value == self) raise(PyExc_RuntimeError, "can't assign Variable as its own grad");
    const Tensor& g = tensor_of(value);
    if (g.dtype() != t.dtype())
      raise(PyExc_RuntimeError,
            "attempting to assign a gradient with dtype '{}' to a tensor with dtype '{}'. Please "
            "ensure that the gradient and the tensor have the same dtype",
            name_of(g.dtype()), name_of(t.dtype()));
    if (g.device_type() != t.device_type())
      raise(PyExc_RuntimeError,
            "attempting to assign a gradient located on device '{}' to a tensor located on device "
            "'{}'. Please ensure that the gradient and the tensor are on the same device",
            g.device().str(), t.device().str());
    if (!(Dims(g.shape()) == Dims(t.shape())))
      raise(PyExc_RuntimeError,
            "attempting to assign a gradient of size '{}' to a tensor of size '{}'. Please ensure "
            "that the gradient and the tensor are the same size",
            to_string(g.shape()), to_string(t.shape()));
    t.set_grad(g);
    return 0;
  });
}
PyObject* get_grad_fn(PyObject* self, void*) {
  return guarded([&] { return wrap_node(autograd::grad_fn(tensor_of(self))); });
}
PyObject* get_data(PyObject* self, void*) {
  return guarded([&] {
    const Tensor& t = tensor_of(self);
    Tensor data = make_view(t, t.layout());
    data.impl()->own_versions = make_ref<VersionCounter>();
    return wrap(std::move(data));
  });
}
int set_data(PyObject* self, PyObject* value, void*) {
  return guarded_status([&] {
    if (!value || !is_tensor(value))
      raise(PyExc_TypeError, "Variable data has to be a tensor, but got {}",
            value ? type_name(value) : "nothing");
    const Tensor &t = tensor_of(self), &v = tensor_of(value);
    if (t.requires_grad() && !is_floating(v.dtype()) && !is_complex(v.dtype()))
      raise(PyExc_RuntimeError,
            "data set to a tensor that requires gradients must be floating point or complex dtype");
    TensorImpl& impl = *t.impl();
    impl.storage = v.impl()->storage;
    impl.layout = v.layout();
    impl.dtype = v.dtype();
    return 0;
  });
}
PyObject* get_retains_grad(PyObject* self, void*) {
  return guarded([&] {
    const Tensor& t = tensor_of(self);
    return py_bool(!t.is_leaf() && t.impl()->grad_slot && autograd::grad_meta(t).retain_grad);
  });
}
PyObject* get_output_nr(PyObject* self, void*) {
  return guarded([&] {
    const Tensor& t = tensor_of(self);
    return PyLong_FromUnsignedLong(autograd::grad_fn(t) ? autograd::grad_meta(t).edge.input : 0);
  });
}
PyObject* get_base(PyObject* self, void*) {
  return guarded([&] { return wrap(autograd::view_base(tensor_of(self))); });
}

}  // namespace

PyGetSetDef autograd_getset[] = {
    {"requires_grad", get_requires_grad, set_requires_grad_attribute,
     "Whether backward gives it a gradient.", nullptr},
    {"is_leaf", get_is_leaf, nullptr, "Not the result of a recorded verb.", nullptr},
    {"grad", get_grad, set_grad, "The gradient that backward accumulated, or None.", nullptr},
    {"grad_fn", get_grad_fn, nullptr, "The node that made it, or None.", nullptr},
    {"data", get_data, set_data, "The same memory outside the gradient tape.", nullptr},
    {"retains_grad", get_retains_grad, nullptr, "Whether a result keeps its gradient.", nullptr},
    {"output_nr", get_output_nr, nullptr, "Which result of grad_fn it is.", nullptr},
    {"_base", get_base, nullptr, "What it is a differentiable view of, or None.", nullptr},
    {},
};

QS_REGISTER(register_autograd, rows)

void add_autograd(PyObject* module) {
  g_node_type = make_type(node_spec);
  g_saved_type = make_type(saved_spec);
  g_handle_type = make_type(handle_spec);
  g_guard_type = make_type(guard_spec);
  add(module, "_Node", reinterpret_cast<PyObject*>(g_node_type));
  add(module, "_SavedTensor", reinterpret_cast<PyObject*>(g_saved_type));
  check(PyModule_AddFunctions(module, functions));
  autograd::set_anomaly_handlers({place_in_python, warn_of_anomaly});
}

}  // namespace qs::python
