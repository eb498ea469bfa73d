// What data-dependent errors must not destroy.
//
// A command that finds bad data sets the error record; everything else goes on, and what depends on
// the bad data is thrown away afterwards. That is harmless for storages of the plan's own, but not
// for older ones: a bad label must not reach the weights. So
//
//   - commands that write older storages are *predicated*: the driver skips them while the record
//     is set;
//   - they come after the plan's last check when they can (order.cpp); an in-place kernel with
//     indices (index_put, scatter, ...) is split for that in a check and a write;
//   - a storage that is written before some check all the same, by the very kernel that checks, or
//     by one that also makes what no bad data can spoil, gets a *shadow*: its new content is made
//     in fresh memory, which replaces the old one when the run has succeeded.
//
// Either all older storages of a plan are written, or none.
#include <algorithm>

#include "quicksilver/plan/compiled.h"
#include "quicksilver/plan/passes.h"

namespace qs::plan {

Node check_of(const Node& n) {
  Node check = n;
  check.part = Node::check;
  check.results.clear();
  // Of the operands it reads the indices alone; the first keeps its layout.
  for (size_t i = 0; i < check.operands.size(); ++i)
    if (!(graph::info(n.op).raw >> i & 1)) check.operands[i].kind = graph::Operand::absent;
  return check;
}

int split_checks(Ir& ir) {
  std::vector<NodeId> sequence;
  sequence.reserve(ir.sequence.size());
  int made = 0;
  for (NodeId id : ir.sequence) {
    const Node& n = ir.nodes[static_cast<size_t>(id)];
    const graph::OpInfo& row = graph::info(n.op);
    if (row.kind == graph::OpKind::kernel && row.can_fail && !n.results.empty() &&
        n.results[0].target == 0 && ir.external(n.results[0].value_id)) {
      Node check = check_of(n);
      ir.nodes[static_cast<size_t>(id)].part = Node::write;
      sequence.push_back(static_cast<NodeId>(ir.nodes.size()));
      ir.nodes.push_back(std::move(check));
      ++made;
    }
    sequence.push_back(id);
  }
  if (made) ir.sequence = std::move(sequence);
  return made;
}

namespace {

/// Whether the node's own kernel looks at its indices.
bool checks_itself(const Node& n) { return graph::info(n.op).can_fail && n.part != Node::write; }

/// Whether `n` relies on what `check` finds out about indices of both.
bool relies_on(const Node& n, const Node& check) {
  if (n.part != Node::write) return false;
  for (size_t i = 0; i < n.operands.size(); ++i)
    for (size_t k = 0; k < check.operands.size(); ++k)
      if (reads(n, i) && (graph::info(n.op).raw >> i & 1) && reads(check, k) &&
          (graph::info(check.op).raw >> k & 1) &&
          n.operands[i].value_id == check.operands[k].value_id)
        return true;
  return false;
}

/// The first value of an older storage that a node still makes.
const ValueInfo& first_write(const Ir& ir, ValueId root) {
  ValueId v = ir.values[root].successor;
  while (ir.nodes[static_cast<size_t>(ir.values[v].node)].dead) v = ir.values[v].successor;
  return ir.values[v];
}

/// Whether nothing of the old content is needed where the value is made. Kernels and products that
/// work in place read it there; a tile program reads it where it was.
bool stands_alone(const Ir& ir, const ValueInfo& v) {
  const Node& n = ir.nodes[static_cast<size_t>(v.node)];
  return n.tile && n.results[static_cast<size_t>(v.result)].full;
}

/// Values that are worthless when the nodes in `seeds` are.
std::vector<uint8_t> spread(const Ir& ir, const std::vector<uint8_t>& seeds) {
  std::vector<uint8_t> lost(ir.values.size(), 0);
  for (NodeId id : ir.sequence) {
    const Node& n = ir.nodes[static_cast<size_t>(id)];
    bool bad = seeds[static_cast<size_t>(id)];
    for (size_t i = 0; !bad && i < n.operands.size(); ++i)
      bad = reads(n, i) && lost[n.operands[i].value_id];
    for (const graph::Result& r : n.results)
      lost[r.value_id] = bad || (r.target >= 0 && !r.full && lost[ir.values[r.value_id].base]);
  }
  return lost;
}

void shadow(Ir& ir, const Group& group, int& made) {
  for (NodeId id : group.nodes)
    for (const graph::Result& r : ir.nodes[static_cast<size_t>(id)].results) {
      const ValueId root = ir.root(r.value_id);
      Buffer& b = ir.buffers[root];
      if (!ir.external(root) || b.shadow >= 0 || b.place != Buffer::external) continue;
      b.shadow = ir.slots++;
      b.shadow_copy = !stands_alone(ir, first_write(ir, root));
      ++made;
    }
}

}  // namespace

int place_shadows(Ir& ir) {
  int made = 0;
  int32_t last_check = -1;  // in the order; a check counts at its own place
  for (size_t p = 0; p < ir.order.size(); ++p)
    if (ir.groups[static_cast<size_t>(ir.order[p])].check) last_check = static_cast<int32_t>(p);
  if (last_check >= 0) {
    std::vector<uint8_t> seeds(ir.nodes.size(), 0);
    for (const Group& group : ir.groups)
      for (NodeId id : group.nodes) {
        const Node& n = ir.nodes[static_cast<size_t>(id)];
        seeds[static_cast<size_t>(id)] = n.part == Node::write || (group.check && checks_itself(n));
      }
    const std::vector<uint8_t> doubtful = spread(ir, seeds);
    for (size_t p = 0; p < ir.order.size(); ++p) {
      const Group& group = ir.groups[static_cast<size_t>(ir.order[p])];
      if (!group.writes_external) continue;
      // Its own kernel also gives something that no bad data can spoil.
      bool gives_more = false;
      for (NodeId id : group.nodes)
        for (const graph::Result& r : ir.nodes[static_cast<size_t>(id)].results)
          gives_more |=
              ir.values[r.value_id].in_memory && !doubtful[r.value_id] && !ir.external(r.value_id);
      if (static_cast<int32_t>(p) <= last_check || gives_more) shadow(ir, group, made);
    }
  }
  for (Group& group : ir.groups) {
    if (!group.writes_external) continue;
    for (NodeId id : group.nodes)
      for (const graph::Result& r : ir.nodes[static_cast<size_t>(id)].results)
        group.predicated |= ir.external(r.value_id) && ir.buffers[ir.root(r.value_id)].shadow < 0;
  }
  return made;
}

namespace {

std::vector<uint8_t> of_outputs(const CompiledPlan& plan, const std::vector<uint8_t>& lost) {
  std::vector<uint8_t> marks;
  for (const CompiledPlan::Output& o : plan.outputs) marks.push_back(lost[o.value]);
  return marks;
}

}  // namespace

void find_losses(const Ir& ir, const CompiledPlan& plan, FaultTable& table) {
  table.known = true;
  std::vector<uint8_t> seeds(ir.nodes.size(), 0);
  bool writes = false;
  for (const Group& group : ir.groups) {
    if (!group.predicated) continue;
    writes = true;
    for (NodeId id : group.nodes) seeds[static_cast<size_t>(id)] = 1;
  }
  table.rewritten.clear();
  for (const CompiledPlan::Output& o : plan.outputs)
    table.rewritten.push_back(ir.root(o.value) != o.value);
  table.skipped.assign(plan.outputs.size(), 0);
  if (writes) table.skipped = of_outputs(plan, spread(ir, seeds));
  for (const Group& group : ir.groups) {
    if (!group.check) continue;
    FaultTable::Loss loss;
    loss.tags = 0;
    std::fill(seeds.begin(), seeds.end(), 0);
    for (NodeId id : group.nodes) {
      const Node& n = ir.nodes[static_cast<size_t>(id)];
      if (!checks_itself(n)) continue;
      seeds[static_cast<size_t>(id)] = 1;
      loss.tags |= uint64_t{1} << (n.tag & 63);
      for (NodeId other : ir.sequence)
        if (relies_on(ir.nodes[static_cast<size_t>(other)], n))
          seeds[static_cast<size_t>(other)] = 1;
    }
    loss.outputs = of_outputs(plan, spread(ir, seeds));
    table.losses.push_back(std::move(loss));
  }
  for (uint8_t again : table.rewritten) table.can_rescue |= again && !table.losses.empty();
}

}  // namespace qs::plan
