#include "quicksilver/plan/turn.h"

#include <pthread.h>
#include <sched.h>

#include "quicksilver/runtime/device.h"

namespace qs::plan {
namespace {

struct Locks {
  std::mutex execution[k_device_type_count];
  RecordingMutex recording;
  Handover handovers[k_device_type_count];
};

Locks& locks();
void lock_all() {
  for (std::mutex& m : locks().execution) m.lock();
  locks().recording.lock();
}
void unlock_all() {
  locks().recording.unlock();
  for (std::mutex& m : locks().execution) m.unlock();
}

Locks& locks() {
  // A fork waits for the plans of other threads, and the child finds every tape whole. The runtime
  // registers first, so that its locks are taken behind these.
  static Locks* l = [] {
    open_device_runtime(DeviceType::cpu);
    pthread_atfork(&lock_all, &unlock_all, &unlock_all);
    return new Locks;
  }();
  return *l;
}

InterpreterLock g_interpreter;

void* let_go() { return g_interpreter.release ? g_interpreter.release() : nullptr; }

}  // namespace

void set_interpreter_lock(InterpreterLock functions) { g_interpreter = functions; }

RecordingMutex& recording_mutex() { return locks().recording; }

void RecordingMutex::wait() noexcept {
  constexpr int k_spins = 100;  // then the holder has probably lost its core
  do {
    for (int spins = 0; held_.load(std::memory_order_relaxed); ++spins)
      if (spins >= k_spins) sched_yield();
  } while (held_.exchange(true, std::memory_order_acquire));
}

Handover& handover(DeviceType device) { return locks().handovers[static_cast<int>(device)]; }

void Handover::wait(uint32_t seen) noexcept {
  void* released = let_go();
  count_.wait(seen, std::memory_order_acquire);
  if (released) g_interpreter.acquire(released);
}

void Handover::announce() noexcept {
  count_.fetch_add(1, std::memory_order_release);
  count_.notify_all();
}

Turn::Turn(DeviceType device, bool whole) : mutex_(locks().execution[static_cast<int>(device)]) {
  if (!whole && mutex_.try_lock()) return;
  released_ = let_go();
  mutex_.lock();
}

Turn::~Turn() {
  mutex_.unlock();
  if (released_) g_interpreter.acquire(released_);
}

}  // namespace qs::plan
