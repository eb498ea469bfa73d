// Quotients and remainders of floating numbers, exact as C's fmod is. Included by tile_ops.inl.
namespace qs::driver::cpu::QS_ISA_NAMESPACE {
namespace {

/// C's fmod where `sure` holds: quotients below 2^52, for which q b and its distance from a are
/// exact under fma, and a q that the division has rounded up is mended by one b.
QS_INLINE vf64 fmod_near(vf64 x, vf64 y, vi64& sure) {
  const vf64 a = abs_of(x), b = abs_of(y), quotient = a / b;
  vf64 r = fma(-rounded<k_to_zero>(quotient), b, a);
  r = r < 0.0 ? r + b : r;
  r = r >= b ? r - b : r;
  r = b == __builtin_inf() ? a : r;
  sure = (vi64)(quotient < 0x1p52) & (vi64)(a < __builtin_inf());
  return with_sign(r, x);
}
QS_INLINE vf64 fmod_of(vf64 x, vf64 y) {
  vi64 sure;
  vf64 r = fmod_near(x, y, sure);
  if (any(~sure)) [[unlikely]]
    for (int i = 0; i < VecOf<double>::lanes; ++i)
      if (!sure[i]) r[i] = ::fmod(x[i], y[i]);
  return r;
}
QS_INLINE vf32 fmod_of(vf32 x, vf32 y) {
  return narrow(fmod_of(widen_low(x), widen_low(y)), fmod_of(widen_high(x), widen_high(y)));
}

struct Fmod {
  template <class V>
  static QS_INLINE V apply(V x, V y) {
    return fmod_of(x, y);
  }
};
/// Python's %: the sign of the divisor.
struct Remainder {
  template <class V>
  static QS_INLINE V apply(V x, V y) {
    const V mod = fmod_of(x, y);
    const auto other_side = (mod != 0) & ((y < 0) != (mod < 0));
    return other_side ? mod + y : mod;
  }
};
/// Python's //.
struct FloorDivide {
  template <class V>
  static QS_INLINE V apply(V x, V y) {
    const V mod = fmod_of(x, y), plain = x / y;
    const auto other_side = (mod != 0) & ((y < 0) != (mod < 0));
    V quotient = (x - mod) / y;
    quotient = other_side ? quotient - 1 : quotient;
    V down = rounded<k_down>(quotient);
    down = quotient - down > V{} + 0.5f ? down + 1 : down;
    down = quotient == 0 ? with_sign(V{}, plain) : down;
    return y == 0 ? plain : down;
  }
};

/// The next number after x toward y: numbers of one sign are ordered as their bits are.
template <class V, class Unsigned>
QS_INLINE V next_after(V x, V y) {
  const Unsigned bits = (Unsigned)x;
  const auto away = (x < y) == (x > 0);
  const V moved = (V)(away ? bits + 1 : bits - 1);
  const V from_zero = with_sign((V)(Unsigned{} + 1), y);
  const V next = x == 0 ? from_zero : moved;
  return x == y ? y : ((x == x) & (y == y) ? next : x + y);
}
struct NextAfter {
  static QS_INLINE vf32 apply(vf32 x, vf32 y) { return next_after<vf32, vu32>(x, y); }
  static QS_INLINE vf64 apply(vf64 x, vf64 y) { return next_after<vf64, vu64>(x, y); }
};

}  // namespace
}  // namespace qs::driver::cpu::QS_ISA_NAMESPACE
