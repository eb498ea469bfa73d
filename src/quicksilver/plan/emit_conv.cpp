// Convolutions as library calls. Operands are read and the result is written as they lie, whatever
// their strides; `prepare_calls` has made their dtypes one and kept the result apart from them.
#include "quicksilver/core/error.h"
#include "quicksilver/plan/emit.h"
#include "quicksilver/plan/passes.h"

namespace qs::plan {
namespace {

using driver::ConvArgs;
using driver::ConvCall;
using graph::Op;

/// [item, channel, spatial...] into five places, the spatial ones at the end.
ConvArgs::Tensor tensor(const driver::PtrRef& ptr, const Layout& l) {
  ConvArgs::Tensor t;
  t.ptr = ptr;
  const int spatial = l.rank() - 2;
  t.strides[0] = l.strides[0];
  t.strides[1] = l.strides[1];
  for (int d = 0; d < spatial; ++d) t.strides[5 - spatial + d] = l.strides[2 + d];
  return t;
}

void sizes(int64_t (&to)[3], const Layout& l) {
  const int spatial = l.rank() - 2;
  for (int d = 0; d < spatial; ++d) to[3 - spatial + d] = l.shape[2 + d];
}

/// The numbers are the three shapes, each behind its rank.
std::string say_conv(const CompiledPlan::Line& line, const Structure&) {
  const int64_t* at = line.extents.data();
  auto next = [&] {
    const auto rank = static_cast<size_t>(*at++);
    return to_string(DimSpan(std::exchange(at, at + rank), rank));
  };
  const std::string x = next(), w = next(), y = next();
  return format("  {} x {} w {} y {} ({} bytes)\n", line.name, x, w, y, line.bytes);
}

}  // namespace

void Emitter::conv(const Node& node) {
  const graph::Result& r = node.results[0];
  if (r.layout.numel() == 0) return;
  const int spatial = r.layout.rank() - 2;
  ConvCall call;
  call.kind = node.op == Op::conv                  ? ConvCall::forward
              : node.op == Op::conv_backward_input ? ConvCall::input
                                                   : ConvCall::weight;
  call.dtype = r.dtype;
  call.dims = static_cast<uint8_t>(spatial);
  call.bias = call.kind != ConvCall::weight && node.operands.size() > 2 && reads(node, 2);

  const Layout &first = node.operands[0].layout, &second = node.operands[1].layout;
  const bool forward = call.kind == ConvCall::forward, input = call.kind == ConvCall::input;
  const Layout& x = forward ? first : input ? r.layout : second;
  const Layout& w = forward || input ? second : r.layout;
  const Layout& y = forward ? r.layout : first;
  const driver::PtrRef a = address(node.operands[0]), b = address(node.operands[1]),
                       c = result_address(node, 0);
  ConvArgs args;
  args.x = tensor(forward ? a : input ? c : b, x);
  args.w = tensor(forward || input ? b : c, w);
  args.y = tensor(forward ? c : a, y);
  if (call.bias) {
    args.bias = address(node.operands[2]);
    args.bias_stride = node.operands[2].layout.strides[0];
  }
  args.batch = x.shape[0];
  args.in = x.shape[1];
  args.out = y.shape[1];
  sizes(args.x_size, x);
  sizes(args.y_size, y);
  sizes(args.kernel, w);
  const auto attr = [&](int i) { return static_cast<int64_t>(node.attrs[static_cast<size_t>(i)]); };
  args.groups = attr(0);
  for (int d = 0; d < spatial; ++d) {
    const int to = 3 - spatial + d;
    args.stride[to] = attr(1 + d);
    args.padding[to] = attr(1 + spatial + d);
    args.dilation[to] = attr(1 + 2 * spatial + d);
  }
  const int64_t moved =
      static_cast<int64_t>(size_of(call.dtype)) * (x.numel() + w.numel() + y.numel());
  plan_.bytes_moved += moved;
  CompiledPlan::Line& line = push(kernel_for(call), std::move(args), node.tag);
  line.words = say_conv;
  line.name = graph::name_of(node.op);
  line.bytes = moved;
  line.extents.reserve(3 * static_cast<size_t>(1 + x.rank()));
  for (const Layout* l : {&x, &w, &y}) {
    line.extents.push_back(l->rank());
    for (int64_t n : l->shape) line.extents.push_back(n);
  }
}

}  // namespace qs::plan
