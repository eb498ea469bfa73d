#include "quicksilver/codegen/loop_nest.h"

#include <bit>

#include "quicksilver/codegen/convert.h"
#include "quicksilver/core/error.h"
#include "quicksilver/graph/expr.h"

namespace qs::codegen {
namespace {

using driver::ScalarRef;
using graph::E;
using Step = Expansion::Step;
using graph::Node;
using graph::Operand;

/// Expands one node. A handle is an expression plus the node axes along which it has extent: what
/// the op table calls its logical shape.
class NodeBuilder final : public graph::Builder {
 public:
  NodeBuilder(NestBuilder& nest, const GroupNode& group_node, uint16_t number, const Axes& axes)
      : nest_(nest),
        node_(*group_node.node),
        space_(*group_node.space),
        axes_(axes),
        number_(number) {
    for (size_t d = 0; d < space_.shape.size(); ++d)
      if (space_.axes >> d & 1) fold_mask_ |= uint64_t{1} << d;
  }

  E emit(Prim prim, std::span<const E> sources) override {
    for (E s : sources)
      if (is_complex(s)) return graph::expand_complex(*this, prim, sources);
    int32_t src[3] = {-1, -1, -1};
    uint64_t mask = 0;
    for (size_t i = 0; i < sources.size(); ++i) {
      src[i] = at(sources[i]).expr;
      mask |= at(sources[i]).mask;
    }
    return handle(nest_.emit(prim, {src, sources.size()}), mask,
                  Expansion::emit | static_cast<uint16_t>(prim));
  }
  E fold(Fold op, E x, uint64_t axes) override {
    QS_ASSERT(axes == space_.axes);
    const uint64_t mask = at(x).mask & ~axes;
    if (is_complex(x)) {
      QS_ASSERT(op == Fold::sum, "only sums of complex numbers fold");
      const E re = fold(op, real(x), axes);
      return complex(re, fold(op, imag(x), axes));
    }
    const auto call = static_cast<uint16_t>(Expansion::fold | static_cast<uint16_t>(op));
    if (!space_.folds) return handle(single(op, at(x).expr), mask, call);
    return handle(nest_.fold(op, at(x).expr), mask, call);
  }
  E number(double v) override {
    if (is_integral(compute())) return number(static_cast<int64_t>(v), compute());
    if (qs::is_complex(compute())) return complex(constant(v, part()), constant(0, part()));
    return constant(v, compute());
  }
  E number(int64_t v, DType dtype) override {
    if (qs::is_complex(dtype)) return number(static_cast<double>(v));
    if (!is_integral(dtype))
      return number(std::bit_cast<uint64_t>(static_cast<double>(v)), DType::f64, dtype);
    return number(static_cast<uint64_t>(v), DType::i64, dtype);
  }
  bool is_complex(E x) const override { return at(x).imag >= 0; }
  E real(E x) override {
    return is_complex(x) ? handle(at(x).expr, at(x).mask, Expansion::cast) : x;
  }
  E imag(E x) override {
    return is_complex(x) ? handle(at(x).imag, at(x).mask, Expansion::cast) : constant(0, dtype(x));
  }
  E complex(E real, E imag) override {
    const DType wide = promote(dtype(real), dtype(imag));
    E out = handle(nest_.cast(at(real).expr, wide), at(real).mask | at(imag).mask, Expansion::cast);
    handles_[static_cast<size_t>(out.id)].imag = nest_.cast(at(imag).expr, wide);
    return out;
  }
  E cast(E x, DType dtype) override {
    if (qs::is_complex(dtype)) {
      const DType to = part_of(dtype);
      return complex(cast(real(x), to), cast(imag(x), to));
    }
    if (is_complex(x)) return dtype == DType::bool_ ? test(x) : cast(real(x), dtype);
    return handle(nest_.cast(at(x).expr, compute_dtype(dtype)), at(x).mask, Expansion::cast);
  }
  E iota(int axis) override {
    Dims strides(space_.shape.size(), 0);
    strides[static_cast<size_t>(axis)] = 1;
    return index(strides, uint64_t{1} << axis, Cause::iota, axis);
  }
  E linear() override {
    return index(contiguous_strides(space_.shape), (uint64_t{1} << space_.shape.size()) - 1,
                 Cause::linear, 0);
  }
  int rank() const override { return static_cast<int>(space_.shape.size()); }
  DType dtype(E x) const override { return nest_.dtype(at(x).expr); }
  /// The dtype of the parts of the complex numbers that the node computes with.
  DType part() const { return part_of(compute()); }
  int64_t extent(E x, int axis) const override {
    asked_ = true;
    return at(x).mask >> axis & 1 ? space_.shape[static_cast<size_t>(axis)] : 1;
  }
  uint64_t attr(int i) const override { return node_.attrs[static_cast<size_t>(i)]; }
  DType compute() const override { return compute_dtype(node_.compute); }

  /// Input `i` as the op wants it: in the node's dtype unless it is raw, else absent.
  E input(size_t i) {
    const graph::OpInfo& row = graph::info(node_.op);
    if (i >= node_.operands.size() || i >= row.inputs) return {this, -1};
    const Operand& o = node_.operands[i];
    const bool raw = row.raw >> i & 1;
    if (o.kind == Operand::absent || !o.read) return {this, -1};
    if (o.kind == Operand::scalar) {
      ScalarRef ref;
      ref.word = o.word;
      ref.dtype = o.dtype;
      const bool counter = row.kind == graph::OpKind::random && i + 2 >= row.inputs;
      const DType reg = counter ? DType::i64 : raw ? compute_dtype(o.dtype) : compute();
      if (qs::is_complex(reg))
        return complex(handle(nest_.scalar(ref, part_of(reg)), 0, Expansion::input),
                       constant(0, part_of(reg)));
      return handle(nest_.scalar(ref, reg), 0, Expansion::input);
    }
    uint64_t mask = 0;
    const Dims strides = operand_strides(node_, space_, i);
    const bool lacks = space_.has_axes && (row.kept_inputs >> i & 1);
    const int lead = static_cast<int>(space_.shape.size()) - o.layout.rank();
    for (size_t d = 0; d < space_.shape.size(); ++d) {
      const bool has = lacks ? !(space_.axes >> d & 1)
                             : static_cast<int>(d) >= lead &&
                                   o.layout.shape[d - static_cast<size_t>(lead)] == space_.shape[d];
      if (has) mask |= uint64_t{1} << d;
    }
    int32_t e = nest_.value(o.value_id), im = nest_.imag_value(o.value_id);
    if (e < 0) {
      Access a;
      a.dtype = o.dtype;
      a.value = o.value_id;
      a.word = o.word;
      a.offset = o.layout.offset;
      QS_ASSERT(place(space_, strides, axes_, a.strides));
      if (qs::is_complex(o.dtype)) {
        im = nest_.load(part_access(a, 1), cause(Cause::operand, i));
        a = part_access(a, 0);
      }
      e = nest_.load(a, cause(Cause::operand, i));
    }
    if (qs::is_complex(o.dtype) || (!raw && qs::is_complex(node_.compute))) {
      E z = handle(e, mask, Expansion::input);
      handles_[static_cast<size_t>(z.id)].imag = im;
      if (raw) return z;
      return cast(z, compute_dtype(node_.compute));
    }
    if (!raw) e = nest_.convert(e, o.dtype, node_.compute);
    return handle(e, mask, Expansion::input);
  }

  /// Rounds result `i` to its dtype and stores it when somebody needs it in memory.
  void result(size_t i, E value, bool store, bool after_loads) {
    const graph::Result& r = node_.results[i];
    int32_t e, im = -1;
    if (qs::is_complex(r.dtype)) {
      value = cast(value, r.dtype);
      e = at(value).expr;
      im = at(value).imag;
    } else {
      if (is_complex(value)) value = cast(value, compute_dtype(r.dtype));
      e = nest_.round(at(value).expr, r.dtype);
    }
    nest_.set_value(r.value_id, e, im);
    if (!store) return;
    Access a;
    a.dtype = r.dtype;
    a.value = r.value_id;
    if (r.target >= 0) {
      const Operand& t = node_.operands[static_cast<size_t>(r.target)];
      a.word = t.word;
      a.offset = t.layout.offset;
    }
    QS_ASSERT(place(space_, result_strides(node_, space_, i), axes_, a.strides));
    if (im >= 0) {
      // Both parts may be read where they are written: first all reads, then the stores.
      nest_.store(im, part_access(a, 1), cause(Cause::result, i), after_loads);
      a = part_access(a, 0);
    }
    nest_.store(e, a, cause(Cause::result, i), after_loads);
  }

  /// Tells the nest which of its numbers are the same at all extents.
  void finish() {
    if (asked_) {
      Expansion made;
      made.node = number_;
      made.steps.assign(steps_.begin(), steps_.end());
      return nest_.add_expansion(std::move(made));
    }
    for (const Step& s : steps_)
      if (s.scalar >= 0) nest_.fix(s.scalar);
  }

 private:
  struct Handle {
    int32_t expr;
    uint64_t mask;
    int32_t imag = -1;  // of a complex value; expr is its real part then
  };
  const Handle& at(E e) const {
    QS_ASSERT(e.id >= 0, "an absent input is used");
    return handles_[static_cast<size_t>(e.id)];
  }
  static DType part_of(DType d) { return d == DType::c128 ? DType::f64 : DType::f32; }
  static Access part_access(Access a, int64_t which) {
    a.dtype = part_of(a.dtype);
    a.item_size = static_cast<uint8_t>(2 * size_of(a.dtype));
    a.offset = 2 * a.offset + which;
    for (int64_t& s : a.strides) s *= 2;
    return a;
  }
  E constant(double v, DType dtype) {
    return number(std::bit_cast<uint64_t>(v), DType::f64, dtype);
  }
  E handle(int32_t expr, uint64_t mask, uint16_t call) {
    handles_.push_back({expr, mask});
    steps_.push_back({call, nest_.dtype(expr), -1, mask});
    return {this, static_cast<int>(handles_.size()) - 1};
  }
  E number(uint64_t word, DType word_dtype, DType dtype) {
    const int32_t e = nest_.constant(word, word_dtype, dtype, false);
    const E out = handle(e, 0, Expansion::number);
    steps_.back().scalar = static_cast<int32_t>(nest_.expr(e).aux);
    return out;
  }
  Cause cause(Cause::Kind kind, size_t index) const {
    return {kind, static_cast<uint8_t>(index), number_, 0};
  }
  E index(const Dims& strides, uint64_t mask, Cause::Kind kind, int axis) {
    Access a;
    a.affine = true;
    a.dtype = DType::i64;
    QS_ASSERT(place(space_, strides, axes_, a.strides));
    return handle(nest_.load(a, cause(kind, static_cast<size_t>(axis))), mask,
                  static_cast<uint16_t>(Expansion::index | axis));
  }
  /// A fold over a single element.
  int32_t single(Fold op, int32_t x) {
    if (op == Fold::argmax || op == Fold::argmin) return nest_.constant(0, DType::i64, DType::i64);
    return x;
  }

  NestBuilder& nest_;
  const Node& node_;
  const Space& space_;
  const Axes& axes_;
  const uint16_t number_;  // of the node in its group
  uint64_t fold_mask_ = 0;
  mutable bool asked_ = false;  // for an extent
  SmallVector<Handle, 48> handles_;
  SmallVector<Step, 48> steps_;  // by handle
};

}  // namespace

LoopNest build_nest(std::span<const GroupNode> nodes, const Axes& axes) {
  NestBuilder nest(axes);
  for (size_t k = 0; k < nodes.size(); ++k) {
    const GroupNode& n = nodes[k];
    NodeBuilder b(nest, n, static_cast<uint16_t>(k), axes);
    E in[16], out[6];
    const size_t inputs = graph::info(n.node->op).inputs;
    for (size_t i = 0; i < inputs; ++i) in[i] = b.input(i);
    graph::expansion(n.node->op)(b, {in, inputs}, {out, n.node->results.size()});
    for (size_t i = 0; i < n.node->results.size(); ++i)
      b.result(i, out[i], n.stores >> i & 1, n.late >> i & 1);
    b.finish();
  }
  return nest.finish();
}

}  // namespace qs::codegen
