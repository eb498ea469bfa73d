// How a convolution is cut into passes, blocks and chunks; conv_table.h says what these are.
#include "quicksilver/driver/cpu/conv.h"

#include <algorithm>

#include "quicksilver/core/cpu_info.h"
#include "quicksilver/core/env.h"
#include "quicksilver/core/error.h"
#include "quicksilver/core/thread_pool.h"
#include "quicksilver/driver/cpu/conv_library.h"
#include "quicksilver/driver/cpu/cpu_memory.h"
#include "quicksilver/driver/cpu/gemm.h"

namespace qs::driver::cpu {
namespace {

// Positions in a block: enough to pay for reading the weights, few enough that the block's results
// and one step of its operands stay in the second-level cache.
constexpr int64_t k_most_positions = 512, k_fewest_positions = 64;
constexpr int64_t k_result_elements = 1 << 16;
// Lines of the product that are staged and multiplied at a time, about.
constexpr int64_t k_step = 256;
// The gradient of the weights: lines of one chunk, and how many chunks there should be.
constexpr int64_t k_range_lines = 288, k_weight_chunks = 16, k_weight_positions = 256;
constexpr int64_t k_most_acc_bytes = 16 << 20;
constexpr int64_t k_layout_rows = 8;
constexpr int64_t k_library_pieces = 8;
constexpr int64_t k_small_image = 14 * 14, k_tiny_image = 4 * 4;
constexpr int64_t k_many_weights = 128 << 10;
// The library's AVX-512 kernels are ahead of ours further.
constexpr int64_t k_small_image_avx512 = 16 * 16, k_many_weights_avx512 = 1 << 20;
constexpr int64_t k_small_work = 256 << 10;  // multiply-adds that wake nobody

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t modulo(int64_t a, int64_t b) { return (a % b + b) % b; }

int64_t volume(const int64_t (&size)[3]) { return size[0] * size[1] * size[2]; }

template <class P>
P* shifted(P* base, int64_t bytes) {
  using Byte = std::conditional_t<std::is_const_v<P>, const char, char>;
  return base ? static_cast<Byte*>(base) + bytes : nullptr;
}

/// The largest of the taps' shifts in dimension d.
int64_t reach_of(const std::vector<ConvTap>& taps, int d) {
  int64_t reach = 0;
  for (const ConvTap& t : taps) reach = std::max(reach, t.shift[d]);
  return reach;
}

// As measured on Zen 4 and Zen 5 (docs/decisions.md): the library's blocked kernels win where the
// stride splits rows or images are small; on large images what they save goes into reordering, and
// our own kernels win again where a group has next to no channels. Many weights slow the library
// down: each piece of the batch sums gradients of all of them, and on tiny images its kernels read
// them too often.
bool library_is_better(const ConvCall& call, const ConvArgs& a) {
  const int64_t weights = a.out * (a.in / a.groups) * volume(a.kernel);
  if (a.batch * weights * volume(a.y_size) < k_small_work || a.batch < 2) return false;
  if (a.in / a.groups < 3 || a.out / a.groups < 3) return call.kind == ConvCall::weight;
  const bool avx512 = cpu_info().isa == Isa::avx512;
  const int64_t many = avx512 ? k_many_weights_avx512 : k_many_weights;
  if (call.kind == ConvCall::weight && weights > many) return false;
  if (call.kind == ConvCall::forward && !avx512 && weights > many &&
      volume(a.y_size) <= k_tiny_image)
    return false;
  return volume(a.stride) > 1 ||
         volume(a.x_size) <= (avx512 ? k_small_image_avx512 : k_small_image);
}

bool library_is_wanted(const ConvCall& call, const ConvArgs& args) {
  const std::string& text = env().conv;
  if (call.dtype != DType::f32 || text == "own") return false;
  return text == "dnnl" || library_is_better(call, args);
}

}  // namespace

const ConvTable& conv_table() {
#if defined(__x86_64__)
  if (cpu_info().isa == Isa::avx512) return conv_avx512_table();
  if (cpu_info().isa == Isa::avx2) return conv_avx2_table();
#endif
  return conv_generic_table();
}

ConvPlan::ConvPlan(ConvPlan&&) noexcept = default;
ConvPlan& ConvPlan::operator=(ConvPlan&&) noexcept = default;
ConvPlan::~ConvPlan() = default;

bool ConvPlan::accepts(DType dtype) { return gemm_type(dtype) != g_types; }

const char* ConvPlan::method() const { return library_ ? "oneDNN" : "own"; }

ConvPlan::ConvPlan(const ConvCall& call, const ConvArgs& args) : call_(call), args_(args) {
  type_ = gemm_type(call.dtype);
  compute_size_ = std::max<int64_t>(4, static_cast<int64_t>(size_of(call.dtype)));
  planes_ = args.groups > 1 && args.in == args.groups && args.out == args.groups;
  if (prepare_library()) {
    planes_ = false;
    return;
  }
  if (call.kind == ConvCall::input)
    add_input_passes();
  else
    add_forward_pass();
  if (planes_)
    finish_planes();
  else if (call.kind == ConvCall::weight)
    finish_weight();
  else
    finish_gather();
}

// The library works on one thread, so the batch is cut into pieces, by the shape alone: its bits
// may depend on a piece's size.
bool ConvPlan::prepare_library() {
  const ConvArgs& a = args_;
  if (a.batch == 0 || a.in == 0 || !library_is_wanted(call_, a)) return false;
  // Each piece reads all weights: fewer pieces where these do not stay in the cache.
  const int64_t weights = a.out * (a.in / a.groups) * volume(a.kernel) * compute_size_;
  const int64_t most = weights > 8 << 20   ? k_library_pieces / 4
                       : weights > 2 << 20 ? k_library_pieces / 2
                                           : k_library_pieces;
  piece_items_ = ceil_div(a.batch, std::min(a.batch, most));
  if (call_.kind == ConvCall::weight) {
    const int64_t affordable = std::clamp<int64_t>(k_most_acc_bytes / weights, 2, k_library_pieces);
    piece_items_ = std::max(piece_items_, ceil_div(a.batch, affordable));
  }
  library_ = LibraryConv::make(call_, a, piece_items_);
  const int64_t last = a.batch % piece_items_;
  if (library_ && last) library_last_ = LibraryConv::make(call_, a, last);
  // The pieces' weights are one: both must have them in one format.
  if (!library_ || (last && (!library_last_ || !library_last_->same_weights(*library_)))) {
    library_.reset();
    library_last_.reset();
    return false;
  }
  pieces_ = ceil_div(a.batch, piece_items_);
  chunks_ = pieces_;
  shared_ = library_->weight_bytes() * (call_.kind == ConvCall::weight ? pieces_ : 1);
  return true;
}

void ConvPlan::run_library(const ConvPointers& p) const {
  const bool input = call_.kind == ConvCall::input, weight = call_.kind == ConvCall::weight;
  char* shared = static_cast<char*>(command_scratch(static_cast<size_t>(shared_)));
  const int64_t own = library_->weight_bytes();
  const auto scratch_of = [](const LibraryConv& conv) {
    return static_cast<char*>(thread_scratch(static_cast<size_t>(conv.scratch_bytes())));
  };
  if (!weight) library_->read_weights(p.w, shared, scratch_of(*library_));
  const ConvArgs::Tensor &first = input ? args_.y : args_.x, &second = input ? args_.x : args_.y;
  const int64_t first_piece = piece_items_ * first.strides[0] * compute_size_,
                second_piece = piece_items_ * second.strides[0] * compute_size_;
  ThreadPool& pool = ThreadPool::instance();
  pool.parallel_for(pieces_, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const LibraryConv& conv = library_last_ && i + 1 == pieces_ ? *library_last_ : *library_;
      conv.run(shifted(input ? p.y : p.x, i * first_piece),
               shifted(input ? p.x : p.y, i * second_piece), shared + (weight ? i * own : 0),
               p.bias, scratch_of(conv));
    }
  });
  if (!weight) return;
  const int64_t floats = own / compute_size_, grain = 1 << 14;
  float* sums = reinterpret_cast<float*>(shared);
  pool.parallel_for(ceil_div(floats, grain), [&](int64_t begin, int64_t end, int) {
    const int64_t from = begin * grain, to = std::min(floats, end * grain);
    for (int64_t piece = 1; piece < pieces_; ++piece) {
      const float* add = sums + piece * floats;
      for (int64_t k = from; k < to; ++k) sums[k] += add[k];
    }
  });
  library_->write_weights(sums, const_cast<void*>(p.w), scratch_of(*library_));
}

// Position j of y under tap k reads x at j * stride + k * dilation - padding: with
// k * dilation = shift * stride + phase, element j + shift of the phase.
void ConvPlan::add_forward_pass() {
  const ConvArgs& a = args_;
  ConvDim dims[3];
  std::vector<int32_t> phase_of[3], phases[3];
  for (int d = 0; d < 3; ++d) {
    ConvDim& dim = dims[d];
    dim.source = a.x_size[d];
    dim.source_stride = a.x.strides[2 + d];
    dim.origin = -a.padding[d];
    dim.step = a.stride[d];
    dim.grid = a.y_size[d];
    dim.out_stride = a.y.strides[2 + d];
    for (int64_t k = 0; k < a.kernel[d]; ++k) {
      const auto phase = static_cast<int32_t>(k * a.dilation[d] % a.stride[d]);
      const auto found = std::find(phases[d].begin(), phases[d].end(), phase);
      phase_of[d].push_back(static_cast<int32_t>(found - phases[d].begin()));
      if (found == phases[d].end()) phases[d].push_back(phase);
    }
  }
  std::vector<ConvTap> taps;
  for (int64_t i = 0; i < a.kernel[0]; ++i)
    for (int64_t j = 0; j < a.kernel[1]; ++j)
      for (int64_t k = 0; k < a.kernel[2]; ++k) {
        const int64_t at[3] = {i, j, k};
        ConvTap t;
        t.weight = 0;
        for (int d = 0; d < 3; ++d) {
          t.phase[d] = phase_of[d][static_cast<size_t>(at[d])];
          t.shift[d] = at[d] * a.dilation[d] / a.stride[d];
          t.weight += at[d] * a.w.strides[2 + d];
        }
        taps.push_back(t);
      }
  add_pass(dims, std::move(taps), phases);
}

// Element u of x is met by tap k of position j where j * stride + k * dilation - padding = u: all
// u of one remainder by the stride have the same taps, and j grows by one from one u to the next.
void ConvPlan::add_input_passes() {
  const ConvArgs& a = args_;
  struct Match {
    int64_t k, shift;
  };
  struct Class {
    ConvDim dim;
    std::vector<Match> matches;
  };
  std::vector<Class> classes[3];
  for (int d = 0; d < 3; ++d) {
    for (int64_t r = 0; r < a.stride[d]; ++r) {
      Class c;
      const int64_t first = modulo(r - a.padding[d], a.stride[d]);
      if (first >= a.x_size[d]) continue;
      int64_t low = INT64_MAX;
      for (int64_t k = 0; k < a.kernel[d]; ++k) {
        const int64_t over = first + a.padding[d] - k * a.dilation[d];
        if (modulo(over, a.stride[d]) != 0) continue;
        const int64_t j = (over - modulo(over, a.stride[d])) / a.stride[d];
        c.matches.push_back({k, j});
        low = std::min(low, j);
      }
      for (Match& m : c.matches) m.shift -= low;
      c.dim.source = a.y_size[d];
      c.dim.source_stride = a.y.strides[2 + d];
      c.dim.origin = c.matches.empty() ? 0 : low;
      c.dim.grid = ceil_div(a.x_size[d] - first, a.stride[d]);
      c.dim.out_start = first;
      c.dim.out_step = a.stride[d];
      c.dim.out_stride = a.x.strides[2 + d];
      classes[d].push_back(std::move(c));
    }
  }
  for (const Class& i : classes[0])
    for (const Class& j : classes[1])
      for (const Class& k : classes[2]) {
        std::vector<ConvTap> taps;
        for (const Match& x : i.matches)
          for (const Match& y : j.matches)
            for (const Match& z : k.matches)
              taps.push_back({{0, 0, 0},
                              {x.shift, y.shift, z.shift},
                              x.k * a.w.strides[2] + y.k * a.w.strides[3] + z.k * a.w.strides[4]});
        const ConvDim dims[3] = {i.dim, j.dim, k.dim};
        std::vector<int32_t> phases[3];
        add_pass(dims, std::move(taps), phases);
      }
}

void ConvPlan::add_pass(const ConvDim (&dims)[3], std::vector<ConvTap> taps,
                        std::vector<int32_t> (&phases)[3]) {
  const ConvArgs& a = args_;
  const bool input = call_.kind == ConvCall::input;
  Pass pass;
  ConvPass& g = pass.geometry;
  g.source_type = type_;
  g.rows = (input ? a.in : a.out) / a.groups;
  g.channels = (input ? a.out : a.in) / a.groups;
  for (int d = 0; d < 3; ++d) {
    g.dims[d] = dims[d];
    g.dims[d].reach = reach_of(taps, d);
    pass.phases[d] = std::move(phases[d]);
    if (pass.phases[d].empty()) pass.phases[d].push_back(0);
    g.dims[d].phases = static_cast<int32_t>(pass.phases[d].size());
    g.dims[d].phase = pass.phases[d].data();
  }
  const ConvArgs::Tensor &source = input ? a.y : a.x, &out = input ? a.x : a.y;
  g.source_item = source.strides[0];
  g.source_channel = source.strides[1];
  g.out_item = out.strides[0];
  g.out_row = out.strides[1];
  g.bias_stride = a.bias_stride;
  g.weight_row = a.w.strides[input ? 1 : 0];
  g.weight_channel = a.w.strides[input ? 0 : 1];
  g.tap_count = static_cast<int64_t>(taps.size());
  g.slab = g.dims[0].grid > 1 ? 0 : g.dims[1].grid > 1 ? 1 : 2;
  g.block_channels = std::max<int64_t>(1, k_step / std::max<int64_t>(1, g.tap_count));
  g.block_channels = std::min(g.block_channels, std::max<int64_t>(1, g.channels));
  pass.steps = ceil_div(g.channels, g.block_channels);
  pass.taps = std::move(taps);
  passes_.push_back(std::move(pass));
}

ConvBlock ConvPlan::Pass::block(int64_t index, int64_t batch) const {
  const ConvPass& g = geometry;
  ConvBlock b;
  b.n0 = index / slab_chunks * items;
  b.n1 = std::min(batch, b.n0 + items);
  b.s0 = index % slab_chunks * slab;
  b.s1 = std::min(g.dims[g.slab].grid, b.s0 + slab);
  return b;
}

namespace {

/// Cuts items and slabs so that a block has about `positions`.
template <class Pass>
void cut(Pass& pass, int64_t batch, int64_t positions) {
  const ConvPass& g = pass.geometry;
  const int64_t grid = g.dims[0].grid * g.dims[1].grid * g.dims[2].grid;
  const int64_t slabs = g.dims[g.slab].grid;
  const int64_t per_slab = std::max<int64_t>(1, grid / std::max<int64_t>(1, slabs));
  pass.items = 1;
  pass.slab = slabs;
  if (grid > positions) {
    // Even slabs; on one row of positions, whole panels.
    const int64_t most = std::max<int64_t>(1, positions / per_slab);
    pass.slab = ceil_div(slabs, ceil_div(slabs, most));
    if (per_slab == 1) pass.slab = std::min(slabs, conv_round_up(pass.slab, 32));
  } else {
    const int64_t most =
        std::min(batch, std::max<int64_t>(1, positions / std::max<int64_t>(1, grid)));
    pass.items = ceil_div(batch, ceil_div(batch, std::max<int64_t>(1, most)));
  }
  pass.item_chunks = ceil_div(batch, pass.items);
  pass.slab_chunks = ceil_div(slabs, pass.slab);
}

}  // namespace

void ConvPlan::finish_gather() {
  const int64_t threads = ThreadPool::instance().threads();
  const int64_t work = args_.batch * args_.out * (args_.in / args_.groups) * volume(args_.y_size) *
                       volume(args_.kernel);
  const bool alone = threads == 1 || work < k_small_work;
  for (Pass& pass : passes_) {
    ConvPass& g = pass.geometry;
    g.taps = pass.taps.data();
    int64_t positions = std::clamp(k_result_elements / std::max<int64_t>(1, g.rows),
                                   k_fewest_positions, k_most_positions);
    for (;; positions /= 2) {
      cut(pass, args_.batch, positions);
      if (alone || positions <= k_fewest_positions ||
          pass.blocks() * args_.groups * static_cast<int64_t>(passes_.size()) >= 4 * threads)
        break;
    }
    // Laying out costs about what eight rows of products do; reading rows as they lie, the lanes
    // behind their ends.
    const int64_t lanes = gemm_table().panel_width[type_] / 2;
    const int64_t row = g.slab == 2 ? pass.slab : g.dims[2].grid;
    g.direct = g.channels > 0 && g.tap_count > 0 &&
               g.rows * (conv_round_up(row, lanes) - row) < k_layout_rows * row;
    const ConvSpace s = conv_space(g, pass.block(0, args_.batch));
    const int64_t step = std::min(g.block_channels, g.channels);
    pass.scratch = s.tables + compute_size_ * (step * s.stage_line + 64 +
                                               conv_round_up(s.columns, 64) * step * g.tap_count +
                                               64 + g.rows * s.pitch + 64);
    pass.packed = shared_;
    shared_ += conv_round_up(args_.groups * g.packed_elements() * compute_size_, 64);
    pass.first_pack = packs_;
    pass.first_chunk = chunks_;
    packs_ += args_.groups * pass.steps;
    chunks_ += args_.groups * pass.blocks();
  }
}

void ConvPlan::run_gather(const ConvPointers& p) const {
  const ConvTable& table = conv_table();
  const GemmTable& gemm = gemm_table();
  const bool input = call_.kind == ConvCall::input;
  char* shared = static_cast<char*>(command_scratch(static_cast<size_t>(shared_)));
  const int64_t size = static_cast<int64_t>(size_of(call_.dtype));
  const auto pass_of = [&](int64_t index, int64_t Pass::* first) -> const Pass& {
    size_t i = passes_.size() - 1;
    while (i > 0 && passes_[i].*first > index) --i;
    return passes_[i];
  };
  ThreadPool& pool = ThreadPool::instance();
  const auto weights_of = [&](const Pass& pass, int64_t group) {
    const ConvPass& g = pass.geometry;
    return shared + pass.packed + group * g.packed_elements() * compute_size_;
  };
  const auto pack = [&](int64_t first, int64_t last, int) {
    for (int64_t i = first; i < last; ++i) {
      const Pass& pass = pass_of(i, &Pass::first_pack);
      const ConvPass& g = pass.geometry;
      const int64_t group = (i - pass.first_pack) / pass.steps,
                    step = (i - pass.first_pack) % pass.steps;
      ConvPack pack;
      pack.pass = &g;
      pack.gemm = &gemm;
      pack.q0 = step * g.block_channels;
      pack.q1 = std::min(g.channels, pack.q0 + g.block_channels);
      // In both directions the groups lie one after the other along w's first dimension.
      pack.weights = shifted(p.w, group * (args_.out / args_.groups) * args_.w.strides[0] * size);
      pack.packed = weights_of(pass, group) + g.packed_at(pack.q0) * compute_size_;
      table.pack[type_](pack);
    }
  };
  const auto gather = [&](int64_t first, int64_t last, int) {
    int64_t bytes = 0;
    for (int64_t i = first; i < last; ++i)
      bytes = std::max(bytes, pass_of(i, &Pass::first_chunk).scratch);
    char* scratch = static_cast<char*>(thread_scratch(static_cast<size_t>(bytes)));
    for (int64_t i = first; i < last; ++i) {
      const Pass& pass = pass_of(i, &Pass::first_chunk);
      const ConvPass& g = pass.geometry;
      const int64_t group = (i - pass.first_chunk) / pass.blocks();
      ConvGather call;
      call.pass = &g;
      call.gemm = &gemm;
      call.block = pass.block((i - pass.first_chunk) % pass.blocks(), args_.batch);
      call.source = shifted(input ? p.y : p.x, group * g.channels * g.source_channel * size);
      call.packed = weights_of(pass, group);
      call.bias = call_.bias ? shifted(p.bias, group * g.rows * g.bias_stride * size) : nullptr;
      call.out = const_cast<void*>(
          static_cast<const void*>(shifted(input ? p.x : p.y, group * g.rows * g.out_row * size)));
      call.scratch = scratch;
      table.gather[type_](call);
    }
  };
  const bool alone = chunks_ <= 1;
  if (alone)
    pack(0, packs_, 0);
  else
    pool.parallel_for(packs_, pack);
  pool.parallel_for(chunks_, gather);
}

// The sum over positions is cut into pieces of the batch, its lines into ranges of channels: both
// by the shape alone. Each chunk (group, piece, range) has its own sums; then they are added in the
// order of the pieces.
void ConvPlan::finish_weight() {
  Pass& pass = passes_[0];
  ConvPass& g = pass.geometry;
  g.taps = pass.taps.data();
  const int64_t lines = g.channels * g.tap_count;
  range_channels_ =
      std::max<int64_t>(1, std::min(g.channels, k_range_lines / std::max<int64_t>(1, g.tap_count)));
  ranges_ = ceil_div(g.channels, range_channels_);
  range_channels_ = ceil_div(g.channels, std::max<int64_t>(1, ranges_));
  acc_row_ = conv_round_up(g.rows, 16) + 16;
  acc_piece_ = args_.groups * lines * acc_row_;
  const int64_t affordable =
      std::max<int64_t>(1, k_most_acc_bytes / std::max<int64_t>(1, acc_piece_ * compute_size_));
  pieces_ = std::clamp<int64_t>(k_weight_chunks / std::max<int64_t>(1, args_.groups * ranges_), 1,
                                std::min(affordable, std::max<int64_t>(1, args_.batch)));
  piece_items_ = std::max<int64_t>(1, ceil_div(args_.batch, pieces_));
  pieces_ = std::max<int64_t>(1, ceil_div(args_.batch, piece_items_));
  // Whole items of one piece make a block.
  cut(pass, piece_items_, k_weight_positions);
  const ConvSpace s = conv_space(g, pass.block(0, piece_items_));
  pass.scratch = s.tables + compute_size_ * (range_channels_ * s.stage_line + 64 +
                                             conv_round_up(g.rows, 64) * s.columns + 64 +
                                             16 * s.pitch + 64 + 16 * s.pitch + 64);
  shared_ = acc_piece_ * pieces_ * compute_size_;
  chunks_ = args_.groups * pieces_ * ranges_;
}

void ConvPlan::run_weight(const ConvPointers& p) const {
  const ConvTable& table = conv_table();
  const GemmTable& gemm = gemm_table();
  const Pass& pass = passes_[0];
  const ConvPass& g = pass.geometry;
  const int64_t size = static_cast<int64_t>(size_of(call_.dtype));
  const int64_t lines = g.channels * g.tap_count;
  char* shared = static_cast<char*>(command_scratch(static_cast<size_t>(shared_)));
  const auto multiply = [&](int64_t first, int64_t last, int) {
    char* scratch = static_cast<char*>(thread_scratch(static_cast<size_t>(pass.scratch)));
    std::vector<ConvBlock> blocks;
    for (int64_t i = first; i < last; ++i) {
      const int64_t range = i % ranges_, piece = i / ranges_ % pieces_,
                    group = i / (ranges_ * pieces_);
      const int64_t n0 = piece * piece_items_, n1 = std::min(args_.batch, n0 + piece_items_);
      blocks.clear();
      for (int64_t b = 0; b < pass.blocks(); ++b) {
        ConvBlock block = pass.block(b, n1 - n0);
        block.n0 += n0;
        block.n1 += n0;
        if (block.n0 < block.n1) blocks.push_back(block);
      }
      ConvWeightPiece call;
      call.pass = &g;
      call.gemm = &gemm;
      call.blocks = blocks.data();
      call.block_count = static_cast<int64_t>(blocks.size());
      call.q0 = range * range_channels_;
      call.q1 = std::min(g.channels, call.q0 + range_channels_);
      call.source = shifted(p.x, group * g.channels * g.source_channel * size);
      call.y = shifted(p.y, group * g.rows * g.out_row * size);
      call.acc = shared + compute_size_ * (piece * acc_piece_ +
                                           (group * lines + call.q0 * g.tap_count) * acc_row_);
      call.acc_row = acc_row_;
      call.scratch = scratch;
      table.weight[type_](call);
    }
  };
  const auto sum = [&](int64_t first, int64_t last, int) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t range = i % ranges_, group = i / ranges_;
      ConvSum call;
      call.pass = &g;
      call.acc = shared + compute_size_ * group * lines * acc_row_;
      call.acc_row = acc_row_;
      call.piece = acc_piece_;
      call.pieces = pieces_;
      call.k0 = range * range_channels_ * g.tap_count;
      call.k1 = std::min(g.channels, (range + 1) * range_channels_) * g.tap_count;
      call.weights = const_cast<void*>(static_cast<const void*>(
          shifted(p.w, group * (args_.out / args_.groups) * args_.w.strides[0] * size)));
      table.sum[type_](call);
    }
  };
  ThreadPool& pool = ThreadPool::instance();
  const int64_t work = args_.batch * args_.out * (args_.in / args_.groups) * volume(args_.y_size) *
                       volume(args_.kernel);
  const int64_t sums = args_.groups * ranges_;
  if (work < k_small_work) {
    multiply(0, chunks_, 0);
    sum(0, sums, 0);
    return;
  }
  pool.parallel_for(chunks_, multiply);
  pool.parallel_for(sums, sum);
}

void ConvPlan::run(const ConvPointers& p) const {
  if (chunks_ == 0) return;
  if (library_)
    run_library(p);
  else if (planes_)
    run_planes(p);
  else if (call_.kind == ConvCall::weight)
    run_weight(p);
  else
    run_gather(p);
}

}  // namespace qs::driver::cpu
