// How one call becomes one node: operands are resolved, dtype and shape follow the op's row,
// targets of in-place writes are checked, fresh results get pending storages, and the tape takes
// the node. All checks come first, so an exception leaves no trace.
#include "quicksilver/tensor/record.h"

#include <cstring>

#include "quicksilver/core/error.h"
#include "quicksilver/core/scratch.h"
#include "quicksilver/tensor/rules.h"

namespace qs {
namespace {

constexpr size_t k_most_operands = 18;
constexpr size_t k_most_results = 6;

/// The shape without the axes of the mask, or with them at extent 1.
Dims reduced_shape(DimSpan shape, uint64_t axes, bool keepdim) {
  Dims out;
  for (size_t d = 0; d < shape.size(); ++d) {
    if (axes >> d & 1) {
      if (keepdim) out.push_back(1);
    } else {
      out.push_back(shape[d]);
    }
  }
  return out;
}

/// The broadcast of the inputs that have the full rank.
void iteration_shape(const graph::OpInfo& row, std::span<const Resolved> in, Dims& shape) {
  bool first = true;
  for (size_t i = 0; i < in.size(); ++i) {
    if (in[i].kind != Resolved::tensor || row.kept_inputs >> i & 1) continue;
    const Dims& s = in[i].impl->layout.shape;
    if (first) {
      shape = s;
      first = false;
    } else if (!(s == shape)) {
      shape = broadcast_shapes(shape, s);
    }
  }
}

Tensor copy_of(const Tensor& t) {
  const Operand in[] = {t};
  RecordOptions options;
  options.dtype = t.dtype();
  options.compute = t.dtype();
  Tensor out;
  record(Op::copy, in, {}, options, {&out, 1});
  return out;
}

bool same_view(const TensorImpl& a, const TensorImpl& b) {
  return a.storage == b.storage && a.dtype == b.dtype && a.layout == b.layout;
}

bool ranges_meet(const TensorImpl& a, const TensorImpl& b) {
  const auto [a0, a1] = a.layout.extent();
  const auto [b0, b1] = b.layout.extent();
  const auto sa = static_cast<int64_t>(size_of(a.dtype)),
             sb = static_cast<int64_t>(size_of(b.dtype));
  return a0 * sa < b1 * sb && b0 * sb < a1 * sa;
}

/// Whether the op has a meaning for complex numbers.
bool takes_complex(Op op) {
  switch (op) {
    case Op::copy:
    case Op::full:
    case Op::eye:
    case Op::tril:
    case Op::triu:
    case Op::neg:
    case Op::square:
    case Op::sqrt:
    case Op::rsqrt:
    case Op::reciprocal:
    case Op::exp:
    case Op::exp2:
    case Op::expm1:
    case Op::log:
    case Op::log2:
    case Op::log10:
    case Op::log1p:
    case Op::sin:
    case Op::cos:
    case Op::tan:
    case Op::asin:
    case Op::acos:
    case Op::atan:
    case Op::sinh:
    case Op::cosh:
    case Op::asinh:
    case Op::acosh:
    case Op::atanh:
    case Op::tanh:
    case Op::sigmoid:
    case Op::sigmoid_backward:
    case Op::tanh_backward:
    case Op::isnan:
    case Op::isinf:
    case Op::isfinite:
    case Op::logical_not:
    case Op::logical_and:
    case Op::logical_or:
    case Op::logical_xor:
    case Op::add:
    case Op::sub:
    case Op::mul:
    case Op::div:
    case Op::pow:
    case Op::eq:
    case Op::ne:
    case Op::where:
    case Op::addcmul:
    case Op::addcmul_value:
    case Op::addcdiv:
    case Op::add_scaled:
    case Op::conj:
    case Op::angle:
    case Op::complex_abs:
    case Op::real_part:
    case Op::imag_part:
    case Op::complex_sgn:
    case Op::sinc:
    case Op::scatter_reduce:
    case Op::index_reduce:
    case Op::sum:
    case Op::mean:
    case Op::any:
    case Op::all:
    case Op::index_select:
    case Op::gather:
    case Op::index:
    case Op::index_put:
    case Op::index_add:
    case Op::scatter:
    case Op::scatter_add:
    case Op::cumsum:
    case Op::cumprod:
    case Op::nonzero:
      return true;
    default:
      return false;
  }
}

/// A complex number does not fit a launch word: it becomes a 0-dim tensor.
Tensor complex_number(const Scalar& number, DType compute, DeviceType device) {
  const double wide[] = {number.to_double(), number.imag()};
  if (compute == DType::c128) return from_host(wide, {}, compute, device);
  const float parts[] = {static_cast<float>(wide[0]), static_cast<float>(wide[1])};
  return from_host(parts, {}, DType::c64, device);
}

/// What a target must satisfy, in PyTorch's words.
void check_target(Op op, const TensorImpl& target, DeviceType device, DType result,
                  const Dims& shape) {
  QS_CHECK(
      target.storage->device == device, Error,
      "Expected all tensors to be on the same device, but found at least two devices, {} and {}! "
      "(the result of {} is written in place)",
      device == DeviceType::mps ? "mps:0" : "cpu",
      target.storage->device == DeviceType::mps ? "mps:0" : "cpu", name_of(op));
  QS_CHECK(can_cast(result, target.dtype), Error,
           "result type {} can't be cast to the desired output type {}", title_of(result),
           title_of(target.dtype));
  QS_CHECK(target.layout.shape == shape, Error,
           "output with shape {} doesn't match the broadcast shape {}",
           to_string(target.layout.shape), to_string(shape));
  QS_CHECK(!target.storage->read_only, Error,
           "{}: the tensor is read-only, its memory came from an owner who does not allow writes. "
           "Please clone() the tensor before performing the operation.",
           name_of(op));
  QS_CHECK(
      !target.layout.may_self_overlap(), Error,
      "unsupported operation: more than one element of the written-to tensor refers to a single "
      "memory location. Please clone() the tensor before performing the operation.");
}

/// Sets of axes are words of 64 bits.
void check_rank(size_t rank) {
  QS_CHECK(rank <= 64, Error, "only tensors with up to 64 dims are supported, got {}", rank);
}

/// `items` elements as bytes; throws in PyTorch's words when no int64 holds them.
int64_t checked_bytes(DimSpan shape, DimSpan strides, int64_t items, DType dtype) {
  int64_t bytes;
  QS_CHECK(!__builtin_mul_overflow(items, static_cast<int64_t>(size_of(dtype)), &bytes), Error,
           "Storage size calculation overflowed with sizes={} and strides={}", to_string(shape),
           to_string(strides));
  return bytes;
}

/// Shape and strides go into the layout where it lies: handing a layout through constructors would
/// copy both at each step.
Tensor make_fresh(DeviceType device, DType dtype, DimSpan shape, Dims strides) {
  check_rank(shape.size());
  const int64_t bytes = checked_bytes(shape, strides, checked_numel(shape), dtype);
  auto impl = make_ref<TensorImpl>(make_ref<Storage>(device, bytes), Layout(), dtype);
  impl->layout.shape.assign(shape.data(), shape.size());
  impl->layout.strides = std::move(strides);
  return Tensor(std::move(impl));
}

/// The word of a number for a node that computes in `compute`, and how the kernel reads it.
void place_number(const Scalar& number, bool raw, DType compute, plan::In& in) {
  in.kind = plan::In::scalar;
  if (raw)
    in.dtype = number.dtype();
  else if (compute == DType::bool_)
    in.dtype = DType::bool_;
  else
    in.dtype = is_integral(compute) ? DType::i64 : DType::f64;
  in.word = number.word(in.dtype);
}

}  // namespace

void record(Op op, std::span<const Operand> operands, std::span<const uint64_t> attrs,
            const RecordOptions& options, std::span<Tensor> results) {
  const graph::OpInfo& row = graph::info(op);
  QS_ASSERT(operands.size() <= k_most_operands - k_most_results &&
            results.size() <= k_most_results);
  Scratch<Resolved, k_most_operands> resolved(operands.size());
  const std::span<Resolved> in = resolved;
  const DeviceType device = resolve_operands(op, operands, options.device, in);
  const DType compute = compute_rule(op, in, options);
  if (is_complex(compute)) [[unlikely]]
    QS_CHECK(takes_complex(op), NotImplementedError, "\"{}_{}\" not implemented for '{}'",
             graph::name_of(op), device == DeviceType::cpu ? "cpu" : "mps",
             compute == DType::c64 ? "ComplexFloat" : "ComplexDouble");
  std::vector<Tensor> stand_ins;  // what operands are read from instead of themselves
  for (Resolved& r : in) {
    if (r.kind != Resolved::scalar || r.number.kind() != Scalar::Kind::complex) continue;
    stand_ins.push_back(complex_number(r.number, compute, device));
    r.kind = Resolved::tensor;
    r.impl = stand_ins.back().impl();
  }

  Dims shape;
  if (options.results.empty()) {
    iteration_shape(row, in, shape);
    if (graph::attribute_is_axes(row) && !attrs.empty()) {
      for (uint64_t m = attrs[0]; m; m &= m - 1)
        QS_ASSERT(std::countr_zero(m) < static_cast<int>(shape.size()));
    }
  }

  // Results: which are fresh, which go into a target, and what they look like.
  Scratch<Tensor, k_most_results> made;
  bool in_place = false;
  for (size_t i = 0; i < results.size(); ++i) {
    const DType dtype = result_rule(op, static_cast<int>(i), compute, options);
    Dims reduced;
    if (i >= options.results.size() && row.kept >> i & 1)
      reduced = reduced_shape(shape, attrs[0], attrs.size() > 1 && attrs[1]);
    const Dims& own = i < options.results.size() ? options.results[i].shape
                      : row.kept >> i & 1        ? reduced
                                                 : shape;
    if (i < options.targets.size() && options.targets[i].defined()) {
      const Tensor& target = options.targets[i];
      check_target(op, *target.impl(), device, dtype, own);
      made.add(target);
      in_place = true;
      continue;
    }
    const bool follows =
        !options.row_major && (row.kind == graph::OpKind::map || op == Op::dropout);
    made.add(make_fresh(device, dtype, own,
                        i < options.results.size() && !options.results[i].strides.empty()
                            ? options.results[i].strides
                        : follows ? elementwise_strides(in, own)
                                  : contiguous_strides(own)));
  }

  // An operand that lies across a target's elements is read from a copy, unless it is the target.
  if (in_place) {
    for (Resolved& r : in) {
      if (r.kind != Resolved::tensor) continue;
      for (const Tensor& target : made) {
        const TensorImpl &t = *target.impl(), &o = *r.impl;
        if (o.storage != t.storage || same_view(o, t) || !ranges_meet(o, t)) continue;
        stand_ins.push_back(copy_of(Tensor(Ref<TensorImpl>(r.impl))));
        r.impl = stand_ins.back().impl();
        break;
      }
    }
  }

  Scratch<plan::In, k_most_operands + k_most_results> tape_in;
  for (size_t i = 0; i < in.size(); ++i) {
    const Resolved& r = in[i];
    if (r.kind == Resolved::tensor) {
      const TensorImpl& t = *r.impl;
      tape_in.add({plan::In::tensor, t.dtype, true, t.storage.get(), &t.layout, 0});
    } else {
      plan::In& word = tape_in.add({});
      // A 0-dim cpu tensor keeps its dtype class through the word; a number takes the node's.
      if (r.kind == Resolved::scalar) place_number(r.number, row.raw >> i & 1, compute, word);
    }
  }
  Scratch<plan::Out, k_most_results> tape_out;
  bool nothing = true;  // nothing to compute: every result is empty
  for (size_t i = 0; i < results.size(); ++i) {
    const TensorImpl& t = *made[i].impl();
    const bool targeted = i < options.targets.size() && options.targets[i].defined();
    int at = -1;
    bool full = true;
    if (targeted) {
      for (size_t k = 0; k < in.size() && at < 0; ++k)
        if (in[k].kind == Resolved::tensor && same_view(*in[k].impl, t)) at = static_cast<int>(k);
      if (at < 0) {
        while (tape_in.size() < row.inputs) tape_in.add({});  // no target where an input could be
        at = static_cast<int>(tape_in.size());
        tape_in.add({plan::In::tensor, t.dtype, false, t.storage.get(), &t.layout, 0});
      }
      full = t.layout.is_dense() &&
             t.layout.numel() * static_cast<int64_t>(size_of(t.dtype)) == t.storage->bytes;
    }
    tape_out.add({t.storage.get(), t.dtype, &t.layout, at, full});
    nothing = nothing && t.layout.numel() == 0;
  }

  if (nothing) {
    for (size_t i = 0; i < results.size(); ++i)
      if (!made[i].storage().block)
        made[i].storage().block = device_runtime(device).allocator().allocate(0);
  } else {
    plan::Tape::current(device).record(op, compute, tape_in, tape_out, attrs);
  }
  for (size_t i = 0; i < results.size(); ++i) {
    if (tape_out[i].target >= 0) made[i].impl()->bump_version();
    results[i] = std::move(made[i]);
  }
}

Tensor record_cat(std::span<const Tensor> tensors, int dim, DType dtype, const Layout& layout) {
  QS_ASSERT(!tensors.empty() && tensors.size() <= k_most_joined);
  const DeviceType device = tensors[0].device_type();
  const Tensor out = make_fresh(device, dtype, layout.shape, layout.strides);
  if (out.numel() == 0) {
    out.storage().block = device_runtime(device).allocator().allocate(0);
    return out;
  }
  SmallVector<plan::In, 8> in;
  for (const Tensor& t : tensors)
    in.push_back(
        {plan::In::tensor, t.dtype(), true, t.impl()->storage.get(), &t.impl()->layout, 0});
  const plan::Out result{out.impl()->storage.get(), dtype, &out.impl()->layout, -1, true};
  const uint64_t attrs[] = {static_cast<uint64_t>(dim)};
  plan::Tape::current(device).record(Op::cat, dtype, {in.data(), in.size()}, {&result, 1}, attrs);
  return out;
}

Tensor make_view(const Tensor& base, Layout layout) {
  check_rank(layout.shape.size());
  auto impl = make_ref<TensorImpl>(base.impl()->storage, std::move(layout), base.dtype());
  impl->own_versions = base.impl()->own_versions;
  return Tensor(std::move(impl));
}

Tensor empty_strided_tensor(DimSpan shape, DimSpan strides, DType dtype, DeviceType device) {
  Layout layout{Dims(shape), Dims(strides), 0};
  check_rank(shape.size());
  checked_numel(shape);
  int64_t items = layout.numel() ? 1 : 0;
  for (size_t d = 0; items && d < shape.size(); ++d) {
    int64_t reach;
    const bool overflows = __builtin_mul_overflow(shape[d] - 1, strides[d], &reach) ||
                           __builtin_add_overflow(items, reach, &items);
    QS_CHECK(!overflows && strides[d] >= 0, Error,
             "Storage size calculation overflowed with sizes={} and strides={}", to_string(shape),
             to_string(strides));
  }
  const int64_t bytes = checked_bytes(layout.shape, layout.strides, items, dtype);
  Ref<Storage> storage = make_ref<Storage>(device, bytes);
  storage->block = device_runtime(device).allocator().allocate(static_cast<size_t>(bytes));
  return Tensor(make_ref<TensorImpl>(std::move(storage), std::move(layout), dtype));
}

Tensor empty_tensor(DimSpan shape, DType dtype, DeviceType device) {
  return empty_strided_tensor(shape, contiguous_strides(shape), dtype, device);
}

Tensor from_external(void* data, Layout layout, DType dtype, int64_t bytes, void (*release)(void*),
                     void* context, DeviceType device) {
  struct Owner {
    void (*release)(void*);
    void* context;
  };
  auto owner = std::make_unique<Owner>(Owner{release, context});
  Ref<Storage> storage = make_ref<Storage>(device, bytes);
  storage->block = device_runtime(device).allocator().wrap(
      data, static_cast<size_t>(bytes),
      [](void* p) noexcept {
        const std::unique_ptr<Owner> mine(static_cast<Owner*>(p));
        mine->release(mine->context);
      },
      owner.get());
  (void)owner.release();
  return Tensor(make_ref<TensorImpl>(std::move(storage), std::move(layout), dtype));
}

Tensor from_host(const void* data, DimSpan shape, DType dtype, DeviceType device) {
  Tensor t = empty_tensor(shape, dtype, device);
  const size_t bytes = static_cast<size_t>(t.numel()) * size_of(dtype);
  if (bytes) device_runtime(device).driver().write(t.storage().block->ptr(), data, bytes);
  return t;
}

Tensor copy_to_device(const Tensor& t, DeviceType device) {
  if (t.numel() == 0) return empty_tensor(t.shape(), t.dtype(), device);
  const Tensor source = t.layout().is_dense() ? t : copy_of(t);
  const size_t item = size_of(t.dtype());
  const size_t bytes = static_cast<size_t>(t.numel()) * item;
  Tensor out = empty_strided_tensor(source.shape(), source.strides(), t.dtype(), device);
  plan::Tape::materialize(source.storage());
  const char* from = static_cast<const char*>(source.storage().block->ptr()) +
                     source.storage_offset() * static_cast<int64_t>(item);
  void* to = out.storage().block->ptr();
  const bool from_host = source.is_cpu(), to_host = device == DeviceType::cpu;
  if (to_host)
    device_runtime(source.device_type()).driver().read(to, from, bytes);
  else if (from_host)
    device_runtime(device).driver().write(to, from, bytes);
  else
    device_runtime(device).driver().copy(to, from, bytes);
  return out;
}

}  // namespace qs
