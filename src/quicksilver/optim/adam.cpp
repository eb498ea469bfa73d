#include "quicksilver/optim/adam.h"

#include "quicksilver/autograd/autograd.h"
#include "quicksilver/core/error.h"

namespace qs::optim {
namespace {

AdamOptions decoupled(AdamOptions options) {
  options.decoupled_weight_decay = true;
  return options;
}

}  // namespace

Adam::Adam(std::vector<Tensor> parameters, AdamOptions options_in)
    : options(options_in), parameters_(std::move(parameters)), states_(parameters_.size()) {
  QS_CHECK(!parameters_.empty(), ValueError, "optimizer got an empty parameter list");
  QS_CHECK(options.lr >= 0, ValueError, "Invalid learning rate: {}", options.lr);
  QS_CHECK(options.eps >= 0, ValueError, "Invalid epsilon value: {}", options.eps);
  QS_CHECK(options.beta1 >= 0 && options.beta1 < 1, ValueError,
           "Invalid beta parameter at index 0: {}", options.beta1);
  QS_CHECK(options.beta2 >= 0 && options.beta2 < 1, ValueError,
           "Invalid beta parameter at index 1: {}", options.beta2);
  QS_CHECK(options.weight_decay >= 0, ValueError, "Invalid weight_decay value: {}",
           options.weight_decay);
}

void Adam::step() {
  AdamNumbers numbers{.lr = options.lr,
                      .beta1 = options.beta1,
                      .beta2 = options.beta2,
                      .eps = options.eps,
                      .weight_decay = options.weight_decay,
                      .count = 0,
                      .decoupled = options.decoupled_weight_decay,
                      .maximize = options.maximize};
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor& p = parameters_[i];
    const Tensor g = p.grad();
    if (!g.defined()) continue;
    State& own = states_[i];
    if (!own.mean.defined()) {
      const autograd::NoGrad guard;
      own.mean = full_like(p, 0);
      own.square = full_like(p, 0);
      if (options.amsgrad) own.largest = full_like(p, 0);
    }
    numbers.count = ++own.count;
    adam_step_(p, g, own.mean, own.square, own.largest, numbers);
  }
  step_end();
}

void Adam::zero_grad() {
  for (const Tensor& p : parameters_) p.set_grad({});
}

AdamW::AdamW(std::vector<Tensor> parameters, AdamOptions options)
    : Adam(std::move(parameters), decoupled(options)) {}

}  // namespace qs::optim
