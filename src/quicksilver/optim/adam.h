// Adam and AdamW, as torch.optim's.
#pragma once
#include <vector>

#include "quicksilver/autograd/verbs.h"

namespace qs::optim {

struct AdamOptions {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  bool amsgrad = false, maximize = false;
  bool decoupled_weight_decay = false;  // p *= 1 - lr * weight_decay
};

/// p -= lr m / (sqrt(v) + eps), m and v the bias-corrected running means of the gradient and of its
/// square (Kingma and Ba 2014, arXiv:1412.6980).
class QS_API Adam {
 public:
  Adam(std::vector<Tensor> parameters, AdamOptions options);
  /// One update of every parameter that has a gradient; then the recorded step is submitted.
  void step();
  /// Drops all gradients.
  void zero_grad();
  AdamOptions options;  // a learning rate may change between steps

 private:
  struct State {
    Tensor mean, square, largest;  // undefined until a parameter's first step
    double count = 0;
  };
  std::vector<Tensor> parameters_;
  std::vector<State> states_;
};

/// Adam whose weight decay does not pass through the gradient (Loshchilov and Hutter 2017,
/// arXiv:1711.05101); 0.01 unless options say otherwise.
class QS_API AdamW final : public Adam {
 public:
  AdamW(std::vector<Tensor> parameters, AdamOptions options = {.weight_decay = 1e-2});
};

}  // namespace qs::optim
