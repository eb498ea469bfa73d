// Any processor, and the choice between the instruction sets.
#include "quicksilver/core/cpu_info.h"
#include "quicksilver/kernels/scan_rows.inl"

namespace qs::kernels {

const ScanTable k_scan_rows_generic = scan_table();

const ScanTable& scan_rows() {
#if defined(__x86_64__)
  switch (cpu_info().isa) {
    case Isa::avx512:
      return k_scan_rows_avx512;
    case Isa::avx2:
      return k_scan_rows_avx2;
    default:
      break;
  }
#endif
  return k_scan_rows_generic;
}

}  // namespace qs::kernels
