#include "quicksilver/graph/program.h"

#include "quicksilver/core/error.h"

namespace qs::graph {
namespace {

/// Reads the words KeyWriter put, in the same order.
class KeyReader {
 public:
  explicit KeyReader(std::span<const uint64_t> key) : key_(key) {}
  KeyReader(std::span<const uint64_t> key, size_t at) : key_(key), at_(at) {}
  bool done() const { return at_ == key_.size(); }
  uint64_t next() {
    QS_ASSERT(at_ < key_.size(), "the key ends inside a record");
    return key_[at_++];
  }
  Origin origin() const { return {static_cast<int32_t>(at_), false}; }
  void layout(uint64_t head, Layout& l) {
    const size_t rank = head >> 10 & 0xff;
    l.shape.resize(rank);
    for (int64_t& s : l.shape) s = static_cast<int64_t>(next());
    if (head >> 18 & 1) {
      l.strides.resize(rank);
      int64_t step = 1;
      for (size_t i = rank; i-- > 0;) {
        l.strides[i] = step;
        step *= l.shape[i] > 0 ? l.shape[i] : 1;
      }
      return;
    }
    l.strides.resize(rank);
    for (int64_t& s : l.strides) s = static_cast<int64_t>(next());
  }

 private:
  std::span<const uint64_t> key_;
  size_t at_ = 0;
};

Operand read_operand(KeyReader& in, Program& program) {
  const Origin origin = in.origin();
  const uint64_t head = in.next();
  Operand o;
  o.dtype = static_cast<DType>(head >> 2 & 0xff);
  switch (head & 3) {
    case KeyWriter::k_absent:
      return o;
    case KeyWriter::k_scalar:
      o.kind = Operand::scalar;
      o.word = program.words++;
      return o;
    default:
      break;
  }
  o.kind = Operand::value;
  o.value_id = static_cast<ValueId>(head >> 32);
  o.read = head >> 21 & 1;
  o.origin = origin;
  in.layout(head, o.layout);
  if (head >> 22 & 1) o.layout.offset = static_cast<int64_t>(in.next());
  if (head >> 19 & 1) o.word = program.words++;
  if (o.value_id == program.values.size()) {
    Value v;
    v.external = true;
    v.base = v.root = o.value_id;
    program.values.push_back(v);
  }
  return o;
}

Result read_result(KeyReader& in, const Node& node, Program& program, int32_t node_index, int i) {
  const Origin origin = in.origin();
  const uint64_t head = in.next();
  Result r;
  r.dtype = static_cast<DType>(head >> 2 & 0xff);
  r.target = static_cast<int32_t>(head >> 32 & 0xffff) - 1;
  r.full = head >> 19 & 1;
  r.value_id = static_cast<ValueId>(program.values.size());
  Value v;
  v.node = node_index;
  v.result = i;
  if (r.target >= 0) {
    QS_ASSERT(static_cast<size_t>(r.target) < node.operands.size());
    const Operand& t = node.operands[static_cast<size_t>(r.target)];
    QS_ASSERT(t.kind == Operand::value);
    r.layout = t.layout;
    r.origin = t.origin;
    v.base = t.value_id;
    v.root = program.values[t.value_id].root;
    v.bytes = program.values[t.value_id].bytes;
  } else {
    in.layout(head, r.layout);
    r.origin = origin;
    v.base = v.root = r.value_id;
    v.bytes = r.layout.numel() * static_cast<int64_t>(size_of(r.dtype));
  }
  program.values.push_back(v);
  return r;
}

}  // namespace

void read_layout(std::span<const uint64_t> key, Origin origin, Layout& out) {
  KeyReader in(key, static_cast<size_t>(origin.at));
  const uint64_t head = in.next();
  in.layout(head, out);
  const bool operand = (head & 3) == KeyWriter::k_value;
  out.offset = operand && (head >> 22 & 1) ? static_cast<int64_t>(in.next()) : 0;
  if (!origin.dense) return;
  out.strides = contiguous_strides(out.shape);
  out.offset = 0;
}

Program decode(std::span<const uint64_t> key) {
  Program program;
  KeyReader in(key);
  while (!in.done()) {
    const uint64_t head = in.next();
    Node node;
    node.op = static_cast<Op>(head & 0xffff);
    node.compute = static_cast<DType>(head >> 16 & 0xff);
    node.region = static_cast<uint32_t>(head >> 48);
    const size_t operands = head >> 24 & 0xff, results = head >> 32 & 0xff,
                 attrs = head >> 40 & 0xff;
    for (size_t i = 0; i < operands; ++i) node.operands.push_back(read_operand(in, program));
    const auto index = static_cast<int32_t>(program.nodes.size());
    for (size_t i = 0; i < results; ++i)
      node.results.push_back(read_result(in, node, program, index, static_cast<int>(i)));
    for (size_t i = 0; i < attrs; ++i) node.attrs.push_back(in.next());
    node.line = info(node.op).can_fail ? index : -1;
    program.nodes.push_back(std::move(node));
  }
  return program;
}

std::string to_string(const Program& program) {
  std::string text;
  auto typed = [](ValueId id, DType dtype, const Layout& l) {
    return format("%{}:{}{}", id, info(dtype).short_name, qs::to_string(l.shape));
  };
  for (const Node& n : program.nodes) {
    for (size_t i = 0; i < n.results.size(); ++i) {
      const Result& r = n.results[i];
      text += (i ? ", " : "") + typed(r.value_id, r.dtype, r.layout);
      if (r.target >= 0)
        text += format(" in {}", n.operands[static_cast<size_t>(r.target)].value_id);
    }
    text += format(" = {}(", name_of(n.op));
    for (size_t i = 0; i < n.operands.size(); ++i) {
      const Operand& o = n.operands[i];
      if (i) text += ", ";
      if (o.kind == Operand::absent)
        text += "-";
      else if (o.kind == Operand::scalar)
        text += format("${}", o.word);
      else {
        text += typed(o.value_id, o.dtype, o.layout);
        if (!o.layout.is_contiguous()) text += format("/{}", qs::to_string(o.layout.strides));
      }
    }
    text += ")";
    for (uint64_t a : n.attrs) text += format(" {:#x}", a);
    text += "\n";
  }
  return text;
}

void verify(const Program& program) {
  SmallVector<uint8_t, 64> replaced(program.values.size(), 0);
  std::vector<uint8_t> defined(program.values.size(), 0);
  for (size_t v = 0; v < program.values.size(); ++v) defined[v] = program.values[v].external;
  for (const Node& n : program.nodes) {
    const OpInfo& row = info(n.op);
    QS_ASSERT(n.operands.size() <= row.inputs || row.kind == OpKind::matmul || row.inputs >= 4);
    for (const Operand& o : n.operands) {
      if (o.kind != Operand::value) continue;
      QS_ASSERT(o.value_id < program.values.size());
      QS_ASSERT(defined[o.value_id], "an operand is used before it is made");
      QS_ASSERT(!replaced[o.value_id], "an operand was overwritten before it is read");
    }
    for (const Result& r : n.results) {
      defined[r.value_id] = 1;
      const Value& v = program.values[r.value_id];
      if (r.target >= 0) replaced[v.base] = 1;
    }
  }
}

}  // namespace qs::graph
