// Common subexpressions: one node instead of two that compute the same.
//
// Two computations of one thing may be meant: what is computed again in backward need not be kept
// until then. So nodes of different checkpoint regions never merge, and neither do others where the
// merged value, held from its first use to its last, would raise the peak of what is alive. That
// peak is estimated before anything is fused. Nearly always merging everything leaves it where it
// was, and that is all there is to do; only when it does not is each merge looked at alone.
#include <algorithm>
#include <unordered_map>

#include "quicksilver/core/hash.h"
#include "quicksilver/plan/passes.h"

namespace qs::plan {
namespace {

using graph::Op;
using graph::Operand;
using graph::OpKind;
using graph::Result;

constexpr int64_t k_small_bytes = int64_t{1} << 16;  // held without a thought
constexpr int64_t k_slack = 16;                      // the peak may rise by one part in so many
constexpr int32_t k_near = 12;                       // nodes apart, likely of one kernel

struct NodeHash {
  const Ir* ir;
  size_t operator()(NodeId id) const {
    const Node& n = ir->nodes[static_cast<size_t>(id)];
    Hash128 h;
    h.add(static_cast<uint64_t>(n.op) | uint64_t(n.compute) << 16 | uint64_t(n.region) << 32);
    for (const Operand& o : n.operands) {
      h.add(uint64_t(o.kind) | uint64_t(o.dtype) << 8 | uint64_t(o.value_id) << 16);
      h.add(static_cast<uint64_t>(static_cast<uint32_t>(o.word)));
      if (o.kind == Operand::value) h.add(hash_layout(o.layout, o.read));
    }
    for (const Result& r : n.results) h.add(hash_layout(r.layout, uint64_t(r.dtype)));
    for (uint64_t a : n.attrs) h.add(a);
    return h.a;
  }
};

struct NodeEqual {
  const Ir* ir;
  bool operator()(NodeId x, NodeId y) const {
    const Node &a = ir->nodes[static_cast<size_t>(x)], &b = ir->nodes[static_cast<size_t>(y)];
    if (a.op != b.op || a.compute != b.compute || a.region != b.region || a.attrs != b.attrs ||
        a.operands.size() != b.operands.size() || a.results.size() != b.results.size())
      return false;
    for (size_t i = 0; i < a.operands.size(); ++i) {
      const Operand &o = a.operands[i], &p = b.operands[i];
      if (o.kind != p.kind || o.dtype != p.dtype || o.value_id != p.value_id || o.word != p.word ||
          o.read != p.read || !same_view(o.layout, p.layout) ||
          (o.word < 0 && o.layout.offset != p.layout.offset))
        return false;
    }
    for (size_t i = 0; i < a.results.size(); ++i)
      if (a.results[i].dtype != b.results[i].dtype ||
          !same_view(a.results[i].layout, b.results[i].layout))
        return false;
    return true;
  }
};

/// What is alive at each position of the sequence: bytes of the plan's own storages, as if each
/// result went through memory.
class Alive {
 public:
  explicit Alive(const Ir& ir)
      : ir_(ir), first_(ir.values.size(), -1), last_(ir.values.size(), -1) {
    const auto n = static_cast<int32_t>(ir.sequence.size());
    for (int32_t p = 0; p < n; ++p) {
      const Node& node = ir.nodes[static_cast<size_t>(ir.sequence[static_cast<size_t>(p)])];
      for (size_t i = 0; i < node.operands.size(); ++i)
        if (reads(node, i)) last_[ir.root(node.operands[i].value_id)] = p;
      for (const Result& r : node.results) {
        const ValueId root = ir.root(r.value_id);
        if (first_[root] < 0) first_[root] = p;
        last_[root] = ir.values[r.value_id].live ? n : std::max(last_[root], p);
      }
    }
    std::vector<int64_t> change(static_cast<size_t>(n) + 2, 0);
    for (size_t v = 0; v < first_.size(); ++v) {
      if (first_[v] < 0 || ir.values[v].external) continue;
      if (ir.values[v].live) last_[v] = n;
      change[static_cast<size_t>(first_[v])] += ir.values[v].bytes;
      change[static_cast<size_t>(std::min(last_[v], n)) + 1] -= ir.values[v].bytes;
    }
    int64_t now = 0;
    for (int32_t p = 0; p < n; ++p) {
      now += change[static_cast<size_t>(p)];
      bytes_.push_back(now);
      peak_ = std::max(peak_, now);
    }
  }

  int64_t peak() const { return peak_; }
  int64_t limit() const { return peak_ + std::max(k_small_bytes, peak_ / k_slack); }

  /// Lets `first` also stand for `again`, made at position p, unless that raises the peak.
  bool hold(ValueId first, ValueId again, int32_t p) {
    const ValueId root = ir_.root(first);
    const int64_t bytes = ir_.values[root].bytes;
    const int32_t from = last_[root] + 1, to = std::max(last_[root], last_[ir_.root(again)]);
    if (bytes > k_small_bytes && p - last_[root] > k_near)
      for (int32_t q = from; q < p; ++q)
        if (bytes_[static_cast<size_t>(q)] + bytes > limit()) return false;
    for (int32_t q = from; q < p; ++q) bytes_[static_cast<size_t>(q)] += bytes;
    last_[root] = to;
    return true;
  }

 private:
  const Ir& ir_;
  std::vector<int32_t> first_, last_;  // by root: positions
  std::vector<int64_t> bytes_;         // by position
  int64_t peak_ = 0;
};

class Merger {
 public:
  explicit Merger(Ir& ir)
      : ir_(ir),
        instead_(ir.values.size()),
        replaced_(ir.values.size(), 0),
        seen_(64, NodeHash{&ir}, NodeEqual{&ir}) {
    for (size_t v = 0; v < ir.values.size(); ++v) {
      instead_[v] = static_cast<ValueId>(v);
      replaced_[v] = ir.values[v].successor != v;  // some later node writes over it
    }
  }

  /// With `alive`: merges only what that allows.
  int run(Alive* alive) {
    int changes = 0;
    std::vector<NodeId> kept;
    for (size_t p = 0; p < ir_.sequence.size(); ++p) {
      const NodeId id = ir_.sequence[p];
      for (Operand& o : node(id).operands)
        if (o.kind == Operand::value) o.value_id = instead_[o.value_id];
      if (merges(id, static_cast<int32_t>(p), alive)) {
        ++changes;
        continue;
      }
      kept.push_back(id);
    }
    ir_.sequence = std::move(kept);
    return changes;
  }

 private:
  Node& node(NodeId id) { return ir_.nodes[static_cast<size_t>(id)]; }

  bool merges(NodeId id, int32_t p, Alive* alive) {
    Node& n = node(id);
    if (graph::info(n.op).kind == OpKind::random) return false;
    bool fits = true, stands = true;
    for (const Result& r : n.results) {
      stands = stands && r.target < 0 && !replaced_[r.value_id];
      fits = fits && stands && !ir_.values[r.value_id].live;
    }
    if (!stands) return false;
    const auto [it, fresh] = seen_.try_emplace(id, id);
    if (fresh || !fits) return false;  // one with live results may still stand for later ones
    const Node& first = node(it->second);
    if (alive)
      for (size_t i = 0; i < n.results.size(); ++i)
        if (!alive->hold(first.results[i].value_id, n.results[i].value_id, p)) {
          seen_.erase(it);  // later ones are nearer to this one
          seen_.emplace(id, id);
          return false;
        }
    for (size_t i = 0; i < n.operands.size(); ++i)
      if (n.operands[i].kind == Operand::value)
        ir_.same_layouts.push_back({first.operands[i].origin, n.operands[i].origin, false});
    for (size_t i = 0; i < n.results.size(); ++i) {
      ir_.same_layouts.push_back({first.results[i].origin, n.results[i].origin, false});
      instead_[n.results[i].value_id] = first.results[i].value_id;
    }
    n.dead = true;
    return true;
  }

  Ir& ir_;
  std::vector<ValueId> instead_;
  std::vector<uint8_t> replaced_;
  std::unordered_map<NodeId, NodeId, NodeHash, NodeEqual> seen_;
};

/// The sequence, and which values its nodes read: what merging changes.
struct Saved {
  std::vector<NodeId> sequence;
  std::vector<ValueId> operands;
  size_t same_layouts;

  explicit Saved(const Ir& ir) : sequence(ir.sequence), same_layouts(ir.same_layouts.size()) {
    for (NodeId id : sequence)
      for (const Operand& o : ir.nodes[static_cast<size_t>(id)].operands)
        operands.push_back(o.value_id);
  }
  void restore(Ir& ir) const {
    ir.sequence = sequence;
    ir.same_layouts.resize(same_layouts);
    size_t k = 0;
    for (NodeId id : sequence) {
      Node& n = ir.nodes[static_cast<size_t>(id)];
      n.dead = false;
      for (Operand& o : n.operands) o.value_id = operands[k++];
    }
  }
};

}  // namespace

int merge_common(Ir& ir) {
  const Saved saved(ir);
  Alive before(ir);
  const int merged = Merger(ir).run(nullptr);
  if (merged == 0 || Alive(ir).peak() <= before.limit()) return merged;
  saved.restore(ir);
  return Merger(ir).run(&before);
}

}  // namespace qs::plan
