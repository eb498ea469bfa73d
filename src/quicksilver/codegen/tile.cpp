// How a nest becomes a tile program.
//
// 1. Loops are arranged (loops.h).
// 2. Phases. A fold of something that depends on n earlier folds (in a chain) runs in phase n; kept
//    values are computed in the tail behind the last fold they depend on.
// 3. Values that a later phase needs again are held for the row (`persist`) when they were costly
//    and the row is short, else computed again there. Loads are simply repeated.
#include "quicksilver/codegen/tile.h"

#include <algorithm>

#include "quicksilver/codegen/loops.h"
#include "quicksilver/core/error.h"

namespace qs::codegen {
namespace {

using namespace driver;

constexpr int k_persist_cost = 4;

class Lowering {
 public:
  Lowering(const LoopNest& nest, Loops loops) : nest_(nest), loops_(std::move(loops)) {}

  TileKernel run() {
    schedule();
    emit();
    fill_args();
    return std::move(out_);
  }

 private:
  // ---- phases

  const Expr& expr(int32_t e) const { return nest_.exprs[static_cast<size_t>(e)]; }
  bool is_full(int32_t e) const { return expr(e).domain == TileDomain::full; }

  /// level: for full values the first phase that can compute them, for kept ones the phase in whose
  /// tail they are known; -1 for those that depend on no fold.
  void schedule() {
    const size_t n = nest_.exprs.size();
    used_.assign(n, false);
    for (const Store& s : nest_.stores) used_[static_cast<size_t>(s.expr)] = true;
    for (size_t i = n; i-- > 0;)
      for (int k = 0; used_[i] && k < nest_.exprs[i].sources; ++k)
        used_[static_cast<size_t>(nest_.exprs[i].src[k])] = true;
    level_.assign(n, -1);
    cost_.assign(n, 0);
    phases_ = 1;
    for (size_t i = 0; i < n; ++i) {
      const Expr& e = nest_.exprs[i];
      int level = e.domain == TileDomain::full ? 0 : -1;
      int cost = e.kind == Expr::op ? cost_of(e.prim) : e.kind == Expr::load ? 1 : 0;
      for (int k = 0; k < e.sources; ++k) {
        const size_t s = static_cast<size_t>(e.src[k]);
        const bool crosses = !is_full(e.src[k]) && e.domain == TileDomain::full && level_[s] >= 0;
        level = std::max(level, level_[s] + (crosses ? 1 : 0));
        if (is_full(e.src[k])) cost += cost_[s];
      }
      level_[i] = level;
      cost_[i] = std::min(cost, 1000);
      if (used_[i]) phases_ = std::max(phases_, level + 1);
    }
    for (const Store& s : nest_.stores)
      if (!s.after_loads || !is_kept_store(s)) phases_ = std::max(phases_, value_phase(s) + 1);
    QS_ASSERT(phases_ <= 31);
    decide_held(n);
  }

  /// In which phases each full value is wanted, from the uses back, and which are held for the row.
  void decide_held(size_t n) {
    wanted_.assign(n, 0);
    persist_.assign(n, false);
    for (const Store& s : nest_.stores)
      if (is_full(s.expr)) wanted_[static_cast<size_t>(s.expr)] |= 1u << store_phase(s);
    const bool can_hold = holds_rows(nest_.axes, loops_);
    for (size_t i = n; i-- > 0;) {
      if (!used_[i]) continue;
      const Expr& e = nest_.exprs[i];
      uint32_t phases = e.kind == Expr::fold ? 1u << level_[i] : wanted_[i];
      if (!phases || (e.domain != TileDomain::full && e.kind != Expr::fold)) continue;
      if (e.kind == Expr::op && can_hold && (phases & (phases - 1)) && cost_[i] >= k_persist_cost) {
        persist_[i] = true;
        phases &= ~phases + 1;
      }
      for (int k = 0; k < e.sources; ++k)
        if (is_full(e.src[k])) wanted_[static_cast<size_t>(e.src[k])] |= phases;
    }
  }

  bool is_kept_store(const Store& s) const {
    return nest_.axes.mode != TileMode::map && nest_.accesses[s.access].domain != TileDomain::full;
  }
  /// The phase in which a store's value is known: kept values reach full stores one phase later.
  int value_phase(const Store& s) const {
    const int level = level_[static_cast<size_t>(s.expr)];
    if (is_full(s.expr) || is_kept_store(s)) return std::max(level, 0);
    return level + 1;
  }
  int store_phase(const Store& s) const { return s.after_loads ? phases_ - 1 : value_phase(s); }

  // ---- instructions

  uint16_t add_register(const Expr& e, bool persist) {
    TileRegister r;
    r.dtype = e.dtype;
    r.domain = e.domain;
    r.persist = persist;
    out_.program.registers.push_back(r);
    QS_ASSERT(out_.program.registers.size() < 60000);
    return static_cast<uint16_t>(out_.program.registers.size() - 1);
  }

  uint32_t operand(uint32_t access) {
    if (operand_of_[access] >= 0) return static_cast<uint32_t>(operand_of_[access]);
    const Access& a = nest_.accesses[access];
    TileOperand o;
    o.kind = a.affine ? TileOperand::affine : TileOperand::memory;
    o.dtype = a.dtype;
    o.domain = a.domain;
    out_.program.operands.push_back(o);
    out_.access.push_back(access);
    operand_of_[access] = static_cast<int32_t>(out_.program.operands.size() - 1);
    return static_cast<uint32_t>(operand_of_[access]);
  }

  /// Register of `e` for `phase`, emitting what it lacks. Full values live for one phase unless
  /// they persist; all others are made once: uniform ones at the very start, behind them kept ones
  /// that depend on no fold (any phase may want them), other kept ones behind their last fold.
  uint16_t get(int32_t e, int phase, bool tail) {
    const size_t i = static_cast<size_t>(e);
    const Expr& x = nest_.exprs[i];
    const bool full = x.domain == TileDomain::full;
    if (made_[i] >= 0 && (!full || persist_[i] || made_in_[i] == phase))
      return static_cast<uint16_t>(made_[i]);
    if (x.domain == TileDomain::kept && x.kind != Expr::fold && level_[i] >= 0 &&
        level_[i] < phase) {
      phase = level_[i];
      tail = true;
    }
    TileInstr t;
    for (int k = 0; k < x.sources; ++k) t.src[k] = get(x.src[k], phase, tail);
    t.dst = add_register(x, persist_[i]);
    switch (x.kind) {
      case Expr::load:
        t.kind = TileInstr::load;
        t.aux = operand(x.aux);
        break;
      case Expr::scalar:
        t.kind = TileInstr::scalar;
        t.aux = x.aux;
        break;
      case Expr::op:
        t.kind = TileInstr::op;
        t.prim = x.prim;
        if (x.prim == Prim::round_to) t.aux = x.aux;
        break;
      case Expr::fold:
        t.kind = TileInstr::fold;
        t.fold_op = x.fold_op;
        break;
    }
    auto& first = out_.program.phases[0].body;
    if (x.domain == TileDomain::uniform) {
      first.insert(first.begin() + uniforms_++, t);
    } else if (x.domain == TileDomain::kept && level_[i] < 0) {
      first.insert(first.begin() + uniforms_ + early_++, t);
    } else {
      section(phase, tail).push_back(t);
    }
    made_[i] = t.dst;
    made_in_[i] = phase;
    return t.dst;
  }

  std::vector<TileInstr>& section(int phase, bool tail) {
    TilePhase& p = out_.program.phases[static_cast<size_t>(phase)];
    return tail ? p.tail : p.body;
  }

  void put_store(const Store& s, int phase, bool tail) {
    TileInstr t;
    t.kind = TileInstr::store;
    t.src[0] = get(s.expr, phase, tail);
    t.aux = operand(s.access);
    section(phase, tail).push_back(t);
  }

  void emit() {
    const size_t n = nest_.exprs.size();
    made_.assign(n, -1);
    made_in_.assign(n, -1);
    operand_of_.assign(nest_.accesses.size(), -1);
    TileProgram& p = out_.program;
    p.mode = nest_.axes.mode;
    p.kept_loops = loops_.kept;
    p.reduced_loops = loops_.reduced();
    p.scalar_count = static_cast<int>(nest_.scalars.size());
    p.phases.resize(static_cast<size_t>(phases_));
    for (int phase = 0; phase < phases_; ++phase) {
      emit_body(phase);
      if (p.mode != TileMode::map) emit_stores(phase, true);
    }
  }

  /// Folds and full stores in order of recording.
  void emit_body(int phase) {
    size_t next = 0;
    std::vector<int32_t> folds;
    for (size_t i = 0; i < nest_.exprs.size(); ++i)
      if (used_[i] && nest_.exprs[i].kind == Expr::fold && level_[i] == phase)
        folds.push_back(static_cast<int32_t>(i));
    for (const Store& s : nest_.stores) {
      if (s.after_loads || is_kept_store(s) || store_phase(s) != phase) continue;
      for (; next < folds.size() && folds[next] < s.expr; ++next) get(folds[next], phase, false);
      put_store(s, phase, false);
    }
    for (; next < folds.size(); ++next) get(folds[next], phase, false);
    emit_late(phase, false);
  }

  void emit_stores(int phase, bool tail) {
    for (const Store& s : nest_.stores)
      if (!s.after_loads && is_kept_store(s) && store_phase(s) == phase) put_store(s, phase, tail);
    emit_late(phase, tail);
  }

  /// Stores into memory that is read here too: first all their values, then the stores.
  void emit_late(int phase, bool tail) {
    if (phase != phases_ - 1) return;
    for (const Store& s : nest_.stores)
      if (s.after_loads && is_kept_store(s) == tail) get(s.expr, phase, tail);
    for (const Store& s : nest_.stores)
      if (s.after_loads && is_kept_store(s) == tail) put_store(s, phase, tail);
  }

  void fill_args() {
    TileArgs& args = out_.args;
    args.extents = loops_.extents;
    args.scalars = nest_.scalars;
    for (uint32_t access : out_.access) {
      TileArgs::Operand o;
      o.strides = loops_.strides[access];
      o.base.dtype = DType::i64;
      args.operands.push_back(std::move(o));
    }
  }

  const LoopNest& nest_;
  const Loops loops_;
  TileKernel out_;
  int phases_ = 1;
  std::vector<int> level_, cost_;
  std::vector<uint32_t> wanted_;
  std::vector<bool> persist_, used_;
  std::vector<int32_t> made_, made_in_, operand_of_;
  std::ptrdiff_t uniforms_ = 0, early_ = 0;  // at the head of phase 0
};

}  // namespace

int cost_of(Prim p) {
  switch (p) {
    case Prim::copy:
      return 0;
    case Prim::exp:
    case Prim::log:
    case Prim::sin:
    case Prim::cos:
    case Prim::tanh:
    case Prim::sigmoid:
    case Prim::erf:
    case Prim::ndtr:
      return 8;
    case Prim::div:
    case Prim::sqrt:
    case Prim::rsqrt:
    case Prim::reciprocal:
      return 4;
    case Prim::philox:
      return 40;
    case Prim::pow:
    case Prim::tan:
    case Prim::log1p:
    case Prim::expm1:
    case Prim::exp2:
    case Prim::log2:
    case Prim::log10:
    case Prim::sinh:
    case Prim::cosh:
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
    case Prim::fmod:
    case Prim::rem:
    case Prim::floor_div:
      return 25;
    default:
      return 1;
  }
}

TileKernel lower_to_tile(const LoopNest& nest) {
  Loops loops;
  arrange(nest, loops);
  return Lowering(nest, std::move(loops)).run();
}

bool lower_to_tile(const LoopNest& nest, const Dims& frame, TileKernel& out) {
  Loops loops;
  if (!arrange(nest, frame, loops)) return false;
  out = Lowering(nest, std::move(loops)).run();
  return true;
}

}  // namespace qs::codegen
