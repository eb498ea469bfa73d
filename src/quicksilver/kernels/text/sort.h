// Text: sort, topk and kth value; ahead of merge_sort.h. Pointers and ints: kernels/sort.cpp.

QS_FUNCTION i64 row_offset(QS_CALL, i64 operand, i64 row) {
  const i64 rank = qs.ints[10];
  return offset_of(qs.ints + 11, qs.ints + 11 + rank * (1 + operand), rank, row);
}

QS_FUNCTION i64 source_row(QS_CALL, i64 row) { return row_offset(qs, 0, row); }

QS_FUNCTION order_key source_key(QS_CALL, i64 start, i64 i) {
  const order_key key = key_of(QS_OPERAND(const element, 0)[start + i * qs.ints[6]]);
  return qs.ints[1] ? (order_key)~key : key;
}

QS_FUNCTION void store_place(QS_CALL, i64 row, i64 rank, i64 i) {
  const i64 at = rank - qs.ints[9];  // within the ranks that are wanted
  if (at < 0 || at >= qs.ints[5]) return;
  const bool with_values = qs.ints[2] != 0;
  if (with_values) {
    QS_DEVICE element* values = QS_OPERAND(element, 1) + row_offset(qs, 1, row);
    values[at * qs.ints[7]] = QS_OPERAND(const element, 0)[row_offset(qs, 0, row) + i * qs.ints[6]];
  }
  if (qs.ints[3]) {
    QS_DEVICE i64* indices = QS_OPERAND(i64, with_values ? 2 : 1) + row_offset(qs, 2, row);
    indices[at * qs.ints[8]] = i;
  }
}
