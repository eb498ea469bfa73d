// What the kernels over windows share: planes of up to three dimensions within strided tensors, and
// rows of them in the type that is computed with.
//
// ints   rank of what counts planes, its shape, its strides of each operand; for each operand the
//        extents and the strides of its plane (three each); then the family's own.
#pragma once
#include <algorithm>
#include <vector>

#include "quicksilver/kernels/strided.h"
#include "quicksilver/kernels/windows.h"

namespace qs::kernels {

/// What elements of type T are added up in: half precision in f32.
template <class T>
using Wide = std::conditional_t<k_is_half<T>, float, T>;

template <class T>
Wide<T> widen(T x) {
  return static_cast<Wide<T>>(x);
}
template <class T>
T narrow(Wide<T> x) {
  if constexpr (k_is_half<T>)
    return T::of(x);
  else
    return x;
}

// ---- building

inline int64_t numel_of(const View& v) {
  int64_t n = 1;
  for (int64_t s : v.shape) n *= s;
  return n;
}

/// Appends the planes of the operands; returns their number.
inline int64_t append_planes(std::vector<int64_t>& ints, std::span<const View* const> views,
                             int spatial) {
  Space space;
  const size_t lead = views[0]->shape.size() - static_cast<size_t>(spatial);
  space.shape = Dims(DimSpan(views[0]->shape).first(lead));
  for (const View* v : views) space.strides.push_back(Dims(DimSpan(v->strides).first(lead)));
  space.simplify();
  ints.push_back(static_cast<int64_t>(space.shape.size()));
  append(ints, space.shape);
  for (const Dims& s : space.strides) append(ints, s);
  for (const View* v : views) {
    for (const Dims& dims : {v->shape, v->strides}) {
      for (int d = spatial; d < k_most_spatial; ++d) ints.push_back(&dims == &v->strides ? 0 : 1);
      append(ints, DimSpan(dims).last(static_cast<size_t>(spatial)));
    }
  }
  return space.numel();
}

// ---- reading

/// One operand's planes.
struct Plane {
  const int64_t* lead;     // strides from plane to plane
  const int64_t* extents;  // three
  const int64_t* strides;  // three
  int64_t numel() const { return extents[0] * extents[1] * extents[2]; }
  bool is_dense() const {
    return (strides[2] == 1 || extents[2] == 1) && (strides[1] == extents[2] || extents[1] == 1) &&
           (strides[0] == extents[1] * extents[2] || extents[0] == 1);
  }
  int64_t row(int64_t d, int64_t h) const { return d * strides[0] + h * strides[1]; }
};

template <int operands>
struct Planes {
  int64_t rank;
  const int64_t* shape;
  Plane of[operands];

  explicit Planes(IntReader& ints) {
    rank = ints.next();
    shape = ints.take(rank);
    for (Plane& p : of) p.lead = ints.take(rank);
    for (Plane& p : of) {
      p.extents = ints.take(k_most_spatial);
      p.strides = ints.take(k_most_spatial);
    }
  }
  /// Where plane `index` begins in each operand.
  void locate(int64_t index, int64_t* offsets) const {
    for (int o = 0; o < operands; ++o) offsets[o] = 0;
    for (int64_t d = rank; d-- > 0;) {
      const int64_t at = index % shape[d];
      index /= shape[d];
      for (int o = 0; o < operands; ++o) offsets[o] += at * of[o].lead[d];
    }
  }
};

/// Rows of a plane as contiguous values of Wide<T>: themselves where they are that already.
template <class T>
class RowReader {
 public:
  RowReader(const void* base, const Plane& plane)
      : base_(static_cast<const T*>(base)), plane_(plane) {
    if (!direct()) buffer_.resize(static_cast<size_t>(plane.extents[2]));
  }
  bool direct() const {
    return std::is_same_v<T, Wide<T>> && (plane_.strides[2] == 1 || plane_.extents[2] == 1);
  }
  const Wide<T>* row(int64_t start, int64_t d, int64_t h) {
    const T* from = base_ + start + plane_.row(d, h);
    if constexpr (std::is_same_v<T, Wide<T>>)
      if (direct()) return from;
    const int64_t step = plane_.strides[2];
    for (int64_t i = 0; i < plane_.extents[2]; ++i)
      buffer_[static_cast<size_t>(i)] = widen(from[i * step]);
    return buffer_.data();
  }

 private:
  const T* base_;
  const Plane& plane_;
  std::vector<Wide<T>> buffer_;
};

template <class T>
void store_row(T* to, int64_t step, const Wide<T>* from, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i * step] = narrow<T>(from[i]);
}

/// A whole plane to add into: in place where the destination is dense and of the type, else in a
/// buffer that `finish` rounds once into the destination.
template <class T>
class PlaneAdder {
 public:
  PlaneAdder(void* base, const Plane& plane) : base_(static_cast<T*>(base)), plane_(plane) {
    if (!std::is_same_v<T, Wide<T>> || !plane.is_dense())
      buffer_.resize(static_cast<size_t>(plane.numel()));
  }
  /// Zeros.
  Wide<T>* begin(int64_t start) {
    to_ = base_ + start;
    Wide<T>* sums = buffer_.data();
    if constexpr (std::is_same_v<T, Wide<T>>)
      if (buffer_.empty()) sums = to_;
    std::fill_n(sums, plane_.numel(), Wide<T>(0));
    return sums;
  }
  void finish() {
    if (buffer_.empty()) return;
    const int64_t* e = plane_.extents;
    const Wide<T>* from = buffer_.data();
    for (int64_t d = 0; d < e[0]; ++d)
      for (int64_t h = 0; h < e[1]; ++h, from += e[2])
        store_row(to_ + plane_.row(d, h), plane_.strides[2], from, e[2]);
  }

 private:
  T* base_;
  T* to_ = nullptr;
  const Plane& plane_;
  std::vector<Wide<T>> buffer_;
};

}  // namespace qs::kernels
