// Which families there are, and how a group of rows becomes C functions.
#include "quicksilver/python/functions.h"

#include <cstring>
#include <string>

#include "quicksilver/python/adapters.h"

namespace qs::python {

void register_elementwise(Tables&);
void register_convert(Tables&);
void register_create(Tables&);
void register_shape(Tables&);
void register_reduce(Tables&);
void register_index(Tables&);
void register_nn(Tables&);
void register_conv(Tables&);
void register_special(Tables&);
void register_vision(Tables&);
void register_autograd(Tables&);

namespace {

struct OpDoc {
  std::string_view name, doc;
};
constexpr OpDoc k_op_docs[] = {
#define OP(name, kind, inputs, results, rule, raw, kept_inputs, kept, can_fail, doc, ...) \
  {#name, doc},
#include "quicksilver/graph/ops.def"
};

std::vector<const Row*>& rows_so_far() {
  static auto* v = new std::vector<const Row*>;
  return *v;
}

/// Rows made from the verbs' lists have no text of their own: the op table has it.
bool from_a_list(const Row& row) { return row.text[std::strlen(row.text) - 1] == '\n'; }

const char* document(const Row& row) {
  if (!from_a_list(row)) return row.text;
  std::string_view name = row.name;
  if (name.ends_with('_')) name.remove_suffix(1);
  for (const OpDoc& d : k_op_docs)
    if (d.name == name) {
      auto* text = new std::string(row.text);  // kept by the function object
      *text += d.doc;
      if (std::string_view(row.name).ends_with('_')) *text += " In place.";
      return text->c_str();
    }
  return row.text;
}

}  // namespace

const std::vector<const Row*>& all_rows() { return rows_so_far(); }

void register_row(Tables& tables, const Row* rows, size_t i, PyCFunction function,
                  PyCFunction method) {
  const Row& row = rows[i];
  rows_so_far().push_back(&row);
  if (i > 0 && same_function(rows[i - 1], row)) return;  // an overload of the one before
  if (from_a_list(row))  // a row with parameters of its own goes before
    for (size_t k = 0; k < i; ++k)
      if (!std::strcmp(rows[k].name, row.name)) return;
  const char* doc = document(row);
  constexpr int flags = METH_FASTCALL | METH_KEYWORDS;
  if (std::strchr(row.flags, 'f')) tables.functions.push_back({row.name, function, flags, doc});
  if (std::strchr(row.flags, 'm')) tables.methods.push_back({row.name, method, flags, doc});
  if (std::strchr(row.flags, 'n')) tables.nn.push_back({row.name, function, flags, doc});
}

void register_all(Tables& tables) {
  tables.functions.reserve(512);
  tables.methods.reserve(512);
  register_elementwise(tables);
  register_convert(tables);
  register_create(tables);
  register_shape(tables);
  register_reduce(tables);
  register_index(tables);
  register_nn(tables);
  register_conv(tables);
  register_special(tables);
  register_vision(tables);
  register_autograd(tables);
}

}  // namespace qs::python
