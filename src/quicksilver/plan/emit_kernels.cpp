// Kernel-family ops as commands. `prepare_calls` has brought operands to the dtypes the kernels
// want and in-place destinations into place.
#include <algorithm>
#include <bit>

#include "quicksilver/core/error.h"
#include "quicksilver/kernels/kernels.h"
#include "quicksilver/plan/emit.h"
#include "quicksilver/plan/passes.h"
#include "quicksilver/runtime/device.h"

namespace qs::plan {
namespace {

using graph::Op;
using graph::Operand;
using kernels::KernelCall;
using kernels::View;

View broadcast(View v, DimSpan shape) {
  Layout l = broadcast_to(Layout(v.shape, v.strides), shape);
  v.shape = l.shape;
  v.strides = l.strides;
  return v;
}

int dim_of(const Node& node, const Dims& shape) {
  const auto dim = static_cast<int64_t>(node.attrs[0]);
  return wrap_dim(dim, static_cast<int>(shape.size()));
}

}  // namespace

void Emitter::reserve_scratch(KernelCall& call) {
  if (!device_.info().takes_text || !call.kernel->text) return;
  const int64_t bytes = call.kernel->text->plan(call.args).scratch_bytes;
  if (bytes == 0) return;
  call.args.scratch.base = 0;
  call.args.scratch.bytes = scratch_at();
  scratch_bytes_ = std::max(scratch_bytes_, bytes);
}

bool Emitter::wanted(const Node& node, size_t result) const {
  const ValueId v = node.results[result].value_id;
  const ValueInfo& value = ir_.values[v];
  if (value.live || value.successor != v || ir_.values[value.root].external) return true;
  for (NodeId id : ir_.sequence)
    for (const Operand& o : ir_.nodes[static_cast<size_t>(id)].operands)
      if (o.value_id == v) return true;
  return false;
}

void Emitter::kernel(const Node& node) {
  auto in = [&](size_t i) {
    const Operand& o = node.operands[i];
    return View{address(o), o.dtype, o.layout.shape, o.layout.strides};
  };
  auto out = [&](size_t i) {
    if (node.part == Node::check) {  // it has no result: the shape of what is to be written
      const Layout& l = node.operands[0].layout;
      return View{{}, node.operands[0].dtype, l.shape, l.strides};
    }
    const graph::Result& r = node.results[i];
    return View{result_address(node, i), r.dtype, r.layout.shape, r.layout.strides};
  };
  auto add = [&](KernelCall call) {
    reserve_scratch(call);
    CompiledPlan::Line& line = push(kernel_for(*call.kernel), std::move(call.args), node.tag);
    line.name = call.kernel->name;
    line.words = [](const CompiledPlan::Line& l, const Structure&) {
      return format("  {}\n", l.name);
    };
  };
  // Indices of `index` and `index_put`: operands from `from` on, for the dimensions of attribute 0.
  auto indices = [&](size_t from, std::vector<View>& views, std::vector<int>& dims) {
    Dims shape;
    for (size_t i = from; i < node.operands.size() && i < graph::info(node.op).inputs; ++i)
      if (reads(node, i)) {
        views.push_back(in(i));
        shape = broadcast_shapes(shape, views.back().shape);
      }
    for (View& v : views) v = broadcast(v, shape);
    for (uint64_t m = node.attrs[0]; m; m &= m - 1) dims.push_back(std::countr_zero(m));
    QS_ASSERT(dims.size() == views.size() && !dims.empty());
    return shape;
  };
  switch (node.op) {
    case Op::index_select:
      return add(kernels::index_select(out(0), in(0), in(1), dim_of(node, in(0).shape)));
    case Op::gather:
      return add(kernels::gather(out(0), in(0), in(1), dim_of(node, in(0).shape)));
    case Op::index: {
      std::vector<View> views;
      std::vector<int> dims;
      indices(1, views, dims);
      return add(kernels::index(out(0), in(0), views, dims, dims[0]));
    }
    case Op::index_put: {
      std::vector<View> views;
      std::vector<int> dims;
      const Dims shape = indices(2, views, dims);
      const View x = out(0);
      Dims whole;
      for (int d = 0; d < static_cast<int>(x.shape.size()); ++d) {
        if (d == dims[0])
          for (int64_t s : shape) whole.push_back(s);
        if (!(node.attrs[0] >> d & 1)) whole.push_back(x.shape[static_cast<size_t>(d)]);
      }
      for (size_t i = 0; node.part != Node::write && i < views.size(); ++i)
        add(kernels::check_index(views[i], x.shape[static_cast<size_t>(dims[i])],
                                 kernels::Signs::from_end));
      if (node.part == Node::check) return;
      return add(kernels::index_put(x, broadcast(in(1), whole), views, dims, dims[0],
                                    node.attrs.size() > 1 && node.attrs[1]
                                        ? kernels::ScatterMode::add
                                        : kernels::ScatterMode::write));
    }
    case Op::index_add:
    case Op::index_reduce:
    case Op::scatter:
    case Op::scatter_add:
    case Op::scatter_reduce: {
      const View x = out(0);
      const int dim = dim_of(node, x.shape);
      if (node.part != Node::write)
        add(kernels::check_index(in(1), x.shape.empty() ? 1 : x.shape[static_cast<size_t>(dim)],
                                 kernels::Signs::not_negative));
      if (node.part == Node::check) return;
      if (node.op == Op::index_add) return add(kernels::index_add(x, in(2), in(1), dim));
      if (node.op == Op::index_reduce)
        return add(kernels::index_add(x, in(2), in(1), dim,
                                      static_cast<kernels::ScatterMode>(node.attrs[1])));
      View source = in(2);
      if (source.shape.size() < in(1).shape.size()) source = broadcast(source, in(1).shape);
      return add(kernels::scatter(x, source, in(1), dim,
                                  node.op == Op::scatter ? kernels::ScatterMode::write
                                  : node.op == Op::scatter_add
                                      ? kernels::ScatterMode::add
                                      : static_cast<kernels::ScatterMode>(node.attrs[1])));
    }
    case Op::sort: {
      const View values = out(0), positions = out(1);
      const bool alone = !wanted(node, 0);  // argsort
      return add(kernels::sort(alone ? nullptr : &values,
                               alone || wanted(node, 1) ? &positions : nullptr, in(0),
                               dim_of(node, in(0).shape), node.attrs.size() > 1 && node.attrs[1]));
    }
    case Op::cumsum:
      return add(
          kernels::scan(kernels::ScanOp::sum, out(0), nullptr, in(0), dim_of(node, in(0).shape)));
    case Op::cumprod:
      return add(kernels::scan(kernels::ScanOp::product, out(0), nullptr, in(0),
                               dim_of(node, in(0).shape)));
    case Op::conv:
    case Op::conv_backward_input:
    case Op::conv_backward_weight:
      return conv(node);
    case Op::logcumsumexp:
      return add(kernels::scan(kernels::ScanOp::log_sum, out(0), nullptr, in(0),
                               dim_of(node, in(0).shape)));
    case Op::cummax:
    case Op::cummin: {
      const View positions = out(1);
      return add(
          kernels::scan(node.op == Op::cummax ? kernels::ScanOp::maximum : kernels::ScanOp::minimum,
                        out(0), &positions, in(0), dim_of(node, in(0).shape)));
    }
    case Op::topk: {
      const View values = out(0), positions = out(1);
      return add(
          kernels::topk(&values, &positions, in(0), dim_of(node, in(0).shape), node.attrs[2] != 0));
    }
    case Op::kthvalue:
      return add(kernels::kth_value(out(0), out(1), in(0), dim_of(node, in(0).shape),
                                    static_cast<int64_t>(node.attrs[1])));
    case Op::searchsorted:
      return add(kernels::search(out(0), in(0), in(1), node.attrs[0] != 0));
    case Op::draw: {
      auto scalar = [&](size_t i) {
        driver::ScalarRef s;
        s.word = node.operands[i].word;
        s.dtype = DType::i64;
        return s;
      };
      const bool two = reads(node, 1);
      const View a = in(0), b = two ? in(1) : a;
      return add(kernels::draw(static_cast<kernels::Draw>(node.attrs[0]), out(0), a,
                               two ? &b : nullptr, scalar(2), scalar(3)));
    }
    case Op::nonzero:
      return add(kernels::nonzero(out(0), in(0)));
    case Op::attention:
    case Op::attention_backward:
      return attention(node);
    case Op::max_pool:
    case Op::max_pool_backward:
    case Op::avg_pool:
    case Op::avg_pool_backward:
    case Op::resample:
    case Op::col2im: {
      std::vector<View> ins, outs;
      for (size_t i = 0; i < graph::info(node.op).inputs; ++i) ins.push_back(in(i));
      for (size_t i = 0; i < node.results.size(); ++i) outs.push_back(out(i));
      return add(window_call(node, ins, outs));
    }
    default:
      throw InternalError(format("{} has no kernel", graph::name_of(node.op)));
  }
}

}  // namespace qs::plan
