// cat: all parts in one launch, written by whoever makes them.
#include <gtest/gtest.h>

#include <functional>

#include "plan_harness.h"

namespace qs::test {
namespace {

constexpr auto k_mps = DeviceType::mps;
using Strings = std::vector<std::string>;
using Values = std::vector<double>;

T cat(Program& p, const std::vector<T>& parts, int dim, DType dtype = DType::f32) {
  Dims shape = parts[0].layout.shape;
  shape[dim] = 0;
  std::vector<Arg> args;
  for (const T& t : parts) {
    shape[dim] += t.layout.shape[dim];
    args.push_back(t);
  }
  return p.record(Op::cat, args, {dtype, {}, {shape}, {static_cast<uint64_t>(dim)}, {}})[0];
}

/// The same by hand, for [rows, columns].
Values joined(Program& p, const std::vector<T>& parts, int dim) {
  std::vector<Values> values;
  for (const T& t : parts) values.push_back(p.read(t));
  Values out;
  if (dim == 0) {
    for (const Values& v : values) out.insert(out.end(), v.begin(), v.end());
    return out;
  }
  for (int64_t r = 0; r < parts[0].layout.shape[0]; ++r)
    for (size_t i = 0; i < parts.size(); ++i) {
      const int64_t n = parts[i].layout.shape[1];
      out.insert(out.end(), values[i].begin() + r * n, values[i].begin() + (r + 1) * n);
    }
  return out;
}

void expect_launches(const std::function<std::vector<T>(Program&)>& program, const Strings& lines,
                     int64_t bytes, int64_t arena = -1) {
  {
    Program p("record:cpu");
    const std::vector<T> held = program(p);
    p.lines();
    plan::reset_stats(k_mps);
    p.cut();
    EXPECT_EQ(p.lines(), lines);
    EXPECT_EQ(plan::stats(k_mps).bytes_moved, bytes) << plan::describe(k_mps);
  }
  Program p("null");
  const std::vector<T> held = program(p);
  driver::reset_null_counters();
  p.cut();
  EXPECT_EQ(driver::null_counters().launches, static_cast<int64_t>(lines.size()));
  EXPECT_EQ(driver::null_counters().touched_bytes, bytes);
  if (arena >= 0) {
    EXPECT_EQ(static_cast<int64_t>(p.device().arena_bytes()), arena);
  }
}

TEST(PlanJoin, AllPartsAreOneLaunch) {
  constexpr int64_t k_bytes = 2 * 40 * (20 + 30 + 10) * 4;
  for (const int dim : {0, 1}) {
    auto parts = [&](Program& p) {
      std::vector<T> parts;
      for (int64_t n : {20, 30, 10})
        parts.push_back(p.random(dim ? Dims{40, n} : Dims{n, 40}, static_cast<uint64_t>(n)));
      return parts;
    };
    expect_launches([&](Program& p) { return std::vector<T>{cat(p, parts(p), dim)}; },
                    {dim ? "tile map [40, 20] operands 2 instrs 2 folds 0 parts 3"
                         : "tile map [800] operands 2 instrs 2 folds 0 parts 3"},
                    k_bytes);
    Program p("cpu");
    const auto all = parts(p);
    for (int turn = 0; turn < 3; ++turn) EXPECT_EQ(p.read(cat(p, all, dim)), joined(p, all, dim));
  }
}

TEST(PlanJoin, MapsWriteTheirPart) {
  auto program = [](Program& p, const T& a, const T& b) {
    return cat(p, {p.unary(Op::relu, a), p.binary(Op::mul, b, 2.0), a}, 1);
  };
  // Each part is read once and written once; nothing lies between.
  expect_launches(
      [&](Program& p) {
        return std::vector<T>{program(p, p.random({40, 20}), p.random({40, 30}, 2))};
      },
      {"tile map [40, 20] operands 2 instrs 4 folds 0",
       "tile map [40, 30] operands 2 instrs 4 folds 0",
       "tile map [40, 20] operands 2 instrs 2 folds 0"},
      2 * 40 * (20 + 30 + 20) * 4, 0);
  Program p("cpu");
  T a = p.random({40, 20}), b = p.random({40, 30}, 2);
  EXPECT_EQ(p.read(program(p, a, b)),
            joined(p, {p.unary(Op::relu, a), p.binary(Op::mul, b, 2.0), a}, 1));
}

TEST(PlanJoin, EqualMapsAreOneLaunchToo) {
  expect_launches(
      [](Program& p) {
        std::vector<T> parts;
        for (uint64_t i = 0; i < 5; ++i)
          parts.push_back(p.unary(Op::tanh, p.random({8, 30}, i + 1)));
        return std::vector<T>{cat(p, parts, 0)};
      },
      {"tile map [240] operands 2 instrs 3 folds 0 parts 5"}, 2 * 5 * 240 * 4, 0);
}

TEST(PlanJoin, APartThatOthersReadIsStoredTwice) {
  Program p("record:cpu");
  T a = p.random({40, 20}), b = p.random({40, 30}, 2);
  T h = p.unary(Op::exp, a);
  T all = cat(p, {h, b}, 1), product = p.matmul(h.t(), h);
  p.lines();
  const Values got = p.read(all);
  EXPECT_EQ(p.lines()[0], "tile map [40, 20] operands 3 instrs 4 folds 0");
  EXPECT_EQ(got, joined(p, {p.unary(Op::exp, a), b}, 1));
  T again = p.unary(Op::exp, a);
  EXPECT_EQ(p.read(product), p.read(p.matmul(again.t(), again)));
}

TEST(PlanJoin, ReadersOfPartsAndOfAllWaitForWhatTheyRead) {
  for (const bool unfused : {false, true}) {
    plan::set_unfused(unfused);
    Program p("cpu");
    T a = p.random({16, 20}), b = p.random({16, 20}, 2);
    T ta = p.unary(Op::tanh, a), tb = p.unary(Op::tanh, b);
    T all = cat(p, {ta, tb}, 1);
    // The first part again, beside the kernel that reads `a`; the second; a sum of all; in place.
    T first = p.binary(Op::add, all.slice(1, 0, 20), a);
    T second = p.binary(Op::mul, all.slice(1, 20, 40), 3.0);
    T mixed = p.binary(Op::add, all.slice(1, 10, 30), 0.0);
    T sum = p.reduce(Op::sum, all, 2);
    T old = p.binary(Op::mul, all, 1.0);
    p.update(Op::mul, all.slice(1, 0, 5), 0.0);
    const Values va = p.read(p.unary(Op::tanh, a)), vb = p.read(p.unary(Op::tanh, b)),
                 pa = p.read(a);
    const Values f = p.read(first), s = p.read(second), m = p.read(mixed), w = p.read(old),
                 t = p.read(sum), now = p.read(all);
    for (size_t r = 0; r < 16; ++r) {
      double total = 0;
      for (size_t c = 0; c < 20; ++c) {
        ASSERT_EQ(f[r * 20 + c], static_cast<float>(va[r * 20 + c] + pa[r * 20 + c]));
        ASSERT_EQ(s[r * 20 + c], static_cast<float>(vb[r * 20 + c] * 3));
        ASSERT_EQ(m[r * 20 + c], c < 10 ? va[r * 20 + c + 10] : vb[r * 20 + c - 10]);
        ASSERT_EQ(w[r * 40 + c], va[r * 20 + c]);
        ASSERT_EQ(now[r * 40 + c], c < 5 ? 0 : va[r * 20 + c]);
        ASSERT_EQ(now[r * 40 + 20 + c], vb[r * 20 + c]);
        total += va[r * 20 + c] + vb[r * 20 + c];
      }
      ASSERT_NEAR(t[r], total, 1e-4);
    }
    plan::set_unfused(false);
  }
}

TEST(PlanJoin, AProductIsWrittenIntoItsPart) {
  auto program = [](Program& p, const T& a, const T& w, const T& b) {
    return cat(p, {p.matmul(a, w), b}, 1);
  };
  Program p("record:cpu");
  T a = p.random({40, 20}), w = p.random({20, 30}, 2), b = p.random({40, 10}, 3);
  p.lines();
  T got = program(p, a, w, b);
  const Values v = p.read(got);
  EXPECT_EQ(
      p.lines(),
      (Strings{"matmul f32 40x30x20 batch 1 then tile map [1, 40, 30] operands 2 instrs 2 folds 0",
               "tile map [40, 10] operands 2 instrs 2 folds 0"}));
  EXPECT_EQ(v, joined(p, {p.matmul(a, w), b}, 1));
}

TEST(PlanJoin, TheGradientIsReadWhereItLies) {
  // d(cat)/d(part) is a view of the gradient: what follows reads its slice.
  expect_launches(
      [](Program& p) {
        T g = p.random({40, 50}), a = p.random({40, 20}, 2), b = p.random({40, 30}, 3);
        return std::vector<T>{p.binary(Op::relu_backward, g.slice(1, 0, 20), a),
                              p.binary(Op::relu_backward, g.slice(1, 20, 50), b)};
      },
      {"tile map [40, 20] operands 3 instrs 6 folds 0 parts 2"}, 3 * 40 * 50 * 4, 0);
}

TEST(PlanJoin, OtherExtentsTakeTheSameStructure) {
  Program p("record:cpu");
  for (int64_t n : {20, 7, 31, 20}) {
    T a = p.random({n, 20}, 1), b = p.random({n, 2 * n}, 2), c = p.random({n, 5}, 3);
    T all = cat(p, {p.unary(Op::exp, a), b, c}, 1);
    T inner = cat(p, {all, all}, 0);
    T y = p.binary(Op::add, inner, 1.0);
    const Values got = p.read(y);
    Values want = joined(p, {p.unary(Op::exp, a), b, c}, 1);
    want.insert(want.end(), want.begin(), want.end());
    for (size_t i = 0; i < want.size(); ++i)
      ASSERT_EQ(got[i], static_cast<float>(want[i] + 1.0)) << n << " " << i;
  }
  EXPECT_EQ(plan::stats(k_mps).structures_built, 2);  // this one, and exp to compare with
}

TEST(PlanJoin, EmptyPartsAndNumbersAndDtypes) {
  Program p("cpu");
  T a = p.random({4, 3}), none = p.empty({0, 3}), ones = p.full({2, 3}, 1.0);
  Values want = p.read(a);
  T all = cat(p, {none, a, none}, 0);
  EXPECT_EQ(p.read(all), want);
  want.insert(want.end(), 6, 1.0);
  EXPECT_EQ(p.read(cat(p, {a, none, p.full({2, 3}, 1.0)}, 0)), want);
  T n = p.make({2, 3}, {1, 2, 3, 4, 5, 6}, DType::i64);
  Values mixed = p.read(n);
  const Values va = p.read(a);
  mixed.insert(mixed.end(), va.begin(), va.end());
  EXPECT_EQ(p.read(cat(p, {n, a}, 0)), mixed);
}

TEST(PlanJoin, WhatIsJoinedLivesInTheArena) {
  // cat, then a product: the joined tensor is no storage of its own.
  Program p("null");
  T a = p.random({64, 32}), b = p.random({64, 32}, 2), w = p.random({64, 16}, 3);
  T y = p.matmul(cat(p, {a, b}, 1), w);
  p.cut();
  EXPECT_EQ(p.device().arena_bytes(), 64u * 64 * 4);
}

TEST(PlanJoin, ManyStepsOfARecurrence) {
  // h = tanh(h w + x_t) for 20 steps, stacked: each step writes its part from its own kernel.
  Program p("record:cpu");
  T w = p.random({16, 16}), h = p.random({8, 16}, 2);
  std::vector<T> outputs;
  for (uint64_t t = 0; t < 20; ++t) {
    h = p.unary(Op::tanh, p.binary(Op::add, p.matmul(h, w), p.random({8, 16}, 10 + t)));
    outputs.push_back(h.view({1, 8, 16}));
  }
  p.lines();
  T all = cat(p, outputs, 0);
  outputs.clear();
  const Values got = p.read(all);
  EXPECT_EQ(p.lines().size(), 20u);
  const Values last = p.read(h);
  for (size_t i = 0; i < last.size(); ++i) EXPECT_EQ(got[19 * 128 + i], last[i]);
}

}  // namespace
}  // namespace qs::test
