// The locks of this room, and their order.
//
//   execution   one for each device type; held while a recording is planned and run, and whenever
//               runs under way are looked at. Plans, their caches and their scratch belong to it.
//   recording   one for the process; held for well under a microsecond, while a node is appended, a
//               recording changes hands or results are handed out. It guards all tapes and the tape
//               fields of all contents.
//
// The execution lock is taken first. Under the recording lock nothing waits, calls Python, or runs
// a callback; under either nothing takes the interpreter's lock. So one thread records while
// another one's plan runs, and whoever waits for a turn lets go of the interpreter's lock until it
// is over.
#pragma once
#include <atomic>
#include <mutex>

#include "quicksilver/core/device.h"
#include "quicksilver/core/export.h"

namespace qs::plan {

/// Holds the execution lock of a device.
class QS_API Turn {
 public:
  /// Lets go of the interpreter's lock for the turn; with `whole` false only when it must wait.
  explicit Turn(DeviceType device, bool whole = true);
  ~Turn();
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  std::mutex& mutex_;
  void* released_ = nullptr;  // the interpreter's lock
};

/// A lock that is held for some tens of nanoseconds: spins, then yields.
class QS_API RecordingMutex {
 public:
  void lock() noexcept {
    if (held_.exchange(true, std::memory_order_acquire)) [[unlikely]]
      wait();
  }
  void unlock() noexcept { held_.store(false, std::memory_order_release); }

 private:
  void wait() noexcept;
  std::atomic<bool> held_{false};
};
QS_API RecordingMutex& recording_mutex();

/// Where a thread waits that wants to record a use of what another one has begun to run: the values
/// get their blocks while the run is being prepared.
class QS_API Handover {
 public:
  /// Read it under the recording lock, beside whatever shows that there is something to wait for.
  uint32_t count() const noexcept { return count_.load(std::memory_order_acquire); }
  /// Waits, without the interpreter's lock, until `announce` has been called since count() was
  /// `seen`.
  void wait(uint32_t seen) noexcept;
  void announce() noexcept;

 private:
  std::atomic<uint32_t> count_{0};
};
QS_API Handover& handover(DeviceType device);

/// How the interpreter's lock is let go and taken back; Python installs its own. `release` gives
/// null when this thread does not hold it.
struct InterpreterLock {
  void* (*release)() = nullptr;
  void (*acquire)(void*) = nullptr;
};
QS_API void set_interpreter_lock(InterpreterLock functions);

}  // namespace qs::plan
