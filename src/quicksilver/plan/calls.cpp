// Library calls and kernels take operands of one dtype, and results that do not lie among them.
// This pass puts copies before and behind where a recorded node asks for something else.
#include <algorithm>
#include <bit>

#include "quicksilver/core/error.h"
#include "quicksilver/plan/passes.h"

namespace qs::plan {
namespace {

using graph::Op;
using graph::Operand;
using graph::Result;

class Preparer {
 public:
  explicit Preparer(Ir& ir) : ir_(ir) {}

  int run() {
    std::vector<NodeId> sequence;
    sequence.swap(ir_.sequence);
    for (NodeId id : sequence) {
      if (ir_.nodes[static_cast<size_t>(id)].tile || reads_as_is(node(id).op)) {
        out_.push_back(id);
      } else if (graph::info(ir_.nodes[static_cast<size_t>(id)].op).kind == graph::OpKind::matmul) {
        matmul(id);
      } else {
        kernel(id);
      }
    }
    ir_.sequence = std::move(out_);
    return changes_;
  }

 private:
  Node& node(NodeId id) { return ir_.nodes[static_cast<size_t>(id)]; }

  NodeId add_node(NodeId like) {
    Node n;
    n.tag = node(like).tag;
    n.region = node(like).region;
    n.op = Op::copy;
    n.tile = true;
    ir_.nodes.push_back(std::move(n));
    ++changes_;
    return static_cast<NodeId>(ir_.nodes.size()) - 1;
  }

  /// Reads operand `i` of `id` from a dense copy of dtype `dtype`, made here; a number becomes a
  /// storage of one element.
  void copy_operand(NodeId id, size_t i, DType dtype) {
    const NodeId made = add_node(id);
    Operand& o = node(id).operands[i];
    Node& copy = node(made);
    if (o.kind == Operand::scalar) copy.op = Op::full;
    copy.compute = dtype;
    copy.operands.push_back(o);
    Result r;
    r.dtype = dtype;
    r.layout = Layout::contiguous(o.layout.shape);
    r.origin = o.origin.made_dense();
    r.value_id = ir_.add_value(made, 0, r.layout.numel() * static_cast<int64_t>(size_of(dtype)));
    copy.results.push_back(r);
    copy.space = codegen::space_of(copy);
    out_.push_back(made);
    o.kind = Operand::value;
    o.value_id = r.value_id;
    o.word = -1;
    o.dtype = dtype;
    o.layout = r.layout;
    o.origin = r.origin;
  }

  /// Lets `id` give its result `i` in a fresh dense storage of dtype `dtype` and copies it from
  /// there to where it was meant to go. The copy is returned, to be placed behind the node.
  NodeId detour_result(NodeId id, size_t i, DType dtype) {
    const NodeId made = add_node(id);
    Result& r = node(id).results[i];
    Node& copy = node(made);
    copy.compute = r.dtype;
    Operand from;
    from.kind = Operand::value;
    from.dtype = dtype;
    from.layout = Layout::contiguous(r.layout.shape);
    from.origin = r.origin.made_dense();
    from.value_id = ir_.add_value(id, static_cast<int32_t>(i),
                                  r.layout.numel() * static_cast<int64_t>(size_of(dtype)));
    copy.operands.push_back(from);
    Result to = r;
    if (r.target >= 0) {
      Operand target = node(id).operands[static_cast<size_t>(r.target)];
      target.read = false;
      copy.operands.push_back(target);
      to.target = 1;
    }
    copy.results.push_back(to);
    ir_.values[to.value_id].node = made;
    ir_.values[to.value_id].result = 0;
    r.value_id = from.value_id;
    r.dtype = dtype;
    r.layout = from.layout;
    r.origin = from.origin;
    r.target = -1;
    r.full = true;
    copy.space = codegen::space_of(copy);
    return made;
  }

  bool same_storage(const Node& n, size_t operand, size_t result) const {
    return ir_.root(n.operands[operand].value_id) == ir_.root(n.results[result].value_id);
  }

  /// Stacks of matrices that lie in two directions (heads within a batch) take one command for each
  /// step of the shorter one; beyond this many a dense copy is cheaper.
  static constexpr int64_t k_most_commands = 16;

  static bool takes_many_commands(const Layout& l) {
    if (has_one_batch_stride(l)) return false;
    int64_t all = 1, longest = 1;
    for (int d = 0; d < l.rank() - 2; ++d) {
      all *= l.shape[d];
      longest = std::max(longest, l.shape[d]);
    }
    return all / longest > k_most_commands;
  }

  void matmul(NodeId id) {
    const DType dtype = node(id).compute;
    for (size_t i = 0; i < 3 && i < node(id).operands.size(); ++i) {
      if (!reads(node(id), i)) continue;
      const Operand& o = node(id).operands[i];
      if (o.dtype == dtype && i < 2)
        ir_.choices.push_back({takes_many_commands, o.origin, takes_many_commands(o.layout)});
      if (o.dtype != dtype || (i < 2 && takes_many_commands(o.layout))) copy_operand(id, i, dtype);
    }
    NodeId behind = -1;
    const bool has_bias = node(id).operands.size() > 2 && reads(node(id), 2);
    const double scale = node(id).attrs.size() > 1 ? std::bit_cast<double>(node(id).attrs[1]) : 1.0;
    const bool bias_is_result = has_bias && node(id).results[0].target == 2;
    const bool among_factors = same_storage(node(id), 0, 0) || same_storage(node(id), 1, 0) ||
                               (has_bias && !bias_is_result && same_storage(node(id), 2, 0));
    if (node(id).results[0].dtype != dtype || among_factors) behind = detour_result(id, 0, dtype);
    if (has_bias && node(id).results[0].target != 2 && scale != 1.0) seed_result(id, 2);
    out_.push_back(id);
    if (behind >= 0) out_.push_back(behind);
  }

  /// Copies operand `i` into the storage of result 0 first; the node then works on it in place.
  void seed_result(NodeId id, size_t i) {
    const NodeId made = add_node(id);
    Node& n = node(id);
    Node& copy = node(made);
    Result& r = n.results[0];
    copy.compute = r.dtype;
    copy.operands.push_back(n.operands[i]);
    Result to = r;
    Operand place;  // the result as an operand
    place.kind = Operand::value;
    place.dtype = r.dtype;
    place.layout = r.layout;
    place.origin = r.origin;
    if (r.target >= 0) {
      place = n.operands[static_cast<size_t>(r.target)];
      Operand target = place;
      target.read = false;
      copy.operands.push_back(target);
      to.target = 1;
    }
    // A new value between the storage's old content and the node's result.
    to.value_id = static_cast<ValueId>(ir_.values.size());
    ValueInfo v = ir_.values[r.value_id];
    v.node = made;
    v.result = 0;
    v.live = false;
    v.successor = r.value_id;
    const ValueId old_root = v.root, old_base = v.base;
    if (r.target < 0) v.base = v.root = to.value_id;
    ir_.values.push_back(v);
    ir_.values[r.value_id].base = to.value_id;
    if (r.target >= 0) {
      ir_.values[old_base].successor = to.value_id;
    } else {  // the storage now begins with the copy
      for (ValueInfo& x : ir_.values)
        if (x.root == old_root) x.root = to.value_id;
    }
    copy.results.push_back(to);
    copy.space = codegen::space_of(copy);
    place.value_id = to.value_id;
    place.read = true;
    n.operands[i] = place;
    r.target = static_cast<int32_t>(i);
    r.full = false;
    out_.push_back(made);
  }

  /// Which operand an op works on in place, or -1.
  static int works_on(Op op) {
    switch (op) {
      case Op::index_put:
      case Op::index_add:
      case Op::scatter:
      case Op::scatter_add:
      case Op::scatter_reduce:
      case Op::index_reduce:
        return 0;
      default:
        return -1;
    }
  }

  void kernel(NodeId id) {
    const graph::OpInfo& row = graph::info(node(id).op);
    const Op op = node(id).op;
    const bool one_dtype = op != Op::cumsum && op != Op::cumprod && op != Op::nonzero;
    const DType dtype = op == Op::searchsorted ? node(id).compute : node(id).results[0].dtype;
    const int own = works_on(op);
    for (size_t i = 0; i < node(id).operands.size() && i < row.inputs; ++i) {
      const Operand& o = node(id).operands[i];
      const bool raw = row.raw >> i & 1;
      const bool number =
          o.kind == Operand::scalar && op != Op::nonzero && !(op == Op::draw && i >= 2);
      // Index and value positions of the scatter family differ from the raw mask: indices are
      // integers.
      const bool values = one_dtype && !raw_index(op, i) && (!raw || own >= 0);
      if (number)
        copy_operand(id, i, values ? dtype : DType::i64);
      else if (reads(node(id), i) && values && o.dtype != dtype && static_cast<int>(i) != own)
        copy_operand(id, i, dtype);
    }
    SmallVector<NodeId, 4> behind;
    if (own >= 0) {
      if (node(id).results[0].target != own) seed_result(id, static_cast<size_t>(own));
    } else {
      for (size_t r = 0; r < node(id).results.size(); ++r) {
        bool among = false;
        for (size_t i = 0; i < node(id).operands.size(); ++i)
          among |= reads(node(id), i) && same_storage(node(id), i, r);
        if (among) behind.push_back(detour_result(id, r, node(id).results[r].dtype));
      }
    }
    out_.push_back(id);
    for (NodeId b : behind) out_.push_back(b);
  }

  /// Takes every layout and gives fresh results; its verb has seen to the dtypes.
  static bool reads_as_is(Op op) { return op == Op::attention || op == Op::attention_backward; }

  static bool raw_index(Op op, size_t i) {
    switch (op) {
      case Op::index_select:
      case Op::gather:
      case Op::index_add:
      case Op::scatter:
      case Op::scatter_add:
      case Op::scatter_reduce:
      case Op::index_reduce:
        return i == 1;
      case Op::index:
        return i >= 1;
      case Op::index_put:
        return i >= 2;
      default:
        return false;
    }
  }

  Ir& ir_;
  std::vector<NodeId> out_;
  int changes_ = 0;
};

}  // namespace

int prepare_calls(Ir& ir) { return Preparer(ir).run(); }

}  // namespace qs::plan
