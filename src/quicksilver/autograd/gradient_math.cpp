// The gradients that take more than a line, and the helpers of the table. Plain verbs throughout,
// so all of them have gradients of their own.
#include <bit>
#include <cmath>

#include "quicksilver/autograd/gradients.h"
#include "quicksilver/core/error.h"

namespace qs::autograd {

Tensor sum_to_shape(const Tensor& g, DimSpan shape) {
  if (Dims(g.shape()) == Dims(shape)) return g;
  const size_t lead = static_cast<size_t>(g.dim()) - shape.size();
  Dims dims;
  for (size_t d = 0; d < static_cast<size_t>(g.dim()); ++d)
    if (d < lead || (shape[d - lead] == 1 && g.shape()[d] != 1)) dims.push_back(int64_t(d));
  Tensor out = dims.empty() ? g : sum(g, dims, true);
  return lead ? view(out, shape) : out;
}

Tensor with_axes(const Tensor& t, uint64_t axes, bool keepdim) {
  if (keepdim) return t;
  Dims shape;
  size_t from = 0;
  for (size_t d = 0; from < t.shape().size() || axes >> d; ++d)
    shape.push_back(axes >> d & 1 ? 1 : t.shape()[from++]);
  return reshape(t, shape);
}

double axes_count(DimSpan shape, uint64_t axes) {
  double n = 1;
  for (uint64_t m = axes; m; m &= m - 1)
    n *= double(shape[static_cast<size_t>(std::countr_zero(m))]);
  return n;
}

Tensor axes_sum(const Tensor& t, uint64_t axes) { return apply(Op::sum, {t}, {axes, 1}); }

Tensor expand_kept(const Context& c, const Tensor& g) { return expand(c.kept(g), c.shape(0)); }

Tensor zeros_of(const Context& c, const Tensor& g) {
  return zeros(c.shape(0), Options(g.dtype(), g.device()));
}

void no_derivative(Op op) {
  throw NotImplementedError(
      qs::format("derivative for aten::{} is not implemented", graph::name_of(op)));
}

// ---- elementwise
Tensor div_other(const Tensor& g, const Value& x, const Value& y) {
  return neg(g) * div(div(x, y), y);
}

Tensor pow_base(const Tensor& g, const Value& x, const Value& y) {
  if (y.is_number) {
    if (y.number.to_double() == 0) return full_like(g, 0);
    return g * (pow(x, y.number.is_integral() ? Operand(y.number.to_int() - 1)
                                              : Operand(y.number.to_double() - 1)) *
                y);
  }
  return where(eq(y, 0), 0, g * mul(y, pow(x, sub(y, 1))));
}

Tensor pow_exponent(const Tensor& g, const Value& x, const Value& y, const Tensor& out) {
  if (x.is_number) {
    const double base = x.number.to_double();
    if (base == 0) return where(ge(y, 0), 0, g * (out * -INFINITY));
    return g * (out * std::log(base));
  }
  const Tensor at_zero = logical_and(eq(x, 0), ge(y, 0));
  const Tensor safe = where(at_zero, 1, x);  // log(0) would spoil the second derivative
  return where(at_zero, 0, g * (out * log(safe)));
}

Tensor atan2_slope(const Value& x, const Value& y, const Value& top) {
  const Tensor square_sum =
      x.is_number   ? add(mul(y, y), x.number.to_double() * x.number.to_double())
      : y.is_number ? add(mul(x, x), y.number.to_double() * y.number.to_double())
                    : add(mul(x, x), mul(y, y));
  const Tensor origin = eq(square_sum, 0);
  return where(origin, 0, div(top, where(origin, 1, square_sum)));
}

Tensor larger_takes(const Tensor& g, const Value& x, const Value& y) {
  return where(eq(x, y), g * 0.5, where(lt(x, y), 0, g));
}

Tensor numeric_takes(const Tensor& g, const Value& x, const Value& y, bool smaller, bool to_first) {
  // PyTorch: the first wins ties, and whoever is a number wins over NaN.
  const Operand ox = x, oy = y;
  const Tensor nan =
      y.is_number ? full_like(g, std::isnan(y.number.to_double()), DType::bool_) : isnan(y.tensor);
  const Tensor first = logical_or(smaller ? le(ox, oy) : ge(ox, oy), nan);
  return to_first ? where(first, g, 0) : where(first, 0, g);
}

namespace {

bool present(const Value& v) { return v.is_number || v.tensor.defined(); }

}  // namespace

Tensor clamp_input(const Tensor& g, const Tensor& x, const Value& low, const Value& high) {
  Tensor inside;
  if (present(low)) inside = ge(x, low);
  if (present(high)) {
    const Tensor below = le(x, high);
    inside = inside.defined() ? logical_and(inside, below) : below;
  }
  return where(inside, g, 0);
}

Tensor clamp_low(const Tensor& g, const Tensor& x, const Value& low, const Value& high) {
  Tensor takes = lt(x, low);
  if (present(high)) takes = logical_and(takes, lt(low, high));
  return where(takes, g, 0);
}

Tensor clamp_high(const Tensor& g, const Tensor& x, const Value& low, const Value& high) {
  Tensor takes = gt(x, high);
  if (present(low)) takes = logical_or(takes, lt(high, low));
  return where(takes, g, 0);
}

Tensor silu_second(const Tensor& x) {
  const Tensor s = sigmoid(x);
  return s * rsub(s, 1) * (x * rsub(s * 2, 1) + 2);
}

Tensor gelu_second(const Tensor& x) {
  const Tensor x2 = square(x);
  return exp(x2 * -0.5) * 0.39894228040143267794 * rsub(x2, 2);
}

Tensor gelu_tanh_second(const Tensor& x) {
  constexpr double k = 0.79788456080286535588, a = 0.044715;
  const Tensor x2 = square(x);
  const Tensor t = tanh((x + x2 * x * a) * k);
  const Tensor slope = (x2 * (3 * a) + 1) * k;  // of tanh's argument
  const Tensor bend = x * (6 * a * k);
  const Tensor fall = rsub(square(t), 1);
  return fall * slope + x * 0.5 * fall * (bend - t * square(slope) * 2);
}

// ---- folds
Tensor extremum_shares(const Context& c, const Tensor& g) {
  const Tensor hit = eq(c.t(0), c.kept(c.out()));
  return where(hit, c.kept(g) / axes_sum(hit, c.axes()), 0);
}

namespace {

/// At each element the product of the others over the axes: what stands before times what stands
/// behind, with no division. Its own gradient is right at any number of zeros.
Tensor product_of_others(const Tensor& x, uint64_t axes) {
  Dims order, back(static_cast<size_t>(x.dim()));
  int64_t n = 1;
  for (int d = 0; d < x.dim(); ++d)
    if (!(axes >> d & 1)) order.push_back(d);
  const auto kept = order.size();
  for (int d = 0; d < x.dim(); ++d)
    if (axes >> d & 1) {
      order.push_back(d);
      n *= x.size(d);
    }
  for (size_t i = 0; i < order.size(); ++i) back[static_cast<size_t>(order[i])] = int64_t(i);
  const Tensor moved = permute(x, order);
  Dims flat(moved.shape().first(kept));
  flat.push_back(n);
  const Tensor rows = reshape(moved, flat);
  flat.back() = 1;
  const Tensor one = ones(flat, Options(x.dtype(), x.device()));
  const Tensor before = cumprod(cat({one, narrow(rows, -1, 0, n - 1)}, -1), -1);
  const Tensor behind =
      flip(cumprod(cat({one, flip(narrow(rows, -1, 1, n - 1), Dims{-1})}, -1), -1), Dims{-1});
  return permute(reshape(before * behind, moved.shape()), back);
}

}  // namespace

Tensor prod_gradient(const Context& c, const Tensor& g) {
  const Tensor x = c.t(0);
  if (grad_enabled() && x.numel() > 0) return c.kept(g) * product_of_others(x, c.axes());
  // Without a zero: product / x. One zero: only its own element has a gradient, the product of the
  // others. Two: none.
  const Tensor zero = eq(x, 0), safe = where(zero, 1, x);
  const Tensor zeros_in = axes_sum(zero, c.axes());
  const Tensor others = apply(Op::prod, {safe}, {c.axes(), 1});
  const Tensor through =
      where(eq(zeros_in, 0), others / safe, where(logical_and(zero, eq(zeros_in, 1)), others, 0));
  return c.kept(g) * through;
}

Tensor var_gradient(const Context& c, const Tensor& g) {
  const Tensor x = c.t(0);
  const double n = axes_count(c.shape(0), c.axes()), correction = c.attr_double(2);
  const Tensor centred = x - axes_sum(x, c.axes()) / n;
  return c.kept(g) * centred * (2.0 / (n - correction));
}

Tensor softmax_gradient(const Context& c, const Tensor& gg) {
  // Of y (g - sum(g y)) with respect to y.
  const Tensor g = c.t(0), y = c.t(1);
  return gg * (g - axes_sum(g * y, c.axes())) - g * axes_sum(gg * y, c.axes());
}

Tensor log_softmax_gradient(const Context& c, const Tensor& gg) {
  const Tensor g = c.t(0), y = c.t(1);
  return neg(gg * exp(y) * axes_sum(g, c.axes()));
}

namespace {

struct Normalised {
  Tensor rstd, value;
};

/// layer_norm's normalised input; with a history of its own when gradients are on (create_graph).
Normalised normalised(const Context& c) {
  const Tensor x = c.t(0);
  if (!grad_enabled()) {
    const Tensor rstd = c.kept(c.out(2));
    return {rstd, (x - c.kept(c.out(1))) * rstd};
  }
  const uint64_t axes = c.axes();
  double n = 1;
  for (uint64_t m = axes; m; m &= m - 1) n *= double(x.size(std::countr_zero(m)));
  const Tensor d = x - axes_sum(x, axes) / n;
  const Tensor rstd = rsqrt(axes_sum(square(d), axes) / n + c.attr_double(2));
  return {rstd, d * rstd};
}

/// Computed as wide as the saved mean and rstd are, given in x's dtype.
RecordOptions kept_precision(const Tensor& rstd, const Tensor& x) {
  RecordOptions options;
  options.dtype = x.dtype();
  options.compute = rstd.dtype();
  return options;
}

}  // namespace

Tensor layer_norm_input(const Context& c, const Tensor& g) {
  const uint64_t axes = c.axes();
  const Tensor weight = c.t(1);
  if (!grad_enabled())
    return apply(Op::layer_norm_backward, {g, c.t(0), c.out(1), c.out(2), weight},
                 {axes, 0, c.attr(2)}, kept_precision(c.out(2), c.t(0)));
  const double n = axes_count(c.shape(0), axes);
  const auto [rstd, h] = normalised(c);
  const Tensor gw = weight.defined() ? g * weight : g;
  return (gw - axes_sum(gw, axes) / n - h * (axes_sum(gw * h, axes) / n)) * rstd;
}

Tensor layer_norm_weight(const Context& c, const Tensor& g) { return g * normalised(c).value; }

Tensor rms_norm_input(const Context& c, const Tensor& g) {
  const uint64_t axes = c.axes();
  const Tensor x = c.t(0), weight = c.t(1);
  if (!grad_enabled())
    return apply(Op::rms_norm_backward, {g, x, c.out(1), weight}, {axes, 0, c.attr(2)},
                 kept_precision(c.out(1), x));
  const double n = axes_count(c.shape(0), axes);
  const Tensor rstd = rsqrt(axes_sum(square(x), axes) / n + c.attr_double(2)), h = x * rstd;
  const Tensor gw = weight.defined() ? g * weight : g;
  return (gw - h * (axes_sum(gw * h, axes) / n)) * rstd;
}

Tensor rms_norm_weight(const Context& c, const Tensor& g) {
  const Tensor x = c.t(0);
  if (!grad_enabled()) return g * (x * c.kept(c.out(1)));
  const double n = axes_count(c.shape(0), c.axes());
  return g * (x * rsqrt(axes_sum(square(x), c.axes()) / n + c.attr_double(2)));
}

Tensor cross_entropy_input(const Context& c, const Tensor& g) {
  const uint64_t axes = c.axes();
  if (!grad_enabled())
    return apply(Op::cross_entropy_backward, {g, c.t(0), c.t(1), c.out(1)}, {axes, 0, c.attr(2)});
  const Tensor x = c.t(0), classes = c.kept(c.t(1));
  const int64_t n = c.shape(0).back();
  const Tensor hit = eq(arange(0, n, 1, Options(DType::i64, x.device())), classes);
  const Tensor p = softmax(x, -1) - to(hit, {}, x.dtype());
  return where(eq(classes, int64_t(c.attr(2))), 0, p * c.kept(g));
}

// ---- products
namespace {

bool is_column_major(const Tensor& t) {
  return t.stride(-2) == 1 && t.stride(-1) >= std::max<int64_t>(1, t.size(-2)) && t.size(-1) > 1;
}

Tensor scaled(const Tensor& g, double alpha) { return alpha == 1 ? g : g * alpha; }

}  // namespace

Tensor matmul_first(const Context& c, const Tensor& g) {
  return matmul(scaled(g, c.attr_double(0)), transpose(conj(c.t(1)), -2, -1));
}

Tensor matmul_second(const Context& c, const Tensor& g) {
  const Tensor a = conj(c.t(0)), up = scaled(g, c.attr_double(0));
  // A weight arrives as the transpose of what the user holds: its gradient is laid out alike.
  if (is_column_major(c.t(1))) return transpose(matmul(transpose(up, -2, -1), a), -2, -1);
  return matmul(transpose(a, -2, -1), up);
}

// ---- indexing
Tensor index_select_gradient(const Context& c, const Tensor& g) {
  const int64_t dim = int64_t(c.attr(0));
  const Tensor index = c.t(1);
  if (index.dim() == 1) return index_add(zeros_of(c, g), dim, index, g);
  Dims shape;
  for (size_t d = 0; d < c.shape(0).size(); ++d)
    shape.push_back(int64_t(d) == dim ? index.numel() : c.shape(0)[d]);
  return index_add(zeros_of(c, g), dim, reshape(index, Dims{-1}), reshape(g, shape));
}

namespace {

TensorList saved_indices(const Context& c, int first) {
  TensorList out;
  for (int i = first; i < first + 8; ++i) {
    Tensor t = c.t(i);
    if (!t.defined()) break;
    out.push_back(std::move(t));
  }
  return out;
}

}  // namespace

Tensor index_gradient(const Context& c, const Tensor& g) {
  const Tensor z = zeros_of(c, g);
  return index_put_adjacent_(z, g, saved_indices(c, 1), c.attr(0), true);
}

Tensor index_put_input(const Context& c, const Tensor& g) {
  if (c.attr(1)) return g;
  const Tensor out = clone(g);
  const Tensor nothing = zeros({}, Options(g.dtype(), g.device()));
  return index_put_adjacent_(out, nothing, saved_indices(c, 2), c.attr(0), false);
}

Tensor apply_index(const Tensor& x, const Context& c, int first) {
  return index_adjacent(x, saved_indices(c, first), c.attr(0));
}

// ---- scans
Tensor cumsum_reversed(const Tensor& g, int64_t dim) {
  const Dims dims{dim};
  return flip(cumsum(flip(g, dims), dim), dims);
}

Tensor cumprod_gradient(const Context& c, const Tensor& g) {
  // Up to the first zero: sum over later products, divided by x. At it: the products with that zero
  // left out. After it nothing changes.
  const int64_t dim = int64_t(c.attr(0));
  const Tensor x = c.t(0), zero = eq(x, 0), zeros_so_far = cumsum(zero, dim);
  const Tensor first = logical_and(zero, eq(zeros_so_far, 1));
  const Tensor without = cumprod(where(first, 1, x), dim);
  const Tensor before = cumsum_reversed(g * c.out(), dim) / where(zero, 1, x);
  const Tensor at = cumsum_reversed(where(eq(zeros_so_far, 0), 0, g * without), dim);
  return where(first, at, where(eq(zeros_so_far, 0), before, 0));
}

// ---- as_strided
namespace {

/// Flat int64 positions of a layout's elements from `base`, row-major.
Tensor flat_positions(const Layout& l, int64_t base, Device device) {
  const Options as(DType::i64, device);
  Tensor at = full(Dims{}, l.offset - base, as);
  for (size_t d = 0; d < l.shape.size(); ++d) {
    Dims shape(l.shape.size(), 1);
    shape[d] = l.shape[d];
    at = at + view(arange(0, l.shape[d], 1, as), shape) * l.strides[d];
  }
  return reshape(at, Dims{-1});
}

}  // namespace

Tensor as_strided_backward(const Tensor& g, const Layout& input, const Layout& v) {
  const auto [in_low, in_high] = input.extent();
  const auto [out_low, out_high] = v.extent();
  const int64_t base = std::min(in_low, out_low), size = std::max(in_high, out_high) - base;
  const Options as(g.dtype(), g.device());
  Tensor flat = zeros({size}, as);
  if (v.may_self_overlap()) {
    flat = index_add(flat, 0, flat_positions(v, base, g.device()), reshape(g, Dims{-1}));
  } else {
    copy_(as_strided(flat, v.shape, v.strides, v.offset - base), g);
  }
  if (input.may_self_overlap()) {
    // Several elements of the input are one element of memory: they share its gradient.
    const Tensor at = flat_positions(input, base, g.device());
    const Tensor count = index_add(zeros({size}, as), 0, at, ones({at.numel()}, as));
    flat = flat / maximum(count, 1);
  }
  return as_strided(flat, input.shape, input.strides, input.offset - base);
}

}  // namespace qs::autograd
