// The gradient table (gradients.def) as the verbs and the op node see it.
#pragma once
#include <bit>

#include "quicksilver/autograd/apply.h"

namespace qs::autograd {

class OpNode;

/// A saved input: a tensor or a number. Converts to an Operand where a verb takes either.
struct Value {
  Tensor tensor;
  Scalar number;
  bool is_number = false;
  operator Operand() const { return is_number ? Operand(number) : Operand(tensor); }
};

/// What a row's expression may ask about the node whose gradient it computes.
class Context {
 public:
  explicit Context(OpNode& node) : node_(node) {}
  Value in(int i) const;  // a saved input; an undefined tensor when it was absent
  Tensor t(int i) const { return in(i).tensor; }
  Tensor out(int i = 0) const;  // a saved result
  DimSpan shape(int i) const;   // of input i, whose gradient is being computed
  uint64_t attr(int i) const;
  double attr_double(int i) const { return std::bit_cast<double>(attr(i)); }
  uint64_t axes() const { return attr(0); }
  bool keepdim() const { return attr(1) != 0; }
  /// The gradient of a fold's result, back at the rank of its input.
  Tensor kept(const Tensor& g) const { return with_axes(g, axes(), keepdim()); }

 private:
  OpNode& node_;
};

struct GradientRule {
  uint32_t saves = 0;  // bit i: input i; bit 16 + i: result i
  Tensor (*gradient)(const Context& c, const Tensor& g) = nullptr;
};

struct OpGradient {
  enum Kind : uint8_t { missing, rules, none, unknown } kind = missing;
  GradientRule inputs[3];
};

const OpGradient& gradient_of(Op op);

/// What a node of the op would need, from which inputs want a gradient.
struct Wants {
  uint32_t needs = 0;  // bit i: input i gets a gradient
  uint32_t saves = 0;  // as in GradientRule
};
Wants wants_of(Op op, Operands in);

/// Makes the node of what has just been recorded. In place: `old` is a copy of the target from
/// before the write, when the gradient reads that.
void attach_gradient(Op op, Operands in, Attrs attrs, std::span<Tensor> results, bool in_place,
                     const Tensor& old);

/// The node of an op of the table.
class OpNode final : public GradNode {
 public:
  explicit OpNode(Op op) : op_(op) {}
  std::string name() const override;
  std::vector<Tensor> backward(std::vector<Tensor>& grads) override;
  void release_saved() override;
  static void* operator new(size_t n);
  static void operator delete(void* p, size_t n) noexcept;

 private:
  friend class Context;
  friend void attach_gradient(Op, Operands, Attrs, std::span<Tensor>, bool, const Tensor&);
  Op op_;
  uint16_t needs_ = 0;         // bit i: the gradient of input i is wanted
  int8_t overwritten_ = -1;    // edge of the target whose old value the op does not read
  uint32_t numbers_mask_ = 0;  // saved inputs that are numbers
  uint32_t saved_mask_ = 0;    // bits as in GradientRule::saves
  SmallVector<uint64_t, 3> attrs_;
  InlineList<ResultMeta, 2> metas_;   // of the inputs in needs_, in order
  InlineList<SavedTensor, 2> saved_;  // of saved_mask_, in order
  InlineList<Scalar, 2> numbers_;     // of numbers_mask_, in order
};

// ---- longer gradients (gradient_math.cpp)
Tensor expand_kept(const Context& c, const Tensor& g);  // a fold's gradient over its input's shape
Tensor div_other(const Tensor& g, const Value& x, const Value& y);
Tensor pow_base(const Tensor& g, const Value& x, const Value& y);
Tensor pow_exponent(const Tensor& g, const Value& x, const Value& y, const Tensor& out);
Tensor atan2_slope(const Value& x, const Value& y, const Value& top);  // top / (x^2 + y^2); 0 at 0
// maximum's gradient to x, or minimum's to y; ties share it
Tensor larger_takes(const Tensor& g, const Value& x, const Value& y);
Tensor numeric_takes(const Tensor& g, const Value& x, const Value& y, bool smaller, bool to_first);
Tensor clamp_input(const Tensor& g, const Tensor& x, const Value& low, const Value& high);
Tensor clamp_low(const Tensor& g, const Tensor& x, const Value& low, const Value& high);
Tensor clamp_high(const Tensor& g, const Tensor& x, const Value& low, const Value& high);
Tensor extremum_shares(const Context& c, const Tensor& g);
Tensor prod_gradient(const Context& c, const Tensor& g);
Tensor var_gradient(const Context& c, const Tensor& g);
Tensor silu_second(const Tensor& x);
Tensor gelu_second(const Tensor& x);
Tensor gelu_tanh_second(const Tensor& x);
Tensor softmax_gradient(const Context& c, const Tensor& g);
Tensor log_softmax_gradient(const Context& c, const Tensor& g);
Tensor layer_norm_input(const Context& c, const Tensor& g);
Tensor layer_norm_weight(const Context& c, const Tensor& g);
Tensor rms_norm_input(const Context& c, const Tensor& g);
Tensor rms_norm_weight(const Context& c, const Tensor& g);
Tensor cross_entropy_input(const Context& c, const Tensor& g);
Tensor matmul_first(const Context& c, const Tensor& g);
Tensor matmul_second(const Context& c, const Tensor& g);
Tensor conv_of(Op op, const Context& c, const Tensor& a, const Tensor& b, int input);
Tensor channel_sum(const Tensor& g);  // over all dimensions but the second
Tensor index_select_gradient(const Context& c, const Tensor& g);
Tensor index_gradient(const Context& c, const Tensor& g);
Tensor index_put_input(const Context& c, const Tensor& g);
Tensor apply_index(const Tensor& x, const Context& c, int first);  // with the saved indices
Tensor zeros_of(const Context& c, const Tensor& g);                // input 0's shape, g's kind
double axes_count(DimSpan shape, uint64_t axes);
Tensor axes_sum(const Tensor& t, uint64_t axes);  // keeps the axes
Tensor cumsum_reversed(const Tensor& g, int64_t dim);
Tensor cumprod_gradient(const Context& c, const Tensor& g);
// gradient_special.cpp
Tensor as_tensor(const Value& v, const Tensor& like);  // a number as a 0-dim tensor of like's kind
Tensor eq_zero(const Value& v, const Tensor& like);
Tensor le_zero(const Value& v, const Tensor& like);
Value conj(const Value& v);
Tensor sinc_slope(const Tensor& x);
Tensor i1_slope(const Tensor& x, const Tensor& y, const Tensor& order0, bool scaled);
Tensor igamma_slope(const Tensor& a, const Tensor& x);
Tensor outside_band(const Tensor& g, const Tensor& x, const Value& edge);
Tensor mish_second(const Tensor& x);
Tensor ones_like_of(const Tensor& g, const Value& v);
Tensor angle_gradient(const Tensor& g, const Tensor& x);
Tensor sgn_gradient(const Tensor& g, const Tensor& x, const Tensor& out);
Tensor scatter_reduce_input(const Context& c, const Tensor& g);
Tensor scatter_reduce_source(const Context& c, const Tensor& g);
Tensor logcumsumexp_gradient(const Context& c, const Tensor& g);
// windows (gradient_windows.cpp)
Tensor max_pool_input(const Context& c, const Tensor& g);
Tensor take_positions(const Tensor& x, const Tensor& positions, int64_t spatial);
Tensor window_sums(Op op, const Context& c, const Tensor& g);  // op with the node's attributes
Tensor resample_transposed(const Context& c, const Tensor& g);
Tensor im2col_again(const Context& c, const Tensor& g);
[[noreturn]] void no_derivative(Op op);

}  // namespace qs::autograd
