// The packed matrix product, compiled once for each instruction set: the including file defines
// QS_GEMM_NAMESPACE, k_vector_bytes, k_tile_rows and the few functions marked "given" below.
//
// Structure (after BLIS): k is cut into steps; for each, panels of B (tile_columns wide) and of A
// (tile_rows high) are laid out so that the inner kernel reads both with stride 1; the kernel keeps
// one tile of C in registers over the whole step. What is already laid out well enough is read in
// place: B with contiguous rows when few rows of A pass over it, A when it is A^T (its columns are
// contiguous, which is what a panel looks like) or when few columns of B pass over it; then rows
// that would meet in the same cache sets are copied side by side first.
//
// Given: fma(a, b, c) for vectors; load_part / store_part for the last, incomplete vector;
// load_half for a vector of f16 or bf16; transpose_panel for f32 panels whose source is contiguous
// along k.

namespace qs::driver::cpu::QS_GEMM_NAMESPACE {
namespace {

template <class T, class S>
QS_INLINE T widen(S x) {
  return static_cast<T>(x);
}
template <>
QS_INLINE float widen<float, F16>(F16 x) {
  return f16_to_f32(x.bits);
}
template <>
QS_INLINE float widen<float, BF16>(BF16 x) {
  return bf16_to_f32(x.bits);
}

// Operands are read in place when so few panels of the other one pass over them.
constexpr int64_t k_direct_b_rows = 96, k_direct_a_columns = 192;
constexpr int64_t k_same_sets_bytes = 1024;  // lines so far apart share few sets of the cache
constexpr int64_t k_row_gap = 16;  // elements between copied rows of A
static_assert(k_gemm_m * (k_gemm_k + k_row_gap) <= (k_gemm_m + 32) * k_gemm_k);
constexpr int64_t k_small_b_bytes = 24 << 10;

// alpha and beta of an integer product: whole numbers, which may be negative.
template <class T>
QS_INLINE T factor(double x) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<T>(static_cast<int64_t>(x));
  else
    return static_cast<T>(x);
}

template <class T>
struct MicroArgs {
  const T* a;
  const T* b;
  T* c;
  const T* old;  // C, or what it starts from
  int64_t k, a_row, a_k, b_k, c_row, old_row;
  T alpha, beta;
  const T* ahead;  // not `RowsOfA`: fetched into the second cache, a line each k, ahead_k apart
  int64_t ahead_k;
  bool read_c;       // beta != 0
  bool whole_b;      // lines of B are whole vectors, what is too much of them 0
  int last_columns;  // in the last vector, 1 to lanes
};

// One tile of C: MR rows, NV vectors of columns. `RowsOfA`: A is row-major in memory, otherwise its
// MR values for one k are neighbours.
template <class T, int MR, int NV, bool RowsOfA>
void micro(const MicroArgs<T>& g) {
  using V = Vec<T>;
  constexpr int lanes = k_vector_bytes / sizeof(T);
  V acc[MR][NV];
#pragma GCC unroll 32
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) acc[i][j] = V{};
  const T* a = g.a;
  const T* b = g.b;
  const T* ahead = g.ahead;
  const int64_t a_row = g.a_row, a_k = RowsOfA ? 1 : g.a_k, b_k = g.b_k, ahead_k = g.ahead_k;
  const bool part = g.last_columns < lanes;
  if (!part || g.whole_b) {
    for (int64_t k = g.k; k > 0;) {
      // Rows read in place come from far when each is used but once or twice: ask for the same
      // piece of the next panel's.
      constexpr int64_t line = 64 / sizeof(T);
      if constexpr (RowsOfA)
        for (int i = 0; i < MR; ++i) __builtin_prefetch(a + (MR + i) * a_row);
      const int64_t stop = RowsOfA && k > line ? k - line : 0;
      for (; k > stop; --k) {
        if constexpr (!RowsOfA) {
          __builtin_prefetch(ahead, 0, 2);
          ahead += ahead_k;
        }
        V bv[NV];
#pragma GCC unroll 2
        for (int j = 0; j < NV; ++j) bv[j] = load<T>(b + j * lanes);
#pragma GCC unroll 32
        for (int i = 0; i < MR; ++i) {
          const V av = splat<T>(a[RowsOfA ? i * a_row : i]);
#pragma GCC unroll 2
          for (int j = 0; j < NV; ++j) acc[i][j] = fma(av, bv[j], acc[i][j]);
        }
        a += a_k;
        b += b_k;
      }
    }
  } else {
    const auto mask = part_mask<T>(g.last_columns);
    for (int64_t k = g.k; k > 0; --k) {
      V bv[NV];
      if constexpr (NV > 1) bv[0] = load<T>(b);
      bv[NV - 1] = load_part<T>(b + (NV - 1) * lanes, mask);
#pragma GCC unroll 32
      for (int i = 0; i < MR; ++i) {
        const V av = splat<T>(a[RowsOfA ? i * a_row : i]);
#pragma GCC unroll 2
        for (int j = 0; j < NV; ++j) acc[i][j] = fma(av, bv[j], acc[i][j]);
      }
      a += a_k;
      b += b_k;
    }
  }
  const V alpha = splat<T>(g.alpha), beta = splat<T>(g.beta);
  const bool scale = g.alpha != T(1), add = g.read_c && g.beta == T(1);
  const auto mask = part_mask<T>(g.last_columns);
#pragma GCC unroll 32
  for (int i = 0; i < MR; ++i) {
    T* c = g.c + i * g.c_row;
    const T* before = g.old + i * g.old_row;
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) {
      V v = scale ? acc[i][j] * alpha : acc[i][j];
      if (j == NV - 1 && part) {
        if (g.read_c) {
          const V old = load_part<T>(before + j * lanes, mask);
          v = add ? v + old : fma(old, beta, v);
        }
        store_part<T>(c + j * lanes, v, mask);
      } else {
        if (g.read_c) {
          const V old = load<T>(before + j * lanes);
          v = add ? v + old : fma(old, beta, v);
        }
        store<T>(c + j * lanes, v);
      }
    }
  }
}

template <class T>
using MicroFn = void (*)(const MicroArgs<T>&);

// Kernels by rows (1 to k_tile_rows), vectors (1, 2), A's form.
template <class T>
struct MicroTable {
  MicroFn<T> fn[k_tile_rows + 1][2][2] = {};
  template <int MR>
  constexpr void fill() {
    fn[MR][0][0] = micro<T, MR, 1, false>;
    fn[MR][1][0] = micro<T, MR, 2, false>;
    if constexpr (std::is_same_v<T, float>) {
      fn[MR][0][1] = micro<T, MR, 1, true>;
      fn[MR][1][1] = micro<T, MR, 2, true>;
    }
    if constexpr (MR > 1) {
      // f32 has a kernel for each height; the others go without the odd ones.
      constexpr int next = std::is_same_v<T, float> || MR <= 4 ? MR - 1 : (MR - 2) & ~1;
      fill<next>();
    }
  }
  constexpr MicroTable() { fill<k_tile_rows>(); }
};
template <class T>
constexpr MicroTable<T> k_micro{};

// Rows of the next panel when `left` remain: panels of even height where every height exists.
template <class T>
int panel_rows(int64_t left) {
  if (std::is_same_v<T, float>) {
    const int64_t panels = (left + k_tile_rows - 1) / k_tile_rows;
    return static_cast<int>((left + panels - 1) / panels);
  }
  if (left >= k_tile_rows) return k_tile_rows;
  return static_cast<int>(left <= 4 ? left : left & ~1);
}

// dst[k][h] for `h` lines of the source, `line` apart, elements of a line `step` apart; dst lines
// are `width` long, of which [h, width) are zeroed when `fill` is set. May write up to one vector
// past the end, where the next panel or slack follows.
template <class T, class S>
void pack_panel(T* dst, const S* src, int64_t line, int64_t step, int h, int width, int64_t k,
                bool fill) {
  if constexpr (std::is_same_v<T, float>) {
    constexpr int lanes = k_vector_bytes / sizeof(T);
    if (step == 1) {
      for (int at = 0; at < width; at += lanes) {
        const int rows = h - at < lanes ? h - at : lanes;
        if (rows <= 0 && !fill) break;
        transpose_panel(dst + at, width, src + at * line, line, rows < 0 ? 0 : rows, k);
      }
      return;
    }
  }
  if constexpr (std::is_same_v<T, S>) {
    if (line == 1) {
      // Whole vectors; what a narrow line writes too much is overwritten by the next one, but for the
      // second vector of a line, which would write into what the first has put there.
      constexpr int lanes = k_vector_bytes / sizeof(T);
      for (int at = 0; at < width; at += lanes) {
        const int left = h - at < 0 ? 0 : h - at < lanes ? h - at : lanes;
        const auto mask = part_mask<T>(left);
        const T* from = src + at;
        T* to = dst + at;
        const auto room = part_mask<T>(width - at < lanes ? width - at : lanes);
        const int64_t whole = at > 0 && width - at < lanes ? 0 : k - 1;
        int64_t p = 0;
        for (; p < whole; ++p) store<T>(to + p * width, load_part<T>(from + p * step, mask));
        for (; p < k; ++p) store_part<T>(to + p * width, load_part<T>(from + p * step, mask), room);
      }
      return;
    }
  }
  if constexpr (std::is_same_v<T, float> && (std::is_same_v<S, F16> || std::is_same_v<S, BF16>)) {
    if (line == 1) {
      constexpr int lanes = k_vector_bytes / sizeof(T);
      for (int64_t p = 0; p < k; ++p) {
        int i = 0;
        for (; i + lanes <= h; i += lanes)
          store<T>(dst + p * width + i, load_half(src + p * step + i));
        for (; i < h; ++i) dst[p * width + i] = widen<T, S>(src[p * step + i]);
        for (i = h; fill && i < width; ++i) dst[p * width + i] = T(0);
      }
      return;
    }
  }
  if (line == 1) {
    for (int64_t p = 0; p < k; ++p) {
      for (int i = 0; i < h; ++i) dst[p * width + i] = widen<T, S>(src[p * step + i]);
      for (int i = h; fill && i < width; ++i) dst[p * width + i] = T(0);
    }
    return;
  }
  for (int64_t p = 0; p < k; ++p) {
    for (int i = 0; i < h; ++i) dst[p * width + i] = widen<T, S>(src[i * line + p * step]);
    for (int i = h; fill && i < width; ++i) dst[p * width + i] = T(0);
  }
}

/// Lines of memory that will be laid out next, as columns of them: what lies one below the other is
/// too far apart for the processor to see it coming. A tile's kernel takes one column along.
template <class T>
struct Ahead {
  static constexpr int64_t line = 64 / sizeof(T);
  const T* at = nullptr;
  int64_t step = 0, columns = 0;

  bool take(MicroArgs<T>& t) {
    if (columns <= 0) return false;
    t.ahead = at;
    t.ahead_k = step;
    at += line;
    columns -= line;
    return true;
  }
};

template <class T, class S>
void packed_block(const GemmBlock& g) {
  constexpr int lanes = k_vector_bytes / sizeof(T);
  constexpr int width = 2 * lanes;
  constexpr bool same = std::is_same_v<T, S>;
  const S* a = static_cast<const S*>(g.a);
  const S* b = static_cast<const S*>(g.b);
  T* c = static_cast<T*>(g.c);
  T* pack_a = reinterpret_cast<T*>(g.scratch);
  T* pack_b = pack_a + (k_gemm_m + 32) * k_gemm_k;
  // All of B in the first-level cache needs no other layout.
  const bool small_b = g.k * g.b_row * static_cast<int64_t>(sizeof(T)) <= k_small_b_bytes;
  const bool direct_b = same && g.b_column == 1 && (g.m <= k_direct_b_rows || small_b);
  const bool apart = g.a_column * static_cast<int64_t>(sizeof(S)) % k_same_sets_bytes != 0;
  const bool direct_at = same && g.a_row == 1 && g.n <= k_direct_a_columns && apart;
  const bool direct_a = std::is_same_v<T, float> && same && g.a_column == 1 && !direct_at &&
                        g.n <= k_direct_a_columns;
  const bool copied_a = direct_a && (g.a_row * 4) % 4096 == 0;
  const int64_t steps = (g.k + k_gemm_k - 1) / k_gemm_k;
  for (int64_t s = 0; s < steps; ++s) {
    // Multiples of 8, so that rows of a packed panel stay aligned; the last step takes the rest.
    const int64_t even = ((g.k + steps - 1) / steps + 7) & ~int64_t{7};
    const int64_t k0 = s * even, k1 = k0 + even < g.k ? k0 + even : g.k, kc = k1 - k0;
    if (kc <= 0) break;
    for (int64_t n0 = 0; n0 < g.n; n0 += k_gemm_n) {
      const int64_t nc = g.n - n0 < k_gemm_n ? g.n - n0 : k_gemm_n;
      if (!direct_b)
        for (int64_t j = 0; j < nc; j += width) {
          const int h = static_cast<int>(nc - j < width ? nc - j : width);
          pack_panel<T, S>(pack_b + j * kc, b + k0 * g.b_row + (n0 + j) * g.b_column, g.b_column,
                           g.b_row, h, width, kc, true);
        }
      // What the next step lays out, when a step lays everything out once. The last one is shorter
      // by a few lines: what is behind them is fetched in vain.
      Ahead<T> next_a, next_b;
      if constexpr (same) {
        if (k1 < g.k && g.n <= k_gemm_n && g.m <= k_gemm_m) {
          if (g.a_row == 1 && !direct_at)
            next_a = {a + k1 * g.a_column, g.a_column, g.m};
          if (g.b_column == 1 && !direct_b)
            next_b = {b + k1 * g.b_row, g.b_row, g.n};
        }
      }
      for (int64_t m0 = 0; m0 < g.m; m0 += k_gemm_m) {
        const int64_t mc = g.m - m0 < k_gemm_m ? g.m - m0 : k_gemm_m;
        if (copied_a) {
          if constexpr (same)
            for (int64_t i = 0; i < mc; ++i) {
              const S* from = a + (m0 + i) * g.a_row + k0;
              for (int64_t p = 0; p < kc; p += 64 / static_cast<int64_t>(sizeof(S)))
                __builtin_prefetch(from + 4 * g.a_row + p);
              std::memcpy(pack_a + i * (kc + k_row_gap), from,
                          static_cast<size_t>(kc) * sizeof(S));
            }
        } else if (!direct_a && !direct_at) {
          T* to = pack_a;
          for (int64_t i = 0; i < mc;) {
            const int h = panel_rows<T>(mc - i);
            pack_panel<T, S>(to, a + (m0 + i) * g.a_row + k0 * g.a_column, g.a_row, g.a_column, h,
                             h, kc, false);
            to += h * kc;
            i += h;
          }
        }
        for (int64_t j = 0; j < nc; j += width) {
          const int64_t columns = nc - j < width ? nc - j : width;
          const int vectors = columns > lanes ? 2 : 1;
          MicroArgs<T> t;
          t.k = kc;
          t.last_columns = static_cast<int>(columns - (vectors - 1) * lanes);
          t.alpha = factor<T>(g.alpha);
          const bool starts = s == 0 && g.start;
          t.read_c = s > 0 || starts || g.beta != 0;
          t.beta = s > 0 || starts ? T(1) : factor<T>(g.beta);
          t.c_row = g.c_row;
          t.old_row = starts ? g.start_row : g.c_row;
          t.whole_b = !direct_b;
          if (direct_b) {
            if constexpr (same) t.b = b + k0 * g.b_row + n0 + j;
            t.b_k = g.b_row;
          } else {
            t.b = pack_b + j * kc;
            t.b_k = width;
          }
          for (int64_t i = 0; i < mc;) {
            const int h = panel_rows<T>(mc - i);
            if (copied_a) {
              t.a = pack_a + i * (kc + k_row_gap);
              t.a_row = kc + k_row_gap;
            } else if (direct_a || direct_at) {
              if constexpr (same) t.a = a + (m0 + i) * g.a_row + k0 * g.a_column;
              t.a_row = g.a_row;
              t.a_k = g.a_column;
            } else {
              t.a = pack_a + i * kc;
              t.a_row = 1;
              t.a_k = h;
            }
            t.c = c + (m0 + i) * g.c_row + n0 + j;
            t.old = starts ? static_cast<const T*>(g.start) + (m0 + i) * g.start_row + n0 + j : t.c;
            if (!next_a.take(t) && !next_b.take(t)) {
              t.ahead = t.b;
              t.ahead_k = 0;
            }
            k_micro<T>.fn[h][vectors - 1][direct_a](t);
            i += h;
          }
        }
      }
    }
  }
}

// ---- operands laid out by the caller -----------------------------------------------------------

template <class T>
void panels_block(const GemmPanels& g) {
  constexpr int lanes = k_vector_bytes / sizeof(T);
  constexpr int width = 2 * lanes;
  const bool rows_of_a = g.a_row > 0;
  MicroArgs<T> t;
  t.k = g.k;
  t.a_row = g.a_row;
  t.b_k = width;
  t.c_row = t.old_row = g.c_row;
  t.alpha = T(1);
  t.beta = T(1);
  t.read_c = g.add;
  t.whole_b = false;
  t.ahead_k = 0;
  for (int64_t j = 0; j < g.n; j += width) {
    const int64_t columns = g.n - j < width ? g.n - j : width;
    const int vectors = columns > lanes ? 2 : 1;
    t.last_columns = static_cast<int>(columns - (vectors - 1) * lanes);
    t.ahead = t.b = static_cast<const T*>(g.b) + j * g.k;
    for (int64_t i = 0; i < g.m;) {
      const int h = panel_rows<T>(g.m - i);
      t.a = static_cast<const T*>(g.a) + i * (rows_of_a ? g.a_row : g.k);
      t.a_k = h;
      t.c = static_cast<T*>(g.c) + i * g.c_row + j;
      t.old = t.c;
      k_micro<T>.fn[h][vectors - 1][rows_of_a](t);
      i += h;
    }
  }
}

template <class T>
struct ShiftedArgs {
  const T* a;
  const T* b[4];
  T* c;
  const int64_t* offsets;
  int64_t k, c_row;
  bool read_c;
};

template <class T, int MR, int NV>
void micro_shifted(const ShiftedArgs<T>& g) {
  using V = Vec<T>;
  constexpr int lanes = k_vector_bytes / sizeof(T);
  V acc[MR][NV];
#pragma GCC unroll 32
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) acc[i][j] = V{};
  const T* a = g.a;
  const T* b[NV];
#pragma GCC unroll 4
  for (int j = 0; j < NV; ++j) b[j] = g.b[j];
  const int64_t* end = g.offsets + g.k;
  for (const int64_t* at = g.offsets; at < end; ++at, a += MR) {
    V bv[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) bv[j] = load<T>(b[j] + *at);
#pragma GCC unroll 32
    for (int i = 0; i < MR; ++i) {
      const V av = splat<T>(a[i]);
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) acc[i][j] = fma(av, bv[j], acc[i][j]);
    }
  }
#pragma GCC unroll 32
  for (int i = 0; i < MR; ++i) {
    T* c = g.c + i * g.c_row;
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      V v = acc[i][j];
      if (g.read_c) v = v + load<T>(c + j * lanes);
      store<T>(c + j * lanes, v);
    }
  }
}

// Panels this low leave registers for four vectors.
constexpr int k_low_rows = k_tile_rows >= 14 ? 6 : k_tile_rows >= 6 ? 2 : 1;

// Kernels by rows and vectors (1, 2, 4).
template <class T>
struct ShiftedTable {
  void (*fn[k_tile_rows + 1][5])(const ShiftedArgs<T>&) = {};
  template <int MR>
  constexpr void fill() {
    fn[MR][1] = micro_shifted<T, MR, 1>;
    fn[MR][2] = micro_shifted<T, MR, 2>;
    if constexpr (MR <= k_low_rows) fn[MR][4] = micro_shifted<T, MR, 4>;
    if constexpr (MR > 1) {
      constexpr int next = std::is_same_v<T, float> || MR <= 4 ? MR - 1 : (MR - 2) & ~1;
      fill<next>();
    }
  }
  constexpr ShiftedTable() { fill<k_tile_rows>(); }
};
template <class T>
constexpr ShiftedTable<T> k_shifted{};

template <class T>
void shifted_block(const GemmShifted& g) {
  constexpr int lanes = k_vector_bytes / sizeof(T);
  const int64_t most = panel_rows<T>(g.m) <= k_low_rows ? 4 : 2;
  ShiftedArgs<T> t;
  t.offsets = g.offsets;
  t.k = g.k;
  t.c_row = g.c_row;
  t.read_c = g.add;
  for (int64_t v = 0; v < g.vectors;) {
    const int64_t left = g.vectors - v;
    const int64_t take = left >= most ? most : left >= 2 ? 2 : 1;
    for (int64_t j = 0; j < take; ++j) t.b[j] = static_cast<const T*>(g.b) + g.starts[v + j];
    for (int64_t i = 0; i < g.m;) {
      const int h = panel_rows<T>(g.m - i);
      t.a = static_cast<const T*>(g.a) + i * g.k;
      t.c = static_cast<T*>(g.c) + i * g.c_row + v * lanes;
      k_shifted<T>.fn[h][take](t);
      i += h;
    }
    v += take;
  }
}

template <class T, class S>
void pack_rows(void* dst, const void* src, int64_t line, int64_t step, int64_t m, int64_t k) {
  for (int64_t i = 0; i < m;) {
    const int h = panel_rows<T>(m - i);
    pack_panel<T, S>(static_cast<T*>(dst) + i * k, static_cast<const S*>(src) + i * line, line,
                     step, h, h, k, false);
    i += h;
  }
}

template <class T, class S>
void pack_columns(void* dst, const void* src, int64_t line, int64_t step, int h, int64_t k) {
  constexpr int width = 2 * k_vector_bytes / static_cast<int>(sizeof(T));
  pack_panel<T, S>(static_cast<T*>(dst), static_cast<const S*>(src), line, step, h, width, k, true);
}

// ---- matrix times vector ---------------------------------------------------------------------

template <class T, class S>
QS_INLINE Vec<T> load_widened(const S* p) {
  if constexpr (std::is_same_v<T, S>)
    return load<T>(p);
  else
    return load_half(p);
}

template <class T>
QS_INLINE T finish(const GemmBlock& g, T sum, T old) {
  const T value = factor<T>(g.alpha) * sum;
  return g.beta == 0 ? value : value + factor<T>(g.beta) * old;
}

// Four sums of vectors a row: element i goes to lane i % lanes of sum (i / lanes) % 4.
template <class T, class S, int R>
void dot_rows(const GemmBlock& g, int64_t row) {
  constexpr int lanes = k_vector_bytes / sizeof(T);
  const S* a = static_cast<const S*>(g.a) + row * g.a_row;
  const S* x = static_cast<const S*>(g.b);
  Vec<T> acc[R][4];
  for (int r = 0; r < R; ++r)
    for (int u = 0; u < 4; ++u) acc[r][u] = Vec<T>{};
  int64_t k = 0;
  for (; k + 4 * lanes <= g.k; k += 4 * lanes)
#pragma GCC unroll 4
    for (int u = 0; u < 4; ++u) {
      const Vec<T> xv = load_widened<T, S>(x + k + u * lanes);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r)
        acc[r][u] = fma(load_widened<T, S>(a + r * g.a_row + k + u * lanes), xv, acc[r][u]);
    }
  T tail[R] = {};
  for (int r = 0; r < R; ++r)
    for (int64_t p = k; p < g.k; ++p)
      tail[r] += widen<T, S>(a[r * g.a_row + p]) * widen<T, S>(x[p]);
  T* c = static_cast<T*>(g.c);
  for (int r = 0; r < R; ++r) {
    const Vec<T> v = (acc[r][0] + acc[r][1]) + (acc[r][2] + acc[r][3]);
    T parts[lanes];
    std::memcpy(parts, &v, sizeof v);
    for (int half = lanes / 2; half > 0; half /= 2)
      for (int i = 0; i < half; ++i) parts[i] += parts[i + half];
    T& out = c[(row + r) * g.c_row];
    out = finish<T>(g, parts[0] + tail[r], g.beta == 0 ? T(0) : out);
  }
}

template <class T, class S>
void dot_block(const GemmBlock& g) {
  int64_t row = 0;
  for (; row + 4 <= g.m; row += 4) dot_rows<T, S, 4>(g, row);
  for (; row < g.m; ++row) dot_rows<T, S, 1>(g, row);
}

template <class T>
QS_INLINE T sum_lanes(Vec<T> v) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float>) return _mm512_reduce_add_ps((__m512)v);
#endif
  constexpr int lanes = k_vector_bytes / sizeof(T);
  T parts[lanes];
  std::memcpy(parts, &v, sizeof v);
  for (int half = lanes / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) parts[i] += parts[i + half];
  return parts[0];
}

// R rows of A against N columns of B, one sum of vectors each.
template <class T, class S, int R, int N>
void dot_tile(const GemmBlock& g, int64_t row, int64_t column) {
  constexpr int lanes = k_vector_bytes / sizeof(T);
  const S* a = static_cast<const S*>(g.a) + row * g.a_row;
  const S* b = static_cast<const S*>(g.b) + column * g.b_column;
  Vec<T> acc[R][N];
  for (int r = 0; r < R; ++r)
    for (int j = 0; j < N; ++j) acc[r][j] = Vec<T>{};
  int64_t k = 0;
  for (; k + lanes <= g.k; k += lanes) {
    Vec<T> av[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) av[r] = load_widened<T, S>(a + r * g.a_row + k);
#pragma GCC unroll 4
    for (int j = 0; j < N; ++j) {
      const Vec<T> bv = load_widened<T, S>(b + j * g.b_column + k);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) acc[r][j] = fma(av[r], bv, acc[r][j]);
    }
  }
  T* c = static_cast<T*>(g.c);
  for (int r = 0; r < R; ++r)
    for (int j = 0; j < N; ++j) {
      T sum = sum_lanes<T>(acc[r][j]);
      for (int64_t p = k; p < g.k; ++p)
        sum += widen<T, S>(a[r * g.a_row + p]) * widen<T, S>(b[j * g.b_column + p]);
      T& out = c[(row + r) * g.c_row + column + j];
      out = finish<T>(g, sum, g.beta == 0 ? T(0) : out);
    }
}

// Four columns of B stay in the first cache while all rows of A pass over them.
template <class T, class S>
void dots_block(const GemmBlock& g) {
  const auto rows = [&]<int N>(int64_t column, std::integral_constant<int, N>) {
    int64_t row = 0;
    for (; row + 4 <= g.m; row += 4) dot_tile<T, S, 4, N>(g, row, column);
    if (g.m - row >= 2) {
      dot_tile<T, S, 2, N>(g, row, column);
      row += 2;
    }
    if (row < g.m) dot_tile<T, S, 1, N>(g, row, column);
  };
  int64_t column = 0;
  for (; column + 4 <= g.n; column += 4) rows(column, std::integral_constant<int, 4>{});
  for (; column < g.n; ++column) rows(column, std::integral_constant<int, 1>{});
}

// Column j is summed over k in order. Rows of B are read eight at a time, left to right, as memory
// likes them, into a strip of sums that stays in the first cache.
template <class T, class S>
void axpy_block(const GemmBlock& g) {
  constexpr int lanes = k_vector_bytes / sizeof(T);
  constexpr int64_t strip = 4096 / sizeof(T) * 2;
  const S* x = static_cast<const S*>(g.a);
  T* c = static_cast<T*>(g.c);
  alignas(64) T sums[strip];
  for (int64_t j0 = 0; j0 < g.n; j0 += strip) {
    const S* b = static_cast<const S*>(g.b) + j0;
    const int64_t n = g.n - j0 < strip ? g.n - j0 : strip;
    for (int64_t j = 0; j < n; ++j) sums[j] = T(0);
    int64_t k = 0;
    for (; k + 8 <= g.k; k += 8) {
      Vec<T> xv[8];
      for (int u = 0; u < 8; ++u) xv[u] = splat<T>(widen<T, S>(x[(k + u) * g.a_column]));
      int64_t j = 0;
      for (; j + lanes <= n; j += lanes) {
        Vec<T> v = load<T>(sums + j);
#pragma GCC unroll 8
        for (int u = 0; u < 8; ++u)
          v = fma(xv[u], load_widened<T, S>(b + (k + u) * g.b_row + j), v);
        store<T>(sums + j, v);
      }
      for (; j < n; ++j)
        for (int u = 0; u < 8; ++u)
          sums[j] = fma_one(xv[u][0], widen<T, S>(b[(k + u) * g.b_row + j]), sums[j]);
    }
    for (; k < g.k; ++k) {
      const T xk = widen<T, S>(x[k * g.a_column]);
      for (int64_t j = 0; j < n; ++j)
        sums[j] = fma_one(xk, widen<T, S>(b[k * g.b_row + j]), sums[j]);
    }
    for (int64_t j = 0; j < n; ++j)
      c[j0 + j] = finish<T>(g, sums[j], g.beta == 0 ? T(0) : c[j0 + j]);
  }
}

// Strips of whole vectors, the rest one by one.
void turn(float* dst, int64_t dst_row, const float* src, int64_t src_row, int64_t rows,
          int64_t columns) {
  constexpr int lanes = k_vector_bytes / sizeof(float);
  int64_t i = 0;
  for (; i + lanes <= rows; i += lanes)
    transpose_panel(dst + i, dst_row, src + i * src_row, src_row, lanes, columns);
  for (; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) dst[j * dst_row + i] = src[i * src_row + j];
}

void narrow_f16(void* dst, const float* src, int64_t n) {
  uint16_t* d = static_cast<uint16_t*>(dst);
  for (int64_t i = 0; i < n; ++i) d[i] = f32_to_f16(src[i]);
}
void narrow_bf16(void* dst, const float* src, int64_t n) {
  uint16_t* d = static_cast<uint16_t*>(dst);
  for (int64_t i = 0; i < n; ++i) d[i] = f32_to_bf16(src[i]);
}

GemmTable make_table() {
  GemmTable t;
  const auto row = [&]<class T, class S>(GemmType type, T, S) {
    t.packed[type] = packed_block<T, S>;
    t.dot[type] = dot_block<T, S>;
    t.dots[type] = dots_block<T, S>;
    t.axpy[type] = axpy_block<T, S>;
    t.panels[type] = panels_block<T>;
    t.shifted[type] = shifted_block<T>;
    t.panel_rows[type] = panel_rows<T>;
    t.panel_width[type] = 2 * k_vector_bytes / static_cast<int>(sizeof(T));
    t.pack_rows[type] = pack_rows<T, S>;
    t.pack_columns[type] = pack_columns<T, S>;
  };
  row(g_f32, float{}, float{});
  row(g_f64, double{}, double{});
  row(g_f16, float{}, F16{});
  row(g_bf16, float{}, BF16{});
  row(g_i32, uint32_t{}, uint32_t{});
  row(g_i64, uint64_t{}, uint64_t{});
  t.turn = turn;
  t.narrow[g_f16] = narrow_f16;
  t.narrow[g_bf16] = narrow_bf16;
  t.tile_rows = k_tile_rows;
  t.tile_columns = 2 * k_vector_bytes / static_cast<int>(sizeof(float));
  return t;
}

}  // namespace
}  // namespace qs::driver::cpu::QS_GEMM_NAMESPACE
