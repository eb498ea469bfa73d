// The hand-written kernel families: gather, scatter, sort, scan, nonzero; what cannot be generated.
//
// Each function takes views (any layout) and gives one kernel call. The kernels are generic over
// shapes and strides, which travel in KernelArgs::ints; the layout of ints is described at the head
// of each family's file. Results are deterministic: they depend on the arguments alone.
//
// Indices may be i64, i32, i16, i8 or u8. In index and index_put -1 names the last element; the
// others take none below 0, as PyTorch's do. An index out of range sets the error record (reason 1,
// the index as given, the bound) and is neither read nor written through: a gather gives 0 in its
// place. To keep a destination whole when an index is bad, put check_index before a call that
// writes in place: a driver skips what follows a failed command.
//
// Two forms. A kernel has a host function, tuned for the cpu driver, and (gather, scatter, sort,
// scan, search, nonzero and draws) a text that any device's compiler takes: text/*.h in the words
// of prelude.h, built into the library as strings (cmake/kernel_texts.cmake). Both read the same
// pointers, ints and scalars, so the plan makes one call, and the driver runs what it can: the cpu
// driver host functions, a driver whose info says takes_text the texts. KernelText::plan turns a
// call's arguments into launches and scratch, which the plan puts behind its arena. texts.h has the
// parts.
//
// An example: sort of [3, 1500] f32 along dim 1. Call: pointers src, values, indices; ints length
// 1500, steps, the rest's shape [3]. The host: each row a radix sort of (key, position). As text:
//
//   merge_tiles  6 groups   1024 slots of a row each: keys from src, sorted, to half 1 of scratch
//   merge_runs   6 groups   runs of 1024 merged: places to values and indices
//   scratch      2 halves of 4544 slots, a key and a place each: 72704 bytes
//
// What is proven of the texts: compiled by the host's compiler they give the host functions' bits
// on an emulated grid (fibers, shuffled threads and groups, poisoned memory: tests/cpp/grid.h), for
// all dtypes, layouts, NaNs and ties, and in plans; clang takes every one of them as MSL, with
// address spaces that are checked and without f64, and as CUDA device code; nvcc 13 has compiled
// most of them, in an earlier state.
// What is not: none has run on a GPU, Apple's compiler has seen none, and nothing is known of their
// speed there. Real concurrency within a phase, memory order and a device's own rounding of log,
// exp and cos are beyond the emulator.
//
// Where bits may differ between devices: draws and normal numbers, by a libm's last bits; on a
// device without f64, sums of scan and draws, which are then kept in f32.
#pragma once
#include <cstdint>
#include <span>

#include "quicksilver/core/dtype.h"
#include "quicksilver/core/layout.h"
#include "quicksilver/driver/source.h"

namespace qs::kernels {

/// A tensor as kernels see it: `ptr` is the address of its first element, strides count elements.
struct View {
  driver::PtrRef ptr;
  DType dtype = DType::f32;
  Dims shape;
  Dims strides;
};

/// One command: build `*kernel` (which lives for ever) and launch it with `args`.
struct KernelCall {
  const driver::PortableKernel* kernel = nullptr;
  driver::KernelArgs args;
};

/// What an index below 0 is: a count from the end, or out of range.
enum class Signs : uint8_t { from_end, not_negative };

// ---- gather: out and src have one dtype

/// out = src[..., index, ...]: out's shape is src's with dimension `dim` replaced by index's shape
/// (any rank). Embedding lookup is index_select with dim 0.
KernelCall index_select(const View& out, const View& src, const View& index, int dim);
/// out[i][j][k] = src[i][index[i][j][k]][k] for dim 1; out has index's shape, which may be smaller
/// than src's outside `dim`.
KernelCall gather(const View& out, const View& src, const View& index, int dim);
/// Advanced indexing: `dims` (ascending) of src are indexed by `indices`, all of one (broadcast)
/// shape, whose dimensions stand at position `at` of out, among the other dimensions of src in
/// order.
KernelCall index(const View& out, const View& src, std::span<const View> indices,
                 std::span<const int> dims, int at);
/// Sets the error record when an element of `index` is outside [0, bound), or [-bound, bound).
KernelCall check_index(const View& index, int64_t bound, Signs signs);

// ---- scatter: dst and values have one dtype

/// What a destination element becomes; sources are taken in row-major order of the index space, so
/// `write` keeps the last. Half precision sums and products are kept in f32 and rounded once.
enum class ScatterMode : uint8_t { write, add, multiply, maximum, minimum };

/// dst[i][index[i][j][k]][k] <- values[i][j][k] for dim 1; values may be larger than index.
KernelCall scatter(const View& dst, const View& values, const View& index, int dim,
                   ScatterMode mode);
/// dst[..., index, ...] <- values: the inverse of index_select; index_add, index_copy, and with dim
/// 0 the gradient of an embedding.
KernelCall index_add(const View& dst, const View& values, const View& index, int dim,
                     ScatterMode mode = ScatterMode::add);
/// The inverse of index(): values has (or is broadcast to) the shape out would have.
KernelCall index_put(const View& dst, const View& values, std::span<const View> indices,
                     std::span<const int> dims, int at, ScatterMode mode);

// ---- sort and scan: along `dim`, shapes equal

/// Stable; a NaN is greater than any number, -0 equals 0. `indices` is i64; either result may be
/// null.
KernelCall sort(const View* values, const View* indices, const View& src, int dim, bool descending);
/// The k = values.shape[dim] largest (smallest) of each row, in order; of equals the first ones.
KernelCall topk(const View* values, const View* indices, const View& src, int dim, bool largest);

/// The k-th smallest (from 0) of each row; results have extent 1 along `dim`.
KernelCall kth_value(const View& values, const View& indices, const View& src, int dim, int64_t k);

/// log_sum: the logarithm of the running sum of exponentials.
enum class ScanOp : uint8_t { sum, product, maximum, minimum, log_sum };
/// Running sum, product, or extreme (a NaN stays). Sums and products are kept in f64 or 64-bit
/// integers and converted to out's dtype at each element. `indices` (i64), for extremes, is the
/// position of the last element that was as extreme (PyTorch's cummax); null when unwanted.
KernelCall scan(ScanOp op, const View& out, const View* indices, const View& src, int dim);

// ---- search

/// out (i64) = where values belong in sorted, whose rows (last dimension) are those of the same
/// place in values, or one row for all; in front of equal ones, or behind (`right`). NaN is last.
KernelCall search(const View& out, const View& sorted, const View& values, bool right);

// ---- draws

enum class Draw : uint8_t { poisson, gamma, binomial };
/// out, a and b (of a binomial) have one floating dtype and shape.
KernelCall draw(Draw which, const View& out, const View& a, const View* b,
                const driver::ScalarRef& seed, const driver::ScalarRef& offset);

enum class Random : uint8_t { uniform, normal, bernoulli, integer };
/// What the op of that name in graph/ops.def fills `out` with; text only. `numbers` are its two
/// scalars (i64 of `integer`, else doubles), `attribute` its attribute 0.
KernelCall random(Random which, const View& out, const View* probabilities, int64_t attribute,
                  const driver::ScalarRef (&numbers)[2], const driver::ScalarRef& seed,
                  const driver::ScalarRef& offset);

// ---- nonzero

/// Row-major positions of the non-zero elements of src: out is i64 [count, src rank]; positions
/// beyond count are dropped, and rows beyond the positions are left as they are.
KernelCall nonzero(const View& out, const View& src);
/// counts[b] = non-zero elements among [b * k_nonzero_block, ...) of src in row-major order.
inline constexpr int64_t k_nonzero_block = 16384;
KernelCall nonzero_count(const View& counts, const View& src);
/// nonzero in parallel; `offsets[b]` (i64) is the sum of counts before block b.
KernelCall nonzero_fill(const View& out, const View& offsets, const View& src);

}  // namespace qs::kernels
