#include "quicksilver/codegen/recipe.h"

#include <bit>

#include "quicksilver/core/error.h"
#include "quicksilver/graph/expr.h"

namespace qs::codegen {
namespace {

using driver::ScalarRef;
using driver::TileArgs;
using graph::E;
using graph::Operand;
using Step = Expansion::Step;

/// Runs an expansion again for its numbers alone, and checks that it calls what it called before.
class Repeat final : public graph::Builder {
 public:
  Repeat(const Expansion& expansion, const GroupNode& node, LoopNest& nest, uint64_t& seen)
      : steps_(expansion.steps), node_(*node.node), space_(*node.space), nest_(nest), seen_(seen) {}

  bool run() {
    E in[16], out[6];
    const graph::OpInfo& row = graph::info(node_.op);
    for (size_t i = 0; i < row.inputs; ++i) {
      const bool there = i < node_.operands.size() && node_.operands[i].kind != Operand::absent &&
                         node_.operands[i].read;
      in[i] = there ? next(Expansion::input) : E{this, -1};
    }
    graph::expansion(node_.op)(*this, {in, row.inputs}, {out, node_.results.size()});
    return same_ && next_ == steps_.size();
  }

  E emit(Prim prim, std::span<const E>) override {
    return next(Expansion::emit | static_cast<uint16_t>(prim));
  }
  E fold(Fold op, E, uint64_t) override {
    return next(Expansion::fold | static_cast<uint16_t>(op));
  }
  E number(double v) override {
    if (is_integral(compute())) return number(static_cast<int64_t>(v), compute());
    return number(std::bit_cast<uint64_t>(v), DType::f64);
  }
  E number(int64_t v, DType dtype) override {
    if (!is_integral(dtype))
      return number(std::bit_cast<uint64_t>(static_cast<double>(v)), DType::f64);
    return number(static_cast<uint64_t>(v), DType::i64);
  }
  E cast(E, DType) override { return next(Expansion::cast); }
  E iota(int axis) override { return next(static_cast<uint16_t>(Expansion::index | axis)); }
  E linear() override { return next(Expansion::index); }
  int rank() const override { return static_cast<int>(space_.shape.size()); }
  // Kernels of complex numbers have no recipe (make_recipe).
  bool is_complex(E) const override { return false; }
  E real(E x) override { return x; }
  E imag(E) override { return next(Expansion::number); }
  E complex(E real, E) override { return real; }
  DType dtype(E x) const override { return at(x).dtype; }
  int64_t extent(E x, int axis) const override {
    return at(x).mask >> axis & 1 ? space_.shape[static_cast<size_t>(axis)] : 1;
  }
  uint64_t attr(int i) const override { return node_.attrs[static_cast<size_t>(i)]; }
  DType compute() const override { return compute_dtype(node_.compute); }

 private:
  const Step& at(E e) const { return steps_[e.id < 0 ? 0 : static_cast<size_t>(e.id)]; }
  E next(uint16_t call) {
    if (next_ >= steps_.size() || steps_[next_].call != call) {
      same_ = false;
      return {this, 0};
    }
    return {this, static_cast<int>(next_++)};
  }
  E number(uint64_t word, DType word_dtype) {
    const E e = next(Expansion::number);
    if (!same_) return e;
    const auto slot = static_cast<size_t>(at(e).scalar);
    ScalarRef& ref = nest_.scalars[slot];
    const bool bound = nest_.fixed[slot] || slot >= 64 || (seen_ >> slot & 1);
    same_ = ref.dtype == word_dtype && (!bound || ref.value == word);
    if (same_) ref.value = word;
    if (slot < 64) seen_ |= uint64_t{1} << slot;
    return e;
  }

  std::span<const Step> steps_;
  const graph::Node& node_;
  const Space& space_;
  LoopNest& nest_;
  uint64_t& seen_;  // scalars that this fit has given a value
  size_t next_ = 0;
  bool same_ = true;
};

/// Start and strides of one cause along the group's axes.
bool locate(const Cause& cause, const GroupNode& group_node, const Axes& axes, Dims& strides,
            int64_t& offset) {
  const graph::Node& node = *group_node.node;
  const Space& space = *group_node.space;
  offset = 0;
  switch (cause.kind) {
    case Cause::operand: {
      const Operand& o = node.operands[cause.index];
      offset = o.layout.offset;
      return place(space, operand_strides(node, space, cause.index), axes, strides);
    }
    case Cause::result: {
      const graph::Result& r = node.results[cause.index];
      if (r.target >= 0) offset = node.operands[static_cast<size_t>(r.target)].layout.offset;
      return place(space, result_strides(node, space, cause.index), axes, strides);
    }
    case Cause::iota: {
      Dims along(space.shape.size(), 0);
      along[cause.index] = 1;
      return place(space, along, axes, strides);
    }
    case Cause::linear:
      return place(space, contiguous_strides(space.shape), axes, strides);
  }
  return false;
}

bool fit_accesses(LoopNest& nest, std::span<const GroupNode> nodes) {
  SmallVector<uint8_t, 64> known(nest.accesses.size(), 0);
  Dims strides;
  int64_t offset;
  for (const Cause& cause : nest.causes) {
    if (!locate(cause, nodes[cause.node], nest.axes, strides, offset)) return false;
    Access& a = nest.accesses[cause.access];
    if (known[cause.access]) {
      if (a.offset != offset || !(a.strides == strides)) return false;
      continue;
    }
    known[cause.access] = 1;
    const bool stored = cause.kind == Cause::result;
    if (a.domain != (stored ? store_domain_of(nest.axes, strides) : domain_of(nest.axes, strides)))
      return false;
    a.offset = offset;
    a.strides = strides;
  }
  return true;
}

bool same(const TileArgs& a, const TileArgs& b) {
  if (!(a.extents == b.extents) || a.operands.size() != b.operands.size() ||
      a.scalars.size() != b.scalars.size())
    return false;
  for (size_t i = 0; i < a.operands.size(); ++i)
    if (!(a.operands[i].strides == b.operands[i].strides)) return false;
  for (size_t i = 0; i < a.scalars.size(); ++i)
    if (a.scalars[i].word != b.scalars[i].word || a.scalars[i].value != b.scalars[i].value ||
        a.scalars[i].dtype != b.scalars[i].dtype)
      return false;
  return true;
}

}  // namespace

bool fit(Recipe& recipe, std::span<const GroupNode> nodes, const Axes& axes, TileArgs& out,
         const Dims* frame) {
  LoopNest& nest = recipe.nest;
  if (axes.mode != recipe.mode || axes.folds() != (recipe.mode != driver::TileMode::map))
    return false;
  nest.axes = axes;
  if (!fit_accesses(nest, nodes)) return false;
  uint64_t seen = 0;
  for (const Expansion& e : nest.expansions)
    if (!Repeat(e, nodes[e.node], nest, seen).run()) return false;
  Loops& loops = recipe.loops;
  if (!frame)
    arrange(nest, loops);
  else if (!arrange(nest, *frame, loops))
    return false;
  if (loops.kept != recipe.kept || loops.reduced() != recipe.reduced ||
      holds_rows(axes, loops) != recipe.rows_held)
    return false;
  out.extents = loops.extents;
  out.scalars = nest.scalars;
  out.operands.resize(recipe.access.size());
  for (size_t i = 0; i < recipe.access.size(); ++i) {
    out.operands[i].strides = loops.strides[recipe.access[i]];
    out.operands[i].base.dtype = DType::i64;
  }
  return true;
}

std::optional<Recipe> make_recipe(LoopNest nest, const TileKernel& kernel,
                                  std::span<const GroupNode> nodes, const Dims* frame) {
  for (const Access& a : nest.accesses)
    if (a.item_size) return std::nullopt;  // two accesses an operand: parts of complex numbers
  Recipe recipe;
  recipe.mode = kernel.program.mode;
  recipe.kept = kernel.program.kept_loops;
  recipe.reduced = kernel.program.reduced_loops;
  recipe.access = kernel.access;
  recipe.nest = std::move(nest);
  recipe.nest.exprs = {};
  const Axes axes = recipe.nest.axes;
  if (!frame) {
    arrange(recipe.nest, recipe.loops);
    recipe.rows_held = holds_rows(axes, recipe.loops);
  }
  TileArgs again;
  if (!fit(recipe, nodes, axes, again, frame) || !same(again, kernel.args)) return std::nullopt;
  return recipe;
}

}  // namespace qs::codegen
