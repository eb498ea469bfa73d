#include "quicksilver/driver/cpu/attention_rows.inl"

namespace qs::driver::cpu {

const AttentionTable& attention_generic_table() {
  static const AttentionTable table = isa_generic::make_attention_table();
  return table;
}

}  // namespace qs::driver::cpu
