// The loops of a kernel, from a group's axes and what its accesses touch along them.
//
// Reduced loops keep the order that their folds want (space.h); kept loops are sorted so that the
// stores, then the loads, walk memory in order. Neighbours that every access walks as one are
// joined.
#pragma once
#include <vector>

#include "quicksilver/codegen/loop_nest.h"

namespace qs::codegen {

struct Loops {
  Dims extents;  // kept loops, then reduced ones, outer to inner
  int kept = 0;
  std::vector<Dims> strides;  // by access, along the loops
  int reduced() const { return static_cast<int>(extents.size()) - kept; }
};

/// Looks at axes, accesses and which accesses are stores; at no expression.
void arrange(const LoopNest& nest, Loops& out);

/// Strides along the loops `frame` (outer to inner), each of which runs over one or several
/// neighbouring axes, from strides along the axes; false when they cannot be walked so. Without
/// folds.
bool frame_strides(const Axes& axes, const Dims& strides, const Dims& frame, Dims& out);

/// The loops `frame` as they are; false when some access cannot be walked along them.
bool arrange(const LoopNest& nest, const Dims& frame, Loops& out);

/// Whether a row is short enough for values to be held until a later phase.
bool holds_rows(const Axes& axes, const Loops& loops);

}  // namespace qs::codegen
