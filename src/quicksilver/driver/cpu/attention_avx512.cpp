#include "quicksilver/driver/cpu/attention_rows.inl"

namespace qs::driver::cpu {

const AttentionTable& attention_avx512_table() {
  static const AttentionTable table = isa_avx512::make_attention_table();
  return table;
}

}  // namespace qs::driver::cpu
