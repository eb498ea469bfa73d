// Text: where values belong in sorted rows; behind walk.h and order.h. Pointers and ints:
// kernels/search.cpp. steps: points.

QS_KERNEL(search_points) {
  QS_BEGIN;
  const bool right = qs.ints[0] != 0;
  const i64 length = qs.ints[1], sorted_step = qs.ints[2], rank = qs.ints[3];
  QS_CONSTANT const i64* shape = qs.ints + 4;
  QS_CONSTANT const i64* strides = shape + rank;
  for (i64 point = (i64)QS_AT * QS_THREADS + QS_LOCAL; point < qs.steps[0];
       point += (i64)QS_GROUPS * QS_THREADS) {
    QS_DEVICE const element* row =
        QS_OPERAND(const element, 1) + offset_of(shape, strides + rank, rank, point);
    const order_key key =
        key_of(QS_OPERAND(const element, 2)[offset_of(shape, strides + 2 * rank, rank, point)]);
    i64 first = 0, count = length;
    while (count > 0) {
      const i64 half_count = count / 2;
      const order_key middle = key_of(row[(first + half_count) * sorted_step]);
      const bool beyond = right ? !(key < middle) : middle < key;
      first = beyond ? first + half_count + 1 : first;
      count = beyond ? count - half_count - 1 : half_count;
    }
    QS_OPERAND(i64, 0)[offset_of(shape, strides, rank, point)] = first;
  }
}
