// Text: scatter; behind walk.h, number.h and index.h, ahead of merge_sort.h, whose keys are the
// destinations. Pointers, ints, and what free and serial dimensions are: kernels/scatter.cpp.
//
// scatter_walk gives each free point a thread, which walks the serial points in order: for many
// free points, or few serial ones. Else the serial points are sorted by destination, stably, and
// scatter_segments gives each destination and free point one thread, which takes the destination's
// sources in order. Where an index depends on the free point as well, all points are sorted. Every
// way takes the sources of an element in the order of the host, so the bits agree, and no float is
// added by an atomic. Half precision is kept in f32 until a destination's last source; walking
// cannot do that, as it meets a destination again later.
//
// steps  scatter_walk: free points, serial points. scatter_segments: those, half, sorted slots,
// slots
//        of a half, and 1 when all points were sorted
// Option: QS_DTYPE, numbered as in number.h.

#if QS_DTYPE == 0
typedef u8 stored;
typedef u8 number;
#elif QS_DTYPE == 1
typedef u8 stored;
typedef u8 number;
#elif QS_DTYPE == 2
typedef i8 stored;
typedef i8 number;
#elif QS_DTYPE == 3
typedef i16 stored;
typedef i16 number;
#elif QS_DTYPE == 4
typedef i32 stored;
typedef i32 number;
#elif QS_DTYPE == 5
typedef i64 stored;
typedef i64 number;
#elif QS_DTYPE == 6
typedef u16 stored;
typedef u16 number;
#elif QS_DTYPE == 7
typedef u32 stored;
typedef u32 number;
#elif QS_DTYPE == 8
typedef u64 stored;
typedef u64 number;
#elif QS_DTYPE == 9 || QS_DTYPE == 10
typedef u16 stored;
typedef f32 number;
#elif QS_DTYPE == 11
typedef f32 stored;
typedef f32 number;
#elif QS_DTYPE == 12
typedef f64 stored;
typedef f64 number;
#elif QS_DTYPE == 13
typedef f32 stored;
#else
typedef f64 stored;
#endif

#if QS_DTYPE >= 13
struct number {
  stored re, im;
};
QS_FUNCTION number number_at(QS_DEVICE const stored* p, i64 at) {
  number x;
  x.re = p[2 * at];
  x.im = p[2 * at + 1];
  return x;
}
QS_FUNCTION void put_number(QS_DEVICE stored* p, i64 at, number x) {
  p[2 * at] = x.re;
  p[2 * at + 1] = x.im;
}
#else
QS_FUNCTION number number_at(QS_DEVICE const stored* p, i64 at) {
#if QS_DTYPE == 9
  return f32_of_f16(p[at]);
#elif QS_DTYPE == 10
  return f32_of_bf16(p[at]);
#else
  return p[at];
#endif
}
QS_FUNCTION void put_number(QS_DEVICE stored* p, i64 at, number x) {
#if QS_DTYPE == 9
  p[at] = f16_of_f32(x);
#elif QS_DTYPE == 10
  p[at] = bf16_of_f32(x);
#else
  p[at] = x;
#endif
}
#endif
QS_FUNCTION void copy_number(QS_DEVICE stored* to, i64 at, QS_DEVICE const stored* from, i64 i) {
  const i64 parts = QS_DTYPE >= 13 ? 2 : 1;
  for (i64 w = 0; w < parts; ++w) to[at * parts + w] = from[i * parts + w];
}

/// mode: 1 add, 2 multiply, 3 maximum, 4 minimum.
QS_FUNCTION number updated(i64 mode, number old, number x) {
#if QS_DTYPE >= 13
  if (mode == 1) {
    old.re += x.re;
    old.im += x.im;
    return old;
  }
  number product;
  product.re = old.re * x.re - old.im * x.im;
  product.im = old.re * x.im + old.im * x.re;
  return product;
#elif QS_DTYPE == 0
  return mode == 1 || mode == 3 ? old | x : old & x;
#else
#if QS_DTYPE <= 8  // wraps
  if (mode == 1) return (number)((u64)old + (u64)x);
  if (mode == 2) return (number)((u64)old * (u64)x);
#else
  if (mode == 1) return old + x;
  if (mode == 2) return old * x;
  if (old != old) return old;
#endif
  if (mode == 3) return old > x ? old : x;
  return old < x ? old : x;
#endif
}

struct ScatterFields {
  i64 mode, count, serial_rank, free_rank;
  QS_CONSTANT const i64* serial_shape;
  QS_CONSTANT const i64* free_shape;
  QS_CONSTANT const i64* dst_free;
  QS_CONSTANT const i64* values_serial;
  QS_CONSTANT const i64* values_free;
  QS_CONSTANT const i64* index;  // of each: dtype, bound, step, strides serial and free
};
QS_FUNCTION ScatterFields fields_of(QS_CALL) {
  ScatterFields p;
  p.mode = qs.ints[0];
  p.count = qs.ints[1];
  p.serial_rank = qs.ints[2];
  p.free_rank = qs.ints[3];
  p.serial_shape = qs.ints + 4;
  p.free_shape = p.serial_shape + p.serial_rank;
  p.dst_free = p.free_shape + p.free_rank;
  p.values_serial = p.dst_free + p.free_rank;
  p.values_free = p.values_serial + p.serial_rank;
  p.index = p.values_free + p.free_rank;
  return p;
}

/// What the indices add to dst's address at a point; `good` becomes false when one is out of range.
QS_FUNCTION i64 indexed_offset(QS_CALL, QS_THREAD const ScatterFields& p, i64 serial, i64 free,
                               QS_THREAD bool& good) {
  i64 offset = 0;
  QS_CONSTANT const i64* index = p.index;
  for (i64 j = 0; j < p.count; ++j, index += 3 + p.serial_rank + p.free_rank) {
    const i64 at = offset_of(p.serial_shape, index + 3, p.serial_rank, serial) +
                   offset_of(p.free_shape, index + 3 + p.serial_rank, p.free_rank, free);
    const i64 i = wrapped_index(qs, qs.pointers[2 + j], index[0], index[1], at);
    good = good && i >= 0;
    offset += i * index[2];
  }
  return offset;
}

QS_KERNEL(scatter_walk) {
  QS_BEGIN;
  const ScatterFields p = fields_of(qs);
  for (i64 free = (i64)QS_AT * QS_THREADS + QS_LOCAL; free < qs.steps[0];
       free += (i64)QS_GROUPS * QS_THREADS) {
    QS_DEVICE stored* dst = QS_OPERAND(stored, 0);
    QS_DEVICE const stored* values = QS_OPERAND(const stored, 1);
    const i64 free_to = offset_of(p.free_shape, p.dst_free, p.free_rank, free);
    const i64 free_from = offset_of(p.free_shape, p.values_free, p.free_rank, free);
    for (i64 serial = 0; serial < qs.steps[1]; ++serial) {
      bool good = true;
      const i64 to = free_to + indexed_offset(qs, p, serial, free, good);
      if (!good) continue;
      const i64 from =
          free_from + offset_of(p.serial_shape, p.values_serial, p.serial_rank, serial);
      if (p.mode == 0)
        copy_number(dst, to, values, from);
      else
        put_number(dst, to, updated(p.mode, number_at(dst, to), number_at(values, from)));
    }
  }
}

// ---- sorted by destination: element i is serial point i, or i / F at free point i % F when steps
// of the sort say that there are F rows' worth of free points in its first row (source_row).

typedef u64 order_key;
#define QS_LAST_KEY (~(u64)0)
#define QS_MIDDLE_KEY ((u64)1 << 63)  // of offset 0

QS_FUNCTION bool index_varies(QS_THREAD const ScatterFields& p) {
  QS_CONSTANT const i64* index = p.index;
  for (i64 j = 0; j < p.count; ++j, index += 3 + p.serial_rank + p.free_rank)
    for (i64 d = 0; d < p.free_rank; ++d)
      if (index[3 + p.serial_rank + d] != 0) return true;
  return false;
}

/// The free points that are sorted as well.
QS_FUNCTION i64 source_row(QS_CALL, i64) {
  const ScatterFields p = fields_of(qs);
  return index_varies(p) ? points_of(p.free_shape, p.free_rank) : 1;
}

QS_FUNCTION order_key source_key(QS_CALL, i64 all, i64 i) {
  const ScatterFields p = fields_of(qs);
  const i64 serial = quotient(i, all), free = i - serial * all;
  bool good = true;
  i64 offset = indexed_offset(qs, p, serial, free, good);
  if (all > 1) offset += offset_of(p.free_shape, p.dst_free, p.free_rank, free);
  return good ? (u64)offset ^ QS_MIDDLE_KEY : QS_LAST_KEY;
}

QS_FUNCTION void store_place(QS_CALL, i64, i64, i64) { (void)qs; }  // they stay in scratch
