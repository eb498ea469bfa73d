#include "quicksilver/core/dtype.h"

namespace qs {
namespace {

constexpr bool is_plain_unsigned(DType d) {
  return d == DType::u8 || d == DType::u16 || d == DType::u32 || d == DType::u64;
}

DType promote_integers(DType a, DType b) {
  if (a == DType::bool_) return b;
  if (b == DType::bool_) return a;
  const bool ua = is_plain_unsigned(a), ub = is_plain_unsigned(b);
  if (ua == ub) return size_of(a) >= size_of(b) ? a : b;
  // One signed, one unsigned: the smallest signed type that holds both (u64 with a signed type
  // has none; NumPy leaves the integers there, PyTorch refuses, we answer i64 as for u32).
  const DType s = ua ? b : a, u = ua ? a : b;
  if (size_of(s) > size_of(u)) return s;
  switch (size_of(u)) {
    case 1:
      return DType::i16;
    case 2:
      return DType::i32;
    default:
      return DType::i64;
  }
}

}  // namespace

DType promote(DType a, DType b) {
  if (a == b) return a;
  const DTypeKind ka = kind_of(a), kb = kind_of(b);
  if (ka <= DTypeKind::integer && kb <= DTypeKind::integer) return promote_integers(a, b);
  if (ka == DTypeKind::complex || kb == DTypeKind::complex) {
    const bool wide = a == DType::c128 || b == DType::c128 || a == DType::f64 || b == DType::f64;
    return wide ? DType::c128 : DType::c64;
  }
  if (ka != kb) return ka == DTypeKind::floating ? a : b;
  if (size_of(a) == 2 && size_of(b) == 2) return DType::f32;  // f16 with bf16
  return size_of(a) >= size_of(b) ? a : b;
}

DType promote_all(const PromotionOperand* operands, size_t count, DType default_float) {
  // Per rank the promoted dtype; then a lower rank counts only if its kind is higher.
  bool has[3] = {false, false, false};
  DType of[3] = {DType::bool_, DType::bool_, DType::bool_};
  for (size_t i = 0; i < count; ++i) {
    const int r = static_cast<int>(operands[i].rank);
    DType d = operands[i].dtype;
    if (operands[i].rank == PromotionRank::number) {
      if (is_floating(d)) d = default_float;
      if (is_complex(d)) d = default_float == DType::f64 ? DType::c128 : DType::c64;
    }
    of[r] = has[r] ? promote(of[r], d) : d;
    has[r] = true;
  }
  bool any = false;
  DType result = DType::bool_;
  for (int r = 2; r >= 0; --r) {
    if (!has[r]) continue;
    const DTypeKind kr = kind_of(of[r]), kd = kind_of(result);
    if (!any) {
      result = of[r];
    } else if (kr > kd) {
      // A complex number with a float tensor keeps the tensor's width.
      if (kr == DTypeKind::complex && kd == DTypeKind::floating)
        result = result == DType::f64 ? DType::c128 : DType::c64;
      else
        result = of[r];
    }
    any = true;
  }
  return result;
}

}  // namespace qs
