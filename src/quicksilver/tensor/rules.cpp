#include "quicksilver/tensor/rules.h"

#include <algorithm>
#include <atomic>
#include <numeric>

#include "quicksilver/core/error.h"

namespace qs {
namespace {

std::atomic<DType> g_default_dtype{DType::f32};

std::string device_text(DeviceType d) { return d == DeviceType::mps ? "mps:0" : "cpu"; }

}  // namespace

DType default_dtype() { return g_default_dtype.load(std::memory_order_relaxed); }
void set_default_dtype(DType dtype) {
  QS_CHECK(is_floating(dtype), TypeError,
           "only floating-point types are supported as the default type, got {}", name_of(dtype));
  g_default_dtype = dtype;
}

DeviceType resolve_operands(Op op, std::span<const Operand> in, std::optional<DeviceType> fallback,
                            std::span<Resolved> out) {
  bool found = false;
  bool only_zero_dim_cpu = true;
  DeviceType device = fallback.value_or(DeviceType::cpu);
  for (size_t i = 0; i < in.size(); ++i) {
    Resolved& r = out[i];
    if (in[i].kind() == Operand::absent) continue;
    if (in[i].kind() == Operand::scalar) {
      r.kind = Resolved::scalar;
      r.number = in[i].number();
      r.dtype = r.number.dtype();
      continue;
    }
    r.kind = Resolved::tensor;
    r.impl = in[i].impl();
    r.dtype = r.impl->dtype;
    r.rank = r.impl->is_wrapped_number    ? PromotionRank::number
             : r.impl->layout.rank() == 0 ? PromotionRank::zero_dim
                                          : PromotionRank::dimensioned;
    const DeviceType d = r.impl->storage->device;
    const bool movable = d == DeviceType::cpu && r.impl->layout.rank() == 0;
    if (!found || (only_zero_dim_cpu && !movable)) {
      device = d;
      found = true;
      only_zero_dim_cpu = movable;
    } else if (d != device && !movable) {
      throw Error(qs::format(
          "Expected all tensors to be on the same device, but found at least two devices, {} and "
          "{}! (in {}; move one of them with .to())",
          device_text(device), device_text(d), name_of(op)));
    }
  }
  if (!found) return device;
  for (Resolved& r : out.first(in.size())) {
    if (r.kind != Resolved::tensor || r.impl->storage->device == device) continue;
    // A 0-dim cpu tensor beside mps tensors is read now and becomes a launch argument.
    r.number = Tensor(Ref<TensorImpl>(r.impl)).item();
    r.kind = Resolved::scalar;
  }
  return device;
}

DType compute_rule(Op op, std::span<const Resolved> in, const RecordOptions& options) {
  if (options.compute) return *options.compute;
  const graph::OpInfo& row = graph::info(op);
  PromotionOperand taking[16];
  size_t n = 0;
  bool same = true;
  for (size_t i = 0; i < in.size() && n < 16; ++i) {
    if (in[i].kind == Resolved::absent || row.raw >> i & 1) continue;
    taking[n] = {in[i].dtype, in[i].rank};
    same = same && in[i].dtype == taking[0].dtype;
    ++n;
  }
  DType common = DType::f32;
  if (n == 0) {
    common = options.dtype.value_or(default_dtype());
  } else if (same && taking[0].rank != PromotionRank::number) {
    common = taking[0].dtype;
  } else {
    common = promote_all(taking, n, default_dtype());
  }
  switch (row.rule) {
    case graph::DTypeRule::floating:
      if (is_integral(common)) common = default_dtype();
      break;
    case graph::DTypeRule::sum:
      if (options.dtype) return *options.dtype;
      if (is_integral(common)) common = DType::i64;
      break;
    default:
      break;
  }
  return common;
}

DType result_rule(Op op, int i, DType compute, const RecordOptions& options) {
  if (static_cast<size_t>(i) < options.results.size())
    return options.results[static_cast<size_t>(i)].dtype;
  if (i == 0 && options.dtype) return *options.dtype;
  switch (op) {
    case Op::dropout:
      if (i == 1) return DType::bool_;
      break;
    case Op::layer_norm:
    case Op::rms_norm:
    case Op::batch_norm:
      if (i > 0) return compute_dtype(compute);  // mean and rstd keep their digits for backward
      break;
    case Op::cross_entropy:
      if (i > 0) return compute_dtype(compute);
      break;
    default:
      break;
  }
  switch (graph::info(op).rule) {
    case graph::DTypeRule::compare:
    case graph::DTypeRule::boolean:
      return DType::bool_;
    case graph::DTypeRule::index:
      return DType::i64;
    default:
      return compute;
  }
}

namespace {

/// Strides of what has `shape` and the memory order of `odd`.
Dims ordered_strides(const SmallVector<const Layout*, 8>& odd, DimSpan shape) {
  const int rank = static_cast<int>(shape.size());
  // PyTorch's TensorIterator: a stable insertion sort of the dimensions by the strides of the
  // operands in turn; broadcast dimensions decide nothing.
  auto stride = [&](const Layout& l, int d) -> int64_t {
    const int own = d - (rank - l.rank());
    if (own < 0 || (l.shape[own] == 1 && shape[d] != 1)) return 0;
    return l.strides[own];
  };
  auto should_swap = [&](int a, int b) {
    for (const Layout* l : odd) {
      const int64_t sa = stride(*l, a), sb = stride(*l, b);
      if (sa == 0 || sb == 0) continue;
      if (sa != sb) return sa < sb ? -1 : 1;
      if (shape[a] > shape[b]) return 1;
    }
    return 0;
  };
  SmallVector<int, 8> order(shape.size());
  for (int i = 0; i < rank; ++i) order[i] = rank - 1 - i;
  for (int i = 1; i < rank; ++i) {
    int at = i;
    for (int j = i - 1; j >= 0; --j) {
      const int swap = should_swap(order[j], order[at]);
      if (swap > 0) {
        std::swap(order[j], order[at]);
        at = j;
      } else if (swap < 0) {
        break;
      }
    }
  }
  Dims strides(shape.size());
  int64_t step = 1;
  for (int d : order) {
    strides[d] = step;
    step *= std::max<int64_t>(shape[d], 1);
  }
  return strides;
}

}  // namespace

Dims elementwise_strides(std::span<const Resolved> in, DimSpan shape) {
  if (shape.size() < 2) return contiguous_strides(shape);
  // Only tensors that are not row-major over the whole shape can pull the order elsewhere.
  const bool plain = std::all_of(in.begin(), in.end(), [&](const Resolved& r) {
    if (r.kind != Resolved::tensor || r.impl->layout.rank() == 0) return true;
    const Layout& l = r.impl->layout;
    return std::equal(l.shape.begin(), l.shape.end(), shape.begin(), shape.end()) &&
           l.is_contiguous();
  });
  if (plain) return contiguous_strides(shape);
  SmallVector<const Layout*, 8> layouts;
  for (const Resolved& r : in)
    if (r.kind == Resolved::tensor && r.impl->layout.rank() > 0) layouts.push_back(&r.impl->layout);
  return ordered_strides(layouts, shape);
}

Dims preserved_strides(const Layout& layout) {
  if (layout.is_dense()) return layout.strides;
  if (layout.rank() < 2) return contiguous_strides(layout.shape);
  SmallVector<const Layout*, 8> one;
  one.push_back(&layout);
  return ordered_strides(one, layout.shape);
}

bool suggests_channels_last(const Layout& l) {
  if (l.rank() != 4 || l.strides[1] == 0) return false;
  int64_t least = 0;
  for (int d : {1, 3, 2, 0}) {
    if (l.shape[d] == 0 || l.strides[d] < least) return false;
    if (d == 0 && least == l.strides[1]) return false;  // [n, 1, 1, 1], or row-major [n, c, 1, 1]
    least = l.strides[d] * (l.shape[d] > 1 ? l.shape[d] : 1);
  }
  return true;
}

Dims channels_last_strides(DimSpan shape) {
  Dims strides(shape.size(), 1);
  int64_t step = std::max<int64_t>(1, shape[1]);
  for (size_t d = shape.size(); d-- > 2;) {
    strides[d] = step;
    step *= std::max<int64_t>(1, shape[d]);
  }
  strides[0] = step;
  return strides;
}

std::string_view title_of(DType d) {
  constexpr std::string_view names[k_dtype_count] = {
      "Bool",   "Byte", "Char",     "Short", "Int",    "Long",         "UInt16",       "UInt32",
      "UInt64", "Half", "BFloat16", "Float", "Double", "ComplexFloat", "ComplexDouble"};
  return names[static_cast<size_t>(d)];
}

bool can_cast(DType from, DType to) {
  if (is_complex(from)) return is_complex(to);
  if (is_floating(from)) return !is_integral(to);
  if (from != DType::bool_) return to != DType::bool_;
  return true;
}

DType result_type(std::span<const Operand> in) {
  SmallVector<PromotionOperand, 8> taking;
  for (const Operand& o : in) {
    if (o.kind() == Operand::scalar) {
      taking.push_back({o.number().dtype(), PromotionRank::number});
    } else if (o.kind() == Operand::tensor) {
      const TensorImpl& t = *o.impl();
      taking.push_back({t.dtype, t.is_wrapped_number    ? PromotionRank::number
                                 : t.layout.rank() == 0 ? PromotionRank::zero_dim
                                                        : PromotionRank::dimensioned});
    }
  }
  return promote_all(taking.data(), taking.size(), default_dtype());
}

}  // namespace qs
