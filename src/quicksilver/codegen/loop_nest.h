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
  uint8_t item_size = 0;     // bytes that the launch word counts in, when not those of dtype
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

/// What an access stands for: its strides at other extents follow from it. Accesses that turned out
/// equal are one; then several causes name it.
struct Cause {
  enum Kind : uint8_t { operand, result, iota, linear } kind = operand;
  uint8_t index = 0;  // operand, result or axis
  uint16_t node = 0;  // of the group
  uint32_t access = 0;
};

/// The expansion of a node that asked for extents: what it called, in order, and what that gave.
/// Its numbers may follow from the extents.
struct Expansion {
  enum Call : uint16_t {
    input = 0,
    number = 0x100,
    cast = 0x200,
    index = 0x300,
    fold = 0x400,
    emit = 0x500
  };  // the low byte: a primitive, a fold, an axis
  struct Step {
    uint16_t call = input;
    DType dtype = DType::f32;
    int32_t scalar = -1;  // number
    uint64_t mask = 0;    // the node's axes along which it has extent
  };
  uint16_t node = 0;
  std::vector<Step> steps;
};

struct LoopNest {
  Axes axes;
  std::vector<Access> accesses;
  std::vector<driver::ScalarRef> scalars;
  std::vector<Expr> exprs;
  std::vector<Store> stores;
  // For fitting the kernel to other extents (recipe.h):
  std::vector<Cause> causes;
  std::vector<Expansion> expansions;
  std::vector<uint8_t> fixed;  // by scalar: it is also used as a number that no extent is part of
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

/// Whether an access with these strides varies over all of the axes, the kept ones or none.
TileDomain domain_of(const Axes& axes, const Dims& strides);
/// The same for memory that is written: an element is written once, at the end.
TileDomain store_domain_of(const Axes& axes, const Dims& strides);

}  // namespace qs::codegen
