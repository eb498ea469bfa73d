#include "quicksilver/kernels/half_rows.inl"

namespace qs::kernels {
const HalfRows k_half_rows_avx2[2] = QS_HALF_ROWS;
}  // namespace qs::kernels
