// What verbs are made of: `apply` records an op and, when an input wants a gradient, makes its node
// from the gradient table; `view_of` and `with_gradient` do the same for what is no op of its own.
//
// The path without a gradient costs a look at each operand's flag. The path with one allocates the
// node and the result's meta from per-thread free lists and nothing else (for up to two operands).
#pragma once
#include <initializer_list>
#include <span>

#include "quicksilver/autograd/autograd.h"
#include "quicksilver/autograd/verbs.h"
#include "quicksilver/core/free_list.h"
#include "quicksilver/tensor/record.h"

namespace qs::autograd {

using Operands = std::span<const Operand>;
using Attrs = std::span<const uint64_t>;

inline uint64_t attr(double v) { return std::bit_cast<uint64_t>(v); }
inline uint64_t attr(int64_t v) { return static_cast<uint64_t>(v); }
inline uint64_t attr(bool v) { return v; }

/// Records an op with one or more results; the gradient arrives at the first.
void apply_all(Op op, Operands in, Attrs attrs, const RecordOptions& options,
               std::span<Tensor> results);
Tensor apply(Op op, Operands in, Attrs attrs = {}, const RecordOptions& options = {});
inline Tensor apply(Op op, std::initializer_list<Operand> in, std::initializer_list<uint64_t> attrs,
                    const RecordOptions& options = {}) {
  return apply(op, Operands(in.begin(), in.size()), Attrs(attrs.begin(), attrs.size()), options);
}
inline Tensor apply(Op op, std::initializer_list<Operand> in) {
  return apply(op, Operands(in.begin(), in.size()));
}
/// Writes the op's result over `x` (which may be among the operands) and returns `x`.
const Tensor& apply_in_place(Op op, const Tensor& x, Operands in, Attrs attrs = {},
                             const RecordOptions& options = {});
inline const Tensor& apply_in_place(Op op, const Tensor& x, std::initializer_list<Operand> in,
                                    std::initializer_list<uint64_t> attrs = {},
                                    const RecordOptions& options = {}) {
  return apply_in_place(op, x, Operands(in.begin(), in.size()), Attrs(attrs.begin(), attrs.size()),
                        options);
}

/// `t` takes part in a gradient now: grads are enabled and it, or the root it views, requires one.
bool wants_gradient(const TensorImpl* t);
Edge gradient_edge(TensorImpl& t);
/// A view of what requires a gradient, made with gradients disabled: writing it would be lost on
/// the gradient, so `check_in_place` refuses it.
bool is_unseen_view(const TensorImpl& t);
inline bool wants_gradient(const Tensor& t) { return t.defined() && wants_gradient(t.impl()); }

/// A node whose backward is a function object: for views, moves and what is made of several ops.
class FunctionNodeBase : public GradNode {
 public:
  InlineList<SavedTensor, 2> saved;
  Tensor unpack(size_t i) { return saved[i].unpack(output_owner()); }
  void release_saved() override {
    for (SavedTensor& s : saved) s.reset();
  }
  std::string name() const override { return std::string(name_) + "Backward0"; }

 protected:
  explicit FunctionNodeBase(const char* name) : name_(name) {}
  const char* name_;
};

template <class F>
class FunctionNode final : public FunctionNodeBase {
 public:
  FunctionNode(const char* name, F f) : FunctionNodeBase(name), f_(std::move(f)) {}
  static void* operator new(size_t) { return FreeList<FunctionNode, 64>::take(); }
  static void operator delete(void* p, size_t) noexcept { FreeList<FunctionNode, 64>::give(p); }
  std::vector<Tensor> backward(std::vector<Tensor>& grads) override { return f_(*this, grads); }

 private:
  F f_;
};

/// Gives `results` the history `f(FunctionNodeBase&, vector<Tensor>& grads) -> vector<Tensor>` over
/// `inputs`, when one of them wants a gradient; returns the node then, for saving tensors in it.
template <class F>
Ref<FunctionNodeBase> with_gradient(const char* name, std::span<const Tensor> inputs,
                                    std::span<const Tensor> results, F f) {
  bool any = false;
  for (const Tensor& t : inputs) any = any || wants_gradient(t);
  if (!any) return {};
  Ref<FunctionNodeBase> node(new FunctionNode<F>(name, std::move(f)));
  for (const Tensor& t : inputs) node->edges.push_back(t.defined() ? gradient_edge(t) : Edge{});
  for (size_t i = 0; i < results.size(); ++i) {
    node->results.emplace_back(*results[i].impl());
    set_history(results[i], node, static_cast<uint32_t>(i));
  }
  return node;
}

/// One input, one result, nothing saved: `f(const Tensor& g) -> Tensor`.
template <class F>
void with_gradient_of(const char* name, const Tensor& input, const Tensor& result, F f) {
  with_gradient(name, {&input, 1}, {&result, 1},
                [f = std::move(f)](FunctionNodeBase&, std::vector<Tensor>& grads) {
                  std::vector<Tensor> out(1);
                  if (grads[0].defined()) out[0] = f(grads[0]);
                  return out;
                });
}

/// Says that `view` is a differentiable view of `x` (in-place writes then reach x's history).
void mark_view(const Tensor& x, const Tensor& view);

/// A view of `x` with its gradient `f(const Tensor& g) -> Tensor`.
template <class F>
Tensor view_of(const char* name, const Tensor& x, Layout layout, F f) {
  Tensor out = make_view(x, std::move(layout));
  mark_view(x, out);
  with_gradient_of(name, x, out, std::move(f));
  return out;
}

/// The index and index_put ops as they are recorded: bit d of `mask` says that dimension d is
/// indexed (adjacent dimensions); the index tensors are int64 and broadcast together; `values`
/// broadcast to what index gives.
Tensor index_adjacent(const Tensor& x, std::span<const Tensor> indices, uint64_t mask);
const Tensor& index_put_adjacent_(const Tensor& x, const Tensor& values,
                                  std::span<const Tensor> indices, uint64_t mask, bool accumulate);

// ---- helpers of the gradient table and the verbs
/// `g` summed over what broadcasting stretched, so that it has `shape`.
Tensor sum_to_shape(const Tensor& g, DimSpan shape);
/// A fold's result (or its gradient) with the reduced axes back at extent 1.
Tensor with_axes(const Tensor& t, uint64_t axes, bool keepdim);
/// The gradient of as_strided: `g` [shape] with strides and offset, to a tensor laid out as
/// `input`.
Tensor as_strided_backward(const Tensor& g, const Layout& input, const Layout& view);
/// [rank]-dim mask of `dims`; all when absent or empty. Throws on repeats.
uint64_t axes_mask(const OptionalDims& dims, int rank);
/// What PyTorch's messages call the dtype: "Float", "Long".
std::string_view scalar_type_name(DType d);
std::string_view c_type_name(DType d);  // as PyTorch's kernels call it: "float", "c10::Half"
void require_defined(const Tensor& t, const char* verb);
/// A new tensor that its options want a gradient for.
void honour_requires_grad(const Tensor& t, const Options& options);
/// Throws when a fill with `value` would not fit `dtype` (integers only).
void check_fits(const Scalar& value, DType dtype);
/// Copies even what is row-major already; the result is.
Tensor row_major_copy(const Tensor& x);

}  // namespace qs::autograd
