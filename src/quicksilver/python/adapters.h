// From a matched call to a C++ verb and back: one template, instantiated once for each type of
// verb.
#pragma once
#include <tuple>

#include "quicksilver/autograd/autograd.h"
#include "quicksilver/autograd/verbs.h"
#include "quicksilver/python/arguments.h"

namespace qs::python {

/// The memory_format argument at `i`.
MemoryFormat memory_format(const Call& c, int i, MemoryFormat otherwise);

// ---- results
PyObject* wrap_tuple(const std::vector<Tensor>& tensors);
/// torch.return_types.<name of the function>(values, indices)
PyObject* wrap_named(Call& call, std::initializer_list<Tensor> fields,
                     std::initializer_list<const char*> names);

inline PyObject* result(Call&, Tensor t) { return wrap(std::move(t)); }
inline PyObject* result(Call&, const std::vector<Tensor>& v) { return wrap_tuple(v); }
inline PyObject* result(Call&, bool b) { return py_bool(b); }
inline PyObject* result(Call&, int64_t i) { return PyLong_FromLongLong(i); }
inline PyObject* result(Call& call, const std::pair<Tensor, Tensor>& p) {
  return wrap_named(call, {p.first, p.second}, {"values", "indices"});
}

// ---- writing a function of a tensor over it
/// What is to be overwritten, as the function reads it: a gradient may want the value from before
/// the write, so a tensor with a history gives a copy.
inline Tensor before_write(const Tensor& x) {
  return x.requires_grad() && autograd::grad_enabled() ? clone(x) : x;
}
/// verb(input), written into the input when the argument at `in_place` says so.
template <class Verb>
PyObject* written_back(Call& c, int in_place, const Verb& verb) {
  const Tensor& x = c.tensor(0);
  if (!c.boolean(in_place)) return wrap(verb(x));
  copy_(x, verb(before_write(x)));
  return new_ref(c.args[0]);
}

// ---- arguments
template <class T>
struct Get;
#define QS_GET(type, expression)                                             \
  template <>                                                                \
  struct Get<type> {                                                         \
    static decltype(auto) get(const Call& c, int i) { return (expression); } \
  };
QS_GET(const Tensor&, c.tensor(i))
QS_GET(const Operand&, c.operand(i))
QS_GET(Scalar, c.number(i))
QS_GET(int64_t, c.integer(i))
QS_GET(int, static_cast<int>(c.integer(i)))
QS_GET(double, c.real(i))
QS_GET(bool, c.boolean(i))
QS_GET(const std::string&, c.string(i))
QS_GET(DimSpan, c.dims(i))
QS_GET(const Dims&, c.dims(i))
QS_GET(const std::optional<Dims>&, c.optional_dims(i))
QS_GET(std::optional<int64_t>, c.optional_integer(i))
QS_GET(std::optional<double>, c.optional_real(i))
QS_GET(std::optional<DType>, c.optional_dtype(i))
QS_GET(std::optional<Device>, c.optional_device(i))
QS_GET(DType, c.dtype(i))
QS_GET(const std::vector<Tensor>&, c.tensors(i))
#undef QS_GET

template <class R, class... A, size_t... i>
PyObject* call_verb(Call& c, R (*verb)(A...), std::index_sequence<i...>) {
  const bool heavy = c.is_heavy();
  const auto run = [&](auto&&... unpacked) -> R {
    GilRelease release(heavy);
    return verb(static_cast<decltype(unpacked)&&>(unpacked)...);
  };
  if constexpr (std::is_void_v<R>) {
    run(Get<A>::get(c, static_cast<int>(i))...);
    return none();
  } else {
    return result(c, run(Get<A>::get(c, static_cast<int>(i))...));
  }
}
/// The parameters of the signature are those of the verb, in order.
template <class R, class... A>
PyObject* direct(Call& c) {
  return call_verb(c, reinterpret_cast<R (*)(A...)>(c.signature->row->verb),
                   std::index_sequence_for<A...>());
}

template <class R, class... A>
Row make_row(const char* name, const char* flags, const char* text, R (*verb)(A...)) {
  if constexpr (std::is_same_v<R (*)(A...), Adapter>)
    return {name, flags, text, verb, nullptr};
  else
    return {name, flags, text, &direct<R, A...>, reinterpret_cast<void (*)()>(verb)};
}

#define FN(name, flags, signature, verb, doc) make_row(name, flags, name signature "\n\n" doc, verb)

}  // namespace qs::python
