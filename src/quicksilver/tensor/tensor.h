// The tensor: a handle on a storage, a layout over it, a dtype and a gradient slot.
//
// Tensor is a counted pointer to a TensorImpl, cheap to copy; copies are the same tensor. Views are
// other TensorImpls over the same Storage. A Storage's content is material or pending
// (plan/tape.h); reading it from the host (`item`, `to_host`) brings it up to date first.
//
// Methods that are differentiable verbs are declared here, because C++ wants them in the class, and
// defined in autograd/methods.cpp over the verbs; this room calls none of them.
#pragma once
#include <initializer_list>
#include <optional>
#include <vector>

#include "quicksilver/core/device.h"
#include "quicksilver/core/layout.h"
#include "quicksilver/core/ref.h"
#include "quicksilver/core/scalar.h"
#include "quicksilver/plan/tape.h"

namespace qs {

/// Counts in-place writes, for autograd.
class VersionCounter final : public RefCounted {
 public:
  uint32_t count = 0;
};

/// The memory behind one or more tensors. `version` counts in-place writes, for autograd.
class QS_API Storage final : public plan::Content {
 public:
  using Content::Content;
  static void* operator new(size_t n);  // a per-thread free list: one is made for each op
  static void operator delete(void* p, size_t n) noexcept;
  uint32_t version() const { return version_; }
  void bump_version() { ++version_; }

 private:
  uint32_t version_ = 0;
};

class Tensor;

/// What the autograd room hangs on a tensor: requires_grad, grad, grad_fn, hooks. Opaque here.
class QS_API GradSlot : public RefCounted {};

class QS_API TensorImpl final : public RefCounted {
 public:
  TensorImpl(Ref<Storage> storage_in, Layout layout_in, DType dtype_in)
      : storage(std::move(storage_in)), layout(std::move(layout_in)), dtype(dtype_in) {}
  ~TensorImpl() override;
  static void* operator new(size_t n);  // a per-thread free list: one is made for each op
  static void operator delete(void* p, size_t n) noexcept;

  Ref<Storage> storage;
  Layout layout;
  DType dtype;
  bool requires_grad = false;  // leaf that wants a gradient, or result of a recorded op that does
  bool is_parameter = false;   // Python shows it as nn.Parameter
  bool is_wrapped_number = false;  // 0-dim, made from a Python number: promotes like one
  Ref<GradSlot> grad_slot;
  /// Of `.data` and its views, whose writes are not seen by what autograd saved of the storage;
  /// null: the storage counts.
  Ref<VersionCounter> own_versions;
  uint32_t version() const { return own_versions ? own_versions->count : storage->version(); }
  void bump_version() { own_versions ? void(++own_versions->count) : storage->bump_version(); }
  void* python_object =
      nullptr;  // the live Python wrapper, not owned; touched under the interpreter's lock
};

/// What a tensor is made as.
struct Options {
  std::optional<DType> dtype;
  std::optional<Device> device;
  bool requires_grad = false;
  Options() = default;
  Options(DType d) : dtype(d) {}
  Options(Device d) : device(d) {}
  Options(DeviceType d) : device(Device(d)) {}
  Options(DType t, Device d) : dtype(t), device(d) {}
};

class QS_API Tensor {
 public:
  Tensor() = default;  // undefined
  explicit Tensor(Ref<TensorImpl> impl) : impl_(std::move(impl)) {}

  bool defined() const { return static_cast<bool>(impl_); }
  TensorImpl* impl() const { return impl_.get(); }
  const Ref<TensorImpl>& ref() const { return impl_; }
  bool same(const Tensor& o) const { return impl_ == o.impl_; }

  // ---- facts
  const Layout& layout() const { return impl_->layout; }
  DimSpan shape() const { return impl_->layout.shape; }
  DimSpan strides() const { return impl_->layout.strides; }
  int64_t size(int64_t dim) const {
    return shape()[static_cast<size_t>(wrap_dim(dim, this->dim()))];
  }
  int64_t stride(int64_t dim) const {
    return strides()[static_cast<size_t>(wrap_dim(dim, this->dim()))];
  }
  int64_t storage_offset() const { return impl_->layout.offset; }
  int dim() const { return impl_->layout.rank(); }
  int64_t numel() const { return impl_->layout.numel(); }
  DType dtype() const { return impl_->dtype; }
  DeviceType device_type() const { return impl_->storage->device; }
  Device device() const {
    return device_type() == DeviceType::mps ? Device(DeviceType::mps, 0) : Device(DeviceType::cpu);
  }
  bool is_mps() const { return device_type() == DeviceType::mps; }
  bool is_cpu() const { return device_type() == DeviceType::cpu; }
  bool is_contiguous() const { return impl_->layout.is_contiguous(); }
  Storage& storage() const { return *impl_->storage; }

  // ---- reading (brings the content up to date; errors of earlier data-dependent ops surface here)
  /// The one element as a number; RuntimeError when there are more.
  Scalar item() const;
  template <class T>
  T item() const {
    if constexpr (std::is_same_v<T, bool>)
      return item().to_bool();
    else if constexpr (std::is_integral_v<T>)
      return static_cast<T>(item().to_int());
    else
      return static_cast<T>(item().to_double());
  }
  /// Copies all elements, row-major, to host memory of numel * size_of(dtype) bytes.
  void to_host(void* destination) const;
  /// Address of the first element in host memory (cpu tensors and drivers with host memory);
  /// pending content is computed first.
  void* data_ptr() const;
  template <class T>
  T* data() const {
    return static_cast<T*>(data_ptr());
  }

  // ---- autograd (autograd/)
  bool requires_grad() const { return impl_->requires_grad; }
  const Tensor& set_requires_grad(bool on = true) const;
  bool is_leaf() const;
  Tensor grad() const;
  void set_grad(const Tensor& grad) const;
  void backward(const Tensor& gradient = {}, bool retain_graph = false,
                bool create_graph = false) const;
  Tensor detach() const;

  // ---- verbs (autograd/verbs.h has all of them as functions)
  Tensor to(Device device) const;
  Tensor to(DType dtype) const;
  Tensor cpu() const { return to(Device(DeviceType::cpu)); }
  Tensor clone() const;
  Tensor contiguous() const;
  Tensor view(std::initializer_list<int64_t> shape) const;
  Tensor reshape(std::initializer_list<int64_t> shape) const;
  Tensor transpose(int64_t a, int64_t b) const;
  Tensor t() const;
  Tensor operator[](int64_t index) const;
  Tensor slice(int64_t dim, int64_t start, int64_t stop, int64_t step = 1) const;
  Tensor sum() const;
  Tensor sum(int64_t dim, bool keepdim = false) const;
  Tensor mean() const;
  Tensor argmax(int64_t dim) const;
  Tensor matmul(const Tensor& other) const;
  Tensor exp() const;
  Tensor relu() const;
  const Tensor& add_(const Tensor& other, Scalar alpha = 1) const;
  const Tensor& mul_(const Tensor& other) const;
  const Tensor& zero_() const;
  const Tensor& fill_(Scalar value) const;
  const Tensor& copy_(const Tensor& source) const;

 private:
  Ref<TensorImpl> impl_;
};

/// An input of a recorded op: a tensor, a number (a launch argument) or nothing.
class Operand {
 public:
  enum Kind : uint8_t { absent, tensor, scalar };
  Operand() : kind_(absent), tensor_(nullptr) {}
  Operand(std::nullopt_t) : Operand() {}
  Operand(const Tensor& t) : kind_(t.defined() ? tensor : absent), tensor_(t.impl()) {}
  Operand(Scalar s) : kind_(scalar), tensor_(nullptr), scalar_(s) {}
  Operand(double v) : Operand(Scalar(v)) {}
  Operand(int v) : Operand(Scalar(v)) {}
  Operand(int64_t v) : Operand(Scalar(v)) {}
  Operand(bool v) : Operand(Scalar(v)) {}
  Kind kind() const { return kind_; }
  bool is_tensor() const { return kind_ == tensor; }
  TensorImpl* impl() const { return tensor_; }
  const Scalar& number() const { return scalar_; }

 private:
  Kind kind_;
  TensorImpl* tensor_;  // borrowed for the call
  Scalar scalar_;
};

}  // namespace qs
