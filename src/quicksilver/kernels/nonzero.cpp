// Nonzero: the positions of the non-zero elements, in row-major order.
//
// In one call, or in two steps: count each block, then fill each block from the number of positions
// before it. In one call each thread counts what lies before its first block by itself.
//
// pointers  out (i64), src, and offsets for the fill; counts, src for the count
// ints      dtype, blocked, elements, rows of out, row step and column step of out, rank, shape,
//           strides of src
// items     blocks of k_nonzero_block elements
#include <algorithm>
#include <type_traits>
#include <utility>

#include "quicksilver/core/error.h"
#include "quicksilver/core/thread_pool.h"
#include "quicksilver/kernels/strided.h"
#include "quicksilver/kernels/texts.h"

namespace qs::kernels {
namespace {

using driver::KernelView;
using driver::PortableKernel;

template <class T>
bool is_set(T x) {
  if constexpr (k_is_half<T>)
    return static_cast<float>(x) != 0;
  else if constexpr (k_is_complex<T>)
    return x.re != 0 || x.im != 0;
  else
    return x != T(0);
}

struct Fields {
  DType dtype;
  bool blocked;
  int64_t elements, rows, row_step, column_step, rank;
  const int64_t* shape;
  const int64_t* strides;

  explicit Fields(const KernelView& view) {
    IntReader ints(view.ints);
    dtype = static_cast<DType>(ints.next());
    blocked = ints.next() != 0;
    elements = ints.next();
    rows = ints.next();
    row_step = ints.next();
    column_step = ints.next();
    rank = ints.next();
    shape = ints.take(rank);
    strides = ints.take(rank);
  }
};

template <class T>
int64_t count_run(const T* src, int64_t step, int64_t length) {
  int64_t count = 0;
  constexpr int64_t k_piece = 1 << 16;  // counts of 32 bits take half the vectors
  for (int64_t first = 0; first < length; first += k_piece) {
    const int64_t n = std::min(k_piece, length - first);
    const T* from = src + first * step;
    uint32_t here = 0;
    if (step == 1)
      for (int64_t i = 0; i < n; ++i) here += is_set(from[i]);
    else
      for (int64_t i = 0; i < n; ++i) here += is_set(from[i * step]);
    count += here;
  }
  return count;
}

/// Of the points [begin, end), row-major.
template <class T>
int64_t count_points(const Fields& p, const T* src, int64_t begin, int64_t end) {
  const int64_t step = p.rank > 0 ? p.strides[p.rank - 1] : 0;
  int64_t count = 0;
  for_runs(p.rank, p.shape, 1, &p.strides, begin, end, [&](const int64_t* at, int64_t length) {
    count += count_run(src + at[0], step, length);
  });
  return count;
}

/// Of the first `end` points: whole slices of the first dimension in the order in which they lie.
template <class T>
int64_t count_before(const Fields& p, const T* src, int64_t end) {
  if (p.rank == 0 || end == 0) return count_points(p, src, 0, end);
  const int64_t slice = p.elements / p.shape[0];
  Space space{Dims(p.shape, p.shape + p.rank), {Dims(p.strides, p.strides + p.rank)}};
  space.shape[0] = end / slice;
  space.sort_by(0);
  space.simplify();
  Fields whole = p;
  whole.rank = static_cast<int64_t>(space.shape.size());
  whole.shape = space.shape.data();
  whole.strides = space.strides[0].data();
  return count_points(whole, src, 0, space.numel()) +
         count_points(p, src, end / slice * slice, end);
}

template <class T>
void count_blocks(const KernelView& view, int64_t begin, int64_t end) {
  const Fields p(view);
  int64_t* counts = static_cast<int64_t*>(view.pointers[0]);
  const T* src = static_cast<const T*>(view.pointers[1]);
  for (int64_t b = begin; b < end; ++b)
    counts[b * p.row_step] =
        count_points(p, src, b * k_nonzero_block, std::min(p.elements, (b + 1) * k_nonzero_block));
}

/// Writes the positions in one run, as long as there is room; gives how many there are.
template <class T>
int64_t fill_run(const Fields& p, const int64_t* place, const T* src, int64_t step, int64_t length,
                 int64_t* to, int64_t room) {
  constexpr int64_t k_piece = 512;
  uint32_t found[k_piece];
  int64_t all = 0;
  const int64_t last = p.rank - 1;
  for (int64_t first = 0; first < length; first += k_piece) {
    const int64_t n = std::min(k_piece, length - first);
    const T* from = src + first * step;
    int64_t count = 0;
    for (int64_t i = 0; i < n; ++i) {  // no branch: of a mask it would be guessed wrongly
      found[count] = static_cast<uint32_t>(i);
      count += is_set(from[i * step]);
    }
    const int64_t kept = std::clamp<int64_t>(room - all, 0, count);
    int64_t* row = to + all * p.row_step;
    for (int64_t d = 0; d < last; ++d)
      for (int64_t k = 0; k < kept; ++k) row[k * p.row_step + d * p.column_step] = place[d];
    if (last >= 0) {
      row += last * p.column_step;
      for (int64_t k = 0; k < kept; ++k) row[k * p.row_step] = place[last] + first + found[k];
    }
    all += count;
  }
  return all;
}

template <class T>
void fill_blocks(const KernelView& view, int64_t begin, int64_t end) {
  const Fields p(view);
  int64_t* out = static_cast<int64_t*>(view.pointers[0]);
  const T* src = static_cast<const T*>(view.pointers[1]);
  const int64_t* offsets = p.blocked ? static_cast<const int64_t*>(view.pointers[2]) : nullptr;
  const int64_t step = p.rank > 0 ? p.strides[p.rank - 1] : 0;
  int64_t row = offsets ? 0 : count_before(p, src, begin * k_nonzero_block);
  for (int64_t b = begin; b < end; ++b) {
    const int64_t first = b * k_nonzero_block;
    int64_t linear = first;
    if (offsets) row = offsets[b];
    for_runs(p.rank, p.shape, 1, &p.strides, first, std::min(p.elements, first + k_nonzero_block),
             [&](const int64_t* at, int64_t length) {
               int64_t place[k_max_rank], left = linear;  // where the run begins
               for (int64_t d = p.rank; d-- > 0;) {
                 place[d] = left % p.shape[d];
                 left /= p.shape[d];
               }
               row += fill_run(p, place, src + at[0], step, length, out + row * p.row_step,
                               p.rows - row);
               linear += length;
             });
  }
}

/// Entries: 0 count_blocks, 1 sum_blocks, 2 fill_blocks. In one piece it is all three.
template <bool count>
driver::TextPlan plan_nonzero(const driver::KernelArgs& args) {
  driver::TextPlan plan;
  if (args.items == 0) return plan;
  const int64_t elements = args.ints[2];
  const int64_t blocks = (elements + k_nonzero_block - 1) / k_nonzero_block;
  const bool blocked = args.ints[1] != 0;
  if (count || !blocked)
    plan.launches.push_back({0, groups_for(blocks), {elements, blocks, count}});
  if (!count && !blocked) {
    plan.launches.push_back({1, 1, {elements, blocks}});
    plan.scratch_bytes = blocks * 8;
  }
  if (!count) plan.launches.push_back({2, groups_for(blocks), {elements, blocks, blocked}});
  return plan;
}

const driver::KernelText* nonzero_text(DType dtype, bool count) {
  const std::string options = define("QS_BYTES", static_cast<int64_t>(size_of(dtype))) +
                              define("QS_FLOATS", is_complex(dtype) ? 2 : is_floating(dtype)) +
                              define("QS_BLOCK", k_nonzero_block);
  return make_text({"walk", "nonzero"}, options, {"count_blocks", "sum_blocks", "fill_blocks"},
                   count ? plan_nonzero<true> : plan_nonzero<false>);
}

}  // namespace

const PortableKernel& nonzero_kernel(DType dtype, bool count) {
  static const std::vector<PortableKernel> kernels = [] {
    std::vector<PortableKernel> list(2 * k_dtype_count);
    for (int d = 0; d < k_dtype_count; ++d)
      dispatch(static_cast<DType>(d), [&]<class T>(T) {
        const std::string name(k_dtype_info[d].short_name);
        list[2 * d] = {"nonzero_" + name, nonzero_text(static_cast<DType>(d), false),
                       fill_blocks<T>};
        list[2 * d + 1] = {"nonzero_count_" + name, nonzero_text(static_cast<DType>(d), true),
                           count_blocks<T>};
      });
    return list;
  }();
  return kernels[2 * static_cast<size_t>(dtype) + count];
}

namespace {

KernelCall call_of(const PortableKernel& kernel, const View& out, const View& src, bool blocked) {
  KernelCall call;
  call.kernel = &kernel;
  driver::KernelArgs& args = call.args;
  int64_t elements = 1;
  for (int64_t s : src.shape) elements *= s;
  args.pointers = {out.ptr, src.ptr};
  args.ints = {static_cast<int64_t>(src.dtype),
               blocked,
               elements,
               out.shape[0],
               out.strides[0],
               out.strides.size() > 1 ? out.strides[1] : 0,
               static_cast<int64_t>(src.shape.size())};
  append(args.ints, src.shape);
  append(args.ints, src.strides);
  args.items = (elements + k_nonzero_block - 1) / k_nonzero_block;
  // As few chunks as there are threads, where each counts what lies before it.
  const int64_t threads = ThreadPool::instance().threads();
  if (!blocked) args.grain = (args.items + threads - 1) / threads;
  return call;
}

}  // namespace

KernelCall nonzero(const View& out, const View& src) {
  QS_ASSERT(out.dtype == DType::i64 && out.shape.size() == 2);
  return call_of(nonzero_kernel(src.dtype, false), out, src, false);
}

KernelCall nonzero_count(const View& counts, const View& src) {
  QS_ASSERT(counts.dtype == DType::i64 && counts.shape.size() == 1);
  return call_of(nonzero_kernel(src.dtype, true), counts, src, true);
}

KernelCall nonzero_fill(const View& out, const View& offsets, const View& src) {
  QS_ASSERT(out.dtype == DType::i64 && out.shape.size() == 2 && offsets.dtype == DType::i64);
  KernelCall call = call_of(nonzero_kernel(src.dtype, false), out, src, true);
  call.args.pointers.push_back(offsets.ptr);
  return call;
}

}  // namespace qs::kernels
