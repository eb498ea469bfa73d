// A layer of an LSTM over a whole sequence, as one node of the gradient tape.
//
// The products with x are one product for all steps, and so are the gradients of the weights: a
// step of the loop is one product with h and one fused cell each way. The gates before their
// nonlinearities and the cells' states are kept for backward. A backward that is differentiated
// itself runs the layer again as plain verbs and takes their gradients.
#include <algorithm>

#include "quicksilver/autograd/apply.h"
#include "quicksilver/core/error.h"

namespace qs {

using namespace autograd;

namespace {

struct Weights {
  Tensor ih, hh, bias_ih, bias_hh, hr;
};

/// What the loop made that backward reads, one entry a step, in the order of time.
struct Steps {
  TensorList gates, c, unprojected;
};

/// [T, B, in] -> [T, B, 4 hidden], biases added.
Tensor input_gates(const Tensor& x, const Weights& w) {
  const Tensor bias = w.bias_ih.defined() ? w.bias_ih + w.bias_hh : Tensor();
  return linear(x, w.ih, bias);
}

int64_t step_at(int64_t i, int64_t length, bool reverse) { return reverse ? length - 1 - i : i; }

std::array<Tensor, 4> quarters(const Tensor& gates) {
  const int64_t hidden = gates.size(1) / 4;
  return {narrow(gates, 1, 0, hidden), narrow(gates, 1, hidden, hidden),
          narrow(gates, 1, 2 * hidden, hidden), narrow(gates, 1, 3 * hidden, hidden)};
}

std::array<Tensor, 3> run_fused(const Tensor& x, const Tensor& h0, const Tensor& c0,
                                const Weights& w, bool reverse, Steps& steps) {
  const int64_t length = x.size(0);
  const Tensor from_x = input_gates(x, w), by_h = contiguous(t(w.hh));
  const Tensor by_hr = w.hr.defined() ? t(w.hr) : Tensor();
  const auto count = static_cast<size_t>(length);
  TensorList outputs(count);
  steps.gates.resize(count);
  steps.c.resize(count);
  if (w.hr.defined()) steps.unprojected.resize(count);
  Tensor h = h0, c = c0;
  for (int64_t i = 0; i < length; ++i) {
    const auto at = static_cast<size_t>(step_at(i, length, reverse));
    const Tensor gates = addmm(select(from_x, 0, static_cast<int64_t>(at)), h, by_h);
    const auto q = quarters(gates);
    Tensor made[2];
    apply_all(Op::lstm_cell, std::initializer_list<Operand>{q[0], q[1], q[2], q[3], c}, {}, {},
              made);
    h = made[0];
    c = made[1];
    if (w.hr.defined()) {
      steps.unprojected[at] = h;
      h = mm(h, by_hr);
    }
    steps.gates[at] = gates;
    outputs[at] = h;
    steps.c[at] = c;
  }
  return {stack(outputs), h, c};
}

/// The same of verbs that have gradients.
std::array<Tensor, 3> run_composed(const Tensor& x, const Tensor& h0, const Tensor& c0,
                                   const Weights& w, bool reverse) {
  const int64_t length = x.size(0);
  const Tensor from_x = input_gates(x, w), by_h = t(w.hh);
  TensorList outputs(static_cast<size_t>(length));
  Tensor h = h0, c = c0;
  for (int64_t i = 0; i < length; ++i) {
    const int64_t at = step_at(i, length, reverse);
    const auto q = quarters(addmm(select(from_x, 0, at), h, by_h));
    c = sigmoid(q[1]) * c + sigmoid(q[0]) * tanh(q[2]);
    h = sigmoid(q[3]) * tanh(c);
    if (w.hr.defined()) h = mm(h, t(w.hr));
    outputs[static_cast<size_t>(at)] = h;
  }
  return {stack(outputs), h, c};
}

Tensor sum_of(const Tensor& a, const Tensor& b) {
  return !a.defined() ? b : !b.defined() ? a : a + b;
}

Tensor rows_of(const Tensor& x) { return reshape(x, Dims{-1, x.size(-1)}); }

/// What the node saves: its inputs, in the order of its edges; the outputs; and then the lists of
/// Steps, each in the order of time.
enum Saved : size_t {
  in_x,
  in_h,
  in_c,
  in_ih,
  in_hh,
  in_bias_ih,
  in_bias_hh,
  in_hr,
  k_inputs,
  saved_outputs = k_inputs,
  saved_steps
};

struct Backward {
  bool reverse;

  std::vector<Tensor> operator()(FunctionNodeBase& node, std::vector<Tensor>& grads) {
    if (!grads[0].defined() && !grads[1].defined() && !grads[2].defined())
      return std::vector<Tensor>(k_inputs);
    return grad_enabled() ? differentiably(node, grads) : fused(node, grads);
  }

  static std::vector<Tensor> inputs_of(FunctionNodeBase& node) {
    std::vector<Tensor> in(k_inputs);
    for (size_t i = 0; i < k_inputs; ++i) in[i] = node.unpack(i);
    return in;
  }

  std::vector<Tensor> differentiably(FunctionNodeBase& node, const std::vector<Tensor>& grads) {
    const std::vector<Tensor> in = inputs_of(node);
    const Weights w{in[in_ih], in[in_hh], in[in_bias_ih], in[in_bias_hh], in[in_hr]};
    const auto results = run_composed(in[in_x], in[in_h], in[in_c], w, reverse);
    std::vector<Tensor> wanted, outputs, given, out(k_inputs);
    for (size_t i = 0; i < k_inputs; ++i)
      if (node.edges[i]) wanted.push_back(in[i]);
    for (size_t i = 0; i < results.size(); ++i) {
      if (!grads[i].defined()) continue;
      outputs.push_back(results[i]);
      given.push_back(grads[i]);
    }
    std::vector<Tensor> found = autograd::grad(outputs, wanted, given, true, true, true);
    for (size_t i = 0, k = 0; i < k_inputs; ++i)
      if (node.edges[i]) out[i] = std::move(found[k++]);
    return out;
  }

  std::vector<Tensor> fused(FunctionNodeBase& node, const std::vector<Tensor>& grads) {
    const std::vector<Tensor> in = inputs_of(node);
    const Tensor outputs = node.unpack(saved_outputs);
    const int64_t length = in[in_x].size(0);
    const auto count = static_cast<size_t>(length);
    const auto gates = [&](size_t at) { return node.unpack(saved_steps + at); };
    const auto cell = [&](size_t at) { return node.unpack(saved_steps + count + at); };
    const bool projects = in[in_hr].defined();
    TensorList gate_grads(count), h_grads(projects ? count : 0);
    Tensor from_later, c_grad = grads[2];
    for (int64_t i = length - 1; i >= 0; --i) {
      const int64_t time = step_at(i, length, reverse);
      const auto at = static_cast<size_t>(time);
      const Tensor own = grads[0].defined() ? select(grads[0], 0, time) : Tensor();
      Tensor h_grad;
      if (from_later.defined())
        h_grad = own.defined() ? addmm(own, from_later, in[in_hh]) : mm(from_later, in[in_hh]);
      else
        h_grad = sum_of(own, grads[1]);
      if (!h_grad.defined()) h_grad = full_like(in[in_h], 0);
      if (projects) {
        h_grads[at] = h_grad;
        h_grad = mm(h_grad, in[in_hr]);
      }
      const Tensor before = i == 0 ? in[in_c] : cell(reverse ? at + 1 : at - 1);
      const auto q = quarters(gates(at));
      Tensor made[5];
      apply_all(
          Op::lstm_cell_backward,
          std::initializer_list<Operand>{q[0], q[1], q[2], q[3], before, cell(at), h_grad, c_grad},
          {}, {}, made);
      gate_grads[at] = from_later = cat({made[0], made[1], made[2], made[3]}, 1);
      c_grad = made[4];
    }
    const Tensor all = length == 1 ? gate_grads[0] : cat(gate_grads, 0);
    std::vector<Tensor> out(k_inputs);
    if (node.edges[in_x]) out[in_x] = view(mm(all, in[in_ih]), in[in_x].shape());
    if (node.edges[in_h]) out[in_h] = mm(from_later, in[in_hh]);
    if (node.edges[in_c]) out[in_c] = c_grad;
    if (node.edges[in_ih]) out[in_ih] = mm(t(all), rows_of(in[in_x]));
    if (node.edges[in_hh]) {
      const Tensor first = unsqueeze(in[in_h], 0);
      const Tensor before = length == 1 ? first
                            : reverse   ? cat({narrow(outputs, 0, 1, length - 1), first})
                                        : cat({first, narrow(outputs, 0, 0, length - 1)});
      out[in_hh] = mm(t(all), rows_of(before));
    }
    if (node.edges[in_bias_ih]) out[in_bias_ih] = sum(all, Dims{0});
    if (node.edges[in_bias_hh])  // a tensor of its own: gradients are scaled in place
      out[in_bias_hh] = node.edges[in_bias_ih] ? clone(out[in_bias_ih]) : sum(all, Dims{0});
    if (node.edges[in_hr]) {
      TensorList unprojected(count);
      for (size_t i = 0; i < count; ++i) unprojected[i] = node.unpack(saved_steps + 2 * count + i);
      out[in_hr] = mm(t(cat(h_grads, 0)), cat(unprojected, 0));
    }
    return out;
  }
};

}  // namespace

std::array<Tensor, 3> lstm_layer(const Tensor& x, const Tensor& h, const Tensor& c,
                                 const Tensor& w_ih, const Tensor& w_hh, const Tensor& b_ih,
                                 const Tensor& b_hh, const Tensor& w_hr, bool reverse) {
  for (const Tensor* t : {&x, &h, &c, &w_ih, &w_hh}) require_defined(*t, "lstm");
  QS_CHECK(x.dim() == 3 && h.dim() == 2 && c.dim() == 2, Error,
           "lstm: input must have 3 dimensions and the states 2, got {}, {} and {}", x.dim(),
           h.dim(), c.dim());
  QS_CHECK(x.size(0) > 0, Error, "Expected sequence length to be larger than 0 in RNN");
  const Tensor inputs[] = {x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr};
  const Weights w{w_ih, w_hh, b_ih, b_hh, w_hr};
  Steps steps;
  std::array<Tensor, 3> results;
  {
    const NoGrad guard;
    results = run_fused(x, h, c, w, reverse, steps);
  }
  const bool any = std::any_of(std::begin(inputs), std::end(inputs),
                               [](const Tensor& t) { return wants_gradient(t); });
  if (!any) return results;
  auto node = with_gradient("Lstm", inputs, results, Backward{reverse});
  for (const Tensor& t : inputs) node->saved.emplace_back(t, false);
  node->saved.emplace_back(results[0], true);
  // The last cell is a result: what is saved of it must not own the node.
  for (const TensorList* list : {&steps.gates, &steps.c, &steps.unprojected})
    for (const Tensor& t : *list) node->saved.emplace_back(t, t.same(results[2]));
  return results;
}

}  // namespace qs
