// How a job is published: its pieces are dealt out in shares, one a thread, and all that is needed
// to take a piece of a share is one 64-bit word,
//   number of the job (32 bits) | end of the share (16 bits) | next piece (16 bits)
// and a piece is taken by adding one to it. Whoever gets next < end owns that piece of exactly the
// job whose number the word had: the job cannot end, and its fields cannot change, before the piece
// is counted in `done`. Whoever gets next >= end has touched nothing. So a helper that comes late
// finds either the present job or nothing, and the caller never waits for it.
//
// A thread takes its own share first, then what is left of the others. So in one command after the
// other a thread gets the same part of the memory, and finds it in its core's caches.
#include "quicksilver/core/thread_pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "quicksilver/core/cpu_info.h"
#include "quicksilver/core/env.h"
#include "quicksilver/core/error.h"
#include "quicksilver/core/helper_place.h"

namespace qs {
namespace {

constexpr int k_max_threads = 1024;
constexpr int k_pieces_per_thread = 8;
constexpr int k_spin_in_region =
    2000;  // pauses, about 20 us: commands of one program follow closely
// Between regions: waking a sleeper takes as long as a small op, so a helper that was lately in
// demand stays for some 100 us. Each time that nothing came meanwhile it stays half as long, down
// to some 15 us: the core may be wanted by somebody else. A sleep is short when it ended within a
// millisecond, the time that waking takes (100 us and more on a virtual machine) included.
constexpr int k_spin_outside = 800, k_most_spins_outside = 6400;
constexpr auto k_short_sleep = std::chrono::milliseconds(1);
constexpr int k_spin_wait = 500;    // before the caller offers its core to a helper that lost one
constexpr int k_spins_a_look = 16;  // spins between two looks at where the caller runs
constexpr int k_jobs_a_look = 256;  // jobs between two at whether the core is wanted by others

void pause_core() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

uint32_t next_of(uint64_t word) { return word & 0xffff; }
uint32_t end_of(uint64_t word) { return (word >> 16) & 0xffff; }
bool has_pieces(uint64_t word) { return next_of(word) < end_of(word); }

struct alignas(64) Share {
  std::atomic<uint64_t> word{0};
};

}  // namespace

struct ThreadPool::State {
  alignas(64) std::atomic<uint32_t> published{0};  // the last job's number
  alignas(64) std::atomic<uint32_t> done{0};
  // The job; written by the region's owner between jobs.
  alignas(64) const Body* body = nullptr;
  int64_t chunks = 0, pieces = 0;
  std::vector<Share> shares;  // by thread; made before the helpers
  std::atomic<bool> failed{false};
  std::exception_ptr error;  // written by whoever set `failed`
  // Sleeping and waking.
  alignas(64) std::atomic<int> sleepers{0};
  std::atomic<uint32_t> calls{0};  // counts calls to get up without a job
  std::atomic<bool> open{false};   // a region of several commands is open
  std::atomic<int> core{-1};       // where its owner last ran
  std::atomic<int> owner{-1};      // that thread
  std::atomic<bool> stop{false};
  std::mutex sleep_mutex;
  std::condition_variable wake;

  std::mutex region;  // held by the owner of the helpers
  std::atomic<int> threads{1};
  std::vector<std::thread> helpers;  // started at first need; changed under `region`

  void say_where() {
    core.store(current_core(), std::memory_order_relaxed);
    owner.store(current_thread(), std::memory_order_relaxed);
  }

  void wake_helpers(int count) {
    if (sleepers.load() == 0) return;
    {
      std::lock_guard lock(sleep_mutex);
    }
    if (count >= static_cast<int>(helpers.size())) {
      wake.notify_all();
    } else {
      for (int i = 0; i < count; ++i) wake.notify_one();
    }
  }

  void start_helpers() {
    const int wanted = threads.load(std::memory_order_relaxed) - 1;
    if (static_cast<int>(helpers.size()) == wanted) return;
    if (helpers.empty()) shares = std::vector<Share>(static_cast<size_t>(wanted) + 1);
    sigset_t all, old;  // signals are for the program's own threads
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    try {
      while (static_cast<int>(helpers.size()) < wanted) {
        const int worker = static_cast<int>(helpers.size()) + 1;
        helpers.emplace_back([this, worker] { help(*this, worker); });
      }
    } catch (const std::system_error&) {  // the system gives no more threads: use what is there
      threads = static_cast<int>(helpers.size()) + 1;
    }
    pthread_sigmask(SIG_SETMASK, &old, nullptr);
  }

  void stop_helpers() {
    {
      std::lock_guard lock(sleep_mutex);
      stop = true;
    }
    wake.notify_all();
    for (std::thread& t : helpers) t.join();
    helpers.clear();
    stop = false;
  }
};

struct ThreadPool::ThreadLocal {
  Region* region = nullptr;
  bool in_body = false;
  bool locked_for_fork = false;
};

ThreadPool::ThreadLocal& ThreadPool::local() {
  static thread_local ThreadLocal l;
  return l;
}

ThreadPool::ThreadPool() : state_(new State) {
  state_->threads = env().num_threads > 0 ? env().num_threads : cpu_info().cores;
  pthread_atfork(&fork_prepare, &fork_parent, &fork_child);
}

ThreadPool& ThreadPool::instance() {
  static ThreadPool* pool = new ThreadPool;
  return *pool;
}

int ThreadPool::threads() const noexcept { return state_->threads.load(std::memory_order_relaxed); }

void ThreadPool::set_threads(int threads) {
  QS_CHECK(threads >= 1 && threads <= k_max_threads, ValueError,
           "the number of threads must be from 1 to {}, got {}", k_max_threads, threads);
  QS_CHECK(!local().region && !local().in_body, ValueError,
           "the number of threads cannot change while a parallel region runs");
  std::lock_guard lock(state_->region);
  if (threads == state_->threads) return;
  state_->stop_helpers();
  state_->threads = threads;
}

void ThreadPool::take_pieces(State& s, int worker) {
  const size_t count = s.shares.size();
  for (size_t k = 0; k < count; ++k) {
    std::atomic<uint64_t>& share = s.shares[(static_cast<size_t>(worker) + k) % count].word;
    while (has_pieces(share.load(std::memory_order_relaxed))) {
      const uint64_t word = share.fetch_add(1, std::memory_order_acq_rel);
      if (!has_pieces(word)) break;
      if (!s.failed.load(std::memory_order_relaxed)) {
        const int64_t piece = next_of(word);
        try {
          (*s.body)(piece* s.chunks / s.pieces, (piece + 1) * s.chunks / s.pieces, worker);
        } catch (...) {
          if (!s.failed.exchange(true)) s.error = std::current_exception();
        }
      }
      s.done.fetch_add(1, std::memory_order_release);
    }
  }
}

void ThreadPool::help(State& s, int worker) {
  local().in_body = true;  // whatever a chunk calls runs in its own thread
  int patience = k_most_spins_outside;
  HelperPlace place;
  uint32_t jobs = 0, seen = 0;
  while (!s.stop.load(std::memory_order_relaxed)) {
    int spins = 0;
    const uint32_t calls = s.calls.load();
    for (;;) {
      if (const uint32_t job = s.published.load(std::memory_order_acquire); job != seen) {
        seen = job;
        take_pieces(s, worker);
        if (spins > k_spin_outside) patience = k_most_spins_outside;
        spins = 0;
        if (++jobs % k_jobs_a_look == 0) place.look_back();
      }
      const bool open = s.open.load(std::memory_order_relaxed);
      if (++spins > (open ? std::max(k_spin_in_region, patience) : patience)) {
        patience = std::max(patience / 2, k_spin_outside);
        break;
      }
      // A woken helper may land on the caller's own core: spinning would only keep the caller
      // from it.
      if (spins % k_spins_a_look == 1) {
        const int core = current_core();
        if (core >= 0 && core == s.core.load(std::memory_order_relaxed) &&
            !place.leave(core, s.owner.load(std::memory_order_relaxed)))
          break;
      }
      pause_core();
    }
    place.look_back();
    std::unique_lock lock(s.sleep_mutex);
    s.sleepers.fetch_add(1);
    const auto asleep = std::chrono::steady_clock::now();
    s.wake.wait(lock, [&] { return s.stop || s.published != seen || s.calls != calls; });
    s.sleepers.fetch_sub(1);
    if (std::chrono::steady_clock::now() - asleep < k_short_sleep) patience = k_most_spins_outside;
  }
}

void ThreadPool::parallel_for(int64_t chunks, Body body) {
  if (chunks <= 0) return;
  ThreadLocal& l = local();
  State& s = *state_;
  if (chunks == 1 || l.in_body || s.threads.load(std::memory_order_relaxed) == 1 ||
      (l.region && !l.region->owned_)) {
    body(0, chunks, 0);
    return;
  }
  if (!l.region) {
    Region region(Region::single);
    parallel_for(chunks, body);
    return;
  }
  s.start_helpers();
  const int threads = s.threads.load(std::memory_order_relaxed);
  const uint32_t pieces =
      static_cast<uint32_t>(std::min<int64_t>(chunks, threads * k_pieces_per_thread));
  s.body = &body;
  s.chunks = chunks;
  s.pieces = pieces;
  s.done.store(0, std::memory_order_relaxed);
  s.say_where();
  const uint32_t job = s.published.load(std::memory_order_relaxed) + 1;
  for (uint64_t t = 0, first = 0; t < static_cast<uint64_t>(threads); ++t) {
    const uint64_t end = (t + 1) * pieces / static_cast<uint64_t>(threads);
    s.shares[t].word.store(uint64_t{job} << 32 | end << 16 | first, std::memory_order_release);
    first = end;
  }
  s.published.store(job);
  s.wake_helpers(static_cast<int>(pieces) - 1);

  l.in_body = true;
  take_pieces(s, 0);
  l.in_body = false;
  for (int spins = 0; s.done.load(std::memory_order_acquire) != pieces; ++spins) {
    if (spins < k_spin_wait) {
      pause_core();
    } else {
      sched_yield();
    }
  }
  if (s.failed.load(std::memory_order_relaxed)) [[unlikely]] {
    s.failed = false;
    std::rethrow_exception(std::exchange(s.error, nullptr));
  }
}

ThreadPool::Region::Region(bool wake) { enter(wake, true); }
ThreadPool::Region::Region(Single) { enter(false, false); }

void ThreadPool::Region::enter(bool wake, bool several) {
  ThreadLocal& l = local();
  if (l.region || l.in_body) return;
  State& s = *instance().state_;
  outermost_ = true;
  l.region = this;
  if (!s.region.try_lock()) return;
  owned_ = &s;
  s.say_where();
  if (several) s.open.store(true, std::memory_order_relaxed);
  if (wake && s.threads.load(std::memory_order_relaxed) > 1) {
    s.start_helpers();
    if (s.sleepers.load() != 0) {
      s.calls.fetch_add(1);
      s.wake_helpers(static_cast<int>(s.helpers.size()));
    }
  }
}

ThreadPool::Region::~Region() {
  if (!outermost_) return;
  local().region = nullptr;
  State* s = instance().state_;
  if (owned_ != s) return;  // alone, or in a child forked since
  s->open.store(false, std::memory_order_relaxed);
  s->region.unlock();
}

// A fork waits for the region of another thread, so that no job is half done in the child; inside
// the forking thread's own region there is nothing to wait for.
void ThreadPool::fork_prepare() {
  ThreadLocal& l = local();
  l.locked_for_fork = !l.region && !l.in_body;
  if (l.locked_for_fork) instance().state_->region.lock();
}

void ThreadPool::fork_parent() {
  if (local().locked_for_fork) instance().state_->region.unlock();
}

void ThreadPool::fork_child() {
  fork_parent();
  local() = ThreadLocal{};
  instance().state_ = new State;  // the old one is abandoned with the threads it spoke of
}

}  // namespace qs
