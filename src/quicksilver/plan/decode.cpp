// The first pass: from key words to the Ir.
#include "quicksilver/core/error.h"
#include "quicksilver/plan/passes.h"
#include "quicksilver/plan/tape.h"

namespace qs::plan {

ValueId Ir::add_value(NodeId node, int32_t result, int64_t bytes) {
  ValueInfo v;
  v.node = node;
  v.result = result;
  v.base = v.root = v.successor = static_cast<ValueId>(values.size());
  v.bytes = bytes;
  values.push_back(v);
  return v.base;
}

Ir decode_recording(const Recording& recording, const std::vector<bool>& live) {
  graph::Program program = graph::decode(recording.key);
  Ir ir;
  ir.words = recording.words;
  ir.values.resize(program.values.size());
  for (size_t i = 0; i < program.values.size(); ++i) {
    static_cast<graph::Value&>(ir.values[i]) = program.values[i];
    ir.values[i].successor = static_cast<ValueId>(i);
    ir.values[i].live = live[i];
  }
  for (size_t i = 0; i < program.values.size(); ++i)
    if (ir.values[i].base != i) ir.values[ir.values[i].base].successor = static_cast<ValueId>(i);
  ir.nodes.resize(program.nodes.size());
  for (size_t i = 0; i < program.nodes.size(); ++i) {
    Node& n = ir.nodes[i];
    static_cast<graph::Node&>(n) = std::move(program.nodes[i]);
    n.tag = static_cast<int32_t>(i);
    const graph::OpKind kind = graph::info(n.op).kind;
    n.tile = kind != graph::OpKind::matmul && kind != graph::OpKind::kernel;
    if (n.tile) n.space = codegen::space_of(n);
    ir.sequence.push_back(static_cast<NodeId>(i));
  }
  return ir;
}

bool reads(const Node& n, size_t i) {
  const graph::Operand& o = n.operands[i];
  return o.kind == graph::Operand::value && o.read && i < graph::info(n.op).inputs;
}

Touch touch_operand(const Node& n, size_t i) {
  const graph::Operand& o = n.operands[i];
  Touch t;
  t.value = o.value_id;
  t.dtype = o.dtype;
  t.word = o.word;
  t.offset = o.layout.offset;
  if (n.tile) t.strides = codegen::operand_strides(n, n.space, i);
  return t;
}

Touch touch_result(const Node& n, size_t i) {
  const graph::Result& r = n.results[i];
  Touch t;
  t.value = r.value_id;
  t.dtype = r.dtype;
  t.write = true;
  if (r.target >= 0) {
    const graph::Operand& o = n.operands[static_cast<size_t>(r.target)];
    t.word = o.word;
    t.offset = o.layout.offset;
  }
  if (n.tile) t.strides = codegen::result_strides(n, n.space, i);
  return t;
}

std::vector<std::vector<NodeId>> readers_of(const Ir& ir) {
  std::vector<std::vector<NodeId>> readers(ir.values.size());
  for (NodeId id : ir.sequence) {
    const Node& n = ir.nodes[static_cast<size_t>(id)];
    for (size_t i = 0; i < n.operands.size(); ++i) {
      if (!reads(n, i)) continue;
      auto& list = readers[n.operands[i].value_id];
      if (list.empty() || list.back() != id) list.push_back(id);
    }
  }
  return readers;
}

}  // namespace qs::plan
