#include "quicksilver/codegen/convert.h"

#include "quicksilver/core/error.h"
#include "quicksilver/core/hash.h"

namespace qs::codegen {

using driver::ScalarRef;

NestBuilder::NestBuilder(const Axes& axes) { nest_.axes = axes; }

size_t NestBuilder::Hash::operator()(const Expr& e) const {
  const uint64_t words[] = {
      uint64_t(e.kind) | uint64_t(e.prim) << 8 | uint64_t(e.fold_op) << 16 |
          uint64_t(e.dtype) << 24 | uint64_t(e.aux) << 32,
      uint64_t(static_cast<uint32_t>(e.src[0])) | uint64_t(static_cast<uint32_t>(e.src[1])) << 32,
      uint64_t(static_cast<uint32_t>(e.src[2]))};
  return hash_words(words, 3);
}

bool NestBuilder::Equal::operator()(const Expr& a, const Expr& b) const {
  return a.kind == b.kind && a.prim == b.prim && a.fold_op == b.fold_op && a.dtype == b.dtype &&
         a.src[0] == b.src[0] && a.src[1] == b.src[1] && a.src[2] == b.src[2] && a.aux == b.aux;
}

int32_t NestBuilder::share(const Expr& e) {
  const auto [it, fresh] = shared_.try_emplace(e, static_cast<int32_t>(nest_.exprs.size()));
  if (fresh) nest_.exprs.push_back(e);
  return it->second;
}

int32_t NestBuilder::value(graph::ValueId v) const {
  for (size_t i = values_.size(); i-- > 0;)
    if (values_[i].value == v) return values_[i].expr;
  return -1;
}

int32_t NestBuilder::imag_value(graph::ValueId v) const {
  for (size_t i = values_.size(); i-- > 0;)
    if (values_[i].value == v) return values_[i].imag;
  return -1;
}

TileDomain domain_of(const Axes& axes, const Dims& strides) {
  bool moves = false;
  for (size_t i = 0; i < strides.size(); ++i) {
    moves |= strides[i] != 0;
    if (strides[i] != 0 && (axes.reduced >> i & 1)) return TileDomain::full;
  }
  if (!moves && axes.numel() > 1) return TileDomain::uniform;
  return axes.folds() ? TileDomain::kept : TileDomain::full;
}

TileDomain store_domain_of(const Axes& axes, const Dims& strides) {
  const TileDomain domain = domain_of(axes, strides);
  if (domain != TileDomain::uniform) return domain;
  return axes.folds() ? TileDomain::kept : TileDomain::full;
}

int32_t NestBuilder::emit(Prim prim, std::span<const int32_t> sources, uint32_t aux) {
  Expr e;
  e.prim = prim;
  e.sources = static_cast<uint8_t>(sources.size());
  e.aux = aux;
  e.domain = TileDomain::uniform;
  for (size_t i = 0; i < sources.size(); ++i) e.src[i] = sources[i];
  // Integers of two widths meet where raw inputs do: the wider wins.
  const size_t first = prim == Prim::where ? 1 : 0;
  if (sources.size() >= first + 2) {
    DType common = dtype(e.src[first]);
    for (size_t i = first + 1; i < sources.size(); ++i)
      if (dtype(e.src[i]) != common) common = promote(common, dtype(e.src[i]));
    for (size_t i = first; i < sources.size(); ++i) e.src[i] = cast(e.src[i], common);
  }
  for (size_t i = 0; i < sources.size(); ++i)
    e.domain = std::max(e.domain, nest_.exprs[static_cast<size_t>(e.src[i])].domain);
  switch (info(prim).result) {
    case PrimInfo::boolean:
      e.dtype = DType::bool_;
      break;
    case PrimInfo::same:
      e.dtype = dtype(e.src[first]);
      break;
    case PrimInfo::special:
      QS_ASSERT(prim == Prim::philox);
      e.dtype = DType::i64;
      break;
  }
  return share(e);
}

int32_t NestBuilder::fold(Fold op, int32_t x) {
  Expr e;
  e.kind = Expr::fold;
  e.fold_op = op;
  e.sources = 1;
  e.domain = TileDomain::kept;
  if (nest_.exprs[static_cast<size_t>(x)].domain !=
      TileDomain::full) {  // folds take full registers
    Expr wide;
    wide.prim = Prim::copy;
    wide.sources = 1;
    wide.src[0] = x;
    wide.dtype = dtype(x);
    wide.domain = TileDomain::full;
    wide.aux = 1;  // apart from a plain copy
    x = share(wide);
  }
  e.src[0] = x;
  e.dtype = op == Fold::argmax || op == Fold::argmin ? DType::i64 : dtype(x);
  return share(e);
}

int32_t NestBuilder::constant(uint64_t word, DType word_dtype, DType dtype, bool fixed) {
  ScalarRef ref;
  ref.value = word;
  ref.dtype = word_dtype;
  const int32_t e = scalar(ref, dtype);
  if (fixed) fix(static_cast<int32_t>(expr(e).aux));
  return e;
}

int32_t NestBuilder::scalar(const ScalarRef& ref, DType dtype) {
  size_t at = 0;
  for (; at < nest_.scalars.size(); ++at) {
    const ScalarRef& s = nest_.scalars[at];
    if (s.word == ref.word && s.dtype == ref.dtype && (s.word >= 0 || s.value == ref.value)) break;
  }
  if (at == nest_.scalars.size()) {
    nest_.scalars.push_back(ref);
    nest_.fixed.push_back(0);
  }
  Expr e;
  e.kind = Expr::scalar;
  e.dtype = dtype;
  e.domain = TileDomain::uniform;
  e.aux = static_cast<uint32_t>(at);
  return share(e);
}

int32_t NestBuilder::load(Access access, Cause cause) {
  access.domain = domain_of(nest_.axes, access.strides);
  size_t at = 0;
  for (; at < nest_.accesses.size(); ++at) {
    const Access& a = nest_.accesses[at];
    if (a.affine == access.affine && a.dtype == access.dtype && a.value == access.value &&
        a.item_size == access.item_size && a.word == access.word && a.offset == access.offset &&
        a.strides == access.strides)
      break;
  }
  if (at == nest_.accesses.size()) nest_.accesses.push_back(access);
  cause.access = static_cast<uint32_t>(at);
  nest_.causes.push_back(cause);
  Expr e;
  e.kind = Expr::load;
  e.dtype = compute_dtype(access.dtype);
  e.domain = access.domain;
  e.aux = static_cast<uint32_t>(at);
  return share(e);
}

void NestBuilder::store(int32_t e, Access access, Cause cause, bool after_loads) {
  access.domain = store_domain_of(nest_.axes, access.strides);
  cause.access = static_cast<uint32_t>(nest_.accesses.size());
  nest_.accesses.push_back(access);
  nest_.causes.push_back(cause);
  nest_.stores.push_back({e, static_cast<uint32_t>(nest_.accesses.size() - 1), after_loads});
}

int32_t NestBuilder::cast(int32_t x, DType to) {
  const DType from = dtype(x);
  if (from == to) return x;
  if (to == DType::bool_) {
    const int32_t pair[] = {
        x, is_integral(from) ? constant(0, DType::i64, from) : constant(0, DType::f64, from)};
    return emit(Prim::ne, pair);
  }
  Expr e;
  e.prim = Prim::cast;
  e.sources = 1;
  e.src[0] = x;
  e.dtype = to;
  e.domain = nest_.exprs[static_cast<size_t>(x)].domain;
  return share(e);
}

int32_t NestBuilder::convert(int32_t e, DType from, DType to) {
  if (from == to) return e;
  return round(e, to);
}

int32_t NestBuilder::round(int32_t e, DType to) {
  const DType wide = compute_dtype(to);
  const int32_t x = cast(e, wide);
  if (wide == to || exact_in(x, to, 4)) return x;
  return emit(Prim::round_to, {&x, 1}, static_cast<uint32_t>(to));
}

/// Whether the register surely holds what `dtype` can hold, so that rounding changes nothing.
bool NestBuilder::exact_in(int32_t x, DType dtype, int depth) const {
  const Expr& e = nest_.exprs[static_cast<size_t>(x)];
  if (e.kind == Expr::load)
    return nest_.accesses[e.aux].dtype == dtype && !nest_.accesses[e.aux].affine;
  if (e.kind != Expr::op || depth == 0) return false;
  switch (e.prim) {
    case Prim::round_to:
      return static_cast<DType>(e.aux) == dtype;
    case Prim::cast:
      return nest_.exprs[static_cast<size_t>(e.src[0])].dtype == DType::bool_;
    case Prim::copy:
      return exact_in(e.src[0], dtype, depth - 1);
    case Prim::neg:
    case Prim::abs:
      return is_floating(dtype) && exact_in(e.src[0], dtype, depth - 1);
    case Prim::maximum:
    case Prim::minimum:
      return exact_in(e.src[0], dtype, depth - 1) && exact_in(e.src[1], dtype, depth - 1);
    case Prim::where:
      return exact_in(e.src[1], dtype, depth - 1) && exact_in(e.src[2], dtype, depth - 1);
    default:
      return false;
  }
}

}  // namespace qs::codegen
