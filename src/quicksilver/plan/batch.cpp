// Horizontal groups: many small kernels that do the same to other memory become one launch.
//
// Groups are visited in their order. One that looks like an earlier group, and needs nothing that
// runs after that one, moves up into its step. What "looks like" means is kept loose (ops, dtypes
// and how they are wired, no ranks and no extents): emit compares the kernels that the groups
// really become, and those of one kernel are parts of one launch. An AdamW step over fifty tensors
// of all shapes is one launch; so are the fills that clear gradients and the norms of clipping.
//
// A step may hold several groups because none of them touches what another one writes. Lifetimes
// (memory.cpp) are counted in steps, so moving a group up keeps its results longer: groups whose
// results would hold more than a little of the arena stay where they are.
#include <algorithm>
#include <unordered_map>

#include "quicksilver/core/hash.h"
#include "quicksilver/plan/execute.h"
#include "quicksilver/plan/passes.h"

namespace qs::plan {
namespace {

using graph::Operand;
using graph::Result;

constexpr int64_t k_most_held = int64_t{1} << 16;  // arena bytes that the parts of a step may make
constexpr int32_t k_most_parts = 1024;
constexpr size_t k_most_open = 8;  // steps of one look that are tried

class Batcher {
 public:
  explicit Batcher(Ir& ir) : ir_(ir), read_outside_(ir.values.size(), 0) {
    std::vector<int32_t> group(ir.nodes.size(), -1);
    for (size_t g = 0; g < ir.groups.size(); ++g)
      for (NodeId id : ir.groups[g].nodes) group[static_cast<size_t>(id)] = static_cast<int32_t>(g);
    for (NodeId id : ir.sequence) {
      const Node& n = ir.nodes[static_cast<size_t>(id)];
      for (size_t i = 0; i < n.operands.size(); ++i) {
        const NodeId maker = reads(n, i) ? ir.values[n.operands[i].value_id].node : -1;
        if (maker >= 0 && group[static_cast<size_t>(maker)] != group[static_cast<size_t>(id)])
          read_outside_[n.operands[i].value_id] = 1;
      }
    }
  }

  int run() {
    int32_t steps = 0, last_check = -1;
    int joined = 0;
    for (int32_t id : ir_.order) {
      Group& g = ir_.groups[static_cast<size_t>(id)];
      int32_t earliest = g.writes_external ? last_check + 1 : 0;
      for (int32_t b : g.before)
        earliest = std::max(earliest, ir_.groups[static_cast<size_t>(b)].step + 1);
      if (g.kind == Group::tile && !g.check && !unfused()) {
        auto& list = open_[looks(g)];
        const int64_t held = held_bytes(g);
        const auto fits = std::find_if(list.begin(), list.end(), [&](const Open& o) {
          return o.step >= earliest && o.parts < k_most_parts &&
                 (held == 0 || o.held + held <= k_most_held);
        });
        if (fits != list.end()) {
          g.step = fits->step;
          fits->held += held;
          ++fits->parts;
          ++joined;
          continue;
        }
        if (list.size() == k_most_open) list.erase(list.begin());
        list.push_back({steps, 1, held});
      }
      if (g.check) last_check = steps;
      g.step = steps++;
    }
    std::stable_sort(ir_.order.begin(), ir_.order.end(), [&](int32_t a, int32_t b) {
      return ir_.groups[static_cast<size_t>(a)].step < ir_.groups[static_cast<size_t>(b)].step;
    });
    return joined;
  }

 private:
  struct Open {  // a step with groups of one look
    int32_t step = 0, parts = 0;
    int64_t held = 0;
  };

  /// Bytes of results that lie in the arena.
  int64_t held_bytes(const Group& g) const {
    int64_t bytes = 0;
    for (NodeId id : g.nodes) {
      const Node& n = ir_.nodes[static_cast<size_t>(id)];
      if (n.part == Node::piece) continue;  // its storage is there for its siblings anyway
      for (const Result& r : n.results)
        if (read_outside_[r.value_id] && !ir_.external(r.value_id) && !ir_.values[r.value_id].live)
          bytes += ir_.values[ir_.root(r.value_id)].bytes;
    }
    return bytes;
  }

  uint64_t looks(const Group& g) const {
    Hash128 h;
    std::unordered_map<ValueId, uint64_t> made;  // in this group: number of the result
    h.add(uint64_t(g.axes.mode) | uint64_t(g.axes.folds()) << 8);
    for (NodeId id : g.nodes) {
      const Node& n = ir_.nodes[static_cast<size_t>(id)];
      h.add(uint64_t(n.op) | uint64_t(n.compute) << 16 | uint64_t(n.space.folds) << 24);
      for (size_t i = n.space.has_axes ? 2 : 0; i < n.attrs.size(); ++i) h.add(n.attrs[i]);
      for (const Operand& o : n.operands) {
        const auto inside = made.find(o.value_id);
        const bool is_made = o.kind == Operand::value && inside != made.end();
        h.add(uint64_t(o.kind) | uint64_t(o.dtype) << 8 | uint64_t(o.read) << 16 |
              (is_made ? inside->second + 1 : 0) << 32);
      }
      for (const Result& r : n.results) {
        const bool live = n.part != Node::piece && ir_.values[r.value_id].live;
        h.add(uint64_t(r.dtype) | uint64_t(r.target >= 0) << 8 | uint64_t(live) << 9);
        made.emplace(r.value_id, made.size());
      }
    }
    return h.a ^ h.b;
  }

  Ir& ir_;
  std::vector<uint8_t> read_outside_;  // by value: another group reads it
  std::unordered_map<uint64_t, std::vector<Open>> open_;
};

}  // namespace

int batch_groups(Ir& ir) { return Batcher(ir).run(); }

}  // namespace qs::plan
