// Pooling: largest element or mean of windows, forward and backward.
//
// pointers  results, then inputs
// ints      planes of the operands in that order (planes.h), then adaptive, size, stride, padding
//           and dilation of the three dimensions, and for means: padding counts, divisor
// items     forward: rows of the result; backward: planes
#include <array>
#include <limits>

#include "quicksilver/core/error.h"
#include "quicksilver/kernels/planes.h"
#include "quicksilver/kernels/pool_rows.h"

namespace qs::kernels {
namespace {

using driver::KernelView;
using driver::PortableKernel;

void append_windows(std::vector<int64_t>& ints, const Windows& w) {
  ints.push_back(w.adaptive);
  for (int d = w.spatial; d < k_most_spatial; ++d)
    for (int64_t v : {1, 1, 0, 1}) ints.push_back(v);
  for (int d = 0; d < w.spatial; ++d)
    for (int64_t v : {w.dims[d].size, w.dims[d].stride, w.dims[d].padding, w.dims[d].dilation})
      ints.push_back(v);
}

int64_t ceil_div(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }
int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

/// The elements of one window along one dimension.
struct Span {
  int64_t begin, end;  // inside the input, in steps of the dilation
  int64_t padded;      // how many there are with padding
};

struct Geometry {
  bool adaptive;
  Window w[k_most_spatial];
  const int64_t *in, *out;  // extents

  Geometry(IntReader& ints, const int64_t* in_extents, const int64_t* out_extents)
      : in(in_extents), out(out_extents) {
    adaptive = ints.next() != 0;
    for (Window& v : w) {
      v.size = ints.next();
      v.stride = ints.next();
      v.padding = ints.next();
      v.dilation = ints.next();
    }
  }

  Span span(int d, int64_t o) const {
    if (adaptive) {
      const int64_t begin = o * in[d] / out[d], end = ((o + 1) * in[d] + out[d] - 1) / out[d];
      return {begin, end, end - begin};
    }
    const int64_t start = o * w[d].stride - w[d].padding;
    const int64_t reach = (w[d].size - 1) * w[d].dilation + 1;
    const int64_t begin =
        start < 0 ? start + ceil_div(-start, w[d].dilation) * w[d].dilation : start;
    return {begin, std::min(start + reach, in[d]),
            std::min(start + w[d].size, in[d] + w[d].padding) - start};
  }

  /// Results o of the last dimension whose tap `k` lies inside: [first, last).
  std::array<int64_t, 2> reached(int64_t k) const {
    const int64_t shift = w[2].padding - k * w[2].dilation;
    return {std::max<int64_t>(0, ceil_div(shift, w[2].stride)),
            std::min(out[2], floor_div(in[2] - 1 + shift, w[2].stride) + 1)};
  }

  /// Blocks of `height` x 2 that lie side by side.
  bool is_blocks(int64_t height) const {
    const auto plain = [&](int d, int64_t n) {
      return w[d].size == n && w[d].stride == n && w[d].padding == 0 && w[d].dilation == 1;
    };
    return !adaptive && plain(0, 1) && plain(1, height) && plain(2, 2) &&
           height * out[1] <= in[1] && 2 * out[2] <= in[2];
  }
};

// ---- the largest

template <class T>
bool takes(T x, T best) {
  return x > best || x != x;
}

template <class W, class I>
void tap_max(const W* row, int64_t stride, int64_t n, W* best, I* at, I base) {
  if constexpr (std::is_same_v<W, float> && std::is_same_v<I, int32_t>) {
    pool_rows().tap_max(row, stride, n, best, at, base);
  } else {
    for (int64_t i = 0; i < n; ++i) {
      const W x = row[i * stride];
      if (!takes(x, best[i])) continue;
      best[i] = x;
      at[i] = static_cast<I>(base + i * stride);
    }
  }
}

/// Windows that reach over any part of a row: the largest of each column of a window's rows, then
/// of its columns. The first of the largest in memory is wanted, of NaNs the last.
template <class W, class I>
class AdaptiveRow {
 public:
  explicit AdaptiveRow(const Geometry& g) : g_(g) {
    for (int64_t o = 0; g.adaptive && o < g.out[2]; ++o) spans_.push_back(g.span(2, o));
    if (!g.adaptive) return;
    most_.resize(static_cast<size_t>(g.in[2]));
    place_.resize(most_.size());
  }
  void begin(W lowest, I corner) {
    std::fill(most_.begin(), most_.end(), lowest);
    for (size_t i = 0; i < place_.size(); ++i) place_[i] = corner + static_cast<I>(i);
  }
  void add(const W* row, int64_t base) {
    tap_max<W, I>(row, 1, g_.in[2], most_.data(), place_.data(), static_cast<I>(base));
  }
  void end(W* best, I* at) const {
    for (size_t o = 0; o < spans_.size(); ++o) {
      if (spans_[o].begin >= spans_[o].end) continue;
      auto i = static_cast<size_t>(spans_[o].begin);
      W most = most_[i];
      I place = place_[i];
      for (++i; i < static_cast<size_t>(spans_[o].end); ++i) {
        const W x = most_[i];
        const bool nan = x != x;
        const bool behind =
            nan ? most == most || place_[i] > place : x > most || (x == most && place_[i] < place);
        most = behind ? x : most;
        place = behind ? place_[i] : place;
      }
      best[o] = most;
      at[o] = place;
    }
  }

 private:
  const Geometry& g_;
  std::vector<Span> spans_;  // by window
  std::vector<W> most_;      // by column
  std::vector<I> place_;
};

template <class T, class I>
void max_rows(const KernelView& view, int64_t begin, int64_t end) {
  using W = Wide<T>;
  IntReader ints(view.ints);
  const Planes<3> planes(ints);
  const Plane &values = planes.of[0], &positions = planes.of[1], &x = planes.of[2];
  const Geometry g(ints, x.extents, values.extents);
  const int64_t width = g.out[2], rows = g.out[0] * g.out[1];
  const int64_t in_width = g.in[2];
  RowReader<T> reader(view.pointers[2], x);
  std::vector<W> best(static_cast<size_t>(width));
  std::vector<I> at(static_cast<size_t>(width)), starts(static_cast<size_t>(width));
  const W lowest = std::numeric_limits<W>::has_infinity ? -std::numeric_limits<W>::infinity()
                                                        : std::numeric_limits<W>::lowest();
  const I last = static_cast<I>(std::max<int64_t>(x.numel() - 1, 0));
  [[maybe_unused]] const bool plain =
      reader.direct() && values.strides[2] == 1 && positions.strides[2] == 1;
  [[maybe_unused]] const int64_t block = !plain           ? 0
                                         : g.is_blocks(2) ? 2
                                         : g.is_blocks(1) ? 1
                                                          : 0;  // its height
  AdaptiveRow<W, I> adaptive(g);
  for (int64_t o = 0; o < width; ++o)
    starts[static_cast<size_t>(o)] = static_cast<I>(g.span(2, o).begin);
  int64_t plane = -1, start[3] = {};
  for (int64_t item = begin; item < end; ++item) {
    if (item / rows != plane) {
      plane = item / rows;
      planes.locate(plane, start);
    }
    const int64_t od = item % rows / g.out[1], oh = item % g.out[1];
    T* to = static_cast<T*>(view.pointers[0]) + start[0] + values.row(od, oh);
    I* to_at = static_cast<I*>(view.pointers[1]) + start[1] + positions.row(od, oh);
    if constexpr (std::is_same_v<T, float> && std::is_same_v<I, int32_t>) {
      if (block) {
        const auto base = static_cast<int32_t>((od * g.in[1] + block * oh) * in_width);
        const float* row = reader.row(start[2], od, block * oh);
        if (block == 1)
          pool_rows().max_1x2(row, width, to, to_at, base);
        else
          pool_rows().max_2x2(row, reader.row(start[2], od, 2 * oh + 1), width, to, to_at, base,
                              base + static_cast<int32_t>(in_width));
        continue;
      }
    }
    const Span depth = g.span(0, od), height = g.span(1, oh);
    const I corner = static_cast<I>((depth.begin * g.in[1] + height.begin) * in_width);
    if (g.adaptive) {
      adaptive.begin(lowest, corner);
    } else {
      std::fill(best.begin(), best.end(), lowest);
      for (size_t o = 0; o < at.size(); ++o)
        at[o] = std::min(static_cast<I>(corner + starts[o]), last);
    }
    for (int64_t d = depth.begin; d < depth.end; d += g.w[0].dilation)
      for (int64_t h = height.begin; h < height.end; h += g.w[1].dilation) {
        const W* row = reader.row(start[2], d, h);
        const int64_t base = (d * g.in[1] + h) * in_width;
        if (g.adaptive) {
          adaptive.add(row, base);
          continue;
        }
        for (int64_t k = 0; k < g.w[2].size; ++k) {
          const auto [first, end_of] = g.reached(k);
          if (first >= end_of) continue;
          const int64_t i = first * g.w[2].stride - g.w[2].padding + k * g.w[2].dilation;
          tap_max<W, I>(row + i, g.w[2].stride, end_of - first, &best[static_cast<size_t>(first)],
                        &at[static_cast<size_t>(first)], static_cast<I>(base + i));
        }
      }
    if (g.adaptive) adaptive.end(best.data(), at.data());
    store_row(to, values.strides[2], best.data(), width);
    for (int64_t o = 0; o < width; ++o)
      to_at[o * positions.strides[2]] = at[static_cast<size_t>(o)];
  }
}

template <class T, class I>
void max_back(const KernelView& view, int64_t begin, int64_t end) {
  IntReader ints(view.ints);
  const Planes<3> planes(ints);
  const Plane &dx = planes.of[0], &g = planes.of[1], &positions = planes.of[2];
  PlaneAdder<T> adder(view.pointers[0], dx);
  for (int64_t plane = begin; plane < end; ++plane) {
    int64_t start[3];
    planes.locate(plane, start);
    Wide<T>* sums = adder.begin(start[0]);
    for (int64_t d = 0; d < g.extents[0]; ++d)
      for (int64_t h = 0; h < g.extents[1]; ++h) {
        const T* row = static_cast<const T*>(view.pointers[1]) + start[1] + g.row(d, h);
        const I* at = static_cast<const I*>(view.pointers[2]) + start[2] + positions.row(d, h);
        for (int64_t i = 0; i < g.extents[2]; ++i)
          sums[at[i * positions.strides[2]]] += widen(row[i * g.strides[2]]);
      }
    adder.finish();
  }
}

// ---- the mean

template <class W>
void add_row(const W* row, int64_t stride, int64_t n, W* sum) {
  if constexpr (std::is_same_v<W, float>) {
    pool_rows().add(row, stride, n, sum);
  } else {
    for (int64_t i = 0; i < n; ++i) sum[i] += row[i * stride];
  }
}

/// What the sums of one row of results are divided by.
template <class W>
class Divisors {
 public:
  Divisors(IntReader& ints, const Geometry& g) : g_(g), of_(static_cast<size_t>(g.out[2])) {
    padding_counts_ = ints.next() != 0;
    divisor_ = ints.next();
  }
  const W* row(const Span& depth, const Span& height) {
    const int64_t rest = count(depth) * count(height);
    if (rest == rest_) return of_.data();
    rest_ = rest;
    for (int64_t o = 0; o < g_.out[2]; ++o)
      of_[static_cast<size_t>(o)] =
          static_cast<W>(divisor_ ? divisor_ : std::max<int64_t>(1, rest * count(g_.span(2, o))));
    return of_.data();
  }

 private:
  /// A window that lies in the padding alone counts as empty.
  int64_t count(const Span& s) const {
    return std::max<int64_t>(0, padding_counts_ ? s.padded : s.end - s.begin);
  }
  const Geometry& g_;
  bool padding_counts_ = true;
  int64_t divisor_ = 0, rest_ = -1;
  std::vector<W> of_;
};

template <class T>
void mean_rows(const KernelView& view, int64_t begin, int64_t end) {
  using W = Wide<T>;
  IntReader ints(view.ints);
  const Planes<2> planes(ints);
  const Plane &out = planes.of[0], &x = planes.of[1];
  const Geometry g(ints, x.extents, out.extents);
  const int64_t width = g.out[2], rows = g.out[0] * g.out[1];
  RowReader<T> reader(view.pointers[1], x);
  Divisors<W> divisors(ints, g);
  std::vector<W> line(static_cast<size_t>(g.in[2])), sum(static_cast<size_t>(width));
  [[maybe_unused]] const bool blocks = g.is_blocks(2) && reader.direct() && out.strides[2] == 1;
  int64_t plane = -1, start[2] = {};
  for (int64_t item = begin; item < end; ++item) {
    if (item / rows != plane) {
      plane = item / rows;
      planes.locate(plane, start);
    }
    const int64_t od = item % rows / g.out[1], oh = item % g.out[1];
    const Span depth = g.span(0, od), height = g.span(1, oh);
    if constexpr (std::is_same_v<T, float>) {
      if (blocks) {
        pool_rows().mean_2x2(reader.row(start[1], od, 2 * oh), reader.row(start[1], od, 2 * oh + 1),
                             width, divisors.row(depth, height)[0],
                             static_cast<T*>(view.pointers[0]) + start[0] + out.row(od, oh));
        continue;
      }
    }
    std::fill(line.begin(), line.end(), W(0));
    for (int64_t d = depth.begin; d < depth.end; ++d)
      for (int64_t h = height.begin; h < height.end; ++h)
        add_row<W>(reader.row(start[1], d, h), 1, g.in[2], line.data());
    std::fill(sum.begin(), sum.end(), W(0));
    if (g.adaptive) {
      for (int64_t o = 0; o < width; ++o) {
        const Span s = g.span(2, o);
        for (int64_t i = s.begin; i < s.end; ++i)
          sum[static_cast<size_t>(o)] += line[static_cast<size_t>(i)];
      }
    } else {
      for (int64_t k = 0; k < g.w[2].size; ++k) {
        const auto [first, end_of] = g.reached(k);
        if (first < end_of)
          add_row<W>(line.data() + first * g.w[2].stride - g.w[2].padding + k, g.w[2].stride,
                     end_of - first, sum.data() + first);
      }
    }
    const W* by = divisors.row(depth, height);
    for (int64_t o = 0; o < width; ++o) sum[static_cast<size_t>(o)] /= by[o];
    store_row(static_cast<T*>(view.pointers[0]) + start[0] + out.row(od, oh), out.strides[2],
              sum.data(), width);
  }
}

template <class T>
void mean_back(const KernelView& view, int64_t begin, int64_t end) {
  using W = Wide<T>;
  IntReader ints(view.ints);
  const Planes<2> planes(ints);
  const Plane &dx = planes.of[0], &grad = planes.of[1];
  const Geometry g(ints, dx.extents, grad.extents);
  const int64_t width = g.out[2], in_width = g.in[2];
  RowReader<T> reader(view.pointers[1], grad);
  PlaneAdder<T> adder(view.pointers[0], dx);
  Divisors<W> divisors(ints, g);
  std::vector<W> line(static_cast<size_t>(in_width)), share(static_cast<size_t>(width));
  for (int64_t plane = begin; plane < end; ++plane) {
    int64_t start[2];
    planes.locate(plane, start);
    W* sums = adder.begin(start[0]);
    for (int64_t od = 0; od < g.out[0]; ++od)
      for (int64_t oh = 0; oh < g.out[1]; ++oh) {
        const Span depth = g.span(0, od), height = g.span(1, oh);
        const W* row = reader.row(start[1], od, oh);
        const W* by = divisors.row(depth, height);
        for (int64_t o = 0; o < width; ++o)
          share[static_cast<size_t>(o)] = static_cast<W>(row[o] / by[o]);
        std::fill(line.begin(), line.end(), W(0));
        if (g.adaptive) {
          for (int64_t o = 0; o < width; ++o) {
            const Span s = g.span(2, o);
            for (int64_t i = s.begin; i < s.end; ++i)
              line[static_cast<size_t>(i)] += share[static_cast<size_t>(o)];
          }
        } else {
          for (int64_t k = 0; k < g.w[2].size; ++k) {
            const auto [first, end_of] = g.reached(k);
            W* to = line.data() - g.w[2].padding + k;
            for (int64_t o = first; o < end_of; ++o)
              to[o * g.w[2].stride] += share[static_cast<size_t>(o)];
          }
        }
        for (int64_t d = depth.begin; d < depth.end; ++d)
          for (int64_t h = height.begin; h < height.end; ++h)
            add_row<W>(line.data(), 1, in_width, sums + (d * g.in[1] + h) * in_width);
      }
    adder.finish();
  }
}

// ---- the tables of kernels, by dtype

using ByDType = std::array<PortableKernel, k_dtype_count>;

template <class F>
ByDType table(const char* name, F&& host) {
  ByDType list;
  for (int d = 0; d < k_dtype_count; ++d)
    kernels::dispatch(static_cast<DType>(d), [&]<class T>(T t) {
      if constexpr (!k_is_complex<T> && !std::is_same_v<T, bool>)
        list[static_cast<size_t>(d)] = {
            std::string(name) + "_" + std::string(k_dtype_info[d].short_name), {}, host(t)};
    });
  return list;
}

const PortableKernel& pick(const ByDType& list, DType dtype) {
  const PortableKernel& kernel = list[static_cast<size_t>(dtype)];
  QS_ASSERT(kernel.host != nullptr);
  return kernel;
}

int64_t row_work(const View& out, const Windows& w) {
  int64_t work = out.shape.back();
  if (!w.adaptive)
    for (int d = 0; d < w.spatial; ++d) work *= std::min<int64_t>(w.dims[d].size, 64);
  return work;
}

int64_t rows_of(const View& out, int spatial) {
  int64_t rows = 1;
  for (int d = 2; d <= spatial; ++d) rows *= out.shape[out.shape.size() - static_cast<size_t>(d)];
  return rows;
}

}  // namespace

KernelCall max_pool(const View& values, const View& positions, const View& x,
                    const Windows& windows) {
  static const ByDType narrow_index =
      table("max_pool", []<class T>(T) { return &max_rows<T, int32_t>; });
  static const ByDType wide_index =
      table("max_pool_wide", []<class T>(T) { return &max_rows<T, int64_t>; });
  KernelCall call;
  call.kernel = &pick(positions.dtype == DType::i32 ? narrow_index : wide_index, x.dtype);
  driver::KernelArgs& args = call.args;
  args.pointers = {values.ptr, positions.ptr, x.ptr};
  const View* views[] = {&values, &positions, &x};
  const int64_t planes = append_planes(args.ints, views, windows.spatial);
  append_windows(args.ints, windows);
  args.items = values.shape.back() ? planes * rows_of(values, windows.spatial) : 0;
  args.grain = grain_for(row_work(values, windows), 16384);
  return call;
}

KernelCall max_pool_backward(const View& dx, const View& g, const View& positions, int spatial) {
  static const ByDType narrow_index =
      table("max_pool_backward", []<class T>(T) { return &max_back<T, int32_t>; });
  static const ByDType wide_index =
      table("max_pool_backward_wide", []<class T>(T) { return &max_back<T, int64_t>; });
  KernelCall call;
  call.kernel = &pick(positions.dtype == DType::i32 ? narrow_index : wide_index, dx.dtype);
  driver::KernelArgs& args = call.args;
  args.pointers = {dx.ptr, g.ptr, positions.ptr};
  const View* views[] = {&dx, &g, &positions};
  args.items = append_planes(args.ints, views, spatial);
  args.grain = grain_for(args.items ? (numel_of(dx) + numel_of(g)) / args.items : 1, 16384);
  return call;
}

KernelCall avg_pool(const View& out, const View& x, const Windows& windows,
                    const Average& average) {
  static const ByDType kernels = table("avg_pool", []<class T>(T) { return &mean_rows<T>; });
  KernelCall call;
  call.kernel = &pick(kernels, x.dtype);
  driver::KernelArgs& args = call.args;
  args.pointers = {out.ptr, x.ptr};
  const View* views[] = {&out, &x};
  const int64_t planes = append_planes(args.ints, views, windows.spatial);
  append_windows(args.ints, windows);
  args.ints.insert(args.ints.end(), {average.padding_counts, average.divisor});
  args.items = out.shape.back() ? planes * rows_of(out, windows.spatial) : 0;
  args.grain = grain_for(args.items ? numel_of(x) / args.items + row_work(out, windows) : 1, 16384);
  return call;
}

KernelCall avg_pool_backward(const View& dx, const View& g, const Windows& windows,
                             const Average& average) {
  static const ByDType kernels =
      table("avg_pool_backward", []<class T>(T) { return &mean_back<T>; });
  KernelCall call;
  call.kernel = &pick(kernels, dx.dtype);
  driver::KernelArgs& args = call.args;
  args.pointers = {dx.ptr, g.ptr};
  const View* views[] = {&dx, &g};
  args.items = append_planes(args.ints, views, windows.spatial);
  append_windows(args.ints, windows);
  args.ints.insert(args.ints.end(), {average.padding_counts, average.divisor});
  args.grain = grain_for(args.items ? 2 * numel_of(dx) / args.items : 1, 16384);
  return call;
}

}  // namespace qs::kernels
