// The element types, their sizes, names and promotion. A dtype is a run-time value everywhere.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "quicksilver/core/export.h"

namespace qs {

enum class DType : uint8_t {
  bool_,
  u8,
  i8,
  i16,
  i32,
  i64,
  u16,
  u32,
  u64,
  f16,
  bf16,
  f32,
  f64,
  c64,
  c128
};
inline constexpr int k_dtype_count = 15;

enum class DTypeKind : uint8_t { boolean, integer, floating, complex };

struct DTypeInfo {
  std::string_view name;        // "float32", as NumPy and PyTorch spell it
  std::string_view short_name;  // "f32", as kernels and dumps spell it
  uint8_t size;                 // bytes an element
  DTypeKind kind;
  bool is_signed;
};

inline constexpr DTypeInfo k_dtype_info[k_dtype_count] = {
    {"bool", "b8", 1, DTypeKind::boolean, false},
    {"uint8", "u8", 1, DTypeKind::integer, false},
    {"int8", "i8", 1, DTypeKind::integer, true},
    {"int16", "i16", 2, DTypeKind::integer, true},
    {"int32", "i32", 4, DTypeKind::integer, true},
    {"int64", "i64", 8, DTypeKind::integer, true},
    {"uint16", "u16", 2, DTypeKind::integer, false},
    {"uint32", "u32", 4, DTypeKind::integer, false},
    {"uint64", "u64", 8, DTypeKind::integer, false},
    {"float16", "f16", 2, DTypeKind::floating, true},
    {"bfloat16", "bf16", 2, DTypeKind::floating, true},
    {"float32", "f32", 4, DTypeKind::floating, true},
    {"float64", "f64", 8, DTypeKind::floating, true},
    {"complex64", "c64", 8, DTypeKind::complex, true},
    {"complex128", "c128", 16, DTypeKind::complex, true},
};

constexpr const DTypeInfo& info(DType d) { return k_dtype_info[static_cast<int>(d)]; }
constexpr size_t size_of(DType d) { return info(d).size; }
constexpr std::string_view name_of(DType d) { return info(d).name; }
constexpr DTypeKind kind_of(DType d) { return info(d).kind; }
constexpr bool is_floating(DType d) { return kind_of(d) == DTypeKind::floating; }
constexpr bool is_complex(DType d) { return kind_of(d) == DTypeKind::complex; }
constexpr bool is_integral(DType d) { return kind_of(d) <= DTypeKind::integer; }  // bool too

/// The dtype a binary op of two *tensors with dimensions* computes in (PyTorch's table).
QS_API DType promote(DType a, DType b);

/// The dtype whose registers hold `d` while a kernel computes: f16, bf16 -> f32; u8, i8, i16, u16
/// -> i32; u32 -> i64; the others themselves. A recorded result is rounded (wrapped) back to `d`.
constexpr DType compute_dtype(DType d) {
  switch (d) {
    case DType::f16:
    case DType::bf16:
      return DType::f32;
    case DType::u8:
    case DType::i8:
    case DType::i16:
    case DType::u16:
      return DType::i32;
    case DType::u32:
      return DType::i64;
    default:
      return d;
  }
}

/// How an operand takes part in promotion: PyTorch ranks dimensioned tensors over 0-dim tensors
/// over Python numbers; a lower rank matters only when its kind is higher.
enum class PromotionRank : uint8_t { number, zero_dim, dimensioned };
struct PromotionOperand {
  DType dtype;
  PromotionRank rank;
};
QS_API DType promote_all(const PromotionOperand* operands, size_t count, DType default_float);

}  // namespace qs
