// The list of passes, and what runs it: log lines under QS_LOG=plan, the verifier behind each pass
// in debug builds and under QS_VERIFY=1.
#include <bit>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "quicksilver/core/env.h"
#include "quicksilver/core/error.h"
#include "quicksilver/plan/execute.h"
#include "quicksilver/plan/explain.h"
#include "quicksilver/plan/passes.h"
#include "quicksilver/plan/structure.h"
#include "quicksilver/plan/tape.h"
#include "quicksilver/runtime/device.h"

namespace qs::plan {
namespace {

struct Pass {
  const char* name;
  int (*run)(Ir&);
};

constexpr Pass k_passes[] = {
    {"unify_words", unify_words},      // equal start offsets become one word
    {"canonicalise", canonicalise},    // numbers for filled tensors, sources for copies
    {"merge_common", merge_common},    // common subexpressions
    {"drop_dead", drop_dead},          // what no live content needs
    {"split_joins", split_joins},      // cat: a copy into each region of the result
    {"match_rows", match_rows},        // one index a row: inside the kernel that has the row
    {"prepare_calls", prepare_calls},  // copies around library calls and kernels
    {"narrow", narrow_products},       // of products, the rows that are read
    {"split_checks", split_checks},    // before what they guard
    {"group", group_nodes},            // one kernel each
    {"recompute", recompute},          // cheap values again, rather than through memory
    {"epilogues", attach_epilogues},   // maps on the blocks of a matrix product
    {"order", order_groups},           // checks early, writes to older storages late
    {"batch", batch_groups},           // many small equal groups in one launch
    {"place_buffers", place_buffers},  // arena, outputs, donation
    {"place_shadows", place_shadows},  // for writes that come before a check
};

/// The dimension that an indexing op indexes, for messages.
int32_t indexed_dim(const Node& n) {
  if (n.attrs.empty() || graph::info(n.op).kind != graph::OpKind::kernel) return 0;
  if (n.op == graph::Op::index || n.op == graph::Op::index_put)
    return n.attrs[0] ? std::countr_zero(n.attrs[0]) : 0;
  const auto dim = static_cast<int32_t>(n.attrs[0]);
  return dim < 0 && !n.operands.empty() ? dim + n.operands[0].layout.rank() : dim;
}

class Timer {
 public:
  double us() const {
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - from_)
        .count();
  }

 private:
  std::chrono::steady_clock::time_point from_ = std::chrono::steady_clock::now();
};

}  // namespace

bool verifying() {
#ifdef NDEBUG
  static const bool on = [] {
    const char* v = std::getenv("QS_VERIFY");
    return v && *v && *v != '0';
  }();
  return on;
#else
  return true;
#endif
}

CompiledPlan::CompiledPlan() = default;
CompiledPlan::~CompiledPlan() = default;

std::string CompiledPlan::text() const {
  constexpr std::string_view modes[] = {"map", "row", "column"};
  std::string all =
      format("plan of {} nodes: {} launches, {} bytes moved, arena {} bytes, {} us\n",
             structure->nodes, launches, bytes_moved, arena_bytes, static_cast<int64_t>(build_us));
  for (const Line& l : lines)
    all += l.words ? l.words(l, *structure)
                   : qs::format("  {} {} reduced {} : {}{} ({} operands, {} bytes)\n",
                                modes[static_cast<int>(l.mode)], to_string(l.extents),
                                l.reduced_loops, structure->names_of(l.group),
                                l.parts > 1 ? format(" x{}", l.parts) : "", l.operands, l.bytes);
  return all;
}

std::unique_ptr<CompiledPlan> build_plan(DeviceRuntime& device, const Recording& recording,
                                         const std::vector<bool>& live) {
  const bool log = log_enabled("plan");
  auto plan = std::make_unique<CompiledPlan>();
  const Timer whole;
  Ir ir = decode_recording(recording, live);
  ir.driver = &device.driver();
  if (verifying()) verify(ir, "decode");
  for (const Pass& pass : k_passes) {
    const Timer timer;
    const int changes = pass.run(ir);
    if (log)
      std::fprintf(stderr, "plan: %-14s %s %.1f us\n", pass.name,
                   changes ? format("{} changes", changes).c_str() : "unchanged", timer.us());
    if (verifying()) verify(ir, pass.name);
  }
  auto structure = make_ref<Structure>(recording, live);
  for (size_t i = 0; i < static_cast<size_t>(recording.nodes); ++i) {
    const Node& n = ir.nodes[i];  // recorded nodes come first, each at its tag
    structure->faults->ops.push_back(n.op);
    structure->faults->dims.push_back(indexed_dim(n));
  }
  plan->structure = structure;
  emit(ir, device, *plan);
  if (Explaining* to = explaining()) note_plan(ir, *plan, recording, device.type(), *to);
  structure->keep(std::move(ir), recording.key);
  plan->build_us = whole.us();
  if (log) std::fputs(plan->text().c_str(), stderr);
  return plan;
}

}  // namespace qs::plan
