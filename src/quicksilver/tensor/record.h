// Recording one op on tensors: devices, dtypes and shapes are checked here, results and their
// storages made, the node handed to the tape. No autograd: that is the verbs' business.
#pragma once
#include <span>

#include "quicksilver/graph/op.h"
#include "quicksilver/tensor/tensor.h"

namespace qs {

using graph::Op;

/// A result whose shape or dtype the op's row cannot tell from its inputs.
struct ResultSpec {
  DType dtype;
  Dims shape;
  Dims strides = {};  // dense, in any order of dimensions; none: row-major
};

struct RecordOptions {
  std::optional<DType> dtype;           // of the result (casts, creation); else the row's rule
  std::optional<DType> compute;         // dtype to compute in; else the row's rule
  std::optional<DeviceType> device;     // for ops without tensor inputs
  std::span<const ResultSpec> results;  // kernel and library ops, creation
  // In place or out=: one entry a result that overwrites an existing tensor; null or undefined
  // entries are fresh. The tensor's shape must be the result's, its dtype reachable by a safe cast.
  std::span<const Tensor> targets;
  bool row_major = false;  // fresh results are contiguous, whatever order the inputs have
};

/// Records `op`. Fills `results` (as many as the row has). Throws PyTorch's exceptions; then
/// nothing has been recorded and no tensor has changed.
QS_API void record(Op op, std::span<const Operand> in, std::span<const uint64_t> attrs,
                   const RecordOptions& options, std::span<Tensor> results);

/// Records `cat`: the tensors, of one device and all sizes but along `dim` equal, behind one
/// another in a fresh tensor of the given dtype and dense layout. At most k_most_joined.
QS_API Tensor record_cat(std::span<const Tensor> tensors, int dim, DType dtype,
                         const Layout& layout);
inline constexpr size_t k_most_joined = 128;

/// Another tensor over the same storage.
QS_API Tensor make_view(const Tensor& base, Layout layout);
/// Fresh uninitialised memory (material at once).
QS_API Tensor empty_tensor(DimSpan shape, DType dtype, DeviceType device);
QS_API Tensor empty_strided_tensor(DimSpan shape, DimSpan strides, DType dtype, DeviceType device);
/// A tensor over host memory that somebody else owns, on cpu or on an mps that has host memory;
/// `release(context)` runs when the storage dies.
QS_API Tensor from_external(void* data, Layout layout, DType dtype, int64_t bytes,
                            void (*release)(void*), void* context,
                            DeviceType device = DeviceType::cpu);
/// A tensor on `device` with a copy of row-major host data.
QS_API Tensor from_host(const void* data, DimSpan shape, DType dtype, DeviceType device);
/// The result dtype of a binary op (torch.result_type).
QS_API DType result_type(std::span<const Operand> in);

QS_API DType default_dtype();
QS_API void set_default_dtype(DType dtype);

/// Bytes and layout as they are, to another device; no dtype change. Differentiable in the verb.
QS_API Tensor copy_to_device(const Tensor& t, DeviceType device);

}  // namespace qs
