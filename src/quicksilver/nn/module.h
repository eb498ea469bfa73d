// C++ modules: parameters by name, children by name, and a forward over the public verbs.
//
// A module owns its parameters (tensors, shared with whoever holds a handle) and a Sequential owns
// its layers. Modules of one's own name their parts in the constructor:
//
//   struct Net : nn::Module {
//     nn::Linear first{784, 256}, second{256, 10};
//     Net() { register_module("first", first); register_module("second", second); }
//     Tensor forward(const Tensor& x) override { return second(relu(first(x))); }
//   };
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "quicksilver/autograd/verbs.h"

namespace qs::nn {

class QS_API Module {
 public:
  Module() = default;
  Module(const Module&) = delete;  // children are known by address
  Module& operator=(const Module&) = delete;
  virtual ~Module() = default;

  virtual Tensor forward(const Tensor& x) = 0;
  Tensor operator()(const Tensor& x) { return forward(x); }

  /// All parameters, own ones first, then the children's in the order of registration.
  std::vector<Tensor> parameters() const;
  /// The same with their paths: "0.weight".
  std::vector<std::pair<std::string, Tensor>> named_parameters() const;
  /// Moves all parameters and their gradients; handles to them stay valid.
  void to(Device device);
  void to(DType dtype);
  void train(bool on = true);
  void eval() { train(false); }
  bool is_training() const { return training_; }
  /// Drops all gradients.
  void zero_grad();

 protected:
  /// Makes `value` a parameter (it requires a gradient from now on) and returns it.
  Tensor register_parameter(std::string name, Tensor value);
  /// `child` must live as long as this module: a member, or owned by one.
  void register_module(std::string name, Module& child);

 private:
  void convert(std::optional<Device> device, std::optional<DType> dtype);
  std::vector<std::pair<std::string, Tensor>> parameters_;
  std::vector<std::pair<std::string, Module*>> children_;
  bool training_ = true;
};

/// y = x weight^T + bias. weight [out, in] and bias [out] start uniform in +-1 / sqrt(in), as
/// PyTorch's.
class QS_API Linear final : public Module {
 public:
  Linear(int64_t in_features, int64_t out_features, bool with_bias = true);
  Tensor forward(const Tensor& x) override;
  Tensor weight, bias;
};

/// max(x, 0)
class QS_API ReLU final : public Module {
 public:
  Tensor forward(const Tensor& x) override;
};

/// Layers one after another: `model.add<Linear>(4, 8).add<ReLU>()`.
class QS_API Sequential final : public Module {
 public:
  template <class M, class... Args>
  Sequential& add(Args&&... args) {
    return take(std::make_unique<M>(std::forward<Args>(args)...));
  }
  Tensor forward(const Tensor& x) override;
  size_t size() const { return layers_.size(); }
  Module& operator[](size_t i) { return *layers_[i]; }

 private:
  Sequential& take(std::unique_ptr<Module> layer);
  std::vector<std::unique_ptr<Module>> layers_;
};

}  // namespace qs::nn
