// Matrix products as library calls. The pass `prepare_calls` has made operands and result of one
// dtype and kept the result apart from its factors; here batch dimensions are collapsed and strides
// written down.
#include <algorithm>
#include <bit>

#include "quicksilver/core/error.h"
#include "quicksilver/plan/emit.h"
#include "quicksilver/plan/passes.h"
#include "quicksilver/plan/structure.h"
#include "quicksilver/runtime/device.h"

namespace qs::plan {
namespace {

using driver::MatmulArgs;
using graph::Operand;

/// Strides of the batch dimensions of `l`, seen as `batch` (0 where it is broadcast).
Dims batch_strides(const Layout& l, DimSpan batch) {
  Dims out(batch.size(), 0);
  const int own = l.rank() - 2;
  for (int d = 0; d < own; ++d) {
    const size_t at = batch.size() - static_cast<size_t>(own - d);
    out[at] = l.shape[d] == 1 ? 0 : l.strides[d];
  }
  return out;
}

MatmulArgs::Matrix matrix(const Layout& l) {
  MatmulArgs::Matrix m;
  const int r = l.rank();
  if (r >= 1) m.column = l.shape[r - 1] == 1 ? 0 : l.strides[r - 1];
  if (r >= 2) m.row = l.shape[r - 2] == 1 ? 0 : l.strides[r - 2];
  return m;
}

std::string say_matmul(const CompiledPlan::Line& line, const Structure& structure) {
  const auto& n = line.extents;
  const std::string then =
      line.parts ? " then " + structure.names_of(line.group, 1) : std::string();
  return format("  matmul {}x{}x{} batch {}{} ({} bytes)\n", n[0], n[1], n[2], n[3], then,
                line.bytes);
}

}  // namespace

bool has_one_batch_stride(const Layout& l) {
  int64_t next = 0, extent = 1;
  for (int d = l.rank() - 3; d >= 0; --d) {
    if (l.shape[d] == 1) continue;
    if (extent != 1 && l.strides[d] != next * extent) return false;
    next = extent == 1 ? l.strides[d] : next;
    extent *= l.shape[d];
  }
  return true;
}

MatmulLoops matmul_loops(const Ir& ir, const Node& node) {
  const Operand &a = node.operands[0], &b = node.operands[1];
  const bool has_bias = node.operands.size() > 2 && reads(node, 2);
  const Layout& c = node.results[0].layout;
  const int rank = c.rank();
  QS_ASSERT(rank >= 2 && a.layout.rank() >= 2 && b.layout.rank() >= 2);
  Dims batch(c.shape.data(), c.shape.data() + rank - 2);
  MatmulLoops loops;
  MatmulArgs& args = loops.args;
  args.m = c.shape[rank - 2];
  args.n = c.shape[rank - 1];
  args.k = a.layout.shape[a.layout.rank() - 1];
  args.alpha = std::bit_cast<double>(node.attrs[0]);
  if (node.operands.size() > 3)  // some rows of a product (narrow.cpp)
    args.whole_m = node.operands[3].layout.numel() / std::max<int64_t>(args.n, 1);
  const double bias_scale = node.attrs.size() > 1 ? std::bit_cast<double>(node.attrs[1]) : 1.0;
  args.a = matrix(a.layout);
  args.b = matrix(b.layout);
  args.c = matrix(c);
  Dims &sa = loops.a, &sb = loops.b, &sc = loops.c, &sd = loops.bias;
  sa = batch_strides(a.layout, batch);
  sb = batch_strides(b.layout, batch);
  sc = batch_strides(c, batch);
  sd = Dims(batch.size(), 0);
  loops.call.dtype = node.results[0].dtype;
  if (has_bias) {
    const Operand& bias = node.operands[2];
    Layout full = broadcast_to(bias.layout, c.shape);
    const bool is_result = ir.root(bias.value_id) == ir.root(node.results[0].value_id);
    if (bias_scale == 1.0 && !is_result) {
      loops.call.bias = true;
      args.bias = matrix(full);
      sd = batch_strides(full, batch);
    } else {
      // C starts as the bias; prepare_calls has put it there, or it is C itself.
      QS_ASSERT(is_result, "a scaled bias must lie in the result");
      args.beta = bias_scale;
    }
  }
  // Join batch dimensions that all four walk alike; what is left beyond one becomes single
  // commands.
  SmallVector<Dims*, 4> walks;
  for (Dims* s : {&sa, &sb, &sc, &sd}) walks.push_back(s);
  for (size_t d = 0; d < batch.size();) {
    if (batch[d] == 1) {
      batch.erase(d);
      for (Dims* s : walks) s->erase(d);
      continue;
    }
    bool joined = d > 0;
    for (Dims* s : walks) joined = joined && (*s)[d - 1] == (*s)[d] * batch[d];
    if (!joined) {
      ++d;
      continue;
    }
    batch[d] *= batch[d - 1];
    batch.erase(d - 1);
    for (Dims* s : walks) s->erase(d - 1);
  }
  // A stack of matrices against one shared right factor is one taller matrix.
  if (batch.size() == 1 && sb[0] == 0 && sd[0] == (loops.call.bias ? args.bias.row * args.m : 0) &&
      sa[0] == args.a.row * args.m && sc[0] == args.c.row * args.m && args.m > 1) {
    args.m *= batch[0];
    batch.clear();
    for (Dims* s : walks) s->clear();
  }
  // One row of each against a shared right factor: a matrix of these rows.
  if (batch.size() == 1 && sb[0] == 0 && args.m == 1) {
    args.m = batch[0];
    args.a.row = sa[0];
    args.c.row = sc[0];
    args.bias.row = sd[0];
    batch.clear();
    for (Dims* s : walks) s->clear();
  }
  // The longest one is the library's; one command for each point of the others.
  for (size_t d = 0; d + 1 < batch.size(); ++d) {
    if (batch[d] <= batch.back()) continue;
    std::swap(batch[d], batch.back());
    for (Dims* s : walks) std::swap((*s)[d], s->back());
  }
  if (!batch.empty()) {
    args.batch = batch.back();
    args.a.batch = sa.back();
    args.b.batch = sb.back();
    args.c.batch = sc.back();
    args.bias.batch = sd.back();
    batch.pop_back();
  }
  loops.outer = batch;
  return loops;
}

void Emitter::matmul(Group& group) {
  const Node& node = ir_.nodes[static_cast<size_t>(group.nodes[0])];
  if (node.results[0].layout.numel() == 0) return;
  if (!group.emitted.matmul)
    group.emitted.matmul = std::make_unique<MatmulLoops>(matmul_loops(ir_, node));
  const MatmulLoops& loops = *group.emitted.matmul;
  MatmulArgs args = loops.args;
  args.a.ptr = address(node.operands[0]);
  args.b.ptr = address(node.operands[1]);
  args.c.ptr = result_address(node, 0);
  if (loops.call.bias) args.bias.ptr = address(node.operands[2]);
  Dims index(loops.outer.size(), 0);
  for (;;) {
    MatmulArgs one = args;
    const int64_t size = static_cast<int64_t>(size_of(loops.call.dtype));
    auto shift = [&](MatmulArgs::Matrix& m, const Dims& s) {
      for (size_t d = 0; d < index.size(); ++d) m.ptr.bytes += index[d] * s[d] * size;
    };
    shift(one.a, loops.a);
    shift(one.b, loops.b);
    shift(one.c, loops.c);
    if (loops.call.bias) shift(one.bias, loops.bias);
    auto elements = [&](const MatmulArgs::Matrix& x, int64_t rows, int64_t columns) {
      return (x.row ? rows : 1) * (x.column ? columns : 1) * (x.batch ? args.batch : 1);
    };
    int64_t moved = elements(args.c, args.m, args.n) * (args.beta != 0 ? 2 : 1);
    if (args.k > 0) moved += elements(args.a, args.m, args.k) + elements(args.b, args.k, args.n);
    if (loops.call.bias) moved += elements(args.bias, args.m, args.n);
    moved *= size;
    Lowered behind;
    const bool follows = group.nodes.size() > 1 &&
                         lower_epilogue(group, {{args.batch, args.m, args.n}, one.c.ptr}, behind);
    if (follows) moved += behind.bytes;
    plan_.bytes_moved += moved;
    CompiledPlan::Line& line = push(kernel_for(loops.call), std::move(one), node.tag);
    line.words = say_matmul;
    line.bytes = moved;
    line.parts = follows;
    line.extents = {args.m, args.n, args.k, args.batch};
    plan_.commands.back().epilogue = {behind.kernel, std::move(behind.args)};
    size_t d = index.size();
    while (d > 0 && ++index[d - 1] == loops.outer[d - 1]) index[--d] = 0;
    if (d == 0) break;
  }
}

}  // namespace qs::plan
