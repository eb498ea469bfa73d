// How a view walks a dense tensor, and how other layouts look through such a walk.
#pragma once
#include "quicksilver/core/layout.h"
#include "quicksilver/core/small_vector.h"

namespace qs::plan {

/// For each dimension of a view, the dimension of the tensor that it walks along and its step.
struct Walk {
  SmallVector<int, 8> dim;  // -1: it does not move
  Dims step, start;         // `start` by dimension of the tensor
};

/// False when `view` is not made of whole steps along dimensions of `tensor` (dense, from 0 on).
bool find_walk(const Layout& tensor, const Layout& view, Walk& out);
/// A layout of shape `shape` (broadcast), seen through a walk over that shape.
Layout look_through(const Layout& operand, DimSpan shape, const Walk& walk, DimSpan view);

}  // namespace qs::plan
