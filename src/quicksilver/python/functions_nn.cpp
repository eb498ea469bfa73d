// The functions of nn.functional that the library has whole; the package composes the others.
#include "quicksilver/autograd/verbs.h"
#include "quicksilver/python/adapters.h"

namespace qs::python {

namespace {

/// F.relu(x, inplace): the in-place form writes to its argument.
template <Tensor (*verb)(const Tensor&), const Tensor& (*in_place)(const Tensor&)>
PyObject* activation(Call& c) {
  if (c.boolean(1)) {
    in_place(c.tensor(0));
    return new_ref(c.args[0]);
  }
  return wrap(verb(c.tensor(0)));
}
PyObject* leaky_relu_any(Call& c) {
  return written_back(c, 2, [&](const Tensor& x) { return leaky_relu(x, c.real(1)); });
}
PyObject* elu_any(Call& c) {
  return written_back(c, 2, [&](const Tensor& x) { return elu(x, c.real(1)); });
}
PyObject* dropout_any(Call& c) {
  const double p = c.real(1);
  if (p < 0 || p > 1)
    raise(PyExc_ValueError, "dropout probability has to be between 0 and 1, but got {}",
          text_of(PyRef::steal(PyObject_Str(c.args[1])).get()));
  if (!c.boolean(2) || p == 0) return new_ref(c.args[0]);
  return written_back(c, 3, [&](const Tensor& x) { return dropout(x, p, true); });
}
PyObject* hardtanh(Call& c) {  // (input, min_val, max_val, inplace)
  return written_back(c, 3,
                      [&](const Tensor& x) { return qs::hardtanh(x, c.number(1), c.number(2)); });
}
PyObject* relu6(Call& c) {
  return written_back(c, 1,
                      [](const Tensor& x) { return qs::hardtanh(x, Scalar(0.0), Scalar(6.0)); });
}

int64_t implicit_dim(const Tensor& x) {
  return x.dim() == 0 || x.dim() == 1 || x.dim() == 3 ? 0 : 1;
}
template <Tensor (*verb)(const Tensor&, int64_t, std::optional<DType>)>
PyObject* softmax_any(Call& c) {  // (input, dim, _stacklevel, dtype)
  return wrap(verb(c.tensor(0), c.given(1) ? c.integer(1) : implicit_dim(c.tensor(0)),
                   c.optional_dtype(3)));
}
/// The reduction that PyTorch's deprecated size_average and reduce mean.
std::string reduction(const Call& c, int i, int size_average, int reduce) {
  if (c.given(size_average) || c.given(reduce)) {
    const bool average = !c.given(size_average) || c.boolean(size_average);
    const bool reduces = !c.given(reduce) || c.boolean(reduce);
    return !reduces ? "none" : average ? "mean" : "sum";
  }
  return c.string(i);
}
PyObject* cross_entropy_any(Call& c) {  // (input, target, weight, size_average, ignore_index,
                                        // reduce, reduction, label_smoothing)
  return wrap(cross_entropy(c.tensor(0), c.tensor(1), c.tensor(2), reduction(c, 6, 3, 5),
                            c.integer(4), c.real(7)));
}
PyObject* nll_loss_any(Call& c) {
  return wrap(nll_loss(c.tensor(0), c.tensor(1), c.tensor(2), reduction(c, 6, 3, 5), c.integer(4)));
}
PyObject* mse_loss_any(Call& c) {
  return wrap(mse_loss(c.tensor(0), c.tensor(1), reduction(c, 4, 2, 3)));
}
PyObject* l1_loss_any(Call& c) {
  return wrap(l1_loss(c.tensor(0), c.tensor(1), reduction(c, 4, 2, 3)));
}
PyObject* embedding_function(
    Call& c) {  // (input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
  if (c.given(3)) raise(PyExc_NotImplementedError, "embedding(): max_norm is not supported");
  const Tensor& weight = c.tensor(1);
  int64_t padding = -1;
  if (c.given(2)) {
    padding = c.integer(2);
    const int64_t rows = weight.size(0);
    if (padding >= rows || padding < -rows)
      raise(PyExc_AssertionError, "Padding_idx must be within num_embeddings");
    if (padding < 0) padding += rows;
  }
  return wrap(embedding(weight, c.tensor(0), padding));
}

#define INPLACE "(Tensor input, bool inplace=False)"
#define OLD_REDUCTION "bool? size_average=None, bool? reduce=None, str reduction='mean')"

const Row rows[] = {
    FN("relu", "n", INPLACE, (&activation<&qs::relu, &qs::relu_>), "max(input, 0)"),
    FN("silu", "n", INPLACE, (&activation<&qs::silu, &qs::silu_>), "input * sigmoid(input)"),
    FN("relu6", "n", INPLACE, &relu6, "input kept within [0, 6]."),
    FN("hardtanh", "n",
       "(Tensor input, Number min_val=-1.0, Number max_val=1.0, bool inplace=False)", &hardtanh,
       "input kept within [min_val, max_val]."),
    FN("leaky_relu", "n", "(Tensor input, float negative_slope=0.01, bool inplace=False)",
       &leaky_relu_any, "input where positive, else negative_slope * input."),
    FN("elu", "n", "(Tensor input, float alpha=1.0, bool inplace=False)", &elu_any,
       "input where positive, else alpha * (exp(input) - 1)."),
    FN("gelu", "n", "(Tensor input, *, str approximate='none')", &qs::gelu,
       "input * Phi(input); approximate is 'none' or 'tanh'."),
    FN("softplus", "n", "(Tensor input, float beta=1.0, float threshold=20.0)", &qs::softplus,
       "log(1 + exp(beta * input)) / beta"),
    FN("softmax", "n", "(Tensor input, int? dim=None, int _stacklevel=3, dtype? dtype=None)",
       &softmax_any<&qs::softmax>, "exp(input) / sum(exp(input)) along dim."),
    FN("log_softmax", "n", "(Tensor input, int? dim=None, int _stacklevel=3, dtype? dtype=None)",
       &softmax_any<&qs::log_softmax>, "log(softmax(input))"),
    FN("softmax", "fmo", "(Tensor input, int dim, dtype? dtype=None)", &qs::softmax,
       "exp(input) / sum(exp(input)) along dim."),
    FN("log_softmax", "fmo", "(Tensor input, int dim, dtype? dtype=None)", &qs::log_softmax,
       "log(softmax(input))"),
    FN("dropout", "fn", "(Tensor input, float p=0.5, bool training=True, bool inplace=False)",
       &dropout_any, "Zero with probability p, else input / (1 - p)."),
    FN("linear", "n", "(Tensor input, Tensor weight, Tensor? bias=None)", &qs::linear,
       "input @ weight.T + bias"),
    FN("scaled_dot_product_attention", "n",
       "(Tensor query, Tensor key, Tensor value, Tensor? attn_mask=None, float dropout_p=0.0, bool "
       "is_causal=False, float? scale=None, bool enable_gqa=False)",
       &qs::scaled_dot_product_attention,
       "softmax(scale query key^T + attn_mask) value over the last two dimensions; scale is 1 / "
       "sqrt(E) by default."),
    FN(
        "_attention_backends", "f", "(int? enabled=None)",
        +[](Call& c) -> PyObject* {
          const uint32_t before = attention_backends();
          if (c.given(0)) set_attention_backends(static_cast<uint32_t>(c.integer(0)));
          return PyLong_FromUnsignedLong(before);
        },
        "Bits of the SDPBackends that may be used, as they were; sets them when given."),
    FN("layer_norm", "fn",
       "(Tensor input, int[] normalized_shape, Tensor? weight=None, Tensor? bias=None, float "
       "eps=1e-05)",
       &qs::layer_norm,
       "(input - mean) / sqrt(var + eps) * weight + bias over the last dimensions."),
    FN("embedding", "n",
       "(Tensor input, Tensor weight, int? padding_idx=None, float? max_norm=None, float "
       "norm_type=2.0, bool scale_grad_by_freq=False, bool sparse=False)",
       &embedding_function, "Rows of weight."),
    FN(
        "embedding", "f",
        "(Tensor weight, Tensor indices, int padding_idx=-1, bool scale_grad_by_freq=False, bool "
        "sparse=False)",
        +[](Call& c) -> PyObject* {
          return wrap(embedding(c.tensor(0), c.tensor(1), c.integer(2)));
        },
        "Rows of weight."),
    FN("one_hot", "n", "(Tensor tensor, int num_classes=-1)", &qs::one_hot,
       "1 at the class, else 0."),
    FN("cross_entropy", "n",
       "(Tensor input, Tensor target, Tensor? weight=None, str reduction='mean', int "
       "ignore_index=-100, float label_smoothing=0.0)",
       &qs::cross_entropy, "-log softmax(input) at the target class."),
    FN("cross_entropy", "n",
       "(Tensor input, Tensor target, Tensor? weight=None, bool? size_average=None, int "
       "ignore_index=-100, bool? reduce=None, str reduction='mean', float label_smoothing=0.0)",
       &cross_entropy_any, "-log softmax(input) at the target class."),
    FN("nll_loss", "n",
       "(Tensor input, Tensor target, Tensor? weight=None, str reduction='mean', int "
       "ignore_index=-100)",
       &qs::nll_loss, "-input at the target class."),
    FN("nll_loss", "n",
       "(Tensor input, Tensor target, Tensor? weight=None, bool? size_average=None, int "
       "ignore_index=-100, bool? reduce=None, str reduction='mean')",
       &nll_loss_any, "-input at the target class."),
    FN("mse_loss", "n", "(Tensor input, Tensor target, str reduction='mean')", &qs::mse_loss,
       "Elementwise, then reduced."),
    FN("mse_loss", "n", "(Tensor input, Tensor target, " OLD_REDUCTION, &mse_loss_any,
       "(input - target)^2"),
    FN("l1_loss", "n", "(Tensor input, Tensor target, str reduction='mean')", &qs::l1_loss,
       "Elementwise, then reduced."),
    FN("l1_loss", "n", "(Tensor input, Tensor target, " OLD_REDUCTION, &l1_loss_any,
       "|input - target|"),
    FN(
        "_lstm_layer", "f",
        "(Tensor input, Tensor h, Tensor c, Tensor w_ih, Tensor w_hh, Tensor? b_ih, Tensor? b_hh, "
        "Tensor? w_hr, bool reverse)",
        +[](Call& c) -> PyObject* {
          const auto made =
              lstm_layer(c.tensor(0), c.tensor(1), c.tensor(2), c.tensor(3), c.tensor(4),
                         c.tensor(5), c.tensor(6), c.tensor(7), c.boolean(8));
          return wrap_tuple({made.begin(), made.end()});
        },
        "One layer of an LSTM in one direction: (outputs, last h, last c)."),
    {nullptr, "", "", nullptr, nullptr},
};

}  // namespace

QS_REGISTER(register_nn, rows)

}  // namespace qs::python
