// Convolutions without a particular instruction set.
#include <type_traits>

#include "quicksilver/core/half.h"
#include "quicksilver/driver/cpu/conv_table.h"

#define QS_CONV_NAMESPACE conv_generic

namespace qs::driver::cpu::QS_CONV_NAMESPACE {
namespace {
constexpr int k_vector_bytes = 16;
template <class V>
[[gnu::always_inline]] inline V fused(V a, V b, V c) {
  return a * b + c;
}
}  // namespace
}  // namespace qs::driver::cpu::QS_CONV_NAMESPACE

#include "quicksilver/driver/cpu/conv_block.inl"

namespace qs::driver::cpu {

const ConvTable& conv_generic_table() {
  static const ConvTable table = conv_generic::make_table();
  return table;
}

}  // namespace qs::driver::cpu
