// Every row of the gradient table against finite differences in float64, first and second order, on
// both devices. A case is a function of tensors, the shapes of its inputs and where to sample them.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

#include "devices.h"
#include "quicksilver/quicksilver.h"

namespace qs {
namespace {

using Function = std::function<Tensor(const TensorList&)>;

struct Case {
  const char* name;
  Function f;
  std::vector<Dims> shapes;
  double low = -2, high = 2;
  bool second = true;  // check second derivatives, too
};

class Problem {
 public:
  Problem(const Case& c, DeviceType device) : case_(c), device_(device) {
    std::mt19937_64 rng(7);
    std::uniform_real_distribution<double> draw(c.low, c.high);
    for (const Dims& shape : c.shapes) {
      std::vector<double> v(static_cast<size_t>(checked_numel(shape)));
      for (double& x : v) {
        x = draw(rng);
        if (std::abs(x) < 0.05) x = std::copysign(0.05, x);  // away from kinks at 0
      }
      host_.push_back(std::move(v));
    }
  }
  TensorList inputs(bool requires_grad) const {
    TensorList out;
    for (size_t i = 0; i < host_.size(); ++i) {
      out.push_back(from_host(host_[i].data(), case_.shapes[i], DType::f64, device_));
      out.back().set_requires_grad(requires_grad);
    }
    return out;
  }
  /// sum(t * w) with fixed weights, so that every element matters differently.
  Tensor weighed(const Tensor& t, int64_t phase) const {
    const Tensor w = arange(0, t.numel(), 1, Options(DType::f64, Device(device_)));
    return sum(reshape(t, Dims{-1}) * cos(w * 0.7 + double(phase)));
  }
  /// Central difference of `value` along element k of input i.
  template <class F>
  double slope(size_t i, size_t k, F value) {
    constexpr double h = 1e-5;
    const double at = host_[i][k];
    host_[i][k] = at + h;
    const double up = value();
    host_[i][k] = at - h;
    const double down = value();
    host_[i][k] = at;
    return (up - down) / (2 * h);
  }
  const Case& case_;
  DeviceType device_;
  std::vector<std::vector<double>> host_;
};

std::vector<double> values(const Tensor& t) {
  std::vector<double> v(static_cast<size_t>(t.numel()));
  t.detach().to(DType::f64).to_host(v.data());
  return v;
}

void check_first(const Case& c, DeviceType device) {
  Problem p(c, device);
  const TensorList in = p.inputs(true);
  const Tensor loss = p.weighed(c.f(in), 0);
  loss.backward();
  for (size_t i = 0; i < in.size(); ++i) {
    ASSERT_TRUE(in[i].grad().defined()) << c.name << ": input " << i << " got no gradient";
    ASSERT_EQ(Dims(in[i].grad().shape()), Dims(in[i].shape()));
    const std::vector<double> got = values(in[i].grad());
    for (size_t k = 0; k < got.size(); ++k) {
      const double want = p.slope(i, k, [&] {
        const autograd::NoGrad guard;
        return p.weighed(c.f(p.inputs(false)), 0).item<double>();
      });
      ASSERT_NEAR(got[k], want, 1e-5 * (1 + std::abs(want)))
          << c.name << ": input " << i << ", element " << k;
    }
  }
}

void check_second(const Case& c, DeviceType device) {
  Problem p(c, device);
  auto first = [&](const TensorList& in, bool keep) {
    const Tensor loss = p.weighed(c.f(in), 0);
    const TensorList g = autograd::grad({loss}, in, {}, keep, keep, true);
    Tensor total;
    for (size_t i = 0; i < g.size(); ++i) {
      if (!g[i].defined()) continue;
      const Tensor part = p.weighed(g[i], int64_t(i) + 1);
      total = total.defined() ? total + part : part;
    }
    return total;
  };
  const TensorList in = p.inputs(true);
  const Tensor total = first(in, true);
  TensorList got(in.size());
  if (total.requires_grad()) got = autograd::grad({total}, in, {}, false, false, true);
  for (size_t i = 0; i < in.size(); ++i) {
    const std::vector<double> g =
        got[i].defined() ? values(got[i]) : std::vector<double>(p.host_[i].size());
    for (size_t k = 0; k < g.size(); ++k) {
      const double want =
          p.slope(i, k, [&] { return first(p.inputs(true), false).item<double>(); });
      ASSERT_NEAR(g[k], want, 2e-5 * (1 + std::abs(want)))
          << c.name << ": second order, input " << i << ", element " << k;
    }
  }
}

Tensor ints(const std::vector<int64_t>& v, DimSpan shape, const Tensor& like) {
  return from_host(v.data(), shape, DType::i64, like.device_type());
}
Tensor ints(const std::vector<int64_t>& v, const Tensor& like) {
  return ints(v, Dims{static_cast<int64_t>(v.size())}, like);
}

#define X in[0]
#define Y in[1]
#define Z in[2]
#define F(...) [](const TensorList& in) -> Tensor { return __VA_ARGS__; }

const Case k_cases[] = {
    // copies
    {"clone", F(clone(X) * X), {{3, 4}}},
    {"copy_", F(copy_(zeros({3, 4}, Options(DType::f64, X.device())), X* X)), {{4}}},
    {"tril", F(square(tril(X, -1))), {{3, 4}}},
    {"triu", F(square(triu(X, 1))), {{3, 4}}},
    {"cat", F(square(cat({X, Y * Y}, 1))), {{2, 3}, {2, 2}}},
    {"stack", F(square(stack({X, Y}, 1))), {{2, 3}, {2, 3}}},
    // elementwise, one input
    {"neg", F(neg(X) * X), {{5}}},
    {"abs", F(abs(X) * X), {{5}}},
    {"square", F(square(X)), {{5}}},
    {"frac", F(frac(X) * X), {{5}}, 0.1, 0.9},
    {"floor", F(floor(X) * X), {{5}}, 0.1, 0.9},
    {"sign", F(sign(X) * X), {{5}}},
    {"relu", F(relu(X)), {{5}}},
    {"sqrt", F(sqrt(X)), {{5}}, 0.5, 3},
    {"rsqrt", F(rsqrt(X)), {{5}}, 0.5, 3},
    {"reciprocal", F(reciprocal(X)), {{5}}, 0.5, 3},
    {"exp", F(exp(X)), {{5}}},
    {"exp2", F(exp2(X)), {{5}}},
    {"expm1", F(expm1(X)), {{5}}},
    {"log", F(log(X)), {{5}}, 0.5, 3},
    {"log2", F(log2(X)), {{5}}, 0.5, 3},
    {"log10", F(log10(X)), {{5}}, 0.5, 3},
    {"log1p", F(log1p(X)), {{5}}, 0.1, 3},
    {"sin", F(sin(X)), {{5}}},
    {"cos", F(cos(X)), {{5}}},
    {"tan", F(tan(X)), {{5}}, -1, 1},
    {"asin", F(asin(X)), {{5}}, -0.8, 0.8},
    {"acos", F(acos(X)), {{5}}, -0.8, 0.8},
    {"atan", F(atan(X)), {{5}}},
    {"sinh", F(sinh(X)), {{5}}},
    {"cosh", F(cosh(X)), {{5}}},
    {"asinh", F(asinh(X)), {{5}}},
    {"acosh", F(acosh(X)), {{5}}, 1.5, 3},
    {"atanh", F(atanh(X)), {{5}}, -0.8, 0.8},
    {"tanh", F(tanh(X)), {{5}}},
    {"sigmoid", F(sigmoid(X)), {{5}}},
    {"erf", F(erf(X)), {{5}}},
    {"erfc", F(erfc(X)), {{5}}},
    {"erfinv", F(erfinv(X)), {{5}}, -0.8, 0.8},
    {"lgamma", F(lgamma(X)), {{5}}, 0.5, 3, false},
    {"silu", F(silu(X)), {{5}}},
    {"gelu", F(gelu(X)), {{5}}},
    {"gelu tanh", F(gelu(X, "tanh")), {{5}}},
    {"leaky_relu", F(leaky_relu(X, 0.1)), {{5}}},
    {"elu", F(elu(X, 1.3)), {{5}}},
    {"softplus", F(softplus(X, 2, 1.5)), {{5}}},
    // elementwise, two inputs, with broadcasting
    {"add", F((X + Y) * (X + Y)), {{3, 4}, {4}}},
    {"add alpha", F(square(add(X, Y, 2.5))), {{3, 4}, {3, 1}}},
    {"add number", F(square(X + 2.0)), {{3}}},
    {"sub", F(square(X - Y)), {{3, 4}, {1}}},
    {"sub alpha", F(square(sub(X, Y, 3.0))), {{4}, {3, 4}}},
    {"rsub", F(square(1.0 - X)), {{3}}},
    {"mul", F(X * Y), {{3, 4}, {4}}},
    {"mul number", F(X * 2.0 * X), {{3}}},
    {"div", F(X / Y), {{3, 4}, {4}}, 0.5, 2},
    {"number over", F(2.0 / X), {{3}}, 0.5, 2},
    {"remainder", F(remainder(X, Y) * X), {{4}, {4}}, 0.6, 1.0},
    {"fmod", F(fmod(X, Y) * X), {{4}, {4}}, 0.6, 1.0},
    {"maximum", F(maximum(X, Y) * X), {{3, 4}, {4}}},
    {"minimum", F(minimum(X, Y) * X), {{3, 4}, {4}}},
    {"fmax", F(fmax(X, Y) * X), {{5}, {5}}},
    {"fmin", F(fmin(X, Y) * X), {{5}, {5}}},
    {"pow", F(pow(X, Y)), {{3, 4}, {4}}, 0.5, 2},
    {"pow number", F(pow(X, 3.0)), {{4}}},
    {"pow 2", F(pow(X, 2)), {{4}}},
    {"pow half", F(pow(X, 0.5)), {{4}}, 0.5, 2},
    {"number pow", F(pow(2.5, X)), {{4}}},
    {"atan2", F(atan2(X, Y)), {{4}, {4}}, 0.3, 2},
    {"hypot", F(hypot(X, Y)), {{4}, {4}}, 0.3, 2},
    {"copysign", F(copysign(X, Y) * X), {{4}, {4}}},
    // more inputs
    {"where", F(where(gt(X, 0), X* Y, Y)), {{3, 4}, {4}}},
    {"masked_fill", F(masked_fill(X * X, gt(X, 0), Y)), {{3, 4}, {}}},
    {"addcmul", F(addcmul(X, Y, Z)), {{3, 4}, {4}, {3, 1}}},
    {"addcmul value", F(addcmul(X, Y, Z, 0.7)), {{3, 4}, {4}, {3, 1}}},
    {"addcdiv", F(addcdiv(X, Y, Z, 0.7)), {{3, 4}, {4}, {3, 1}}, 0.5, 2},
    {"lerp", F(lerp(X, Y, Z)), {{3, 4}, {3, 4}, {3, 4}}, 0.1, 0.4},
    {"lerp number", F(square(lerp(X, Y, 0.7))), {{4}, {4}}},
    {"clamp", F(clamp(X, -1.0, 1.0) * X), {{6}}},
    {"clamp low", F(clamp(X, -1.0, {}) * X), {{6}}},
    {"clamp tensors", F(square(clamp(X, Y, Z))), {{6}, {6}, {6}}},
    // folds
    {"sum", F(square(sum(X))), {{3, 4}}},
    {"sum dim", F(square(sum(X, Dims{1}))), {{3, 4}}},
    {"sum keepdim", F(square(sum(X, Dims{0, 2}, true))), {{2, 3, 2}}},
    {"mean", F(square(mean(X, Dims{-1}))), {{3, 4}}},
    {"prod", F(prod(X)), {{5}}},
    {"prod dim", F(prod(X, 1, true)), {{2, 3}}},
    {"amax", F(amax(X, Dims{1}) * 2.0), {{3, 4}}},
    {"amin", F(square(amin(X))), {{3, 4}}},
    {"var", F(var(X, Dims{1})), {{3, 4}}},
    {"var all", F(var(X, {}, 0)), {{3, 4}}},
    {"std", F(std_(X, Dims{1}, 1, true)), {{3, 4}}},
    {"max_dim", F(square(max_dim(X, 1).first)), {{3, 4}}},
    {"min_dim", F(square(min_dim(X, 0, true).first)), {{3, 4}}},
    {"logsumexp", F(logsumexp(X, Dims{1})), {{3, 4}}},
    {"norm", F(norm(X, 2, Dims{1})), {{3, 4}}},
    {"norm 1", F(square(norm(X, 1))), {{3, 4}}},
    {"norm 3", F(norm(X, 3, Dims{0}, true)), {{3, 4}}},
    {"norm inf", F(square(norm(X, INFINITY, Dims{1}))), {{3, 4}}},
    {"cumsum", F(square(cumsum(X, 1))), {{2, 4}}},
    {"cumprod", F(cumprod(X, 0)), {{4, 2}}},
    {"sort", F(square(sort(X, 1, true).first)), {{2, 4}}},
    {"topk", F(square(topk(X, 2, 1).first)), {{2, 4}}},
    // softmax, norms, losses
    {"softmax", F(softmax(X, 1)), {{3, 4}}},
    {"softmax dim 0", F(softmax(X, 0)), {{3, 4}}},
    {"log_softmax", F(log_softmax(X, -1)), {{3, 4}}},
    {"layer_norm", F(layer_norm(X, Dims{4})), {{3, 4}}},
    {"layer_norm affine", F(layer_norm(X, Dims{2, 3}, Y, Z)), {{2, 2, 3}, {2, 3}, {2, 3}}},
    {"cross_entropy", F(cross_entropy(X, ints({1, 0, 3}, X))), {{3, 4}}},
    {"cross_entropy ignore", F(cross_entropy(X, ints({1, -100, 3}, X), {}, "sum")), {{3, 4}}},
    {"cross_entropy weight",
     F(cross_entropy(X, ints({1, 0, 2}, X), exp(Y), "mean")),
     {{3, 4}, {4}}},
    {"cross_entropy smooth",
     F(cross_entropy(X, ints({1, 0, 3}, X), {}, "mean", -100, 0.1)),
     {{3, 4}}},
    {"cross_entropy spatial",
     F(cross_entropy(X, ints({1, 0, 2, 1}, Dims{2, 2}, X), {}, "none")),
     {{2, 3, 2}}},
    {"cross_entropy probabilities", F(cross_entropy(X, softmax(Y, 1))), {{3, 4}, {3, 4}}},
    {"nll_loss", F(nll_loss(log_softmax(X, 1), ints({1, 0, 3}, X))), {{3, 4}}},
    {"mse_loss", F(mse_loss(X, Y)), {{3, 4}, {3, 4}}},
    {"l1_loss", F(square(l1_loss(X, Y, "sum"))), {{3, 4}, {3, 4}}},
    // products
    {"mm", F(matmul(X, Y)), {{2, 3}, {3, 4}}},
    {"mm transposed", F(matmul(X.t(), Y.t())), {{3, 2}, {4, 3}}},
    {"bmm", F(bmm(X, Y)), {{2, 2, 3}, {2, 3, 4}}},
    {"matmul broadcast", F(matmul(X, Y)), {{2, 1, 2, 3}, {3, 3, 2}}},
    {"matmul 3d 2d", F(matmul(X, Y)), {{2, 2, 3}, {3, 4}}},
    {"matmul 2d 3d", F(matmul(X, Y)), {{2, 3}, {2, 3, 2}}},
    {"matmul 1d 2d", F(matmul(X, Y)), {{3}, {3, 4}}},
    {"matmul 3d 1d", F(matmul(X, Y)), {{2, 2, 3}, {3}}},
    {"mv", F(mv(X, Y)), {{2, 3}, {3}}},
    {"dot", F(dot(X, Y)), {{3}, {3}}},
    {"outer", F(outer(X, Y)), {{3}, {2}}},
    {"addmm", F(addmm(X, Y, Z, 0.5, 2)), {{4}, {2, 3}, {3, 4}}},
    {"linear", F(linear(X, Y, Z)), {{2, 3}, {4, 3}, {4}}},
    {"linear 3d", F(linear(X, Y, Z)), {{2, 2, 3}, {4, 3}, {4}}},
    // views
    {"view", F(square(view(X, Dims{6, 2}))), {{3, 4}}},
    {"reshape copy", F(square(reshape(X.t(), Dims{-1}))), {{3, 4}}},
    {"permute", F(square(permute(X, Dims{2, 0, 1}))), {{2, 3, 2}}},
    {"expand", F(square(expand(X, Dims{2, 3, 4})) * X), {{3, 1}}},
    {"squeeze", F(square(squeeze(X))), {{1, 3, 1}}},
    {"select", F(square(select(X, 1, -1))), {{3, 4}}},
    {"slice", F(square(slice(X, 1, 0, 4, 2))), {{3, 4}}},
    {"diagonal", F(square(diagonal(X, 1))), {{3, 4}}},
    {"unfold", F(square(unfold(X, 0, 3, 2))), {{7}}},
    {"unfold 2d", F(square(unfold(X, 1, 2, 1))), {{2, 4}}},
    {"as_strided", F(square(as_strided(X, Dims{2, 2}, Dims{4, 1}, 1))), {{3, 4}}},
    {"as_strided overlap", F(square(as_strided(X, Dims{3, 3}, Dims{1, 1}))), {{6}}},
    {"chunk", F(chunk(X, 2, 1)[0] * chunk(X, 2, 1)[1]), {{2, 4}}},
    {"split", F(square(split(X, 3, 1)[1])), {{2, 4}}},
    {"unbind", F(unbind(X, 0)[0] * unbind(X, 0)[2]), {{3, 2}}},
    {"flip", F(square(flip(X, Dims{0, 1})) * X), {{2, 3}}},
    {"roll", F(roll(X, Dims{1}, Dims{1}) * X), {{2, 3}}},
    {"repeat", F(square(repeat(X, Dims{2, 2}))), {{2, 3}}},
    {"repeat_interleave", F(square(repeat_interleave(X, 2, 1))), {{2, 3}}},
    // indexing
    {"index_select", F(square(index_select(X, 1, ints({0, 2, 2}, X)))), {{2, 3}}},
    {"gather", F(square(gather(X, 1, ints({0, 2, 1, 1}, Dims{2, 2}, X)))), {{2, 3}}},
    {"embedding", F(square(embedding(X, ints({0, 2, 2, 1}, Dims{2, 2}, X)))), {{3, 2}}},
    {"index", F(square(index(X, {ints({0, 2, 2}, X)}))), {{3, 2}}},
    {"index two", F(square(index(X, {ints({0, 2, 2}, X), ints({1, 0, 0}, X)}))), {{3, 2, 2}}},
    {"index apart", F(square(index(X, {ints({0, 1}, X), {}, ints({1, 0}, X)}))), {{2, 3, 2}}},
    {"index mask", F(square(index(X, {gt(X, 0)}))), {{3, 2}}},
    {"index_put", F(index_put_(X * X, {ints({0, 2}, X)}, Y* Y)), {{3, 2}, {2, 2}}},
    {"index_put accumulate", F(index_put_(X * X, {ints({0, 0}, X)}, Y* Y, true)), {{3, 2}, {2}}},
    {"index_add", F(square(index_add(X, 0, ints({0, 2, 0}, X), Y, 2.0))), {{3, 2}, {3, 2}}},
    {"scatter", F(square(scatter(X, 1, ints({0, 2, 1, 0}, Dims{2, 2}, X), Y))), {{2, 3}, {2, 2}}},
    {"scatter number", F(square(scatter(X, 1, ints({0, 2}, Dims{2, 1}, X), 3.0))), {{2, 3}}},
    {"scatter_add",
     F(square(scatter_add(X, 1, ints({0, 2, 1, 1}, Dims{2, 2}, X), Y))),
     {{2, 3}, {2, 2}}},
    {"masked_select", F(square(masked_select(X, gt(X, 0)))), {{2, 3}}},
    // in place
    {"mul_", F(mul_(X * 1.0, Y)), {{3, 4}, {4}}},
    {"sigmoid_", F(sigmoid_(X * 2.0)), {{4}}},
    {"fill a view",
     F(
         [&] {
           const Tensor y = X * X;
           zero_(y[0]);
           return y * X;
         }()),
     {{3, 2}}},
    {"write a view",
     F(
         [&] {
           const Tensor y = X * 2.0;
           mul_(y[1], Y);
           copy_(slice(y, 0, 0, 1), Y * Y);
           return y * y;
         }()),
     {{3, 2}, {2}}},
    {"write through a view",
     F(
         [&] {
           const Tensor y = zeros({3, 2}, Options(DType::f64, X.device()));
           const Tensor other = y[2];  // its history comes from y anew
           add_(view(y, Dims{2, 3}), X);
           return square(other);
         }()),
     {{2, 3}}},
    {"exp_ of a view",
     F(
         [&] {
           const Tensor y = X * 1.0;
           exp_(y[0]);
           return y;
         }()),
     {{2, 3}}},
};

class Gradients : public ::testing::TestWithParam<DeviceType> {};

TEST_P(Gradients, MatchFiniteDifferences) {
  for (const Case& c : k_cases) {
    SCOPED_TRACE(c.name);
    try {
      check_first(c, GetParam());
    } catch (const std::exception& e) {
      ADD_FAILURE() << c.name << ": " << e.what();
    }
  }
}

TEST_P(Gradients, SecondOrderMatchesFiniteDifferences) {
  for (const Case& c : k_cases) {
    if (!c.second) continue;
    SCOPED_TRACE(c.name);
    try {
      check_second(c, GetParam());
    } catch (const std::exception& e) {
      ADD_FAILURE() << c.name << ": " << e.what();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, Gradients, ::testing::ValuesIn(qs::test_devices()));

}  // namespace
}  // namespace qs
