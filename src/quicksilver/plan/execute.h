// What others may ask the planner: counters, the last plan in words, and switches for tests.
#pragma once
#include <cstdint>
#include <string>

#include "quicksilver/core/device.h"
#include "quicksilver/core/export.h"

namespace qs::plan {

/// Counted for each device type since the last reset.
struct Stats {
  int64_t plans = 0;             // in the cache: instances, each for its extents
  int64_t plans_built = 0;       // structures_built + instances_built
  int64_t structures = 0;        // in the cache: what is planned whatever the extents
  int64_t structures_built = 0;  // by running all passes; each comes with an instance
  int64_t instances_built = 0;   // from a structure that was there
  int64_t instance_nodes = 0;    // recorded nodes of these instances
  int64_t instance_ns = 0;       // what making them took, kernels built on the way included
  int64_t hits = 0;              // runs of a plan that was there
  int64_t evictions = 0;         // of instances and structures
  int64_t kernels = 0;           // kept by the device
  int64_t kernels_built = 0;     // by the device, since it was opened or the last reset
  int64_t kernels_evicted = 0;   // by the device, since it was opened
  int64_t submits = 0;           // runs of a plan for the first time: commands went out one by one
  int64_t replays = 0;           // runs through the driver's replay object
  int64_t launches = 0;          // commands run
  int64_t nodes = 0;             // recorded nodes run
  int64_t bytes_moved = 0;       // read and written by generated kernels and matmuls, as planned
};
QS_API Stats stats(DeviceType device);
QS_API void reset_stats(DeviceType device);

/// The last plan that was run: its launches, which ops each holds, its loops, the bytes it moves.
QS_API std::string describe(DeviceType device);

/// Forgets all plans of the device. No run may be under way.
QS_API void clear_plans(DeviceType device);
/// Of how many keys instances and structures are kept for each device (512 each); the least
/// recently used go first.
QS_API void set_plan_limit(int64_t instances, int64_t structures);

/// For tests: each node becomes a kernel of its own. Clears the plans.
QS_API void set_unfused(bool on);
bool unfused();

}  // namespace qs::plan
