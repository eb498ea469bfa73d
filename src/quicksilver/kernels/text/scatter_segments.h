// Text: the second half of scatter.h, behind merge_sort.h.

QS_KERNEL(scatter_segments) {
  QS_BEGIN;
  const ScatterFields p = fields_of(qs);
  const i64 all = source_row(qs, 0), free_points = all > 1 ? 1 : qs.steps[0];
  const i64 sorted = qs.steps[3];
  QS_DEVICE const order_key* keys = half_keys(qs, qs.steps[2], qs.steps[4]);
  QS_DEVICE const order_place* places = half_places(qs, qs.steps[2], qs.steps[4]);
  for (i64 point = (i64)QS_AT * QS_THREADS + QS_LOCAL; point < sorted * free_points;
       point += (i64)QS_GROUPS * QS_THREADS) {
    const i64 first = quotient(point, free_points);
    const order_key key = keys[first];
    if (key == QS_LAST_KEY || (first > 0 && keys[first - 1] == key)) continue;
    const i64 free = point - first * free_points;
    QS_DEVICE stored* dst = QS_OPERAND(stored, 0);
    QS_DEVICE const stored* values = QS_OPERAND(const stored, 1);
    i64 to = (i64)(key ^ QS_MIDDLE_KEY);
    if (all == 1) to += offset_of(p.free_shape, p.dst_free, p.free_rank, free);
    number sum = number_at(dst, to);
    i64 from = 0;
    for (i64 slot = first; slot < sorted && keys[slot] == key; ++slot) {
      const i64 place = (i64)places[slot], serial = quotient(place, all);
      from = offset_of(p.serial_shape, p.values_serial, p.serial_rank, serial) +
             offset_of(p.free_shape, p.values_free, p.free_rank,
                       all > 1 ? place - serial * all : free);
      if (p.mode != 0) sum = updated(p.mode, sum, number_at(values, from));
    }
    if (p.mode == 0)
      copy_number(dst, to, values, from);
    else
      put_number(dst, to, sum);
  }
}
