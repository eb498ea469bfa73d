// Where a helper of the thread pool runs. A system that wakes a thread may put it onto the core of
// whoever woke it, where it only takes time from the thread it should help; on two cores Linux
// does so as a rule, again at each wake.
#pragma once
#include <chrono>

namespace qs {

/// The core this thread is on; -1 where the system does not tell.
int current_core();
/// What `HelperPlace::leave` knows this thread by; -1 where it could not use it.
int current_thread();

/// One helper's, used by its own thread.
class HelperPlace {
 public:
  /// Moves this thread away from `core`, to one that the thread `owner` may run on. False when
  /// there is none, or when others were lately found to be busy: then nothing has changed.
  bool leave(int core, int owner);
  /// Asks whether somebody else wanted the core that `leave` chose. Then this thread may run
  /// anywhere again, and for a while (twice as long each time in a row) `leave` does nothing.
  void look_back();

 private:
  using Clock = std::chrono::steady_clock;
  bool moved_ = false;
  int owner_ = -1;
  long switches_ = 0;  // how often this thread had lost its core when it moved
  Clock::time_point since_, not_before_;
  Clock::duration pause_ = k_least_pause;
  static constexpr auto k_least_pause = std::chrono::milliseconds(10);
  static constexpr auto k_most_pause = std::chrono::seconds(1);
};

}  // namespace qs
