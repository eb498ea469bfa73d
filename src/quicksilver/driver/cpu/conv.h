// Convolutions of the cpu driver: planned once a shape, run in chunks that are independent.
//
// One channel and one row a group (depthwise) run plane by plane (conv_planes.inl). Else
// the own method is an implicit matrix product on the packed kernels of gemm.h (conv_table.h says
// how). The bits of a result follow from the shape alone: blocks of positions may be cut as the
// threads need, because the order of additions of one element does not depend on them; the sums
// over positions that make the gradient of the weights are cut by the shape. Where it was measured
// faster, oneDNN computes instead (conv_library.h), on one thread for each piece of the batch, with
// tensors reordered around it; QS_CONV=own|dnnl|auto chooses.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "quicksilver/driver/cpu/conv_table.h"
#include "quicksilver/driver/source.h"

namespace qs::driver::cpu {

class LibraryConv;

struct ConvPointers {
  const void* x = nullptr;
  const void* w = nullptr;
  const void* y = nullptr;
  const void* bias = nullptr;
};

class ConvPlan {
 public:
  ConvPlan(const ConvCall& call, const ConvArgs& args);
  ConvPlan(ConvPlan&&) noexcept;
  ConvPlan& operator=(ConvPlan&&) noexcept;
  ~ConvPlan();

  /// Runs over the pool. The call's kind says which of the pointers is written to.
  void run(const ConvPointers& pointers) const;
  /// There is work for more than one thread.
  bool wide() const { return chunks_ > 1; }
  /// "own" or "oneDNN": who computes.
  const char* method() const;

  static bool accepts(DType dtype);

 private:
  struct Pass {
    ConvPass geometry;
    std::vector<ConvTap> taps;
    std::vector<int32_t> phases[3];
    int64_t items = 1;  // of the batch in one block …
    int64_t slab = 1;   // … or, when 1, so much of the slab dimension
    int64_t item_chunks = 1, slab_chunks = 1;
    int64_t steps = 1;    // of block_channels
    int64_t scratch = 0;  // bytes that a block wants
    int64_t packed = 0;   // where its weights are in the shared scratch, bytes
    int64_t first_pack = 0, first_chunk = 0;
    int64_t blocks() const { return item_chunks * slab_chunks; }
    ConvBlock block(int64_t index, int64_t batch) const;
  };
  void add_pass(const ConvDim (&dims)[3], std::vector<ConvTap> taps,
                std::vector<int32_t> (&phases)[3]);
  void add_forward_pass();
  void add_input_passes();
  void finish_gather();
  void finish_planes();
  void finish_weight();
  bool prepare_library();
  void run_library(const ConvPointers& p) const;
  void run_gather(const ConvPointers& p) const;
  void run_planes(const ConvPointers& p) const;
  void run_weight(const ConvPointers& p) const;

  ConvCall call_;
  ConvArgs args_;
  GemmType type_ = g_f32;
  int64_t compute_size_ = 4;
  std::vector<Pass> passes_;
  int64_t chunks_ = 0, packs_ = 0;  // gather: blocks and steps of weights, all groups and passes
  int64_t shared_ = 0;              // bytes of scratch that all chunks share
  bool planes_ = false;             // depthwise
  // weight: pieces of the batch, ranges of channels
  int64_t pieces_ = 1, piece_items_ = 1, ranges_ = 1, range_channels_ = 1;
  int64_t acc_row_ = 0, acc_piece_ = 0;  // elements
  // oneDNN: a piece of piece_items_, and the last one when it is shorter
  std::unique_ptr<LibraryConv> library_, library_last_;
};

}  // namespace qs::driver::cpu
