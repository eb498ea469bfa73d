// Gather and scatter with one index a row, and counting along a row: part of the row's kernel, with
// the values and faults that the kernels of their own have.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "plan_harness.h"

namespace qs::test {
namespace {

constexpr auto k_mps = DeviceType::mps;
using Strings = std::vector<std::string>;
using Values = std::vector<double>;

constexpr int64_t k_rows = 24, k_columns = 40;  // where it pays on a driver of this process
constexpr int64_t k_full = k_rows * k_columns * 4, k_row = k_rows * 4;
const Dims k_shape{k_rows, k_columns};

T classes(Program& p, int64_t rows = k_rows, int64_t columns = k_columns, bool negative = false) {
  Values c;
  for (int64_t r = 0; r < rows; ++r)
    c.push_back(static_cast<double>(r * 7 % columns - (negative && r % 2 ? columns : 0)));
  return p.make({rows}, c, DType::i64);
}
T column(const T& t) { return t.view({t.layout.shape[0], 1}); }

T gather(Program& p, const T& x, const T& index) {
  return p.record(Op::gather, {x, index}, {x.dtype, {}, {index.layout.shape}, {1}, {}})[0];
}
/// x[arange(n), t]
T take(Program& p, const T& x, const T& index) {
  const Dims shape = index.layout.shape;
  T all = p.record(Op::arange, {0.0, 1.0}, {DType::i64, {}, {shape}, {}, {}})[0];
  return p.record(Op::index, {x, all, index}, {x.dtype, {}, {shape}, {3}, {}})[0];
}
T log_softmax(Program& p, const T& x) {
  return p.record(Op::log_softmax, {x}, {DType::f32, {}, {x.layout.shape}, {2, 0}, {}})[0];
}
/// exp(x - max) / sum, or its logarithm, as people write them.
T log_softmax_spelled(Program& p, const T& x) {
  T d = p.binary(Op::sub, x, p.reduce(Op::amax, x, 2, true));
  return p.binary(Op::sub, d, p.unary(Op::log, p.reduce(Op::sum, p.unary(Op::exp, d), 2, true)));
}
T negated_mean(Program& p, const T& picked) {
  return p.unary(Op::neg, p.reduce(Op::mean, picked, picked.layout.rank() == 2 ? 3 : 1));
}

Values logs_of(const Values& x, int64_t rows, int64_t columns) {
  Values out(x.size());
  for (int64_t r = 0; r < rows; ++r) {
    double most = -1e300, sum = 0;
    for (int64_t c = 0; c < columns; ++c) most = std::max(most, x[r * columns + c]);
    for (int64_t c = 0; c < columns; ++c) sum += std::exp(x[r * columns + c] - most);
    for (int64_t c = 0; c < columns; ++c)
      out[r * columns + c] = x[r * columns + c] - most - std::log(sum);
  }
  return out;
}

/// Command lines without the number of instructions, which is the expansions' business.
Strings plain(Strings lines) {
  for (std::string& line : lines) {
    const size_t from = line.find(" instrs "), to = line.find(' ', from + 8);
    if (from != std::string::npos) line.erase(from, to - from);
  }
  return lines;
}

/// What the plan of `program` launches and moves, recorded and on the null driver.
void expect_launches(const std::function<std::vector<T>(Program&)>& program, const Strings& lines,
                     int64_t bytes) {
  {
    Program p("record:cpu");
    const std::vector<T> held = program(p);
    p.lines();
    plan::reset_stats(k_mps);
    p.cut();
    EXPECT_EQ(plain(p.lines()), lines);
    EXPECT_EQ(plan::stats(k_mps).bytes_moved, bytes) << plan::describe(k_mps);
  }
  Program p("null");
  const std::vector<T> held = program(p);
  driver::reset_null_counters();
  p.cut();
  EXPECT_EQ(driver::null_counters().launches, static_cast<int64_t>(lines.size()));
  EXPECT_EQ(driver::null_counters().touched_bytes, bytes);
}

const std::string k_mean_line = "tile row [1, 24] reduced 1 operands 2 folds 1";

TEST(PlanRows, CrossEntropyThroughAGather) {
  for (const bool spelled : {false, true}) {
    auto loss = [&](Program& p, const T& x, const T& t, bool indexed) {
      T logs = spelled ? log_softmax_spelled(p, x) : log_softmax(p, x);
      return negated_mean(p, indexed ? take(p, logs, t) : gather(p, logs, column(t)));
    };
    // As many launches as cross_entropy has, and no byte more.
    for (const bool indexed : {false, true})
      expect_launches(
          [&](Program& p) {
            return std::vector<T>{loss(p, p.random(k_shape), classes(p), indexed)};
          },
          {"tile row [24, 40] reduced 1 operands 4 folds 3", k_mean_line},
          (k_full + 2 * k_row + k_row) + (k_row + 4));
    Program p("cpu");
    T x = p.random(k_shape), t = classes(p), negative = classes(p, k_rows, k_columns, true);
    const Values logs = logs_of(p.read(x), k_rows, k_columns);
    double want = 0;
    for (int64_t r = 0; r < k_rows; ++r) want -= logs[r * k_columns + r * 7 % k_columns] / k_rows;
    for (const bool wraps : {false, true})  // gather takes no negative index
      for (const bool indexed : {wraps, true}) {
        const T& c = wraps ? negative : t;
        const double got = p.read(loss(p, x, c, indexed))[0];
        EXPECT_NEAR(got, want, 1e-5);
        plan::set_unfused(true);
        EXPECT_EQ(p.read(loss(p, x, c, indexed))[0], got);
        plan::set_unfused(false);
      }
  }
}

TEST(PlanRows, TheLogitsOfTheClassBesideALogsumexp) {
  auto loss = [](Program& p, const T& x, const T& t) {
    T s = p.record(Op::logsumexp, {x}, {DType::f32, {}, {{k_rows}}, {2, 0}, {}})[0];
    T picked = gather(p, x, column(t)).view({k_rows});
    return p.reduce(Op::mean, p.binary(Op::sub, s, picked), 1);
  };
  expect_launches(
      [&](Program& p) { return std::vector<T>{loss(p, p.random(k_shape), classes(p))}; },
      {"tile row [24, 40] reduced 1 operands 4 folds 3",
       "tile row [1, 24] reduced 1 operands 2 folds 1"},
      (k_full + 2 * k_row + k_row) + (k_row + 4));
}

/// The loss and the gradient of the logits, as autograd records them.
std::vector<T> with_gradient(Program& p, const T& x, const T& t, bool indexed) {
  T logs = log_softmax(p, x);
  T loss = negated_mean(p, indexed ? take(p, logs, t) : gather(p, logs, column(t)));
  T g = p.binary(Op::mul, p.full(indexed ? Dims{k_rows} : Dims{k_rows, 1}, -1.0), 1.0 / k_rows);
  T zeros = p.full(k_shape, 0);
  if (indexed) {
    T all = p.record(Op::arange, {0.0, 1.0}, {DType::i64, {}, {{k_rows}}, {}, {}})[0];
    p.record(Op::index_put, {zeros, g, all, t}, {DType::f32, {}, {}, {3, 1}, {0}});
  } else {
    p.record(Op::scatter_add, {zeros, column(t), g}, {DType::f32, {}, {}, {1}, {0}});
  }
  T dx =
      p.record(Op::log_softmax_backward, {zeros, logs}, {DType::f32, {}, {k_shape}, {2, 0}, {}})[0];
  return {loss, dx};
}

TEST(PlanRows, CrossEntropyThroughAGatherWithItsGradient) {
  for (const bool indexed : {false, true}) {
    expect_launches(
        [&](Program& p) { return with_gradient(p, p.random(k_shape), classes(p), indexed); },
        {"tile row [24, 40] reduced 1 operands 5 folds 4", k_mean_line},
        (2 * k_full + 2 * k_row + k_row) + (k_row + 4));
    Program p("cpu");
    T x = p.random(k_shape), t = classes(p);
    const Values logs = logs_of(p.read(x), k_rows, k_columns);
    double want = 0;
    for (int64_t r = 0; r < k_rows; ++r) want -= logs[r * k_columns + r * 7 % k_columns] / k_rows;
    const auto both = with_gradient(p, x, t, indexed);
    const Values loss = p.read(both[0]), got = p.read(both[1]);
    EXPECT_NEAR(loss[0], want, 1e-5);
    for (int64_t r = 0; r < k_rows; ++r)
      for (int64_t c = 0; c < k_columns; ++c)
        ASSERT_NEAR(got[r * k_columns + c],
                    (std::exp(logs[r * k_columns + c]) - (c == r * 7 % k_columns)) / k_rows, 1e-6);
    plan::set_unfused(true);
    const auto plain = with_gradient(p, x, t, indexed);
    EXPECT_EQ(p.read(plain[0]), loss);
    EXPECT_EQ(p.read(plain[1]), got);
    plan::set_unfused(false);
  }
}

TEST(PlanRows, OneHotTimesLogarithms) {
  auto loss = [](Program& p, const T& x, const T& t) {
    T all = p.record(Op::arange, {0.0, 1.0}, {DType::i64, {}, {{k_columns}}, {}, {}})[0];
    T hit = p.record(Op::eq, {column(t), all}, {DType::i64, {DType::bool_}, {k_shape}, {}, {}})[0];
    T hot = p.record(Op::copy, {hit}, {DType::f32, {DType::f32}, {k_shape}, {}, {}})[0];
    return negated_mean(p, p.reduce(Op::sum, p.binary(Op::mul, hot, log_softmax(p, x)), 2));
  };
  expect_launches(
      [&](Program& p) { return std::vector<T>{loss(p, p.random(k_shape), classes(p))}; },
      {"tile row [24, 40] reduced 1 operands 4 folds 3", k_mean_line},
      (k_full + 2 * k_row + k_row) + (k_row + 4));
  Program p("cpu");
  T x = p.random(k_shape), t = classes(p);
  const Values logs = logs_of(p.read(x), k_rows, k_columns);
  double want = 0;
  for (int64_t r = 0; r < k_rows; ++r) want -= logs[r * k_columns + r * 7 % k_columns] / k_rows;
  EXPECT_NEAR(p.read(loss(p, x, t))[0], want, 1e-5);
}

/// nll_loss of log_softmax with a class to ignore, as its verb records it: two launches.
TEST(PlanRows, LossesOfClassesThatMayBeIgnored) {
  auto loss = [](Program& p, const T& x, const T& t) {
    T valid = p.record(Op::ne, {t, -100.0}, {DType::i64, {DType::bool_}, {{k_rows}}, {}, {}})[0];
    T safe = p.record(Op::where, {valid, t, 0.0}, {DType::i64, {}, {{k_rows}}, {}, {}})[0];
    T picked = p.unary(Op::neg, gather(p, log_softmax(p, x), column(safe)).view({k_rows}));
    T rows = p.record(Op::where, {valid, picked, 0.0}, {DType::f32, {}, {{k_rows}}, {}, {}})[0];
    T count = p.record(Op::sum, {valid}, {DType::i64, {DType::i64}, {{}}, {1, 0}, {}})[0];
    return p.binary(Op::div, p.reduce(Op::sum, rows, 1), count);
  };
  Program q("null");
  T y = loss(q, q.random(k_shape), classes(q));
  driver::reset_null_counters();
  q.cut();
  EXPECT_EQ(driver::null_counters().launches, 2);
  Program p("cpu");
  Values c;
  for (int64_t r = 0; r < k_rows; ++r)
    c.push_back(r % 3 ? static_cast<double>(r * 7 % k_columns) : -100);
  T x = p.random(k_shape), t = p.make({k_rows}, c, DType::i64);
  const Values logs = logs_of(p.read(x), k_rows, k_columns);
  double want = 0;
  for (int64_t r = 0; r < k_rows; ++r)
    if (r % 3) want -= logs[r * k_columns + r * 7 % k_columns] / (k_rows - k_rows / 3);
  const double got = p.read(loss(p, x, t))[0];
  EXPECT_NEAR(got, want, 1e-5);
  plan::set_unfused(true);
  EXPECT_EQ(p.read(loss(p, x, t))[0], got);
  plan::set_unfused(false);
}

TEST(PlanRows, OneHotByScatterIsACheckAndAMap) {
  Program p("record:cpu");
  T t = classes(p);
  T zeros = p.full(k_shape, 0);
  p.lines();
  p.record(Op::scatter, {zeros, column(t), 1.0}, {DType::f32, {}, {}, {1}, {0}});
  const Values got = p.read(zeros);
  Strings lines = plain(p.lines());
  std::sort(lines.begin(), lines.end());  // neither waits for the other
  EXPECT_EQ(lines, (Strings{"check_index items 24", "tile map [24, 40] operands 3 folds 0"}));
  for (int64_t r = 0; r < k_rows; ++r)
    for (int64_t c = 0; c < k_columns; ++c)
      ASSERT_EQ(got[r * k_columns + c], c == r * 7 % k_columns);
}

/// A check has no result; it stays when something else of the plan is computed again elsewhere.
TEST(PlanRows, ChecksSurviveRecomputing) {
  Program p("cpu");
  T x = p.random(k_shape), b = p.random({k_columns}, 2), weights = p.random(k_shape, 3);
  const Values before = p.read(weights);
  T y = p.binary(Op::add, x, p.binary(Op::mul, b, 2.0));
  Values c(k_rows, 3);
  c[5] = 40;
  p.record(Op::scatter, {weights, column(p.make({k_rows}, c, DType::i64)), 1.0},
           {DType::f32, {}, {}, {1}, {0}});
  EXPECT_THROW(
      {
        p.cut();
        plan::raise_fault(k_mps);
      },
      IndexError);
  EXPECT_EQ(p.read(weights), before);
}

TEST(PlanRows, BadIndicesRaiseAsTheKernelsDo) {
  for (const double bad : {40.0, -41.0, -1.0, 1e6}) {
    for (const bool indexed : {false, true}) {
      if (indexed && bad == -1) continue;  // the last element
      Program p("cpu");
      T x = p.random(k_shape);
      Values c(k_rows, 3);
      c[11] = bad;
      T t = p.make({k_rows}, c, DType::i64);
      auto both = with_gradient(p, x, t, indexed);
      T good = p.binary(Op::add, x, 1.0);
      p.cut();
      std::string text;
      try {
        plan::raise_fault(k_mps);
      } catch (const IndexError& e) {
        text = e.what();
      }
      EXPECT_NE(text.find(indexed ? "index" : "gather"), std::string::npos) << text;
      EXPECT_NE(text.find(format("{}", static_cast<int64_t>(bad))), std::string::npos) << text;
      EXPECT_THROW(p.read(both[0]), IndexError);
      EXPECT_THROW(p.read(both[1]), IndexError);
      EXPECT_EQ(p.read(good).size(), static_cast<size_t>(k_rows * k_columns));
    }
  }
  Program p("cpu");
  T zeros = p.full(k_shape, 0);
  Values c(k_rows, 3);
  c[5] = 40;
  p.record(Op::scatter, {zeros, column(p.make({k_rows}, c, DType::i64)), 1.0},
           {DType::f32, {}, {}, {1}, {0}});
  EXPECT_THROW(
      {
        p.cut();
        plan::raise_fault(k_mps);
      },
      IndexError);
}

TEST(PlanRows, LargeOnesAreFoldsToo) {
  for (const char* driver : {"late:cpu", "record:cpu"}) {
    Program p(driver);
    T x = p.random({300, 1000}), t = classes(p, 300, 1000);
    plan::reset_stats(k_mps);
    T loss = negated_mean(p, gather(p, log_softmax(p, x), column(t)));
    p.cut();
    EXPECT_EQ(plan::stats(k_mps).launches, 2);
    p.read(loss);
  }
}

TEST(PlanRows, KernelsStayWhereNoFoldHasTheRows) {
  Program p("record:cpu");
  T x = p.random(k_shape), t = classes(p);
  T lone = gather(p, x, column(t));
  T of_map = gather(p, p.unary(Op::relu, x), column(t));
  // Two indices a row, and fewer rows than there are.
  T logs = log_softmax(p, p.random(k_shape, 2));
  T pairs = p.make({k_rows, 2}, Values(k_rows * 2, 5), DType::i64);
  T two = gather(p, logs, pairs);
  T few = gather(p, logs, column(classes(p, 20)));
  p.lines();
  p.cut();
  int64_t gathers = 0;
  for (const std::string& line : p.lines()) gathers += line.find("gather") != std::string::npos;
  EXPECT_EQ(gathers, 4);
}

TEST(PlanRows, OtherExtentsTakeTheSameStructure) {
  Program p("record:cpu");
  auto loss = [&](int64_t rows, int64_t columns) {
    T x = p.random({rows, columns}, static_cast<uint64_t>(rows));
    T t = classes(p, rows, columns);
    const Values logs = logs_of(p.read(x), rows, columns);
    for (const bool indexed : {false, true}) {
      T all = log_softmax(p, x);
      const Values got =
          p.read(negated_mean(p, indexed ? take(p, all, t) : gather(p, all, column(t))));
      double want = 0;
      for (int64_t r = 0; r < rows; ++r)
        want -=
            logs[static_cast<size_t>(r * columns + r * 7 % columns)] / static_cast<double>(rows);
      EXPECT_NEAR(got[0], want, 1e-5);
    }
  };
  loss(24, 40);
  const int64_t first = plan::stats(k_mps).structures_built;
  loss(15, 40);
  loss(10, 90);
  loss(48, 200);
  EXPECT_EQ(plan::stats(k_mps).structures_built, first);
  // x[arange(n), t] with fewer indices than rows is another recording of the same class.
  T x = p.random({10, 90}), t = classes(p, 8, 90);
  T all = log_softmax(p, x);
  const Values logs = p.read(all);
  const Values got = p.read(take(p, log_softmax(p, x), t));
  for (size_t r = 0; r < 8; ++r) EXPECT_EQ(got[r], logs[r * 90 + r * 7 % 90]);
}

TEST(PlanRows, AnArangeThatBeginsElsewhereIsNoRowNumber) {
  Program p("cpu");
  T x = p.random({6, 9});
  T t = p.make({6}, {1, 2, 3, 4, 5, 6}, DType::i64);
  const Values logs = logs_of(p.read(x), 6, 9);
  for (const double step : {1.0, 1.0, 0.0, 1.0}) {
    T all = p.record(Op::arange, {step == 1 ? 0.0 : 2.0, step}, {DType::i64, {}, {{6}}, {}, {}})[0];
    const Values got = p.read(
        p.record(Op::index, {log_softmax(p, x), all, t}, {DType::f32, {}, {{6}}, {3}, {}})[0]);
    for (int r = 0; r < 6; ++r) EXPECT_NEAR(got[r], logs[(step == 1 ? r : 2) * 9 + r + 1], 1e-5);
  }
}

TEST(PlanRows, TheElementKeepsItsBits) {
  Program p("cpu");
  const double nan = std::nan(""), inf = INFINITY;
  const Values x = {-0.0, 1, nan, 2, inf, -inf, nan, -0.0, -inf, -inf, 3, -inf};
  T t = p.make({4}, {0, 2, 1, 2}, DType::i64);
  auto run = [&] {
    T m = p.make({4, 3}, x);
    T most = p.reduce(Op::amax, m, 2, true);
    T picked = gather(p, m, column(t));
    return std::pair{p.read(most), p.read(picked)};
  };
  const Values got = run().second;
  EXPECT_TRUE(got[0] == 0 && std::signbit(got[0]));
  EXPECT_EQ(got[1], -inf);
  EXPECT_TRUE(got[2] == 0 && std::signbit(got[2]));
  EXPECT_EQ(got[3], -inf);
}

}  // namespace
}  // namespace qs::test
