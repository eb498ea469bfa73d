// The texts of gather, search, scan, nonzero, scatter and draws on the emulated grid, against the
// host's functions and, for random ops, against the cpu driver's generated code.
#include "plan_harness.h"
#include "quicksilver/core/half.h"
#include "quicksilver/kernels/texts.h"
#include "text_harness.h"

namespace qs::test {
namespace {

using kernels::ScanOp;
using kernels::ScatterMode;

constexpr DType k_indices[] = {DType::i64, DType::i32, DType::i16, DType::i8, DType::u8};

std::string what_of(DType dtype, int n) { return qs::format("{} case {}", name_of(dtype), n); }

/// Small numbers, of which few are equal, in any dtype but complex ones, whose parts they become.
void fill_small(Memory& m, uint64_t seed, int range = 40) {
  std::mt19937_64 random(seed);
  const DType dtype = m.view.dtype;
  const DType part = dtype == DType::c64 ? DType::f32 : dtype == DType::c128 ? DType::f64 : dtype;
  const size_t size = size_of(part);
  for (size_t i = 0; i + size <= m.bytes.size(); i += size) {
    const auto whole = static_cast<int64_t>(random() % static_cast<uint64_t>(range)) - range / 2;
    const double v = static_cast<double>(whole) + static_cast<double>(random() % 1000) / 1000;
    const auto put = [&](auto x) { std::memcpy(m.bytes.data() + i, &x, sizeof x); };
    switch (part) {
      case DType::f16:
        put(f32_to_f16(static_cast<float>(v)));
        break;
      case DType::bf16:
        put(f32_to_bf16(static_cast<float>(v)));
        break;
      case DType::f32:
        put(static_cast<float>(v));
        break;
      case DType::f64:
        put(v);
        break;
      case DType::bool_:
        put(static_cast<uint8_t>(whole & 1));
        break;
      default:
        std::memcpy(m.bytes.data() + i, &whole, size);
    }
  }
}

/// Indices of [0, bound), or of [-bound, bound) where they may count from the end; a bad one now
/// and then when that is wanted.
void fill_indices(Memory& m, int64_t bound, uint64_t seed, bool bad = false, bool signs = false) {
  std::mt19937_64 random(seed);
  const size_t size = size_of(m.view.dtype);
  for (size_t i = 0; i + size <= m.bytes.size(); i += size) {
    auto v = static_cast<int64_t>(random() % static_cast<uint64_t>(bound));
    if (signs && m.view.dtype != DType::u8 && random() % 2) v -= bound;
    if (bad && random() % 3 == 0)
      v = m.view.dtype == DType::u8 || random() % 2 ? bound : -bound - 1;
    if (bad && !signs && m.view.dtype != DType::u8 && random() % 5 == 0) v = -1;
    std::memcpy(m.bytes.data() + i, &v, size);
  }
}

TEST(TextGather, IndexSelectGatherAndAdvancedIndexing) {
  int n = 0;
  for (DType dtype : {DType::u8, DType::f16, DType::i32, DType::f64, DType::c128})
    for (DType index_dtype : k_indices) {
      ++n;
      SCOPED_TRACE(what_of(dtype, n));
      const bool bad = n % 4 == 0;
      Memory src(dtype, {7, 11, 5}, n % 5, 0, 1), index(index_dtype, {13}, n % 3, 1, 2);
      Memory out(dtype, {7, 13, 5}, n % 4, 2, 3);
      fill_indices(index, 11, 4, bad);
      expect_same(kernels::index_select(out.view, src.view, index.view, 1), {&src, &index, &out});
      for (kernels::Signs signs : {kernels::Signs::from_end, kernels::Signs::not_negative})
        expect_same(kernels::check_index(index.view, 11, signs), {&src, &index});

      Memory along(index_dtype, {6, 9, 5}, (n + 1) % 4, 1, 2), taken(dtype, {6, 9, 5}, n % 4, 2, 3);
      fill_indices(along, 11, 5, bad);
      expect_same(kernels::gather(taken.view, src.view, along.view, 1), {&src, &along, &taken});

      Memory first(index_dtype, {4, 300}, 0, 1, 2), last(DType::i64, {4, 300}, 1, 3, 2);
      Memory picked(dtype, {4, 300, 11}, n % 4, 2, 3);
      fill_indices(first, 7, 6, bad, true);
      fill_indices(last, 5, 7, false, true);
      const kernels::View indices[] = {first.view, last.view};
      const int dims[] = {0, 2};
      expect_same(kernels::index(picked.view, src.view, indices, dims, 0),
                  {&src, &first, &picked, &last});
    }
}

TEST(TextSearch, AllDtypesAndNaNs) {
  int n = 0;
  for (int d = 0; d < k_dtype_count; ++d) {
    const auto dtype = static_cast<DType>(d);
    if (is_complex(dtype)) continue;
    for (int64_t length : {0, 1, 5, 1000}) {
      ++n;
      SCOPED_TRACE(what_of(dtype, n));
      Memory rows(dtype, {3, length}, 0, 0, 1), sorted(dtype, {3, length}, n % 4, 0, 1);
      Memory values(dtype, {3, 200}, n % 5, 1, static_cast<uint64_t>(n)),
          out(DType::i64, {3, 200}, n % 4, 2, 3);
      if (n % 2) fill_small(values, 3);
      Memory mixed(dtype, {3, length}, n % 5, 1, static_cast<uint64_t>(n));
      if (n % 3) fill_small(mixed, 4);
      const auto in_order = outcome_of(kernels::sort(&sorted.view, nullptr, mixed.view, 1, false),
                                       {&sorted, &mixed}, -1);
      sorted.bytes = in_order.memory[0];
      sorted.bytes.resize(sorted.bytes.size() - k_guard_bytes);
      for (bool right : {false, true})
        expect_same(kernels::search(out.view, sorted.view, values.view, right),
                    {&sorted, &values, &out});
      kernels::View one = sorted.view;
      one.shape.erase(0);
      one.strides.erase(0);
      expect_same(kernels::search(out.view, one, values.view, true), {&sorted, &values, &out});
    }
  }
}

void check_scan(ScanOp op, DType from, DType to, Dims shape, int dim, int n) {
  SCOPED_TRACE(testing::Message() << "op " << static_cast<int>(op) << " " << name_of(from) << " to "
                                  << name_of(to) << " " << to_string(shape) << " dim " << dim);
  const bool extreme = op == ScanOp::maximum || op == ScanOp::minimum;
  Memory src(from, shape, n % 5, 0, static_cast<uint64_t>(n)), out(to, shape, (n + 1) % 4, 1, 2);
  Memory indices(DType::i64, shape, (n + 2) % 4, 2, 3);
  if (!extreme || n % 2) fill_small(src, static_cast<uint64_t>(n), extreme ? 10 : 4);
  expect_same(
      kernels::scan(op, out.view, extreme && n % 3 ? &indices.view : nullptr, src.view, dim),
      {&src, &out, &indices});
}

TEST(TextScan, SumsProductsAndExtremes) {
  int n = 0;
  for (int64_t length : {1, 9, 40, 1025, 3000}) {
    for (int d = 0; d < k_dtype_count; ++d) {
      const auto dtype = static_cast<DType>(d);
      ++n;
      for (ScanOp op : {ScanOp::sum, ScanOp::product}) {
        check_scan(op, dtype, dtype, {3, length}, 1, n);
        if (is_integral(dtype)) check_scan(op, dtype, DType::i64, {length, 2, 2}, 0, n);
        check_scan(op, dtype, is_complex(dtype) ? DType::c128 : DType::f32, {2, length}, 1, n);
      }
      if (is_complex(dtype)) continue;
      if (is_floating(dtype)) check_scan(ScanOp::log_sum, dtype, dtype, {3, length}, 1, n);
      check_scan(ScanOp::maximum, dtype, dtype, {2, length, 2}, 1, n);
      check_scan(ScanOp::minimum, dtype, dtype, {3, length}, 1, n);
    }
  }
  check_scan(ScanOp::sum, DType::f32, DType::f32, {9000, 33}, 1, 0);
  check_scan(ScanOp::sum, DType::i64, DType::i64, {50000}, 0, 0);
  check_scan(ScanOp::maximum, DType::f32, DType::f32, {50000}, 0, 2);
  check_scan(ScanOp::sum, DType::f32, DType::f32, {0, 5}, 0, 0);
  check_scan(ScanOp::sum, DType::f32, DType::f32, {}, 0, 0);
}

TEST(TextNonzero, PiecesAndBlocks) {
  int n = 0;
  for (int d = 0; d < k_dtype_count; ++d)
    for (Dims shape : {Dims{}, Dims{0, 4}, Dims{5}, Dims{130, 7}, Dims{100, 9, 20}}) {
      const auto dtype = static_cast<DType>(d);
      ++n;
      if (shape.size() == 3 && d % 3 != 0) continue;  // two blocks
      SCOPED_TRACE(what_of(dtype, n));
      Memory src(dtype, shape, n % 5, 1, 1);
      std::mt19937_64 random(static_cast<uint64_t>(n));
      const size_t size = size_of(dtype);
      for (size_t i = 0; i + size <= src.bytes.size(); i += size)
        if (random() % 3 != 0) {
          std::memset(src.bytes.data() + i, 0, size);
          if (random() % 2 && !is_integral(dtype)) src.bytes[i + size - 1] = char(0x80);  // -0
        }
      const int64_t elements = Layout::contiguous(shape).numel();
      const auto rank = static_cast<int64_t>(shape.size());
      for (int64_t rows : {elements / 3, elements}) {
        Memory out(DType::i64, {rows, rank}, n % 2, 0, 2);
        expect_same(kernels::nonzero(out.view, src.view), {&out, &src});
      }
      const int64_t blocks = (elements + kernels::k_nonzero_block - 1) / kernels::k_nonzero_block;
      Memory counts(DType::i64, {blocks}, 0, 0, 2), offsets(DType::i64, {blocks}, 0, 2, 2);
      const kernels::KernelCall count = kernels::nonzero_count(counts.view, src.view);
      expect_same(count, {&counts, &src});
      const Outcome counted = outcome_of(count, {&counts, &src}, -1);
      int64_t before = 0;
      for (int64_t b = 0; b < blocks; ++b) {
        offsets.data<int64_t>()[b] = before;
        before += reinterpret_cast<const int64_t*>(counted.memory[0].data())[b];
      }
      Memory filled(DType::i64, {before, rank}, 0, 0, 2);
      expect_same(kernels::nonzero_fill(filled.view, offsets.view, src.view),
                  {&filled, &src, &offsets});
    }
}

constexpr ScatterMode k_modes[] = {ScatterMode::write, ScatterMode::add, ScatterMode::multiply,
                                   ScatterMode::maximum, ScatterMode::minimum};

TEST(TextScatter, AllDtypesAndModes) {
  int n = 0;
  for (int d = 0; d < k_dtype_count; ++d)
    for (ScatterMode mode : k_modes) {
      const auto dtype = static_cast<DType>(d);
      if (is_complex(dtype) && mode >= ScatterMode::maximum) continue;
      ++n;
      SCOPED_TRACE(what_of(dtype, n));
      const DType index_dtype = k_indices[n % 5];
      const bool bad = n % 7 == 0;
      {  // rows: an embedding's gradient
        Memory dst(dtype, {11, 6}, n % 4, 0, 1), values(dtype, {300, 6}, n % 5, 1, 2);
        Memory index(index_dtype, {300}, n % 3, 2, 3);
        fill_small(dst, 1, 6);
        fill_small(values, 2, 6);
        fill_indices(index, 11, 4, bad);
        expect_same(kernels::index_add(dst.view, values.view, index.view, 0, mode),
                    {&dst, &values, &index});
      }
      {  // along a dimension
        Memory dst(dtype, {5, 9, 4}, n % 4, 0, 1), values(dtype, {5, 40, 4}, n % 5, 1, 2);
        Memory index(index_dtype, {5, 40, 4}, (n + 1) % 4, 2, 3);
        fill_small(dst, 1, 6);
        fill_small(values, 2, 6);
        fill_indices(index, 9, 5, bad);
        expect_same(kernels::scatter(dst.view, values.view, index.view, 1, mode),
                    {&dst, &values, &index});
      }
      {  // a histogram: no free dimension
        Memory dst(dtype, {7}, n % 4, 0, 1), values(dtype, {2000}, n % 4, 1, 2);
        Memory index(index_dtype, {2000}, n % 4, 2, 3);
        fill_small(dst, 1, 6);
        fill_small(values, 2, 6);
        fill_indices(index, 7, 6);
        expect_same(kernels::scatter(dst.view, values.view, index.view, 0, mode),
                    {&dst, &values, &index});
      }
      {  // two indices
        Memory dst(dtype, {4, 5, 3}, n % 4, 0, 1), values(dtype, {50, 5}, n % 4, 1, 2);
        Memory first(index_dtype, {50}, 0, 2, 3), last(DType::i64, {50}, 1, 3, 4);
        fill_small(dst, 1, 6);
        fill_small(values, 2, 6);
        fill_indices(first, 4, 7, bad, true);
        fill_indices(last, 3, 8, false, true);
        const kernels::View indices[] = {first.view, last.view};
        const int dims[] = {0, 2};
        expect_same(kernels::index_put(dst.view, values.view, indices, dims, 0, mode),
                    {&dst, &values, &first, &last});
      }
    }
}

TEST(TextDraw, IsTheHostsBitForBit) {
  driver::ScalarRef seed, offset;
  seed.value = 0x123456789abcdefull;
  offset.value = 0x1000000007ull;
  int n = 0;
  for (DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16})
    for (double scale : {0.01, 1.0, 20.0, 3000.0}) {
      SCOPED_TRACE(testing::Message() << name_of(dtype) << " scale " << scale);
      Memory a(dtype, {3, 700}, n % 4, 0, 1), b(dtype, {3, 700}, 0, 1, 2),
          out(dtype, {3, 700}, 1, 2, 3);
      std::mt19937_64 random(static_cast<uint64_t>(++n));
      const auto put = [&](Memory& m, auto next) {
        for (size_t i = 0; i + size_of(dtype) <= m.bytes.size(); i += size_of(dtype)) {
          const double v = next();
          const auto f = static_cast<float>(v);
          const uint16_t h = dtype == DType::f16 ? f32_to_f16(f) : f32_to_bf16(f);
          const void* from = dtype == DType::f64   ? static_cast<const void*>(&v)
                             : dtype == DType::f32 ? static_cast<const void*>(&f)
                                                   : &h;
          std::memcpy(m.bytes.data() + i, from, size_of(dtype));
        }
      };
      const auto unit = [&] { return static_cast<double>(random() % 1000) / 999; };
      put(a, [&] { return random() % 50 == 0 ? NAN : scale * unit(); });
      expect_same(kernels::draw(kernels::Draw::poisson, out.view, a.view, nullptr, seed, offset),
                  {&a, &b, &out});
      expect_same(kernels::draw(kernels::Draw::gamma, out.view, a.view, nullptr, seed, offset),
                  {&a, &b, &out});
      put(a, [&] { return std::floor(scale * unit()); });
      put(b, [&] { return random() % 50 == 0 ? NAN : unit(); });
      expect_same(kernels::draw(kernels::Draw::binomial, out.view, a.view, &b.view, seed, offset),
                  {&a, &b, &out});
    }
}

/// What the cpu driver's generated code draws for (a, b, seed, offset).
std::vector<double> drawn_by_plan(Op op, DType dtype, DType compute, double a, double b,
                                  double seed, double offset, uint64_t attribute, Dims shape) {
  Program p("cpu");
  std::vector<Arg> args = {a, b, seed, offset};
  if (op == Op::bernoulli) args.erase(args.begin() + 1);
  Program::Options o{compute, {dtype}, {shape}, {}, {}};
  if (op == Op::uniform || op == Op::random_int) o.attrs = {attribute};
  return p.read(p.record(op, args, o)[0]);
}

void check_random(kernels::Random which, Op op, DType dtype, double a, double b, uint64_t attribute,
                  double tolerance) {
  SCOPED_TRACE(testing::Message() << graph::name_of(op) << " " << name_of(dtype) << " " << b);
  const Dims shape = {3, 701};
  const DType compute = op == Op::random_int ? DType::i64 : is_floating(dtype) ? dtype : DType::f32;
  const double seed = 67280421310721, offset = 12345;
  const std::vector<double> want =
      drawn_by_plan(op, dtype, compute, a, b, seed, offset, attribute, shape);
  Memory out(dtype, shape, 0, 0, 1);
  driver::ScalarRef numbers[2], seed_ref, offset_ref;
  const auto word = [&](double v) {
    return op == Op::random_int ? static_cast<uint64_t>(static_cast<int64_t>(v))
                                : std::bit_cast<uint64_t>(v);
  };
  numbers[0].value = word(a);
  numbers[1].value = word(b);
  seed_ref.value = static_cast<uint64_t>(seed);
  offset_ref.value = static_cast<uint64_t>(offset);
  const Outcome got =
      outcome_of(kernels::random(which, out.view, nullptr, static_cast<int64_t>(attribute), numbers,
                                 seed_ref, offset_ref),
                 {&out}, 1);
  ASSERT_EQ(want.size(), 3u * 701);
  for (size_t i = 0; i < want.size(); ++i) {
    const double x = Program::get(got.memory[0].data(), i, dtype);
    if (tolerance == 0)
      ASSERT_EQ(x, want[i]) << i;
    else
      ASSERT_NEAR(x, want[i], tolerance * std::max(1.0, std::abs(want[i]))) << i;
  }
}

TEST(TextRandom, DrawsWhatGeneratedCodeDraws) {
  using kernels::Random;
  for (DType dtype : {DType::f32, DType::f64}) {
    check_random(Random::uniform, Op::uniform, dtype, 0, 1, 0, 0);
    check_random(Random::uniform, Op::uniform, dtype, -3.7, 11.3, 0, 0);
  }
  check_random(Random::uniform, Op::uniform, DType::f16, -1, 2, 11, 0);
  check_random(Random::uniform, Op::uniform, DType::bf16, 0, 1, 8, 0);
  check_random(Random::bernoulli, Op::bernoulli, DType::f32, 0.3, 0, 0, 0);
  check_random(Random::bernoulli, Op::bernoulli, DType::i64, 0.9, 0, 0, 0);
  check_random(Random::bernoulli, Op::bernoulli, DType::f64, 0.5, 0, 0, 0);
  check_random(Random::integer, Op::random_int, DType::i64, -5, 17, 0, 0);
  check_random(Random::integer, Op::random_int, DType::i32, 0, 1000000007, 0, 0);
  check_random(Random::integer, Op::random_int, DType::i64, -4e18, 8e18, 1, 0);
  check_random(Random::normal, Op::normal, DType::f32, 0, 1, 0, 4e-7);
  check_random(Random::normal, Op::normal, DType::f32, 100, 0.25, 0, 4e-7);
  check_random(Random::normal, Op::normal, DType::f64, -1, 3, 0, 1e-15);
}

}  // namespace
}  // namespace qs::test
