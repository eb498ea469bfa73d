// What a driver can be asked to build and run: a tile program (generated), a portable kernel
// (written by hand, one text for all targets) or a library call. Bytes, strides and scalars; never
// tensors.
//
// A Source is the shape-generic part: a driver builds it once into a Kernel. A Command names a
// Kernel and carries the extents, strides and argument references of one launch. Pointers, start
// offsets and scalars that change from run to run are not in the command: it names slots of the
// Launch table.
//
// The tile program, the one kind of generated code for the cpu driver (text dialects are generated
// from the same structure):
//
//   loops     kept loops first (outer to inner), then reduced loops (outer to inner). An index
//             space has no other shape: the plan has collapsed and permuted dimensions before.
//   mode      map     no reduced loop; the tile runs over the last kept loop(s)
//             row     the innermost reduced loop runs along the tile; several rows (values of the
//             last
//                     kept loop) may share a tile; a fold ends in one value a row
//             column  the last *kept* loop runs along the tile, all reduced loops are serial
//             outside;
//                     a fold accumulates tile-wise
//   domains   a register is `full` (a value for each point of kept x reduced), `kept` (one for each
//             point of the kept loops: fold results and what is computed from them) or `uniform`
//             (one for the launch: scalars). An op whose result is full may read any of them.
//   phases    a phase is a body (run for every tile of the reduced loops) followed by a tail (run
//   once a
//             kept point, after the body's folds are complete; reads and writes kept registers).
//             Map programs have one phase with no tail. A later phase may read kept registers of an
//             earlier one, and full registers of an earlier one when they are marked `persist`:
//             these are held for the whole row.
//   folds     the order is fixed by the extents alone (see driver/cpu/tile_fold): chunks of
//             k_fold_chunk points of the reduced space, inside a chunk k_fold_lanes interleaved
//             partial results (row mode) or in order (column mode), chunks combined left to right.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "quicksilver/core/dtype.h"
#include "quicksilver/core/layout.h"
#include "quicksilver/core/prim.h"

namespace qs::driver {

// ---- the launch table ---------------------------------------------------------------------------

/// Set by a kernel that met data it must refuse; sticky until the runtime takes it. While it is
/// set, predicated commands (driver.h) are skipped, in this list and in those queued behind it.
struct ErrorRecord {
  int32_t set = 0;      // 0: none; else 1 + the Command's `tag` that failed first
  int32_t reason = 0;   // 1 index out of bounds, 2 integer division by zero, 0 set by the host
  int64_t value = 0;    // the index
  int64_t bound = 0;    // what it had to stay below
  uint64_t failed = 0;  // bit tag % 64 of every command that failed, not only of the first
  uint64_t run = 0;     // Launch::run of the list that set it; filled in by the driver
};

/// What differs between two runs of one plan.
struct Launch {
  std::span<void* const> bases;     // slot 0 is the arena; then external and output buffers
  std::span<const uint64_t> words;  // scalars and start offsets
  ErrorRecord* error = nullptr;     // never null at submit
  uint64_t run = 0;                 // names this run in the error record; never 0 for the runtime's
};

/// An address: bases[base] + bytes + (offset_word < 0 ? 0 : words[offset_word] * item_size).
struct PtrRef {
  int32_t base = 0;
  int32_t offset_word = -1;
  int64_t bytes = 0;
  uint8_t item_size = 1;
};

/// A 64-bit scalar (see Scalar::word): fixed in the command, or a slot of the launch table.
/// `dtype` tells how the word is read: i64 / bool as an int64, f32 / f64 as a double.
struct ScalarRef {
  int32_t word = -1;   // >= 0: launch.words[word]
  uint64_t value = 0;  // used when word < 0
  DType dtype = DType::f64;
};

// ---- tile programs

enum class TileMode : uint8_t { map, row, column };
enum class TileDomain : uint8_t { uniform, kept, full };
inline constexpr int64_t k_fold_chunk = 16384;  // points of the reduced space, row mode
inline constexpr int64_t k_fold_rows = 512;     // points of the reduced space, column mode
inline constexpr int k_fold_lanes = 64;

struct TileOperand {
  enum Kind : uint8_t {
    memory,  // elements of `dtype` at ptr + sum(index * stride)
    affine,  // no memory: the i64 value base + sum(index * stride), base a ScalarRef
  };
  Kind kind = memory;
  DType dtype = DType::f32;
  TileDomain domain = TileDomain::full;  // kept: all strides over reduced loops are 0 and unused
};

struct TileRegister {
  DType dtype;  // f32, f64, i32, i64, bool (u8 0/1), c64, c128, u64: a compute dtype
  TileDomain domain;
  bool persist = false;  // full registers read by a later phase
};

struct TileInstr {
  enum Kind : uint8_t {
    load,    // dst <- operand `aux`, converted to the register's dtype
    store,   // operand `aux` <- src[0], converted to the operand's dtype
    scalar,  // dst (uniform) <- scalar `aux`
    op,      // dst <- prim(src...); `aux` is the DType for round_to
    fold,    // dst (kept) <- fold(src[0]) over the reduced loops; in bodies only
  };
  Kind kind;
  Prim prim = Prim::copy;
  qs::Fold fold_op = qs::Fold::sum;  // of a fold
  uint16_t dst = 0;
  uint16_t src[3] = {0, 0, 0};
  uint32_t aux = 0;
};

struct TilePhase {
  std::vector<TileInstr> body;  // full registers (and loads, stores, folds of them)
  std::vector<TileInstr> tail;  // kept registers
};

struct TileProgram {
  TileMode mode = TileMode::map;
  int kept_loops = 1;
  int reduced_loops = 0;
  std::vector<TileOperand> operands;
  std::vector<TileRegister> registers;
  int scalar_count = 0;
  std::vector<TilePhase>
      phases;  // uniform registers are filled by `scalar` instrs of phase 0's body,
               // and by ops whose sources are all uniform; run once a launch
};

struct TileArgs {
  Dims extents;  // kept_loops + reduced_loops
  struct Operand {
    PtrRef ptr;      // memory
    ScalarRef base;  // affine
    Dims strides;    // one a loop, in elements; may be 0 or negative
  };
  std::vector<Operand> operands;
  std::vector<ScalarRef> scalars;
};

// ---- portable kernels

/// What a portable kernel sees on the host: resolved pointers, integers and scalars.
struct KernelView {
  void* const* pointers;
  const int64_t* ints;
  const uint64_t* scalars;
  ErrorRecord* error;
  int32_t tag;
};
using HostFunction = void (*)(const KernelView&, int64_t begin, int64_t end);

struct KernelArgs {
  std::vector<PtrRef> pointers;
  std::vector<int64_t> ints;
  std::vector<ScalarRef> scalars;
  int64_t items = 0;
  int64_t grain = 1;   // items worth giving to one thread, at least
  PtrRef scratch{-1};  // for a driver that takes text: TextPlan::scratch_bytes, aligned to 256
};

/// One launch of a kernel text: `groups` threadgroups of KernelText::threads, in one dimension.
struct TextLaunch {
  int entry = 0;       // of KernelText::entries
  int64_t groups = 0;  // 1 to 2^31 - 1
  std::array<int64_t, 8> steps = {};
};
struct TextPlan {
  std::vector<TextLaunch> launches;  // one after the other; none: nothing to do
  int64_t scratch_bytes = 0;
};

/// A kernel as text for MSL, CUDA C++ and C++ (kernels/prelude.h says in which words). A driver
/// compiles whole() once, and runs a call as the launches that `plan` makes of its arguments. One
/// that takes texts says so in DriverInfo::takes_text.
struct KernelText {
  std::string options;                  // lines of #define
  std::vector<std::string_view> parts;  // the prelude, then the kernel's own
  std::vector<std::string> entries;
  int threads = 0;
  bool needs_f64 = false;
  TextPlan (*plan)(const KernelArgs& args) = nullptr;

  std::string whole() const {
    std::string text = options;
    for (std::string_view part : parts) text += part;
    return text;
  }
};

/// A hand-written kernel of `kernels/`: `host` is a function of this library that runs `items`
/// independent work items, `text` (null while there is none) the same for any device. Both take the
/// same arguments. A driver runs whichever it can; it refuses one that lacks it.
struct PortableKernel {
  std::string name;
  const KernelText* text = nullptr;  // lives for ever
  HostFunction host = nullptr;
};

// ---- library calls

/// C[b] = alpha * A[b] @ B[b] + beta * C[b] (+ bias); f32, f64, f16, bf16, i32, i64.
struct MatmulCall {
  DType dtype = DType::f32;  // of A, B and C; f16 and bf16 accumulate in f32
  bool bias = false;         // bias operand, broadcast by its strides
};

struct MatmulArgs {
  int64_t batch = 1, m = 0, n = 0, k = 0;
  struct Matrix {
    PtrRef ptr;
    int64_t row = 0, column = 0;  // strides in elements; either may be 0 or any value
    int64_t batch = 0;            // stride between items of the batch, 0 when shared
  };
  Matrix a, b, c, bias;
  double alpha = 1, beta = 0;  // beta 0: C is not read
  /// Not 0: these are rows of a product of so many, and get the bits that they have there. B is
  /// read along k (DriverInfo::exact_rows).
  int64_t whole_m = 0;
};

/// O = dropout(softmax(scale Q K^T + mask)) V for each head of each batch, computed in blocks: no
/// matrix of scores exists. The backward call recomputes the scores of a block from the saved
/// logsumexp and gives the gradients of Q, K and V. f16 and bf16 are computed in f32.
struct AttentionCall {
  enum Mask : uint8_t {
    none,
    boolean,   // true: takes part
    additive,  // added to the scores
  };
  DType dtype = DType::f32;  // of Q, K, V, O and their gradients: f32, f64, f16, bf16
  bool backward = false;
  bool causal = false;  // row i sees keys 0 to i
  Mask mask = none;
  DType mask_dtype = DType::bool_;  // of an additive mask: a floating dtype
  bool dropout = false;
};

struct AttentionArgs {
  int64_t batch = 1, heads = 1;
  int64_t key_heads = 1;  // divides heads: head h reads K and V of h / (heads / key_heads)
  int64_t rows = 0, keys = 0;
  int64_t width = 0, value_width = 0;  // of a row of Q and K; of V and O
  struct Matrix {                      // [batch, head, row, column]
    PtrRef ptr;
    int64_t batch = 0, head = 0, row = 0, column = 0;  // strides in elements, any value
  };
  Matrix q, k, v, out, mask;  // out: a result forward, an operand backward
  PtrRef logsumexp;           // [batch, heads, rows] dense, f32 (f64 for f64); inf: no key
  Matrix grad_out, grad_q, grad_k, grad_v;  // backward
  double scale = 1;
  // Dropout: the score of row i and key j of head h survives when draw ((b H + h) rows + i) keys +
  // j of Philox (runtime/generator.h) is below `keep`; it is then multiplied by drop_scale.
  ScalarRef keep, drop_scale, seed, offset;
};

/// One of the three products of a convolution's geometry, y = conv(x, w) (+ bias): y from x and w,
/// the gradient of x from y's and w, the gradient of w from y's and x. A transposed convolution is
/// the second. f32, f64, f16, bf16 (these accumulate in f32), i32, i64.
struct ConvCall {
  enum Kind : uint8_t { forward, input, weight } kind = forward;
  DType dtype = DType::f32;
  uint8_t dims = 2;   // spatial dimensions, 1 to 3
  bool bias = false;  // forward, input: one number a channel of the result
};

/// Sizes are three long; with fewer dimensions the leading extents are 1.
struct ConvArgs {
  struct Tensor {
    PtrRef ptr;
    int64_t strides[5] = {};  // elements: item (w: channel of y), channel, depth, height, width
  };
  Tensor x, w, y;  // the kind says which one is written
  PtrRef bias;
  int64_t bias_stride = 1;
  int64_t batch = 0, groups = 1;
  int64_t in = 0, out = 0;  // channels of x and of y, all groups together
  int64_t x_size[3] = {1, 1, 1}, y_size[3] = {1, 1, 1}, kernel[3] = {1, 1, 1};
  int64_t stride[3] = {1, 1, 1}, dilation[3] = {1, 1, 1};
  int64_t padding[3] = {};  // before the first element; what lies behind the last follows from y
};

// ---- what is built and what is run --------------------------------------------------------------

using Source = std::variant<TileProgram, PortableKernel, MatmulCall, AttentionCall, ConvCall>;

/// A value on the heap: what is large and rare, so that it does not make every command as large.
template <class T>
class Boxed {
 public:
  Boxed(const T& value) : p_(std::make_unique<T>(value)) {}
  Boxed(const Boxed& o) : Boxed(*o) {}
  Boxed(Boxed&&) noexcept = default;
  Boxed& operator=(Boxed o) noexcept {
    p_ = std::move(o.p_);
    return *this;
  }
  const T& operator*() const { return *p_; }

 private:
  std::unique_ptr<T> p_;
};

// Same order as Source.
using Args = std::variant<TileArgs, KernelArgs, MatmulArgs, Boxed<AttentionArgs>, Boxed<ConvArgs>>;

}  // namespace qs::driver
