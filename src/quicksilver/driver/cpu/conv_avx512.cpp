// Convolutions with AVX-512.
#include <immintrin.h>

#include <type_traits>

#include "quicksilver/core/half.h"
#include "quicksilver/driver/cpu/conv_table.h"

#define QS_CONV_NAMESPACE conv_avx512

namespace qs::driver::cpu::QS_CONV_NAMESPACE {
namespace {
constexpr int k_vector_bytes = 64;

/// a * b + c, rounded once where T has fractions.
template <class V>
[[gnu::always_inline]] inline V fused(V a, V b, V c) {
  using T = std::remove_cvref_t<decltype(a[0])>;
  if constexpr (std::is_same_v<T, float>)
    return (V)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
  else if constexpr (std::is_same_v<T, double>)
    return (V)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
  else
    return a * b + c;
}
}  // namespace
}  // namespace qs::driver::cpu::QS_CONV_NAMESPACE

#include "quicksilver/driver/cpu/conv_block.inl"

namespace qs::driver::cpu {

const ConvTable& conv_avx512_table() {
  static const ConvTable table = conv_avx512::make_table();
  return table;
}

}  // namespace qs::driver::cpu
