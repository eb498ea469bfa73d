// Any processor, and the choice between the instruction sets.
#include "quicksilver/core/cpu_info.h"
#include "quicksilver/kernels/half_rows.inl"

namespace qs::kernels {

const HalfRows k_half_rows_generic[2] = QS_HALF_ROWS;

const HalfRows& half_rows(bool bf16) {
#if defined(__x86_64__)
  if (cpu_info().isa >= Isa::avx2) return k_half_rows_avx2[bf16];
#endif
  return k_half_rows_generic[bf16];
}

}  // namespace qs::kernels
