// Copies, casts and moves between devices.
#include "quicksilver/autograd/apply.h"
#include "quicksilver/core/error.h"
#include "quicksilver/tensor/rules.h"

namespace qs {

using namespace autograd;

Tensor clone(const Tensor& x) {
  require_defined(x, "clone");
  return apply(Op::copy, {x});
}

Tensor contiguous(const Tensor& x) {
  require_defined(x, "contiguous");
  if (x.is_contiguous()) return x;
  return row_major_copy(x);
}

namespace {

void check_rank(const Tensor& x, MemoryFormat format) {
  if (format == MemoryFormat::channels_last)
    QS_CHECK(x.dim() == 4, Error, "required rank 4 tensor to use channels_last format");
  if (format == MemoryFormat::channels_last_3d)
    QS_CHECK(x.dim() == 5, Error, "required rank 5 tensor to use channels_last_3d format");
}

}  // namespace

bool is_contiguous(const Tensor& x, MemoryFormat format) {
  require_defined(x, "is_contiguous");
  if (format == MemoryFormat::contiguous || format == MemoryFormat::preserve)
    return x.is_contiguous();
  if (x.dim() != (format == MemoryFormat::channels_last ? 4 : 5)) return false;
  const Dims wanted = channels_last_strides(x.shape());
  for (int d = 0; d < x.dim(); ++d)
    if (x.size(d) != 1 && x.numel() > 0 && x.stride(d) != wanted[d]) return false;
  return true;
}

Tensor clone(const Tensor& x, MemoryFormat format) {
  require_defined(x, "clone");
  check_rank(x, format);
  if (format == MemoryFormat::preserve) return clone(x);
  if (format == MemoryFormat::contiguous) return row_major_copy(x);
  const ResultSpec spec[] = {{x.dtype(), Dims(x.shape()), channels_last_strides(x.shape())}};
  RecordOptions options;
  options.results = spec;
  return apply(Op::copy, {x}, {}, options);
}

Tensor contiguous(const Tensor& x, MemoryFormat format) {
  require_defined(x, "contiguous");
  QS_CHECK(format != MemoryFormat::preserve, Error,
           "preserve memory format is unsupported by the contiguous operator");
  return is_contiguous(x, format) ? x : clone(x, format);
}

Tensor detach(const Tensor& x) {
  require_defined(x, "detach");
  return make_view(x, x.layout());
}

namespace {

Tensor cast(const Tensor& x, DType dtype) {
  RecordOptions options;
  options.dtype = dtype;
  return apply(Op::copy, {x}, {}, options);
}

Tensor move(const Tensor& x, DeviceType device) {
  Tensor out = copy_to_device(x, device);
  with_gradient_of("ToCopy", x, out,
                   [from = x.device()](const Tensor& g) { return to(g, from, {}); });
  return out;
}

}  // namespace

Tensor to(const Tensor& x, std::optional<Device> device, std::optional<DType> dtype, bool copy,
          bool /*non_blocking*/) {
  require_defined(x, "to");
  const bool moves = device && device->type != x.device_type();
  const bool casts = dtype && *dtype != x.dtype();
  if (!moves && !casts) return copy ? clone(x) : x;
  Tensor out = x;
  // The smaller dtype travels.
  if (casts && (!moves || size_of(*dtype) < size_of(x.dtype()))) out = cast(out, *dtype);
  if (moves) out = move(out, device->type);
  if (casts && out.dtype() != *dtype) out = cast(out, *dtype);
  return out;
}

const Tensor& copy_(const Tensor& x, const Operand& source) {
  require_defined(x, "copy_");
  QS_CHECK(source.kind() != Operand::absent, TypeError,
           "copy_(): argument 'other' must be Tensor, got an undefined one");
  if (!source.is_tensor()) return fill_(x, source);
  Tensor from{Ref<TensorImpl>(source.impl())};
  if (from.same(x)) return x;
  if (from.device_type() != x.device_type()) {
    // The smaller dtype travels; what is small is better repeated there.
    if (size_of(x.dtype()) < size_of(from.dtype())) from = to(from, {}, x.dtype());
    from = to(from, x.device(), {});
  }
  if (!(Dims(from.shape()) == Dims(x.shape()))) {
    Dims shape(from.shape());
    while (static_cast<int>(shape.size()) > x.dim() && shape[0] == 1) shape.erase(0);
    if (shape.size() != from.shape().size()) from = view(from, shape);
    from = expand(from, x.shape());
  }
  RecordOptions options;
  options.dtype = x.dtype();
  options.compute = from.dtype();
  return apply_in_place(Op::copy, x, {from}, {}, options);
}

const Tensor& fill_(const Tensor& x, const Operand& value) {
  require_defined(x, "fill_");
  QS_CHECK(value.kind() != Operand::absent, TypeError, "fill_(): the value is an undefined tensor");
  if (value.is_tensor()) {
    QS_CHECK(value.impl()->layout.rank() == 0, Error,
             "fill_ only supports 0-dimension value tensor but got tensor with {} dimensions.",
             value.impl()->layout.rank());
    return copy_(x, value);
  }
  check_fits(value.number(), x.dtype());
  // One write a place is enough for what is stretched.
  Tensor once = x;
  for (int d = 0; d < x.dim(); ++d)
    if (x.stride(d) == 0 && x.size(d) > 1) once = narrow(once, d, 0, 1);
  if (!once.same(x)) {
    fill_(once, value);
    return x;
  }
  const ResultSpec spec[] = {{x.dtype(), Dims(x.shape())}};
  RecordOptions options;
  options.dtype = x.dtype();
  options.compute = x.dtype();
  options.device = x.device_type();
  options.results = spec;
  return apply_in_place(Op::full, x, {value}, {}, options);
}

const Tensor& zero_(const Tensor& x) { return fill_(x, 0); }

}  // namespace qs
