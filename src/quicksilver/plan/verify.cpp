// What is legal behind each pass.
#include <string_view>

#include "quicksilver/core/error.h"
#include "quicksilver/plan/passes.h"

namespace qs::plan {
namespace {

using graph::Operand;
using graph::Result;

#define RULE(cond, text) \
  QS_CHECK(cond, InternalError, "plan verifier: after {}: {} (node {})", pass, text, id)

/// Each operand is made before it is read and not yet overwritten; in-place chains are whole.
void verify_sequence(const Ir& ir, const char* pass) {
  std::vector<uint8_t> made(ir.values.size(), 0), replaced(ir.values.size(), 0);
  for (size_t v = 0; v < ir.values.size(); ++v)
    made[v] = ir.values[v].external || ir.values[v].blank;
  // A value whose producer was dropped may be the base of a full write, never be read.
  for (NodeId id : ir.sequence) {
    RULE(id >= 0 && static_cast<size_t>(id) < ir.nodes.size(), "a node that does not exist");
    const Node& n = ir.nodes[static_cast<size_t>(id)];
    RULE(!n.dead, "a dead node is in the sequence");
    for (size_t i = 0; i < n.operands.size(); ++i) {
      const Operand& o = n.operands[i];
      if (o.kind != Operand::value) continue;
      RULE(o.value_id < ir.values.size(), "an operand that does not exist");
      if (!reads(n, i)) continue;
      RULE(made[o.value_id], "an operand is read before it is made");
      RULE(!replaced[o.value_id], "an operand is read after it was overwritten");
      RULE(o.word < static_cast<int32_t>(ir.words.size()), "a launch word that does not exist");
      RULE(o.word < 0 || ir.external(o.value_id), "a start word on a storage of this plan");
    }
    for (const Result& r : n.results) {
      const ValueInfo& v = ir.values[r.value_id];
      RULE(v.node == id, "a result that names another producer");
      RULE(!made[r.value_id], "a value is made twice");
      if (r.target >= 0) {
        RULE(ir.root(v.base) == ir.root(r.value_id), "an in-place result left its storage");
        RULE(r.full || made[v.base], "a partial write over content that is not there");
        RULE(!replaced[v.base], "a value is replaced twice");
        replaced[v.base] = 1;
      }
      made[r.value_id] = 1;
    }
  }
  for (size_t v = 0; v < ir.values.size(); ++v) {
    const int id = ir.values[v].node;
    RULE(!ir.values[v].live || made[v], "a live value is not made");
  }
}

void verify_groups(const Ir& ir, const char* pass) {
  std::vector<int32_t> group(ir.nodes.size(), -1);
  int id = -1;
  for (size_t g = 0; g < ir.groups.size(); ++g) {
    RULE(!ir.groups[g].nodes.empty(), "an empty group");
    for (NodeId n : ir.groups[g].nodes) {
      id = n;
      RULE(group[static_cast<size_t>(n)] < 0, "a node is in two groups");
      group[static_cast<size_t>(n)] = static_cast<int32_t>(g);
      if (ir.groups[g].kind != Group::tile) continue;
      Dims strides;
      const Node& node = ir.nodes[static_cast<size_t>(n)];
      RULE(codegen::place(node.space, Dims(node.space.shape.size(), 0), ir.groups[g].axes, strides),
           "a node does not fit the loops of its group");
    }
  }
  for (NodeId n : ir.sequence) {
    id = n;
    RULE(group[static_cast<size_t>(n)] >= 0, "a node is in no group");
  }
}

/// Running the groups in order meets every read and write of a storage in recorded order.
void verify_order(const Ir& ir, const char* pass) {
  struct When {
    int32_t step = -1, group = -1;
    /// Whether what is done at `now` sees what was done then: behind it, or in the same kernel.
    bool seen_from(const When& now) const {
      return step < now.step || (step == now.step && group == now.group);
    }
  };
  std::vector<When> at(ir.nodes.size());
  int id = -1;
  int32_t last = 0;
  for (int32_t g : ir.order) {
    const Group& group = ir.groups[static_cast<size_t>(g)];
    id = group.nodes[0];
    RULE(group.step >= last, "the order is not by step");
    last = group.step;
    for (NodeId n : group.nodes) at[static_cast<size_t>(n)] = {group.step, g};
  }
  std::vector<std::vector<When>> written(ir.values.size());  // pieces: several
  std::vector<std::vector<When>> read(ir.values.size());
  for (NodeId node : ir.sequence) {
    id = node;
    const Node& n = ir.nodes[static_cast<size_t>(node)];
    const When now = at[static_cast<size_t>(node)];
    RULE(now.step >= 0, "a node does not run");
    for (size_t i = 0; i < n.operands.size(); ++i) {
      if (!reads(n, i)) continue;
      const ValueId root = ir.root(n.operands[i].value_id);
      for (const When& w : written[root])
        RULE(w.seen_from(now), "a read runs before the write it depends on");
      read[root].push_back(now);
    }
    for (const Result& r : n.results) {
      const ValueId root = ir.root(r.value_id);
      if (n.part == Node::piece) {
        written[root].push_back(now);
        continue;
      }
      for (const When& w : written[root])
        RULE(w.seen_from(now), "a write runs before the write it replaces");
      for (const When& w : read[root])
        RULE(w.seen_from(now), "a write runs before a read of the old content");
      written[root].assign(1, now);
      read[root].clear();
    }
  }
}

void verify_buffers(const Ir& ir, const char* pass) {
  int id = -1;
  for (size_t v = 0; v < ir.values.size(); ++v) {
    id = ir.values[v].node;
    if (!ir.values[v].in_memory) continue;
    if (id >= 0 && ir.nodes[static_cast<size_t>(id)].dead) continue;
    const Buffer& b = ir.buffers[ir.root(static_cast<ValueId>(v))];
    RULE(b.place != Buffer::none, "a stored value has no buffer");
    RULE(b.place != Buffer::arena || b.offset + b.bytes <= ir.arena_bytes,
         "a buffer beyond the arena");
  }
  // Arena buffers that live at the same time lie apart, but for a donation at its one meeting
  // point.
  for (size_t v = 0; v < ir.buffers.size(); ++v) {
    const Buffer& a = ir.buffers[v];
    if (a.place != Buffer::arena) continue;
    for (size_t w = v + 1; w < ir.buffers.size(); ++w) {
      const Buffer& b = ir.buffers[w];
      if (b.place != Buffer::arena) continue;
      const bool apart = a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset;
      const bool meet = a.first == b.last || b.first == a.last;
      id = ir.values[w].node;
      RULE(apart || a.last < b.first || b.last < a.first || (meet && a.offset == b.offset),
           "two buffers share memory while both are needed");
    }
  }
}

#undef RULE

}  // namespace

void verify(const Ir& ir, const char* pass) {
  verify_sequence(ir, pass);
  if (!ir.groups.empty()) verify_groups(ir, pass);
  if (!ir.order.empty()) verify_order(ir, pass);
  if (!ir.buffers.empty()) verify_buffers(ir, pass);
}

}  // namespace qs::plan
