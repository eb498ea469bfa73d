// Ops over windows as kernel calls: their attributes (graph/ops.def) become the kernels' arguments.
#include <bit>

#include "quicksilver/core/error.h"
#include "quicksilver/kernels/windows.h"
#include "quicksilver/plan/emit.h"

namespace qs::plan {
namespace {

using graph::Op;
using kernels::KernelCall;
using kernels::View;
using kernels::Window;

int64_t attribute(const Node& node, size_t i) { return static_cast<int64_t>(node.attrs[i]); }

/// From attribute `at` on: size, stride, padding and, when there is one, dilation of each.
kernels::Windows windows(const Node& node, size_t at, bool dilated) {
  kernels::Windows w;
  w.spatial = static_cast<int>(attribute(node, 0));
  w.adaptive = attribute(node, 1) & 1;
  for (int d = 0; d < w.spatial; ++d) {
    w.dims[d].size = attribute(node, at++);
    w.dims[d].stride = attribute(node, at++);
    w.dims[d].padding = attribute(node, at++);
    if (dilated) w.dims[d].dilation = attribute(node, at++);
  }
  return w;
}

kernels::Average average(const Node& node) {
  return {(attribute(node, 1) & 2) != 0, attribute(node, 2)};
}

kernels::Resample resampling(const Node& node) {
  kernels::Resample how;
  how.spatial = static_cast<int>(attribute(node, 0));
  how.mode = static_cast<kernels::Resampling>(attribute(node, 1));
  const int64_t flags = attribute(node, 2);
  how.align_corners = flags & 1;
  how.antialias = flags & 2;
  how.transposed = flags & 4;
  for (size_t d = 0; d < static_cast<size_t>(how.spatial); ++d) {
    how.scale[d] = std::bit_cast<double>(node.attrs[3 + 2 * d]);
    how.padding[d] = attribute(node, 4 + 2 * d);
  }
  return how;
}

}  // namespace

KernelCall window_call(const Node& node, std::span<const View> in, std::span<const View> out) {
  switch (node.op) {
    case Op::max_pool:
      return kernels::max_pool(out[0], out[1], in[0], windows(node, 2, true));
    case Op::max_pool_backward:
      return kernels::max_pool_backward(out[0], in[0], in[1], static_cast<int>(attribute(node, 0)));
    case Op::avg_pool:
      return kernels::avg_pool(out[0], in[0], windows(node, 3, false), average(node));
    case Op::avg_pool_backward:
      return kernels::avg_pool_backward(out[0], in[0], windows(node, 3, false), average(node));
    case Op::resample:
      return kernels::resample(out[0], in[0], resampling(node));
    default: {
      QS_ASSERT(node.op == Op::col2im);
      Window w[2];
      for (size_t d = 0; d < 2; ++d)
        w[d] = {attribute(node, d), attribute(node, 6 + d), attribute(node, 4 + d),
                attribute(node, 2 + d)};
      return kernels::col2im(out[0], in[0], w[0], w[1]);
    }
  }
}

}  // namespace qs::plan
