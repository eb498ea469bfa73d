// Chains of the tile VM: that they are made, and give what the interpreter gives, bit for bit.
#include <algorithm>

#include "quicksilver/driver/cpu/tile_build.h"
#include "tile_harness.h"

namespace qs::driver {
namespace {

using namespace tile_test;
using cpu::CodeInstr;

int64_t chains_of(const TileKernel& kernel) {
  const auto& body = kernel.code().phases[0].body;
  return std::count_if(body.begin(), body.end(),
                       [](const CodeInstr& i) { return i.kind == CodeInstr::chain; });
}
int64_t ops_of(const TileKernel& kernel) {
  const auto& body = kernel.code().phases[0].body;
  return std::count_if(body.begin(), body.end(), [](const CodeInstr& i) {
    return i.kind == CodeInstr::chain || i.kind == CodeInstr::op;
  });
}

// relu(x * 2 + w) * 0.5 - w
TEST(TileChains, AMapOfCheapInstructionsIsOne) {
  for (DType d : {DType::f32, DType::f64}) {
    Maker m(TileMode::map, {1000}, {});
    const uint16_t x = m.load(m.operand(d, 0, {1}), d), w = m.load(m.operand(d, 1, {1}), d);
    const uint16_t s = m.op(Prim::add, {m.op(Prim::mul, {x, m.scalar(2, d)}, d), w}, d);
    const uint16_t r = m.op(Prim::maximum, {s, m.scalar(0, d)}, d);
    m.store(m.operand(d, 2, {1}),
            m.op(Prim::sub, {m.op(Prim::mul, {r, m.scalar(0.5, d)}, d), w}, d));
    const TileKernel kernel(m.program);
    EXPECT_EQ(chains_of(kernel), 1);
    EXPECT_EQ(ops_of(kernel), 1);
  }
}

// What a value is needed for beside the next instruction keeps it out of a chain; a store over
// memory that is still read keeps the reader before it.
TEST(TileChains, ValuesThatOthersReadAreKept) {
  const DType d = DType::f32;
  Maker m(TileMode::map, {1000}, {});
  const uint16_t x = m.load(m.operand(d, 0, {1}), d), two = m.scalar(2, d);
  uint16_t a = x, middle = 0;
  for (int i = 0; i < 8; ++i) {
    a = m.op(i % 2 ? Prim::add : Prim::mul, {a, two}, d);
    if (i == 3) middle = a;
  }
  m.store(m.operand(d, 1, {1}), a);
  m.store(m.operand(d, 2, {1}), middle);
  const TileKernel kernel(m.program);
  EXPECT_EQ(chains_of(kernel), 2);
  EXPECT_EQ(ops_of(kernel), 2);
}

// Elements that are narrower in memory are widened and narrowed by the chain.
TEST(TileChains, NarrowElementsNeedNoPassOfTheirOwn) {
  for (DType d : {DType::f16, DType::bf16, DType::u8, DType::i8, DType::i16}) {
    const DType wide = compute_dtype(d);
    for (bool compare : {false, true}) {
      Maker m(TileMode::map, {1000}, {});
      const uint16_t x = m.load(m.operand(d, 0, {1}), wide), y = m.load(m.operand(d, 1, {1}), wide);
      const DType to = compare ? DType::bool_ : d;
      m.store(m.operand(to, 2, {1}),
              compare ? m.op(Prim::lt, {x, y}, DType::bool_) : m.op(Prim::add, {x, y}, wide));
      const TileKernel kernel(m.program);
      EXPECT_EQ(chains_of(kernel), 1);
      for (const CodeInstr& i : kernel.code().phases[0].body) {
        EXPECT_EQ(i.convert[0], nullptr);
        EXPECT_EQ(i.convert[1], nullptr);
      }
    }
    Maker moved(TileMode::map, {1000}, {});
    moved.store(moved.operand(wide, 1, {1}), moved.load(moved.operand(d, 0, {1}), wide));
    const TileKernel kernel(moved.program);
    EXPECT_EQ(chains_of(kernel), 1);
  }
}

constexpr Prim k_one[] = {Prim::neg, Prim::abs, Prim::square, Prim::sqrt, Prim::reciprocal};
constexpr Prim k_two[] = {Prim::add, Prim::sub, Prim::mul, Prim::div, Prim::maximum, Prim::minimum};
constexpr Prim k_one_int[] = {Prim::neg, Prim::abs, Prim::square, Prim::bit_not};
constexpr Prim k_two_int[] = {Prim::add,     Prim::sub,     Prim::mul,    Prim::maximum,
                              Prim::minimum, Prim::bit_and, Prim::bit_or, Prim::bit_xor};

/// A random program that is mostly chains, over operands of every reach; the last output may lie
/// over the first input.
struct Chained {
  Maker m;
  std::vector<Memory> memories;

  Chained(std::mt19937_64& random, DType d, const Dims& extents) : m(TileMode::map, extents, {}) {
    const size_t rank = extents.size();
    const Dims dense = contiguous_strides(extents);
    auto operand = [&](DType dtype, Dims strides) {
      memories.push_back(make_memory(random, dtype, extents, strides));
      return m.operand(dtype, static_cast<int>(memories.size()) - 1, strides, TileDomain::full,
                       memories.back().origin);
    };
    std::vector<uint16_t> sources;
    const bool whole = d == DType::i32;
    const auto stored = [&] {  // as what values of `d` lie in memory
      constexpr DType k_whole[] = {DType::i32, DType::u8, DType::i8, DType::i16, DType::u16};
      constexpr DType k_real[] = {DType::f32, DType::f16, DType::bf16};
      return whole ? pick(random, k_whole) : d == DType::f32 ? pick(random, k_real) : d;
    };
    for (int i = 0; i < 3; ++i) sources.push_back(m.load(operand(stored(), dense), d));
    Dims row(rank, 0), wide = dense;
    row[rank - 1] = 1;
    for (int64_t& s : wide) s *= 2;
    sources.push_back(m.load(operand(stored(), rank > 1 ? row : Dims{0}), d));
    sources.push_back(m.load(operand(stored(), wide), d));
    if (!whole)
      sources.push_back(m.load(operand(d == DType::f32 ? DType::bf16 : DType::f32, dense), d));
    sources.push_back(m.scalar(static_cast<double>(random() % 9) - 4, d));
    const uint32_t first = 0;
    uint16_t v = sources[random() % 3];
    const size_t length = random() % 3 ? random() % 4 : 2 + random() % 30;
    for (size_t i = 0; i < length; ++i) {
      const uint16_t other = sources[random() % sources.size()];
      const Prim two = whole ? pick(random, k_two_int) : pick(random, k_two);
      const DType narrow = stored();
      if (random() % 5 == 0)
        v = m.op(whole ? pick(random, k_one_int) : pick(random, k_one), {v}, d);
      else if (random() % 5 == 0 && narrow != d)
        v = m.op(Prim::round_to, {v}, d, TileDomain::full, false, static_cast<uint32_t>(narrow));
      else if (random() % 2)
        v = m.op(two, {v, other}, d);
      else
        v = m.op(two, {other, v}, d);
      if (random() % 9 == 0) sources.push_back(v);
      if (random() % 25 == 0) m.store(operand(d, dense), v);
    }
    if (random() % 4 == 0) {  // in place
      m.store(m.operand(memories[0].dtype, static_cast<int>(first), dense, TileDomain::full,
                        memories[0].origin),
              v);
    } else if (random() % 4 == 0) {
      constexpr Prim k_compare[] = {Prim::eq, Prim::ne, Prim::lt, Prim::le, Prim::gt, Prim::ge};
      const uint16_t other = sources[random() % sources.size()];
      m.store(operand(DType::bool_, random() % 4 ? dense : wide),
              m.op(pick(random, k_compare), {v, other}, DType::bool_));
    } else {
      m.store(operand(stored(), random() % 4 ? dense : wide), v);
    }
  }
};

/// Equal bytes, where a NaN is as good as another.
bool same(DType d, const std::vector<char>& a, const std::vector<char>& b) {
  if (a == b) return true;
  const size_t size = size_of(d);
  for (size_t i = 0; i + size <= a.size(); i += size) {
    if (std::memcmp(&a[i], &b[i], size) == 0) continue;
    const double x = get(d, &a[i]).f, y = get(d, &b[i]).f;
    if (!(std::isnan(x) && std::isnan(y))) return false;
  }
  return true;
}

TEST(TileChains, RandomChainsMatchTheInterpreter) {
  std::mt19937_64 random(20261130);
  int64_t chains = 0;
  for (int turn = 0; turn < 800; ++turn) {
    constexpr int64_t k_sizes[] = {1, 5, 31, 63, 64, 65, 100, 127, 128, 129, 500, 1025, 3000};
    Dims extents{pick(random, k_sizes)};
    if (random() % 3 == 0) extents.insert(0, 1 + static_cast<int64_t>(random() % 5));
    constexpr DType k_classes[] = {DType::f32, DType::f32, DType::i32, DType::f64};
    const DType d = pick(random, k_classes);
    Chained program(random, d, extents);
    std::vector<std::vector<char>> start;
    for (const Memory& memory : program.memories) start.push_back(memory.bytes);
    const auto bases_of = [](std::vector<std::vector<char>>& list) {
      std::vector<void*> bases;
      for (auto& bytes : list) bases.push_back(bytes.data());
      return bases;
    };
    auto expected = start;
    interpret_map(program.m.program, program.m.args, bases_of(expected));
    for (Isa isa : isas()) {
      IsaScope scope(isa);
      const TileKernel kernel(program.m.program);
      chains += chains_of(kernel);
      const TileLaunch launch = program.m.launch(kernel);
      auto got = start;
      run(launch, bases_of(got));
      for (size_t b = 0; b < got.size(); ++b)
        ASSERT_TRUE(same(program.memories[b].dtype, got[b], expected[b]))
            << "turn " << turn << ", operand " << b << " on " << name_of(isa);
    }
  }
  EXPECT_GT(chains, 1000);
}

}  // namespace
}  // namespace qs::driver
