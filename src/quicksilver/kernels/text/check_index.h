// Text: reports indices that are out of range; behind walk.h and index.h. Pointers and ints:
// kernels/gather.cpp. steps: points.

QS_KERNEL(check_points) {
  QS_BEGIN;
  const i64 rank = qs.ints[2];
  for (i64 point = (i64)QS_AT * QS_THREADS + QS_LOCAL; point < qs.steps[0];
       point += (i64)QS_GROUPS * QS_THREADS)
    wrapped_index(qs, qs.pointers[0], qs.ints[0], qs.ints[1],
                  offset_of(qs.ints + 3, qs.ints + 3 + rank, rank, point));
}
