// The engine: accumulation, modes, errors in PyTorch's words, hooks, in-place histories, long
// chains.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "devices.h"
#include "quicksilver/quicksilver.h"

namespace qs {
namespace {

using autograd::GradMode;
using autograd::NoGrad;

Tensor leaf(std::vector<double> v, DeviceType device = DeviceType::cpu) {
  const Dims shape{static_cast<int64_t>(v.size())};
  Tensor t = from_host(v.data(), shape, DType::f64, device);
  return t.set_requires_grad();
}

std::vector<double> values(const Tensor& t) {
  std::vector<double> v(static_cast<size_t>(t.numel()));
  t.detach().to(DType::f64).to_host(v.data());
  return v;
}

using Doubles = std::vector<double>;

/// The text that `f` throws; "" when it does not.
template <class F>
std::string thrown(F f) {
  try {
    f();
  } catch (const std::exception& e) {
    return e.what();
  }
  return "";
}

#define EXPECT_THROWS(text, ...)                                        \
  EXPECT_NE(thrown([&] { __VA_ARGS__; }).find(text), std::string::npos) \
      << "got: " << thrown([&] { __VA_ARGS__; })

class Autograd : public ::testing::TestWithParam<DeviceType> {
 protected:
  Tensor make(std::vector<double> v) { return leaf(std::move(v), GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(Devices, Autograd, ::testing::ValuesIn(qs::test_devices()));

TEST_P(Autograd, AccumulatesIntoLeaves) {
  const Tensor x = make({1, 2});
  (x * x).sum().backward();
  EXPECT_EQ(values(x.grad()), Doubles({2, 4}));
  const Tensor held = x.grad();
  (x * 3.0).sum().backward();
  EXPECT_EQ(values(x.grad()), Doubles({5, 7}));
  EXPECT_TRUE(held.same(x.grad()));  // in place, as in PyTorch
  x.set_grad({});
  EXPECT_FALSE(x.grad().defined());
}

TEST_P(Autograd, SharedGradientsAreCopied) {
  const Tensor a = make({1, 2}), b = make({3, 4});
  const Tensor g = from_host(Doubles({1, 1}).data(), Dims{2}, DType::f64, GetParam());
  (a + b).backward(g);
  a.grad().mul_(g * 10.0);
  EXPECT_EQ(values(a.grad()), Doubles({10, 10}));
  EXPECT_EQ(values(b.grad()), Doubles({1, 1}));
  EXPECT_EQ(values(g), Doubles({1, 1}));
}

TEST_P(Autograd, FanOutSums) {
  const Tensor x = make({2});
  const Tensor y = x * x;
  (y * y + y).sum().backward();
  EXPECT_EQ(values(x.grad()), Doubles({4 * 8 + 4}));
}

TEST_P(Autograd, ModesAndFlags) {
  const Tensor x = make({1});
  EXPECT_TRUE(x.is_leaf());
  const Tensor y = x * 2.0;
  EXPECT_TRUE(y.requires_grad());
  EXPECT_FALSE(y.is_leaf());
  EXPECT_EQ(autograd::grad_fn(y)->name(), "MulBackward0");
  {
    const NoGrad guard;
    EXPECT_FALSE((x * 2.0).requires_grad());
    const GradMode on(true);
    EXPECT_TRUE((x * 2.0).requires_grad());
  }
  EXPECT_FALSE(y.detach().requires_grad());
  EXPECT_FALSE(gt(x, 0).requires_grad());
  EXPECT_THROWS("only Tensors of floating point and complex dtype can require gradients",
                arange(0, 3).set_requires_grad());
  EXPECT_THROWS("you can only change requires_grad flags of leaf variables",
                y.set_requires_grad(false));
}

TEST_P(Autograd, ErrorsOfBackward) {
  const Tensor x = make({1, 2});
  EXPECT_THROWS("grad can be implicitly created only for scalar outputs", (x * x).backward());
  EXPECT_THROWS("element 0 of tensors does not require grad and does not have a grad_fn",
                x.detach().sum().backward());
  const Tensor loss = (x * x).sum();
  loss.backward({}, true);
  loss.backward();
  EXPECT_EQ(values(x.grad()), Doubles({4, 8}));
  EXPECT_THROWS("Trying to backward through the graph a second time", loss.backward());
  const Tensor y = make({3});
  EXPECT_THROWS("appears to not have been used in the graph",
                autograd::grad({(x * x).sum()}, {y}, {}, false, false, false));
  EXPECT_FALSE(autograd::grad({(x * x).sum()}, {y}, {}, false, false, true)[0].defined());
}

TEST_P(Autograd, ModifiedSavedTensorsAreFound) {
  const Tensor x = make({1, 2});
  const Tensor y = exp(x);
  y.mul_(y.detach());
  EXPECT_THROWS(
      "one of the variables needed for gradient computation has been modified by an inplace "
      "operation: [",
      y.sum().backward());
  EXPECT_THROWS("is at version 1; expected version 0 instead", [&] {
    const Tensor z = exp(x);
    z.add_(x);
    z.sum().backward();
  }());
  // What was not needed may change.
  const Tensor w = x * 2.0;
  w.add_(x);
  w.sum().backward();
  EXPECT_EQ(values(x.grad()), Doubles({3, 3}));
}

TEST_P(Autograd, InPlaceOnLeaves) {
  const Tensor x = make({1, 2});
  EXPECT_THROWS("a leaf Variable that requires grad is being used in an in-place operation.",
                add_(x, 1.0));
  EXPECT_THROWS(
      "a view of a leaf Variable that requires grad is being used in an in-place operation.",
      add_(x[0], 1.0));
  EXPECT_EQ(values(x), Doubles({1, 2}));
  const NoGrad guard;
  add_(x, 1.0);
  EXPECT_EQ(values(x), Doubles({2, 3}));
}

TEST_P(Autograd, RetainGradAndHooks) {
  const Tensor x = make({1, 2});
  const Tensor y = x * 3.0;
  autograd::retain_grad(y);
  const int64_t id = autograd::add_hook(y, [](const Tensor& g) { return g * 10.0; });
  const int64_t leaf_id = autograd::add_hook(x, [](const Tensor& g) { return g + 1.0; });
  (y * y).sum().backward({}, true);
  EXPECT_EQ(values(y.grad()), Doubles({60, 120}));
  EXPECT_EQ(values(x.grad()), Doubles({181, 361}));
  autograd::remove_hook(y, id);
  autograd::remove_hook(x, leaf_id);
  x.set_grad({});
  (y * y).sum().backward();
  EXPECT_EQ(values(x.grad()), Doubles({18, 36}));
}

TEST_P(Autograd, OnlyTheInputsAsked) {
  const Tensor a = make({1}), b = make({2});
  const Tensor y = (a * b).sum();
  autograd::backward({y}, {}, true, false, {a});
  EXPECT_EQ(values(a.grad()), Doubles({2}));
  EXPECT_FALSE(b.grad().defined());
  const Tensor mid = a * 2.0;
  const auto g = autograd::grad({(mid * b).sum()}, {mid}, {}, false, false, false);
  EXPECT_EQ(values(g[0]), Doubles({2}));
}

TEST_P(Autograd, HigherOrder) {
  const Tensor x = make({2});
  const Tensor y = (x * x * x).sum();
  const Tensor g1 = autograd::grad({y}, {x}, {}, true, true, false)[0];
  const Tensor g2 = autograd::grad({g1.sum()}, {x}, {}, true, true, false)[0];
  const Tensor g3 = autograd::grad({g2.sum()}, {x}, {}, false, false, false)[0];
  EXPECT_EQ(values(g1), Doubles({12}));
  EXPECT_EQ(values(g2), Doubles({12}));
  EXPECT_EQ(values(g3), Doubles({6}));
}

TEST_P(Autograd, TiesShareAsInPyTorch) {
  const Tensor x = make({3, 3, 1});
  amax(x).backward();
  EXPECT_EQ(values(x.grad()), Doubles({0.5, 0.5, 0}));
  x.set_grad({});
  max_dim(x, 0).first.backward();
  EXPECT_EQ(values(x.grad()), Doubles({1, 0, 0}));
  x.set_grad({});
  maximum(x, make({3, 1, 1})).sum().backward();
  EXPECT_EQ(values(x.grad()), Doubles({0.5, 1, 0.5}));
}

TEST_P(Autograd, ZerosInProductsAndPowers) {
  const Tensor one = make({2, 0, 3});
  prod(one).backward();
  EXPECT_EQ(values(one.grad()), Doubles({0, 6, 0}));
  const Tensor two = make({0, 0, 3});
  prod(two).backward();
  EXPECT_EQ(values(two.grad()), Doubles({0, 0, 0}));
  const Tensor c = make({2, 0, 3, 4});
  cumprod(c, 0).sum().backward();
  EXPECT_EQ(values(c.grad()), Doubles({1, 2 + 6 + 24, 0, 0}));
  const Tensor x = make({0, 2});
  pow(x, 0).sum().backward();
  EXPECT_EQ(values(x.grad()), Doubles({0, 0}));
  const Tensor n = make({0, 0});
  norm(n).backward();
  EXPECT_EQ(values(n.grad()), Doubles({0, 0}));
  const Tensor s = make({1, 1});
  std_(s).backward();
  EXPECT_EQ(values(s.grad()), Doubles({0, 0}));
}

TEST_P(Autograd, BroadcastAndMixedDtypes) {
  const Tensor x = make({1, 2});
  const Tensor w = full({}, 2.0, Options(DType::f32, Device(GetParam()))).set_requires_grad();
  (x * w).sum().backward();
  EXPECT_EQ(w.grad().dtype(), DType::f32);
  EXPECT_EQ(w.grad().dim(), 0);
  EXPECT_EQ(values(w.grad()), Doubles({3}));
}

TEST_P(Autograd, GradientsOfWeightsLieLikeTheWeights) {
  const Device d(GetParam());
  const Tensor w = randn(Dims{4, 3}, Options(DType::f32, d)).set_requires_grad();
  linear(randn(Dims{5, 3}, Options(DType::f32, d)), w).sum().backward();
  EXPECT_TRUE(w.grad().is_contiguous());
}

TEST_P(Autograd, DeepChains) {
  const Tensor x = make({1});
  {
    Tensor y = x;
    for (int i = 0; i < 100000; ++i) y = y + 0.0;
    y.sum().backward();
    EXPECT_EQ(values(x.grad()), Doubles({1}));
  }
  Tensor y = x;
  for (int i = 0; i < 100000; ++i) y = neg(y);
  y = {};  // freed in a loop
}

TEST_P(Autograd, CustomNodes) {
  struct Twice final : autograd::GradNode {
    std::string name() const override { return "TwiceBackward"; }
    std::vector<Tensor> backward(std::vector<Tensor>& g) override { return {g[0] * 100.0}; }
  };
  const Tensor x = make({1, 2});
  Tensor y;
  {
    const NoGrad guard;
    y = x * 2.0;
  }
  auto node = make_ref<Twice>();
  node->edges.push_back(autograd::gradient_edge(x));
  node->results.emplace_back(*y.impl());
  autograd::set_history(y, node, 0);
  y.sum().backward();
  EXPECT_EQ(values(x.grad()), Doubles({100, 100}));
}

/// A node that says when it is freed.
struct Witness final : autograd::GradNode {
  explicit Witness(bool& gone_in) : gone(gone_in) {}
  ~Witness() override { gone = true; }
  std::string name() const override { return "Witness"; }
  std::vector<Tensor> backward(std::vector<Tensor>& g) override { return {g[0]}; }
  bool& gone;
};

TEST_P(Autograd, GraphsAreFreed) {
  using Build = Tensor (*)(const Tensor&);
  const Build graphs[] = {
      [](const Tensor& x) { return exp(x) * x; },
      [](const Tensor& x) { return sigmoid_(x * 2.0); },
      [](const Tensor& x) {
        const Tensor y = x * 2.0;
        const Tensor other = y[1];
        mul_(y, x);
        exp_(y[0]);  // saves its result, a view
        return y * other;
      },
      [](const Tensor& x) {
        const Tensor y = x * 3.0;
        autograd::retain_grad(y);
        autograd::add_hook(y, [](const Tensor& g) { return g; });
        return norm(y) + std_(y);
      },
      [](const Tensor& x) {  // gradients with a history
        return autograd::grad({tanh(x).sum()}, {x}, {}, true, true, false)[0] * x;
      },
  };
  for (const bool run : {false, true}) {
    for (const Build build : graphs) {
      bool gone = false;
      {
        const Tensor leaf = make({1, 2});
        Tensor x;
        {
          const NoGrad guard;
          x = leaf * 1.0;
        }
        auto node = make_ref<Witness>(gone);
        node->edges.push_back(autograd::gradient_edge(leaf));
        node->results.emplace_back(*x.impl());
        autograd::set_history(x, std::move(node), 0);
        const Tensor out = build(x).sum();
        if (run) out.backward();
        EXPECT_FALSE(gone);
      }
      EXPECT_TRUE(gone) << "graph " << &build - graphs << (run ? " after backward" : "");
    }
  }
}

TEST_P(Autograd, ViewsFollowTheirRoot) {
  const Tensor x = make({1, 2, 3, 4});
  const Tensor y = x * 1.0, first = y[0], pair = y.slice(0, 2, 4);
  mul_(pair, 10.0);
  EXPECT_EQ(autograd::grad_fn(y)->name(), "torch::autograd::CopySlices");
  EXPECT_EQ(autograd::grad_fn(first)->name(), "AsStridedBackward0");
  (pair.sum() * first).backward();
  EXPECT_EQ(values(x.grad()), Doubles({70, 0, 10, 10}));
}

TEST_P(Autograd, WritesIntoPlainTensorsAreTracked) {
  const Tensor x = make({1, 2});
  const Tensor y = zeros({2, 2}, Options(DType::f64, Device(GetParam())));
  const Tensor before = y[1];
  copy_(y[0], x * x);
  EXPECT_TRUE(y.requires_grad());
  (y.sum() + before.sum()).backward();
  EXPECT_EQ(values(x.grad()), Doubles({2, 4}));
  const Tensor z = x * 5.0;
  zero_(z);
  z.sum().backward();
  EXPECT_EQ(values(x.grad()), Doubles({2, 4}));
}

#if QS_HAS_MPS
TEST(AutogradDevices, GradientsCrossDevices) {
  const Tensor x = leaf({1, 2}, DeviceType::cpu);
  const Tensor w = leaf({3, 4}, DeviceType::mps);
  const Tensor y = x.to(qs::mps) * w;
  EXPECT_TRUE(y.is_mps());
  y.cpu().sum().backward();
  EXPECT_TRUE(x.grad().is_cpu());
  EXPECT_TRUE(w.grad().is_mps());
  EXPECT_EQ(values(x.grad()), Doubles({3, 4}));
  EXPECT_EQ(values(w.grad()), Doubles({1, 2}));
}
#endif

#if QS_HAS_MPS
TEST(AutogradThreads, BackwardRunsBeside) {
  const Tensor w = leaf({1, 2}, DeviceType::mps);
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        try {
          (w * w).sum().backward();
        } catch (...) {
          ++failures;
        }
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(values(w.grad()), Doubles({400, 800}));
}
#endif

TEST(Verbs, SpeakPyTorch) {
  const Tensor a = zeros({2, 3}), b = zeros({4, 5});
  EXPECT_THROWS("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)", matmul(a, b));
  EXPECT_THROWS(
      "The size of tensor a (3) must match the size of tensor b (5) at non-singleton "
      "dimension 1",
      a + b);
  EXPECT_THROWS("shape '[4, 2]' is invalid for input of size 6", view(a, Dims{4, 2}));
  EXPECT_THROWS("view size is not compatible with input tensor's size and stride", a.t().view({6}));
  EXPECT_THROWS("mean(): could not infer output dtype", arange(0, 3).mean());
  EXPECT_THROWS("expected scalar type Long but found Float",
                cross_entropy(zeros({4, 3}), zeros({4})));
  EXPECT_THROWS("Expected input batch_size (4) to match target batch_size (5).",
                cross_entropy(zeros({4, 3}), zeros({5}, DType::i64)));
  EXPECT_THROWS("result type Float can't be cast", add_(zeros({2}, DType::i64), 1.5));
  EXPECT_THROWS("select(): index 2 out of range", a[2]);
  EXPECT_THROWS("Sizes of tensors must match except in dimension 0.", cat({a, b}));
  EXPECT_THROWS("where expected condition to be a boolean tensor", where(a, a, a));
}

}  // namespace
}  // namespace qs
