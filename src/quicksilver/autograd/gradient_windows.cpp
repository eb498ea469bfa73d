// Gradients of ops over windows: each is linear in what it differentiates, so its gradient is the
// transposed op, whose gradient is the op again.
#include "quicksilver/autograd/gradients.h"

namespace qs::autograd {
namespace {

Attrs attributes(const Context& c, size_t n, SmallVector<uint64_t, 16>& to) {
  for (size_t i = 0; i < n; ++i) to.push_back(c.attr(static_cast<int>(i)));
  return {to.data(), to.size()};
}

Tensor kernel_op(Op op, std::initializer_list<Operand> in, Attrs attrs, const Tensor& g,
                 DimSpan shape) {
  const ResultSpec spec[] = {{g.dtype(), Dims(shape)}};
  RecordOptions options;
  options.compute = g.dtype();
  options.results = spec;
  return apply(op, Operands(in.begin(), in.size()), attrs, options);
}

}  // namespace

Tensor max_pool_input(const Context& c, const Tensor& g) {
  const uint64_t attrs[] = {c.attr(0)};
  return kernel_op(Op::max_pool_backward, {g, c.out(1)}, attrs, g, c.shape(0));
}

Tensor take_positions(const Tensor& x, const Tensor& positions, int64_t spatial) {
  // One row for each plane, from which the positions pick.
  const auto planes = [&](DimSpan shape) {
    Dims rows(shape.first(shape.size() - static_cast<size_t>(spatial)));
    int64_t n = 1;
    for (int64_t s : shape.last(static_cast<size_t>(spatial))) n *= s;
    rows.push_back(n);
    return rows;
  };
  const Tensor index = reshape(to(positions, {}, DType::i64), planes(positions.shape()));
  return reshape(gather(reshape(x, planes(x.shape())), -1, index), positions.shape());
}

Tensor window_sums(Op op, const Context& c, const Tensor& g) {
  SmallVector<uint64_t, 16> attrs;
  return kernel_op(op, {g}, attributes(c, 3 + 3 * c.attr(0), attrs), g, c.shape(0));
}

Tensor resample_transposed(const Context& c, const Tensor& g) {
  SmallVector<uint64_t, 16> attrs;
  attributes(c, 3 + 2 * c.attr(0), attrs);
  attrs[2] ^= 4;
  return kernel_op(Op::resample, {g}, {attrs.data(), attrs.size()}, g, c.shape(0));
}

Tensor im2col_again(const Context& c, const Tensor& g) {
  const auto pair = [&](int i) { return Dims{int64_t(c.attr(i)), int64_t(c.attr(i + 1))}; };
  return im2col(g, pair(0), pair(2), pair(4), pair(6));
}

}  // namespace qs::autograd
