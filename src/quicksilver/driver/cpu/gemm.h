// Matrix products of the cpu driver: planned once a shape, run in chunks that are independent.
//
// The result of a call depends on its shape, its strides and the instruction set's library choice
// only: never on the number of threads nor on how chunks were dealt out.
#pragma once
#include <cstdint>
#include <string>

#include "quicksilver/core/dtype.h"
#include "quicksilver/driver/cpu/gemm_table.h"
#include "quicksilver/driver/source.h"

namespace qs::driver::cpu {

/// Strides in elements, any value.
struct GemmMatrix {
  int64_t row = 0, column = 0, batch = 0;
};

/// C[b] = alpha * A[b] @ B[b] + beta * C[b] (+ bias[b]); see MatmulCall for the dtypes.
struct GemmShape {
  DType dtype = DType::f32;
  bool has_bias = false;
  int64_t batch = 1, m = 0, n = 0, k = 0;
  GemmMatrix a, b, c, bias;
  double alpha = 1, beta = 0;
  int64_t whole_m = 0;  // MatmulArgs

  static GemmShape of(const MatmulCall& call, const MatmulArgs& args);
};

struct GemmPointers {
  const void* a = nullptr;
  const void* b = nullptr;
  void* c = nullptr;
  const void* bias = nullptr;
};

/// The kernels of this machine's (or QS_ISA's) instruction set, and the row of a dtype in them
/// (g_types: none).
const GemmTable& gemm_table();
GemmType gemm_type(DType dtype);

class GemmPlan {
 public:
  /// Cheap: decides who computes what in which pieces; nothing is allocated. `followed`: something
  /// runs on each chunk of C behind the product, so that chunks of whole rows are worth more.
  explicit GemmPlan(const GemmShape& shape, bool followed = false);

  int64_t chunks() const { return batch_chunks_ * rows_.chunks * columns_.chunks; }
  void run(const GemmPointers& pointers, int64_t first, int64_t last) const;
  /// The part of C that a chunk computes.
  struct Box {
    int64_t batch = 0, items = 0, row = 0, rows = 0, column = 0, columns = 0;
  };
  Box box(int64_t chunk) const;
  /// "own packed", "own turned", "own dot", "dnnl_sgemm": who computes.
  const char* method() const;

  static bool accepts(DType dtype);
  /// What `auto` may choose from here: "own AVX-512" or "own AVX-512 + oneDNN 2.6".
  static std::string description();

 private:
  enum class Method : uint8_t { packed, dot, dots, axpy, library };
  /// An extent in chunks of whole units that differ by one unit at most: the last chunk is not what
  /// rounding the others up has left.
  struct Cut {
    int64_t extent = 0, chunks = 1, unit = 1;
    int64_t start(int64_t chunk) const;
    int64_t size(int64_t chunk) const { return start(chunk + 1) - start(chunk); }
  };
  void choose_pieces(bool followed);
  void run_piece(const GemmPointers& p, int64_t rows, int64_t columns) const;
  GemmBlockFn kernel() const;
  void gather_vector(GemmBlock& block, char* to) const;
  bool call_library(const GemmBlock& block) const;

  GemmShape s_;  // of C^T = B^T A^T when `swapped_`
  bool swapped_ = false;
  bool gathers_ = false;  // dot: the vector does not lie side by side
  bool turned_ = false;   // C^T is computed beside C and turned into it
  Method method_ = Method::packed;
  int64_t batch_chunks_ = 1, batch_step_ = 1;  // items of the batch a chunk
  Cut rows_, columns_;                         // of C
};

}  // namespace qs::driver::cpu
