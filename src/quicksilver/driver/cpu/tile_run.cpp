// Runs a planned launch: resolves addresses, walks units and blocks, executes steps, ends folds.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <new>

#include "quicksilver/core/error.h"
#include "quicksilver/driver/cpu/tile_launch.h"

namespace qs::driver::cpu {

TileScratch::~TileScratch() {
  if (data_) ::operator delete[](data_, std::align_val_t{64});
}

void TileScratch::grow(size_t bytes) {
  bytes = std::max(bytes + bytes / 4, size_t{128} * 1024);
  char* data = static_cast<char*>(::operator new[](bytes, std::align_val_t{64}, std::nothrow));
  QS_CHECK(data, OutOfMemoryError, "no {} bytes of scratch memory for a kernel", bytes);
  std::memset(data, 0, bytes);  // lanes beyond the end of a tile are computed and thrown away
  if (data_) ::operator delete[](data_, std::align_val_t{64});
  data_ = data;
  size_ = bytes;
}

namespace {

constexpr size_t k_temp_bytes = k_tile * 8 + 128;

uint64_t word_of(const ScalarRef& s, const Launch& table) {
  return s.word >= 0 ? table.words[static_cast<size_t>(s.word)] : s.value;
}

template <class T>
void splat_group(char* dst, T value) {
  T* out = reinterpret_cast<T*>(dst);
  for (int64_t i = 0; i < k_group; ++i) out[i] = value;
}

int64_t to_int64(double x) {
  return x >= -0x1p63 && x < 0x1p63 ? static_cast<int64_t>(x) : INT64_MIN;
}

/// A scalar in a register of class `r`, as the conversions of tile_convert.inl.
void splat_scalar(char* dst, RegClass r, const ScalarRef& s, const Launch& table) {
  const uint64_t word = word_of(s, table);
  const bool whole = is_integral(s.dtype);
  const int64_t i = static_cast<int64_t>(word);
  const double d = std::bit_cast<double>(word);
  switch (r) {
    case r_f32:
      return splat_group(dst, whole ? static_cast<float>(i) : static_cast<float>(d));
    case r_f64:
      return splat_group(dst, whole ? static_cast<double>(i) : d);
    case r_i32: {
      const bool fits = d > -2147483649.0 && d < 2147483648.0;
      return splat_group(dst, whole  ? static_cast<int32_t>(i)
                              : fits ? static_cast<int32_t>(d)
                                     : INT32_MIN);
    }
    case r_i64:
      return splat_group(dst, whole ? i : to_int64(d));
    case r_u64:
      return splat_group(dst, whole ? word
                              : d >= 0x1p63
                                  ? static_cast<uint64_t>(to_int64(d - 0x1p63)) ^ (1ull << 63)
                                  : static_cast<uint64_t>(to_int64(d)));
    default:
      return splat_group(dst, static_cast<uint8_t>(whole ? i != 0 : d != 0));
  }
}

int log2_of(int64_t size) { return size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3; }

/// One thread's part of a run.
class Worker {
 public:
  Worker(const TileState& state, TileScratch& scratch)
      : s_(state), code_(*state.code), isa_(*state.code->isa) {
    memory_ = scratch.reserve(s_.scratch_bytes);
    p_ = reinterpret_cast<char**>(memory_);
    unit_ = reinterpret_cast<int64_t*>(p_ + code_.registers.size());
    block_ = unit_ + s_.walks.size();
    temp_[0] = memory_ + s_.pointer_bytes;
    temp_[1] = temp_[0] + k_temp_bytes;
    slots_ = temp_[1] + k_temp_bytes;
    for (size_t r = 0; r < code_.registers.size(); ++r) {
      const CodeRegister& g = code_.registers[r];
      p_[r] = (g.domain == TileDomain::uniform ? s_.splats : slots_) + g.slot;
    }
    operands_ = s_.walks.size();
  }

  void run(int64_t first, int64_t last) {
    if (s_.split) {
      for (int64_t piece = first; piece < last; ++piece) {
        seek(piece / s_.splits);
        const int64_t chunk = piece % s_.splits * s_.split_chunks;
        const int64_t end = std::min(chunk + s_.split_chunks, s_.fold_chunks);
        run_prologue(s_.phases[0], code_.phases[0]);
        run_body(s_.phases[0], chunk * s_.fold_chunk,
                 std::min(end * s_.fold_chunk, s_.reduced_points));
      }
      return;
    }
    const int64_t end = std::min(last * s_.unit_chunk, s_.units);
    int64_t unit = first * s_.unit_chunk;
    if (unit >= end) return;
    seek(unit);
    if (code_.mode == TileMode::map) {
      for (;;) {
        run_map();
        if (++unit == end) return;
        advance();
      }
    }
    for (;;) {
      for (size_t p = 0; p < s_.phases.size(); ++p) {
        run_prologue(s_.phases[p], code_.phases[p]);
        clear_folds(s_.phases[p]);
        run_body(s_.phases[p], 0, s_.reduced_points);
        run_kept(s_.phases[p].tail);
      }
      if (++unit == end) return;
      advance();
    }
  }

  /// Second stage of a split reduction: combines a unit's partial results, left to right.
  void finish(int64_t unit) {
    seek(unit);
    const LaunchPhase& phase = s_.phases[0];
    run_prologue(phase, code_.phases[0]);
    clear_folds(phase);
    for (uint16_t f : phase.folds) {
      const CodeFold& fold = code_.folds[f];
      const Partial part = partial(f, 0);
      fold.table->combine(total_value(fold), total_index(fold), part.value, part.index,
                          s_.fold_chunks, kept_);
    }
    run_kept(phase.tail);
  }

  void run_uniform() {
    for (size_t o = 0; o < operands_; ++o) unit_[o] = reinterpret_cast<int64_t>(s_.bases[o]);
    const int64_t one[k_block_dims] = {1, 1, 1};
    execute(s_.uniform, k_group, one, unit_, false);
  }

 private:
  // ---- where we are

  void seek(int64_t unit) {
    for (size_t o = 0; o < operands_; ++o) unit_[o] = reinterpret_cast<int64_t>(s_.bases[o]);
    index_.resize(static_cast<size_t>(s_.kept_loops), 0);
    for (int l = s_.kept_loops - 1; l >= 0; --l) {
      const int64_t parts = (s_.extent[l] + s_.step[l] - 1) / s_.step[l];
      index_[l] = unit % parts * s_.step[l];
      unit /= parts;
      for (size_t o = 0; o < operands_; ++o) unit_[o] += index_[l] * s_.walks[o].stride[l];
    }
    size_unit();
  }

  void advance() {
    for (int l = s_.kept_loops - 1; l >= 0; --l) {
      index_[l] += s_.step[l];
      if (index_[l] < s_.extent[l]) {
        for (size_t o = 0; o < operands_; ++o) unit_[o] += s_.step[l] * s_.walks[o].stride[l];
        break;
      }
      const int64_t back = index_[l] - s_.step[l];
      for (size_t o = 0; o < operands_; ++o) unit_[o] -= back * s_.walks[o].stride[l];
      index_[l] = 0;
    }
    size_unit();
  }

  void size_unit() {
    for (int d = 0; d < k_block_dims; ++d) {
      const int loop = s_.block_loop[d];
      n_[d] = loop >= 0 && loop < s_.kept_loops
                  ? std::min(s_.block[d], s_.extent[loop] - index_[loop])
                  : s_.block[d];
    }
    kept_ = code_.mode == TileMode::column ? n_[2] : s_.whole_rows ? n_[0] : 1;
  }

  /// What the next block will read, so that the end of a page does not stop the stream.
  static void prefetch(const char* p, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(p + i);
  }

  // ---- sections

  void run_map() {
    const Section& body = s_.phases[0].body;
    const int64_t points = n_[0] * n_[1] * n_[2];
    for (const Bind& b : body.binds) p_[b.reg] = reinterpret_cast<char*>(unit_[b.operand]);
    execute(body, points, n_, unit_, true);
  }

  void run_kept(const Section& section) {
    if (section.steps.empty() && section.binds.empty()) return;
    for (const Bind& b : section.binds) p_[b.reg] = reinterpret_cast<char*>(unit_[b.operand]);
    const int64_t n[k_block_dims] = {1, 1, kept_};
    execute(section, kept_, n, unit_, false);
  }

  void run_prologue(const LaunchPhase& phase, const CodePhase& code) {
    run_kept(phase.prologue);
    for (const CodeExpand& e : code.expands) {
      const int size = log2_of(code_.registers[e.full].size);
      if (code_.mode == TileMode::column) {
        isa_.expand_columns[size](p_[e.full], p_[e.kept], s_.block[0] * s_.block[1], kept_);
      } else {
        isa_.expand_rows[size](p_[e.full], p_[e.kept], kept_,
                               s_.unit_kept == 1 ? k_group : s_.reduced_points);
      }
    }
  }

  /// Blocks of the reduced points [from, to), in order. `from` starts a chunk of the folds.
  void run_body(const LaunchPhase& phase, int64_t from, int64_t to) {
    const Section& body = phase.body;
    if (body.steps.empty() || to <= from) return;
    if (s_.whole_rows) {
      at_ = 0;
      count_ = s_.reduced_points;
      bind(body, unit_);
      execute(body, kept_ * s_.reduced_points, n_, unit_, true);
      return;
    }
    for (uint16_t f : phase.folds) {
      const CodeFold& fold = code_.folds[f];
      if (code_.mode == TileMode::column) {
        clear_state(fold);
      } else {
        fold.table->clear_lanes(lanes(fold));
      }
    }
    int64_t index[8];
    QS_ASSERT(s_.reduced_loops <= 8);
    int64_t rest = from;
    std::copy(unit_, unit_ + operands_, block_);
    for (int l = s_.reduced_loops - 1; l >= 0; --l) {
      index[l] = rest % s_.extent[s_.kept_loops + l];
      rest /= s_.extent[s_.kept_loops + l];
      for (size_t o = 0; o < operands_; ++o)
        block_[o] += index[l] * s_.walks[o].stride[s_.kept_loops + l];
    }
    // The dimensions of a block that run over reduced loops, from the innermost out.
    const int inner = code_.mode == TileMode::column ? 1 : 2;
    for (at_ = from; at_ < to;) {
      int64_t n[k_block_dims] = {1, 1, code_.mode == TileMode::column ? kept_ : 1};
      count_ = 1;
      int loop = s_.reduced_loops - 1;
      for (int d = inner; d >= 0 && s_.block_loop[d] >= s_.kept_loops; --d, --loop) {
        // Whole inner loops may be followed by several values of the next one out.
        const int64_t extent = s_.extent[s_.kept_loops + loop];
        n[d] = std::min(
            {s_.block[d], extent - index[loop], std::max<int64_t>((to - at_) / count_, 1)});
        count_ *= n[d];
        if (n[d] < extent) {
          --loop;
          break;
        }
      }
      bind(body, block_);
      const int64_t points = n[0] * n[1] * n[2];
      const int outermost = loop + 1, d = inner - (s_.reduced_loops - 1 - outermost);
      for (const Bind& b : body.binds)
        if (b.far)
          prefetch(p_[b.reg] + n[d] * s_.walks[b.operand].stride[s_.kept_loops + outermost],
                   points * b.size);
      execute(body, points, n, block_, true);
      at_ += count_;
      step_reduced(index, outermost, n[d]);
    }
    for (uint16_t f : phase.folds)
      if (to % s_.fold_chunk != 0) flush(f, to / s_.fold_chunk);
  }

  /// Moves to the point behind a block that runs over `move` values of `loop`, its outermost.
  void step_reduced(int64_t* index, int loop, int64_t move) {
    for (; loop >= 0; --loop, move = 1) {
      const int l = s_.kept_loops + loop;
      index[loop] += move;
      for (size_t o = 0; o < operands_; ++o) block_[o] += move * s_.walks[o].stride[l];
      if (index[loop] < s_.extent[l] || loop == 0) return;
      for (size_t o = 0; o < operands_; ++o) block_[o] -= s_.extent[l] * s_.walks[o].stride[l];
      index[loop] = 0;
    }
  }

  void bind(const Section& section, const int64_t* address) {
    const int64_t width = code_.mode == TileMode::column ? kept_ : 1;
    for (const Bind& b : section.binds)
      p_[b.reg] = b.operand >= 0 ? reinterpret_cast<char*>(address[b.operand])
                                 : memory_ + b.offset + at_ * width * b.size;
  }

  // ---- steps

  void execute(const Section& section, int64_t n, const int64_t* dims, const int64_t* address,
               bool full) {
    const int64_t padded = (n + k_group - 1) & ~(k_group - 1);
    for (const TileStep& t : section.steps) {
      switch (t.kind) {
        case CodeInstr::op:
          t.fn(p_[t.dst], p_[t.src[0]], p_[t.src[1]], p_[t.src[2]], t.padded ? padded : n, t);
          break;
        case CodeInstr::chain:
          chain(t, n);
          break;
        case CodeInstr::load:
          load(s_.transfers[t.aux], t, n, dims, address, full);
          break;
        case CodeInstr::store:
          store(s_.transfers[t.aux], t, n, dims, address, full);
          break;
        case CodeInstr::fold:
          fold(t);
          break;
        case CodeInstr::point:
          std::memset(p_[t.dst], 0, static_cast<size_t>(n));
          each_point(t.aux, t.src[0], dims, address,
                     [&](int64_t, int64_t at) { p_[t.dst][at] = 1; });
          break;
        case CodeInstr::pick:
          pick(t, dims, address);
          break;
        default:
          break;
      }
    }
  }

  void chain(const TileStep& t, int64_t n) {
    const ChainPart* part = &s_.chain_parts[t.aux];
    const int count = t.src[0] + 1, r = t.src[1];
    ChainLink links[k_most_links + 2];
    for (int k = 0; k <= count; ++k, ++part)
      links[k] = {part->fn, part->reg >= 0 ? p_[part->reg] : nullptr, part->item};
    if (t.padded)
      isa_.chain_slots[r](p_[t.dst], links, n);
    else
      isa_.chain_memory[r](p_[t.dst], links, count, n);
  }

  void convert(TileFn fn, char* dst, const char* src, int64_t n, int size) {
    TileStep t;
    t.stride[0] = static_cast<int32_t>(k_group * size);
    fn(dst, src, nullptr, nullptr, n, t);
  }

  void strides_of(const Walk& w, bool full, int64_t* stride) const {
    for (int d = 0; d < k_block_dims; ++d) stride[d] = full ? w.block[d] : 0;
    if (!full) stride[2] = w.kept;
  }

  void load(const Transfer& t, const TileStep& step, int64_t n, const int64_t* dims,
            const int64_t* address, bool full) {
    const Walk& w = s_.walks[t.operand];
    const int64_t one[k_block_dims] = {1, 1, 1};
    const bool single = t.splat_register;
    char* out = single ? temp_[0] + k_temp_bytes / 2 : p_[step.dst];
    const TileFn first = t.code->convert[0], second = t.code->convert[1];
    int64_t stride[k_block_dims];
    strides_of(w, full, stride);
    const char* x = reinterpret_cast<const char*>(address[t.operand]);
    if (single) n = 1;
    if (!w.memory) {
      char* to = first || second ? temp_[0] : out;
      isa_.ramp(reinterpret_cast<int64_t*>(to), single ? one : dims, stride, address[t.operand]);
      x = to;
    } else if (t.reach != Reach::dense || (!first && !second)) {
      char* to = first || second ? temp_[0] : out;
      if (t.reach == Reach::dense) {
        isa_.copy_bytes(to, x, n << t.log2_item);
      } else {
        isa_.gather[t.log2_item](to, x, single ? one : dims, stride);
      }
      x = to;
    }
    if (first) {
      char* to = second ? temp_[1] : out;
      convert(first, to, x, n, 1 << t.log2_item);
      x = to;
    }
    if (second) convert(second, out, x, n, k_class_size[t.code->middle]);
    if (single) isa_.expand_rows[t.log2_register](p_[step.dst], out, 1, k_group);
  }

  void store(const Transfer& t, const TileStep& step, int64_t n, const int64_t* dims,
             const int64_t* address, bool full) {
    const Walk& w = s_.walks[t.operand];
    const TileFn first = t.code->convert[0], second = t.code->convert[1];
    const char* x = p_[step.src[0]];
    char* out = reinterpret_cast<char*>(address[t.operand]);
    if (t.stream && t.reach == Reach::dense) return isa_.stream(out, x, n << t.log2_item);
    if (t.stream) {
      const int64_t row = dims[2] << t.log2_item;
      for (int64_t p = 0; p < dims[0]; ++p)
        for (int64_t r = 0; r < dims[1]; ++r, x += row)
          isa_.stream(out + p * w.block[0] + r * w.block[1], x, row);
      return;
    }
    const bool dense = t.reach == Reach::dense;
    if (first) {
      char* to = dense && !second ? out : temp_[0];
      convert(first, to, x, n, 1 << t.log2_register);
      x = to;
    }
    if (second) {
      char* to = dense ? out : temp_[1];
      convert(second, to, x, n, k_class_size[t.code->middle]);
      x = to;
    }
    if (x == out) return;
    if (dense) {
      isa_.copy_bytes(out, x, n << t.log2_item);
      return;
    }
    int64_t stride[k_block_dims];
    strides_of(w, full, stride);
    isa_.scatter[t.log2_item](out, x, dims, stride);
  }

  // ---- folds
  //
  // state, row mode:     FoldLanes, then k_tile values of argmax's totals
  //        column mode:  values, indices, argmax's total values; k_tile of each
  // The total of other folds is the kept register itself; argmax's total index is.

  FoldLanes& lanes(const CodeFold& f) { return *reinterpret_cast<FoldLanes*>(slots_ + f.state); }
  char* state_value(const CodeFold& f) { return slots_ + f.state; }
  int64_t* state_index(const CodeFold& f) {
    return f.arg ? reinterpret_cast<int64_t*>(slots_ + f.state + k_tile * 8) : nullptr;
  }
  char* total_value(const CodeFold& f) {
    if (!f.arg) return p_[f.dst];
    return slots_ + f.state +
           (code_.mode == TileMode::column ? 2 * k_tile * 8
                                           : static_cast<int64_t>(sizeof(FoldLanes)));
  }
  int64_t* total_index(const CodeFold& f) {
    return f.arg ? reinterpret_cast<int64_t*>(p_[f.dst]) : nullptr;
  }

  struct Partial {
    char* value;
    int64_t* index;
  };
  /// Of the present unit: values of all chunks, one behind the other, then indices.
  Partial partial(uint16_t f, int64_t chunk) {
    const CodeFold& fold = code_.folds[f];
    int64_t unit = 0;
    for (int l = 0; l < s_.kept_loops; ++l)
      unit = unit * ((s_.extent[l] + s_.step[l] - 1) / s_.step[l]) + index_[l] / s_.step[l];
    char* base = s_.partials + unit * s_.partial_bytes + s_.partial_offset[f];
    const int64_t points = s_.fold_chunks * s_.unit_kept;
    if (!fold.arg) return {base + chunk * kept_ * fold.size, nullptr};
    int64_t* index = reinterpret_cast<int64_t*>(base);  // indices first: they need the alignment
    return {reinterpret_cast<char*>(index + points) + chunk * kept_ * fold.size,
            index + chunk * kept_};
  }

  void clear_folds(const LaunchPhase& phase) {
    for (uint16_t f : phase.folds) {
      const CodeFold& fold = code_.folds[f];
      fold.table->clear(total_value(fold), total_index(fold), kept_);
    }
  }

  void clear_state(const CodeFold& f) {
    if (f.table->clear_state)
      f.table->clear_state(state_value(f), kept_);
    else
      f.table->clear(state_value(f), state_index(f), kept_);
  }

  /// Between two points of what a column fold reads, in elements: rows lie as they do in memory, or
  /// one behind the other.
  int64_t fold_step(uint16_t reg, const CodeFold& f) const {
    const int16_t operand = code_.registers[reg].operand;
    const bool in_memory = operand >= 0 && s_.lies_in_memory(operand);
    return in_memory ? s_.walks[static_cast<size_t>(operand)].block[1] / f.item : kept_;
  }

  void fold(const TileStep& t) {
    const CodeFold& f = code_.folds[t.aux];
    const char *x = p_[t.src[0]], *y = f.factors == 2 ? p_[t.src[1]] : nullptr;
    if (s_.whole_rows) {
      f.table->rows(total_value(f), total_index(f), x, y, kept_, count_);
      return;
    }
    const bool column = code_.mode == TileMode::column;
    const int64_t step = column ? fold_step(t.src[0], f) : 1;
    const int64_t step_y = !y ? 0 : column ? fold_step(t.src[1], f) : 1;
    for (int64_t done = 0; done < count_;) {
      const int64_t point = at_ + done, inside = point % s_.fold_chunk;
      const int64_t n = std::min(count_ - done, s_.fold_chunk - inside);
      const char *from = x + done * step * f.item, *from_y = y ? y + done * step_y * f.item : y;
      if (column) {
        f.table->columns(state_value(f), state_index(f), from, from_y, n, kept_, step, step_y,
                         point);
      } else {
        f.table->add_lanes(lanes(f), from, from_y, n, inside);
      }
      done += n;
      if (inside + n == s_.fold_chunk) flush(static_cast<uint16_t>(t.aux), point / s_.fold_chunk);
    }
  }

  /// f(row, place in the block) where the counter in operand `counter` is the row's index.
  template <class F>
  void each_point(uint32_t counter, uint16_t index, const int64_t* dims, const int64_t* address,
                  F f) {
    const int64_t* wanted = reinterpret_cast<const int64_t*>(p_[index]);
    const int64_t* step = s_.walks[counter].block;
    const uint64_t width = static_cast<uint64_t>(dims[2]);
    int64_t at = 0;
    for (int64_t p = 0; p < dims[0]; ++p)
      for (int64_t r = 0; r < dims[1]; ++r, at += dims[2]) {
        const int64_t row = s_.whole_rows ? p : 0;
        const int64_t base = address[counter] + p * step[0] + r * step[1];
        // Bad indices may be anything: these numbers wrap.
        const uint64_t away = static_cast<uint64_t>(wanted[row]) - static_cast<uint64_t>(base);
        if (step[2] == 1) {
          if (away < width) f(row, at + static_cast<int64_t>(away));
          continue;
        }
        for (uint64_t c = 0; c < width; ++c)
          if (c * static_cast<uint64_t>(step[2]) == away) f(row, at + static_cast<int64_t>(c));
      }
  }

  /// The identity and `x`: 0 + -0 is 0.
  static void join(char* total, const char* x, const CodeFold& f) {
    if (f.pick.max) {
      std::memcpy(total, x, f.size);
    } else if (f.size == 4) {
      *reinterpret_cast<float*>(total) = *reinterpret_cast<const float*>(x) + 0.0f;
    } else {
      *reinterpret_cast<double*>(total) = *reinterpret_cast<const double*>(x) + 0.0;
    }
  }

  /// A fold of what is its identity but for one place a row: of that place. The same bits.
  void pick(const TileStep& t, const int64_t* dims, const int64_t* address) {
    const CodeFold& f = code_.folds[t.aux];
    alignas(64) char value[64 * 8];  // what reads one element may read a vector
    int64_t found = -1;
    each_point(static_cast<uint32_t>(f.pick.counter), t.src[1], dims, address,
               [&](int64_t row, int64_t at) {
                 std::memcpy(value, p_[t.src[0]] + (t.stride[0] ? at * f.size : 0), f.size);
                 found = at;
                 if (s_.whole_rows) join(p_[f.dst] + row * f.size, value, f);
               });
    if (s_.whole_rows) return;
    for (int64_t done = 0; done < count_;) {
      const int64_t point = at_ + done, inside = point % s_.fold_chunk;
      const int64_t n = std::min(count_ - done, s_.fold_chunk - inside);
      if (found >= done && found < done + n)
        f.table->add_lanes(lanes(f), value, nullptr, 1, inside + found - done);
      done += n;
      if (inside + n == s_.fold_chunk) flush(static_cast<uint16_t>(t.aux), point / s_.fold_chunk);
    }
  }

  /// Ends chunk `chunk`: its result joins the total or, in a split reduction, waits for the others.
  void flush(uint16_t number, int64_t chunk) {
    const CodeFold& f = code_.folds[number];
    alignas(8) char value[8];
    int64_t index = -1;
    const char* x = value;
    const int64_t* x_index = f.arg ? &index : nullptr;
    if (code_.mode == TileMode::column) {
      x = state_value(f);
      x_index = state_index(f);
      if (f.table->end_columns) f.table->end_columns(state_value(f), kept_);
    } else {
      f.table->end_lanes(lanes(f), value, f.arg ? &index : nullptr, chunk * s_.fold_chunk);
    }
    if (s_.split) {
      const Partial part = partial(number, chunk);
      std::memcpy(part.value, x, static_cast<size_t>(kept_) * f.size);
      if (f.arg) std::memcpy(part.index, x_index, static_cast<size_t>(kept_) * 8);
    } else {
      f.table->combine(total_value(f), total_index(f), x, x_index, 1, kept_);
    }
    if (code_.mode == TileMode::column) {
      clear_state(f);
    } else {
      f.table->clear_lanes(lanes(f));
    }
  }

  static constexpr int k_class_size[r_count] = {4, 8, 4, 8, 8, 1};

  const TileState& s_;
  const TileCode& code_;
  const IsaTable& isa_;
  char* memory_;
  char** p_;                // by register
  int64_t *unit_, *block_;  // by operand: address, or value of an affine operand
  char *temp_[2], *slots_;
  size_t operands_;
  SmallVector<int64_t, 6> index_;  // by kept loop
  int64_t n_[k_block_dims] = {1, 1, 1};
  int64_t kept_ = 1;            // kept points of the unit
  int64_t at_ = 0, count_ = 0;  // reduced points of the block: [at_, at_ + count_)
};

bool overlap(const TileState& s, const Hazard& h) {
  const Walk &a = s.walks[h.first], &b = s.walks[h.second];
  const char *x = s.bases[h.first], *y = s.bases[h.second];
  return x + a.low < y + b.high && y + b.low < x + a.high;
}

}  // namespace

void TileLaunch::begin(const Launch& table) const {
  TileState& planned = *state_;
  if (planned.empty) return;
  const auto prepare = [&](TileState& s) {
    s.error.record = table.error;
    s.bases.resize(s.walks.size());
    for (size_t o = 0; o < s.walks.size(); ++o) {
      const TileArgs::Operand& from = s.args.operands[o];
      if (!s.walks[o].memory) {
        const uint64_t value = word_of(from.base, table);
        s.bases[o] = reinterpret_cast<char*>(is_integral(from.base.dtype)
                                                 ? static_cast<int64_t>(value)
                                                 : to_int64(std::bit_cast<double>(value)));
        continue;
      }
      int64_t offset = from.ptr.bytes;
      if (from.ptr.offset_word >= 0)
        offset += static_cast<int64_t>(table.words[static_cast<size_t>(from.ptr.offset_word)]) *
                  from.ptr.item_size;
      s.bases[o] = static_cast<char*>(table.bases[static_cast<size_t>(from.ptr.base)]) + offset;
    }
    if (!s.owned) {
      const size_t splats = (s.code->splat_bytes + 63) / 64 * 64;
      const size_t partials = s.split ? static_cast<size_t>(s.units * s.partial_bytes) : 0;
      s.owned = std::make_unique_for_overwrite<char[]>(splats + partials + 64);
      s.splats =
          reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(s.owned.get()) + 63) / 64 * 64);
      s.partials = s.splats + splats;
    }
  };
  prepare(planned);
  planned.active = &planned;
  for (const Hazard& h : planned.hazards) {
    if (!overlap(planned, h)) continue;
    if (!planned.fallback) {
      planned.fallback = std::make_unique<TileState>();
      planned.fallback->plan(*planned.code, planned.args, planned.error.tag, true);
    }
    prepare(*planned.fallback);
    planned.active = planned.fallback.get();
    break;
  }
  const TileState& s = *planned.active;
  if (s.code->uniform.empty()) return;
  bool ops = false;
  for (const CodeInstr& i : s.code->uniform) {
    if (i.kind != CodeInstr::scalar) {
      ops = true;
      continue;
    }
    const CodeRegister& r = s.code->registers[i.dst];
    splat_scalar(s.splats + r.slot, reg_class(r.dtype), s.args.scalars[i.aux], table);
  }
  if (!ops) return;
  thread_local TileScratch scratch;
  Worker(s, scratch).run_uniform();
}

void TileLaunch::run(const Launch&, int64_t first, int64_t last, TileScratch& scratch) const {
  if (state_->empty) return;
  Worker(*state_->active, scratch).run(first, last);
}

void TileLaunch::finish(const Launch&, int64_t first, int64_t last, TileScratch& scratch) const {
  if (state_->empty || !state_->split) return;
  Worker worker(*state_->active, scratch);
  for (int64_t unit = first; unit < last; ++unit) worker.finish(unit);
}

}  // namespace qs::driver::cpu
