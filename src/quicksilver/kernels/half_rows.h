// Rows of f16 and bf16 to and from f32, compiled for each instruction set; all give half.h's bits.
#pragma once
#include <cstdint>

namespace qs::kernels {

struct HalfRows {
  /// to[i] = from[i]
  void (*widen)(float* to, const uint16_t* from, int64_t n);
  /// to[i] = from[i], rounded to nearest even
  void (*narrow)(uint16_t* to, const float* from, int64_t n);
  /// sum[i] += from[i]
  void (*add)(float* sum, const uint16_t* from, int64_t n);
};

/// For the instruction set in use (core/cpu_info.h).
const HalfRows& half_rows(bool bf16);

extern const HalfRows k_half_rows_generic[2];  // f16, bf16
#if defined(__x86_64__)
extern const HalfRows k_half_rows_avx2[2];
#endif

}  // namespace qs::kernels
