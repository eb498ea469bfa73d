// Running sums and products of rows, compiled for each instruction set; all give the same bits.
#pragma once
#include <array>

#include "quicksilver/kernels/strided.h"

namespace qs::kernels {

/// What scan.cpp says in ints.
struct ScanFields {
  ScanOp op;
  DType from, to;
  bool with_indices;
  int64_t length, step[3], rank;
  const int64_t* shape;
  const int64_t* strides[3];

  explicit ScanFields(const driver::KernelView& view) {
    IntReader ints(view.ints);
    op = static_cast<ScanOp>(ints.next());
    from = static_cast<DType>(ints.next());
    to = static_cast<DType>(ints.next());
    with_indices = ints.next() != 0;
    length = ints.next();
    for (int64_t& s : step) s = ints.next();
    rank = ints.next();
    shape = ints.take(rank);
    for (const int64_t*& s : strides) s = ints.take(rank);
  }
};

/// Rows side by side that are walked together, at most.
inline constexpr int64_t k_scan_strip = 512;

/// f(dtype, type in memory, the result's type, the accumulator's type)
#define QS_SCANNED(f)                                                                              \
  f(f32, float, float, double) f(f64, double, double, double)                                      \
      f(f16, Half<DType::f16>, Half<DType::f16>, double)                                           \
          f(bf16, Half<DType::bf16>, Half<DType::bf16>, double) f(i64, int64_t, int64_t, uint64_t) \
              f(i32, int32_t, int64_t, uint64_t) f(i16, int16_t, int64_t, uint64_t)                \
                  f(i8, int8_t, int64_t, uint64_t) f(u8, uint8_t, int64_t, uint64_t)               \
                      f(bool_, bool, int64_t, uint64_t)

/// [2 * dtype + product], of the dtypes above; the others are null.
using ScanTable = std::array<driver::HostFunction, 2 * k_dtype_count>;

/// For the instruction set in use (core/cpu_info.h).
const ScanTable& scan_rows();

extern const ScanTable k_scan_rows_generic;
#if defined(__x86_64__)
extern const ScanTable k_scan_rows_avx2, k_scan_rows_avx512;
#endif

}  // namespace qs::kernels
