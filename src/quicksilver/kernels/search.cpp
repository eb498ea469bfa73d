// Search: where values belong in sorted rows.
//
// pointers  out (i64), sorted, values
// ints      behind equal ones, length of a row, its step, rank of the values, their shape, their
//           strides of out, sorted (which row) and values
// items     values, row-major
#include "quicksilver/core/error.h"
#include "quicksilver/kernels/strided.h"
#include "quicksilver/kernels/texts.h"

namespace qs::kernels {
namespace {

using driver::KernelView;
using driver::PortableKernel;

/// Sorting's order: a NaN is above all numbers.
template <class T>
bool below(T a, T b) {
  if constexpr (k_is_half<T>)
    return below(static_cast<float>(a), static_cast<float>(b));
  else if constexpr (std::is_floating_point_v<T>)
    return a < b || (b != b && a == a);
  else
    return a < b;
}

template <class T>
void search_rows(const KernelView& view, int64_t begin, int64_t end) {
  IntReader ints(view.ints);
  const bool right = ints.next() != 0;
  const int64_t length = ints.next(), sorted_step = ints.next();
  const int64_t rank = ints.next();
  const int64_t* shape = ints.take(rank);
  const int64_t* strides[3];
  for (const int64_t*& s : strides) s = ints.take(rank);
  int64_t* out = static_cast<int64_t*>(view.pointers[0]);
  const T* sorted = static_cast<const T*>(view.pointers[1]);
  const T* values = static_cast<const T*>(view.pointers[2]);
  for_runs(rank, shape, 3, strides, begin, end, [&](const int64_t* at, int64_t run) {
    for (int64_t i = 0; i < run; ++i) {
      const auto place = [&](int o) { return at[o] + (rank > 0 ? i * strides[o][rank - 1] : 0); };
      const T* row = sorted + place(1);
      const T x = values[place(2)];
      int64_t first = 0, count = length;
      while (count > 0) {  // `first` moves by arithmetic: no branch to mispredict
        const int64_t half = count / 2;
        const T middle = row[(first + half) * sorted_step];
        const bool beyond = right ? !below(x, middle) : below(middle, x);
        first = beyond ? first + half + 1 : first;
        count = beyond ? count - half - 1 : half;
      }
      out[place(0)] = first;
    }
  });
}

}  // namespace

const PortableKernel& search_kernel(DType dtype) {
  static const std::vector<PortableKernel> kernels = [] {
    std::vector<PortableKernel> list(k_dtype_count);
    for (int d = 0; d < k_dtype_count; ++d)
      dispatch(static_cast<DType>(d), [&]<class T>(T) {
        if constexpr (!k_is_complex<T>)
          list[d] = {"search_" + std::string(k_dtype_info[d].short_name),
                     make_text({"walk", "order", "search"}, order_options(static_cast<DType>(d)),
                               {"search_points"}, plan_points),
                     search_rows<T>};
      });
    return list;
  }();
  QS_ASSERT(!is_complex(dtype));
  return kernels[static_cast<size_t>(dtype)];
}

KernelCall search(const View& out, const View& sorted, const View& values, bool right) {
  QS_ASSERT(out.shape == values.shape && sorted.dtype == values.dtype && !sorted.shape.empty());
  const bool shared = sorted.shape.size() == 1;
  QS_ASSERT(shared || sorted.shape.size() == values.shape.size());
  Space points;
  points.shape = out.shape;
  Dims rows(out.shape.size(), 0);
  if (!shared)
    for (size_t d = 0; d + 1 < rows.size(); ++d) rows[d] = sorted.strides[d];
  points.strides = {out.strides, rows, values.strides};
  points.simplify();
  KernelCall call;
  call.kernel = &search_kernel(sorted.dtype);
  driver::KernelArgs& args = call.args;
  args.pointers = {out.ptr, sorted.ptr, values.ptr};
  args.ints = {right, sorted.shape.back(), sorted.strides.back(),
               static_cast<int64_t>(points.shape.size())};
  append(args.ints, points.shape);
  for (const Dims& s : points.strides) append(args.ints, s);
  args.items = points.numel();
  args.grain = 1024;
  return call;
}

}  // namespace qs::kernels
