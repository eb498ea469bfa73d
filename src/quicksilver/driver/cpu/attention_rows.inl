// The row functions of attention (attention_table.h), compiled once for each instruction set.
//
// Rows are walked in groups of k_attention_lanes elements; a sum keeps one partial result for each
// place in a group and joins them in a fixed order, so every instruction set adds alike.
#include <math.h>

#include <type_traits>

#include "quicksilver/core/half.h"
#include "quicksilver/driver/cpu/attention_table.h"
#include "quicksilver/driver/cpu/tile_simd.h"
// (the vectors need the layer above)
#include "quicksilver/driver/cpu/philox.inl"
#include "quicksilver/driver/cpu/vector_math.inl"

namespace qs::driver::cpu::QS_ISA_NAMESPACE {
namespace {

constexpr int k_group = k_attention_lanes;
template <class T>
constexpr int k_vectors = k_group / VecOf<T>::lanes;  // a group

template <class T>
constexpr T k_infinity = static_cast<T>(__builtin_inf());

QS_INLINE vf32 exp_of(vf32 x) { return Exp::apply(x); }
QS_INLINE vf64 exp_of(vf64 x) { return exp_f64(x); }
template <class T>
QS_INLINE T exp_one(T x) {
  return exp_of(splat(x))[0];
}

template <class T>
struct Group {
  Vec<T> v[k_vectors<T>];
};

template <class T, class F>
QS_INLINE T fold(const Group<T>& g, F&& f) {
  T x[k_group];
  for (int u = 0; u < k_vectors<T>; ++u) store(x + u * VecOf<T>::lanes, g.v[u]);
  for (int half = k_group / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) x[i] = f(x[i], x[i + half]);
  return x[0];
}

QS_INLINE int64_t larger_of(int64_t a, int64_t b) { return a > b ? a : b; }
QS_INLINE int64_t round_up(int64_t n) { return (n + k_group - 1) / k_group * k_group; }

template <class T>
QS_INLINE int64_t visible_columns(const ScoreBlock<T>& s, int64_t i) {
  const int64_t n = s.visible + i;
  return n < 0 ? 0 : n < s.columns ? n : s.columns;
}

/// A row out of sight has probability 0, whatever a NaN in it made of the padding.
template <class T>
QS_INLINE void clear_from(T* x, int64_t begin, int64_t end) {
  for (int64_t j = begin; j < end; ++j) x[j] = T(0);
}

QS_INLINE vu64 splat_word(uint64_t x) { return vu64{} + x; }

/// exp(x - base) over a row of whole groups; returns the sum.
template <class T>
QS_INLINE T exp_row(T* x, int64_t padded, T base) {
  const Vec<T> low = splat(base);
  Group<T> sum{};
  for (int64_t j = 0; j < padded; j += k_group)
#pragma GCC unroll 8
    for (int u = 0; u < k_vectors<T>; ++u) {
      T* at = x + j + u * VecOf<T>::lanes;
      const Vec<T> e = exp_of(load<Vec<T>>(at) - low);
      store(at, e);
      sum.v[u] += e;
    }
  return fold(sum, [](T a, T b) { return a + b; });
}

template <class T>
void softmax_rows(const ScoreBlock<T>& s, T* top, T* total, T* factor) {
  for (int64_t i = 0; i < s.rows; ++i) {
    T* x = s.at + i * s.line;
    const int64_t n = visible_columns(s, i), padded = round_up(n);
    for (int64_t j = n; j < padded; ++j) x[j] = -k_infinity<T>;
    Group<T> most;
    for (Vec<T>& v : most.v) v = splat(-k_infinity<T>);
    for (int64_t j = 0; j < padded; j += k_group)
#pragma GCC unroll 8
      for (int u = 0; u < k_vectors<T>; ++u) {
        const Vec<T> v = load<Vec<T>>(x + j + u * VecOf<T>::lanes);
        most.v[u] = v > most.v[u] ? v : most.v[u];  // a NaN shows in the sum
      }
    T high = fold(most, [](T a, T b) { return a > b ? a : b; });
    if (!(high > top[i])) high = top[i];
    const T base = high == -k_infinity<T> ? T(0) : high;  // nothing seen yet: all exp are 0
    factor[i] = exp_one(top[i] - base);
    total[i] = total[i] * factor[i] + exp_row(x, padded, base);
    top[i] = high;
    clear_from(x, n, larger_of(padded, s.columns));
  }
}

template <class T>
void probability_rows(const ScoreBlock<T>& s, const T* logsumexp) {
  for (int64_t i = 0; i < s.rows; ++i) {
    T* x = s.at + i * s.line;
    const int64_t n = visible_columns(s, i), padded = round_up(n);
    for (int64_t j = n; j < padded; ++j) x[j] = -k_infinity<T>;
    exp_row(x, padded, logsumexp[i]);
    clear_from(x, n, larger_of(padded, s.columns));
  }
}

template <class T>
void score_gradient_rows(const ScoreBlock<T>& g, const T* p, const T* delta) {
  for (int64_t i = 0; i < g.rows; ++i) {
    T* x = g.at + i * g.line;
    const T* y = p + i * g.line;
    const Vec<T> d = splat(delta[i]);
    const int64_t n = visible_columns(g, i), padded = round_up(n);
    for (int64_t j = 0; j < padded; j += VecOf<T>::lanes)
      store(x + j, load<Vec<T>>(y + j) * (load<Vec<T>>(x + j) - d));
    clear_from(x, n, larger_of(padded, g.columns));
  }
}

/// The draws of one row as numbers in [0, 1), as dropout's expression has them.
template <class T>
QS_INLINE void draw_row(T* unit, uint64_t first, int64_t n, uint64_t seed, uint64_t offset) {
  constexpr int lanes = VecOf<uint64_t>::lanes;
  const uint64_t begin = first & 3;
  for (uint64_t at = 0; at < begin + static_cast<uint64_t>(n); at += 4 * lanes) {
    vu64 block;
    for (int k = 0; k < lanes; ++k) block[k] = (first + at) / 4 + static_cast<uint64_t>(k);
    const Philox p(block, splat_word(seed), splat_word(offset));
    for (int k = 0; k < lanes; ++k)
      for (int w = 0; w < 4; ++w) {
        const uint64_t word = p.c[w][k];
        unit[at + static_cast<uint64_t>(4 * k + w)] =
            sizeof(T) == 8 ? static_cast<T>(static_cast<double>(word) * 0x1p-32)
                           : static_cast<T>(static_cast<float>(word >> 8) * 0x1p-24f);
      }
  }
}

template <class T>
void drop_rows(const ScoreBlock<T>& s, uint64_t first, uint64_t row_step, double keep, double scale,
               uint64_t seed, uint64_t offset) {
  constexpr int64_t piece = 256;
  T unit[piece + 4 * VecOf<uint64_t>::lanes + 4];
  const T limit = static_cast<T>(keep), times = static_cast<T>(scale);
  for (int64_t i = 0; i < s.rows; ++i) {
    const int64_t n = visible_columns(s, i);
    for (int64_t j0 = 0; j0 < n; j0 += piece) {
      const int64_t count = n - j0 < piece ? n - j0 : piece;
      const uint64_t at = first + static_cast<uint64_t>(i) * row_step + static_cast<uint64_t>(j0);
      draw_row(unit, at, count, seed, offset);
      const T* u = unit + (at & 3);
      T* x = s.at + i * s.line + j0;
      for (int64_t j = 0; j < count; ++j) x[j] = u[j] < limit ? x[j] * times : T(0);
    }
  }
}

template <class T, class S>
QS_INLINE T widen_one(S x) {
  return static_cast<T>(x);
}
struct HalfBits {
  uint16_t bits;
};
struct BrainBits {
  uint16_t bits;
};
template <class T>
QS_INLINE T widen_one(HalfBits x) {
  return static_cast<T>(f16_to_f32(x.bits));
}
template <class T>
QS_INLINE T widen_one(BrainBits x) {
  return static_cast<T>(bf16_to_f32(x.bits));
}

template <class F>
QS_INLINE void with_source(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f16:
      return f(static_cast<const HalfBits*>(nullptr));
    case DType::bf16:
      return f(static_cast<const BrainBits*>(nullptr));
    case DType::f64:
      return f(static_cast<const double*>(nullptr));
    default:
      return f(static_cast<const float*>(nullptr));
  }
}

template <class T>
void mask_rows(const ScoreBlock<T>& s, const void* mask, DType dtype, int64_t row, int64_t column) {
  if (dtype == DType::bool_) {
    const uint8_t* from = static_cast<const uint8_t*>(mask);
    for (int64_t i = 0; i < s.rows; ++i) {
      T* x = s.at + i * s.line;
      const uint8_t* m = from + i * row;
      const int64_t n = visible_columns(s, i);
      if (column == 1) {
        for (int64_t j = 0; j < n; ++j) x[j] = m[j] ? x[j] : -k_infinity<T>;
      } else {
        for (int64_t j = 0; j < n; ++j) x[j] = m[j * column] ? x[j] : -k_infinity<T>;
      }
    }
    return;
  }
  with_source(dtype, [&]<class S>(const S*) {
    const S* from = static_cast<const S*>(mask);
    for (int64_t i = 0; i < s.rows; ++i) {
      T* x = s.at + i * s.line;
      const S* m = from + i * row;
      const int64_t n = visible_columns(s, i);
      if (column == 1) {
        for (int64_t j = 0; j < n; ++j) x[j] += widen_one<T>(m[j]);
      } else {
        for (int64_t j = 0; j < n; ++j) x[j] += widen_one<T>(m[j * column]);
      }
    }
  });
}

template <class T>
void delta_rows(const T* a, int64_t a_row, int64_t a_column, const T* b, int64_t b_row,
                int64_t b_column, int64_t rows, int64_t columns, T* delta) {
  for (int64_t i = 0; i < rows; ++i) {
    const T *x = a + i * a_row, *y = b + i * b_row;
    Group<T> sum{};
    int64_t j = 0;
    if (a_column == 1 && b_column == 1)
      for (; j + k_group <= columns; j += k_group)
#pragma GCC unroll 8
        for (int u = 0; u < k_vectors<T>; ++u) {
          const int64_t at = j + u * VecOf<T>::lanes;
          sum.v[u] += load<Vec<T>>(x + at) * load<Vec<T>>(y + at);
        }
    for (; j < columns; j += k_group) {  // the rest, or all of it
      T products[k_group] = {};
      for (int64_t u = 0; u < k_group && j + u < columns; ++u)
        products[u] = x[(j + u) * a_column] * y[(j + u) * b_column];
      for (int u = 0; u < k_vectors<T>; ++u)
        sum.v[u] += load<Vec<T>>(products + u * VecOf<T>::lanes);
    }
    delta[i] = fold(sum, [](T p, T q) { return p + q; });
  }
}

template <class T>
void scale_all_rows(T* x, int64_t line, int64_t rows, int64_t columns, const T* factor) {
  for (int64_t i = 0; i < rows; ++i) {
    if (factor[i] == T(1)) continue;
    for (int64_t j = 0; j < columns; ++j) x[i * line + j] *= factor[i];
  }
}

template <class T>
void widen_rows(T* dst, int64_t line, const void* src, DType dtype, int64_t row, int64_t column,
                int64_t rows, int64_t columns) {
  with_source(dtype, [&]<class S>(const S*) {
    for (int64_t i = 0; i < rows; ++i) {
      T* to = dst + i * line;
      const S* from = static_cast<const S*>(src) + i * row;
      int64_t j = 0;
#if defined(__AVX512F__)
      if constexpr (sizeof(T) == 4 && sizeof(S) == 2) {
        for (; column == 1 && j + 16 <= columns; j += 16) {
          const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + j));
          if constexpr (std::is_same_v<S, HalfBits>)
            _mm512_storeu_ps(to + j, _mm512_cvtph_ps(bits));
          else
            _mm512_storeu_si512(to + j, _mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
        }
      }
#elif defined(__AVX2__)
      if constexpr (sizeof(T) == 4 && sizeof(S) == 2) {
        for (; column == 1 && j + 8 <= columns; j += 8) {
          const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + j));
          if constexpr (std::is_same_v<S, HalfBits>)
            _mm256_storeu_ps(to + j, _mm256_cvtph_ps(bits));
          else
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + j),
                                _mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
        }
      }
#endif
      for (; j < columns; ++j) to[j] = widen_one<T>(from[j * column]);
    }
  });
}

template <class T>
void narrow_rows(void* dst, DType dtype, int64_t row, int64_t column, const T* src, int64_t line,
                 int64_t rows, int64_t columns) {
  const auto each = [&]<class S>(S* to, auto&& convert) {
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j)
        to[i * row + j * column] = convert(src[i * line + j]);
  };
  switch (dtype) {
    case DType::f16:
      return each(static_cast<uint16_t*>(dst),
                  [](T x) { return f32_to_f16(static_cast<float>(x)); });
    case DType::bf16:
      return each(static_cast<uint16_t*>(dst),
                  [](T x) { return f32_to_bf16(static_cast<float>(x)); });
    default:
      return each(static_cast<T*>(dst), [](T x) { return x; });
  }
}

template <class T>
AttentionRows<T> make_rows() {
  return {mask_rows<T>, softmax_rows<T>,   probability_rows<T>, score_gradient_rows<T>,
          drop_rows<T>, delta_rows<T>,     scale_all_rows<T>,   widen_rows<T>,
          narrow_rows<T>};
}

AttentionTable make_attention_table() { return {make_rows<float>(), make_rows<double>()}; }

}  // namespace
}  // namespace qs::driver::cpu::QS_ISA_NAMESPACE
