#include "quicksilver/plan/cache.h"

#include <algorithm>
#include <chrono>

#include "quicksilver/core/cpu_info.h"
#include "quicksilver/core/error.h"
#include "quicksilver/core/thread_pool.h"
#include "quicksilver/plan/explain.h"
#include "quicksilver/plan/tape.h"
#include "quicksilver/runtime/device.h"

namespace qs::plan {
namespace {

constexpr size_t k_most_instances = 6;    // of one key
constexpr size_t k_most_structures = 8;   // of one key without extents
constexpr size_t k_exact_structures = 3;  // of one key, before one serves several livenesses
constexpr uint32_t k_patience = 8;  // runs with the same unwanted outputs before an exact plan
constexpr size_t k_most_tried = 64;
constexpr int64_t k_most_launches = 1 << 16;  // of all instances: some 100 MB
constexpr int64_t k_most_nodes = 1 << 16;     // of all structures: some 100 MB

struct State {
  PlanCache caches[k_device_type_count];
  int64_t instance_limit = 512;
  int64_t structure_limit = 512;
  bool unfused = false;
};
State& state() {
  static State* s = new State;  // plans outlive main: kernels belong to devices that do
  return *s;
}

/// What plans depend on beside the program. (The cpu driver cuts its work by the number of threads
/// when a plan is prepared for replay.)
uint64_t settings_word() {
  return uint64_t(ThreadPool::instance().threads()) | uint64_t(cpu_info().isa) << 32;
}

std::vector<bool> as_flags(const std::vector<uint64_t>& live, size_t values) {
  std::vector<bool> flags(values);
  for (size_t v = 0; v < values; ++v) flags[v] = live[v / 64] >> (v % 64) & 1;
  return flags;
}

uint64_t hash_of(const std::vector<uint64_t>& live) {
  Hash128 h;
  for (uint64_t w : live) h.add(w);
  return h.a ^ h.b;
}

enum class Cover { none, loose, exact };

Cover covers(const Structure& s, const std::vector<uint64_t>& live) {
  bool exact = true;
  for (size_t i = 0; i < live.size(); ++i) {
    if (live[i] & ~s.live[i]) return Cover::none;
    exact = exact && live[i] == s.live[i];
  }
  return exact ? Cover::exact : Cover::loose;
}

bool guards_hold(const Structure& s, const std::vector<uint64_t>& words) {
  for (const Guard& g : s.guards) {
    const uint64_t wanted = g.b < 0 ? g.value : words[static_cast<size_t>(g.b)];
    if (words[static_cast<size_t>(g.a)] != wanted) return false;
  }
  return true;
}

/// An instance that fits, moved to the front; null when one must be made. `only_exact` is set when
/// the one that fits has computed too much for too long.
CompiledPlan* find_instance(PlanCache::Instances::Entry& entry, const Recording& r,
                            const std::vector<uint64_t>& live, bool& only_exact) {
  size_t found = entry.items.size();
  for (size_t i = 0; i < entry.items.size(); ++i) {
    const Structure& s = *entry.items[i]->structure;
    if (!guards_hold(s, r.words)) continue;
    const Cover cover = covers(s, live);
    if (cover == Cover::none) continue;
    if (cover == Cover::loose && found < entry.items.size()) continue;
    found = i;
    if (cover == Cover::exact) break;
  }
  if (found == entry.items.size()) return nullptr;
  CompiledPlan& plan = *entry.items[found];
  if (covers(*plan.structure, live) == Cover::loose && plan.patience.ends(hash_of(live))) {
    only_exact = true;
    return nullptr;
  }
  if (found) std::swap(entry.items[0], entry.items[found]);
  return entry.items[0].get();
}

/// A plan made from one of the entry's structures, exact ones first; null when none fits. Else
/// `live` gets the liveness to build for.
std::unique_ptr<CompiledPlan> make_instance(PlanCache::Structures::Entry& entry,
                                            DeviceRuntime& device, const Recording& r,
                                            std::vector<uint64_t>& live, bool only_exact) {
  const Structure* other_liveness = nullptr;
  for (const Cover wanted : {Cover::exact, Cover::loose}) {
    if (wanted == Cover::loose && (only_exact || entry.items.size() < k_exact_structures)) break;
    for (size_t i = 0; i < entry.items.size(); ++i) {
      Structure& s = *entry.items[i];
      if (!guards_hold(s, r.words)) continue;
      const Cover cover = covers(s, live);
      if (cover == Cover::none && !other_liveness) other_liveness = &s;
      if (cover != wanted) continue;
      if (cover == Cover::loose && s.patience.ends(hash_of(live))) return nullptr;
      std::unique_ptr<CompiledPlan> plan = s.instantiate(device, r);
      if (!plan) continue;
      std::rotate(entry.items.begin(), entry.items.begin() + static_cast<std::ptrdiff_t>(i),
                  entry.items.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      return plan;
    }
  }
  // Liveness that comes and goes: one plan for all of it.
  if (other_liveness && !only_exact && entry.items.size() >= k_exact_structures)
    for (size_t i = 0; i < live.size(); ++i) live[i] |= other_liveness->live[i];
  return nullptr;
}

}  // namespace

bool Patience::ends(uint64_t liveness) {
  runs_ = liveness == last_ ? runs_ + 1 : 1;
  last_ = liveness;
  if (runs_ < k_patience || tried_.size() >= k_most_tried ||
      std::find(tried_.begin(), tried_.end(), liveness) != tried_.end())
    return false;
  tried_.push_back(liveness);
  return true;
}

PlanCache& cache_of(DeviceType device) { return state().caches[static_cast<int>(device)]; }

void PlanCache::forget_plans() {
  instances.clear();
  structures.clear();
  last = nullptr;
}

void PlanCache::shrink() {
  instances.shrink(state().instance_limit, k_most_launches);
  structures.shrink(state().structure_limit, k_most_nodes);
  for (const auto& plan : instances.take_gone()) {
    if (plan.get() == last) last = nullptr;
    ++stats.evictions;
  }
  for (const Ref<Structure>& s : structures.take_gone()) {
    s->retire();
    ++stats.evictions;
  }
}

CompiledPlan& lookup(PlanCache& cache, DeviceRuntime& device, const Recording& r) {
  cache.live = r.live;
  if (explaining()) [[unlikely]] {  // somebody looks: build it anew, beside the cache
    cache.explained = build_plan(device, r, as_flags(cache.live, r.values.size()));
    return *cache.explained;
  }
  Hash128 hash = r.hash;
  hash.add(settings_word());
  PlanCache::Instances::Entry* entry = cache.instances.find(hash, r.key);
  bool only_exact = false;
  if (entry)
    if (CompiledPlan* plan = find_instance(*entry, r, cache.live, only_exact)) {
      ++cache.stats.hits;
      return *plan;
    }
  const auto start = std::chrono::steady_clock::now();
  class_key(r.key, cache.class_words);
  Hash128 class_hash;
  for (uint64_t w : cache.class_words) class_hash.add(w);
  class_hash.add(settings_word());
  PlanCache::Structures::Entry* kind = cache.structures.find(class_hash, cache.class_words);
  std::unique_ptr<CompiledPlan> plan;
  if (kind) plan = make_instance(*kind, device, r, cache.live, only_exact);
  const bool instance = plan != nullptr;
  if (!instance) {
    plan = build_plan(device, r, as_flags(cache.live, r.values.size()));
    ++cache.stats.structures_built;
    if (!kind) kind = &cache.structures.add(class_hash, cache.class_words);
    cache.structures.put(*kind, plan->structure, k_most_structures);
  }
  ++cache.stats.plans_built;
  if (!entry) entry = &cache.instances.add(hash, r.key);
  CompiledPlan& made = *cache.instances.put(*entry, std::move(plan), k_most_instances);
  cache.shrink();
  if (instance) {
    const std::chrono::nanoseconds took = std::chrono::steady_clock::now() - start;
    ++cache.stats.instances_built;
    cache.stats.instance_nodes += r.nodes;
    cache.stats.instance_ns += took.count();
  }
  return made;
}

Stats stats(DeviceType device) {
  const Turn turn(device);
  PlanCache& cache = cache_of(device);
  Stats s = cache.stats;
  s.plans = cache.instances.size();
  s.structures = cache.structures.size();
  if (DeviceRuntime* open = open_device_runtime(device)) {
    const DeviceRuntime::KernelCounts kernels = open->kernel_counts();
    s.kernels = kernels.kept;
    s.kernels_built = kernels.built - cache.kernels_before;
    s.kernels_evicted = kernels.evicted;
  }
  return s;
}

void reset_stats(DeviceType device) {
  const Turn turn(device);
  PlanCache& cache = cache_of(device);
  cache.stats = {};
  if (DeviceRuntime* open = open_device_runtime(device))
    cache.kernels_before = open->kernel_counts().built;
}

std::string describe(DeviceType device) {
  const Turn turn(device);
  PlanCache& cache = cache_of(device);
  return cache.last ? cache.last->text() : "no plan has run\n";
}

void clear_plans(DeviceType device) {
  const Turn turn(device);
  PlanCache& cache = cache_of(device);
  cache.forget_plans();
  cache.device = nullptr;
  cache.kernels_before = 0;
}

void set_plan_limit(int64_t instances, int64_t structures) {
  for (int d = 0; d < k_device_type_count; ++d) {
    const Turn turn(static_cast<DeviceType>(d));
    state().instance_limit = instances;
    state().structure_limit = structures;
    state().caches[d].shrink();
  }
}

void set_unfused(bool on) {
  for (int d = 0; d < k_device_type_count; ++d) clear_plans(static_cast<DeviceType>(d));
  state().unfused = on;
}
bool unfused() { return state().unfused; }

}  // namespace qs::plan
