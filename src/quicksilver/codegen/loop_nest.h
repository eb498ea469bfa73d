// A group of nodes as one loop nest: expressions over the group's axes, what they read and store.
// It knows no dialect; tile.h turns it into a tile program, text emitters can be added beside that.
//
// Expressions are in order of dependence and shared (equal ones exist once). Each belongs to a
// domain, as in driver/source.h: uniform, kept or full. A fold's result is kept; whatever needs it
// runs after the loops over the reduced axes, in the next phase.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "quicksilver/codegen/space.h"
#include "quicksilver/core/prim.h"
#include "quicksilver/driver/source.h"
#include "quicksilver/graph/program.h"

namespace qs::codegen {

using driver::TileDomain;

/// Memory that is read or written, or an index (affine).
struct Access {
  bool affine = false;
  DType dtype = DType::f32;
  TileDomain domain = TileDomain::full;
  graph::ValueId value = 0;  // memory: the value read or written
  int32_t word = -1;         // memory: launch word of the start offset
  int64_t offset = 0;        // memory: constant start offset, elements
  Dims strides;              // along the group's axes
};

struct Expr {
  enum Kind : uint8_t { load, scalar, op, fold } kind = op;
  Prim prim = Prim::copy;
  qs::Fold fold_op = qs::Fold::sum;
  DType dtype = DType::f32;
  TileDomain domain = TileDomain::full;
  uint8_t sources = 0;
  int32_t src[3] = {-1, -1, -1};
  uint32_t aux = 0;  // load: access; scalar: scalar; op round_to: dtype
};

struct Store {
  int32_t expr = -1;
  uint32_t access = 0;
  bool after_loads = false;  // the same memory is read here too: store when all reads are done
};

struct LoopNest {
  Axes axes;
  std::vector<Access> accesses;
  std::vector<driver::ScalarRef> scalars;
  std::vector<Expr> exprs;
  std::vector<Store> stores;
};

/// One node of a group and what of it must reach memory.
struct GroupNode {
  const graph::Node* node = nullptr;
  const Space* space = nullptr;
  uint32_t stores = 0;  // bit i: result i
  uint32_t late = 0;    // bit i: the group also reads the memory that result i is stored into
};

/// Expands the nodes into one nest. A value made by an earlier node of the group is taken from its
/// register (the grouping has checked that the elements agree).
LoopNest build_nest(std::span<const GroupNode> nodes, const Axes& axes);

}  // namespace qs::codegen
