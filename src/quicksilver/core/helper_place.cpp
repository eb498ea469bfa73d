#include "quicksilver/core/helper_place.h"

#include <algorithm>

#if defined(__linux__)
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>
#endif

namespace qs {

#if defined(__linux__)
namespace {

// The system's own short work takes a core some fifty times a second; a second busy program does
// so every few milliseconds.
constexpr auto k_between_switches = std::chrono::milliseconds(20);

// How often this thread lost its core to another.
long lost_cores() {
  rusage usage{};
  return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nivcsw : 0;
}

}  // namespace

int current_core() { return sched_getcpu(); }

int current_thread() {
  static thread_local const int id = gettid();
  return id;
}

bool HelperPlace::leave(int core, int owner) {
  if (owner < 0 || core < 0 || core >= CPU_SETSIZE || Clock::now() < not_before_) return false;
  cpu_set_t allowed;
  if (sched_getaffinity(owner, sizeof allowed, &allowed) != 0) return false;
  CPU_CLR(static_cast<size_t>(core), &allowed);
  if (CPU_COUNT(&allowed) == 0 || sched_setaffinity(0, sizeof allowed, &allowed) != 0) return false;
  if (!moved_) {
    since_ = Clock::now();
    switches_ = lost_cores();
  }
  moved_ = true;
  owner_ = owner;
  return true;
}

void HelperPlace::look_back() {
  if (!moved_) return;
  const auto now = Clock::now();
  const long lost = lost_cores() - switches_;
  if (lost <= (now - since_) / k_between_switches) {
    pause_ = k_least_pause;
    return;
  }
  cpu_set_t allowed;
  if (sched_getaffinity(owner_, sizeof allowed, &allowed) == 0)
    sched_setaffinity(0, sizeof allowed, &allowed);
  moved_ = false;
  not_before_ = now + pause_;
  pause_ = std::min<Clock::duration>(2 * pause_, k_most_pause);
}

#else

int current_core() { return -1; }
int current_thread() { return -1; }
bool HelperPlace::leave(int, int) { return false; }
void HelperPlace::look_back() {}

#endif

}  // namespace qs
