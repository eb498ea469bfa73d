// What a TileLaunch knows: loops after collapsing, the shape of a block, resolved steps.
//
// Loops are renumbered: kept ones first, then reduced ones, extents of 1 dropped, neighbours that
// every operand walks as one merged. `Walk` gives an operand's strides over them: bytes for memory,
// units of the value for affine operands.
#pragma once
#include <memory>
#include <vector>

#include "quicksilver/core/small_vector.h"
#include "quicksilver/driver/cpu/tile.h"
#include "quicksilver/driver/cpu/tile_build.h"

namespace qs::driver::cpu {

inline constexpr int k_block_dims = 3;

/// How a block of operand elements is laid out, relative to the block's dense shape.
enum class Reach : uint8_t {
  dense,  // contiguous: may be used in place
  splat,  // one element for the whole block
  strided,
};

struct Walk {
  SmallVector<int64_t, 6> stride;    // by loop
  int64_t block[k_block_dims] = {};  // by block dimension, outer to inner
  int64_t kept = 0;                  // along the kept points of a block
  Reach full_reach = Reach::strided, kept_reach = Reach::strided;
  int64_t low = 0, high = 0;  // bytes it may touch: [low, high) from its address
  int16_t item = 4;
  bool memory = true;
};

struct Transfer {
  const CodeInstr* code = nullptr;
  uint16_t operand = 0;
  uint8_t log2_item = 2, log2_register = 2;
  Reach reach = Reach::strided;
  bool splat_register = false;  // the register is one group
  bool stream = false;
};

struct Bind {  // what a register points at, found anew for every block or unit
  uint16_t reg;
  int16_t operand;     // or -1: its persist buffer
  int64_t offset = 0;  // of the persist buffer in the worker's memory
  int16_t size = 4;
  bool far = false;  // too large for the near caches: its next block is prefetched
};

struct ChainPart {
  void (*fn)() = nullptr;
  int32_t reg = -1;  // its source, if any
  int32_t item = 0;  // of the source, 0 for one that does not move on; of the store: of the result
};

struct Section {
  std::vector<TileStep> steps;
  std::vector<Bind> binds;
};

struct LaunchPhase {
  Section prologue, body, tail;
  std::vector<uint16_t> folds;
};

/// An access that must not move: a load used in place, or a store done early, that meets a store.
struct Hazard {
  uint16_t first, second;  // operands
};

struct TileState {
  const TileCode* code = nullptr;
  TileArgs args;
  bool safe = false;  // nothing in place, no store early: memory operands overlap in a harmful way
  bool empty = false;
  int kept_loops = 0, reduced_loops = 0;
  SmallVector<int64_t, 6> extent;  // by loop
  SmallVector<int64_t, 6> step;    // by kept loop: how far a unit reaches
  int64_t kept_points = 0, reduced_points = 1;
  int64_t block[k_block_dims] = {1, 1, 1};  // most points of a block along its dimensions
  int8_t block_loop[k_block_dims] = {-1, -1, -1};
  bool whole_rows = false;  // row mode: a block holds whole rows, one or more
  // The operands that folds read where they lie, in long blocks, or -1.
  int16_t in_memory[2] = {-1, -1};
  int64_t unit_kept = 1;  // kept points of a whole unit
  int64_t units = 1;
  std::vector<Walk> walks;
  std::vector<Transfer> transfers;
  std::vector<ChainPart> chain_parts;  // of all chains, one behind the other
  Section uniform;
  std::vector<LaunchPhase> phases;
  std::vector<Hazard> hazards;
  // pieces
  int64_t unit_chunk = 1, chunks = 1;
  bool split = false;
  int64_t fold_chunk = k_fold_chunk, fold_chunks = 1, split_chunks = 1, splits = 1;
  std::vector<int64_t> partial_offset;  // by fold, inside a unit's partial results
  int64_t partial_bytes = 0;            // of a unit
  double unit_ns = 0, total_ns = 0;
  size_t scratch_bytes = 0, pointer_bytes = 0;
  // set by begin
  ErrorTarget error;
  std::vector<char*> bases;       // by operand; an affine operand's value as an integer
  std::unique_ptr<char[]> owned;  // splats, then partial results
  char* splats = nullptr;
  char* partials = nullptr;
  std::unique_ptr<TileState> fallback;  // the safe twin, built when first needed
  const TileState* active = nullptr;

  void plan(const TileCode& program, const TileArgs& values, int32_t tag, bool be_safe);
  bool lies_in_memory(int operand) const {
    return operand == in_memory[0] || operand == in_memory[1];
  }

 private:
  void collapse();
  void shape_block();
  void make_walks();
  void make_steps();
  void plan_pieces();
  void make_section(const std::vector<CodeInstr>& list, TileDomain domain, Section& out);
  void make_chain(const CodeInstr& i, TileStep& s);
  bool folded_operands(int16_t* out) const;
  bool rows_adjoin(int16_t operand) const;
  bool moves_whole_blocks() const;
  void find_picks();
  void find_hazards();
  bool in_place(const CodeRegister& r) const;
  bool streams(uint32_t operand) const;
  std::vector<uint8_t> splat_;      // by register: one group stands for all elements
  std::vector<uint8_t> in_memory_;  // by register: bound to an operand
  std::vector<uint8_t> picks_;      // by fold: one element a row is enough
};

}  // namespace qs::driver::cpu
