// Scatter into destinations that indices alone name, for the cpu; what scatter.cpp says in ints.
#pragma once
#include <algorithm>
#include <atomic>
#include <memory>
#include <type_traits>
#include <vector>

#include "quicksilver/kernels/strided.h"

namespace qs::kernels::scattering {

using driver::KernelView;

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

/// Calls f with how an old element and a value give the new one; halves are only written here.
template <class T, class F>
void with_mode(ScatterMode mode, F&& f) {
  if (mode == ScatterMode::write) return f([](T, T x) { return x; });
  if constexpr (!k_is_half<T>) {
    if (mode == ScatterMode::add)
      return f([](T old, T x) { return combine<T>(ScatterMode::add, old, x); });
    f([mode](T old, T x) { return combine<T>(mode, old, x); });
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
    if (p.sliced_by < 0) return;
    const int64_t bound = p.indices[p.sliced_by].bound;
    low_ = bound / p.slices * begin + bound % p.slices * begin / p.slices;
    high_ = bound / p.slices * end + bound % p.slices * end / p.slices;
  }

  /// Integers may be added in any order: threads that share the points, not the destinations, count
  /// for themselves and add up at the end. Parts [begin, end) of the one row of points.
  void run_parts(int64_t begin, int64_t end) const {
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
      const IndexReader x = p_.indices[0];
      const int64_t points = p_.serial_rank ? p_.serial_shape[0] : 1;
      const int64_t step = p_.serial_rank ? x.strides[0] : 0;
      const int64_t from_step = p_.serial_rank ? p_.values_serial[0] : 0;
      std::vector<T> sums(static_cast<size_t>(x.bound), T{});
      // Copies: what is a member would be read again behind each write.
      const I* const given = static_cast<const I*>(x.base);
      const T* const values = values_;
      T* const sum = sums.data();
      const uint64_t bound = static_cast<uint64_t>(x.bound);
      const int64_t wrap = x.wrap, last = points * end / p_.slices;
      for (int64_t k = points * begin / p_.slices; k < last; ++k) {
        int64_t index = static_cast<int64_t>(given[k * step]);
        index += index >> 63 & wrap;
        if (static_cast<uint64_t>(index) >= bound) [[unlikely]]
          x.template wrapped<I>(view_, k * step);  // reports it
        else
          sum[index] = combine<T>(ScatterMode::add, sum[index], values[k * from_step]);
      }
      T* const dst = static_cast<T*>(view_.pointers[0]);
      for (int64_t i = 0; i < x.bound; ++i)
        if (T sum = sums[static_cast<size_t>(i)]; sum != 0)
          std::atomic_ref<T>(dst[i * x.step]).fetch_add(sum, std::memory_order_relaxed);
    }
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
    with_mode<T>(p_.mode, [&](auto combined) {
      if (count == 1) {
        // Copies again: through what a lambda has captured they would be read at each point.
        T* const sums = dst;
        const I* const given = static_cast<const I*>(first.base);
        const T* const values = from;
        const uint64_t bound = static_cast<uint64_t>(first.bound);
        const int64_t wrap = first.wrap, step = first.step, last = points;
        const int64_t along = first_step, along_values = from_step;
        for (int64_t k = 0; k < last; ++k) {
          int64_t index = static_cast<int64_t>(given[k * along]);
          index += index >> 63 & wrap;
          if (static_cast<uint64_t>(index) >= bound) [[unlikely]]
            first.template wrapped<I>(view_, k * along);  // reports it
          else
            sums[index * step] = combined(sums[index * step], values[k * along_values]);
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
    with_mode<T>(p_.mode, [&](auto combined) {
      for (int64_t k = 0; k < kept_; ++k) {
        T& to = dst[to_[static_cast<size_t>(k)]];
        to = combined(to, x_[static_cast<size_t>(k)]);
      }
    });
  }

  const KernelView& view_;
  const Fields& p_;
  const T* values_;
  int64_t low_ = 0, high_ = 0, kept_ = 0;
  std::vector<int64_t> to_;
  std::vector<uint8_t> keep_;
  std::unique_ptr<T[]> x_;
};

}  // namespace qs::kernels::scattering
