// Gather: one kernel behind index_select, gather, embedding and advanced indexing.
//
//   out[i] = src[ sum_d i_d * src_stride_d  +  sum_j wrap(index_j[i]) * step_j ]
//
// over the points i of out. Where a dimension of out comes from indices, src's stride is 0 there;
// where it does not, the index's stride is 0. The runs over which no index changes are copied
// whole.
//
// pointers  out, src, index 0, index 1, ...
// ints      element bytes, rank, indices, shape[rank], out strides[rank], src strides[rank], then
//           for each index: dtype, bound or ~bound, step, strides[rank]
// items     points of out, in the order in which it lies
#include <algorithm>
#include <bit>
#include <type_traits>
#include <utility>

#include "quicksilver/core/error.h"
#include "quicksilver/kernels/index_space.h"
#include "quicksilver/kernels/strided.h"
#include "quicksilver/kernels/texts.h"

namespace qs::kernels {
namespace {

using driver::KernelView;
using driver::PortableKernel;

struct Bytes16 {
  uint64_t a, b;
};

/// Whether all of a run are in [-wrap, bound): a sum without branches, since nearly always they
/// are.
template <class I>
[[gnu::noinline]] bool all_inside(const I* p, int64_t step, int64_t length, const IndexReader& r) {
  const uint64_t end = static_cast<uint64_t>(r.bound), wrap = static_cast<uint64_t>(r.wrap);
  uint64_t outside = 0;  // its top bit: x is not below the end, or below -wrap
  for (int64_t i = 0; i < length; ++i) {
    const uint64_t x = static_cast<uint64_t>(static_cast<int64_t>(p[i * step]));
    outside |= (end - 1 - x) | (x + wrap);
  }
  return outside >> 63 == 0;
}

/// to[i * to_step] = from[i * src_step + wrapped index * step] for indices that are all inside. Not
/// inlined, as the above: among a walk's variables these loops would keep theirs in memory.
template <class T, class I, bool dense>
[[gnu::noinline]] void move_run(const I* given, int64_t given_step, int64_t wrap, int64_t step,
                                const T* from, int64_t src_step, T* to, int64_t to_step,
                                int64_t length) {
  if (dense) given_step = to_step = 1;
  for (int64_t i = 0; i < length; ++i) {
    const int64_t index = static_cast<int64_t>(given[i * given_step]);
    to[i * to_step] = from[i * src_step + (index + (index >> 63 & wrap)) * step];
  }
}

/// The same where everything lies dense: no product, and without negative indices no more than two
/// loads and a store.
template <class T, class I, bool wraps>
[[gnu::noinline]] void pick_run(const I* given, int64_t wrap, const T* from, T* to,
                                int64_t length) {
  for (int64_t i = 0; i < length; ++i) {
    const int64_t index = static_cast<int64_t>(given[i]);
    to[i] = from[wraps ? index + (index >> 63 & wrap) : index];
  }
}

/// A run along which one index varies, of dtype I; the others, if any, are in `from` already.
template <class T, class I>
void gather_run(const KernelView& view, const IndexReader& x, int64_t at, int64_t index_step,
                const T* from, int64_t src_step, T* to, int64_t out_step, int64_t length) {
  const I* given = static_cast<const I*>(x.base) + at;
  if (length >= 16 && all_inside(given, index_step, length, x)) {
    if (index_step == 1 && out_step == 1 && x.step == 1 && src_step == 0)
      (x.wrap ? pick_run<T, I, true> : pick_run<T, I, false>)(given, x.wrap, from, to, length);
    else if (index_step == 1 && out_step == 1)
      move_run<T, I, true>(given, 1, x.wrap, x.step, from, src_step, to, 1, length);
    else
      move_run<T, I, false>(given, index_step, x.wrap, x.step, from, src_step, to, out_step,
                            length);
    return;
  }
  for (int64_t i = 0; i < length; ++i) {
    const int64_t index = x.wrapped<I>(view, at + i * index_step);
    to[i * out_step] = index < 0 ? T{} : from[i * src_step + index * x.step];
  }
}

/// The same for any number of indices, all of dtype I.
template <class T, class I>
void gather_run(const KernelView& view, const IndexReader* indices, int count, int64_t rank,
                const int64_t* at, const T* from, int64_t src_step, T* to, int64_t out_step,
                int64_t length) {
  for (int64_t i = 0; i < length; ++i) {
    int64_t offset = i * src_step;
    bool good = true;
    for (int j = 0; j < count; ++j) {
      const IndexReader& x = indices[j];
      const int64_t index = x.wrapped<I>(view, at[j] + i * x.strides[rank - 1]);
      good = good && index >= 0;
      offset += index * x.step;
    }
    to[i * out_step] = good ? from[offset] : T{};
  }
}

/// For short rows memcpy is mostly the call.
inline void copy_short(void* to, const void* from, size_t bytes) {
  constexpr size_t k_block = 16, k_short = 256;
  if (bytes < k_block || bytes > k_short) {
    std::memcpy(to, from, bytes);
    return;
  }
  char* const t = static_cast<char*>(to);
  const char* const f = static_cast<const char*>(from);
  for (size_t i = 0; i + k_block <= bytes; i += k_block) std::memcpy(t + i, f + i, k_block);
  std::memcpy(t + bytes - k_block, f + bytes - k_block, k_block);  // overlaps the one before
}

/// Dense rows of `row` elements, one an index: embedding. Runs along the dimension before the last
/// are taken in one loop.
template <class T, class I>
void gather_rows(const KernelView& view, const IndexReader& x, const int64_t* at,
                 const int64_t* step, const T* src, T* out, int64_t rows, int64_t row) {
  const I* given = static_cast<const I*>(x.base) + at[2];
  T* to = out + at[0];
  const T* from = src + at[1];
  const uint64_t bound = static_cast<uint64_t>(x.bound);
  const size_t bytes = static_cast<size_t>(row) * sizeof(T);
  for (int64_t r = 0; r < rows; ++r, to += step[0], from += step[1], given += step[2]) {
    int64_t index = static_cast<int64_t>(*given);
    index += index >> 63 & x.wrap;
    if (static_cast<uint64_t>(index) < bound) [[likely]] {
      copy_short(to, from + index * x.step, bytes);
    } else {
      report(view, 1, static_cast<int64_t>(*given), x.bound);
      std::fill(to, to + row, T{});
    }
  }
}

template <class T>
void gather_points(const KernelView& view, int64_t begin, int64_t end) {
  IntReader ints(view.ints + 1);
  const int64_t rank = ints.next();
  const int count = static_cast<int>(ints.next());
  const int64_t* shape = ints.take(rank);
  const int64_t* strides[k_max_operands];
  strides[0] = ints.take(rank);
  strides[1] = ints.take(rank);
  IndexReader indices[k_max_rank];
  bool varies = false, alike = true;  // along the last dimension; of one dtype
  for (int j = 0; j < count; ++j) {
    IndexReader& x = indices[j];
    x.read(ints);
    x.step = ints.next();
    x.strides = strides[2 + j] = ints.take(rank);
    x.base = view.pointers[2 + j];
    varies = varies || (rank > 0 && x.strides[rank - 1] != 0);
    alike = alike && x.dtype == indices[0].dtype;
  }
  T* out = static_cast<T*>(view.pointers[0]);
  const T* src = static_cast<const T*>(view.pointers[1]);
  const int64_t out_step = rank > 0 ? strides[0][rank - 1] : 0;
  const int64_t src_step = rank > 0 ? strides[1][rank - 1] : 0;

  const auto run = [&](const int64_t* at, int64_t length) {
    T* to = out + at[0];
    if (!varies) {
      int64_t offset = at[1];
      bool good = true;
      for (int j = 0; j < count; ++j) good = indices[j].add(view, at[2 + j], offset) && good;
      const T* from = src + offset;
      if (good && out_step == 1 && src_step == 1) {
        std::memcpy(to, from, static_cast<size_t>(length) * sizeof(T));
      } else {
        for (int64_t i = 0; i < length; ++i) to[i * out_step] = good ? from[i * src_step] : T{};
      }
      return;
    }
    if (alike) {
      return dispatch_index(indices[0].dtype, [&]<class I>(I) {
        if (count == 1)
          gather_run<T, I>(view, indices[0], at[2], indices[0].strides[rank - 1], src + at[1],
                           src_step, to, out_step, length);
        else
          gather_run<T, I>(view, indices, count, rank, at + 2, src + at[1], src_step, to, out_step,
                           length);
      });
    }
    for (int64_t i = 0; i < length; ++i) {
      int64_t offset = at[1] + i * src_step;
      bool good = true;
      for (int j = 0; j < count; ++j)
        good = indices[j].add(view, at[2 + j] + i * indices[j].strides[rank - 1], offset) && good;
      to[i * out_step] = good ? src[offset] : T{};
    }
  };
  if (varies || count != 1 || rank < 2 || out_step != 1 || src_step != 1)
    return for_runs(rank, shape, 2 + count, strides, begin, end, run);
  // Whole rows, and what is left of one in front of them and behind.
  const int64_t row = shape[rank - 1], first = (begin + row - 1) / row, last = end / row;
  if (first >= last) return for_runs(rank, shape, 3, strides, begin, end, run);
  for_runs(rank, shape, 3, strides, begin, first * row, run);
  const int64_t step[] = {strides[0][rank - 2], strides[1][rank - 2], strides[2][rank - 2]};
  for_runs(rank - 1, shape, 3, strides, first, last, [&](const int64_t* at, int64_t rows) {
    dispatch_index(indices[0].dtype, [&]<class I>(I) {
      gather_rows<T, I>(view, indices[0], at, step, src, out, rows, row);
    });
  });
  for_runs(rank, shape, 3, strides, last * row, end, run);
}

}  // namespace

const PortableKernel& gather_kernel(int log2_bytes, bool with_text) {
  static const std::vector<PortableKernel> kernels = [] {
    const driver::HostFunction hosts[] = {gather_points<uint8_t>, gather_points<uint16_t>,
                                          gather_points<uint32_t>, gather_points<uint64_t>,
                                          gather_points<Bytes16>};
    std::vector<PortableKernel> list;
    for (int log2 = 0; log2 < 5; ++log2)
      for (bool text : {false, true})
        list.push_back(
            {format("gather_b{}", 1 << log2),
             text ? make_text({"walk", "bytes", "index", "gather"}, define("QS_BYTES", 1 << log2),
                              {"gather_points"}, plan_points)
                  : nullptr,
             hosts[log2]});
    return list;
  }();
  return kernels[static_cast<size_t>(2 * log2_bytes + with_text)];
}

namespace {

// pointers: index; ints: dtype, bound, rank, shape[rank], strides[rank]; items: points of the
// index.
void check_points(const KernelView& view, int64_t begin, int64_t end) {
  IntReader ints(view.ints);
  IndexReader x;
  x.read(ints);
  x.step = 0;
  const int64_t rank = ints.next();
  const int64_t* shape = ints.take(rank);
  x.strides = ints.take(rank);
  x.base = view.pointers[0];
  const int64_t* strides[] = {x.strides};
  const int64_t step = rank > 0 ? x.strides[rank - 1] : 0;
  for_runs(rank, shape, 1, strides, begin, end, [&](const int64_t* at, int64_t length) {
    bool good = false;
    dispatch_index(x.dtype, [&]<class I>(I) {
      const I* from = static_cast<const I*>(x.base) + at[0];
      good = step == 1 ? all_inside(from, 1, length, x) : all_inside(from, step, length, x);
    });
    if (good) return;
    int64_t unused = 0;
    for (int64_t i = 0; i < length; ++i) x.add(view, at[0] + i * step, unused);
  });
}

// Spreads `strides` over a space of `rank` dimensions beginning at `at`; 0 elsewhere.
Dims spread(DimSpan strides, size_t at, size_t rank) {
  Dims all(rank, 0);
  for (size_t d = 0; d < strides.size(); ++d) all[at + d] = strides[d];
  return all;
}

}  // namespace

IndexSpace index_space(const View& indexed, std::span<const View> indices,
                       std::span<const int> dims, int at, Signs signs) {
  QS_ASSERT(!indices.empty() && indices.size() == dims.size());
  IndexSpace s;
  s.signs = signs;
  const bool scalar = indexed.shape.empty();  // is a vector of one element here
  const Dims shape = scalar ? Dims{1} : indexed.shape;
  const Dims strides = scalar ? Dims{0} : indexed.strides;
  const size_t index_rank = indices[0].shape.size();
  Dims rest_shape, rest_strides;
  for (size_t d = 0, next = 0; d < shape.size(); ++d) {
    if (next < dims.size() && static_cast<size_t>(dims[next]) == d) {
      const View& x = indices[next];
      s.indices.push_back({x.ptr, x.dtype, shape[d], strides[d]});
      ++next;
    } else {
      rest_shape.push_back(shape[d]);
      rest_strides.push_back(strides[d]);
    }
  }
  const size_t first = static_cast<size_t>(at), rank = index_rank + rest_shape.size();
  s.shape.resize(rank);
  s.strides.resize(rank);
  for (size_t d = 0; d < rank; ++d) {
    const bool is_index = d >= first && d < first + index_rank;
    const size_t r = d < first ? d : d - index_rank;
    s.shape[d] = is_index ? indices[0].shape[d - first] : rest_shape[r];
    s.strides[d] = is_index ? 0 : rest_strides[r];
  }
  for (const View& x : indices) s.index_strides.push_back(spread(x.strides, first, rank));
  return s;
}

IndexSpace along_space(const View& indexed, const View& index, int dim) {
  IndexSpace s;
  s.shape = index.shape;
  s.strides = indexed.strides;
  if (indexed.shape.empty()) {  // a scalar is a vector of one element here
    s.indices.push_back({index.ptr, index.dtype, 1, 0});
  } else {
    const size_t d = static_cast<size_t>(dim);
    s.indices.push_back({index.ptr, index.dtype, indexed.shape[d], indexed.strides[d]});
    s.strides[d] = 0;
  }
  s.strides.resize(s.shape.size(), 0);
  s.index_strides.push_back(index.strides);
  return s;
}

namespace {

KernelCall gather_call(const View& out, const View& src, const IndexSpace& from) {
  QS_ASSERT(out.dtype == src.dtype);
  QS_ASSERT(out.shape == from.shape, "the result's shape");
  Space space{from.shape, {out.strides, from.strides}};
  for (const Dims& d : from.index_strides) space.strides.push_back(d);
  space.sort_by(0);
  space.simplify();

  KernelCall call;
  call.kernel = &gather_kernel(std::countr_zero(size_of(src.dtype)),
                               2 + from.indices.size() <= k_text_pointers);
  driver::KernelArgs& args = call.args;
  args.pointers = {out.ptr, src.ptr};
  args.ints = {static_cast<int64_t>(size_of(src.dtype)), static_cast<int64_t>(space.shape.size()),
               static_cast<int64_t>(from.indices.size())};
  append(args.ints, space.shape);
  append(args.ints, space.strides[0]);
  append(args.ints, space.strides[1]);
  for (size_t j = 0; j < from.indices.size(); ++j) {
    const IndexSpace::Index& x = from.indices[j];
    args.pointers.push_back(x.ptr);
    append(args.ints, std::initializer_list<int64_t>{static_cast<int64_t>(x.dtype),
                                                     bound_word(x.bound, from.signs), x.step});
    append(args.ints, space.strides[2 + j]);
  }
  args.items = space.numel();
  args.grain = grain_for(1);
  return call;
}

}  // namespace

KernelCall index_select(const View& out, const View& src, const View& index, int dim) {
  return gather_call(out, src, index_space(src, {&index, 1}, {&dim, 1}, dim, Signs::not_negative));
}

KernelCall gather(const View& out, const View& src, const View& index, int dim) {
  return gather_call(out, src, along_space(src, index, dim));
}

KernelCall index(const View& out, const View& src, std::span<const View> indices,
                 std::span<const int> dims, int at) {
  return gather_call(out, src, index_space(src, indices, dims, at, Signs::from_end));
}

const PortableKernel& check_kernel() {
  static const PortableKernel kernel = {
      "check_index", make_text({"walk", "index", "check_index"}, "", {"check_points"}, plan_points),
      check_points};
  return kernel;
}

KernelCall check_index(const View& index, int64_t bound, Signs signs) {
  Space space{index.shape, {index.strides}};
  space.sort_by(0);
  space.simplify();
  KernelCall call;
  call.kernel = &check_kernel();
  call.args.pointers = {index.ptr};
  call.args.ints = {static_cast<int64_t>(index.dtype), bound_word(bound, signs),
                    static_cast<int64_t>(space.shape.size())};
  append(call.args.ints, space.shape);
  append(call.args.ints, space.strides[0]);
  call.args.items = space.numel();
  call.args.grain = grain_for(1);
  return call;
}

}  // namespace qs::kernels
