// What the result of a recorded op looks like: device, dtype, shape and strides, PyTorch's rules.
#pragma once
#include <optional>
#include <span>

#include "quicksilver/core/layout.h"
#include "quicksilver/graph/op.h"
#include "quicksilver/tensor/record.h"

namespace qs {

/// An operand after numbers and 0-dim cpu tensors have been told from tensors.
struct Resolved {
  enum Kind : uint8_t { absent, tensor, scalar } kind = absent;
  PromotionRank rank = PromotionRank::number;
  DType dtype = DType::f32;
  TensorImpl* impl = nullptr;
  Scalar number;
};

/// Tells operands apart and finds the one device; throws PyTorch's text when there are two.
DeviceType resolve_operands(Op op, std::span<const Operand> in, std::optional<DeviceType> fallback,
                            std::span<Resolved> out);
/// The dtype the op computes in.
DType compute_rule(Op op, std::span<const Resolved> in, const RecordOptions& options);
/// The dtype of result `i`.
DType result_rule(Op op, int i, DType compute, const RecordOptions& options);
/// Strides of a fresh elementwise result: PyTorch keeps the memory order of the inputs.
Dims elementwise_strides(std::span<const Resolved> in, DimSpan shape);
/// The same for one tensor: its own strides when it is dense, else its order without the gaps.
QS_API Dims preserved_strides(const Layout& layout);
/// The strides say channels-last rather than row-major (four dimensions; PyTorch's rule for which
/// of the two is meant when extents of 1 leave it open).
QS_API bool suggests_channels_last(const Layout& layout);
/// [n, c, h, w] (or with depth) with the channels innermost.
QS_API Dims channels_last_strides(DimSpan shape);
/// What PyTorch's messages call the dtype: "Float", "Long".
std::string_view title_of(DType d);
/// A value of dtype `from` may be written into a tensor of dtype `to` (torch.can_cast).
bool can_cast(DType from, DType to);

}  // namespace qs
