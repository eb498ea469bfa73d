// Composites as people spell them: as many launches and as many bytes as the op has.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "plan_harness.h"

namespace qs::test {
namespace {

constexpr auto k_mps = DeviceType::mps;
using Values = std::vector<double>;

constexpr int64_t k_rows = 48, k_columns = 200;
constexpr int64_t k_full = k_rows * k_columns * 4, k_column = k_columns * 4;
const Dims k_shape{k_rows, k_columns};
constexpr double k_eps = 1e-5;

struct Inputs {
  T x, w, b;
};
struct Case {
  const char* name;
  std::function<T(Program&, const Inputs&)> spelled, op;
  int64_t bytes;
  /// A row of the result from a row of x, w and b.
  std::function<Values(const Values&, const Values&, const Values&)> reference;
};

T mean(Program& p, const T& x) { return p.reduce(Op::mean, x, 2, true); }
T var(Program& p, const T& x) {
  return p.record(Op::var, {x},
                  {DType::f32, {}, {{k_rows, 1}}, {2, 1, std::bit_cast<uint64_t>(0.0)}, {}})[0];
}
T over_rows(Program& p, Op op, const T& x) {
  return p.record(op, {x}, {DType::f32, {}, {k_shape}, {2, 0}, {}})[0];
}
T layer_norm(Program& p, const Inputs& in) {
  return p.record(
      Op::layer_norm, {in.x, in.w, in.b},
      {DType::f32, {}, {k_shape, {k_rows}, {k_rows}}, {2, 0, std::bit_cast<uint64_t>(k_eps)}, {}},
      3)[0];
}
T rms_norm(Program& p, const Inputs& in) {
  return p.record(Op::rms_norm, {in.x, in.w},
                  {DType::f32, {}, {k_shape, {k_rows}}, {2, 0, std::bit_cast<uint64_t>(k_eps)}, {}},
                  2)[0];
}
T affine(Program& p, const T& x, const Inputs& in) {
  return p.binary(Op::add, p.binary(Op::mul, x, in.w), in.b);
}

Values each(const Values& x, const std::function<double(double)>& f) {
  Values out;
  for (double v : x) out.push_back(f(v));
  return out;
}
double sum_of(const Values& x) {
  double s = 0;
  for (double v : x) s += v;
  return s;
}
Values softmax_of(const Values& x) {
  const double most = *std::max_element(x.begin(), x.end());
  const Values e = each(x, [&](double v) { return std::exp(v - most); });
  return each(e, [s = sum_of(e)](double v) { return v / s; });
}
Values log_softmax_of(const Values& x, const Values&, const Values&) {
  return each(softmax_of(x), [](double v) { return std::log(v); });
}
Values layer_norm_of(const Values& x, const Values& w, const Values& b) {
  const double n = static_cast<double>(x.size()), m = sum_of(x) / n;
  const double v = sum_of(each(x, [&](double a) { return (a - m) * (a - m); })) / n;
  Values out;
  for (size_t i = 0; i < x.size(); ++i)
    out.push_back((x[i] - m) / std::sqrt(v + k_eps) * w[i] + b[i]);
  return out;
}
Values rms_norm_of(const Values& x, const Values& w, const Values&) {
  const double q = sum_of(each(x, [](double a) { return a * a; })) / static_cast<double>(x.size());
  Values out;
  for (size_t i = 0; i < x.size(); ++i) out.push_back(x[i] / std::sqrt(q + k_eps) * w[i]);
  return out;
}

std::vector<Case> cases() {
  auto softmax_ref = [](const Values& x, const Values&, const Values&) { return softmax_of(x); };
  auto gelu_ref = [](const Values& x, const Values&, const Values&) {
    return each(x, [](double v) { return 0.5 * v * (1 + std::erf(v / std::sqrt(2.0))); });
  };
  auto gelu_tanh_ref = [](const Values& x, const Values&, const Values&) {
    return each(x, [](double v) {
      return 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
    });
  };
  auto silu_ref = [](const Values& x, const Values&, const Values&) {
    return each(x, [](double v) { return v / (1 + std::exp(-v)); });
  };
  return {
      {"exp(x - max) / sum",
       [](Program& p, const Inputs& in) {
         T e = p.unary(Op::exp, p.binary(Op::sub, in.x, p.reduce(Op::amax, in.x, 2, true)));
         return p.binary(Op::div, e, p.reduce(Op::sum, e, 2, true));
       },
       [](Program& p, const Inputs& in) { return over_rows(p, Op::softmax, in.x); }, 2 * k_full,
       softmax_ref},
      {"z - log(sum(exp(z)))",
       [](Program& p, const Inputs& in) {
         T z = p.binary(Op::sub, in.x, p.reduce(Op::amax, in.x, 2, true));
         T s = p.reduce(Op::sum, p.unary(Op::exp, z), 2, true);
         return p.binary(Op::sub, z, p.unary(Op::log, s));
       },
       [](Program& p, const Inputs& in) { return over_rows(p, Op::log_softmax, in.x); }, 2 * k_full,
       log_softmax_of},
      {"x - logsumexp",
       [](Program& p, const Inputs& in) {
         return p.binary(Op::sub, in.x, p.reduce(Op::logsumexp, in.x, 2, true));
       },
       [](Program& p, const Inputs& in) { return over_rows(p, Op::log_softmax, in.x); }, 2 * k_full,
       log_softmax_of},
      {"(x - mean) / sqrt(var + eps) * w + b",
       [](Program& p, const Inputs& in) {
         T d = p.binary(Op::sub, in.x, mean(p, in.x));
         T s = p.unary(Op::sqrt, p.binary(Op::add, var(p, in.x), k_eps));
         return affine(p, p.binary(Op::div, d, s), in);
       },
       layer_norm, 2 * k_full + 2 * k_column, layer_norm_of},
      {"(x - mean) / sqrt(mean((x - mean) ** 2) + eps) * w + b",
       [](Program& p, const Inputs& in) {
         T d = p.binary(Op::sub, in.x, mean(p, in.x));
         T again = p.binary(Op::sub, in.x, mean(p, in.x));
         T q = mean(p, p.unary(Op::square, again));
         T s = p.unary(Op::sqrt, p.binary(Op::add, q, k_eps));
         return affine(p, p.binary(Op::div, d, s), in);
       },
       layer_norm, 2 * k_full + 2 * k_column, layer_norm_of},
      {"x * rsqrt(mean(x ** 2) + eps) * w",
       [](Program& p, const Inputs& in) {
         T q = mean(p, p.binary(Op::pow, in.x, 2.0));
         T r = p.unary(Op::rsqrt, p.binary(Op::add, q, k_eps));
         return p.binary(Op::mul, p.binary(Op::mul, in.x, r), in.w);
       },
       rms_norm, 2 * k_full + k_column, rms_norm_of},
      {"0.5 x (1 + erf(x / sqrt 2))",
       [](Program& p, const Inputs& in) {
         T e = p.unary(Op::erf, p.binary(Op::div, in.x, std::sqrt(2.0)));
         return p.binary(Op::mul, p.binary(Op::mul, in.x, 0.5), p.binary(Op::add, e, 1.0));
       },
       [](Program& p, const Inputs& in) { return p.unary(Op::gelu, in.x); }, 2 * k_full, gelu_ref},
      {"0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x ** 3)))",
       [](Program& p, const Inputs& in) {
         T cube = p.binary(Op::mul, p.binary(Op::pow, in.x, 3.0), 0.044715);
         T inner = p.binary(Op::mul, p.binary(Op::add, in.x, cube), std::sqrt(2 / M_PI));
         return p.binary(Op::mul, p.binary(Op::mul, in.x, 0.5),
                         p.binary(Op::add, p.unary(Op::tanh, inner), 1.0));
       },
       [](Program& p, const Inputs& in) { return p.unary(Op::gelu_tanh, in.x); }, 2 * k_full,
       gelu_tanh_ref},
      {"x sigmoid(x)",
       [](Program& p, const Inputs& in) {
         return p.binary(Op::mul, in.x, p.unary(Op::sigmoid, in.x));
       },
       [](Program& p, const Inputs& in) { return p.unary(Op::silu, in.x); }, 2 * k_full, silu_ref},
  };
}

Inputs inputs(Program& p) {
  return {p.random(k_shape), p.random({k_columns}, 2), p.random({k_columns}, 3)};
}

TEST(PlanSpelled, AsTheOp) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    for (const auto& f : {c.spelled, c.op}) {
      {
        Program p("record:cpu");
        const Inputs in = inputs(p);
        T y = f(p, in);
        p.lines();
        plan::reset_stats(k_mps);
        p.cut();
        EXPECT_EQ(p.lines().size(), 1u);
        EXPECT_EQ(plan::stats(k_mps).bytes_moved, c.bytes) << plan::describe(k_mps);
      }
      {
        Program p("null");
        const Inputs in = inputs(p);
        T y = f(p, in);
        driver::reset_null_counters();
        p.cut();
        EXPECT_EQ(driver::null_counters().launches, 1);
        EXPECT_EQ(driver::null_counters().touched_bytes, c.bytes);
        EXPECT_EQ(p.device().arena_bytes(), 0u);
      }
      Program p("cpu");
      const Inputs in = inputs(p);
      const Values x = p.read(in.x), w = p.read(in.w), b = p.read(in.b), got = p.read(f(p, in));
      for (int64_t r = 0; r < k_rows; ++r) {
        const auto from = x.begin() + r * k_columns;
        const Values want = c.reference(Values(from, from + k_columns), w, b);
        for (int64_t k = 0; k < k_columns; ++k) {
          const double g = got[r * k_columns + k], v = want[static_cast<size_t>(k)];
          ASSERT_NEAR(g, v, 2e-5 * (1 + std::abs(v))) << r << " " << k;
        }
      }
    }
  }
}

/// softmax(q k^T * scale, masked) v: a product with what follows it, a row kernel, a product. The
/// library call of the op is no part of it: its sums run in blocks, so the bits would depend on
/// whether somebody looks at the scores.
TEST(PlanSpelled, AttentionIsThreeLaunches) {
  constexpr int64_t k_heads = 6, k_length = 32, k_size = 16;
  auto program = [](Program& p, bool masked) {
    T q = p.random({k_heads, k_length, k_size}, 1), k = p.random({k_heads, k_length, k_size}, 2),
      v = p.random({k_heads, k_length, k_size}, 3);
    T kt = k;
    std::swap(kt.layout.shape[1], kt.layout.shape[2]);
    std::swap(kt.layout.strides[1], kt.layout.strides[2]);
    T scores = p.binary(Op::mul, p.matmul(q, kt), 0.25);
    if (masked) {
      T ones = p.full({k_length, k_length}, 1.0);
      T lower = p.record(Op::tril, {ones}, {DType::f32, {}, {ones.layout.shape}, {0}, {}})[0];
      T hidden = p.record(Op::eq, {lower, 0.0},
                          {DType::f32, {DType::bool_}, {ones.layout.shape}, {}, {}})[0];
      scores = p.record(Op::where, {hidden, -INFINITY, scores},
                        {DType::f32, {}, {scores.layout.shape}, {}, {}})[0];
    }
    T weights =
        p.record(Op::softmax, {scores}, {DType::f32, {}, {scores.layout.shape}, {4, 0}, {}})[0];
    return p.matmul(weights, v);
  };
  constexpr int64_t k_operand = k_heads * k_length * k_size * 4,
                    k_scores = k_heads * k_length * k_length * 4;
  for (const bool masked : {false, true}) {
    Program p("null");
    T y = program(p, masked);
    driver::reset_null_counters();
    p.cut();
    EXPECT_EQ(driver::null_counters().launches, masked ? 4 : 3);
    EXPECT_EQ(driver::null_counters().touched_bytes,
              4 * k_operand + 4 * k_scores + (masked ? 2 * k_length * k_length : 0));
  }
}

}  // namespace
}  // namespace qs::test
