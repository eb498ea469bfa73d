// The driver contract on cpu, null and record: memory, submit, freeze and replay, errors, names.
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "quicksilver/core/error.h"
#include "quicksilver/core/thread_pool.h"
#include "quicksilver/driver/driver.h"
#include "quicksilver/driver/null/null_driver.h"

namespace qs::driver {
namespace {

void add_one(const KernelView& view, int64_t begin, int64_t end) {
  float* x = static_cast<float*>(view.pointers[0]);
  const double by = std::bit_cast<double>(view.scalars[0]);
  for (int64_t i = begin; i < end; ++i) x[i] += static_cast<float>(by);
}
void refuse(const KernelView& view, int64_t, int64_t) {
  if (view.error->set) return;
  view.error->set = 1 + view.tag;
  view.error->reason = 1;
}

PtrRef slot(int base, int64_t bytes = 0) { return {base, -1, bytes, 1}; }

Command portable(const Kernel* kernel, int base, int64_t items, int64_t grain, int tag) {
  KernelArgs args;
  args.pointers = {slot(base)};
  args.scalars = {ScalarRef{0, 0, DType::f64}};
  args.items = items;
  args.grain = grain;
  return {kernel, args, tag};
}

// out[i] = a[i] * word1 over one kept loop.
TileProgram scale_program() {
  TileProgram p;
  p.operands = {{TileOperand::memory, DType::f32, TileDomain::full},
                {TileOperand::memory, DType::f32, TileDomain::full}};
  p.registers = {{DType::f32, TileDomain::full},
                 {DType::f32, TileDomain::uniform},
                 {DType::f32, TileDomain::full}};
  p.scalar_count = 1;
  TileInstr load{TileInstr::load}, scalar{TileInstr::scalar}, mul{TileInstr::op},
      store{TileInstr::store};
  load.dst = 0, load.aux = 1;
  scalar.dst = 1, scalar.aux = 0;
  mul.prim = Prim::mul, mul.dst = 2, mul.src[0] = 0, mul.src[1] = 1;
  store.src[0] = 2, store.aux = 0;
  p.phases = {{{scalar, load, mul, store}, {}}};
  return p;
}

Command scale(const Kernel* kernel, int out, int in, int64_t n) {
  TileArgs args;
  args.extents = {n};
  args.operands = {{slot(out), {}, {1}}, {slot(in), {}, {1}}};
  args.scalars = {ScalarRef{1, 0, DType::f64}};
  return {kernel, args, 0};
}

Command product(const Kernel* kernel, int64_t n) {
  MatmulArgs args;
  args.m = args.n = args.k = n;
  args.a = {slot(0), n, 1, 0};
  args.b = {slot(1), n, 1, 0};
  args.c = {slot(2), n, 1, 0};
  return {kernel, args, 0};
}

TEST(Drivers, Names) {
  const auto names = driver_names();
  ASSERT_FALSE(names.empty());
  EXPECT_EQ(names.back(), "cpu");
  EXPECT_THROW(open_driver("abacus"), DeviceError);
  EXPECT_THROW(open_driver("record:abacus"), DeviceError);
  EXPECT_EQ(open_driver("cpu")->info().driver, "cpu");
}

TEST(Drivers, CpuMemory) {
  const auto d = open_driver("cpu");
  for (size_t bytes : {size_t{1}, size_t{1000}, size_t{3} << 20, size_t{64} << 20}) {
    char* p = static_cast<char*>(d->alloc(bytes));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % 64, 0u);
    EXPECT_EQ(d->allocated_bytes(), static_cast<int64_t>(bytes));
    p[0] = 1;
    p[bytes - 1] = 2;
    char out = 0;
    d->copy(p, p + bytes - 1, 1);
    d->read(&out, p, 1);
    EXPECT_EQ(out, 2);
    d->release(p, bytes);
    EXPECT_EQ(d->allocated_bytes(), 0);
  }
  EXPECT_THROW(d->alloc(size_t{1} << 60), OutOfMemoryError);
}

// One list of all kinds of commands, large and small, submitted and replayed on fresh data.
TEST(Drivers, SubmitAndReplayAgree) {
  ThreadPool& pool = ThreadPool::instance();
  const int before = pool.threads();
  for (const char* name : {"cpu", "record:cpu"})
    for (int threads : {1, 2, 4}) {
      pool.set_threads(threads);
      const auto d = open_driver(name);
      const auto add = d->build(PortableKernel{"add_one", {}, add_one});
      const auto mul = d->build(scale_program());
      const auto matmul = d->build(MatmulCall{DType::f32, false});
      for (int64_t n : {3, 40, 500}) {
        const int64_t size = n * n;
        std::vector<Command> commands = {portable(add.get(), 0, size, 1000, 1),
                                         scale(mul.get(), 1, 0, size), product(matmul.get(), n),
                                         portable(add.get(), 2, size, 1, 2)};
        const auto program = d->freeze(commands);
        for (int round = 0; round < 4; ++round) {
          std::vector<float> a(size), b(size), c(size, -1), a2, b2, c2;
          for (int64_t i = 0; i < size; ++i) a[i] = static_cast<float>((i * 7 + round) % 13) / 8;
          a2 = a, b2 = b, c2 = c;
          ErrorRecord error;
          const uint64_t words[] = {std::bit_cast<uint64_t>(0.5 + round),
                                    std::bit_cast<uint64_t>(2.0)};
          void* bases[] = {a.data(), b.data(), c.data()};
          d->wait(d->submit(commands, {bases, words, &error}));
          void* bases2[] = {a2.data(), b2.data(), c2.data()};
          d->wait(d->replay(*program, {bases2, words, &error}));
          EXPECT_EQ(error.set, 0);
          EXPECT_EQ(a, a2);
          EXPECT_EQ(b, b2);
          EXPECT_EQ(c, c2);
          double want = 0.5 + round;
          for (int64_t k = 0; k < n; ++k) want += static_cast<double>(a[k]) * b[k * n];
          EXPECT_FLOAT_EQ(c[0], static_cast<float>(want));
        }
      }
    }
  pool.set_threads(before);
}

TEST(Drivers, WhatIsPredicatedIsSkippedBehindARefusal) {
  const auto d = open_driver("cpu");
  const auto add = d->build(PortableKernel{"add_one", {}, add_one});
  const auto bad = d->build(PortableKernel{"refuse", {}, refuse});
  std::vector<Command> commands = {portable(add.get(), 0, 4, 1, 1), portable(bad.get(), 0, 4, 1, 5),
                                   portable(add.get(), 0, 4, 1, 2),
                                   portable(add.get(), 0, 4, 1, 3)};
  commands[2].predicated = true;
  const auto program = d->freeze(commands);
  std::vector<float> x(4, 0);
  void* bases[] = {x.data()};
  const uint64_t words[] = {std::bit_cast<uint64_t>(1.0)};
  ErrorRecord error;
  d->submit(commands, {bases, words, &error, 41});
  EXPECT_EQ(error.set, 6);
  EXPECT_EQ(error.run, 41u);
  EXPECT_EQ(x[0], 2);
  d->replay(*program, {bases, words, &error, 42});  // queued behind it: the record is sticky
  EXPECT_EQ(error.run, 41u);
  EXPECT_EQ(x[0], 4);
  error = {};
  d->replay(*program, {bases, words, &error, 43});
  EXPECT_EQ(error.set, 6);
  EXPECT_EQ(error.run, 43u);
  EXPECT_EQ(x[0], 6);
}

TEST(Drivers, NullCounts) {
  const auto d = open_driver("null");
  reset_null_counters();
  const auto mul = d->build(scale_program());
  const auto matmul = d->build(MatmulCall{DType::f32, false});
  std::vector<Command> commands = {scale(mul.get(), 1, 0, 1000), product(matmul.get(), 10)};
  const auto program = d->freeze(commands);
  ErrorRecord error;
  d->submit(commands, {{}, {}, &error});
  d->replay(*program, {{}, {}, &error});
  const NullCounters c = null_counters();
  EXPECT_EQ(c.kernels_built, 2);
  EXPECT_EQ(c.launches, 4);
  EXPECT_EQ(c.submits, 2);
  EXPECT_EQ(c.replays, 1);
  EXPECT_EQ(c.touched_bytes, 2 * (2 * 1000 * 4 + 3 * 100 * 4));
  void* p = d->alloc(100);
  void* q = d->alloc(100);
  EXPECT_GE(static_cast<char*>(q) - static_cast<char*>(p), 100);
  int value = 5;
  d->read(&value, p, sizeof value);
  EXPECT_EQ(value, 0);
  d->release(p, 100);
  d->release(q, 100);
  EXPECT_EQ(d->allocated_bytes(), 0);
}

TEST(Drivers, RecordListsCommands) {
  const auto d = open_driver("record:null");
  auto* log = dynamic_cast<CommandLog*>(d.get());
  ASSERT_TRUE(log);
  const auto mul = d->build(scale_program());
  const auto matmul = d->build(MatmulCall{DType::f32, false});
  const auto add = d->build(PortableKernel{"add_one", {}, add_one});
  std::vector<Command> commands = {scale(mul.get(), 1, 0, 1000), product(matmul.get(), 10),
                                   portable(add.get(), 0, 4, 1, 2)};
  ErrorRecord error;
  d->submit(commands, {{}, {}, &error});
  const std::vector<std::string> want = {"tile map [1000] operands 2 instrs 4 folds 0",
                                         "matmul f32 10x10x10 batch 1", "add_one items 4"};
  EXPECT_EQ(log->lines(), want);
  log->clear();
  d->replay(*d->freeze(commands), {{}, {}, &error});
  EXPECT_EQ(log->lines().at(1), "replay matmul f32 10x10x10 batch 1");
}

}  // namespace
}  // namespace qs::driver
