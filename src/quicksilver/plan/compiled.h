// A finished plan: commands frozen by the driver, and what a run must fill in.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "quicksilver/core/ref.h"
#include "quicksilver/driver/driver.h"
#include "quicksilver/plan/ir.h"

namespace qs {
class DeviceRuntime;
}

namespace qs::plan {

class Structure;

/// What a failure of a run takes down, and what to call it; outlives the plan while a run of it is
/// under way.
struct FaultTable {
  std::vector<graph::Op> ops;  // by tag, for messages
  std::vector<int32_t> dims;   // by tag: the dimension that is indexed
  struct Loss {
    uint64_t tags;                 // bits of ErrorRecord::failed
    std::vector<uint8_t> outputs;  // marks of what depends on the command
  };
  std::vector<Loss> losses;      // by command that may fail
  std::vector<uint8_t> skipped;  // outputs that depend on predicated commands
  /// Outputs that are written again after they were made: an earlier value may be good.
  std::vector<uint8_t> rewritten;
  bool can_rescue = false;  // there are such, and commands that may fail
  bool known = false;       // losses and skipped are filled in
};

/// Counts how often something serves that computes more than is wanted.
class Patience {
 public:
  /// Whether it is at an end: one and the same liveness came so often in a row that an exact plan
  /// pays. Each liveness ends it once, or a loop with many of them would plan for ever.
  bool ends(uint64_t liveness);

 private:
  uint64_t last_ = 0;
  uint32_t runs_ = 0;
  std::vector<uint64_t> tried_;
};

struct CompiledPlan {
  CompiledPlan();
  ~CompiledPlan();
  struct Output {
    int32_t slot;
    ValueId value;  // the newest value of the storage: whose content gets the block
    size_t bytes;
  };
  struct External {
    int32_t slot;
    ValueId value;
  };
  /// One launch, for `describe`: numbers that become words when somebody looks.
  struct Line {
    int32_t group = -1;  // of the structure
    driver::TileMode mode = driver::TileMode::map;
    int32_t reduced_loops = 0;
    size_t operands = 0, parts = 1;
    int64_t bytes = 0;
    Dims extents;  // or what `words` wants to know
    /// What says it of a launch that is no tile kernel, its name and what else it wants to know.
    std::string (*words)(const Line& line, const Structure& structure) = nullptr;
    std::string_view name;  // lives for ever
  };
  Ref<Structure> structure;  // what it is an instance of; has its liveness and its guards
  std::vector<Output> outputs;
  std::vector<External> externals;
  std::vector<void*> bases;  // filled at each run; slot 0 is the arena
  size_t arena_bytes = 0;
  std::vector<driver::Command> commands;  // until the second run freezes them
  /// One list; several segments for a driver that begins with the first while it gets the rest.
  std::vector<std::unique_ptr<driver::Program>> programs;
  bool submitted = false;
  /// Older storages that are written while the plan may still fail: the new content is made in
  /// memory of its own, which takes the old one's place when the run has succeeded.
  struct Shadow {
    int32_t slot;
    ValueId root, newest;
    bool copy;  // the first write leaves part of the old content
  };
  std::vector<Shadow> shadows;
  int64_t bytes_moved = 0;
  int32_t launches = 0;
  Patience patience;  // with runs in which something not live was computed
  std::vector<Line> lines;
  double build_us = 0;
  /// What `describe` shows.
  std::string text() const;
};

/// Runs all passes and builds the kernels; makes a structure, too.
std::unique_ptr<CompiledPlan> build_plan(DeviceRuntime& device, const struct Recording& recording,
                                         const std::vector<bool>& live);

/// What each failure takes down; after emit. checks.cpp.
void find_losses(const Ir& ir, const CompiledPlan& plan, FaultTable& table);
/// The last pass: commands from groups. emit.cpp.
void emit(Ir& ir, DeviceRuntime& device, CompiledPlan& plan);

}  // namespace qs::plan
