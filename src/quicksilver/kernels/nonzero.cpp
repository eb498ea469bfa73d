// Nonzero: the positions of the non-zero elements, in row-major order.
//
// In one piece, or in two steps that run in parallel: count each block, then fill each block from
// the number of positions before it.
//
// pointers  out (i64), src, and offsets for the fill; counts, src for the count
// ints      dtype, blocked, elements, rows of out, row step and column step of out, rank, shape,
//           strides of src
// items     blocks of k_nonzero_block elements, or one item for all
#include <algorithm>
#include <type_traits>
#include <utility>

#include "quicksilver/core/error.h"
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
void count_blocks(const KernelView& view, int64_t begin, int64_t end) {
  const Fields p(view);
  int64_t* counts = static_cast<int64_t*>(view.pointers[0]);
  const T* src = static_cast<const T*>(view.pointers[1]);
  const int64_t step = p.rank > 0 ? p.strides[p.rank - 1] : 0;
  for (int64_t b = begin; b < end; ++b) {
    const int64_t first = b * k_nonzero_block;
    int64_t count = 0;
    for_runs(p.rank, p.shape, 1, &p.strides, first, std::min(p.elements, first + k_nonzero_block),
             [&](const int64_t* at, int64_t length) {
               for (int64_t i = 0; i < length; ++i) count += is_set(src[at[0] + i * step]);
             });
    counts[b * p.row_step] = count;
  }
}

template <class T>
void fill_blocks(const KernelView& view, int64_t begin, int64_t end) {
  const Fields p(view);
  int64_t* out = static_cast<int64_t*>(view.pointers[0]);
  const T* src = static_cast<const T*>(view.pointers[1]);
  const int64_t* offsets = p.blocked ? static_cast<const int64_t*>(view.pointers[2]) : nullptr;
  const int64_t step = p.rank > 0 ? p.strides[p.rank - 1] : 0;
  for (int64_t b = begin; b < end; ++b) {
    const int64_t first = p.blocked ? b * k_nonzero_block : 0;
    const int64_t last = p.blocked ? std::min(p.elements, first + k_nonzero_block) : p.elements;
    int64_t row = offsets ? offsets[b] : 0, linear = first;
    for_runs(p.rank, p.shape, 1, &p.strides, first, last, [&](const int64_t* at, int64_t length) {
      int64_t place[k_max_rank], left = linear;  // where the run begins: it stays in one line
      for (int64_t d = p.rank; d-- > 0;) {
        place[d] = left % p.shape[d];
        left /= p.shape[d];
      }
      for (int64_t i = 0; i < length; ++i) {
        if (!is_set(src[at[0] + i * step])) continue;
        if (row >= p.rows) return;
        int64_t* to = out + row * p.row_step;
        for (int64_t d = 0; d < p.rank - 1; ++d) to[d * p.column_step] = place[d];
        if (p.rank > 0) to[(p.rank - 1) * p.column_step] = place[p.rank - 1] + i;
        ++row;
      }
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
  args.items = elements == 0 ? 0 : blocked ? (elements + k_nonzero_block - 1) / k_nonzero_block : 1;
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
