// C++ modules: parameters, buffers and children by name, and a forward over the public verbs.
//
// A module owns its parameters (tensors, shared with whoever holds a handle) and a Sequential owns
// its layers. The layers are in nn/layers.h; names and layouts are PyTorch's, so that a state dict
// goes from one to the other. Modules of one's own name their parts in the constructor:
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
#include "quicksilver/io/files.h"

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
  NamedTensors named_parameters() const;
  /// Parameters and buffers by path, as copies that later steps do not change.
  NamedTensors state_dict() const;
  /// Copies each tensor over the parameter or buffer of its name.
  ///
  /// Throws Error, with all names and shapes that do not match, before anything has changed.
  void load_state_dict(const NamedTensors& state);
  /// Moves all parameters, their gradients and buffers; handles to them stay valid. A dtype is
  /// for the floating-point ones.
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
  /// A tensor that is saved and moved, and not trained.
  Tensor register_buffer(std::string name, Tensor value);
  /// `child` must live as long as this module: a member, or owned by one.
  void register_module(std::string name, Module& child);

 private:
  void convert(std::optional<Device> device, std::optional<DType> dtype);
  NamedTensors named_tensors() const;  // parameters and buffers, themselves
  NamedTensors parameters_, buffers_;
  std::vector<std::pair<std::string, Module*>> children_;
  bool training_ = true;
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
