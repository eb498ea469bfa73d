#include "quicksilver/nn/layers_2d.h"

#include <cmath>

#include "quicksilver/autograd/autograd.h"
#include "quicksilver/core/error.h"

namespace qs::nn {

Conv2d::Conv2d(int64_t in_channels, int64_t out_channels, int64_t kernel, Conv2dOptions options_in)
    : options(options_in) {
  QS_CHECK(options.groups > 0, ValueError, "groups must be a positive integer");
  QS_CHECK(in_channels % options.groups == 0, ValueError,
           "in_channels must be divisible by groups");
  QS_CHECK(out_channels % options.groups == 0, ValueError,
           "out_channels must be divisible by groups");
  const int64_t per_group = in_channels / options.groups;
  const int64_t fan_in = per_group * kernel * kernel;
  const double bound = fan_in > 0 ? 1 / std::sqrt(static_cast<double>(fan_in)) : 0;
  const Dims shape{out_channels, per_group, kernel, kernel};
  weight = register_parameter("weight", uniform_(empty(shape), -bound, bound));
  if (options.bias)
    bias = register_parameter("bias", uniform_(empty(Dims{out_channels}), -bound, bound));
}

Tensor Conv2d::forward(const Tensor& x) {
  return conv2d(x, weight, bias, Dims{options.stride}, Dims{options.padding},
                Dims{options.dilation}, options.groups);
}

BatchNorm2d::BatchNorm2d(int64_t channels, double eps, double momentum)
    : eps_(eps), momentum_(momentum) {
  const Dims shape{channels};
  weight = register_parameter("weight", ones(shape));
  bias = register_parameter("bias", zeros(shape));
  running_mean = register_buffer("running_mean", zeros(shape));
  running_var = register_buffer("running_var", ones(shape));
  num_batches_tracked = register_buffer("num_batches_tracked", zeros(Dims{}, DType::i64));
}

Tensor BatchNorm2d::forward(const Tensor& x) {
  QS_CHECK(x.dim() == 4, ValueError, "expected 4D input (got {}D input)", x.dim());
  if (is_training()) {
    const autograd::NoGrad guard;
    add_(num_batches_tracked, 1);
  }
  return batch_norm(x, weight, bias, running_mean, running_var, is_training(), momentum_, eps_);
}

MaxPool2d::MaxPool2d(int64_t kernel, std::optional<int64_t> stride, int64_t padding)
    : kernel_(kernel), stride_(stride.value_or(kernel)), padding_(padding) {}

Tensor MaxPool2d::forward(const Tensor& x) {
  return max_pool2d(x, Dims{kernel_}, Dims{stride_}, Dims{padding_}, Dims{1});
}

AvgPool2d::AvgPool2d(int64_t kernel, std::optional<int64_t> stride, int64_t padding)
    : kernel_(kernel), stride_(stride.value_or(kernel)), padding_(padding) {}

Tensor AvgPool2d::forward(const Tensor& x) {
  return avg_pool2d(x, Dims{kernel_}, Dims{stride_}, Dims{padding_});
}

Tensor AdaptiveAvgPool2d::forward(const Tensor& x) { return adaptive_avg_pool2d(x, size_); }

}  // namespace qs::nn
