// What every file of the extension needs: owned references, exceptions both ways, the interpreter's
// lock.
//
// Inside the extension a Python error that is set travels as the C++ exception PythonError;
// `guarded` turns any exception back into a set error at the border. Functions that return
// PyObject* return a new reference unless they say otherwise.
#pragma once
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <atomic>
#include <string>
#include <string_view>
#include <utility>

#include "quicksilver/core/format.h"

namespace qs::python {

/// An owned reference. Only with the interpreter's lock held.
class PyRef {
 public:
  PyRef() = default;
  PyRef(PyRef&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  PyRef(const PyRef& o) : p_(o.p_) { Py_XINCREF(p_); }
  PyRef& operator=(PyRef o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  ~PyRef() { Py_XDECREF(p_); }
  /// Takes a new reference over; throws PythonError when it is null.
  static PyRef steal(PyObject* p);
  static PyRef borrow(PyObject* p) {
    PyRef r;
    Py_XINCREF(p);
    r.p_ = p;
    return r;
  }
  PyObject* get() const { return p_; }
  PyObject* release() { return std::exchange(p_, nullptr); }
  explicit operator bool() const { return p_ != nullptr; }

 private:
  PyObject* p_ = nullptr;
};

/// A Python error is set.
struct PythonError {};

/// Sets an error of `type` and throws PythonError.
[[noreturn]] void raise(PyObject* type, const std::string& text);
template <class... Args>
[[noreturn]] void raise(PyObject* type, fmt::format_string<Args...> text, Args&&... args) {
  raise(type, fmt::format(text, std::forward<Args>(args)...));
}

inline PyRef PyRef::steal(PyObject* p) {
  if (!p) throw PythonError();
  PyRef r;
  r.p_ = p;
  return r;
}
/// Throws when a call of the C API reports an error by a negative number.
inline void check(int status) {
  if (status < 0) throw PythonError();
}

/// In a catch block: sets the Python error that belongs to the exception in flight.
void translate_exception() noexcept;

/// Runs `f` and returns its PyObject*, or null with the Python error set.
template <class F>
PyObject* guarded(F&& f) noexcept {
  try {
    return f();
  } catch (...) {
    translate_exception();
    return nullptr;
  }
}
/// The same for slots that return a status: -1 is failure.
template <class F>
int guarded_status(F&& f) noexcept {
  try {
    return f();
  } catch (...) {
    translate_exception();
    return -1;
  }
}

/// Takes the interpreter's lock back. While the interpreter ends, Python (before 3.14) ends daemon
/// threads that ask for it by unwinding their stacks, which C++ does not survive: here such a
/// thread sleeps until the process is gone.
void take_back(PyThreadState* state) noexcept;
PyGILState_STATE take_interpreter() noexcept;

/// Drops the interpreter's lock while it lives: around whatever may run a plan or wait.
class GilRelease {
 public:
  explicit GilRelease(bool on = true) : state_(on ? PyEval_SaveThread() : nullptr) {}
  ~GilRelease() {
    if (state_) take_back(state_);
  }
  GilRelease(const GilRelease&) = delete;
  GilRelease& operator=(const GilRelease&) = delete;

 private:
  PyThreadState* state_;
};

/// Holds the interpreter's lock while it lives, whoever's thread this is.
class GilAcquire {
 public:
  GilAcquire() : state_(take_interpreter()) {}
  ~GilAcquire() { PyGILState_Release(state_); }
  GilAcquire(const GilAcquire&) = delete;
  GilAcquire& operator=(const GilAcquire&) = delete;

 private:
  PyGILState_STATE state_;
};

/// A Python object that C++ may drop on any thread, under any lock: the reference is given up
/// later, at the next safe point of a thread that holds the interpreter's lock.
void drop_later(PyObject* object) noexcept;
/// Such a safe point.
void drop_waiting() noexcept;
extern std::atomic<bool> g_drops_waiting;
inline void safe_point() noexcept {
  if (g_drops_waiting.load(std::memory_order_relaxed)) [[unlikely]]
    drop_waiting();
}

/// A counted handle on a Python object for C++ closures and nodes; copies and dies on any thread.
class SharedObject {
 public:
  explicit SharedObject(PyObject* borrowed);
  SharedObject(const SharedObject& o) noexcept;
  SharedObject(SharedObject&& o) noexcept : box_(std::exchange(o.box_, nullptr)) {}
  SharedObject& operator=(const SharedObject&) = delete;
  ~SharedObject();
  PyObject* get() const;  // borrowed

 private:
  struct Box;
  Box* box_;
};

inline std::string_view type_name(PyObject* o) {
  const char* name = Py_TYPE(o)->tp_name;
  if (const char* dot =
          std::char_traits<char>::find(name, std::char_traits<char>::length(name), '.'))
    name = dot + 1;
  return name;
}
inline PyObject* new_ref(PyObject* o) {
  Py_INCREF(o);
  return o;
}
inline PyObject* none() { return new_ref(Py_None); }
inline PyObject* py_bool(bool b) { return new_ref(b ? Py_True : Py_False); }
std::string text_of(PyObject* unicode);
/// PyModule_AddObjectRef that throws.
void add(PyObject* module, const char* name, PyObject* object);
/// A heap type from its spec; throws.
PyTypeObject* make_type(PyType_Spec& spec, PyTypeObject* base = nullptr);

// The exception types the module makes.
extern PyObject* mps_device_error;
extern PyObject* out_of_memory_error;
extern PyObject* internal_error;

}  // namespace qs::python
