// Creation: sizes as a tuple or as bare ints, dtype=, device=, requires_grad=, generator=, out=.
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "quicksilver/autograd/autograd.h"
#include "quicksilver/autograd/verbs.h"
#include "quicksilver/python/adapters.h"
#include "quicksilver/python/functions.h"
#include "quicksilver/tensor/rules.h"

namespace qs::python {

namespace {

// Every creation function ends with these; `at` is where they start in the signature.
#define MADE_AS                                                                           \
  "dtype? dtype=None, layout? layout=None, device? device=None, bool? pin_memory=False, " \
  "bool requires_grad=False"
#define LIKE "*, " MADE_AS ", memory_format? memory_format=None)"

Options options(const Call& c, int at) {
  Options o;
  o.dtype = c.optional_dtype(at);
  o.device = c.given(at + 2) ? to_device(c.args[at + 2]) : default_device();
  o.requires_grad = c.boolean(at + 4);
  return o;
}
Options options_like(const Call& c, int at, const Tensor& x) {
  Options o;
  o.dtype = c.given(at) ? c.dtype(at) : x.dtype();
  o.device = c.given(at + 2) ? to_device(c.args[at + 2]) : x.device();
  o.requires_grad = c.boolean(at + 4);
  return o;
}
DeviceType device_type_of(const Options& o) { return o.device ? o.device->type : DeviceType::cpu; }

using SizeVerb = Tensor (*)(DimSpan, const Options&);

Dims checked_size(const Call& c, int i) {
  Dims d = c.dims(i);
  for (int64_t n : d)
    if (n < 0)
      raise(PyExc_RuntimeError, "Trying to create tensor with negative dimension {}: {}", n,
            to_string(d));
  return d;
}

/// The strides that `memory_format=` asks for; none when it was not given. `like`: of the tensor
/// whose layout is preserved.
std::optional<Dims> format_strides(const Call& c, int at, DimSpan shape, const Tensor* like) {
  const MemoryFormat f =
      memory_format(c, at, like ? MemoryFormat::preserve : MemoryFormat::contiguous);
  switch (f) {
    case MemoryFormat::contiguous:
      return {};
    case MemoryFormat::preserve:
      if (!like) raise(PyExc_RuntimeError, "unsupported memory format option Preserve");
      return preserved_strides(like->layout());
    case MemoryFormat::channels_last:
    case MemoryFormat::channels_last_3d: {
      const size_t rank = f == MemoryFormat::channels_last ? 4 : 5;
      if (shape.size() != rank)
        raise(PyExc_RuntimeError, "required rank {} tensor to use channels_last{} format", rank,
              rank == 4 ? "" : "_3d");
      return channels_last_strides(shape);
    }
  }
  return {};
}
/// What `make` makes of (shape, options), dense in the order of `strides`; none: row-major.
template <class Make>
Tensor laid_out(DimSpan shape, const std::optional<Dims>& strides, Options o, Make&& make) {
  if (!strides || *strides == contiguous_strides(shape)) return make(shape, o);
  const bool requires_grad = std::exchange(o.requires_grad, false);
  const Tensor flat = make(Dims{checked_numel(shape)}, o);
  Tensor out = make_view(flat, Layout(Dims(shape), *strides));
  if (requires_grad) out.set_requires_grad(true);
  return out;
}

template <SizeVerb verb>
PyObject* of_size(Call& c) {
  const Options o = options(c, 1);
  const Dims shape = checked_size(c, 0);
  const std::optional<Dims> strides = format_strides(c, 6, shape, nullptr);
  return wrap(laid_out(shape, strides, o, verb));
}
template <SizeVerb verb>
PyObject* random_of_size(Call& c) {  // (size, generator, ...)
  const Options o = options(c, 2);
  GeneratorScope scope(c.args[1], device_type_of(o));
  return wrap(verb(checked_size(c, 0), o));
}
/// What `make` makes of (shape, options), in x's shape; `at`: where dtype= and the others start.
template <class Make>
Tensor made_like(const Call& c, int at, const Tensor& x, Make&& make) {
  return laid_out(x.shape(), format_strides(c, at + 5, x.shape(), &x), options_like(c, at, x),
                  make);
}
template <SizeVerb verb>
PyObject* like(Call& c) {
  return wrap(made_like(c, 1, c.tensor(0), verb));
}
template <SizeVerb verb>
PyObject* new_of_size(Call& c) {
  return wrap(verb(checked_size(c, 1), options_like(c, 2, c.tensor(0))));
}

/// Numbers beyond the dtype's range are refused (unsigned ones may wrap once, as in PyTorch).
void check_fits(const Scalar& value, DType dtype) {
  const char* name = nullptr;
  const double v = value.to_double();
  if (is_integral(dtype) && dtype != DType::bool_ && size_of(dtype) < 8) {
    constexpr const char* names[] = {"",    "uint8_t", "int8_t",   "short",
                                     "int", "",        "uint16_t", "uint32_t"};
    const bool is_signed = info(dtype).is_signed;
    const double top = std::exp2(static_cast<double>(size_of(dtype) * 8 - (is_signed ? 1 : 0)));
    if (!(v < top && v > (is_signed ? -top - 1 : -top))) name = names[static_cast<int>(dtype)];
  } else if (std::isfinite(v)) {
    const double size = std::fabs(v);
    if (dtype == DType::f32 && size > std::numeric_limits<float>::max()) name = "float";
    if (dtype == DType::f16 && size > 65504.0) name = "c10::Half";
    if (dtype == DType::bf16 && size > 0x1.FEp127) name = "c10::BFloat16";
  }
  if (name)
    raise(PyExc_RuntimeError, "value cannot be converted to type {} without overflow", name);
}

/// full without a dtype takes the number's kind, as PyTorch does.
Tensor full_of(DimSpan shape, const Scalar& value, Options o) {
  if (!o.dtype) {
    switch (value.kind()) {
      case Scalar::Kind::boolean:
        o.dtype = DType::bool_;
        break;
      case Scalar::Kind::integer:
        o.dtype = DType::i64;
        break;
      case Scalar::Kind::floating:
        o.dtype = default_dtype();
        break;
      case Scalar::Kind::complex:
        o.dtype = DType::c64;
        break;
    }
  }
  check_fits(value, *o.dtype);
  return qs::full(shape, value, o);
}
PyObject* full(Call& c) { return wrap(full_of(checked_size(c, 0), c.number(1), options(c, 2))); }
PyObject* new_full(Call& c) {
  return wrap(full_of(checked_size(c, 1), c.number(2), options_like(c, 3, c.tensor(0))));
}
PyObject* full_like(Call& c) {
  return wrap(made_like(c, 2, c.tensor(0), [&](DimSpan shape, const Options& o) {
    return full_of(shape, c.number(1), o);
  }));
}
PyObject* empty_strided(Call& c) {
  const Options o = options(c, 2);
  const Dims size = checked_size(c, 0), stride = c.dims(1);
  if (size.size() != stride.size())
    raise(PyExc_RuntimeError,
          "dimensionality of sizes ({}) must match dimensionality of strides ({})", size.size(),
          stride.size());
  Tensor t =
      empty_strided_tensor(size, stride, o.dtype.value_or(default_dtype()), device_type_of(o));
  if (o.requires_grad) t.set_requires_grad(true);
  return wrap(std::move(t));
}

Options arange_options(const Call& c, int at, std::initializer_list<Scalar> bounds) {
  Options o = options(c, at);
  if (!o.dtype) {
    bool floating = false;
    for (const Scalar& s : bounds) floating = floating || !s.is_integral();
    o.dtype = floating ? default_dtype() : DType::i64;
  }
  return o;
}
PyObject* arange_end(Call& c) {
  const Scalar end = c.number(0);
  return wrap(arange(Scalar(0), end, Scalar(1), arange_options(c, 1, {end})));
}
PyObject* arange_range(Call& c) {
  const Scalar start = c.number(0), end = c.number(1), step = c.number(2);
  return wrap(arange(start, end, step, arange_options(c, 3, {start, end, step})));
}
PyObject* range(Call& c) {  // the old one, its end included
  const Scalar start = c.number(0), end = c.number(1), step = c.number(2);
  Options o = options(c, 3);
  if (!o.dtype) o.dtype = default_dtype();
  const double last = end.to_double() + step.to_double() / 2;
  return wrap(arange(start, Scalar(last), step, o));
}
PyObject* linspace(Call& c) {
  return wrap(qs::linspace(c.number(0), c.number(1), c.integer(2), options(c, 3)));
}
PyObject* logspace(Call& c) {
  Options o = options(c, 4), wide = o;
  const DType dtype = o.dtype.value_or(default_dtype());
  wide.requires_grad = false;
  if (!is_complex(dtype)) wide.dtype = DType::f64;  // rounded once, to what was asked for
  const Tensor exponents = qs::linspace(c.number(0), c.number(1), c.integer(2), wide);
  const Tensor powers = to(qs::pow(Scalar(c.real(3)), exponents), {}, dtype);
  if (o.requires_grad) powers.set_requires_grad(true);
  return wrap(powers);
}
PyObject* eye(Call& c) {
  const int64_t n = c.integer(0);
  return wrap(qs::eye(n, c.given(1) ? c.integer(1) : n, options(c, 2)));
}

// ---- random

Tensor random_integers(int64_t low, int64_t high, DimSpan shape, Options o, PyObject* generator) {
  if (low >= high)
    raise(PyExc_RuntimeError,
          "random_ expects 'from' to be less than 'to', but got from={} >= to={}", low, high);
  if (!o.dtype) o.dtype = DType::i64;
  GeneratorScope scope(generator, device_type_of(o));
  return qs::randint(low, high, shape, o);
}
PyObject* randint_high(Call& c) {
  return wrap(random_integers(0, c.integer(0), checked_size(c, 1), options(c, 3), c.args[2]));
}
PyObject* randint_range(Call& c) {
  return wrap(
      random_integers(c.integer(0), c.integer(1), checked_size(c, 2), options(c, 4), c.args[3]));
}
PyObject* randint_like(Call& c) {
  return wrap(made_like(c, 2, c.tensor(0), [&](DimSpan shape, const Options& o) {
    return random_integers(0, c.integer(1), shape, o, nullptr);
  }));
}
PyObject* randint_like_range(Call& c) {
  return wrap(made_like(c, 3, c.tensor(0), [&](DimSpan shape, const Options& o) {
    return random_integers(c.integer(1), c.integer(2), shape, o, nullptr);
  }));
}
PyObject* randperm(Call& c) {
  Options o = options(c, 2);
  if (!o.dtype) o.dtype = DType::i64;
  GeneratorScope scope(c.args[1], device_type_of(o));
  return wrap(qs::randperm(c.integer(0), o));
}
/// torch.normal: mean and std, either a tensor.
PyObject* normal_tensors(Call& c) {
  const Operand mean = c.operand(0), std = c.operand(1);
  Dims shape;
  DType dtype = default_dtype();
  Device device = default_device();
  for (int i : {0, 1})
    if (c.given(i) && is_tensor(c.args[i])) {
      const Tensor& t = tensor_of(c.args[i]);
      shape = broadcast_shapes(shape, t.shape());
      dtype = t.dtype();
      device = t.device();
    }
  GeneratorScope scope(c.args[2], device.type);
  const Tensor noise = qs::randn(shape, Options(dtype, device));
  return wrap(qs::add(qs::mul(noise, std), mean));
}
PyObject* normal_of_size(Call& c) {
  const Options o = options(c, 4);
  GeneratorScope scope(c.args[3], device_type_of(o));
  const Tensor t = qs::empty(checked_size(c, 2), o);
  autograd::NoGrad no_grad;
  qs::normal_(t, c.real(0), c.real(1));
  return wrap(t);
}
PyObject* uniform_in_place(Call& c) {
  GeneratorScope scope(c.args[3], c.tensor(0).device_type());
  return wrap(qs::uniform_(c.tensor(0), c.real(1), c.real(2)));
}
PyObject* normal_in_place(Call& c) {
  GeneratorScope scope(c.args[3], c.tensor(0).device_type());
  return wrap(qs::normal_(c.tensor(0), c.real(1), c.real(2)));
}
PyObject* bernoulli_in_place(Call& c) {
  GeneratorScope scope(c.args[2], c.tensor(0).device_type());
  return wrap(qs::bernoulli_(c.tensor(0), c.real(1)));
}
PyObject* bernoulli_of_each(Call& c) {  // (input, p: a tensor)
  const Tensor& x = c.tensor(0);
  GeneratorScope scope(c.args[2], x.device_type());
  const autograd::NoGrad no_grad;
  copy_(x, qs::bernoulli(expand(c.tensor(1), x.shape())));
  return new_ref(c.args[0]);
}
PyObject* bernoulli_of(Call& c) {
  GeneratorScope scope(c.args[1], c.tensor(0).device_type());
  return wrap(qs::bernoulli(c.tensor(0)));
}
PyObject* random_in_place(Call& c) {  // (from, to), (to), ()
  const Tensor& x = c.tensor(0);
  int64_t low = 0, high;
  if (c.given(2)) {
    low = c.integer(1);
    high = c.integer(2);
  } else if (c.given(1)) {
    high = c.integer(1);
  } else {
    const size_t bits = x.dtype() == DType::bool_ ? 1
                        : is_integral(x.dtype())
                            ? size_of(x.dtype()) * 8 - info(x.dtype()).is_signed
                        : size_of(x.dtype()) == 8 ? 53
                        : size_of(x.dtype()) == 4 ? 24
                                                  : 8;
    high = int64_t{1} << std::min<size_t>(bits, 62);
  }
  copy_(x, random_integers(low, high, x.shape(), Options(DType::i64, x.device()), c.args[3]));
  return new_ref(c.args[0]);
}

PyObject* fill_in_place(Call& c) {
  const Tensor& x = c.tensor(0);
  const Operand value = c.operand(1);
  if (!value.is_tensor()) check_fits(value.number(), x.dtype());
  fill_(x, value);
  return new_ref(c.args[0]);
}

// ---- from Python data

Tensor finished(Tensor t, bool requires_grad) {
  if (requires_grad) t.set_requires_grad(true);
  return t;
}
PyObject* tensor(Call& c) {  // (data, dtype, device, pin_memory, requires_grad)
  return wrap(finished(tensor_from_data(c.args[0], c.optional_dtype(1), c.optional_device(2)),
                       c.boolean(4)));
}
PyObject* as_tensor_function(Call& c) {
  return wrap(as_tensor(c.args[0], c.optional_dtype(1), c.optional_device(2)));
}
PyObject* asarray(Call& c) {  // (obj, dtype, device, copy, requires_grad)
  const auto dtype = c.optional_dtype(1);
  const auto device = c.optional_device(2);
  const bool copies = c.given(3) && c.boolean(3);
  if (c.given(3) && !copies && (PyList_Check(c.args[0]) || PyTuple_Check(c.args[0])))
    raise(PyExc_ValueError, "can't alias arbitrary sequence into a tensor.");
  return wrap(finished(
      copies ? tensor_from_data(c.args[0], dtype, device) : as_tensor(c.args[0], dtype, device),
      c.boolean(4)));
}
PyObject* new_tensor(Call& c) {  // (self, data, dtype, device, requires_grad)
  const Tensor& x = c.tensor(0);
  return wrap(finished(tensor_from_data(c.args[1], c.given(2) ? c.dtype(2) : x.dtype(),
                                        c.given(3) ? to_device(c.args[3]) : x.device()),
                       c.boolean(4)));
}
PyObject* scalar_tensor(Call& c) {
  Options o = options(c, 1);
  if (!o.dtype) o.dtype = default_dtype();
  return wrap(qs::full(Dims{}, c.number(0), o));
}

#define SIZED(name, verb, doc)                                                      \
  FN(name, "fo", "(int[] size, *, " MADE_AS ", memory_format? memory_format=None)", \
     &of_size<verb>, doc)
#define RANDOM(name, verb, doc)                                                                    \
  FN(name, "fo", "(int[] size, *, Generator? generator=None, " MADE_AS ")", &random_of_size<verb>, \
     doc)
#define NEW(name, verb, doc) \
  FN(name, "m", "(Tensor input, int[] size, *, " MADE_AS ")", &new_of_size<verb>, doc)

const Row rows[] = {
    SIZED("empty", &qs::empty, "Uninitialised memory."),
    SIZED("zeros", static_cast<SizeVerb>(&qs::zeros), "Zeros."),
    SIZED("ones", static_cast<SizeVerb>(&qs::ones), "Ones."),
    RANDOM("rand", &qs::rand, "Uniform in [0, 1)."),
    RANDOM("randn", &qs::randn, "Standard normal."),
    FN("empty_like", "f", "(Tensor input, " LIKE, &like<&qs::empty>,
       "Uninitialised, of input's shape."),
    FN("zeros_like", "f", "(Tensor input, " LIKE, &like<static_cast<SizeVerb>(&qs::zeros)>,
       "Zeros of input's shape."),
    FN("ones_like", "f", "(Tensor input, " LIKE, &like<static_cast<SizeVerb>(&qs::ones)>,
       "Ones of input's shape."),
    FN("rand_like", "f", "(Tensor input, " LIKE, &like<&qs::rand>,
       "Uniform in [0, 1), of input's shape."),
    FN("randn_like", "f", "(Tensor input, " LIKE, &like<&qs::randn>,
       "Standard normal, of input's shape."),
    FN("full_like", "f", "(Tensor input, Number fill_value, " LIKE, &full_like,
       "One number, of input's shape."),
    NEW("new_empty", &qs::empty, "Uninitialised, of the tensor's dtype and device."),
    NEW("new_zeros", static_cast<SizeVerb>(&qs::zeros), "Zeros of the tensor's dtype and device."),
    NEW("new_ones", static_cast<SizeVerb>(&qs::ones), "Ones of the tensor's dtype and device."),
    FN("new_full", "m", "(Tensor input, int[] size, Number fill_value, *, " MADE_AS ")", &new_full,
       "One number, of the tensor's dtype and device."),
    FN("new_tensor", "m",
       "(Tensor input, object data, *, dtype? dtype=None, device? device=None, "
       "bool requires_grad=False)",
       &new_tensor, "A copy of data, of the tensor's dtype and device."),
    FN("full", "fo", "(int[] size, Number fill_value, *, " MADE_AS ")", &full,
       "One number everywhere."),
    FN("empty_strided", "f", "(int[] size, int[] stride, *, " MADE_AS ")", &empty_strided,
       "Uninitialised memory with the given strides."),
    FN("arange", "fo", "(Number end, *, " MADE_AS ")", &arange_end, "0 up to end."),
    FN("arange", "fo", "(Number start, Number end, Number step=1, *, " MADE_AS ")", &arange_range,
       "start up to end in steps."),
    FN("range", "f", "(Number start, Number end, Number step=1, *, " MADE_AS ")", &range,
       "start to end, end included."),
    FN("linspace", "fo", "(Number start, Number end, int steps, *, " MADE_AS ")", &linspace,
       "steps numbers from start to end in equal steps."),
    FN("logspace", "fo", "(Number start, Number end, int steps, float base=10.0, *, " MADE_AS ")",
       &logspace, "base to the powers of linspace."),
    FN("eye", "fo", "(int n, int? m=None, *, " MADE_AS ")", &eye, "The identity matrix."),
    FN("scalar_tensor", "f", "(Number s, *, " MADE_AS ")", &scalar_tensor, "A 0-dim tensor."),
    FN("randint", "fo", "(int high, int[] size, *, Generator? generator=None, " MADE_AS ")",
       &randint_high, "Integers in [0, high)."),
    FN("randint", "fo",
       "(int low, int high, int[] size, *, Generator? generator=None, " MADE_AS ")", &randint_range,
       "Integers in [low, high)."),
    FN("randint_like", "f", "(Tensor input, int high, " LIKE, &randint_like,
       "Integers in [0, high)."),
    FN("randint_like", "f", "(Tensor input, int low, int high, " LIKE, &randint_like_range,
       "Integers in [low, high)."),
    FN("randperm", "fo", "(int n, *, Generator? generator=None, " MADE_AS ")", &randperm,
       "0 to n - 1 in random order."),
    FN("normal", "fo",
       "(float mean, float std, int[] size, *, Generator? generator=None, " MADE_AS ")",
       &normal_of_size, "Normal draws."),
    FN("normal", "fo", "(Tensor|Number mean, Tensor|Number std=1.0, *, Generator? generator=None)",
       &normal_tensors, "Normal draws, mean and std elementwise."),
    FN("uniform_", "m",
       "(Tensor input, float from=0.0, float to=1.0, *, Generator? generator=None)",
       &uniform_in_place, "Uniform in [from, to), in place."),
    FN("normal_", "m",
       "(Tensor input, float mean=0.0, float std=1.0, *, Generator? generator=None)",
       &normal_in_place, "Normal draws, in place."),
    FN("bernoulli_", "m", "(Tensor input, float p=0.5, *, Generator? generator=None)",
       &bernoulli_in_place, "1 with probability p, else 0, in place."),
    FN("bernoulli_", "m", "(Tensor input, Tensor p, *, Generator? generator=None)",
       &bernoulli_of_each, "1 with the probability in p, else 0, in place."),
    FN("bernoulli", "fm", "(Tensor input, *, Generator? generator=None)", &bernoulli_of,
       "1 with the probability that the input says, else 0."),
    FN("random_", "m", "(Tensor input, int? from=None, int? to=None, *, Generator? generator=None)",
       &random_in_place, "Integers in [from, to), in place."),
    FN("tensor", "f",
       "(object data, *, dtype? dtype=None, device? device=None, bool pin_memory=False, "
       "bool requires_grad=False)",
       &tensor, "A copy of nested sequences, numbers or an array."),
    FN("as_tensor", "f", "(object data, dtype? dtype=None, device? device=None)",
       &as_tensor_function, "The data as a tensor, without a copy where none is needed."),
    FN("asarray", "f",
       "(object obj, *, dtype? dtype=None, device? device=None, bool? copy=None, "
       "bool requires_grad=False)",
       &asarray, "The object as a tensor."),
    FN("fill_", "fm", "(Tensor input, Tensor|Number value)", &fill_in_place,
       "One value everywhere."),
    {nullptr, "", "", nullptr, nullptr},
};

}  // namespace

QS_REGISTER(register_create, rows)

}  // namespace qs::python
