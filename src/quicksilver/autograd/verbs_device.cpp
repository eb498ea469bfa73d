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
  Tensor out[3];
  record(op, in, attrs, options, {out, targets.size()});
}

}  // namespace

void sgd_step_(const Tensor& p, const Tensor& g, const Tensor& momentum_buffer, double lr,
               double weight_decay, double momentum, double dampening, bool nesterov) {
  if (!momentum_buffer.defined()) {
    const Operand in[] = {p, g, lr, unless_zero(weight_decay)};
    const Tensor targets[] = {p};
    step(Op::sgd_step, in, {}, targets);
    return;
  }
  const Operand in[] = {
      p, g, momentum_buffer, lr, unless_zero(weight_decay), momentum, 1 - dampening};
  const uint64_t attrs[] = {attr(nesterov)};
  const Tensor targets[] = {p, momentum_buffer};
  step(Op::sgd_momentum_step, in, attrs, targets);
}

void adam_step_(const Tensor& p, const Tensor& g, const Tensor& m, const Tensor& v, double lr,
                double beta1, double beta2, double eps, double weight_decay, bool decoupled,
                int64_t step_count) {
  const double bias1 = 1 - std::pow(beta1, double(step_count));
  const double bias2 = 1 - std::pow(beta2, double(step_count));
  const Operand decay = weight_decay == 0 ? Operand()
                        : decoupled       ? Operand(1 - lr * weight_decay)
                                          : Operand(weight_decay);
  const Operand in[] = {
      p, g, m, v, lr / bias1, 1 - beta1, beta2, eps, decay, 1 / std::sqrt(bias2), 1 - beta2};
  const uint64_t attrs[] = {attr(decoupled)};
  const Tensor targets[] = {p, m, v};
  step(Op::adam_step, in, attrs, targets);
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
  if (open_device_runtime(DeviceType::mps)) plan::Tape::current(DeviceType::mps).cut();
}

}  // namespace qs
