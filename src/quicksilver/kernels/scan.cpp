// Scan: running sums, products and extremes along one dimension.
//
// pointers  out, src, indices (extremes, when wanted)
// ints      op, source dtype, out dtype, with indices, length, steps along the dimension of out,
// src
//           and indices, rank of the rest, its shape, its strides of out, src and indices
// items     rows: points of the rest, row-major
//
// Rows that lie side by side in memory are walked together, whole lines of memory at a time.
#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>

#include "quicksilver/core/error.h"
#include "quicksilver/core/thread_pool.h"
#include "quicksilver/kernels/scan_rows.h"
#include "quicksilver/kernels/strided.h"
#include "quicksilver/kernels/texts.h"

namespace qs::kernels {
namespace {

using driver::KernelView;
using driver::PortableKernel;

template <class T>
T load(const void* base, DType dtype, int64_t i) {
  T value{};
  dispatch(dtype, [&]<class S>(S) {
    const S x = static_cast<const S*>(base)[i];
    if constexpr (k_is_complex<T>) {
      if constexpr (k_is_complex<S>)
        value = {x.re, x.im};
      else if constexpr (k_is_half<S>)
        value.re = static_cast<float>(x);
      else
        value.re = static_cast<double>(x);
    } else if constexpr (k_is_complex<S>) {
      value = static_cast<T>(x.re);
    } else if constexpr (k_is_half<S>) {
      value = static_cast<T>(static_cast<float>(x));
    } else {
      value = static_cast<T>(x);
    }
  });
  return value;
}

template <class T>
void store(void* base, DType dtype, int64_t i, T value) {
  dispatch(dtype, [&]<class S>(S) {
    S& to = static_cast<S*>(base)[i];
    if constexpr (k_is_complex<T>) {
      if constexpr (k_is_complex<S>)
        to = {static_cast<decltype(to.re)>(value.re), static_cast<decltype(to.re)>(value.im)};
    } else if constexpr (k_is_complex<S>) {
      to = {};
    } else if constexpr (k_is_half<S>) {
      to = S::of(static_cast<float>(value));
    } else {
      to = static_cast<S>(value);
    }
  });
}

template <class T>
T next_value(ScanOp op, T acc, T x) {
  if constexpr (k_is_complex<T>) {
    if (op == ScanOp::sum) return {acc.re + x.re, acc.im + x.im};
    return {acc.re * x.re - acc.im * x.im, acc.re * x.im + acc.im * x.re};
  } else {
    if constexpr (std::is_same_v<T, double>)
      if (op == ScanOp::log_sum) {
        const double low = std::fmin(acc, x), high = std::fmax(acc, x);
        if (acc != acc || x != x) return acc + x;
        return std::isinf(high) && low == high ? high : high + std::log1p(std::exp(low - high));
      }
    return op == ScanOp::sum ? acc + x : acc * x;
  }
}

constexpr int64_t k_side = 16;
constexpr int64_t k_extreme_side = 64;

// `Acc`: double, uint64_t (wraps) or Complex<double>; From, To: the memory types when known, else
// void and the dtypes are looked at for each element.
template <class Acc, class From, class To>
void accumulate_rows(const KernelView& view, int64_t begin, int64_t end) {
  const ScanFields p(view);
  void* out = view.pointers[0];
  const void* src = view.pointers[1];
  for_runs(p.rank, p.shape, 2, p.strides, begin, end, [&](const int64_t* at, int64_t rows) {
    const int64_t out_row = p.rank > 0 ? p.strides[0][p.rank - 1] : 0;
    const int64_t src_row = p.rank > 0 ? p.strides[1][p.rank - 1] : 0;
    for (int64_t r0 = 0; r0 < rows; r0 += k_side) {
      const int64_t side = std::min(k_side, rows - r0);
      Acc acc[k_side];
      for (int64_t i = 0; i < p.length; ++i)
        for (int64_t r = 0; r < side; ++r) {
          const int64_t o = at[0] + (r0 + r) * out_row + i * p.step[0];
          const int64_t s = at[1] + (r0 + r) * src_row + i * p.step[1];
          Acc x;
          if constexpr (std::is_void_v<From>)
            x = load<Acc>(src, p.from, s);
          else
            x = static_cast<Acc>(static_cast<const From*>(src)[s]);
          acc[r] = i == 0 ? x : next_value<Acc>(p.op, acc[r], x);
          if constexpr (std::is_void_v<To>)
            store<Acc>(out, p.to, o, acc[r]);
          else
            static_cast<To*>(out)[o] = static_cast<To>(acc[r]);
        }
    }
  });
}

/// Sums and products whose dtypes the loops know.
template <int row>
void accumulate_plain(const KernelView& view, int64_t begin, int64_t end) {
  scan_rows()[row](view, begin, end);
}

template <class T>
void extreme_rows(const KernelView& view, int64_t begin, int64_t end) {
  const ScanFields p(view);
  T* out = static_cast<T*>(view.pointers[0]);
  const T* src = static_cast<const T*>(view.pointers[1]);
  int64_t* indices = p.with_indices ? static_cast<int64_t*>(view.pointers[2]) : nullptr;
  const auto value = [](T x) {
    if constexpr (k_is_half<T>)
      return static_cast<float>(x);
    else
      return x;
  };
  const bool largest = p.op == ScanOp::maximum;
  for_runs(p.rank, p.shape, 3, p.strides, begin, end, [&](const int64_t* at, int64_t rows) {
    int64_t step[3] = {};  // from row to row
    for (int o = 0; o < 3 && p.rank > 0; ++o) step[o] = p.strides[o][p.rank - 1];
    if (std::abs(step[1]) >= std::abs(p.step[1])) {  // one row after the other
      for (int64_t r = 0; r < rows; ++r) {
        const T* from = src + at[1] + r * step[1];
        T* to = out + at[0] + r * step[0];
        int64_t* place = indices ? indices + at[2] + r * step[2] : nullptr;
        T best{};
        int64_t best_index = 0;
        for (int64_t i = 0; i < p.length; ++i) {
          const T x = from[i * p.step[1]];
          const auto a = value(x), b = value(best);
          // A branch: mostly it is not taken, or always.
          if (i == 0 || a != a || (b == b && (largest ? a >= b : a <= b))) {
            best = x;
            best_index = i;
          }
          to[i * p.step[0]] = best;
          if (place) place[i * p.step[2]] = best_index;
        }
      }
      return;
    }
    for (int64_t r0 = 0; r0 < rows; r0 += k_extreme_side) {
      const int64_t side = std::min(k_extreme_side, rows - r0);
      T best[k_extreme_side] = {};
      int64_t best_index[k_extreme_side] = {};
      for (int64_t i = 0; i < p.length; ++i) {
        const T* from = src + at[1] + r0 * step[1] + i * p.step[1];
        T* to = out + at[0] + r0 * step[0] + i * p.step[0];
        for (int64_t r = 0; r < side; ++r) {
          const T x = from[r * step[1]];
          const auto a = value(x), b = value(best[r]);
          const bool replaces = i == 0 || a != a || (b == b && (largest ? a >= b : a <= b));
          best[r] = replaces ? x : best[r];
          best_index[r] = replaces ? i : best_index[r];
          to[r * step[0]] = best[r];
        }
        if (!indices) continue;
        int64_t* place = indices + at[2] + r0 * step[2] + i * p.step[2];
        for (int64_t r = 0; r < side; ++r) place[r * step[2]] = best_index[r];
      }
    }
  });
}

/// Entries: 0 scan_rows, 1 scan_tiles.
driver::TextPlan plan_scan(const driver::KernelArgs& args) {
  driver::TextPlan plan;
  if (args.items == 0) return plan;
  const int64_t rows = args.items, length = args.ints[4];
  if (length <= 32 || (rows >= 8192 && length <= 1024))
    plan.launches.push_back({0, groups_for_points(rows), {rows}});
  else
    plan.launches.push_back({1, groups_for(rows), {rows}});
  return plan;
}

enum Carried { whole, real, complex, extreme };  // QS_SCAN

const driver::KernelText* scan_text(Carried what) {
  return make_text({"walk", "number", "scan"},
                   define("QS_SCAN", what) + define("QS_ITEMS", k_text_items),
                   {"scan_rows", "scan_tiles"}, plan_scan);
}

}  // namespace

const PortableKernel& scan_extreme_kernel(DType dtype) {
  static const std::vector<PortableKernel> kernels = [] {
    std::vector<PortableKernel> list(k_dtype_count);
    for (int d = 0; d < k_dtype_count; ++d)
      dispatch(static_cast<DType>(d), [&]<class T>(T) {
        if constexpr (!k_is_complex<T>)
          list[d] = {"scan_extreme_" + std::string(k_dtype_info[d].short_name),
                     make_text({"walk", "number", "order", "scan"},
                               order_options(static_cast<DType>(d)) + define("QS_SCAN", extreme) +
                                   define("QS_ITEMS", k_text_items),
                               {"scan_rows", "scan_tiles"}, plan_scan),
                     extreme_rows<T>};
      });
    return list;
  }();
  QS_ASSERT(!is_complex(dtype));
  return kernels[static_cast<size_t>(dtype)];
}

/// Sums and products: of any integers, real and complex numbers, then rows of [from dtype][product]
/// whose kernel knows both dtypes, or is empty.
std::span<const PortableKernel> scan_sum_kernels() {
  static const std::vector<PortableKernel> kernels = [] {
    const driver::KernelText* const texts[] = {scan_text(whole), scan_text(real),
                                               scan_text(complex)};
    std::vector<PortableKernel> list = {
        {"scan_whole", texts[whole], accumulate_rows<uint64_t, void, void>},
        {"scan_real", texts[real], accumulate_rows<double, void, void>},
        {"scan_complex", texts[complex], accumulate_rows<Complex<double>, void, void>}};
    list.resize(3 + 2 * k_dtype_count);
    const auto add = [&]<int d>(std::integral_constant<int, d>) {
      const std::string name(k_dtype_info[d].short_name);
      const driver::KernelText* text = texts[is_integral(static_cast<DType>(d)) ? whole : real];
      list[3 + 2 * d] = {"scan_sum_" + name, text, accumulate_plain<2 * d>};
      list[4 + 2 * d] = {"scan_product_" + name, text, accumulate_plain<2 * d + 1>};
    };
#define QS_ADD(dtype, From, To, Acc) \
  add(std::integral_constant<int, static_cast<int>(DType::dtype)>{});
    QS_SCANNED(QS_ADD)
#undef QS_ADD
    return list;
  }();
  return kernels;
}

namespace {

const PortableKernel& scan_kernel(ScanOp op, DType from, DType to) {
  if (op == ScanOp::maximum || op == ScanOp::minimum) {
    QS_ASSERT(from == to);
    return scan_extreme_kernel(from);
  }
  const std::span<const PortableKernel> kernels = scan_sum_kernels();
  if (is_complex(to)) return kernels[2];
  const DType plain_to = is_integral(from) ? DType::i64 : from;
  if (to == plain_to && (op == ScanOp::sum || op == ScanOp::product)) {
    const size_t row = 3 + 2 * static_cast<size_t>(from) + (op == ScanOp::product);
    if (kernels[row].host) return kernels[row];
  }
  return kernels[is_integral(from) && is_integral(to) ? 0 : 1];
}

}  // namespace

KernelCall scan(ScanOp op, const View& out, const View* indices, const View& src, int dim) {
  QS_ASSERT(out.shape == src.shape);
  const bool scalar = src.shape.empty();
  const View none = {{}, DType::i64, src.shape, Dims(src.shape.size(), 0)};
  const View* views[] = {&out, &src, indices ? indices : &none};
  Space rest;
  int64_t steps[3] = {};
  for (int o = 0; o < 3; ++o) {
    const View& v = *views[o];
    if (!scalar) steps[o] = v.strides[static_cast<size_t>(dim)];
    rest.strides.push_back(scalar ? Dims{} : without(v.strides, dim));
  }
  if (!scalar) rest.shape = without(src.shape, dim);
  rest.simplify();
  const int64_t length = scalar ? 1 : src.shape[static_cast<size_t>(dim)];

  KernelCall call;
  call.kernel = &scan_kernel(op, src.dtype, out.dtype);
  driver::KernelArgs& args = call.args;
  args.pointers = {out.ptr, src.ptr};
  if (indices) args.pointers.push_back(indices->ptr);
  args.ints = {static_cast<int64_t>(op),
               static_cast<int64_t>(src.dtype),
               static_cast<int64_t>(out.dtype),
               indices != nullptr,
               length,
               steps[0],
               steps[1],
               steps[2],
               static_cast<int64_t>(rest.shape.size())};
  append(args.ints, rest.shape);
  for (const Dims& s : rest.strides) append(args.ints, s);
  args.items = length > 0 ? rest.numel() : 0;
  args.grain = std::max<int64_t>(grain_for(length, 16384), length > 1 ? 1 : 64);
  // Rows side by side are cut where lines of memory end, into as few strips as there are threads:
  // what is wide is read in long runs.
  const bool beside = !rest.shape.empty() && rest.strides[1].back() == 1 && length > 1;
  if (beside) {
    const int64_t share = args.items / ThreadPool::instance().threads();
    const int64_t strip = std::clamp<int64_t>((share + 15) / 16 * 16, 16, k_scan_strip);
    args.grain = std::max(args.grain, strip);
  }
  return call;
}

}  // namespace qs::kernels
