// Kernels over windows of the last one to three dimensions: pooling, resampling, col2im.
//
// A plane is what these dimensions span; the dimensions before (samples, channels) count planes.
// Fewer than three dimensions are seen as three, with extents 1 in front. Forward kernels run over
// rows of their result; backward kernels run over whole planes, so that overlapping windows are
// added in one fixed order by one thread.
#pragma once
#include "quicksilver/kernels/kernels.h"

namespace qs::kernels {

inline constexpr int k_most_spatial = 3;

/// One dimension of the windows: window o covers o * stride - padding + i * dilation, i < size.
struct Window {
  int64_t size = 1, stride = 1, padding = 0, dilation = 1;
};

/// `spatial` windows, outermost first. Adaptive: window o of n covers [floor(o in / n),
/// ceil((o + 1) in / n)) instead.
struct Windows {
  int spatial = 1;
  bool adaptive = false;
  Window dims[k_most_spatial];
};

/// values and positions of the largest element of each window: the first of equals, a NaN over any
/// number. positions are flat and row-major in x's plane: i32 (planes below 2^31 elements) or i64.
KernelCall max_pool(const View& values, const View& positions, const View& x,
                    const Windows& windows);
/// dx[positions] += g, plane by plane; dx is 0 elsewhere.
KernelCall max_pool_backward(const View& dx, const View& g, const View& positions, int spatial);

/// What the sum of a window is divided by: the elements of the window inside x, those inside the
/// padded x, or `divisor` when it is not 0.
struct Average {
  bool padding_counts = true;
  int64_t divisor = 0;
};
KernelCall avg_pool(const View& out, const View& x, const Windows& windows, const Average& average);
KernelCall avg_pool_backward(const View& dx, const View& g, const Windows& windows,
                             const Average& average);

// ---- resampling: every result is a weighted sum along each dimension

enum class Resampling : uint8_t {
  nearest,        // floor(o * scale)
  nearest_exact,  // floor((o + 1/2) * scale)
  linear,
  cubic,  // Keys 1981, a = -0.75 (-0.5 with antialias)
  reflect,
  replicate,
  circular,  // these three pad: result o is element o - padding, brought back inside
  lanczos,   // with antialias only; a = 3
};

struct Resample {
  int spatial = 1;
  Resampling mode = Resampling::nearest;
  bool align_corners = false;
  bool antialias = false;
  bool transposed = false;  // the gradient: out has the extents of the input, x those of the result
  double scale[k_most_spatial] = {};     // scale_factor as the user gave it; 0: by the extents
  int64_t padding[k_most_spatial] = {};  // before the first element
};
KernelCall resample(const View& out, const View& x, const Resample& how);

/// out [n, c, h, w] = sums of x [n, c * kh * kw, windows]; windows are height and width.
KernelCall col2im(const View& out, const View& x, const Window& height, const Window& width);

}  // namespace qs::kernels
