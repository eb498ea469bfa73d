// The device from Python: what there is, memory, random state, counters, threads, and where a line
// is.
#include "quicksilver/autograd/verbs.h"
#include "quicksilver/core/cpu_info.h"
#include "quicksilver/core/thread_pool.h"
#include "quicksilver/core/version.h"
#include "quicksilver/plan/execute.h"
#include "quicksilver/plan/tape.h"
#include "quicksilver/python/arguments.h"
#include "quicksilver/python/module.h"
#include "quicksilver/python/small_types.h"
#include "quicksilver/python/tensor_type.h"
#include "quicksilver/runtime/device.h"

namespace qs::python {

namespace {

PyObject* text(const std::string& s) {
  return PyUnicode_FromStringAndSize(s.data(), static_cast<Py_ssize_t>(s.size()));
}
void set_item(PyObject* dict, const char* key, PyObject* value) {
  check(PyDict_SetItemString(dict, key, PyRef::steal(value).get()));
}

DeviceRuntime& mps_runtime() {
  if (!mps_is_built())
    raise(PyExc_RuntimeError,
          "Quicksilver is not compiled with the mps device: build it with QS_MPS=ON");
  return device_runtime(DeviceType::mps);
}

PyObject* is_built(PyObject*, PyObject*) { return py_bool(mps_is_built()); }
PyObject* is_available(PyObject*, PyObject*) {
  bool there;
  {
    GilRelease release;
    there = mps_is_available();
  }
  return py_bool(there);
}
PyObject* why_unavailable(PyObject*, PyObject*) {
  return guarded([] { return text(mps_why_unavailable()); });
}
PyObject* driver(PyObject*, PyObject*) {
  return guarded([] { return text(mps_driver_name()); });
}
PyObject* get_name(PyObject*, PyObject*) {
  return guarded([] { return text(mps_device_name()); });
}

PyObject* synchronize_mps(PyObject*, PyObject*) {
  return guarded([] {
    mps_runtime();
    {
      GilRelease release;
      qs::synchronize(DeviceType::mps);
    }
    safe_point();
    return none();
  });
}
PyObject* set_region(PyObject*, PyObject* number) {
  return guarded([&] {
    const int64_t region = to_integer(number);
    if (open_device_runtime(DeviceType::mps))
      plan::Tape::current(DeviceType::mps).set_region(static_cast<uint32_t>(region));
    return none();
  });
}
PyObject* step_end(PyObject*, PyObject*) {
  return guarded([] {
    {
      GilRelease release;
      qs::step_end();
    }
    safe_point();
    return none();
  });
}

/// What is recorded runs first, so that the figures are of what the program has asked for.
MemoryStats memory() {
  DeviceRuntime& runtime = mps_runtime();
  GilRelease release;
  qs::synchronize(DeviceType::mps);
  return runtime.allocator().stats();
}
PyObject* current_allocated_memory(PyObject*, PyObject*) {
  return guarded([] { return PyLong_FromLongLong(memory().live_bytes); });
}
PyObject* driver_allocated_memory(PyObject*, PyObject*) {
  return guarded([] { return PyLong_FromLongLong(memory().driver_bytes); });
}
PyObject* max_allocated_memory(PyObject*, PyObject*) {
  return guarded([] { return PyLong_FromLongLong(memory().peak_live_bytes); });
}
PyObject* reset_peak_memory(PyObject*, PyObject*) {
  return guarded([] {
    mps_runtime().allocator().reset_peak();
    return none();
  });
}
PyObject* recommended_max_memory(PyObject*, PyObject*) {
  return guarded([] { return PyLong_FromLongLong(mps_runtime().info().memory_bytes); });
}
PyObject* empty_cache(PyObject*, PyObject*) {
  return guarded([] {
    DeviceRuntime& runtime = mps_runtime();
    {
      GilRelease release;
      qs::synchronize(DeviceType::mps);
      runtime.allocator().empty_cache();
    }
    return none();
  });
}
/// All figures that memory_summary shows, by name; bytes where the name says so.
PyObject* memory_stats(PyObject*, PyObject*) {
  return guarded([] {
    const MemoryStats m = memory();
    const plan::Stats p = plan::stats(DeviceType::mps);
    DeviceRuntime& runtime = mps_runtime();
    PyRef d = PyRef::steal(PyDict_New());
    const std::pair<const char*, int64_t> figures[] = {
        {"live_bytes", m.live_bytes},
        {"live_blocks", m.live_blocks},
        {"peak_live_bytes", m.peak_live_bytes},
        {"cached_bytes", m.cached_bytes},
        {"driver_bytes", m.driver_bytes},
        {"peak_driver_bytes", m.peak_driver_bytes},
        {"driver_allocations", m.driver_allocations},
        {"allocations", m.allocations},
        {"reuses", m.reuses},
        {"external_bytes", m.external_bytes},
        {"external_blocks", m.external_blocks},
        {"limit_bytes", m.limit_bytes},
        {"recommended_bytes", runtime.info().memory_bytes},
        {"arena_bytes", static_cast<int64_t>(runtime.arena_bytes())},
        {"plans", p.plans},
        {"kernels", p.kernels},
        {"kernels_evicted", p.kernels_evicted}};
    for (const auto& [name, value] : figures) set_item(d.get(), name, PyLong_FromLongLong(value));
    return d.release();
  });
}
/// (which storage, its bytes) of a tensor with memory of mps, else None. Runs nothing.
PyObject* held_memory(PyObject*, PyObject* tensor) {
  return guarded([&]() -> PyObject* {
    const Storage& storage = to_tensor(tensor).storage();
    Ref<Block> block;
    {
      const std::lock_guard lock(plan::recording_mutex());
      if (storage.device == DeviceType::mps) block = storage.block;
    }
    if (!block) return none();
    const auto which = static_cast<unsigned long long>(reinterpret_cast<uintptr_t>(&storage));
    return Py_BuildValue("(Kn)", which, static_cast<Py_ssize_t>(block->bytes()));
  });
}
/// (bytes in blocks that somebody holds, of these scratch of plans). Runs and opens nothing.
PyObject* live_memory(PyObject*, PyObject*) {
  return guarded([] {
    DeviceRuntime* runtime = open_device_runtime(DeviceType::mps);
    return Py_BuildValue("(LL)", runtime ? runtime->allocator().stats().live_bytes : 0LL,
                         static_cast<long long>(runtime ? runtime->arena_bytes() : 0));
  });
}
PyObject* memory_report(PyObject*, PyObject*) {
  return guarded([] { return text(mps_runtime().allocator().report()); });
}
PyObject* set_memory_fraction(PyObject*, PyObject* fraction) {
  return guarded([&] {
    if (!PyFloat_Check(fraction))
      raise(PyExc_TypeError, "Invalid type for fraction argument, must be `float`");
    const double f = PyFloat_AS_DOUBLE(fraction);
    if (!(f >= 0 && f <= 2)) {
      const PyRef shown = PyRef::steal(PyObject_Str(fraction));
      raise(PyExc_ValueError, "Invalid fraction value: {}. Allowed range: 0-2",
            text_of(shown.get()));
    }
    mps_runtime().allocator().set_memory_fraction(f);
    return none();
  });
}

// ---- counters and threads

DeviceType device_argument(PyObject* o) { return to_device(o).type; }

PyObject* plan_stats(PyObject*, PyObject* device) {
  return guarded([&] {
    const plan::Stats s = plan::stats(device_argument(device));
    PyRef d = PyRef::steal(PyDict_New());
    const std::pair<const char*, int64_t> figures[] = {{"plans", s.plans},
                                                       {"plans_built", s.plans_built},
                                                       {"structures", s.structures},
                                                       {"structures_built", s.structures_built},
                                                       {"instances_built", s.instances_built},
                                                       {"instance_nodes", s.instance_nodes},
                                                       {"instance_ns", s.instance_ns},
                                                       {"hits", s.hits},
                                                       {"evictions", s.evictions},
                                                       {"kernels", s.kernels},
                                                       {"kernels_built", s.kernels_built},
                                                       {"kernels_evicted", s.kernels_evicted},
                                                       {"submits", s.submits},
                                                       {"replays", s.replays},
                                                       {"launches", s.launches},
                                                       {"nodes", s.nodes},
                                                       {"bytes_moved", s.bytes_moved}};
    for (const auto& [name, value] : figures) set_item(d.get(), name, PyLong_FromLongLong(value));
    return d.release();
  });
}
PyObject* reset_plan_stats(PyObject*, PyObject* device) {
  return guarded([&] {
    plan::reset_stats(device_argument(device));
    return none();
  });
}
PyObject* describe_plan(PyObject*, PyObject* device) {
  return guarded([&] { return text(plan::describe(device_argument(device))); });
}
PyObject* get_num_threads(PyObject*, PyObject*) {
  return PyLong_FromLong(ThreadPool::instance().threads());
}
PyObject* set_num_threads(PyObject*, PyObject* n) {
  return guarded([&]() -> PyObject* {
    if (!PyLong_Check(n))
      raise(PyExc_TypeError, "set_num_threads expects an int, but got {}", type_name(n));
    const long threads = PyLong_AsLong(n);
    if (threads == -1 && PyErr_Occurred()) return nullptr;
    if (threads <= 0) raise(PyExc_RuntimeError, "set_num_threads expects a positive integer");
    {
      GilRelease release;
      ThreadPool::instance().set_threads(static_cast<int>(std::min(threads, 1024L)));
    }
    return none();
  });
}
PyObject* info(PyObject*, PyObject*) {
  return guarded([] {
    const CpuInfo& cpu = cpu_info();
    PyRef d = PyRef::steal(PyDict_New());
    set_item(d.get(), "version", text(qs::version()));
    set_item(d.get(), "mps_built", py_bool(mps_is_built()));
    set_item(d.get(), "mps_available", py_bool(mps_is_available()));
    set_item(d.get(), "mps_driver", text(mps_driver_name()));
    set_item(d.get(), "mps_name", text(mps_device_name()));
    set_item(d.get(), "mps_why_unavailable", text(mps_why_unavailable()));
    set_item(d.get(), "cpu", text(cpu.name));
    set_item(d.get(), "isa", text(std::string(name_of(cpu.isa))));
    set_item(d.get(), "isa_best", text(std::string(name_of(cpu.best))));
    set_item(d.get(), "cores", PyLong_FromLong(cpu.cores));
    set_item(d.get(), "threads", PyLong_FromLong(ThreadPool::instance().threads()));
    set_item(d.get(), "memory_bytes", PyLong_FromLongLong(cpu.memory_bytes));
    return d.release();
  });
}

// ---- the user's line

/// The package's folder with a separator behind it; "" until the module knows its file.
const std::string& package_folder() {
  static std::string folder;
  if (folder.empty()) {
    const PyRef module = PyRef::steal(PyImport_ImportModule("quicksilver._C"));
    const PyRef file = PyRef::steal(PyObject_GetAttrString(module.get(), "__file__"));
    folder = text_of(file.get());
    folder.resize(folder.find_last_of("/\\") + 1);
  }
  return folder;
}

/// "train.py:31": the innermost Python frame outside the package. Called before any lock is taken.
std::string current_line() {
  GilAcquire lock;
  try {
    const std::string& own = package_folder();
    PyRef frame = PyRef::borrow(reinterpret_cast<PyObject*>(PyEval_GetFrame()));
    while (frame) {
      auto* f = reinterpret_cast<PyFrameObject*>(frame.get());
      const PyRef code = PyRef::steal(reinterpret_cast<PyObject*>(PyFrame_GetCode(f)));
      const PyRef name = PyRef::steal(PyObject_GetAttrString(code.get(), "co_filename"));
      const std::string file = text_of(name.get());
      if (!file.starts_with(own)) {
        const size_t slash = file.find_last_of("/\\");
        return fmt::format("{}:{}", slash == std::string::npos ? file : file.substr(slash + 1),
                           PyFrame_GetLineNumber(f));
      }
      PyFrameObject* back = PyFrame_GetBack(f);
      frame = PyRef();
      if (back) frame = PyRef::steal(reinterpret_cast<PyObject*>(back));
    }
  } catch (const PythonError&) {
    PyErr_Clear();
  }
  return {};
}

driver::FaultInjector& injector() {
  auto* found = dynamic_cast<driver::FaultInjector*>(&mps_runtime().driver());
  if (!found) raise(PyExc_RuntimeError, "the mps driver is no fault:<driver>");
  return *found;
}
PyObject* inject_faults(PyObject*, PyObject* what) {
  return guarded([&] {
    injector().inject(text_of(what));
    return none();
  });
}

/// Which of the blocks that are asked for the allocator refuses, counted from 1.
struct Refused {
  std::atomic<int64_t> asked{0}, refused{0}, first{0}, last{0};
};
Refused g_refused;
bool is_refused(size_t, void*) {
  const int64_t n = ++g_refused.asked;
  const bool refuses = n >= g_refused.first && n <= g_refused.last;
  g_refused.refused += refuses;
  return refuses;
}
PyObject* refuse_blocks(PyObject*, PyObject* args) {
  return guarded([&] {
    long long first = 0, last = 0;
    if (!PyArg_ParseTuple(args, "LL", &first, &last)) throw PythonError();
    g_refused.asked = g_refused.refused = 0;
    g_refused.first = first;
    g_refused.last = last;
    mps_runtime().allocator().set_fault_hook(last < first ? nullptr : &is_refused, nullptr);
    return none();
  });
}
PyObject* hold_submits(PyObject*, PyObject* on) {
  return guarded([&] {
    injector().hold(PyObject_IsTrue(on) > 0);
    return none();
  });
}
PyObject* fault_counts(PyObject*, PyObject*) {
  return guarded([] {
    const driver::FaultInjector::Counts c = injector().counts();
    PyRef d = PyRef::steal(PyDict_New());
    const std::pair<const char*, int64_t> figures[] = {
        {"allocs", c.allocs},        {"builds", c.builds},          {"submits", c.submits},
        {"waits", c.waits},          {"failed", c.failed},          {"held", c.held},
        {"blocks", g_refused.asked}, {"refused", g_refused.refused}};
    for (const auto& [name, value] : figures) set_item(d.get(), name, PyLong_FromLongLong(value));
    return d.release();
  });
}
PyObject* forget_plans(PyObject*, PyObject*) {
  return guarded([] {
    DeviceRuntime& runtime = mps_runtime();
    {
      GilRelease release;
      qs::synchronize(DeviceType::mps);
      plan::clear_plans(DeviceType::mps);
      runtime.forget_kernels();
    }
    return none();
  });
}
PyObject* losses(PyObject*, PyObject*) { return PyLong_FromUnsignedLongLong(plan::losses()); }
PyObject* is_lost(PyObject*, PyObject* tensor) {
  return guarded([&] {
    const std::lock_guard lock(plan::recording_mutex());
    const Storage& storage = to_tensor(tensor).storage();
    return py_bool(!storage.block && storage.error);
  });
}
PyObject* live_blocks(PyObject*, PyObject* device) {
  return guarded([&] {
    DeviceRuntime* runtime = open_device_runtime(device_argument(device));
    const MemoryStats s = runtime ? runtime->allocator().stats() : MemoryStats();
    return PyLong_FromLongLong(s.live_blocks + s.external_blocks);
  });
}

/// At exit: a data-dependent error that nobody has read is at least printed.
PyObject* at_exit(PyObject*, PyObject*) {
  for (DeviceType device : {DeviceType::cpu, DeviceType::mps}) {
    if (!open_device_runtime(device)) continue;
    try {
      plan::raise_fault(device);
    } catch (const std::exception& e) {
      PySys_FormatStderr("quicksilver: an error that was never read: %s\n", e.what());
    }
  }
  return none();
}

PyMethodDef functions[] = {
    {"_at_exit", at_exit, METH_NOARGS, nullptr},
    {"_mps_is_built", is_built, METH_NOARGS, "Whether the library has the mps device."},
    {"_mps_is_available", is_available, METH_NOARGS, "Whether a driver can open mps here."},
    {"_mps_why_unavailable", why_unavailable, METH_NOARGS,
     "Why not, in a sentence; \"\" when it can."},
    {"_mps_driver", driver, METH_NOARGS,
     "\"metal\", \"cuda\" or \"cpu\"; \"\" when there is none."},
    {"_mps_get_name", get_name, METH_NOARGS, "The driver and what it runs on."},
    {"_mps_synchronize", synchronize_mps, METH_NOARGS, "Runs all that is recorded and waits."},
    {"_mps_current_allocated_memory", current_allocated_memory, METH_NOARGS,
     "Bytes that tensors hold."},
    {"_mps_driver_allocated_memory", driver_allocated_memory, METH_NOARGS,
     "Bytes taken from the driver."},
    {"_mps_max_allocated_memory", max_allocated_memory, METH_NOARGS, "The most that tensors held."},
    {"_mps_reset_peak_memory", reset_peak_memory, METH_NOARGS, nullptr},
    {"_mps_recommended_max_memory", recommended_max_memory, METH_NOARGS,
     "Bytes that the device should hold at most."},
    {"_mps_empty_cache", empty_cache, METH_NOARGS, "Gives unused memory back to the driver."},
    {"_mps_memory_stats", memory_stats, METH_NOARGS, "Figures of memory and caches, by name."},
    {"_held_memory", held_memory, METH_O,
     "(which storage, its bytes) of a tensor of mps that has memory, else None."},
    {"_live_memory", live_memory, METH_NOARGS, "Bytes of mps in use, of these scratch of plans."},
    {"_mps_memory_report", memory_report, METH_NOARGS, "Who holds what, as a table."},
    {"_mps_set_per_process_memory_fraction", set_memory_fraction, METH_O,
     "Bounds what is taken from the driver."},
    {"_set_region", set_region, METH_O,
     "_set_region(number): ops recorded from now on are not merged with those of other regions."},
    {"step_end", step_end, METH_NOARGS, "The end of an optimizer's step: cuts the tape."},
    {"plan_stats", plan_stats, METH_O,
     "plan_stats(device): counters of plans, kernels and launches."},
    {"reset_plan_stats", reset_plan_stats, METH_O, nullptr},
    {"describe_plan", describe_plan, METH_O,
     "describe_plan(device): the last plan that ran, in words."},
    {"_inject_faults", inject_faults, METH_O,
     "For tests: which calls a fault:<driver> fails, as in \"alloc=5, submit=2+\"."},
    {"_hold_submits", hold_submits, METH_O,
     "For tests: whether what a fault:<driver> is given waits there."},
    {"_fault_counts", fault_counts, METH_NOARGS, nullptr},
    {"_refuse_blocks", refuse_blocks, METH_VARARGS,
     "_refuse_blocks(first, last): for tests, which blocks of mps are refused from now on."},
    {"_losses", losses, METH_NOARGS, "How many tensors' contents were lost to faults so far."},
    {"_is_lost", is_lost, METH_O, "Whether a tensor's content was lost to a fault."},
    {"_forget_plans", forget_plans, METH_NOARGS, "For tests: empties the caches of mps."},
    {"_live_blocks", live_blocks, METH_O, "Pieces of memory that somebody holds, on a device."},
    {"get_num_threads", get_num_threads, METH_NOARGS, "Threads that cpu kernels use."},
    {"set_num_threads", set_num_threads, METH_O, "Sets how many threads cpu kernels use."},
    {"_info", info, METH_NOARGS, "What this machine and build have."},
    {},
};

}  // namespace

void add_mps(PyObject* module) {
  check(PyModule_AddFunctions(module, functions));
  plan::set_line_function(current_line);
  plan::set_interpreter_lock({[]() -> void* {
                                return Py_IsInitialized() && PyGILState_Check()
                                           ? PyEval_SaveThread()
                                           : nullptr;
                              },
                              [](void* state) { take_back(static_cast<PyThreadState*>(state)); }});
  const PyRef atexit = PyRef::steal(PyImport_ImportModule("atexit"));
  const PyRef function = PyRef::steal(PyObject_GetAttrString(module, "_at_exit"));
  PyRef::steal(PyObject_CallMethod(atexit.get(), "register", "O", function.get()));
}

}  // namespace qs::python
