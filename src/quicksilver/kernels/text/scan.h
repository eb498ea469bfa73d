// Text: running sums, products and extremes; behind walk.h and number.h, and for extremes order.h.
// Pointers and ints: kernels/scan.cpp. steps: rows.
//
// Integers and extremes are associative, so any order gives the host's bits: a tile is scanned in
// parallel and carried on. A sum of floating numbers is not: one thread goes through each row in
// order, as on the host, while the group moves the elements to and from its memory. So it is as
// fast as memory where there are rows for all groups, and slow for a single long row.
//
// scan_rows takes one row a thread, for short rows and rows side by side; scan_tiles one row a
// group.
//
// Options: QS_SCAN 0 sums and products of integers (kept in 64 bits), 1 of real numbers (also the
// logarithm of a sum of exponentials), 2 of complex ones, 3 extremes.

#define QS_TILE (QS_THREADS * QS_ITEMS)

#if QS_SCAN == 0
typedef u64 first_part;
typedef u32 second_part;  // unused, as in the next
#elif QS_SCAN == 1
typedef real first_part;
typedef u32 second_part;
#elif QS_SCAN == 2
typedef real first_part;  // real and imaginary
typedef real second_part;
#else
typedef order_key first_part;  // a key and where it stands
typedef i64 second_part;
#endif
#define QS_SECOND (QS_SCAN >= 2)

/// What is carried along a row; in group memory its parts are arrays of their own.
struct carried {
  first_part first;
  second_part second;
};
QS_FUNCTION carried carried_at(QS_GROUP const first_part* firsts,
                               QS_GROUP const second_part* seconds, u32 at) {
  carried x;
  x.first = firsts[at];
  x.second = QS_SECOND ? seconds[at] : 0;
  return x;
}
QS_FUNCTION void put_carried(QS_GROUP first_part* firsts, QS_GROUP second_part* seconds, u32 at,
                             carried x) {
  firsts[at] = x.first;
  if (QS_SECOND) seconds[at] = x.second;
}

QS_FUNCTION carried combined(i64 op, carried a, carried b) {
#if QS_SCAN == 0
  a.first = op == 0 ? a.first + b.first : a.first * b.first;
#elif QS_SCAN == 1
  if (op == 4) {
    const real low = fmin(a.first, b.first), high = fmax(a.first, b.first);
    if (a.first != a.first || b.first != b.first)
      a.first = a.first + b.first;
    else  // infinities of one sign
      a.first = low == high && high - high != 0 ? high : high + log1p(exp(low - high));
    return a;
  }
  a.first = op == 0 ? a.first + b.first : a.first * b.first;
#elif QS_SCAN == 2
  if (op == 0) {
    a.first += b.first;
    a.second += b.second;
    return a;
  }
  const real re = a.first * b.first - a.second * b.second;
  a.second = a.first * b.second + a.second * b.first;
  a.first = re;
#else
  (void)op;  // the later of equals; the key of a NaN is the last one either way
  if (b.first >= a.first) return b;
#endif
  return a;
}

/// Element i of the row that begins at `start`.
QS_FUNCTION carried taken(QS_CALL, i64 start, i64 i) {
  carried x;
  x.second = 0;
  const i64 at = start + i * qs.ints[6], dtype = qs.ints[1];
#if QS_SCAN == 0
  QS_DEVICE const u8* src = qs.pointers[1];
  switch (dtype) {
    case 2:
      x.first = (u64)(i64)((QS_DEVICE const i8*)src)[at];
      break;
    case 3:
      x.first = (u64)(i64)((QS_DEVICE const i16*)src)[at];
      break;
    case 4:
      x.first = (u64)(i64)((QS_DEVICE const i32*)src)[at];
      break;
    case 5:
    case 8:
      x.first = ((QS_DEVICE const u64*)src)[at];
      break;
    case 6:
      x.first = ((QS_DEVICE const u16*)src)[at];
      break;
    case 7:
      x.first = ((QS_DEVICE const u32*)src)[at];
      break;
    default:
      x.first = src[at];
  }
#elif QS_SCAN == 1
  x.first = load_real(qs.pointers[1], dtype, at);
#elif QS_SCAN == 2
  x.first = load_real(qs.pointers[1], dtype, at);
  x.second = 0;
  if (dtype == 13) x.second = (real)QS_OPERAND(const f32, 1)[2 * at + 1];
#if QS_HAS_F64
  if (dtype == 14) x.second = QS_OPERAND(const f64, 1)[2 * at + 1];
#endif
#else
  const order_key key = key_of(QS_OPERAND(const element, 1)[at]);
  // Of the smallest first the complement is the largest, but for NaNs.
  const bool complement = qs.ints[0] == 3 && !(QS_ORDER == 2 && key == QS_LAST_KEY);
  x.first = complement ? (order_key)~key : key;
  x.second = i;
  (void)dtype;
#endif
  return x;
}

/// What belongs at place i of the row.
QS_FUNCTION void give(QS_CALL, i64 out_start, i64 src_start, i64 index_start, i64 i, carried x) {
  const i64 at = out_start + i * qs.ints[5], dtype = qs.ints[2];
  QS_DEVICE u8* out = qs.pointers[0];
#if QS_SCAN == 0
  switch (dtype) {
    case 0:
      out[at] = x.first != 0;
      break;
    case 3:
    case 6:
      ((QS_DEVICE u16*)out)[at] = (u16)x.first;
      break;
    case 4:
    case 7:
      ((QS_DEVICE u32*)out)[at] = (u32)x.first;
      break;
    case 5:
    case 8:
      ((QS_DEVICE u64*)out)[at] = x.first;
      break;
    default:
      out[at] = (u8)x.first;
  }
  (void)src_start, (void)index_start;
#elif QS_SCAN == 1
  store_real(out, dtype, at, x.first);
  (void)src_start, (void)index_start;
#elif QS_SCAN == 2
  if (dtype == 13) {
    ((QS_DEVICE f32*)out)[2 * at] = (f32)x.first;
    ((QS_DEVICE f32*)out)[2 * at + 1] = (f32)x.second;
  }
#if QS_HAS_F64
  if (dtype == 14) {
    ((QS_DEVICE f64*)out)[2 * at] = x.first;
    ((QS_DEVICE f64*)out)[2 * at + 1] = x.second;
  }
#endif
  (void)src_start, (void)index_start;
#else
  ((QS_DEVICE element*)out)[at] = QS_OPERAND(const element, 1)[src_start + x.second * qs.ints[6]];
  (void)dtype;
  if (qs.ints[3]) QS_OPERAND(i64, 2)[index_start + i * qs.ints[7]] = x.second;
#endif
}

QS_FUNCTION i64 row_start(QS_CALL, i64 operand, i64 row) {
  const i64 rank = qs.ints[8];
  return offset_of(qs.ints + 9, qs.ints + 9 + rank * (1 + operand), rank, row);
}

QS_KERNEL(scan_rows) {
  QS_BEGIN;
  for (i64 row = (i64)QS_AT * QS_THREADS + QS_LOCAL; row < qs.steps[0];
       row += (i64)QS_GROUPS * QS_THREADS) {
    const i64 out = row_start(qs, 0, row), src = row_start(qs, 1, row);
    const i64 indices = row_start(qs, 2, row);
    carried sum = taken(qs, src, 0);
    give(qs, out, src, indices, 0, sum);
    for (i64 i = 1; i < qs.ints[4]; ++i) {
      sum = combined(qs.ints[0], sum, taken(qs, src, i));
      give(qs, out, src, indices, i, sum);
    }
  }
}

QS_KERNEL(scan_tiles) {
  QS_BEGIN;
  QS_SHARED(first_part, firsts, QS_TILE);
  QS_SHARED(second_part, seconds, QS_TILE);
  QS_SHARED(first_part, end_firsts, QS_THREADS);
  QS_SHARED(second_part, end_seconds, QS_THREADS);
  const i64 op = qs.ints[0], length = qs.ints[4];
  for (i64 row = QS_AT; row < qs.steps[0]; row += QS_GROUPS) {
    const i64 out = row_start(qs, 0, row), src = row_start(qs, 1, row);
    const i64 indices = row_start(qs, 2, row);
    carried before = taken(qs, src, 0);  // of the tiles so far; unused in the first
    for (i64 begin = 0; begin < length; begin += QS_TILE) {
      const u32 count = length - begin < QS_TILE ? (u32)(length - begin) : QS_TILE;
      for (u32 s = QS_LOCAL; s < count; s += QS_THREADS)
        put_carried(firsts, seconds, s, taken(qs, src, begin + s));
      QS_BARRIER();
      // In order: of associative ops each thread its neighbours, of others one thread all.
      const u32 share = QS_SCAN == 1 || QS_SCAN == 2 ? QS_TILE : QS_ITEMS;
      const u32 mine = QS_LOCAL * share, past = mine + share < count ? mine + share : count;
      if (mine < count) {
        carried sum = carried_at(firsts, seconds, mine);
        if (mine == 0 && begin > 0) sum = combined(op, before, sum);
        put_carried(firsts, seconds, mine, sum);
        for (u32 s = mine + 1; s < past; ++s) {
          sum = combined(op, sum, carried_at(firsts, seconds, s));
          put_carried(firsts, seconds, s, sum);
        }
        put_carried(end_firsts, end_seconds, QS_LOCAL, sum);
      }
      QS_BARRIER();
      // The threads' last ones, then what lies before each thread.
      const u32 used = (count + share - 1) / share;
      for (u32 step = 1; step < used; step *= 2) {
        const bool takes = QS_LOCAL >= step && QS_LOCAL < used;
        carried sum = carried_at(end_firsts, end_seconds, QS_LOCAL < used ? QS_LOCAL : 0);
        if (takes) sum = combined(op, carried_at(end_firsts, end_seconds, QS_LOCAL - step), sum);
        QS_BARRIER();
        if (takes) put_carried(end_firsts, end_seconds, QS_LOCAL, sum);
        QS_BARRIER();
      }
      if (mine > 0 && mine < count) {
        const carried left = carried_at(end_firsts, end_seconds, QS_LOCAL - 1);
        for (u32 s = mine; s < past; ++s)
          put_carried(firsts, seconds, s, combined(op, left, carried_at(firsts, seconds, s)));
      }
      QS_BARRIER();
      for (u32 s = QS_LOCAL; s < count; s += QS_THREADS)
        give(qs, out, src, indices, begin + s, carried_at(firsts, seconds, s));
      before = carried_at(firsts, seconds, count - 1);
      QS_BARRIER();
    }
  }
}
