// What is computed twice to save memory stays so, and in its place.
#include <gtest/gtest.h>

#include <cmath>

#include "plan_harness.h"

namespace qs::test {
namespace {

constexpr auto k_mps = DeviceType::mps;
constexpr int k_blocks = 8;
constexpr int64_t k_rows = 512, k_width = 64, k_hidden = 256;
constexpr int64_t k_stream = k_rows * k_width * 4, k_inner = k_rows * k_hidden * 4;

/// x + gelu(x w) v, eight times, the sum of squares, all gradients and a step of SGD, as autograd
/// and the optimizer record them.
class DeepNetwork {
 public:
  enum Recompute { none, marked, unmarked };
  explicit DeepNetwork(Program& p) : p_(p) {
    for (uint64_t i = 0; i < k_blocks; ++i) {
      w_.push_back(weight({k_width, k_hidden}, 2 * i + 1));
      v_.push_back(weight({k_hidden, k_width}, 2 * i + 2));
    }
    x_ = p.random({k_rows, k_width}, 99);
  }

  /// `recompute`: h and gelu(h) of a block are made again where its gradient wants them, in a
  /// region of their own or just so.
  T step(Recompute recompute) {
    std::vector<T> x{x_}, h, y;
    for (size_t i = 0; i < k_blocks; ++i) {
      forward(x[i], i, h, y);
      x.push_back(p_.binary(Op::add, x[i], p_.matmul(y[i], v_[i])));
    }
    T loss = p_.reduce(Op::sum, p_.unary(Op::square, x.back()), 3);
    T g = p_.binary(Op::mul, x.back(), 2.0);
    std::vector<T> dw(k_blocks), dv(k_blocks);
    for (size_t i = k_blocks; i-- > 0;) {
      if (recompute != none) {
        p_.region = recompute == marked ? static_cast<uint32_t>(k_blocks - i) : 0;
        std::vector<T> again, of_again;
        forward(x[i], i, again, of_again);
        p_.region = 0;
        h[i] = again[0];
        y[i] = of_again[0];
      }
      dv[i] = p_.matmul(y[i].t(), g);
      T dh = p_.binary(Op::gelu_backward, p_.matmul(g, v_[i].t()), h[i]);
      dw[i] = p_.matmul(x[i].t(), dh);
      g = p_.binary(Op::add, g, p_.matmul(dh, w_[i].t()));
      h[i] = y[i] = {};
    }
    for (size_t i = 0; i < k_blocks; ++i) {
      p_.record(Op::sgd_step, {w_[i], dw[i], 1e-6, {}}, {DType::f32, {}, {}, {0}, {0}});
      p_.record(Op::sgd_step, {v_[i], dv[i], 1e-6, {}}, {DType::f32, {}, {}, {0}, {0}});
    }
    return loss;
  }
  std::vector<double> weights() {
    std::vector<double> all;
    for (size_t i = 0; i < k_blocks; ++i)
      for (const T& t : {w_[i], v_[i]}) {
        const auto values = p_.read(t);
        all.insert(all.end(), values.begin(), values.end());
      }
    return all;
  }

 private:
  T weight(const Dims& shape, uint64_t seed) {
    std::vector<double> values = p_.read(p_.random(shape, seed));
    for (double& v : values) v *= 0.05;
    return p_.make(shape, values);
  }
  void forward(const T& x, size_t i, std::vector<T>& h, std::vector<T>& y) {
    h.push_back(p_.matmul(x, w_[i]));
    y.push_back(p_.unary(Op::gelu, h.back()));
  }
  Program& p_;
  std::vector<T> w_, v_;
  T x_;
};

int64_t arena_of(DeepNetwork::Recompute recompute) {
  Program p("null");
  DeepNetwork net(p);
  T loss = net.step(recompute);
  p.cut();
  return static_cast<int64_t>(p.device().arena_bytes());
}

TEST(PlanMemory, RegionsKeepNothingForTheirSecondComputation) {
  const int64_t kept = arena_of(DeepNetwork::none), marked = arena_of(DeepNetwork::marked);
  EXPECT_GE(kept, k_blocks * 2 * k_inner);
  // The inputs of all blocks, and what one block works with.
  EXPECT_LE(marked, (k_blocks + 2) * k_stream + 3 * k_inner);
}

TEST(PlanMemory, EqualComputationsStayApartWhereMergingWouldHoldThem) {
  EXPECT_LE(arena_of(DeepNetwork::unmarked), (k_blocks + 2) * k_stream + 3 * k_inner);
  // Where it costs nothing they merge: small values, near ones.
  Program p("null");
  T x = p.random({512, 256});
  T a = p.unary(Op::exp, x), b = p.unary(Op::exp, x);
  T y = p.binary(Op::add, a, b);
  a = b = {};
  p.cut();
  EXPECT_EQ(driver::null_counters().touched_bytes, 2 * 512 * 256 * 4);
}

TEST(PlanMemory, RecomputingChangesNoBit) {
  std::vector<double> want;
  for (const auto recompute : {DeepNetwork::none, DeepNetwork::marked, DeepNetwork::unmarked}) {
    Program p("cpu");
    DeepNetwork net(p);
    for (int turn = 0; turn < 2; ++turn) net.step(recompute);
    const auto got = net.weights();
    if (want.empty())
      want = got;
    else
      EXPECT_EQ(got, want);
    EXPECT_TRUE(std::isfinite(got[0]));
  }
}

}  // namespace
}  // namespace qs::test
