// Fits a built tile program to extents and strides: loops are collapsed, a block shape is chosen,
// each operand is classed by how a block of it lies in memory, and instructions become steps.
#include "quicksilver/driver/cpu/tile_launch.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "quicksilver/core/error.h"

namespace qs::driver::cpu {
namespace {

constexpr int64_t k_piece_ns = 8000;                   // work of a chunk, about
constexpr int64_t k_small_ns = 10000;                  // launches below stay in one piece
constexpr int64_t k_stream_bytes = int64_t{16} << 20;  // larger outputs go around the caches
constexpr int64_t k_far_bytes = int64_t{1} << 20;      // what the near caches do not hold
constexpr int64_t k_long_tile = 8192;  // of maps that are one step without temporaries
constexpr double k_strided_ns = 0.3;   // an element that lies apart
constexpr double k_row_ns = 5;         // what a row takes beside its elements
constexpr int64_t k_transposed = 32;   // side of a block of transposed access
constexpr int64_t k_least_units = 8, k_least_columns = 256;  // of folds over columns

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// The part of `extent` a block takes: `extent` cut evenly into parts of at most `most` points.
int64_t even_part(int64_t extent, int64_t most) {
  if (extent <= most) return std::max<int64_t>(extent, 1);
  const int64_t part = divide_up(extent, divide_up(extent, most));
  return most >= k_group ? std::min(most, divide_up(part, k_group) * k_group) : part;
}

int log2_of(int64_t size) { return size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3; }

}  // namespace

void TileState::plan(const TileCode& program, const TileArgs& values, int32_t tag, bool be_safe) {
  code = &program;
  args = values;
  safe = be_safe;
  error.tag = tag;
  const size_t loops = static_cast<size_t>(program.kept_loops + program.reduced_loops);
  QS_CHECK(args.extents.size() == loops && args.operands.size() == program.operands.size() &&
               args.scalars.size() == static_cast<size_t>(program.scalar_count),
           InternalError, "tile launch: {} extents, {} operands, {} scalars; expected {}, {}, {}",
           args.extents.size(), args.operands.size(), args.scalars.size(), loops,
           program.operands.size(), program.scalar_count);
  for (const TileArgs::Operand& o : args.operands)
    QS_CHECK(o.strides.size() == loops, InternalError, "tile launch: {} strides for {} loops",
             o.strides.size(), loops);
  collapse();
  if (empty) return;
  shape_block();
  make_walks();
  find_picks();
  make_steps();
  plan_pieces();
}

void TileState::collapse() {
  const int kept = code->kept_loops, reduced = code->reduced_loops;
  const int operands = static_cast<int>(code->operands.size());
  walks.resize(operands);
  for (int o = 0; o < operands; ++o) {
    walks[o].memory = code->operands[o].kind == TileOperand::memory;
    walks[o].item =
        walks[o].memory ? static_cast<int16_t>(size_of(code->operands[o].dtype)) : int16_t{1};
  }
  kept_points = reduced_points = 1;
  const auto stride_of = [&](int o, int loop) {
    const TileDomain d = code->operands[o].domain;
    const bool unused = loop >= kept ? d != TileDomain::full : d == TileDomain::uniform;
    return unused ? 0 : args.operands[o].strides[loop] * walks[o].item;
  };
  const auto take = [&](int first, int last, int64_t& points) {
    const size_t start = extent.size();
    for (int loop = first; loop < last; ++loop) {
      const int64_t n = args.extents[loop];
      QS_CHECK(n >= 0, InternalError, "tile launch: extent {}", n);
      points *= n;
      if (n == 1) continue;
      bool merge = extent.size() > start;
      for (int o = 0; o < operands && merge; ++o)
        merge = walks[o].stride.back() == stride_of(o, loop) * n;
      if (merge) {
        extent.back() *= n;
        for (int o = 0; o < operands; ++o) walks[o].stride.back() = stride_of(o, loop);
      } else {
        extent.push_back(n);
        for (int o = 0; o < operands; ++o) walks[o].stride.push_back(stride_of(o, loop));
      }
    }
    if (extent.size() == start) {
      extent.push_back(1);
      for (Walk& w : walks) w.stride.push_back(0);
    }
    return static_cast<int>(extent.size() - start);
  };
  kept_loops = take(0, kept, kept_points);
  if (code->mode != TileMode::map) reduced_loops = take(kept, kept + reduced, reduced_points);
  empty = kept_points == 0;
}

/// The operands, one or two, when all that happens to them is that folds read them: a block of them
/// needs no temporaries, so that it may be long.
bool TileState::folded_operands(int16_t* out) const {
  const CodePhase& p = code->phases[0];
  if (safe || code->phases.size() > 1 || !p.expands.empty()) return false;
  size_t loads = 0;
  for (const CodeInstr& i : p.body) {
    if (i.kind == CodeInstr::fold) continue;  // of what was loaded: there is nothing else
    if (i.kind != CodeInstr::load || loads == 2 || code->registers[i.dst].operand < 0) return false;
    out[loads++] = code->registers[i.dst].operand;
  }
  return loads > 0;
}

/// Whether the rows of a row fold lie one behind the other in memory.
bool TileState::rows_adjoin(int16_t operand) const {
  const Walk& w = walks[operand];
  int64_t expected = w.item;
  for (int l = kept_loops + reduced_loops - 1; l >= kept_loops - 1; --l) {
    if (extent[l] > 1 && w.stride[l] != expected) return false;
    expected *= extent[l];
  }
  return true;
}

void TileState::shape_block() {
  const int64_t most = code->tile;
  const int last = kept_loops - 1, innermost = kept_loops + reduced_loops - 1;
  int16_t folded[2] = {-1, -1};
  const bool only_folded = code->mode != TileMode::map && folded_operands(folded);
  const auto all_folded = [&](auto&& holds) {
    return only_folded && holds(folded[0]) && (folded[1] < 0 || holds(folded[1]));
  };
  step.resize(static_cast<size_t>(kept_loops), 1);
  const auto set = [&](int dim, int loop, int64_t size) {
    block_loop[dim] = static_cast<int8_t>(loop);
    block[dim] = size;
  };
  // Fills dims [.., dim] from `loop` inwards-out with whole loops while they fit.
  const auto fill = [&](int dim, int loop, int lowest, int64_t room) {
    for (; dim >= 0 && loop >= lowest; --dim, --loop) {
      const int64_t n = std::max<int64_t>(extent[loop], 1);
      const int64_t part = even_part(n, std::max<int64_t>(room, 1));
      set(dim, loop, part);
      if (part < n || room / part < 2) break;
      room /= part;
    }
  };
  if (code->mode == TileMode::map) {
    bool transposed = false;
    if (last >= 1 && extent[last] >= 16 && extent[last - 1] >= 16)
      for (const Walk& w : walks)
        transposed |= w.memory && std::abs(w.stride[last - 1]) == w.item &&
                      std::abs(w.stride[last]) > 4 * w.item;
    if (transposed) {
      const int64_t bytes = kept_points * 4;  // longer runs of the output when caches are no help
      set(2, last, std::min(extent[last], bytes > k_far_bytes ? 2 * k_transposed : k_transposed));
      set(1, last - 1, std::min(extent[last - 1], most / block[2]));
    } else {
      fill(2, last, 0, most);
    }
  } else if (code->mode == TileMode::row) {
    whole_rows = reduced_points <= most && reduced_points > 0 && reduced_loops <= 2;
    if (whole_rows) {
      set(2, kept_loops + reduced_loops - 1, extent[kept_loops + reduced_loops - 1]);
      if (reduced_loops == 2) set(1, kept_loops, extent[kept_loops]);
      const bool adjoin = all_folded([&](int16_t o) { return rows_adjoin(o); });
      const int64_t points = adjoin ? k_long_tile : most;
      set(0, last, even_part(extent[last], std::min(points / reduced_points, k_tile)));
    } else {
      const bool stay = extent[innermost] >= k_fold_chunk / 4 && all_folded([&](int16_t o) {
                          return walks[o].stride[innermost] == walks[o].item;
                        });
      if (stay) std::copy(folded, folded + 2, in_memory);
      fill(2, innermost, stay ? innermost : kept_loops, stay ? k_fold_chunk : most);
    }
  } else {
    int64_t columns = most;
    if (code->has_persist)
      columns =
          std::clamp<int64_t>(65536 / std::max<int64_t>(reduced_points, 1) / 64 * 64, 64, most);
    // Columns do not meet, so how many a unit has is free: few enough that threads find units.
    columns = std::min(columns, std::max(k_least_columns, divide_up(kept_points, k_least_units)));
    set(2, last, even_part(extent[last], columns));
    const bool stay = all_folded([&](int16_t o) {
      return walks[o].stride[last] == walks[o].item &&
             walks[o].stride[innermost] % walks[o].item == 0;
    });
    if (stay) std::copy(folded, folded + 2, in_memory);
    fill(1, innermost, stay ? innermost : kept_loops, stay ? k_fold_rows : most / block[2]);
  }
  for (int d = 0; d < k_block_dims; ++d)
    if (block_loop[d] >= 0 && block_loop[d] < kept_loops) step[block_loop[d]] = block[d];
  unit_kept = code->mode == TileMode::map      ? block[0] * block[1] * block[2]
              : code->mode == TileMode::column ? block[2]
              : whole_rows                     ? block[0]
                                               : 1;
  units = 1;
  for (int l = 0; l < kept_loops; ++l) units *= divide_up(extent[l], step[l]);
}

void TileState::make_walks() {
  for (Walk& w : walks) {
    for (int d = 0; d < k_block_dims; ++d)
      w.block[d] = block_loop[d] < 0 ? 0 : w.stride[block_loop[d]];
    w.kept = w.stride[kept_loops - 1];
    w.high = w.item;
    for (size_t l = 0; l < extent.size(); ++l) {
      const int64_t reach = w.stride[l] * std::max<int64_t>(extent[l] - 1, 0);
      (reach < 0 ? w.low : w.high) += reach;
    }
    bool dense = w.memory, splat = true, whole = true;
    int64_t expected = w.item;
    for (int d = k_block_dims - 1; d >= 0; --d) {
      if (block[d] > 1) {
        // An outer dimension continues an inner one only when that is never cut short.
        dense = dense && whole && w.block[d] == expected;
        splat = splat && w.block[d] == 0;
      }
      whole = whole && (block_loop[d] < 0 || block[d] == extent[block_loop[d]]);
      expected *= block[d];
    }
    w.full_reach = dense ? Reach::dense : splat ? Reach::splat : Reach::strided;
    w.kept_reach = w.memory && (unit_kept == 1 || w.kept == w.item) ? Reach::dense : Reach::strided;
  }
}

/// Which folds of what is the identity but for one place a row need that place only.
void TileState::find_picks() {
  for (const CodeFold& f : code->folds) {
    picks_.push_back(0);
    if (f.pick.counter < 0) continue;
    const ScalarRef& s = args.scalars[static_cast<size_t>(f.pick.otherwise)];
    const double otherwise =
        is_integral(s.dtype) ? static_cast<double>(s.value) : std::bit_cast<double>(s.value);
    const bool identity =
        s.word < 0 && (f.pick.max ? otherwise == -std::numeric_limits<double>::infinity()
                                  : std::bit_cast<uint64_t>(otherwise) == 0);
    const bool along = reduced_points == 1 ||
                       (reduced_loops == 1 && walks[f.pick.counter].stride[kept_loops] == 1);
    picks_.back() = identity && along;
  }
}

bool TileState::in_place(const CodeRegister& r) const {
  if (safe || r.operand < 0 || r.domain == TileDomain::uniform) return false;
  if (lies_in_memory(r.operand) && r.domain == TileDomain::full) return true;
  const Walk& w = walks[r.operand];
  return (r.domain == TileDomain::full ? w.full_reach : w.kept_reach) == Reach::dense;
}

/// Whether an output should go around the caches: large, and not the memory of an input, whose
/// lines are in the cache already.
bool TileState::streams(uint32_t operand) const {
  const PtrRef& to = args.operands[operand].ptr;
  if (kept_points * reduced_points * walks[operand].item < k_stream_bytes) return false;
  for (size_t o = 0; o < walks.size(); ++o) {
    const PtrRef& from = args.operands[o].ptr;
    if (walks[o].memory && !code->written[o] && from.base == to.base && from.bytes == to.bytes &&
        from.offset_word == to.offset_word)
      return false;
  }
  return !code->loaded[operand];
}

void TileState::make_section(const std::vector<CodeInstr>& list, TileDomain domain, Section& out) {
  out.steps.reserve(list.size());
  const auto computes = [](const CodeInstr& i) {
    return i.kind == CodeInstr::op || i.kind == CodeInstr::chain;
  };
  // Outputs that the defining op can write by itself.
  std::vector<int16_t> direct(list.size(), -1);
  if (domain == TileDomain::full && !safe) {
    for (size_t at = 0; at < list.size(); ++at) {
      const CodeInstr& i = list[at];
      if (i.kind != CodeInstr::store || i.convert[0] || i.convert[1]) continue;
      const Walk& w = walks[i.aux];
      const CodeRegister& r = code->registers[i.src[0]];
      if (w.full_reach != Reach::dense || r.persist || in_memory_[i.src[0]] || in_place(r))
        continue;
      if (streams(i.aux)) continue;
      for (size_t def = 0; def < at; ++def)
        if (computes(list[def]) && list[def].dst == i.src[0]) {
          direct[at] = static_cast<int16_t>(i.aux);
          in_memory_[i.src[0]] = 1;
          out.binds.push_back({i.src[0], static_cast<int16_t>(i.aux), 0, w.item});
        }
    }
  }
  for (size_t at = 0; at < list.size(); ++at) {
    const CodeInstr& i = list[at];
    if (i.only_for >= 0 && picks_[static_cast<size_t>(i.only_for)]) continue;
    TileStep s;
    s.kind = i.kind;
    s.fn = i.fn;
    s.dst = i.dst;
    s.aux = i.aux;
    s.error = &error;
    if (i.kind == CodeInstr::load || i.kind == CodeInstr::store) {
      if (direct[at] >= 0) continue;
      const int reg = i.kind == CodeInstr::load ? i.dst : i.src[0];
      const CodeRegister& r = code->registers[reg];
      const Walk& w = walks[i.aux];
      if (i.kind == CodeInstr::load && in_place(r)) {
        in_memory_[reg] = 1;
        const bool far = w.high - w.low > k_far_bytes && !lies_in_memory(r.operand);
        out.binds.push_back({i.dst, r.operand, 0, w.item, far});
        continue;
      }
      Transfer t;
      t.code = &i;
      t.operand = static_cast<uint16_t>(i.aux);
      t.log2_item = static_cast<uint8_t>(log2_of(w.memory ? w.item : 8));
      t.log2_register = static_cast<uint8_t>(log2_of(r.size));
      t.reach = domain == TileDomain::full ? w.full_reach : w.kept_reach;
      t.splat_register = i.kind == CodeInstr::load && splat_[reg];
      const bool rows =
          t.reach == Reach::strided && w.block[2] == w.item && block[2] * w.item >= 64;
      t.stream = i.kind == CodeInstr::store && (t.reach == Reach::dense || rows) && !i.convert[0] &&
                 !i.convert[1] && domain == TileDomain::full && streams(i.aux);
      s.aux = static_cast<uint32_t>(transfers.size());
      s.src[0] = i.src[0];
      transfers.push_back(t);
    } else {
      bool memory = in_memory_[i.dst];
      for (int k = 0; k < i.arity; ++k) memory |= in_memory_[i.src[k]];
      if (i.kind == CodeInstr::chain) make_chain(i, s);
      for (int k = 0; i.kind != CodeInstr::chain && k < i.arity; ++k) {
        s.src[k] = i.src[k];
        const CodeRegister& r = code->registers[i.src[k]];
        s.stride[k] = splat_[i.src[k]] ? 0 : static_cast<int32_t>(k_group * r.size);
      }
      s.padded = !memory && !i.exact;
      if (i.kind == CodeInstr::fold && picks_[i.aux]) {
        const CodeFold::Pick& pick = code->folds[i.aux].pick;
        s.kind = CodeInstr::pick;
        s.src[0] = pick.value;
        s.src[1] = pick.index;
        s.stride[0] = splat_[pick.value] ? 0 : 1;
      }
    }
    out.steps.push_back(s);
  }
}

/// A chain's functions, now that it is known which sources are splats.
void TileState::make_chain(const CodeInstr& i, TileStep& s) {
  const IsaTable& isa = *code->isa;
  const RegClass r = i.middle;
  const auto form = [&](size_t reg) {
    const int f = splat_[reg] ? int{form_splat} : chain_form(r, code->registers[reg].dtype);
    QS_ASSERT(f >= 0, "a chain reads what it cannot");
    return static_cast<size_t>(f);
  };
  const auto item = [&](size_t reg) { return splat_[reg] ? 0 : code->registers[reg].size; };
  s.aux = static_cast<uint32_t>(chain_parts.size());
  s.src[0] = static_cast<uint16_t>(i.links.size());
  s.src[1] = r;
  chain_parts.push_back({isa.chain_load[r][form(i.src[0])], i.src[0], item(i.src[0])});
  for (const CodeLink& l : i.links) {
    if (l.prim == Prim::round_to) {
      chain_parts.push_back({isa.round_link[static_cast<int>(l.to)], -1, 0});
    } else if (l.source < 0) {
      chain_parts.push_back({isa.link[static_cast<int>(l.prim)][r][0][0], -1, 0});
    } else {
      const uint16_t other = i.src[l.source];
      chain_parts.push_back(
          {isa.link[static_cast<int>(l.prim)][r][l.swapped][form(other)], other, item(other)});
    }
  }
  const CodeRegister& to = code->registers[i.dst];
  const size_t lies = i.aux ? size_t{form_exact} : form(i.dst);
  chain_parts.push_back({isa.chain_store[r][lies], -1, to.size});
}

void TileState::make_steps() {
  const auto& registers = code->registers;
  splat_.assign(registers.size(), 0);
  in_memory_.assign(registers.size(), 0);
  std::vector<uint8_t> read_whole(registers.size(), 0);  // by stores and folds
  for (const CodePhase& p : code->phases)
    for (const CodeInstr& i : p.body)
      if (i.kind == CodeInstr::store || i.kind == CodeInstr::fold)
        for (int k = 0; k < i.arity; ++k) read_whole[i.src[k]] = 1;
  for (size_t r = 0; r < registers.size(); ++r)
    splat_[r] = registers[r].domain == TileDomain::uniform;
  const bool narrow = code->mode == TileMode::row && unit_kept == 1;
  for (const CodePhase& p : code->phases) {
    for (const CodeExpand& e : p.expands) splat_[e.full] = narrow;
    for (const CodeInstr& i : p.body)
      if (i.kind == CodeInstr::load && !registers[i.dst].persist && !read_whole[i.dst] &&
          reg_class(registers[i.dst].dtype) != r_count && walks[i.aux].full_reach == Reach::splat &&
          !in_place(registers[i.dst]))
        splat_[i.dst] = 1;
  }
  size_t count = code->uniform.size();
  for (const CodePhase& p : code->phases)
    count += p.prologue.size() + p.body.size() + p.tail.size();
  transfers.reserve(count);
  phases.resize(code->phases.size());
  make_section(code->uniform, TileDomain::uniform, uniform);
  // Layout of a worker's memory: pointers and addresses, temporaries, slots, persist buffers.
  pointer_bytes = (registers.size() + 2 * walks.size()) * 8;
  pointer_bytes = (pointer_bytes + 63) / 64 * 64;
  scratch_bytes = pointer_bytes + 2 * (k_tile * 8 + 128) + code->slot_bytes;
  std::vector<Bind> persists;
  for (size_t r = 0; r < registers.size(); ++r) {
    if (!registers[r].persist || in_place(registers[r])) continue;
    const int64_t points = code->mode == TileMode::column ? reduced_points * block[2]
                           : whole_rows                   ? k_tile
                                                          : reduced_points;
    persists.push_back(
        {static_cast<uint16_t>(r), -1, static_cast<int64_t>(scratch_bytes), registers[r].size});
    scratch_bytes +=
        static_cast<size_t>((points + 2 * k_group) * registers[r].size + 191) / 64 * 64;
  }
  for (size_t p = 0; p < phases.size(); ++p) {
    const CodePhase& from = code->phases[p];
    LaunchPhase& to = phases[p];
    make_section(from.prologue, TileDomain::kept, to.prologue);
    make_section(from.body, TileDomain::full, to.body);
    make_section(from.tail, TileDomain::kept, to.tail);
    to.body.binds.insert(to.body.binds.end(), persists.begin(), persists.end());
    for (size_t r = 0; r < registers.size(); ++r)  // loaded in place by an earlier phase
      if (registers[r].persist && in_memory_[r] && p > 0)
        to.body.binds.push_back(
            {static_cast<uint16_t>(r), registers[r].operand, 0, registers[r].size});
    for (const CodeInstr& i : from.body)
      if (i.kind == CodeInstr::fold) to.folds.push_back(static_cast<uint16_t>(i.aux));
  }
  if (!safe) find_hazards();
  if (code->mode == TileMode::map && kept_loops == 1 && phases[0].body.steps.size() == 1 &&
      moves_whole_blocks()) {
    block[2] = step[0] = unit_kept = even_part(extent[0], k_long_tile);
    units = divide_up(extent[0], step[0]);
  }
}

/// Whether the only transfer, if any, copies a block as it lies: nothing of it is in temporaries.
bool TileState::moves_whole_blocks() const {
  if (transfers.empty()) return true;
  const Transfer& t = transfers[0];
  return transfers.size() == 1 && t.code->kind == CodeInstr::store && t.reach == Reach::dense &&
         !t.code->convert[0] && !t.code->convert[1] && in_memory_[t.code->src[0]];
}

void TileState::find_hazards() {
  struct Access {
    const CodeInstr* code;
    int from, until;  // positions: a load reads in [from, until], a store writes in [from, until]
  };
  std::vector<Access> loads, stores;
  const auto collect = [&](const std::vector<CodeInstr>& list) {
    for (const CodeInstr& i : list) {
      if (i.kind == CodeInstr::load && walks[i.aux].memory) {
        const CodeRegister& r = code->registers[i.dst];
        loads.push_back(
            {&i, i.position, in_place(r) ? std::max(r.last_use, i.position) : i.position});
      } else if (i.kind == CodeInstr::store) {
        const CodeRegister& r = code->registers[i.src[0]];
        const bool early = in_memory_[i.src[0]] && !in_place(r);
        stores.push_back({&i, early ? r.define : i.position, i.position});
      }
    }
  };
  for (const CodePhase& p : code->phases) {
    collect(p.prologue);
    collect(p.body);
    collect(p.tail);
  }
  const auto add = [&](const CodeInstr* a, const CodeInstr* b) {
    if (a->aux == b->aux && a->kind == b->kind) return;
    hazards.push_back({static_cast<uint16_t>(a->aux), static_cast<uint16_t>(b->aux)});
  };
  for (const Access& l : loads)
    for (const Access& s : stores)
      if (l.from < s.until && l.until > s.from) add(l.code, s.code);
  for (size_t a = 0; a < stores.size(); ++a)
    for (size_t b = a + 1; b < stores.size(); ++b)
      if (stores[b].from < stores[a].until || stores[a].from < stores[a].until)
        add(stores[a].code, stores[b].code);
}

void TileState::plan_pieces() {
  const double lanes = code->isa->cost;
  const int64_t points = reduced_points;
  double body = 0, tail = 0, steps = 0;
  for (const CodePhase& p : code->phases) {
    for (const CodeInstr& i : p.body) {
      const int fold = i.kind == CodeInstr::fold ? static_cast<int>(i.aux) : i.only_for;
      if (fold >= 0 && picks_[static_cast<size_t>(fold)]) continue;
      const bool strided = (i.kind == CodeInstr::load || i.kind == CodeInstr::store) &&
                           walks[i.aux].full_reach == Reach::strided &&
                           !lies_in_memory(static_cast<int>(i.aux));
      if (strided && walks[i.aux].block[2] == walks[i.aux].item)  // rows, each copied at once
        body += std::min(k_strided_ns, i.cost * lanes + k_row_ns / static_cast<double>(block[2]));
      else
        body += strided ? k_strided_ns : i.cost * (i.exact ? 1 : lanes);
      ++steps;
    }
    for (const CodeInstr& i : p.prologue) tail += i.cost;
    for (const CodeInstr& i : p.tail) tail += i.cost;
  }
  const double unit_points = static_cast<double>(unit_kept) * static_cast<double>(points);
  const double blocks =
      std::max(1.0, unit_points / static_cast<double>(block[0] * block[1] * block[2]));
  unit_ns = body * unit_points + tail * static_cast<double>(unit_kept) + 6 * steps * blocks + 20;
  total_ns = unit_ns * static_cast<double>(units);
  unit_chunk = units;
  if (total_ns > k_small_ns)
    unit_chunk = std::clamp<int64_t>(static_cast<int64_t>(k_piece_ns / unit_ns), 1, units);
  chunks = divide_up(units, unit_chunk);

  fold_chunk = code->mode == TileMode::column ? k_fold_rows : k_fold_chunk;
  fold_chunks = divide_up(reduced_points, fold_chunk);
  split_chunks = fold_chunks;
  bool may_split = code->mode != TileMode::map && code->phases.size() == 1 && !code->has_persist &&
                   !whole_rows && units < 16 && fold_chunks > 1 && total_ns > 2.0 * k_piece_ns;
  for (const CodeInstr& i : code->phases[0].prologue) may_split &= i.kind != CodeInstr::store;
  if (!may_split) return;
  split = true;
  splits = std::clamp<int64_t>(static_cast<int64_t>(unit_ns / k_piece_ns), 1, fold_chunks);
  split_chunks = divide_up(fold_chunks, splits);
  splits = divide_up(fold_chunks, split_chunks);
  unit_chunk = 1;
  chunks = units * splits;
  for (const CodeFold& f : code->folds) {
    partial_offset.push_back(partial_bytes);
    partial_bytes += (fold_chunks * unit_kept * (f.size + (f.arg ? 8 : 0)) + 63) / 64 * 64;
  }
}

// ---- the public face

TileKernel::TileKernel(const TileProgram& program)
    : code_(std::make_unique<const TileCode>(build_tile_code(program))) {}
TileKernel::~TileKernel() = default;

TileArgs TileKernel::part(const TileArgs& args, const Dims& start, const Dims& extents) const {
  TileArgs out = args;
  out.extents = extents;
  for (size_t o = 0; o < out.operands.size(); ++o) {
    TileArgs::Operand& operand = out.operands[o];
    const TileOperand& kind = code_->operands[o];
    int64_t offset = 0;
    for (size_t l = 0; l < start.size(); ++l) offset += start[l] * operand.strides[l];
    if (kind.kind == TileOperand::memory) {
      operand.ptr.bytes += offset * static_cast<int64_t>(size_of(kind.dtype));
    } else {
      operand.base.value += static_cast<uint64_t>(offset);  // a counter that starts at a constant
    }
  }
  return out;
}

TileLaunch::TileLaunch(const TileKernel& kernel, const TileArgs& args, int32_t tag)
    : state_(std::make_unique<TileState>()) {
  state_->plan(kernel.code(), args, tag, false);
}
TileLaunch::TileLaunch(TileLaunch&&) noexcept = default;
TileLaunch& TileLaunch::operator=(TileLaunch&&) noexcept = default;
TileLaunch::~TileLaunch() = default;

int64_t TileLaunch::chunks() const { return state_->empty ? 0 : state_->chunks; }
int64_t TileLaunch::finish_chunks() const {
  return state_->split && !state_->empty ? state_->units : 0;
}
double TileLaunch::estimated_ns() const { return state_->total_ns; }

}  // namespace qs::driver::cpu
