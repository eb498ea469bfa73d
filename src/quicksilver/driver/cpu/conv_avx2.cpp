// Convolutions with AVX2.
#include <immintrin.h>

#include <type_traits>

#include "quicksilver/core/half.h"
#include "quicksilver/driver/cpu/conv_table.h"

#define QS_CONV_NAMESPACE conv_avx2

namespace qs::driver::cpu::QS_CONV_NAMESPACE {
namespace {
constexpr int k_vector_bytes = 32;

/// a * b + c, rounded once where T has fractions.
template <class V>
[[gnu::always_inline]] inline V fused(V a, V b, V c) {
  using T = std::remove_cvref_t<decltype(a[0])>;
  if constexpr (std::is_same_v<T, float>)
    return (V)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
  else if constexpr (std::is_same_v<T, double>)
    return (V)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
  else
    return a * b + c;
}
}  // namespace
}  // namespace qs::driver::cpu::QS_CONV_NAMESPACE

#include "quicksilver/driver/cpu/conv_block.inl"

namespace qs::driver::cpu {

const ConvTable& conv_avx2_table() {
  static const ConvTable table = conv_avx2::make_table();
  return table;
}

}  // namespace qs::driver::cpu
