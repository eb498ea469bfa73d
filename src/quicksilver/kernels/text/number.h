// Text part: numbers of any dtype in memory, as `real`: f64 where the device has it, else f32.
//
// dtypes are numbered as in core/dtype.h: 0 bool, 1 u8, 2 i8, 3 i16, 4 i32, 5 i64, 6 u16, 7 u32, 8
// u64, 9 f16, 10 bf16, 11 f32, 12 f64, 13 c64, 14 c128.

#if QS_HAS_F64
typedef f64 real;
#else
typedef f32 real;
QS_FUNCTION f32 log1p(f32 x) {
  const f32 u = 1 + x;  // log(u) corrected for what was lost in u
  return u == 1 ? x : log(u) * x / (u - 1);
}
/// Of x >= 1: Stirling's series from 8 on.
QS_FUNCTION f32 lgamma(f32 x) {
  f32 product = 1;
  for (; x < 8; x += 1) product *= x;
  const f32 y = 1 / (x * x);
  return (x - 0.5f) * log(x) - x + 0.918938533f +
         (0.0833333333f - y * (0.00277777778f - y * 0.000793650794f)) / x - log(product);
}
#endif

// f16 and bf16 as core/half.h has them: to nearest even, NaN stays NaN.
QS_FUNCTION f32 f32_of_f16(u16 h) {
  const u32 sign = (u32)(h & 0x8000) << 16, exponent = h >> 10 & 0x1f, mantissa = h & 0x3ff;
  if (exponent == 0x1f)
    return qs_f32(sign | 0x7f800000 | mantissa << 13 | (mantissa ? 0x400000 : 0));
  if (exponent != 0) return qs_f32(sign | (exponent + 112) << 23 | mantissa << 13);
  return qs_f32(sign | qs_bits((f32)mantissa * 5.9604644775390625e-8f));  // units of 2^-24
}
QS_FUNCTION u16 f16_of_f32(f32 x) {
  const u32 bits = qs_bits(x), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  u32 result = 0;
  if (magnitude > 0x7f800000)
    result = 0x7e00 | (magnitude >> 13 & 0x3ff);
  else if (magnitude >= 0x477ff000)
    result = 0x7c00;
  else if (magnitude >= 0x38800000)
    result = (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13;
  else
    result = qs_bits(qs_f32(magnitude) + 0.5f) - 0x3f000000;
  return (u16)(sign | result);
}
QS_FUNCTION f32 f32_of_bf16(u16 h) { return qs_f32((u32)h << 16); }
QS_FUNCTION u16 bf16_of_f32(f32 x) {
  const u32 bits = qs_bits(x);
  if ((bits & 0x7fffffff) > 0x7f800000) return (u16)(bits >> 16 | 0x40);
  return (u16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/// A double of the launch's words.
#if QS_HAS_F64
QS_FUNCTION real real_word(u64 bits) { return qs_f64(bits); }
#else
QS_FUNCTION real real_word(u64 bits) {
  const u32 sign = (u32)(bits >> 32) & 0x80000000;
  const i32 exponent = (i32)(bits >> 52 & 0x7ff) - 1023;
  const u64 mantissa = bits & 0xfffffffffffff;
  if (exponent == 1024) return qs_f32(sign | 0x7f800000 | (mantissa ? 0x400000 : 0));
  if (exponent < -150) return qs_f32(sign);
  // The significand with all its bits, then the bits to lose, to nearest even.
  const u64 whole = mantissa | (u64)1 << 52;
  const i32 lose = exponent < -126 ? 29 + (-126 - exponent) : 29;
  const u64 kept = whole >> lose, lost = whole & (((u64)1 << lose) - 1), tie = (u64)1 << (lose - 1);
  const u32 rounded = (u32)kept + (lost > tie || (lost == tie && (kept & 1)) ? 1 : 0);
  // A carry out of the significand goes into the exponent, where it belongs.
  const u32 magnitude = exponent < -126 ? rounded : (u32)(exponent + 126) * 0x800000u + rounded;
  return qs_f32(sign | (exponent > 127 || magnitude > 0x7f800000 ? 0x7f800000 : magnitude));
}
#endif

QS_FUNCTION real load_real(QS_DEVICE const u8* base, i64 dtype, i64 at) {
  switch (dtype) {
    case 0:
    case 1:
      return (real)base[at];
    case 2:
      return (real)((QS_DEVICE const i8*)base)[at];
    case 3:
      return (real)((QS_DEVICE const i16*)base)[at];
    case 4:
      return (real)((QS_DEVICE const i32*)base)[at];
    case 5:
      return (real)((QS_DEVICE const i64*)base)[at];
    case 6:
      return (real)((QS_DEVICE const u16*)base)[at];
    case 7:
      return (real)((QS_DEVICE const u32*)base)[at];
    case 8:
      return (real)((QS_DEVICE const u64*)base)[at];
    case 9:
      return (real)f32_of_f16(((QS_DEVICE const u16*)base)[at]);
    case 10:
      return (real)f32_of_bf16(((QS_DEVICE const u16*)base)[at]);
    case 11:
      return (real)((QS_DEVICE const f32*)base)[at];
    case 13:
      return (real)((QS_DEVICE const f32*)base)[2 * at];
#if QS_HAS_F64
    case 12:
      return ((QS_DEVICE const f64*)base)[at];
    case 14:
      return ((QS_DEVICE const f64*)base)[2 * at];
#endif
  }
  return 0;
}

QS_FUNCTION void store_real(QS_DEVICE u8* base, i64 dtype, i64 at, real x) {
  switch (dtype) {
    case 0:
      base[at] = x != 0;
      break;
    case 1:
      base[at] = (u8)x;
      break;
    case 2:
      ((QS_DEVICE i8*)base)[at] = (i8)x;
      break;
    case 3:
      ((QS_DEVICE i16*)base)[at] = (i16)x;
      break;
    case 4:
      ((QS_DEVICE i32*)base)[at] = (i32)x;
      break;
    case 5:
      ((QS_DEVICE i64*)base)[at] = (i64)x;
      break;
    case 6:
      ((QS_DEVICE u16*)base)[at] = (u16)x;
      break;
    case 7:
      ((QS_DEVICE u32*)base)[at] = (u32)x;
      break;
    case 8:
      ((QS_DEVICE u64*)base)[at] = (u64)x;
      break;
    case 9:
      ((QS_DEVICE u16*)base)[at] = f16_of_f32((f32)x);
      break;
    case 10:
      ((QS_DEVICE u16*)base)[at] = bf16_of_f32((f32)x);
      break;
    case 11:
      ((QS_DEVICE f32*)base)[at] = (f32)x;
      break;
#if QS_HAS_F64
    case 12:
      ((QS_DEVICE f64*)base)[at] = x;
      break;
#endif
  }
}
