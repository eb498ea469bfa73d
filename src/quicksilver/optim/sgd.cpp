#include "quicksilver/optim/sgd.h"

#include "quicksilver/core/error.h"

namespace qs::optim {

SGD::SGD(std::vector<Tensor> parameters, SGDOptions options_in)
    : options(options_in), parameters_(std::move(parameters)), momenta_(parameters_.size()) {
  QS_CHECK(!parameters_.empty(), ValueError, "optimizer got an empty parameter list");
  QS_CHECK(options.lr >= 0, ValueError, "Invalid learning rate: {}", options.lr);
  QS_CHECK(options.momentum >= 0, ValueError, "Invalid momentum value: {}", options.momentum);
  QS_CHECK(options.weight_decay >= 0, ValueError, "Invalid weight_decay value: {}",
           options.weight_decay);
  QS_CHECK(!options.nesterov || (options.momentum > 0 && options.dampening == 0), ValueError,
           "Nesterov momentum requires a momentum and zero dampening");
}

void SGD::step() {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor& p = parameters_[i];
    const Tensor g = p.grad();
    if (!g.defined()) continue;
    // The first momentum is the gradient itself, undamped.
    const bool first = options.momentum != 0 && !momenta_[i].defined();
    if (first) momenta_[i] = full_like(p, 0);
    sgd_step_(p, g, momenta_[i], options.lr, options.weight_decay, options.momentum,
              first ? 0 : options.dampening, options.nesterov);
  }
  step_end();
}

void SGD::zero_grad() {
  for (const Tensor& p : parameters_) p.set_grad({});
}

}  // namespace qs::optim
