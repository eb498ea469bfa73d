// The last pass: each group becomes commands, in order.
#include "quicksilver/plan/emit.h"

#include <algorithm>

#include "quicksilver/codegen/tile.h"
#include "quicksilver/core/error.h"
#include "quicksilver/plan/passes.h"
#include "quicksilver/plan/structure.h"
#include "quicksilver/runtime/device.h"

namespace qs::plan {

using driver::PtrRef;

PtrRef Emitter::address(ValueId value, DType dtype, int32_t word, int64_t offset) const {
  const Buffer& b = ir_.buffers[ir_.root(value)];
  QS_ASSERT(b.place != Buffer::none, "a value without memory is used");
  PtrRef p;
  p.base = b.place == Buffer::arena                    ? 0
           : b.shadow >= 0 && value != ir_.root(value) ? b.shadow
                                                       : b.slot;
  p.offset_word = word;
  p.item_size = static_cast<uint8_t>(size_of(dtype));
  p.bytes =
      (b.place == Buffer::arena ? b.offset : 0) + offset * static_cast<int64_t>(size_of(dtype));
  return p;
}

PtrRef Emitter::result_address(const Node& node, size_t result) const {
  const graph::Result& r = node.results[result];
  if (r.target < 0) return address(r.value_id, r.dtype, -1, 0);
  const graph::Operand& t = node.operands[static_cast<size_t>(r.target)];
  return address(r.value_id, r.dtype, t.word, t.layout.offset);
}

CompiledPlan::Line& Emitter::push(const driver::Kernel* kernel, driver::Args args, int32_t tag) {
  driver::Command& c = plan_.commands.emplace_back();
  c.kernel = kernel;
  c.args = std::move(args);
  c.tag = tag;
  c.predicated = group_->predicated;
  ++plan_.launches;
  CompiledPlan::Line& line = plan_.lines.emplace_back();
  line.group = static_cast<int32_t>(group_ - ir_.groups.data());
  return line;
}

namespace {

constexpr size_t k_most_recipes = 4;  // of a group

/// What tells a call from others of its group, whose kinds a node's op decides.
uint64_t name_of(const driver::PortableKernel& k) { return reinterpret_cast<uintptr_t>(&k); }
uint64_t name_of(const driver::MatmulCall& m) { return uint64_t(m.dtype) << 1 | uint64_t(m.bias); }
uint64_t name_of(const driver::AttentionCall& a) {
  return uint64_t(a.dtype) << 24 | uint64_t(a.mask_dtype) << 16 | uint64_t(a.mask) << 8 |
         uint64_t(a.backward) << 2 | uint64_t(a.causal) << 1 | uint64_t(a.dropout);
}
uint64_t name_of(const driver::ConvCall& c) {
  return uint64_t(c.dtype) << 24 | uint64_t(c.kind) << 16 | uint64_t(c.dims) << 8 |
         uint64_t(c.bias);
}

}  // namespace

const driver::Kernel* Emitter::build(const driver::Source& source) {
  Ref<const driver::Kernel> kernel = device_.kernel(source);
  const driver::Kernel* p = kernel.get();
  plan_.structure->hold(std::move(kernel));
  return p;
}

template <class Call>
const driver::Kernel* Emitter::kernel_for(const Call& call) {
  const uint64_t name = name_of(call);
  for (const Emitted::Known& k : group_->emitted.kernels)
    if (k.call == name) return k.kernel;
  const driver::Kernel* kernel = build(call);
  group_->emitted.kernels.push_back({name, kernel});
  return kernel;
}
template const driver::Kernel* Emitter::kernel_for(const driver::PortableKernel&);
template const driver::Kernel* Emitter::kernel_for(const driver::MatmulCall&);
template const driver::Kernel* Emitter::kernel_for(const driver::AttentionCall&);
template const driver::Kernel* Emitter::kernel_for(const driver::ConvCall&);

bool Emitter::nodes_of(const Group& group, SmallVector<codegen::GroupNode, 8>& nodes) const {
  bool anything = false;
  for (NodeId id : group.nodes) {
    const Node& n = ir_.nodes[static_cast<size_t>(id)];
    if (!n.tile) continue;  // the matrix product that the others follow
    codegen::GroupNode g;
    g.node = &n;
    g.space = &n.space;
    g.late = ir_.late[static_cast<size_t>(id)];
    for (size_t i = 0; i < n.results.size(); ++i) {
      if (!ir_.values[n.results[i].value_id].in_memory) continue;
      g.stores |= 1u << i;
      anything |= n.results[i].layout.numel() > 0;
    }
    nodes.push_back(g);
  }
  return anything;
}

void Emitter::bind(const codegen::LoopNest& nest, const std::vector<uint32_t>& access,
                   driver::TileArgs& args) const {
  for (size_t i = 0; i < access.size(); ++i) {
    const codegen::Access& a = nest.accesses[access[i]];
    if (a.affine) continue;
    args.operands[i].ptr = address(a.value, a.dtype, a.word, a.offset);
    if (a.item_size) args.operands[i].ptr.item_size = a.item_size;
  }
}

/// Each operand as often as it varies.
int64_t Emitter::bytes_moved(const codegen::LoopNest& nest, const std::vector<uint32_t>& access,
                             const driver::TileArgs& args, const Behind* behind) const {
  int64_t bytes = 0;
  for (size_t i = 0; i < access.size(); ++i) {
    const codegen::Access& a = nest.accesses[access[i]];
    const driver::TileArgs::Operand& operand = args.operands[i];
    if (a.affine || (behind && driver::is_same_place(operand.ptr, behind->cached))) continue;
    int64_t n = 1;
    for (size_t d = 0; d < args.extents.size(); ++d)
      if (operand.strides[d] != 0) n *= args.extents[d];
    bytes += n * static_cast<int64_t>(size_of(a.dtype));
  }
  return bytes;
}

/// A kernel that this group was given for other extents, when it fits: the first recipe then.
bool Emitter::fit(Group& group, std::span<const codegen::GroupNode> nodes,
                  const Behind* behind) const {
  const Dims* frame = behind ? &behind->frame : nullptr;
  for (size_t i = 0; i < group.recipes.size(); ++i) {
    if (!codegen::fit(group.recipes[i].recipe, nodes, group.axes, group.emitted.args, frame))
      continue;
    if (i) std::swap(group.recipes[0], group.recipes[i]);
    return true;
  }
  return false;
}

void Emitter::lower_nodes(Group& group, std::span<const codegen::GroupNode> nodes,
                          const Behind* behind, Lowered& out) {
  Emitted& emitted = group.emitted;
  emitted.settled = false;
  if (fit(group, nodes, behind)) {
    const codegen::Recipe& recipe = group.recipes[0].recipe;
    bind(recipe.nest, recipe.access, emitted.args);
    emitted.bytes = bytes_moved(recipe.nest, recipe.access, emitted.args, behind);
    emitted.settled = true;
    out.take(group.recipes[0], emitted);
    return;
  }
  const Dims* frame = behind ? &behind->frame : nullptr;
  codegen::LoopNest nest = codegen::build_nest(nodes, group.axes);
  codegen::TileKernel kernel;
  if (!frame)
    kernel = codegen::lower_to_tile(nest);
  else
    QS_ASSERT(codegen::lower_to_tile(nest, *frame, kernel), "an epilogue does not fit its matrix");
  out.kernel = build(kernel.program);
  out.mode = kernel.program.mode;
  out.reduced_loops = kernel.program.reduced_loops;
  out.args = kernel.args;
  bind(nest, kernel.access, out.args);
  out.bytes = bytes_moved(nest, kernel.access, out.args, behind);
  if (auto recipe = codegen::make_recipe(std::move(nest), kernel, nodes, frame)) {
    if (group.recipes.size() == k_most_recipes) group.recipes.pop_back();
    group.recipes.insert(group.recipes.begin(), {std::move(*recipe), out.kernel});
  }
}

void Emitter::Lowered::take(const TileRecipe& recipe, const Emitted& emitted) {
  kernel = recipe.kernel;
  mode = recipe.recipe.mode;
  reduced_loops = recipe.recipe.reduced;
  args = emitted.args;
  bytes = emitted.bytes;
}

/// Whether nothing but addresses may differ from what the group was emitted as last.
bool Emitter::emit_again(Group& group, Lowered& out) const {
  if (group.changed || !group.emitted.settled) return false;
  const TileRecipe& recipe = group.recipes[0];
  bind(recipe.recipe.nest, recipe.recipe.access, group.emitted.args);
  out.take(recipe, group.emitted);
  return true;
}

bool Emitter::lower(int32_t g, Lowered& out) {
  Group& group = ir_.groups[static_cast<size_t>(g)];
  out.group = g;
  out.tag = ir_.nodes[static_cast<size_t>(group.nodes[0])].tag;
  for (NodeId id : group.nodes)
    if (graph::info(ir_.nodes[static_cast<size_t>(id)].op).can_fail &&
        ir_.nodes[static_cast<size_t>(id)].part != Node::write) {
      out.tag = ir_.nodes[static_cast<size_t>(id)].tag;
      break;
    }
  if (emit_again(group, out)) return true;
  SmallVector<codegen::GroupNode, 8> nodes;
  if (!nodes_of(group, nodes)) return false;
  lower_nodes(group, nodes, nullptr, out);
  return true;
}

bool Emitter::lower_epilogue(Group& group, const Behind& behind, Lowered& out) {
  if (emit_again(group, out)) return true;
  SmallVector<codegen::GroupNode, 8> nodes;
  if (!nodes_of(group, nodes)) return false;
  lower_nodes(group, nodes, &behind, out);
  return true;
}

/// The groups of one step: those of one kernel are parts of one launch.
void Emitter::tiles(std::span<const int32_t> groups) {
  std::vector<Lowered>& lowered = lowered_;
  lowered.clear();
  for (int32_t g : groups) {
    lowered.emplace_back();
    lowered.back().predicated = ir_.groups[static_cast<size_t>(g)].predicated;
    if (!lower(g, lowered.back())) lowered.pop_back();
  }
  for (size_t i = 0; i < lowered.size(); ++i) {
    Lowered& first = lowered[i];
    if (!first.kernel) continue;  // a part of an earlier launch
    driver::Command& c = plan_.commands.emplace_back();
    c.kernel = first.kernel;
    c.tag = first.tag;
    c.predicated = first.predicated;
    CompiledPlan::Line line;
    line.group = first.group;
    line.mode = first.mode;
    line.reduced_loops = first.reduced_loops;
    line.operands = first.args.operands.size();
    line.bytes = first.bytes;
    line.extents = first.args.extents;
    for (size_t k = i + 1; k < lowered.size(); ++k) {
      if (lowered[k].kernel != first.kernel || lowered[k].predicated != first.predicated) continue;
      line.bytes += lowered[k].bytes;
      ++line.parts;
      c.more.push_back(std::move(lowered[k].args));
      lowered[k].kernel = nullptr;
    }
    plan_.bytes_moved += line.bytes;
    plan_.lines.push_back(std::move(line));
    c.args = std::move(first.args);
    ++plan_.launches;
  }
}

void Emitter::run() {
  plan_.commands.reserve(ir_.order.size());
  plan_.lines.reserve(ir_.order.size());
  for (size_t p = 0; p < ir_.order.size();) {
    Group& group = ir_.groups[static_cast<size_t>(ir_.order[p])];
    const Node& first = ir_.nodes[static_cast<size_t>(group.nodes[0])];
    group_ = &group;
    size_t end = p + 1;
    switch (group.kind) {
      case Group::tile:
        while (end < ir_.order.size() &&
               ir_.groups[static_cast<size_t>(ir_.order[end])].step == group.step)
          ++end;
        tiles({ir_.order.data() + p, end - p});
        break;
      case Group::matmul:
        matmul(group);
        break;
      case Group::kernel:
        kernel(first);
        break;
    }
    p = end;
  }
}

void emit(Ir& ir, DeviceRuntime& device, CompiledPlan& plan) {
  Emitter emitter(ir, device, plan);
  emitter.run();
  plan.bases.assign(static_cast<size_t>(ir.slots), nullptr);
  plan.arena_bytes = static_cast<size_t>(emitter.arena_bytes());
  for (size_t v = 0; v < ir.values.size(); ++v) {
    const Buffer& b = ir.buffers[v];
    if (b.place != Buffer::external) continue;
    plan.externals.push_back({b.slot, static_cast<ValueId>(v)});
    if (b.shadow < 0) continue;
    auto newest = static_cast<ValueId>(v);
    while (ir.values[newest].successor != newest) newest = ir.values[newest].successor;
    plan.shadows.push_back({b.shadow, static_cast<ValueId>(v), newest, b.shadow_copy});
  }
  for (size_t v = 0; v < ir.values.size(); ++v) {
    if (!ir.values[v].live) continue;
    const Buffer& b = ir.buffers[ir.root(static_cast<ValueId>(v))];
    if (b.place == Buffer::output)
      plan.outputs.push_back({b.slot, static_cast<ValueId>(v), static_cast<size_t>(b.bytes)});
  }
  if (!plan.structure->faults->known) find_losses(ir, plan, *plan.structure->faults);
}

}  // namespace qs::plan
