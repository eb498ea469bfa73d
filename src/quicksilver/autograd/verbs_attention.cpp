// Scaled dot-product attention: one recorded node each way, or a composition of verbs where that
// cannot serve (a mask that wants a gradient, derivatives of the gradient, the MATH backend).
//
// The node works on [batch, heads, rows, columns] and reads any strides, so heads cut out of one
// product are not copied. Fewer dimensions are views with ones in front; more are joined into the
// batch, and batch dimensions that differ are broadcast, all by differentiable views.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "quicksilver/autograd/apply.h"
#include "quicksilver/core/error.h"

namespace qs {

using namespace autograd;

namespace {

std::atomic<uint32_t> enabled_backends{~0u};

struct Attention {
  double scale = 1;
  bool causal = false;
  double dropout = 0;
  RandomRange draws;
};

/// [.., L, S] and the like as PyTorch's messages spell C++ types.
std::string_view type_name(DType d) {
  switch (d) {
    case DType::f16:
      return "c10::Half";
    case DType::bf16:
      return "c10::BFloat16";
    case DType::f32:
      return "float";
    case DType::f64:
      return "double";
    case DType::i32:
      return "int";
    case DType::i64:
      return "long int";
    case DType::bool_:
      return "bool";
    default:
      return name_of(d);
  }
}

std::string_view device_name(const Tensor& t) { return t.is_mps() ? "mps:0" : "cpu"; }

void check_operands(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask,
                    double dropout, bool causal) {
  require_defined(q, "scaled_dot_product_attention");
  require_defined(k, "scaled_dot_product_attention");
  require_defined(v, "scaled_dot_product_attention");
  QS_CHECK(q.dtype() == k.dtype() && q.dtype() == v.dtype(), Error,
           "Expected query, key, and value to have the same dtype, but got query.dtype: {} "
           "key.dtype: {} and value.dtype: {} instead.",
           type_name(q.dtype()), type_name(k.dtype()), type_name(v.dtype()));
  QS_CHECK(q.device_type() == k.device_type() && q.device_type() == v.device_type(), Error,
           "Expected query, key, and value to have the same device type, but got query.device: {} "
           "key.device: {} and value.device: {} instead.",
           device_name(q), device_name(k), device_name(v));
  QS_CHECK(q.dim() >= 2 && k.dim() >= 2 && v.dim() >= 2, Error,
           "Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: "
           "{} key.dim: {} and value.dim: {} instead.",
           q.dim(), k.dim(), v.dim());
  if (mask.defined()) {
    QS_CHECK(
        mask.dtype() == DType::bool_ || mask.dtype() == DType::f32 || mask.dtype() == q.dtype(),
        Error,
        "Expected attn_mask dtype to be bool or float or to match query dtype, but got "
        "attn_mask.dtype: {} and  query.dtype: {} instead.",
        type_name(mask.dtype()), type_name(q.dtype()));
    QS_CHECK(!causal, Error,
             "_scaled_dot_product_attention: Explicit attn_mask should not be set when "
             "is_causal=True");
    QS_CHECK(mask.dim() >= 2, IndexError,
             "Dimension out of range (expected to be in range of [-1, 0], but got -2)");
  }
  QS_CHECK(!is_complex(q.dtype()), NotImplementedError,
           "\"softmax_lastdim_kernel_impl\" not implemented for '{}'", scalar_type_name(q.dtype()));
  QS_CHECK(is_floating(q.dtype()), Error, "expected scalar type Float but found {}",
           scalar_type_name(q.dtype()));
  QS_CHECK(dropout >= 0 && dropout <= 1, Error,
           "dropout probability has to be between 0 and 1, but got {}", dropout);
}

Dims lead(const Tensor& x, int last) {
  return Dims(x.shape().first(x.shape().size() - size_t(last)));
}

int64_t count_of(const Dims& shape) {
  int64_t n = 1;
  for (int64_t s : shape) n *= s;
  return n;
}

/// x with its leading dimensions (all but `own`) broadcast to `shape`.
Tensor expand_lead(const Tensor& x, const Dims& shape, int own) {
  Dims whole = shape;
  for (int d = x.dim() - own; d < x.dim(); ++d) whole.push_back(x.size(d));
  return Dims(x.shape()) == whole ? x : expand(x, whole);
}

/// Four dimensions: ones in front, or the leading ones joined.
Tensor as_four(Tensor x) {
  if (x.dim() > 4) return flatten(x, 0, x.dim() - 4);
  while (x.dim() < 4) x = unsqueeze(x, 0);
  return x;
}

/// The order in memory of `like` [B, H, L, E] for a fresh tensor [B, H, L, width]: heads side by
/// side within a row, or row-major.
Dims strides_like(const Tensor& like, int64_t width) {
  const int64_t heads = like.size(1), rows = like.size(2);
  if (like.stride(1) < like.stride(2) && heads > 1)
    return {rows * heads * width, width, heads * width, 1};
  return {heads * rows * width, rows * width, width, 1};
}

struct Forward {
  Tensor out, logsumexp;
};

void push_dropout(SmallVector<Operand, 12>& in, const Attention& a) {
  if (a.dropout <= 0) return;
  const double keep = 1 - a.dropout;
  in.push_back(keep);
  in.push_back(keep > 0 ? 1 / keep : 0.0);
  in.push_back(static_cast<int64_t>(a.draws.seed));
  in.push_back(static_cast<int64_t>(a.draws.offset));
}

Forward record_forward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask,
                       const Attention& a) {
  SmallVector<Operand, 12> in;
  for (const Tensor* t : {&q, &k, &v, &mask}) in.push_back(*t);
  push_dropout(in, a);
  const DType sums = q.dtype() == DType::f64 ? DType::f64 : DType::f32;
  const ResultSpec spec[] = {
      {q.dtype(), {q.size(0), q.size(1), q.size(2), v.size(3)}, strides_like(q, v.size(3))},
      {sums, {q.size(0), q.size(1), q.size(2)}}};
  const uint64_t attrs[] = {attr(a.scale), attr(a.causal)};
  RecordOptions options;
  options.results = spec;
  options.compute = q.dtype();
  Tensor out[2];
  record(Op::attention, {in.data(), in.size()}, attrs, options, out);
  return {std::move(out[0]), std::move(out[1])};
}

std::vector<Tensor> record_backward(const Tensor& g, const Tensor& q, const Tensor& k,
                                    const Tensor& v, const Tensor& out, const Tensor& logsumexp,
                                    const Tensor& mask, const Attention& a) {
  SmallVector<Operand, 12> in;
  for (const Tensor* t : {&g, &q, &k, &v, &out, &logsumexp, &mask}) in.push_back(*t);
  push_dropout(in, a);
  const ResultSpec spec[] = {{q.dtype(), Dims(q.shape()), strides_like(q, q.size(3))},
                             {q.dtype(), Dims(k.shape()), strides_like(k, k.size(3))},
                             {q.dtype(), Dims(v.shape()), strides_like(v, v.size(3))}};
  const uint64_t attrs[] = {attr(a.scale), attr(a.causal)};
  RecordOptions options;
  options.results = spec;
  options.compute = q.dtype();
  std::vector<Tensor> grads(3);
  record(Op::attention_backward, {in.data(), in.size()}, attrs, options, grads);
  return grads;
}

// ---- the same from verbs

/// A key head for each head: [B, G, S, E] -> [B, H, S, E].
Tensor repeat_heads(const Tensor& x, int64_t heads) {
  const int64_t times = heads / std::max<int64_t>(x.size(1), 1);
  return times == 1 ? x : repeat_interleave(x, times, 1);
}
Tensor sum_heads(const Tensor& g, int64_t key_heads) {
  if (g.size(1) == key_heads) return g;
  return sum(unflatten(g, 1, Dims{key_heads, g.size(1) / key_heads}), Dims{2});
}

/// softmax of the scores; a row that sees nothing is 0.
Tensor probabilities(const Tensor& q, const Tensor& k, const Tensor& mask, const Attention& a) {
  constexpr double k_minus_infinity = -std::numeric_limits<double>::infinity();
  Tensor s = matmul(q, transpose(k, -2, -1)) * a.scale;
  if (q.size(3) == 0) s = zeros(s.shape(), Options(s.dtype(), s.device()));
  const Dims last{-1};
  if (a.causal)
    s = where(tril(ones(Dims{q.size(2), k.size(2)}, Options(DType::bool_, q.device()))), s,
              k_minus_infinity);
  else if (mask.defined() && mask.dtype() == DType::bool_)
    s = where(mask, s, k_minus_infinity);
  else if (mask.defined())
    s = s + to(mask, {}, s.dtype());
  if (k.size(2) == 0) return s;
  const Tensor blind = eq(amax(s.detach(), last, true), k_minus_infinity);
  return where(blind, 0.0, softmax(where(blind, 0.0, s), -1));
}

/// What dropout multiplies the probabilities with.
Tensor survivors(const Tensor& p, const Attention& a) {
  const NoGrad guard;
  const double keep = 1 - a.dropout;
  const Tensor one = ones(p.shape(), Options(p.dtype(), p.device()));
  const Operand in[] = {one, keep, keep > 0 ? 1 / keep : 0.0, static_cast<int64_t>(a.draws.seed),
                        static_cast<int64_t>(a.draws.offset)};
  Tensor out[2];
  record(Op::dropout, in, {}, {}, out);
  return out[0];
}

Tensor composed(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask,
                const Attention& a) {
  Tensor p = probabilities(q, repeat_heads(k, q.size(1)), mask, a);
  if (a.dropout > 0) p = p * survivors(p, a);
  return matmul(p, repeat_heads(v, q.size(1)));
}

std::vector<Tensor> composed_backward(const Tensor& g, const Tensor& q, const Tensor& k,
                                      const Tensor& v, const Tensor& mask, const Attention& a) {
  const int64_t heads = q.size(1);
  const Tensor keys = repeat_heads(k, heads), values = repeat_heads(v, heads);
  const Tensor p = probabilities(q, keys, mask, a);
  Tensor dropped = p, dp = matmul(g, transpose(values, -2, -1));
  if (a.dropout > 0) {
    const Tensor kept = survivors(p, a);
    dropped = p * kept;
    dp = dp * kept;
  }
  const Tensor ds = p * (dp - sum(dp * p, Dims{-1}, true)) * a.scale;
  return {matmul(ds, keys), sum_heads(matmul(transpose(ds, -2, -1), q), k.size(1)),
          sum_heads(matmul(transpose(dropped, -2, -1), g), v.size(1))};
}

/// Whether the one node serves; PyTorch's switches choose between it and the composition.
bool takes_node(const Tensor& mask) {
  constexpr uint32_t k_math = 1, k_flash = 2;  // 1 << the value of SDPBackend
  const uint32_t enabled = enabled_backends.load(std::memory_order_relaxed);
  QS_CHECK(enabled & (k_math | k_flash), Error,
           "No viable backend for scaled_dot_product_attention was found. This is likely due to "
           "turning off both the math kernel and the fused kernels.");
  if (!(enabled & k_flash)) return false;
  return !(enabled & k_math) || !mask.defined() || !wants_gradient(mask);
}

}  // namespace

uint32_t attention_backends() { return enabled_backends.load(std::memory_order_relaxed); }
void set_attention_backends(uint32_t mask) {
  enabled_backends.store(mask, std::memory_order_relaxed);
}

Tensor scaled_dot_product_attention(const Tensor& query, const Tensor& key, const Tensor& value,
                                    const Tensor& mask, double dropout_p, bool is_causal,
                                    std::optional<double> scale, bool enable_gqa) {
  check_operands(query, key, value, mask, dropout_p, is_causal);
  const int rank = std::max({query.dim(), key.dim(), value.dim()});
  Tensor q = query, k = key, v = value;
  int own = 2;  // dimensions that are not broadcast
  if (enable_gqa) {
    QS_CHECK(rank >= 3 && q.dim() >= 3 && k.dim() >= 3 && v.dim() >= 3, Error,
             "enable_gqa needs a dimension of heads: query.dim: {} key.dim: {} value.dim: {}",
             q.dim(), k.dim(), v.dim());
    const int64_t heads = q.size(-3), of_k = k.size(-3), of_v = v.size(-3);
    QS_CHECK(of_k > 0 && of_v > 0 && heads % of_k == 0 && heads % of_v == 0, Error,
             "Number of heads in key and value must divide the number of heads in ");
    if (of_k != of_v) {
      k = repeat_interleave(k, heads / of_k, -3);
      v = repeat_interleave(v, heads / of_v, -3);
    }
    own = 3;
  }
  const auto check_product = [&q](int64_t inner, int64_t of_other) {
    QS_CHECK(
        inner == of_other, Error,
        "Expected size for first two dimensions of batch2 tensor to be: [{}, {}] but got: [{}, "
        "{}].",
        count_of(lead(q, 2)), inner, count_of(lead(q, 2)), of_other);
  };
  check_product(q.size(-1), k.size(-1));
  check_product(k.size(-2), v.size(-2));
  const Dims batch = broadcast_shapes(broadcast_shapes(lead(q, own), lead(k, own)), lead(v, own));
  q = as_four(expand_lead(q, batch, own));
  k = as_four(expand_lead(k, batch, own));
  v = as_four(expand_lead(v, batch, own));
  Dims shape = batch;
  if (own == 3) shape.push_back(query.size(-3));
  shape.push_back(query.size(-2));
  Tensor m = mask;
  if (m.defined()) {
    Dims scores = shape;
    scores.push_back(key.size(-2));
    QS_CHECK(broadcast_shapes(scores, m.shape()) == scores, Error,
             "output with shape {} doesn't match the broadcast shape {}", to_string(scores),
             to_string(broadcast_shapes(scores, m.shape())));
    // Beyond four dimensions the leading ones are joined, as the operands' are.
    m = as_four(m.dim() == 4 && rank <= 4 ? m : rank > 4 ? expand(m, scores) : m);
  }
  shape.push_back(value.size(-1));

  Attention a;
  a.scale = scale.value_or(1 / std::sqrt(static_cast<double>(query.size(-1))));
  a.causal = is_causal;
  a.dropout = dropout_p;
  if (dropout_p > 0)
    a.draws = device_runtime(q.device_type())
                  .generator()
                  .reserve(q.size(0) * q.size(1) * q.size(2) * k.size(2));
  Tensor out;
  if (!takes_node(m)) {
    out = composed(q, k, v, m, a);
  } else {
    Forward f = record_forward(q, k, v, m, a);
    out = f.out;
    const Tensor inputs[] = {q, k, v};
    auto node = with_gradient("ScaledDotProductFlashAttentionForCpu", inputs, {&out, 1},
                              [a](FunctionNodeBase& own_node, std::vector<Tensor>& grads) {
                                std::vector<Tensor> result(3);
                                const Tensor& g = grads[0];
                                if (!g.defined()) return result;
                                const Tensor q = own_node.unpack(0), k = own_node.unpack(1),
                                             v = own_node.unpack(2), mask = own_node.unpack(5);
                                result = grad_enabled()
                                             ? composed_backward(g, q, k, v, mask, a)
                                             : record_backward(g, q, k, v, own_node.unpack(3),
                                                               own_node.unpack(4), mask, a);
                                for (size_t i = 0; i < 3; ++i)
                                  if (!own_node.edges[i]) result[i] = {};
                                return result;
                              });
    if (node) {
      for (const Tensor& t : {q, k, v}) node->saved.emplace_back(t, false);
      node->saved.emplace_back(out, true);
      node->saved.emplace_back(f.logsumexp, false);
      node->saved.emplace_back(m, false);
    }
  }
  if (static_cast<int>(shape.size()) == 4) return out;
  if (shape.size() < 4) {
    while (out.dim() > static_cast<int>(shape.size())) out = squeeze(out, Dims{0});
    return out;
  }
  return reshape(out, shape);
}

}  // namespace qs
