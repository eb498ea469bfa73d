// Maps behind a matrix product run on its blocks: the launches, the values, and the bits of a run
// with one kernel for each node.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "plan_harness.h"
#include "quicksilver/core/thread_pool.h"

namespace qs::test {
namespace {

constexpr auto k_mps = DeviceType::mps;
using Values = std::vector<double>;
using Outputs = std::vector<T>;

/// The values of `program`'s outputs: fused, unfused, and fused with one thread must be the same.
std::vector<Values> same_bits(const std::function<Outputs(Program&)>& program, int64_t launches) {
  std::vector<Values> all[3];
  const int threads = ThreadPool::instance().threads();
  for (int way = 0; way < 3; ++way) {
    plan::set_unfused(way == 1);
    if (way == 2) ThreadPool::instance().set_threads(1);
    Program p("cpu");
    for (int turn = 0; turn < 3; ++turn) {
      const Outputs out = program(p);
      plan::reset_stats(k_mps);
      p.cut();
      if (way != 1) {
        EXPECT_EQ(plan::stats(k_mps).launches, launches) << plan::describe(k_mps);
      }
      std::vector<Values> values;
      for (const T& t : out) values.push_back(p.read(t));
      if (turn) {
        EXPECT_EQ(values, all[way]) << "turn " << turn;
      }
      all[way] = values;
    }
    ThreadPool::instance().set_threads(threads);
  }
  plan::set_unfused(false);
  EXPECT_EQ(all[0], all[1]);
  EXPECT_EQ(all[0], all[2]);
  return all[0];
}

/// The sum over k in double, of what the harness gives for the same seeds.
Values product(Program& p, const T& a, const T& b) {
  const Values x = p.read(a), y = p.read(b);
  const int64_t m = a.layout.shape[0], k = a.layout.shape[1], n = b.layout.shape[1];
  Values out(static_cast<size_t>(m * n));
  for (int64_t i = 0; i < m; ++i)
    for (int64_t l = 0; l < k; ++l)
      for (int64_t j = 0; j < n; ++j) out[i * n + j] += x[i * k + l] * y[l * n + j];
  return out;
}

class PlanEpilogueShapes : public ::testing::TestWithParam<std::vector<int64_t>> {};

TEST_P(PlanEpilogueShapes, BiasGeluAndResidual) {
  const int64_t m = GetParam()[0], n = GetParam()[1], k = GetParam()[2];
  auto program = [&](Program& p) {
    T a = p.random({m, k}), b = p.random({k, n}, 2), bias = p.random({n}, 3),
      x = p.random({m, n}, 4);
    T h = p.unary(Op::gelu, p.matmul(a, b, bias));
    return Outputs{p.binary(Op::add, h, x)};
  };
  const auto got = same_bits(program, 1);
  Program p("cpu");
  T a = p.random({m, k}), b = p.random({k, n}, 2);
  const Values c = product(p, a, b), bias = p.read(p.random({n}, 3)),
               x = p.read(p.random({m, n}, 4));
  for (size_t i = 0; i < c.size(); ++i) {
    const double s = c[i] + bias[i % static_cast<size_t>(n)];
    ASSERT_NEAR(got[0][i], 0.5 * s * (1 + std::erf(s / std::sqrt(2.0))) + x[i], 2e-4) << i;
  }
}

TEST_P(PlanEpilogueShapes, TransposedFactorsAndTheProductKept) {
  const int64_t m = GetParam()[0], n = GetParam()[1], k = GetParam()[2];
  const auto got = same_bits(
      [&](Program& p) {
        T a = p.random({k, m}), b = p.random({n, k}, 2);
        T c = p.matmul(a.t(), b.t());
        T y = p.binary(Op::mul, p.unary(Op::tanh, c), 2.0);
        return Outputs{c, y};
      },
      1);
  for (size_t i = 0; i < got[0].size(); ++i) ASSERT_NEAR(got[1][i], 2 * std::tanh(got[0][i]), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(
    Sizes, PlanEpilogueShapes,
    ::testing::Values(std::vector<int64_t>{48, 200, 30}, std::vector<int64_t>{1, 300, 70},
                      std::vector<int64_t>{300, 1, 70}, std::vector<int64_t>{7, 5, 1},
                      std::vector<int64_t>{333, 517, 129}, std::vector<int64_t>{20, 700, 600}));

TEST(PlanEpilogue, AStackOfMatrices) {
  same_bits(
      [](Program& p) {
        T a = p.random({6, 40, 33}), b = p.random({6, 33, 50}, 2);
        T c = p.record(Op::matmul, {a, b, {}},
                       {DType::f32,
                        {},
                        {{6, 40, 50}},
                        {std::bit_cast<uint64_t>(0.5), std::bit_cast<uint64_t>(1.0)},
                        {}})[0];
        return Outputs{p.binary(Op::add, c, p.random({1, 40, 50}, 3))};
      },
      1);
}

TEST(PlanEpilogue, DropoutCountsItsElementsAlike) {
  same_bits(
      [](Program& p) {
        T c = p.matmul(p.random({300, 60}), p.random({60, 400}, 2));
        auto d =
            p.record(Op::dropout, {c, 0.75, 1 / 0.75, 7.0, 4.0},
                     {DType::f32, {DType::f32, DType::bool_}, {{300, 400}, {300, 400}}, {}, {}}, 2);
        return Outputs{d[0], d[1]};
      },
      1);
}

TEST(PlanEpilogue, AStepOfTheOptimizerOnTheGradient) {
  same_bits(
      [](Program& p) {
        T x = p.random({64, 100}), g = p.random({64, 80}, 2), w = p.random({80, 100}, 3);
        T dw = p.matmul(g.t(), x);
        p.record(Op::sgd_step, {w, dw, 0.1, {}}, {DType::f32, {}, {}, {0}, {0}});
        return Outputs{w, dw};
      },
      1);
}

TEST(PlanEpilogue, InPlaceOnTheProduct) {
  same_bits(
      [](Program& p) {
        T c = p.matmul(p.random({30, 20}), p.random({20, 44}, 2));
        p.update(Op::mul, c, 3.0);
        return Outputs{c};
      },
      1);
}

TEST(PlanEpilogue, NarrowTypes) {
  for (DType d : {DType::bf16, DType::f16})
    same_bits(
        [d](Program& p) {
          T a = p.cast(p.random({50, 40}), d), b = p.cast(p.random({40, 70}, 2), d);
          p.cut();
          T c = p.matmul(a, b);
          T y = p.record(Op::relu, {c}, {d, {d}, {{50, 70}}, {}, {}})[0];
          return Outputs{
              p.record(Op::copy, {y}, {DType::f32, {DType::f32}, {{50, 70}}, {}, {}})[0]};
        },
        1);
}

/// Where it must not, or does not pay: each stays a launch of its own.
TEST(PlanEpilogue, WhatIsLeftBehind) {
  // The maps write what the product reads.
  same_bits(
      [](Program& p) {
        T a = p.random({40, 40}), b = p.random({40, 40}, 2);
        T c = p.matmul(a, b);
        p.update(Op::add, a, c);
        return Outputs{a};
      },
      2);
  // Rows of the product are two loops here: a value for each inner one does not fit its blocks.
  same_bits(
      [](Program& p) {
        T a = p.random({5, 8, 30}), w = p.random({30, 20}, 2), e = p.random({8, 20}, 3);
        T c = p.matmul(a, w);
        return Outputs{p.binary(Op::add, c, e)};
      },
      2);
  // A fold needs whole rows or columns.
  same_bits(
      [](Program& p) {
        T c = p.matmul(p.random({40, 30}), p.random({30, 50}, 2));
        return Outputs{p.reduce(Op::sum, p.unary(Op::exp, c), 1)};
      },
      2);
  // Read transposed.
  same_bits(
      [](Program& p) {
        T c = p.matmul(p.random({40, 30}), p.random({30, 50}, 2));
        return Outputs{p.binary(Op::mul, c.t(), 2.0), c};
      },
      2);
}

TEST(PlanEpilogue, TwoProductsInOneSum) {
  same_bits(
      [](Program& p) {
        T c = p.matmul(p.random({40, 30}), p.random({30, 50}, 2));
        T d = p.matmul(p.random({40, 20}, 3), p.random({20, 50}, 4));
        return Outputs{p.unary(Op::relu, p.binary(Op::add, c, d))};
      },
      2);
}

/// Sizes never seen before: the structure of the first is used again, with the epilogue, with a
/// producer that is computed again in its readers, and with one number for all of them.
TEST(PlanEpilogue, OtherExtentsTakeTheSameStructure) {
  for (const bool unfused : {true, false}) {
    static std::vector<Values> reference;
    plan::set_unfused(unfused);
    Program p("cpu");
    T w = p.random({30, 44}, 2), b = p.random({44}, 3), scale = p.random({}, 4);
    size_t at = 0;
    for (const int64_t rows : {12, 5, 33, 21, 300}) {
      T x = p.random({rows, 30}, 10 + static_cast<uint64_t>(rows));
      T factor = p.unary(Op::sqrt, p.unary(Op::exp, scale));
      T shift = p.binary(Op::mul, b, 2.0);
      T y = p.binary(Op::mul, p.unary(Op::tanh, p.matmul(x, w, b)), factor);
      T z = p.binary(Op::add, x, p.binary(Op::mul, p.random({30}, 5), 0.5));
      factor = shift = {};
      const Values got_y = p.read(y), got_z = p.read(z);
      if (unfused) {
        reference.push_back(got_y);
        reference.push_back(got_z);
      } else {
        EXPECT_EQ(got_y, reference[at]) << rows;
        EXPECT_EQ(got_z, reference[at + 1]) << rows;
      }
      at += 2;
    }
    if (!unfused) {
      EXPECT_EQ(plan::stats(k_mps).structures_built, 1);
      EXPECT_EQ(plan::stats(k_mps).instances_built, 4);
      EXPECT_EQ(plan::stats(k_mps).launches, 5 * 2);
    }
  }
  plan::set_unfused(false);
}

}  // namespace
}  // namespace qs::test
