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

/// The same with the loops `frame` (outer to inner, extents of 1 kept), each a run of the nest's
/// axes: what a matrix product runs on its blocks. False when some access cannot be walked so. No
/// folds.
bool lower_to_tile(const LoopNest& nest, const Dims& frame, TileKernel& out);

/// Rough cost of a primitive, in additions.
int cost_of(Prim prim);

}  // namespace qs::codegen
