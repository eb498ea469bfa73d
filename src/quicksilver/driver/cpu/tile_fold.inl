// Folds. The order of combination is part of the results and is fixed here and in tile_run.cpp:
//
//   row mode     the reduced space in loop order is cut into chunks of k_fold_chunk points; in a
//                chunk point i is added to lane i % 64; the lanes are combined as a tree (lane i
//                with lane i + 32, then i + 16, ... i + 1); chunks are combined left to right.
//   column mode  chunks of k_fold_rows points; points one after another, chunks left to right.
//
// Lanes and totals start from the identity, so an untouched lane changes nothing (0 + x is never
// -0, and x + 0 = x for all others), which lets short rows skip the empty part of the tree.
//
// argmax and argmin do not depend on order: the first of the extreme values wins, NaN being
// extreme.
#include "quicksilver/driver/cpu/tile_simd.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-trapping-math", "no-math-errno")
#endif

namespace qs::driver::cpu::QS_ISA_NAMESPACE {
namespace {

template <class T>
constexpr T lowest() {
  if (std::is_floating_point_v<T>) return static_cast<T>(-__builtin_inf());
  return T(-1) < T(0) ? static_cast<T>(1ull << (sizeof(T) * 8 - 1)) : T(0);
}
template <class T>
constexpr T highest() {
  if (std::is_floating_point_v<T>) return static_cast<T>(__builtin_inf());
  return T(-1) < T(0) ? static_cast<T>(~(1ull << (sizeof(T) * 8 - 1))) : static_cast<T>(~0ull);
}

// What a fold does to vectors and to elements of T. Integers come as unsigned where they may wrap.
template <class T>
struct Sum {
  static constexpr T identity() { return T(0); }
  template <class V>
  static QS_INLINE V apply(V x, V y) {
    return (V)(x + y);
  }
};
template <class T>
struct Prod {
  static constexpr T identity() { return T(1); }
  template <class V>
  static QS_INLINE V apply(V x, V y) {
    return (V)(x * y);
  }
};
template <class T>
struct Max {
  static constexpr T identity() { return lowest<T>(); }
  template <class V>
  static QS_INLINE V apply(V x, V y) {
    return larger(x, y);
  }
};
template <class T>
struct Min {
  static constexpr T identity() { return highest<T>(); }
  template <class V>
  static QS_INLINE V apply(V x, V y) {
    return smaller(x, y);
  }
};
struct Any {
  static constexpr uint8_t identity() { return 0; }
  template <class V>
  static QS_INLINE V apply(V x, V y) {
    return (V)(x | y);
  }
};
struct All {
  static constexpr uint8_t identity() { return 1; }
  template <class V>
  static QS_INLINE V apply(V x, V y) {
    return (V)(x & y);
  }
};

// ---- vectors of lanes

template <class T>
constexpr int k_lanes = VecOf<T>::lanes;
template <class T>
constexpr int k_vectors = k_fold_lanes / k_lanes<T>;

template <class T>
QS_INLINE Vec<T> all_of(T x) {
  Vec<T> v;
  for (int i = 0; i < k_lanes<T>; ++i) v[i] = x;
  return v;
}

/// The first `n` lanes from p, the identity in the others. Reads a whole vector when `room` allows.
template <class T, class F>
QS_INLINE Vec<T> load_some(const T* p, int64_t n, int64_t room) {
  using V = Vec<T>;
  if (n >= k_lanes<T>) return load<V>(p);
  alignas(64) T copy[k_lanes<T>];
  if (room < k_lanes<T>) {
    for (int i = 0; i < k_lanes<T>; ++i) copy[i] = i < n ? p[i] : F::identity();
    return load<V>(copy);
  }
  // A window into n ones followed by zeros would need a table; comparing with lane numbers does
  // not.
  Vec<T> v = load<V>(p);
  using S = std::conditional_t<sizeof(T) == 8, int64_t,
                               std::conditional_t<sizeof(T) == 4, int32_t, int8_t>>;
  Vec<S> number;
  for (int i = 0; i < k_lanes<T>; ++i) number[i] = static_cast<S>(i);
  return number < static_cast<S>(n) ? v : all_of<T>(F::identity());
}

template <class T, class F, int w>
QS_INLINE void tree_step(Vec<T>& v) {
  if constexpr (w >= 1) {
    using S = std::conditional_t<sizeof(T) == 8, int64_t,
                                 std::conditional_t<sizeof(T) == 4, int32_t, int8_t>>;
    Vec<S> from;
    for (int i = 0; i < k_lanes<T>; ++i) from[i] = static_cast<S>((i + w) & (k_lanes<T> - 1));
    v = F::apply(v, (Vec<T>)__builtin_shuffle(v, from));
    tree_step<T, F, w / 2>(v);
  }
}
template <class T, class F>
QS_INLINE T tree(Vec<T>* lanes) {
#pragma GCC unroll 4
  for (int w = k_vectors<T> / 2; w >= 1; w /= 2)
#pragma GCC unroll 8
    for (int k = 0; k < w; ++k) lanes[k] = F::apply(lanes[k], lanes[k + w]);
  tree_step<T, F, k_lanes<T> / 2>(lanes[0]);
  return lanes[0][0];
}

template <class T, class F>
struct Plain {
  static void clear_lanes(FoldLanes& lanes) {
    T* lane = reinterpret_cast<T*>(lanes.value);
    for (int i = 0; i < k_fold_lanes; ++i) lane[i] = F::identity();
  }
  static void add_lanes(FoldLanes& lanes, const char* data, int64_t n, int64_t at) {
    const T* x = reinterpret_cast<const T*>(data);
    T* lane = reinterpret_cast<T*>(lanes.value);
    for (; n > 0 && at % k_fold_lanes; --n, ++at, ++x) {
      T& l = lane[at % k_fold_lanes];
      l = F::apply(l, *x);
    }
    Vec<T> acc[k_vectors<T>];
    for (int k = 0; k < k_vectors<T>; ++k) acc[k] = load<Vec<T>>(lane + k * k_lanes<T>);
    for (; n >= k_fold_lanes; n -= k_fold_lanes, x += k_fold_lanes) {
#pragma GCC unroll 16
      for (int k = 0; k < k_vectors<T>; ++k)
        acc[k] = F::apply(acc[k], load<Vec<T>>(x + k * k_lanes<T>));
    }
    for (int k = 0; k < k_vectors<T>; ++k) store(lane + k * k_lanes<T>, acc[k]);
    for (int64_t i = 0; i < n; ++i) lane[i] = F::apply(lane[i], x[i]);
  }
  static void end_lanes(FoldLanes& lanes, char* value, int64_t*, int64_t) {
    const T* lane = reinterpret_cast<const T*>(lanes.value);
    Vec<T> v[k_vectors<T>];
    for (int k = 0; k < k_vectors<T>; ++k) v[k] = load<Vec<T>>(lane + k * k_lanes<T>);
    *reinterpret_cast<T*>(value) = tree<T, F>(v);
  }

  static void rows(char* value, int64_t*, const char* data, int64_t count, int64_t columns) {
    const T* x = reinterpret_cast<const T*>(data);
    const T* const end = x + count * columns;
    T* out = reinterpret_cast<T*>(value);
    if (columns <= k_lanes<T>) {
      const Vec<T> identity = all_of<T>(F::identity());
      for (int64_t r = 0; r < count; ++r, x += columns) {
        Vec<T> v = F::apply(identity, load_some<T, F>(x, columns, end - x));
        tree_step<T, F, k_lanes<T> / 2>(v);
        out[r] = v[0];
      }
      return;
    }
    if (columns <= 2 * k_lanes<T>) {
      const Vec<T> identity = all_of<T>(F::identity());
      for (int64_t r = 0; r < count; ++r, x += columns) {
        const T* high = x + k_lanes<T>;
        Vec<T> v = F::apply(identity, load<Vec<T>>(x));
        const Vec<T> w =
            F::apply(identity, load_some<T, F>(high, columns - k_lanes<T>, end - high));
        v = F::apply(v, w);
        tree_step<T, F, k_lanes<T> / 2>(v);
        out[r] = v[0];
      }
      return;
    }
    for (int64_t r = 0; r < count; ++r, x += columns) {
      Vec<T> acc[k_vectors<T>];
      for (int k = 0; k < k_vectors<T>; ++k) acc[k] = all_of<T>(F::identity());
      int64_t c = 0;
      for (; c + k_fold_lanes <= columns; c += k_fold_lanes)
#pragma GCC unroll 16
        for (int k = 0; k < k_vectors<T>; ++k)
          acc[k] = F::apply(acc[k], load<Vec<T>>(x + c + k * k_lanes<T>));
      for (int k = 0; k < k_vectors<T>; ++k, c += k_lanes<T>) {
        if (c >= columns) break;
        acc[k] = F::apply(acc[k], load_some<T, F>(x + c, columns - c, end - x - c));
      }
      out[r] = tree<T, F>(acc);
    }
  }

  static void clear(char* value, int64_t*, int64_t n) {
    T* out = reinterpret_cast<T*>(value);
    for (int64_t i = 0; i < n; ++i) out[i] = F::identity();
  }
  static void columns(char* value, int64_t*, const char* data, int64_t rows, int64_t columns,
                      int64_t step, int64_t) {
    const T* const x = reinterpret_cast<const T*>(data);
    const T* const end = x + (rows - 1) * step + columns;
    T* out = reinterpret_cast<T*>(value);
    constexpr int k_wide = 4;
    int64_t c = 0;
    for (; c + k_wide * k_lanes<T> <= columns; c += k_wide * k_lanes<T>) {
      Vec<T> acc[k_wide];
      for (int k = 0; k < k_wide; ++k) acc[k] = load<Vec<T>>(out + c + k * k_lanes<T>);
      const T* p = x + c;
      for (int64_t r = 0; r < rows; ++r, p += step)
#pragma GCC unroll 4
        for (int k = 0; k < k_wide; ++k)
          acc[k] = F::apply(acc[k], load<Vec<T>>(p + k * k_lanes<T>));
      for (int k = 0; k < k_wide; ++k) store(out + c + k * k_lanes<T>, acc[k]);
    }
    for (; c < columns; c += k_lanes<T>) {
      const int64_t n = columns - c < k_lanes<T> ? columns - c : k_lanes<T>;
      alignas(64) T acc_copy[k_lanes<T>];
      for (int i = 0; i < k_lanes<T>; ++i) acc_copy[i] = i < n ? out[c + i] : F::identity();
      Vec<T> acc = load<Vec<T>>(acc_copy);
      const T* p = x + c;
      for (int64_t r = 0; r < rows; ++r, p += step)
        acc = F::apply(acc, load_some<T, F>(p, n, end - p));
      store(acc_copy, acc);
      std::memcpy(out + c, acc_copy, n * sizeof(T));
    }
  }
  static void combine(char* value, int64_t* index, const char* x, const int64_t*, int64_t rows,
                      int64_t n) {
    columns(value, index, x, rows, n, n, 0);
  }
  static constexpr FoldTable table() {
    return {clear_lanes, add_lanes, end_lanes, rows, clear, columns, combine};
  }
};

// ---- argmax, argmin

template <class T, class F>
struct Arg {
  /// Whether y is more extreme than x; equal values are not.
  static QS_INLINE bool beats(T y, T x) {
    const bool nan = y != y && x == x;
    return nan || (std::is_same_v<F, Max<T>> ? y > x : y < x);
  }
  /// The first of `n` > 0 points that is `value`, or the first NaN. `room`: readable elements.
  static QS_INLINE int64_t find(const T* x, int64_t n, int64_t room, T value) {
    if constexpr (sizeof(T) >= 4) {
      // Lanes beyond n repeat the identity; a hit there comes after the true one.
      for (int64_t i = 0; i < n; i += k_lanes<T>) {
        const Vec<T> v = load_some<T, F>(x + i, n - i, room - i);
        const unsigned found = lane_bits((v == value) | (v != v));
        if (found) return i + __builtin_ctz(found);
      }
      return 0;
    }
    for (int64_t i = 0; i < n; ++i)
      if (x[i] == value) return i;
    return 0;
  }
  static void clear_lanes(FoldLanes& lanes) { lanes.index[0] = -1; }
  static void add_lanes(FoldLanes& lanes, const char* data, int64_t n, int64_t at) {
    if (n <= 0) return;
    const T* x = reinterpret_cast<const T*>(data);
    T& best = *reinterpret_cast<T*>(lanes.value);
    T extreme;
    Plain<T, F>::rows(reinterpret_cast<char*>(&extreme), nullptr, data, 1, n);
    if (lanes.index[0] >= 0 && !beats(extreme, best)) return;
    best = extreme;
    lanes.index[0] = static_cast<int32_t>(at + find(x, n, n, extreme));
  }
  static void end_lanes(FoldLanes& lanes, char* value, int64_t* index, int64_t base) {
    if (lanes.index[0] >= 0) std::memcpy(value, lanes.value, sizeof(T));
    *index = lanes.index[0] < 0 ? -1 : base + lanes.index[0];
  }
  static void rows(char* value, int64_t* index, const char* data, int64_t count, int64_t columns) {
    const T* x = reinterpret_cast<const T*>(data);
    T* best = reinterpret_cast<T*>(value);
    Plain<T, F>::rows(value, nullptr, data, count, columns);
    for (int64_t r = 0; r < count; ++r, x += columns)
      index[r] = find(x, columns, (count - r) * columns, best[r]);
  }
  static void clear(char*, int64_t* index, int64_t n) {
    for (int64_t i = 0; i < n; ++i) index[i] = -1;
  }
  static void columns(char* value, int64_t* index, const char* data, int64_t rows, int64_t columns,
                      int64_t step, int64_t base) {
    const T* x = reinterpret_cast<const T*>(data);
    T* best = reinterpret_cast<T*>(value);
    if (rows > 0 && columns > 0 && index[0] < 0) {
      for (int64_t c = 0; c < columns; ++c) best[c] = x[c];
      for (int64_t c = 0; c < columns; ++c) index[c] = base;
      x += step;
      --rows;
      ++base;
    }
    for (int64_t r = 0; r < rows; ++r, x += step, ++base)
      for (int64_t c = 0; c < columns; ++c) {
        const bool better = beats(x[c], best[c]);
        best[c] = better ? x[c] : best[c];
        index[c] = better ? base : index[c];
      }
  }
  static void combine(char* value, int64_t* index, const char* data, const int64_t* x_index,
                      int64_t rows, int64_t columns) {
    const T* x = reinterpret_cast<const T*>(data);
    T* best = reinterpret_cast<T*>(value);
    for (int64_t r = 0; r < rows; ++r, x += columns, x_index += columns)
      for (int64_t c = 0; c < columns; ++c)
        if (x_index[c] >= 0 && (index[c] < 0 || beats(x[c], best[c]))) {
          best[c] = x[c];
          index[c] = x_index[c];
        }
  }
  static constexpr FoldTable table() {
    return {clear_lanes, add_lanes, end_lanes, rows, clear, columns, combine};
  }
};

template <class T, class U>  // U: unsigned where sums wrap
void fill(IsaTable& t, RegClass r) {
  t.fold[static_cast<int>(Fold::sum)][r] = Plain<U, Sum<U>>::table();
  t.fold[static_cast<int>(Fold::prod)][r] = Plain<U, Prod<U>>::table();
  t.fold[static_cast<int>(Fold::max)][r] = Plain<T, Max<T>>::table();
  t.fold[static_cast<int>(Fold::min)][r] = Plain<T, Min<T>>::table();
  t.fold[static_cast<int>(Fold::argmax)][r] = Arg<T, Max<T>>::table();
  t.fold[static_cast<int>(Fold::argmin)][r] = Arg<T, Min<T>>::table();
}

}  // namespace

void fill_folds(IsaTable& t) {
  fill<float, float>(t, r_f32);
  fill<double, double>(t, r_f64);
  fill<int32_t, uint32_t>(t, r_i32);
  fill<int64_t, uint64_t>(t, r_i64);
  fill<uint64_t, uint64_t>(t, r_u64);
  fill<uint8_t, uint8_t>(t, r_bool);
  t.fold[static_cast<int>(Fold::sum)][r_bool] = Plain<uint8_t, Any>::table();
  t.fold[static_cast<int>(Fold::prod)][r_bool] = Plain<uint8_t, All>::table();
  t.fold[static_cast<int>(Fold::any)][r_bool] = Plain<uint8_t, Any>::table();
  t.fold[static_cast<int>(Fold::all)][r_bool] = Plain<uint8_t, All>::table();
}

}  // namespace qs::driver::cpu::QS_ISA_NAMESPACE
