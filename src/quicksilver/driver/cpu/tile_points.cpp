// One index a row, in steps that do not look at every element.
//
//   hit = counter == index       index has one value a row: a `point`, false everywhere but there
//   fold(where(hit, x, c))       c is the fold's identity: a `pick`, which folds x at that place
//   only
//
// This is how cross entropy and its spellings with gather, indexing or one-hot rows reach a kernel.
// Comparing each element's place costs 0.6 ns an element, more than the softmax beside it. Strides
// and scalars are known at the launch alone: a point copes with any, and the launch turns to a pick
// only where the counter runs along the row in steps of one and c is the identity
// (tile_launch.cpp); where and fold stay in the code for all others.
#include <algorithm>

#include "quicksilver/driver/cpu/tile_build.h"

namespace qs::driver::cpu {
namespace {

class Finder {
 public:
  explicit Finder(TileCode& code) : code_(code), made_(code.registers.size()) {}

  void run() {
    for (const CodeInstr& i : code_.uniform) made_[i.dst].by = i;
    for (CodePhase& p : code_.phases) {
      for (const CodeExpand& e : p.expands) made_[e.full].spread_from = e.kept;
      for (CodeInstr& i : p.body) {
        find_point(i);
        if (i.kind != CodeInstr::store && i.kind != CodeInstr::fold) made_[i.dst].by = i;
      }
    }
    if (!found_) return;
    uses_ = count_uses(code_);
    for (CodePhase& p : code_.phases) find_picks(p.body);
    drop_unread();
  }

 private:
  struct Made {
    CodeInstr by;          // the instruction that defines it
    int spread_from = -1;  // of a spread register: the kept one
  };

  bool is_counter(uint16_t r) const {
    const CodeInstr& i = made_[r].by;
    return i.kind == CodeInstr::load && i.dst == r && code_.registers[r].dtype == DType::i64 &&
           code_.operands[i.aux].kind == TileOperand::affine;
  }

  void find_point(CodeInstr& i) {
    if (i.kind != CodeInstr::op || i.prim != Prim::eq) return;
    for (int side = 0; side < 2; ++side) {
      const uint16_t counter = i.src[side], index = i.src[1 - side];
      if (!is_counter(counter) || made_[index].spread_from < 0) continue;
      i.kind = CodeInstr::point;
      i.aux = made_[counter].by.aux;
      i.arity = 1;
      i.src[0] = static_cast<uint16_t>(made_[index].spread_from);
      i.cost = 0.005f;
      found_ = true;
      return;
    }
  }

  void find_picks(std::vector<CodeInstr>& body) {
    for (size_t at = 0; at < body.size(); ++at) {
      CodeInstr& where = body[at];
      if (where.kind != CodeInstr::op || where.prim != Prim::where || uses_[where.dst] != 1)
        continue;
      const CodeInstr &hit = made_[where.src[0]].by, &otherwise = made_[where.src[2]].by;
      if (hit.kind != CodeInstr::point || hit.dst != where.src[0] ||
          otherwise.kind != CodeInstr::scalar || otherwise.dst != where.src[2] ||
          code_.registers[where.src[1]].domain != TileDomain::full)
        continue;
      const auto fold = std::find_if(body.begin(), body.end(), [&](const CodeInstr& f) {
        return f.kind == CodeInstr::fold && f.src[0] == where.dst;
      });
      if (fold == body.end()) continue;
      CodeFold& f = code_.folds[fold->aux];
      const bool known = fold->fold_op == qs::Fold::max || fold->fold_op == qs::Fold::sum;
      if (!known || f.from > r_f64) continue;
      f.pick = {static_cast<int32_t>(hit.aux), static_cast<int32_t>(otherwise.aux), where.src[1],
                hit.src[0], fold->fold_op == qs::Fold::max};
      where.only_for = static_cast<int32_t>(fold->aux);
      // Next to each other: nothing takes the place of x meanwhile.
      std::rotate(body.begin() + static_cast<std::ptrdiff_t>(at) + 1, fold, fold + 1);
    }
  }

  /// Counters and spread indices that only points have read.
  void drop_unread() {
    for (CodePhase& p : code_.phases) {
      std::erase_if(p.body, [&](const CodeInstr& i) {
        return i.kind == CodeInstr::load && uses_[i.dst] == 0 && is_counter(i.dst);
      });
      std::erase_if(p.expands, [&](const CodeExpand& e) { return uses_[e.full] == 0; });
    }
  }

  TileCode& code_;
  std::vector<Made> made_;  // by register
  std::vector<int> uses_;
  bool found_ = false;
};

}  // namespace

std::vector<int> count_uses(const TileCode& code) {
  std::vector<int> uses(code.registers.size(), 0);
  const auto count = [&](const std::vector<CodeInstr>& l) {
    for (const CodeInstr& i : l)
      for (int k = 0; k < i.arity; ++k) ++uses[i.src[k]];
  };
  count(code.uniform);
  for (const CodePhase& p : code.phases) {
    count(p.prologue);
    count(p.body);
    count(p.tail);
    for (const CodeExpand& e : p.expands) ++uses[e.kept];
  }
  return uses;
}

void find_points(TileCode& code) {
  if (code.mode == TileMode::row) Finder(code).run();
}

}  // namespace qs::driver::cpu
