#include "quicksilver/autograd/apply.h"

#include "quicksilver/autograd/gradients.h"
#include "quicksilver/core/error.h"
#include "quicksilver/tensor/rules.h"

namespace qs::autograd {

namespace {

bool any_wants_gradient(Operands in) {
  for (const Operand& o : in)
    if (o.impl() && (o.impl()->requires_grad || o.impl()->grad_slot) && wants_gradient(o.impl()))
      return true;
  return false;
}

}  // namespace

void apply_all(Op op, Operands in, Attrs attrs, const RecordOptions& options,
               std::span<Tensor> results) {
  record(op, in, attrs, options, results);
  if (any_wants_gradient(in) && gradient_of(op).kind != OpGradient::none)
    attach_gradient(op, in, attrs, results, false, {});
}

Tensor apply(Op op, Operands in, Attrs attrs, const RecordOptions& options) {
  // Results beyond the first (a mask, a mean) only serve the gradient.
  Tensor results[3];
  apply_all(op, in, attrs, options, {results, graph::info(op).results});
  return std::move(results[0]);
}

const Tensor& apply_in_place(Op op, const Tensor& x, Operands in, Attrs attrs,
                             const RecordOptions& options) {
  const bool tracked =
      grad_enabled() && (wants_gradient(x) || is_unseen_view(*x.impl()) ||
                         (gradient_of(op).kind != OpGradient::none && any_wants_gradient(in)));
  Tensor old;
  if (tracked) {
    check_in_place(x);
    // A gradient that reads what is about to be overwritten gets a copy of it.
    const uint32_t saves = wants_of(op, in).saves;
    for (size_t i = 0; i < in.size() && !old.defined(); ++i) {
      if (!(saves >> i & 1) || in[i].impl() != x.impl()) continue;
      const NoGrad guard;
      old = clone(x);
    }
  }
  RecordOptions own = options;
  own.targets = {&x, 1};
  Tensor result;
  record(op, in, attrs, own, {&result, 1});
  if (tracked) attach_gradient(op, in, attrs, {&result, 1}, true, old);
  return x;
}

uint64_t axes_mask(const OptionalDims& dims, int rank) {
  const uint64_t all = rank >= 64 ? ~uint64_t{0} : (uint64_t{1} << rank) - 1;
  if (!dims || dims->empty()) return all;
  uint64_t mask = 0;
  for (int64_t d : *dims) {
    const int at = wrap_dim(d, rank);
    QS_CHECK(!(mask >> at & 1), Error, "dim {} appears multiple times in the list of dims", at);
    mask |= uint64_t{1} << at;
  }
  return mask & all;
}

std::string_view scalar_type_name(DType d) { return title_of(d); }

void honour_requires_grad(const Tensor& t, const Options& options) {
  if (!options.requires_grad) return;
  QS_CHECK(is_floating(t.dtype()) || is_complex(t.dtype()), Error,
           "Only Tensors of floating point and complex dtype can require gradients");
  t.set_requires_grad(true);
}

void check_fits(const Scalar& value, DType dtype) {
  if (!is_integral(dtype) || dtype == DType::bool_ || !value.is_integral()) return;
  const int bits = static_cast<int>(size_of(dtype)) * 8;
  if (bits == 64) return;
  const int64_t v = value.to_int();
  const int64_t low = -(int64_t{1} << (bits - 1));  // PyTorch lets -1 stand for an unsigned maximum
  const int64_t high = (int64_t{1} << (info(dtype).is_signed ? bits - 1 : bits)) - 1;
  QS_CHECK(v >= low && v <= high, Error, "value cannot be converted to type {} without overflow",
           name_of(dtype));
}

Tensor row_major_copy(const Tensor& x) {
  RecordOptions options;
  options.row_major = true;
  return apply(Op::copy, {x}, {}, options);
}

void require_defined(const Tensor& t, const char* verb) {
  QS_CHECK(t.defined(), TypeError, "{}(): expected a tensor, got an undefined one", verb);
}

}  // namespace qs::autograd
