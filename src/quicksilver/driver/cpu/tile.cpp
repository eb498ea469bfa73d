// The tile VM (essay to come).
#include "quicksilver/core/cpu_info.h"
#include "quicksilver/driver/cpu/tile_code.h"

namespace qs::driver::cpu {

const IsaTable& isa_table() {
  return cpu_info().isa == Isa::avx512 ? avx512_table() : avx2_table();
}

}  // namespace qs::driver::cpu
