// The plans of one device, and which of them fits a recording.
//
// A plan is made for what a recording's key says: ops, extents, strides, dtypes. It also rests on
// two things that are not key, so one key may have several plans:
//
//   liveness   the plan computes the values that were live when it was built, all others may not
//              exist. It fits a recording whose live values are among its outputs. When none fits,
//              a new one is built for the union, so that a loop that holds a value now and then
//              settles; when a plan has computed unwanted values for a while, an exact one is
//              built.
//   guards     pairs of launch words that were equal when the plan was built and that some pass
//              relied on, say the start offsets of the two views in x[2:4].mul_(x[2:4]).
#pragma once
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "quicksilver/core/hash.h"
#include "quicksilver/plan/compiled.h"
#include "quicksilver/plan/execute.h"

namespace qs::plan {

/// The plans of one device. Guarded by the recording lock.
struct PlanCache {
  struct Entry {
    Hash128 hash;
    std::vector<uint64_t> key;
    std::vector<std::unique_ptr<CompiledPlan>> plans;  // the last used first
  };
  struct HashOf {
    size_t operator()(const Hash128& h) const { return static_cast<size_t>(h.a ^ h.b); }
  };

  void forget_plans();

  const DeviceRuntime* device = nullptr;  // whose kernels the plans name
  std::list<Entry> entries;               // the last used first
  std::unordered_map<Hash128, std::list<Entry>::iterator, HashOf> by_hash;
  Stats stats;
  int64_t kernels_before = 0;
  std::vector<uint64_t> live;  // scratch: bits of the recording at hand
  CompiledPlan* last = nullptr;
  std::unique_ptr<CompiledPlan> explained;  // built for somebody who looks (explain.h)
};

PlanCache& cache_of(DeviceType device);

/// The plan to run for a recording, built when none fits. It stays valid until the next call.
CompiledPlan& lookup(PlanCache& cache, DeviceRuntime& device, const Recording& recording);

}  // namespace qs::plan
