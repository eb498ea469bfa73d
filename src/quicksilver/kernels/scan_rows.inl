// The rows of scan_rows.h. Included once per instruction set.
#include <algorithm>

#include "quicksilver/kernels/half_rows.h"
#include "quicksilver/kernels/scan_rows.h"

namespace qs::kernels {
namespace {

constexpr int64_t k_turned = 32;  // rows, and elements of each, that are turned at once

/// One run of rows: where the first begins, and the steps along the dimension and between rows.
template <class From, class To>
struct ScanRun {
  To* to;
  const From* from;
  int64_t length, to_step, from_step, to_row, from_row;

  ScanRun behind(int64_t rows) const {
    ScanRun r = *this;
    r.to += rows * to_row;
    r.from += rows * from_row;
    return r;
  }
};

/// An element as the accumulator's kind, and back.
template <class Acc, class T>
Acc opened(T x) {
  if constexpr (k_is_half<T>)
    return static_cast<Acc>(static_cast<float>(x));
  else
    return static_cast<Acc>(x);
}
template <class T, class Acc>
T closed(Acc x) {
  if constexpr (k_is_half<T>)
    return T::of(static_cast<float>(x));
  else
    return static_cast<T>(x);
}

/// What leaves any x as it is, -0 too.
template <class Acc, bool product>
constexpr Acc k_neutral = static_cast<Acc>(product ? 1.0 : -0.0);

template <bool product, class Acc>
Acc taken(Acc acc, Acc x) {
  return product ? acc * x : acc + x;
}

/// `side` rows in registers: independent chains.
template <bool product, class Acc, int side, class From, class To>
void few_rows(const ScanRun<From, To>& run) {
  Acc acc[side];
  for (int r = 0; r < side; ++r) acc[r] = k_neutral<Acc, product>;
  const int64_t from_row = run.from_row, to_row = run.to_row;
  for (int64_t i = 0; i < run.length; ++i) {
    const From* from = run.from + i * run.from_step;
    To* to = run.to + i * run.to_step;
    for (int r = 0; r < side; ++r) {
      acc[r] = taken<product>(acc[r], opened<Acc>(from[r * from_row]));
      to[r * to_row] = closed<To>(acc[r]);
    }
  }
}

/// The same of rows that lie dense along the dimension.
template <bool product, class Acc, int side, class From, class To>
void dense_rows(const ScanRun<From, To>& run) {
  if constexpr (k_is_half<From>) {
    constexpr int64_t k_piece = 256;
    const HalfRows& rows = half_rows(std::is_same_v<From, Half<DType::bf16>>);
    Acc acc[side];
    for (int r = 0; r < side; ++r) acc[r] = k_neutral<Acc, product>;
    float wide[side][k_piece];
    for (int64_t first = 0; first < run.length; first += k_piece) {
      const int64_t n = std::min(k_piece, run.length - first);
      for (int r = 0; r < side; ++r)
        rows.widen(wide[r],
                   reinterpret_cast<const uint16_t*>(run.from + r * run.from_row + first), n);
      for (int64_t i = 0; i < n; ++i)
        for (int r = 0; r < side; ++r) {
          acc[r] = taken<product>(acc[r], static_cast<Acc>(wide[r][i]));
          wide[r][i] = static_cast<float>(acc[r]);
        }
      for (int r = 0; r < side; ++r)
        rows.narrow(reinterpret_cast<uint16_t*>(run.to + r * run.to_row + first), wide[r], n);
    }
  } else {
    ScanRun<From, To> dense = run;
    dense.to_step = dense.from_step = 1;
    few_rows<product, Acc, side>(dense);
  }
}

/// Up to k_scan_strip rows side by side: memory is walked in its own order.
template <bool product, class Acc, class From, class To>
void strip(const ScanRun<From, To>& run, int64_t rows) {
  Acc acc[k_scan_strip];
  for (int64_t r = 0; r < rows; ++r) acc[r] = k_neutral<Acc, product>;
  for (int64_t i = 0; i < run.length; ++i) {
    const From* from = run.from + i * run.from_step;
    To* to = run.to + i * run.to_step;
    if constexpr (k_is_half<From>) {
      float wide[k_scan_strip];
      const HalfRows& half = half_rows(std::is_same_v<From, Half<DType::bf16>>);
      half.widen(wide, reinterpret_cast<const uint16_t*>(from), rows);
      for (int64_t r = 0; r < rows; ++r) {
        acc[r] = taken<product>(acc[r], static_cast<Acc>(wide[r]));
        wide[r] = static_cast<float>(acc[r]);
      }
      half.narrow(reinterpret_cast<uint16_t*>(to), wide, rows);
    } else {
      for (int64_t r = 0; r < rows; ++r) {
        acc[r] = taken<product>(acc[r], static_cast<Acc>(from[r]));
        to[r] = static_cast<To>(acc[r]);
      }
    }
  }
}

/// Rows that lie side by side in `from`, and dense in `to`: turned in tiles.
template <bool product, class Acc, class From, class To>
void turned_strip(const ScanRun<From, To>& run, int64_t rows) {
  constexpr bool half = k_is_half<From>;
  using Wide = std::conditional_t<half, float, To>;
  const HalfRows& halves = half_rows(std::is_same_v<From, Half<DType::bf16>>);
  Acc acc[k_turned];
  for (int64_t r = 0; r < rows; ++r) acc[r] = k_neutral<Acc, product>;
  Wide sums[k_turned][k_turned];
  for (int64_t first = 0; first < run.length; first += k_turned) {
    const int64_t n = std::min(k_turned, run.length - first);
    for (int64_t i = 0; i < n; ++i) {
      const From* from = run.from + (first + i) * run.from_step;
      float wide[half ? k_turned : 1];
      if constexpr (half) halves.widen(wide, reinterpret_cast<const uint16_t*>(from), rows);
      for (int64_t r = 0; r < rows; ++r) {
        if constexpr (half)
          acc[r] = taken<product>(acc[r], static_cast<Acc>(wide[r]));
        else
          acc[r] = taken<product>(acc[r], static_cast<Acc>(from[r]));
        sums[i][r] = static_cast<Wide>(acc[r]);
      }
    }
    for (int64_t r = 0; r < rows; ++r) {
      To* to = run.to + r * run.to_row + first;
      if constexpr (half) {
        float row[k_turned];
        for (int64_t i = 0; i < n; ++i) row[i] = sums[i][r];
        halves.narrow(reinterpret_cast<uint16_t*>(to), row, n);
      } else {
        for (int64_t i = 0; i < n; ++i) to[i] = sums[i][r];
      }
    }
  }
}

template <bool product, class Acc, class From, class To>
void scan_run(ScanRun<From, To> run, int64_t rows) {
  const auto all = [&]<int side>(auto&& f) {
    for (; rows >= side; rows -= side, run = run.behind(side)) f(run);
  };
  if (run.to_row == 1 && run.from_row == 1) {
    while (rows > 8) {
      const int64_t n = std::min(rows, k_scan_strip);
      strip<product, Acc>(run, n);
      rows -= n;
      run = run.behind(n);
    }
    run.to_row = run.from_row = 1;
    all.template operator()<4>([](const auto& r) { few_rows<product, Acc, 4>(r); });
    all.template operator()<2>([](const auto& r) { few_rows<product, Acc, 2>(r); });
    return all.template operator()<1>([](const auto& r) { few_rows<product, Acc, 1>(r); });
  }
  if (run.to_step == 1 && run.from_step == 1) {
    // As many chains as hide an addition's latency; each is two more streams of memory.
    constexpr int side = std::is_integral_v<Acc> && !product ? 1 : 4;
    all.template operator()<side>([](const auto& r) { dense_rows<product, Acc, side>(r); });
    return all.template operator()<1>([](const auto& r) { dense_rows<product, Acc, 1>(r); });
  }
  while (run.to_step == 1 && run.from_row == 1 && rows >= 4) {
    const int64_t n = std::min(rows, k_turned);
    turned_strip<product, Acc>(run, n);
    rows -= n;
    run = run.behind(n);
  }
  all.template operator()<8>([](const auto& r) { few_rows<product, Acc, 8>(r); });
  all.template operator()<1>([](const auto& r) { few_rows<product, Acc, 1>(r); });
}

template <class From, class To, class Acc, bool product>
void scan_points(const driver::KernelView& view, int64_t begin, int64_t end) {
  const ScanFields p(view);
  To* out = static_cast<To*>(view.pointers[0]);
  const From* src = static_cast<const From*>(view.pointers[1]);
  for_runs(p.rank, p.shape, 2, p.strides, begin, end, [&](const int64_t* at, int64_t rows) {
    const int64_t last = p.rank - 1;
    const ScanRun<From, To> run = {out + at[0],
                                   src + at[1],
                                   p.length,
                                   p.step[0],
                                   p.step[1],
                                   last >= 0 ? p.strides[0][last] : 0,
                                   last >= 0 ? p.strides[1][last] : 0};
    scan_run<product, Acc>(run, rows);
  });
}

constexpr ScanTable scan_table() {
  ScanTable table{};
#define QS_ROW(dtype, From, To, Acc)                                                      \
  table[2 * static_cast<size_t>(DType::dtype)] = scan_points<From, To, Acc, false>;       \
  table[2 * static_cast<size_t>(DType::dtype) + 1] = scan_points<From, To, Acc, true>;
  QS_SCANNED(QS_ROW)
#undef QS_ROW
  return table;
}

}  // namespace
}  // namespace qs::kernels
