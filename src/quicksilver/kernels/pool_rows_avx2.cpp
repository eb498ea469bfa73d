#include "quicksilver/kernels/pool_rows.inl"

namespace qs::kernels {
const PoolRows k_pool_rows_avx2 = {tap_max, max_1x2, max_2x2, mean_2x2, add, add_scaled, pairs};
}  // namespace qs::kernels
