// Gradients of special functions, of complex parts, and of reductions by index.
#include <cmath>

#include "quicksilver/autograd/gradients.h"

namespace qs::autograd {

Tensor as_tensor(const Value& v, const Tensor& like) {
  return v.is_number ? full({}, v.number, Options(like.dtype(), like.device())) : v.tensor;
}

Tensor eq_zero(const Value& v, const Tensor& like) { return eq(as_tensor(v, like), 0); }
Tensor le_zero(const Value& v, const Tensor& like) { return le(as_tensor(v, like), 0); }

Value conj(const Value& v) {
  Value out = v;
  if (v.is_number) {
    if (v.number.kind() == Scalar::Kind::complex)
      out.number = Scalar(v.number.to_double(), -v.number.imag());
  } else if (v.tensor.defined()) {
    out.tensor = qs::conj(v.tensor);
  }
  return out;
}

// ---- elementwise
Tensor sinc_slope(const Tensor& x) {
  // (cos(pi x) pi x - sin(pi x)) / (pi x^2); 0 at 0.
  const Tensor zero = eq(x, 0), safe = where(zero, 1, x), angle = safe * M_PI;
  return where(zero, 0, (cos(angle) * angle - sin(angle)) / (square(safe) * M_PI));
}

Tensor i1_slope(const Tensor& x, const Tensor& y, const Tensor& order0, bool scaled) {
  // i0 - i1 / x, which is 1/2 at 0; of the scaled form also - sign(x) y.
  const Tensor small = le(abs(x), 1e-10), safe = where(small, 1, x);
  const Tensor ratio = y / safe;
  const Tensor slope = scaled ? order0 - y * (sign(x) + reciprocal(safe)) : order0 - ratio;
  return where(small, 0.5, slope);
}

Tensor igamma_slope(const Tensor& a, const Tensor& x) {
  return exp((a - 1) * log(x) - x - lgamma(a));
}

Tensor outside_band(const Tensor& g, const Tensor& x, const Value& edge) {
  return where(le(abs(x), edge), 0, g);
}

Tensor mish_second(const Tensor& x) {
  // t + x s (1 - t^2), t = tanh(softplus(x)), s = sigmoid(x), once more.
  const Tensor s = sigmoid(x), t = tanh(softplus(x));
  const Tensor fall = rsub(square(t), 1);
  const Tensor slope = fall * s;
  return slope * 2 + x * (s * rsub(s, 1) * fall - t * s * slope * 2);
}

// ---- complex numbers
Tensor ones_like_of(const Tensor& g, const Value& v) {
  return full_like(real_part(g), 1) *
         ones(as_tensor(v, real_part(g)).shape(), Options(real_part(g).dtype(), g.device()));
}

Tensor angle_gradient(const Tensor& g, const Tensor& x) {
  if (!is_complex(x.dtype())) return full_like(g, 0);
  const Tensor re = real_part(x), im = imag_part(x), size = square(re) + square(im);
  const Tensor zero = eq(size, 0), safe = where(zero, 1, size);
  return complex(where(zero, 0, neg(im) * g / safe), where(zero, 0, re * g / safe));
}

Tensor sgn_gradient(const Tensor& g, const Tensor& x, const Tensor& out) {
  // (g - Re(conj(out) g) out) / |x|
  const Tensor size = abs(x), zero = eq(size, 0), safe = where(zero, 1, size);
  const Tensor along = real_part(qs::conj(out) * g);
  return where(zero, 0, (g - out * along) / safe);
}

// ---- reductions by index: attribute 1 is 2 for products, 3 and 4 for extremes
namespace {

struct Reduction {
  Tensor x, index, source, result;
  int64_t dim;
  bool product;
};

Reduction reduction_of(const Context& c) {
  Reduction r{c.t(0), c.t(1), c.t(2), c.out(), int64_t(c.attr(0)), c.attr(1) == 2};
  if (r.index.dim() != r.source.dim() || !(Dims(r.index.shape()) == Dims(r.source.shape()))) {
    Dims shape(static_cast<size_t>(r.source.dim()), 1);
    shape[static_cast<size_t>(r.dim)] = r.index.numel();
    r.index = expand(view(r.index, shape), r.source.shape());
  }
  return r;
}

/// g shared among all that equal the extreme; `hits_x` and `hits_source` say who does.
Tensor shared(const Reduction& r, const Tensor& g, Tensor& hits_x, Tensor& hits_source) {
  hits_x = to(eq(r.x, r.result), {}, g.dtype());
  hits_source = to(eq(r.source, gather(r.result, r.dim, r.index)), {}, g.dtype());
  const Tensor count = scatter_add(hits_x, r.dim, r.index, hits_source);
  return g / where(eq(count, 0), 1, count);
}

}  // namespace

Tensor scatter_reduce_input(const Context& c, const Tensor& g) {
  const Reduction r = reduction_of(c);
  if (!r.product) {
    Tensor hits_x, hits_source;
    const Tensor share = shared(r, g, hits_x, hits_source);
    return share * hits_x;
  }
  const Tensor safe = where(eq(r.x, 0), 1, r.x);
  const Tensor others = scatter_reduce(safe, r.dim, r.index, r.source, "prod") / safe;
  return g * others;
}

Tensor scatter_reduce_source(const Context& c, const Tensor& g) {
  const Reduction r = reduction_of(c);
  if (!r.product) {
    Tensor hits_x, hits_source;
    const Tensor share = shared(r, g, hits_x, hits_source);
    return gather(share, r.dim, r.index) * hits_source;
  }
  // The product of the others: all over one's own, or, at a single zero, all but that.
  const Tensor zero = eq(r.source, 0), safe = where(zero, 1, r.source);
  const Tensor zeros_in = scatter_add(zeros(r.x.shape(), Options(DType::i64, g.device())), r.dim,
                                      r.index, to(zero, {}, DType::i64));
  const Tensor others = gather(scatter_reduce(r.x, r.dim, r.index, safe, "prod"), r.dim, r.index);
  const Tensor here = gather(zeros_in, r.dim, r.index);
  const Tensor kept = logical_or(eq(here, 0), logical_and(zero, eq(here, 1)));
  return where(kept, gather(g, r.dim, r.index) * others / safe, 0);
}

Tensor logcumsumexp_gradient(const Context& c, const Tensor& g) {
  // exp(x) * reversed cumsum of g exp(-out), in logarithms, apart for either sign of g.
  const int64_t dim = int64_t(c.attr(0));
  const Dims dims{dim};
  const Tensor x = c.t(0), out = c.out();
  const auto part = [&](const Tensor& log_g) {
    return exp(flip(logcumsumexp(flip(log_g - out, dims), dim), dims) + x);
  };
  const double none = -6e4;  // every dtype holds it, and e to it is 0
  const Tensor size = log(abs(g));
  return part(where(gt(g, 0), size, none)) - part(where(lt(g, 0), size, none));
}

}  // namespace qs::autograd
