// Joining: cat becomes copies, each into its region of one fresh storage.
//
//   before   v = cat(a, b, c)
//   after    copy a into v[:na]; copy b into v[na:nb]; copy c into v[nb:]
//
// The storage begins *blank*: a value that no node makes. Each copy is a *piece*: an in-place
// write of a region that no other piece touches, so pieces wait neither for each other nor for
// anything else that is done to the storage, and whoever reads it waits for all of them. Equal
// copies become parts of one launch (batch.cpp); a map that makes what is joined takes the copy
// into its kernel (group.cpp) and writes the region itself.
//
// Joining inside joining (cat of cats, stack of cats) keeps the inner result: only maps write
// through.
#include <algorithm>

#include "quicksilver/plan/passes.h"

namespace qs::plan {
namespace {

using graph::Op;
using graph::Operand;
using graph::Result;

class Joiner {
 public:
  explicit Joiner(Ir& ir) : ir_(ir) {}

  int run() {
    int joined = 0;
    std::vector<NodeId> sequence;
    sequence.swap(ir_.sequence);
    for (NodeId id : sequence) {
      if (node(id).op == Op::cat) {
        split(id);
        ++joined;
      } else {
        out_.push_back(id);
      }
    }
    ir_.sequence = std::move(out_);
    return joined;
  }

 private:
  Node& node(NodeId id) { return ir_.nodes[static_cast<size_t>(id)]; }

  /// A copy of operand `i` of a cat; its result is left to the caller.
  NodeId add_copy(NodeId cat, size_t i) {
    const auto made = static_cast<NodeId>(ir_.nodes.size());
    Node copy;
    copy.op = Op::copy;
    copy.tag = node(cat).tag;
    copy.region = node(cat).region;
    copy.compute = node(cat).results[0].dtype;
    copy.tile = true;
    copy.operands.push_back(node(cat).operands[i]);
    ir_.nodes.push_back(std::move(copy));
    out_.push_back(made);
    return made;
  }

  void split(NodeId id) {
    std::vector<size_t> sources;  // those that hold anything
    for (size_t i = 0; i < node(id).operands.size(); ++i)
      if (reads(node(id), i) && node(id).operands[i].layout.numel() > 0) sources.push_back(i);
    const Result whole = node(id).results[0];
    node(id).dead = true;
    if (sources.size() == 1) {
      const NodeId made = add_copy(id, sources[0]);
      node(made).results.push_back(whole);
      node(made).space = codegen::space_of(node(made));
      ir_.values[whole.value_id].node = made;
      return;
    }
    ValueId before = add_blank(whole);
    const auto dim = static_cast<int>(node(id).attrs[0]);
    Operand place;  // the region of the last piece
    graph::Origin origin;
    for (size_t k = 0; k < sources.size(); ++k) {
      const NodeId made = add_copy(id, sources[k]);
      const Operand source = node(made).operands[0];
      const Layout region = piece_of(whole.layout, source.layout, k ? &place.layout : nullptr, dim);
      origin = ir_.derive({Derived::piece, whole.origin, source.origin, origin, dim});
      place.kind = Operand::value;
      place.read = false;
      place.dtype = whole.dtype;
      place.value_id = before;
      place.layout = region;
      place.origin = origin;
      before = write_piece(made, place, k + 1 == sources.size() ? whole.value_id : before);
    }
  }

  /// The storage of a cat's result before anything is in it.
  ValueId add_blank(const Result& whole) {
    const ValueId blank =
        ir_.add_value(-1, 0, whole.layout.numel() * static_cast<int64_t>(size_of(whole.dtype)));
    ir_.values[blank].blank = true;
    ir_.blanks.push_back({blank, whole.dtype, whole.origin});
    for (ValueInfo& v : ir_.values)
      if (v.root == whole.value_id) v.root = blank;
    return blank;
  }

  /// Lets a copy write a region; gives the value it makes: `last` when that is another one than
  /// what was there before.
  ValueId write_piece(NodeId id, const Operand& place, ValueId last) {
    const ValueId before = place.value_id;
    ValueId made = last;
    if (made == before) {
      made = ir_.add_value(id, 0, ir_.values[before].bytes);
      ir_.values[made].root = ir_.root(before);
    }
    ir_.values[before].successor = made;
    ir_.values[made].base = before;
    ir_.values[made].node = id;
    ir_.values[made].result = 0;
    Node& copy = node(id);
    copy.part = Node::piece;
    Result r;
    r.value_id = made;
    r.dtype = place.dtype;
    r.target = 1;
    r.full = false;
    r.layout = place.layout;
    r.origin = place.origin;
    copy.operands.push_back(place);
    copy.results.push_back(r);
    copy.space = codegen::space_of(copy);
    return made;
  }

  Ir& ir_;
  std::vector<NodeId> out_;
};

}  // namespace

Layout piece_of(const Layout& whole, const Layout& part, const Layout* before, int dim) {
  const auto d = static_cast<size_t>(dim);
  Layout l = whole;
  l.shape[d] = part.shape[d];
  if (before) l.offset = before->offset + before->shape[d] * before->strides[d];
  return l;
}

int split_joins(Ir& ir) { return Joiner(ir).run(); }

}  // namespace qs::plan
