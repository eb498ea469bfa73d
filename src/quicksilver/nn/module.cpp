#include "quicksilver/nn/module.h"

#include <cmath>

#include "quicksilver/autograd/autograd.h"
#include "quicksilver/core/error.h"

namespace qs::nn {
namespace {

/// `p` becomes another tensor's content; handles to `p` see it.
void replace_content(const Tensor& p, const Tensor& with) {
  const Tensor grad = p.grad();
  p.set_grad({});
  p.impl()->storage = with.impl()->storage;
  p.impl()->layout = with.layout();
  p.impl()->dtype = with.dtype();
  autograd::gradient_edge(p);  // its accumulator follows
  if (grad.defined()) p.set_grad(to(detach(grad), with.device(), with.dtype()));
}

}  // namespace

Tensor Module::register_parameter(std::string name, Tensor value) {
  QS_CHECK(value.defined(), TypeError, "parameter '{}' is an undefined tensor", name);
  for (const auto& [known, tensor] : parameters_)
    QS_CHECK(known != name, KeyError, "parameter '{}' already exists", name);
  value.set_requires_grad(true);
  value.impl()->is_parameter = true;
  parameters_.emplace_back(std::move(name), value);
  return value;
}

void Module::register_module(std::string name, Module& child) {
  for (const auto& [known, module] : children_)
    QS_CHECK(known != name, KeyError, "module '{}' already exists", name);
  children_.emplace_back(std::move(name), &child);
}

std::vector<std::pair<std::string, Tensor>> Module::named_parameters() const {
  std::vector<std::pair<std::string, Tensor>> out = parameters_;
  for (const auto& [name, child] : children_)
    for (auto& [path, tensor] : child->named_parameters())
      out.emplace_back(name + "." + path, std::move(tensor));
  return out;
}

std::vector<Tensor> Module::parameters() const {
  std::vector<Tensor> out;
  for (auto& [path, tensor] : named_parameters()) out.push_back(std::move(tensor));
  return out;
}

void Module::convert(std::optional<Device> device, std::optional<DType> dtype) {
  const autograd::NoGrad guard;
  for (const Tensor& p : parameters()) {
    const Tensor moved = qs::to(p, device, dtype);
    if (!moved.same(p)) replace_content(p, moved);
  }
}

void Module::to(Device device) { convert(device, {}); }
void Module::to(DType dtype) { convert({}, dtype); }

void Module::train(bool on) {
  training_ = on;
  for (const auto& [name, child] : children_) child->train(on);
}

void Module::zero_grad() {
  for (const Tensor& p : parameters()) p.set_grad({});
}

Linear::Linear(int64_t in_features, int64_t out_features, bool with_bias) {
  const double bound = in_features > 0 ? 1 / std::sqrt(static_cast<double>(in_features)) : 0;
  const Dims shape{out_features, in_features}, out{out_features};
  weight = register_parameter("weight", uniform_(empty(shape), -bound, bound));
  if (with_bias) bias = register_parameter("bias", uniform_(empty(out), -bound, bound));
}

Tensor Linear::forward(const Tensor& x) { return linear(x, weight, bias); }

Tensor ReLU::forward(const Tensor& x) { return relu(x); }

Sequential& Sequential::take(std::unique_ptr<Module> layer) {
  register_module(std::to_string(layers_.size()), *layer);
  layers_.push_back(std::move(layer));
  return *this;
}

Tensor Sequential::forward(const Tensor& x) {
  Tensor y = x;
  for (const auto& layer : layers_) y = layer->forward(y);
  return y;
}

}  // namespace qs::nn
