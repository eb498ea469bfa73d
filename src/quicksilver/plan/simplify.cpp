// Small simplifications: launch words, copies, filled tensors, dead code.
// None of them changes a bit of any result.
#include <algorithm>
#include <unordered_map>

#include "quicksilver/core/error.h"
#include "quicksilver/core/hash.h"
#include "quicksilver/plan/passes.h"

namespace qs::plan {
namespace {

using graph::Op;
using graph::Operand;
using graph::OpKind;
using graph::Result;

/// The position in the sequence at which a value's storage is next written, or past the end.
std::vector<int32_t> overwritten_at(const Ir& ir) {
  std::vector<int32_t> at(ir.values.size(), INT32_MAX);
  for (size_t p = 0; p < ir.sequence.size(); ++p)
    for (const Result& r : ir.nodes[static_cast<size_t>(ir.sequence[p])].results)
      if (r.target >= 0) at[ir.values[r.value_id].base] = static_cast<int32_t>(p);
  return at;
}

/// A filled tensor as the number it holds, for readers that compute in its very dtype.
bool number_for(const Ir& ir, const Node& reader, size_t i, Operand& out) {
  const Operand& o = reader.operands[i];
  const graph::OpInfo& row = graph::info(reader.op);
  if (!reader.tile || row.kind != OpKind::map || reader.space.folds || row.raw >> i & 1)
    return false;
  const ValueInfo& v = ir.values[o.value_id];
  if (v.external || v.base != o.value_id || v.node < 0) return false;
  const Node& maker = ir.nodes[static_cast<size_t>(v.node)];
  if (maker.op != Op::full || maker.operands.empty() || maker.operands[0].kind != Operand::scalar)
    return false;
  const DType dtype = maker.results[0].dtype;
  if (dtype != o.dtype || compute_dtype(dtype) != dtype || reader.compute != dtype ||
      maker.compute != dtype || is_complex(dtype))
    return false;
  out = maker.operands[0];
  return true;
}

/// The source of a plain copy as an operand instead of the copy.
bool source_for(Ir& ir, const std::vector<int32_t>& written, const Node& reader, size_t i,
                int32_t position, size_t copy_readers, Operand& out) {
  const Operand& o = reader.operands[i];
  const ValueInfo& v = ir.values[o.value_id];
  if (v.external || v.base != o.value_id || v.node < 0) return false;
  const Node& copy = ir.nodes[static_cast<size_t>(v.node)];
  if (copy.op != Op::copy || !reads(copy, 0) || copy.results[0].target >= 0) return false;
  const Operand& source = copy.operands[0];
  if (source.dtype != copy.results[0].dtype || source.dtype != o.dtype) return false;
  if (!(source.layout.shape == copy.results[0].layout.shape)) return false;
  if (o.layout.offset != 0 || !same_view(o.layout, copy.results[0].layout)) return false;
  if (position >= written[source.value_id]) return false;
  const bool same_strides = source.layout.strides == o.layout.strides;
  const bool plain_map = reader.tile && !reader.space.folds;
  if (!same_strides && (!plain_map || copy_readers > 1)) return false;
  const graph::Origin result = copy.results[0].origin;
  ir.same_layouts.push_back({source.origin, result, true});
  ir.same_layouts.push_back({o.origin, result, false});
  if (!plain_map || copy_readers > 1) ir.same_layouts.push_back({source.origin, o.origin, false});
  out = source;
  return true;
}

}  // namespace

uint64_t hash_layout(const Layout& l, uint64_t seed) {
  Hash128 h;
  h.add(seed);
  for (int64_t s : l.shape) h.add(static_cast<uint64_t>(s));
  for (int64_t s : l.strides) h.add(static_cast<uint64_t>(s));
  h.add(static_cast<uint64_t>(l.offset));
  return h.a;
}

bool same_view(const Layout& a, const Layout& b) {
  return a.shape == b.shape && a.strides == b.strides;
}

int unify_words(Ir& ir) {
  int changes = 0;
  std::unordered_multimap<uint64_t, const Operand*> seen;
  for (NodeId id : ir.sequence) {
    for (Operand& o : ir.nodes[static_cast<size_t>(id)].operands) {
      if (o.kind != Operand::value || o.word < 0) continue;
      const uint64_t start = ir.words[static_cast<size_t>(o.word)];
      const uint64_t key =
          hash_layout(o.layout, uint64_t(ir.root(o.value_id)) << 8 | uint64_t(o.dtype)) ^
          start * 0x9e3779b97f4a7c15ull;
      const Operand* same = nullptr;
      const auto range = seen.equal_range(key);
      for (auto it = range.first; it != range.second && !same; ++it) {
        const Operand& p = *it->second;
        if (ir.root(p.value_id) == ir.root(o.value_id) && p.dtype == o.dtype &&
            same_view(p.layout, o.layout) && ir.words[static_cast<size_t>(p.word)] == start)
          same = &p;
      }
      if (!same) {
        seen.emplace(key, &o);
      } else if (same->word != o.word) {
        ir.guards.push_back({same->word, o.word});
        ir.same_layouts.push_back({same->origin, o.origin, false});
        o.word = same->word;
        ++changes;
      }
    }
  }
  return changes;
}

int canonicalise(Ir& ir) {
  int changes = 0;
  const std::vector<int32_t> written = overwritten_at(ir);
  std::vector<size_t> readers(ir.values.size(), 0);
  for (NodeId id : ir.sequence)
    for (const Operand& o : ir.nodes[static_cast<size_t>(id)].operands)
      if (o.kind == Operand::value) ++readers[o.value_id];
  for (size_t p = 0; p < ir.sequence.size(); ++p) {
    Node& n = ir.nodes[static_cast<size_t>(ir.sequence[p])];
    for (size_t i = 0; i < n.operands.size(); ++i) {
      if (!reads(n, i)) continue;
      const bool is_target = std::any_of(n.results.begin(), n.results.end(), [&](const Result& r) {
        return r.target == static_cast<int32_t>(i);
      });
      if (is_target) continue;
      Operand better;
      if (!number_for(ir, n, i, better) && !source_for(ir, written, n, i, static_cast<int32_t>(p),
                                                       readers[n.operands[i].value_id], better))
        continue;
      n.operands[i] = better;
      ++changes;
    }
  }
  return changes;
}

int drop_dead(Ir& ir) {
  std::vector<uint8_t> wanted(ir.values.size(), 0);
  std::vector<NodeId> kept;
  int changes = 0;
  for (size_t p = ir.sequence.size(); p-- > 0;) {
    const NodeId id = ir.sequence[p];
    Node& n = ir.nodes[static_cast<size_t>(id)];
    bool alive = n.part == Node::check;  // what it is for is alive, or it would not have been made
    for (const Result& r : n.results)
      alive |= wanted[r.value_id] || ir.values[r.value_id].live ||
               (r.target >= 0 && ir.external(r.value_id));
    if (!alive) {
      n.dead = true;
      ++changes;
      continue;
    }
    kept.push_back(id);
    for (size_t i = 0; i < n.operands.size(); ++i)
      if (reads(n, i)) wanted[n.operands[i].value_id] = 1;
    for (const Result& r : n.results)
      if (r.target >= 0 && !r.full) wanted[ir.values[r.value_id].base] = 1;
  }
  std::reverse(kept.begin(), kept.end());
  ir.sequence = std::move(kept);
  return changes;
}

}  // namespace qs::plan
