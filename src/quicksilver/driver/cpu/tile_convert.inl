// Conversions between element types, rounding in place, and the movement of blocks: gather,
// scatter, broadcast, ramps, streaming stores. Included once per instruction set.
#include "quicksilver/driver/cpu/tile_narrow.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-trapping-math", "no-math-errno")  // changes no value; lets loops vectorise
#endif

namespace qs::driver::cpu::QS_ISA_NAMESPACE {
namespace {

struct Bool {
  uint8_t value;
};

// float -> integer truncates; what does not fit gives the lowest integer, as x86 instructions do.
// Narrower integers are reached through i32 or i64 and wrap.
template <class To, class From>
struct Convert {
  static QS_INLINE To apply(From x) {
    if constexpr (std::is_same_v<To, Bool>) {
      return Bool{static_cast<uint8_t>(x != From(0))};
    } else if constexpr (std::is_same_v<From, Bool>) {
      return static_cast<To>(x.value);
    } else if constexpr (std::is_floating_point_v<From> && std::is_same_v<To, uint64_t>) {
      // As C on x86 for what fits either i64 or u64.
      const From k_half = From(9223372036854775808.0);
      const bool high = x >= k_half;
      const From y = high ? x - k_half : x;
      const bool fits = y >= -k_half && y < k_half;
      const int64_t whole = static_cast<int64_t>(fits ? y : From(0));
      return (fits ? static_cast<uint64_t>(whole) : 1ull << 63) ^ (high ? 1ull << 63 : 0);
    } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
      const From k_limit = From(sizeof(To) == 4 ? 2147483648.0 : 9223372036854775808.0);
      const bool fits =
          x < k_limit && (sizeof(To) == 4 && sizeof(From) == 8 ? x > -k_limit - 1 : x >= -k_limit);
      const To whole = static_cast<To>(fits ? x : From(0));
      return fits ? whole : static_cast<To>(1ull << (sizeof(To) * 8 - 1));
    } else {
      return static_cast<To>(x);
    }
  }
};

template <class To, class From>
constexpr TileFn convert() {
  if constexpr (std::is_same_v<To, From>) {
    return nullptr;
  } else {
    return scalar_op1<To, From, Convert<To, From>>;
  }
}

template <int size>
void copy_op(char* d, const char* a, const char* b, const char* c, int64_t n,
             const TileStep& step) {
  drive<1, size, size, 1, 1>(d, a, b, c, n, step,
                             [](char* d, const char* a, const char*, const char*) {
                               for (int k = 0; k < k_group * size; k += k_bytes)
                                 store(d + k, load<vi32>(a + k));
                             });
}

// ---- half types: 8 or 16 at a time

template <class Narrow>
void widen_op(char* d, const char* a, const char* b, const char* c, int64_t n,
              const TileStep& step) {
  drive<1, 4, Narrow::size, 1, 1>(d, a, b, c, n, step,
                                  [](char* d, const char* a, const char*, const char*) {
                                    for (int k = 0; k < k_group; k += k_lanes32)
                                      store(d + k * 4, Narrow::read(a + k * Narrow::size));
                                  });
}
template <class Narrow>
void narrow_op(char* d, const char* a, const char* b, const char* c, int64_t n,
               const TileStep& step) {
  drive<1, Narrow::size, 4, 1, 1>(d, a, b, c, n, step,
                                  [](char* d, const char* a, const char*, const char*) {
                                    for (int k = 0; k < k_group; k += k_lanes32)
                                      Narrow::write(d + k * Narrow::size, load<vf32>(a + k * 4));
                                  });
}
template <class Wide, class Narrow>
struct Wrap {
  static QS_INLINE Wide apply(Wide x) { return static_cast<Wide>(static_cast<Narrow>(x)); }
};

// ---- blocks

/// memcpy. Where the destination is a little ahead of the source in the low twelve bits of the
/// addresses, processors take each load for one that waits for the store before it, which costs
/// ten times as much; going down, no load follows such a store.
void copy_long(char* d, const char* s, int64_t n) {
  const uintptr_t ahead = (reinterpret_cast<uintptr_t>(d) - reinterpret_cast<uintptr_t>(s)) & 4095;
  if (n < 256 || ahead == 0 || ahead > 1024) {
    std::memcpy(d, s, n);
    return;
  }
  for (; n >= k_bytes; n -= k_bytes) store(d + n - k_bytes, load<vi32>(s + n - k_bytes));
  std::memcpy(d, s, n);
}
/// The same for rows that are mostly short.
QS_INLINE void copy_bytes(char* d, const char* s, int64_t n) {
  typedef char v16 __attribute__((vector_size(16)));
  typedef char v32 __attribute__((vector_size(32)));
  if (n > 64) {
    copy_long(d, s, n);
  } else if (n < 16) {
    std::memcpy(d, s, n);
  } else if (n >= 32) {
    const auto a = load<v32>(s), b = load<v32>(s + n - 32);
    store(d, a);
    store(d + n - 32, b);
  } else {
    const auto a = load<v16>(s), b = load<v16>(s + n - 16);
    store(d, a);
    store(d + n - 16, b);
  }
}

/// With the stride known the loop is one of vectors.
template <class T, int64_t stride>
QS_INLINE void gather_steps(T* d, const char* s, int64_t n) {
  for (int64_t i = 0; i < n; ++i) std::memcpy(&d[i], s + i * stride, sizeof(T));
}

/// One row: `n` elements, `stride` bytes apart on the strided side.
template <class T>
QS_INLINE void gather_row(T* d, const char* s, int64_t n, int64_t stride) {
  if (stride == sizeof(T)) {
    copy_bytes(reinterpret_cast<char*>(d), s, n * sizeof(T));
  } else if (stride == 0) {
    T x;
    std::memcpy(&x, s, sizeof x);
    for (int64_t i = 0; i < n; ++i) d[i] = x;
  } else if (stride == -int64_t{sizeof(T)}) {  // flipped
    gather_steps<T, -int64_t{sizeof(T)}>(d, s, n);
  } else if (stride == 2 * int64_t{sizeof(T)}) {  // a part of complex numbers
    gather_steps<T, 2 * int64_t{sizeof(T)}>(d, s, n);
  } else {
    for (int64_t i = 0; i < n; ++i) std::memcpy(&d[i], s + i * stride, sizeof(T));
  }
}
template <class T>
QS_INLINE void scatter_row(char* d, const T* s, int64_t n, int64_t stride) {
  if (stride == sizeof(T)) {
    copy_bytes(d, reinterpret_cast<const char*>(s), n * sizeof(T));
  } else {
    int64_t i = 0;
#if defined(__AVX512F__)
    if (sizeof(T) == 4 && stride == 8) {  // a part of complex numbers
      const __m512i spread = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
      for (; i + 8 <= n; i += 8) {
        const __m512i x = _mm512_castsi256_si512(load<__m256i>(s + i));
        _mm512_mask_storeu_epi32(d + i * 8, 0x5555, _mm512_permutexvar_epi32(spread, x));
      }
    }
#endif
    for (; i < n; ++i) std::memcpy(d + i * stride, &s[i], sizeof(T));
  }
}
/// Whether rows are the contiguous direction of a strided block: a transposed view, which may run
/// backwards.
template <class T>
QS_INLINE bool by_columns(const int64_t* n, const int64_t* stride) {
  constexpr int64_t k_size = sizeof(T);
  const auto unit = [](int64_t s) { return s == k_size || s == -k_size; };
  return unit(stride[1]) && !unit(stride[2]) && stride[2] != 0 && n[1] > 1;
}

#if defined(__AVX2__)
/// 8 x 8 elements of 4 bytes: d[r][c] = s[c][r], rows `ld` and `ls` bytes apart.
QS_INLINE void transpose8(char* d, int64_t ld, const char* s, int64_t ls) {
  __m256 r[8], t[8];
  for (int i = 0; i < 8; ++i) r[i] = _mm256_loadu_ps(reinterpret_cast<const float*>(s + i * ls));
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_ps(reinterpret_cast<float*>(d + i * ld),
                     _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
    _mm256_storeu_ps(reinterpret_cast<float*>(d + (i + 4) * ld),
                     _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
  }
}
/// The same of 4 x 4 elements of 8 bytes.
QS_INLINE void transpose_wide(char* d, int64_t ld, const char* s, int64_t ls) {
  __m256d r[4];
  for (int i = 0; i < 4; ++i) r[i] = _mm256_loadu_pd(reinterpret_cast<const double*>(s + i * ls));
  const __m256d a = _mm256_unpacklo_pd(r[0], r[1]), b = _mm256_unpackhi_pd(r[0], r[1]);
  const __m256d c = _mm256_unpacklo_pd(r[2], r[3]), e = _mm256_unpackhi_pd(r[2], r[3]);
  const auto put = [&](int row, __m256d x) {
    _mm256_storeu_pd(reinterpret_cast<double*>(d + row * ld), x);
  };
  put(0, _mm256_permute2f128_pd(a, c, 0x20));
  put(1, _mm256_permute2f128_pd(b, e, 0x20));
  put(2, _mm256_permute2f128_pd(a, c, 0x31));
  put(3, _mm256_permute2f128_pd(b, e, 0x31));
}
/// And of 8 x 8 elements of 2 bytes.
QS_INLINE void transpose_narrow(char* d, int64_t ld, const char* s, int64_t ls) {
  __m128i r[8], t[8];
  for (int i = 0; i < 8; ++i) r[i] = load<__m128i>(s + i * ls);
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm_unpacklo_epi16(r[i], r[i + 1]);
    t[i + 1] = _mm_unpackhi_epi16(r[i], r[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    r[i] = _mm_unpacklo_epi32(t[i], t[i + 2]);
    r[i + 1] = _mm_unpackhi_epi32(t[i], t[i + 2]);
    r[i + 2] = _mm_unpacklo_epi32(t[i + 1], t[i + 3]);
    r[i + 3] = _mm_unpackhi_epi32(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    store(d + 2 * i * ld, _mm_unpacklo_epi64(r[i], r[i + 4]));
    store(d + (2 * i + 1) * ld, _mm_unpackhi_epi64(r[i], r[i + 4]));
  }
}
template <class T>
QS_INLINE void transpose_block(char* d, int64_t ld, const char* s, int64_t ls) {
  if constexpr (sizeof(T) == 2)
    transpose_narrow(d, ld, s, ls);
  else if constexpr (sizeof(T) == 4)
    transpose8(d, ld, s, ls);
  else
    transpose_wide(d, ld, s, ls);
}
#endif
/// d[i][j] = s[j][i] for i < m, j < n; rows of d are `ld` bytes apart, rows of s `ls`.
template <class T>
void transpose(char* d, int64_t ld, const char* s, int64_t ls, int64_t m, int64_t n) {
  constexpr int64_t k_size = sizeof(T);
  int64_t j = 0;
#if defined(__AVX2__)
  if constexpr (k_size > 1) {
    constexpr int64_t k_side = k_size == 8 ? 4 : 8;
    for (; j + k_side <= n; j += k_side) {
      int64_t i = 0;
      for (; i + k_side <= m; i += k_side)
        transpose_block<T>(d + i * ld + j * k_size, ld, s + j * ls + i * k_size, ls);
      for (; i < m; ++i)
        for (int64_t k = j; k < j + k_side; ++k)
          std::memcpy(d + i * ld + k * k_size, s + k * ls + i * k_size, k_size);
    }
  }
#endif
  for (; j < n; ++j)
    for (int64_t i = 0; i < m; ++i)
      std::memcpy(d + i * ld + j * k_size, s + j * ls + i * k_size, k_size);
}

template <class T>
void gather(char* dst, const char* src, const int64_t* n, const int64_t* stride) {
  const int64_t row = n[2] * sizeof(T), row_bytes = n[1] * sizeof(T);
  for (int64_t p = 0; p < n[0]; ++p, src += stride[0], dst += row * n[1]) {
    if (by_columns<T>(n, stride)) {
      // The next block is most likely the one beside this: its lines are far apart, so ask early.
      const char* next = src + n[2] * stride[2];
      for (int64_t c = 0; c < n[2]; ++c, next += stride[2])
        for (int64_t b = 0; b < row_bytes; b += 64) __builtin_prefetch(next + b);
      const int64_t back = stride[1] < 0 ? n[1] - 1 : 0;  // to where memory begins
      transpose<T>(dst + back * row, back ? -row : row, src + back * stride[1], stride[2], n[1],
                   n[2]);
      continue;
    }
    for (int64_t r = 0; r < n[1]; ++r)
      gather_row(reinterpret_cast<T*>(dst + r * row), src + r * stride[1], n[2], stride[2]);
  }
}
template <class T>
void scatter(char* dst, const char* src, const int64_t* n, const int64_t* stride) {
  const int64_t row = n[2] * sizeof(T);
  for (int64_t p = 0; p < n[0]; ++p, dst += stride[0], src += row * n[1]) {
    if (by_columns<T>(n, stride)) {
      const int64_t back = stride[1] < 0 ? n[1] - 1 : 0;
      transpose<T>(dst + back * stride[1], stride[2], src + back * row, back ? -row : row, n[2],
                   n[1]);
      continue;
    }
    for (int64_t r = 0; r < n[1]; ++r)
      scatter_row(dst + r * stride[1], reinterpret_cast<const T*>(src + r * row), n[2], stride[2]);
  }
}

/// May write up to a vector beyond the last element, as expand_rows.
void ramp(int64_t* dst, const int64_t* n, const int64_t* stride, int64_t start) {
  for (int64_t p = 0; p < n[0]; ++p)
    for (int64_t r = 0; r < n[1]; ++r, dst += n[2]) {
      const uint64_t first = static_cast<uint64_t>(start) + static_cast<uint64_t>(p) * stride[0] +
                             static_cast<uint64_t>(r) * stride[1];
      const uint64_t step = stride[2];
      constexpr int k_lanes = VecOf<uint64_t>::lanes;
      vu64 x;
      for (int i = 0; i < k_lanes; ++i) x[i] = first + static_cast<uint64_t>(i) * step;
      for (int64_t c = 0; c < n[2]; c += k_lanes, x += k_lanes * step) store(dst + c, x);
    }
}

/// May write up to a vector beyond the last element; slots have room for that.
template <class T>
void expand_rows(char* dst, const char* src, int64_t rows, int64_t columns) {
  constexpr int k_lanes = VecOf<T>::lanes;
  T* d = reinterpret_cast<T*>(dst);
  for (int64_t r = 0; r < rows; ++r, d += columns) {
    const T x = reinterpret_cast<const T*>(src)[r];
    const Vec<T> v = x - Vec<T>{};
    for (int64_t c = 0; c < columns; c += k_lanes) store(d + c, v);
  }
}
template <class T>
void expand_columns(char* dst, const char* src, int64_t rows, int64_t columns) {
  for (int64_t r = 0; r < rows; ++r)
    std::memcpy(dst + r * columns * sizeof(T), src, columns * sizeof(T));
}

void stream(char* dst, const char* src, int64_t bytes) {
  if (bytes < 64) {
    std::memcpy(dst, src, bytes);
    return;
  }
  const int64_t head = std::min<int64_t>(bytes, -reinterpret_cast<uintptr_t>(dst) & 63);
  std::memcpy(dst, src, head);
  int64_t i = head;
  for (; i + 64 <= bytes; i += 64) {
#if defined(__AVX512F__)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(dst + i), load<__m512i>(src + i));
#elif defined(__AVX2__)
    _mm256_stream_si256(reinterpret_cast<__m256i*>(dst + i), load<__m256i>(src + i));
    _mm256_stream_si256(reinterpret_cast<__m256i*>(dst + i + 32), load<__m256i>(src + i + 32));
#else
    std::memcpy(dst + i, src + i, 64);
#endif
  }
  std::memcpy(dst + i, src + i, bytes - i);
}

template <class From>
void fill_casts(IsaTable& t, RegClass from) {
  t.cast[from][r_f32] = convert<float, From>();
  t.cast[from][r_f64] = convert<double, From>();
  t.cast[from][r_i32] = convert<int32_t, From>();
  t.cast[from][r_i64] = convert<int64_t, From>();
  t.cast[from][r_u64] = convert<uint64_t, From>();
  t.cast[from][r_bool] = convert<Bool, From>();
}

}  // namespace

void fill_conversions(IsaTable& t) {
  fill_casts<float>(t, r_f32);
  fill_casts<double>(t, r_f64);
  fill_casts<int32_t>(t, r_i32);
  fill_casts<int64_t>(t, r_i64);
  fill_casts<uint64_t>(t, r_u64);
  fill_casts<Bool>(t, r_bool);
  const auto at = [](DType d) { return static_cast<int>(d); };
  t.widen[at(DType::u8)] = convert<int32_t, uint8_t>();
  t.widen[at(DType::i8)] = convert<int32_t, int8_t>();
  t.widen[at(DType::i16)] = convert<int32_t, int16_t>();
  t.widen[at(DType::u16)] = convert<int32_t, uint16_t>();
  t.widen[at(DType::u32)] = convert<int64_t, uint32_t>();
  t.widen[at(DType::f16)] = widen_op<F16>;
  t.widen[at(DType::bf16)] = widen_op<Bf16>;
  t.narrow[at(DType::u8)] = convert<uint8_t, int32_t>();
  t.narrow[at(DType::i8)] = convert<int8_t, int32_t>();
  t.narrow[at(DType::i16)] = convert<int16_t, int32_t>();
  t.narrow[at(DType::u16)] = convert<uint16_t, int32_t>();
  t.narrow[at(DType::u32)] = convert<uint32_t, int64_t>();
  t.narrow[at(DType::f16)] = narrow_op<F16>;
  t.narrow[at(DType::bf16)] = narrow_op<Bf16>;
  t.round_to[at(DType::u8)] = scalar_op1<int32_t, int32_t, Wrap<int32_t, uint8_t>>;
  t.round_to[at(DType::i8)] = scalar_op1<int32_t, int32_t, Wrap<int32_t, int8_t>>;
  t.round_to[at(DType::i16)] = scalar_op1<int32_t, int32_t, Wrap<int32_t, int16_t>>;
  t.round_to[at(DType::u16)] = scalar_op1<int32_t, int32_t, Wrap<int32_t, uint16_t>>;
  t.round_to[at(DType::u32)] = scalar_op1<int64_t, int64_t, Wrap<int64_t, uint32_t>>;
  t.round_to[at(DType::f16)] = vector_op<float, F16Round, 1>;
  t.round_to[at(DType::bf16)] = vector_op<float, Bf16Round, 1>;
  t.copy[0] = copy_op<1>;
  t.copy[1] = copy_op<2>;
  t.copy[2] = copy_op<4>;
  t.copy[3] = copy_op<8>;
#define SIZE(i, T)                   \
  t.gather[i] = gather<T>;           \
  t.scatter[i] = scatter<T>;         \
  t.expand_rows[i] = expand_rows<T>; \
  t.expand_columns[i] = expand_columns<T>;
  SIZE(0, uint8_t)
  SIZE(1, uint16_t)
  SIZE(2, uint32_t)
  SIZE(3, uint64_t)
#undef SIZE
  t.stream = stream;
  t.copy_bytes = copy_long;
  t.ramp = ramp;
}

}  // namespace qs::driver::cpu::QS_ISA_NAMESPACE
