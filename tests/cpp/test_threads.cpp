// Several threads on one device: recording beside runs, shared weights, storages that change hands.
// Run under the thread sanitizer as well (scripts/test --sanitizers).
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "devices.h"
#include "quicksilver/plan/execute.h"
#include "quicksilver/plan/tape.h"
#include "quicksilver/quicksilver.h"

namespace qs {
namespace {

std::vector<float> values(const Tensor& t) {
  std::vector<float> v(static_cast<size_t>(t.numel()));
  t.to_host(v.data());
  return v;
}

template <class F>
void in_threads(int count, F&& f) {
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (int t = 0; t < count; ++t)
    threads.emplace_back([&, t] {
      try {
        f(t);
      } catch (const std::exception& e) {
        ++failures;
        std::fprintf(stderr, "thread %d: %s\n", t, e.what());
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(failures, 0);
}

class Threads : public testing::TestWithParam<DeviceType> {};
INSTANTIATE_TEST_SUITE_P(Devices, Threads, testing::ValuesIn(test_devices()), [](const auto& info) {
  return std::string(info.param == DeviceType::mps ? "mps" : "cpu");
});

TEST_P(Threads, ShareWeights) {
  const DeviceType device = GetParam();
  const Tensor w = full(Dims{16, 16}, 0.01, device), b = full(Dims{16}, 0.5, device);
  const auto forward = [&](double x) {
    Tensor h = full(Dims{4, 16}, x, device);
    for (int i = 0; i < 5; ++i) h = tanh(matmul(h, w) + b);
    return values(h)[3];
  };
  const float want[] = {forward(0), forward(1), forward(2), forward(3)};
  const int64_t before = plan::stats(device).plans_built;
  in_threads(4, [&](int t) {
    for (int i = 0; i < 50; ++i) EXPECT_EQ(forward(t), want[t]);
  });
  EXPECT_EQ(plan::stats(device).plans_built, before);  // nobody's tape was cut by another one
}

TEST_P(Threads, WritesMeetReads) {
  const DeviceType device = GetParam();
  const Tensor w = full(Dims{64}, 0.0, device);
  std::atomic<bool> stop{false};
  in_threads(3, [&](int t) {
    if (t == 0) {
      for (int i = 0; i < 200; ++i) w.add_(full(Dims{64}, 1.0, device));
      stop = true;
      return;
    }
    float last = 0;
    while (!stop) {
      const std::vector<float> v = values(w * 1.0);
      for (float x : v) ASSERT_EQ(x, v[0]);  // no update is seen half done
      ASSERT_GE(v[0], last);
      last = v[0];
    }
  });
  EXPECT_EQ(values(w)[0], 200);
}

TEST_P(Threads, TensorsChangeHands) {
  const DeviceType device = GetParam();
  constexpr int k_turns = 60;
  std::mutex mutex;
  std::vector<Tensor> queue;  // made and not yet run
  std::atomic<int> taken{0};
  float total = 0;
  in_threads(3, [&](int t) {
    if (t < 2) {
      for (int i = 0; i < k_turns; ++i) {
        const Tensor x = full(Dims{8}, double(i), device) * 2.0;
        const std::lock_guard lock(mutex);
        queue.push_back(x);
      }
      return;
    }
    Tensor sum = full(Dims{8}, 0.0, device);
    while (taken < 2 * k_turns) {
      Tensor x;
      {
        const std::lock_guard lock(mutex);
        if (queue.empty()) continue;
        x = queue.back();
        queue.pop_back();
      }
      sum = sum + x;
      ++taken;
    }
    total = values(sum)[0];
  });
  EXPECT_EQ(total, 2 * k_turns * (k_turns - 1));
}

TEST_P(Threads, ThatEndLeaveTheirTapes) {
  const DeviceType device = GetParam();
  std::vector<Tensor> made(3);
  for (size_t i = 0; i < 3; ++i)
    std::thread([&] { made[i] = full(Dims{4}, static_cast<double>(i), device) + 1.0; }).join();
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(values(made[i])[2], static_cast<float>(i) + 1);
}

TEST_P(Threads, EachMeetsItsOwnError) {
  const DeviceType device = GetParam();
  const Tensor table = full(Dims{4, 3}, 1.5, device);
  in_threads(3, [&](int t) {
    for (int i = 0; i < 30; ++i) {
      if (t == 0) {
        const Tensor bad = full(Dims{2}, 7, Options(DType::i64, device));
        bool raised = false;
        try {
          values(index_select(table, 0, bad));
        } catch (const IndexError&) {
          raised = true;
        }
        EXPECT_TRUE(raised);
      } else {
        try {
          EXPECT_EQ(values(table * 2.0)[5], 3);
        } catch (const IndexError&) {  // a read raises whatever waits with its device
          EXPECT_EQ(device, DeviceType::mps);
        }
      }
    }
  });
}

#if QS_HAS_MPS
// While one thread's plan runs, another one records.
TEST(ThreadsBeside, RecordingGoesOnDuringARun) {
  constexpr DeviceType device = DeviceType::mps;
  const Tensor big = full(Dims{700, 700}, 0.001, device), x = full(Dims{4}, 1.0, device);
  synchronize(device);
  bool beside = false;
  for (int attempt = 0; attempt < 20 && !beside; ++attempt) {
    std::atomic<bool> running{false}, over{false};
    std::thread other([&] {
      Tensor y = big;
      for (int i = 0; i < 6; ++i) y = matmul(y, big);
      running = true;
      values(y);
      over = true;
    });
    while (!running) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    Tensor y = x;
    for (int i = 0; i < 100; ++i) y = y + 1.0;
    beside = !over;
    other.join();
    EXPECT_EQ(values(y)[0], 101);
  }
  EXPECT_TRUE(beside);
}
#endif

}  // namespace
}  // namespace qs
