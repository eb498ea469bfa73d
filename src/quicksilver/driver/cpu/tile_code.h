// What tile_build makes of a TileProgram, and the tables of functions that run it. Internal to the
// tile VM; plain data only, since files built for one instruction set include it.
#pragma once
#include <cstdint>

#include "quicksilver/core/dtype.h"
#include "quicksilver/core/prim.h"
#include "quicksilver/driver/source.h"

namespace qs::driver::cpu {

/// Every kernel works in groups of this many elements; a splat value is held as one group.
inline constexpr int64_t k_group = 64;
/// Elements of a tile, at most.
inline constexpr int64_t k_tile = 1024;

/// The dtypes a register can have, as table indices.
enum RegClass : uint8_t { r_f32, r_f64, r_i32, r_i64, r_u64, r_bool, r_count };

/// Where a kernel reports data it must refuse.
struct ErrorTarget {
  ErrorRecord* record = nullptr;
  int32_t tag = 0;
};

struct TileStep;
/// dst[i] = f(a[i], b[i], c[i]) for i < n. Sources may be the very same memory as dst. A source
/// whose step.stride is 0 is one group of equal elements; other strides are the bytes of one group.
using TileFn = void (*)(char* dst, const char* a, const char* b, const char* c, int64_t n,
                        const TileStep& step);

struct TileStep {
  TileFn fn = nullptr;
  uint8_t kind = 0;     // CodeInstr::Kind
  bool padded = false;  // n may be rounded up to whole groups
  uint16_t dst = 0;     // indices into the worker's table of pointers
  uint16_t src[3] = {0, 0, 0};
  int32_t stride[3] = {0, 0, 0};
  uint32_t aux = 0;  // round_to: DType; load, store, fold: index of its record
  const ErrorTarget* error = nullptr;
};

/// The steps of a chain as it runs: `fn` is one of IsaTable's, to be called by those alone, `src`
/// its other source, if any, and `item` the bytes of an element of that; 0: none moves on.
struct ChainLink {
  void (*fn)() = nullptr;
  const char* src = nullptr;
  int64_t item = 0;
};
inline constexpr int k_most_links = 12;    // instructions of a chain
inline constexpr int k_chain_classes = 3;  // that have chains: the first ones of RegClass
/// How a source or the result of a chain lies in memory: as it is computed, as one group of equal
/// elements, or (from form_narrow on) in a narrower dtype, see chain_form. Comparisons end a chain
/// and give form_flags; form_exact is bf16 that needs no rounding.
enum ChainForm : uint8_t {
  form_same,
  form_splat,
  form_narrow,
  form_flags = form_narrow + 3,
  form_exact,
  k_chain_forms
};

/// The partial results of one row fold: point i of a chunk belongs to lane i % 64.
struct alignas(64) FoldLanes {
  char value[64 * 8];
  int32_t index[64];  // argmax, argmin: position in the chunk, -1 while empty
};

/// The functions of one fold on one register class. `index` arguments are null unless arg; `y` is
/// the second factor of what is folded, null where there is none.
struct FoldTable {
  void (*clear_lanes)(FoldLanes& lanes);
  /// Points [at, at + n) of one chunk, in order.
  void (*add_lanes)(FoldLanes& lanes, const char* x, const char* y, int64_t n, int64_t at);
  /// Combines the lanes in the fixed tree. `base` is the chunk's first point.
  void (*end_lanes)(FoldLanes& lanes, char* value, int64_t* index, int64_t base);
  /// `rows` whole rows of `columns` points each, at most one tile: dst[r].
  void (*rows)(char* value, int64_t* index, const char* x, const char* y, int64_t rows,
               int64_t columns);
  void (*clear)(char* value, int64_t* index, int64_t n);
  /// value[c] = value[c] + x[r][c] for r in order; row r is point `base` + r and begins r * `step`
  /// elements behind x, of the second factor `step_y` behind y.
  void (*columns)(char* value, int64_t* index, const char* x, const char* y, int64_t rows,
                  int64_t columns, int64_t step, int64_t step_y, int64_t base);
  /// The same of partial results: x and x_index are rows x columns, one behind the other.
  void (*combine)(char* value, int64_t* index, const char* x, const int64_t* x_index, int64_t rows,
                  int64_t columns);
  /// For folds whose partial results in `columns` are wider than the result, else null: what clears
  /// them, and what makes results of them, in place.
  void (*clear_state)(char* state, int64_t n) = nullptr;
  void (*end_columns)(char* state, int64_t n) = nullptr;
};

/// Everything that is compiled once per instruction set.
struct IsaTable {
  double cost = 1;  // of an element, relative to AVX-512
  TileFn op[static_cast<int>(Prim::count_)][r_count] = {};
  TileFn cast[r_count][r_count] = {};   // register to register
  TileFn widen[k_dtype_count] = {};     // memory -> its compute dtype; null: the same
  TileFn narrow[k_dtype_count] = {};    // compute dtype -> memory; null: the same
  TileFn round_to[k_dtype_count] = {};  // in the compute register
  TileFn copy[4] = {};                  // by log2 of the element size
  FoldTable fold[8][r_count] = {};      // by qs::Fold
  FoldTable sum_of_products[2] = {};    // of f32, f64
  FoldTable sum_of_squares[2] = {};
  FoldTable fold_halves[2][8] = {};  // of f16, bf16 as they lie in memory; without rows: none
  /// Dense dst[p][r][c] from src + p*sp + r*sr + c*sc (bytes), by log2 of the element size.
  void (*gather[4])(char* dst, const char* src, const int64_t* n, const int64_t* stride) = {};
  void (*scatter[4])(char* dst, const char* src, const int64_t* n, const int64_t* stride) = {};
  void (*stream)(char* dst, const char* src, int64_t bytes) = nullptr;  // around the caches
  void (*copy_bytes)(char* dst, const char* src, int64_t bytes) = nullptr;
  void (*ramp)(int64_t* dst, const int64_t* n, const int64_t* stride, int64_t start) = nullptr;
  /// dst[r][c] = src[r] for all c / dst[r][c] = src[c] for all r; by log2 of the element size.
  void (*expand_rows[4])(char* dst, const char* src, int64_t rows, int64_t columns) = {};
  void (*expand_columns[4])(char* dst, const char* src, int64_t rows, int64_t columns) = {};
  /// By class, comparison (from Prim::eq on) and whether a is what is taken where it does not hold:
  /// dst = a compared with b ? a : c.
  TileFn select[2][6][2] = {};
  TileFn pair[2][16 * 16][2] = {};  // see first_code and second_code in tile_join.cpp
  /// Chains of instructions on one class (tile_chain.inl). `links` are chain_load, then one link
  /// for each instruction, by class, whether what is handed on is the second source, and the form
  /// of the other one; then chain_store, whose `item` is of dst. chain_memory takes exactly n
  /// elements, chain_slots strips beyond: sources and dst must have room for whole strips.
  void (*link[static_cast<int>(Prim::count_)][k_chain_classes][2][k_chain_forms])() = {};
  void (*round_link[k_dtype_count])() = {};  // Prim::round_to, by dtype
  void (*chain_load[k_chain_classes][k_chain_forms])() = {};
  void (*chain_store[k_chain_classes][k_chain_forms])() = {};
  void (*chain_slots[k_chain_classes])(char* dst, const ChainLink* links, int64_t n) = {};
  void (*chain_memory[k_chain_classes])(char* dst, const ChainLink* links, int count,
                                        int64_t n) = {};
};

const IsaTable& generic_table();
const IsaTable& avx2_table();
const IsaTable& avx512_table();
/// The table that cpu_info().isa asks for.
const IsaTable& isa_table();

inline RegClass reg_class(DType d) {
  switch (d) {
    case DType::f32:
      return r_f32;
    case DType::f64:
      return r_f64;
    case DType::i32:
      return r_i32;
    case DType::i64:
      return r_i64;
    case DType::u64:
      return r_u64;
    case DType::bool_:
      return r_bool;
    default:
      return r_count;
  }
}

/// The form of elements of dtype `d` for a chain on class `r`; -1: it cannot take them.
inline int chain_form(RegClass r, DType d) {
  if (r < k_chain_classes && reg_class(d) == r) return form_same;
  if (d == DType::bool_ && (r == r_f32 || r == r_i32)) return form_flags;  // of results
  if (r == r_f32) return d == DType::f16 ? form_narrow : d == DType::bf16 ? form_narrow + 1 : -1;
  if (r != r_i32) return -1;
  return d == DType::u8    ? form_narrow
         : d == DType::i8  ? form_narrow + 1
         : d == DType::i16 ? form_narrow + 2
                           : -1;
}

}  // namespace qs::driver::cpu
