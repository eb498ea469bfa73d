// f16 and bf16 as 16 bits, converted to and from f32: round to nearest even, NaN stays NaN.
// Bit for bit what F16C instructions give (a signalling NaN becomes quiet); pure integer
// arithmetic.
#pragma once
#include <cstdint>
#include <cstring>

namespace qs {

// Forced inline: files built for different instruction sets must not share one emitted copy.
#define QS_HALF_INLINE [[gnu::always_inline]] inline

QS_HALF_INLINE uint32_t f32_bits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

QS_HALF_INLINE float f32_from_bits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

QS_HALF_INLINE float f16_to_f32(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16;
  const uint32_t exponent = (h >> 10) & 0x1f, mantissa = h & 0x3ffu;
  if (exponent == 0x1f)
    return f32_from_bits(sign | 0x7f800000u | (mantissa << 13) | (mantissa ? 0x400000u : 0u));
  if (exponent != 0) return f32_from_bits(sign | ((exponent + 112) << 23) | (mantissa << 13));
  // Denormal or zero: mantissa * 2^-24 is exact in f32.
  const uint32_t magnitude = f32_bits(static_cast<float>(mantissa) * 0x1p-24f);
  return f32_from_bits(sign | magnitude);
}

QS_HALF_INLINE uint16_t f32_to_f16(float x) {
  const uint32_t bits = f32_bits(x);
  const uint32_t sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  uint32_t result;
  if (magnitude > 0x7f800000u) {
    result = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
  } else if (magnitude >= 0x477ff000u) {  // rounds to 65536 or more
    result = 0x7c00u;
  } else if (magnitude >= 0x38800000u) {  // normal in f16
    const uint32_t odd = (magnitude >> 13) & 1u;
    result = (magnitude - 0x38000000u + 0xfffu + odd) >> 13;
  } else {
    // Adding 0.5 puts the units of 2^-24 at the bottom of the mantissa, rounded to nearest even.
    result = f32_bits(f32_from_bits(magnitude) + 0.5f) - 0x3f000000u;
  }
  return static_cast<uint16_t>(sign | result);
}

QS_HALF_INLINE float bf16_to_f32(uint16_t h) {
  return f32_from_bits(static_cast<uint32_t>(h) << 16);
}

QS_HALF_INLINE uint16_t f32_to_bf16(float x) {
  const uint32_t bits = f32_bits(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

#undef QS_HALF_INLINE

}  // namespace qs
