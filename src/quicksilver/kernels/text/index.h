// Text part: integer indices of any dtype; behind walk.h.

/// An index as it is given; `dtype` as driver code numbers it (core/dtype.h).
QS_FUNCTION i64 load_index(QS_DEVICE const u8* base, i64 dtype, i64 at) {
  switch (dtype) {
    case 5:  // i64
      return ((QS_DEVICE const i64*)base)[at];
    case 4:
      return ((QS_DEVICE const i32*)base)[at];
    case 3:
      return ((QS_DEVICE const i16*)base)[at];
    case 2:
      return ((QS_DEVICE const i8*)base)[at];
    default:
      return base[at];
  }
}

/// The index at `at` within [0, bound); -1 when it is out of range, which is reported. One below 0
/// counts from the end, unless ~bound is given.
QS_FUNCTION i64 wrapped_index(QS_CALL, QS_DEVICE const u8* base, i64 dtype, i64 bound, i64 at) {
  const i64 wrap = bound < 0 ? 0 : bound;
  if (bound < 0) bound = ~bound;
  const i64 given = load_index(base, dtype, at);
  const i64 index = given < 0 ? given + wrap : given;
  if ((u64)index < (u64)bound) return index;
  report(qs, 1, given, bound);
  return -1;
}
