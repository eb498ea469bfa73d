// Lowers a TileProgram: checks it, sorts instructions into sections by domain, inserts the copies
// and broadcasts that the sections need, picks functions and assigns slots. (tile_join.cpp makes
// one instruction of several.)
#include "quicksilver/driver/cpu/tile_build.h"

#include <algorithm>

#include "quicksilver/core/error.h"

namespace qs::driver::cpu {
namespace {

#define CHECK(cond, ...) QS_CHECK(cond, InternalError, "tile program: " __VA_ARGS__)

constexpr TileDomain wider(TileDomain a, TileDomain b) { return a > b ? a : b; }

int log2_size(DType d) {
  return size_of(d) == 1 ? 0 : size_of(d) == 2 ? 1 : size_of(d) == 4 ? 2 : 3;
}

/// Measured order of magnitude, ns an element with AVX-512; `exact` functions are scalar.
float cost_of(Prim p, RegClass r, bool exact) {
  if (exact) return p == Prim::check_index ? 0.6f : 6.0f;
  float cost = r == r_f32 || r == r_i32 ? 0.025f : r == r_bool ? 0.01f : 0.05f;
  switch (p) {
    case Prim::exp:
    case Prim::log:
    case Prim::sin:
    case Prim::cos:
    case Prim::tanh:
    case Prim::sigmoid:
    case Prim::erf:
    case Prim::ndtr:
      cost *= 8;
      break;
    case Prim::div:
    case Prim::sqrt:
    case Prim::rsqrt:
    case Prim::reciprocal:
      cost *= 4;
      break;
    case Prim::pow:
    case Prim::tan:
    case Prim::log1p:
    case Prim::expm1:
    case Prim::exp2:
    case Prim::log2:
    case Prim::log10:
    case Prim::sinh:
    case Prim::cosh:
      cost *= 25;
      break;
    case Prim::philox:
      cost = 1.5f;
      break;
    default:
      break;
  }
  return cost;
}

/// Scalar loops and those that can raise: lanes beyond n would cost or lie.
bool is_exact(Prim p, RegClass r) {
  switch (p) {
    case Prim::trunc_div:
      return r != r_f32 && r != r_f64;
    case Prim::pow:
      return r != r_f32 && r != r_bool;
    case Prim::floor_div:
    case Prim::rem:
    case Prim::fmod:
    case Prim::check_index:
    case Prim::asin:
    case Prim::acos:
    case Prim::atan:
    case Prim::asinh:
    case Prim::acosh:
    case Prim::atanh:
    case Prim::erfc:
    case Prim::erfinv:
    case Prim::lgamma:
    case Prim::digamma:
    case Prim::i0:
    case Prim::i0e:
    case Prim::i1:
    case Prim::i1e:
    case Prim::k0e:
    case Prim::k1e:
    case Prim::j0:
    case Prim::j1:
    case Prim::y0:
    case Prim::y1:
    case Prim::erfcx:
    case Prim::ndtri:
    case Prim::zeta:
    case Prim::igamma:
    case Prim::igammac:
    case Prim::gcd:
    case Prim::atan2:
    case Prim::hypot:
    case Prim::nextafter:
      return true;
    default:
      return false;
  }
}

class Builder {
 public:
  explicit Builder(const TileProgram& program) : program_(program) {}

  TileCode build() {
    code_.isa = &isa_table();
    code_.mode = program_.mode;
    code_.kept_loops = program_.kept_loops;
    code_.reduced_loops = program_.reduced_loops;
    code_.scalar_count = program_.scalar_count;
    code_.operands = program_.operands;
    code_.written.assign(program_.operands.size(), false);
    code_.loaded = code_.written;
    const bool map = code_.mode == TileMode::map;
    CHECK(code_.kept_loops >= 0 && code_.reduced_loops >= 0 && code_.scalar_count >= 0,
          "negative count");
    CHECK(!map || code_.reduced_loops == 0, "a map has no reduced loops");
    CHECK(map || code_.reduced_loops >= 1, "a fold needs a reduced loop");
    CHECK(!map || program_.phases.size() == 1, "a map has one phase");
    CHECK(!program_.phases.empty(), "no phases");
    CHECK(program_.registers.size() < 30000 && program_.operands.size() < 30000, "too large");
    for (const TileOperand& o : program_.operands) {
      QS_CHECK(!is_complex(o.dtype), NotImplementedError,
               "{} tensors can be made, moved and read back, but nothing computes with them yet",
               name_of(o.dtype));
      CHECK(o.kind == TileOperand::memory || o.dtype == DType::i64, "affine operands are i64");
    }
    current_.assign(program_.registers.size(), -1);
    for (phase_ = 0; phase_ < static_cast<int>(program_.phases.size()); ++phase_) {
      code_.phases.emplace_back();
      const TilePhase& phase = program_.phases[phase_];
      CHECK(!map || phase.tail.empty(), "a map has no tail");
      in_tail_ = false;
      for (const TileInstr& i : phase.body) lower(i);
      in_tail_ = true;
      for (const TileInstr& i : phase.tail) lower(i);
    }
    join_instructions(code_);
    number_positions();
    assign_slots();
    return std::move(code_);
  }

 private:
  CodePhase& phase() { return code_.phases.back(); }
  CodeRegister& reg(int r) { return code_.registers[r]; }
  RegClass cls(int r) { return reg_class(reg(r).dtype); }

  TileFn cast_fn(RegClass from, RegClass to) {
    CHECK(from < r_count && to < r_count, "a cast that no register can hold");
    return code_.isa->cast[from][to];
  }

  TileDomain domain_of(TileDomain d) {
    return code_.mode == TileMode::map && d == TileDomain::kept ? TileDomain::full : d;
  }

  int add_register(DType dtype, TileDomain domain, bool persist = false) {
    CodeRegister r;
    r.dtype = dtype;
    r.domain = domain;
    r.persist = persist && domain == TileDomain::full && code_.mode != TileMode::map;
    r.size = static_cast<uint8_t>(size_of(dtype));
    code_.registers.push_back(r);
    home_.push_back(phase_);
    folded_in_.push_back(-1);
    shadow_.push_back(-1);
    CHECK(code_.registers.size() < 60000, "too many registers");
    return static_cast<int>(code_.registers.size()) - 1;
  }

  /// A program register as destination: every definition is a register of its own here.
  int define(uint16_t r) {
    CHECK(r < program_.registers.size(), "register {} of {}", r, program_.registers.size());
    const TileRegister& t = program_.registers[r];
    CHECK(reg_class(t.dtype) != r_count, "registers of dtype {} are not supported",
          name_of(t.dtype));
    return current_[r] = add_register(t.dtype, domain_of(t.domain), t.persist);
  }
  int use(uint16_t r) {
    CHECK(r < program_.registers.size() && current_[r] >= 0, "register {} is read before it is set",
          r);
    const int v = current_[r];
    CHECK(in_tail_ || folded_in_[v] != phase_, "register {} is a fold of this very phase", r);
    if (reg(v).domain == TileDomain::full && home_[v] != phase_)
      CHECK(reg(v).persist, "full register {} of an earlier phase does not persist", r);
    return v;
  }
  int operand(uint32_t index) {
    CHECK(index < code_.operands.size(), "operand {} of {}", index, code_.operands.size());
    return static_cast<int>(index);
  }

  /// Where an instruction that gives `domain` belongs.
  std::vector<CodeInstr>& section(TileDomain domain) {
    if (domain == TileDomain::uniform) return code_.uniform;
    if (domain == TileDomain::full) {
      CHECK(!in_tail_, "a full register in a tail");
      return phase().body;
    }
    return in_tail_ ? phase().tail : phase().prologue;
  }

  /// `r` as an instruction of `domain` reads it: kept registers are spread for full readers.
  int seen_from(int r, TileDomain domain) {
    CHECK(reg(r).domain <= domain, "a {} register in a narrower instruction",
          reg(r).domain == TileDomain::full ? "full" : "kept");
    if (reg(r).domain != TileDomain::kept || domain != TileDomain::full) return r;
    if (shadow_[r] < 0) {
      const int full = add_register(reg(r).dtype, TileDomain::full);
      home_[full] = -1;
      shadow_[r] = full;
      phase().expands.push_back({static_cast<uint16_t>(r), static_cast<uint16_t>(full)});
      is_shadow_.push_back(full);
    }
    return shadow_[r];
  }

  void emit(Prim prim, int dst, std::initializer_list<int> sources, TileFn fn, RegClass by,
            uint32_t aux = 0) {
    CodeInstr i;
    i.kind = CodeInstr::op;
    i.prim = prim;
    i.fn = fn;
    i.aux = aux;
    i.dst = static_cast<uint16_t>(dst);
    for (int s : sources) i.src[i.arity++] = static_cast<uint16_t>(seen_from(s, reg(dst).domain));
    i.middle = by;
    i.exact = is_exact(prim, by);
    i.cost = cost_of(prim, by, i.exact);
    section(reg(dst).domain).push_back(i);
  }

  /// `r` as a register of exactly this dtype and domain.
  int materialise(int r, DType dtype, TileDomain domain) {
    if (reg(r).dtype != dtype) {
      const int cast = add_register(dtype, reg(r).domain);
      emit(Prim::cast, cast, {r}, cast_fn(cls(r), reg_class(dtype)), cls(r));
      r = cast;
    }
    if (reg(r).domain == domain) return r;
    const int copy = add_register(dtype, domain);
    emit(Prim::copy, copy, {r}, code_.isa->copy[log2_size(dtype)], cls(r));
    return copy;
  }

  void lower(const TileInstr& t) {
    switch (t.kind) {
      case TileInstr::load:
        return lower_load(t);
      case TileInstr::store:
        return lower_store(t);
      case TileInstr::scalar:
        return lower_scalar(t);
      case TileInstr::op:
        return lower_op(t);
      case TileInstr::fold:
        return lower_fold(t);
    }
    CHECK(false, "unknown instruction kind {}", static_cast<int>(t.kind));
  }

  void lower_load(const TileInstr& t) {
    CodeInstr i;
    i.kind = CodeInstr::load;
    const int o = operand(t.aux);
    const TileOperand& from = code_.operands[o];
    code_.loaded[o] = true;
    i.aux = t.aux;
    i.dst = static_cast<uint16_t>(define(t.dst));
    CodeRegister& r = reg(i.dst);
    CHECK(domain_of(from.domain) <= r.domain, "operand {} is wider than its register", t.aux);
    i.middle = reg_class(compute_dtype(from.dtype));
    i.convert[0] = code_.isa->widen[static_cast<int>(from.dtype)];
    i.convert[1] = cast_fn(i.middle, reg_class(r.dtype));
    if (from.kind == TileOperand::memory && !i.convert[0] && !i.convert[1])
      r.operand = static_cast<int16_t>(o);
    i.cost = 0.02f + 0.01f * static_cast<float>(size_of(from.dtype));
    section(r.domain).push_back(i);
  }

  void lower_store(const TileInstr& t) {
    CodeInstr i;
    i.kind = CodeInstr::store;
    const int o = operand(t.aux);
    const TileOperand& to = code_.operands[o];
    CHECK(to.kind == TileOperand::memory, "a store into an affine operand");
    code_.written[o] = true;
    int r = use(t.src[0]);
    TileDomain domain = wider(domain_of(to.domain), reg(r).domain);
    if (domain == TileDomain::uniform)
      domain = code_.mode == TileMode::map ? TileDomain::full : TileDomain::kept;
    CHECK(domain_of(to.domain) == domain || to.domain == TileDomain::uniform,
          "a full register stored to kept operand {}", t.aux);
    r = materialise(r, reg(r).dtype, domain);
    i.middle = reg_class(compute_dtype(to.dtype));
    i.convert[0] = cast_fn(cls(r), i.middle);
    i.convert[1] = code_.isa->narrow[static_cast<int>(to.dtype)];
    i.aux = t.aux;
    i.arity = 1;
    i.src[0] = static_cast<uint16_t>(r);
    i.cost = 0.02f + 0.02f * static_cast<float>(size_of(to.dtype));
    section(domain).push_back(i);
  }

  void lower_scalar(const TileInstr& t) {
    CHECK(t.aux < static_cast<uint32_t>(code_.scalar_count), "scalar {} of {}", t.aux,
          code_.scalar_count);
    CodeInstr i;
    i.kind = CodeInstr::scalar;
    i.aux = t.aux;
    i.dst = static_cast<uint16_t>(define(t.dst));
    CHECK(reg(i.dst).domain == TileDomain::uniform, "a scalar into a register that is not uniform");
    code_.uniform.push_back(i);
  }

  void lower_op(const TileInstr& t) {
    const PrimInfo& prim = info(t.prim);
    CHECK(t.prim < Prim::count_ && prim.arity >= 1, "{} is no instruction", prim.name);
    int s[3] = {0, 0, 0};
    for (int k = 0; k < prim.arity; ++k) s[k] = use(t.src[k]);
    const int dst = define(t.dst);
    const RegClass to = cls(dst), by = t.prim == Prim::where ? cls(s[1]) : cls(s[0]);
    CHECK(by < r_count && to < r_count, "a register without a class");
    TileFn fn = code_.isa->op[static_cast<int>(t.prim)][by];
    if (t.prim == Prim::cast) {
      fn = cast_fn(by, to);
      if (!fn) fn = code_.isa->copy[log2_size(reg(dst).dtype)];
    } else if (t.prim == Prim::round_to) {
      CHECK(t.aux < static_cast<uint32_t>(k_dtype_count), "round_to dtype {}", t.aux);
      const DType d = static_cast<DType>(t.aux);
      CHECK(reg_class(compute_dtype(d)) == by && to == by, "round_to {} of a {} register",
            name_of(d), name_of(reg(s[0]).dtype));
      fn = code_.isa->round_to[t.aux];
      if (!fn) fn = code_.isa->copy[log2_size(reg(dst).dtype)];
    } else {
      for (int k = t.prim == Prim::where ? 2 : 1; k < prim.arity; ++k)
        CHECK(cls(s[k]) == by, "{} of {} and {}", prim.name, name_of(reg(s[0]).dtype),
              name_of(reg(s[k]).dtype));
      if (t.prim == Prim::where)
        CHECK(cls(s[0]) == r_bool, "where on a {} condition", name_of(reg(s[0]).dtype));
      CHECK(to == (prim.result == PrimInfo::boolean ? r_bool : by), "{} of {} into {}", prim.name,
            name_of(reg(s[0]).dtype), name_of(reg(dst).dtype));
    }
    CHECK(fn, "{} is not defined on {}", prim.name, name_of(reg(s[0]).dtype));
    if (prim.arity == 1) emit(t.prim, dst, {s[0]}, fn, by, t.aux);
    if (prim.arity == 2) emit(t.prim, dst, {s[0], s[1]}, fn, by, t.aux);
    if (prim.arity == 3) emit(t.prim, dst, {s[0], s[1], s[2]}, fn, by, t.aux);
  }

  void lower_fold(const TileInstr& t) {
    CHECK(code_.mode != TileMode::map && !in_tail_, "a fold outside a body of reduced loops");
    int s = use(t.src[0]);
    const int dst = define(t.dst);
    CHECK(reg(dst).domain == TileDomain::kept, "a fold into a register that is not kept");
    CodeFold f;
    f.arg = t.fold_op == qs::Fold::argmax || t.fold_op == qs::Fold::argmin;
    CHECK(!f.arg || reg(dst).dtype == DType::i64, "argmax and argmin give i64");
    s = materialise(s, f.arg ? reg(s).dtype : reg(dst).dtype, TileDomain::full);
    f.from = cls(s);
    f.size = f.item = reg(s).size;
    f.dst = static_cast<uint16_t>(dst);
    f.table = &code_.isa->fold[static_cast<int>(t.fold_op)][f.from];
    CHECK(f.table->rows, "fold {} of {}", k_fold_names[static_cast<int>(t.fold_op)],
          name_of(reg(s).dtype));
    CodeInstr i;
    i.kind = CodeInstr::fold;
    i.fold_op = t.fold_op;
    i.dst = static_cast<uint16_t>(dst);
    i.arity = 1;
    i.src[0] = static_cast<uint16_t>(s);
    i.aux = static_cast<uint32_t>(code_.folds.size());
    i.folds = f.table;
    i.cost = 0.03f * static_cast<float>(f.size) / 4 * (f.arg ? 3 : 1);
    folded_in_[dst] = phase_;
    code_.folds.push_back(f);
    phase().body.push_back(i);
  }

  // ---- positions and slots

  void number_positions() {
    int position = 0;
    const auto number = [&](std::vector<CodeInstr>& list) {
      for (CodeInstr& i : list) {
        i.position = ++position;
        for (int k = 0; k < i.arity; ++k) reg(i.src[k]).last_use = position;
        if (i.kind != CodeInstr::store) reg(i.dst).define = position;
      }
    };
    number(code_.uniform);
    for (CodePhase& p : code_.phases) {
      number(p.prologue);
      ++position;
      for (const CodeExpand& e : p.expands) {
        reg(e.kept).last_use = position;
        reg(e.full).define = position;
      }
      number(p.body);
      number(p.tail);
    }
  }

  int32_t place(size_t bytes) {
    const size_t at = code_.slot_bytes;
    code_.slot_bytes += (bytes + 63) / 64 * 64 + 128;  // off the 4 KiB grid: no false store hits
    return static_cast<int32_t>(at);
  }

  void assign_slots() {
    std::vector<bool> dedicated(code_.registers.size(), false);
    for (int r : is_shadow_) dedicated[r] = true;
    for (size_t r = 0; r < code_.registers.size(); ++r) {
      CodeRegister& g = reg(static_cast<int>(r));
      if (g.domain == TileDomain::uniform) {
        g.slot = static_cast<int32_t>(code_.splat_bytes);
        code_.splat_bytes += k_group * g.size;
      } else if (g.persist) {
        code_.has_persist = true;  // placed by the launch, which knows how long a row is
      } else if (g.domain == TileDomain::kept || dedicated[r]) {
        g.slot = place(k_tile * g.size);
      }
    }
    for (CodeFold& f : code_.folds) {
      if (code_.mode == TileMode::row) {
        f.state = place(sizeof(FoldLanes) + k_tile * 8);
      } else {
        f.state = place(3 * k_tile * 8);
      }
    }
    // Full registers live within one body: share slots by liveness, one pool for each size.
    const size_t base = code_.slot_bytes;
    size_t most = base;
    std::vector<bool> loaded(code_.registers.size(), false);
    std::vector<int32_t> later[9];
    for (CodePhase& p : code_.phases) {
      code_.slot_bytes = base;
      std::vector<int32_t> free_slots[9];
      for (CodeInstr& i : p.body) {
        for (int k = 0; k < i.arity; ++k) {
          CodeRegister& g = reg(i.src[k]);
          const bool local = g.domain == TileDomain::full && !g.persist && !dedicated[i.src[k]];
          const bool again = std::find(i.src, i.src + k, i.src[k]) != i.src + k;
          if (!local || g.last_use != i.position || again) continue;
          // A loaded register may turn out to be one splat group: its last reader must not write
          // it.
          (loaded[i.src[k]] ? later[g.size] : free_slots[g.size]).push_back(g.slot);
        }
        const auto release = [&] {
          for (int size = 0; size < 9; ++size) {
            free_slots[size].insert(free_slots[size].end(), later[size].begin(), later[size].end());
            later[size].clear();
          }
        };
        CodeRegister& g = reg(i.dst);
        if (i.kind == CodeInstr::store || i.kind == CodeInstr::fold || g.persist ||
            g.domain != TileDomain::full) {
          release();
          continue;
        }
        loaded[i.dst] = i.kind == CodeInstr::load;
        auto& pool = free_slots[g.size];
        if (pool.empty()) {
          g.slot = place(k_tile * g.size);
        } else {
          g.slot = pool.back();
          pool.pop_back();
        }
        release();
        if (g.last_use < 0) pool.push_back(g.slot);  // never read
      }
      most = std::max(most, code_.slot_bytes);
    }
    code_.slot_bytes = most;
    if (most - base > 40 * 1024) code_.tile = k_tile / 2;
  }

  const TileProgram& program_;
  TileCode code_;
  int phase_ = 0;
  bool in_tail_ = false;
  std::vector<int> current_;    // program register -> its present definition
  std::vector<int> home_;       // phase of the definition; -1: readable everywhere
  std::vector<int> folded_in_;  // phase that folds into it, or -1
  std::vector<int> shadow_;     // kept register -> its spread twin, or -1
  std::vector<int> is_shadow_;
};

#undef CHECK

}  // namespace

TileCode build_tile_code(const TileProgram& program) { return Builder(program).build(); }

}  // namespace qs::driver::cpu
