// Prints what planning and running cost on the null driver; asserts counts only.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "plan_harness.h"

namespace qs::test {
namespace {

double us_since(std::chrono::steady_clock::time_point from) {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - from).count();
}

/// A training-like program: layers of matmul, bias, relu; a loss; gradients; updates.
std::vector<T> layers(Program& p, std::vector<T>& weights, const T& x, int depth) {
  std::vector<T> outs;
  T h = x;
  for (int i = 0; i < depth; ++i) {
    h = p.matmul(h, weights[static_cast<size_t>(i)]);
    h = p.unary(Op::relu, p.binary(Op::add, h, 0.1));
    T g = p.binary(Op::relu_backward, h, x);
    outs.push_back(p.reduce(Op::sum, g, 1));
    p.update(Op::add, weights[static_cast<size_t>(i)], 0.01);
  }
  outs.push_back(h);
  return outs;
}

TEST(PlanSpeed, HitsAndBuilds) {
  Program p("null");
  unsetenv("QS_VERIFY");
  T x = p.random({64, 64});
  std::vector<T> weights;
  for (int i = 0; i < 17; ++i) weights.push_back(p.random({64, 64}));
  double record = 0, first = 0, total = 0;
  constexpr int k_runs = 200;
  int64_t nodes = 0;
  for (int i = 0; i <= k_runs; ++i) {
    const auto t0 = std::chrono::steady_clock::now();
    auto outs = layers(p, weights, x, 17);
    record += us_since(t0);
    nodes = p.nodes();
    const double us = p.timed_cut();
    if (i == 0)
      first = us;
    else
      total += us;
  }
  const auto s = plan::stats(DeviceType::mps);
  EXPECT_EQ(s.plans_built, 1);
  std::printf("%d nodes, %d launches: built in %.1f us (%.2f us a node), a hit takes %.2f us\n",
              static_cast<int>(nodes), static_cast<int>(s.launches / (k_runs + 1)), first,
              first / static_cast<double>(nodes), total / k_runs);
}

TEST(PlanSpeed, BuildsAgain) {
  Program p("null");
  unsetenv("QS_VERIFY");
  T x = p.random({64, 64});
  std::vector<T> weights;
  for (int i = 0; i < 17; ++i) weights.push_back(p.random({64, 64}));
  double best = 1e9;
  const char* runs = std::getenv("QS_TEST_RUNS");
  for (int i = 0; i < (runs ? std::atoi(runs) : 30); ++i) {
    plan::clear_plans(DeviceType::mps);
    auto outs = layers(p, weights, x, 17);
    best = std::min(best, p.timed_cut());
  }
  std::printf("102 nodes planned with known kernels in %.1f us (%.2f us a node)\n", best,
              best / 102);
}

TEST(PlanSpeed, OneNode) {
  Program p("null");
  T x = p.random({64, 64});
  double total = 0;
  constexpr int k_runs = 2000;
  for (int i = 0; i < k_runs; ++i) {
    T y = p.binary(Op::add, x, 1.0);
    const double us = p.timed_cut();
    if (i > 10) total += us;
  }
  std::printf("a known plan of one node takes %.2f us\n", total / k_runs);
  EXPECT_EQ(plan::stats(DeviceType::mps).plans_built, 1);
}

}  // namespace
}  // namespace qs::test
