// Convolutions with AVX2.
#include <type_traits>

#include "quicksilver/core/half.h"
#include "quicksilver/driver/cpu/conv_table.h"

#define QS_CONV_NAMESPACE conv_avx2

namespace qs::driver::cpu::QS_CONV_NAMESPACE {
namespace {
constexpr int k_vector_bytes = 32;
}
}  // namespace qs::driver::cpu::QS_CONV_NAMESPACE

#include "quicksilver/driver/cpu/conv_block.inl"

namespace qs::driver::cpu {

const ConvTable& conv_avx2_table() {
  static const ConvTable table = conv_avx2::make_table();
  return table;
}

}  // namespace qs::driver::cpu
