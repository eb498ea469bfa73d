// Scatter: one kernel a dtype behind scatter, index_add, index_put and the gradients of gathers.
//
// The points of the index space are cut in two kinds of dimensions. `free` ones move the
// destination by themselves (its stride is not 0), so different free coordinates never meet; they
// are dealt out to threads. Along `serial` ones the destination moves by indices alone, so points
// may meet; each thread walks all of them in row-major order. So every destination is updated in
// the order of its sources, whatever the number of threads, with no sorting and no atomics.
//
// Half precision wants its sums in f32 until the last source: there the serial points are sorted by
// destination (stably), and each destination is read, updated and rounded once.
//
// Without free dimensions (a histogram, x[i, j] = y) the destinations themselves are dealt out, in
// slices by one of the indices: each thread reads all indices and keeps those of its slice.
// Integers that are added to few destinations are dealt out themselves (-1 in place of that index).
//
// pointers  dst, values, index 0, index 1, ...
// ints      mode, indices, serial rank, free rank, serial shape, free shape, dst strides[free],
//           values strides[serial], [free], then for each index: dtype, bound or ~bound, step,
//           strides[serial], [free]; at the end, for the host function: slices, and by which index
// items     points of the free dimensions, row-major; or slices
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "quicksilver/core/error.h"
#include "quicksilver/core/thread_pool.h"
#include "quicksilver/kernels/half_rows.h"
#include "quicksilver/kernels/index_space.h"
#include "quicksilver/kernels/scatter_flat.h"
#include "quicksilver/kernels/strided.h"
#include "quicksilver/kernels/texts.h"

namespace qs::kernels {
namespace {

using driver::KernelView;
using driver::PortableKernel;
using namespace scattering;

/// Calls f(offset in dst by indices, offset in values) for the serial points in order, as seen from
/// the free point whose index offsets are `free_at`. Points with a bad index are left out.
template <class F>
void for_serial(const KernelView& view, const Fields& p, const int64_t* free_at, F&& f) {
  int64_t points = 1;
  for (int64_t d = 0; d < p.serial_rank; ++d) points *= p.serial_shape[d];
  const int64_t* strides[k_max_operands];
  strides[0] = p.values_serial;
  for (int j = 0; j < p.count; ++j) strides[1 + j] = p.indices[j].strides;
  const int64_t last = p.serial_rank - 1;
  for_runs(p.serial_rank, p.serial_shape, 1 + p.count, strides, 0, points,
           [&](const int64_t* at, int64_t length) {
             for (int64_t i = 0; i < length; ++i) {
               int64_t offset = 0;
               bool good = true;
               for (int j = 0; j < p.count; ++j) {
                 const int64_t step = last >= 0 ? p.indices[j].strides[last] : 0;
                 good = p.indices[j].add(view, at[1 + j] + free_at[j] + i * step, offset) && good;
               }
               if (good) f(offset, at[0] + (last >= 0 ? i * p.values_serial[last] : 0));
             }
           });
}

template <class T>
void update_run(ScatterMode mode, T* to, int64_t to_step, const T* from, int64_t from_step,
                int64_t length) {
  if (mode == ScatterMode::add && to_step == 1 && from_step == 1) {
    for (int64_t i = 0; i < length; ++i) to[i] = combine<T>(ScatterMode::add, to[i], from[i]);
  } else if (mode == ScatterMode::write) {
    for (int64_t i = 0; i < length; ++i) to[i * to_step] = from[i * from_step];
  } else {
    for (int64_t i = 0; i < length; ++i)
      to[i * to_step] = combine<T>(mode, to[i * to_step], from[i * from_step]);
  }
}

// A run of free points [0, length) below dst and values, whole serial space.
template <class T>
void scatter_run(const KernelView& view, const Fields& p, T* dst, const T* values,
                 const int64_t* free_at, int64_t length) {
  const int64_t last = p.free_rank - 1;
  const int64_t to_step = last >= 0 ? p.dst_free[last] : 0;
  const int64_t from_step = last >= 0 ? p.values_free[last] : 0;
  if (!k_is_half<T> || p.mode == ScatterMode::write) {
    if constexpr (!k_is_half<T>) {
      for_serial(view, p, free_at, [&](int64_t to, int64_t from) {
        update_run<T>(p.mode, dst + to, to_step, values + from, from_step, length);
      });
    } else {
      for_serial(view, p, free_at, [&](int64_t to, int64_t from) {
        for (int64_t i = 0; i < length; ++i) dst[to + i * to_step] = values[from + i * from_step];
      });
    }
    return;
  }
  if constexpr (k_is_half<T>) {
    std::vector<std::pair<int64_t, int64_t>> moves;
    for_serial(view, p, free_at, [&](int64_t to, int64_t from) { moves.emplace_back(to, from); });
    std::stable_sort(moves.begin(), moves.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    const bool dense = to_step == 1 && from_step == 1;
    const HalfRows& rows = half_rows(std::is_same_v<T, Half<DType::bf16>>);
    std::vector<float> sums(static_cast<size_t>(length)), wide(dense ? sums.size() : 0);
    const auto take = [&](const T* from) {
      if (dense && p.mode == ScatterMode::add)
        return rows.add(sums.data(), reinterpret_cast<const uint16_t*>(from), length);
      if (dense) rows.widen(wide.data(), reinterpret_cast<const uint16_t*>(from), length);
      for (int64_t i = 0; i < length; ++i)
        sums[i] = combine<float>(p.mode, sums[i],
                                 dense ? wide[i] : static_cast<float>(from[i * from_step]));
    };
    for (size_t first = 0, next; first < moves.size(); first = next) {
      T* to = dst + moves[first].first;
      if (dense) {
        rows.widen(sums.data(), reinterpret_cast<const uint16_t*>(to), length);
      } else {
        for (int64_t i = 0; i < length; ++i) sums[i] = static_cast<float>(to[i * to_step]);
      }
      for (next = first; next < moves.size() && moves[next].first == moves[first].first; ++next)
        take(values + moves[next].second);
      if (dense) {
        rows.narrow(reinterpret_cast<uint16_t*>(to), sums.data(), length);
      } else {
        for (int64_t i = 0; i < length; ++i) to[i * to_step] = T::of(sums[i]);
      }
    }
  }
}

/// One index that varies along the free run and along one serial dimension: the case of
/// torch.scatter, scatter_add and scatter_reduce. Every destination meets its sources in serial
/// order whichever loop is inside; inside is the one that walks memory in the smaller steps.
template <class T, class I, class Combined>
void scatter_along(const KernelView& view, const Fields& p, T* dst, const T* values,
                   int64_t index_at, int64_t length, Combined combined) {
  const IndexReader& x = p.indices[0];
  const int64_t last = p.free_rank - 1, points = p.serial_rank ? p.serial_shape[0] : 1;
  const int64_t to_free = p.dst_free[last], from_free = p.values_free[last];
  const int64_t from_serial = p.serial_rank ? p.values_serial[0] : 0;
  const int64_t index_free = p.index_free[0][last];
  const int64_t index_serial = p.serial_rank ? x.strides[0] : 0;
  // Copies: what is behind a pointer would be read again after each write.
  const I* const given = static_cast<const I*>(x.base) + index_at;
  const auto one = [=, &view, &x, bound = static_cast<uint64_t>(x.bound), wrap = x.wrap,
                    step = x.step](int64_t i, int64_t k) {
    const int64_t at = i * index_free + k * index_serial;
    int64_t index = static_cast<int64_t>(given[at]);
    index += index >> 63 & wrap;
    if (static_cast<uint64_t>(index) >= bound) [[unlikely]] {
      x.template wrapped<I>(view, index_at + at);  // reports it
      return;
    }
    T& to = dst[i * to_free + index * step];
    to = combined(to, values[i * from_free + k * from_serial]);
  };
  if (std::abs(index_free) + std::abs(from_free) < std::abs(index_serial) + std::abs(from_serial)) {
    // A few lines of memory wide: all destinations of such a strip stay in the near caches.
    constexpr int64_t k_strip = 32;
    for (int64_t first = 0; first < length; first += k_strip) {
      const int64_t end = std::min(length, first + k_strip);
      for (int64_t k = 0; k < points; ++k)
        for (int64_t i = first; i < end; ++i) one(i, k);
    }
  } else {
    for (int64_t i = 0; i < length; ++i)
      for (int64_t k = 0; k < points; ++k) one(i, k);
  }
}

template <class T>
void scatter_points(const KernelView& view, int64_t begin, int64_t end) {
  const Fields p(view);
  T* dst = static_cast<T*>(view.pointers[0]);
  const T* values = static_cast<const T*>(view.pointers[1]);
  const int64_t* strides[k_max_operands];
  strides[0] = p.dst_free;
  strides[1] = p.values_free;
  for (int j = 0; j < p.count; ++j) strides[2 + j] = p.index_free[j];
  const int64_t last = p.free_rank - 1;
  if (last < 0 && p.alike && (p.mode == ScatterMode::write || !k_is_half<T>)) {
    if (begin < end)
      dispatch_index(p.indices[0].dtype, [&]<class I>(I) {
        FlatScatter<T, I> flat(view, p, begin, end);
        p.sliced_by < 0 ? flat.run_parts(begin, end) : flat.run();
      });
    return;
  }
  // A run is taken whole where memory and indices allow it; else point by point, which keeps the
  // walk over the serial points, the longer one, inside.
  const bool whole = last < 0 || (!p.index_varies && p.dst_free[last] == 1);
  const bool plain = last >= 0 && p.count == 1 && p.serial_rank <= 1 &&
                     (p.mode == ScatterMode::write || !k_is_half<T>);
  for_runs(p.free_rank, p.free_shape, 2 + p.count, strides, begin, end,
           [&](const int64_t* at, int64_t length) {
             if (whole) return scatter_run<T>(view, p, dst + at[0], values + at[1], at + 2, length);
             if (plain) {
               return dispatch_index(p.indices[0].dtype, [&]<class I>(I) {
                 with_mode<T>(p.mode, [&](auto combined) {
                   scatter_along<T, I>(view, p, dst + at[0], values + at[1], at[2], length,
                                       combined);
                 });
               });
             }
             int64_t free_at[k_max_rank];
             for (int64_t i = 0; i < length; ++i) {
               for (int j = 0; j < p.count; ++j) free_at[j] = at[2 + j] + i * p.index_free[j][last];
               scatter_run<T>(view, p, dst + at[0] + i * p.dst_free[last],
                              values + at[1] + i * p.values_free[last], free_at, 1);
             }
           });
}

constexpr int64_t k_walk_free = 65536;  // free points that fill a device
constexpr int64_t k_walk_serial = 8;    // serial ones that are not worth sorting

/// Entries: 0 merge_tiles, 1 merge_runs, 2 scatter_walk, 3 scatter_segments. Walking rounds a half
/// sum at each step, so only sorting will do for these. `half`: of f16 and bf16.
template <bool half>
driver::TextPlan plan_scatter(const driver::KernelArgs& args) {
  IntReader ints(args.ints.data());
  const auto mode = static_cast<ScatterMode>(ints.next());
  const int64_t count = ints.next(), serial_rank = ints.next(), free_rank = ints.next();
  int64_t serial = 1, free = 1;
  for (const int64_t *s = ints.take(serial_rank), *end = s + serial_rank; s < end; ++s)
    serial *= *s;
  for (const int64_t *s = ints.take(free_rank), *end = s + free_rank; s < end; ++s) free *= *s;
  ints.take(2 * free_rank + serial_rank);
  bool varies = false;  // an index, with the free point
  for (int64_t j = 0; j < count; ++j) {
    ints.take(3 + serial_rank);
    for (const int64_t *s = ints.take(free_rank), *end = s + free_rank; s < end; ++s)
      varies = varies || *s != 0;
  }
  driver::TextPlan plan;
  if (serial * free == 0) return plan;
  const bool kept = half && mode != ScatterMode::write;
  if (!kept && (varies || free >= k_walk_free || serial <= k_walk_serial)) {
    plan.launches.push_back({2, groups_for_points(free), {free, serial}});
    return plan;
  }
  SortRows sort;
  sort.rows = 1;
  sort.length = sort.keep = serial * (varies ? free : 1);
  sort.key_bytes = 8;
  sort.place_bytes = sort.length > UINT32_MAX ? 8 : 4;
  sort.to_results = false;
  const int where = sort_launches(sort, plan);
  plan.launches.push_back({3,
                           groups_for_points(sort.length * (varies ? 1 : free)),
                           {free, serial, where, sort.length, sort_slots(sort)}});
  return plan;
}

const driver::KernelText* scatter_text(DType dtype, bool wide) {
  const bool half = dtype == DType::f16 || dtype == DType::bf16;
  return make_text({"walk", "number", "index", "scatter", "merge_sort", "scatter_segments"},
                   define("QS_DTYPE", static_cast<int64_t>(dtype)) +
                       define("QS_ITEMS", k_text_items) + define("QS_WIDE", wide),
                   {"merge_tiles", "merge_runs", "scatter_walk", "scatter_segments"},
                   half ? plan_scatter<true> : plan_scatter<false>,
                   dtype == DType::f64 || dtype == DType::c128);
}

}  // namespace

/// Without a text when there are more indices than a text has pointers; `wide` when there are more
/// points than 32 bits count.
const PortableKernel& scatter_kernel(DType dtype, bool with_text, bool wide) {
  static const std::vector<PortableKernel> kernels = [] {
    std::vector<PortableKernel> list(3 * k_dtype_count);
    for (int d = 0; d < k_dtype_count; ++d)
      dispatch(static_cast<DType>(d), [&]<class T>(T) {
        const std::string name = "scatter_" + std::string(k_dtype_info[d].short_name);
        list[3 * d] = {name, nullptr, scatter_points<T>};
        list[3 * d + 1] = {name, scatter_text(static_cast<DType>(d), false), scatter_points<T>};
        list[3 * d + 2] = {name, scatter_text(static_cast<DType>(d), true), scatter_points<T>};
      });
    return list;
  }();
  return kernels[3 * static_cast<size_t>(dtype) + (with_text ? 1 + wide : 0)];
}

namespace {

constexpr int64_t k_sliced_points = 16384;  // fewer are not worth being read by several threads
constexpr int64_t k_near_points = 32768;    // destinations that stay in a near cache

/// The index with the most values; -1 where indices have different dtypes.
int slicing_index(const IndexSpace& into) {
  int best = 0;
  for (size_t j = 0; j < into.indices.size(); ++j) {
    if (into.indices[j].dtype != into.indices[0].dtype) return -1;
    if (into.indices[j].bound > into.indices[static_cast<size_t>(best)].bound)
      best = static_cast<int>(j);
  }
  return best;
}

KernelCall scatter_call(const View& dst, const View& values, const IndexSpace& into,
                        ScatterMode mode) {
  QS_ASSERT(dst.dtype == values.dtype);
  QS_ASSERT(!is_complex(dst.dtype) || mode < ScatterMode::maximum);
  Space serial, free;
  const size_t operands = 2 + into.indices.size();
  serial.strides.resize(operands);
  free.strides.resize(operands);
  for (size_t d = 0; d < into.shape.size(); ++d) {
    Space& s = into.strides[d] == 0 ? serial : free;
    s.shape.push_back(into.shape[d]);
    s.strides[0].push_back(into.strides[d]);
    s.strides[1].push_back(values.strides[d]);
    for (size_t j = 0; j < into.indices.size(); ++j)
      s.strides[2 + j].push_back(into.index_strides[j][d]);
  }
  serial.simplify();
  free.sort_by(0);
  free.simplify();

  KernelCall call;
  call.kernel = &scatter_kernel(dst.dtype, operands <= k_text_pointers,
                                serial.numel() * free.numel() > UINT32_MAX);
  driver::KernelArgs& args = call.args;
  args.pointers = {dst.ptr, values.ptr};
  args.ints = {static_cast<int64_t>(mode), static_cast<int64_t>(into.indices.size()),
               static_cast<int64_t>(serial.shape.size()), static_cast<int64_t>(free.shape.size())};
  append(args.ints, serial.shape);
  append(args.ints, free.shape);
  append(args.ints, free.strides[0]);
  append(args.ints, serial.strides[1]);
  append(args.ints, free.strides[1]);
  for (size_t j = 0; j < into.indices.size(); ++j) {
    const IndexSpace::Index& x = into.indices[j];
    args.pointers.push_back(x.ptr);
    append(args.ints, std::initializer_list<int64_t>{static_cast<int64_t>(x.dtype),
                                                     bound_word(x.bound, into.signs), x.step});
    append(args.ints, serial.strides[2 + j]);
    append(args.ints, free.strides[2 + j]);
  }
  args.items = free.numel();
  const int by = slicing_index(into);
  const bool half = dst.dtype == DType::f16 || dst.dtype == DType::bf16;
  int64_t slices = 1, destinations = 1;
  for (const IndexSpace::Index& x : into.indices) destinations *= std::max<int64_t>(x.bound, 1);
  if (free.shape.empty() && args.items == 1 && serial.numel() >= k_sliced_points && by >= 0 &&
      destinations > k_near_points && (mode == ScatterMode::write || !half))
    slices = std::clamp<int64_t>(into.indices[static_cast<size_t>(by)].bound, 1,
                                 ThreadPool::instance().threads());
  // Few destinations that integers are added to, all from one row of points: parts of these.
  const bool parts = free.shape.empty() && args.items == 1 && serial.shape.size() <= 1 &&
                     serial.numel() >= k_sliced_points && into.indices.size() == 1 &&
                     destinations <= k_near_points && mode == ScatterMode::add &&
                     is_integral(dst.dtype) && dst.dtype != DType::bool_;
  if (parts)
    slices =
        std::clamp<int64_t>(serial.numel() / k_sliced_points, 1, ThreadPool::instance().threads());
  const bool apart = parts && slices > 1;
  append(args.ints, std::initializer_list<int64_t>{slices, apart ? -1 : std::max(by, 0)});
  if (slices > 1) {
    args.items = slices;
    return call;
  }
  // Each chunk reads all indices, so there are few: one a thread, of whole cache lines.
  const int64_t share = args.items / ThreadPool::instance().threads();
  args.grain = std::max({grain_for(serial.numel()), share, int64_t{16}});
  return call;
}

}  // namespace

KernelCall scatter(const View& dst, const View& values, const View& index, int dim,
                   ScatterMode mode) {
  return scatter_call(dst, values, along_space(dst, index, dim), mode);
}

KernelCall index_add(const View& dst, const View& values, const View& index, int dim,
                     ScatterMode mode) {
  return scatter_call(dst, values,
                      index_space(dst, {&index, 1}, {&dim, 1}, dim, Signs::not_negative), mode);
}

KernelCall index_put(const View& dst, const View& values, std::span<const View> indices,
                     std::span<const int> dims, int at, ScatterMode mode) {
  return scatter_call(dst, values, index_space(dst, indices, dims, at, Signs::from_end), mode);
}

}  // namespace qs::kernels
