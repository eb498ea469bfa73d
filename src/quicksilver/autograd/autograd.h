// The gradient tape: nodes made as verbs run, walked backward by `backward` and `grad`.
//
// Each differentiable verb makes a GradNode when gradients are enabled and an input requires one. A node
// holds edges to the nodes of its inputs, and saved tensors as (storage, layout, dtype, expected
// version): never a tape value, so unpacking reads the content as it is now, after checking the version.
// Backward visits nodes by descending sequence number; gradients are themselves recorded verbs, so
// with create_graph they have gradients too. The walk is iterative.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "quicksilver/tensor/tensor.h"

namespace qs::autograd {

class GradNode;

struct Edge {
  Ref<GradNode> node;
  uint32_t input = 0;  // which result of that node's forward op
};

/// A tensor kept for backward.
class QS_API SavedTensor {
 public:
  SavedTensor() = default;
  /// `is_output` of `owner`: the history is rebuilt from the owner on unpack, not held (no cycle).
  SavedTensor(const Tensor& t, bool is_output);
  /// Throws RuntimeError in PyTorch's words when an in-place op has modified it since.
  Tensor unpack(const Ref<GradNode>& owner = {}) const;
  bool defined() const { return static_cast<bool>(storage_); }
  void reset();

 private:
  Ref<Storage> storage_;
  Layout layout_;
  DType dtype_ = DType::f32;
  uint32_t version_ = 0;
  bool is_output_ = false, requires_grad_ = false;
  uint32_t output_index_ = 0;
  Ref<TensorImpl> leaf_;  // leaves are kept themselves: their accumulator hangs on them
  Edge edge_;
};

class QS_API GradNode : public RefCounted {
 public:
  GradNode();
  ~GradNode() override;  // unrolls long chains of edges iteratively
  virtual std::string name() const = 0;  // "MulBackward0"
  /// Gradients of the results (undefined where none came) -> gradients of the inputs, one an edge.
  virtual std::vector<Tensor> backward(std::vector<Tensor>& grads) = 0;
  /// Frees what was saved; a second backward then throws PyTorch's text.
  virtual void release_saved() {}

  struct ResultMeta {  // of the forward results: to check and to make zeros
    Dims shape;
    DType dtype = DType::f32;
    DeviceType device = DeviceType::cpu;
  };
  std::vector<Edge> edges;
  std::vector<ResultMeta> results;
  uint64_t sequence;
  std::vector<std::function<void(std::vector<Tensor>&)>> hooks;       // on gradients of inputs
  std::vector<std::function<void(std::vector<Tensor>&)>> pre_hooks;   // on gradients of results
};

/// What hangs in TensorImpl::grad_slot.
class QS_API GradMeta final : public GradSlot {
 public:
  Tensor grad;              // of leaves (and with retain_grad)
  Edge edge;                // grad_fn; of results of recorded verbs
  Ref<GradNode> accumulator;  // weak in spirit: recreated on demand; of leaves
  Tensor base;              // differentiable views: what this is a view of
  uint32_t view_version = 0;
  bool retain_grad = false;
  std::vector<std::pair<int64_t, std::function<Tensor(const Tensor&)>>> hooks;
};

QS_API bool grad_enabled();
QS_API void set_grad_enabled(bool on);
QS_API bool inference_mode_enabled();
QS_API void set_inference_mode(bool on);

/// Scoped switch: `NoGrad guard;`
class QS_API GradMode {
 public:
  explicit GradMode(bool on) : before_(grad_enabled()) { set_grad_enabled(on); }
  ~GradMode() { set_grad_enabled(before_); }

 private:
  bool before_;
};
struct NoGrad : GradMode { NoGrad() : GradMode(false) {} };

/// Edge to the node that made `t`, or to the accumulator of a leaf; empty when it needs no gradient.
QS_API Edge gradient_edge(const Tensor& t);
/// Makes `t` the result `index` of `node`.
QS_API void set_history(const Tensor& t, Ref<GradNode> node, uint32_t index);
QS_API Ref<GradNode> grad_fn(const Tensor& t);

QS_API void backward(const std::vector<Tensor>& roots, const std::vector<Tensor>& gradients,
                     bool retain_graph, bool create_graph, const std::vector<Tensor>& inputs = {});
QS_API std::vector<Tensor> grad(const std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs,
                                const std::vector<Tensor>& grad_outputs, bool retain_graph,
                                bool create_graph, bool allow_unused);

}  // namespace qs::autograd
