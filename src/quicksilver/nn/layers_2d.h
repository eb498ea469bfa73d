// Layers over images [N, C, H, W]: convolution, batch normalisation, pooling.
#pragma once
#include <optional>

#include "quicksilver/nn/module.h"

namespace qs::nn {

struct Conv2dOptions {
  int64_t stride = 1, padding = 0, dilation = 1, groups = 1;
  bool bias = true;
};
/// Convolution over [N, in, H, W]; weight [out, in / groups, k, k], uniform in +-1 / sqrt(fan in).
class QS_API Conv2d final : public Module {
 public:
  Conv2d(int64_t in_channels, int64_t out_channels, int64_t kernel, Conv2dOptions options = {});
  Tensor forward(const Tensor& x) override;
  Tensor weight, bias;
  const Conv2dOptions options;
};

/// Normalises each channel of [N, C, H, W] over the batch in training, by running statistics else.
class QS_API BatchNorm2d final : public Module {
 public:
  explicit BatchNorm2d(int64_t channels, double eps = 1e-5, double momentum = 0.1);
  Tensor forward(const Tensor& x) override;
  Tensor weight, bias, running_mean, running_var, num_batches_tracked;

 private:
  double eps_, momentum_;
};

/// The largest of each window of [N, C, H, W]; the stride is the kernel unless it is given.
class QS_API MaxPool2d final : public Module {
 public:
  explicit MaxPool2d(int64_t kernel, std::optional<int64_t> stride = {}, int64_t padding = 0);
  Tensor forward(const Tensor& x) override;

 private:
  int64_t kernel_, stride_, padding_;
};

/// The mean of each window of [N, C, H, W].
class QS_API AvgPool2d final : public Module {
 public:
  explicit AvgPool2d(int64_t kernel, std::optional<int64_t> stride = {}, int64_t padding = 0);
  Tensor forward(const Tensor& x) override;

 private:
  int64_t kernel_, stride_, padding_;
};

/// Means over windows that give [N, C, height, width].
class QS_API AdaptiveAvgPool2d final : public Module {
 public:
  AdaptiveAvgPool2d(int64_t height, int64_t width) : size_{height, width} {}
  Tensor forward(const Tensor& x) override;

 private:
  Dims size_;
};

}  // namespace qs::nn
