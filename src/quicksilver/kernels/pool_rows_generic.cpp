#include "quicksilver/core/cpu_info.h"
#include "quicksilver/kernels/pool_rows.inl"

namespace qs::kernels {

const PoolRows k_pool_rows_generic = {tap_max, max_1x2, max_2x2, mean_2x2, add, add_scaled, pairs};

const PoolRows& pool_rows() {
#if defined(__x86_64__)
  switch (cpu_info().isa) {
    case Isa::avx512:
      return k_pool_rows_avx512;
    case Isa::avx2:
      return k_pool_rows_avx2;
    default:
      break;
  }
#endif
  return k_pool_rows_generic;
}

}  // namespace qs::kernels
