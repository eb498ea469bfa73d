// Buffers. A storage that existed before, or whose content is wanted afterwards, gets a launch
// slot; any other lies in the arena, at an offset that is free while it is needed (first fit), or
// where an input of its group dies at the same elements (donation).
#include <algorithm>

#include "quicksilver/core/error.h"
#include "quicksilver/plan/arena.h"
#include "quicksilver/plan/passes.h"

namespace qs::plan {
namespace {

using graph::Operand;
using graph::Result;

constexpr int64_t k_align = 64;

int64_t arena_bytes(const ValueInfo& value) {
  return (std::max<int64_t>(value.bytes, 1) + k_align - 1) / k_align * k_align;
}

void take_offsets(Ir& ir) {
  for (size_t i = 0; i < ir.arena.roots.size(); ++i)
    ir.buffers[ir.arena.roots[i]].offset = ir.arena.packing.offsets[ir.arena.buffer_of[i]];
  ir.arena_bytes = ir.arena.packing.bytes;
}

class Placer {
 public:
  explicit Placer(Ir& ir) : ir_(ir), group_of_(ir.nodes.size(), -1) {
    for (size_t g = 0; g < ir.groups.size(); ++g)
      for (NodeId id : ir.groups[g].nodes)
        group_of_[static_cast<size_t>(id)] = static_cast<int32_t>(g);
  }

  int run() {
    ir_.buffers.assign(ir_.values.size(), {});
    ir_.late.assign(ir_.nodes.size(), 0);
    uses_.assign(ir_.values.size(), {});
    find_stored();
    find_lifetimes();
    assign_slots();
    return assign_arena();
  }

 private:
  const Node& node(NodeId id) const { return ir_.nodes[static_cast<size_t>(id)]; }
  bool made_in(ValueId v, int32_t group) const {
    const NodeId id = ir_.values[v].node;
    return id >= 0 && !node(id).dead && group_of_[static_cast<size_t>(id)] == group;
  }

  /// Which values must be in memory. A value that its own group overwrites at the same elements is
  /// not.
  void find_stored() {
    for (NodeId id : ir_.sequence) {
      const Node& n = node(id);
      const int32_t g = group_of_[static_cast<size_t>(id)];
      for (size_t i = 0; i < n.operands.size(); ++i) {
        if (!reads(n, i)) continue;
        const ValueId v = n.operands[i].value_id;
        if (!n.tile || !made_in(v, g)) ir_.values[v].in_memory = true;
      }
      if (!n.tile)
        for (const Result& r : n.results) ir_.values[r.value_id].in_memory = true;
    }
    // From the last value of each storage back. `wanted`: somebody needs what the value holds, if
    // only the part of it that later partial writes leave alone.
    std::vector<uint8_t> wanted(ir_.values.size(), 0);
    for (size_t newest = 0; newest < ir_.values.size(); ++newest) {
      if (ir_.values[newest].successor != newest) continue;
      auto v = static_cast<ValueId>(newest);
      for (; ir_.values[v].base != v; v = ir_.values[v].base) find_stored(v, wanted);
      find_stored(v, wanted);
    }
  }

  void find_stored(ValueId v, std::vector<uint8_t>& wanted) {
    ValueInfo& value = ir_.values[v];
    if (value.node < 0 || node(value.node).dead) return;
    const int32_t g = group_of_[static_cast<size_t>(value.node)];
    const ValueInfo& next = ir_.values[value.successor];
    const bool last = value.successor == v || next.node < 0 || node(next.node).dead;
    if (last) {
      if (value.live || ir_.values[value.root].external) value.in_memory = true;
      wanted[v] = value.in_memory;
      return;
    }
    const bool partial = !node(next.node).results[static_cast<size_t>(next.result)].full;
    const bool rest = partial && wanted[value.successor];
    if (group_of_[static_cast<size_t>(next.node)] != g &&
        (rest || (partial && ir_.values[value.root].external)))
      value.in_memory = true;
    wanted[v] = value.in_memory || rest;
  }

  template <class F>
  void each_touch(int32_t g, F&& f) const {
    for (NodeId id : ir_.groups[static_cast<size_t>(g)].nodes) {
      const Node& n = node(id);
      for (size_t i = 0; i < n.operands.size(); ++i)
        if (reads(n, i) && !(n.tile && made_in(n.operands[i].value_id, g)))
          f(n, id, static_cast<int>(i), false, n.operands[i].value_id);
      for (size_t i = 0; i < n.results.size(); ++i)
        if (ir_.values[n.results[i].value_id].in_memory)
          f(n, id, static_cast<int>(i), true, n.results[i].value_id);
    }
  }

  void find_lifetimes() {
    for (int32_t g : ir_.order) {
      const int32_t step = ir_.groups[static_cast<size_t>(g)].step;
      each_touch(g, [&](const Node&, NodeId, int, bool, ValueId v) {
        Buffer& b = ir_.buffers[ir_.root(v)];
        Use& use = uses_[ir_.root(v)];
        if (use.first < 0) use.first = g;
        use.alone = step > b.last || (use.alone && use.last == g);
        use.last = g;
        b.first = std::min(b.first, step);
        b.last = step;
      });
      // An in-place store of a storage that the same group reads waits for the reads.
      for (NodeId id : ir_.groups[static_cast<size_t>(g)].nodes) {
        const Node& n = node(id);
        for (size_t i = 0; n.tile && i < n.results.size(); ++i) {
          if (!ir_.values[n.results[i].value_id].in_memory) continue;
          const ValueId root = ir_.root(n.results[i].value_id);
          bool read = false;
          each_touch(g, [&](const Node& m, NodeId, int, bool write, ValueId v) {
            // The result of a matrix product comes to its epilogue through memory.
            read |= (!write || !m.tile) && ir_.root(v) == root;
          });
          if (read) ir_.late[static_cast<size_t>(id)] |= 1u << i;
        }
      }
    }
  }

  void assign_slots() {
    for (size_t v = 0; v < ir_.values.size(); ++v) {
      const ValueId root = ir_.root(static_cast<ValueId>(v));
      Buffer& b = ir_.buffers[root];
      if (b.last < 0 || b.place != Buffer::none) continue;
      b.bytes = ir_.values[root].bytes;
      if (ir_.values[root].external) b.place = Buffer::external;
      if (ir_.values[root].external) b.slot = ir_.slots++;
    }
    for (size_t v = 0; v < ir_.values.size(); ++v) {
      if (!ir_.values[v].live) continue;
      Buffer& b = ir_.buffers[ir_.root(static_cast<ValueId>(v))];
      if (b.place == Buffer::external || b.place == Buffer::output) continue;
      b.place = Buffer::output;
      b.bytes = ir_.values[ir_.root(static_cast<ValueId>(v))].bytes;
      b.slot = ir_.slots++;
    }
  }

  /// How many storages take the place of another.
  int assign_arena() {
    Ir::Arena& arena = ir_.arena;
    arena = {};
    for (size_t v = 0; v < ir_.values.size(); ++v)
      if (ir_.root(static_cast<ValueId>(v)) == v && ir_.buffers[v].place == Buffer::none &&
          ir_.buffers[v].last >= 0)
        arena.roots.push_back(static_cast<ValueId>(v));
    std::stable_sort(arena.roots.begin(), arena.roots.end(), [&](ValueId a, ValueId b) {
      return ir_.buffers[a].first < ir_.buffers[b].first;
    });
    std::vector<uint32_t> buffer_of(ir_.values.size(), 0);
    int donated = 0;
    for (ValueId root : arena.roots) {
      Buffer& b = ir_.buffers[root];
      b.place = Buffer::arena;
      b.bytes = arena_bytes(ir_.values[root]);
      const ValueId giver = find_giver(root, arena.roots);
      if (giver == root) {
        buffer_of[root] = static_cast<uint32_t>(arena.buffers.size());
        arena.buffers.push_back({b.bytes, b.first, b.last});
      } else {
        b.given_in = uses_[root].first;
        b.giver = giver;
        buffer_of[root] = buffer_of[giver];
        arena.buffers[buffer_of[giver]].last = b.last;
        given_.push_back(giver);
        ++donated;
      }
      arena.buffer_of.push_back(buffer_of[root]);
    }
    arena.packing = pack_arena(arena.buffers);
    take_offsets(ir_);
    return donated;
  }

  /// A storage of the same size that the group making `root` reads for the last time, element by
  /// element where `root` is written; `root` itself when there is none.
  ValueId find_giver(ValueId root, const std::vector<ValueId>& roots) {
    const Buffer& b = ir_.buffers[root];
    const int32_t g = uses_[root].first;
    const Group& group = ir_.groups[static_cast<size_t>(g)];
    if (group.kind != Group::tile) return root;
    for (ValueId other : roots) {
      const Buffer& a = ir_.buffers[other];
      if (a.first >= b.first) break;
      if (a.last != b.first || a.bytes != b.bytes || a.place != Buffer::arena) continue;
      if (!uses_[other].alone || uses_[other].last != g) continue;
      if (std::find(given_.begin(), given_.end(), other) != given_.end()) continue;
      bool fits = true, first = true;
      Touch where;
      Dims strides;
      NodeId writer = -1;
      int result = 0;
      each_touch(g, [&](const Node& n, NodeId id, int i, bool write, ValueId v) {
        if (!fits || (ir_.root(v) != root && ir_.root(v) != other)) return;
        const Touch t = write ? touch_result(n, static_cast<size_t>(i))
                              : touch_operand(n, static_cast<size_t>(i));
        Dims placed;
        fits = codegen::place(n.space, t.strides, group.axes, placed);
        if (first) {
          where = t;
          strides = placed;
          first = false;
        }
        fits = fits && t.offset == where.offset && placed == strides &&
               size_of(t.dtype) == size_of(where.dtype);
        if (write && ir_.root(v) == root) {
          writer = id;
          result = i;
        }
      });
      if (!fits || writer < 0) continue;
      mark_late(g, root);
      return other;
    }
    return root;
  }

  void mark_late(int32_t g, ValueId root) {
    for (NodeId id : ir_.groups[static_cast<size_t>(g)].nodes)
      for (size_t i = 0; i < node(id).results.size(); ++i)
        if (ir_.root(node(id).results[i].value_id) == root)
          ir_.late[static_cast<size_t>(id)] |= 1u << i;
  }

  /// Which groups touch a storage first and last; `alone`: no other one does in the last step.
  struct Use {
    int32_t first = -1, last = -1;
    bool alone = false;
  };

  Ir& ir_;
  std::vector<int32_t> group_of_;
  std::vector<Use> uses_;  // by root
  std::vector<ValueId> given_;
};

}  // namespace

int place_buffers(Ir& ir) { return Placer(ir).run(); }

bool place_again(Ir& ir) {
  for (size_t v = 0; v < ir.buffers.size(); ++v)
    if (ir.buffers[v].place == Buffer::output) ir.buffers[v].bytes = ir.values[v].bytes;
  for (size_t i = 0; i < ir.arena.roots.size(); ++i) {
    Buffer& b = ir.buffers[ir.arena.roots[i]];
    b.bytes = arena_bytes(ir.values[ir.arena.roots[i]]);
    if (b.given_in < 0)
      ir.arena.buffers[ir.arena.buffer_of[i]].bytes = b.bytes;
    else if (b.bytes != ir.buffers[b.giver].bytes)
      return false;
  }
  pack_again(ir.arena.buffers, ir.arena.packing);
  take_offsets(ir);
  return true;
}

}  // namespace qs::plan
