// Every primitive on floats: accuracy, edges, and the same bits on all instruction sets.
#include "tile_harness.h"

namespace qs::driver {
namespace {

using namespace tile_test;

struct FloatRow {
  Prim prim;
  double (*f64)(double);
  long double (*f80)(long double);
  double ulp32, ulp64;
};
#define SAME(name)                                             \
  Prim::name, [](double x) -> double { return std::name(x); }, \
      [](long double x) -> long double { return std::name(x); }
#define EXPR(name, expr)                               \
  Prim::name, [](double x) -> double { return expr; }, \
      [](long double x) -> long double { return expr; }
const FloatRow k_float_rows[] = {
    {EXPR(neg, -x), 0, 0},
    {EXPR(abs, std::fabs(x)), 0, 0},
    {EXPR(square, x* x), 0.5, 0.5},
    {EXPR(sign, (x > 0) - (x < 0)), 0, 0},
    {SAME(sqrt), 0.51, 0.51},
    {EXPR(rsqrt, 1 / std::sqrt(x)), 2, 2},
    {EXPR(reciprocal, 1 / x), 0.51, 0.51},
    {SAME(exp), 1, 1},
    {SAME(exp2), 1, 1.2},
    {SAME(expm1), 1, 1.5},
    {SAME(log), 1, 1.01},
    {SAME(log2), 1, 1.5},
    {SAME(log10), 1, 2},
    {SAME(log1p), 1.2, 1.2},
    {SAME(sin), 1, 2},
    {SAME(cos), 1, 2},
    {SAME(tan), 1, 2},
    {SAME(asin), 1, 2},
    {SAME(acos), 1, 2},
    {SAME(atan), 1, 2},
    {SAME(sinh), 1, 2},
    {SAME(cosh), 1, 2},
    {SAME(asinh), 1, 2},
    {SAME(acosh), 1, 3},
    {SAME(atanh), 1, 2},
    {SAME(tanh), 2, 3},
    {EXPR(sigmoid, 1 / (1 + std::exp(-x))), 3, 3},
    {SAME(erf), 2, 1.5},
    {SAME(erfc), 1, 5},
    {SAME(floor), 0, 0},
    {SAME(ceil), 0, 0},
    {SAME(trunc), 0, 0},
    {EXPR(round, std::nearbyint(x)), 0, 0},
};
#undef SAME
#undef EXPR

TEST(Tile, FloatFunctionsAreAccurateAndTheSameOnAllInstructionSets) {
  std::mt19937_64 random(10);
  std::vector<float> x32 = edge_values<float>();
  std::vector<double> x64 = edge_values<double>();
  for (int i = 0; i < 60000; ++i) {
    x32.push_back(std::bit_cast<float>(static_cast<uint32_t>(random())));
    x32.push_back(static_cast<float>(static_cast<int64_t>(random() % 400001) - 200000) / 1e4f);
  }
  for (int i = 0; i < 4000; ++i) {
    x64.push_back(std::bit_cast<double>(random()));
    x64.push_back(static_cast<double>(static_cast<int64_t>(random() % 400001) - 200000) / 1e4);
  }
  for (const FloatRow& row : k_float_rows) {
    std::vector<float> first32;
    std::vector<double> first64;
    for (Isa isa : isas()) {
      IsaScope scope(isa);
      const auto y32 = run_op<float>(row.prim, DType::f32, {DType::f32}, nullptr, x32);
      const auto y64 = run_op<double>(row.prim, DType::f64, {DType::f64}, nullptr, x64);
      for (size_t i = 0; i < x32.size(); ++i)
        ASSERT_LE(ulps(y32[i], row.f64(x32[i])), row.ulp32)
            << info(row.prim).name << "(" << x32[i] << ") = " << y32[i] << " on " << name_of(isa);
      for (size_t i = 0; i < x64.size(); ++i)
        ASSERT_LE(ulps(y64[i], row.f80(x64[i])), row.ulp64)
            << info(row.prim).name << "(" << x64[i] << ") = " << y64[i] << " on " << name_of(isa);
      if (first32.empty()) {
        first32 = y32;
        first64 = y64;
      }
      for (size_t i = 0; i < x32.size(); ++i)
        ASSERT_TRUE(std::isnan(y32[i]) ||
                    std::bit_cast<uint32_t>(y32[i]) == std::bit_cast<uint32_t>(first32[i]))
            << info(row.prim).name << "(" << x32[i] << ")";
      for (size_t i = 0; i < x64.size(); ++i)
        ASSERT_TRUE(std::isnan(y64[i]) ||
                    std::bit_cast<uint64_t>(y64[i]) == std::bit_cast<uint64_t>(first64[i]))
            << info(row.prim).name << "(" << x64[i] << ")";
    }
    // Signed zeros pass through odd functions.
    const auto zero =
        run_op<float>(row.prim, DType::f32, {DType::f32}, nullptr, std::vector<float>{-0.0f});
    const double expected = row.f64(-0.0);
    if (expected == 0 && row.prim != Prim::sign) {
      EXPECT_EQ(std::signbit(zero[0]), std::signbit(expected)) << info(row.prim).name;
    }
  }
}

TEST(Tile, RareFunctions) {
  const std::vector<double> x = {1, 0.5, 10, -0.5, 100, 2.5};
  const double digamma[] = {-0.57721566490153286, -1.9635100260214235, 2.2517525890667211,
                            0.036489973978576520, 4.6001618527380874,  0.70315664064524319};
  const auto y = run_op<double>(Prim::digamma, DType::f64, {DType::f64}, nullptr, x);
  for (size_t i = 0; i < x.size(); ++i)
    EXPECT_NEAR(y[i], digamma[i], 1e-14 * std::max(1.0, std::fabs(digamma[i])));
  const auto gamma = run_op<double>(Prim::lgamma, DType::f64, {DType::f64}, nullptr, x);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(gamma[i], std::lgamma(x[i]), 1e-13);
  // zeta(s, q) - zeta(s, q + 1) = q^-s, where s is small and whole and where it is not.
  std::vector<double> order, q, next;
  for (const double s : {2.0, 3.0, 5.0, 8.0, 9.0, 2.5})
    for (const double at : {1e-3, 0.5, 1.0, 3.25, 40.0}) {
      order.push_back(s);
      q.push_back(at);
      next.push_back(at + 1);
    }
  const auto zeta = [&](const std::vector<double>& at) {
    return run_op<double>(Prim::zeta, DType::f64, {DType::f64, DType::f64}, nullptr, order, at);
  };
  const auto here = zeta(q), there = zeta(next);
  for (size_t i = 0; i < q.size(); ++i)
    EXPECT_NEAR(here[i] - there[i], std::pow(q[i], -order[i]), 4e-16 * here[i]) << order[i];
  EXPECT_NEAR(here[2], 1.6449340668482264, 4e-16);
  std::vector<float> normal;
  for (int i = -4000; i < 4001; ++i) normal.push_back(static_cast<float>(i) / 400);
  const auto phi = run_op<float>(Prim::ndtr, DType::f32, {DType::f32}, nullptr, normal);
  for (size_t i = 0; i < normal.size(); ++i) {
    const double expected = 0.5 * std::erfc(normal[i] * -0.70710678118654752440);
    EXPECT_NEAR(phi[i], expected, std::min(6e-8, 2e-7 + 0.02 * expected)) << normal[i];
  }
  std::vector<double> z;
  for (int i = -999; i < 1000; ++i) z.push_back(i / 1000.0);
  z.insert(z.end(), {1 - 1e-12, -1 + 1e-9, 1e-300, 1, -1, 1.5});
  const auto inverse = run_op<double>(Prim::erfinv, DType::f64, {DType::f64}, nullptr, z);
  for (size_t i = 0; i + 3 < z.size(); ++i) {
    const double there = std::fabs(z[i]) > 0.5
                             ? std::erfc(std::fabs(inverse[i])) - (1 - std::fabs(z[i]))
                             : std::erf(inverse[i]) - z[i];
    EXPECT_LE(std::fabs(there), 4e-15 * std::min(std::fabs(z[i]), 1.0)) << z[i];
  }
  EXPECT_EQ(inverse[z.size() - 3], INFINITY);
  EXPECT_EQ(inverse[z.size() - 2], -INFINITY);
  EXPECT_TRUE(std::isnan(inverse[z.size() - 1]));
}

double python_rem(double x, double y) {
  double m = std::fmod(x, y);
  if (m != 0 && (m < 0) != (y < 0)) m += y;
  return m;
}

TEST(Tile, FloatPairs) {
  std::mt19937_64 random(11);
  std::vector<float> edges = edge_values<float>(), x, y;
  for (float a : edges)
    for (float b : edges) x.push_back(a), y.push_back(b);
  for (int i = 0; i < 20000; ++i) {
    x.push_back(static_cast<float>(random() % 100000) / 1000);
    y.push_back(static_cast<float>(static_cast<int64_t>(random() % 20000) - 10000) / 1000);
  }
  const struct {
    Prim prim;
    double (*f)(double, double);
    double bound;
  } rows[] = {
      {Prim::add, [](double a, double b) { return a + b; }, 0.5},
      {Prim::sub, [](double a, double b) { return a - b; }, 0.5},
      {Prim::mul, [](double a, double b) { return a * b; }, 0.5},
      {Prim::div, [](double a, double b) { return a / b; }, 0.51},
      {Prim::maximum,
       [](double a, double b) { return std::isnan(a) || std::isnan(b) ? NAN : std::max(a, b); }, 0},
      {Prim::minimum,
       [](double a, double b) { return std::isnan(a) || std::isnan(b) ? NAN : std::min(a, b); }, 0},
      {Prim::fmax, [](double a, double b) { return std::fmax(a, b); }, 0},
      {Prim::fmin, [](double a, double b) { return std::fmin(a, b); }, 0},
      {Prim::pow, [](double a, double b) { return std::pow(a, b); }, 1},
      {Prim::fmod, [](double a, double b) { return std::fmod(a, b); }, 0},
      {Prim::atan2, [](double a, double b) { return std::atan2(a, b); }, 1},
      {Prim::hypot, [](double a, double b) { return std::hypot(a, b); }, 1},
      {Prim::copysign, [](double a, double b) { return std::copysign(a, b); }, 0},
      {Prim::nextafter,
       [](double a, double b) -> double {
         return std::nextafterf(static_cast<float>(a), static_cast<float>(b));
       },
       0},
  };
  for (Isa isa : isas()) {
    IsaScope scope(isa);
    for (const auto& row : rows) {
      const auto z = run_op<float>(row.prim, DType::f32, {DType::f32, DType::f32}, nullptr, x, y);
      for (size_t i = 0; i < x.size(); ++i)
        ASSERT_LE(ulps(z[i], row.f(x[i], y[i])), row.bound)
            << info(row.prim).name << "(" << x[i] << ", " << y[i] << ") = " << z[i];
    }
    // Of f64: powers near 1, near the ends of the range, and beyond.
    const std::vector<double> edges64 = edge_values<double>();
    std::vector<double> base, exponent;
    for (double u : edges64)
      for (double v : edges64) base.push_back(u), exponent.push_back(v);
    for (int i = 0; i < 20000; ++i) {
      const double u = static_cast<double>(random() % 1000000 + 1) / 1e5;
      base.push_back(i % 3 ? u : 1 + (u - 5) / 1e4);
      exponent.push_back((static_cast<double>(random() % 2000001) - 1e6) / (i % 3 ? 3e3 : 20));
    }
    const auto power =
        run_op<double>(Prim::pow, DType::f64, {DType::f64, DType::f64}, nullptr, base, exponent);
    for (size_t i = 0; i < base.size(); ++i)
      ASSERT_LE(ulps(power[i], std::pow(static_cast<long double>(base[i]),
                                        static_cast<long double>(exponent[i]))),
                exponent[i] == 3 ? 1.5 : 1.0)  // x * x * x
          << base[i] << " to the " << exponent[i] << " = " << power[i];
    const std::vector<float> a = {7, -7, 7, -7, 0, 5.5f, -0.5f, 1},
                             b = {2, 2, -2, -2, 3, 0.5f, 1, 0};
    const auto quotient =
        run_op<float>(Prim::floor_div, DType::f32, {DType::f32, DType::f32}, nullptr, a, b);
    const auto rest = run_op<float>(Prim::rem, DType::f32, {DType::f32, DType::f32}, nullptr, a, b);
    for (size_t i = 0; i + 1 < a.size(); ++i) {
      EXPECT_EQ(quotient[i], std::floor(a[i] / b[i]));
      EXPECT_EQ(rest[i], static_cast<float>(python_rem(a[i], b[i])));
    }
    EXPECT_EQ(quotient.back(), INFINITY);
    const auto tests = run_op<uint8_t>(Prim::isinf, DType::bool_, {DType::f32}, nullptr, edges);
    const auto finite = run_op<uint8_t>(Prim::isfinite, DType::bool_, {DType::f32}, nullptr, edges);
    const auto negative =
        run_op<uint8_t>(Prim::signbit, DType::bool_, {DType::f32}, nullptr, edges);
    for (size_t i = 0; i < edges.size(); ++i) {
      EXPECT_EQ(tests[i], std::isinf(edges[i]));
      EXPECT_EQ(finite[i], std::isfinite(edges[i]));
      EXPECT_EQ(negative[i], std::signbit(edges[i]));
    }
  }
}

}  // namespace
}  // namespace qs::driver
