// The layers of C++ models: PyTorch's names, weights, initial values and defaults. Those over
// images are in nn/layers_2d.h.
#pragma once
#include "quicksilver/nn/module.h"

namespace qs::nn {

/// y = x weight^T + bias. weight [out, in] and bias [out] start uniform in +-1 / sqrt(in), as
/// PyTorch's.
class QS_API Linear final : public Module {
 public:
  Linear(int64_t in_features, int64_t out_features, bool with_bias = true);
  Tensor forward(const Tensor& x) override;
  Tensor weight, bias;
};

/// Normalises the last dimensions, whose sizes are given.
class QS_API LayerNorm final : public Module {
 public:
  explicit LayerNorm(Dims shape, double eps = 1e-5);
  explicit LayerNorm(int64_t size, double eps = 1e-5) : LayerNorm(Dims{size}, eps) {}
  Tensor forward(const Tensor& x) override;
  Tensor weight, bias;

 private:
  Dims shape_;
  double eps_;
};

/// Rows of weight [count, size] by integer indices; weight starts normal.
class QS_API Embedding final : public Module {
 public:
  Embedding(int64_t count, int64_t size);
  Tensor forward(const Tensor& index) override;
  Tensor weight;
};

/// In training, zero with probability p, else x / (1 - p).
class QS_API Dropout final : public Module {
 public:
  explicit Dropout(double p = 0.5);
  Tensor forward(const Tensor& x) override;

 private:
  double p_;
};

/// All dimensions but the first as one.
class QS_API Flatten final : public Module {
 public:
  Tensor forward(const Tensor& x) override;
};

// Elementwise layers without options.
#define QS_ACTIVATION(Name)                   \
  class QS_API Name final : public Module {   \
   public:                                    \
    Tensor forward(const Tensor& x) override; \
  };
QS_ACTIVATION(ReLU)
QS_ACTIVATION(GELU)
QS_ACTIVATION(SiLU)
QS_ACTIVATION(Tanh)
QS_ACTIVATION(Sigmoid)
#undef QS_ACTIVATION

}  // namespace qs::nn
