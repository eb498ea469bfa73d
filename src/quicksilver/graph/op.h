// The op table: one row per recorded op (ops.def), as an enum and an array of facts.
//
// A recorded op is a node of the tape. Its row says what kind of work it is, which dtype it
// computes in, and, for everything that loops over elements, how it is made of scalar primitives
// and folds. Views are not ops: a view is a layout over the same storage and records nothing.
#pragma once
#include <cstdint>
#include <string_view>

#include "quicksilver/core/dtype.h"

namespace qs::graph {

enum class Op : uint16_t {
#define OP(name, ...) name,
#include "quicksilver/graph/ops.def"
  count_
};

enum class OpKind : uint8_t {
  map,        // each result element from the same element of the (broadcast) inputs
  fold,       // one fold over the axes in attribute 0
  composite,  // maps and folds over one iteration space; expanded when the plan is built
  random,     // a map that draws: scalars (seed, offset) are its last two inputs; never merged
  matmul,     // a library call
  kernel,     // a family of kernels/: gather, scatter, sort, scan …
};

/// Which dtype an op computes in and what it gives, from its inputs that are not `raw`.
enum class DTypeRule : uint8_t {
  promote,   // common dtype in, the same out
  floating,  // common dtype; integers and bool become the default float
  compare,   // common dtype in, bool out
  boolean,   // inputs tested for being non-zero in their own common dtype, bool out
  sum,       // integers and bool become int64
  index,     // common dtype in, int64 out
  custom,    // the verb says (casts, creation, mixed results)
};

struct OpInfo {
  std::string_view name;
  OpKind kind;
  uint8_t inputs;  // at most; trailing ones may be absent
  uint8_t results;
  DTypeRule rule;
  uint32_t raw;  // bit i: input i keeps its own dtype (conditions, indices)
  uint8_t
      kept_inputs;  // bit i: input i lacks the axes of attribute 0 (saved fold results, targets)
  uint8_t kept;     // bit i: result i lacks the axes of attribute 0 (unless attribute 1, keepdim)
  bool can_fail;    // data can make it fail: the user's line is kept
  std::string_view doc;
};

const OpInfo& info(Op op);
inline std::string_view name_of(Op op) { return info(op).name; }

/// Whether attribute 0 of the op is a mask of axes. Composites without folds, such as the steps of
/// optimizers, have attributes of other kinds.
bool attribute_is_axes(const OpInfo& row);

}  // namespace qs::graph
