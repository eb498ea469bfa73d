// A convolution as matrix products over blocks of result positions, and the functions of one
// instruction set that work on a block. Plain data only: files built for one instruction set
// include it.
//
// A pass is a correlation of a source with taps, written to a regular grid of positions:
//
//   out[n, row, j] = bias[row] + sum over channel q and tap t of w[row, q, t] * source[n, q, u(t,
//   j)]
//
// The forward convolution is one pass (source x, rows the channels of y). The gradient to the input
// is one pass for each remainder of the position by the stride: in such a class the same taps meet
// the elements of y at a distance of one, so each pass is a convolution of stride 1 over y. The
// gradient of the weights uses the forward pass's positions: it multiplies y with what stands under
// the taps.
//
// Where rows of results fill vectors well (`direct`), the products read the staged source as it
// lies; otherwise what each panel of results needs is first laid out side by side.
//
// Before a block is multiplied its part of the source is *staged*: copied into scratch memory as
// the compute type, padded with zeros, and split by remainder (`phase`) where the stride is not 1.
// Then what tap t needs for neighbouring positions j lies side by side, at a fixed distance for all
// of them, and no later loop looks at bounds, strides, layouts or dtypes.
#pragma once
#include <cstdint>

#include "quicksilver/driver/cpu/gemm_table.h"

namespace qs::driver::cpu {

/// One spatial dimension of a pass. Staged position i of phase f holds source element
/// i * step + phase[f] + origin; result j of tap t reads position j + shift(t).
struct ConvDim {
  int64_t source = 1, source_stride = 0;
  int64_t origin = 0, step = 1;
  int64_t reach = 0;  // the largest shift: as many staged positions lie behind the last result
  int64_t grid = 1;   // results
  int64_t out_start = 0, out_step = 1, out_stride = 0;
  int32_t phases = 1;
  const int32_t* phase = nullptr;
};

struct ConvTap {
  int32_t phase[3];  // index into ConvDim::phase
  int64_t shift[3];
  int64_t weight;  // offset of its weight from that of (row 0, channel 0)
};

struct ConvPass {
  GemmType source_type = g_f32;    // of all three tensors
  int64_t rows = 0, channels = 0;  // in one group
  ConvDim dims[3];
  const ConvTap* taps = nullptr;
  int64_t tap_count = 0;
  int64_t source_item = 0, source_channel = 0;  // strides
  int64_t out_item = 0, out_row = 0;
  int64_t bias_stride = 0;
  int64_t weight_row = 0, weight_channel = 0;
  bool direct = false;         // results row by row, from the staged source as it lies
  int slab = 2;                // the dimension that is cut when one item is too much for a block
  int64_t block_channels = 1;  // channels that are staged and multiplied at a time

  /// Where in a group's packed weights the step from channel q0 on begins, in elements. Packing may
  /// write up to a vector beyond its end, and other threads pack what follows: hence the room.
  int64_t packed_at(int64_t q0) const {
    return rows * q0 * tap_count + q0 / block_channels * k_pack_room;
  }
  /// Of all steps.
  int64_t packed_elements() const {
    const int64_t steps = (channels + block_channels - 1) / block_channels;
    return rows * channels * tap_count + steps * k_pack_room;
  }
  static constexpr int64_t k_pack_room = 64;
};

/// Items [n0, n1), of the slab dimension [s0, s1).
struct ConvBlock {
  int64_t n0 = 0, n1 = 0, s0 = 0, s1 = 0;
};

/// Results of one group and block. Pointers are those of the group's first channel; `packed` holds
/// the weights as panels of A, one after the other for each step of block_channels.
struct ConvGather {
  const ConvPass* pass = nullptr;
  const GemmTable* gemm = nullptr;
  ConvBlock block;
  const void* source = nullptr;
  const void* packed = nullptr;
  const void* bias = nullptr;
  void* out = nullptr;
  char* scratch = nullptr;
};

/// acc[(q - q0) * taps + t, row] = sum over the blocks' positions of source (q, t) * y[row].
struct ConvWeightPiece {
  const ConvPass* pass = nullptr;
  const GemmTable* gemm = nullptr;
  const ConvBlock* blocks = nullptr;
  int64_t block_count = 0;
  int64_t q0 = 0, q1 = 0;
  const void* source = nullptr;
  const void* y = nullptr;
  void* acc = nullptr;
  int64_t acc_row = 0;
  char* scratch = nullptr;
};

/// Weights as panels: the channels [q0, q1) of all rows of a group.
struct ConvPack {
  const ConvPass* pass = nullptr;
  const GemmTable* gemm = nullptr;
  int64_t q0 = 0, q1 = 0;
  const void* weights = nullptr;
  void* packed = nullptr;
};

/// weights (row, q, t) = sum of the pieces' acc in order, for lines [k0, k1) = q * taps + t.
struct ConvSum {
  const ConvPass* pass = nullptr;
  const void* acc = nullptr;
  int64_t acc_row = 0, piece = 0, pieces = 0;  // strides in elements
  int64_t k0 = 0, k1 = 0;
  void* weights = nullptr;
};

/// Planes [first, last) of a convolution of one channel and one row a group: plane i is group
/// i % groups of item i / groups. For the gradient of the weights: groups [first, last) of all
/// items, `out` is y and `weights` is written.
struct ConvPlanes {
  const ConvPass* pass = nullptr;
  const GemmTable* gemm = nullptr;
  int64_t first = 0, last = 0, groups = 1, items = 0;
  int64_t source_group = 0, out_group = 0, weight_group = 0;  // strides
  const void* source = nullptr;
  const void* weights = nullptr;
  const void* bias = nullptr;
  void* out = nullptr;
  char* scratch = nullptr;  // plane_scratch, aligned to 64
};

struct ConvTable {
  void (*pack[g_types])(const ConvPack&) = {};
  void (*gather[g_types])(const ConvGather&) = {};
  void (*weight[g_types])(const ConvWeightPiece&) = {};
  void (*sum[g_types])(const ConvSum&) = {};
  void (*gather_planes[g_types])(const ConvPlanes&) = {};
  void (*weight_planes[g_types])(const ConvPlanes&) = {};
  int64_t (*plane_scratch[g_types])(const ConvPass&, bool weight) = {};
};

/// Of this machine's (or QS_ISA's) instruction set.
const ConvTable& conv_table();
const ConvTable& conv_generic_table();
const ConvTable& conv_avx2_table();    // x86-64 only
const ConvTable& conv_avx512_table();  // x86-64 only

/// How the scratch of a block is divided; elements of the compute type behind `tables` bytes.
struct ConvSpace {
  int64_t columns = 0;     // results in the block
  int64_t stage = 0;       // staged positions of one channel and item
  int64_t stage_line = 0;  // of one channel
  int64_t runs = 0;        // rows of neighbouring results
  int64_t panels = 0;      // at most, whatever their width
  int64_t vectors = 0;     // direct: at most, whatever their width
  int64_t tables = 0;      // bytes of the offset tables in front
  int64_t pitch = 0;       // between rows of results
};

inline int64_t conv_round_up(int64_t a, int64_t b) { return (a + b - 1) / b * b; }

[[gnu::always_inline]] inline ConvSpace conv_space(const ConvPass& p, const ConvBlock& b) {
  ConvSpace s;
  int64_t columns = b.n1 - b.n0, stage = 1, runs = b.n1 - b.n0;
  for (int d = 0; d < 3; ++d) {
    const int64_t grid = d == p.slab ? b.s1 - b.s0 : p.dims[d].grid;
    columns *= grid;
    stage *= p.dims[d].phases * (grid + p.dims[d].reach);
    if (d < 2) runs *= grid;
  }
  s.columns = columns;
  s.stage = stage;
  s.runs = runs;
  // An odd number of cache lines apart, so that channels do not fall on one another.
  s.stage_line = (conv_round_up(stage * (b.n1 - b.n0), 16) / 16 | 1) * 16;
  const int64_t row = p.slab == 2 ? b.s1 - b.s0 : p.dims[2].grid;
  s.vectors = p.direct ? runs * (row / 2 + 2) : 0;
  s.pitch = (conv_round_up(p.direct ? runs * conv_round_up(row, 16) : columns, 64) / 16 | 1) * 16;
  s.panels = columns / 4 + 2;
  const int64_t lists =
      p.direct ? s.vectors + p.block_channels * p.tap_count : s.panels + 2 * (runs + s.panels);
  s.tables = conv_round_up((p.tap_count + lists) * 8, 64);
  return s;
}

}  // namespace qs::driver::cpu
