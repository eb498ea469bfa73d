// Convolutions of one channel and one row a group (depthwise), plane by plane: there is no matrix
// to multiply, so nothing is laid out but the padded plane itself. Part of conv_block.inl.
//
// A plane's results are read off the staged plane in one run, row ends included: what stands there
// is computed too and not stored. For the gradient of the weights y is staged at the same pitch,
// with zeros at the row ends, and x is masked there, so that what is infinite in x stays out.

template <class T>
using PlaneVec = typename LanesOf<T>::type;

/// How the scratch of a chunk of planes is divided.
template <class T>
struct PlaneParts {
  static constexpr int lanes = k_vector_bytes / static_cast<int>(sizeof(T));
  int64_t bytes = 0;         // of all
  bool flat;                 // one run, else row by row
  int64_t vectors, row_columns, span;
  int64_t *offsets, *starts;
  T *weights, *staged, *out, *mask, *acc;

  PlaneParts(char* scratch, const ConvPass& p, const Local& l, bool weight) {
    const int64_t pitch = l.length[2];
    span = ((l.grid[0] - 1) * l.length[1] + l.grid[1] - 1) * pitch + l.grid[2];
    const int64_t row = conv_round_up(l.grid[2], lanes), in_one = conv_round_up(span, lanes);
    const bool even = l.grid[0] == 1 || l.length[1] == l.grid[1];
    flat = weight || (even && in_one <= l.grid[0] * l.grid[1] * row);
    row_columns = flat ? pitch : row;
    vectors = (flat ? in_one : l.grid[0] * l.grid[1] * row) / lanes;
    const auto take = [&](int64_t size) {
      const uintptr_t at = reinterpret_cast<uintptr_t>(scratch) + static_cast<uintptr_t>(bytes);
      bytes += conv_round_up(size, 64);
      return at;
    };
    const int64_t size = sizeof(T);
    offsets = reinterpret_cast<int64_t*>(take(p.tap_count * 8));
    starts = reinterpret_cast<int64_t*>(take(vectors * 8));
    weights = reinterpret_cast<T*>(take((p.tap_count + lanes) * size));
    staged = reinterpret_cast<T*>(take((l.space.stage_line + 3 * lanes) * size));
    out = reinterpret_cast<T*>(take((vectors + 1) * k_vector_bytes));
    mask = weight ? reinterpret_cast<T*>(take((vectors + 1) * k_vector_bytes)) : nullptr;
    acc = weight ? reinterpret_cast<T*>(take(p.tap_count * k_vector_bytes)) : nullptr;
  }
};

template <class T, class S>
void gather_planes(const ConvPlanes& g, GemmType type) {
  constexpr int lanes = k_vector_bytes / sizeof(T);
  const ConvPass& p = *g.pass;
  const ConvBlock block{0, 1, 0, p.dims[p.slab].grid};
  const Local l = local_of(p, block);
  const PlaneParts<T> at(g.scratch, p, l, false);
  tap_offsets(p, l, at.offsets);
  int64_t count = 0;
  if (at.flat)
    for (; count < at.vectors; ++count) at.starts[count] = count * lanes;
  else
    for (int64_t i = 0; i < l.grid[0]; ++i)
      for (int64_t j = 0; j < l.grid[1]; ++j)
        for (int64_t k = 0; k < at.row_columns; k += lanes)
          at.starts[count++] = (i * l.length[1] + j) * l.length[2] + k;
  GemmShifted m;
  m.a = at.weights;
  m.b = at.staged;
  m.c = at.out;
  m.starts = at.starts;
  m.offsets = at.offsets;
  m.m = 1;
  m.vectors = at.vectors;
  m.k = p.tap_count;
  m.c_row = at.vectors * lanes;
  int64_t laid_out = -1;  // the group whose weights are there
  for (int64_t plane = g.first; plane < g.last; ++plane) {
    const int64_t n = plane / g.groups, group = plane % g.groups;
    const S* w = static_cast<const S*>(g.weights) + group * g.weight_group;
    for (int64_t t = 0; group != laid_out && t < p.tap_count; ++t)
      at.weights[t] = widen<T, S>(w[p.taps[t].weight]);
    laid_out = group;
    const ConvBlock one{n, n + 1, 0, p.dims[p.slab].grid};
    stage<T, S>(at.staged, p, l, one, static_cast<const S*>(g.source) + group * g.source_group, 0,
                1);
    g.gemm->shifted[type](m);
    store<T, S>(p, l, one, at.out, at.row_columns, static_cast<S*>(g.out) + group * g.out_group,
                g.bias ? static_cast<const S*>(g.bias) + group * p.bias_stride : nullptr);
  }
}

/// y of one item at the staged plane's pitch; the gaps are zero already.
template <class T, class S>
void stage_rows_of_y(T* dst, const ConvPass& p, const Local& l, const S* y) {
  const int64_t unit = p.dims[2].out_stride;
  for (int64_t i = 0; i < l.grid[0]; ++i)
    for (int64_t j = 0; j < l.grid[1]; ++j) {
      const S* from = y + i * p.dims[0].out_stride + j * p.dims[1].out_stride;
      T* to = dst + (i * l.length[1] + j) * l.length[2];
      if (unit == 1) {
        for (int64_t k = 0; k < l.grid[2]; ++k) to[k] = widen<T, S>(from[k]);
      } else {
        for (int64_t k = 0; k < l.grid[2]; ++k) to[k] = widen<T, S>(from[k * unit]);
      }
    }
}

/// acc[t] += y * source under tap t, lane by lane, for `N` taps.
template <class T, int N>
void add_taps(const PlaneParts<T>& at, int64_t tap) {
  using V = PlaneVec<T>;
  constexpr int lanes = k_vector_bytes / sizeof(T);
  const auto load = [](const T* from) {
    V v;
    __builtin_memcpy(&v, from, sizeof v);
    return v;
  };
  V acc[N];
  for (int t = 0; t < N; ++t) acc[t] = load(at.acc + (tap + t) * lanes);
  for (int64_t v = 0; v < at.vectors; ++v) {
    const V y = load(at.out + v * lanes), mask = load(at.mask + v * lanes);
#pragma GCC unroll 9
    for (int t = 0; t < N; ++t)
      acc[t] = fused(y, both(load(at.staged + at.offsets[tap + t] + v * lanes), mask), acc[t]);
  }
  for (int t = 0; t < N; ++t) __builtin_memcpy(at.acc + (tap + t) * lanes, &acc[t], sizeof(V));
}

/// The gradient of the weights of groups [first, last): all items in order, lanes added at the end.
template <class T, class S>
void weight_planes(const ConvPlanes& g, GemmType) {
  constexpr int lanes = k_vector_bytes / sizeof(T);
  const ConvPass& p = *g.pass;
  const ConvBlock block{0, 1, 0, p.dims[p.slab].grid};
  const Local l = local_of(p, block);
  const PlaneParts<T> at(g.scratch, p, l, true);
  tap_offsets(p, l, at.offsets);
  __builtin_memset(at.out, 0, static_cast<size_t>(at.vectors) * k_vector_bytes);
  __builtin_memset(at.mask, 0, static_cast<size_t>(at.vectors) * k_vector_bytes);
  for (int64_t i = 0; i < l.grid[0]; ++i)
    for (int64_t j = 0; j < l.grid[1]; ++j)
      __builtin_memset(at.mask + (i * l.length[1] + j) * l.length[2], 0xff,
                       static_cast<size_t>(l.grid[2]) * sizeof(T));
  for (int64_t group = g.first; group < g.last; ++group) {
    __builtin_memset(at.acc, 0, static_cast<size_t>(p.tap_count) * k_vector_bytes);
    for (int64_t n = 0; n < g.items; ++n) {
      const ConvBlock one{n, n + 1, 0, p.dims[p.slab].grid};
      stage<T, S>(at.staged, p, l, one, static_cast<const S*>(g.source) + group * g.source_group, 0,
                  1);
      // Vectors read on behind the plane, under the mask.
      stage_rows_of_y<T, S>(
          at.out, p, l, static_cast<const S*>(g.out) + n * p.out_item + group * g.out_group);
      int64_t tap = 0;
      for (; tap + 9 <= p.tap_count; tap += 9) add_taps<T, 9>(at, tap);
      for (; tap + 3 <= p.tap_count; tap += 3) add_taps<T, 3>(at, tap);
      for (; tap < p.tap_count; ++tap) add_taps<T, 1>(at, tap);
    }
    S* w = const_cast<S*>(static_cast<const S*>(g.weights)) + group * g.weight_group;
    for (int64_t t = 0; t < p.tap_count; ++t) {
      T* sums = at.acc + t * lanes;
      for (int half = lanes / 2; half > 0; half /= 2)
        for (int k = 0; k < half; ++k) sums[k] += sums[k + half];
      w[p.taps[t].weight] = narrow<S, T>(sums[0]);
    }
  }
}

template <class T>
int64_t plane_scratch(const ConvPass& p, bool weight) {
  return PlaneParts<T>(nullptr, p, local_of(p, {0, 1, 0, p.dims[p.slab].grid}), weight).bytes;
}
