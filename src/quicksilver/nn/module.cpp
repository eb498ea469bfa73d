#include "quicksilver/nn/module.h"

#include <algorithm>

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
  if (p.requires_grad()) autograd::gradient_edge(p);  // its accumulator follows
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

Tensor Module::register_buffer(std::string name, Tensor value) {
  QS_CHECK(value.defined(), TypeError, "buffer '{}' is an undefined tensor", name);
  for (const auto& [known, tensor] : buffers_)
    QS_CHECK(known != name, KeyError, "buffer '{}' already exists", name);
  buffers_.emplace_back(std::move(name), value);
  return value;
}

void Module::register_module(std::string name, Module& child) {
  for (const auto& [known, module] : children_)
    QS_CHECK(known != name, KeyError, "module '{}' already exists", name);
  children_.emplace_back(std::move(name), &child);
}

NamedTensors Module::named_parameters() const {
  NamedTensors out = parameters_;
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

NamedTensors Module::named_tensors() const {
  NamedTensors out = parameters_;
  out.insert(out.end(), buffers_.begin(), buffers_.end());
  for (const auto& [name, child] : children_)
    for (auto& [path, tensor] : child->named_tensors())
      out.emplace_back(name + "." + path, std::move(tensor));
  return out;
}

NamedTensors Module::state_dict() const {
  const autograd::NoGrad guard;
  NamedTensors out = named_tensors();
  for (auto& [path, tensor] : out) tensor = clone(detach(tensor));
  return out;
}

void Module::load_state_dict(const NamedTensors& state) {
  const autograd::NoGrad guard;
  const NamedTensors own = named_tensors();
  std::string faults;
  std::vector<std::pair<Tensor, Tensor>> copies;
  for (const auto& [path, tensor] : own) {
    const auto given = std::find_if(state.begin(), state.end(),
                                    [&](const auto& entry) { return entry.first == path; });
    if (given == state.end())
      faults += qs::format("\n\tMissing key: {}", path);
    else if (Dims(given->second.shape()) != Dims(tensor.shape()))
      faults += qs::format("\n\tsize mismatch for {}: got {}, the model has {}", path,
                           to_string(given->second.shape()), to_string(tensor.shape()));
    else
      copies.emplace_back(tensor, given->second);
  }
  for (const auto& [path, tensor] : state)
    if (std::none_of(own.begin(), own.end(),
                     [&](const auto& entry) { return entry.first == path; }))
      faults += qs::format("\n\tUnexpected key: {}", path);
  QS_CHECK(faults.empty(), Error, "Error(s) in loading state_dict:{}", faults);
  for (const auto& [to, from] : copies) copy_(to, from);
}

void Module::convert(std::optional<Device> device, std::optional<DType> dtype) {
  const autograd::NoGrad guard;
  for (const auto& [path, t] : named_tensors()) {
    const Tensor moved = qs::to(t, device, is_floating(t.dtype()) ? dtype : std::optional<DType>());
    if (!moved.same(t)) replace_content(t, moved);
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
