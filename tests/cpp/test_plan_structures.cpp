// Plans in two levels: what makes a structure, what makes an instance, and that both give what a
// plan built for the very extents gives.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "plan_harness.h"

namespace qs::test {
namespace {

constexpr auto k_mps = DeviceType::mps;

struct Counts {
  int64_t structures, instances, kernels, launches;
  friend bool operator==(const Counts&, const Counts&) = default;
};
void PrintTo(const Counts& c, std::ostream* out) {
  *out << c.structures << " structures, " << c.instances << " instances, " << c.kernels
       << " kernels, " << c.launches << " launches";
}
Counts counts(Program& p) {
  const auto s = plan::stats(k_mps);
  EXPECT_EQ(s.plans_built, s.structures_built + s.instances_built);
  return {s.structures_built, s.instances_built, p.device().kernel_counts().built, s.launches};
}

/// Softmax of a product, with a bias: matmul, a map, a row kernel.
T attention_like(Program& p, const T& x, const T& w, const T& b) {
  T h = p.binary(Op::add, p.matmul(x, w), b);
  return p.record(Op::softmax, {h}, {DType::f32, {}, {h.layout.shape}, {2, 0}, {}})[0];
}

TEST(PlanStructures, OtherExtentsAreInstances) {
  Program p("record:cpu");
  T w = p.random({12, 40}), b = p.random({40}, 2);
  int turn = 0;
  for (int64_t n : {5, 7, 23, 64, 5, 7}) {
    T x = p.random({n, 12}, static_cast<uint64_t>(n));
    T y = attention_like(p, x, w, b);
    const auto got = p.read(y);
    for (int64_t r = 0; r < n; ++r) {
      double sum = 0;
      for (int64_t c = 0; c < 40; ++c) sum += got[static_cast<size_t>(r * 40 + c)];
      ASSERT_NEAR(sum, 1, 1e-5);
    }
    ++turn;
    EXPECT_EQ(counts(p), (Counts{1, std::min(turn, 4) - 1, 2, 2 * turn}));
  }
  EXPECT_EQ(plan::stats(k_mps).structures, 1);
  EXPECT_EQ(plan::stats(k_mps).plans, 4);
}

// The product and the maps behind it keep their kernels: none is looked up again.
TEST(PlanStructures, WhatFollowsAProductIsFitted) {
  Program p("cpu");
  T w = p.random({12, 40});
  int64_t before = 0;
  for (int64_t n : {50, 70, 9, 70}) {
    T x = p.random({n, 12}, static_cast<uint64_t>(n)), bias = p.random({n, 40}, 2);
    T y = p.unary(Op::tanh, p.binary(Op::add, p.matmul(x, w), bias));
    p.cut();
    const auto kernels = p.device().kernel_counts();
    const int64_t looked_up = kernels.hits + kernels.built - before;
    before = kernels.hits + kernels.built;
    EXPECT_EQ(looked_up, n == 50 ? 2 : 0) << n;
    const auto a = p.read(x), b = p.read(w), c = p.read(bias), got = p.read(y);
    before = p.device().kernel_counts().hits + p.device().kernel_counts().built;
    for (int64_t i = 0; i < n * 40; ++i) {
      double sum = c[static_cast<size_t>(i)];
      for (int64_t k = 0; k < 12; ++k)
        sum += a[static_cast<size_t>(i / 40 * 12 + k)] * b[static_cast<size_t>(k * 40 + i % 40)];
      ASSERT_NEAR(got[static_cast<size_t>(i)], std::tanh(sum), 1e-5) << n;
    }
  }
}

TEST(PlanStructures, OneAndNoneAreOtherClasses) {
  Program p("null");
  T b = p.random({40}, 2);
  for (int64_t n : {5, 1, 9, 0, 1, 0, 17}) {
    T x = p.empty({n, 40});
    T y = p.binary(Op::add, x, b);
    p.cut();
  }
  EXPECT_EQ(plan::stats(k_mps).structures_built, 3);
  EXPECT_EQ(plan::stats(k_mps).instances_built, 2);
}

TEST(PlanStructures, StridesAreNotKeyButBroadcastIs) {
  Program p("record:cpu");
  T data = p.random({64, 50});
  const auto all = p.read(data);
  int64_t structures = 0;
  for (int64_t step : {3, 4, 7, 9}) {
    T view = data.slice(1, 0, 50, step);
    T y = p.binary(Op::mul, view, 2.0);
    const auto got = p.read(y);
    for (size_t i = 0; i < got.size(); ++i) {
      const size_t columns = static_cast<size_t>(view.layout.shape[1]);
      ASSERT_EQ(got[i], 2 * all[i / columns * 50 + i % columns * static_cast<size_t>(step)]);
    }
    if (!structures) structures = counts(p).structures;
  }
  EXPECT_EQ(counts(p), (Counts{1, 3, 1, 4}));
  T row = p.random({1, 50}).expand({64, 50});
  T y = p.binary(Op::mul, row, 2.0);
  p.cut();
  EXPECT_EQ(counts(p).structures, 2);
}

/// The n of a mean, and constants that happen to equal it.
TEST(PlanStructures, NumbersThatFollowFromExtents) {
  Program p("record:cpu");
  for (int64_t n : {4, 7, 2, 33, 5, 100}) {
    T x = p.random({n, 24}, static_cast<uint64_t>(n));
    const auto v = p.read(x);
    T y = p.reduce(Op::mean, p.binary(Op::mul, x, 2.0), 1);
    T z = p.record(Op::var, {x},
                   {DType::f32, {}, {{24}}, {1, 0, std::bit_cast<uint64_t>(1.0)}, {}})[0];
    const auto mean = p.read(y), var = p.read(z);
    for (size_t c = 0; c < 24; ++c) {
      double sum = 0, squares = 0;
      for (size_t r = 0; r < static_cast<size_t>(n); ++r) sum += v[r * 24 + c];
      for (size_t r = 0; r < static_cast<size_t>(n); ++r) {
        const double d = v[r * 24 + c] - sum / static_cast<double>(n);
        squares += d * d;
      }
      ASSERT_NEAR(mean[c], 2 * sum / static_cast<double>(n), 1e-5) << n;
      ASSERT_NEAR(var[c], squares / static_cast<double>(n - 1), 1e-4) << n;
    }
  }
  EXPECT_EQ(plan::stats(k_mps).structures_built, 1);
  EXPECT_EQ(plan::stats(k_mps).instances_built, 5);
}

/// A batch as large as a row: what could be fused then cannot be for others.
TEST(PlanStructures, ExtentsThatHappenToAgree) {
  Program p("record:cpu");
  T w = p.random({10, 10}, 3);
  const auto vw = p.read(w);
  for (int64_t n : {10, 12, 13, 10, 14}) {
    T x = p.random({n, 10}, static_cast<uint64_t>(n));
    const auto v = p.read(x);
    T rows = p.reduce(Op::sum, x, 2);       // [n]
    T columns = p.reduce(Op::sum, x, 1);    // [10]
    T a = p.binary(Op::mul, columns, 2.0);  // reads what has n's extent when n is 10
    T b = p.binary(Op::add, rows, 1.0);
    const auto got_a = p.read(a), got_b = p.read(b);
    for (size_t c = 0; c < 10; ++c) {
      double sum = 0;
      for (size_t r = 0; r < static_cast<size_t>(n); ++r) sum += v[r * 10 + c];
      ASSERT_NEAR(got_a[c], 2 * sum, 1e-4);
    }
    for (size_t r = 0; r < static_cast<size_t>(n); ++r) {
      double sum = 0;
      for (size_t c = 0; c < 10; ++c) sum += v[r * 10 + c];
      ASSERT_NEAR(got_b[r], sum + 1, 1e-4);
    }
  }
  EXPECT_LE(plan::stats(k_mps).structures_built, 2);
}

/// Two views of one storage, merged because they are one view; then they are two.
TEST(PlanStructures, LayoutsThatWereOneAreChecked) {
  Program p("record:cpu");
  T x = p.random({40});
  const auto v = p.read(x);
  for (int64_t n : {8, 9, 10, 11}) {
    const int64_t m = n == 10 ? 7 : n;  // the third time the second view is shorter
    T a = p.unary(Op::exp, x.slice(0, 0, n)), b = p.unary(Op::exp, x.slice(0, 0, m));
    T s = p.reduce(Op::sum, a, 1), t = p.reduce(Op::sum, b, 1);
    a = b = {};
    const auto got_s = p.read(s), got_t = p.read(t);
    double want_s = 0, want_t = 0;
    for (int64_t i = 0; i < n; ++i) want_s += std::exp(v[static_cast<size_t>(i)]);
    for (int64_t i = 0; i < m; ++i) want_t += std::exp(v[static_cast<size_t>(i)]);
    ASSERT_NEAR(got_s[0], want_s, 1e-4);
    ASSERT_NEAR(got_t[0], want_t, 1e-4);
  }
  EXPECT_EQ(plan::stats(k_mps).structures_built, 2);
  EXPECT_EQ(plan::stats(k_mps).instances_built, 2);
}

/// A storage dies where another of its size is born: its memory is handed on, while sizes agree.
TEST(PlanStructures, DonationsAreChecked) {
  Program p("record:cpu");
  for (int64_t n : {6, 9, 31}) {
    T x = p.random({n, 8}, static_cast<uint64_t>(n)), w = p.random({8, 8}, 5);
    const auto vx = p.read(x), vw = p.read(w);
    T h = p.unary(Op::exp, p.matmul(x, w));
    T y = p.matmul(h, w);
    h = {};
    const auto got = p.read(y);
    for (int64_t r = 0; r < n; ++r)
      for (int64_t c = 0; c < 8; ++c) {
        double want = 0;
        for (int64_t k = 0; k < 8; ++k) {
          double z = 0;
          for (int64_t j = 0; j < 8; ++j)
            z += vx[static_cast<size_t>(r * 8 + j)] * vw[static_cast<size_t>(j * 8 + k)];
          want += std::exp(z) * vw[static_cast<size_t>(k * 8 + c)];
        }
        ASSERT_NEAR(got[static_cast<size_t>(r * 8 + c)], want, 1e-3 * (1 + std::abs(want)));
      }
  }
  EXPECT_EQ(counts(p), (Counts{1, 2, 2, 6}));
}

/// Short rows are held, long ones are not; few columns are folded by rows, many by columns.
TEST(PlanStructures, SizeClassesMakeOneEach) {
  Program p("null");
  for (int64_t n : {64, 96, 1100000, 1100001, 128, 1200000}) {
    T x = p.empty({8, n});
    T y = p.record(Op::softmax, {x}, {DType::f32, {}, {x.layout.shape}, {2, 0}, {}})[0];
    p.cut();
  }
  EXPECT_EQ(counts(p), (Counts{1, 5, 2, 6}));  // one structure, two kernels
  plan::reset_stats(k_mps);
  for (int64_t n : {64, 8, 96, 12, 15, 16}) {
    T x = p.empty({32, n});
    T y = p.reduce(Op::sum, x, 1);
    p.cut();
  }
  EXPECT_EQ(counts(p), (Counts{2, 4, 4, 6}));
}

TEST(PlanStructures, LivenessComesAndGoesAtAnySize) {
  Program p("record:cpu");
  T kept;
  int64_t late = 0;
  for (int64_t i = 0; i < 200; ++i) {
    T x = p.random({8 + i, 3}, static_cast<uint64_t>(i));
    T h = p.unary(Op::exp, x);
    T y = p.reduce(Op::sum, h, 2);
    if (i % 50 == 49) kept = h;
    h = {};
    const auto got = p.read(y);
    if (i % 50 == 49) {
      const auto all = p.read(kept);
      ASSERT_NEAR(got[0], all[0] + all[1] + all[2], 1e-4);
    }
    if (i == 50) late = plan::stats(k_mps).structures_built;
  }
  EXPECT_EQ(late, 2);
  EXPECT_EQ(plan::stats(k_mps).structures_built, 2);
  EXPECT_EQ(plan::stats(k_mps).instances_built, 198);
}

/// A chain of six maps of which each turn keeps another one until the next turn of its kind.
TEST(PlanStructures, LoopsThatKeepNowThisNowThatSettle) {
  for (int period = 2; period <= 12; ++period)
    for (const int links : {1, 6}) {  // one value now and then; each phase another one
      Program p("record:cpu");
      T x = p.random({32, 8});
      T kept;
      int64_t built = 0;
      for (int turn = 0; turn < 40 * period; ++turn) {
        if (turn == 10 * period) built = plan::stats(k_mps).plans_built;
        std::vector<T> chain{x};
        for (int i = 0; i < 12; ++i)
          chain.push_back(p.unary(i % 2 ? Op::tanh : Op::exp, chain.back()));
        T loss = p.reduce(Op::mean, chain.back(), 3);
        const int phase = turn % period;
        if (links > 1)
          kept = chain[static_cast<size_t>(1 + phase % 12)];
        else if (phase == 0)
          kept = chain[3];
        chain.clear();
        p.read(loss);
      }
      EXPECT_EQ(plan::stats(k_mps).plans_built, built) << "period " << period;
      EXPECT_LE(plan::stats(k_mps).structures_built, links > 1 ? period + 2 : 2)
          << "period " << period;
    }
}

TEST(PlanStructures, AnExactPlanIsMadeOnceALivenessStays) {
  Program p("record:cpu");
  T x = p.random({32, 8});
  auto turn = [&](int keep) {
    std::vector<T> chain{x};
    for (int i = 0; i < 6; ++i) chain.push_back(p.unary(Op::tanh, chain.back()));
    T kept = keep ? chain[static_cast<size_t>(keep)] : T();
    T last = chain.back();
    chain.clear();
    p.cut();
  };
  for (const int keep : {1, 2, 3, 4, 5})
    turn(keep);  // the fifth also computes what the fourth kept
  for (int i = 0; i < 20; ++i) turn(0);
  const int64_t built = plan::stats(k_mps).plans_built;
  p.lines();
  turn(0);
  EXPECT_EQ(p.lines(),
            std::vector<std::string>{"replay tile map [256] operands 2 instrs 8 folds 0"});
  EXPECT_EQ(plan::stats(k_mps).plans_built, built);
  EXPECT_LE(built, 6);
}

TEST(PlanStructures, ShelvesAreBounded) {
  Program p("null");
  plan::set_plan_limit(3, 2);
  auto once = [&](int kind, int64_t n) {
    constexpr Op ops[] = {Op::exp, Op::tanh, Op::neg};
    T x = p.empty({n});
    T y = p.unary(ops[kind], x);
    p.cut();
  };
  for (int64_t n = 2; n < 12; ++n) once(0, n);
  auto s = plan::stats(k_mps);
  EXPECT_EQ(s.structures, 1);
  EXPECT_EQ(s.plans, 3);
  EXPECT_EQ(s.evictions, 7);
  once(1, 5);
  once(2, 5);  // the first structure goes, and with the plans' bound one more instance each time
  s = plan::stats(k_mps);
  EXPECT_EQ(s.structures, 2);
  EXPECT_EQ(s.plans, 3);
  EXPECT_EQ(s.evictions, 10);
  EXPECT_EQ(s.structures_built, 3);
  once(0, 11);  // its instance is still there
  EXPECT_EQ(plan::stats(k_mps).structures_built, 3);
  EXPECT_EQ(plan::stats(k_mps).hits, 1);
  once(0, 99);
  EXPECT_EQ(plan::stats(k_mps).structures_built, 4);
  plan::set_plan_limit(512, 512);
}

TEST(PlanStructures, MemoryStaysBounded) {
  Program p("null");
  unsetenv("QS_VERIFY");
  for (int64_t i = 0; i < 3000; ++i) {
    T x = p.empty({2 + i, 3});
    T y = p.reduce(Op::sum, p.unary(Op::exp, x), 1 + i % 2);
    p.cut();
  }
  const auto s = plan::stats(k_mps);
  EXPECT_EQ(s.plans, 512);
  EXPECT_LE(s.structures_built, 6);
  EXPECT_EQ(s.plans_built, 3000);
  EXPECT_EQ(s.evictions, 3000 - 512);
}

// ---- random programs ----------------------------------------------------------------------------

/// One program, drawn from a seed, for any extents: the seed alone decides what is recorded.
class Sized {
 public:
  Sized(Program& p, uint64_t seed, Dims extents) : p_(p), engine_(seed), e_(std::move(extents)) {}

  std::vector<std::vector<double>> run() {
    for (int i = 0; i < 4; ++i) pool_.push_back(data({e_[0], e_[1]}));
    pool_.push_back(data({e_[1]}));
    pool_.push_back(data({e_[0], 1}));
    pool_.push_back(p_.binary(Op::mul, data({11, 13}), 2.0));  // of one size at all extents
    T product = p_.matmul(data({3, 11}), pool_.back());
    p_.update(Op::sub, product, data({3, 13}));
    pool_.push_back(product);
    const int steps = 3 + below(16);
    for (int i = 0; i < steps; ++i) step();
    while (pool_.size() > 4) pool_.erase(pool_.begin() + below(static_cast<int>(pool_.size())));
    p_.cut();
    std::vector<std::vector<double>> all;
    for (const T& t : pool_) all.push_back(p_.read(t));
    return all;
  }

 private:
  int below(int n) { return static_cast<int>(engine_() % static_cast<uint64_t>(n)); }
  Dims shape() const { return {e_[0], e_[1]}; }
  T data(Dims s) { return p_.random(std::move(s), engine_()); }
  T whole() {
    for (int tries = 0; tries < 30; ++tries) {
      T t = pool_[static_cast<size_t>(below(static_cast<int>(pool_.size())))];
      if (t.layout.shape == shape()) return t;
      if (t.layout.shape == Dims{e_[1], e_[0]}) return t.t();
    }
    return pool_[0];
  }
  T operand() {
    const T t = pool_[static_cast<size_t>(below(static_cast<int>(pool_.size())))];
    const Dims& s = t.layout.shape;
    return s == shape() || s == Dims{e_[1]} || s == Dims{e_[0], 1} || s.empty() ? t : whole();
  }
  void add(T t) { pool_.push_back(std::move(t)); }

  void step() {
    constexpr Op unary[] = {Op::relu, Op::exp, Op::neg, Op::sigmoid, Op::tanh};
    constexpr Op binary[] = {Op::add, Op::sub, Op::mul, Op::maximum};
    constexpr Op folds[] = {Op::sum, Op::amax, Op::mean, Op::logsumexp};
    switch (below(13)) {
      case 0:
      case 1:
        return add(p_.unary(unary[below(5)], whole()));
      case 2:
      case 3:
        return add(p_.binary(binary[below(4)], whole(), operand()));
      case 4:
        return add(p_.reduce(folds[below(4)], whole(), static_cast<uint64_t>(1 + below(3)),
                             below(2) != 0));
      case 5:
        return add(p_.record(Op::softmax, {whole()},
                             {DType::f32, {}, {shape()}, {uint64_t(1 + below(2)), 0}, {}})[0]);
      case 6: {  // in place, and a copy first so that operands stay apart
        T x = p_.binary(Op::add, whole(), 0.0);
        p_.update(binary[below(4)], x, operand());
        return add(x);
      }
      case 7: {  // all rows but the first, in place
        T x = p_.binary(Op::mul, whole(), 1.0);
        p_.update(Op::mul, x.slice(0, 1, e_[0]), 1.25);
        return add(x);
      }
      case 8: {
        T x = whole();
        return add(p_.matmul(x, p_.random({e_[1], e_[1]}, engine_()),
                             below(2) ? Arg(p_.random({e_[1]}, engine_())) : Arg(), 1,
                             below(2) ? 1 : 0.5));
      }
      case 9: {
        auto out = p_.record(Op::layer_norm, {whole(), {}, {}},
                             {DType::f32,
                              {},
                              {shape(), {e_[0]}, {e_[0]}},
                              {2, 0, std::bit_cast<uint64_t>(1e-5)},
                              {}},
                             3);
        return add(out[0]);
      }
      case 10: {
        T h = p_.cast(whole(), DType::bf16);
        return add(p_.cast(p_.record(Op::add, {h, h}, {DType::bf16, {}, {shape()}, {}, {}})[0],
                           DType::f32));
      }
      case 11: {
        T rows =
            p_.record(Op::argmax, {whole()}, {DType::f32, {DType::i64}, {{e_[1]}}, {1, 0}, {}})[0];
        T picked = p_.record(Op::index_select, {whole(), rows},
                             {DType::f32, {}, {{e_[1], e_[1]}}, {0}, {}})[0];
        return add(p_.reduce(Op::sum, picked, 2));
      }
      case 12: {
        T f = p_.full(shape(), 1.5);
        return add(p_.binary(Op::mul, f, whole()));
      }
    }
  }

  Program& p_;
  std::mt19937_64 engine_;
  Dims e_;
  std::vector<T> pool_;
};

/// The same program over some sizes, of which one or both are new: through its structures, and
/// planned anew each time.
TEST(PlanStructures, RandomProgramsAreAsIfPlannedAnew) {
  const char* given = std::getenv("QS_TEST_SEED");
  const char* from = std::getenv("QS_TEST_FIRST_SEED");
  const uint64_t first = given  ? std::strtoull(given, nullptr, 10)
                         : from ? std::strtoull(from, nullptr, 10)
                                : 1;
  const char* count = std::getenv("QS_TEST_PROGRAMS");
  const uint64_t programs = given ? 1 : count ? std::strtoull(count, nullptr, 10) : 150;
  const Dims sizes[] = {{37, 23}, {41, 19}, {41, 53}, {29, 53}, {67, 31}, {37, 23}};
  int64_t instances = 0, structures = 0;
  for (uint64_t seed = first; seed < first + programs; ++seed) {
    SCOPED_TRACE("QS_TEST_SEED=" + std::to_string(seed));
    std::vector<std::vector<std::vector<double>>> through;
    std::vector<int64_t> launches, bytes;
    {
      Program p("cpu");
      for (const Dims& e : sizes) {
        const auto before = plan::stats(k_mps);
        through.push_back(Sized(p, seed, e).run());
        const auto after = plan::stats(k_mps);
        launches.push_back(after.launches - before.launches);
        bytes.push_back(after.bytes_moved - before.bytes_moved);
      }
      instances += plan::stats(k_mps).instances_built;
      structures += plan::stats(k_mps).structures_built;
    }
    for (size_t i = 0; i < std::size(sizes); ++i) {
      Program p("cpu");
      const auto anew = Sized(p, seed, sizes[i]).run();
      EXPECT_EQ(plan::stats(k_mps).launches, launches[i]);
      EXPECT_EQ(plan::stats(k_mps).bytes_moved, bytes[i]);
      ASSERT_EQ(anew.size(), through[i].size());
      for (size_t t = 0; t < anew.size(); ++t) {
        ASSERT_EQ(anew[t].size(), through[i][t].size());
        for (size_t k = 0; k < anew[t].size(); ++k)
          ASSERT_EQ(std::bit_cast<uint64_t>(anew[t][k]), std::bit_cast<uint64_t>(through[i][t][k]))
              << "size " << i << ", tensor " << t << ", element " << k;
      }
    }
    if (::testing::Test::HasFatalFailure()) return;
  }
  if (!given) {
    EXPECT_EQ(structures, static_cast<int64_t>(programs));
    EXPECT_EQ(instances, static_cast<int64_t>(programs) * 4);
  }
}

}  // namespace
}  // namespace qs::test
