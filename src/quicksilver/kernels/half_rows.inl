// The rows of half_rows.h. Included once per instruction set.
#include <cstring>

#include "quicksilver/core/half.h"
#include "quicksilver/kernels/half_rows.h"
#if defined(__F16C__)
#include <immintrin.h>
#endif

namespace qs::kernels {
namespace {

template <bool bf16>
float widened(uint16_t x) {
  return bf16 ? bf16_to_f32(x) : f16_to_f32(x);
}

template <bool bf16>
void widen(float* to, const uint16_t* from, int64_t n) {
  int64_t i = 0;
#if defined(__F16C__)
  for (; !bf16 && i + 8 <= n; i += 8)
    _mm256_storeu_ps(
        to + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i))));
#endif
  for (; i < n; ++i) to[i] = widened<bf16>(from[i]);
}

template <bool bf16>
void narrow(uint16_t* to, const float* from, int64_t n) {
  int64_t i = 0;
#if defined(__F16C__)
  for (; !bf16 && i + 8 <= n; i += 8)
    _mm_storeu_si128(
        reinterpret_cast<__m128i*>(to + i),
        _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#endif
  for (; i < n; ++i) to[i] = bf16 ? f32_to_bf16(from[i]) : f32_to_f16(from[i]);
}

template <bool bf16>
void add(float* sum, const uint16_t* from, int64_t n) {
  int64_t i = 0;
#if defined(__F16C__)
  for (; !bf16 && i + 8 <= n; i += 8)
    _mm256_storeu_ps(
        sum + i,
        _mm256_add_ps(
            _mm256_loadu_ps(sum + i),
            _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i)))));
#endif
  for (; i < n; ++i) sum[i] += widened<bf16>(from[i]);
}

}  // namespace
}  // namespace qs::kernels

#define QS_HALF_ROWS \
  { {widen<false>, narrow<false>, add<false>}, {widen<true>, narrow<true>, add<true>} }
