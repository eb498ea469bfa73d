// The primitives that are exact or nearly so: arithmetic, comparisons, bits, where, and the pairs
// of instructions that run as one. Included once per instruction set.
#include "quicksilver/driver/cpu/tile_narrow.h"
// (the vectors need the layer above)
#include "quicksilver/driver/cpu/philox.inl"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-trapping-math", "no-math-errno")  // changes no value; lets loops vectorise
#endif

#include <math.h>

#include <type_traits>

#include "quicksilver/driver/cpu/vector_remainder.inl"

namespace qs::driver::cpu::QS_ISA_NAMESPACE {
namespace {

#define VECTOR1(name, expr)         \
  struct name {                     \
    template <class V>              \
    static QS_INLINE V apply(V x) { \
      return (V)(expr);             \
    }                               \
  };
#define VECTOR2(name, expr)              \
  struct name {                          \
    template <class V>                   \
    static QS_INLINE V apply(V x, V y) { \
      return (V)(expr);                  \
    }                                    \
  };
VECTOR1(Neg, -x)
VECTOR1(AbsFloat, abs_of(x))
VECTOR1(AbsInt, x < 0 ? -x : x)
VECTOR1(Square, x* x)
VECTOR1(Copy, x)
VECTOR1(Not, ~x)
VECTOR1(SignFloat, (x > 0 ? V{} + 1 : (x < 0 ? V{} - 1 : V{})))
VECTOR1(SqrtFloat, sqrt_of(x))
VECTOR1(Rsqrt, 1 / sqrt_of(x))
VECTOR1(Reciprocal, 1 / x)
VECTOR1(Floor, rounded<k_down>(x))
VECTOR1(Ceil, rounded<k_up>(x))
VECTOR1(Trunc, rounded<k_to_zero>(x))
VECTOR1(Round, nearest(x))
VECTOR2(Add, x + y)
VECTOR2(Sub, x - y)
VECTOR2(Mul, x* y)
VECTOR2(Div, x / y)
VECTOR2(TruncDivFloat, rounded<k_to_zero>(x / y))
VECTOR2(And, x& y)
VECTOR2(Or, x | y)
VECTOR2(Xor, x ^ y)
VECTOR2(Maximum, larger(x, y))
VECTOR2(Minimum, smaller(x, y))
VECTOR2(MaximumInt, x > y ? x : y)
VECTOR2(MinimumInt, x < y ? x : y)
VECTOR2(FMax, y != y ? x : (x > y ? x : y))
VECTOR2(FMin, y != y ? x : (x < y ? x : y))
VECTOR2(CopySign, with_sign(abs_of(x), y))
#undef VECTOR1
#undef VECTOR2

// ---- one element at a time

void set_error(const TileStep& step, int32_t reason, int64_t value, int64_t bound) {
  const ErrorTarget* target = step.error;
  if (!target || !target->record) return;
  __atomic_fetch_or(&target->record->failed, uint64_t{1} << (target->tag & 63), __ATOMIC_RELAXED);
  // Two threads may race: whoever claims `reason` first fills in the rest; `set` is what others
  // read.
  int32_t none = 0;
  if (__atomic_compare_exchange_n(&target->record->set, &none, 1 + target->tag, false,
                                  __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
    target->record->reason = reason;
    target->record->value = value;
    target->record->bound = bound;
  }
}

enum Division { floor_div, trunc_div, rem_floor, rem_trunc };

/// A vector of divisions through f64 (f32 for 32 bits), whose quotient, rounded down or toward zero,
/// is exact where both numbers are below 2^51 (2^23): one that is no integer is farther from the
/// next one than the rounding reaches. False when some lane is not so.
template <Division what, bool is_signed>
QS_INLINE bool divide_small(vi64 x, vi64 y, vi64& out) {
  constexpr int64_t k_limit = is_signed ? int64_t{1} << 51 : 0;
  constexpr int64_t k_magic = 0x4338000000000000;  // 1.5 * 2^52
  const vu64 high = (((vu64)x + k_limit) | ((vu64)y + k_limit)) >> (is_signed ? 52 : 51);
  if (any((vi64)(high != 0) | (vi64)(y == 0))) return false;
  const vf64 fx = (vf64)(x + k_magic) - 0x1.8p52, fy = (vf64)(y + k_magic) - 0x1.8p52;
  constexpr int k_mode = what == floor_div || what == rem_floor ? k_down : k_to_zero;
  const vf64 quotient = rounded<k_mode>(fx / fy);
  const vf64 result =
      what == rem_floor || what == rem_trunc ? fma(-quotient, fy, fx) : quotient;
  out = (vi64)(result + 0x1.8p52) - k_magic;
  return true;
}
template <Division what, bool>
QS_INLINE bool divide_small(vi32 x, vi32 y, vi32& out) {
  constexpr int32_t k_limit = 1 << 23;
  const vu32 high = (((vu32)x + k_limit) | ((vu32)y + k_limit)) >> 24;
  if (any((vi32)(high != 0) | (vi32)(y == 0))) return false;
  const vf32 fx = to_float(x), fy = to_float(y);
  constexpr int k_mode = what == floor_div || what == rem_floor ? k_down : k_to_zero;
  const vf32 quotient = rounded<k_mode>(fx / fy);
  out = to_int(what == rem_floor || what == rem_trunc ? fma(-quotient, fy, fx) : quotient);
  return true;
}

template <class T, Division what>
QS_INLINE T divide_one(T x, T y, const TileStep& step) {
  T quotient = 0, remainder = 0;
  if (y == 0) {
    set_error(step, 2, static_cast<int64_t>(x), 0);
  } else if (T(-1) < T(0) && y == T(-1)) {
    quotient = static_cast<T>(0 - static_cast<uint64_t>(x));  // INT_MIN / -1 wraps
  } else {
    quotient = static_cast<T>(x / y);
    remainder = static_cast<T>(x % y);
    const bool opposite = T(-1) < T(0) && remainder != 0 && ((remainder < 0) != (y < 0));
    if (opposite && what == floor_div) quotient = static_cast<T>(quotient - 1);
    if (opposite && what == rem_floor) remainder = static_cast<T>(remainder + y);
  }
  return what == floor_div || what == trunc_div ? quotient : remainder;
}

template <class T, Division what>
void divide_int(char* d, const char* a, const char* b, const char*, int64_t n,
                const TileStep& step) {
  constexpr int64_t k_lanes = VecOf<T>::lanes;
  const int64_t stride_a = step.stride[0] ? 1 : 0, stride_b = step.stride[1] ? 1 : 0;
  const T* x = reinterpret_cast<const T*>(a);
  const T* y = reinterpret_cast<const T*>(b);
  T* out = reinterpret_cast<T*>(d);
  for (int64_t i = 0; i < n;) {
    if constexpr (sizeof(T) >= 4) {
      using V = Vec<std::conditional_t<sizeof(T) == 4, int32_t, int64_t>>;
      V result;
      if (i + k_lanes <= n &&
          divide_small<what, (T(-1) < T(0))>(load<V>(x + i * stride_a), load<V>(y + i * stride_b),
                                             result)) {
        store(out + i, result);
        i += k_lanes;
        continue;
      }
    }
    for (const int64_t end = i + k_lanes < n ? i + k_lanes : n; i < end; ++i)
      out[i] = divide_one<T, what>(x[i * stride_a], y[i * stride_b], step);
  }
}

template <class T>
T pow_int(T base, T exponent) {
  using U = uint64_t;
  if (T(-1) < T(0) && exponent < 0) {
    if (base == 1) return 1;
    if (base == T(-1)) return exponent % 2 ? T(-1) : T(1);
    return 0;
  }
  U result = 1, b = static_cast<U>(base), e = static_cast<U>(exponent);
  for (; e; e >>= 1, b *= b)
    if (e & 1) result *= b;
  return static_cast<T>(result);
}

void check_index(char* d, const char* a, const char* b, const char*, int64_t n,
                 const TileStep& step) {
  int64_t* out = reinterpret_cast<int64_t*>(d);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t index = element<int64_t>(a, i, step.stride[0]);
    const int64_t bound = element<int64_t>(b, i, step.stride[1]);
    const bool good = static_cast<uint64_t>(index) < static_cast<uint64_t>(bound < 0 ? 0 : bound);
    if (!good) [[unlikely]]
      set_error(step, 1, index, bound);
    out[i] = good ? index : 0;
  }
}

// ---- loops the compiler vectorises

#define SCALAR1(name, expr)            \
  struct name {                        \
    template <class T>                 \
    static QS_INLINE auto apply(T x) { \
      return expr;                     \
    }                                  \
  };
// `k_real`, `k_whole`: how AVX-512 names them (_CMP_EQ_OQ, _MM_CMPINT_EQ, ...).
#define COMPARE(name, op, real, whole)           \
  struct name {                                  \
    static constexpr int k_real = real;          \
    static constexpr int k_whole = whole;        \
    template <class T>                           \
    static QS_INLINE uint8_t apply(T x, T y) {   \
      return static_cast<uint8_t>(x op y);       \
    }                                            \
    template <class V>                           \
    static QS_INLINE auto lanes(V x, V y) {      \
      return x op y;                             \
    }                                            \
  };
COMPARE(Eq, ==, 0x00, 0)
COMPARE(Ne, !=, 0x04, 4)
COMPARE(Lt, <, 0x11, 1)
COMPARE(Le, <=, 0x12, 2)
COMPARE(Gt, >, 0x1e, 6)
COMPARE(Ge, >=, 0x1d, 5)
#undef COMPARE
SCALAR1(LogicalNot, static_cast<uint8_t>(x == 0))
SCALAR1(SignInt, static_cast<T>((x > 0) - (x < T(0))))
SCALAR1(SignbitInt, static_cast<uint8_t>(x < T(0)))
SCALAR1(Zero, static_cast<uint8_t>(x != x))
SCALAR1(One, static_cast<uint8_t>(x == x))
SCALAR1(IsNan, static_cast<uint8_t>(x != x))
#undef SCALAR1

struct IsInf {
  static QS_INLINE uint8_t apply(uint32_t x) { return (x & 0x7fffffffu) == 0x7f800000u; }
  static QS_INLINE uint8_t apply(uint64_t x) {
    return (x & ~(1ull << 63)) == 0x7ff0000000000000ull;
  }
};
struct IsFinite {
  static QS_INLINE uint8_t apply(uint32_t x) { return (x & 0x7fffffffu) < 0x7f800000u; }
  static QS_INLINE uint8_t apply(uint64_t x) { return (x & ~(1ull << 63)) < 0x7ff0000000000000ull; }
};
struct SignBit {
  static QS_INLINE uint8_t apply(uint32_t x) { return static_cast<uint8_t>(x >> 31); }
  static QS_INLINE uint8_t apply(uint64_t x) { return static_cast<uint8_t>(x >> 63); }
};
template <class T>  // T unsigned for the logical left shift
struct ShiftLeft {
  static QS_INLINE T apply(T x, T y) {
    return y < sizeof(T) * 8 ? x << (y & (sizeof(T) * 8 - 1)) : 0;
  }
};
template <class T>
struct ShiftRight {
  static QS_INLINE T apply(T x, T y) {
    constexpr T k_most = sizeof(T) * 8 - 1;
    return y < 0 || y > k_most ? (T(-1) < T(0) ? x >> k_most : 0) : x >> (y & k_most);
  }
};

#if defined(__AVX512F__)
// With mask registers a group of 64 conditions is one 64-bit word on its way to and from memory.
QS_INLINE void store_conditions(char* d, uint64_t mask) {
  _mm512_storeu_si512(d, _mm512_maskz_set1_epi8(mask, 1));
}
QS_INLINE uint64_t load_conditions(const char* a) {
  const __m512i x = _mm512_loadu_si512(a);
  return _mm512_test_epi8_mask(x, x);
}
/// The lanes of `y` where bits of `mask` are set, else those of `x`.
template <class T>
QS_INLINE Vec<T> chosen(uint64_t mask, Vec<T> x, Vec<T> y) {
  if constexpr (sizeof(T) == 4)
    return (Vec<T>)_mm512_mask_mov_epi32((Int)x, static_cast<__mmask16>(mask), (Int)y);
  else
    return (Vec<T>)_mm512_mask_mov_epi64((Int)x, static_cast<__mmask8>(mask), (Int)y);
}
template <class F, class T>
QS_INLINE uint64_t compared(Vec<T> x, Vec<T> y) {
  if constexpr (std::is_same_v<T, float>) {
    return _mm512_cmp_ps_mask((Float)x, (Float)y, F::k_real);
  } else if constexpr (std::is_same_v<T, double>) {
    return _mm512_cmp_pd_mask((Double)x, (Double)y, F::k_real);
  } else if constexpr (sizeof(T) == 4) {
    return _mm512_cmp_epi32_mask((Int)x, (Int)y, F::k_whole);
  } else if constexpr (T(-1) < T(0)) {
    return _mm512_cmp_epi64_mask((Int)x, (Int)y, F::k_whole);
  } else {
    return _mm512_cmp_epu64_mask((Int)x, (Int)y, F::k_whole);
  }
}
/// d[i] = F of a[i] and b[i], as 0 or 1.
template <class T, class F>
void compare_op(char* d, const char* a, const char* b, const char* c, int64_t n,
                const TileStep& step) {
  constexpr int k_lanes = VecOf<T>::lanes;
  drive<2, 1, sizeof(T), sizeof(T), 1>(
      d, a, b, c, n, step, [](char* d, const char* a, const char* b, const char*) {
        uint64_t mask = 0;
#pragma GCC unroll 8
        for (int k = 0; k < k_group; k += k_lanes) {
          const auto x = load<Vec<T>>(a + k * sizeof(T)), y = load<Vec<T>>(b + k * sizeof(T));
          mask |= compared<F, T>(x, y) << k;
        }
        store_conditions(d, mask);
      });
}
#else
template <class T, class F>
void compare_op(char* d, const char* a, const char* b, const char* c, int64_t n,
                const TileStep& step) {
  scalar_op2<uint8_t, T, F>(d, a, b, c, n, step);
}
#endif

template <class T>
void where_op(char* d, const char* a, const char* b, const char* c, int64_t n,
              const TileStep& step) {
  constexpr int k_size = sizeof(T);
#if defined(__AVX512F__)
  if constexpr (k_size >= 4) {
    drive<3, k_size, 1, k_size, k_size>(
        d, a, b, c, n, step, [](char* d, const char* a, const char* b, const char* c) {
          const uint64_t mask = load_conditions(a);
#pragma GCC unroll 8
          for (int k = 0; k < k_group; k += VecOf<T>::lanes)
            store(d + k * k_size, chosen<T>(mask >> k, load<Vec<T>>(c + k * k_size),
                                            load<Vec<T>>(b + k * k_size)));
        });
    return;
  }
#endif
  drive<3, k_size, 1, k_size, k_size>(d, a, b, c, n, step,
                                      [](char* d, const char* a, const char* b, const char* c) {
                                        T* out = reinterpret_cast<T*>(d);
                                        const uint8_t* cond = reinterpret_cast<const uint8_t*>(a);
                                        const T* x = reinterpret_cast<const T*>(b);
                                        const T* y = reinterpret_cast<const T*>(c);
#pragma GCC ivdep
                                        for (int i = 0; i < k_group; ++i) {
                                          const T p = x[i], q = y[i];
                                          out[i] = cond[i] ? p : q;
                                        }
                                      });
}

void philox(char* d, const char* a, const char* b, const char* c, int64_t n, const TileStep& step) {
  constexpr int k_lanes = VecOf<uint64_t>::lanes;
  const bool one_key = step.stride[1] == 0 && step.stride[2] == 0;
  drive<3, 8, 8, 8, 8>(
      d, a, b, c, n, step, [one_key](char* d, const char* a, const char* b, const char* c) {
        uint64_t* out = reinterpret_cast<uint64_t*>(d);
        const uint64_t* linear = reinterpret_cast<const uint64_t*>(a);
        const uint64_t first = linear[0];
        uint64_t gaps = first & 3;
        for (int i = 0; i < k_group; ++i) gaps |= linear[i] ^ (first + static_cast<uint64_t>(i));
        if (one_key && gaps == 0) {  // the usual case: all four words of each block are wanted
          for (int i = 0; i < k_group / 4; i += k_lanes) {
            vu64 block;
            for (int k = 0; k < k_lanes; ++k) block[k] = first / 4 + static_cast<uint64_t>(i + k);
            const Philox p(block, load<vu64>(b), load<vu64>(c));
            for (int k = 0; k < k_lanes; ++k)
              for (int w = 0; w < 4; ++w) out[4 * (i + k) + w] = p.c[w][k];
          }
          return;
        }
        for (int k = 0; k < k_group * 8; k += k_bytes) {
          const vu64 x = load<vu64>(a + k);
          const Philox p(x >> 2, load<vu64>(b + k), load<vu64>(c + k));
          const vu64 even = (x & 2) != 0 ? p.c[2] : p.c[0], odd = (x & 2) != 0 ? p.c[3] : p.c[1];
          store(d + k, (x & 1) != 0 ? odd : even);
        }
      });
}

// ---- pairs: two instructions, both rounded, in one pass

template <class First, class Second, bool swapped>
struct Pair {
  template <class V>
  static QS_INLINE V apply(V x, V y, V z) {
    const V first = First::apply(x, y);
    return swapped ? Second::apply(z, first) : Second::apply(first, z);
  }
};

template <class First, int first>
void fill_pairs(IsaTable& t) {
  const auto put = [&]<class Second>(Second, int second) {
    const int at = first * 16 + second;
    t.pair[0][at][0] = vector_op<float, Pair<First, Second, false>, 3>;
    t.pair[0][at][1] = vector_op<float, Pair<First, Second, true>, 3>;
    t.pair[1][at][0] = vector_op<double, Pair<First, Second, false>, 3>;
    t.pair[1][at][1] = vector_op<double, Pair<First, Second, true>, 3>;
  };
  put(Add{}, 0);
  put(Sub{}, 1);
  put(Mul{}, 2);
  put(Maximum{}, 3);
  put(Minimum{}, 4);
}

// ---- a comparison and the choice between one of its sides and something else

/// x where it compares so with y, else z; or the other way round.
template <class Compare, bool swapped>
struct Select {
  template <class V>
  static QS_INLINE V apply(V x, V y, V z) {
    return Compare::lanes(x, y) ? (swapped ? z : x) : (swapped ? x : z);
  }
};
void fill_selects(IsaTable& t) {
  const auto put = [&]<class Compare>(Compare, Prim p) {
    const int at = static_cast<int>(p) - static_cast<int>(Prim::eq);
    t.select[0][at][0] = vector_op<float, Select<Compare, false>, 3>;
    t.select[0][at][1] = vector_op<float, Select<Compare, true>, 3>;
    t.select[1][at][0] = vector_op<double, Select<Compare, false>, 3>;
    t.select[1][at][1] = vector_op<double, Select<Compare, true>, 3>;
  };
  put(Eq{}, Prim::eq);
  put(Ne{}, Prim::ne);
  put(Lt{}, Prim::lt);
  put(Le{}, Prim::le);
  put(Gt{}, Prim::gt);
  put(Ge{}, Prim::ge);
}

}  // namespace
}  // namespace qs::driver::cpu::QS_ISA_NAMESPACE

#include "quicksilver/driver/cpu/tile_chain.inl"

namespace qs::driver::cpu::QS_ISA_NAMESPACE {
namespace {

// ---- the table

TileFn& slot(IsaTable& t, Prim p, RegClass r) { return t.op[static_cast<int>(p)][r]; }

template <class T, class U>
void fill_float(IsaTable& t, RegClass r) {
#define ROW(prim, F) slot(t, Prim::prim, r) = vector_op<T, F, info(Prim::prim).arity>;
  ROW(copy, Copy)
  ROW(neg, Neg)
  ROW(abs, AbsFloat)
  ROW(sign, SignFloat) ROW(square, Square) ROW(add, Add) ROW(sub, Sub) ROW(mul, Mul) ROW(div, Div)
      ROW(trunc_div, TruncDivFloat) ROW(maximum, Maximum) ROW(minimum, Minimum) ROW(fmax, FMax)
          ROW(fmin, FMin) ROW(sqrt, SqrtFloat) ROW(rsqrt, Rsqrt) ROW(reciprocal, Reciprocal)
              ROW(floor, Floor) ROW(ceil, Ceil) ROW(trunc, Trunc) ROW(round, Round)
                  ROW(copysign, CopySign)
#undef ROW
                      slot(t, Prim::floor_div, r) = vector_op<T, FloorDivide, 2, true>;
  slot(t, Prim::rem, r) = vector_op<T, Remainder, 2, true>;
  slot(t, Prim::fmod, r) = vector_op<T, Fmod, 2, true>;
  slot(t, Prim::nextafter, r) = vector_op<T, NextAfter, 2>;
#define ROW(prim, F) slot(t, Prim::prim, r) = compare_op<T, F>;
  ROW(eq, Eq)
  ROW(ne, Ne)
  ROW(lt, Lt)
  ROW(le, Le) ROW(gt, Gt) ROW(ge, Ge)
#undef ROW
      slot(t, Prim::isnan, r) = scalar_op1<uint8_t, T, IsNan>;
  slot(t, Prim::isinf, r) = scalar_op1<uint8_t, U, IsInf>;
  slot(t, Prim::isfinite, r) = scalar_op1<uint8_t, U, IsFinite>;
  slot(t, Prim::signbit, r) = scalar_op1<uint8_t, U, SignBit>;
  slot(t, Prim::logical_not, r) = scalar_op1<uint8_t, T, LogicalNot>;
  slot(t, Prim::where, r) = where_op<T>;
}

template <class T, class U>
void fill_int(IsaTable& t, RegClass r) {
  // Wrapping arithmetic is done on unsigned lanes; only what looks at the sign needs T.
#define ROW(prim, V, F) slot(t, Prim::prim, r) = vector_op<V, F, info(Prim::prim).arity>;
  ROW(copy, U, Copy)
  ROW(neg, U, Neg)
  ROW(square, U, Square)
  ROW(add, U, Add) ROW(sub, U, Sub) ROW(mul, U, Mul) ROW(maximum, T, MaximumInt)
      ROW(minimum, T, MinimumInt) ROW(fmax, T, MaximumInt) ROW(fmin, T, MinimumInt)
          ROW(floor, U, Copy) ROW(ceil, U, Copy) ROW(trunc, U, Copy) ROW(round, U, Copy)
              ROW(bit_not, U, Not) ROW(bit_and, U, And) ROW(bit_or, U, Or) ROW(bit_xor, U, Xor)
#undef ROW
                  struct AbsOf {
    static QS_INLINE T apply(T x) {
      return x < T(0) ? static_cast<T>(U(0) - static_cast<U>(x)) : x;
    }
  };
  slot(t, Prim::abs, r) = scalar_op1<T, T, AbsOf>;
  slot(t, Prim::sign, r) = scalar_op1<T, T, SignInt>;
  slot(t, Prim::floor_div, r) = divide_int<T, floor_div>;
  slot(t, Prim::trunc_div, r) = divide_int<T, trunc_div>;
  slot(t, Prim::rem, r) = divide_int<T, rem_floor>;
  slot(t, Prim::fmod, r) = divide_int<T, rem_trunc>;
  slot(t, Prim::pow, r) = exact2<T, T, pow_int<T>>;
#define ROW(prim, F) slot(t, Prim::prim, r) = compare_op<T, F>;
  ROW(eq, Eq)
  ROW(ne, Ne)
  ROW(lt, Lt)
  ROW(le, Le) ROW(gt, Gt) ROW(ge, Ge)
#undef ROW
      slot(t, Prim::isnan, r) = scalar_op1<uint8_t, T, Zero>;
  slot(t, Prim::isinf, r) = scalar_op1<uint8_t, T, Zero>;
  slot(t, Prim::isfinite, r) = scalar_op1<uint8_t, T, One>;
  slot(t, Prim::signbit, r) = scalar_op1<uint8_t, T, SignbitInt>;
  slot(t, Prim::logical_not, r) = scalar_op1<uint8_t, T, LogicalNot>;
  slot(t, Prim::shift_left, r) = scalar_op2<U, U, ShiftLeft<U>>;
  slot(t, Prim::shift_right, r) = scalar_op2<T, T, ShiftRight<T>>;
  slot(t, Prim::where, r) = where_op<T>;
}

struct XorOne {
  template <class V>
  static QS_INLINE V apply(V x) {
    return x ^ 1;
  }
};

void fill_bool(IsaTable& t) {
  using T = uint8_t;
#define ROW(prim, F) slot(t, Prim::prim, r_bool) = vector_op<T, F, info(Prim::prim).arity>;
  ROW(copy, Copy)
  ROW(neg, Copy)
  ROW(abs, Copy)
  ROW(sign, Copy) ROW(square, Copy) ROW(add, Or) ROW(sub, Xor) ROW(mul, And) ROW(maximum, Or)
      ROW(minimum, And) ROW(fmax, Or) ROW(fmin, And) ROW(floor, Copy) ROW(ceil, Copy)
          ROW(trunc, Copy) ROW(round, Copy) ROW(bit_and, And) ROW(bit_or, Or) ROW(bit_xor, Xor)
              ROW(ne, Xor) ROW(bit_not, XorOne) ROW(logical_not, XorOne)
#undef ROW
#define ROW(prim, F) slot(t, Prim::prim, r_bool) = scalar_op2<T, T, F>;
                  ROW(eq, Eq) ROW(lt, Lt) ROW(le, Le) ROW(gt, Gt) ROW(ge, Ge)
#undef ROW
                      slot(t, Prim::floor_div, r_bool) = divide_int<T, floor_div>;
  slot(t, Prim::trunc_div, r_bool) = divide_int<T, trunc_div>;
  slot(t, Prim::rem, r_bool) = divide_int<T, rem_floor>;
  slot(t, Prim::fmod, r_bool) = divide_int<T, rem_trunc>;
  slot(t, Prim::pow, r_bool) = scalar_op2<T, T, Ge>;  // only False ** True is False
  slot(t, Prim::isnan, r_bool) = scalar_op1<T, T, Zero>;
  slot(t, Prim::isinf, r_bool) = scalar_op1<T, T, Zero>;
  slot(t, Prim::isfinite, r_bool) = scalar_op1<T, T, One>;
  slot(t, Prim::signbit, r_bool) = scalar_op1<T, T, Zero>;
  slot(t, Prim::where, r_bool) = where_op<T>;
}

}  // namespace

void fill_ops(IsaTable& t) {
  fill_links(t);
  fill_float<float, uint32_t>(t, r_f32);
  fill_float<double, uint64_t>(t, r_f64);
  fill_int<int32_t, uint32_t>(t, r_i32);
  fill_int<int64_t, uint64_t>(t, r_i64);
  fill_int<uint64_t, uint64_t>(t, r_u64);
  fill_bool(t);
  slot(t, Prim::check_index, r_i64) = check_index;
  slot(t, Prim::philox, r_i64) = philox;
  fill_selects(t);
  fill_pairs<Add, 0>(t);
  fill_pairs<Sub, 1>(t);
  fill_pairs<Mul, 2>(t);
  fill_pairs<Maximum, 3>(t);
}

}  // namespace qs::driver::cpu::QS_ISA_NAMESPACE
