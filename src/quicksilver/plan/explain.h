// What the planner did with a program, for people: which ops became which kernels, what crossed
// memory and why. Filled only while somebody looks (`Explaining`), from the finished Ir of each
// plan that the looking thread runs; such plans are built anew and not kept.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "quicksilver/core/device.h"
#include "quicksilver/core/export.h"

namespace qs::plan {

struct Ir;
struct CompiledPlan;
struct Recording;

/// A tensor that one launch reads from memory or writes there.
struct Crossing {
  uint32_t storage = 0;  // equal for all accesses to one storage of the plan
  bool write = false;
  std::string tensor;  // "f32[64, 256]"
  int64_t bytes = 0;   // that the launch moves
  int32_t from = -1;   // read: the launch that wrote it, -1 when it is older than the plan
  std::string why;     // "argument", "kept: a tensor holds it", "its reader sums over other loops"
};

struct LaunchNote {
  std::string kind;  // "map", "row", "column", "matmul", "kernel"
  std::string loops;
  struct OpNote {
    std::string name;
    std::string line;  // "train.py:31"; "" when the op was not called from Python
  };
  std::vector<OpNote> ops;
  std::vector<Crossing> crossings;
  int64_t bytes() const;
};

struct PlanNote {
  DeviceType device = DeviceType::mps;
  int32_t recorded = 0;  // nodes of the tape
  int32_t dropped = 0;   // of these, needed by nobody or merged with an equal one
  int32_t commands = 0;  // what the driver launches; a launch may be several commands
  int64_t arena_bytes = 0;
  std::vector<LaunchNote> launches;
};

/// While one lives, the plans that its thread runs are noted. Not nested.
class QS_API Explaining {
 public:
  Explaining();
  ~Explaining();
  Explaining(const Explaining&) = delete;
  Explaining& operator=(const Explaining&) = delete;
  std::vector<PlanNote> plans;
};

/// The calling thread's, or null.
Explaining* explaining() noexcept;
/// Called when a plan has been built.
void note_plan(const Ir& ir, const CompiledPlan& plan, const Recording& recording,
               DeviceType device, Explaining& to);

}  // namespace qs::plan
