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
// What is folded may lie in memory as halves, or be a product that is made on the way (tile_join
// asks for it): the same values in the same order. Products of f32 are kept in f64 within a chunk:
// of some hundred ordinary numbers they leave the range of f32, and numbers at its lower end take
// many times as long on some processors.
//
// argmax and argmin do not depend on order: the first of the extreme values wins, NaN being
// extreme.
#include "quicksilver/core/half.h"
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

// Where the elements that are folded come from: `at` gives a vector from element i on, `one` an
// element. `y` is the second factor of a product.
template <class T>
struct Direct {
  using Raw = T;
  static QS_INLINE Vec<T> at(const char* x, const char*, int64_t i) {
    return load<Vec<T>>(reinterpret_cast<const T*>(x) + i);
  }
  static QS_INLINE T one(const char* x, const char*, int64_t i) {
    return reinterpret_cast<const T*>(x)[i];
  }
};
template <class T>
struct Product {
  using Raw = T;
  static QS_INLINE Vec<T> at(const char* x, const char* y, int64_t i) {
    return Direct<T>::at(x, y, i) * Direct<T>::at(y, y, i);
  }
  static QS_INLINE T one(const char* x, const char* y, int64_t i) {
    return Direct<T>::one(x, y, i) * Direct<T>::one(y, y, i);
  }
};
template <class T>
struct Square {
  using Raw = T;
  static QS_INLINE Vec<T> at(const char* x, const char* y, int64_t i) {
    const Vec<T> v = Direct<T>::at(x, y, i);
    return v * v;
  }
  static QS_INLINE T one(const char* x, const char* y, int64_t i) {
    const T v = Direct<T>::one(x, y, i);
    return v * v;
  }
};
#if defined(__AVX2__)
template <bool brain>
struct Half {
  using Raw = uint16_t;
  static QS_INLINE vf32 at(const char* x, const char*, int64_t i) {
    const Raw* p = reinterpret_cast<const Raw*>(x) + i;
#if defined(__AVX512F__)
    const __m256i raw = load<__m256i>(p);
    if constexpr (brain)
      return (vf32)_mm512_slli_epi32(_mm512_cvtepu16_epi32(raw), 16);
    else
      return (vf32)_mm512_cvtph_ps(raw);
#else
    const __m128i raw = load<__m128i>(p);
    if constexpr (brain)
      return (vf32)_mm256_slli_epi32(_mm256_cvtepu16_epi32(raw), 16);
    else
      return (vf32)_mm256_cvtph_ps(raw);
#endif
  }
  static QS_INLINE float one(const char* x, const char*, int64_t i) {
    const Raw h = reinterpret_cast<const Raw*>(x)[i];
    return brain ? bf16_to_f32(h) : f16_to_f32(h);
  }
};
#endif

/// `n` elements from element `i` on, the identity in the other lanes. Reads a whole vector when
/// `room`, the number of elements that there are from i on, allows.
template <class T, class F, class L>
QS_INLINE Vec<T> load_some(const char* x, const char* y, int64_t i, int64_t n, int64_t room) {
  using V = Vec<T>;
  if (n >= k_lanes<T>) return L::at(x, y, i);
  if (room < k_lanes<T>) {
    alignas(64) T copy[k_lanes<T>];
    for (int k = 0; k < k_lanes<T>; ++k) copy[k] = k < n ? L::one(x, y, i + k) : F::identity();
    return load<V>(copy);
  }
  // A window into n ones followed by zeros would need a table; comparing with lane numbers does
  // not.
  Vec<T> v = L::at(x, y, i);
  using S = std::conditional_t<sizeof(T) == 8, int64_t,
                               std::conditional_t<sizeof(T) == 4, int32_t, int8_t>>;
  Vec<S> number;
  for (int k = 0; k < k_lanes<T>; ++k) number[k] = static_cast<S>(k);
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

template <class T, class F, class L = Direct<T>>
struct Plain {
  static constexpr int64_t k_raw = sizeof(typename L::Raw);

  static void clear_lanes(FoldLanes& lanes) {
    T* lane = reinterpret_cast<T*>(lanes.value);
    for (int i = 0; i < k_fold_lanes; ++i) lane[i] = F::identity();
  }
  static void add_lanes(FoldLanes& lanes, const char* x, const char* y, int64_t n, int64_t at) {
    T* lane = reinterpret_cast<T*>(lanes.value);
    int64_t i = 0;
    for (; i < n && at % k_fold_lanes; ++i, ++at) {
      T& l = lane[at % k_fold_lanes];
      l = F::apply(l, L::one(x, y, i));
    }
    Vec<T> acc[k_vectors<T>];
    for (int k = 0; k < k_vectors<T>; ++k) acc[k] = load<Vec<T>>(lane + k * k_lanes<T>);
    for (; i + k_fold_lanes <= n; i += k_fold_lanes) {
#pragma GCC unroll 16
      for (int k = 0; k < k_vectors<T>; ++k)
        acc[k] = F::apply(acc[k], L::at(x, y, i + k * k_lanes<T>));
    }
    for (int k = 0; k < k_vectors<T>; ++k) store(lane + k * k_lanes<T>, acc[k]);
    for (int64_t k = 0; i < n; ++i, ++k) lane[k] = F::apply(lane[k], L::one(x, y, i));
  }
  static void end_lanes(FoldLanes& lanes, char* value, int64_t*, int64_t) {
    const T* lane = reinterpret_cast<const T*>(lanes.value);
    Vec<T> v[k_vectors<T>];
    for (int k = 0; k < k_vectors<T>; ++k) v[k] = load<Vec<T>>(lane + k * k_lanes<T>);
    *reinterpret_cast<T*>(value) = tree<T, F>(v);
  }

  /// Rows of two: as many as fit into a vector at once.
  static int64_t pairs(T* out, const char* x, const char* y, int64_t count) {
    int64_t r = 0;
    if constexpr (sizeof(T) >= 4) {
      using S = std::conditional_t<sizeof(T) == 8, int64_t, int32_t>;
      Vec<S> even, odd;
      for (int k = 0; k < k_lanes<T>; ++k) {
        even[k] = static_cast<S>(2 * k);
        odd[k] = static_cast<S>(2 * k + 1);
      }
      const Vec<T> identity = all_of<T>(F::identity());
      for (; r + k_lanes<T> <= count; r += k_lanes<T>) {
        const Vec<T> a = L::at(x, y, 2 * r), b = L::at(x, y, 2 * r + k_lanes<T>);
        const Vec<T> first = (Vec<T>)__builtin_shuffle(a, b, even);
        const Vec<T> second = (Vec<T>)__builtin_shuffle(a, b, odd);
        store(out + r, F::apply(F::apply(identity, first), F::apply(identity, second)));
      }
    }
    return r;
  }
  static void rows(char* value, int64_t*, const char* x, const char* y, int64_t count,
                   int64_t columns) {
    const int64_t end = count * columns;
    T* out = reinterpret_cast<T*>(value);
    if (columns <= k_lanes<T>) {
      const Vec<T> identity = all_of<T>(F::identity());
      for (int64_t r = columns == 2 ? pairs(out, x, y, count) : 0; r < count; ++r) {
        const int64_t i = r * columns;
        Vec<T> v = F::apply(identity, load_some<T, F, L>(x, y, i, columns, end - i));
        tree_step<T, F, k_lanes<T> / 2>(v);
        out[r] = v[0];
      }
      return;
    }
    if (columns <= 2 * k_lanes<T>) {
      const Vec<T> identity = all_of<T>(F::identity());
      for (int64_t r = 0; r < count; ++r) {
        const int64_t i = r * columns, high = i + k_lanes<T>;
        Vec<T> v = F::apply(identity, L::at(x, y, i));
        const Vec<T> w = F::apply(
            identity, load_some<T, F, L>(x, y, high, columns - k_lanes<T>, end - high));
        v = F::apply(v, w);
        tree_step<T, F, k_lanes<T> / 2>(v);
        out[r] = v[0];
      }
      return;
    }
    for (int64_t r = 0; r < count; ++r) {
      Vec<T> acc[k_vectors<T>];
      for (int k = 0; k < k_vectors<T>; ++k) acc[k] = all_of<T>(F::identity());
      int64_t i = r * columns;
      const int64_t stop = i + columns;
      for (; i + k_fold_lanes <= stop; i += k_fold_lanes)
#pragma GCC unroll 16
        for (int k = 0; k < k_vectors<T>; ++k)
          acc[k] = F::apply(acc[k], L::at(x, y, i + k * k_lanes<T>));
      for (int k = 0; k < k_vectors<T>; ++k, i += k_lanes<T>) {
        if (i >= stop) break;
        acc[k] = F::apply(acc[k], load_some<T, F, L>(x, y, i, stop - i, end - i));
      }
      out[r] = tree<T, F>(acc);
    }
  }

  static void clear(char* value, int64_t*, int64_t n) {
    T* out = reinterpret_cast<T*>(value);
    for (int64_t i = 0; i < n; ++i) out[i] = F::identity();
  }
  static void columns(char* value, int64_t*, const char* x, const char* y, int64_t rows,
                      int64_t columns, int64_t step, int64_t step_y, int64_t) {
    T* out = reinterpret_cast<T*>(value);
    const int64_t next_x = step * k_raw, next_y = step_y * k_raw;
    constexpr int k_wide = 4;
    int64_t c = 0;
    for (; c + k_wide * k_lanes<T> <= columns; c += k_wide * k_lanes<T>) {
      Vec<T> acc[k_wide];
      for (int k = 0; k < k_wide; ++k) acc[k] = load<Vec<T>>(out + c + k * k_lanes<T>);
      const char *p = x, *q = y;
      for (int64_t r = 0; r < rows; ++r, p += next_x, q += next_y)
#pragma GCC unroll 4
        for (int k = 0; k < k_wide; ++k)
          acc[k] = F::apply(acc[k], L::at(p, q, c + k * k_lanes<T>));
      for (int k = 0; k < k_wide; ++k) store(out + c + k * k_lanes<T>, acc[k]);
    }
    for (; c < columns; c += k_lanes<T>) {
      const int64_t n = columns - c < k_lanes<T> ? columns - c : k_lanes<T>;
      alignas(64) T acc_copy[k_lanes<T>];
      for (int i = 0; i < k_lanes<T>; ++i) acc_copy[i] = i < n ? out[c + i] : F::identity();
      Vec<T> acc = load<Vec<T>>(acc_copy);
      const char *p = x, *q = y;
      // Only what lies within both blocks is read.
      const int64_t least = step < step_y || !y ? step : step_y;
      for (int64_t r = 0; r < rows; ++r, p += next_x, q += next_y)
        acc = F::apply(acc, load_some<T, F, L>(p, q, c, n, (rows - 1 - r) * least + columns - c));
      store(acc_copy, acc);
      std::memcpy(out + c, acc_copy, n * sizeof(T));
    }
  }
  static void combine(char* value, int64_t* index, const char* x, const int64_t*, int64_t rows,
                      int64_t n) {
    Plain<T, F>::columns(value, index, x, nullptr, rows, n, n, 0, 0);
  }
  static constexpr FoldTable table() {
    return {clear_lanes, add_lanes, end_lanes, rows, clear, columns, combine};
  }
};

// ---- products of f32, in f64

struct WideProduct {
  static constexpr int k_at_once = 8;  // vectors of f64 that stay in registers
  static constexpr int64_t k_part = k_at_once * k_lanes<double>;

  static void clear_lanes(FoldLanes& lanes) {
    clear_state(lanes.value, k_fold_lanes);
  }
  static QS_INLINE Vec<double> widened(const float* x) {
#if defined(__AVX512F__)
    return (Vec<double>)_mm512_cvtps_pd(_mm256_loadu_ps(x));
#elif defined(__AVX2__)
    return (Vec<double>)_mm256_cvtps_pd(_mm_loadu_ps(x));
#else
    Vec<double> v;
    for (int i = 0; i < k_lanes<double>; ++i) v[i] = x[i];
    return v;
#endif
  }
  /// lane[i % 64] *= x[i], whole groups of 64: a part of the lanes at a time.
  static void add_groups(double* lane, const float* x, int64_t n) {
    constexpr int64_t k_near = 2048;  // elements that stay in the nearest cache
    for (; n > 0; n -= k_near, x += k_near) {
      const int64_t here = n < k_near ? n : k_near;
      for (int64_t part = 0; part < k_fold_lanes; part += k_part) {
        Vec<double> acc[k_at_once];
        for (int k = 0; k < k_at_once; ++k)
          acc[k] = load<Vec<double>>(lane + part + k * k_lanes<double>);
        for (const float* p = x + part; p < x + here; p += k_fold_lanes)
#pragma GCC unroll 8
          for (int k = 0; k < k_at_once; ++k) acc[k] *= widened(p + k * k_lanes<double>);
        for (int k = 0; k < k_at_once; ++k)
          store(lane + part + k * k_lanes<double>, acc[k]);
      }
    }
  }
  static void add_lanes(FoldLanes& lanes, const char* data, const char*, int64_t n, int64_t at) {
    const float* x = reinterpret_cast<const float*>(data);
    double* lane = reinterpret_cast<double*>(lanes.value);
    for (; n > 0 && at % k_fold_lanes; --n, ++at, ++x) lane[at % k_fold_lanes] *= *x;
    const int64_t whole = n / k_fold_lanes * k_fold_lanes;
    add_groups(lane, x, whole);
    for (int64_t i = 0; i < n - whole; ++i) lane[i] *= x[whole + i];
  }
  static float tree_of(const double* lane) {
    Vec<double> v[k_vectors<double>];
    for (int k = 0; k < k_vectors<double>; ++k)
      v[k] = load<Vec<double>>(lane + k * k_lanes<double>);
    return static_cast<float>(tree<double, Prod<double>>(v));
  }
  static void end_lanes(FoldLanes& lanes, char* value, int64_t*, int64_t) {
    *reinterpret_cast<float*>(value) = tree_of(reinterpret_cast<const double*>(lanes.value));
  }
  static void rows(char* value, int64_t*, const char* data, const char*, int64_t count,
                   int64_t columns) {
    const float* x = reinterpret_cast<const float*>(data);
    float* out = reinterpret_cast<float*>(value);
    int width = 1;  // of the tree: lanes beyond it are 1
    while (width < columns && width < k_fold_lanes) width *= 2;
    for (int64_t r = 0; r < count; ++r, x += columns) {
      FoldLanes lanes;
      double* lane = reinterpret_cast<double*>(lanes.value);
      if (width < k_fold_lanes) {
        for (int i = 0; i < width; ++i) lane[i] = i < columns ? x[i] : 1.0;
        for (int w = width / 2; w >= 1; w /= 2)
          for (int i = 0; i < w; ++i) lane[i] *= lane[i + w];
        out[r] = static_cast<float>(lane[0]);
        continue;
      }
      clear_lanes(lanes);
      add_lanes(lanes, reinterpret_cast<const char*>(x), nullptr, columns, 0);
      out[r] = tree_of(lane);
    }
  }
  static void clear_state(char* state, int64_t n) { Plain<double, Prod<double>>::clear(state, nullptr, n); }
  static void columns(char* state, int64_t*, const char* data, const char*, int64_t rows,
                      int64_t columns, int64_t step, int64_t, int64_t) {
    const float* const x = reinterpret_cast<const float*>(data);
    double* out = reinterpret_cast<double*>(state);
    int64_t c = 0;
    for (; c + k_part <= columns; c += k_part) {
      Vec<double> acc[k_at_once];
      for (int k = 0; k < k_at_once; ++k) acc[k] = load<Vec<double>>(out + c + k * k_lanes<double>);
      const float* p = x + c;
      for (int64_t r = 0; r < rows; ++r, p += step)
#pragma GCC unroll 8
        for (int k = 0; k < k_at_once; ++k) acc[k] *= widened(p + k * k_lanes<double>);
      for (int k = 0; k < k_at_once; ++k) store(out + c + k * k_lanes<double>, acc[k]);
    }
    if (c == columns) return;
    const float* p = x;
    for (int64_t r = 0; r < rows; ++r, p += step)
      for (int64_t i = c; i < columns; ++i) out[i] *= p[i];
  }
  static void end_columns(char* state, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {  // in place: element i ends below where element i begins
      double wide;
      std::memcpy(&wide, state + i * 8, 8);
      const float x = static_cast<float>(wide);
      std::memcpy(state + i * 4, &x, 4);
    }
  }
  static constexpr FoldTable table() {
    using F32 = Plain<float, Prod<float>>;
    return {clear_lanes, add_lanes, end_lanes, rows, F32::clear, columns, F32::combine,
            clear_state, end_columns};
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
        const Vec<T> v = load_some<T, F, Direct<T>>(reinterpret_cast<const char*>(x), nullptr, i,
                                                  n - i, room - i);
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
  static void add_lanes(FoldLanes& lanes, const char* data, const char*, int64_t n, int64_t at) {
    if (n <= 0) return;
    const T* x = reinterpret_cast<const T*>(data);
    T& best = *reinterpret_cast<T*>(lanes.value);
    T extreme;
    Plain<T, F>::rows(reinterpret_cast<char*>(&extreme), nullptr, data, nullptr, 1, n);
    if (lanes.index[0] >= 0 && !beats(extreme, best)) return;
    best = extreme;
    lanes.index[0] = static_cast<int32_t>(at + find(x, n, n, extreme));
  }
  static void end_lanes(FoldLanes& lanes, char* value, int64_t* index, int64_t base) {
    if (lanes.index[0] >= 0) std::memcpy(value, lanes.value, sizeof(T));
    *index = lanes.index[0] < 0 ? -1 : base + lanes.index[0];
  }
  static void rows(char* value, int64_t* index, const char* data, const char*, int64_t count,
                   int64_t columns) {
    const T* x = reinterpret_cast<const T*>(data);
    T* best = reinterpret_cast<T*>(value);
    Plain<T, F>::rows(value, nullptr, data, nullptr, count, columns);
    for (int64_t r = 0; r < count; ++r, x += columns)
      index[r] = find(x, columns, (count - r) * columns, best[r]);
  }
  static void clear(char*, int64_t* index, int64_t n) {
    for (int64_t i = 0; i < n; ++i) index[i] = -1;
  }
  static void columns(char* value, int64_t* index, const char* data, const char*, int64_t rows,
                      int64_t columns, int64_t step, int64_t, int64_t base) {
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

#if defined(__AVX2__)
template <bool brain>
void fill_halves(FoldTable* t) {
  using L = Half<brain>;
  t[static_cast<int>(Fold::sum)] = Plain<float, Sum<float>, L>::table();
  t[static_cast<int>(Fold::max)] = Plain<float, Max<float>, L>::table();
  t[static_cast<int>(Fold::min)] = Plain<float, Min<float>, L>::table();
}
#endif

}  // namespace

void fill_folds(IsaTable& t) {
  fill<float, float>(t, r_f32);
  fill<double, double>(t, r_f64);
  t.fold[static_cast<int>(Fold::prod)][r_f32] = WideProduct::table();
  t.sum_of_products[r_f32] = Plain<float, Sum<float>, Product<float>>::table();
  t.sum_of_products[r_f64] = Plain<double, Sum<double>, Product<double>>::table();
  t.sum_of_squares[r_f32] = Plain<float, Sum<float>, Square<float>>::table();
  t.sum_of_squares[r_f64] = Plain<double, Sum<double>, Square<double>>::table();
#if defined(__AVX2__)
  fill_halves<false>(t.fold_halves[0]);
  fill_halves<true>(t.fold_halves[1]);
#endif
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
