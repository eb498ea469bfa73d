// Walking strided spaces, shared by the kernel families: builders on top, host code below.
#pragma once
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "quicksilver/core/function_ref.h"
#include "quicksilver/core/half.h"
#include "quicksilver/kernels/kernels.h"

namespace qs::kernels {

inline constexpr int k_max_rank = 64;
inline constexpr int k_max_operands = 8 + k_max_rank;

// ---- building

/// An iteration space with the strides of each operand over it. Dimensions of extent 1 are dropped
/// and neighbours that every operand walks as one are merged, so inner runs get long.
struct Space {
  Dims shape;
  std::vector<Dims> strides;  // [operand][dimension]

  int64_t numel() const {
    int64_t n = 1;
    for (int64_t s : shape) n *= s;
    return n;
  }
  /// Merges dimension d + 1 into d for all d in [first, last - 1) where that is possible.
  void simplify() {
    for (size_t d = shape.size(); d-- > 0;)
      if (shape[d] == 1) drop(d);
    for (size_t d = shape.size(); d-- > 1;) {
      bool merge = true;
      for (const Dims& s : strides) merge = merge && s[d - 1] == s[d] * shape[d];
      if (!merge) continue;
      shape[d] *= shape[d - 1];
      drop(d - 1);
    }
  }
  /// Puts the dimension that `operand` walks in the smallest steps last, for spaces whose points
  /// may be taken in any order.
  void sort_by(size_t operand) {
    for (size_t i = 1; i < shape.size(); ++i)
      for (size_t d = i; d > 0 && step(operand, d - 1) < step(operand, d); --d) {
        std::swap(shape[d - 1], shape[d]);
        for (Dims& s : strides) std::swap(s[d - 1], s[d]);
      }
  }
  int64_t step(size_t operand, size_t d) const { return std::abs(strides[operand][d]); }
  void drop(size_t d) {
    shape.erase(d);
    for (Dims& s : strides) s.erase(d);
  }
};

inline void append(std::vector<int64_t>& ints, DimSpan values) {
  ints.insert(ints.end(), values.begin(), values.end());
}

/// Gives chunks of about `target` elements of work when an item is `work` elements.
inline int64_t grain_for(int64_t work, int64_t target = 32768) {
  return work >= target ? 1 : target / (work > 0 ? work : 1);
}

inline Dims without(const Dims& dims, int dim) {
  Dims rest = dims;
  rest.erase(static_cast<size_t>(dim));
  return rest;
}

// ---- reading

class IntReader {
 public:
  explicit IntReader(const int64_t* p) : p_(p) {}
  int64_t next() { return *p_++; }
  const int64_t* take(int64_t n) { return std::exchange(p_, p_ + n); }

 private:
  const int64_t* p_;
};

/// Calls f(offsets of the operands, length) for each run along the last dimension of the points
/// [begin, end) of a row-major space; rank 0 is one point.
template <class F>
void for_runs(int64_t rank, const int64_t* shape, int operands, const int64_t* const* strides,
              int64_t begin, int64_t end, F&& f) {
  if (begin >= end) return;
  int64_t at[k_max_rank], offsets[k_max_operands];
  for (int o = 0; o < operands; ++o) offsets[o] = 0;
  if (rank == 0) return f(offsets, int64_t{1});
  int64_t left = begin;
  for (int64_t d = rank; d-- > 0;) {
    at[d] = left % shape[d];
    left /= shape[d];
    for (int o = 0; o < operands; ++o) offsets[o] += at[d] * strides[o][d];
  }
  const int64_t last = rank - 1;
  while (begin < end) {
    const int64_t to_row_end = shape[last] - at[last];
    const int64_t length = end - begin < to_row_end ? end - begin : to_row_end;
    f(offsets, length);
    begin += length;
    if (begin >= end) return;
    for (int o = 0; o < operands; ++o) offsets[o] -= at[last] * strides[o][last];
    at[last] = 0;
    for (int64_t d = last; d-- > 0;) {
      for (int o = 0; o < operands; ++o) offsets[o] += strides[o][d];
      if (++at[d] < shape[d]) break;
      for (int o = 0; o < operands; ++o) offsets[o] -= shape[d] * strides[o][d];
      at[d] = 0;
    }
  }
}

inline int64_t load_index(DType dtype, const void* base, int64_t i) {
  switch (dtype) {
    case DType::i64:
      return static_cast<const int64_t*>(base)[i];
    case DType::i32:
      return static_cast<const int32_t*>(base)[i];
    case DType::i16:
      return static_cast<const int16_t*>(base)[i];
    case DType::i8:
      return static_cast<const int8_t*>(base)[i];
    default:
      return static_cast<const uint8_t*>(base)[i];
  }
}

/// The first report stays; the bits of all are kept.
inline void report(const driver::KernelView& view, int32_t reason, int64_t value, int64_t bound) {
  std::atomic_ref<uint64_t>(view.error->failed).fetch_or(uint64_t{1} << (view.tag & 63));
  std::atomic_ref<int32_t> set(view.error->set);
  int32_t none = 0;
  if (!set.compare_exchange_strong(none, 1 + view.tag)) return;
  view.error->reason = reason;
  view.error->value = value;
  view.error->bound = bound;
}

/// One indexed dimension: adds what an index names to an offset.
struct IndexReader {
  DType dtype;
  int64_t bound, step;
  int64_t wrap;  // what a negative index has added: bound, or 0 where it is out of range
  const int64_t* strides;
  const void* base;

  /// Takes dtype and bound; ~bound says that indices do not count from the end.
  void read(IntReader& ints) {
    dtype = static_cast<DType>(ints.next());
    bound = ints.next();
    wrap = bound < 0 ? 0 : bound;
    if (bound < 0) bound = ~bound;
  }

  /// The index at `at` within [0, bound); -1 when it is out of range, which is reported.
  template <class I>
  int64_t wrapped(const driver::KernelView& view, int64_t at) const {
    const int64_t given = static_cast<int64_t>(static_cast<const I*>(base)[at]);
    const int64_t i = given < 0 ? given + wrap : given;
    if (static_cast<uint64_t>(i) < static_cast<uint64_t>(bound)) [[likely]]
      return i;
    report(view, 1, given, bound);
    return -1;
  }
  /// False when the index at `at` is out of range, which is reported.
  bool add(const driver::KernelView& view, int64_t at, int64_t& offset) const {
    const int64_t given = load_index(dtype, base, at);
    const int64_t i = given < 0 ? given + wrap : given;
    if (static_cast<uint64_t>(i) >= static_cast<uint64_t>(bound)) [[unlikely]] {
      report(view, 1, given, bound);
      return false;
    }
    offset += i * step;
    return true;
  }
};

/// Calls f with a value of the index dtype.
template <class F>
void dispatch_index(DType dtype, F&& f) {
  switch (dtype) {
    case DType::i64:
      return f(int64_t{});
    case DType::i32:
      return f(int32_t{});
    case DType::i16:
      return f(int16_t{});
    case DType::i8:
      return f(int8_t{});
    default:
      return f(uint8_t{});
  }
}

/// Calls f with a value of the C++ type that holds `dtype` in memory (f16, bf16: Half<dtype>).
template <DType D>
struct Half {
  uint16_t bits;
  explicit operator float() const { return D == DType::f16 ? f16_to_f32(bits) : bf16_to_f32(bits); }
  static Half of(float x) { return {D == DType::f16 ? f32_to_f16(x) : f32_to_bf16(x)}; }
};
template <class T>
struct Complex {
  T re, im;
};

template <class F>
void dispatch(DType dtype, F&& f) {
  switch (dtype) {
    case DType::bool_:
      return f(bool{});
    case DType::u8:
      return f(uint8_t{});
    case DType::i8:
      return f(int8_t{});
    case DType::i16:
      return f(int16_t{});
    case DType::i32:
      return f(int32_t{});
    case DType::i64:
      return f(int64_t{});
    case DType::u16:
      return f(uint16_t{});
    case DType::u32:
      return f(uint32_t{});
    case DType::u64:
      return f(uint64_t{});
    case DType::f16:
      return f(Half<DType::f16>{});
    case DType::bf16:
      return f(Half<DType::bf16>{});
    case DType::f32:
      return f(float{});
    case DType::f64:
      return f(double{});
    case DType::c64:
      return f(Complex<float>{});
    case DType::c128:
      return f(Complex<double>{});
  }
}

template <class T>
inline constexpr bool k_is_half =
    std::is_same_v<T, Half<DType::f16>> || std::is_same_v<T, Half<DType::bf16>>;
template <class T>
inline constexpr bool k_is_complex =
    std::is_same_v<T, Complex<float>> || std::is_same_v<T, Complex<double>>;

}  // namespace qs::kernels
