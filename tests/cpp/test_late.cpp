// A driver that works behind our back: order, memory, back-pressure, segments.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "plan_harness.h"

namespace qs::test {
namespace {

size_t under_way() {
  const plan::Turn turn(DeviceType::mps);
  return plan::flight_of(DeviceType::mps).size();
}

/// Values made, dropped and overwritten over many plans; the last ones are read.
std::vector<double> churn(const char* driver) {
  Program p(driver);
  T x = p.random({300}), w = p.random({300}, 2);
  std::vector<T> held;
  for (int i = 0; i < 40; ++i) {
    T y = p.binary(Op::mul, x, 0.9 + 0.01 * i);
    T z = p.binary(Op::add, p.unary(Op::square, y), w);
    p.update(Op::add, w, p.binary(Op::mul, z, 0.001));
    if (i % 3 == 0) held.push_back(z);
    if (i % 5 == 4) held.erase(held.begin());
    if (i % 2) p.cut();
  }
  std::vector<double> all = p.read(w);
  for (const T& t : held)
    for (double v : p.read(t)) all.push_back(v);
  return all;
}

TEST(Late, SameValuesAsAtOnce) {
  driver::set_late_orders({200, false});
  const auto late = churn("late:cpu");
  EXPECT_EQ(late, churn("cpu"));
}

TEST(Late, TwoRunsUnderWayAreTheMost) {
  Program p("late:cpu");
  T x = p.random({10});
  p.read(x);
  driver::set_late_orders({0, true});
  std::atomic<int> cuts{0};
  std::vector<T> y;
  std::thread recorder([&] {
    for (int i = 0; i < 4; ++i) {
      y.push_back(p.binary(Op::add, x, i));
      p.cut();
      ++cuts;
    }
  });
  while (cuts < 2) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  EXPECT_EQ(cuts, 2);  // the third waits for the first
  driver::set_late_orders({0, false});
  recorder.join();
  EXPECT_LE(under_way(), 2u);
  const auto vx = p.read(x);
  for (size_t i = 0; i < 4; ++i)
    EXPECT_FLOAT_EQ(p.read(y[i])[3], static_cast<float>(vx[3] + static_cast<double>(i)));
  EXPECT_EQ(under_way(), 0u);
}

TEST(Late, ABlockIsUsedAgainOnlyInOrder) {
  Program p("late:cpu");
  T x = p.random({1 << 14});
  const auto vx = p.read(x);
  driver::set_late_orders({0, true});
  T sum;
  {
    T y = p.binary(Op::mul, x, 2.0);
    p.cut();
    sum = p.reduce(Op::sum, y, 1);
    p.cut();
  }  // y dies before anything has run; its block is free
  T other = p.make({1 << 14}, std::vector<double>(1 << 14, 1e9));  // may take it
  driver::set_late_orders({0, false});
  double want = 0;
  for (double v : vx) want += 2 * v;
  EXPECT_NEAR(p.read(sum)[0], want, 1e-2);
  EXPECT_EQ(p.read(other)[0], 1e9);
}

TEST(Late, LongPlansGoOutInSegments) {
  Program p("late:record:cpu");
  plan::set_unfused(true);
  T x = p.random({16});
  for (int run = 0; run < 3; ++run) {
    T y = x;
    for (int i = 0; i < 150; ++i) y = p.binary(Op::add, y, 1.0);
    EXPECT_NEAR(p.read(y)[0], p.read(x)[0] + 150, 1e-4);
  }
  EXPECT_EQ(plan::stats(DeviceType::mps).plans_built, 1);
  plan::set_unfused(false);
}

TEST(Late, ContentsThatDieUnderWay) {
  Program p("late:cpu");
  T x = p.random({64});
  driver::set_late_orders({0, true});
  for (int i = 0; i < 2; ++i) {
    T y = p.binary(Op::add, x, 1.0);
    p.update(Op::add, x, 0.5);
    p.cut();
  }
  p.forget();
  x = {};
  driver::set_late_orders({0, false});
  p.finish();
  EXPECT_EQ(p.device().allocator().stats().live_blocks, 0);
}

}  // namespace
}  // namespace qs::test
