// Ten groups that everybody knows: their exact kernels and bytes on the recording and the null
// driver, and their values on the cpu driver against sums in double.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "plan_harness.h"

namespace qs::test {
namespace {

constexpr auto k_mps = DeviceType::mps;
using Strings = std::vector<std::string>;
using Values = std::vector<double>;

void expect_near(const Values& got, const Values& want, double tolerance) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], want[i], tolerance * (1 + std::abs(want[i]))) << "element " << i;
}

/// Runs `program` where commands are recorded and where nothing is run: the launches, what the plan
/// says it moves and what the driver sees.
void expect_launches(const std::function<std::vector<T>(Program&)>& program, const Strings& lines,
                     int64_t bytes) {
  {
    Program p("record:cpu");
    plan::reset_stats(k_mps);
    const std::vector<T> held = program(p);
    p.lines();
    p.cut();
    EXPECT_EQ(p.lines(), lines);
    EXPECT_EQ(plan::stats(k_mps).bytes_moved, bytes) << plan::describe(k_mps);
    EXPECT_EQ(plan::stats(k_mps).launches, static_cast<int64_t>(lines.size()));
  }
  Program p("null");
  const std::vector<T> held = program(p);
  driver::reset_null_counters();
  p.cut();
  EXPECT_EQ(driver::null_counters().launches, static_cast<int64_t>(lines.size()));
  EXPECT_EQ(driver::null_counters().touched_bytes, bytes);
}

constexpr int64_t k_rows = 48, k_columns = 200;
constexpr int64_t k_full = k_rows * k_columns * 4, k_row = k_rows * 4, k_column = k_columns * 4;
const Dims k_shape{k_rows, k_columns};
const uint64_t k_eps = std::bit_cast<uint64_t>(1e-5);

T softmax(Program& p, const T& x) {
  return p.record(Op::softmax, {x}, {DType::f32, {}, {x.layout.shape}, {2, 0}, {}})[0];
}

Values softmax_of(const Values& x) {
  Values out(x.size());
  for (int64_t r = 0; r < k_rows; ++r) {
    double most = -1e300, sum = 0;
    for (int64_t c = 0; c < k_columns; ++c) most = std::max(most, x[r * k_columns + c]);
    for (int64_t c = 0; c < k_columns; ++c) sum += std::exp(x[r * k_columns + c] - most);
    for (int64_t c = 0; c < k_columns; ++c)
      out[r * k_columns + c] = std::exp(x[r * k_columns + c] - most) / sum;
  }
  return out;
}

TEST(PlanGroups, SoftmaxForward) {
  expect_launches([](Program& p) { return std::vector<T>{softmax(p, p.random(k_shape))}; },
                  {"tile row [48, 200] reduced 1 operands 2 instrs 8 folds 2"}, 2 * k_full);
  Program p("cpu");
  T x = p.random(k_shape);
  expect_near(p.read(softmax(p, x)), softmax_of(p.read(x)), 1e-5);
}

TEST(PlanGroups, SoftmaxBackward) {
  auto backward = [](Program& p, const T& g, const T& y) {
    return p.record(Op::softmax_backward, {g, y}, {DType::f32, {}, {k_shape}, {2, 0}, {}})[0];
  };
  expect_launches(
      [&](Program& p) {
        return std::vector<T>{backward(p, p.random(k_shape), p.random(k_shape, 2))};
      },
      {"tile row [48, 200] reduced 1 operands 3 instrs 9 folds 1"}, 3 * k_full);
  Program p("cpu");
  T g = p.random(k_shape), y = p.random(k_shape, 2);
  const Values vg = p.read(g), vy = p.read(y);
  Values want(vg.size());
  for (int64_t r = 0; r < k_rows; ++r) {
    double sum = 0;
    for (int64_t c = 0; c < k_columns; ++c) sum += vg[r * k_columns + c] * vy[r * k_columns + c];
    for (int64_t c = 0; c < k_columns; ++c)
      want[r * k_columns + c] = vy[r * k_columns + c] * (vg[r * k_columns + c] - sum);
  }
  expect_near(p.read(backward(p, g, y)), want, 1e-4);
}

std::vector<T> layer_norm(Program& p, const T& x, const T& w, const T& b) {
  return p.record(Op::layer_norm, {x, w, b},
                  {DType::f32, {}, {k_shape, {k_rows}, {k_rows}}, {2, 0, k_eps}, {}}, 3);
}

TEST(PlanGroups, LayerNormForward) {
  expect_launches(
      [](Program& p) {
        return layer_norm(p, p.random(k_shape), p.random({k_columns}, 2), p.random({k_columns}, 3));
      },
      {"tile row [48, 200] reduced 1 operands 6 instrs 22 folds 2"},
      2 * k_full + 2 * k_column + 2 * k_row);
  Program p("cpu");
  T x = p.random(k_shape), w = p.random({k_columns}, 2), b = p.random({k_columns}, 3);
  const Values vx = p.read(x), vw = p.read(w), vb = p.read(b);
  Values want(vx.size());
  for (int64_t r = 0; r < k_rows; ++r) {
    double mean = 0, var = 0;
    for (int64_t c = 0; c < k_columns; ++c) mean += vx[r * k_columns + c] / k_columns;
    for (int64_t c = 0; c < k_columns; ++c)
      var += (vx[r * k_columns + c] - mean) * (vx[r * k_columns + c] - mean) / k_columns;
    for (int64_t c = 0; c < k_columns; ++c)
      want[r * k_columns + c] =
          (vx[r * k_columns + c] - mean) / std::sqrt(var + 1e-5) * vw[c] + vb[c];
  }
  expect_near(p.read(layer_norm(p, x, w, b)[0]), want, 1e-4);
}

/// dx, and the gradients of weight and bias as autograd records them.
std::vector<T> layer_norm_backward(Program& p, const T& g, const T& x, const T& mean, const T& rstd,
                                   const T& w) {
  T dx = p.record(Op::layer_norm_backward, {g, x, mean, rstd, w},
                  {DType::f32, {}, {k_shape}, {2, 0}, {}})[0];
  T h = p.binary(Op::mul, p.binary(Op::sub, x, mean.view({k_rows, 1})), rstd.view({k_rows, 1}));
  return {dx, p.reduce(Op::sum, p.binary(Op::mul, g, h), 1), p.reduce(Op::sum, g, 1)};
}

TEST(PlanGroups, LayerNormBackward) {
  expect_launches(
      [](Program& p) {
        return layer_norm_backward(p, p.random(k_shape), p.random(k_shape, 2),
                                   p.random({k_rows}, 3), p.random({k_rows}, 4),
                                   p.random({k_columns}, 5));
      },
      {"tile row [48, 200] reduced 1 operands 6 instrs 25 folds 2",
       "tile column [200, 48] reduced 1 operands 6 instrs 11 folds 2"},
      (3 * k_full + 2 * k_row + k_column) + (2 * k_full + 2 * k_row + 2 * k_column));
  Program p("cpu");
  T x = p.random(k_shape), g = p.random(k_shape, 2), w = p.random({k_columns}, 3);
  const Values vx = p.read(x), vg = p.read(g), vw = p.read(w);
  Values mean(k_rows), rstd(k_rows), want(vx.size()), dw(k_columns), db(k_columns);
  for (int64_t r = 0; r < k_rows; ++r) {
    double var = 0, a = 0, q = 0;
    for (int64_t c = 0; c < k_columns; ++c) mean[r] += vx[r * k_columns + c] / k_columns;
    for (int64_t c = 0; c < k_columns; ++c)
      var += (vx[r * k_columns + c] - mean[r]) * (vx[r * k_columns + c] - mean[r]) / k_columns;
    rstd[r] = 1 / std::sqrt(var + 1e-5);
    for (int64_t c = 0; c < k_columns; ++c) {
      const double h = (vx[r * k_columns + c] - mean[r]) * rstd[r], g0 = vg[r * k_columns + c];
      a += g0 * vw[c] / k_columns;
      q += g0 * vw[c] * h / k_columns;
      dw[c] += g0 * h;
      db[c] += g0;
    }
    for (int64_t c = 0; c < k_columns; ++c) {
      const double h = (vx[r * k_columns + c] - mean[r]) * rstd[r];
      want[r * k_columns + c] = (vg[r * k_columns + c] * vw[c] - a - h * q) * rstd[r];
    }
  }
  const auto got = layer_norm_backward(p, g, x, p.make({k_rows}, mean), p.make({k_rows}, rstd), w);
  expect_near(p.read(got[0]), want, 1e-4);
  expect_near(p.read(got[1]), dw, 1e-4);
  expect_near(p.read(got[2]), db, 1e-4);
}

/// x [48, 30] @ w [30, 200] + b, then gelu.
T linear_gelu(Program& p, const T& x, const T& w, const T& b) {
  return p.unary(Op::gelu, p.matmul(x, w, b));
}

TEST(PlanGroups, BiasAndGeluBehindAMatmul) {
  expect_launches(
      [](Program& p) {
        return std::vector<T>{linear_gelu(p, p.random({k_rows, 30}), p.random({30, k_columns}, 2),
                                          p.random({k_columns}, 3))};
      },
      {"matmul f32 48x200x30 batch 1 bias then tile map [1, 48, 200] operands 2 instrs 4 folds 0"},
      (48 * 30 + 30 * 200) * 4 + k_full + k_column);
  Program p("cpu");
  T x = p.random({k_rows, 30}), w = p.random({30, k_columns}, 2), b = p.random({k_columns}, 3);
  const Values vx = p.read(x), vw = p.read(w), vb = p.read(b);
  Values want;
  for (int64_t r = 0; r < k_rows; ++r)
    for (int64_t c = 0; c < k_columns; ++c) {
      double s = vb[c];
      for (int64_t k = 0; k < 30; ++k) s += vx[r * 30 + k] * vw[k * k_columns + c];
      want.push_back(0.5 * s * (1 + std::erf(s / std::sqrt(2.0))));
    }
  expect_near(p.read(linear_gelu(p, x, w, b)), want, 1e-5);
}

/// 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), as people write it.
T gelu_spelled(Program& p, const T& x) {
  T cube = p.binary(Op::mul, p.binary(Op::mul, x, x), x);
  T inner = p.binary(Op::mul, p.binary(Op::add, x, p.binary(Op::mul, cube, 0.044715)),
                     0.7978845608028654);
  return p.binary(Op::mul, p.binary(Op::mul, x, 0.5),
                  p.binary(Op::add, p.unary(Op::tanh, inner), 1.0));
}

TEST(PlanGroups, GeluSpelledOut) {
  expect_launches([](Program& p) { return std::vector<T>{gelu_spelled(p, p.random(k_shape))}; },
                  {"tile map [9600] operands 2 instrs 15 folds 0"}, 2 * k_full);
  // The same as the op: kernels, bytes and bits.
  expect_launches(
      [](Program& p) { return std::vector<T>{p.unary(Op::gelu_tanh, p.random(k_shape))}; },
      {"tile map [9600] operands 2 instrs 15 folds 0"}, 2 * k_full);
  Program p("cpu");
  T x = p.random(k_shape);
  const Values vx = p.read(x), got = p.read(gelu_spelled(p, x));
  EXPECT_EQ(got, p.read(p.unary(Op::gelu_tanh, x)));
  Values want;
  for (double v : vx)
    want.push_back(0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v))));
  expect_near(got, want, 1e-5);
}

/// Mean loss and the gradient of the logits, as autograd records them.
std::vector<T> cross_entropy(Program& p, const T& x, const T& classes) {
  const auto ignore = static_cast<uint64_t>(int64_t{-100});
  auto f = p.record(Op::cross_entropy, {x, classes},
                    {DType::f32, {}, {{k_rows}, {k_rows}}, {2, 0, ignore}, {}}, 2);
  T loss = p.reduce(Op::mean, f[0], 1);
  T g = p.binary(Op::mul, p.full({k_rows}, 1.0), 1.0 / k_rows);
  T dx = p.record(Op::cross_entropy_backward, {g, x, classes, f[1]},
                  {DType::f32, {}, {k_shape}, {2, 0, ignore}, {}})[0];
  return {loss, dx};
}

TEST(PlanGroups, CrossEntropyWithItsGradient) {
  auto classes = [](Program& p) {
    Values c;
    for (int64_t r = 0; r < k_rows; ++r) c.push_back(static_cast<double>(r * 7 % k_columns));
    return p.make({k_rows}, c, DType::i64);
  };
  expect_launches([&](Program& p) { return cross_entropy(p, p.random(k_shape), classes(p)); },
                  {"tile row [48, 200] reduced 1 operands 5 instrs 36 folds 3",
                   "tile row [1, 48] reduced 1 operands 2 instrs 5 folds 1"},
                  (2 * k_full + 2 * k_row + k_row) + (k_row + 4));
  Program p("cpu");
  T x = p.random(k_shape), c = classes(p);
  const Values vx = p.read(x), soft = softmax_of(vx);
  double loss = 0;
  Values want = soft;
  for (int64_t r = 0; r < k_rows; ++r) {
    const int64_t hit = r * k_columns + r * 7 % k_columns;
    loss -= std::log(soft[hit]) / k_rows;
    want[hit] -= 1;
  }
  for (double& v : want) v /= k_rows;
  const auto got = cross_entropy(p, x, c);
  expect_near(p.read(got[0]), {loss}, 1e-5);
  expect_near(p.read(got[1]), want, 1e-6);
}

// AdamW over fifty tensors: PlanBatch.AdamWOverFiftyTensorsIsOneLaunch.

TEST(PlanGroups, SumOfABroadcastProduct) {
  auto sum = [](Program& p, const T& a, const T& b) {
    return p.reduce(Op::sum, p.binary(Op::mul, a.view({k_rows, 1}), b), 3);
  };
  expect_launches(
      [&](Program& p) {
        return std::vector<T>{sum(p, p.random({k_rows}), p.random({k_columns}, 2))};
      },
      {"tile row [1, 48, 200] reduced 2 operands 3 instrs 5 folds 1"}, k_row + k_column + 4);
  Program p("cpu");
  T a = p.random({k_rows}), b = p.random({k_columns}, 2);
  double sa = 0, sb = 0;
  for (double v : p.read(a)) sa += v;
  for (double v : p.read(b)) sb += v;
  expect_near(p.read(sum(p, a, b)), {sa * sb}, 1e-5);
}

std::vector<T> dropout_residual(Program& p, const T& h, const T& x) {
  auto d = p.record(Op::dropout, {h, 0.75, 1 / 0.75, 7.0, 4.0},
                    {DType::f32, {DType::f32, DType::bool_}, {k_shape, k_shape}, {}, {}}, 2);
  return {p.binary(Op::add, x, d[0]), d[1]};
}

TEST(PlanGroups, DropoutAndResidual) {
  expect_launches(
      [](Program& p) {  // the mask is kept for the backward pass
        return dropout_residual(p, p.random(k_shape), p.random(k_shape, 2));
      },
      {"tile map [9600] operands 5 instrs 20 folds 0"}, 3 * k_full + k_full / 4);
  expect_launches(
      [](Program& p) {  // nobody asks for the mask: it is not stored
        return std::vector<T>{dropout_residual(p, p.random(k_shape), p.random(k_shape, 2))[0]};
      },
      {"tile map [9600] operands 4 instrs 19 folds 0"}, 3 * k_full);
  Program p("cpu");
  T h = p.random(k_shape), x = p.random(k_shape, 2);
  const auto out = dropout_residual(p, h, x);
  const Values vh = p.read(h), vx = p.read(x), mask = p.read(out[1]);
  Values want;
  int64_t kept = 0;
  for (size_t i = 0; i < vh.size(); ++i) {
    want.push_back(vx[i] + (mask[i] ? vh[i] / 0.75 : 0));
    kept += mask[i] != 0;
  }
  EXPECT_NEAR(static_cast<double>(kept) / static_cast<double>(vh.size()), 0.75, 0.03);
  expect_near(p.read(out[0]), want, 1e-6);
}

}  // namespace
}  // namespace qs::test
