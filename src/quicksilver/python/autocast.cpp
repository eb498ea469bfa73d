#include "quicksilver/python/autocast.h"

#include <string_view>
#include <unordered_map>

#include "quicksilver/autograd/verbs.h"
#include "quicksilver/python/module.h"

namespace qs::python {

namespace {

struct State {
  bool on = false;
  DType dtype;
};
thread_local State t_states[2] = {{false, DType::bf16}, {false, DType::f16}};  // cpu, mps
thread_local bool t_cache = true;

State& state_of(DeviceType d) { return t_states[d == DeviceType::mps]; }

enum Policy : uint8_t { as_is = 0, lower = 1, f32_on_mps = 2, f32_on_cpu = 4, f32 = 6 };

/// PyTorch's lists (ATen/autocast_mode.h), as far as the functions are here.
Policy policy_of(std::string_view name) {
  static const std::unordered_map<std::string_view, Policy> table = [] {
    std::unordered_map<std::string_view, Policy> t;
    for (const char* n :
         {"conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
          "convolution", "matmul", "mm", "bmm", "mv", "addmm", "addmv", "addr", "addbmm", "baddbmm",
          "linear", "scaled_dot_product_attention", "_lstm_layer"})
      t[n] = lower;
    for (const char* n :
         {"acos",   "asin",     "cosh",        "erfinv",     "exp",   "expm1",     "log",
          "log10",  "log2",     "log1p",       "reciprocal", "rsqrt", "sinh",      "tan",
          "pow",    "softplus", "layer_norm",  "group_norm", "norm",  "logsumexp", "cumprod",
          "cumsum", "softmax",  "log_softmax", "sum",        "renorm"})
      t[n] = f32_on_mps;
    for (const char* n : {"prod", "cross_entropy", "nll_loss", "mse_loss", "l1_loss",
                          "smooth_l1_loss", "huber_loss", "kl_div", "binary_cross_entropy",
                          "binary_cross_entropy_with_logits", "cdist", "quantile", "nanquantile"})
      t[n] = f32;
    return t;
  }();
  const auto found = table.find(name);
  return found == table.end() ? as_is : found->second;
}

bool eligible(const Tensor& t) {
  return t.defined() && is_floating(t.dtype()) && t.dtype() != DType::f64 &&
         state_of(t.device_type()).on;
}

DType device_of(PyObject* name, DeviceType& type) {
  type = to_device(name).type;
  return state_of(type).dtype;
}

PyObject* get_autocast(PyObject*, PyObject* device) {
  return guarded([&] {
    DeviceType type;
    const DType dtype = device_of(device, type);
    const PyRef wrapped = PyRef::steal(wrap(dtype));
    return Py_BuildValue("(NOO)", py_bool(state_of(type).on), wrapped.get(),
                         t_cache ? Py_True : Py_False);
  });
}
PyObject* set_autocast(PyObject*, PyObject* args) {
  return guarded([&]() -> PyObject* {
    PyObject *device, *dtype;
    int on, cache;
    if (!PyArg_ParseTuple(args, "OpOp:_set_autocast", &device, &on, &dtype, &cache)) return nullptr;
    DeviceType type;
    device_of(device, type);
    State& state = state_of(type);
    g_autocasts += (on ? 1 : 0) - (state.on ? 1 : 0);
    state = {on != 0, to_dtype(dtype)};
    t_cache = cache != 0;
    return none();
  });
}

PyMethodDef functions[] = {
    {"_get_autocast", get_autocast, METH_O,
     "_get_autocast(device): (whether it is on, its dtype, cache_enabled)."},
    {"_set_autocast", set_autocast, METH_VARARGS,
     "_set_autocast(device, on, dtype, cache_enabled): for this thread."},
    {},
};

}  // namespace

Tensor autocast_lower(const Tensor& t) {
  return eligible(t) ? to(t, {}, state_of(t.device_type()).dtype) : t;
}

void autocast(Call& call, std::vector<PyRef>& kept) {
  const Policy policy = policy_of(call.signature->row->name);
  if (policy == as_is || (call.signature->out >= 0 && call.given(call.signature->out))) return;
  for (size_t i = 0; i < call.signature->params.size(); ++i) {
    PyObject* o = call.args[i];
    if (!o || !is_tensor(o) || !eligible(tensor_of(o))) continue;
    const Tensor& t = tensor_of(o);
    const bool on_mps = t.is_mps();
    if (policy != lower && !(policy & (on_mps ? f32_on_mps : f32_on_cpu))) continue;
    const DType wanted = policy == lower ? state_of(t.device_type()).dtype : DType::f32;
    if (t.dtype() == wanted) continue;
    kept.push_back(PyRef::steal(wrap(to(t, {}, wanted))));
    call.args[i] = kept.back().get();
  }
}

void add_autocast(PyObject* module) { check(PyModule_AddFunctions(module, functions)); }

}  // namespace qs::python
