// The device object: its driver, allocator, generator, kernels, arena and error record.
#pragma once
#include <algorithm>
#include <atomic>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "quicksilver/core/device.h"
#include "quicksilver/core/export.h"
#include "quicksilver/driver/driver.h"
#include "quicksilver/runtime/allocator.h"
#include "quicksilver/runtime/generator.h"

namespace qs {

/// One for each device type; lives as long as the process.
class QS_API DeviceRuntime {
 public:
  DeviceRuntime(DeviceType type, std::unique_ptr<driver::Driver> driver);
  ~DeviceRuntime();
  DeviceRuntime(const DeviceRuntime&) = delete;
  DeviceRuntime& operator=(const DeviceRuntime&) = delete;

  DeviceType type() const { return type_; }
  driver::Driver& driver() { return *driver_; }
  const driver::DriverInfo& info() const { return driver_->info(); }
  /// "cpu: AMD EPYC (AVX-512), 2 threads"
  std::string description() const { return info().driver + ": " + info().name; }
  Allocator& allocator() { return allocator_; }
  Generator& generator() { return generator_; }
  /// Held while one thread submits, replays or changes the arena; free for the runtime's users.
  std::mutex& mutex() { return mutex_; }

  /// Where kernels report data they refuse (host memory): the `error` of every Launch.
  driver::ErrorRecord* error_record() { return &error_; }
  /// Whether the record is set. While it is, predicated commands are skipped.
  bool failed() const {
    return std::atomic_ref(const_cast<int32_t&>(error_.set)).load(std::memory_order_acquire) != 0;
  }
  /// Sets the record for a failure that the host has met, in the name of run `run`.
  void block_writes(uint64_t run);
  /// The record, which is cleared; `set` is 0 when nothing was reported. Waits for nothing.
  driver::ErrorRecord take_error();

  /// The built kernel for `source`; built when it is not kept. Throws what Driver::build throws.
  /// Hold it as long as a command names it.
  Ref<const driver::Kernel> kernel(const driver::Source& source);
  /// The same for a caller who has a unique key already; equal keys must mean equal sources.
  Ref<const driver::Kernel> kernel(std::string_view key, const driver::Source& source);
  struct KernelCounts {
    int64_t built = 0, hits = 0, evicted = 0;
    int64_t kept = 0;  // now
  };
  KernelCounts kernel_counts() const;
  /// How many kernels are kept (k_most_kernels at first). Those that nobody has asked for longest
  /// go first; those that somebody holds stay, and may be more.
  void set_kernel_limit(size_t kernels);
  static constexpr size_t k_most_kernels = 2048;
  /// Frees all kernels, for tests: no plan may name one any more.
  void forget_kernels();

  /// The one arena block, at least `bytes` long; grows, content is lost when it does. Call it with
  /// mutex() held, and use it until the next submit has returned.
  void* arena(size_t bytes);
  size_t arena_bytes() const { return arena_ ? arena_->bytes() : 0; }
  /// Gives it up, for want of memory. mutex() held.
  void drop_arena() { arena_ = nullptr; }

  /// Remembers the last piece of submitted work, for synchronize().
  void submitted(driver::Fence fence) { last_ = std::max(fence, last_.load()); }
  /// Waits for all submitted work.
  void synchronize();

 private:
  struct KeptKernel {
    std::string key;
    Ref<const driver::Kernel> kernel;
  };
  Ref<const driver::Kernel> find_kernel(std::string_view key);
  void shrink_kernels();
  DeviceType type_;
  std::unique_ptr<driver::Driver> driver_;
  Allocator allocator_;
  Generator generator_;
  std::mutex mutex_;
  driver::ErrorRecord error_;
  mutable std::mutex kernels_mutex_;
  std::list<KeptKernel> kernels_;  // the last one asked for comes first
  std::unordered_map<std::string_view, std::list<KeptKernel>::iterator> kernel_at_;
  size_t kernel_limit_ = k_most_kernels, shrink_at_ = k_most_kernels;
  /// Evicted, with the last work that may run them.
  std::vector<std::pair<driver::Fence, Ref<const driver::Kernel>>> leaving_;
  KernelCounts counts_;
  Ref<Block> arena_;
  std::atomic<driver::Fence> last_ = 0;
};

/// Opens the device at the first use. Throws DeviceError for an mps that is not built or not there,
/// with the sentence that says why, and, in a forked child, for an mps that the parent had opened.
QS_API DeviceRuntime& device_runtime(DeviceType type);
/// The device when it is open already, else null.
QS_API DeviceRuntime* open_device_runtime(DeviceType type) noexcept;

/// The library was compiled with the mps device.
QS_API bool mps_is_built() noexcept;
/// A driver can open mps here, now (it does so at the first call).
QS_API bool mps_is_available() noexcept;
/// Why not, in one sentence; "" when it is available.
QS_API std::string mps_why_unavailable() noexcept;
/// "cpu", "cuda", "metal"; "" when there is none.
QS_API std::string mps_driver_name() noexcept;
/// DeviceRuntime::description, "" when there is none.
QS_API std::string mps_device_name() noexcept;

/// Closes mps (the caller holds none of its blocks or kernels) and reads the environment again.
QS_API void reset_mps_for_tests();

/// A canonical text of a source: equal exactly when the sources are.
std::string source_key(const driver::Source& source);

}  // namespace qs
