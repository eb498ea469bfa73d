// Complex numbers: making them, their parts, and the views between complex and real tensors.
#include "quicksilver/autograd/apply.h"
#include "quicksilver/core/error.h"

namespace qs {

using namespace autograd;

namespace {

DType part_of(DType d) { return d == DType::c128 ? DType::f64 : DType::f32; }
DType whole_of(DType d) { return d == DType::f64 ? DType::c128 : DType::c64; }

Tensor convert(Op op, std::initializer_list<Operand> in, DType compute, DType result) {
  RecordOptions options;
  options.compute = compute;
  options.dtype = result;
  return apply(op, in, {}, options);
}

void check_parts(const char* verb, const Tensor& x, const Tensor& y) {
  require_defined(x, verb);
  require_defined(y, verb);
  const auto fits = [](DType d) { return d == DType::f32 || d == DType::f64; };
  QS_CHECK(fits(x.dtype()) && fits(y.dtype()), Error,
           "Expected both inputs to be Half, Float or Double tensors but got {} and {}",
           scalar_type_name(x.dtype()), scalar_type_name(y.dtype()));
  QS_CHECK(x.dtype() == y.dtype(), Error,
           "Expected object of scalar type {} but got scalar type {} for second argument",
           scalar_type_name(x.dtype()), scalar_type_name(y.dtype()));
}

/// A view over the same storage with another dtype.
Tensor view_with(const Tensor& x, Layout layout, DType dtype) {
  Tensor out(make_ref<TensorImpl>(x.impl()->storage, std::move(layout), dtype));
  out.impl()->own_versions = x.impl()->own_versions;
  mark_view(x, out);
  return out;
}

}  // namespace

Tensor complex(const Tensor& real, const Tensor& imag) {
  check_parts("complex", real, imag);
  return convert(Op::complex, {real, imag}, real.dtype(), whole_of(real.dtype()));
}

Tensor polar(const Tensor& abs, const Tensor& angle) {
  check_parts("polar", abs, angle);
  return convert(Op::polar, {abs, angle}, abs.dtype(), whole_of(abs.dtype()));
}

Tensor conj(const Tensor& x) {
  require_defined(x, "conj");
  return is_complex(x.dtype()) ? apply(Op::conj, {x}) : x;
}

Tensor angle(const Tensor& x) {
  require_defined(x, "angle");
  const DType d = x.dtype();
  if (is_complex(d)) return convert(Op::angle, {x}, d, part_of(d));
  const DType out = is_integral(d) ? default_dtype() : d;
  return convert(Op::angle, {x}, out, out);
}

Tensor sgn(const Tensor& x) {
  require_defined(x, "sgn");
  return is_complex(x.dtype()) ? apply(Op::complex_sgn, {x}) : sign(x);
}

const Tensor& sgn_(const Tensor& x) {
  require_defined(x, "sgn_");
  return is_complex(x.dtype()) ? apply_in_place(Op::complex_sgn, x, {x}) : sign_(x);
}

Tensor real_part(const Tensor& x) {
  return is_complex(x.dtype()) ? convert(Op::real_part, {x}, x.dtype(), part_of(x.dtype())) : x;
}

Tensor imag_part(const Tensor& x) {
  return is_complex(x.dtype()) ? convert(Op::imag_part, {x}, x.dtype(), part_of(x.dtype()))
                               : full_like(x, 0);
}

Tensor view_as_real(const Tensor& x) {
  require_defined(x, "view_as_real");
  QS_CHECK(is_complex(x.dtype()), Error, "view_as_real is only supported for complex tensors");
  Layout layout = x.layout();
  for (int64_t& s : layout.strides) s *= 2;
  layout.offset *= 2;
  layout.shape.push_back(2);
  layout.strides.push_back(1);
  Tensor out = view_with(x, std::move(layout), part_of(x.dtype()));
  with_gradient_of("ViewAsReal", x, out,
                   [](const Tensor& g) { return view_as_complex(contiguous(g)); });
  return out;
}

Tensor view_as_complex(const Tensor& x) {
  require_defined(x, "view_as_complex");
  QS_CHECK(x.dtype() == DType::f32 || x.dtype() == DType::f64, Error,
           "view_as_complex is only supported for half, float and double tensors, but got a tensor "
           "of scalar type: {}",
           scalar_type_name(x.dtype()));
  QS_CHECK(x.dim() > 0, Error, "Input tensor must have one or more dimensions");
  QS_CHECK(x.size(-1) == 2, Error, "Tensor must have a last dimension of size 2");
  QS_CHECK(x.stride(-1) == 1, Error, "Tensor must have a last dimension with stride 1");
  Layout layout = x.layout();
  layout.shape.erase(layout.shape.size() - 1);
  layout.strides.erase(layout.strides.size() - 1);
  for (int64_t& s : layout.strides) {
    QS_CHECK(s % 2 == 0, Error,
             "Tensor must have a stride divisible by 2 for all but last dimension");
    s /= 2;
  }
  QS_CHECK(layout.offset % 2 == 0, Error, "Tensor must have a storage_offset divisible by 2");
  layout.offset /= 2;
  Tensor out = view_with(x, std::move(layout), whole_of(x.dtype()));
  with_gradient_of("ViewAsComplex", x, out, [](const Tensor& g) { return view_as_real(g); });
  return out;
}

Tensor real(const Tensor& x) {
  require_defined(x, "real");
  return is_complex(x.dtype()) ? select(view_as_real(x), -1, 0) : x;
}

Tensor imag(const Tensor& x) {
  require_defined(x, "imag");
  QS_CHECK(is_complex(x.dtype()), Error,
           "imag is not implemented for tensors with non-complex dtypes.");
  return select(view_as_real(x), -1, 1);
}

}  // namespace qs
