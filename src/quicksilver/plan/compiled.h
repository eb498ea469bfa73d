// A finished plan: commands frozen by the driver, and what a run must fill in.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "quicksilver/driver/driver.h"
#include "quicksilver/plan/ir.h"

namespace qs {
class DeviceRuntime;
}

namespace qs::plan {

struct CompiledPlan {
  struct Output {
    int32_t slot;
    ValueId value;  // the newest value of the storage: whose content gets the block
    size_t bytes;
  };
  struct External {
    int32_t slot;
    ValueId value;
  };
  std::vector<uint64_t> live;  // bit v: value v is an output
  std::vector<Guard> guards;
  std::vector<Output> outputs;
  std::vector<External> externals;
  std::vector<void*> bases;  // filled at each run; slot 0 is the arena
  size_t arena_bytes = 0;
  bool checks = false;  // some command may set the error record
  std::unique_ptr<driver::Program> program;
  std::vector<driver::Command> commands;  // until the second run freezes them
  bool submitted = false;
  std::vector<graph::Op> ops;  // by tag, for messages
  std::vector<int32_t> dims;   // by tag: the dimension that is indexed
  int64_t bytes_moved = 0;
  int32_t launches = 0;
  uint32_t misfits = 0;  // runs in which something not live was computed
  std::string text;      // what `describe` shows
};

/// Runs all passes and builds the kernels.
std::unique_ptr<CompiledPlan> build_plan(DeviceRuntime& device, const struct Recording& recording,
                                         const std::vector<bool>& live);

/// The last pass: commands from groups. emit.cpp.
void emit(Ir& ir, DeviceRuntime& device, CompiledPlan& plan);

}  // namespace qs::plan
