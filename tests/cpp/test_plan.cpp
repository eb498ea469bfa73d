// The planner: which kernels known programs become, and that they compute the right values.
#include <gtest/gtest.h>

#include <cmath>

#include "plan_harness.h"

namespace qs::test {
namespace {

constexpr auto k_mps = DeviceType::mps;

void expect_near(const std::vector<double>& got, const std::vector<double>& want,
                 double tolerance) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], want[i], tolerance * (1 + std::abs(want[i]))) << "element " << i;
}

TEST(Plan, ElementwiseChainIsOneKernel) {
  Program p("record:cpu");
  T x = p.random({64, 256}), y = p.random({256}, 2);
  T out = p.unary(Op::relu, p.binary(Op::add, p.binary(Op::mul, x, 3.0), y));
  const auto got = p.read(out);
  EXPECT_EQ(p.lines(),
            (std::vector<std::string>{"tile map [64, 256] operands 3 instrs 8 folds 0"}));
  const auto vx = p.read(x), vy = p.read(y);
  std::vector<double> want;
  for (size_t i = 0; i < vx.size(); ++i) want.push_back(std::max(0.0, vx[i] * 3 + vy[i % 256]));
  expect_near(got, want, 1e-6);
  EXPECT_EQ(plan::stats(k_mps).launches, 1);
}

TEST(Plan, SoftmaxIsOneKernel) {
  Program p("record:cpu");
  T x = p.random({32, 100});
  T y = p.record(Op::softmax, {x}, {DType::f32, {}, {{32, 100}}, {2, 0}, {}})[0];
  const auto got = p.read(y);
  EXPECT_EQ(p.lines().size(), 1u);
  const auto vx = p.read(x);
  std::vector<double> want(vx.size());
  for (int r = 0; r < 32; ++r) {
    double m = -1e300, s = 0;
    for (int c = 0; c < 100; ++c) m = std::max(m, vx[r * 100 + c]);
    for (int c = 0; c < 100; ++c) s += std::exp(vx[r * 100 + c] - m);
    for (int c = 0; c < 100; ++c) want[r * 100 + c] = std::exp(vx[r * 100 + c] - m) / s;
  }
  expect_near(got, want, 1e-5);
}

TEST(Plan, SoftmaxOverColumns) {
  Program p("record:cpu");
  T x = p.random({32, 100});
  T y = p.record(Op::softmax, {x}, {DType::f32, {}, {{32, 100}}, {1, 0}, {}})[0];
  const auto got = p.read(y);
  const auto log = p.lines();
  ASSERT_EQ(log.size(), 1u);
  EXPECT_NE(log[0].find("column"), std::string::npos) << log[0];
  const auto vx = p.read(x);
  std::vector<double> want(vx.size());
  for (int c = 0; c < 100; ++c) {
    double m = -1e300, s = 0;
    for (int r = 0; r < 32; ++r) m = std::max(m, vx[r * 100 + c]);
    for (int r = 0; r < 32; ++r) s += std::exp(vx[r * 100 + c] - m);
    for (int r = 0; r < 32; ++r) want[r * 100 + c] = std::exp(vx[r * 100 + c] - m) / s;
  }
  expect_near(got, want, 1e-5);
}

TEST(Plan, LayerNormForwardAndBackward) {
  Program p("record:cpu");
  T x = p.random({16, 64}), w = p.random({64}, 2), b = p.random({64}, 3), g = p.random({16, 64}, 4);
  const uint64_t eps = std::bit_cast<uint64_t>(1e-5);
  auto f = p.record(Op::layer_norm, {x, w, b},
                    {DType::f32, {}, {{16, 64}, {16}, {16}}, {2, 0, eps}, {}}, 3);
  p.cut();
  EXPECT_EQ(p.lines().size(), 1u);
  T dx = p.record(Op::layer_norm_backward, {g, x, f[1], f[2], w},
                  {DType::f32, {}, {{16, 64}}, {2, 0}, {}})[0];
  const auto got = p.read(dx);
  EXPECT_EQ(p.lines().size(), 1u);
  const auto vx = p.read(x), vw = p.read(w), vb = p.read(b), vg = p.read(g), vy = p.read(f[0]);
  for (int r = 0; r < 16; ++r) {
    double m = 0, v = 0;
    for (int c = 0; c < 64; ++c) m += vx[r * 64 + c] / 64;
    for (int c = 0; c < 64; ++c) v += (vx[r * 64 + c] - m) * (vx[r * 64 + c] - m) / 64;
    const double s = 1 / std::sqrt(v + 1e-5);
    double a = 0, q = 0;
    for (int c = 0; c < 64; ++c) {
      const double h = (vx[r * 64 + c] - m) * s, gw = vg[r * 64 + c] * vw[c];
      ASSERT_NEAR(vy[r * 64 + c], h * vw[c] + vb[c], 1e-4);
      a += gw / 64;
      q += gw * h / 64;
    }
    for (int c = 0; c < 64; ++c) {
      const double h = (vx[r * 64 + c] - m) * s, gw = vg[r * 64 + c] * vw[c];
      ASSERT_NEAR(got[r * 64 + c], (gw - a - h * q) * s, 1e-4);
    }
  }
}

TEST(Plan, CrossEntropyForwardAndBackward) {
  Program p("record:cpu");
  T x = p.random({8, 10});
  T classes = p.make({8}, {0, 1, 2, 3, 9, -100, 5, 6}, DType::i64);
  const auto ignore = static_cast<uint64_t>(int64_t{-100});
  auto f = p.record(Op::cross_entropy, {x, classes},
                    {DType::f32, {}, {{8}, {8}}, {2, 0, ignore}, {}}, 2);
  p.cut();
  EXPECT_EQ(p.lines().size(), 1u);
  T g = p.make({8}, {1, 1, 1, 1, 2, 1, 1, 1});
  T dx = p.record(Op::cross_entropy_backward, {g, x, classes, f[1]},
                  {DType::f32, {}, {{8, 10}}, {2, 0, ignore}, {}})[0];
  const auto got = p.read(dx), loss = p.read(f[0]), vx = p.read(x), vg = p.read(g),
             vc = p.read(classes);
  EXPECT_EQ(p.lines().size(), 1u);
  for (int r = 0; r < 8; ++r) {
    double s = 0;
    for (int c = 0; c < 10; ++c) s += std::exp(vx[r * 10 + c]);
    const int k = static_cast<int>(vc[r]);
    ASSERT_NEAR(loss[r], k < 0 ? 0 : std::log(s) - vx[r * 10 + k], 1e-5);
    for (int c = 0; c < 10; ++c)
      ASSERT_NEAR(got[r * 10 + c], k < 0 ? 0 : vg[r] * (std::exp(vx[r * 10 + c]) / s - (c == k)),
                  1e-5);
  }
}

TEST(Plan, BadTargetRaisesAndIsForgotten) {
  Program p("record:cpu");
  T x = p.random({2, 10});
  T classes = p.make({2}, {0, 12}, DType::i64);
  auto f =
      p.record(Op::cross_entropy, {x, classes}, {DType::f32, {}, {{2}, {2}}, {2, 0, 1000}, {}}, 2);
  p.cut();
  EXPECT_FALSE(f[0].content->block);
  EXPECT_NE(f[0].content->error->text.find("Target 12 is out of bounds."), std::string::npos);
  try {
    plan::raise_fault(k_mps);
    FAIL();
  } catch (const IndexError& e) {
    EXPECT_NE(std::string(e.what()).find("Target 12 is out of bounds."), std::string::npos);
  }
  EXPECT_NO_THROW(plan::raise_fault(k_mps));
  EXPECT_EQ(p.read(p.binary(Op::add, x, 1.0)).size(), 20u);
}

TEST(Plan, MapFeedsFold) {
  Program p("record:cpu");
  T x = p.random({64, 256});
  T y = p.unary(Op::relu, x);
  T s = p.reduce(Op::sum, y, 3);
  const auto got = p.read(s);
  EXPECT_EQ(p.lines().size(), 1u);
  double want = 0;
  for (double v : p.read(x)) want += std::max(v, 0.0);
  EXPECT_NEAR(got[0], want, 1e-2);
  EXPECT_EQ(p.read(y).size(), 64u * 256);
}

TEST(Plan, BiasGradientJoinsItsProducer) {
  Program p("record:cpu");
  T g = p.random({64, 256}), h = p.random({64, 256}, 2);
  T d = p.binary(Op::relu_backward, g, h);
  T db = p.reduce(Op::sum, d, 1);
  p.cut();
  const auto log = p.lines();
  ASSERT_EQ(log.size(), 1u);
  EXPECT_NE(log[0].find("column"), std::string::npos) << log[0];
  const auto vg = p.read(g), vh = p.read(h), got = p.read(db), vd = p.read(d);
  for (int c = 0; c < 256; ++c) {
    double want = 0;
    for (int r = 0; r < 64; ++r) want += vh[r * 256 + c] > 0 ? vg[r * 256 + c] : 0;
    ASSERT_NEAR(got[c], want, 1e-4);
  }
}

TEST(Plan, InPlaceChain) {
  Program p("record:cpu");
  T x = p.random({100});
  const auto before = p.read(x);
  T y = p.binary(Op::mul, x, 2.0);
  p.update(Op::add, x, y);
  p.update(Op::mul, x, 0.5);
  T z = p.binary(Op::sub, x, y);
  const void* address = x.content->block->ptr();
  const auto got = p.read(z), after = p.read(x);
  EXPECT_EQ(p.lines().size(), 1u);
  EXPECT_EQ(x.content->block->ptr(), address);
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_NEAR(after[i], before[i] * 1.5, 1e-5);
    EXPECT_NEAR(got[i], before[i] * -0.5, 1e-5);
  }
}

TEST(Plan, TransposedReadersRunBeforeTheWrite) {
  Program p("record:cpu");
  T x = p.random({20, 20});
  const auto before = p.read(x);
  T y = p.binary(Op::add, x.t(), 1.0);
  p.update(Op::mul, x, 0.0);
  T z = p.binary(Op::add, x.t(), y);
  const auto got = p.read(z);
  for (int i = 0; i < 20; ++i)
    for (int j = 0; j < 20; ++j) ASSERT_NEAR(got[i * 20 + j], before[j * 20 + i] + 1, 1e-5);
  for (double v : p.read(x)) ASSERT_EQ(v, 0);
}

TEST(Plan, ACheapIntermediateIsComputedAgainWhereItIsReadTransposed) {
  Program p("record:cpu");
  T x = p.random({30, 50});
  T h = p.unary(Op::exp, x);
  T out = p.binary(Op::add, h.t(), 1.0);
  h = {};
  const auto got = p.read(out), vx = p.read(x);
  EXPECT_EQ(p.lines(), (std::vector<std::string>{"tile map [50, 30] operands 2 instrs 5 folds 0"}));
  for (int i = 0; i < 50; ++i)
    for (int j = 0; j < 30; ++j) ASSERT_NEAR(got[i * 30 + j], std::exp(vx[j * 50 + i]) + 1, 1e-4);
}

TEST(Plan, BroadcastProducersAreComputedInTheirReaders) {
  Program p("record:cpu");
  T x = p.random({64, 256}), b = p.random({256}, 2), s = p.random({}, 3);
  T shift = p.binary(Op::mul, b, 2.0);
  T scale = p.unary(Op::sqrt, p.unary(Op::exp, s));  // one number: all of it, once a launch
  T y = p.binary(Op::add, p.binary(Op::mul, x, scale), shift);
  shift = scale = {};
  const auto got = p.read(y), vx = p.read(x), vb = p.read(b), vs = p.read(s);
  const auto lines = p.lines();
  ASSERT_EQ(lines.size(), 1u) << lines[0];
  EXPECT_EQ(plan::stats(k_mps).bytes_moved, 2 * 64 * 256 * 4 + 256 * 4 + 4);
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], vx[i] * std::exp(vs[0] / 2) + 2 * vb[i % 256], 1e-4);
}

TEST(Plan, ProducersThatOthersKeepAreStoredAndRead) {
  Program p("record:cpu");
  T x = p.random({64, 256}), b = p.random({256}, 2);
  T shift = p.binary(Op::mul, b, 2.0);
  T y = p.binary(Op::add, x, shift);
  p.cut();
  EXPECT_EQ(p.lines().size(), 2u);
  const auto vb = p.read(b), vs = p.read(shift);
  for (size_t i = 0; i < vb.size(); ++i) ASSERT_EQ(vs[i], 2 * vb[i]);
}

TEST(Plan, RecomputingSeesTheOldContentOfWhatIsWrittenLater) {
  Program p("record:cpu");
  T x = p.random({40, 30}), b = p.random({30}, 2);
  const auto vx = p.read(x), vb = p.read(b);
  T shift = p.binary(Op::mul, b, 2.0);
  p.update(Op::mul, b, 0.0);
  T y = p.binary(Op::add, x, shift);
  shift = {};
  const auto got = p.read(y);
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], vx[i] + 2 * vb[i % 30], 1e-5);
  for (double v : p.read(b)) ASSERT_EQ(v, 0);
}

TEST(Plan, RecomputingFollowsSlicesAndSteps) {
  Program p("record:cpu");
  T x = p.random({12, 20}), z = p.random({3, 12}, 2);
  T h = p.binary(Op::add, x, 1.0);
  T y = p.binary(Op::mul, h.slice(0, 2, 10, 3).slice(1, 3, 15), z);
  h = {};
  const auto got = p.read(y), vx = p.read(x), vz = p.read(z);
  EXPECT_EQ(p.lines().size(), 1u);
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 12; ++j)
      ASSERT_NEAR(got[i * 12 + j], (vx[(2 + 3 * i) * 20 + 3 + j] + 1) * vz[i * 12 + j], 1e-5);
}

TEST(Plan, TransposedReadOfAnIntermediate) {
  Program p("record:cpu");
  T x = p.random({30, 50});
  T h = p.unary(Op::digamma, p.unary(Op::exp, x));  // not worth computing twice
  T out = p.binary(Op::add, h.t(), 1.0);
  h = {};
  const auto got = p.read(out);
  EXPECT_EQ(p.lines().size(), 2u);
  h = p.unary(Op::digamma, p.unary(Op::exp, x));
  const auto plain = p.read(h);
  for (int i = 0; i < 50; ++i)
    for (int j = 0; j < 30; ++j) ASSERT_NEAR(got[i * 30 + j], plain[j * 50 + i] + 1, 1e-4);
}

TEST(Plan, PartialWritesKeepTheRest) {
  Program p("record:cpu");
  T x = p.random({6, 8});
  const auto before = p.read(x);
  T h = p.binary(Op::add, x, 0.0);
  p.copy_into(h.slice(0, 2, 4), Arg(p.full({2, 8}, 7)));
  p.update(Op::add, h.slice(1, 0, 8, 2), 1.0);
  p.copy_into(x.slice(0, 0, 1), Arg(h.slice(0, 2, 3)));
  const auto got = p.read(h), after = p.read(x);
  for (int i = 0; i < 6; ++i)
    for (int j = 0; j < 8; ++j) {
      const double want = (i == 2 || i == 3 ? 7 : before[i * 8 + j]) + (j % 2 == 0);
      ASSERT_NEAR(got[i * 8 + j], want, 1e-6);
      ASSERT_NEAR(after[i * 8 + j], i == 0 ? 7 + (j % 2 == 0) : before[i * 8 + j], 1e-6);
    }
}

TEST(Plan, DeadResultsAreNotComputed) {
  Program p("record:cpu");
  T x = p.random({100});
  {
    T dead = p.unary(Op::exp, x);
  }
  T y = p.binary(Op::add, x, 1.0);
  p.cut();
  EXPECT_EQ(p.lines(), (std::vector<std::string>{"tile map [100] operands 2 instrs 4 folds 0"}));
}

TEST(Plan, NumbersAndOffsetsAreNotKey) {
  Program p("null");
  T x = p.random({128, 16});
  for (int i = 0; i < 6; ++i) {
    T y = p.binary(Op::mul, x.slice(0, i * 16, i * 16 + 16), 0.1 * i);
    p.cut();
  }
  const auto s = plan::stats(k_mps);
  EXPECT_EQ(s.plans_built, 1);
  EXPECT_EQ(s.hits, 5);
  EXPECT_EQ(s.replays, 5);
  EXPECT_EQ(s.launches, 6);
  EXPECT_EQ(driver::null_counters().launches, 6);
  EXPECT_EQ(driver::null_counters().touched_bytes, 6 * 2 * 16 * 16 * 4);
}

TEST(Plan, EqualShapesShareKernels) {
  Program p("null");
  for (int64_t n : {100, 200, 300}) {
    T x = p.random({n});
    T y = p.binary(Op::mul, x, 2.0);
    p.cut();
  }
  EXPECT_EQ(plan::stats(k_mps).plans_built, 3);
  EXPECT_EQ(driver::null_counters().kernels_built, 1);
}

TEST(Plan, LivenessMakesAnotherPlanOnce) {
  Program p("record:cpu");
  T x = p.random({100});
  for (int i = 0; i < 4; ++i) {
    T h = p.unary(Op::exp, x);
    T y = p.binary(Op::add, h, 1.0);
    if (i % 2 == 0) h = {};
    const auto got = p.read(y);
    if (i % 2) {
      EXPECT_NEAR(p.read(h)[3] + 1, got[3], 1e-5);
    }
  }
  EXPECT_EQ(plan::stats(k_mps).plans_built, 2);
}

TEST(Plan, GuardsAreChecked) {
  Program p("record:cpu");
  T x = p.random({64});
  for (int64_t start : {0, 0, 16, 16}) {
    const auto before = p.read(x);
    T a = x.slice(0, 0, 16), b = x.slice(0, start, start + 16);
    T y = p.binary(Op::add, a, 1.0);
    p.update(Op::mul, b, 2.0);
    const auto got = p.read(y), after = p.read(x);
    for (int i = 0; i < 16; ++i)
      ASSERT_EQ(got[i], static_cast<float>(static_cast<float>(before[i]) + 1.0f));
    for (int i = 0; i < 64; ++i)
      ASSERT_EQ(after[i], before[i] * (i >= start && i < start + 16 ? 2 : 1)) << i;
  }
  EXPECT_EQ(plan::stats(k_mps).plans_built, 2);
}

TEST(Plan, MatmulForms) {
  Program p("record:cpu");
  T a = p.random({5, 7}), b = p.random({7, 3}, 2), bias = p.random({3}, 3);
  const auto va = p.read(a), vb = p.read(b), vc = p.read(bias);
  auto product = [&](int i, int j) {
    double s = 0;
    for (int k = 0; k < 7; ++k) s += va[i * 7 + k] * vb[k * 3 + j];
    return s;
  };
  const auto plain = p.read(p.matmul(a, b));
  const auto biased = p.read(p.matmul(a, b, bias));
  const auto scaled = p.read(p.matmul(a, b, bias, 0.5, 2.0));
  const auto turned = p.read(p.matmul(b.t(), a.t()));
  for (int i = 0; i < 5; ++i)
    for (int j = 0; j < 3; ++j) {
      ASSERT_NEAR(plain[i * 3 + j], product(i, j), 1e-5);
      ASSERT_NEAR(biased[i * 3 + j], product(i, j) + vc[j], 1e-5);
      ASSERT_NEAR(scaled[i * 3 + j], 0.5 * product(i, j) + 2 * vc[j], 1e-5);
      ASSERT_NEAR(turned[j * 5 + i], product(i, j), 1e-5);
    }
  T batch = p.random({2, 4, 5, 7});
  p.lines();
  T many = p.matmul(batch, b);
  const auto got = p.read(many), vm = p.read(batch);
  EXPECT_EQ(p.lines(), (std::vector<std::string>{"matmul f32 40x3x7 batch 1"}));
  for (int i = 0; i < 40; ++i)
    for (int j = 0; j < 3; ++j) {
      double s = 0;
      for (int k = 0; k < 7; ++k) s += vm[i * 7 + k] * vb[k * 3 + j];
      ASSERT_NEAR(got[i * 3 + j], s, 1e-5);
    }
}

TEST(Plan, BadIndexLeavesTheDestinationWhole) {
  Program p("record:cpu");
  T x = p.random({5, 4}), values = p.random({2, 4}, 2);
  const auto before = p.read(x);
  T index = p.make({2}, {1, 7}, DType::i64);
  p.record(Op::index_add, {x, index, values}, {DType::f32, {}, {}, {0}, {0}});
  p.cut();
  try {
    plan::raise_fault(k_mps);
    FAIL();
  } catch (const IndexError& e) {
    EXPECT_NE(std::string(e.what()).find("index 7 is out of bounds for dimension 0 with size 5"),
              std::string::npos)
        << e.what();
    EXPECT_NE(std::string(e.what()).find("here.py:1"), std::string::npos);
  }
  EXPECT_EQ(p.read(x), before);
  T good = p.make({2}, {1, 3}, DType::i64);
  p.record(Op::index_add, {x, good, values}, {DType::f32, {}, {}, {0}, {0}});
  const auto after = p.read(x), add = p.read(values);
  for (int j = 0; j < 4; ++j) EXPECT_NEAR(after[4 + j], before[4 + j] + add[j], 1e-6);
}

TEST(Plan, WritesToOlderStoragesWaitForChecks) {
  Program p("record:cpu");
  T w = p.random({6}), x = p.random({2, 10});
  const auto before = p.read(w);
  T classes = p.make({2}, {0, 12}, DType::i64);
  p.update(Op::add, w, 1.0);  // recorded first, run last
  auto f =
      p.record(Op::cross_entropy, {x, classes}, {DType::f32, {}, {{2}, {2}}, {2, 0, 1000}, {}}, 2);
  p.cut();
  EXPECT_THROW(plan::raise_fault(k_mps), IndexError);
  EXPECT_EQ(p.read(w), before);
}

TEST(Plan, IntegerDivisionByZero) {
  Program p("record:cpu");
  T x = p.make({3}, {7, -7, 9}, DType::i64), y = p.make({3}, {2, 2, 0}, DType::i64);
  T q = p.record(Op::floor_divide, {x, y}, {DType::i64, {}, {{3}}, {}, {}})[0];
  p.cut();
  try {
    plan::raise_fault(k_mps);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("ZeroDivisionError"), std::string::npos);
  }
}

TEST(Plan, FailedAllocationSpoilsTheResultsAlone) {
  Program p("cpu");
  T x = p.random({100});
  bool armed = true;
  p.device().allocator().set_fault_hook([](size_t, void* on) { return *static_cast<bool*>(on); },
                                        &armed);
  T y = p.binary(Op::add, x, 1.0);
  EXPECT_THROW(p.cut(), OutOfMemoryError);
  EXPECT_EQ(y.content->error->kind, plan::Fault::memory);
  armed = false;
  T z = p.binary(Op::add, x, 1.0);
  EXPECT_EQ(p.read(z).size(), 100u);
}

TEST(Plan, IntermediatesShareTheArena) {
  Program p("cpu");
  T x = p.random({64, 64});
  T h = x;
  for (int i = 0; i < 10; ++i) h = p.unary(Op::tanh, p.matmul(h, x));
  const auto got = p.read(h);
  // Two matrices are alive at a time; tanh works in place.
  EXPECT_LE(p.device().arena_bytes(), 2u * 64 * 64 * 4 + 1024);
  std::vector<double> a = p.read(x), v = a;
  for (int i = 0; i < 10; ++i) {
    std::vector<double> next(64 * 64);
    for (int r = 0; r < 64; ++r)
      for (int c = 0; c < 64; ++c) {
        double s = 0;
        for (int k = 0; k < 64; ++k) s += v[r * 64 + k] * a[k * 64 + c];
        next[r * 64 + c] = std::tanh(s);
      }
    v = next;
    if (i == 0) break;  // deep compositions of tanh amplify rounding: one layer is compared
  }
  EXPECT_EQ(got.size(), v.size());
}

TEST(Plan, EmptyAndSingleElements) {
  Program p("cpu");
  T none = p.empty({0, 4}), one = p.make({}, {3});
  EXPECT_EQ(p.read(p.reduce(Op::sum, none, 1)), std::vector<double>(4, 0));
  EXPECT_EQ(p.read(p.reduce(Op::prod, none, 1, true)), std::vector<double>(4, 1));
  EXPECT_EQ(p.read(p.binary(Op::add, one, one)), std::vector<double>{6});
  EXPECT_EQ(p.read(p.update(Op::mul, one, 2.0)), std::vector<double>{6});
  T row = p.make({1, 5}, {1, 2, 3, 4, 5});
  EXPECT_EQ(p.read(p.reduce(Op::sum, row, 1)), (std::vector<double>{1, 2, 3, 4, 5}));
  EXPECT_EQ(p.read(p.reduce(Op::argmax, row, 1)), std::vector<double>(5, 0));
  T all = p.binary(Op::mul, p.reduce(Op::sum, row, 3), one);
  EXPECT_EQ(p.read(all), std::vector<double>{90});
  T flags = p.make({3}, {1, 0, 1}, DType::bool_);
  EXPECT_EQ(p.read(p.record(Op::sum, {flags}, {DType::i64, {}, {{}}, {1, 0}, {}})[0]),
            std::vector<double>{2});
}

TEST(Plan, LongSumsDoNotDependOnGrouping) {
  std::vector<double> sums[2];
  for (int fused = 0; fused < 2; ++fused) {
    Program p("cpu");
    plan::set_unfused(!fused);
    T x = p.random({100000});
    T y = p.unary(Op::exp, x);
    T s = p.reduce(Op::sum, y, 1);
    y = {};
    sums[fused] = p.read(s);
  }
  plan::set_unfused(false);
  EXPECT_EQ(sums[0], sums[1]);
}

TEST(Plan, CacheIsBounded) {
  Program p("null");
  plan::set_plan_limit(4, 4);
  for (int64_t n = 1; n <= 10; ++n) {
    T x = p.empty({n});
    T y = p.binary(Op::add, x, 1.0);
    p.cut();
  }
  const auto s = plan::stats(k_mps);
  plan::set_plan_limit(512, 512);
  EXPECT_EQ(s.plans, 4);
  EXPECT_EQ(s.evictions, 6);
}

TEST(Plan, AttentionHeadsNeedFewCommands) {
  Program p("record:cpu");
  for (int64_t heads : {3, 20}) {
    const int64_t batch = 24;
    T x = p.random({batch, 6, heads * 8});
    T q = x.view({batch, 6, heads, 8});  // as [batch, heads, 6, 8]
    std::swap(q.layout.shape[1], q.layout.shape[2]);
    std::swap(q.layout.strides[1], q.layout.strides[2]);
    T k = q;
    std::swap(k.layout.shape[2], k.layout.shape[3]);
    std::swap(k.layout.strides[2], k.layout.strides[3]);
    T a = p.record(Op::matmul, {q, k, {}},
                   {DType::f32,
                    {},
                    {{batch, heads, 6, 6}},
                    {std::bit_cast<uint64_t>(1.0), std::bit_cast<uint64_t>(1.0)},
                    {}})[0];
    const auto got = p.read(a), vq = p.read(q);
    EXPECT_EQ(p.lines().size(), 3u);  // three stacks; or two copies and one stack
    for (int64_t s = 0; s < batch * heads; ++s)
      for (int i = 0; i < 6; ++i)
        for (int j = 0; j < 6; ++j) {
          double want = 0;
          for (int c = 0; c < 8; ++c)
            want += vq[static_cast<size_t>(s * 48 + i * 8 + c)] *
                    vq[static_cast<size_t>(s * 48 + j * 8 + c)];
          ASSERT_NEAR(got[static_cast<size_t>(s * 36 + i * 6 + j)], want, 1e-4);
        }
  }
}

TEST(Plan, CommonNodesMerge) {
  Program p("record:cpu");
  T x = p.random({50});
  T a = p.unary(Op::exp, x), b = p.unary(Op::exp, x);
  T y = p.binary(Op::mul, a, b);
  a = b = {};
  p.cut();
  EXPECT_EQ(p.lines(), (std::vector<std::string>{"tile map [50] operands 2 instrs 4 folds 0"}));
}

}  // namespace
}  // namespace qs::test
