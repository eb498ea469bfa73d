// Iteration spaces: the shape a node loops over, the common loops of a group, and how one lies in
// the other. All functions are pure; extents and strides are in elements.
//
// A node's space is a row-major index space (the shape of its results, with the reduced axes in
// it). A group's axes are the common refinement of its nodes' spaces, without axes of extent 1:
// nodes over [8, 16, 32] and [128, 32] share the axes [8, 16, 32]. A node of a group with folds
// covers either all axes (`full`) or just the kept ones.
#pragma once
#include <cstdint>

#include "quicksilver/driver/source.h"
#include "quicksilver/graph/program.h"

namespace qs::codegen {

using AxisList = SmallVector<uint8_t, 8>;

/// What one node loops over.
struct Space {
  Dims shape;
  uint64_t axes = 0;      // the axes its folds reduce and its kept operands lack
  bool has_axes = false;  // attribute 0 is such a mask
  bool folds = false;     // it folds over axes that hold more than one element
  driver::TileMode mode = driver::TileMode::map;  // of its folds
  AxisList order;  // reduced axes, outer to inner: the order of its folds
};

/// `row`: the kinds that loop over elements (map, fold, composite, random).
Space space_of(const graph::Node& node);

/// Strides of an operand or a result along the axes of the node's space; 0 where it does not vary.
Dims operand_strides(const graph::Node& node, const Space& space, size_t operand);
Dims result_strides(const graph::Node& node, const Space& space, size_t result);

/// The loops of a group.
struct Axes {
  Dims extents;
  uint32_t reduced = 0;  // bit i: axis i is folded away
  driver::TileMode mode = driver::TileMode::map;
  AxisList order;  // reduced axes, outer to inner
  bool folds() const { return reduced != 0; }
  int64_t numel() const;
  int64_t kept_numel() const;
};

Axes axes_of(const Space& space);
/// The axes of a group that has all nodes of `a` and of `b`; false when they share no loops.
bool combine(const Axes& a, const Axes& b, Axes& out);

/// Strides along the group's axes from strides along a node's; false when the node does not fit.
bool place(const Space& space, const Dims& strides, const Axes& axes, Dims& out);

}  // namespace qs::codegen
