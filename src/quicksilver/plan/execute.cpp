// From a recording to its results: find or build the plan, run it, hand out the blocks.
//
// A plan is made for what a recording's key says: ops, extents, strides, dtypes. What changes from
// run to run without changing the key is handed over in the launch table: addresses (bases),
// numbers and start offsets (words). A plan also rests on two things that are not key, so one key
// may have several plans:
//
//   liveness   the plan computes the values that were live when it was built, all others may not
//   exist.
//              It fits a recording whose live values are among its outputs. When none fits, a new
//              one is built for the union, so that a loop that holds a value now and then settles;
//              when a plan has computed unwanted values for a while, an exact one is built.
//   guards     pairs of launch words that were equal when the plan was built and that some pass
//   relied
//              on, say the start offsets of the two views in x[2:4].mul_(x[2:4]).
//
// Example: loss = ((x @ w) - y).square().mean(). The key has four nodes; the launch table has the
// addresses of x, w, y and loss and one start offset for each use of x, w and y. The plan has two
// commands:
//
//   matmul 64x1x8                     bases: arena 0, x 1, w 2, y 3, loss 4
//   row [1, 64] reduced 1: sub square mean     the product lies in the arena, loss in a block of
//   its own
//
// A run allocates a block for loss, fills the bases, and lets the driver replay the two commands.
// The passes that built the plan are listed in pipeline.cpp; each has a file of its own.
//
// Known complications:
//  - The recording lock is held throughout; a plan's scratch (bases) needs no lock of its own.
//  Submission
//    takes the device's mutex, which guards the arena.
//  - Data-dependent errors: a driver that works at once has set the record when replay returns.
//  Then fresh
//    outputs of the plan carry the text as their error, in-place targets keep their buffers, and
//    the fault is left with the device for the next reader. Drivers that work behind our back are
//    asked when a fence is waited for.
//  - If anything throws (no memory, no kernel), fresh contents get the text as their error and the
//    exception passes on; the tape is empty afterwards.
#include "quicksilver/plan/execute.h"

#include <algorithm>
#include <cstring>
#include <list>
#include <unordered_map>

#include "quicksilver/core/error.h"
#include "quicksilver/plan/compiled.h"
#include "quicksilver/plan/passes.h"
#include "quicksilver/plan/tape.h"
#include "quicksilver/runtime/device.h"

namespace qs::plan {
namespace {

constexpr size_t k_most_candidates = 6;  // plans of one key
constexpr uint32_t k_patience = 8;       // runs with unwanted outputs before an exact plan is built

struct Entry {
  Hash128 hash;
  std::vector<uint64_t> key;
  std::vector<std::unique_ptr<CompiledPlan>> plans;  // the last used first
};

struct HashOf {
  size_t operator()(const Hash128& h) const { return static_cast<size_t>(h.a ^ h.b); }
};

/// The plans of one device. Guarded by the recording lock.
struct PlanCache {
  const DeviceRuntime* device = nullptr;  // whose kernels the plans name
  std::list<Entry> entries;               // the last used first
  std::unordered_map<Hash128, std::list<Entry>::iterator, HashOf> by_hash;
  Stats stats;
  int64_t kernels_before = 0;
  std::vector<uint64_t> live;  // scratch: bits of the recording at hand
  CompiledPlan* last = nullptr;
  std::string last_text;
};

struct State {
  PlanCache caches[k_device_type_count];
  int64_t limit = 512;
  bool unfused = false;
};
State& state() {
  static State* s = new State;  // plans outlive main: kernels belong to devices that do
  return *s;
}
PlanCache& cache_of(DeviceType d) { return state().caches[static_cast<int>(d)]; }

/// Bits of the values whose content must be there after the run.
void find_live(const Recording& r, std::vector<uint64_t>& live) {
  live.assign((r.values.size() + 63) / 64, 0);
  for (size_t v = 0; v < r.values.size(); ++v)
    if (r.values[v].content && !r.values[v].external && !r.values[v].root_external)
      live[v / 64] |= uint64_t{1} << (v % 64);
}

bool covers(const CompiledPlan& plan, const std::vector<uint64_t>& live, bool& exact) {
  exact = true;
  for (size_t i = 0; i < live.size(); ++i) {
    if (live[i] & ~plan.live[i]) return false;
    exact = exact && live[i] == plan.live[i];
  }
  return true;
}

bool guards_hold(const CompiledPlan& plan, const std::vector<uint64_t>& words) {
  for (const Guard& g : plan.guards)
    if (words[static_cast<size_t>(g.a)] != words[static_cast<size_t>(g.b)]) return false;
  return true;
}

/// A plan that fits, moved to the front of the entry's list; null when one must be built. `wanted`
/// gets the liveness to build for.
CompiledPlan* find_plan(Entry& entry, const Recording& r, std::vector<uint64_t>& live) {
  CompiledPlan* loose = nullptr;
  size_t loose_at = 0;
  for (size_t i = 0; i < entry.plans.size(); ++i) {
    CompiledPlan& plan = *entry.plans[i];
    bool exact;
    if (!guards_hold(plan, r.words) || !covers(plan, live, exact)) continue;
    if (exact) {
      if (i) std::swap(entry.plans[0], entry.plans[i]);
      return entry.plans[0].get();
    }
    if (!loose) {
      loose = &plan;
      loose_at = i;
    }
  }
  if (loose) {
    if (++loose->misfits % k_patience == 0) return nullptr;  // build the exact one
    if (loose_at) std::swap(entry.plans[0], entry.plans[loose_at]);
    return loose;
  }
  // Liveness that comes and goes: one plan for all of it.
  if (!entry.plans.empty() && guards_hold(*entry.plans[0], r.words))
    for (size_t i = 0; i < live.size(); ++i) live[i] |= entry.plans[0]->live[i];
  return nullptr;
}

void evict(PlanCache& cache) {
  while (static_cast<int64_t>(cache.entries.size()) > std::max<int64_t>(state().limit, 1)) {
    cache.by_hash.erase(cache.entries.back().hash);
    for (auto& plan : cache.entries.back().plans)
      if (plan.get() == cache.last) cache.last = nullptr;
    cache.entries.pop_back();
    ++cache.stats.evictions;
  }
}

CompiledPlan& lookup(PlanCache& cache, DeviceRuntime& device, const Recording& r) {
  find_live(r, cache.live);
  Entry* entry = nullptr;
  // The same key again is the common case in a loop of equal steps.
  if (!cache.entries.empty() && cache.entries.front().hash == r.hash) {
    entry = &cache.entries.front();
  } else if (const auto it = cache.by_hash.find(r.hash); it != cache.by_hash.end()) {
    cache.entries.splice(cache.entries.begin(), cache.entries, it->second);
    entry = &*it->second;
  }
  if (entry &&
      (entry->key.size() != r.key.size() ||
       std::memcmp(entry->key.data(), r.key.data(), r.key.size() * sizeof(uint64_t)) != 0)) {
    // Another key of the same hash: it takes the place.
    cache.by_hash.erase(entry->hash);
    for (auto& plan : entry->plans)
      if (plan.get() == cache.last) cache.last = nullptr;
    cache.entries.pop_front();
    ++cache.stats.evictions;
    entry = nullptr;
  }
  if (entry)
    if (CompiledPlan* plan = find_plan(*entry, r, cache.live)) {
      ++cache.stats.hits;
      return *plan;
    }
  std::vector<bool> live(r.values.size());
  for (size_t v = 0; v < live.size(); ++v) live[v] = cache.live[v / 64] >> (v % 64) & 1;
  std::unique_ptr<CompiledPlan> plan = build_plan(device, r, live);
  ++cache.stats.plans_built;
  if (!entry) {
    cache.entries.push_front({r.hash, r.key, {}});
    entry = &cache.entries.front();
    cache.by_hash[r.hash] = cache.entries.begin();
    evict(cache);
  }
  if (entry->plans.size() >= k_most_candidates) {
    if (entry->plans.back().get() == cache.last) cache.last = nullptr;
    entry->plans.pop_back();
    ++cache.stats.evictions;
  }
  entry->plans.insert(entry->plans.begin(), std::move(plan));
  return *entry->plans[0];
}

/// PyTorch's words for what a kernel refused.
Fault fault_of(const driver::ErrorRecord& e, const CompiledPlan& plan, const Recording& r) {
  const auto tag = e.set - 1;
  const graph::Op op = tag >= 0 && tag < static_cast<int32_t>(plan.ops.size())
                           ? plan.ops[static_cast<size_t>(tag)]
                           : graph::Op::copy;
  Fault fault;
  fault.kind = e.reason == 1 ? Fault::index : Fault::other;
  if (e.reason == 1 && op == graph::Op::cross_entropy)
    fault.text = format("Target {} is out of bounds.", e.value);
  else if (e.reason == 1)
    fault.text = format("index {} is out of bounds for dimension {} with size {}", e.value,
                        plan.dims[static_cast<size_t>(std::max(tag, 0))], e.bound);
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
    cache.entries.clear();
    cache.by_hash.clear();
    cache.last = nullptr;
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

Stats stats(DeviceType device) {
  std::lock_guard lock(recording_mutex());
  PlanCache& cache = cache_of(device);
  Stats s = cache.stats;
  s.plans = 0;
  for (const Entry& e : cache.entries) s.plans += static_cast<int64_t>(e.plans.size());
  if (DeviceRuntime* open = open_device_runtime(device))
    s.kernels_built = open->kernel_counts().built - cache.kernels_before;
  return s;
}

void reset_stats(DeviceType device) {
  std::lock_guard lock(recording_mutex());
  PlanCache& cache = cache_of(device);
  cache.stats = {};
  if (DeviceRuntime* open = open_device_runtime(device))
    cache.kernels_before = open->kernel_counts().built;
}

std::string describe(DeviceType device) {
  std::lock_guard lock(recording_mutex());
  PlanCache& cache = cache_of(device);
  return cache.last ? cache.last->text : "no plan has run\n";
}

void clear_plans(DeviceType device) {
  std::lock_guard lock(recording_mutex());
  PlanCache& cache = cache_of(device);
  cache.entries.clear();
  cache.by_hash.clear();
  cache.last = nullptr;
  cache.device = nullptr;
  cache.kernels_before = 0;
}

void set_plan_limit(int64_t plans) {
  std::lock_guard lock(recording_mutex());
  state().limit = plans;
  for (PlanCache& cache : state().caches) evict(cache);
}

void set_unfused(bool on) {
  for (int d = 0; d < k_device_type_count; ++d) clear_plans(static_cast<DeviceType>(d));
  state().unfused = on;
}
bool unfused() { return state().unfused; }

}  // namespace qs::plan
