// Folds of the tile VM: the order they promise, whatever the extents, strides and instruction set.
#include "tile_harness.h"

namespace qs::driver {
namespace {

using namespace tile_test;

// ---- folds

/// The fold of `x` (points in loop order) exactly as the contract orders it.
template <class T, class Combine>
T ordered_fold(TileMode mode, const std::vector<T>& x, T identity, Combine combine) {
  T total = identity;
  const int64_t n = static_cast<int64_t>(x.size());
  const int64_t chunk = mode == TileMode::row ? k_fold_chunk : k_fold_rows;
  for (int64_t begin = 0; begin < n; begin += chunk) {
    const int64_t end = std::min(n, begin + chunk);
    T part = identity;
    if (mode == TileMode::row) {
      std::vector<T> lanes(k_fold_lanes, identity);
      for (int64_t i = begin; i < end; ++i) {
        T& lane = lanes[static_cast<size_t>((i - begin) % k_fold_lanes)];
        lane = combine(lane, x[static_cast<size_t>(i)]);
      }
      for (size_t w = k_fold_lanes / 2; w >= 1; w /= 2)
        for (size_t i = 0; i < w; ++i) lanes[i] = combine(lanes[i], lanes[i + w]);
      part = lanes[0];
    } else {
      for (int64_t i = begin; i < end; ++i) part = combine(part, x[static_cast<size_t>(i)]);
    }
    total = combine(total, part);
  }
  return total;
}

struct FoldCase {
  TileMode mode;
  Dims kept, reduced;
};
std::vector<FoldCase> fold_cases() {
  const TileMode row = TileMode::row, column = TileMode::column;
  return {
      {row, {7}, {10}},          {row, {64}, {10}},        {row, {3, 5}, {64}},
      {row, {100}, {17}},        {row, {2}, {1}},          {row, {1025}, {1}},
      {row, {3}, {513}},         {row, {2, 2}, {1024}},    {row, {2}, {5000}},
      {row, {1}, {16384}},       {row, {1}, {16385}},      {row, {1}, {1000003}},
      {row, {2}, {3, 1000}},     {row, {2}, {40, 11}},     {row, {3}, {4, 5, 6}},
      {row, {1}, {300, 7, 50}},  {row, {1}, {2000, 777}},  {row, {1}, {3, 2, 400, 500}},
      {row, {}, {200000}},       {row, {4}, {0}},          {row, {0}, {4}},
      {column, {7}, {10}},       {column, {10}, {700}},    {column, {3, 33}, {511}},
      {column, {1000}, {513}},   {column, {1500}, {20}},   {column, {2}, {3, 1000}},
      {column, {10}, {4, 5, 6}}, {column, {64}, {100000}}, {column, {2, 100}, {300, 50}},
      {column, {5}, {0}},        {column, {}, {3000}},     {column, {3}, {2, 3, 4, 100}},
  };
}

/// Memory holding kept x reduced points, in a random order of dimensions.
Dims random_strides(std::mt19937_64& random, const Dims& extents) {
  Dims s(extents.size(), 0);
  std::vector<size_t> order(extents.size());
  for (size_t l = 0; l < order.size(); ++l) order[l] = l;
  if (random() % 2) std::shuffle(order.begin(), order.end(), random);
  int64_t next = 1;
  for (size_t k = order.size(); k-- > 0;) {
    s[order[k]] = next;
    next *= std::max<int64_t>(extents[order[k]], 1);
  }
  return s;
}

Dims all_extents(const FoldCase& c) {
  Dims e = c.kept;
  for (int64_t n : c.reduced) e.push_back(n);
  return e;
}
int64_t product(const Dims& d) {
  int64_t n = 1;
  for (int64_t e : d) n *= e;
  return n;
}
/// Calls f(offset) for all points of `extents` in loop order.
template <class F>
void each_point(const Dims& extents, const Dims& strides, size_t first_stride, F f) {
  const int64_t n = product(extents);
  for (int64_t at = 0; at < n; ++at) {
    int64_t rest = at, offset = 0;
    for (size_t l = extents.size(); l-- > 0;) {
      offset += rest % extents[l] * strides[first_stride + l];
      rest /= extents[l];
    }
    f(offset);
  }
}

TEST(Tile, FoldsKeepTheContractsOrder) {
  std::mt19937_64 random(7);
  for (const FoldCase& c : fold_cases())
    for (int turn = 0; turn < 3; ++turn) {
      const Dims extents = all_extents(c);
      const Dims strides = random_strides(random, extents);
      const int64_t kept = product(c.kept), reduced = product(c.reduced);
      std::vector<float> x(static_cast<size_t>(kept * reduced) + 1);
      for (float& v : x)
        v = static_cast<float>(static_cast<int64_t>(random() % 2000001) - 1000000) / 1999;
      std::vector<float> sum(static_cast<size_t>(kept), -1), largest(sum), scaled(sum);
      std::vector<int64_t> whole(static_cast<size_t>(kept), -1);
      Maker m(c.mode, c.kept, c.reduced);
      Dims out = contiguous_strides(c.kept);
      for (size_t l = 0; l < c.reduced.size(); ++l) out.push_back(1234);  // unused
      const uint32_t in = m.operand(DType::f32, 0, strides);
      const uint16_t v = m.load(in, DType::f32);
      const uint16_t square = m.op(Prim::mul, {v, v}, DType::f32);
      const uint16_t s = m.fold(qs::Fold::sum, square, DType::f32);
      const uint16_t big = m.fold(qs::Fold::max, v, DType::f32);
      const uint16_t i = m.op(Prim::cast, {v}, DType::i64);
      const uint16_t w = m.fold(qs::Fold::sum, i, DType::i64);
      m.tail();
      m.store(m.operand(DType::f32, 1, out, TileDomain::kept), s);
      m.store(m.operand(DType::f32, 2, out, TileDomain::kept), big);
      m.store(m.operand(DType::i64, 3, out, TileDomain::kept), w);
      const uint16_t half =
          m.op(Prim::mul, {s, m.scalar(0.5, DType::f32)}, DType::f32, TileDomain::kept);
      m.store(m.operand(DType::f32, 4, out, TileDomain::kept), half);
      std::vector<float> points;
      std::vector<float> expect_sum, expect_max;
      std::vector<int64_t> expect_whole;
      each_point(c.kept, strides, 0, [&](int64_t base) {
        points.clear();
        std::vector<float> plain;
        int64_t total = 0;
        each_point(c.reduced, strides, c.kept.size(), [&](int64_t at) {
          const float e = x[static_cast<size_t>(base + at)];
          plain.push_back(e);
          points.push_back(e * e);
          total += static_cast<int64_t>(e);
        });
        expect_sum.push_back(
            ordered_fold(c.mode, points, 0.0f, [](float a, float b) { return a + b; }));
        expect_max.push_back(ordered_fold(c.mode, plain, -INFINITY,
                                          [](float a, float b) { return std::max(a, b); }));
        expect_whole.push_back(total);
      });
      for (Isa isa : isas())
        for (Order order : {Order::forward, Order::backward}) {
          IsaScope scope(isa);
          const TileKernel kernel(m.program);
          const TileLaunch launch = m.launch(kernel);
          run(launch, {x.data(), sum.data(), largest.data(), whole.data(), scaled.data()}, {},
              order);
          for (size_t k = 0; k < sum.size(); ++k) {
            ASSERT_EQ(sum[k], expect_sum[k]) << k << describe(m) << name_of(isa);
            ASSERT_EQ(scaled[k], expect_sum[k] * 0.5f);
            ASSERT_EQ(largest[k], expect_max[k]) << k << describe(m) << name_of(isa);
            ASSERT_EQ(whole[k], expect_whole[k]) << k << describe(m) << name_of(isa);
          }
        }
    }
}

TEST(Tile, ArgFoldsFindTheFirstExtremeAndNaN) {
  std::mt19937_64 random(8);
  for (const FoldCase& c : fold_cases()) {
    const int64_t kept = product(c.kept), reduced = product(c.reduced);
    if (reduced == 0) continue;
    for (int nans = 0; nans < 2; ++nans) {
      const Dims extents = all_extents(c), strides = random_strides(random, extents);
      std::vector<float> x(static_cast<size_t>(kept * reduced) + 1);
      for (float& v : x) v = static_cast<float>(random() % 50);
      if (nans)
        for (size_t k = 0; k < x.size(); k += 1 + random() % 300) x[k] = NAN;
      std::vector<int64_t> high(static_cast<size_t>(kept), -7), low(high);
      std::vector<float> biggest(static_cast<size_t>(kept));
      std::vector<uint8_t> some(static_cast<size_t>(kept)), every(some);
      Maker m(c.mode, c.kept, c.reduced);
      Dims out = contiguous_strides(c.kept);
      for (size_t l = 0; l < c.reduced.size(); ++l) out.push_back(0);
      const uint16_t v = m.load(m.operand(DType::f32, 0, strides), DType::f32);
      const uint16_t test = m.op(Prim::gt, {v, m.scalar(47, DType::f32)}, DType::bool_);
      const uint16_t folds[] = {
          m.fold(qs::Fold::argmax, v, DType::i64), m.fold(qs::Fold::argmin, v, DType::i64),
          m.fold(qs::Fold::max, v, DType::f32), m.fold(qs::Fold::any, test, DType::bool_),
          m.fold(qs::Fold::all, test, DType::bool_)};
      const DType types[] = {DType::i64, DType::i64, DType::f32, DType::bool_, DType::bool_};
      m.tail();
      for (int k = 0; k < 5; ++k)
        m.store(m.operand(types[k], 1 + k, out, TileDomain::kept), folds[k]);
      for (Isa isa : isas()) {
        IsaScope scope(isa);
        const TileKernel kernel(m.program);
        run(m.launch(kernel),
            {x.data(), high.data(), low.data(), biggest.data(), some.data(), every.data()}, {},
            Order::backward);
        size_t k = 0;
        each_point(c.kept, strides, 0, [&](int64_t base) {
          int64_t at = 0, best = 0, worst = 0;
          float top = 0, bottom = 0;
          bool any = false, all = true;
          each_point(c.reduced, strides, c.kept.size(), [&](int64_t offset) {
            const float e = x[static_cast<size_t>(base + offset)];
            if (at == 0 || e > top || (std::isnan(e) && !std::isnan(top))) best = at, top = e;
            if (at == 0 || e < bottom || (std::isnan(e) && !std::isnan(bottom)))
              worst = at, bottom = e;
            any |= e > 47;
            all &= e > 47;
            ++at;
          });
          ASSERT_EQ(high[k], best) << k << describe(m) << name_of(isa);
          ASSERT_EQ(low[k], worst) << k << describe(m) << name_of(isa);
          ASSERT_EQ(some[k], any);
          ASSERT_EQ(every[k], all);
          ASSERT_TRUE(std::isnan(top) ? std::isnan(biggest[k]) : biggest[k] == top);
          ++k;
        });
      }
    }
  }
}

TEST(Tile, PhasesReadKeptAndPersistentRegisters) {
  // softmax with the exponentials held, and a kept operand that scales each row
  std::mt19937_64 random(9);
  for (const FoldCase& c : fold_cases())
    for (const bool in_place : {false, true}) {
      const Dims extents = all_extents(c), strides = random_strides(random, extents);
      const int64_t kept = product(c.kept), reduced = product(c.reduced);
      if (kept * reduced > 400000) continue;
      std::vector<float> x(static_cast<size_t>(kept * reduced) + 1);
      for (float& v : x) v = static_cast<float>(static_cast<int64_t>(random() % 2001) - 1000) / 64;
      std::vector<float> scale(static_cast<size_t>(kept) + 1);
      for (float& v : scale) v = static_cast<float>(random() % 8 + 1);
      Maker m(c.mode, c.kept, c.reduced);
      Dims out = contiguous_strides(c.kept);
      for (size_t l = 0; l < c.reduced.size(); ++l) out.push_back(0);
      const DType f = DType::f32;
      const uint32_t in = m.operand(f, 0, strides);
      const uint16_t factor = m.load(m.operand(f, 1, out, TileDomain::kept), f, TileDomain::kept);
      const uint16_t v = m.load(in, f, TileDomain::full, true);
      const uint16_t scaled = m.op(Prim::mul, {v, factor}, f, TileDomain::full, true);
      const uint16_t top = m.fold(qs::Fold::max, scaled, f);
      m.phase();
      const uint16_t less = m.op(Prim::sub, {scaled, top}, f, TileDomain::full, true);
      const uint16_t total = m.fold(qs::Fold::sum, less, f);
      m.tail();
      const uint16_t shifted = m.op(Prim::add, {total, m.scalar(1, f)}, f, TileDomain::kept);
      m.store(m.operand(f, 3, out, TileDomain::kept), shifted);
      m.phase();
      const uint16_t a = m.op(Prim::mul, {less, shifted}, f);
      const uint16_t b = m.op(Prim::add, {a, v}, f);
      m.store(m.operand(f, in_place ? 0 : 2, strides), b);
      m.tail();
      m.store(m.operand(f, 4, out, TileDomain::kept), top);
      std::vector<float> expected(x.size()), totals(static_cast<size_t>(kept)), tops(totals);
      std::vector<float> got_totals(totals.size()), got_tops(totals.size());
      size_t k = 0;
      each_point(c.kept, strides, 0, [&](int64_t base) {
        std::vector<float> row;
        float most = -INFINITY;
        each_point(c.reduced, strides, c.kept.size(), [&](int64_t o) {
          row.push_back(x[static_cast<size_t>(base + o)] * scale[k]);
          most = std::max(most, row.back());
        });
        for (float& e : row) e -= most;
        const float sum =
            ordered_fold(c.mode, row, 0.0f, [](float p, float q) { return p + q; }) + 1;
        size_t at = 0;
        each_point(c.reduced, strides, c.kept.size(), [&](int64_t o) {
          const float product_of = row[at++] * sum;
          expected[static_cast<size_t>(base + o)] = product_of + x[static_cast<size_t>(base + o)];
        });
        totals[k] = sum;
        tops[k++] = most;
      });
      for (Isa isa : isas()) {
        IsaScope scope(isa);
        const TileKernel kernel(m.program);
        std::vector<float> data = x, result(x.size());
        run(m.launch(kernel),
            {data.data(), scale.data(), result.data(), got_totals.data(), got_tops.data()});
        const std::vector<float>& got = in_place ? data : result;
        for (size_t i = 0; i < static_cast<size_t>(kept * reduced); ++i)
          ASSERT_EQ(got[i], expected[i]) << i << describe(m) << name_of(isa);
        if (reduced > 0) {
          ASSERT_EQ(got_tops, tops);
        }
        ASSERT_EQ(got_totals, totals) << describe(m);
      }
    }
}

}  // namespace
}  // namespace qs::driver
