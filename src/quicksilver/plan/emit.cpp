// The last pass: each group becomes commands, in order.
#include "quicksilver/plan/emit.h"

#include <algorithm>

#include "quicksilver/codegen/tile.h"
#include "quicksilver/core/error.h"
#include "quicksilver/plan/passes.h"
#include "quicksilver/runtime/device.h"

namespace qs::plan {

using driver::PtrRef;

PtrRef Emitter::address(ValueId value, DType dtype, int32_t word, int64_t offset) const {
  const Buffer& b = ir_.buffers[ir_.root(value)];
  QS_ASSERT(b.place != Buffer::none, "a value without memory is used");
  PtrRef p;
  p.base = b.place == Buffer::arena ? 0 : b.slot;
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

void Emitter::push(const driver::Source& source, driver::Args args, int32_t tag,
                   std::string_view what) {
  driver::Command c;
  c.kernel = device_.kernel(source);
  c.args = std::move(args);
  c.tag = tag;
  plan_.commands.push_back(std::move(c));
  ++plan_.launches;
  plan_.text += what;
}

namespace {

int64_t bytes_of(const codegen::LoopNest& nest, const codegen::TileKernel& kernel) {
  int64_t total = 0;
  for (uint32_t access : kernel.access) {
    const codegen::Access& a = nest.accesses[access];
    if (a.affine) continue;
    int64_t n = 1;
    for (size_t i = 0; i < a.strides.size(); ++i)
      if (a.strides[i] != 0) n *= nest.axes.extents[i];
    total += n * static_cast<int64_t>(size_of(a.dtype));
  }
  return total;
}

}  // namespace

bool Emitter::lower(const Group& group, Lowered& out) {
  std::vector<codegen::GroupNode> nodes;
  bool anything = false;
  for (NodeId id : group.nodes) {
    const Node& n = ir_.nodes[static_cast<size_t>(id)];
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
    out.names += format("{}{}", out.names.empty() ? "" : " ", graph::name_of(n.op));
  }
  if (!anything) return false;
  const codegen::LoopNest nest = codegen::build_nest(nodes, group.axes);
  codegen::TileKernel kernel = codegen::lower_to_tile(nest);
  for (size_t i = 0; i < kernel.access.size(); ++i) {
    const codegen::Access& a = nest.accesses[kernel.access[i]];
    if (a.affine) continue;
    kernel.args.operands[i].ptr = address(a.value, a.dtype, a.word, a.offset);
  }
  out.tag = ir_.nodes[static_cast<size_t>(group.nodes[0])].tag;
  for (NodeId id : group.nodes)
    if (graph::info(ir_.nodes[static_cast<size_t>(id)].op).can_fail) {
      out.tag = ir_.nodes[static_cast<size_t>(id)].tag;
      break;
    }
  out.bytes = bytes_of(nest, kernel);
  out.mode = kernel.program.mode;
  out.reduced_loops = kernel.program.reduced_loops;
  out.kernel = device_.kernel(kernel.program);
  out.args = std::move(kernel.args);
  return true;
}

/// The groups of one step: those of one kernel are parts of one launch.
void Emitter::tiles(std::span<const int32_t> groups) {
  std::vector<Lowered> lowered;
  for (int32_t g : groups) {
    lowered.emplace_back();
    if (!lower(ir_.groups[static_cast<size_t>(g)], lowered.back())) lowered.pop_back();
  }
  for (size_t i = 0; i < lowered.size(); ++i) {
    Lowered& first = lowered[i];
    if (!first.kernel) continue;  // a part of an earlier launch
    driver::Command c;
    c.kernel = first.kernel;
    c.tag = first.tag;
    int64_t moved = first.bytes;
    for (size_t k = i + 1; k < lowered.size(); ++k) {
      if (lowered[k].kernel != first.kernel) continue;
      moved += lowered[k].bytes;
      c.more.push_back(std::move(lowered[k].args));
      lowered[k].kernel = nullptr;
    }
    constexpr std::string_view modes[] = {"map", "row", "column"};
    std::string parts;
    if (!c.more.empty()) parts = format(" x{}", c.more.size() + 1);
    plan_.bytes_moved += moved;
    plan_.text +=
        format("  {} {} reduced {} : {}{} ({} operands, {} bytes)\n",
               modes[static_cast<int>(first.mode)], to_string(first.args.extents),
               first.reduced_loops, first.names, parts, first.args.operands.size(), moved);
    c.args = std::move(first.args);
    plan_.commands.push_back(std::move(c));
    ++plan_.launches;
  }
}

void Emitter::run() {
  for (size_t p = 0; p < ir_.order.size();) {
    const Group& group = ir_.groups[static_cast<size_t>(ir_.order[p])];
    const Node& first = ir_.nodes[static_cast<size_t>(group.nodes[0])];
    plan_.checks |= group.check;
    size_t end = p + 1;
    switch (group.kind) {
      case Group::tile:
        while (end < ir_.order.size() &&
               ir_.groups[static_cast<size_t>(ir_.order[end])].step == group.step)
          ++end;
        tiles({ir_.order.data() + p, end - p});
        break;
      case Group::matmul:
        matmul(first);
        break;
      case Group::kernel:
        kernel(first);
        break;
    }
    p = end;
  }
}

void emit(Ir& ir, DeviceRuntime& device, CompiledPlan& plan) {
  Emitter(ir, device, plan).run();
  plan.guards = std::move(ir.guards);
  std::sort(plan.guards.begin(), plan.guards.end(),
            [](const Guard& x, const Guard& y) { return x.a != y.a ? x.a < y.a : x.b < y.b; });
  plan.bases.assign(static_cast<size_t>(ir.slots), nullptr);
  plan.arena_bytes = static_cast<size_t>(ir.arena_bytes);
  for (size_t v = 0; v < ir.values.size(); ++v) {
    const Buffer& b = ir.buffers[v];
    if (b.place == Buffer::external) plan.externals.push_back({b.slot, static_cast<ValueId>(v)});
  }
  for (size_t v = 0; v < ir.values.size(); ++v) {
    if (!ir.values[v].live) continue;
    const Buffer& b = ir.buffers[ir.root(static_cast<ValueId>(v))];
    if (b.place == Buffer::output)
      plan.outputs.push_back({b.slot, static_cast<ValueId>(v), static_cast<size_t>(b.bytes)});
  }
}

}  // namespace qs::plan
