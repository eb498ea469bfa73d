// Comparisons of a counter with one index a row, and folds that need the one element they find.
#include "tile_harness.h"

namespace qs::driver::tile_test {
namespace {

struct Rows {
  int64_t rows, columns;
  int64_t start = 0, step = 1;  // of the counter
  double otherwise = 0;
};

/// One index a row, some of them nowhere in it.
std::vector<int64_t> draw_indices(const Rows& r, std::mt19937_64& random) {
  std::vector<int64_t> index;
  for (int64_t i = 0; i < r.rows; ++i) {
    const int64_t at = static_cast<int64_t>(random() % static_cast<uint64_t>(r.columns + 2)) - 1;
    index.push_back(r.start + at * r.step);
  }
  index[0] = r.start + (r.columns - 1) * r.step;
  if (r.rows > 2) index[1] = INT64_MIN, index[2] = INT64_MAX;
  return index;
}

template <class T>
void expect_points(const Rows& r, qs::Fold fold, bool hit_stored) {
  constexpr DType dtype = sizeof(T) == 4 ? DType::f32 : DType::f64;
  std::mt19937_64 random(7);
  std::vector<T> x(static_cast<size_t>(r.rows * r.columns));
  for (T& v : x) v = static_cast<T>(static_cast<double>(random() % 2001) / 1000 - 1);
  for (size_t i = 0; i < x.size(); i += 7) x[i] = -T(0);
  for (size_t i = 3; i < x.size(); i += 11) x[i] = std::numeric_limits<T>::quiet_NaN();
  std::vector<int64_t> index = draw_indices(r, random);
  std::vector<T> out(static_cast<size_t>(r.rows), 5), hits(hit_stored ? x.size() : 1, 5);

  Maker m(TileMode::row, {r.rows}, {r.columns});
  const uint32_t ox = m.operand(dtype, 0, {r.columns, 1});
  const uint32_t oi = m.operand(DType::i64, 1, {1, 0}, TileDomain::kept);
  const uint32_t oo = m.operand(dtype, 2, {1, 0}, TileDomain::kept);
  const uint32_t oc = m.affine(r.start, {0, r.step});
  const uint16_t c = m.scalar(r.otherwise, dtype);
  const uint16_t kept = m.load(oi, DType::i64, TileDomain::kept);
  const uint16_t hit = m.op(Prim::eq, {m.load(oc, DType::i64), kept}, DType::bool_);
  const uint16_t value = m.load(ox, dtype);
  const uint16_t result = m.fold(fold, m.op(Prim::where, {hit, value, c}, dtype), dtype);
  if (hit_stored) {
    const uint32_t oh = m.operand(dtype, 3, {r.columns, 1});
    m.store(oh, m.op(Prim::cast, {hit}, dtype));
  }
  m.tail();
  m.store(oo, result);
  const TileKernel kernel(m.program);
  for (Order order : {Order::forward, Order::backward}) {
    std::fill(out.begin(), out.end(), T(5));
    run(m.launch(kernel), {x.data(), index.data(), out.data(), hits.data()}, {}, order);
    for (int64_t i = 0; i < r.rows; ++i) {
      const T none = static_cast<T>(r.otherwise);
      T expected = fold == qs::Fold::sum ? T(0) : -std::numeric_limits<T>::infinity();
      for (int64_t k = 0; k < r.columns; ++k) {
        const bool here = r.start + k * r.step == index[static_cast<size_t>(i)];
        const size_t at = static_cast<size_t>(i * r.columns + k);
        const T v = here ? x[at] : none;
        expected = fold == qs::Fold::sum                  ? expected + v
                   : expected > v || expected != expected ? expected
                                                          : v;
        if (hit_stored) {
          ASSERT_EQ(hits[at], here) << i << ' ' << k;
        }
      }
      const T got = out[static_cast<size_t>(i)];
      const bool nan = got != got && expected != expected;
      const double identity = fold == qs::Fold::sum ? 0 : -std::numeric_limits<double>::infinity();
      if (r.otherwise == identity) {
        ASSERT_TRUE(nan || std::memcmp(&got, &expected, sizeof got) == 0)
            << i << ": " << got << " for " << expected;
      } else {
        ASSERT_TRUE(nan || std::abs(got - expected) <= 1e-3 * std::abs(expected))
            << i << ": " << got << " for " << expected;
      }
    }
  }
}

TEST(TilePoints, AsElementByElement) {
  const double inf = std::numeric_limits<double>::infinity();
  for (Isa isa : isas()) {
    const IsaScope scope(isa);
    for (Rows r : {Rows{1, 1},
                   {5, 1},
                   {1, 5},
                   {64, 10},
                   {70, 64},
                   {300, 65},
                   {9, 1000},
                   {3, 1024},
                   {3, 1500},
                   {2, 20000},
                   {1, 50257},
                   {40, 2000}})
      for (bool stored : {false, true})
        for (auto [start, step] : {std::pair<int64_t, int64_t>{0, 1}, {-3, 1}, {4, 3}, {9, -1}}) {
          SCOPED_TRACE(format("{} x {}, from {} by {}", r.rows, r.columns, start, step));
          r.start = start;
          r.step = step;
          for (double otherwise : {-inf, 0.0, 0.25}) {
            r.otherwise = otherwise;
            expect_points<float>(r, qs::Fold::max, stored);
            expect_points<double>(r, qs::Fold::max, stored);
            if (otherwise != -inf) expect_points<float>(r, qs::Fold::sum, stored);
          }
        }
  }
}

// The counter runs along the inner of two reduced loops, or along the rows.
TEST(TilePoints, CountersAlongOtherLoops) {
  for (Isa isa : isas()) {
    const IsaScope scope(isa);
    for (Dims steps : {Dims{0, 0, 1}, Dims{0, 1, 0}, Dims{1, 0, 0}, Dims{0, 7, 1}, Dims{5, 0, 2}}) {
      constexpr int64_t rows = 6, a = 5, b = 7;
      std::vector<float> x(rows * a * b), out(rows);
      for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 31);
      std::vector<int64_t> index{0, 3, 4, 11, 34, 1};
      Maker m(TileMode::row, {rows}, {a, b});
      const uint32_t ox = m.operand(DType::f32, 0, {a * b, 1, a});  // no two loops are one
      const uint32_t oi = m.operand(DType::i64, 1, {1, 0, 0}, TileDomain::kept);
      const uint32_t oo = m.operand(DType::f32, 2, {1, 0, 0}, TileDomain::kept);
      const uint32_t oc = m.affine(0, steps);
      const uint16_t c = m.scalar(0, DType::f32);
      const uint16_t kept = m.load(oi, DType::i64, TileDomain::kept);
      const uint16_t hit = m.op(Prim::eq, {kept, m.load(oc, DType::i64)}, DType::bool_);
      const uint16_t value = m.op(Prim::where, {hit, m.load(ox, DType::f32), c}, DType::f32);
      const uint16_t sum = m.fold(qs::Fold::sum, value, DType::f32);
      m.tail();
      m.store(oo, sum);
      run(m.launch(TileKernel(m.program)), {x.data(), index.data(), out.data()});
      for (int64_t i = 0; i < rows; ++i) {
        float expected = 0;
        for (int64_t p = 0; p < a; ++p)
          for (int64_t q = 0; q < b; ++q)
            if (i * steps[0] + p * steps[1] + q * steps[2] == index[static_cast<size_t>(i)])
              expected += x[static_cast<size_t>(i * a * b + p + q * a)];
        EXPECT_EQ(out[static_cast<size_t>(i)], expected) << i;
      }
    }
  }
}

}  // namespace
}  // namespace qs::driver::tile_test
