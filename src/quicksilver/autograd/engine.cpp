// Backward: the walk over the gradient tape.
//
// A run has a Task: for each node that can be reached from the roots the number of edges that lead
// to it (dependencies) and the gradients that have come in so far (a buffer, one entry a result). A
// node is ready when all its edges have delivered. Ready nodes wait in a heap and leave it by
// descending sequence number, that is, latest forward op first; accumulators have the greatest
// number and so run as soon as they can, which frees gradients early.
//
// With `inputs` (or `grad`) only nodes on a path to an input run; their gradients are taken from
// the buffer when the node is ready, before it would run.
//
// Example, y = (x * w).sum(): roots [SumBackward0]; it gives an expanded one to MulBackward0, which
// gives g * w to x's accumulator. Nothing has been computed by then: those were three recorded ops.
//
// The state of a walk lies in its Task, not in the nodes, so walks may nest (a custom function that
// calls backward) and run beside each other on several threads. Gradients are never changed in
// place here: a buffer holds a tensor that others may hold too, and sums are new tensors. The one
// in-place op is the second arrival in a leaf's `.grad`, as in PyTorch.
#include <algorithm>
#include <bit>
#include <mutex>

#include "quicksilver/autograd/anomaly.h"
#include "quicksilver/autograd/apply.h"
#include "quicksilver/core/error.h"

namespace qs::autograd {
namespace {

/// What a walk knows about one node.
struct Visit {
  GradNode* node = nullptr;
  uint32_t dependencies = 0;
  bool needed = true;                                 // on a path to a wanted input
  std::vector<Tensor> buffer;                         // gradients of its results
  std::vector<std::pair<uint32_t, size_t>> captures;  // result -> place in the answer
};

/// node -> Visit, open addressing; visits keep their place in `all`.
class Visits {
 public:
  Visits() : slots_(64, k_free) {}
  /// The index of the node's visit; `fresh` tells that it was made now.
  uint32_t find(GradNode* node, bool& fresh) {
    size_t at = slot_of(node);
    for (; slots_[at] != k_free; at = (at + 1) & (slots_.size() - 1)) {
      if (all[slots_[at]].node == node) {
        fresh = false;
        return slots_[at];
      }
    }
    fresh = true;
    slots_[at] = static_cast<uint32_t>(all.size());
    all.emplace_back().node = node;
    if (all.size() * 2 > slots_.size()) grow();
    return static_cast<uint32_t>(all.size() - 1);
  }
  Visit& of(GradNode* node) {
    bool fresh;
    return all[find(node, fresh)];
  }

  std::vector<Visit> all;

 private:
  static constexpr uint32_t k_free = UINT32_MAX;
  size_t slot_of(GradNode* node) const {
    return (reinterpret_cast<uintptr_t>(node) >> 4) * 0x9e3779b97f4a7c15ull >>
           (64 - std::countr_zero(slots_.size()));
  }
  void grow() {
    slots_.assign(slots_.size() * 2, k_free);
    for (uint32_t i = 0; i < all.size(); ++i) {
      size_t at = slot_of(all[i].node);
      while (slots_[at] != k_free) at = (at + 1) & (slots_.size() - 1);
      slots_[at] = i;
    }
  }
  std::vector<uint32_t> slots_;
};

void accumulate(Tensor& into, Tensor g) { into = into.defined() ? add(into, g) : std::move(g); }

/// `g` as the gradient of a result that looks like `meta`; throws when it cannot be.
Tensor fitted(Tensor g, const GradNode::ResultMeta& meta, const GradNode& from, size_t index) {
  if (!(g.impl()->layout.shape == meta.shape)) {
    const size_t rank = meta.shape.size();
    bool fits = static_cast<size_t>(g.dim()) >= rank;
    for (size_t d = 0; fits && d < rank; ++d)
      fits = meta.shape[d] == 1 || meta.shape[d] == g.shape()[g.shape().size() - rank + d];
    QS_CHECK(fits, Error,
             "Function {} returned an invalid gradient at index {} - got {} but expected shape "
             "compatible with {}",
             from.name(), index, to_string(g.shape()), to_string(meta.shape));
    g = sum_to_shape(g, meta.shape);
  }
  if (g.dtype() != meta.dtype || g.device_type() != meta.device)
    g = to(g, g.device_type() == meta.device ? std::optional<Device>() : Device(meta.device),
           meta.dtype);
  return g;
}

class Walk {
 public:
  Walk(bool retain_graph, bool create_graph) : retain_(retain_graph), create_(create_graph) {}

  void add_root(const Edge& edge, Tensor gradient) {
    roots_.push_back(edge);
    root_gradients_.push_back(std::move(gradient));
  }
  /// The gradient that arrives at `edge` goes to answer(place).
  void capture(const Edge& edge, size_t place) { wanted_.push_back({edge, place}); }

  void run(std::vector<Tensor>* answer) {
    explore();
    for (const auto& [edge, place] : wanted_) {
      bool fresh;
      const uint32_t at = visits_.find(edge.node.get(), fresh);
      if (fresh) visits_.all[at].needed = false;
      visits_.all[at].captures.emplace_back(edge.input, place);
    }
    if (answer) mark_needed();
    GradMode mode(create_);
    for (size_t i = 0; i < roots_.size(); ++i) deliver(roots_[i], std::move(root_gradients_[i]));
    root_gradients_.clear();
    while (!ready_.empty()) {
      std::pop_heap(ready_.begin(), ready_.end(), earlier);
      const Ref<GradNode> node = std::move(ready_.back());
      ready_.pop_back();
      process(node, answer);
    }
  }

 private:
  static bool earlier(const Ref<GradNode>& a, const Ref<GradNode>& b) {
    return a->sequence < b->sequence;
  }

  /// Finds every reachable node and counts the edges into it. A root counts as one edge.
  void explore() {
    std::vector<GradNode*> stack;
    auto meet = [&](GradNode* node) {
      bool fresh;
      ++visits_.all[visits_.find(node, fresh)].dependencies;
      if (fresh) stack.push_back(node);
    };
    for (const Edge& root : roots_) meet(root.node.get());
    while (!stack.empty()) {
      GradNode* node = stack.back();
      stack.pop_back();
      order_.push_back(node);
      for (const Edge& e : node->edges)
        if (e.node) meet(e.node.get());
    }
  }

  /// A node is needed when one of its edges leads to a capture or to a needed node.
  void mark_needed() {
    for (Visit& v : visits_.all) v.needed = false;
    // Visit in an order in which edges lead forward: by counting dependencies down once.
    std::vector<uint32_t> left(visits_.all.size());
    for (size_t i = 0; i < left.size(); ++i) left[i] = visits_.all[i].dependencies;
    bool fresh;
    std::vector<GradNode*> sorted;
    sorted.reserve(order_.size());
    auto drop = [&](GradNode* node) {
      if (--left[visits_.find(node, fresh)] == 0) sorted.push_back(node);
    };
    for (const Edge& root : roots_) drop(root.node.get());
    for (size_t i = 0; i < sorted.size(); ++i)
      for (const Edge& e : sorted[i]->edges)
        if (e.node) drop(e.node.get());
    for (size_t i = sorted.size(); i-- > 0;) {
      Visit& v = visits_.of(sorted[i]);
      for (const Edge& e : sorted[i]->edges) {
        if (!e.node) continue;
        const Visit& next = visits_.of(e.node.get());
        v.needed = v.needed || next.needed || !next.captures.empty();
      }
    }
  }

  /// One edge's gradient (undefined: nothing comes). Readies the node when it was the last.
  void deliver(const Edge& edge, Tensor gradient) {
    Visit& v = visits_.of(edge.node.get());
    if (gradient.defined()) {
      if (v.buffer.empty()) v.buffer.resize(std::max<size_t>(edge.node->results.size(), 1));
      if (edge.input >= v.buffer.size()) v.buffer.resize(edge.input + 1);
      accumulate(v.buffer[edge.input], std::move(gradient));
    }
    if (--v.dependencies > 0) return;
    ready_.push_back(edge.node);
    std::push_heap(ready_.begin(), ready_.end(), earlier);
  }

  void process(const Ref<GradNode>& node, std::vector<Tensor>* answer) {
    Visit& v = visits_.of(node.get());
    std::vector<Tensor> grads = std::move(v.buffer);
    grads.resize(std::max(grads.size(), std::max<size_t>(node->results.size(), 1)));
    bool any = false;
    for (const Tensor& g : grads) any = any || g.defined();
    if (any) run_tensor_hooks(*node, grads);
    for (const auto& [result, place] : v.captures) {
      Tensor& slot = (*answer)[place];
      if (grads[result].defined()) slot = grads[result];
    }
    const bool runs = any && (!answer || v.needed);
    std::vector<Tensor> out;
    if (runs) {
      if (const AnomalyMode watched = anomaly_mode(); !watched.on) [[likely]] {
        out = evaluate(*node, grads);
      } else {
        try {
          const Evaluating made_for(*node);
          out = evaluate(*node, grads);
          if (watched.check_nan) check_for_nan(*node, out);
        } catch (...) {
          report_anomaly(*node);
          throw;
        }
      }
    }
    for (size_t i = 0; i < node->edges.size(); ++i) {
      const Edge& e = node->edges[i];
      if (!e.node) continue;
      Tensor g = runs ? std::move(out[i]) : Tensor();
      if (g.defined() && e.input < e.node->results.size())
        g = fitted(std::move(g), e.node->results[e.input], *node, i);
      deliver(e, std::move(g));
    }
  }

  /// The gradients of the node's inputs.
  std::vector<Tensor> evaluate(GradNode& node, std::vector<Tensor>& grads) {
    for (auto& hook : node.pre_hooks) hook(grads);
    std::vector<Tensor> out = node.backward(grads);
    grads.clear();
    for (auto& hook : node.hooks) hook(out);
    if (!retain_) node.release_saved();
    QS_CHECK(out.size() >= node.edges.size() || node.edges.empty(), Error,
             "Function {} returned an incorrect number of gradients (expected {}, got {})",
             node.name(), node.edges.size(), out.size());
    return out;
  }

  static void run_tensor_hooks(GradNode& node, std::vector<Tensor>& grads) {
    if (!node.tensor_hooks.empty()) {
      const auto hooks = node.tensor_hooks;  // a hook may remove itself
      for (const GradNode::TensorHook& h : hooks) {
        if (!grads[h.result].defined()) continue;
        if (Tensor replaced = h.function(grads[h.result]); replaced.defined())
          grads[h.result] = std::move(replaced);
      }
    }
    for (const auto& [result, meta] : node.retained) {
      if (!grads[result].defined()) continue;
      meta->grad = meta->grad.defined() ? add(meta->grad, grads[result]) : clone(grads[result]);
    }
  }

  bool retain_, create_;
  Visits visits_;
  std::vector<GradNode*> order_;
  std::vector<Edge> roots_;
  std::vector<Tensor> root_gradients_;
  std::vector<std::pair<Edge, size_t>> wanted_;
  std::vector<Ref<GradNode>> ready_;  // a heap
};

/// Adds the roots with their gradients, checked.
void add_roots(Walk& walk, const std::vector<Tensor>& roots, const std::vector<Tensor>& gradients,
               bool create_graph) {
  for (size_t i = 0; i < roots.size(); ++i) {
    const Tensor& root = roots[i];
    QS_CHECK(root.defined(), Error, "element {} of tensors is an undefined tensor", i);
    const Edge edge = gradient_edge(root);
    QS_CHECK(edge, Error, "element {} of tensors does not require grad and does not have a grad_fn",
             i);
    Tensor g = i < gradients.size() ? gradients[i] : Tensor();
    if (!g.defined()) {
      QS_CHECK(root.numel() == 1, Error, "grad can be implicitly created only for scalar outputs");
      QS_CHECK(!is_complex(root.dtype()), Error,
               "grad can be implicitly created only for real scalar outputs but got torch.{}",
               name_of(root.dtype()));
      GradMode off(false);
      g = full(root.shape(), 1, Options(root.dtype(), root.device()));
    } else {
      QS_CHECK(
          Dims(g.shape()) == Dims(root.shape()), Error,
          "Mismatch in shape: grad_output[{}] has a shape of torch.Size({}) and output[{}] has "
          "a shape of torch.Size({}).",
          i, to_string(g.shape()), i, to_string(root.shape()));
      if (g.requires_grad() && !create_graph) g = detach(g);
    }
    walk.add_root(edge, std::move(g));
  }
}

std::mutex& accumulation_mutex() {
  static std::mutex m;
  return m;
}

/// May `g` itself become a leaf's gradient? Nobody else may see it, and it must lie like the leaf.
bool can_keep(const Tensor& g, const Dims& strides) {
  const TensorImpl& t = *g.impl();
  if (t.use_count() > 1 || t.storage->use_count() > 1 || t.requires_grad) return false;
  const Dims& shape = t.layout.shape;
  for (size_t d = 0; d < shape.size(); ++d)
    if (shape[d] != 1 && t.layout.strides[d] != strides[d]) return false;
  return t.layout.is_dense();
}

/// A copy of `g` that lies like the leaf where that is dense, else row-major.
Tensor kept_copy(const Tensor& g, const Dims& strides) {
  const Layout wanted(g.layout().shape, strides);
  if (!wanted.is_dense() || wanted.is_contiguous()) {
    const Tensor source = detach(g);
    return source.is_contiguous() ? clone(source) : contiguous(source);
  }
  Tensor out = empty_strided_tensor(g.shape(), strides, g.dtype(), g.device_type());
  copy_(out, g);
  return out;
}

}  // namespace

std::vector<Tensor> AccumulateGrad::backward(std::vector<Tensor>& grads) {
  Tensor g = std::move(grads[0]);
  if (!g.defined()) return {};
  // A view that nobody else sees (the transpose a weight's gradient comes as) must not keep its
  // base.
  if (!grad_enabled() && g.impl()->use_count() == 1 && g.impl()->grad_slot)
    g = make_view(g, g.layout());
  {
    const std::lock_guard lock(accumulation_mutex());
    if (grad_enabled()) {  // create_graph: the gradient has a history
      if (grad.defined())
        grad = add(grad, g);
      else
        grad = g.requires_grad() ? clone(g) : kept_copy(g, strides);
    } else if (grad.defined()) {
      if (grad.requires_grad())
        grad = add(grad, g);
      else
        add_(grad, g);
    } else {
      grad = can_keep(g, strides) ? std::move(g) : kept_copy(g, strides);
    }
  }
  if (!post_hooks.empty()) {
    const Tensor whose = variable();
    const auto hooks = post_hooks;  // a hook may remove itself
    if (whose.defined())
      for (const auto& [id, hook] : hooks) hook(whose);
  }
  return {};
}

namespace {
/// Tells the tape that a backward is over.
struct BackwardEnd {
  ~BackwardEnd() {
    if (open_device_runtime(DeviceType::mps) && mps_is_available())
      plan::Tape::current(DeviceType::mps).backward_ended();
  }
};
}  // namespace

void backward(const std::vector<Tensor>& roots, const std::vector<Tensor>& gradients,
              bool retain_graph, bool create_graph, const std::vector<Tensor>& inputs) {
  const BackwardEnd end;
  Walk walk(retain_graph, create_graph);
  add_roots(walk, roots, gradients, create_graph);
  if (inputs.empty()) {
    walk.run(nullptr);
    return;
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Edge edge = gradient_edge(inputs[i]);
    QS_CHECK(edge, Error, "One of the differentiated Tensors does not require grad");
    walk.capture(edge, i);
  }
  std::vector<Tensor> answer(inputs.size());
  walk.run(&answer);
  GradMode mode(create_graph);
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!answer[i].defined()) continue;
    if (inputs[i].is_leaf()) {
      std::vector<Tensor> one(1);
      one[0] = std::move(answer[i]);
      gradient_edge(inputs[i]).node->backward(one);
    } else {
      GradMeta& meta = grad_meta(inputs[i]);
      meta.grad = meta.grad.defined() ? add(meta.grad, answer[i]) : answer[i];
    }
  }
}

std::vector<Tensor> grad(const std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs,
                         const std::vector<Tensor>& grad_outputs, bool retain_graph,
                         bool create_graph, bool allow_unused) {
  Walk walk(retain_graph, create_graph);
  add_roots(walk, outputs, grad_outputs, create_graph);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Edge edge = gradient_edge(inputs[i]);
    QS_CHECK(edge, Error, "One of the differentiated Tensors does not require grad");
    walk.capture(edge, i);
  }
  std::vector<Tensor> answer(inputs.size());
  walk.run(&answer);
  for (size_t i = 0; i < answer.size(); ++i)
    QS_CHECK(answer[i].defined() || allow_unused, Error,
             "The differentiated Tensor at index {} appears to not have been used in the graph. "
             "Set allow_unused=True if this is the desired behavior.",
             i);
  return answer;
}

}  // namespace qs::autograd

namespace qs {

void Tensor::backward(const Tensor& gradient, bool retain_graph, bool create_graph) const {
  autograd::backward({*this}, {gradient}, retain_graph, create_graph);
}

}  // namespace qs
