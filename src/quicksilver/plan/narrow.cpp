// Rows that nobody reads are not computed: of a product whose readers want some rows only, such as
// the last token's logits, just these.
//
//   before   matmul 64x50304x768            logits
//            argmax                         reads row 63 of them
//   after    matmul 1x50304x768 of 64 rows  reads row 63 of the left factor
//            argmax                         reads all there is
//
// Each row must come out as it does in the whole product (Fusion keeps the bits): the driver says
// that it can do that (DriverInfo::exact_rows) and is told of how many rows these are some
// (MatmulArgs::whole_m). The left factor is dense and the right one is read along k, as a linear
// layer's are, so that the whole would have been one call of that many rows. The layout of the
// whole result stays behind as an operand that is not read.
#include <algorithm>

#include "quicksilver/core/env.h"
#include "quicksilver/plan/execute.h"
#include "quicksilver/plan/passes.h"
#include "quicksilver/plan/walk.h"

namespace qs::plan {
namespace {

using graph::Operand;
using graph::Result;

constexpr int64_t k_shortest_k = 32, k_fewest_columns = 16;  // where the driver's rows are exact

struct Rows {
  int64_t first = 0, count = 0;
};

/// The rows (last dimension but one) of `made` that `view` lies in; false when that is more than
/// half of them.
bool find_rows(const Layout& made, const Layout& view, Walk& walk, Rows& out) {
  const int d = made.rank() - 2;
  if (d < 0 || view.numel() == 0 || !find_walk(made, view, walk)) return false;
  int64_t low = walk.start[static_cast<size_t>(d)], high = low;
  for (int e = 0; e < view.rank(); ++e) {
    if (walk.dim[static_cast<size_t>(e)] != d) continue;
    const int64_t reach = walk.step[static_cast<size_t>(e)] * (view.shape[e] - 1);
    low += std::min<int64_t>(reach, 0);
    high += std::max<int64_t>(reach, 0);
  }
  out = {low, high - low + 1};
  return 2 * out.count <= made.shape[d];
}

bool is_dense(const Layout& l) { return l.is_contiguous(); }
bool is_read_along_k(const Layout& l) {
  const int d = l.rank() - 2;
  for (int i = 0; i < d; ++i)
    if (l.shape[i] != 1) return false;
  return d >= 0 && l.strides[d] == 1 && l.strides[d + 1] != 1 && l.shape[d] >= k_shortest_k &&
         l.shape[d + 1] >= k_fewest_columns;
}
bool is_one_row(const Layout& l) {
  for (int i = 0; i < l.rank() - 1; ++i)
    if (l.shape[i] != 1) return false;
  return true;
}

class Narrower {
 public:
  explicit Narrower(Ir& ir) : ir_(ir), readers_(readers_of(ir)) {}

  int run() {
    int changes = 0;
    for (NodeId id : ir_.sequence) {
      Node& n = ir_.nodes[static_cast<size_t>(id)];
      if (graph::info(n.op).kind == graph::OpKind::matmul && fits(n)) changes += narrow(n);
    }
    return changes;
  }

 private:
  /// Whether `n` is a product of the kind, read by this plan alone.
  bool fits(const Node& n) const {
    const Result& r = n.results[0];
    const ValueInfo& v = ir_.values[r.value_id];
    if (n.operands.size() > 3 || r.target >= 0 || v.live || v.external || v.base != r.value_id ||
        v.successor != r.value_id || r.origin.at == -1 || !r.layout.is_contiguous())
      return false;
    const bool biased = n.operands.size() > 2 && reads(n, 2);
    for (size_t i = 0; i < (biased ? 3u : 2u); ++i) {
      const Operand& o = n.operands[i];
      if (!reads(n, i) || o.dtype != n.compute || (o.layout.rank() > 1 && o.origin.at == -1))
        return false;
    }
    return r.dtype == n.compute && n.operands[0].layout.rank() == r.layout.rank() &&
           is_dense(n.operands[0].layout) && is_read_along_k(n.operands[1].layout) &&
           (!biased || is_one_row(n.operands[2].layout));
  }

  /// The operands that read value `v`, when all do so through one view of its own dtype; else none.
  std::vector<Operand*> views_of(ValueId v, DType dtype) {
    std::vector<Operand*> views;
    for (NodeId id : readers_[v]) {
      Node& n = ir_.nodes[static_cast<size_t>(id)];
      for (size_t i = 0; i < n.operands.size(); ++i) {
        Operand& o = n.operands[i];
        if (o.kind != Operand::value || o.value_id != v) continue;
        if (!reads(n, i) || o.origin.at == -1 || o.dtype != dtype) return {};
        if (!views.empty() && !(views[0]->layout == o.layout)) return {};
        views.push_back(&o);
      }
    }
    return views;
  }

  bool narrow(Node& n) {
    Result& r = n.results[0];
    const std::vector<Operand*> views = views_of(r.value_id, r.dtype);
    Layout factor, made, seen;
    if (views.empty() || !rows_of(n.operands[0].layout, r.layout, views[0]->layout, factor) ||
        !rows_of(r.layout, r.layout, views[0]->layout, made) ||
        !seen_in_rows(views[0]->layout, r.layout, seen))
      return false;
    const graph::Origin of_whole = r.origin, of_view = views[0]->origin;
    for (size_t i = 1; i < views.size(); ++i)
      ir_.same_layouts.push_back({of_view, views[i]->origin, false});
    ir_.choices.push_back({is_dense, n.operands[0].origin, true});
    ir_.choices.push_back({is_read_along_k, n.operands[1].origin, true});
    if (n.operands.size() > 2 && reads(n, 2))
      ir_.choices.push_back({is_one_row, n.operands[2].origin, true});

    Operand whole;  // the layout of the result as it was recorded
    whole.kind = Operand::value;
    whole.dtype = r.dtype;
    whole.read = false;
    whole.value_id = r.value_id;
    whole.layout = r.layout;
    whole.origin = of_whole;
    n.operands.resize(3);
    n.operands.push_back(whole);
    Operand& a = n.operands[0];
    a.layout = factor;
    a.origin = ir_.derive({Derived::rows, a.origin, of_whole, of_view});
    r.layout = Layout::contiguous(made.shape);
    r.origin = ir_.derive({Derived::rows, of_whole, of_whole, of_view}).made_dense();
    ir_.values[r.value_id].bytes = r.layout.numel() * static_cast<int64_t>(size_of(r.dtype));
    for (Operand* o : views) {
      if (o->recorded.at == -1) o->recorded = o->origin;
      o->layout = seen;
      o->origin = ir_.derive({Derived::in_rows, of_view, of_whole});
    }
    return true;
  }

  Ir& ir_;
  std::vector<std::vector<NodeId>> readers_;  // by value
};

}  // namespace

bool rows_of(const Layout& operand, const Layout& made, const Layout& view, Layout& out) {
  Walk walk;
  Rows rows;
  const int d = operand.rank() - 2;
  if (d < 0 || !find_rows(made, view, walk, rows) ||
      operand.shape[d] != made.shape[made.rank() - 2])
    return false;
  out = operand;
  out.shape[d] = rows.count;
  out.offset += rows.first * operand.strides[d];
  return true;
}

bool seen_in_rows(const Layout& view, const Layout& made, Layout& out) {
  Walk walk;
  Rows rows;
  if (!find_rows(made, view, walk, rows)) return false;
  Dims shape = made.shape;
  const auto d = static_cast<size_t>(made.rank() - 2);
  shape[d] = rows.count;
  walk.start[d] -= rows.first;
  out = look_through(Layout::contiguous(shape), shape, walk, view.shape);
  return true;
}

int narrow_products(Ir& ir) {
  if (unfused() || !ir.driver->info().exact_rows || env().gemm == "dnnl") return 0;
  return Narrower(ir).run();
}

}  // namespace qs::plan
