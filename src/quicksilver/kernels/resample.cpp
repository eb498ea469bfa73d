// Resampling: interpolation, its gradient, and padding with elements of the tensor; col2im.
//
// pointers  out, x
// ints      planes of out and x (planes.h); for each dimension its taps: begin [out + 1], then
//           index and weight (a double's bits) of each
// items     rows of the result
//
// A row of results is made in two steps: the rows of x that it takes part in are added up with
// their weights into a line, then each result is gathered from the line.
#include <array>
#include <bit>

#include "quicksilver/core/error.h"
#include "quicksilver/kernels/planes.h"
#include "quicksilver/kernels/pool_rows.h"
#include "quicksilver/kernels/resample_taps.h"

namespace qs::kernels {
namespace {

using driver::KernelView;
using driver::PortableKernel;

struct TapList {
  const int64_t *begin, *index, *weight;
  TapList(IntReader& ints, int64_t out) {
    begin = ints.take(out + 1);
    index = ints.take(begin[out]);
    weight = ints.take(begin[out]);
  }
  double weight_of(int64_t t) const { return std::bit_cast<double>(weight[t]); }
};

struct Geometry {
  Planes<2> planes;
  TapList depth, height, width;
  explicit Geometry(IntReader& ints)
      : planes(ints),
        depth(ints, planes.of[0].extents[0]),
        height(ints, planes.of[0].extents[1]),
        width(ints, planes.of[0].extents[2]) {}
};

/// Calls f(plane starts, d, h) for the rows of the result.
template <class F>
void for_rows(const Planes<2>& planes, int64_t begin, int64_t end, F&& f) {
  const int64_t* out = planes.of[0].extents;
  const int64_t rows = out[0] * out[1];
  int64_t plane = -1, start[2] = {};
  for (int64_t item = begin; item < end; ++item) {
    if (item / rows != plane) {
      plane = item / rows;
      planes.locate(plane, start);
    }
    f(start, item % rows / out[1], item % out[1]);
  }
}

/// Elements that lie side by side in x and in the result.
struct Run {
  int64_t out, in, length;
};

std::vector<Run> runs_of(const int64_t* index, int64_t n) {
  std::vector<Run> runs;
  for (int64_t o = 0; o < n; ++o) {
    if (o > 0 && index[o] == index[o - 1] + 1)
      ++runs.back().length;
    else
      runs.push_back({o, index[o], 1});
  }
  return runs;
}

/// Every result is one element: copied as it is, whatever its type. `T` has its size.
template <class T>
void pick_rows(const KernelView& view, int64_t begin, int64_t end) {
  IntReader ints(view.ints);
  const Geometry g(ints);
  const Plane &out = g.planes.of[0], &x = g.planes.of[1];
  const int64_t step = x.strides[2], to_step = out.strides[2], width = out.extents[2];
  const std::vector<Run> runs = runs_of(g.width.index, width);
  const bool long_runs =
      step == 1 && to_step == 1 && static_cast<int64_t>(runs.size()) * 4 <= width;
  for_rows(g.planes, begin, end, [&](const int64_t* start, int64_t d, int64_t h) {
    T* to = static_cast<T*>(view.pointers[0]) + start[0] + out.row(d, h);
    const T* from = static_cast<const T*>(view.pointers[1]) + start[1] +
                    x.row(g.depth.index[d], g.height.index[h]);
    if (long_runs) {
      for (const Run& run : runs)
        if (run.length == 1)
          to[run.out] = from[run.in];
        else
          std::memcpy(to + run.out, from + run.in, static_cast<size_t>(run.length) * sizeof(T));
      return;
    }
    for (int64_t o = 0; o < width; ++o) to[o * to_step] = from[g.width.index[o] * step];
  });
}

/// The taps of the last dimension in the types of the inner loop.
template <class W>
struct Row {
  bool pairs = true;  // two taps for each result
  std::vector<int32_t> index;
  std::vector<W> weight;
  Row(const TapList& taps, int64_t out) {
    for (int64_t o = 0; o < out; ++o) pairs = pairs && taps.begin[o] == 2 * o;
    pairs = pairs && taps.begin[out] == 2 * out;
    for (int64_t t = 0; t < taps.begin[out]; ++t) {
      index.push_back(static_cast<int32_t>(taps.index[t]));
      weight.push_back(static_cast<W>(taps.weight_of(t)));
    }
  }
};

template <class W>
void gather(const W* line, const TapList& taps, const Row<W>& row, int64_t n, W* out) {
  if constexpr (std::is_same_v<W, float>)
    if (row.pairs) return pool_rows().pairs(line, row.index.data(), row.weight.data(), n, out);
  for (int64_t o = 0; o < n; ++o) {
    W sum = 0;
    for (int64_t t = taps.begin[o]; t < taps.begin[o + 1]; ++t)
      sum += line[row.index[static_cast<size_t>(t)]] * row.weight[static_cast<size_t>(t)];
    out[o] = sum;
  }
}

template <class W>
void add_weighted(const W* row, W weight, int64_t n, W* sum) {
  if constexpr (std::is_same_v<W, float>) {
    pool_rows().add_scaled(row, weight, n, sum);
  } else {
    for (int64_t i = 0; i < n; ++i) sum[i] += weight * row[i];
  }
}

/// bytes are interpolated in f32 and rounded to the nearest
template <class T>
using Sum = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <class T>
void sum_rows(const KernelView& view, int64_t begin, int64_t end) {
  using W = Sum<T>;
  IntReader ints(view.ints);
  const Geometry g(ints);
  const Plane &out = g.planes.of[0], &x = g.planes.of[1];
  const Row<W> row(g.width, out.extents[2]);
  const int64_t in_width = x.extents[2];
  RowReader<T> reader(view.pointers[1], x);
  std::vector<W> line(static_cast<size_t>(in_width)), wide(static_cast<size_t>(in_width)),
      sum(static_cast<size_t>(out.extents[2]));
  const auto read = [&](int64_t start, int64_t d, int64_t h) -> const W* {
    const Wide<T>* from = reader.row(start, d, h);
    if constexpr (std::is_same_v<W, Wide<T>>) {
      return from;
    } else {
      for (int64_t i = 0; i < in_width; ++i) wide[static_cast<size_t>(i)] = static_cast<W>(from[i]);
      return wide.data();
    }
  };
  for_rows(g.planes, begin, end, [&](const int64_t* start, int64_t d, int64_t h) {
    const W* from = line.data();
    const int64_t d0 = g.depth.begin[d], d1 = g.depth.begin[d + 1];
    const int64_t h0 = g.height.begin[h], h1 = g.height.begin[h + 1];
    if (d1 - d0 == 1 && h1 - h0 == 1 && g.depth.weight_of(d0) == 1 && g.height.weight_of(h0) == 1) {
      from = read(start[1], g.depth.index[d0], g.height.index[h0]);
    } else {
      std::fill(line.begin(), line.end(), W(0));
      for (int64_t i = d0; i < d1; ++i)
        for (int64_t k = h0; k < h1; ++k)
          add_weighted<W>(
              read(start[1], g.depth.index[i], g.height.index[k]),
              static_cast<W>(g.depth.weight_of(i)) * static_cast<W>(g.height.weight_of(k)),
              in_width, line.data());
    }
    gather<W>(from, g.width, row, out.extents[2], sum.data());
    T* to = static_cast<T*>(view.pointers[0]) + start[0] + out.row(d, h);
    if constexpr (std::is_same_v<W, Wide<T>>) {
      store_row(to, out.strides[2], sum.data(), out.extents[2]);
    } else {
      for (int64_t o = 0; o < out.extents[2]; ++o)
        to[o * out.strides[2]] =
            static_cast<T>(std::clamp(sum[static_cast<size_t>(o)] + W(0.5), W(0), W(255)));
    }
  });
}

const PortableKernel& resample_kernel(DType dtype, bool picks) {
  static const PortableKernel pick[] = {{"resample_pick_8", {}, pick_rows<uint8_t>},
                                        {"resample_pick_16", {}, pick_rows<uint16_t>},
                                        {"resample_pick_32", {}, pick_rows<uint32_t>},
                                        {"resample_pick_64", {}, pick_rows<uint64_t>},
                                        {"resample_pick_128", {}, pick_rows<Complex<double>>}};
  static const PortableKernel f16 = {"resample_f16", {}, sum_rows<Half<DType::f16>>};
  static const PortableKernel bf16 = {"resample_bf16", {}, sum_rows<Half<DType::bf16>>};
  static const PortableKernel f32 = {"resample_f32", {}, sum_rows<float>};
  static const PortableKernel f64 = {"resample_f64", {}, sum_rows<double>};
  static const PortableKernel u8 = {"resample_u8", {}, sum_rows<uint8_t>};
  if (picks) return pick[std::countr_zero(size_of(dtype))];
  switch (dtype) {
    case DType::f16:
      return f16;
    case DType::bf16:
      return bf16;
    case DType::f64:
      return f64;
    case DType::u8:
      return u8;
    default:
      QS_ASSERT(dtype == DType::f32);
      return f32;
  }
}

// ---- col2im: pointers out, x; ints: planes of out and x (blocks: c * kh * kw and windows), size,
// dilation, padding, stride of height and width, results of windows; items: planes of out

template <class T>
void fold_planes(const KernelView& view, int64_t begin, int64_t end) {
  using W = Wide<T>;
  IntReader ints(view.ints);
  const Planes<2> planes(ints);
  const Plane &out = planes.of[0], &x = planes.of[1];
  Window w[2];
  int64_t count[2];
  for (int d = 0; d < 2; ++d) {
    w[d].size = ints.next();
    w[d].dilation = ints.next();
    w[d].padding = ints.next();
    w[d].stride = ints.next();
    count[d] = ints.next();
  }
  const int64_t height = out.extents[1], width = out.extents[2], step = x.strides[2];
  PlaneAdder<T> adder(view.pointers[0], out);
  for (int64_t plane = begin; plane < end; ++plane) {
    int64_t start[2];
    planes.locate(plane, start);
    W* sums = adder.begin(start[0]);
    for (int64_t i = 0; i < w[0].size; ++i)
      for (int64_t k = 0; k < w[1].size; ++k) {
        const T* block =
            static_cast<const T*>(view.pointers[1]) + start[1] + (i * w[1].size + k) * x.strides[1];
        for (int64_t a = 0; a < count[0]; ++a) {
          const int64_t h = a * w[0].stride - w[0].padding + i * w[0].dilation;
          if (h < 0 || h >= height) continue;
          W* row = sums + h * width;
          const T* from = block + a * count[1] * step;
          const int64_t shift = k * w[1].dilation - w[1].padding;
          for (int64_t b = 0; b < count[1]; ++b) {
            const int64_t at = b * w[1].stride + shift;
            if (at >= 0 && at < width) row[at] += widen(from[b * step]);
          }
        }
      }
    adder.finish();
  }
}

}  // namespace

KernelCall resample(const View& out, const View& x, const Resample& how) {
  KernelCall call;
  driver::KernelArgs& args = call.args;
  args.pointers = {out.ptr, x.ptr};
  const View* views[] = {&out, &x};
  const int64_t planes = append_planes(args.ints, views, how.spatial);
  bool picks = true;
  int64_t rows = planes;
  for (int d = 0; d < k_most_spatial; ++d) {
    const int own = d - (k_most_spatial - how.spatial);
    const size_t at = x.shape.size() - static_cast<size_t>(k_most_spatial - d);
    Taps taps;
    if (own < 0) {
      taps = {{0, 1}, {0}, {1.0}};
    } else {
      const int64_t from = x.shape[at], to = out.shape[at];
      taps = how.transposed ? transpose(taps_of(how, own, to, from, x.dtype != DType::f64), to)
                            : taps_of(how, own, from, to, x.dtype != DType::f64);
      if (own + 1 < how.spatial) rows *= to;
    }
    picks = picks && taps.picks();
    append(args.ints, taps.begin);
    append(args.ints, taps.index);
    for (double w : taps.weight) args.ints.push_back(std::bit_cast<int64_t>(w));
  }
  call.kernel = &resample_kernel(x.dtype, picks);
  args.items = out.shape.back() && numel_of(x) ? rows : 0;
  args.grain = grain_for(2 * (out.shape.back() + x.shape.back()), 16384);
  return call;
}

KernelCall col2im(const View& out, const View& x, const Window& height, const Window& width) {
  static const std::vector<PortableKernel> kernels = [] {
    std::vector<PortableKernel> list(k_dtype_count);
    for (int d = 0; d < k_dtype_count; ++d)
      kernels::dispatch(static_cast<DType>(d), [&]<class T>(T) {
        if constexpr (!k_is_complex<T> && !std::is_same_v<T, bool>)
          list[static_cast<size_t>(d)] = {
              "col2im_" + std::string(k_dtype_info[d].short_name), {}, fold_planes<T>};
      });
    return list;
  }();
  // The blocks of one channel are one plane of x.
  View blocks = x;
  const int64_t block = height.size * width.size, channels = x.shape[1] / block;
  blocks.shape = {x.shape[0], channels, block, x.shape[2]};
  blocks.strides = {x.strides[0], x.strides[1] * block, x.strides[1], x.strides[2]};
  KernelCall call;
  call.kernel = &kernels[static_cast<size_t>(x.dtype)];
  QS_ASSERT(call.kernel->host != nullptr);
  driver::KernelArgs& args = call.args;
  args.pointers = {out.ptr, x.ptr};
  const View* views[] = {&out, &blocks};
  args.items = append_planes(args.ints, views, 2);
  int d = 2;
  for (const Window& w : {height, width}) {
    const int64_t reach = w.dilation * (w.size - 1) + 1;
    const int64_t extent = out.shape[static_cast<size_t>(d++)];
    args.ints.insert(args.ints.end(), {w.size, w.dilation, w.padding, w.stride,
                                       (extent + 2 * w.padding - reach) / w.stride + 1});
  }
  args.grain = grain_for(args.items ? numel_of(x) / args.items : 1, 16384);
  return call;
}

}  // namespace qs::kernels
