// What goes wrong in a run, and what is left: bad data, want of memory, kernels that are not built,
// lists that are refused, waits that fail.
#include <gtest/gtest.h>

#include "plan_harness.h"

namespace qs::test {
namespace {

constexpr DeviceType k_mps = DeviceType::mps;

template <class E, class F>
void expect_twice(F&& f, const std::string& text) {
  for (int i = 0; i < 2; ++i) {
    try {
      f();
      ADD_FAILURE() << "nothing was raised";
    } catch (const E& e) {
      EXPECT_NE(std::string(e.what()).find(text), std::string::npos) << e.what();
    }
  }
}

std::vector<T> bad_loss(Program& p, const T& logits) {
  T classes = p.make({2}, {0, 12}, DType::i64);
  return p.record(Op::cross_entropy, {logits, classes},
                  {DType::f32, {}, {{2}, {2}}, {2, 0, 1000}, {}}, 2);
}

TEST(Faults, OnlyWhatDependsOnTheBadDataIsLost) {
  for (const char* driver : {"cpu", "late:cpu"}) {
    SCOPED_TRACE(driver);
    Program p(driver);
    T w = p.random({2, 10}), x = p.random({2, 10}, 2);
    const auto before = p.read(w), vx = p.read(x);
    T good = p.binary(Op::mul, x, 3.0);
    auto loss = bad_loss(p, p.binary(Op::add, x, w));
    T twice = p.binary(Op::mul, loss[0], 2.0);
    p.update(Op::add, w, 1.0);
    T after = p.binary(Op::mul, w, 2.0);
    p.cut();
    const auto got = p.read(good);
    for (size_t i = 0; i < got.size(); ++i) EXPECT_FLOAT_EQ(got[i], static_cast<float>(vx[i] * 3));
    EXPECT_FLOAT_EQ(p.read(after)[3], static_cast<float>((before[3] + 1) * 2));
    for (const T& lost : {loss[0], twice})
      expect_twice<IndexError>([&] { p.read(lost); }, "Target 12 is out of bounds.");
    EXPECT_EQ(p.read(w), before);
    EXPECT_THROW(plan::raise_fault(k_mps), IndexError);
    p.update(Op::add, w, 1.0);
    EXPECT_FLOAT_EQ(p.read(w)[0], static_cast<float>(before[0] + 1));
  }
}

TEST(Faults, NothingOlderIsWrittenUntilTheFaultIsRaised) {
  for (const char* driver : {"cpu", "late:cpu"}) {
    SCOPED_TRACE(driver);
    Program p(driver);
    driver::set_late_orders({0, true});
    T w = p.random({2, 10}), x = p.random({2, 10}, 2);
    driver::set_late_orders({0, false});
    const auto before = p.read(w);
    driver::set_late_orders({0, true});
    auto loss = bad_loss(p, x);
    p.update(Op::add, w, 1.0);
    p.cut();
    T fresh = p.binary(Op::mul, x, 2.0);
    p.update(Op::add, w, 1.0);  // queued behind
    T after = p.binary(Op::mul, w, 2.0);
    p.cut();
    driver::set_late_orders({0, false});
    EXPECT_EQ(p.read(w), before);
    EXPECT_EQ(p.read(fresh).size(), 20u);
    expect_twice<IndexError>([&] { p.read(after); }, "Target 12");
    EXPECT_THROW(plan::raise_fault(k_mps), IndexError);
    p.update(Op::add, w, 1.0);
    EXPECT_FLOAT_EQ(p.read(w)[0], static_cast<float>(before[0] + 1));
  }
}

// The update comes before the check, because the index depends on it.
TEST(Faults, EarlyWritesAreShadowed) {
  for (const char* driver : {"cpu", "late:cpu"})
    for (bool partial : {false, true})
      for (double shift : {1.0, 5.0}) {
        SCOPED_TRACE(driver);
        Program p(driver);
        T w = p.make({4}, {0, 1, 2, 0}), other = p.make({3}, {7, 8, 9});
        T table = p.make({5}, {10, 11, 12, 13, 14});
        p.update(Op::add, other, 1.0);
        p.update(Op::add, partial ? w.slice(0, 0, 2) : w, shift);
        T rows = p.record(Op::index_select, {table, p.cast(w, DType::i64)},
                          {DType::f32, {}, {{4}}, {0}, {}})[0];
        const std::vector<double> moved =
            partial ? std::vector<double>{shift, 1 + shift, 2, 0}
                    : std::vector<double>{shift, 1 + shift, 2 + shift, shift};
        if (shift == 1) {
          EXPECT_EQ(p.read(rows)[1], 12);
          EXPECT_EQ(p.read(w), moved);
          EXPECT_EQ(p.read(other), (std::vector<double>{8, 9, 10}));
          continue;
        }
        expect_twice<IndexError>([&] { p.read(rows); }, "index");
        EXPECT_EQ(p.read(w), (std::vector<double>{0, 1, 2, 0}));
        EXPECT_EQ(p.read(other), (std::vector<double>{7, 8, 9}));
      }
}

// What is made and then written badly by one plan is left as it was before the bad write.
void expect_last_good_values(const char* driver, bool with_older) {
  Program p(driver);
  T x = p.random({4}), w = p.make({4}, {1, 2, 3, 4}), row = p.make({1}, {5});
  T good = p.make({1}, {1}, DType::i64), bad = p.make({1}, {9}, DType::i64);
  const auto vx = p.read(x), vw = p.read(w);
  const auto add_at = [&](const T& to, const T& at) {
    p.record(Op::index_add, {to, at, row}, {DType::f32, {}, {}, {0}, {0}});
  };
  T y = p.binary(Op::mul, x, 2.0);
  p.update(Op::add, y, 1.0);
  T fine = p.binary(Op::mul, x, 4.0), of_w;
  add_at(fine, good);
  if (with_older) {
    p.update(Op::add, w, 1.0);  // undone: it is older than the failure
    of_w = p.binary(Op::mul, w, 2.0);
    add_at(of_w, bad);
  }
  add_at(y, good);
  add_at(y, bad);
  p.update(Op::mul, y, 3.0);  // needs what was never written
  T uses = p.binary(Op::add, y, 1.0);
  add_at(fine, good);
  p.cut();
  T behind = p.binary(Op::add, y, 1.0);
  p.cut();
  p.finish();
  EXPECT_THROW(plan::raise_fault(k_mps), IndexError);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_FLOAT_EQ(p.read(y)[i], static_cast<float>(vx[i] * 2 + 1 + (i == 1 ? 5 : 0)));
    EXPECT_FLOAT_EQ(p.read(fine)[i], static_cast<float>(vx[i] * 4 + (i == 1 ? 10 : 0)));
    if (with_older) {
      EXPECT_EQ(p.read(of_w)[i], (vw[i] + 1) * 2);
    }
  }
  EXPECT_EQ(p.read(w), vw);
  expect_twice<IndexError>([&] { p.read(uses); }, "index 9");
  plan::raise_fault(k_mps);  // nothing waits
  add_at(y, good);
  EXPECT_FLOAT_EQ(p.read(y)[1], static_cast<float>(vx[1] * 2 + 11));
  // With a shadow of w the device waits, and the failure was known.
  if (with_older || std::string(driver) == "cpu") {
    EXPECT_FLOAT_EQ(p.read(behind)[1], static_cast<float>(vx[1] * 2 + 7));
  } else {
    expect_twice<IndexError>([&] { p.read(behind); }, "index 9");
  }
}

TEST(Faults, AFreshStorageKeepsItsLastGoodValue) {
  for (const char* driver : {"cpu", "late:cpu", "late:record:cpu"})
    for (bool with_older : {false, true}) {
      SCOPED_TRACE(format("{} {}", driver, with_older));
      driver::set_late_orders({2000, false});
      expect_last_good_values(driver, with_older);
    }
}

TEST(Faults, UsesRecordedBesideAFailedRunAreLostWithIt) {
  for (bool full : {false, true}) {
    Program p("late:cpu");
    T x = p.random({2, 10}), w = p.random({2, 10}, 2);
    const auto vx = p.read(x), vw = p.read(w);
    driver::set_late_orders({0, true});
    auto loss = bad_loss(p, x);
    p.cut();
    T use = p.binary(Op::mul, loss[0], 2.0), good = p.binary(Op::mul, x, 3.0);
    T more = p.binary(Op::add, use, 1.0);
    p.update(Op::add, w, p.reduce(Op::sum, more, 1));
    if (full) p.copy_into(loss[0], 1.0);
    driver::set_late_orders({0, false});
    p.finish();  // the loss is known, its uses have not run
    p.cut();
    EXPECT_THROW(plan::raise_fault(k_mps), IndexError);
    for (const T& lost : {loss[0], use, more})
      expect_twice<IndexError>([&] { p.read(lost); }, "Target 12");
    EXPECT_FLOAT_EQ(p.read(good)[7], static_cast<float>(vx[7] * 3));
    EXPECT_EQ(p.read(w), vw);
    plan::raise_fault(k_mps);  // it is no new fault
    p.update(Op::add, w, 1.0);
    EXPECT_FLOAT_EQ(p.read(w)[0], static_cast<float>(vw[0] + 1));
  }
}

TEST(Faults, NothingOlderIsWrittenAfterWantOfMemory) {
  Program p("cpu");
  constexpr int64_t n = int64_t{1} << 18;
  T x = p.random({n}), w = p.make({2}, {1, 2}), v = p.make({2}, {3, 4});
  Allocator& allocator = p.device().allocator();
  const auto total = static_cast<double>(p.device().info().memory_bytes);
  allocator.set_memory_fraction(static_cast<double>(allocator.stats().driver_bytes) / total);
  p.update(Op::add, w, 1.0);
  T y = p.binary(Op::mul, x, 2.0);
  p.update(Op::add, v, 1.0);
  p.cut();
  EXPECT_THROW(plan::raise_fault(k_mps), OutOfMemoryError);
  allocator.set_memory_fraction(0);
  expect_twice<OutOfMemoryError>([&] { p.read(y); }, "out of memory");
  EXPECT_EQ(p.read(w), (std::vector<double>{2, 3}));
  EXPECT_EQ(p.read(v), (std::vector<double>{3, 4}));
  p.update(Op::add, v, 1.0);
  EXPECT_EQ(p.read(v), (std::vector<double>{4, 5}));
}

TEST(Faults, APinnedStorageIsWrittenWhereItLies) {
  Program p("cpu");
  T w = p.make({4}, {0, 1, 2, 0}), table = p.make({5}, {10, 11, 12, 13, 14});
  w.content->pinned = true;
  const void* where = w.content->block->ptr();
  p.update(Op::add, w, 1.0);
  T rows = p.record(Op::index_select, {table, p.cast(w, DType::i64)},
                    {DType::f32, {}, {{4}}, {0}, {}})[0];
  EXPECT_EQ(p.read(rows)[2], 13);
  EXPECT_EQ(w.content->block->ptr(), where);
  EXPECT_EQ(p.read(w), (std::vector<double>{1, 2, 3, 1}));
}

TEST(Faults, DivisionInPlaceLeavesTheDividend) {
  Program p("cpu");
  T x = p.make({3}, {7, -7, 9}, DType::i64), y = p.make({3}, {2, 2, 0}, DType::i64);
  p.record(Op::floor_divide, {x, y}, {DType::i64, {}, {}, {}, {0}});
  p.cut();
  EXPECT_THROW(plan::raise_fault(k_mps), Error);
  EXPECT_EQ(p.read(x), (std::vector<double>{7, -7, 9}));
}

TEST(Faults, AllOlderStoragesOfAPlanAreWrittenOrNone) {
  for (double last : {1.0, 9.0}) {
    Program p("record:cpu");
    std::vector<T> caches;
    for (int i = 0; i < 3; ++i) caches.push_back(p.make({4, 2}, std::vector<double>(8, i)));
    T row = p.make({1, 2}, {5, 5});
    for (int i = 0; i < 3; ++i) {
      T at = p.make({1}, {i == 2 ? last : 1.0}, DType::i64);
      p.record(Op::index_add, {caches[static_cast<size_t>(i)], at, row},
               {DType::f32, {}, {}, {0}, {0}});
    }
    p.cut();
    const auto lines = p.lines();
    ASSERT_EQ(lines.size(), 6u);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(lines[static_cast<size_t>(i)].find("check"), 0u);
    if (last == 9) {
      EXPECT_THROW(plan::raise_fault(k_mps), IndexError);
    }
    for (int i = 0; i < 3; ++i)
      EXPECT_EQ(p.read(caches[static_cast<size_t>(i)])[2], last == 9 ? i : i + 5);
  }
}

TEST(Faults, WantOfMemoryCostsWhatDoesNotFit) {
  Program p("cpu");
  constexpr int64_t n = int64_t{1} << 18;     // 1 MiB
  T x = p.random({n}), tiny = p.random({1});  // there is a slab for small blocks
  Allocator& allocator = p.device().allocator();
  const auto total = static_cast<double>(p.device().info().memory_bytes);
  const double room = static_cast<double>(allocator.stats().driver_bytes) + 3.5 * (1 << 20);
  allocator.set_memory_fraction(room / total);
  std::vector<T> y;
  for (int i = 0; i < 6; ++i) y.push_back(p.binary(Op::mul, x, i + 1.0));
  T sum = p.reduce(Op::sum, y[5], 1);
  T small = p.reduce(Op::sum, x, 1);
  p.cut();
  EXPECT_THROW(plan::raise_fault(k_mps), OutOfMemoryError);
  allocator.set_memory_fraction(0);
  const auto vx = p.read(x);
  for (size_t i = 0; i < 3; ++i)
    EXPECT_FLOAT_EQ(p.read(y[i])[5], static_cast<float>(vx[5] * (static_cast<double>(i) + 1)));
  for (size_t i = 3; i < 6; ++i)
    expect_twice<OutOfMemoryError>([&] { p.read(y[i]); }, "out of memory");
  expect_twice<OutOfMemoryError>([&] { p.read(sum); }, "out of memory");
  EXPECT_EQ(p.read(small).size(), 1u);
  plan::raise_fault(k_mps);  // nothing waits
  EXPECT_EQ(p.read(p.binary(Op::mul, x, 6.0)).size(), static_cast<size_t>(n));
}

// x fits once more, not twice: the intermediate values must go as soon as they are used.
TEST(Faults, NodeByNodeFreesAsItGoes) {
  Program p("cpu");
  constexpr int64_t n = int64_t{1} << 18;
  plan::set_unfused(true);
  T x = p.random({n}), tiny = p.random({1});  // there is a slab for small blocks
  Allocator& allocator = p.device().allocator();
  const auto total = static_cast<double>(p.device().info().memory_bytes);
  const double room = static_cast<double>(allocator.stats().driver_bytes) + 2.5 * (1 << 20);
  T y = x;
  std::vector<T> kept;
  for (int i = 0; i < 6; ++i) {
    y = p.binary(Op::add, y, 1.0);
    if (i == 2) kept.push_back(p.reduce(Op::sum, y, 1));
  }
  allocator.set_memory_fraction(room / total);
  const auto got = p.read(y), vx = p.read(x);
  for (size_t i = 0; i < 5; ++i) EXPECT_NEAR(got[i], vx[i] + 6, 1e-5);
  EXPECT_EQ(p.read(kept[0]).size(), 1u);
  allocator.set_memory_fraction(0);
  plan::set_unfused(false);
}

/// w -= 0.1 * x^T (x w - y): the loop that every fault is injected into.
struct Training {
  Program& p;
  T x = p.random({8, 4}, 1), y = p.random({8, 1}, 2), w = p.random({4, 1}, 3);

  T step() {
    T error = p.binary(Op::sub, p.matmul(x, w), y);
    T gradient = p.matmul(x.t(), error);
    T loss = p.reduce(Op::sum, p.unary(Op::square, error), 3);
    p.update(Op::sub, w, p.binary(Op::mul, gradient, 0.1));
    return loss;
  }
};

TEST(Faults, EveryFaultOverATrainingLoop) {
  constexpr int k_steps = 4;
  for (const char* driver : {"fault:cpu", "fault:late:cpu"}) {
    std::vector<std::vector<double>> clean;  // w after each step
    driver::FaultInjector::Counts calls;
    {
      Program p(driver);
      auto& injector = dynamic_cast<driver::FaultInjector&>(p.device().driver());
      injector.inject("");
      Training t{p};
      clean.push_back(p.read(t.w));
      for (int i = 0; i < k_steps + 1; ++i) {
        t.step();
        clean.push_back(p.read(t.w));
      }
      calls = injector.counts();
    }
    const std::pair<const char*, int64_t> kinds[] = {{"alloc", calls.allocs},
                                                     {"build", calls.builds},
                                                     {"submit", calls.submits},
                                                     {"wait", calls.waits}};
    for (const auto& [kind, count] : kinds)
      for (int64_t n = 1; n <= count; ++n)
        for (const char* how : {"", "x2", "+"}) {
          SCOPED_TRACE(format("{}: {}={}{}", driver, kind, n, how));
          Program p(driver);
          auto& injector = dynamic_cast<driver::FaultInjector&>(p.device().driver());
          std::unique_ptr<Training> t;
          injector.inject(format("{}={}{}", kind, n, how));
          int raised = 0;
          for (int i = 0; i < k_steps; ++i) {
            try {
              if (!t) t = std::make_unique<Training>(p);
              p.read(t->step());
              plan::raise_fault(k_mps);
            } catch (const Error&) {
              ++raised;
              p.forget();
            }
          }
          const bool failed = injector.counts().failed > 0;
          if (failed && how[0] == '+') {
            EXPECT_GT(raised, 0);
          }
          injector.inject("");
          try {
            plan::raise_fault(k_mps);
          } catch (const Error&) {
          }
          if (!t) t = std::make_unique<Training>(p);
          // Every update happened whole or not at all, and the next one does.
          const auto now = p.read(t->w);
          const auto at = std::find(clean.begin(), clean.end(), now);
          ASSERT_NE(at, clean.end() - 1);
          ASSERT_NE(at, clean.end());
          EXPECT_EQ(p.read(t->step()).size(), 1u);
          EXPECT_EQ(p.read(t->w), at[1]);
          t = nullptr;
          p.forget();
          EXPECT_LE(p.device().allocator().stats().live_blocks, 1);  // the arena
        }
  }
}

TEST(Faults, OrdersThatAreNone) {
  const auto driver = driver::open_driver("fault:null");
  auto& injector = dynamic_cast<driver::FaultInjector&>(*driver);
  for (const char* bad : {"alloc", "alloc=", "alloc=0", "alloc=x2", "free=1", "alloc=2x", "=3"})
    EXPECT_THROW(injector.inject(bad), ValueError) << bad;
  injector.inject("alloc=2, submit=3x2");
  driver->release(driver->alloc(8), 8);
  EXPECT_THROW(driver->alloc(8), OutOfMemoryError);
  driver->release(driver->alloc(8), 8);
  EXPECT_EQ(injector.counts().allocs, 3);
  EXPECT_EQ(injector.counts().failed, 1);
}

}  // namespace
}  // namespace qs::test
