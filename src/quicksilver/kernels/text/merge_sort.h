// Text part: a stable sort of many rows by key, each key with the place it came from.
//
// A tile of QS_TILE slots is sorted in group memory: each thread sorts QS_ITEMS neighbours, then
// runs are merged in pairs, every thread finding its part of the merged run by a search along a
// diagonal (merge path). Rows shorter than a tile lie several to a tile, each in `width` slots (a
// power of two); slots behind a row's end hold the last key, and being behind they stay behind.
// Longer rows are sorted tile by tile into scratch, and merge_runs doubles the runs; a tile of the
// merged run is again found by merge path, so all groups have the same work. Of equal keys the left
// run's comes first.
//
// When only the first `keep` of a row are wanted, each tile passes on no more, and what they pass
// on is a shorter row for the next round.
//
// A family says where keys come from and where places go:
//   i64 source_row(QS_CALL, i64 row)                       what source_key wants to know of a row
//   order_key source_key(QS_CALL, i64 source_row, i64 i)   the key of its element i
//   void store_place(QS_CALL, i64 row, i64 rank, i64 i)    element i of the row has this rank
//
// steps  from (0: the source, else half 1 or 2 of scratch), to (0: results, or a half), rows,
// length of
//        a row, slots of a half, then width and keep of merge_tiles, run of merge_runs
// Half h of scratch: its slots' keys, then its slots' places.
//
// Options: QS_ITEMS; QS_WIDE 1 when rows are longer than 2^32.

#define QS_TILE (QS_THREADS * QS_ITEMS)

#if QS_WIDE
typedef u64 order_place;
#else
typedef u32 order_place;
#endif

QS_FUNCTION QS_DEVICE order_key* half_keys(QS_CALL, i64 side, i64 slots) {
  return QS_SCRATCH(order_key, (side - 1) * slots * (i64)(sizeof(order_key) + sizeof(order_place)));
}
QS_FUNCTION QS_DEVICE order_place* half_places(QS_CALL, i64 side, i64 slots) {
  return (QS_DEVICE order_place*)(half_keys(qs, side, slots) + slots);
}

/// How many of the first `diagonal` items of a and b merged come from a.
template <class Keys, class Count>
QS_FUNCTION Count merge_path(Keys a, Count a_count, Keys b, Count b_count, Count diagonal) {
  Count low = diagonal > b_count ? diagonal - b_count : 0;
  Count high = diagonal < a_count ? diagonal : a_count;
  while (low < high) {
    const Count middle = low + (high - low) / 2;
    if (b[diagonal - 1 - middle] < a[middle])
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

/// QS_ITEMS neighbours of two runs merged in group memory, from `diagonal` on, into a thread's
/// memory.
QS_FUNCTION void merge_items(QS_GROUP const order_key* keys, QS_GROUP const order_place* places,
                             u32 a_count, u32 b_count, u32 diagonal, QS_THREAD order_key* key,
                             QS_THREAD order_place* place) {
  QS_GROUP const order_key* b = keys + a_count;
  u32 i = merge_path(keys, a_count, b, b_count, diagonal), j = diagonal - i;
  QS_UNROLL
  for (u32 s = 0; s < QS_ITEMS; ++s) {
    const bool end = i >= a_count && j >= b_count;
    const bool left = j >= b_count || (i < a_count && !(b[j] < keys[i]));
    const u32 from = end ? 0 : left ? i++ : a_count + j++;
    key[s] = keys[from];
    place[s] = places[from];
  }
}

/// Sorts the tile's runs of `width` slots.
QS_FUNCTION void sort_tile(QS_GROUP order_key* keys, QS_GROUP order_place* places, u32 width,
                           u32 local) {
  order_key key[QS_ITEMS];
  order_place place[QS_ITEMS];
  const u32 mine = local * QS_ITEMS;
  QS_UNROLL
  for (u32 s = 0; s < QS_ITEMS; ++s) {
    key[s] = keys[mine + s];
    place[s] = places[mine + s];
  }
  // Neighbours change places only when they must: stable, and the same steps for every thread.
  QS_UNROLL
  for (u32 round = 0; round < QS_ITEMS; ++round) QS_UNROLL
  for (u32 s = round & 1; s + 1 < QS_ITEMS; s += 2)
    if (key[s + 1] < key[s]) {
      const order_key other_key = key[s];
      const order_place other_place = place[s];
      key[s] = key[s + 1];
      place[s] = place[s + 1];
      key[s + 1] = other_key;
      place[s + 1] = other_place;
    }
  for (u32 run = QS_ITEMS;; run *= 2) {
    QS_UNROLL
    for (u32 s = 0; s < QS_ITEMS; ++s) {
      keys[mine + s] = key[s];
      places[mine + s] = place[s];
    }
    QS_BARRIER();
    if (run >= width) return;
    const u32 pair = mine & ~(2 * run - 1);
    merge_items(keys + pair, places + pair, run, run, mine - pair, key, place);
    QS_BARRIER();
  }
}

QS_KERNEL(merge_tiles) {
  QS_BEGIN;
  QS_SHARED(order_key, keys, QS_TILE);
  QS_SHARED(order_place, places, QS_TILE);
  const i64 from = qs.steps[0], to = qs.steps[1], rows = qs.steps[2], length = qs.steps[3];
  const i64 slots = qs.steps[4], keep = qs.steps[6];
  const u32 width = (u32)qs.steps[5];
  const i64 row_tiles = (length + QS_TILE - 1) / QS_TILE, tile_rows = QS_TILE / width;
  const i64 tiles = row_tiles > 1 ? rows * row_tiles : (rows + tile_rows - 1) / tile_rows;
  const i64 last_count = length - (row_tiles - 1) * QS_TILE;
  const i64 row_keep = (row_tiles - 1) * keep + (last_count < keep ? last_count : keep);
  for (i64 tile = QS_AT; tile < tiles; tile += QS_GROUPS) {
    const i64 first_row = row_tiles > 1 ? quotient(tile, row_tiles) : tile * tile_rows;
    const i64 row_tile = row_tiles > 1 ? tile - first_row * row_tiles : 0;
    i64 seen_row = -1, start = 0;
    for (u32 s = QS_LOCAL; s < QS_TILE; s += QS_THREADS) {
      const i64 row = first_row + s / width, i = row_tile * QS_TILE + s % width;
      order_key key = QS_LAST_KEY;
      order_place place = 0;
      if (row < rows && i < length) {
        if (from == 0) {
          if (row != seen_row) start = source_row(qs, row);
          seen_row = row;
          key = source_key(qs, start, i);
          place = (order_place)i;
        } else {
          key = half_keys(qs, from, slots)[row * length + i];
          place = half_places(qs, from, slots)[row * length + i];
        }
      }
      keys[s] = key;
      places[s] = place;
    }
    QS_BARRIER();
    sort_tile(keys, places, width, QS_LOCAL);
    const i64 count = row_tile == row_tiles - 1 ? last_count : QS_TILE;
    for (u32 s = QS_LOCAL; s < QS_TILE; s += QS_THREADS) {
      const i64 row = first_row + s / width, rank = s % width;
      if (row >= rows || rank >= count || rank >= keep) continue;
      if (to == 0) {
        store_place(qs, row, rank, (i64)places[s]);
      } else {
        half_keys(qs, to, slots)[row * row_keep + row_tile * keep + rank] = keys[s];
        half_places(qs, to, slots)[row * row_keep + row_tile * keep + rank] = places[s];
      }
    }
    QS_BARRIER();
  }
}

QS_KERNEL(merge_runs) {
  QS_BEGIN;
  QS_SHARED(order_key, keys, QS_TILE);
  QS_SHARED(order_place, places, QS_TILE);
  QS_SHARED(i64, ends, 2);
  const i64 from = qs.steps[0], to = qs.steps[1], rows = qs.steps[2], length = qs.steps[3];
  const i64 slots = qs.steps[4], run = qs.steps[7];
  const i64 row_tiles = (length + QS_TILE - 1) / QS_TILE;
  for (i64 tile = QS_AT; tile < rows * row_tiles; tile += QS_GROUPS) {
    const i64 row = quotient(tile, row_tiles), rank = (tile - row * row_tiles) * QS_TILE;
    const i64 pair = quotient(rank, 2 * run) * (2 * run), left = length - pair;
    const i64 a_count = left < run ? left : run;
    const i64 b_count = left - a_count < run ? left - a_count : run;
    const i64 count = length - rank < QS_TILE ? length - rank : QS_TILE;
    QS_DEVICE const order_key* row_keys = half_keys(qs, from, slots) + row * length + pair;
    QS_DEVICE const order_place* row_places = half_places(qs, from, slots) + row * length + pair;
    if (QS_LOCAL < 2)
      ends[QS_LOCAL] = merge_path(row_keys, a_count, row_keys + a_count, b_count,
                                  rank - pair + (QS_LOCAL == 0 ? 0 : count));
    QS_BARRIER();
    const i64 a_first = ends[0], b_first = rank - pair - a_first;
    const u32 a_here = (u32)(ends[1] - a_first);
    for (u32 s = QS_LOCAL; s < count; s += QS_THREADS) {
      const i64 i = s < a_here ? a_first + s : a_count + b_first + (s - a_here);
      keys[s] = row_keys[i];
      places[s] = row_places[i];
    }
    QS_BARRIER();
    order_key key[QS_ITEMS];
    order_place place[QS_ITEMS];
    const u32 mine = QS_LOCAL * QS_ITEMS;
    if (mine < count) merge_items(keys, places, a_here, (u32)count - a_here, mine, key, place);
    QS_BARRIER();
    QS_UNROLL
    for (u32 s = 0; s < QS_ITEMS; ++s)
      if (mine + s < count) {
        keys[mine + s] = key[s];
        places[mine + s] = place[s];
      }
    QS_BARRIER();
    for (u32 s = QS_LOCAL; s < count; s += QS_THREADS) {
      if (to == 0) {
        store_place(qs, row, rank + s, (i64)places[s]);
      } else {
        half_keys(qs, to, slots)[row * length + rank + s] = keys[s];
        half_places(qs, to, slots)[row * length + rank + s] = places[s];
      }
    }
    QS_BARRIER();
  }
}
