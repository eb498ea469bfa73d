// One instruction of several: what is rounded already is not rounded again, a comparison and the
// choice it decides become one, and instructions each of which hands its only result to the next
// become a pair or a chain, which goes over the block once and keeps what is handed on in
// registers. Every result is rounded as before, so that no bit changes.
//
// Example: relu(x * 2 + w) * 0.5 - w, five instructions that would read and write a block of 4 KiB
// five times, is one chain: for each strip of eight vectors, x is loaded, the five are applied, and
// the result is stored.
#include <algorithm>

#include "quicksilver/driver/cpu/tile_build.h"

namespace qs::driver::cpu {
namespace {

constexpr int k_least_links = 3;  // two are a pair: a function of its own, without steps between

class Joiner {
 public:
  explicit Joiner(TileCode& code) : code_(code) {}

  void run() {
    for (CodePhase& p : code_.phases) round_once(p.body);
    find_points(code_);
    join_folds(code_);
    for (CodePhase& p : code_.phases) join_selects(p.body);
    for (CodePhase& p : code_.phases) {
      join_chains(p.body);
      join_pairs(p.prologue);
      join_pairs(p.body);
      join_pairs(p.tail);
    }
    join_pairs(code_.uniform);
  }

 private:
  CodeRegister& reg(int r) { return code_.registers[static_cast<size_t>(r)]; }
  RegClass cls(int r) { return reg_class(reg(r).dtype); }

  static void drop(std::vector<CodeInstr>& list, const std::vector<bool>& gone) {
    size_t kept = 0;
    for (size_t at = 0; at < list.size(); ++at)
      if (!gone[at]) list[kept++] = list[at];
    list.resize(kept);
  }

  // ---- values that are rounded already

  /// Leaves out a round_to that changes nothing: of what was loaded in that dtype, or of what is
  /// only stored in it. What is loaded only to be stored again in its dtype is not converted.
  void round_once(std::vector<CodeInstr>& list) {
    const std::vector<int> uses = count_uses(code_);
    std::vector<int> maker(code_.registers.size(), -1);
    std::vector<uint16_t> same(code_.registers.size());
    for (size_t r = 0; r < same.size(); ++r) same[r] = static_cast<uint16_t>(r);
    std::vector<bool> gone(list.size(), false);
    const auto dtype_in_memory = [&](const CodeInstr& i) { return code_.operands[i.aux].dtype; };
    for (size_t at = 0; at < list.size(); ++at) {
      CodeInstr& i = list[at];
      for (int k = 0; k < i.arity; ++k) i.src[k] = same[i.src[k]];
      if (i.kind == CodeInstr::load || i.kind == CodeInstr::op) maker[i.dst] = static_cast<int>(at);
      const int from = i.arity == 1 ? maker[i.src[0]] : -1;
      if (from < 0 || reg(i.src[0]).persist) continue;
      const CodeInstr& source = list[from];
      if (i.kind == CodeInstr::op && i.prim == Prim::round_to && !reg(i.dst).persist) {
        gone[at] = source.kind == CodeInstr::load && !source.convert[1] &&
                   dtype_in_memory(source) == static_cast<DType>(i.aux);
        if (gone[at]) same[i.dst] = i.src[0];
      } else if (i.kind == CodeInstr::store && !i.convert[0] && source.kind == CodeInstr::op &&
                 source.prim == Prim::round_to && uses[i.src[0]] == 1 &&
                 static_cast<DType>(source.aux) == dtype_in_memory(i)) {
        i.src[0] = source.src[0];
        gone[from] = true;
      }
    }
    drop(list, gone);
    move_raw(list);
  }

  void move_raw(std::vector<CodeInstr>& list) {
    const std::vector<int> uses = count_uses(code_);
    for (CodeInstr& load : list) {
      if (load.kind != CodeInstr::load || !load.convert[0] || load.convert[1]) continue;
      const TileOperand& from = code_.operands[load.aux];
      if (from.kind != TileOperand::memory || reg(load.dst).persist) continue;
      std::vector<CodeInstr*> stores;
      for (CodeInstr& i : list)
        if (i.kind == CodeInstr::store && i.src[0] == load.dst && !i.convert[0] &&
            code_.operands[i.aux].dtype == from.dtype)
          stores.push_back(&i);
      if (stores.empty() || static_cast<int>(stores.size()) != uses[load.dst]) continue;
      CodeRegister& r = reg(load.dst);
      r.dtype = from.dtype;
      r.size = static_cast<uint8_t>(size_of(from.dtype));
      r.operand = static_cast<int16_t>(load.aux);
      load.convert[0] = nullptr;
      for (CodeInstr* i : stores) i->convert[1] = nullptr;
    }
  }

  // ---- selects

  /// A comparison whose only reader chooses between one of its sides and something else.
  void join_selects(std::vector<CodeInstr>& list) {
    const std::vector<int> uses = count_uses(code_);
    std::vector<int> maker(code_.registers.size(), -1);
    std::vector<bool> gone(list.size(), false);
    for (size_t at = 0; at < list.size(); ++at) {
      CodeInstr& where = list[at];
      if (where.kind != CodeInstr::op) continue;
      maker[where.dst] = static_cast<int>(at);
      const RegClass r = cls(where.dst);
      const int condition = where.src[0], made = maker[condition];
      if (where.prim != Prim::where || r > r_f64 || made < 0 || uses[condition] != 1 ||
          reg(condition).persist)
        continue;
      const CodeInstr& test = list[made];
      Prim prim = test.prim == Prim::isnan ? Prim::ne : test.prim;  // NaN is not even itself
      uint16_t x = test.src[0], y = test.src[test.arity - 1];
      if (prim < Prim::eq || prim > Prim::ge || cls(x) != r) continue;
      if (x != where.src[1] && x != where.src[2]) {
        std::swap(x, y);
        prim = turned(prim);
      }
      const bool swapped = x != where.src[1];
      if (swapped && x != where.src[2]) continue;
      const TileFn fn =
          code_.isa->select[r][static_cast<int>(prim) - static_cast<int>(Prim::eq)][swapped];
      if (!fn) continue;
      gone[made] = true;
      const uint16_t other = where.src[swapped ? 1 : 2];
      where.fn = fn;
      where.prim = Prim::count_;  // joined
      where.src[0] = x;
      where.src[1] = y;
      where.src[2] = other;
    }
    drop(list, gone);
  }
  /// The comparison that holds of (y, x) where `p` does of (x, y).
  static Prim turned(Prim p) {
    return p == Prim::lt   ? Prim::gt
           : p == Prim::gt ? Prim::lt
           : p == Prim::le ? Prim::ge
           : p == Prim::ge ? Prim::le
                           : p;
  }

  // ---- chains

  static bool compares(const CodeInstr& i) { return i.prim >= Prim::eq && i.prim <= Prim::ge; }
  /// What a chain with `i` in it computes in.
  RegClass chain_class(const CodeInstr& i) const {
    return compares(i) ? i.middle : reg_class(code_.registers[i.dst].dtype);
  }
  bool may_link(const CodeInstr& i) const {
    if (i.kind != CodeInstr::op || i.prim >= Prim::count_) return false;
    const RegClass r = chain_class(i);
    if (r >= k_chain_classes) return false;
    if (i.prim == Prim::round_to) return code_.isa->round_link[i.aux] != nullptr;
    return code_.isa->link[static_cast<int>(i.prim)][r][0][0] != nullptr;
  }
  /// What a chain on class `r` has to widen or narrow.
  bool is_narrow(RegClass r, DType d) const { return chain_form(r, d) >= form_narrow; }

  /// Loads that only chains will read are not widened before.
  void leave_narrow(std::vector<CodeInstr>& list) {
    const std::vector<int> uses = count_uses(code_);
    std::vector<int> links(code_.registers.size(), 0);
    for (const CodeInstr& i : list)
      for (int k = 0; may_link(i) && k < i.arity; ++k) ++links[i.src[k]];
    for (CodeInstr& i : list) {
      if (i.kind != CodeInstr::load || !i.convert[0] || i.convert[1]) continue;
      const TileOperand& from = code_.operands[i.aux];
      if (from.kind == TileOperand::memory && uses[i.dst] > 0 && links[i.dst] == uses[i.dst] &&
          !reg(i.dst).persist && is_narrow(i.middle, from.dtype))
        move_narrow(i);
    }
  }
  void move_narrow(CodeInstr& load) {
    const DType d = code_.operands[load.aux].dtype;
    CodeRegister& r = reg(load.dst);
    r.dtype = d;
    r.size = static_cast<uint8_t>(size_of(d));
    r.operand = static_cast<int16_t>(load.aux);
    load.convert[0] = nullptr;
  }
  void store_narrow(CodeInstr& store) {
    CodeRegister& r = reg(store.src[0]);
    r.dtype = code_.operands[store.aux].dtype;
    r.size = static_cast<uint8_t>(size_of(r.dtype));
    store.convert[1] = nullptr;
  }
  /// By register: the store that is all that reads it, in a narrower dtype.
  std::vector<CodeInstr*> narrow_stores(std::vector<CodeInstr>& list) {
    const std::vector<int> uses = count_uses(code_);
    std::vector<CodeInstr*> stores(code_.registers.size(), nullptr);
    for (CodeInstr& i : list)
      if (i.kind == CodeInstr::store && !i.convert[0] && i.convert[1] && uses[i.src[0]] == 1 &&
          !reg(i.src[0]).persist && is_narrow(i.middle, code_.operands[i.aux].dtype))
        stores[i.src[0]] = &i;
    return stores;
  }

  /// What is loaded in one dtype to be stored in another is a chain without instructions.
  void join_moves(std::vector<CodeInstr>& list) {
    const std::vector<int> uses = count_uses(code_);
    std::vector<int> maker(code_.registers.size(), -1);
    for (size_t at = 0; at < list.size(); ++at) {
      CodeInstr& store = list[at];
      if (store.kind == CodeInstr::load) maker[store.dst] = static_cast<int>(at);
      if (store.kind != CodeInstr::store || store.convert[0]) continue;
      const int v = store.src[0], made = maker[v];
      if (made < 0 || uses[v] != 1 || reg(v).persist) continue;
      CodeInstr& load = list[made];
      const RegClass r = cls(v);
      const DType from = code_.operands[load.aux].dtype, to = code_.operands[store.aux].dtype;
      if (load.convert[1] || code_.operands[load.aux].kind != TileOperand::memory) continue;
      if (load.middle != r || store.middle != r || chain_form(r, from) < 0 ||
          chain_form(r, to) < 0 || !(is_narrow(r, from) || is_narrow(r, to)))
        continue;
      CodeInstr chain;
      chain.kind = CodeInstr::chain;
      chain.middle = r;
      chain.dst = static_cast<uint16_t>(code_.registers.size());
      chain.src[chain.arity++] = static_cast<uint16_t>(v);
      chain.cost = 0.02f;
      CodeRegister moved = reg(v);
      moved.operand = -1;
      code_.registers.push_back(moved);
      maker.push_back(-1);
      store.src[0] = chain.dst;
      if (load.convert[0]) move_narrow(load);
      if (store.convert[1]) store_narrow(store);
      list.insert(list.begin() + static_cast<std::ptrdiff_t>(at), std::move(chain));
      ++at;
    }
  }

  /// Whether what `list[from]` computes may be computed as late as at `to`: a store between the two
  /// could overwrite what it reads where it lies.
  bool may_wait(const std::vector<CodeInstr>& list, size_t from, size_t to) const {
    bool in_memory = false, stores = false;
    for (int k = 0; k < list[from].arity; ++k)
      in_memory |= code_.registers[list[from].src[k]].operand >= 0;
    for (size_t at = from + 1; at < to; ++at) stores |= list[at].kind == CodeInstr::store;
    return !(in_memory && stores);
  }

  void join_chains(std::vector<CodeInstr>& list) {
    const std::vector<int> uses = count_uses(code_);
    std::vector<int> maker(code_.registers.size(), -1);
    std::vector<int> length(list.size(), 0), side(list.size(), -1);  // of the longest chain so far
    leave_narrow(list);
    for (size_t at = 0; at < list.size(); ++at) {
      const CodeInstr& i = list[at];
      if (i.kind == CodeInstr::op) maker[i.dst] = static_cast<int>(at);
      if (!may_link(i)) continue;
      length[at] = 1;
      for (int k = 0; k < i.arity; ++k) {
        const int v = i.src[k], made = maker[v];
        if (made < 0 || uses[v] != 1 || reg(v).persist || cls(v) != chain_class(i)) continue;
        if (length[made] < length[at] || length[made] + 1 > k_most_links) continue;
        if (!may_wait(list, static_cast<size_t>(made), at)) continue;
        length[at] = length[made] + 1;
        side[at] = k;
      }
    }
    std::vector<bool> gone(list.size(), false);
    const std::vector<CodeInstr*> stores = narrow_stores(list);
    for (size_t at = list.size(); at-- > 0;) {
      if (gone[at] || length[at] == 0) continue;
      const std::vector<size_t> parts = parts_of(list, at, maker, side);
      CodeInstr* store = stores[list[at].dst];
      if (length[at] < k_least_links && !store && !reads_narrow(list, parts)) continue;
      link(list, parts, side, gone);
      if (!store) continue;
      store_narrow(*store);
      list[at].aux = stays_exact(list[at]);
    }
    drop(list, gone);
    join_moves(list);
  }

  /// Whether the result of a chain is a bf16 before it is rounded: only its source's sign changed.
  bool stays_exact(const CodeInstr& chain) {
    if (reg(chain.dst).dtype != DType::bf16 || reg(chain.src[0]).dtype != DType::bf16) return false;
    return std::all_of(chain.links.begin(), chain.links.end(), [](const CodeLink& l) {
      return l.prim == Prim::neg || l.prim == Prim::abs;
    });
  }

  /// The instructions of the chain that ends at `end`, the first one first.
  static std::vector<size_t> parts_of(const std::vector<CodeInstr>& list, size_t end,
                                      const std::vector<int>& maker, const std::vector<int>& side) {
    std::vector<size_t> parts{end};
    while (side[parts.back()] >= 0)
      parts.push_back(static_cast<size_t>(maker[list[parts.back()].src[side[parts.back()]]]));
    std::reverse(parts.begin(), parts.end());
    return parts;
  }
  bool reads_narrow(const std::vector<CodeInstr>& list, const std::vector<size_t>& parts) {
    for (size_t at : parts)
      for (int k = 0; k < list[at].arity; ++k)
        if (is_narrow(chain_class(list[at]), reg(list[at].src[k]).dtype)) return true;
    return false;
  }

  /// Makes a chain of the instructions `parts`, in the place of the last.
  void link(std::vector<CodeInstr>& list, const std::vector<size_t>& parts,
            const std::vector<int>& side, std::vector<bool>& gone) {
    const size_t end = parts.back();
    CodeInstr chain;
    chain.kind = CodeInstr::chain;
    chain.middle = chain_class(list[end]);
    chain.dst = list[end].dst;
    chain.src[chain.arity++] = list[parts[0]].src[0];
    for (size_t at : parts) {
      const CodeInstr& i = list[at];
      CodeLink link;
      link.prim = i.prim;
      link.swapped = side[at] == 1;
      if (i.prim == Prim::round_to) link.to = static_cast<DType>(i.aux);
      if (i.arity == 2) {
        link.source = static_cast<int8_t>(chain.arity);
        chain.src[chain.arity++] = i.src[side[at] == 0 || side[at] < 0 ? 1 : 0];
      }
      chain.links.push_back(link);
      chain.cost += at == end ? i.cost : 0.5f * i.cost;
      gone[at] = true;
    }
    gone[end] = false;
    list[end] = std::move(chain);
  }

  // ---- pairs

  static int first_code(Prim p) {
    return p == Prim::add                        ? 0
           : p == Prim::sub                      ? 1
           : p == Prim::mul || p == Prim::square ? 2
           : p == Prim::maximum                  ? 3
                                                 : -1;
  }
  static int second_code(Prim p) {
    return p == Prim::add       ? 0
           : p == Prim::sub     ? 1
           : p == Prim::mul     ? 2
           : p == Prim::maximum ? 3
           : p == Prim::minimum ? 4
                                : -1;
  }

  /// add, sub, mul or maximum whose only reader is one of these or minimum: both in one pass, both
  /// rounded.
  void join_pairs(std::vector<CodeInstr>& list) {
    const std::vector<int> uses = count_uses(code_);
    std::vector<int> maker(code_.registers.size(), -1);
    std::vector<bool> gone(list.size(), false);
    for (size_t at = 0; at < list.size(); ++at) {
      CodeInstr& second = list[at];
      if (second.kind != CodeInstr::op) continue;
      maker[second.dst] = static_cast<int>(at);
      const RegClass r = cls(second.dst);
      const int code2 = second_code(second.prim);
      if (code2 < 0 || second.arity != 2 || r > r_f64 || second.src[0] == second.src[1]) continue;
      for (int side = 0; side < 2; ++side) {
        const int v = second.src[side], other = second.src[1 - side];
        if (maker[v] < 0 || uses[v] != 1 || reg(v).persist) continue;
        const CodeInstr& first = list[maker[v]];
        const int code1 = first_code(first.prim);
        if (code1 < 0 || first.arity > 2) continue;
        const TileFn fn = code_.isa->pair[r][code1 * 16 + code2][side];
        if (!fn) continue;
        gone[maker[v]] = true;
        const uint16_t x = first.src[0], y = first.prim == Prim::square ? x : first.src[1];
        second.fn = fn;
        second.prim = Prim::count_;  // a pair: not to be joined again
        second.arity = 3;
        second.src[0] = x;
        second.src[1] = y;
        second.src[2] = static_cast<uint16_t>(other);
        second.cost += 0.3f * first.cost;
        break;
      }
    }
    drop(list, gone);
  }

  TileCode& code_;
};

}  // namespace

void join_instructions(TileCode& code) { Joiner(code).run(); }

}  // namespace qs::driver::cpu
