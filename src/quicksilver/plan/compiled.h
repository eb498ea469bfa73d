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
  /// One launch, for `describe`.
  struct Line {
    int32_t group = -1;  // of the structure: a tile kernel
    driver::TileMode mode = driver::TileMode::map;
    int32_t reduced_loops = 0;
    size_t operands = 0, parts = 1;
    int64_t bytes = 0;
    Dims extents;
    std::string text;  // of any other launch
  };
  Ref<Structure> structure;  // what it is an instance of; has its liveness and its guards
  std::vector<Output> outputs;
  std::vector<External> externals;
  std::vector<void*> bases;  // filled at each run; slot 0 is the arena
  size_t arena_bytes = 0;
  bool checks = false;  // some command may set the error record
  std::unique_ptr<driver::Program> program;
  std::vector<driver::Command> commands;  // until the second run freezes them
  bool submitted = false;
  int64_t bytes_moved = 0;
  int32_t launches = 0;
  uint32_t misfits = 0;  // runs in which something not live was computed
  std::vector<Line> lines;
  double build_us = 0;
  /// What `describe` shows.
  std::string text() const;
};

/// Runs all passes and builds the kernels; makes a structure, too.
std::unique_ptr<CompiledPlan> build_plan(DeviceRuntime& device, const struct Recording& recording,
                                         const std::vector<bool>& live);

/// The last pass: commands from groups. emit.cpp.
void emit(Ir& ir, DeviceRuntime& device, CompiledPlan& plan);

}  // namespace qs::plan
