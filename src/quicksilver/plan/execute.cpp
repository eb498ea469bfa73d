// From a recording to its results: find or build the plan, run it, hand out the blocks.
//
// A plan is made for what a recording's key says: ops, extents, strides, dtypes (cache.h). What
// changes from run to run without changing the key is handed over in the launch table: addresses
// (bases), numbers and start offsets (words).
//
// Example: loss = ((x @ w) - y).square().mean(). The key has four nodes; the launch table has the
// addresses of x, w, y and loss and one start offset for each use of x, w and y. The plan has two
// commands:
//
//   matmul 64x1x8                     bases: arena 0, x 1, w 2, y 3, loss 4
//   row [1, 64] reduced 1: sub square mean     the product lies in the arena, loss in its block
//
// A run allocates a block for loss, fills the bases, and lets the driver replay the two commands.
// The passes that built the plan are listed in pipeline.cpp; each has a file of its own.
//
// Known complications:
//  - The recording lock is held throughout; a plan's scratch (bases) needs no lock of its own.
//    Submission takes the device's mutex, which guards the arena.
//  - Data-dependent errors: a driver that works at once has set the record when replay returns.
//    Then fresh outputs of the plan carry the text as their error, in-place targets keep their
//    buffers, and the fault is left with the device for the next reader. Drivers that work behind
//    our back are asked when a fence is waited for.
//  - If anything throws (no memory, no kernel), fresh contents get the text as their error and the
//    exception passes on; the tape is empty afterwards.
#include "quicksilver/plan/execute.h"

#include <algorithm>

#include "quicksilver/core/error.h"
#include "quicksilver/plan/cache.h"
#include "quicksilver/plan/tape.h"
#include "quicksilver/runtime/device.h"

namespace qs::plan {
namespace {

/// PyTorch's words for what a kernel refused.
Fault fault_of(const driver::ErrorRecord& e, const CompiledPlan& plan, const Recording& r) {
  const auto tag = e.set - 1;
  const graph::Op op = tag >= 0 && tag < static_cast<int32_t>(plan.structure->ops.size())
                           ? plan.structure->ops[static_cast<size_t>(tag)]
                           : graph::Op::copy;
  Fault fault;
  fault.kind = e.reason == 1 ? Fault::index : Fault::other;
  if (e.reason == 1 && op == graph::Op::cross_entropy)
    fault.text = format("Target {} is out of bounds.", e.value);
  else if (e.reason == 1)
    fault.text = format("index {} is out of bounds for dimension {} with size {}", e.value,
                        plan.structure->dims[static_cast<size_t>(std::max(tag, 0))], e.bound);
  else
    fault.text = "ZeroDivisionError";
  for (const Recording::Line& line : r.lines)
    if (line.node == tag && !line.text.empty())
      fault.text += format(" ({}, {})", graph::name_of(op), line.text);
  return fault;
}

void spoil(Recording& r, const std::string& text) noexcept {
  for (Recording::Value& v : r.values) {
    if (!v.content || v.external || v.root_external || v.content->block) continue;
    try {
      v.content->error = text;
    } catch (...) {  // no memory for the text: the content stays without a block, which says enough
    }
  }
}

void run(PlanCache& cache, DeviceRuntime& device, CompiledPlan& plan, Recording& r) {
  SmallVector<Block*, 16> blocks;  // given up on any exception
  struct Guarded {
    SmallVector<Block*, 16>& list;
    ~Guarded() {
      for (Block* b : list)
        if (b) b->release();
    }
  } guarded{blocks};
  blocks.reserve(plan.outputs.size());
  for (const CompiledPlan::Output& o : plan.outputs) {
    Ref<Block> block = device.allocator().allocate(o.bytes);
    plan.bases[static_cast<size_t>(o.slot)] = block->ptr();
    blocks.push_back(block.detach());
  }
  for (const CompiledPlan::External& e : plan.externals)
    plan.bases[static_cast<size_t>(e.slot)] = r.values[e.value].block->ptr();
  driver::ErrorRecord* error = device.error_record();
  {
    std::lock_guard lock(device.mutex());
    if (plan.arena_bytes) plan.bases[0] = device.arena(plan.arena_bytes);
    driver::Launch launch;
    launch.bases = plan.bases;
    launch.words = r.words;
    launch.error = error;
    if (plan.launches) {
      if (!plan.program && plan.submitted) {  // it came back: worth preparing
        plan.program = device.driver().freeze(std::move(plan.commands));
        plan.commands.clear();
      }
      if (plan.program) {
        device.submitted(device.driver().replay(*plan.program, launch));
        ++cache.stats.replays;
      } else {
        device.submitted(device.driver().submit(plan.commands, launch));
        plan.submitted = true;
        ++cache.stats.submits;
      }
    }
  }
  cache.stats.launches += plan.launches;
  cache.stats.bytes_moved += plan.bytes_moved;
  cache.stats.nodes += r.nodes;
  if (plan.checks && error->set != 0) [[unlikely]] {
    Fault fault = fault_of(device.take_error(), plan, r);
    spoil(r, fault.text);
    leave_fault(device.type(), std::move(fault));
    return;
  }
  for (size_t i = 0; i < plan.outputs.size(); ++i) {
    Content* content = r.values[plan.outputs[i].value].content;
    if (content)
      content->block = Ref<Block>::adopt(blocks[i]);
    else
      blocks[i]->release();
    blocks[i] = nullptr;
  }
}

}  // namespace

void execute(DeviceRuntime& device, Recording& recording) {
  PlanCache& cache = cache_of(device.type());
  if (cache.device != &device) [[unlikely]] {  // the tests open devices of their own
    cache.forget_plans();
    cache.device = &device;
  }
  try {
    CompiledPlan& plan = lookup(cache, device, recording);
    cache.last = &plan;
    run(cache, device, plan, recording);
  } catch (const std::exception& e) {
    spoil(recording, e.what());
    throw;
  }
}

}  // namespace qs::plan
