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
// A run reserves a block for loss and the arena, fills the bases, and lets the driver replay the
// two commands. The passes that built the plan are listed in pipeline.cpp; each has a file of its
// own.
//
// What can go wrong, and what is left then:
//  - No memory, or a kernel that cannot be built: both are found before the first command. The
//    recording then runs node by node (one_by_one.cpp), and only what fails there is lost; older
//    storages are written up to the first failure.
//  - The driver refuses the list: no older storage has been written. The recording runs node by
//    node likewise.
//  - Bad data: a kernel sets the error record, see checks.cpp. Fresh results that depend on it are
//    lost, all others are good, older storages keep their content. A fresh result that was written
//    again keeps its last good value: it is made once more, node by node.
// A lost content raises its fault at each read, and the first fault waits with the device
// (fault.h).
#include "quicksilver/plan/execute.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "quicksilver/core/error.h"
#include "quicksilver/plan/cache.h"
#include "quicksilver/plan/flight.h"
#include "quicksilver/plan/one_by_one.h"
#include "quicksilver/plan/tape.h"
#include "quicksilver/runtime/device.h"

namespace qs::plan {
namespace {

constexpr size_t k_segment = 64;  // commands that a driver gets at a time when it works beside us

/// The memory of one run; given back unless it is handed out.
struct Reserved {
  SmallVector<Block*, 16> outputs;
  SmallVector<Block*, 4> shadows;
  Reserved() = default;
  Reserved(const Reserved&) = delete;
  Reserved& operator=(const Reserved&) = delete;
  ~Reserved() { give_back(); }
  void give_back() noexcept {
    for (Block* b : outputs)
      if (b) b->release();
    for (Block* b : shadows)
      if (b) b->release();
    outputs.clear();
    shadows.clear();
  }
};

/// False when something the plan uses was lost meanwhile.
bool reserve(DeviceRuntime& device, CompiledPlan& plan, const Recording& r, Reserved& reserved) {
  Allocator& allocator = device.allocator();
  reserved.outputs.reserve(plan.outputs.size());
  for (const CompiledPlan::Output& o : plan.outputs) {
    Ref<Block> block = allocator.allocate(o.bytes);
    plan.bases[static_cast<size_t>(o.slot)] = block->ptr();
    reserved.outputs.push_back(block.detach());
  }
  bool good = true;
  for (const CompiledPlan::External& e : plan.externals) {
    const Block& block = *r.values[e.value].block;
    plan.bases[static_cast<size_t>(e.slot)] = block.ptr();
    good &= !block.spoilt();
  }
  for (const CompiledPlan::Shadow& s : plan.shadows) {
    Ref<Block> block = allocator.allocate(r.values[s.root].block->bytes());
    plan.bases[static_cast<size_t>(s.slot)] = block->ptr();
    reserved.shadows.push_back(block.detach());
  }
  const std::lock_guard lock(device.mutex());
  if (plan.arena_bytes) plan.bases[0] = device.arena(plan.arena_bytes);
  return good;
}

/// How many commands from `from` on go out together: from the segment on that writes an older
/// storage, all, so that nothing older has been written when the driver refuses some.
size_t segment_at(DeviceRuntime& device, std::span<const driver::Command> commands, size_t from) {
  const std::span rest = commands.subspan(from);
  if (!device.info().asynchronous || rest.size() <= k_segment) return rest.size();
  const std::span segment = rest.first(k_segment);
  const bool writes = std::any_of(segment.begin(), segment.end(),
                                  [](const driver::Command& c) { return c.predicated; });
  return writes ? rest.size() : k_segment;
}

/// Hands the plan to the driver. When it throws, nothing older has been written. Device mutex held.
driver::Fence submit(PlanCache& cache, DeviceRuntime& device, CompiledPlan& plan,
                     const driver::Launch& launch) {
  driver::Driver& driver = device.driver();
  if (plan.programs.empty() && plan.submitted) {  // it came back: worth preparing
    for (size_t from = 0; from < plan.commands.size();) {
      const auto first = plan.commands.begin() + static_cast<std::ptrdiff_t>(from);
      const size_t count = segment_at(device, plan.commands, from);
      plan.programs.push_back(driver.freeze({first, first + static_cast<std::ptrdiff_t>(count)}));
      from += count;
    }
    plan.commands.clear();
    plan.commands.shrink_to_fit();
  }
  driver::Fence fence = 0;
  if (!plan.programs.empty()) {
    for (const auto& program : plan.programs) fence = driver.replay(*program, launch);
    ++cache.stats.replays;
    return fence;
  }
  const std::span<const driver::Command> all = plan.commands;
  for (size_t from = 0; from < all.size();) {
    const size_t count = segment_at(device, all, from);
    fence = driver.submit(all.subspan(from, count), launch);
    from += count;
  }
  plan.submitted = true;
  ++cache.stats.submits;
  return fence;
}

/// Gives the contents their blocks and leaves them to the run, which begins now. A storage with a
/// shadow stays with the recording: its block is known when the run has succeeded.
void hand_out(DeviceRuntime& device, const CompiledPlan& plan, Recording& r, Reserved& reserved,
              Run& run) {
  run.outputs.assign(plan.outputs.size(), {});
  run.blocks.assign(plan.outputs.size(), nullptr);
  run.written.reserve(plan.externals.size());
  {
    const std::lock_guard lock(recording_mutex());
    run.begin();
    for (size_t i = 0; i < plan.outputs.size(); ++i) {
      Content*& content = r.values[plan.outputs[i].value].content;
      if (!content) continue;
      run.blocks[i] = Ref<Block>::adopt(std::exchange(reserved.outputs[i], nullptr));
      content->block = run.blocks[i];
      content->started(&run);
      run.outputs[i] = {std::exchange(content, nullptr), plan.outputs[i].value};
    }
    for (size_t v = 0; v < r.values.size(); ++v) {
      Recording::Value& value = r.values[v];
      if (!value.content || !value.root_external || value.external) continue;
      if (std::any_of(plan.shadows.begin(), plan.shadows.end(),
                      [&](const auto& s) { return s.newest == v; }))
        continue;
      value.content->started(&run);
      run.written.push_back(
          {std::exchange(value.content, nullptr), static_cast<graph::ValueId>(v)});
    }
  }
  handover(device.type()).announce();
}

/// The new contents that were made apart take the old ones' places: in the block that somebody
/// knows the address of, or with a block of their own.
void swap_shadows(DeviceRuntime& device, const CompiledPlan& plan, Recording& r,
                  Reserved& reserved) {
  for (size_t i = 0; i < plan.shadows.size(); ++i) {
    const CompiledPlan::Shadow& s = plan.shadows[i];
    const Ref<Block>& old = r.values[s.root].block;
    {
      const std::lock_guard lock(recording_mutex());
      Content* content = r.values[s.newest].content;
      if (!old->is_external() && !(content && content->pinned)) {
        if (content)
          content->block = Ref<Block>::adopt(std::exchange(reserved.shadows[i], nullptr));
        continue;
      }
    }
    device.driver().copy(old->ptr(), reserved.shadows[i]->ptr(), old->bytes());
    char byte;  // whoever knows the address does not ask when the copy is done
    if (device.info().asynchronous) device.driver().read(&byte, old->ptr(), 1);
  }
}

std::vector<graph::ValueId> newest_values(const CompiledPlan& plan) {
  std::vector<graph::ValueId> values;
  for (const CompiledPlan::Output& o : plan.outputs) values.push_back(o.value);
  return values;
}

/// Waits for a run that may not stay under way. Others are waited for again by whoever reads; here
/// a wait that fails for once would part what has been written from what is swapped afterwards.
void wait_here(DeviceRuntime& device, driver::Fence fence) {
  constexpr int k_tries = 3;  // what fails as often has failed indeed
  for (int i = 1;; ++i) {
    try {
      flight_of(device.type()).drain();
      return device.driver().wait(fence);
    } catch (const DeviceError&) {
      if (i == k_tries) throw;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
}

/// Node by node, what the driver has refused as a whole.
Ref<Fault> run_apart(DeviceRuntime& device, Recording& r, Run& run, const Ref<Fault>& refusal) {
  // Who has recorded a use of a block meanwhile will not find anything there.
  run.spoil(std::vector<uint8_t>(run.outputs.size(), 1), refusal);
  const Ref<Fault> fault = one_by_one(device, r, &run);
  run.over({}, nullptr);
  return fault;
}

Ref<Fault> run(PlanCache& cache, DeviceRuntime& device, CompiledPlan& plan, Recording& r,
               Reserved& reserved) {
  const bool beside = device.info().asynchronous;
  Flight& flight = flight_of(device.type());
  for (size_t i = 0; i < plan.shadows.size(); ++i) {
    const Ref<Block>& old = r.values[plan.shadows[i].root].block;
    if (plan.shadows[i].copy)
      device.driver().copy(reserved.shadows[i]->ptr(), old->ptr(), old->bytes());
  }
  driver::Launch launch;
  launch.bases = plan.bases;
  launch.words = r.words;
  launch.error = device.error_record();
  launch.run = flight.next_id();
  std::unique_ptr<Run> late;  // it outlives this call
  if (beside && plan.shadows.empty()) {
    late = std::make_unique<Run>();
    late->id = launch.run;
    late->table = plan.structure->faults;
    late->lines = r.lines;
    for (const CompiledPlan::External& e : plan.externals)
      late->used.push_back(r.values[e.value].block);
    if (late->table->can_rescue) {
      late->recording = std::make_unique<Recording>(r);
      late->newest = newest_values(plan);
    }
  }
  Run inner;  // in case this is a part of a failed one
  Run& run = late ? *late : cache.run.idle() ? cache.run : inner;
  hand_out(device, plan, r, reserved, run);
  Ref<Fault> fault;
  std::vector<uint8_t> lost;
  std::vector<Ref<Block>> kept;
  bool refused = true;
  try {
    if (plan.launches) {
      const std::lock_guard lock(device.mutex());
      run.fence = submit(cache, device, plan, launch);
      device.submitted(run.fence);
    }
    refused = false;
    cache.stats.launches += plan.launches;
    cache.stats.bytes_moved += plan.bytes_moved;
    cache.stats.nodes += r.nodes;
    if (late) {
      flight.add(device, std::move(late));
      return nullptr;
    }
    if (beside) wait_here(device, run.fence);
    if (device.failed()) [[unlikely]] {
      const std::shared_ptr<const FaultTable> table = plan.structure->faults;
      lost = losses(device, launch.run, *table, r.lines, fault);
      if (fault) kept = rescue(device, *table, r, newest_values(plan), lost);  // plan may be gone
    }
  } catch (...) {
    fault = Fault::current();
    lost.assign(run.outputs.size(), 1);
    if (refused && r.nodes > 1) {
      reserved.give_back();
      return run_apart(device, r, run, fault);
    }
  }
  run.over(lost, fault, kept);
  if (!fault) swap_shadows(device, plan, r, reserved);
  return fault;
}

/// What the runtime itself holds on to. False when the device does not even finish its work.
bool free_memory(DeviceRuntime& device) noexcept {
  try {
    flight_of(device.type()).finish_all();
  } catch (const std::exception&) {
    return false;
  }
  const std::lock_guard lock(device.mutex());
  device.drop_arena();
  device.allocator().empty_cache();
  return true;
}

void lose_all(Recording& r, const Ref<Fault>& fault) {
  const std::lock_guard lock(recording_mutex());
  for (const Recording::Value& v : r.values)
    if (v.content && !v.external && !v.root_external && !v.content->block) v.content->lose(fault);
}

}  // namespace

Ref<Fault> execute(DeviceRuntime& device, Recording& recording) {
  PlanCache& cache = cache_of(device.type());
  if (cache.device != &device) [[unlikely]] {  // the tests open devices of their own
    cache.forget_plans();
    cache.device = &device;
  }
  if (device.info().asynchronous) {
    try {
      flight_of(device.type()).make_room(device);
    } catch (...) {
      const Ref<Fault> fault = Fault::current();
      lose_all(recording, fault);
      return fault;
    }
  }
  Ref<Fault> fault;
  for (bool again = false;; again = true) {
    fault = nullptr;
    Reserved reserved;
    CompiledPlan* plan = nullptr;
    bool good = false;
    try {
      plan = &lookup(cache, device, recording);
      cache.last = plan;
      good = reserve(device, *plan, recording, reserved);
    } catch (...) {
      fault = Fault::current();
    }
    if (!fault && !good) {
      reserved.give_back();
      return one_by_one(device, recording);
    }
    if (!fault) {
      try {
        return run(cache, device, *plan, recording, reserved);
      } catch (...) {  // before it began
        fault = Fault::current();
      }
      lose_all(recording, fault);
      return fault;
    }
    if (again || fault->kind != Fault::memory) break;
    reserved.give_back();
    if (!free_memory(device)) break;
  }
  if (recording.nodes > 1 && fault->kind != Fault::internal) return one_by_one(device, recording);
  lose_all(recording, fault);
  return fault;
}

}  // namespace qs::plan
