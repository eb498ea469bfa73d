// The kernels for one instruction set, and their table.
#include "quicksilver/driver/cpu/tile_ops.inl"

namespace qs::driver::cpu {
namespace isa_avx2 {
void fill_math(IsaTable&);
void fill_conversions(IsaTable&);
void fill_folds(IsaTable&);
}  // namespace isa_avx2

const IsaTable& avx2_table() {
  static const IsaTable table = [] {
    IsaTable t;
    t.cost = 2;
    isa_avx2::fill_ops(t);
    isa_avx2::fill_math(t);
    isa_avx2::fill_conversions(t);
    isa_avx2::fill_folds(t);
    return t;
  }();
  return table;
}

}  // namespace qs::driver::cpu
