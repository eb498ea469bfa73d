#include "quicksilver/kernels/scan_rows.inl"

namespace qs::kernels {
const ScanTable k_scan_rows_avx512 = scan_table();
}  // namespace qs::kernels
