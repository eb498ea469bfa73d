#include "quicksilver/plan/explain.h"

#include <algorithm>

#include "quicksilver/core/error.h"
#include "quicksilver/plan/compiled.h"
#include "quicksilver/plan/passes.h"
#include "quicksilver/plan/tape.h"

namespace qs::plan {
namespace {

thread_local Explaining* t_explaining = nullptr;

class Notes {
 public:
  Notes(const Ir& ir, const Recording& recording)
      : ir_(ir), recording_(recording), launch_of_(ir.nodes.size(), -1) {
    for (size_t p = 0; p < ir.order.size(); ++p)
      for (NodeId id : group(static_cast<int32_t>(p)).nodes)
        launch_of_[static_cast<size_t>(id)] = static_cast<int32_t>(p);
  }

  LaunchNote launch(int32_t position) const {
    const Group& g = group(position);
    LaunchNote note;
    note.kind = kind(g);
    if (g.kind == Group::tile) note.loops = loops(g.axes);
    for (NodeId id : g.nodes) {
      const Node& n = node(id);
      note.ops.push_back({std::string(graph::name_of(n.op)), line(n.tag)});
      for (size_t i = 0; i < n.operands.size(); ++i)
        if (reads(n, i)) read(g, position, n, i, note);
      for (size_t i = 0; i < n.results.size(); ++i) write(g, position, n, i, note);
    }
    std::stable_partition(note.crossings.begin(), note.crossings.end(),
                          [](const Crossing& c) { return !c.write; });
    return note;
  }

  int32_t dropped() const {
    int32_t count = recording_.nodes;
    for (NodeId id : ir_.sequence) count -= id < recording_.nodes;
    return count;
  }

 private:
  const Node& node(NodeId id) const { return ir_.nodes[static_cast<size_t>(id)]; }
  const Group& group(int32_t position) const {
    return ir_.groups[static_cast<size_t>(ir_.order[static_cast<size_t>(position)])];
  }

  static std::string kind(const Group& g) {
    if (g.kind == Group::matmul) return "matmul";
    if (g.kind == Group::kernel) return "kernel";
    if (!g.axes.folds()) return "map";
    return g.axes.mode == driver::TileMode::column ? "column" : "row";
  }

  static std::string loops(const codegen::Axes& axes) {
    std::string kept, reduced;
    for (size_t i = 0; i < axes.extents.size(); ++i) {
      std::string& to = axes.reduced >> i & 1 ? reduced : kept;
      to += format("{}{}", to.empty() ? "" : ", ", axes.extents[i]);
    }
    return reduced.empty() ? format("[{}]", kept) : format("[{}] folding [{}]", kept, reduced);
  }

  static std::string shape_of(DType dtype, const Layout& layout) {
    return format("{}{}", name_of(dtype), to_string(layout.shape));
  }

  std::string line(int32_t tag) const {
    for (const Recording::Line& l : recording_.lines)
      if (l.node == tag) return l.text;
    return {};
  }

  /// Elements that are touched: a broadcast dimension counts once.
  static int64_t bytes_of(const Layout& layout, DType dtype) {
    int64_t n = 1;
    for (int d = 0; d < layout.rank(); ++d)
      if (layout.strides[d] != 0 || layout.shape[d] == 0) n *= layout.shape[d];
    return n * static_cast<int64_t>(size_of(dtype));
  }

  static void add(LaunchNote& note, Crossing crossing) {
    for (const Crossing& c : note.crossings)
      if (c.storage == crossing.storage && c.write == crossing.write && c.tensor == crossing.tensor)
        return;  // read twice by one kernel: once from memory
    note.crossings.push_back(std::move(crossing));
  }

  void read(const Group& g, int32_t position, const Node& n, size_t i, LaunchNote& note) const {
    const graph::Operand& o = n.operands[i];
    const NodeId maker = ir_.values[o.value_id].node;
    const int32_t from = maker < 0 ? -1 : launch_of_[static_cast<size_t>(maker)];
    if (from == position && g.kind == Group::tile) return;  // handed on in a register
    const std::string why =
        from >= 0 ? format("made by launch {}", from) : std::string("older than the plan");
    add(note, {ir_.root(o.value_id), false, shape_of(o.dtype, o.layout),
               bytes_of(o.layout, o.dtype), from, why});
  }

  void write(const Group& g, int32_t position, const Node& n, size_t i, LaunchNote& note) const {
    const graph::Result& r = n.results[i];
    const ValueInfo& v = ir_.values[r.value_id];
    if (g.kind == Group::tile && !v.in_memory) return;
    if (launch_of_[static_cast<size_t>(v.node)] != position) return;
    add(note, {ir_.root(r.value_id), true, shape_of(r.dtype, r.layout), bytes_of(r.layout, r.dtype),
               -1, why_written(g, position, r.value_id)});
  }

  std::string why_written(const Group& g, int32_t position, ValueId value) const {
    if (ir_.external(value)) return "written in place into an older tensor";
    if (newest_is_live(value)) return "kept: a tensor holds it afterwards";
    for (int32_t p = position + 1; p < static_cast<int32_t>(ir_.order.size()); ++p)
      for (NodeId id : group(p).nodes)
        for (size_t i = 0; i < node(id).operands.size(); ++i)
          if (reads(node(id), i) && is_part_of(node(id).operands[i].value_id, value))
            return why_apart(g, group(p), p);
    return "part of it is kept";
  }

  /// Whether `value` is made of `part`: itself, or a joined tensor of which it is a piece.
  bool is_part_of(ValueId value, ValueId part) const {
    if (value == part) return true;
    const NodeId maker = ir_.values[part].node;
    return maker >= 0 && node(maker).part == Node::piece && ir_.root(value) == ir_.root(part);
  }

  bool newest_is_live(ValueId value) const {
    for (;;) {
      const ValueInfo& v = ir_.values[value];
      if (v.live) return true;
      if (v.successor == value) return false;
      value = v.successor;
    }
  }

  /// Why the kernel that makes a value is not the one that reads it.
  std::string why_apart(const Group& maker, const Group& reader, int32_t p) const {
    if (maker.kind != Group::tile)
      return format("for launch {}: what a {} makes goes through memory", p, kind(maker));
    if (reader.kind != Group::tile)
      return format("for launch {}: a {} reads from memory", p, kind(reader));
    codegen::Axes axes;
    if (!codegen::combine(maker.axes, reader.axes, axes))
      return format("for launch {}: it loops over {}, not {}", p, loops(reader.axes),
                    loops(maker.axes));
    return format("for launch {}: it needs other elements first, or one kernel would be too large",
                  p);
  }

  const Ir& ir_;
  const Recording& recording_;
  std::vector<int32_t> launch_of_;  // by node: position in the order, -1 when it was dropped
};

}  // namespace

int64_t LaunchNote::bytes() const {
  int64_t total = 0;
  for (const Crossing& c : crossings) total += c.bytes;
  return total;
}

Explaining::Explaining() {
  QS_CHECK(!t_explaining, Error, "explain() is running already in this thread");
  t_explaining = this;
}
Explaining::~Explaining() { t_explaining = nullptr; }

Explaining* explaining() noexcept { return t_explaining; }

void note_plan(const Ir& ir, const CompiledPlan& plan, const Recording& recording,
               DeviceType device, Explaining& to) {
  const Notes notes(ir, recording);
  PlanNote note;
  note.device = device;
  note.recorded = recording.nodes;
  note.dropped = notes.dropped();
  note.commands = plan.launches;
  note.arena_bytes = static_cast<int64_t>(plan.arena_bytes);
  for (size_t p = 0; p < ir.order.size(); ++p) {
    LaunchNote launch = notes.launch(static_cast<int32_t>(p));
    if (!launch.crossings.empty()) note.launches.push_back(std::move(launch));
  }
  to.plans.push_back(std::move(note));
}

}  // namespace qs::plan
