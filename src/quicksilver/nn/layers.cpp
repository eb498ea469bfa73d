#include "quicksilver/nn/layers.h"

#include <cmath>

#include "quicksilver/autograd/autograd.h"
#include "quicksilver/core/error.h"

namespace qs::nn {
namespace {

double bound_of(int64_t fan_in) {
  return fan_in > 0 ? 1 / std::sqrt(static_cast<double>(fan_in)) : 0;
}

Tensor uniform(const Dims& shape, double bound) { return uniform_(empty(shape), -bound, bound); }

}  // namespace

Linear::Linear(int64_t in_features, int64_t out_features, bool with_bias) {
  const double bound = bound_of(in_features);
  weight = register_parameter("weight", uniform(Dims{out_features, in_features}, bound));
  if (with_bias) bias = register_parameter("bias", uniform(Dims{out_features}, bound));
}

Tensor Linear::forward(const Tensor& x) { return linear(x, weight, bias); }

LayerNorm::LayerNorm(Dims shape, double eps) : shape_(std::move(shape)), eps_(eps) {
  weight = register_parameter("weight", ones(shape_));
  bias = register_parameter("bias", zeros(shape_));
}

Tensor LayerNorm::forward(const Tensor& x) { return layer_norm(x, shape_, weight, bias, eps_); }

Embedding::Embedding(int64_t count, int64_t size) {
  weight = register_parameter("weight", normal_(empty(Dims{count, size})));
}

Tensor Embedding::forward(const Tensor& index) { return embedding(weight, index); }

Dropout::Dropout(double p) : p_(p) {
  QS_CHECK(p >= 0 && p <= 1, ValueError,
           "dropout probability has to be between 0 and 1, but got {}", p);
}

Tensor Dropout::forward(const Tensor& x) { return dropout(x, p_, is_training()); }

Tensor Flatten::forward(const Tensor& x) { return flatten(x, 1); }

Tensor ReLU::forward(const Tensor& x) { return relu(x); }
Tensor GELU::forward(const Tensor& x) { return gelu(x); }
Tensor SiLU::forward(const Tensor& x) { return silu(x); }
Tensor Tanh::forward(const Tensor& x) { return tanh(x); }
Tensor Sigmoid::forward(const Tensor& x) { return sigmoid(x); }

}  // namespace qs::nn
