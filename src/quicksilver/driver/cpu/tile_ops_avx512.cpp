// The kernels for one instruction set, and their table.
#include "quicksilver/driver/cpu/tile_ops.inl"

namespace qs::driver::cpu {
namespace isa_avx512 {
void fill_math(IsaTable&);
void fill_conversions(IsaTable&);
void fill_folds(IsaTable&);
}  // namespace isa_avx512

const IsaTable& avx512_table() {
  static const IsaTable table = [] {
    IsaTable t;
    t.cost = 1;
    isa_avx512::fill_ops(t);
    isa_avx512::fill_math(t);
    isa_avx512::fill_conversions(t);
    isa_avx512::fill_folds(t);
    return t;
  }();
  return table;
}

}  // namespace qs::driver::cpu
