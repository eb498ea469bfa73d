// Pooling, normalisation over batches and groups, resizing, padding, blocks.
#include "quicksilver/autograd/verbs.h"
#include "quicksilver/python/adapters.h"

namespace qs::python {

namespace {

using MaxPool = std::pair<Tensor, Tensor> (*)(const Tensor&, DimSpan, DimSpan, DimSpan, DimSpan,
                                              bool);

/// Positions are int64 for the user.
template <MaxPool verb>
PyObject* max_pool_with_indices(Call& c) {
  auto [values, positions] = verb(c.tensor(0), c.dims(1), c.given(2) ? c.dims(2) : Dims{},
                                  c.dims(3), c.dims(4), c.boolean(5));
  return wrap_tuple({values, to(positions, {}, DType::i64)});
}
template <auto verb>
PyObject* max_pool(Call& c) {
  return wrap(verb(c.tensor(0), c.dims(1), c.given(2) ? c.dims(2) : Dims{}, c.dims(3), c.dims(4),
                   c.boolean(5)));
}
template <auto verb>
PyObject* avg_pool(Call& c) {
  return wrap(verb(c.tensor(0), c.dims(1), c.given(2) ? c.dims(2) : Dims{}, c.dims(3), c.boolean(4),
                   c.boolean(5), c.optional_integer(6)));
}
PyObject* avg_pool1d_any(Call& c) {
  return wrap(avg_pool1d(c.tensor(0), c.dims(1), c.given(2) ? c.dims(2) : Dims{}, c.dims(3),
                         c.boolean(4), c.boolean(5)));
}
template <auto verb>
PyObject* adaptive_max(Call& c) {
  auto [values, indices] = verb(c.tensor(0), c.dims(1));
  return wrap_tuple({values, indices});
}

PyObject* interpolate_any(Call& c) {  // (input, size, mode, align_corners, antialias, scales)
  std::vector<double> scales;
  if (c.given(5)) {
    const PyRef list = PyRef::steal(PySequence_Fast(c.args[5], "scales"));
    if (!list) throw PythonError();
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(list.get()); ++i)
      scales.push_back(PyFloat_AsDouble(PySequence_Fast_GET_ITEM(list.get(), i)));
    if (PyErr_Occurred()) throw PythonError();
  }
  return wrap(interpolate(c.tensor(0), c.dims(1), c.string(2), c.boolean(3), c.boolean(4), scales));
}

PyObject* pad_any(Call& c) {  // (input, pad, mode, value)
  return wrap(pad(c.tensor(0), c.dims(1), c.string(2),
                  c.given(3) ? std::optional(c.number(3)) : std::nullopt));
}

#define MAX_POOL                                                                                  \
  "(Tensor input, int[1] kernel_size, int[1]? stride=None, int[1] padding=0, int[1] dilation=1, " \
  "bool "                                                                                         \
  "ceil_mode=False)"
#define AVG_POOL                                                                    \
  "(Tensor input, int[1] kernel_size, int[1]? stride=None, int[1] padding=0, bool " \
  "ceil_mode=False, "                                                               \
  "bool count_include_pad=True, int? divisor_override=None)"

const Row rows[] = {
    FN("max_pool1d", "fn", MAX_POOL, (&max_pool<&qs::max_pool1d>), "Largest of each window."),
    FN("max_pool2d", "fn", MAX_POOL, (&max_pool<&qs::max_pool2d>), "Largest of each window."),
    FN("max_pool3d", "fn", MAX_POOL, (&max_pool<&qs::max_pool3d>), "Largest of each window."),
    FN("max_pool1d_with_indices", "fn", MAX_POOL,
       (&max_pool_with_indices<&qs::max_pool1d_with_indices>),
       "(values, positions of the largest of each window)"),
    FN("max_pool2d_with_indices", "n", MAX_POOL,
       (&max_pool_with_indices<&qs::max_pool2d_with_indices>),
       "(values, positions of the largest of each window)"),
    FN("max_pool3d_with_indices", "n", MAX_POOL,
       (&max_pool_with_indices<&qs::max_pool3d_with_indices>),
       "(values, positions of the largest of each window)"),
    FN("max_unpool", "n", "(Tensor input, Tensor indices, int[1] output_size)", &qs::max_unpool,
       "The elements of input at their positions, zero elsewhere."),
    FN("avg_pool1d", "fn",
       "(Tensor input, int[1] kernel_size, int[1]? stride=None, int[1] padding=0, bool "
       "ceil_mode=False, bool count_include_pad=True)",
       &avg_pool1d_any, "Mean of each window."),
    FN("avg_pool2d", "n", AVG_POOL, (&avg_pool<&qs::avg_pool2d>), "Mean of each window."),
    FN("avg_pool3d", "n", AVG_POOL, (&avg_pool<&qs::avg_pool3d>), "Mean of each window."),
    FN("adaptive_avg_pool1d", "fn", "(Tensor input, int[1] output_size)", &qs::adaptive_avg_pool1d,
       "Means of as many windows as asked for."),
    FN("adaptive_avg_pool2d", "n", "(Tensor input, int[1] output_size)", &qs::adaptive_avg_pool2d,
       "Means of as many windows as asked for."),
    FN("adaptive_avg_pool3d", "n", "(Tensor input, int[1] output_size)", &qs::adaptive_avg_pool3d,
       "Means of as many windows as asked for."),
    FN("adaptive_max_pool1d", "fn", "(Tensor input, int[1] output_size)",
       (&adaptive_max<&qs::adaptive_max_pool1d>), "(values, positions) of the largest."),
    FN("adaptive_max_pool2d", "n", "(Tensor input, int[1] output_size)",
       (&adaptive_max<&qs::adaptive_max_pool2d>), "(values, positions) of the largest."),
    FN("adaptive_max_pool3d", "n", "(Tensor input, int[1] output_size)",
       (&adaptive_max<&qs::adaptive_max_pool3d>), "(values, positions) of the largest."),
    FN("rms_norm", "fn",
       "(Tensor input, int[] normalized_shape, Tensor? weight=None, float? eps=None)",
       &qs::rms_norm, "input / sqrt(mean(input^2) + eps) * weight over the last dimensions."),
    FN("batch_norm", "n",
       "(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, "
       "bool training, float momentum=0.1, float eps=1e-05)",
       &qs::batch_norm, "Normalises over all dimensions but 1."),
    FN(
        "batch_norm", "f",
        "(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, "
        "bool training, float momentum, float eps, bool cudnn_enabled)",
        +[](Call& c) -> PyObject* {
          return wrap(batch_norm(c.tensor(0), c.tensor(1), c.tensor(2), c.tensor(3), c.tensor(4),
                                 c.boolean(5), c.real(6), c.real(7)));
        },
        "Normalises over all dimensions but 1."),
    FN("group_norm", "fn",
       "(Tensor input, int num_groups, Tensor? weight=None, Tensor? bias=None, float eps=1e-05)",
       &qs::group_norm, "Normalises over groups of channels."),
    FN("instance_norm", "n",
       "(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, "
       "bool use_input_stats, float momentum=0.1, float eps=1e-05)",
       &qs::instance_norm, "Normalises each channel of each sample."),
    FN(
        "instance_norm", "f",
        "(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, "
        "bool use_input_stats, float momentum, float eps, bool cudnn_enabled)",
        +[](Call& c) -> PyObject* {
          return wrap(instance_norm(c.tensor(0), c.tensor(1), c.tensor(2), c.tensor(3), c.tensor(4),
                                    c.boolean(5), c.real(6), c.real(7)));
        },
        "Normalises each channel of each sample."),
    FN("interpolate", "n",
       "(Tensor input, int[] size, str mode='nearest', bool align_corners=False, bool "
       "antialias=False, object? scales=None)",
       &interpolate_any, "Resizes the dimensions after the second."),
    FN("pad", "n", "(Tensor input, int[] pad, str mode='constant', Number? value=None)", &pad_any,
       "Pads the last dimensions: pad is (left, right) of the last, then of the one before, ..."),
    FN("im2col", "n",
       "(Tensor input, int[2] kernel_size, int[2] dilation, int[2] padding, int[2] stride)",
       &qs::im2col, "Sliding blocks as columns."),
    FN("col2im", "n",
       "(Tensor input, int[2] output_size, int[2] kernel_size, int[2] dilation, int[2] padding, "
       "int[2] stride)",
       &qs::col2im, "Sums of overlapping blocks."),
    FN("pixel_shuffle", "fn", "(Tensor input, int upscale_factor)", &qs::pixel_shuffle,
       "[*, C r^2, H, W] to [*, C, H r, W r]"),
    FN("pixel_unshuffle", "fn", "(Tensor input, int downscale_factor)", &qs::pixel_unshuffle,
       "[*, C, H r, W r] to [*, C r^2, H, W]"),
    FN("channel_shuffle", "fn", "(Tensor input, int groups)", &qs::channel_shuffle,
       "The channels of the groups dealt out in turn."),
    {nullptr, "", "", nullptr, nullptr},
};

}  // namespace

QS_REGISTER(register_vision, rows)

}  // namespace qs::python
