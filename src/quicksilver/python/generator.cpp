// torch.Generator: a stream of its own, or the stream of a device.
#include "quicksilver/autograd/verbs.h"
#include "quicksilver/python/module.h"
#include "quicksilver/python/small_types.h"
#include "quicksilver/python/tensor_type.h"
#include "quicksilver/runtime/device.h"
#include "quicksilver/tensor/record.h"

namespace qs::python {

PyTypeObject* generator_type = nullptr;

namespace {

struct GeneratorObject {
  PyObject_HEAD qs::Generator* own;  // null: the device's
  DeviceType device;
};

qs::Generator& generator_of(PyObject* o) {
  auto* g = reinterpret_cast<GeneratorObject*>(o);
  return g->own ? *g->own : device_runtime(g->device).generator();
}

uint64_t to_seed(PyObject* o) {
  const PyRef index = PyRef::steal(PyNumber_Index(o));
  int overflow = 0;
  const long long v = PyLong_AsLongLongAndOverflow(index.get(), &overflow);
  if (!overflow) {
    if (v == -1 && PyErr_Occurred()) throw PythonError();
    return static_cast<uint64_t>(v);
  }
  const unsigned long long u = PyLong_AsUnsignedLongLong(index.get());
  if (PyErr_Occurred()) {
    PyErr_Clear();
    raise(PyExc_RuntimeError, "Overflow when unpacking unsigned long long");
  }
  return u;
}

PyObject* generator_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"device", nullptr};
    PyObject* device = nullptr;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:Generator", const_cast<char**>(names),
                                     &device))
      return nullptr;
    const Device d = device && device != Py_None ? to_device(device) : Device(DeviceType::cpu);
    PyRef self = PyRef::steal(type->tp_alloc(type, 0));
    auto* g = reinterpret_cast<GeneratorObject*>(self.get());
    g->own = std::make_unique<qs::Generator>().release();
    g->device = d.type;
    return self.release();
  });
}
void generator_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  const std::unique_ptr<qs::Generator> owned(reinterpret_cast<GeneratorObject*>(self)->own);
  type->tp_free(self);
  Py_DECREF(type);
}
PyObject* manual_seed(PyObject* self, PyObject* seed) {
  return guarded([&] {
    generator_of(self).manual_seed(to_seed(seed));
    return new_ref(self);
  });
}
PyObject* seed(PyObject* self, PyObject*) {
  return guarded([&] { return PyLong_FromUnsignedLongLong(generator_of(self).seed()); });
}
PyObject* initial_seed(PyObject* self, PyObject*) {
  return guarded([&] { return PyLong_FromUnsignedLongLong(generator_of(self).initial_seed()); });
}
PyObject* get_state(PyObject* self, PyObject*) {
  return guarded([&] {
    const std::vector<uint8_t> s = generator_of(self).get_state();
    return wrap(
        from_host(s.data(), Dims{static_cast<int64_t>(s.size())}, DType::u8, DeviceType::cpu));
  });
}
PyObject* set_state(PyObject* self, PyObject* state) {
  return guarded([&] {
    const Tensor& t = to_tensor(state);
    if (t.dtype() != DType::u8) raise(PyExc_TypeError, "RNG state must be a torch.ByteTensor");
    std::vector<uint8_t> s(static_cast<size_t>(t.numel()));
    t.to_host(s.data());
    generator_of(self).set_state(s);
    return new_ref(self);
  });
}
PyObject* get_device(PyObject* self, void*) {
  return wrap(Device(reinterpret_cast<GeneratorObject*>(self)->device));
}
PyMethodDef methods[] = {
    {"manual_seed", manual_seed, METH_O, "Sets the seed; returns the generator."},
    {"seed", seed, METH_NOARGS, "Sets a seed from the system's entropy and returns it."},
    {"initial_seed", initial_seed, METH_NOARGS, "The seed."},
    {"get_state", get_state, METH_NOARGS, "The state, as a uint8 tensor."},
    {"set_state", set_state, METH_O, "Sets a state that get_state gave."},
    {},
};
PyGetSetDef getset[] = {{"device", get_device, nullptr, "The device it draws for.", nullptr}, {}};
PyType_Slot slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(generator_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(generator_dealloc)},
    {Py_tp_methods, methods},
    {Py_tp_getset, getset},
    {Py_tp_doc, const_cast<char*>("Generator(device='cpu')\n\nA stream of random numbers.")},
    {0, nullptr},
};
PyType_Spec spec = {"quicksilver.Generator", sizeof(GeneratorObject), 0, Py_TPFLAGS_DEFAULT, slots};

PyObject* g_default[k_device_type_count];

PyObject* seed_all(PyObject*, PyObject* seed) {
  return guarded([&] {
    qs::manual_seed(to_seed(seed));
    return new_ref(g_default[0]);
  });
}
PyMethodDef functions[] = {
    {"manual_seed", seed_all, METH_O, "Seeds both devices; returns the default generator."},
    {},
};

}  // namespace

GeneratorScope::GeneratorScope(PyObject* generator, DeviceType device) {
  if (!generator || generator == Py_None) return;
  qs::Generator& given = generator_of(generator);
  qs::Generator& target = device_runtime(device).generator();
  if (&given == &target) return;
  if (reinterpret_cast<GeneratorObject*>(generator)->device != device)
    raise(PyExc_RuntimeError, "Expected a '{}' device type for generator but found '{}'",
          Device(device).str(),
          Device(reinterpret_cast<GeneratorObject*>(generator)->device).str());
  given_ = &given;
  device_ = &target;
  saved_ = target.get_state();
  target.set_state(given.get_state());
}
GeneratorScope::~GeneratorScope() {
  if (!given_) return;
  given_->set_state(device_->get_state());
  device_->set_state(saved_);
}

void add_generator(PyObject* module) {
  generator_type = make_type(spec);
  add(module, "Generator", reinterpret_cast<PyObject*>(generator_type));
  for (int d = 0; d < k_device_type_count; ++d) {
    auto* g = PyObject_New(GeneratorObject, generator_type);
    if (!g) throw PythonError();
    g->own = nullptr;
    g->device = static_cast<DeviceType>(d);
    g_default[d] = reinterpret_cast<PyObject*>(g);
  }
  add(module, "default_generator", g_default[0]);
  add(module, "_mps_generator", g_default[1]);
  check(PyModule_AddFunctions(module, functions));
}

}  // namespace qs::python
