#include "quicksilver/plan/cache.h"

#include <algorithm>
#include <cstring>

#include "quicksilver/core/error.h"
#include "quicksilver/plan/explain.h"
#include "quicksilver/plan/tape.h"
#include "quicksilver/runtime/device.h"

namespace qs::plan {
namespace {

constexpr size_t k_most_candidates = 6;  // plans of one key
constexpr uint32_t k_patience = 8;       // runs with unwanted outputs before an exact plan is built

struct State {
  PlanCache caches[k_device_type_count];
  int64_t limit = 512;
  bool unfused = false;
};
State& state() {
  static State* s = new State;  // plans outlive main: kernels belong to devices that do
  return *s;
}

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
CompiledPlan* find_plan(PlanCache::Entry& entry, const Recording& r, std::vector<uint64_t>& live) {
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

}  // namespace

PlanCache& cache_of(DeviceType device) { return state().caches[static_cast<int>(device)]; }

void PlanCache::forget_plans() {
  entries.clear();
  by_hash.clear();
  last = nullptr;
}

CompiledPlan& lookup(PlanCache& cache, DeviceRuntime& device, const Recording& r) {
  find_live(r, cache.live);
  if (explaining()) [[unlikely]] {  // somebody looks: build it anew, beside the cache
    std::vector<bool> live(r.values.size());
    for (size_t v = 0; v < live.size(); ++v) live[v] = cache.live[v / 64] >> (v % 64) & 1;
    cache.explained = build_plan(device, r, live);
    return *cache.explained;
  }
  PlanCache::Entry* entry = nullptr;
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

Stats stats(DeviceType device) {
  std::lock_guard lock(recording_mutex());
  PlanCache& cache = cache_of(device);
  Stats s = cache.stats;
  s.plans = 0;
  for (const PlanCache::Entry& e : cache.entries) s.plans += static_cast<int64_t>(e.plans.size());
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
  cache.forget_plans();
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
