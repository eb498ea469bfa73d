// Optimizer steps and the device: no gradients here.
#include <cmath>

#include "quicksilver/autograd/apply.h"
#include "quicksilver/core/error.h"

namespace qs {

using namespace autograd;

namespace {

Operand unless_zero(double v) { return v == 0 ? Operand() : Operand(v); }

void step(Op op, Operands in, Attrs attrs, std::span<const Tensor> targets) {
  for (const Tensor& t : targets) require_defined(t, graph::name_of(op).data());
  RecordOptions options;
  options.targets = targets;
  Tensor out[4];
  record(op, in, attrs, options, {out, targets.size()});
}

}  // namespace

void sgd_step_(const Tensor& p, const Tensor& g, const Tensor& momentum_buffer, double lr,
               double weight_decay, double momentum, double dampening, bool nesterov,
               bool maximize) {
  if (!momentum_buffer.defined()) {
    const Operand in[] = {p, g, lr, unless_zero(weight_decay)};
    const uint64_t attrs[] = {attr(maximize)};
    const Tensor targets[] = {p};
    step(Op::sgd_step, in, attrs, targets);
    return;
  }
  const Operand in[] = {
      p, g, momentum_buffer, lr, unless_zero(weight_decay), momentum, 1 - dampening};
  const uint64_t attrs[] = {attr(nesterov), attr(maximize)};
  const Tensor targets[] = {p, momentum_buffer};
  step(Op::sgd_momentum_step, in, attrs, targets);
}

void adam_step_(const Tensor& p, const Tensor& g, const Tensor& m, const Tensor& v,
                const Tensor& largest_v, const AdamNumbers& n) {
  const double bias1 = 1 - std::pow(n.beta1, n.count);
  const double bias2 = 1 - std::pow(n.beta2, n.count);
  const Operand decay = n.weight_decay == 0 ? Operand()
                        : n.decoupled       ? Operand(1 - n.lr * n.weight_decay)
                                            : Operand(n.weight_decay);
  const Operand in[] = {p,           g,        m,     v,     n.lr / bias1,
                        1 - n.beta1, n.beta2,  n.eps, decay, 1 / std::sqrt(bias2),
                        1 - n.beta2, largest_v};
  const uint64_t attrs[] = {attr(n.decoupled), attr(n.maximize)};
  const Tensor targets[] = {p, m, v, largest_v};
  const size_t amsgrad = largest_v.defined();
  step(amsgrad ? Op::adam_amsgrad_step : Op::adam_step, Operands(in, 11 + amsgrad), attrs,
       std::span(targets, 3 + amsgrad));
}

void synchronize(DeviceType device) {
  if (open_device_runtime(device)) plan::Tape::synchronize(device);
}

bool MpsDevice::is_built() const noexcept { return mps_is_built(); }
bool MpsDevice::is_available() const noexcept { return mps_is_available(); }
std::string MpsDevice::why_unavailable() const { return mps_why_unavailable(); }
std::string MpsDevice::driver() const { return mps_driver_name(); }
std::string MpsDevice::name() const { return mps_device_name(); }
void MpsDevice::synchronize() const { qs::synchronize(DeviceType::mps); }

void step_end() {
  if (open_device_runtime(DeviceType::mps) && mps_is_available())
    plan::Tape::current(DeviceType::mps).step_ended();
}

}  // namespace qs
