// Plans on a driver that takes texts: kernels run as text, with scratch that the plan reserves
// behind its arena, and give what the cpu driver gives; and the emulated grid finds what it is
// there to find.
#include <gtest/gtest.h>

#include <set>

#include "grid_driver.h"
#include "plan_harness.h"
#include "quicksilver/kernels/texts.h"

namespace qs::test {
namespace {

/// Sorts, gathers and scatters between maps, in one plan.
std::vector<std::vector<double>> run_program(Program& p, uint64_t seed) {
  const T x = p.random({3, 1500}, seed);
  const T y = p.unary(Op::exp, x);
  Program::Options sorted{DType::f32, {DType::f32, DType::i64}, {{3, 1500}, {3, 1500}}, {1, 1}, {}};
  const std::vector<T> order = p.record(Op::sort, {y}, sorted, 2);
  const T z = p.binary(Op::mul, order[0], order[0]);
  const T picked =
      p.record(Op::gather, {z, order[1]}, {DType::f32, {DType::f32}, {{3, 1500}}, {1}, {}})[0];
  const T running =
      p.record(Op::cumsum, {picked}, {DType::f32, {DType::f32}, {{3, 1500}}, {1}, {}})[0];
  const std::vector<T> most =
      p.record(Op::topk, {running},
               {DType::f32, {DType::f32, DType::i64}, {{3, 7}, {3, 7}}, {1, 7, 1, 1}, {}}, 2);
  const T total = p.full({3, 1500}, 0.5);
  const T added = p.record(Op::scatter_add, {total, order[1], running},
                           {DType::f32, {DType::f32}, {}, {1}, {0}})[0];
  return {p.read(order[0]), p.read(order[1]), p.read(running),
          p.read(most[0]),  p.read(most[1]),  p.read(added)};
}

TEST(TextPlan, GivesWhatTheCpuDriverGives) {
  Program cpu("cpu");
  std::vector<std::vector<std::vector<double>>> want;
  for (uint64_t run = 0; run < 3; ++run) want.push_back(run_program(cpu, run + 1));
  auto driver = std::make_unique<GridDriver>();
  GridDriver* grid = driver.get();
  Program text(std::move(driver));
  for (uint64_t run = 0; run < 3; ++run) {  // the second is frozen, the third replayed
    const auto got = run_program(text, run + 1);
    for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i], want[run][i]) << run << " " << i;
  }
  EXPECT_EQ(grid->launches(), 3 * 6u);  // the scatter checks its indices first
}

TEST(TextPlan, ReportsBadIndices) {
  Program p(std::make_unique<GridDriver>());
  const T x = p.random({40, 3}), index = p.make({2}, {1, 40}, DType::i64);
  const T y =
      p.record(Op::index_select, {x, index}, {DType::f32, {DType::f32}, {{2, 3}}, {0}, {}})[0];
  EXPECT_THROW(p.read(y), IndexError);
}

// ---- the emulator

const driver::KernelText& text_named(const char* entry) {
  static driver::KernelText text;
  text.options = "#define QS_TEST 1\n";
  text.parts = {"", ""};
  text.entries = {entry};
  text.threads = 64;
  text.plan = [](const driver::KernelArgs&) { return driver::TextPlan{{{0, 3, {}}}, 256}; };
  return text;
}

QS_KERNEL(divergent_barrier) {
  QS_BEGIN;
  if (QS_LOCAL < 32) QS_BARRIER();
}
QS_KERNEL(two_barriers) {
  QS_BEGIN;
  if (QS_LOCAL < 32)
    QS_BARRIER();
  else
    QS_BARRIER();
}
QS_KERNEL(partial_simd) {
  QS_BEGIN;
  if (QS_LOCAL != 5) qs_simd_prefix_sum(1);
}
QS_KERNEL(beyond_shared) {
  QS_BEGIN;
  QS_SHARED(u32, numbers, 64);
  numbers[QS_LOCAL + 1] = 0;
}
QS_KERNEL(beyond_scratch) {
  QS_BEGIN;
  QS_SCRATCH(u8, 0)[256] = 1;
}
QS_KERNEL(missing_barrier) {
  QS_BEGIN;
  QS_SHARED(u32, numbers, 64);
  numbers[QS_LOCAL] = QS_LOCAL;
  QS_OPERAND(u32, 0)[QS_LOCAL] = numbers[63 - QS_LOCAL];
}
QS_KERNEL(sums) {
  QS_BEGIN;
  QS_SHARED(u32, numbers, 64);
  numbers[QS_LOCAL] = qs_simd_prefix_sum(QS_LOCAL + 1);
  QS_BARRIER();
  QS_OPERAND(u32, 0)[QS_LOCAL] = numbers[63 - QS_LOCAL];
}
const bool k_added = grid::add({"",
                                {{"QS_TEST", 1}},
                                {{"divergent_barrier", divergent_barrier},
                                 {"two_barriers", two_barriers},
                                 {"partial_simd", partial_simd},
                                 {"beyond_shared", beyond_shared},
                                 {"beyond_scratch", beyond_scratch},
                                 {"missing_barrier", missing_barrier},
                                 {"sums", sums}}});

std::vector<u32> run_entry(const char* entry, uint64_t seed = 0) {
  std::vector<u32> out(64, 7);
  void* bases[] = {out.data()};
  driver::ErrorRecord error;
  driver::KernelArgs args;
  args.pointers.resize(1);
  grid::run(text_named(entry), args, {bases, {}, &error, 1}, 0, seed);
  return out;
}

TEST(Grid, FindsMisuse) {
  for (const char* entry :
       {"divergent_barrier", "two_barriers", "partial_simd", "beyond_shared", "beyond_scratch"})
    EXPECT_THROW(run_entry(entry), Error) << entry;
  std::set<std::vector<u32>> outcomes;
  std::vector<u32> want(64);
  for (u32 i = 0; i < 64; ++i) want[i] = 63 - i;
  for (uint64_t seed = 0; seed < 4; ++seed) EXPECT_NE(run_entry("missing_barrier", seed), want);
  for (u32 i = 0; i < 64; ++i) {
    const u32 lane = (63 - i) % 32, base = 63 - i - lane;
    want[i] = (lane + 1) * base + (lane + 1) * (lane + 2) / 2;
  }
  for (uint64_t seed = 0; seed < 4; ++seed) EXPECT_EQ(run_entry("sums", seed), want);
}

}  // namespace
}  // namespace qs::test
