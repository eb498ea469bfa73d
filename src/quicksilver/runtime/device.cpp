#include "quicksilver/runtime/device.h"

#include <pthread.h>

#include <atomic>

#include "quicksilver/core/env.h"
#include "quicksilver/core/error.h"
#include "quicksilver/core/thread_pool.h"

namespace qs {

DeviceRuntime::DeviceRuntime(DeviceType type, std::unique_ptr<driver::Driver> driver)
    : type_(type), driver_(std::move(driver)), allocator_(*driver_) {}

DeviceRuntime::~DeviceRuntime() = default;

driver::ErrorRecord DeviceRuntime::take_error() {
  return std::exchange(error_, driver::ErrorRecord{});
}

void DeviceRuntime::block_writes(uint64_t run) {
  error_.run = run;
  std::atomic_ref(error_.set).store(1, std::memory_order_release);
}

Ref<const driver::Kernel> DeviceRuntime::kernel(const driver::Source& source) {
  return kernel(source_key(source), source);
}

Ref<const driver::Kernel> DeviceRuntime::kernel(std::string_view key,
                                                const driver::Source& source) {
  {
    std::lock_guard lock(kernels_mutex_);
    if (auto found = find_kernel(key)) return found;
  }
  Ref<const driver::Kernel> built(driver_->build(source).release());  // may take long: no lock
  std::lock_guard lock(kernels_mutex_);
  if (auto found = find_kernel(key)) return found;  // another thread's
  kernels_.push_front({std::string(key), built});
  kernel_at_.emplace(kernels_.front().key, kernels_.begin());
  ++counts_.built;
  shrink_kernels();
  return built;
}

Ref<const driver::Kernel> DeviceRuntime::find_kernel(std::string_view key) {
  const auto it = kernel_at_.find(key);
  if (it == kernel_at_.end()) return nullptr;
  kernels_.splice(kernels_.begin(), kernels_, it->second);
  ++counts_.hits;
  return it->second->kernel;
}

/// Lets go of kernels beyond the limit that nobody holds. Plans that did may still be running.
void DeviceRuntime::shrink_kernels() {
  std::erase_if(leaving_, [&](const auto& l) { return driver_->done(l.first); });
  if (kernels_.size() <= shrink_at_) return;
  const driver::Fence last = last_;
  for (auto it = kernels_.end(); it != kernels_.begin() && kernels_.size() > kernel_limit_;) {
    --it;
    if (it->kernel->use_count() > 1) continue;
    if (!driver_->done(last)) leaving_.emplace_back(last, it->kernel);
    kernel_at_.erase(it->key);
    it = kernels_.erase(it);
    ++counts_.evicted;
  }
  // When most are held, they are not all looked at again for each new one.
  shrink_at_ = std::max(kernel_limit_, kernels_.size() + kernels_.size() / 8);
  if (kernels_.size() <= kernel_limit_) shrink_at_ = kernel_limit_;
}

void DeviceRuntime::set_kernel_limit(size_t kernels) {
  std::lock_guard lock(kernels_mutex_);
  kernel_limit_ = shrink_at_ = kernels;
  shrink_kernels();
}

DeviceRuntime::KernelCounts DeviceRuntime::kernel_counts() const {
  std::lock_guard lock(kernels_mutex_);
  KernelCounts counts = counts_;
  counts.kept = static_cast<int64_t>(kernels_.size());
  return counts;
}

void DeviceRuntime::forget_kernels() {
  std::lock_guard lock(kernels_mutex_);
  kernel_at_.clear();
  kernels_.clear();
  leaving_.clear();
  shrink_at_ = kernel_limit_;
}

void* DeviceRuntime::arena(size_t bytes) {
  if (!arena_ || arena_->bytes() < bytes) {
    arena_ = nullptr;  // first: the new one may take its memory
    arena_ = allocator_.allocate(bytes);
  }
  return arena_->ptr();
}

void DeviceRuntime::synchronize() {
  driver::Fence fence;
  {
    std::lock_guard lock(mutex_);
    fence = last_;
  }
  driver_->wait(fence);
}

namespace {

// The registry of the process. Runtimes are never destroyed: tensors may be released after main.
struct Registry {
  std::mutex mutex;  // around opening
  std::atomic<DeviceRuntime*> runtimes[k_device_type_count] = {};
  bool mps_tried = false;
  std::string mps_refusal;            // why there is no mps
  std::atomic<bool> mps_lost{false};  // in a child of the process that opened it
};

Registry& registry();

// Locks are taken in the order in which the rest of the program nests them: the devices' first,
// then the pool's region (registered before them, so it runs after), the allocators' last.
template <class F>
void each_runtime(F&& f) {
  for (auto& slot : registry().runtimes)
    if (DeviceRuntime* r = slot.load()) f(*r);
}
void lock_devices() {
  registry().mutex.lock();
  each_runtime([](DeviceRuntime& r) { r.mutex().lock(); });
}
void unlock_devices() {
  each_runtime([](DeviceRuntime& r) { r.mutex().unlock(); });
  registry().mutex.unlock();
}
void unlock_devices_in_child() {
  unlock_devices();
  if (registry().runtimes[static_cast<int>(DeviceType::mps)].load()) registry().mps_lost = true;
}
void lock_allocators() {
  each_runtime([](DeviceRuntime& r) { r.allocator().lock_for_fork(); });
}
void unlock_allocators() {
  each_runtime([](DeviceRuntime& r) { r.allocator().unlock_for_fork(); });
}

Registry& registry() {
  static Registry* r = [] {
    pthread_atfork(&lock_allocators, &unlock_allocators, &unlock_allocators);
    ThreadPool::instance();
    pthread_atfork(&lock_devices, &unlock_devices, &unlock_devices_in_child);
    return new Registry;
  }();
  return *r;
}

std::unique_ptr<driver::Driver> open_mps_driver() {
  QS_CHECK(mps_is_built(), DeviceError,
           "the mps device is not in this build: it was configured with QS_MPS=OFF");
  const std::string wanted = env().mps_driver;
  QS_CHECK(wanted != "none", DeviceError, "the mps device is switched off: QS_MPS_DRIVER=none");
  if (!wanted.empty()) {
    try {
      return driver::open_driver(wanted);
    } catch (const DeviceError& e) {
      throw DeviceError(format("QS_MPS_DRIVER={}: {}", wanted, e.what()));
    }
  }
  std::string reasons;
  for (const std::string& name : driver::driver_names()) {
    try {
      return driver::open_driver(name);
    } catch (const DeviceError& e) {
      reasons += format("{}{}: {}", reasons.empty() ? "" : "; ", name, e.what());
      if (log_enabled("driver")) warn(format("driver {} was passed over: {}", name, e.what()));
    }
  }
  throw DeviceError("no driver can open the mps device (" + reasons + ")");
}

}  // namespace

DeviceRuntime* open_device_runtime(DeviceType type) noexcept {
  return registry().runtimes[static_cast<int>(type)].load(std::memory_order_acquire);
}

DeviceRuntime& device_runtime(DeviceType type) {
  Registry& g = registry();
  auto& slot = g.runtimes[static_cast<int>(type)];
  DeviceRuntime* runtime = slot.load(std::memory_order_acquire);
  if (runtime && (type == DeviceType::cpu || !g.mps_lost)) [[likely]]
    return *runtime;
  std::lock_guard lock(g.mutex);
  runtime = slot.load(std::memory_order_acquire);
  if (type == DeviceType::cpu) {
    if (!runtime) slot = runtime = new DeviceRuntime(type, driver::open_driver("cpu"));
    return *runtime;
  }
  QS_CHECK(!g.mps_lost, DeviceError,
           "mps cannot be used in a forked process whose parent had used it: start the process "
           "with the 'spawn' method");
  if (runtime) return *runtime;
  if (!g.mps_tried) {
    g.mps_tried = true;
    try {
      slot = runtime = new DeviceRuntime(type, open_mps_driver());
      return *runtime;
    } catch (const std::exception& e) {
      g.mps_refusal = e.what();
    }
  }
  throw DeviceError(g.mps_refusal);
}

bool mps_is_built() noexcept { return QS_HAS_MPS != 0; }

bool mps_is_available() noexcept {
  try {
    device_runtime(DeviceType::mps);
    return true;
  } catch (...) {
    return false;
  }
}

std::string mps_why_unavailable() noexcept {
  try {
    device_runtime(DeviceType::mps);
    return "";
  } catch (const std::exception& e) {
    return e.what();
  }
}

std::string mps_driver_name() noexcept {
  return mps_is_available() ? device_runtime(DeviceType::mps).info().driver : "";
}

std::string mps_device_name() noexcept {
  return mps_is_available() ? device_runtime(DeviceType::mps).description() : "";
}

void reset_mps_for_tests() {
  Registry& g = registry();
  std::lock_guard lock(g.mutex);
  delete g.runtimes[static_cast<int>(DeviceType::mps)].exchange(nullptr);
  g.mps_tried = false;
  g.mps_refusal.clear();
  reset_env_for_tests();
}

}  // namespace qs
