// Stochastic gradient descent, as torch.optim.SGD.
#pragma once
#include <vector>

#include "quicksilver/autograd/verbs.h"

namespace qs::optim {

struct SGDOptions {
  double lr = 1e-3, momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false;
};

/// p -= lr * d, where d is the gradient, with weight decay and momentum as PyTorch defines them.
class QS_API SGD {
 public:
  SGD(std::vector<Tensor> parameters, SGDOptions options);
  /// One update of every parameter that has a gradient; then the recorded step is submitted.
  void step();
  /// Drops all gradients.
  void zero_grad();
  SGDOptions options;  // a learning rate may change between steps

 private:
  std::vector<Tensor> parameters_;
  std::vector<Tensor> momenta_;  // undefined until a parameter's first step
};

}  // namespace qs::optim
