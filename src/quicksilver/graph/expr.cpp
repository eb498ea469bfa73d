#include "quicksilver/graph/expr.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "quicksilver/core/error.h"
#include "quicksilver/graph/expr_math.h"

namespace qs::graph {

double Builder::attr_double(int i) const { return std::bit_cast<double>(attr(i)); }

int64_t Builder::count(E x, uint64_t axes) const {
  int64_t n = 1;
  for (uint64_t m = axes; m; m &= m - 1) n *= extent(x, std::countr_zero(m));
  return n;
}

E Builder::test(E x) {
  if (is_complex(x)) {
    const E re[] = {real(x), cast(integer(0), dtype(x))}, im[] = {imag(x), re[1]};
    const E parts[] = {emit(Prim::ne, re), emit(Prim::ne, im)};
    return emit(Prim::bit_or, parts);
  }
  if (dtype(x) == DType::bool_) return x;
  const E pair[] = {x, number(int64_t{0}, dtype(x))};
  return emit(Prim::ne, pair);
}

E Builder::philox(E seed, E offset, int draw) {
  if (draw) {
    const E pair[] = {offset, integer(int64_t{draw} << 60)};
    offset = emit(Prim::add, pair);
  }
  const E three[] = {linear(), seed, offset};
  return emit(Prim::philox, three);
}

E Builder::unit(E bits) {
  const bool wide = compute() == DType::f64;
  E kept = bits;
  if (!wide) {  // 24 bits fill an f32; more would round up to 1
    const E pair[] = {bits, integer(8)};
    kept = emit(Prim::shift_right, pair);
  }
  const E pair[] = {cast(kept, wide ? DType::f64 : DType::f32),
                    wide ? number(std::ldexp(1.0, -32)) : number(std::ldexp(1.0, -24))};
  return emit(Prim::mul, pair);
}

namespace {

using namespace math;

// One function a row.
#define OP(name, kind, inputs, results, rule, raw, kept_in, kept, fail, doc, ...)            \
  void expand_##name([[maybe_unused]] Builder& b, [[maybe_unused]] std::span<const E> in,    \
                     [[maybe_unused]] std::span<E> out) {                                    \
    constexpr int k_inputs = inputs;                                                         \
    [[maybe_unused]] const E x = k_inputs > 0 ? in[0] : E{}, y = k_inputs > 1 ? in[1] : E{}, \
                             z = k_inputs > 2 ? in[2] : E{}, u = k_inputs > 3 ? in[3] : E{}, \
                             v = k_inputs > 4 ? in[4] : E{};                                 \
    __VA_ARGS__                                                                              \
  }
#include "quicksilver/graph/ops.def"

constexpr ExpandFn k_expansions[] = {
#define OP(name, ...) expand_##name,
#include "quicksilver/graph/ops.def"
};

constexpr OpInfo k_ops[] = {
#define OP(name, kind, inputs, results, rule, raw, kept_in, kept, fail, doc, ...) \
  {#name, OpKind::kind, inputs, results, DTypeRule::rule, raw, kept_in, kept, fail, doc},
#include "quicksilver/graph/ops.def"
};

}  // namespace

const OpInfo& info(Op op) { return k_ops[static_cast<size_t>(op)]; }

bool attribute_is_axes(const OpInfo& row) {
  if (row.kind == OpKind::fold) return true;
  if (row.kind != OpKind::composite) return false;
  return row.kept || row.kept_inputs || row.name.find("softmax") != std::string_view::npos;
}

ExpandFn expansion(Op op) {
  const OpKind kind = info(op).kind;
  if (kind == OpKind::matmul || kind == OpKind::kernel) return nullptr;
  return k_expansions[static_cast<size_t>(op)];
}

}  // namespace qs::graph
