// Text: positions of the non-zero elements; behind walk.h. Pointers and ints: kernels/nonzero.cpp.
//
// Blocks of QS_BLOCK elements are counted, the counts summed up, and each block filled from the
// number of positions before it.
//
// steps  elements, blocks; of count_blocks 1 when counts go to the first operand, of fill_blocks 1
//        when the third operand has the sums. Else they lie in scratch.
//
// Options: QS_BYTES of an element (16: two words), QS_BLOCK; QS_FLOATS of an element, how many
// floating numbers it is made of, which are zero when their sign is all that is set.

#if QS_BYTES == 1
typedef u8 element;
#elif QS_BYTES == 2
typedef u16 element;
#elif QS_BYTES == 4 || (QS_BYTES == 8 && QS_FLOATS == 2)
typedef u32 element;
#else
typedef u64 element;
#endif
#define QS_MAGNITUDE ((element)((element) ~(element)0 >> (QS_FLOATS > 0 ? 1 : 0)))

QS_FUNCTION bool is_set(QS_DEVICE const element* src, i64 at) {
#if QS_FLOATS == 2
  return ((src[2 * at] | src[2 * at + 1]) & QS_MAGNITUDE) != 0;
#else
  return (src[at] & QS_MAGNITUDE) != 0;
#endif
}

/// The sum of x over the threads of the group with a smaller index; `total` over all.
QS_FUNCTION u32 sum_before(u32 x, QS_GROUP u32* sums, u32 local, QS_THREAD u32& total) {
  const u32 here = qs_simd_prefix_sum(x);
  if (local % QS_SIMD_WIDTH == QS_SIMD_WIDTH - 1) sums[local / QS_SIMD_WIDTH] = here;
  QS_BARRIER();
  u32 before = 0;
  total = 0;
  for (u32 i = 0; i < QS_THREADS / QS_SIMD_WIDTH; ++i) {
    if (i < local / QS_SIMD_WIDTH) before += sums[i];
    total += sums[i];
  }
  QS_BARRIER();
  return before + here - x;
}

QS_KERNEL(count_blocks) {
  QS_BEGIN;
  QS_SHARED(u32, sums, QS_THREADS / QS_SIMD_WIDTH);
  const i64 rank = qs.ints[6];
  for (i64 block = QS_AT; block < qs.steps[1]; block += QS_GROUPS) {
    u32 count = 0, total = 0;
    for (i64 i = QS_LOCAL; i < QS_BLOCK; i += QS_THREADS) {
      const i64 point = block * QS_BLOCK + i;
      if (point < qs.steps[0])
        count += is_set(QS_OPERAND(const element, 1),
                        offset_of(qs.ints + 7, qs.ints + 7 + rank, rank, point));
    }
    sum_before(count, sums, QS_LOCAL, total);
    if (QS_LOCAL == 0) {
      if (qs.steps[2])
        QS_OPERAND(i64, 0)[block * qs.ints[4]] = total;
      else
        QS_SCRATCH(i64, 0)[block] = total;
    }
  }
}

/// One group; the counts become the sums before them.
QS_KERNEL(sum_blocks) {
  QS_BEGIN;
  QS_SHARED(u32, sums, QS_THREADS / QS_SIMD_WIDTH);
  if (QS_AT != 0) return;
  i64 before = 0;
  for (i64 first = 0; first < qs.steps[1]; first += QS_THREADS) {
    const i64 block = first + QS_LOCAL;
    const u32 count = block < qs.steps[1] ? (u32)QS_SCRATCH(const i64, 0)[block] : 0;
    u32 total = 0;
    const u32 here = sum_before(count, sums, QS_LOCAL, total);
    if (block < qs.steps[1]) QS_SCRATCH(i64, 0)[block] = before + here;
    before += total;
  }
}

QS_KERNEL(fill_blocks) {
  QS_BEGIN;
  QS_SHARED(u32, sums, QS_THREADS / QS_SIMD_WIDTH);
  const i64 rank = qs.ints[6];
  for (i64 block = QS_AT; block < qs.steps[1]; block += QS_GROUPS) {
    i64 row = qs.steps[2] ? QS_OPERAND(const i64, 2)[block] : QS_SCRATCH(const i64, 0)[block];
    for (i64 first = 0; first < QS_BLOCK; first += QS_THREADS) {
      const i64 point = block * QS_BLOCK + first + QS_LOCAL;
      const bool set =
          point < qs.steps[0] && is_set(QS_OPERAND(const element, 1),
                                        offset_of(qs.ints + 7, qs.ints + 7 + rank, rank, point));
      u32 total = 0;
      const i64 mine = row + sum_before(set, sums, QS_LOCAL, total);
      row += total;
      if (!set || mine >= qs.ints[3]) continue;
      i64 left = point;
      for (i64 d = rank - 1; d >= 0; --d) {
        const i64 rest = quotient(left, qs.ints[7 + d]);
        QS_OPERAND(i64, 0)[mine * qs.ints[4] + d * qs.ints[5]] = left - rest * qs.ints[7 + d];
        left = rest;
      }
    }
  }
}
