// Text part: from a point of a row-major space to addresses; indices; the error record.

/// a / b of numbers that are not negative; most fit 32 bits, where GPUs divide much faster.
QS_FUNCTION i64 quotient(i64 a, i64 b) {
  return (u64)(a | b) >> 32 == 0 ? (i64)((u32)a / (u32)b) : a / b;
}

/// The offset of point `index` of the row-major space `shape`; rank 0 is one point at 0.
QS_FUNCTION i64 offset_of(QS_CONSTANT const i64* shape, QS_CONSTANT const i64* strides, i64 rank,
                          i64 index) {
  if (rank == 0) return 0;
  i64 offset = 0;
  for (i64 d = rank - 1; d > 0; --d) {
    const i64 rest = quotient(index, shape[d]);
    offset += (index - rest * shape[d]) * strides[d];
    index = rest;
  }
  return offset + index * strides[0];
}

QS_FUNCTION i64 points_of(QS_CONSTANT const i64* shape, i64 rank) {
  i64 points = 1;
  for (i64 d = 0; d < rank; ++d) points *= shape[d];
  return points;
}

/// The first report stays; the bits of all are kept.
QS_FUNCTION void report(QS_CALL, i32 reason, i64 value, i64 bound) {
  qs_atomic_or(qs.error->failed + (qs.tag >> 5 & 1), (u32)1 << (qs.tag & 31));
  if (!qs_atomic_claim(&qs.error->set, 1 + qs.tag)) return;
  qs.error->reason = reason;
  qs.error->value = value;
  qs.error->bound = bound;
}
