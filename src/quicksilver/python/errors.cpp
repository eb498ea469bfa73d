#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <exception>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "quicksilver/core/exceptions.h"
#include "quicksilver/python/common.h"
#include "quicksilver/python/module.h"

namespace qs::python {

PyObject* mps_device_error = nullptr;
PyObject* out_of_memory_error = nullptr;
PyObject* internal_error = nullptr;

void raise(PyObject* type, const std::string& text) {
  const GilAcquire lock;  // checks inside a verb may run without it
  PyErr_SetString(type, text.c_str());
  throw PythonError();
}

namespace {
/// With a table of who holds what, when that can be made.
void set_out_of_memory(const qs::OutOfMemoryError& e) {
  thread_local bool busy = false;
  std::string text = e.what();
  if (!std::exchange(busy, true)) {
    try {
      const PyRef module = PyRef::steal(PyImport_ImportModule("quicksilver._memory"));
      const PyRef more = PyRef::steal(PyObject_CallMethod(module.get(), "explain_want", nullptr));
      if (const char* added = PyUnicode_AsUTF8(more.get())) text += added;
    } catch (const PythonError&) {  // the table itself may want memory
      if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) PyErr_SetInterrupt();
    }
    PyErr_Clear();
    busy = false;
  }
  PyErr_SetString(out_of_memory_error, text.c_str());
}
}  // namespace

void translate_exception() noexcept {
  const auto set = [](PyObject* type, const std::exception& e) { PyErr_SetString(type, e.what()); };
  try {
    throw;
  } catch (const PythonError&) {
    if (!PyErr_Occurred()) PyErr_SetString(internal_error, "an error was raised but not set");
  } catch (const qs::TypeError& e) {
    set(PyExc_TypeError, e);
  } catch (const qs::ValueError& e) {
    set(PyExc_ValueError, e);
  } catch (const qs::IndexError& e) {
    set(PyExc_IndexError, e);
  } catch (const qs::KeyError& e) {
    set(PyExc_KeyError, e);
  } catch (const qs::NotImplementedError& e) {
    set(PyExc_NotImplementedError, e);
  } catch (const qs::FileError& e) {
    set(PyExc_OSError, e);
  } catch (const qs::DeviceError& e) {
    set(mps_device_error, e);
  } catch (const qs::OutOfMemoryError& e) {
    set_out_of_memory(e);
  } catch (const qs::InternalError& e) {
    set(internal_error, e);
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& e) {
    set(PyExc_RuntimeError, e);
  } catch (...) {
    PyErr_SetString(internal_error, "an unknown C++ exception was thrown");
  }
}

namespace {
void hold_drops_over_fork();
}

void add_errors(PyObject* module) {
  const auto make = [&](const char* name, const char* doc) {
    const PyRef full = PyRef::steal(PyUnicode_FromFormat("quicksilver.%s", name));
    PyObject* type =
        PyErr_NewExceptionWithDoc(PyUnicode_AsUTF8(full.get()), doc, PyExc_RuntimeError, nullptr);
    if (!type) throw PythonError();
    add(module, name, type);
    return type;
  };
  hold_drops_over_fork();
  mps_device_error = make("MPSDeviceError", "The device does not exist, or failed.");
  out_of_memory_error = make("OutOfMemoryError", "Device memory ran out; says who holds what.");
  internal_error = make("InternalError", "A bug in Quicksilver: please report it.");
}

// ---- the interpreter's lock

namespace {
[[noreturn]] void sleep_for_good() noexcept {
  for (;;) pause();
}
}  // namespace

void take_back(PyThreadState* state) noexcept {
  try {
    PyEval_RestoreThread(state);
  } catch (...) {  // the unwinding, which must not be left once it is caught
    sleep_for_good();
  }
}

PyGILState_STATE take_interpreter() noexcept {
  try {
    return PyGILState_Ensure();
  } catch (...) {
    sleep_for_good();
  }
}

// ---- objects dropped later

std::atomic<bool> g_drops_waiting = false;
namespace {
// Never taken while Python code runs: only the vector is touched under it.
std::mutex g_drops_mutex;
std::vector<PyObject*>& drops() {
  static auto* v = new std::vector<PyObject*>;
  return *v;
}
/// It is taken under the locks of the plans, which are registered later and taken before.
void hold_drops_over_fork() {
  const auto unlock = [] { g_drops_mutex.unlock(); };
  pthread_atfork([] { g_drops_mutex.lock(); }, unlock, unlock);
}
int drop_pending(void*) {
  drop_waiting();
  return 0;
}
}  // namespace

void drop_later(PyObject* object) noexcept {
  bool first;
  {
    std::lock_guard lock(g_drops_mutex);
    first = drops().empty();
    drops().push_back(object);
    g_drops_waiting = true;
  }
  // A full queue is no loss: the next wrapper that dies is a safe point too.
  if (first && Py_IsInitialized()) Py_AddPendingCall(drop_pending, nullptr);
}

void drop_waiting() noexcept {
  std::vector<PyObject*> taken;
  {
    std::lock_guard lock(g_drops_mutex);
    taken.swap(drops());
    g_drops_waiting = false;
  }
  PyObject *type, *value, *trace;
  PyErr_Fetch(&type, &value, &trace);
  for (PyObject* o : taken) Py_DECREF(o);
  PyErr_Restore(type, value, trace);
}

struct SharedObject::Box {
  PyObject* object;
  std::atomic<int> count{1};
};
SharedObject::SharedObject(PyObject* borrowed) : box_(new Box{new_ref(borrowed)}) {}
SharedObject::SharedObject(const SharedObject& o) noexcept : box_(o.box_) { ++box_->count; }
SharedObject::~SharedObject() {
  if (!box_ || --box_->count) return;
  drop_later(box_->object);
  delete box_;
}
PyObject* SharedObject::get() const { return box_->object; }

// ---- small helpers

std::string text_of(PyObject* unicode) {
  Py_ssize_t n;
  const char* s = PyUnicode_AsUTF8AndSize(unicode, &n);
  if (!s) throw PythonError();
  return {s, static_cast<size_t>(n)};
}

void add(PyObject* module, const char* name, PyObject* object) {
  check(PyModule_AddObjectRef(module, name, object));
}

PyTypeObject* make_type(PyType_Spec& spec, PyTypeObject* base) {
  PyRef bases;
  if (base) bases = PyRef::steal(PyTuple_Pack(1, base));
  PyObject* type = PyType_FromSpecWithBases(&spec, bases.get());
  if (!type) throw PythonError();
  return reinterpret_cast<PyTypeObject*>(type);
}

}  // namespace qs::python
