// Folds that read halves where they lie, and sums that make the products they add: no block of
// temporaries between, so that a fold of what lies in memory may go over it in long blocks. The
// values and their order are those of the instructions apart.
#include <algorithm>

#include "quicksilver/driver/cpu/tile_build.h"

namespace qs::driver::cpu {
namespace {

class FoldJoiner {
 public:
  explicit FoldJoiner(TileCode& code) : code_(code), uses_(count_uses(code)) {
    for (const CodePhase& p : code_.phases)
      for (const CodeExpand& e : p.expands) spread_.push_back(e.full);
  }

  void run() {
    for (CodePhase& p : code_.phases) {
      read_halves(p.body);
      multiply(p.body);
    }
  }

 private:
  const CodeRegister& reg(int r) const { return code_.registers[static_cast<size_t>(r)]; }

  /// A value for each point of the block: never a splat.
  bool is_block(uint16_t r) const {
    return reg(r).domain == TileDomain::full &&
           std::find(spread_.begin(), spread_.end(), r) == spread_.end();
  }

  /// What is loaded from f16 or bf16 for folds alone stays as it is.
  void read_halves(std::vector<CodeInstr>& list) {
    for (CodeInstr& load : list) {
      const TileOperand& from = code_.operands[load.aux];
      if (load.kind != CodeInstr::load || load.convert[1] || reg(load.dst).persist ||
          from.kind != TileOperand::memory || reg(load.dst).domain != TileDomain::full ||
          (from.dtype != DType::f16 && from.dtype != DType::bf16))
        continue;
      const FoldTable* tables = code_.isa->fold_halves[from.dtype == DType::bf16];
      std::vector<CodeInstr*> folds;
      for (CodeInstr& i : list)
        if (i.kind == CodeInstr::fold && i.src[0] == load.dst &&
            tables[static_cast<int>(i.fold_op)].rows)
          folds.push_back(&i);
      if (folds.empty() || static_cast<int>(folds.size()) != uses_[load.dst]) continue;
      CodeRegister& r = code_.registers[load.dst];
      r.dtype = from.dtype;
      r.size = 2;
      r.operand = static_cast<int16_t>(load.aux);
      load.convert[0] = nullptr;
      for (CodeInstr* i : folds) {
        CodeFold& f = code_.folds[i->aux];
        f.item = 2;
        f.table = i->folds = &tables[static_cast<int>(i->fold_op)];
      }
    }
  }

  /// Sums of a product that nobody else reads.
  void multiply(std::vector<CodeInstr>& list) {
    for (size_t at = 0; at < list.size(); ++at) {
      CodeInstr& sum = list[at];
      if (sum.kind != CodeInstr::fold || sum.fold_op != qs::Fold::sum || uses_[sum.src[0]] != 1)
        continue;
      CodeFold& f = code_.folds[sum.aux];
      size_t made = 0;
      while (made < at && !(list[made].kind == CodeInstr::op && list[made].dst == sum.src[0]))
        ++made;
      if (made == at || f.pick.counter >= 0 || f.from > r_f64 || reg(sum.src[0]).persist) continue;
      const CodeInstr& product = list[made];
      const bool square = product.prim == Prim::square ||
                          (product.prim == Prim::mul && product.src[0] == product.src[1]);
      if (!square && product.prim != Prim::mul) continue;
      bool apart = true;  // from what is stored before the sum, which might lie where they do
      for (int k = 0; k < product.arity; ++k) apart = apart && is_block(product.src[k]);
      for (size_t i = made; i < at; ++i) apart = apart && list[i].kind != CodeInstr::store;
      if (!apart) continue;
      f.factors = square ? 1 : 2;
      f.table = sum.folds =
          square ? &code_.isa->sum_of_squares[f.from] : &code_.isa->sum_of_products[f.from];
      sum.arity = f.factors;
      for (int k = 0; k < sum.arity; ++k) sum.src[k] = product.src[k];
      sum.cost += 0.3f * product.cost;
      list.erase(list.begin() + static_cast<std::ptrdiff_t>(made));
      --at;
    }
  }

  TileCode& code_;
  std::vector<int> uses_;
  std::vector<uint16_t> spread_;  // kept values, seen by full instructions
};

}  // namespace

void join_folds(TileCode& code) { FoldJoiner(code).run(); }

}  // namespace qs::driver::cpu
