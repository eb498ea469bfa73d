// The tile VM against an interpreter that takes one point at a time, in double or int64.
#include "tile_harness.h"

namespace qs::driver {
namespace {

using namespace tile_test;

TEST(Tile, RandomMapsMatchTheInterpreter) {
  std::mt19937_64 random(20240517);
  for (int turn = 0; turn < 600; ++turn) {
    const size_t rank = 1 + random() % 4;
    Dims extents;
    for (size_t l = 0; l < rank; ++l) {
      const int64_t sizes[] = {0, 1, 2, 3, 5, 7, 16, 33, 64, 100, 1025};
      int64_t n = sizes[random() % (turn % 50 == 0 ? 11 : 10) + (turn % 50 == 0 ? 0 : 1)];
      if (rank > 2 && n > 33) n = 17;
      extents.push_back(n);
    }
    Maker m(TileMode::map, extents, {});
    std::vector<Memory> memories;
    const auto strides_for = [&](bool output) {
      Dims s(rank, 0);
      int64_t next = 1;
      std::vector<size_t> order(rank);
      for (size_t l = 0; l < rank; ++l) order[l] = rank - 1 - l;
      if (random() % 3 == 0) std::shuffle(order.begin(), order.end(), random);
      for (size_t l : order) {
        s[l] = next;
        next *= std::max<int64_t>(extents[l], 1);
        if (random() % 6 == 0) next += static_cast<int64_t>(random() % 3);
        if (random() % 8 == 0) s[l] *= 1, next *= 2, s[l] = random() % 2 ? s[l] * 2 : s[l];
        if (random() % 8 == 0) s[l] = -s[l];
        if (!output && random() % 6 == 0) s[l] = 0;
      }
      return s;
    };
    const auto memory_operand = [&](bool output) {
      const DType d = pick(random, k_storage);
      const Dims s = strides_for(output);
      memories.push_back(make_memory(random, d, extents, s));
      return m.operand(d, static_cast<int>(memories.size()) - 1, s, TileDomain::full,
                       memories.back().origin);
    };
    std::vector<uint16_t> values;
    const auto dtype_of = [&](uint16_t r) { return m.program.registers[r].dtype; };
    const auto value_of = [&](DType d) {
      std::vector<uint16_t> fit;
      for (uint16_t r : values)
        if (dtype_of(r) == d) fit.push_back(r);
      if (!fit.empty() && random() % 8) return pick(random, fit);
      const uint16_t any = pick(random, values);
      if (dtype_of(any) == d) return any;
      const uint16_t r = m.op(Prim::cast, {any}, d, m.program.registers[any].domain);
      values.push_back(r);
      return r;
    };
    const size_t inputs = 1 + random() % 3;
    for (size_t i = 0; i < inputs; ++i) {
      const uint32_t o = memory_operand(false);
      const DType natural = compute_dtype(m.program.operands[o].dtype);
      values.push_back(m.load(o, random() % 4 ? natural : pick(random, k_registers)));
    }
    if (random() % 3 == 0)
      values.push_back(m.scalar(static_cast<double>(random() % 7) - 3, pick(random, k_registers)));
    if (random() % 4 == 0) {
      Dims s(rank, 0);
      for (size_t l = 0; l < rank; ++l) s[l] = static_cast<int64_t>(random() % 9) - 4;
      values.push_back(
          m.load(m.affine(static_cast<int64_t>(random() % 5), s), pick(random, k_registers)));
    }
    const size_t ops = random() % 8;
    for (size_t i = 0; i < ops; ++i) {
      constexpr Prim k_one[] = {Prim::copy, Prim::neg, Prim::abs, Prim::square, Prim::floor};
      constexpr Prim k_two[] = {Prim::add, Prim::sub, Prim::mul, Prim::maximum, Prim::minimum};
      constexpr DType k_numbers[] = {DType::f32, DType::f32, DType::f64, DType::i32, DType::i64};
      const DType d = pick(random, k_numbers);
      const uint16_t a = value_of(d), b = value_of(d);
      const int kind = static_cast<int>(random() % 6);
      uint16_t r;
      if (kind == 0)
        r = m.op(pick(random, k_one), {a}, d);
      else if (kind == 1)
        r = m.op(random() % 2 ? Prim::lt : Prim::eq, {a, b}, DType::bool_);
      else if (kind == 2)
        r = m.op(Prim::where, {value_of(DType::bool_), a, b}, d);
      else
        r = m.op(pick(random, k_two), {a, b}, d);
      values.push_back(r);
    }
    const size_t outputs = 1 + random() % 2;
    for (size_t i = 0; i < outputs; ++i) {
      const uint32_t o = memory_operand(true);
      const uint16_t r = random() % 3 ? values.back() : pick(random, values);
      m.store(o, r);
    }
    std::vector<std::vector<char>> start, expected;
    for (const Memory& memory : memories) start.push_back(memory.bytes);
    const auto bases_of = [](std::vector<std::vector<char>>& list) {
      std::vector<void*> bases;
      for (auto& bytes : list) bases.push_back(bytes.data());
      return bases;
    };
    expected = start;
    interpret_map(m.program, m.args, bases_of(expected));
    for (Isa isa : isas()) {
      IsaScope scope(isa);
      const TileKernel kernel(m.program);
      const TileLaunch launch = m.launch(kernel);
      for (int again = 0; again < 2; ++again) {
        auto got = start;
        run(launch, bases_of(got));
        for (size_t b = 0; b < got.size(); ++b)
          ASSERT_TRUE(got[b] == expected[b])
              << "turn " << turn << ", operand " << b << ", " << name_of(memories[b].dtype)
              << " on " << name_of(isa) << difference(memories[b].dtype, got[b], expected[b])
              << describe(m);
      }
    }
  }
}

// ---- estimates

// Whether threads are woken follows from the estimate, so rows must not be taken for single
// elements: a copy into part of the columns of a matrix (cat) is nearly a dense one.
TEST(Tile, RowsAreNotEstimatedAsSingleElements) {
  const DType f = DType::f32;
  const auto estimate = [&](Dims strides) {
    Maker m(TileMode::map, {64, 256}, {});
    m.store(m.operand(f, 1, strides), m.load(m.operand(f, 0, {256, 1}), f));
    const TileKernel kernel(m.program);
    return m.launch(kernel).estimated_ns();
  };
  const double dense = estimate({256, 1}), rows = estimate({768, 1}), apart = estimate({768, 3});
  EXPECT_LT(rows, 2 * dense);
  EXPECT_GE(apart, rows);
  // Where vectors are shorter, single elements cost little more than others.
  if (cpu_info().isa == Isa::avx512) {
    EXPECT_GT(apart, 1.5 * rows);
  }
}

// ---- memory

TEST(Tile, InPlaceAndOverlappingOperandsKeepProgramOrder) {
  // y = x + 1 is stored over x before x is read again: the second read must see the loaded value.
  for (Isa isa : isas()) {
    IsaScope scope(isa);
    const DType f = DType::f32;
    Maker m(TileMode::map, {3000}, {});
    const uint16_t x = m.load(m.operand(f, 0, {1}), f);
    const uint16_t y = m.op(Prim::add, {x, m.scalar(1, f)}, f);
    m.store(m.operand(f, 1, {1}), y);
    const uint16_t z = m.op(Prim::mul, {x, y}, f);
    m.store(m.operand(f, 2, {1}), z);
    const TileKernel kernel(m.program);
    const TileLaunch launch = m.launch(kernel);
    for (const bool same : {false, true, false}) {
      std::vector<float> a(3000), b(3000), c(3000);
      for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i);
      run(launch, {a.data(), same ? a.data() : b.data(), c.data()});
      for (size_t i = 0; i < a.size(); ++i) {
        const float v = static_cast<float>(i);
        ASSERT_EQ((same ? a : b)[i], v + 1);
        ASSERT_EQ(c[i], v * (v + 1));
      }
    }
  }
}

TEST(Tile, TheLaunchTableGivesPointersOffsetsAndScalars) {
  const DType f = DType::f32;
  Maker m(TileMode::map, {4}, {});
  const uint32_t in = m.operand(f, 0, {1});
  m.args.operands[in].ptr.offset_word = 0;
  const uint16_t x = m.load(in, f);
  const uint16_t s = m.reg(f, TileDomain::uniform), t = m.reg(DType::i64, TileDomain::uniform);
  for (const auto& [r, d, word] : {std::tuple{s, DType::f64, 1}, std::tuple{t, DType::i64, 2}}) {
    m.args.scalars.push_back({word, 0, d});
    m.push(TileInstr::scalar, r, {}, static_cast<uint32_t>(m.program.scalar_count++));
  }
  const uint16_t u = m.op(Prim::cast, {t}, f, TileDomain::uniform);
  const uint16_t both = m.op(Prim::mul, {s, u}, f, TileDomain::uniform);
  const uint32_t zero_dim = m.operand(f, 1, {0}, TileDomain::uniform);
  const uint16_t loaded = m.load(zero_dim, f, TileDomain::uniform);
  m.store(m.operand(f, 2, {1}), m.op(Prim::add, {m.op(Prim::mul, {x, both}, f), loaded}, f));
  const TileKernel kernel(m.program);
  const TileLaunch launch = m.launch(kernel);
  std::vector<float> data(100), out(4);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<float>(i);
  float extra = 0.5f;
  for (uint64_t offset : {0, 10, 50}) {
    run(launch, {data.data(), &extra, out.data()},
        {offset, std::bit_cast<uint64_t>(1.5), offset + 2});
    for (size_t i = 0; i < 4; ++i)
      EXPECT_EQ(out[i], data[offset + i] * (1.5f * static_cast<float>(offset + 2)) + 0.5f);
  }
}

TEST(Tile, BrokenProgramsAreRefused) {
  const DType f = DType::f32;
  {
    Maker m(TileMode::map, {4}, {});
    m.store(m.operand(f, 0, {1}), m.reg(f));  // read before set
    EXPECT_THROW(TileKernel{m.program}, InternalError);
  }
  {
    Maker m(TileMode::row, {4}, {4});
    const uint16_t x = m.load(m.operand(f, 0, {4, 1}), f);
    m.phase();  // x does not persist
    m.store(m.operand(f, 1, {4, 1}), x);
    EXPECT_THROW(TileKernel{m.program}, InternalError);
  }
  {
    Maker m(TileMode::row, {4}, {4});
    const uint16_t x = m.load(m.operand(f, 0, {4, 1}), f);
    const uint16_t s = m.fold(qs::Fold::sum, x, f);
    m.store(m.operand(f, 1, {4, 1}), m.op(Prim::add, {x, s}, f));  // the fold of this very phase
    EXPECT_THROW(TileKernel{m.program}, InternalError);
  }
  {
    Maker m(TileMode::map, {4}, {});
    const uint16_t x = m.load(m.operand(DType::i32, 0, {1}), DType::i32);
    m.op(Prim::exp, {x}, DType::i32);
    EXPECT_THROW(TileKernel{m.program}, InternalError);
  }
  {
    Maker m(TileMode::map, {4}, {});
    const TileKernel kernel(m.program);
    m.args.extents.push_back(3);
    EXPECT_THROW(m.launch(kernel), InternalError);
  }
}

}  // namespace
}  // namespace qs::driver
