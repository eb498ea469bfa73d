// The tile VM: how the cpu driver runs generated code without a compiler.
//
// A tile program (driver/source.h) is a short list of instructions over registers. Here a
// register is a tile: up to 1024 elements that stay in the first-level cache. One instruction is
// one call of a kernel prebuilt for (primitive, dtype) that walks whole tiles with vectors, so
// dispatch costs about 5 ns per instruction and tile, 0.005 ns an element, and there is nothing
// to compile at run time.
//
// Three stages, each with its data structure and its file:
//
//   TileProgram --build--> TileCode --launch--> TileState --run--> memory
//                (shape-generic)     (extents, strides)
//
//   tile_build.cpp   checks the program; every definition becomes a register of its own;
//                    instructions are sorted by domain into uniform (once a launch), prologue
//                    (kept values, once a unit), body (every block) and tail; kept registers that
//                    full instructions read get a twin spread over the block; pairs of
//                    instructions are joined; slots are shared by liveness.
//   tile_launch.cpp  drops and merges loops, picks the shape of a block, classes each operand by
//                    how a block of it lies in memory (dense, one element, strided), cuts the
//                    work in pieces.
//   tile_run.cpp     walks units and blocks, executes steps, ends folds, combines split
//                    reductions.
//   tile_*.inl       the kernels, compiled once for each instruction set into an IsaTable; which
//                    table is used is decided when a kernel is built (core/cpu_info.h). Results
//                    have the same bits on all of them.
//
// A *unit* is what one visit covers of the kept loops; a *block* is the part of a unit x reduced
// space that is in registers at one time, a dense 3-d array of at most 1024 elements:
//
//   map      unit = block: the innermost loops, whole loops while they fit; 64 x 16 where an
//            operand is transposed, so that both directions use whole cache lines
//   row      few points a row (up to 512): several whole rows share a block, one block a unit;
//            else one row a unit, in blocks along it
//   column   up to 1024 columns a unit; blocks of one or more reduced points over them
//
// What makes it quick:
//   - A dense operand of the register's own dtype is used in place: its load and the store of a
//     result cost nothing, the op reads and writes memory itself. That moves reads later and
//     writes earlier than the program says, so pairs of operands for which this could matter are
//     noted as hazards; begin() compares their addresses and, if they meet, runs a twin of the
//     launch that copies.
//   - A scalar, or an operand that is one element for the whole block, is kept as one *group* of
//     64 equal elements; kernels walk groups, and a splat's stride from group to group is 0.
//   - Slots are padded, so kernels may round n up to whole groups; only tiles in memory need
//     exact ends.
//   - Reductions prefetch the next block of large operands (hardware stops at pages, and a tile of
//     f32 is just one page; rows of 4096 go from 0.17 to 0.12 ns an element). Maps do not: with
//     three inputs it costs a quarter. Large outputs that are not inputs too are written around the
//     caches; a map that is one step without temporaries uses tiles of 8192.
//
// Worked example: row mode, softmax of [64, 10]. Ten points a row: a block holds 64 rows. Phase 0
// loads x in place (640 contiguous elements) and folds max, a value a row; phase 1 spreads max to
// 640 elements, computes exp(x - max) into a persist buffer and folds sum; phase 2 spreads the
// sum, divides, and writes the output directly.
//
// Folds: see tile_fold.inl for the order, which depends on extents alone. A reduction with few
// kept points is split over its fold chunks: each chunk's result waits in the launch's memory,
// and finish() combines them left to right, exactly as one thread would have.
//
// Known complications
//   - A unit that starts at an edge has a shorter block; a dense operand with several rows in a
//     block is dense only because the inner loop is never cut.
//   - Registers that are one group must not share their slot with the result of their last
//     reader.
//   - Philox: counter = (linear / 4, offset), key = seed, 64 bits each; element takes word linear
//     % 4. The text dialects must do the same.
//   - Complex numbers are refused when a program is built.
//
// Figures (two-core EPYC Zen 5, AVX-512, gcc 12, one thread, ns an element; the machine was
// shared, so 20 % either way). "hand" is a plain loop that gcc vectorises.
//
//   chain                     64 el.   1e5 VM / hand   1e7 VM / hand
//   x*2+1                      42 ns   0.053 / 0.037   0.16 / 0.19 (stores pass the cache)
//   max(x+y, 0)+r              47 ns   0.17  / 0.15    0.42 / 0.68
//   tanh-GELU, 9 ops          105 ns   0.48            0.57
//   Adam, 13 ops, 4 in 3 out  133 ns   0.41            1.3
//   softmax 64x10 0.8 us, 2048x64 0.63, 4096x1024 0.46; sum of rows 2400x4096 0.12, of all 0.11;
//   argmax 0.13; sum of columns 4096x2400 0.24; f16 and bf16 maps 0.11; transposed 3000x3000 0.5
//   to 0.9, 128x128 0.20 (memcpy 0.17). Fitting a launch: 0.35 us for two ops, 0.9 us for Adam.
//   f32 functions, AVX-512 / AVX2: exp 0.14 / 0.36, log 0.27 / 0.52, tanh 0.31 / 0.67, sigmoid
//   0.25 / 0.52, erf 0.45 / 1.1, sin 0.58 / 0.98, pow 1.9; at most 1 ulp, tanh 1.4, sigmoid 2.3.
#include "quicksilver/core/cpu_info.h"
#include "quicksilver/driver/cpu/tile_code.h"

namespace qs::driver::cpu {

const IsaTable& isa_table() {
  switch (cpu_info().isa) {
#if defined(__x86_64__)
    case Isa::avx512:
      return avx512_table();
    case Isa::avx2:
      return avx2_table();
#endif
    default:
      return generic_table();
  }
}

}  // namespace qs::driver::cpu
