// From a loop nest to a tile program and the arguments of its launch.
#pragma once
#include <vector>

#include "quicksilver/codegen/loop_nest.h"

namespace qs::codegen {

struct TileKernel {
  driver::TileProgram program;
  driver::TileArgs args;         // pointers are left for the caller
  std::vector<uint32_t> access;  // by operand: the nest's access it stands for
};

/// Orders and collapses the loops, schedules expressions into phases and gives them registers. The
/// program depends on ranks, domains, dtypes and on whether a row is short enough to be held, on no
/// extent or stride otherwise.
TileKernel lower_to_tile(const LoopNest& nest);

/// Rough cost of a primitive, in additions.
int cost_of(Prim prim);

}  // namespace qs::codegen
