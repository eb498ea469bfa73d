// Text: gather; behind walk.h, index.h and bytes.h. Pointers and ints: kernels/gather.cpp. steps:
// points.

QS_KERNEL(gather_points) {
  QS_BEGIN;
  const i64 rank = qs.ints[1], count = qs.ints[2];
  QS_CONSTANT const i64* shape = qs.ints + 3;
  QS_CONSTANT const i64* strides = shape + rank;
  for (i64 point = (i64)QS_AT * QS_THREADS + QS_LOCAL; point < qs.steps[0];
       point += (i64)QS_GROUPS * QS_THREADS) {
    i64 from = offset_of(shape, strides + rank, rank, point);
    bool good = true;
    QS_CONSTANT const i64* index = strides + 2 * rank;  // dtype, bound, step, strides
    for (i64 j = 0; j < count; ++j, index += 3 + rank) {
      const i64 i = wrapped_index(qs, qs.pointers[2 + j], index[0], index[1],
                                  offset_of(shape, index + 3, rank, point));
      good = good && i >= 0;
      from += i * index[2];
    }
    const i64 to = offset_of(shape, strides, rank, point);
    QS_DEVICE element* out = QS_OPERAND(element, 0) + to * QS_WORDS;
    QS_DEVICE const element* src = QS_OPERAND(const element, 1) + from * QS_WORDS;
    for (i64 w = 0; w < QS_WORDS; ++w) out[w] = good ? src[w] : (element)0;
  }
}
