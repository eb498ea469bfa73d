// Convolutions.
#include "quicksilver/autograd/verbs.h"
#include "quicksilver/python/adapters.h"

namespace qs::python {

namespace {

/// padding='same' or 'valid'.
template <int dims>
PyObject* named_padding(Call& c) {
  const bool heavy = c.is_heavy();
  const Dims stride = c.dims(3), dilation = c.dims(5);
  const std::string padding = c.string(4);
  const int64_t groups = c.integer(6);
  Tensor out;
  {
    GilRelease release(heavy);
    out = conv_named_padding(dims, c.tensor(0), c.tensor(1), c.tensor(2), stride, padding, dilation,
                             groups);
  }
  return wrap(std::move(out));
}

#define CONV(n)                                                                       \
  FN("conv" #n "d", "fn",                                                             \
     "(Tensor input, Tensor weight, Tensor? bias=None, int[" #n "] stride=1, int[" #n \
     "] padding=0, int[" #n "] dilation=1, int groups=1)",                            \
     &qs::conv##n##d, "Cross-correlation over " #n " dimension(s), batched or not."), \
      FN("conv" #n "d", "fn",                                                         \
         "(Tensor input, Tensor weight, Tensor? bias=None, int[" #n                   \
         "] stride=1, str padding='valid', int[" #n "] dilation=1, int groups=1)",    \
         &named_padding<n>, "Cross-correlation over " #n " dimension(s), batched or not.")
#define CONV_TRANSPOSE(n)                                                                \
  FN("conv_transpose" #n "d", "fn",                                                      \
     "(Tensor input, Tensor weight, Tensor? bias=None, int[" #n "] stride=1, int[" #n    \
     "] padding=0, int[" #n "] output_padding=0, int groups=1, int[" #n "] dilation=1)", \
     &qs::conv_transpose##n##d, "The gradient of conv" #n "d with respect to its input.")

const Row rows[] = {
    CONV(1),
    CONV(2),
    CONV(3),
    CONV_TRANSPOSE(1),
    CONV_TRANSPOSE(2),
    CONV_TRANSPOSE(3),
    FN("convolution", "f",
       "(Tensor input, Tensor weight, Tensor? bias, int[] stride, int[] padding, int[] dilation, "
       "bool transposed, int[] output_padding, int groups)",
       &qs::convolution, "A convolution or a transposed one, of batched input."),
    {nullptr, "", "", nullptr, nullptr},
};

}  // namespace

QS_REGISTER(register_conv, rows)

}  // namespace qs::python
