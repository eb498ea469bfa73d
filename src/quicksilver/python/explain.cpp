// _explain(fn): calls fn and hands over what the planner did meanwhile, as dicts and lists.
#include "quicksilver/plan/explain.h"

#include "quicksilver/autograd/verbs.h"
#include "quicksilver/python/module.h"
#include "quicksilver/runtime/device.h"

namespace qs::python {
namespace {

PyRef text(const std::string& s) {
  return PyRef::steal(PyUnicode_FromStringAndSize(s.data(), static_cast<Py_ssize_t>(s.size())));
}
PyRef number(int64_t n) { return PyRef::steal(PyLong_FromLongLong(n)); }
void set_item(const PyRef& dict, const char* key, const PyRef& value) {
  check(PyDict_SetItemString(dict.get(), key, value.get()));
}
template <class T, class F>
PyRef list_of(const std::vector<T>& items, F&& dict_of) {
  PyRef list = PyRef::steal(PyList_New(0));
  for (const T& item : items) check(PyList_Append(list.get(), dict_of(item).get()));
  return list;
}

PyRef crossing(const plan::Crossing& c) {
  PyRef d = PyRef::steal(PyDict_New());
  set_item(d, "storage", number(c.storage));
  set_item(d, "write", PyRef::borrow(c.write ? Py_True : Py_False));
  set_item(d, "tensor", text(c.tensor));
  set_item(d, "bytes", number(c.bytes));
  set_item(d, "from", number(c.from));
  set_item(d, "why", text(c.why));
  return d;
}

PyRef op(const plan::LaunchNote::OpNote& o) {
  PyRef d = PyRef::steal(PyDict_New());
  set_item(d, "name", text(o.name));
  set_item(d, "line", text(o.line));
  return d;
}

PyRef launch(const plan::LaunchNote& l) {
  PyRef d = PyRef::steal(PyDict_New());
  set_item(d, "kind", text(l.kind));
  set_item(d, "loops", text(l.loops));
  set_item(d, "ops", list_of(l.ops, op));
  set_item(d, "crossings", list_of(l.crossings, crossing));
  return d;
}

PyRef plan_dict(const plan::PlanNote& p) {
  PyRef d = PyRef::steal(PyDict_New());
  set_item(d, "device", text(p.device == DeviceType::mps ? "mps" : "cpu"));
  set_item(d, "recorded", number(p.recorded));
  set_item(d, "dropped", number(p.dropped));
  set_item(d, "commands", number(p.commands));
  set_item(d, "arena_bytes", number(p.arena_bytes));
  set_item(d, "launches", list_of(p.launches, launch));
  return d;
}

void finish_mps() {
  if (!open_device_runtime(DeviceType::mps)) return;
  GilRelease release;
  qs::synchronize(DeviceType::mps);
}

PyObject* explain(PyObject*, PyObject* function) {
  return guarded([&] {
    finish_mps();  // what was recorded before is not the function's
    plan::Explaining noted;
    PyRef result = PyRef::steal(PyObject_CallNoArgs(function));
    finish_mps();
    return PyRef::steal(PyTuple_Pack(2, result.get(), list_of(noted.plans, plan_dict).get()))
        .release();
  });
}

PyMethodDef functions[] = {
    {"_explain", explain, METH_O,
     "_explain(fn): (fn(), notes on the plans that ran meanwhile in this thread)."},
    {},
};

}  // namespace

void add_explain(PyObject* module) { check(PyModule_AddFunctions(module, functions)); }

}  // namespace qs::python
