// The gradient table made out of gradients.def, and the node that uses it.
#include "quicksilver/autograd/gradients.h"

#include <array>
#include <cctype>

#include "quicksilver/core/error.h"
#include "quicksilver/core/free_list.h"

namespace qs::autograd {
namespace {

constexpr double k_ln2 = 0.69314718055994530942, k_ln10 = 2.30258509299404568402,
                 k_2_over_sqrt_pi = 1.12837916709551257390, k_1_over_sqrt2 = 0.70710678118654752440,
                 k_sqrt_2pi = 2.50662827463100050242, k_selu_scale = 1.0507009873554804934,
                 k_selu_alpha = 1.6732632423543772848;

constexpr uint32_t IN(int i) { return 1u << i; }
constexpr uint32_t OUT(int i) { return 1u << (16 + i); }
constexpr uint32_t INDICES(int first) { return 0xffu << first; }

struct Row {
  Op op;
  OpGradient::Kind kind;
  int input;
  GradientRule rule;
};

constexpr Row k_rows[] = {
#define GRAD(op, input, saves, ...)                                                            \
  {Op::op, OpGradient::rules, input, {saves, [](const Context& c, const Tensor& g) -> Tensor { \
                                        (void)c;                                               \
                                        return __VA_ARGS__;                                    \
                                      }}},
#define NO_GRAD(op) {Op::op, OpGradient::none, 0, {}},
#define UNKNOWN(op) {Op::op, OpGradient::unknown, 0, {}},
#include "quicksilver/autograd/gradients.def"
};

constexpr size_t k_ops = static_cast<size_t>(Op::count_);

constexpr std::array<OpGradient, k_ops> k_table = [] {
  std::array<OpGradient, k_ops> table;
  for (const Row& row : k_rows) {
    OpGradient& entry = table[static_cast<size_t>(row.op)];
    entry.kind = row.kind;
    if (row.kind == OpGradient::rules) entry.inputs[row.input] = row.rule;
  }
  return table;
}();

consteval bool is_complete() {
  for (const OpGradient& entry : k_table)
    if (entry.kind == OpGradient::missing) return false;
  return true;
}
static_assert(is_complete(), "an op of graph/ops.def has no row in autograd/gradients.def");

int position(uint32_t mask, int bit) { return std::popcount(mask & ((1u << bit) - 1)); }

/// "leaky_relu" -> "LeakyRelu"
std::string camel_case(std::string_view name) {
  std::string out;
  bool up = true;
  for (char ch : name) {
    if (ch == '_') {
      up = true;
      continue;
    }
    out += up ? static_cast<char>(std::toupper(ch)) : ch;
    up = false;
  }
  return out;
}

}  // namespace

const OpGradient& gradient_of(Op op) { return k_table[static_cast<size_t>(op)]; }

void* OpNode::operator new(size_t) { return FreeList<OpNode>::take(); }
void OpNode::operator delete(void* p, size_t) noexcept { FreeList<OpNode>::give(p); }

std::string OpNode::name() const { return camel_case(graph::name_of(op_)) + "Backward0"; }

void OpNode::release_saved() {
  for (SavedTensor& s : saved_) s.reset();
}

Value Context::in(int i) const {
  Value v;
  if (node_.saved_mask_ >> i & 1)
    v.tensor = node_.saved_[static_cast<size_t>(position(node_.saved_mask_, i))].unpack(
        node_.output_owner());
  else if (node_.numbers_mask_ >> i & 1) {
    v.is_number = true;
    v.number = node_.numbers_[static_cast<size_t>(position(node_.numbers_mask_, i))];
  }
  return v;
}

Tensor Context::out(int i) const { return in(16 + i).tensor; }

DimSpan Context::shape(int i) const {
  // Of an input that wants no gradient itself only kept shapes are asked for (index_put's values).
  return node_.metas_[static_cast<size_t>(position(node_.needs_, i))].shape;
}

uint64_t Context::attr(int i) const {
  return static_cast<size_t>(i) < node_.attrs_.size() ? node_.attrs_[static_cast<size_t>(i)] : 0;
}

std::vector<Tensor> OpNode::backward(std::vector<Tensor>& grads) {
  std::vector<Tensor> out(edges.size());
  const Tensor& g = grads[0];
  if (!g.defined()) return out;
  const OpGradient& entry = gradient_of(op_);
  if (entry.kind == OpGradient::unknown) no_derivative(op_);
  const Context c(*this);
  for (int i = 0; i < 3; ++i) {
    if (!(needs_ >> i & 1)) continue;
    Tensor t = entry.inputs[i].gradient(c, g);
    const ResultMeta& meta = metas_[static_cast<size_t>(position(needs_, i))];
    if (!(Dims(t.shape()) == meta.shape)) t = sum_to_shape(t, meta.shape);
    if (t.dtype() != meta.dtype || t.device_type() != meta.device)
      t = to(t, Device(meta.device), meta.dtype);
    out[static_cast<size_t>(i)] = std::move(t);
  }
  if (overwritten_ >= 0)
    out[static_cast<size_t>(overwritten_)] =
        zeros(results[0].shape, Options(results[0].dtype, Device(results[0].device)));
  return out;
}

Wants wants_of(Op op, Operands in) {
  const OpGradient& entry = gradient_of(op);
  Wants w;
  if (entry.kind == OpGradient::none) return w;
  for (size_t i = 0; i < std::min<size_t>(in.size(), 3); ++i) {
    const TensorImpl* t = in[i].impl();
    if (!t || !wants_gradient(t)) continue;
    if (entry.kind == OpGradient::rules && !entry.inputs[i].gradient) continue;
    w.needs |= 1u << i;
    w.saves |= entry.inputs[i].saves;
  }
  return w;
}

void attach_gradient(Op op, Operands in, Attrs attrs, std::span<Tensor> results, bool in_place,
                     const Tensor& old) {
  const Tensor& result = results[0];
  if (!is_floating(result.dtype()) && !is_complex(result.dtype())) return;
  const auto [needs, saves] = wants_of(op, in);
  int self = -1;
  if (in_place)
    for (size_t i = 0; i < in.size() && self < 0; ++i)
      if (in[i].impl() == result.impl()) self = static_cast<int>(i);
  const bool overwrites =
      in_place && wants_gradient(result.impl()) && (self < 0 || !(needs >> self & 1));
  if (!needs && !overwrites) return;
  const size_t n = std::min<size_t>(in.size(), 16);

  Ref<OpNode> node = make_ref<OpNode>(op);
  node->needs_ = static_cast<uint16_t>(needs);
  node->attrs_.assign(attrs.data(), attrs.size());
  size_t edges = needs ? static_cast<size_t>(32 - std::countl_zero(needs)) : 0;
  for (size_t i = 0; i < edges; ++i) {
    if (!(needs >> i & 1)) {
      node->edges.emplace_back();
      continue;
    }
    node->edges.emplace_back(gradient_edge(*in[i].impl()));
    node->metas_.emplace_back(*in[i].impl());
  }
  if (overwrites) {
    self = static_cast<int>(edges);
    node->overwritten_ = static_cast<int8_t>(self);
    node->edges.emplace_back(gradient_edge(*result.impl()));
  }
  for (size_t i = 0; i < n; ++i) {
    if (!(saves >> i & 1)) continue;
    if (TensorImpl* t = in[i].impl()) {
      const Edge edge = needs >> i & 1      ? node->edges[i]
                        : wants_gradient(t) ? gradient_edge(*t)
                                            : Edge{};
      if (in_place && t == result.impl()) t = old.impl();
      uint32_t version = t->version();
      if (in_place && t->storage == result.impl()->storage &&
          t->own_versions == result.impl()->own_versions)
        --version;  // from before the write
      node->saved_.emplace_back(t, edge, version);
      node->saved_mask_ |= 1u << i;
    } else if (in[i].kind() == Operand::scalar) {
      node->numbers_.emplace_back(in[i].number());
      node->numbers_mask_ |= 1u << i;
    }
  }
  node->results.emplace_back(*result.impl());
  if (in_place)
    rebase_history(result, node, self >= static_cast<int>(node->edges.size()) ? -1 : self);
  else
    set_history(result, node, 0);
  for (size_t i = 0; i < results.size(); ++i) {
    if (!(saves >> (16 + i) & 1)) continue;
    node->saved_.emplace_back(results[i], i == 0);
    node->saved_mask_ |= 1u << (16 + i);
  }
}

}  // namespace qs::autograd
