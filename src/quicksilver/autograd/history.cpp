// The tensors' side of the gradient tape: who made a tensor, what was saved of it, whose view it
// is.
#include "quicksilver/autograd/anomaly.h"
#include "quicksilver/autograd/apply.h"
#include "quicksilver/core/error.h"
#include "quicksilver/core/free_list.h"

namespace qs::autograd {
namespace {

thread_local bool t_grad_enabled = true;
thread_local bool t_inference = false;
thread_local uint64_t t_sequence = 0;
thread_local SavingHooks* t_saving_hooks = nullptr;
thread_local std::vector<Ref<GradNode>>* t_doomed = nullptr;  // chains being freed on this thread

/// Drops a reference to a node. Whatever dies with it, however long the chain, dies in this loop.
void discard(Ref<GradNode> node) noexcept {
  if (!node) return;
  if (t_doomed) {
    t_doomed->push_back(std::move(node));
    return;
  }
  if (node->use_count() > 1) return;  // releases; at worst two threads race to the loop below
  std::vector<Ref<GradNode>> doomed;
  t_doomed = &doomed;
  node = nullptr;
  while (!doomed.empty()) {
    Ref<GradNode> next = std::move(doomed.back());
    doomed.pop_back();
    next = nullptr;
  }
  t_doomed = nullptr;
}

GradMeta* meta_of(const TensorImpl& t) { return static_cast<GradMeta*>(t.grad_slot.get()); }

GradMeta& need_meta(TensorImpl& t) {
  if (!t.grad_slot) t.grad_slot = make_ref<GradMeta>();
  return *static_cast<GradMeta*>(t.grad_slot.get());
}

AccumulateGrad& accumulator_of(TensorImpl& t) {
  GradMeta& meta = need_meta(t);
  auto* a = static_cast<AccumulateGrad*>(meta.accumulator.get());
  if (a) a->leaf = &t;
  const bool fits = a && a->results[0].dtype == t.dtype &&
                    a->results[0].device == t.storage->device &&
                    a->results[0].shape == t.layout.shape;
  if (fits) return *a;
  // New, or `.data` was given another shape, dtype or device since.
  auto made = make_ref<AccumulateGrad>(t);
  made->grad = a ? std::move(a->grad) : std::move(meta.grad);
  if (a) {
    made->tensor_hooks = std::move(a->tensor_hooks);
    made->post_hooks = std::move(a->post_hooks);
    a->leaf = nullptr;
  }
  made->leaf = &t;
  meta.accumulator = made;
  return *made;
}

void forget_retained(GradMeta& meta) noexcept {
  if (!meta.retain_grad || !meta.edge.node) return;
  auto& kept = meta.edge.node->retained;
  std::erase_if(kept, [&](const auto& r) { return r.second == &meta; });
}

/// `t` becomes (or stays) a result of `edge`; a kept gradient moves along.
void set_edge(TensorImpl& t, Edge edge) {
  GradMeta& meta = need_meta(t);
  forget_retained(meta);
  Edge old = std::exchange(meta.edge, std::move(edge));
  if (meta.retain_grad) meta.edge.node->retained.emplace_back(meta.edge.input, &meta);
  discard(std::move(old.node));
  t.requires_grad = true;
}

class AsStridedNode final : public GradNode {
 public:
  AsStridedNode(const Layout& base, const Layout& view) : base_(base), view_(view) {}
  std::string name() const override { return "AsStridedBackward0"; }
  std::vector<Tensor> backward(std::vector<Tensor>& grads) override {
    std::vector<Tensor> out(1);
    if (grads[0].defined()) out[0] = as_strided_backward(grads[0], base_, view_);
    return out;
  }

 private:
  Layout base_, view_;
};

/// The history of a view from that of its root, as an as_strided of it.
void regenerate(TensorImpl& view) {
  GradMeta& meta = need_meta(view);
  meta.view_version = view.version();
  auto node = make_ref<AsStridedNode>(meta.base.layout(), view.layout);
  node->edges.push_back(gradient_edge(meta.base));
  node->results.emplace_back(view);
  set_edge(view, {node, 0});
}

bool is_stale_view(const TensorImpl& t, const GradMeta& meta) {
  return meta.base.defined() && meta.view_version != t.version() && !meta.accumulator &&
         meta.base.impl()->requires_grad;
}

}  // namespace

// ---- modes
bool grad_enabled() { return t_grad_enabled; }
void set_grad_enabled(bool on) { t_grad_enabled = on && !t_inference; }
bool inference_mode_enabled() { return t_inference; }
void set_inference_mode(bool on) {
  t_inference = on;
  t_grad_enabled = !on;
}

// ---- nodes
GradNode::GradNode() : sequence(t_sequence++) { note_place(*this); }

GradNode::~GradNode() {
  forget_place(*this);
  for (Edge& e : edges) discard(std::move(e.node));
}

void* GradMeta::operator new(size_t) { return FreeList<GradMeta>::take(); }
void GradMeta::operator delete(void* p, size_t) noexcept { FreeList<GradMeta>::give(p); }

GradMeta::~GradMeta() {
  forget_retained(*this);
  if (accumulator) static_cast<AccumulateGrad&>(*accumulator).leaf = nullptr;
  discard(std::move(edge.node));
  discard(std::move(accumulator));
}

AccumulateGrad::AccumulateGrad(const TensorImpl& leaf) : strides(leaf.layout.strides) {
  sequence = UINT64_MAX;
  results.emplace_back(leaf);
}

// ---- saved tensors
SavedTensor::SavedTensor(TensorImpl* t, const Edge& edge, uint32_t version)
    : storage_(t->storage),
      layout_(t->layout),
      dtype_(t->dtype),
      requires_grad_(t->requires_grad || edge),
      number_(t->is_wrapped_number),
      version_(version),
      own_versions_(t->own_versions) {
  if (requires_grad_) {
    const GradMeta* meta = meta_of(*t);
    if (meta && t->requires_grad && !meta->edge.node)
      leaf_ = Ref<TensorImpl>(t);
    else
      edge_ = edge;
  }
  if (t_saving_hooks) [[unlikely]]
    pack();
}

SavedTensor::SavedTensor(const Tensor& t, bool is_output) {
  if (!t.defined()) return;
  if (!is_output) {
    *this = SavedTensor(t.impl(), gradient_edge(t), t.impl()->version());
    return;
  }
  storage_ = t.impl()->storage;
  layout_ = t.layout();
  dtype_ = t.dtype();
  is_output_ = true;
  requires_grad_ = t.requires_grad();
  version_ = t.impl()->version();
  own_versions_ = t.impl()->own_versions;
  if (const GradMeta* meta = meta_of(*t.impl())) output_index_ = meta->edge.input;
  if (t_saving_hooks) [[unlikely]]
    pack();
}

void set_saving_hooks(SavingHooks* hooks) { t_saving_hooks = hooks; }

void SavedTensor::pack() {
  SavingHooks* const hooks = std::exchange(t_saving_hooks, nullptr);  // what they save is theirs
  const NoGrad guard;
  try {
    packed_ = hooks->pack(Tensor(make_ref<TensorImpl>(storage_.ref(), layout_, dtype_)));
  } catch (...) {
    t_saving_hooks = hooks;
    throw;
  }
  t_saving_hooks = hooks;
  storage_ = {};
}

Tensor SavedTensor::unpack_hooked(const Ref<GradNode>& owner) const {
  const Tensor data = packed_->unpack();
  QS_CHECK(data.defined(), TypeError, "the unpack hook of a saved tensor gave no tensor");
  auto impl = make_ref<TensorImpl>(data.impl()->storage, data.layout(), data.dtype());
  impl->is_wrapped_number = number_;
  if (!requires_grad_) return Tensor(std::move(impl));
  Edge edge = is_output_ ? Edge{owner, output_index_}
              : leaf_    ? gradient_edge(Tensor(leaf_))
                         : edge_;
  if (edge.node) set_edge(*impl, std::move(edge));
  return Tensor(std::move(impl));
}

SavedTensor SavedTensor::of_result(const Tensor& t, uint32_t index) {
  SavedTensor out(t, true);
  out.requires_grad_ = true;
  out.output_index_ = index;
  return out;
}

Tensor SavedTensor::unpack(const Ref<GradNode>& owner) const {
  QS_CHECK(!freed_, Error,
           "Trying to backward through the graph a second time (or directly access saved tensors "
           "after they have already been freed). Saved intermediate values of the graph are freed "
           "when you call .backward() or autograd.grad(). Specify retain_graph=True if you need to "
           "backward through the graph a second time or if you need to access saved tensors after "
           "calling backward.");
  if (packed_) return unpack_hooked(owner);
  if (!storage_) return {};
  const uint32_t now = own_versions_ ? own_versions_->count : storage_->version();
  if (now != version_) {
    const Ref<GradNode> maker = is_output_ ? owner : edge_.node;
    std::string where;
    if (maker) {
      std::string name = maker->name();  // PyTorch says "Mul" here, not "MulBackward0"
      if (const size_t at = name.rfind("Backward"); at != std::string::npos) name.erase(at);
      where = qs::format(", which is output {} of {},", output_index_, name);
    }
    throw Error(qs::format(
        "one of the variables needed for gradient computation has been modified by an inplace "
        "operation: [{}{} {}]{} is at version {}; expected version {} instead. Hint: enable "
        "anomaly "
        "detection to find the operation that failed to compute its gradient, with "
        "torch.autograd.set_detect_anomaly(True, check_nan=False).",
        storage_->device == DeviceType::mps ? "torch.mps." : "torch.",
        std::string(scalar_type_name(dtype_)) + "Tensor", to_string(layout_.shape), where, now,
        version_));
  }
  if (leaf_) return Tensor(leaf_);
  auto impl = make_ref<TensorImpl>(storage_.ref(), layout_, dtype_);
  impl->own_versions = own_versions_;
  impl->is_wrapped_number = number_;
  if (requires_grad_) {
    Edge edge = edge_;
    if (is_output_) edge = {owner, output_index_};
    if (edge.node) set_edge(*impl, std::move(edge));
  }
  return Tensor(std::move(impl));
}

void SavedTensor::reset() {
  if (!defined()) return;
  storage_ = {};
  packed_ = nullptr;
  leaf_ = nullptr;
  discard(std::move(edge_.node));
  freed_ = true;
}

// ---- edges
bool wants_gradient(const TensorImpl* t) {
  if (!t_grad_enabled) return false;
  if (t->requires_grad) return true;
  if (!t->grad_slot) return false;
  const GradMeta* meta = meta_of(*t);
  return is_stale_view(*t, *meta);
}

Edge gradient_edge(const Tensor& t) { return gradient_edge(*t.impl()); }

Edge gradient_edge(TensorImpl& impl) {
  GradMeta* meta = meta_of(impl);
  if (meta && is_stale_view(impl, *meta)) regenerate(impl);
  if (!impl.requires_grad) return {};
  if (meta && meta->edge.node) return meta->edge;
  return {Ref<GradNode>(&accumulator_of(impl)), 0};
}

void set_history(const Tensor& t, Ref<GradNode> node, uint32_t index) {
  if (!is_floating(t.dtype()) && !is_complex(t.dtype())) return;
  set_edge(*t.impl(), {std::move(node), index});
}

Ref<GradNode> grad_fn(const Tensor& t) {
  const GradMeta* meta = meta_of(*t.impl());
  if (meta && is_stale_view(*t.impl(), *meta)) regenerate(*t.impl());
  return meta ? meta->edge.node : Ref<GradNode>();
}

GradMeta& grad_meta(const Tensor& t) { return need_meta(*t.impl()); }

Tensor view_base(const Tensor& t) {
  const GradMeta* meta = meta_of(*t.impl());
  return meta ? meta->base : Tensor();
}

// ---- views and in-place writes
void mark_view(const Tensor& x, const Tensor& view) {
  if (t_inference || (!is_floating(x.dtype()) && !is_complex(x.dtype()))) return;
  const GradMeta* from = meta_of(*x.impl());
  GradMeta& meta = need_meta(*view.impl());
  // Without gradients the root is not kept: backward's own views must not hold what they look at.
  meta.view_without_grad = !t_grad_enabled || (from && from->view_without_grad);
  if (meta.view_without_grad) {
    meta.root_wants_grad = x.requires_grad() || (from && from->root_wants_grad);
    return;
  }
  meta.base = from && from->base.defined() ? from->base : x;
  meta.view_version = x.impl()->version();
  if (from) {
    meta.one_of_many = from->one_of_many;
    meta.output_of_many = from->output_of_many;
  }
}

bool is_unseen_view(const TensorImpl& t) {
  const GradMeta* meta = meta_of(t);
  return meta && meta->view_without_grad && meta->root_wants_grad;
}

void check_in_place(const Tensor& t) {
  const GradMeta* meta = meta_of(*t.impl());
  QS_CHECK(
      !(meta && meta->view_without_grad), Error,
      "A view was created in no_grad mode and is being modified inplace with grad mode enabled. "
      "Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify "
      "your code by moving both the view and the inplace either both inside the no_grad block "
      "(if you don't want the inplace to be tracked) or both outside (if you want the inplace to "
      "be tracked).");
  QS_CHECK(!(meta && meta->one_of_many), Error,
           "Output {} of {} is a view and is being modified inplace. This view is the output of a "
           "function that returns multiple views. Such functions do not allow the output views to "
           "be modified inplace. You should replace the inplace operation by an out-of-place one.",
           meta->output_of_many, meta->one_of_many);
  if (meta && meta->base.defined()) {
    const TensorImpl& base = *meta->base.impl();
    const GradMeta* root = meta_of(base);
    QS_CHECK(
        !(base.requires_grad && !(root && root->edge.node)), Error,
        "a view of a leaf Variable that requires grad is being used in an in-place operation.");
  }
  QS_CHECK(!(t.requires_grad() && !(meta && meta->edge.node)), Error,
           "a leaf Variable that requires grad is being used in an in-place operation.");
}

namespace {

/// The history of a root after a write through one of its views: the gradient of the part goes
/// through the write's own node, the rest passes.
class CopySlices final : public GradNode {
 public:
  CopySlices(const Tensor& base, const Tensor& view, Ref<GradNode> inner, int self_edge)
      : base_(base.layout()), view_(view.layout()), inner_(std::move(inner)), self_(self_edge) {
    const Edge to_base = gradient_edge(base);
    for (size_t i = 0; i < inner_->edges.size(); ++i) {
      Edge e = std::move(inner_->edges[i]);
      edges.push_back(static_cast<int>(i) == self_ ? to_base : std::move(e));
    }
    inner_edges_ = edges.size();
    if (self_ < 0) {
      self_ = static_cast<int>(edges.size());
      edges.push_back(to_base);
    }
    results.emplace_back(*base.impl());
    inner_->slices = this;
  }
  ~CopySlices() override { inner_->slices = nullptr; }
  std::string name() const override { return "torch::autograd::CopySlices"; }
  Ref<GradNode> view_node() override {
    auto node = make_ref<AsStridedNode>(base_, view_);
    node->edges.emplace_back(Edge{Ref<GradNode>(this), 0});
    return node;
  }

  std::vector<Tensor> backward(std::vector<Tensor>& grads) override {
    std::vector<Tensor> out(edges.size());
    if (!grads[0].defined()) return out;
    const Tensor& g = grads[0];
    Tensor whole = empty_strided_tensor(g.shape(), base_.strides, g.dtype(), g.device_type());
    copy_(whole, g);
    const Dims own_shape = view_.shape, own_strides = view_.strides;
    const int64_t offset = view_.offset - base_.offset;
    std::vector<Tensor> inner_grads(1);
    inner_grads[0] = clone(as_strided(whole, own_shape, own_strides, offset));
    std::vector<Tensor> passed = inner_->backward(inner_grads);
    for (size_t i = 0; i < out.size(); ++i)
      if (static_cast<int>(i) != self_ && i < passed.size()) out[i] = std::move(passed[i]);
    if (!edges[static_cast<size_t>(self_)]) return out;
    const size_t self = static_cast<size_t>(self_);
    const Tensor part = as_strided(whole, own_shape, own_strides, offset);
    if (self < inner_edges_ && passed[self].defined())
      copy_(part, passed[self]);
    else
      zero_(part);
    out[self] = std::move(whole);
    return out;
  }
  void release_saved() override { inner_->release_saved(); }

 private:
  Layout base_, view_;
  Ref<GradNode> inner_;
  int self_;
  size_t inner_edges_ = 0;
};

}  // namespace

void rebase_history(const Tensor& t, Ref<GradNode> node, int self_edge) {
  GradMeta& meta = need_meta(*t.impl());
  if (!meta.base.defined()) {
    set_history(t, std::move(node), 0);
    return;
  }
  const Tensor base = meta.base;
  auto slices = make_ref<CopySlices>(base, t, std::move(node), self_edge);
  set_history(base, std::move(slices), 0);
  regenerate(*t.impl());
}

// ---- hooks
int64_t add_hook(const Tensor& t, std::function<Tensor(const Tensor&)> f) {
  static std::atomic<int64_t> next_id{0};
  const Edge edge = gradient_edge(t);
  QS_CHECK(edge, Error, "cannot register a hook on a tensor that doesn't require gradient");
  const int64_t id = next_id++;
  edge.node->tensor_hooks.push_back({edge.input, id, std::move(f)});
  return id;
}

void remove_hook(const Tensor& t, int64_t id) {
  const Edge edge = gradient_edge(t);
  if (edge) std::erase_if(edge.node->tensor_hooks, [&](const auto& h) { return h.id == id; });
}

int64_t add_post_accumulate_hook(const Tensor& t, std::function<void(const Tensor&)> f) {
  static std::atomic<int64_t> next_id{0};
  QS_CHECK(t.requires_grad(), Error,
           "cannot register a hook on a tensor that doesn't require gradient");
  QS_CHECK(t.is_leaf(), Error,
           "post accumulate grad hooks cannot be registered on non-leaf tensors");
  const Edge edge = gradient_edge(t);
  const int64_t id = next_id++;
  static_cast<AccumulateGrad&>(*edge.node).post_hooks.emplace_back(id, std::move(f));
  return id;
}

void remove_post_accumulate_hook(const Tensor& t, int64_t id) {
  if (!t.requires_grad() || !t.is_leaf()) return;
  auto& hooks = static_cast<AccumulateGrad&>(*gradient_edge(t).node).post_hooks;
  std::erase_if(hooks, [&](const auto& h) { return h.first == id; });
}

void retain_grad(const Tensor& t) {
  QS_CHECK(t.requires_grad(), Error, "can't retain_grad on Tensor that has requires_grad=False");
  const Edge edge = gradient_edge(t);
  GradMeta& meta = need_meta(*t.impl());
  if (meta.retain_grad || !meta.edge.node) return;  // leaves keep it anyway
  meta.retain_grad = true;
  edge.node->retained.emplace_back(edge.input, &meta);
}

}  // namespace qs::autograd

namespace qs {

using autograd::AccumulateGrad;
using autograd::GradMeta;

const Tensor& Tensor::set_requires_grad(bool on) const {
  if (on == impl_->requires_grad) return *this;
  if (!on) {
    QS_CHECK(
        is_leaf(), Error,
        "you can only change requires_grad flags of leaf variables. If you want to use a "
        "computed variable in a subgraph that doesn't require differentiation use var_no_grad = "
        "var.detach().");
    const Tensor kept = grad();
    impl_->requires_grad = false;
    if (auto* meta = static_cast<GradMeta*>(impl_->grad_slot.get())) {
      if (meta->accumulator)
        static_cast<autograd::AccumulateGrad&>(*meta->accumulator).leaf = nullptr;
      meta->accumulator = nullptr;
      meta->grad = kept;
    }
    return *this;
  }
  QS_CHECK(is_floating(dtype()) || is_complex(dtype()), Error,
           "only Tensors of floating point and complex dtype can require gradients");
  impl_->requires_grad = true;
  autograd::gradient_edge(*this);  // makes the accumulator, while no other thread can see it
  return *this;
}

bool Tensor::is_leaf() const { return !impl_->requires_grad || !autograd::grad_fn(*this); }

Tensor Tensor::grad() const {
  const auto* meta = static_cast<const GradMeta*>(impl_->grad_slot.get());
  if (!meta) return {};
  if (meta->accumulator) return static_cast<const AccumulateGrad&>(*meta->accumulator).grad;
  return meta->grad;
}

void Tensor::set_grad(const Tensor& grad) const {
  auto* meta = static_cast<GradMeta*>(impl_->grad_slot.get());
  if (!meta && !grad.defined()) return;
  if (grad.defined()) {
    QS_CHECK(grad.dtype() == dtype(), Error,
             "assigned grad has data of a different type: expected {}, got {}", name_of(dtype()),
             name_of(grad.dtype()));
    QS_CHECK(grad.device_type() == device_type(), Error,
             "assigned grad has data located on a different device");
    QS_CHECK(Dims(grad.shape()) == Dims(shape()), Error,
             "assigned grad has data of a different size: expected {}, got {}", to_string(shape()),
             to_string(grad.shape()));
    QS_CHECK(!grad.same(*this), Error, "can't assign Variable as its own grad");
  }
  GradMeta& m = autograd::grad_meta(*this);
  if (m.accumulator)
    static_cast<AccumulateGrad&>(*m.accumulator).grad = grad;
  else
    m.grad = grad;
}

}  // namespace qs
