// Horizontal groups: many small equal kernels become one launch, and only what may.
#include <gtest/gtest.h>

#include <cmath>

#include "plan_harness.h"

namespace qs::test {
namespace {

constexpr auto k_mps = DeviceType::mps;
using Strings = std::vector<std::string>;

/// Shapes of a network's parameters, of one to three dimensions, small and large.
std::vector<Dims> parameter_shapes(int n) {
  std::vector<Dims> shapes;
  for (int i = 0; i < n; ++i) {
    const int64_t a = 1 + i * 7 % 13, b = 2 + i * 5 % 17;
    if (i % 3 == 0) shapes.push_back({a * b});
    if (i % 3 == 1) shapes.push_back({a, b});
    if (i % 3 == 2) shapes.push_back({a, 3, b});
  }
  shapes[0] = {300, 200};
  return shapes;
}

struct Adam {
  std::vector<T> w, g, m, v;
  explicit Adam(Program& p, int n) {
    uint64_t seed = 1;
    for (const Dims& s : parameter_shapes(n)) {
      w.push_back(p.random(s, seed++));
      g.push_back(p.random(s, seed++));
      m.push_back(p.random(s, seed++));
      std::vector<double> squares = p.read(p.random(s, seed++));
      for (double& x : squares) x *= x;
      v.push_back(p.make(s, squares));
    }
  }
  void step(Program& p) {
    for (size_t i = 0; i < w.size(); ++i)
      p.record(Op::adam_step, {w[i], g[i], m[i], v[i], 0.01, 0.1, 0.99, 1e-8, 0.999, 1.5, 0.01},
               {DType::f32, {}, {}, {1, 0}, {0, 2, 3}}, 3);
  }
  int64_t elements() const {
    int64_t n = 0;
    for (const T& t : w) n += t.layout.numel();
    return n;
  }
};

TEST(PlanBatch, AdamWOverFiftyTensorsIsOneLaunch) {
  Program p("record:cpu");
  Adam adam(p, 50);
  std::vector<std::vector<double>> w, g, m, v;
  for (size_t i = 0; i < 50; ++i) {
    w.push_back(p.read(adam.w[i]));
    g.push_back(p.read(adam.g[i]));
    m.push_back(p.read(adam.m[i]));
    v.push_back(p.read(adam.v[i]));
  }
  for (int turn = 0; turn < 3; ++turn) {
    plan::reset_stats(k_mps);
    adam.step(p);
    p.cut();
    const std::string line = "tile map [60000] operands 7 instrs 28 folds 0 parts 50";
    EXPECT_EQ(p.lines(), Strings{turn ? "replay " + line : line});
    EXPECT_EQ(plan::stats(k_mps).launches, 1);
    EXPECT_EQ(plan::stats(k_mps).bytes_moved, adam.elements() * 4 * 7);
    for (size_t i = 0; i < 50; ++i)
      for (size_t k = 0; k < w[i].size(); ++k) {
        m[i][k] += (g[i][k] - m[i][k]) * 0.1;
        v[i][k] = v[i][k] * 0.99 + 0.01 * g[i][k] * g[i][k];
        w[i][k] = w[i][k] * 0.999 - 0.01 * m[i][k] / (std::sqrt(v[i][k]) * 1.5 + 1e-8);
      }
    for (size_t i = 0; i < 50; ++i) {
      const auto got = p.read(adam.w[i]), got_m = p.read(adam.m[i]), got_v = p.read(adam.v[i]);
      for (size_t k = 0; k < got.size(); ++k) {
        ASSERT_NEAR(got[k], w[i][k], 1e-5 * (1 + std::abs(w[i][k]))) << i << " " << k;
        ASSERT_NEAR(got_m[k], m[i][k], 1e-5 * (1 + std::abs(m[i][k])));
        ASSERT_NEAR(got_v[k], v[i][k], 1e-5 * (1 + std::abs(v[i][k])));
      }
    }
  }
  EXPECT_EQ(plan::stats(k_mps).plans, 1);
}

TEST(PlanBatch, TheNullDriverCountsOneLaunchAndAllItsBytes) {
  Program p("null");
  Adam adam(p, 50);
  driver::reset_null_counters();
  adam.step(p);
  p.cut();
  EXPECT_EQ(driver::null_counters().launches, 1);
  EXPECT_EQ(driver::null_counters().touched_bytes, adam.elements() * 4 * 7);
}

TEST(PlanBatch, ClearingGradientsIsOneLaunch) {
  Program p("record:cpu");
  std::vector<T> grads;
  uint64_t seed = 1;
  for (const Dims& s : parameter_shapes(20)) grads.push_back(p.random(s, seed++));
  for (const T& g : grads) p.record(Op::full, {0.0, g}, {DType::f32, {}, {}, {}, {1}});
  p.cut();
  EXPECT_EQ(p.lines(), Strings{"tile map [60000] operands 1 instrs 2 folds 0 parts 20"});
  for (const T& g : grads)
    for (double x : p.read(g)) ASSERT_EQ(x, 0);
}

/// total = sqrt(sum of all squares); each gradient times min(1, 1 / total): clip_grad_norm_.
TEST(PlanBatch, NormsOfClippingAreOneLaunch) {
  Program p("record:cpu");
  std::vector<T> grads;
  uint64_t seed = 1;
  double total = 0;
  std::vector<std::vector<double>> before;
  for (int i = 0; i < 12; ++i) {
    grads.push_back(p.random(Dims{40 + i, 30}, seed++));
    before.push_back(p.read(grads.back()));
    for (double x : before.back()) total += x * x;
  }
  T sum;
  for (const T& g : grads) {
    T square = p.reduce(Op::sum, p.unary(Op::square, g), 3);
    sum = sum.content ? p.binary(Op::add, sum, square) : square;
  }
  T scale = p.binary(Op::minimum, p.unary(Op::reciprocal, p.unary(Op::sqrt, sum)), 1.0);
  for (const T& g : grads) p.update(Op::mul, g, scale);
  sum = {};
  scale = {};
  p.cut();
  const Strings lines = p.lines();
  for (const std::string& l : lines) SCOPED_TRACE(l);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_NE(lines[0].find("folds 1 parts 12"), std::string::npos) << lines[0];
  EXPECT_NE(lines.back().find("parts 12"), std::string::npos) << lines.back();
  for (size_t i = 0; i < grads.size(); ++i) {
    const auto got = p.read(grads[i]);
    for (size_t k = 0; k < got.size(); ++k)
      ASSERT_NEAR(got[k], before[i][k] / std::sqrt(total), 1e-5);
  }
}

TEST(PlanBatch, DependentGroupsStayApart) {
  Program p("record:cpu");
  T x = p.random({7, 9}), y = p.random({11, 5}, 2);
  const auto vx = p.read(x), vy = p.read(y);
  // The second product reads what the first made, through another view, so it is not the same
  // kernel; the third is free.
  T a = p.binary(Op::mul, x, 2.0);
  T b = p.binary(Op::mul, a.t(), 2.0);
  T c = p.binary(Op::mul, y, 2.0);
  const auto ga = p.read(a), gb = p.read(b), gc = p.read(c);
  EXPECT_EQ(p.lines().size(), 2u);
  for (int i = 0; i < 7; ++i)
    for (int j = 0; j < 9; ++j) {
      ASSERT_EQ(ga[i * 9 + j], 2 * vx[i * 9 + j]);
      ASSERT_EQ(gb[j * 7 + i], 4 * vx[i * 9 + j]);
    }
  for (size_t i = 0; i < gc.size(); ++i) ASSERT_EQ(gc[i], 2 * vy[i]);
}

TEST(PlanBatch, WritesToOlderStoragesStillWaitForChecks) {
  Program p("record:cpu");
  T v = p.random({5}), w = p.random({6}), x = p.random({2, 10});
  const auto before = p.read(w), older = p.read(v);
  T classes = p.make({2}, {0, 12}, DType::i64);
  auto f =
      p.record(Op::cross_entropy, {x, classes}, {DType::f32, {}, {{2}, {2}}, {2, 0, 1000}, {}}, 2);
  p.update(Op::add, v, 1.0);
  p.update(Op::add, w, 1.0);
  p.cut();
  EXPECT_EQ(p.lines().size(), 2u);
  EXPECT_THROW(plan::raise_fault(k_mps), IndexError);
  EXPECT_EQ(p.read(w), before);
  EXPECT_EQ(p.read(v), older);
}

TEST(PlanBatch, PartsDoNotShareTheArenaTooEarly) {
  // Results of parts that a later kernel reads, all alive at once, and donated ones.
  Program p("record:cpu");
  std::vector<T> x, y;
  for (int i = 0; i < 6; ++i) {
    x.push_back(p.random({10 + i, 8}, 10 + i));
    T h = p.unary(Op::exp, x.back());
    T turned = p.binary(Op::add, h.t(), 1.0);
    y.push_back(p.reduce(Op::sum, turned, 1));
  }
  p.cut();
  for (int i = 0; i < 6; ++i) {
    const auto vx = p.read(x[i]), got = p.read(y[i]);
    for (int r = 0; r < 10 + i; ++r) {
      double want = 0;
      for (int c = 0; c < 8; ++c) want += std::exp(vx[r * 8 + c]) + 1;
      ASSERT_NEAR(got[r], want, 1e-3);
    }
  }
}

TEST(PlanBatch, LargeResultsDoNotWaitForEachOther) {
  // Each matrix is used up before the next is made: one launch for all would hold them together.
  Program p("cpu");
  T w = p.random({256, 256}, 99);
  T sum;
  for (int i = 0; i < 8; ++i) {
    T h = p.unary(Op::exp, p.random({512, 256}, 1 + i));
    T s = p.reduce(Op::sum, p.matmul(h, w), 1);
    sum = sum.content ? p.binary(Op::add, sum, s) : s;
  }
  p.cut();
  EXPECT_LE(p.device().arena_bytes(), 4u * 512 * 256 * 4);
}

}  // namespace
}  // namespace qs::test
