// Attention as one library call each way. Operands may lie anyhow; the verb has brought them to
// [batch, heads, rows, columns] and one dtype.
#include <bit>

#include "quicksilver/core/error.h"
#include "quicksilver/plan/emit.h"
#include "quicksilver/plan/passes.h"

namespace qs::plan {
namespace {

using driver::AttentionArgs;
using driver::AttentionCall;
using graph::Op;
using graph::Operand;

AttentionArgs::Matrix matrix(const driver::PtrRef& ptr, const Layout& l) {
  QS_ASSERT(l.rank() == 4);
  AttentionArgs::Matrix m;
  m.ptr = ptr;
  int64_t* const strides[] = {&m.batch, &m.head, &m.row, &m.column};
  for (int d = 0; d < 4; ++d) *strides[d] = l.shape[d] == 1 ? 0 : l.strides[d];
  return m;
}

}  // namespace

void Emitter::attention(const Node& node) {
  AttentionCall call;
  AttentionArgs args;
  call.backward = node.op == Op::attention_backward;
  call.dtype = node.compute;
  call.causal = node.attrs[1] != 0;
  args.scale = std::bit_cast<double>(node.attrs[0]);
  const auto in = [&](size_t i) {
    const Operand& o = node.operands[i];
    return matrix(address(o), o.layout);
  };
  const auto out = [&](size_t i) {
    return matrix(result_address(node, i), node.results[i].layout);
  };
  const size_t q = call.backward ? 1 : 0, mask = call.backward ? 6 : 3;
  const Dims &of_q = node.operands[q].layout.shape, &of_k = node.operands[q + 1].layout.shape;
  args.batch = of_q[0];
  args.heads = of_q[1];
  args.key_heads = of_k[1];
  args.rows = of_q[2];
  args.keys = of_k[2];
  args.width = of_q[3];
  args.value_width = node.operands[q + 2].layout.shape[3];
  args.q = in(q);
  args.k = in(q + 1);
  args.v = in(q + 2);
  if (call.backward) {
    args.grad_out = in(0);
    args.out = in(4);
    args.logsumexp = address(node.operands[5]);
    args.grad_q = out(0);
    args.grad_k = out(1);
    args.grad_v = out(2);
  } else {
    args.out = out(0);
    args.logsumexp = result_address(node, 1);
  }
  if (reads(node, mask)) {
    const Operand& m = node.operands[mask];
    call.mask = m.dtype == DType::bool_ ? AttentionCall::boolean : AttentionCall::additive;
    call.mask_dtype = m.dtype;
    args.mask = matrix(address(m),
                       broadcast_to(m.layout, Dims{args.batch, args.heads, args.rows, args.keys}));
  }
  if (node.operands.size() > mask + 1 && node.operands[mask + 1].kind == Operand::scalar) {
    call.dropout = true;
    driver::ScalarRef* const numbers[] = {&args.keep, &args.drop_scale, &args.seed, &args.offset};
    for (size_t i = 0; i < 4; ++i) {
      const Operand& o = node.operands[mask + 1 + i];
      numbers[i]->word = o.word;
      numbers[i]->dtype = o.dtype;
    }
  }
  int64_t moved = 0;
  for (const Operand& o : node.operands)
    if (o.kind == Operand::value)
      moved += o.layout.numel() * static_cast<int64_t>(size_of(o.dtype));
  for (const graph::Result& r : node.results)
    moved += r.layout.numel() * static_cast<int64_t>(size_of(r.dtype));
  plan_.bytes_moved += moved;
  CompiledPlan::Line& line = push(kernel_for(call), args, node.tag);
  line.words = [](const CompiledPlan::Line& l, const Structure&) {
    const auto& n = l.extents;
    return format("  {} {}x{} of {} x {} heads, width {} ({} bytes)\n", l.name, n[0], n[1], n[2],
                  n[3], n[4], l.bytes);
  };
  line.name = graph::name_of(node.op);
  line.bytes = moved;
  line.extents = {args.rows, args.keys, args.batch, args.heads, args.width};
}

}  // namespace qs::plan
