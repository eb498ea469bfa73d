// Softmax, layer normalisation and losses.
#include <algorithm>

#include "quicksilver/autograd/apply.h"
#include "quicksilver/core/error.h"

namespace qs {

using namespace autograd;

namespace {

Tensor soft(Op op, const Tensor& x, int64_t dim, std::optional<DType> dtype) {
  require_defined(x, graph::name_of(op).data());
  const int at = wrap_dim(dim, x.dim());
  const Tensor from = dtype ? to(x, {}, *dtype) : x;
  QS_CHECK(is_floating(from.dtype()), NotImplementedError,
           "\"{}_lastdim_kernel_impl\" not implemented for '{}'", graph::name_of(op),
           scalar_type_name(from.dtype()));
  if (x.dim() == 0) return reshape(soft(op, view(from, Dims{1}), 0, {}), Dims{});
  return apply(op, {from}, {uint64_t{1} << at});
}

enum class Reduction { none, mean, sum };

Reduction reduction_of(const std::string& text) {
  if (text == "none") return Reduction::none;
  if (text == "mean") return Reduction::mean;
  QS_CHECK(text == "sum", ValueError, "{} is not a valid value for reduction", text);
  return Reduction::sum;
}

Tensor reduced(const Tensor& loss, Reduction r) {
  return r == Reduction::none ? loss : r == Reduction::mean ? mean(loss) : sum(loss);
}

/// PyTorch's checks of class-index targets.
void check_classes(const Tensor& x, const Tensor& target, const Tensor& weight, int64_t classes) {
  QS_CHECK(target.dtype() == DType::i64, Error, "expected scalar type Long but found {}",
           scalar_type_name(target.dtype()));
  if (x.dim() == 1) {
    QS_CHECK(target.dim() == 0, Error, "size mismatch (got input: {}, target: {})",
             to_string(x.shape()), to_string(target.shape()));
  } else {
    QS_CHECK(target.dim() > 0 && x.size(0) == target.size(0), ValueError,
             "Expected input batch_size ({}) to match target batch_size ({}).", x.size(0),
             target.dim() ? target.size(0) : 0);
    Dims expected;
    for (int d = 0; d < x.dim(); ++d)
      if (d != 1) expected.push_back(x.size(d));
    QS_CHECK(Dims(target.shape()) == expected, Error, "Expected target size {}, got {}",
             to_string(expected), to_string(target.shape()));
  }
  QS_CHECK(!weight.defined() || (weight.dim() == 1 && weight.numel() == classes), Error,
           "weight tensor should be defined either for all {} classes or no classes but got weight "
           "tensor of shape: {}",
           classes, weight.defined() ? to_string(weight.shape()) : "");
}

/// Classes on the last dimension: [N, C, d...] -> [N, d..., C]. [C] stays.
Tensor classes_last(const Tensor& x) {
  if (x.dim() <= 2) return x;
  Dims order{0};
  for (int d = 2; d < x.dim(); ++d) order.push_back(d);
  order.push_back(1);
  return permute(x, order);
}

/// Losses of rows -> the loss; rows whose target is ignored count for nothing.
Tensor reduce_rows(const Tensor& rows, const Tensor& weights, Reduction r) {
  if (r == Reduction::none) return rows;
  if (r == Reduction::sum) return sum(rows);
  return sum(rows) / sum(weights);
}

}  // namespace

Tensor softmax(const Tensor& x, int64_t dim, std::optional<DType> dtype) {
  return soft(Op::softmax, x, dim, dtype);
}

Tensor log_softmax(const Tensor& x, int64_t dim, std::optional<DType> dtype) {
  return soft(Op::log_softmax, x, dim, dtype);
}

Tensor cross_entropy(const Tensor& x, const Tensor& target, const Tensor& weight,
                     const std::string& reduction, int64_t ignore_index, double label_smoothing) {
  require_defined(x, "cross_entropy");
  require_defined(target, "cross_entropy");
  const Reduction r = reduction_of(reduction);
  QS_CHECK(x.dim() >= 1, Error, "Expected input to have at least 1 dimension, got 0");
  QS_CHECK(label_smoothing >= 0 && label_smoothing <= 1, Error,
           "label_smoothing must be between 0.0 and 1.0. Got: {}", label_smoothing);
  const int class_dim = x.dim() == 1 ? 0 : 1;
  const int64_t classes = x.size(class_dim);

  if (Dims(x.shape()) == Dims(target.shape())) {  // probabilities
    QS_CHECK(is_floating(target.dtype()), Error,
             "Expected floating point type for target with class probabilities, got {}",
             scalar_type_name(target.dtype()));
    QS_CHECK(ignore_index < 0, Error, "ignore_index is not supported for floating point target");
    Tensor p = target;
    if (label_smoothing > 0) p = p * (1 - label_smoothing) + label_smoothing / double(classes);
    Tensor terms = log_softmax(x, class_dim) * p;
    if (weight.defined()) {
      Dims shape(static_cast<size_t>(x.dim()), 1);
      shape[class_dim] = classes;
      terms = terms * view(weight, shape);
    }
    const Tensor rows = neg(sum(terms, Dims{class_dim}));
    if (r != Reduction::mean) return reduced(rows, r);
    return sum(rows) / double(x.dim() == 1 ? 1 : x.numel() / std::max<int64_t>(classes, 1));
  }

  check_classes(x, target, weight, classes);
  QS_CHECK(is_floating(x.dtype()), NotImplementedError,
           "\"log_softmax_lastdim_kernel_impl\" not implemented for '{}'",
           scalar_type_name(x.dtype()));
  if (label_smoothing > 0) {
    const Tensor logp = classes_last(log_softmax(x, class_dim));
    const Tensor valid = ne(target, ignore_index), safe = where(valid, target, 0);
    Tensor picked = neg(squeeze(gather(logp, -1, unsqueeze(safe, -1)), Dims{-1}));
    Tensor spread = neg(sum(weight.defined() ? logp * weight : logp, Dims{-1}));
    Tensor weights = to(valid, {}, x.dtype());
    if (weight.defined()) {
      const Tensor of_row = reshape(index_select(weight, 0, reshape(safe, Dims{-1})), safe.shape());
      picked = picked * of_row;
      weights = where(valid, of_row, 0);
    }
    const Tensor rows = where(
        valid, picked * (1 - label_smoothing) + spread * (label_smoothing / double(classes)), 0);
    return reduce_rows(rows, weights, r);
  }

  const bool single = x.dim() == 1;
  const Tensor logits = single ? unsqueeze(x, 0) : classes_last(x);
  const Tensor labels = single ? unsqueeze(target, 0) : target;
  const Operand in[] = {logits, labels};
  const uint64_t attrs[] = {uint64_t{1} << (logits.dim() - 1), 0, attr(ignore_index)};
  Tensor out[2];
  apply_all(Op::cross_entropy, in, attrs, {}, out);
  Tensor rows = single ? squeeze(out[0], Dims{0}) : std::move(out[0]);
  if (!weight.defined())
    return r == Reduction::mean ? reduce_rows(rows, ne(target, ignore_index), r)
                                : reduce_rows(rows, {}, r);
  const Tensor valid = ne(target, ignore_index), safe = where(valid, target, 0);
  const Tensor of_row = reshape(index_select(weight, 0, reshape(safe, Dims{-1})), safe.shape());
  return reduce_rows(rows * of_row, where(valid, of_row, 0), r);
}

Tensor nll_loss(const Tensor& x, const Tensor& target, const Tensor& weight,
                const std::string& reduction, int64_t ignore_index) {
  require_defined(x, "nll_loss");
  require_defined(target, "nll_loss");
  const Reduction r = reduction_of(reduction);
  QS_CHECK(x.dim() >= 1, Error, "input tensor should be 1D or 2D");
  check_classes(x, target, weight, x.size(x.dim() == 1 ? 0 : 1));
  const Tensor logp = classes_last(x);
  const Tensor valid = ne(target, ignore_index), safe = where(valid, target, 0);
  const Tensor picked = neg(squeeze(gather(logp, -1, unsqueeze(safe, -1)), Dims{-1}));
  if (!weight.defined()) return reduce_rows(where(valid, picked, 0), valid, r);
  const Tensor of_row = reshape(index_select(weight, 0, reshape(safe, Dims{-1})), safe.shape());
  return reduce_rows(where(valid, picked * of_row, 0), where(valid, of_row, 0), r);
}

Tensor mse_loss(const Tensor& x, const Tensor& target, const std::string& reduction) {
  require_defined(x, "mse_loss");
  require_defined(target, "mse_loss");
  return reduced(square(x - target), reduction_of(reduction));
}

Tensor l1_loss(const Tensor& x, const Tensor& target, const std::string& reduction) {
  require_defined(x, "l1_loss");
  require_defined(target, "l1_loss");
  return reduced(abs(x - target), reduction_of(reduction));
}

}  // namespace qs
