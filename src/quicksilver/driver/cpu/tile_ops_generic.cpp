// The kernels for one instruction set, and their table.
#include "quicksilver/driver/cpu/tile_ops.inl"

namespace qs::driver::cpu {
namespace isa_generic {
void fill_math(IsaTable&);
void fill_conversions(IsaTable&);
void fill_folds(IsaTable&);
}  // namespace isa_generic

const IsaTable& generic_table() {
  static const IsaTable table = [] {
    IsaTable t;
    t.cost = 8;
    isa_generic::fill_ops(t);
    isa_generic::fill_math(t);
    isa_generic::fill_conversions(t);
    isa_generic::fill_folds(t);
    return t;
  }();
  return table;
}

}  // namespace qs::driver::cpu
