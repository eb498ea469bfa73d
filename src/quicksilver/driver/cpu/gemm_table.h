// The functions of one instruction set behind a matrix product. Plain data only: files built for
// one instruction set include it.
#pragma once
#include <cstdint>

namespace qs::driver::cpu {

/// C[m, n] = alpha * A[m, k] @ B[k, n] + beta * C; strides in elements, C's columns have stride 1.
/// A and B hold elements of the source type, C of the compute type (f32 for f16 and bf16).
struct GemmBlock {
  const void* a = nullptr;
  const void* b = nullptr;
  void* c = nullptr;
  int64_t m = 0, n = 0, k = 0;
  int64_t a_row = 0, a_column = 0, b_row = 0, b_column = 0, c_row = 0;
  double alpha = 1, beta = 0;
  /// `packed` only: what the product is added to instead of beta * C, rows start_row apart.
  const void* start = nullptr;
  int64_t start_row = 0;
  char* scratch = nullptr;  // gemm_scratch_bytes, aligned to 64
};

/// Elements of A and B in half precision.
struct F16 {
  uint16_t bits;
};
struct BF16 {
  uint16_t bits;
};

using GemmBlockFn = void (*)(const GemmBlock&);

/// By source type; integers of one width share a row, their products wrap alike.
enum GemmType : uint8_t { g_f32, g_f64, g_f16, g_bf16, g_i32, g_i64, g_types };

/// C[m, n] (+)= A @ B from operands that are laid out for the inner kernel: B in panels of
/// panel_width columns, k lines each; A in panels of panel_rows rows or, f32 only, row-major.
struct GemmPanels {
  const void* a = nullptr;
  const void* b = nullptr;
  void* c = nullptr;
  int64_t m = 0, n = 0, k = 0;
  int64_t a_row = 0;  // > 0: A is row-major with this stride
  int64_t c_row = 0;
  bool add = false;  // to what C holds
};

/// C[m, vectors] (+)= A @ B where line p of B is not laid out but read at b + offsets[p]: vector v
/// of it starts at starts[v] from there. A in panels; C's vectors lie side by side.
struct GemmShifted {
  const void* a = nullptr;
  const void* b = nullptr;
  void* c = nullptr;
  const int64_t* starts = nullptr;   // vectors of them
  const int64_t* offsets = nullptr;  // k of them
  int64_t m = 0, vectors = 0, k = 0;
  int64_t c_row = 0;
  bool add = false;  // to what C holds
};

struct GemmTable {
  GemmBlockFn packed[g_types] = {};  // any shape and strides
  /// The same for bf16 on a processor that multiplies pairs of them (AVX512-BF16). beta is 0 or 1.
  GemmBlockFn packed_pairs = nullptr;
  /// n == 1, B and the rows of A contiguous (a_column == b_row == 1): a dot product a row.
  GemmBlockFn dot[g_types] = {};
  /// Few rows of A, all contiguous along k as the columns of B are (a_column == b_row == 1): every
  /// element of C is a dot product, and B is read once.
  GemmBlockFn dots[g_types] = {};
  /// m == 1, the rows of B contiguous (b_column == 1): sums of rows of B.
  GemmBlockFn axpy[g_types] = {};
  /// Compute type to memory, one row.
  void (*narrow[g_types])(void* dst, const float* src, int64_t n) = {};  // g_f16, g_bf16 only
  /// dst[j][i] = src[i][j] for `rows` rows of src, `columns` elements each.
  void (*turn)(float* dst, int64_t dst_row, const float* src, int64_t src_row, int64_t rows,
               int64_t columns) = nullptr;
  /// By compute type. What convolutions, which lay out operands themselves, are made of.
  void (*panels[g_types])(const GemmPanels&) = {};
  void (*shifted[g_types])(const GemmShifted&) = {};
  int (*panel_rows[g_types])(int64_t left) = {};  // rows of the next panel of A
  int panel_width[g_types] = {};
  /// By source type: m lines (`line` apart, elements `step` apart) as panels of A; h lines as one
  /// panel of B, the rest of its width zeroed. May write one vector past the end.
  void (*pack_rows[g_types])(void* dst, const void* src, int64_t line, int64_t step, int64_t m,
                             int64_t k) = {};
  void (*pack_columns[g_types])(void* dst, const void* src, int64_t line, int64_t step, int h,
                                int64_t k) = {};
  int tile_rows = 1, tile_columns = 1;  // of the f32 kernel
};

// Sizes of the blocks that are packed. k is cut evenly into the fewest steps of at most k_gemm_k,
// so the order of additions depends on k alone, and is the same for every instruction set with FMA.
inline constexpr int64_t k_gemm_m = 224, k_gemm_n = 512, k_gemm_k = 256;

/// What `packed` needs for any block.
inline constexpr int64_t k_gemm_scratch_bytes =
    ((k_gemm_m + 32) * k_gemm_k + (k_gemm_n + 64) * k_gemm_k) * 8 + 4096;

const GemmTable& gemm_generic_table();
const GemmTable& gemm_avx2_table();    // x86-64 only
const GemmTable& gemm_avx512_table();  // x86-64 only

}  // namespace qs::driver::cpu
