// The work on one block of a convolution (conv_table.h), compiled once for each instruction set:
// the including file defines QS_CONV_NAMESPACE and k_vector_bytes. The multiplications themselves
// are the matrix product's (gemm_table.h).

namespace qs::driver::cpu::QS_CONV_NAMESPACE {
namespace {

template <class T, class S>
[[gnu::always_inline]] inline T widen(S x) {
  if constexpr (std::is_same_v<S, F16>)
    return f16_to_f32(x.bits);
  else if constexpr (std::is_same_v<S, BF16>)
    return bf16_to_f32(x.bits);
  else
    return x;
}
template <class S, class T>
[[gnu::always_inline]] inline S narrow(T x) {
  if constexpr (std::is_same_v<S, F16>)
    return S{f32_to_f16(x)};
  else if constexpr (std::is_same_v<S, BF16>)
    return S{f32_to_bf16(x)};
  else
    return x;
}

/// A vector of T, and one of whole numbers as long.
template <class T>
struct LanesOf {
  typedef T type __attribute__((vector_size(k_vector_bytes)));
};
typedef int64_t Bits __attribute__((vector_size(k_vector_bytes)));
template <class V>
[[gnu::always_inline]] inline V both(V x, V mask) {
  return (V)((Bits)x & (Bits)mask);
}

/// Copies `count` elements in whole vectors: up to a vector is read and written behind them.
template <class T>
[[gnu::always_inline]] inline void copy_over(T* dst, const T* src, int64_t count) {
  constexpr int lanes = k_vector_bytes / sizeof(T);
  for (int64_t i = 0; i < count; i += lanes) __builtin_memcpy(dst + i, src + i, k_vector_bytes);
}

/// The geometry of one block.
struct Local {
  int64_t grid[3], length[3], origin[3], out_start[3];
  ConvSpace space;
};

Local local_of(const ConvPass& p, const ConvBlock& b) {
  Local l;
  for (int d = 0; d < 3; ++d) {
    const ConvDim& dim = p.dims[d];
    const int64_t s0 = d == p.slab ? b.s0 : 0;
    l.grid[d] = d == p.slab ? b.s1 - b.s0 : dim.grid;
    l.length[d] = l.grid[d] + dim.reach;
    l.origin[d] = dim.origin + s0 * dim.step;
    l.out_start[d] = dim.out_start + s0 * dim.out_step;
  }
  l.space = conv_space(p, b);
  return l;
}

void tap_offsets(const ConvPass& p, const Local& l, int64_t* offsets) {
  for (int64_t t = 0; t < p.tap_count; ++t) {
    const ConvTap& tap = p.taps[t];
    int64_t at = 0;
    for (int d = 0; d < 3; ++d) at = at * p.dims[d].phases + tap.phase[d];
    for (int d = 0; d < 3; ++d) at = at * l.length[d] + tap.shift[d];
    offsets[t] = at;
  }
}

/// Channels [q0, q1) of the block's items as the taps want them.
template <class T, class S>
void stage(T* dst, const ConvPass& p, const Local& l, const ConvBlock& b, const S* source,
           int64_t q0, int64_t q1) {
  const ConvDim &dd = p.dims[0], &dh = p.dims[1], &dw = p.dims[2];
  const int64_t unit = dw.step * dw.source_stride;
  const auto row = [&](int64_t n, int64_t q, int fd, int fh, int fw, int64_t i, int64_t j) {
    const int64_t at = (((fd * dh.phases + fh) * dw.phases + fw) * l.length[0] + i) * l.length[1] + j;
    T* to = dst + (q - q0) * l.space.stage_line + (n - b.n0) * l.space.stage + at * l.length[2];
    const int64_t d = i * dd.step + dd.phase[fd] + l.origin[0];
    const int64_t h = j * dh.step + dh.phase[fh] + l.origin[1];
    const int64_t width = l.length[2];
    if (d < 0 || d >= dd.source || h < 0 || h >= dh.source) {
      for (int64_t k = 0; k < width; ++k) to[k] = T(0);
      return;
    }
    const int64_t from = dw.phase[fw] + l.origin[2];
    int64_t low = from < 0 ? (-from + dw.step - 1) / dw.step : 0;
    int64_t high = dw.source > from ? (dw.source - from + dw.step - 1) / dw.step : 0;
    if (high > width) high = width;
    if (low > high) low = high;
    const S* src = source + n * p.source_item + q * p.source_channel + d * dd.source_stride +
                   h * dh.source_stride + from * dw.source_stride;
    for (int64_t k = 0; k < low; ++k) to[k] = T(0);
    if (unit == 1) {
      for (int64_t k = low; k < high; ++k) to[k] = widen<T, S>(src[k]);
    } else {
      for (int64_t k = low; k < high; ++k) to[k] = widen<T, S>(src[k * unit]);
    }
    for (int64_t k = high; k < width; ++k) to[k] = T(0);
  };
  const auto rows_of = [&](auto&& body) {
    for (int fd = 0; fd < dd.phases; ++fd)
      for (int fh = 0; fh < dh.phases; ++fh)
        for (int fw = 0; fw < dw.phases; ++fw)
          for (int64_t i = 0; i < l.length[0]; ++i)
            for (int64_t j = 0; j < l.length[1]; ++j) body(fd, fh, fw, i, j);
  };
  // Where channels lie side by side, a row of all channels is read before the next row.
  if (p.source_channel == 1 && dw.source_stride != 1) {
    for (int64_t n = b.n0; n < b.n1; ++n)
      rows_of([&](int fd, int fh, int fw, int64_t i, int64_t j) {
        for (int64_t q = q0; q < q1; ++q) row(n, q, fd, fh, fw, i, j);
      });
  } else {
    for (int64_t n = b.n0; n < b.n1; ++n)
      for (int64_t q = q0; q < q1; ++q)
        rows_of([&](int fd, int fh, int fw, int64_t i, int64_t j) { row(n, q, fd, fh, fw, i, j); });
  }
  // Whole vectors are read at the end.
  T* end = dst + (q1 - q0) * l.space.stage_line;
  for (int k = 0; k < k_vector_bytes / static_cast<int>(sizeof(T)); ++k) end[k] = T(0);
}

/// A stretch of a panel: `count` results from staged position `at` on.
struct Segment {
  int64_t at, count;
};

/// Cuts the block's results into panels of `width` and those into segments; `first[i]` is the first
/// segment of panel i. Returns how many segments there are.
int64_t cut_segments(const Local& l, const ConvBlock& b, int width, Segment* out, int64_t* first) {
  int64_t count = 0, panels = 0, room = 0;
  for (int64_t n = 0; n < b.n1 - b.n0; ++n)
    for (int64_t i = 0; i < l.grid[0]; ++i)
      for (int64_t j = 0; j < l.grid[1]; ++j) {
        int64_t at = n * l.space.stage + (i * l.length[1] + j) * l.length[2], left = l.grid[2];
        while (left > 0) {
          if (room == 0) {
            first[panels++] = count;
            room = width;
          }
          const int64_t take = left < room ? left : room;
          out[count++] = {at, take};
          at += take;
          left -= take;
          room -= take;
        }
      }
  first[panels] = count;
  return count;
}

/// The panels of B: lines (q, t), columns the block's results.
template <class T>
void pack_positions(T* dst, const T* staged, const ConvPass& p, const Local& l, int64_t channels,
                    const int64_t* offsets, const Segment* segments, const int64_t* first,
                    int width) {
  const int64_t panels = (l.space.columns + width - 1) / width;
  for (int64_t panel = 0; panel < panels; ++panel) {
    const Segment* s0 = segments + first[panel];
    const Segment* s1 = segments + first[panel + 1];
    if (s1 == s0 + 1 && s0->count == width) {
      for (int64_t q = 0; q < channels; ++q) {
        const T* from = staged + q * l.space.stage_line + s0->at;
        for (int64_t t = 0; t < p.tap_count; ++t, dst += width)
          __builtin_memcpy(dst, from + offsets[t], 2 * k_vector_bytes);
      }
      continue;
    }
    for (int64_t q = 0; q < channels; ++q) {
      const T* channel = staged + q * l.space.stage_line;
      for (int64_t t = 0; t < p.tap_count; ++t, dst += width) {
        const T* from = channel + offsets[t];
        T* to = dst;
        for (const Segment* s = s0; s < s1; ++s) {
          copy_over(to, from + s->at, s->count);
          to += s->count;
        }
      }
    }
  }
}

/// The block's results into place: `c` holds [row][column], a row of positions every `row_columns`.
template <class T, class S>
void store(const ConvPass& p, const Local& l, const ConvBlock& b, const T* c, int64_t row_columns,
           S* out, const S* bias) {
  const int64_t unit = p.dims[2].out_stride * p.dims[2].out_step;
  int64_t runs[2] = {l.grid[0], l.grid[1]}, run = l.grid[2];
  // Rows that follow each other in memory as their results do are one run.
  for (int d = 1; d >= 0 && row_columns == l.grid[2]; --d) {
    const bool inner_whole = d == 1 || runs[1] == 1;
    if (!inner_whole || (runs[d] > 1 && p.dims[d].out_stride * p.dims[d].out_step != unit * run))
      break;
    run *= runs[d];
    runs[d] = 1;
  }
  const int64_t step = row_columns == l.grid[2] ? run : row_columns;
  S* base = out;
  for (int d = 0; d < 3; ++d) base += l.out_start[d] * p.dims[d].out_stride;
  const auto each_run = [&](auto&& body) {
    int64_t column = 0;
    for (int64_t n = b.n0; n < b.n1; ++n)
      for (int64_t i = 0; i < runs[0]; ++i)
        for (int64_t j = 0; j < runs[1]; ++j, column += step)
          body(base + n * p.out_item + i * p.dims[0].out_stride * p.dims[0].out_step +
                   j * p.dims[1].out_stride * p.dims[1].out_step,
               column);
  };
  if (p.out_row == 1 && unit != 1) {  // channels side by side: a few of them for all positions
    constexpr int64_t few = 16;
    for (int64_t r0 = 0; r0 < p.rows; r0 += few) {
      const int64_t r1 = r0 + few < p.rows ? r0 + few : p.rows;
      each_run([&](S* to, int64_t column) {
        for (int64_t k = 0; k < run; ++k)
          for (int64_t r = r0; r < r1; ++r) {
            T v = c[r * l.space.pitch + column + k];
            if (bias) v += widen<T, S>(bias[r * p.bias_stride]);
            to[k * unit + r] = narrow<S, T>(v);
          }
      });
    }
    return;
  }
  for (int64_t r = 0; r < p.rows; ++r) {
    const T* line = c + r * l.space.pitch;
    const T add = bias ? widen<T, S>(bias[r * p.bias_stride]) : T(0);
    each_run([&](S* to, int64_t column) {
      S* at = to + r * p.out_row;
      const T* from = line + column;
      if (unit == 1 && !bias) {
        for (int64_t k = 0; k < run; ++k) at[k] = narrow<S, T>(from[k]);
      } else if (unit == 1) {
        for (int64_t k = 0; k < run; ++k) at[k] = narrow<S, T>(from[k] + add);
      } else {
        for (int64_t k = 0; k < run; ++k)
          at[k * unit] = narrow<S, T>(bias ? from[k] + add : from[k]);
      }
    });
  }
}

template <class T, class S>
void pack_weights(const ConvPack& g, GemmType type) {
  const ConvPass& p = *g.pass;
  const S* w = static_cast<const S*>(g.weights) + g.q0 * p.weight_channel;
  const int64_t k = (g.q1 - g.q0) * p.tap_count;
  bool dense = p.weight_channel == p.tap_count;
  for (int64_t t = 0; t < p.tap_count; ++t) dense = dense && p.taps[t].weight == t;
  if (dense) {
    g.gemm->pack_rows[type](g.packed, w, p.weight_row, 1, p.rows, k);
    return;
  }
  T* to = static_cast<T*>(g.packed);
  for (int64_t i = 0; i < p.rows;) {
    const int h = g.gemm->panel_rows[type](p.rows - i);
    for (int64_t q = 0; q < g.q1 - g.q0; ++q) {
      const S* channel = w + q * p.weight_channel + i * p.weight_row;
      for (int64_t t = 0; t < p.tap_count; ++t, to += h) {
        const S* from = channel + p.taps[t].weight;
        for (int r = 0; r < h; ++r) to[r] = widen<T, S>(from[r * p.weight_row]);
      }
    }
    i += h;
  }
}

/// Bytes before and sizes of what a block keeps in scratch.
template <class T>
struct Parts {
  int64_t* offsets;
  int64_t* first;
  Segment* segments;
  T* staged;
  T* second;

  Parts(char* scratch, const ConvPass& p, const Local& l, int64_t channels) {
    offsets = reinterpret_cast<int64_t*>(scratch);
    first = offsets + p.tap_count;
    segments = reinterpret_cast<Segment*>(first + l.space.panels);
    staged = reinterpret_cast<T*>(scratch + l.space.tables);
    second = staged + channels * l.space.stage_line + 64;
  }
};

/// Results row by row from the staged source, without laying anything out.
template <class T, class S>
void gather_direct(const ConvGather& g, GemmType type) {
  constexpr int lanes = k_vector_bytes / sizeof(T);
  const ConvPass& p = *g.pass;
  const Local l = local_of(p, g.block);
  const int64_t step = p.block_channels < p.channels ? p.block_channels : p.channels;
  int64_t* taps = reinterpret_cast<int64_t*>(g.scratch);
  int64_t* offsets = taps + p.tap_count;
  int64_t* starts = offsets + p.block_channels * p.tap_count;
  T* staged = reinterpret_cast<T*>(g.scratch + l.space.tables);
  T* c = staged + step * l.space.stage_line + 64;
  tap_offsets(p, l, taps);
  for (int64_t q = 0; q < step; ++q)
    for (int64_t t = 0; t < p.tap_count; ++t)
      offsets[q * p.tap_count + t] = q * l.space.stage_line + taps[t];
  const int64_t row_columns = conv_round_up(l.grid[2], lanes);
  GemmShifted m;
  for (int64_t n = 0; n < g.block.n1 - g.block.n0; ++n)
    for (int64_t i = 0; i < l.grid[0]; ++i)
      for (int64_t j = 0; j < l.grid[1]; ++j)
        for (int64_t k = 0; k < row_columns; k += lanes)
          starts[m.vectors++] = n * l.space.stage + (i * l.length[1] + j) * l.length[2] + k;
  m.b = staged;
  m.c = c;
  m.c_row = l.space.pitch;
  m.m = p.rows;
  m.starts = starts;
  m.offsets = offsets;
  for (int64_t q0 = 0; q0 < p.channels; q0 += step) {
    const int64_t q1 = q0 + step < p.channels ? q0 + step : p.channels;
    stage<T, S>(staged, p, l, g.block, static_cast<const S*>(g.source), q0, q1);
    m.a = static_cast<const T*>(g.packed) + p.packed_at(q0);
    m.k = (q1 - q0) * p.tap_count;
    m.add = q0 > 0;
    g.gemm->shifted[type](m);
  }
  store<T, S>(p, l, g.block, c, row_columns, static_cast<S*>(g.out),
              static_cast<const S*>(g.bias));
}

template <class T, class S>
void gather(const ConvGather& g, GemmType type) {
  if (g.pass->direct) return gather_direct<T, S>(g, type);
  const ConvPass& p = *g.pass;
  const Local l = local_of(p, g.block);
  const int64_t step = p.block_channels < p.channels ? p.block_channels : p.channels;
  const int width = g.gemm->panel_width[type];
  const int64_t across = conv_round_up(l.space.columns, width);
  Parts<T> at(g.scratch, p, l, step);
  T* panels = at.second;
  T* c = panels + across * step * p.tap_count + 64;
  tap_offsets(p, l, at.offsets);
  cut_segments(l, g.block, width, at.segments, at.first);
  GemmPanels m;
  m.c = c;
  m.c_row = l.space.pitch;
  m.m = p.rows;
  m.n = l.space.columns;
  if (p.channels == 0 || p.tap_count == 0)
    for (int64_t i = 0; i < p.rows * l.space.pitch; ++i) c[i] = T(0);
  for (int64_t q0 = 0; p.tap_count > 0 && q0 < p.channels; q0 += step) {
    const int64_t q1 = q0 + step < p.channels ? q0 + step : p.channels;
    stage<T, S>(at.staged, p, l, g.block, static_cast<const S*>(g.source), q0, q1);
    pack_positions(panels, at.staged, p, l, q1 - q0, at.offsets, at.segments, at.first, width);
    m.a = static_cast<const T*>(g.packed) + p.packed_at(q0);
    m.b = panels;
    m.k = (q1 - q0) * p.tap_count;
    m.add = q0 > 0;
    g.gemm->panels[type](m);
  }
  store<T, S>(p, l, g.block, c, l.grid[2], static_cast<S*>(g.out),
              static_cast<const S*>(g.bias));
}

/// y of the block as panels of B: lines the positions, columns the rows of y.
template <class T, class S>
void pack_rows_of_y(T* dst, const ConvWeightPiece& g, const Local& l, const ConvBlock& b, int width,
                    GemmType type) {
  const ConvPass& p = *g.pass;
  const int64_t unit = p.dims[2].out_stride;
  int64_t runs[2] = {l.grid[0], l.grid[1]}, run = l.grid[2];
  for (int d = 1; d >= 0; --d) {
    const bool inner_whole = d == 1 || runs[1] == 1;
    if (!inner_whole || (runs[d] > 1 && p.dims[d].out_stride != unit * run)) break;
    run *= runs[d];
    runs[d] = 1;
  }
  const S* base = static_cast<const S*>(g.y);
  for (int d = 0; d < 3; ++d) base += l.out_start[d] * p.dims[d].out_stride;
  for (int64_t r = 0; r < p.rows; r += width) {
    const int h = static_cast<int>(p.rows - r < width ? p.rows - r : width);
    T* to = dst + r * l.space.columns;
    for (int64_t n = b.n0; n < b.n1; ++n)
      for (int64_t i = 0; i < runs[0]; ++i)
        for (int64_t j = 0; j < runs[1]; ++j, to += run * width)
          g.gemm->pack_columns[type](to,
                                     base + n * p.out_item + r * p.out_row +
                                         i * p.dims[0].out_stride + j * p.dims[1].out_stride,
                                     p.out_row, unit, h, run);
  }
}

template <class T, class S>
void weight(const ConvWeightPiece& g, GemmType type) {
  const ConvPass& p = *g.pass;
  const int width = g.gemm->panel_width[type];
  const GemmType compute = sizeof(T) == sizeof(S) ? type : g_f32;
  if (g.block_count == 0) {  // an empty batch
    T* acc = static_cast<T*>(g.acc);
    for (int64_t i = 0; i < (g.q1 - g.q0) * p.tap_count * g.acc_row; ++i) acc[i] = T(0);
  }
  for (int64_t i = 0; i < g.block_count; ++i) {
    const ConvBlock& b = g.blocks[i];
    const Local l = local_of(p, b);
    Parts<T> at(g.scratch, p, l, g.q1 - g.q0);
    T* panels = at.second;
    T* rows = panels + conv_round_up(p.rows, width) * l.space.columns + 64;
    T* turned = rows + 16 * l.space.pitch + 64;
    tap_offsets(p, l, at.offsets);
    const int64_t segments = cut_segments(l, b, 1 << 30, at.segments, at.first);
    stage<T, S>(at.staged, p, l, b, static_cast<const S*>(g.source), g.q0, g.q1);
    pack_rows_of_y<T, S>(panels, g, l, b, width, type);
    GemmPanels m;
    m.b = panels;
    m.n = p.rows;
    m.k = l.space.columns;
    m.c_row = g.acc_row;
    m.add = i > 0;
    const int64_t lines = (g.q1 - g.q0) * p.tap_count;
    for (int64_t k = 0; k < lines;) {
      const int h = g.gemm->panel_rows[compute](lines - k);
      for (int r = 0; r < h; ++r) {
        const T* from = at.staged + (k + r) / p.tap_count * l.space.stage_line +
                        at.offsets[(k + r) % p.tap_count];
        T* to = rows + r * l.space.pitch;
        for (int64_t s = 0; s < segments; ++s) {
          copy_over(to, from + at.segments[s].at, at.segments[s].count);
          to += at.segments[s].count;
        }
      }
      m.m = h;
      m.c = static_cast<T*>(g.acc) + k * g.acc_row;
      if constexpr (std::is_same_v<T, float>) {
        m.a = rows;
        m.a_row = l.space.pitch;
      } else {
        g.gemm->pack_rows[compute](turned, rows, l.space.pitch, 1, h, l.space.columns);
        m.a = turned;
      }
      g.gemm->panels[compute](m);
      k += h;
    }
  }
}

template <class T, class S>
void sum_pieces(const ConvSum& g, GemmType) {
  const ConvPass& p = *g.pass;
  const T* acc = static_cast<const T*>(g.acc);
  S* w = static_cast<S*>(g.weights);
  constexpr int64_t step = 16;
  for (int64_t r0 = 0; r0 < p.rows; r0 += step) {
    const int64_t r1 = r0 + step < p.rows ? r0 + step : p.rows;
    for (int64_t k = g.k0; k < g.k1; ++k) {
      T sums[step] = {};
      const T* from = acc + k * g.acc_row;
      for (int64_t r = r0; r < r1; ++r) sums[r - r0] = from[r];
      for (int64_t i = 1; i < g.pieces; ++i)
        for (int64_t r = r0; r < r1; ++r) sums[r - r0] += from[i * g.piece + r];
      S* to = w + k / p.tap_count * p.weight_channel + p.taps[k % p.tap_count].weight;
      for (int64_t r = r0; r < r1; ++r) to[r * p.weight_row] = narrow<S, T>(sums[r - r0]);
    }
  }
}

#include "quicksilver/driver/cpu/conv_planes.inl"

template <class T, class S, GemmType type>
void fill(ConvTable& t) {
  t.gather_planes[type] = [](const ConvPlanes& g) { gather_planes<T, S>(g, type); };
  t.weight_planes[type] = [](const ConvPlanes& g) { weight_planes<T, S>(g, type); };
  t.plane_scratch[type] = plane_scratch<T>;
  t.pack[type] = [](const ConvPack& g) { pack_weights<T, S>(g, type); };
  t.gather[type] = [](const ConvGather& g) { gather<T, S>(g, type); };
  t.weight[type] = [](const ConvWeightPiece& g) { weight<T, S>(g, type); };
  t.sum[type] = [](const ConvSum& g) { sum_pieces<T, S>(g, type); };
}

ConvTable make_table() {
  ConvTable t;
  fill<float, float, g_f32>(t);
  fill<double, double, g_f64>(t);
  fill<float, F16, g_f16>(t);
  fill<float, BF16, g_bf16>(t);
  fill<uint32_t, uint32_t, g_i32>(t);
  fill<uint64_t, uint64_t, g_i64>(t);
  return t;
}

}  // namespace
}  // namespace qs::driver::cpu::QS_CONV_NAMESPACE
