#include "quicksilver/plan/structure.h"

#include <algorithm>
#include <cstring>

#include "quicksilver/core/error.h"
#include "quicksilver/plan/passes.h"
#include "quicksilver/plan/tape.h"

namespace qs::plan {
namespace {

using graph::KeyWriter;
using graph::Operand;
using graph::Origin;
using graph::Result;

/// Puts the classes of a layout's dimensions into as few words as they need: two bits for an extent
/// (0, 1, 2 for more), one for a stride (0 or not; of no account where the extent is 1).
class ClassWriter {
 public:
  explicit ClassWriter(std::vector<uint64_t>& out) : out_(out) {}
  /// `at` is the first dimension; gives the words behind the layout.
  const uint64_t* layout(uint64_t head, const uint64_t* at) {
    const size_t rank = head >> 10 & 0xff;
    const bool plain = head >> 18 & 1;
    uint64_t word = 0;
    for (size_t d = 0; d < rank; ++d) {
      const uint64_t extent = std::min<uint64_t>(at[d], 2);
      const uint64_t stride = plain || extent == 1 || at[rank + d] != 0;
      word = word << 3 | extent << 1 | stride;
      if (d % 16 == 15) {
        out_.push_back(word);
        word = 0;
      }
    }
    if (rank % 16) out_.push_back(word);
    return at + (plain ? rank : 2 * rank);
  }

 private:
  std::vector<uint64_t>& out_;
};

// Folds of few long rows are not fused with what follows them (group.cpp).
constexpr int64_t k_few_rows = 8;
constexpr int64_t k_long_row = int64_t{1} << 15;

}  // namespace

void class_key(std::span<const uint64_t> key, std::vector<uint64_t>& out) {
  out.clear();
  ClassWriter writer(out);
  const uint64_t *at = key.data(), *end = at + key.size();
  while (at < end) {
    const uint64_t head = *at++;
    out.push_back(head);
    const size_t operands = head >> 24 & 0xff, results = head >> 32 & 0xff,
                 attrs = head >> 40 & 0xff;
    for (size_t i = 0; i < operands; ++i) {
      const uint64_t operand = *at++;
      out.push_back(operand);
      if ((operand & 3) != KeyWriter::k_value) continue;
      at = writer.layout(operand, at);
      at += operand >> 22 & 1;
    }
    for (size_t i = 0; i < results; ++i) {
      const uint64_t result = *at++;
      out.push_back(result);
      if ((result >> 32 & 0xffff) == 0) at = writer.layout(result, at);
    }
    out.insert(out.end(), at, at + attrs);
    at += attrs;
  }
}

Structure::Structure(const Recording& recording, const std::vector<bool>& live_in)
    : live((live_in.size() + 63) / 64, 0), nodes(recording.nodes) {
  for (size_t v = 0; v < live_in.size(); ++v)
    if (live_in[v]) live[v / 64] |= uint64_t{1} << (v % 64);
}

Structure::Folding::Folding(const codegen::Space& space) : mode(space.mode), order(space.order) {
  int64_t kept = 1, reduced = 1;
  for (size_t d = 0; d < space.shape.size(); ++d)
    (space.axes >> d & 1 ? reduced : kept) *= space.shape[d];
  few_long_rows = kept < k_few_rows && reduced >= k_long_row;
}

void Structure::keep(Ir ir, std::span<const uint64_t> key) {
  ir_ = std::move(ir);
  guards = std::move(ir_.guards);
  std::sort(guards.begin(), guards.end(),
            [](const Guard& x, const Guard& y) { return x.a != y.a ? x.a < y.a : x.b < y.b; });
  for (Node& n : ir_.nodes)
    if (n.dead) static_cast<graph::Node&>(n) = {};
  for (const Group& g : ir_.groups) {
    for (NodeId id : g.nodes) group_ops_.push_back(node(id).op);
    group_ends_.push_back(static_cast<uint32_t>(group_ops_.size()));
  }
  if (verifying()) check_origins(key);
}

/// What will be read for other recordings must give, for this one, what is there.
void Structure::check_origins(std::span<const uint64_t> key) {
  if (!has_origins()) return;
  list_records(key);
  note_changes(key);
  records_.clear();
  QS_CHECK(derive_layouts(key), InternalError, "a derived layout cannot be derived again");
  QS_CHECK(layouts_agree(key), InternalError, "what a pass relied on does not hold");
  Layout l;
  for (NodeId id : ir_.sequence) {
    const Node& n = node(id);
    auto check = [&](Origin o, const Layout& have, const char* what, size_t i) {
      if (o.at == -1) return;
      read(key, o, l);
      QS_CHECK(l == have, InternalError, "{} {} of {} has a wrong origin: {} {} {}, not {} {} {}",
               what, i, graph::name_of(n.op), to_string(l.shape), to_string(l.strides), l.offset,
               to_string(have.shape), to_string(have.strides), have.offset);
    };
    for (size_t i = 0; i < n.operands.size(); ++i)
      check(n.operands[i].origin, n.operands[i].layout, "operand", i);
    for (size_t i = 0; i < n.results.size(); ++i)
      check(n.results[i].origin, n.results[i].layout, "result", i);
    if (!n.tile) continue;
    const codegen::Space space = space_of(n, key);
    QS_CHECK(space.shape == n.space.shape && (!space.folds || Folding(space) == Folding(n.space)),
             InternalError, "the space of {} does not follow from its layouts",
             graph::name_of(n.op));
  }
}

void Structure::hold(Ref<const driver::Kernel> kernel) {
  if (std::find(kernels_.begin(), kernels_.end(), kernel) == kernels_.end())
    kernels_.push_back(std::move(kernel));
}

std::string Structure::names_of(int32_t group, size_t from) const {
  std::string names;
  const auto g = static_cast<size_t>(group);
  for (size_t i = (g ? group_ends_[g - 1] : 0) + from; i < group_ends_[g]; ++i)
    names += format("{}{}", names.empty() ? "" : " ", graph::name_of(group_ops_[i]));
  return names;
}

// ---- once, for the layouts it was built with ----------------------------------------------------

void Structure::prepare(std::span<const uint64_t> key) {
  prepared_ = true;
  usable_ = has_origins();
  if (!usable_) return;
  for (NodeId id : ir_.sequence)
    if (node(id).tile && node(id).space.folds) foldings_.emplace_back(node(id).space);
  group_of_.assign(ir_.nodes.size(), -1);
  for (size_t g = 0; g < ir_.groups.size(); ++g)
    for (NodeId id : ir_.groups[g].nodes)
      group_of_[static_cast<size_t>(id)] = static_cast<int32_t>(g);
  list_records(key);
  order_nodes();
  usable_ = combine_groups(true) && find_meetings();
}

/// Whether every layout that commands depend on can be read again.
bool Structure::has_origins() const {
  auto known = [](Origin o, const Layout& l) { return o.at != -1 || l.rank() == 0; };
  for (NodeId id : ir_.sequence) {
    for (const Operand& o : node(id).operands)
      if (o.kind == Operand::value && !known(o.origin, o.layout)) return false;
    for (const Result& r : node(id).results)
      if (!known(r.origin, r.layout)) return false;
  }
  return true;
}

/// Nodes that run over all axes come first, those that fold before all: what runs over the kept
/// axes alone only combines with them.
void Structure::order_nodes() {
  joins_.resize(ir_.groups.size());
  for (size_t g = 0; g < ir_.groups.size(); ++g) {
    const Group& group = ir_.groups[g];
    auto rank = [&](NodeId id) {
      const codegen::Space& s = node(id).space;
      return s.folds ? 0 : Layout::contiguous(s.shape).numel() == group.axes.numel() ? 1 : 2;
    };
    for (NodeId id : group.nodes)
      if (node(id).tile) joins_[g].push_back(id);
    std::stable_sort(joins_[g].begin(), joins_[g].end(),
                     [&](NodeId a, NodeId b) { return rank(a) < rank(b); });
  }
}

bool Structure::find_meetings() {
  // What each group touches, by storage.
  struct Access {
    ValueId root;
    At at;
  };
  std::vector<Access> all;
  std::vector<At> touches;
  for (size_t g = 0; g < ir_.groups.size(); ++g) {
    all.clear();
    for (NodeId id : joins_[g]) {
      const Node& n = node(id);
      for (size_t i = 0; i < n.operands.size(); ++i)
        if (reads(n, i))
          all.push_back({ir_.root(n.operands[i].value_id), {id, static_cast<uint8_t>(i), false}});
      for (size_t i = 0; i < n.results.size(); ++i)
        all.push_back({ir_.root(n.results[i].value_id), {id, static_cast<uint8_t>(i), true}});
    }
    std::stable_sort(all.begin(), all.end(),
                     [](const Access& a, const Access& b) { return a.root < b.root; });
    for (size_t i = 0; i < all.size();) {
      touches.clear();
      const ValueId root = all[i].root;
      for (; i < all.size() && all[i].root == root; ++i) touches.push_back(all[i].at);
      add_meetings(static_cast<int32_t>(g), touches);
    }
  }
  add_gifts();
  return std::all_of(meetings_.begin(), meetings_.end(),
                     [&](const Meeting& m) { return meets(m); });
}

/// Accesses of two nodes, one of which writes, must meet. Equality carries over, so that each is
/// compared with one write, and the other accesses of that write's node with a write elsewhere.
void Structure::add_meetings(int32_t group, const std::vector<At>& touches) {
  const auto write = std::find_if(touches.begin(), touches.end(), [](At t) { return t.write; });
  if (write == touches.end()) return;
  const auto elsewhere = std::find_if(touches.begin(), touches.end(),
                                      [&](At t) { return t.write && t.node != write->node; });
  for (const At& t : touches) {
    if (t.node != write->node)
      meetings_.push_back({group, *write, t});
    else if (elsewhere != touches.end() && &t != &*write)
      meetings_.push_back({group, *elsewhere, t});
  }
}

/// A storage takes the place of another in the group that reads the one for the last time and
/// writes the other first: all of that must be at one element, within a node too.
void Structure::add_gifts() {
  for (size_t v = 0; v < ir_.buffers.size(); ++v) {
    const Buffer& b = ir_.buffers[v];
    if (b.place != Buffer::arena || b.given_in < 0) continue;
    const int32_t g = b.given_in;
    auto made_here = [&](ValueId value) {
      const NodeId by = ir_.values[value].node;
      return by >= 0 && node(by).tile && group_of_[static_cast<size_t>(by)] == g;
    };
    std::vector<At> touches;
    for (NodeId id : ir_.groups[static_cast<size_t>(g)].nodes) {
      const Node& n = node(id);
      auto concerns = [&](ValueId value) {
        return ir_.root(value) == v || ir_.root(value) == b.giver;
      };
      for (size_t i = 0; i < n.operands.size(); ++i)
        if (reads(n, i) && concerns(n.operands[i].value_id) && !made_here(n.operands[i].value_id))
          touches.push_back({id, static_cast<uint8_t>(i), false});
      for (size_t i = 0; i < n.results.size(); ++i)
        if (concerns(n.results[i].value_id) && ir_.values[n.results[i].value_id].in_memory)
          touches.push_back({id, static_cast<uint8_t>(i), true});
    }
    for (size_t i = 1; i < touches.size(); ++i) meetings_.push_back({g, touches[0], touches[i]});
  }
}

Touch Structure::touch(const At& at) const {
  return at.write ? touch_result(node(at.node), at.index) : touch_operand(node(at.node), at.index);
}

bool Structure::meets(const Meeting& m) const {
  const Touch a = touch(m.a), b = touch(m.b);
  if (a.offset != b.offset) return false;
  const codegen::Space &sa = node(m.a.node).space, &sb = node(m.b.node).space;
  if (sa.shape == sb.shape && a.strides == b.strides) return true;
  const codegen::Axes& axes = ir_.groups[static_cast<size_t>(m.group)].axes;
  Dims pa, pb;
  return codegen::place(sa, a.strides, axes, pa) && codegen::place(sb, b.strides, axes, pb) &&
         pa == pb;
}

// ---- for another recording ----------------------------------------------------------------------

/// Every record that a layout is read from, or that a pass relied on, once.
void Structure::list_records(std::span<const uint64_t> key) {
  std::vector<int32_t> at;
  auto add = [&](Origin o) {
    if (o.at >= 0) at.push_back(o.at);
  };
  for (NodeId id : ir_.sequence) {
    for (const Operand& o : node(id).operands) {
      add(o.origin);
      add(o.recorded);
    }
    for (const Result& r : node(id).results) add(r.origin);
  }
  for (const Derived& d : ir_.derived)
    for (Origin o : {d.a, d.b, d.c}) add(o);
  for (const SameLayout& same : ir_.same_layouts) {
    add(same.a);
    add(same.b);
  }
  for (const Choice& c : ir_.choices) add(c.origin);
  for (const Ir::Blank& b : ir_.blanks) add(b.origin);
  std::sort(at.begin(), at.end());
  at.erase(std::unique(at.begin(), at.end()), at.end());
  for (int32_t i : at) records_.push_back({i, graph::layout_words(key[static_cast<size_t>(i)])});
}

/// Which records differ from those of the key that the Ir was fitted to; before that, all do.
void Structure::note_changes(std::span<const uint64_t> key) {
  changed_.resize(key.size());
  derived_changed_.resize(ir_.derived.size());
  const bool known = fits_ && fitted_.size() == key.size();
  for (const Record& r : records_) {
    const size_t at = static_cast<size_t>(r.at) + 1;
    bool same = known;
    for (size_t i = at; same && i < at + r.words; ++i) same = key[i] == fitted_[i];
    changed_[static_cast<size_t>(r.at)] = !same;
  }
  for (Group& g : ir_.groups) g.changed = !known;
  if (!known) std::fill(derived_changed_.begin(), derived_changed_.end(), 1);
}

bool Structure::derive_layouts(std::span<const uint64_t> key) {
  derived_.resize(ir_.derived.size());
  Layout a, b, c;
  for (size_t i = 0; i < derived_.size(); ++i) {
    const Derived& d = ir_.derived[i];
    derived_changed_[i] = !fits_ || changed(d.a) || changed(d.b) || changed(d.c);
    if (!derived_changed_[i]) continue;
    read(key, d.a, a);
    read(key, d.b, b);
    if (d.kind == Derived::broadcast) {
      derived_[i] = broadcast_to(a, b.shape);
      continue;
    }
    if (d.kind == Derived::in_rows) {
      if (!seen_in_rows(a, b, derived_[i])) return false;
      continue;
    }
    if (d.kind == Derived::rows) {
      read(key, d.c, c);
      if (!rows_of(a, b, c, derived_[i])) return false;
      continue;
    }
    read(key, d.c, c);
    if (d.kind == Derived::piece) {
      derived_[i] = piece_of(a, b, d.c.at == -1 ? nullptr : &c, d.dim);
      continue;
    }
    if (!see_through(a, b, c, derived_[i])) return false;
  }
  return true;
}

void Structure::read(std::span<const uint64_t> key, Origin origin, Layout& out) const {
  if (origin.at >= 0) return graph::read_layout(key, origin, out);
  out = origin.at < -1 ? derived_[Derived::index(origin)] : Layout();
  if (!origin.dense) return;
  out.strides = contiguous_strides(out.shape);
  out.offset = 0;
}

bool Structure::same(std::span<const uint64_t> key, const SameLayout& s) const {
  const Origin a = s.a, b = s.b;
  const bool shape_only = s.shape_only;
  if (s.without >= 0) {
    Layout l, m;
    read(key, a, l);
    read(key, b, m);
    return same_shape_without(l, m, s.without);
  }
  if (a == b) return true;
  if (a.at >= 0 && b.at >= 0) {  // most differ, if at all, in the words behind the head
    const uint64_t *x = &key[static_cast<size_t>(a.at)], *y = &key[static_cast<size_t>(b.at)];
    const size_t rank = *x >> 10 & 0xff;
    if ((*y >> 10 & 0xff) != rank ||
        (rank && std::memcmp(x + 1, y + 1, rank * sizeof(uint64_t)) != 0))
      return false;
    if (shape_only) return true;
  }
  Layout l, m;
  read(key, a, l);
  read(key, b, m);
  return shape_only ? l.shape == m.shape : l == m;
}

bool Structure::layouts_agree(std::span<const uint64_t> key) const {
  for (const SameLayout& s : ir_.same_layouts)
    if ((changed(s.a) || changed(s.b)) && !same(key, s)) return false;
  Layout l;
  for (const Choice& c : ir_.choices) {
    if (!changed(c.origin)) continue;
    read(key, c.origin, l);
    if (c.question(l) != c.answer) return false;
  }
  return true;
}

/// A node keeps the order of folds that follows from the operands it was recorded with.
codegen::Space Structure::space_of(const Node& n, std::span<const uint64_t> key) const {
  const bool replaced = std::any_of(n.operands.begin(), n.operands.end(),
                                    [](const Operand& o) { return o.recorded.at != -1; });
  if (!replaced) [[likely]]
    return codegen::space_of(n);
  graph::Node recorded = n;
  for (Operand& o : recorded.operands)
    if (o.recorded.at != -1) read(key, o.recorded, o.layout);
  return codegen::space_of(recorded);
}

bool Structure::read_layouts(std::span<const uint64_t> key) {
  size_t folding = 0;
  Layout whole;
  for (const Ir::Blank& blank : ir_.blanks) {
    if (!changed(blank.origin)) continue;
    read(key, blank.origin, whole);
    ir_.values[blank.value].bytes = whole.numel() * static_cast<int64_t>(size_of(blank.dtype));
  }
  for (NodeId id : ir_.sequence) {
    Node& n = ir_.nodes[static_cast<size_t>(id)];
    const bool folds = n.tile && n.space.folds;
    const size_t number = folding;
    folding += folds;
    bool any = !fits_;
    for (Operand& o : n.operands) {
      any |= changed(o.recorded);
      if (!changed(o.origin)) continue;
      read(key, o.origin, o.layout);
      any = true;
    }
    for (Result& r : n.results) {
      if (!changed(r.origin)) continue;
      read(key, r.origin, r.layout);
      if (r.target < 0)
        ir_.values[r.value_id].bytes = r.layout.numel() * static_cast<int64_t>(size_of(r.dtype));
      any = true;
    }
    if (!any) continue;
    if (const int32_t g = group_of_[static_cast<size_t>(id)]; g >= 0)
      ir_.groups[static_cast<size_t>(g)].changed = true;
    if (!n.tile) continue;
    n.space = space_of(n, key);
    if (n.space.folds != folds || (folds && !(Folding(n.space) == foldings_[number]))) return false;
  }
  return true;
}

/// The loops of each group from those of its nodes; with `compare` they must be what they were.
bool Structure::combine_groups(bool compare) {
  codegen::Axes joined;
  for (size_t g = 0; g < ir_.groups.size(); ++g) {
    Group& group = ir_.groups[g];
    if (joins_[g].empty() || !(group.changed || compare)) continue;
    codegen::Axes axes = codegen::axes_of(node(joins_[g][0]).space);
    for (size_t i = 1; i < joins_[g].size(); ++i) {
      if (!codegen::combine(axes, codegen::axes_of(node(joins_[g][i]).space), joined)) return false;
      std::swap(axes, joined);
    }
    if (compare && !(axes.extents == group.axes.extents && axes.reduced == group.axes.reduced &&
                     axes.mode == group.axes.mode && axes.order == group.axes.order))
      return false;
    group.axes = std::move(axes);
  }
  return true;
}

/// Fits the Ir to a key; false when something does not hold, and then the Ir fits none.
bool Structure::fit(std::span<const uint64_t> key) {
  note_changes(key);
  if (!derive_layouts(key) || !layouts_agree(key)) return fits_ = false;
  const bool read = read_layouts(key);
  fits_ = false;
  if (!read || !combine_groups(false)) return false;
  for (const Meeting& m : meetings_)
    if (ir_.groups[static_cast<size_t>(m.group)].changed && !meets(m)) return false;
  for (Group& g : ir_.groups) {
    if (g.kind != Group::matmul || !g.changed) continue;
    g.emitted.matmul = std::make_unique<MatmulLoops>(matmul_loops(ir_, node(g.nodes[0])));
    if (g.nodes.size() > 1 && !epilogue_fits(ir_, g, *g.emitted.matmul)) return false;
  }
  return place_again(ir_);
}

std::unique_ptr<CompiledPlan> Structure::instantiate(DeviceRuntime& device,
                                                     const Recording& recording) {
  if (!prepared_) prepare(recording.key);
  if (!usable_ || !fit(recording.key)) return nullptr;
  if (verifying()) {
    ir_.words = recording.words;
    verify(ir_, "fitting a structure");
  }
  auto plan = std::make_unique<CompiledPlan>();
  plan->structure = Ref<Structure>(this);
  emit(ir_, device, *plan);
  fitted_.assign(recording.key.begin(), recording.key.end());
  fits_ = true;
  return plan;
}

}  // namespace qs::plan
