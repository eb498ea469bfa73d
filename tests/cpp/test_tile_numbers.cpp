// Integers, conversions, random bits and half types in the tile VM.
#include "tile_harness.h"

namespace qs::driver {
namespace {

using namespace tile_test;

template <class T>
void check_integers(DType d) {
  using U = std::make_unsigned_t<T>;
  std::mt19937_64 random(12);
  const T low = std::numeric_limits<T>::min(), high = std::numeric_limits<T>::max();
  std::vector<T> values = {
      0,   1,    static_cast<T>(-1),     2, 7, static_cast<T>(-7), 31, 32, 63, 64,
      low, high, static_cast<T>(low + 1)};
  for (int i = 0; i < 10; ++i) values.push_back(static_cast<T>(random()));
  std::vector<T> x, y, safe;
  for (T a : values)
    for (T b : values) {
      x.push_back(a);
      y.push_back(b);
      safe.push_back(b == 0 ? T(3) : b);
    }
  // Whole vectors of numbers that floating division serves, and of such as are just too large.
  for (const int bits : {4, 10, 22, 23, 24, 31, 50, 51, 52, 53})
    for (int i = 0; i < 200; ++i) {
      if (bits >= std::numeric_limits<T>::digits) continue;
      const uint64_t range = uint64_t{1} << bits;
      const T a = static_cast<T>(random() % (2 * range + 1) - (low < 0 ? range : 0));
      const T b = static_cast<T>(random() % (i % 2 ? 2 * range + 1 : 9) - (low < 0 ? range : 0));
      x.push_back(a);
      y.push_back(b);
      safe.push_back(b == 0 ? T(3) : b);
    }
  const auto check = [&](Prim p, const std::vector<T>& right, auto f) {
    const auto z = run_op<T>(p, d, {d, d}, nullptr, x, right);
    for (size_t i = 0; i < x.size(); ++i)
      ASSERT_EQ(z[i], static_cast<T>(f(x[i], right[i])))
          << info(p).name << "(" << +x[i] << ", " << +right[i] << ")";
  };
  const auto overflows = [&](T a, T b) { return low < 0 && a == low && b == static_cast<T>(-1); };
  check(Prim::add, y, [](T a, T b) { return U(a) + U(b); });
  check(Prim::sub, y, [](T a, T b) { return U(a) - U(b); });
  check(Prim::mul, y, [](T a, T b) { return U(a) * U(b); });
  check(Prim::maximum, y, [](T a, T b) { return std::max(a, b); });
  check(Prim::minimum, y, [](T a, T b) { return std::min(a, b); });
  check(Prim::bit_and, y, [](T a, T b) { return a & b; });
  check(Prim::bit_or, y, [](T a, T b) { return a | b; });
  check(Prim::bit_xor, y, [](T a, T b) { return a ^ b; });
  check(Prim::trunc_div, safe, [&](T a, T b) { return overflows(a, b) ? low : a / b; });
  check(Prim::fmod, safe, [&](T a, T b) { return overflows(a, b) ? 0 : a % b; });
  check(Prim::floor_div, safe, [&](T a, T b) {
    if (overflows(a, b)) return low;
    return static_cast<T>(a / b - (a % b != 0 && ((a % b < 0) != (b < 0))));
  });
  check(Prim::rem, safe, [&](T a, T b) {
    if (overflows(a, b)) return T(0);
    const T m = a % b;
    return static_cast<T>(m != 0 && (m < 0) != (b < 0) ? m + b : m);
  });
  const T width = static_cast<T>(sizeof(T) * 8);
  check(Prim::shift_left, y, [&](T a, T b) { return b >= 0 && b < width ? U(a) << b : U(0); });
  check(Prim::shift_right, y, [&](T a, T b) {
    return b >= 0 && b < width ? a >> b : a < 0 ? T(-1) : T(0);
  });
  const std::vector<T> powers(x.size(), 5);
  check(Prim::pow, powers, [](T a, T) { return U(a) * U(a) * U(a) * U(a) * U(a); });
  const auto one = [&](Prim p, auto f) {
    const auto z = run_op<T>(p, d, {d}, nullptr, x);
    for (size_t i = 0; i < x.size(); ++i)
      ASSERT_EQ(z[i], static_cast<T>(f(x[i]))) << info(p).name << +x[i];
  };
  one(Prim::neg, [](T a) { return U(0) - U(a); });
  one(Prim::abs, [](T a) { return a < 0 ? U(0) - U(a) : U(a); });
  one(Prim::sign, [](T a) { return (a > 0) - (a < 0); });
  one(Prim::square, [](T a) { return U(a) * U(a); });
  one(Prim::bit_not, [](T a) { return ~a; });
  const auto test = [&](Prim p, auto f) {
    const auto z = run_op<uint8_t>(p, DType::bool_, {d, d}, nullptr, x, y);
    for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(z[i], f(x[i], y[i])) << info(p).name;
  };
  test(Prim::eq, std::equal_to<T>());
  test(Prim::ne, std::not_equal_to<T>());
  test(Prim::lt, std::less<T>());
  test(Prim::le, std::less_equal<T>());
  test(Prim::gt, std::greater<T>());
  test(Prim::ge, std::greater_equal<T>());
}

TEST(Tile, IntegersWrapAndDivideAsPythonAndC) {
  for (Isa isa : isas()) {
    IsaScope scope(isa);
    check_integers<int32_t>(DType::i32);
    check_integers<int64_t>(DType::i64);
    check_integers<uint64_t>(DType::u64);
  }
}

TEST(Tile, BadDataSetsTheRecordOnce) {
  for (Isa isa : isas()) {
    IsaScope scope(isa);
    ErrorRecord error;
    const std::vector<int64_t> x = {5, 6, 7, 8}, y = {2, 0, 3, 0};
    const auto z =
        run_op<int64_t>(Prim::floor_div, DType::i64, {DType::i64, DType::i64}, &error, x, y);
    EXPECT_EQ(z, (std::vector<int64_t>{2, 0, 2, 0}));
    EXPECT_EQ(error.set, 42);
    EXPECT_EQ(error.reason, 2);
    const std::vector<int64_t> index = {0, 9, -1, 12, 3}, bound(5, 10);
    const auto safe = run_op<int64_t>(Prim::check_index, DType::i64, {DType::i64, DType::i64},
                                      &error, index, bound);
    EXPECT_EQ(safe, (std::vector<int64_t>{0, 9, 0, 0, 3}));
    EXPECT_EQ(error.set, 42);
    EXPECT_EQ(error.reason, 1);
    EXPECT_EQ(error.value, -1);
    EXPECT_EQ(error.bound, 10);
    const auto fine =
        run_op<int64_t>(Prim::check_index, DType::i64, {DType::i64, DType::i64}, &error,
                        std::vector<int64_t>{0, 9}, std::vector<int64_t>{1, 10});
    EXPECT_EQ(fine[1], 9);
    EXPECT_EQ(error.set, 0);
  }
}

TEST(Tile, ConversionsOutOfRangeAreDefined) {
  for (Isa isa : isas()) {
    IsaScope scope(isa);
    const std::vector<float> x = {1.9f, -1.9f, 3e9f, -3e9f, 1e20f, NAN, INFINITY, 300, -0.0f};
    EXPECT_EQ(run_op<int32_t>(Prim::cast, DType::i32, {DType::f32}, nullptr, x),
              (std::vector<int32_t>{1, -1, INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN,
                                    300, 0}));
    EXPECT_EQ(run_op<int64_t>(Prim::cast, DType::i64, {DType::f32}, nullptr, x),
              (std::vector<int64_t>{1, -1, 3000000000, -3000000000, INT64_MIN, INT64_MIN, INT64_MIN,
                                    300, 0}));
    EXPECT_EQ(run_op<uint8_t>(Prim::cast, DType::bool_, {DType::f32}, nullptr, x),
              (std::vector<uint8_t>{1, 1, 1, 1, 1, 1, 1, 1, 0}));
    const std::vector<double> y = {1.8e19, -1, 9.3e18, 5};
    EXPECT_EQ(run_op<uint64_t>(Prim::cast, DType::u64, {DType::f64}, nullptr, y),
              (std::vector<uint64_t>{18000000000000000000u, ~0ull, 9300000000000000000u, 5}));
  }
}

TEST(Tile, PhiloxIsTheSameInAnyOrder) {
  // Known answer of Philox4x32-10 (Random123): counter and key all ones.
  std::vector<int64_t> linear, seed, offset;
  for (int64_t i = 0; i < 200; ++i) linear.push_back(i < 100 ? i * 7 % 100 : i - 100);
  const auto z = [&](std::vector<int64_t> s, std::vector<int64_t> o) {
    return run_op<int64_t>(Prim::philox, DType::i64, {DType::i64, DType::i64, DType::i64}, nullptr,
                           linear, s, o);
  };
  const auto all = z(std::vector<int64_t>(200, 12345), std::vector<int64_t>(200, 678));
  for (size_t i = 0; i < 100; ++i) {
    EXPECT_EQ(all[i], all[100 + static_cast<size_t>(linear[i])]);
    EXPECT_GE(all[i], 0);
    EXPECT_LT(all[i], int64_t{1} << 32);
  }
  // The consecutive, one-key path gives the same.
  Maker m(TileMode::map, {100}, {});
  std::vector<int64_t> out(100);
  const uint16_t l = m.load(m.affine(0, {1}), DType::i64);
  m.store(
      m.operand(DType::i64, 0, {1}),
      m.op(Prim::philox, {l, m.scalar(12345, DType::i64), m.scalar(678, DType::i64)}, DType::i64));
  for (Isa isa : isas()) {
    IsaScope scope(isa);
    run(m.launch(TileKernel(m.program)), {out.data()});
    EXPECT_TRUE(std::equal(out.begin(), out.end(), all.begin() + 100));
  }
  linear = {0, 1, 2, 3};
  const auto zeros = z(std::vector<int64_t>(4, 0), std::vector<int64_t>(4, 0));
  EXPECT_EQ(zeros, (std::vector<int64_t>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
}

TEST(Tile, HalfTypesRoundToNearestEven) {
  for (uint32_t h = 0; h < 65536; ++h) {
    const uint16_t bits = static_cast<uint16_t>(h);
    const float x = f16_to_f32(bits);
    const bool nan = (h & 0x7fff) > 0x7c00;
    ASSERT_EQ(std::isnan(x), nan);
    ASSERT_EQ(f32_to_f16(x), nan ? bits | 0x200 : bits);
    const float y = bf16_to_f32(bits);
    ASSERT_EQ(f32_to_bf16(y), (h & 0x7fff) > 0x7f80 ? bits | 0x40 : bits);
  }
  std::mt19937_64 random(13);
  std::vector<float> x = edge_values<float>();
  for (int i = 0; i < 100000; ++i) {
    x.push_back(std::bit_cast<float>(static_cast<uint32_t>(random())));
    x.push_back(
        std::ldexp(static_cast<float>(random() % 8192), static_cast<int>(random() % 48) - 36));
  }
  for (Isa isa : isas()) {
    IsaScope scope(isa);
    for (DType d : {DType::f16, DType::bf16}) {
      Maker m(TileMode::map, {static_cast<int64_t>(x.size())}, {});
      std::vector<uint16_t> half(x.size());
      std::vector<float> rounded(x.size());
      const uint16_t r = m.load(m.operand(DType::f32, 0, {1}), DType::f32);
      m.store(m.operand(d, 1, {1}), r);
      m.store(m.operand(DType::f32, 2, {1}), m.op(Prim::round_to, {r}, DType::f32, TileDomain::full,
                                                  false, static_cast<uint32_t>(d)));
      run(m.launch(TileKernel(m.program)), {x.data(), half.data(), rounded.data()});
      for (size_t i = 0; i < x.size(); ++i) {
        const uint16_t expected = d == DType::f16 ? f32_to_f16(x[i]) : f32_to_bf16(x[i]);
        const float back = d == DType::f16 ? f16_to_f32(expected) : bf16_to_f32(expected);
        ASSERT_EQ(half[i], expected) << x[i];
        ASSERT_EQ(std::bit_cast<uint32_t>(rounded[i]), std::bit_cast<uint32_t>(back)) << x[i];
      }
    }
  }
}

}  // namespace
}  // namespace qs::driver
