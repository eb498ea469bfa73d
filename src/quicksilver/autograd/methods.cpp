// Tensor's methods that are verbs.
#include "quicksilver/autograd/verbs.h"

namespace qs {

Tensor Tensor::detach() const { return qs::detach(*this); }
Tensor Tensor::to(Device device) const { return qs::to(*this, device, {}); }
Tensor Tensor::to(DType dtype) const { return qs::to(*this, {}, dtype); }
Tensor Tensor::clone() const { return qs::clone(*this); }
Tensor Tensor::contiguous() const { return qs::contiguous(*this); }
Tensor Tensor::view(std::initializer_list<int64_t> shape) const {
  return qs::view(*this, DimSpan(shape.begin(), shape.size()));
}
Tensor Tensor::reshape(std::initializer_list<int64_t> shape) const {
  return qs::reshape(*this, DimSpan(shape.begin(), shape.size()));
}
Tensor Tensor::transpose(int64_t a, int64_t b) const { return qs::transpose(*this, a, b); }
Tensor Tensor::t() const { return qs::t(*this); }
Tensor Tensor::operator[](int64_t index) const { return qs::select(*this, 0, index); }
Tensor Tensor::slice(int64_t dim, int64_t start, int64_t stop, int64_t step) const {
  return qs::slice(*this, dim, start, stop, step);
}
Tensor Tensor::sum() const { return qs::sum(*this); }
Tensor Tensor::sum(int64_t dim, bool keepdim) const { return qs::sum(*this, Dims{dim}, keepdim); }
Tensor Tensor::mean() const { return qs::mean(*this); }
Tensor Tensor::argmax(int64_t dim) const { return qs::argmax(*this, dim); }
Tensor Tensor::matmul(const Tensor& other) const { return qs::matmul(*this, other); }
Tensor Tensor::exp() const { return qs::exp(*this); }
Tensor Tensor::relu() const { return qs::relu(*this); }
const Tensor& Tensor::add_(const Tensor& other, Scalar alpha) const {
  return qs::add_(*this, other, alpha);
}
const Tensor& Tensor::mul_(const Tensor& other) const { return qs::mul_(*this, other); }
const Tensor& Tensor::zero_() const { return qs::zero_(*this); }
const Tensor& Tensor::fill_(Scalar value) const { return qs::fill_(*this, value); }
const Tensor& Tensor::copy_(const Tensor& source) const { return qs::copy_(*this, source); }

}  // namespace qs
