// The thread pool: every chunk once, exceptions, nesting, two users, changes of size, fork.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "quicksilver/core/error.h"
#include "quicksilver/core/helper_place.h"
#include "quicksilver/core/thread_pool.h"

namespace qs {
namespace {

struct ThreadsScope {
  const int before = ThreadPool::instance().threads();
  ~ThreadsScope() { ThreadPool::instance().set_threads(before); }
};

void every_chunk_once(int64_t chunks) {
  ThreadPool& pool = ThreadPool::instance();
  std::vector<std::atomic<int>> seen(static_cast<size_t>(chunks));
  std::atomic<bool> good{true};
  const int threads = pool.threads();
  pool.parallel_for(chunks, [&](int64_t first, int64_t last, int worker) {
    if (worker < 0 || worker >= threads || first >= last) good = false;
    for (int64_t i = first; i < last; ++i) ++seen[static_cast<size_t>(i)];
  });
  EXPECT_TRUE(good);
  for (const auto& count : seen) ASSERT_EQ(count, 1);
}

TEST(Pool, EveryChunkOnce) {
  ThreadsScope scope;
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool::instance().set_threads(threads);
    for (int64_t chunks : {0, 1, 2, 3, 7, 16, 17, 1000, 100000}) every_chunk_once(chunks);
    ThreadPool::Region region(true);
    for (int round = 0; round < 2000; ++round) every_chunk_once(1 + round % 40);
  }
}

TEST(Pool, ExceptionsReachTheCallerAndThePoolStaysUsable) {
  ThreadsScope scope;
  ThreadPool& pool = ThreadPool::instance();
  pool.set_threads(4);
  for (int round = 0; round < 200; ++round) {
    std::atomic<int> running{0};
    EXPECT_THROW(pool.parallel_for(64,
                                   [&](int64_t first, int64_t last, int) {
                                     ++running;
                                     for (int64_t i = first; i < last; ++i)
                                       if (i == 17) throw ValueError("seventeen");
                                     --running;
                                   }),
                 ValueError);
    EXPECT_LE(running, 1);  // nobody is still inside but the one who threw
    every_chunk_once(64);
  }
}

TEST(Pool, NestedCallsRunWhereTheyAre) {
  ThreadsScope scope;
  ThreadPool& pool = ThreadPool::instance();
  pool.set_threads(4);
  std::atomic<int64_t> sum{0};
  pool.parallel_for(50, [&](int64_t first, int64_t last, int) {
    const auto self = std::this_thread::get_id();
    for (int64_t i = first; i < last; ++i)
      pool.parallel_for(20, [&](int64_t a, int64_t b, int) {
        EXPECT_EQ(self, std::this_thread::get_id());
        sum += b - a;
      });
    ThreadPool::Region inner;
  });
  EXPECT_EQ(sum, 1000);
}

TEST(Pool, TwoUsersAtOnce) {
  ThreadsScope scope;
  ThreadPool::instance().set_threads(3);
  std::vector<std::thread> users;
  for (int u = 0; u < 4; ++u)
    users.emplace_back([] {
      for (int round = 0; round < 300; ++round) {
        ThreadPool::Region region(round % 2 == 0);
        for (int i = 0; i < 3; ++i) every_chunk_once(37);
      }
    });
  for (std::thread& u : users) u.join();
}

TEST(Pool, SizeHasBounds) {
  ThreadsScope scope;
  ThreadPool& pool = ThreadPool::instance();
  EXPECT_THROW(pool.set_threads(0), ValueError);
  EXPECT_THROW(pool.set_threads(100000), ValueError);
  ThreadPool::Region region;
  EXPECT_THROW(pool.set_threads(2), ValueError);
}

TEST(Pool, OneChunkWakesNobody) {
  ThreadsScope scope;
  ThreadPool& pool = ThreadPool::instance();
  pool.set_threads(2);
  const auto self = std::this_thread::get_id();
  for (int i = 0; i < 100; ++i)
    pool.parallel_for(1, [&](int64_t, int64_t, int worker) {
      EXPECT_EQ(worker, 0);
      EXPECT_EQ(self, std::this_thread::get_id());
    });
}

#if defined(__linux__)
TEST(Pool, AHelperLeavesTheCoreOfItsCaller) {
  cpu_set_t allowed;
  ASSERT_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
  const bool another = CPU_COUNT(&allowed) > 1;
  const int caller = current_thread();
  std::thread([&] {
    HelperPlace place;
    for (int round = 0; round < 20; ++round) {
      const int core = current_core();
      ASSERT_EQ(place.leave(core, caller), another);
      if (!another) return;
      EXPECT_NE(current_core(), core);
      place.look_back();
    }
    EXPECT_FALSE(place.leave(-1, caller));
    EXPECT_FALSE(place.leave(current_core(), -1));
  }).join();
}

TEST(Pool, AHelperThatLostItsCoreMayRunAnywhereForAWhile) {
  cpu_set_t allowed;
  ASSERT_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
  if (CPU_COUNT(&allowed) != 2) GTEST_SKIP() << "says something on two cores only";
  const int caller = current_thread();
  std::thread([&] {
    HelperPlace place;
    ASSERT_TRUE(place.leave(current_core(), caller));
    std::atomic<bool> stop{false};
    std::vector<std::thread> busy;  // more of them than cores
    for (int i = 0; i < 3; ++i)
      busy.emplace_back([&] {
        while (!stop) continue;
      });
    const auto start = std::chrono::steady_clock::now();
    cpu_set_t now;
    do {
      place.look_back();
      ASSERT_EQ(sched_getaffinity(0, sizeof now, &now), 0);
    } while (CPU_COUNT(&now) == 1 &&
             std::chrono::steady_clock::now() - start < std::chrono::seconds(5));
    EXPECT_EQ(CPU_COUNT(&now), 2);
    EXPECT_FALSE(place.leave(current_core(), caller));
    stop = true;
    for (std::thread& t : busy) t.join();
  }).join();
}
#endif

TEST(Pool, WorksAfterFork) {
  ThreadsScope scope;
  ThreadPool& pool = ThreadPool::instance();
  pool.set_threads(3);
  every_chunk_once(100);
  std::atomic<bool> stop{false};
  std::thread busy([&] {  // fork waits for its regions to end
    while (!stop) pool.parallel_for(64, [](int64_t, int64_t, int) {});
  });
  for (int round = 0; round < 20; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      std::atomic<int64_t> sum{0};
      const bool one = pool.threads() == 1;
      pool.parallel_for(64, [&](int64_t first, int64_t last, int) { sum += last - first; });
#if !defined(__SANITIZE_THREAD__)  // which forbids new threads here
      pool.set_threads(2);
#endif
      pool.parallel_for(64, [&](int64_t first, int64_t last, int) { sum += last - first; });
      _exit(one && sum == 128 ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  stop = true;
  busy.join();
  every_chunk_once(100);
}

}  // namespace
}  // namespace qs
