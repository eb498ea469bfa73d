// The cache of built kernels: bounded, counted, and never without a kernel that a plan names.
#include <gtest/gtest.h>

#include <cmath>

#include "plan_harness.h"

namespace qs::test {
namespace {

constexpr auto k_mps = DeviceType::mps;

/// Five maps, one of 3125 programs of as many kernels.
struct Maps {
  static constexpr Op k_ops[] = {Op::neg, Op::sin, Op::relu, Op::abs, Op::sqrt};
  static double value(int op, double x) {
    const double y[] = {-x, std::sin(x), std::max(x, 0.0), std::fabs(x), std::sqrt(x)};
    return y[op];
  }

  int number;
  T record(Program& p, T x) const {
    for (int i = 0, n = number; i < 5; ++i, n /= 5) x = p.unary(k_ops[n % 5], x);
    return x;
  }
  double of(double x) const {
    for (int i = 0, n = number; i < 5; ++i, n /= 5) x = static_cast<float>(value(n % 5, x));
    return x;
  }
  void check(Program& p, const T& x) const {
    const auto in = p.read(x), got = p.read(record(p, x));
    for (size_t i = 0; i < in.size(); ++i) {
      const double expected = of(in[i]);
      ASSERT_EQ(std::isnan(got[i]), std::isnan(expected)) << number;
      if (std::isnan(expected)) continue;
      ASSERT_NEAR(got[i], expected, 1e-5) << number;
    }
  }
};

struct Bounds {
  explicit Bounds(int64_t plans) { plan::set_plan_limit(plans, plans); }
  ~Bounds() { plan::set_plan_limit(512, 512); }
};

TEST(PlanKernels, TheOldestThatNobodyNamesGo) {
  Program p("cpu");
  unsetenv("QS_VERIFY");
  const Bounds bounds(40);
  p.device().set_kernel_limit(100);
  T x = p.random({7});
  const Maps kept{1234};
  for (int number = 0; number < 3125; ++number) {
    Maps{number}.check(p, x);
    if (number % 20 == 0) kept.check(p, x);  // used all the time: never planned or built again
    ASSERT_LE(p.device().kernel_counts().kept, 100);
    if (testing::Test::HasFatalFailure()) return;
  }
  const auto counts = p.device().kernel_counts();
  EXPECT_EQ(counts.built, 3125);
  EXPECT_EQ(counts.evicted, counts.built - counts.kept);
  Maps{0}.check(p, x);  // gone: built again
  EXPECT_EQ(p.device().kernel_counts().built, 3126);
  Maps{3124}.check(p, x);  // there
  EXPECT_EQ(p.device().kernel_counts().built, 3126);
}

TEST(PlanKernels, WhatPlansNameStays) {
  Program p("cpu");
  unsetenv("QS_VERIFY");
  p.device().set_kernel_limit(10);
  T x = p.random({7});
  for (int number = 0; number < 300; ++number) Maps{number * 10}.check(p, x);
  EXPECT_EQ(p.device().kernel_counts().kept, 300);
  for (int number = 0; number < 300; ++number) Maps{number * 10}.check(p, x);  // at once
  for (int64_t n : {9, 11, 400}) {  // other sizes: structures remember their kernels
    T y = p.random({n});
    for (int number = 0; number < 300; ++number) Maps{number * 10}.check(p, y);
  }
  EXPECT_EQ(plan::stats(k_mps).structures_built, 300);
  EXPECT_EQ(p.device().kernel_counts().built, 300);
  EXPECT_EQ(p.device().kernel_counts().evicted, 0);
  p.cut();
  plan::clear_plans(k_mps);
  p.device().set_kernel_limit(10);
  EXPECT_EQ(p.device().kernel_counts().kept, 10);
  EXPECT_EQ(p.device().kernel_counts().evicted, 290);
}

// Plans go while their runs are still under way: their kernels wait for these.
TEST(PlanKernels, RunsUnderWayKeepTheirs) {
  Program p("late:cpu");
  unsetenv("QS_VERIFY");
  const Bounds bounds(2);
  p.device().set_kernel_limit(1);
  T x = p.random({7});
  const auto in = p.read(x);
  for (int turn = 0; turn < 20; ++turn) {
    std::vector<T> results;
    for (int number = 0; number < 30; ++number) {
      results.push_back(Maps{number * 100}.record(p, x));
      p.cut();
    }
    for (int number = 0; number < 30; ++number) {
      const auto got = p.read(results[static_cast<size_t>(number)]);
      for (size_t i = 0; i < in.size(); ++i) {
        const double expected = Maps{number * 100}.of(in[i]);
        if (std::isnan(expected)) continue;
        ASSERT_NEAR(got[i], expected, 1e-5) << number;
      }
    }
  }
  EXPECT_LE(p.device().kernel_counts().kept, 40);  // those of runs that were under way together
  EXPECT_GT(p.device().kernel_counts().evicted, 20 * 20);
}

}  // namespace
}  // namespace qs::test
