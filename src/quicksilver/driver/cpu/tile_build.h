// A TileProgram after lowering: sections of instructions with their functions, slots and costs.
#pragma once
#include <vector>

#include "quicksilver/driver/cpu/tile_code.h"

namespace qs::driver::cpu {

struct CodeRegister {
  DType dtype = DType::f32;
  TileDomain domain = TileDomain::full;
  bool persist = false;
  uint8_t size = 4;
  int32_t slot = -1;    // byte offset in the worker's slots; uniform: in the launch's splats
  int32_t define = -1;  // positions in program order
  int32_t last_use = -1;
  int16_t operand = -1;  // loaded from it without conversion: may be used in place
};

/// One instruction of a chain: it takes what the one before gives, and another source if it has two
/// (`swapped`: as its first).
struct CodeLink {
  Prim prim = Prim::copy;
  bool swapped = false;
  int8_t source = -1;     // of the chain's
  DType to = DType::f32;  // round_to
};

struct CodeInstr {
  enum Kind : uint8_t {
    op,
    load,
    store,
    fold,
    scalar,
    chain,
    point,  // dst (bool) is true where the counter in operand `aux` is src[0], a kept register
    pick,   // of a launch: a fold that needs one element a row
  };
  Kind kind = op;
  Prim prim = Prim::copy;
  qs::Fold fold_op = qs::Fold::sum;
  bool exact = false;  // n must not be rounded up: it may set the error record or is slow
  uint8_t arity = 0;
  uint16_t dst = 0, src[k_most_links + 1] = {};
  std::vector<CodeLink> links;  // chain: the first one takes src[0]
  uint32_t aux = 0;  // op: as in TileInstr; load, store: operand; fold, scalar: number; chain: 1
                     // when its narrow result needs no rounding
  int32_t position = 0;
  TileFn fn = nullptr;        // op
  TileFn convert[2] = {};     // load, store: one after the other, either may be null
  RegClass middle = r_count;  // what lies between the two; op, chain: what it works on
  const FoldTable* folds = nullptr;
  float cost = 0;  // ns an element
  int32_t only_for =
      -1;  // its result is for this fold alone, which may do without (CodeFold::Pick)
};

/// A kept register seen by full instructions: spread over the block once a phase.
struct CodeExpand {
  uint16_t kept, full;
};

struct CodePhase {
  std::vector<CodeInstr> prologue;  // kept values that do not depend on this phase's folds
  std::vector<CodeExpand> expands;  // then these
  std::vector<CodeInstr> body;
  std::vector<CodeInstr> tail;
};

struct CodeFold {
  bool arg = false;
  RegClass from = r_f32;  // class of the folded values
  uint8_t size = 4;       // bytes of a result
  uint8_t item = 4;       // bytes of an element that is read
  uint8_t factors = 1;    // 2: it folds the products of two registers
  uint16_t dst = 0;
  int32_t state = 0;  // byte offset in the worker's slots
  const FoldTable* table = nullptr;
  /// Folds `value` where the counter is the row's `index`, and a scalar everywhere else.
  struct Pick {
    int32_t counter = -1;  // operand; -1: it folds something else
    int32_t otherwise = -1;
    uint16_t value = 0, index = 0;
    bool max = false;  // else sum
  } pick;
};

struct TileCode {
  TileMode mode = TileMode::map;
  int kept_loops = 1, reduced_loops = 0, scalar_count = 0;
  std::vector<TileOperand> operands;
  std::vector<bool> written, loaded;  // by operand
  std::vector<CodeRegister> registers;
  std::vector<CodeInstr> uniform;  // scalars, uniform loads and ops: once a launch
  std::vector<CodePhase> phases;
  std::vector<CodeFold> folds;
  int64_t tile = k_tile;   // elements of a block, at most
  size_t splat_bytes = 0;  // of the launch
  size_t slot_bytes = 0;   // of a worker, without persist buffers
  bool has_persist = false;
  const IsaTable* isa = nullptr;
};

/// Makes one instruction of several where that is faster (tile_join.cpp).
void join_instructions(TileCode& code);
/// How often each register is read.
std::vector<int> count_uses(const TileCode& code);
/// Folds that convert or multiply what they read by themselves (tile_join_folds.cpp).
void join_folds(TileCode& code);
/// Comparisons with one index a row become points and picks. tile_points.cpp.
void find_points(TileCode& code);

/// Throws InternalError when the program breaks its contract.
TileCode build_tile_code(const TileProgram& program);

}  // namespace qs::driver::cpu
