// Fitting a kernel that exists to other extents and strides, without building its expressions
// again.
//
// A tile program depends on ranks, domains and dtypes (tile.h). So the program of a group serves
// the same group at other extents when the accesses vary over the same domains, those that were one
// are still one, the loops collapse to as many, and rows are held as before. What is left to do is
// to work out strides, extents and those constants that follow from extents (the n of a mean).
#pragma once
#include <optional>
#include <span>

#include "quicksilver/codegen/loops.h"
#include "quicksilver/codegen/tile.h"

namespace qs::codegen {

/// What `fit` needs of a kernel.
struct Recipe {
  LoopNest nest;  // without expressions; axes, strides, offsets and scalars of the last fit
  driver::TileMode mode = driver::TileMode::map;
  int kept = 0, reduced = 0;
  bool rows_held = false;
  std::vector<uint32_t> access;  // by operand
  Loops loops;                   // of the last fit
};

/// The recipe of a kernel that was just built (over the loops `frame`, when there is one); none
/// when `fit` would not give the kernel's own arguments for the very extents it was built for.
std::optional<Recipe> make_recipe(LoopNest nest, const TileKernel& kernel,
                                  std::span<const GroupNode> nodes, const Dims* frame = nullptr);

/// Arguments of the kernel for the nodes as they are now; false when it does not fit them. The
/// nodes are those of the group it was built for, in order; pointers are left for the caller.
bool fit(Recipe& recipe, std::span<const GroupNode> nodes, const Axes& axes, driver::TileArgs& out,
         const Dims* frame = nullptr);

}  // namespace qs::codegen
