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
#include "quicksilver/kernels/strided.h"
#include "quicksilver/kernels/texts.h"

namespace qs::kernels {
namespace {

using driver::KernelView;
using driver::PortableKernel;

struct Fields {
  ScatterMode mode;
  int count;
  int64_t serial_rank, free_rank;
  const int64_t* serial_shape;
  const int64_t* free_shape;
  const int64_t* dst_free;
  const int64_t* values_serial;
  const int64_t* values_free;
  IndexReader indices[k_max_rank];  // strides: along serial dimensions
  const int64_t* index_free[k_max_rank];
  bool index_varies = false;  // along the last free dimension
  bool alike = true;          // all indices have one dtype
  int64_t slices;
  int sliced_by;

  explicit Fields(const KernelView& view) {
    IntReader ints(view.ints);
    mode = static_cast<ScatterMode>(ints.next());
    count = static_cast<int>(ints.next());
    serial_rank = ints.next();
    free_rank = ints.next();
    serial_shape = ints.take(serial_rank);
    free_shape = ints.take(free_rank);
    dst_free = ints.take(free_rank);
    values_serial = ints.take(serial_rank);
    values_free = ints.take(free_rank);
    for (int j = 0; j < count; ++j) {
      IndexReader& x = indices[j];
      x.read(ints);
      x.step = ints.next();
      x.strides = ints.take(serial_rank);
      index_free[j] = ints.take(free_rank);
      x.base = view.pointers[2 + j];
      alike = alike && x.dtype == indices[0].dtype;
      index_varies = index_varies || (free_rank > 0 && index_free[j][free_rank - 1] != 0);
    }
    slices = ints.next();
    sliced_by = static_cast<int>(ints.next());
  }
};

template <class T>
T combine(ScatterMode mode, T old, T x) {
  if constexpr (k_is_complex<T>) {
    switch (mode) {
      case ScatterMode::add:
        return {old.re + x.re, old.im + x.im};
      case ScatterMode::multiply:
        return {old.re * x.re - old.im * x.im, old.re * x.im + old.im * x.re};
      default:
        return x;
    }
  } else if constexpr (std::is_same_v<T, bool>) {
    switch (mode) {
      case ScatterMode::add:
      case ScatterMode::maximum:
        return old || x;
      case ScatterMode::multiply:
      case ScatterMode::minimum:
        return old && x;
      default:
        return x;
    }
  } else {
    const auto wrapped = [](auto v) { return static_cast<T>(v); };
    using U = std::conditional_t<std::is_integral_v<T>, uint64_t, T>;
    switch (mode) {
      case ScatterMode::add:
        return wrapped(static_cast<U>(old) + static_cast<U>(x));
      case ScatterMode::multiply:
        return wrapped(static_cast<U>(old) * static_cast<U>(x));
      case ScatterMode::maximum:
        return old != old || old > x ? old : x;
      case ScatterMode::minimum:
        return old != old || old < x ? old : x;
      default:
        return x;
    }
  }
}

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

/// One index that varies along the free run and along one serial dimension: torch.scatter's and
/// scatter_add's case. Every destination meets its sources in serial order whichever loop is
/// inside; inside is the one that walks memory in the smaller steps.
template <class T, class I, bool add>
void scatter_along(const KernelView& view, const Fields& p, T* dst, const T* values,
                   int64_t index_at, int64_t length) {
  const IndexReader& x = p.indices[0];
  const int64_t last = p.free_rank - 1, points = p.serial_rank ? p.serial_shape[0] : 1;
  const int64_t to_free = p.dst_free[last], from_free = p.values_free[last];
  const int64_t from_serial = p.serial_rank ? p.values_serial[0] : 0;
  const int64_t index_free = p.index_free[0][last];
  const int64_t index_serial = p.serial_rank ? x.strides[0] : 0;
  const auto one = [&](int64_t i, int64_t k) {
    const int64_t index = x.wrapped<I>(view, index_at + i * index_free + k * index_serial);
    if (index < 0) return;
    T& to = dst[i * to_free + index * x.step];
    const T from = values[i * from_free + k * from_serial];
    if constexpr (add)
      to = combine<T>(ScatterMode::add, to, from);
    else
      to = from;
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

/// No free dimension, and indices of one dtype I: the points of the slices [begin, end) in order.
/// Some at a time are staged: destinations and values, of which those of other slices and those
/// with a bad index are dropped without a branch. Rows of memory that lie across the order of the
/// points are staged side by side, so that each line is read once.
template <class T, class I>
class FlatScatter {
 public:
  FlatScatter(const KernelView& view, const Fields& p, int64_t begin, int64_t end)
      : view_(view), p_(p), values_(static_cast<const T*>(view.pointers[1])) {
    const int64_t bound = p.indices[p.sliced_by].bound;
    low_ = bound / p.slices * begin + bound % p.slices * begin / p.slices;
    high_ = bound / p.slices * end + bound % p.slices * end / p.slices;
  }

  void run() {
    const int64_t rank = p_.serial_rank, columns = rank > 0 ? p_.serial_shape[rank - 1] : 1;
    int64_t rows = 1;
    for (int64_t d = 0; d + 1 < rank; ++d) rows *= p_.serial_shape[d];
    if (rows * columns == 0) return;
    if (p_.slices == 1 && rank <= 1) return walk_row(columns);
    const int64_t width = std::min(columns, rank > 1 ? k_staged : k_staged / k_rows);
    const int64_t most = rank > 1 ? std::clamp<int64_t>(k_staged / width, 1, k_rows) : 1;
    to_.resize(static_cast<size_t>(most * width));
    keep_.resize(to_.size());
    x_ = std::make_unique_for_overwrite<T[]>(to_.size());
    for (int64_t row = 0; row < rows; row += most) {
      const int64_t count = std::min(most, rows - row);
      for (int64_t column = 0; column < columns; column += width) {
        stage(row, count, column, std::min(width, columns - column));
        put();
      }
    }
  }

 private:
  static constexpr int64_t k_staged = 32768, k_rows = 32;
  static constexpr int64_t k_ahead = 8;  // columns

  /// Offset of a row's first point, for an operand with these strides.
  int64_t row_start(int64_t row, const int64_t* strides) const {
    int64_t at = 0;
    for (int64_t d = p_.serial_rank - 1; d-- > 0; row /= p_.serial_shape[d])
      at += row % p_.serial_shape[d] * strides[d];
    return at;
  }

  /// Calls f(place among the staged, offset) for `rows` rows of `columns` points of `base`.
  template <class E, class F>
  void walk(int64_t row, int64_t rows, int64_t column, int64_t columns, const int64_t* strides,
            const E* base, F&& f) const {
    const int64_t last = p_.serial_rank - 1, along = last >= 0 ? strides[last] : 0;
    const bool across = last > 0 && std::abs(strides[last - 1]) < std::abs(along);
    int64_t start[k_rows];
    for (int64_t r = 0; r < rows; ++r) start[r] = row_start(row + r, strides) + column * along;
    if (across) {
      constexpr int64_t k_line = 64 / sizeof(E);
      for (int64_t c = 0; c < columns; ++c) {
        // Columns are far apart in memory: no processor guesses where the next one begins.
        for (int64_t r = 0; r < rows; r += k_line)
          __builtin_prefetch(base + start[r] + (c + k_ahead) * along);
        for (int64_t r = 0; r < rows; ++r) f(r * columns + c, start[r] + c * along);
      }
    } else {
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < columns; ++c) f(r * columns + c, start[r] + c * along);
    }
  }

  void stage(int64_t row, int64_t rows, int64_t column, int64_t columns) {
    if (p_.serial_rank <= 1 && p_.count == 1 && stage_row(column, columns)) return;
    int64_t* to = to_.data();
    uint8_t* keep = keep_.data();
    for (int j = 0; j < p_.count; ++j) {
      const IndexReader& x = p_.indices[j];
      const I* base = static_cast<const I*>(x.base);
      const uint64_t low = j == p_.sliced_by ? static_cast<uint64_t>(low_) : 0;  // a bad i wraps
      const uint64_t span = static_cast<uint64_t>(j == p_.sliced_by ? high_ - low_ : x.bound);
      bool bad = false;
      walk(row, rows, column, columns, x.strides, base,
           [&, wrap = x.wrap, move = static_cast<uint64_t>(x.step),
            bound = static_cast<uint64_t>(x.bound)](int64_t k, int64_t at) {
             const int64_t given = static_cast<int64_t>(base[at]), i = given + (given >> 63 & wrap);
             bad |= static_cast<uint64_t>(i) >= bound;
             const bool inside = static_cast<uint64_t>(i) - low < span;
             keep[k] = j == 0 ? inside : keep[k] & inside;
             to[k] = static_cast<int64_t>((j == 0 ? 0 : static_cast<uint64_t>(to[k])) +
                                          static_cast<uint64_t>(i) * move);
           });
      if (bad)
        walk(row, rows, column, columns, x.strides, base, [&](int64_t k, int64_t at) {
          if (x.template wrapped<I>(view_, at) < 0) keep[k] = 0;
        });
    }
    T* value = x_.get();
    walk(row, rows, column, columns, p_.values_serial, values_,
         [value, from = values_](int64_t k, int64_t at) { value[k] = from[at]; });
    int64_t kept = 0;
    for (int64_t k = 0; k < rows * columns; ++k) {
      to[kept] = to[k];
      value[kept] = value[k];
      kept += keep[k];
    }
    kept_ = kept;
  }

  /// A part of the one row there is, with one index; false where some index is bad.
  bool stage_row(int64_t column, int64_t columns) {
    const IndexReader& x = p_.indices[0];
    const int64_t step = p_.serial_rank ? x.strides[0] : 0, wrap = x.wrap;
    const int64_t from_step = p_.serial_rank ? p_.values_serial[0] : 0;
    const uint64_t move = static_cast<uint64_t>(x.step), low = static_cast<uint64_t>(low_);
    const I* given = static_cast<const I*>(x.base) + column * step;
    const T* from = values_ + column * from_step;
    const uint64_t bound = static_cast<uint64_t>(x.bound);
    const uint64_t span = static_cast<uint64_t>(high_ - low_);
    int64_t* to = to_.data();
    T* value = x_.get();
    int64_t kept = 0;
    bool bad = false;
    for (int64_t k = 0; k < columns; ++k) {
      const int64_t index = static_cast<int64_t>(given[k * step]), i = index + (index >> 63 & wrap);
      bad |= static_cast<uint64_t>(i) >= bound;
      to[kept] = static_cast<int64_t>(static_cast<uint64_t>(i) * move);
      value[kept] = from[k * from_step];
      kept += static_cast<uint64_t>(i) - low < span;
    }
    kept_ = kept;
    return !bad;
  }

  /// The same of all points of one row, when destinations are few enough for the near caches.
  void walk_row(int64_t points) const {
    // Copies: what is a member would be read again behind each write.
    T* const dst = static_cast<T*>(view_.pointers[0]);
    const T* const from = values_;
    const int64_t from_step = p_.serial_rank ? p_.values_serial[0] : 0;
    const IndexReader first = p_.indices[0];
    const int64_t first_step = p_.serial_rank ? first.strides[0] : 0;
    const int count = p_.count;
    with_mode([&](auto combined) {
      if (count == 1) {
        for (int64_t k = 0; k < points; ++k) {
          const int64_t index = first.template wrapped<I>(view_, k * first_step);
          if (index < 0) continue;
          T& to = dst[index * first.step];
          to = combined(to, from[k * from_step]);
        }
        return;
      }
      for (int64_t k = 0; k < points; ++k) {
        int64_t to = 0;
        bool good = true;
        for (int j = 0; j < count; ++j) {
          const IndexReader& x = p_.indices[j];
          const int64_t index = x.template wrapped<I>(view_, p_.serial_rank ? k * x.strides[0] : 0);
          good = good && index >= 0;
          to += index * x.step;
        }
        if (good) dst[to] = combined(dst[to], from[k * from_step]);
      }
    });
  }

  void put() const {
    T* dst = static_cast<T*>(view_.pointers[0]);
    with_mode([&](auto combined) {
      for (int64_t k = 0; k < kept_; ++k) {
        T& to = dst[to_[static_cast<size_t>(k)]];
        to = combined(to, x_[static_cast<size_t>(k)]);
      }
    });
  }

  /// Calls f with how an old element and a value give the new one.
  template <class F>
  void with_mode(F&& f) const {
    if (p_.mode == ScatterMode::write) return f([](T, T x) { return x; });
    if constexpr (!k_is_half<T>) {
      if (p_.mode == ScatterMode::add)
        return f([](T old, T x) { return combine<T>(ScatterMode::add, old, x); });
      f([mode = p_.mode](T old, T x) { return combine<T>(mode, old, x); });
    }
  }

  const KernelView& view_;
  const Fields& p_;
  const T* values_;
  int64_t low_, high_, kept_ = 0;
  std::vector<int64_t> to_;
  std::vector<uint8_t> keep_;
  std::unique_ptr<T[]> x_;
};

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
      dispatch_index(p.indices[0].dtype,
                     [&]<class I>(I) { FlatScatter<T, I>(view, p, begin, end).run(); });
    return;
  }
  // A run is taken whole where memory and indices allow it; else point by point, which keeps the
  // walk over the serial points, the longer one, inside.
  const bool whole = last < 0 || (!p.index_varies && p.dst_free[last] == 1);
  const bool plain =
      last >= 0 && p.count == 1 && p.serial_rank <= 1 &&
      (p.mode == ScatterMode::write || (p.mode == ScatterMode::add && !k_is_half<T>));
  for_runs(p.free_rank, p.free_shape, 2 + p.count, strides, begin, end,
           [&](const int64_t* at, int64_t length) {
             if (whole) return scatter_run<T>(view, p, dst + at[0], values + at[1], at + 2, length);
             if (plain) {
               return dispatch_index(p.indices[0].dtype, [&]<class I>(I) {
                 if (p.mode == ScatterMode::write)
                   scatter_along<T, I, false>(view, p, dst + at[0], values + at[1], at[2], length);
                 else if constexpr (!k_is_half<T>)
                   scatter_along<T, I, true>(view, p, dst + at[0], values + at[1], at[2], length);
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
  append(args.ints, std::initializer_list<int64_t>{slices, std::max(by, 0)});
  if (slices > 1) {
    args.items = slices;
    return call;
  }
  // Each chunk reads all indices, so there are few: two a thread, of whole cache lines.
  const int64_t share = args.items / (2 * ThreadPool::instance().threads());
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
