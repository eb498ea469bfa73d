// The gradient tape: nodes made as verbs run, walked backward by `backward` and `grad`.
//
// Each differentiable verb makes a GradNode when gradients are enabled and an input requires one. A
// node holds edges to the nodes of its inputs, and saved tensors as (storage, layout, dtype,
// expected version): never a tape value, so unpacking reads the content as it is now, after
// checking the version. Backward visits nodes by descending sequence number; gradients are
// themselves recorded verbs, so with create_graph they have gradients too. The walk is iterative.
//
// Who owns whom. A tensor owns its GradMeta, which owns the node that made it (or, of a leaf, its
// accumulator, in which the leaf's gradient lies). A node owns the nodes of its inputs and what it
// saved. Nothing points back from a node to a tensor that owns it, so dropping the last result
// frees the graph; long chains are freed in a loop, not by recursion.
//
// Views. A differentiable view keeps its root (`base`) in its meta. An in-place op on a view puts a
// CopySlices node on the root; the view, and lazily every other view of the root, then takes its
// history from the root anew, as an as_strided of it. `view_version` tells when that is due.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "quicksilver/autograd/inline_list.h"
#include "quicksilver/tensor/tensor.h"

namespace qs::autograd {

class GradMeta;
class GradNode;

struct Edge {
  Ref<GradNode> node;
  uint32_t input = 0;  // which result of that node's forward op
  explicit operator bool() const { return static_cast<bool>(node); }
};

/// What SavingHooks made of a tensor.
class QS_API Packed : public RefCounted {
 public:
  virtual Tensor unpack() = 0;
};
/// Takes over what is saved for backward on this thread while it is set
/// (autograd.graph.saved_tensors_hooks).
class QS_API SavingHooks {
 public:
  virtual ~SavingHooks() = default;
  virtual Ref<Packed> pack(const Tensor& t) = 0;
};
QS_API void set_saving_hooks(SavingHooks* hooks);  // null: none; not owned

/// A storage that a history keeps; it knows how many do (plan/tape.h, Content::saves).
class SavedStorage {
 public:
  SavedStorage() = default;
  SavedStorage(Ref<Storage> storage) : storage_(std::move(storage)) { count(1); }
  SavedStorage(const SavedStorage& o) : SavedStorage(o.storage_) {}
  SavedStorage(SavedStorage&& o) noexcept : storage_(std::move(o.storage_)) {}
  SavedStorage& operator=(SavedStorage o) noexcept {
    std::swap(storage_, o.storage_);
    return *this;
  }
  ~SavedStorage() { count(-1); }
  Storage* operator->() const { return storage_.get(); }
  explicit operator bool() const { return static_cast<bool>(storage_); }
  const Ref<Storage>& ref() const { return storage_; }

 private:
  void count(int by) const noexcept {
    if (!storage_) return;
    auto& saves = storage_->saves;  // a hint: no need for the price of an atomic addition
    saves.store(saves.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }
  Ref<Storage> storage_;
};

/// A tensor kept for backward.
class QS_API SavedTensor {
 public:
  SavedTensor() = default;
  /// `is_output` of the node that saves it: its history is rebuilt from the owner on unpack, not
  /// held (no cycle).
  SavedTensor(const Tensor& t, bool is_output);
  /// Result `index` of a node that is still being made, so that its history is not there yet.
  static SavedTensor of_result(const Tensor& t, uint32_t index);
  /// The same with the history and the version (before an in-place write) already at hand.
  SavedTensor(TensorImpl* t, const Edge& edge, uint32_t version);
  /// Throws RuntimeError in PyTorch's words when an in-place op has modified it since, or when it
  /// has been freed. `owner`: the node itself, for outputs.
  Tensor unpack(const Ref<GradNode>& owner = {}) const;
  bool defined() const { return storage_ || packed_; }
  void reset();

 private:
  void pack();
  Tensor unpack_hooked(const Ref<GradNode>& owner) const;
  SavedStorage storage_;  // null when hooks have taken the content over
  Ref<Packed> packed_;
  Layout layout_;
  DType dtype_ = DType::f32;
  bool is_output_ = false, requires_grad_ = false, freed_ = false, number_ = false;
  uint32_t version_ = 0;
  Ref<VersionCounter> own_versions_;  // as TensorImpl's
  uint32_t output_index_ = 0;
  Ref<TensorImpl> leaf_;  // leaves are kept themselves: their accumulator hangs on them
  Edge edge_;
};

class QS_API GradNode : public RefCounted {
 public:
  GradNode();
  ~GradNode() override;                  // unrolls long chains of edges iteratively
  virtual std::string name() const = 0;  // "MulBackward0"
  /// Gradients of the results (undefined where none came) -> gradients of the inputs, one an edge.
  virtual std::vector<Tensor> backward(std::vector<Tensor>& grads) = 0;
  /// Frees what was saved; a second backward then throws PyTorch's text.
  virtual void release_saved() {}
  /// Of CopySlices: a node that takes the written view out of the root's new history.
  virtual Ref<GradNode> view_node() { return {}; }
  /// The node whose result a saved output is: this, or what `view_node` gives within CopySlices.
  Ref<GradNode> output_owner() { return slices ? slices->view_node() : Ref<GradNode>(this); }

  struct ResultMeta {  // of the forward results: to check and to make zeros
    Dims shape;
    DType dtype = DType::f32;
    DeviceType device = DeviceType::cpu;
    ResultMeta() = default;
    explicit ResultMeta(const TensorImpl& t)
        : shape(t.layout.shape), dtype(t.dtype), device(t.storage->device) {}
  };
  struct TensorHook {  // on the gradient of one result; an undefined return keeps the gradient
    uint32_t result;
    int64_t id;
    std::function<Tensor(const Tensor&)> function;
  };
  InlineList<Edge, 2> edges;
  InlineList<ResultMeta, 1> results;
  uint64_t sequence;
  GradNode* slices = nullptr;  // the CopySlices that owns this node
  std::vector<std::function<void(std::vector<Tensor>&)>> hooks;      // on gradients of inputs
  std::vector<std::function<void(std::vector<Tensor>&)>> pre_hooks;  // on gradients of results
  std::vector<TensorHook> tensor_hooks;                              // see add_hook
  std::vector<std::pair<uint32_t, GradMeta*>> retained;  // results that keep their gradient
};

/// Where a leaf's gradient arrives and lies. Backward calls it last of all (greatest sequence).
class QS_API AccumulateGrad final : public GradNode {
 public:
  explicit AccumulateGrad(const TensorImpl& leaf);
  std::string name() const override { return "torch::autograd::AccumulateGrad"; }
  std::vector<Tensor> backward(std::vector<Tensor>& grads) override;
  /// Whose gradient this is; undefined when nobody holds the tensor any more.
  Tensor variable() const { return leaf ? Tensor(Ref<TensorImpl>(leaf)) : Tensor(); }

  Tensor grad;
  Dims strides;                // of the leaf: what the gradient's should be
  TensorImpl* leaf = nullptr;  // not owned: its GradMeta, which owns this, clears it
  std::vector<std::pair<int64_t, std::function<void(const Tensor&)>>> post_hooks;
};

/// What hangs in TensorImpl::grad_slot. Read and set `grad` through Tensor::grad and set_grad.
class QS_API GradMeta final : public GradSlot {
 public:
  ~GradMeta() override;
  static void* operator new(size_t n);
  static void operator delete(void* p, size_t n) noexcept;

  Tensor grad;                // of results with retain_grad; a leaf's lies in its accumulator
  Edge edge;                  // grad_fn; of results of recorded verbs
  Ref<GradNode> accumulator;  // AccumulateGrad; of leaves that require a gradient
  Tensor base;                // differentiable views: the root this is a view of
  uint32_t view_version = 0;  // the storage's version when `edge` was made
  bool retain_grad = false;
  bool view_without_grad = false;     // the view was made with gradients disabled
  bool root_wants_grad = false;       // of such a view: what it looks at requires a gradient
  uint32_t output_of_many = 0;        // which result of `one_of_many` it is
  const char* one_of_many = nullptr;  // the function that gave several views; null: it gave one
};

QS_API bool grad_enabled();
QS_API void set_grad_enabled(bool on);
QS_API bool inference_mode_enabled();
QS_API void set_inference_mode(bool on);  // on: gradients are disabled as well

/// Scoped switch: `NoGrad guard;`
class QS_API GradMode {
 public:
  explicit GradMode(bool on) : before_(grad_enabled()) { set_grad_enabled(on); }
  ~GradMode() { set_grad_enabled(before_); }
  GradMode(const GradMode&) = delete;

 private:
  bool before_;
};
struct NoGrad : GradMode {
  NoGrad() : GradMode(false) {}
};

/// Edge to the node that made `t`, or to the accumulator of a leaf; empty when it needs no
/// gradient.
QS_API Edge gradient_edge(const Tensor& t);
/// Makes `t` the result `index` of `node`.
QS_API void set_history(const Tensor& t, Ref<GradNode> node, uint32_t index);
/// The same after an in-place write to `t`: rebases the root's history when `t` is a view. Edge
/// `self_edge` of `node` is the one to the old `t`; -1 when it has none.
QS_API void rebase_history(const Tensor& t, Ref<GradNode> node, int self_edge);
/// Throws PyTorch's text when writing `t` in place would lose a leaf's gradient.
QS_API void check_in_place(const Tensor& t);
QS_API Ref<GradNode> grad_fn(const Tensor& t);
/// The meta of `t`, made when it has none.
QS_API GradMeta& grad_meta(const Tensor& t);
/// What `t` is a differentiable view of; undefined otherwise.
QS_API Tensor view_base(const Tensor& t);

/// Calls `f` with the gradient of `t` when backward has it; a defined return replaces it. Returns
/// an id.
QS_API int64_t add_hook(const Tensor& t, std::function<Tensor(const Tensor&)> f);
QS_API void remove_hook(const Tensor& t, int64_t id);
/// Calls `f(leaf)` whenever backward has added to the leaf's gradient. Returns an id.
QS_API int64_t add_post_accumulate_hook(const Tensor& t, std::function<void(const Tensor&)> f);
QS_API void remove_post_accumulate_hook(const Tensor& t, int64_t id);
/// Keeps the gradient of a tensor that is no leaf, too.
QS_API void retain_grad(const Tensor& t);

QS_API void backward(const std::vector<Tensor>& roots, const std::vector<Tensor>& gradients,
                     bool retain_graph, bool create_graph, const std::vector<Tensor>& inputs = {});
QS_API std::vector<Tensor> grad(const std::vector<Tensor>& outputs,
                                const std::vector<Tensor>& inputs,
                                const std::vector<Tensor>& grad_outputs, bool retain_graph,
                                bool create_graph, bool allow_unused);

}  // namespace qs::autograd
