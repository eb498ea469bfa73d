// The scalar primitives and the folds, as enums.
#pragma once
#include <cstdint>
#include <string_view>

namespace qs {

enum class Prim : uint8_t {
#define PRIM(name, arity, result) name,
#include "quicksilver/core/prim.def"
#undef PRIM
  count_
};

struct PrimInfo {
  std::string_view name;
  uint8_t arity;
  enum Result : uint8_t { same, boolean, special } result;
};

inline constexpr PrimInfo k_prim_info[] = {
#define PRIM(name, arity, result) {#name, arity, PrimInfo::result},
#include "quicksilver/core/prim.def"
#undef PRIM
};
constexpr const PrimInfo& info(Prim p) { return k_prim_info[static_cast<int>(p)]; }

/// What a fold does over the reduced dimensions. `argmax`, `argmin` give the i64 index (row-major
/// over the reduced dimensions) of the first extreme value; a NaN is more extreme than any number.
enum class Fold : uint8_t { sum, prod, max, min, any, all, argmax, argmin };
inline constexpr std::string_view k_fold_names[] = {"sum", "prod", "max",    "min",
                                                    "any", "all",  "argmax", "argmin"};

}  // namespace qs
