#include "quicksilver/kernels/resample_taps.h"

#include <algorithm>
#include <cmath>

#include "quicksilver/core/error.h"

namespace qs::kernels {
namespace {

/// Distance between results in elements of the input. `S`: float or double.
template <class S>
S step_of(const Resample& how, int d, int64_t in, int64_t out, bool corners) {
  if (corners) return out > 1 ? static_cast<S>(in - 1) / static_cast<S>(out - 1) : S(0);
  const double given = how.scale[d];
  return given > 0 ? static_cast<S>(1.0 / given) : static_cast<S>(in) / static_cast<S>(out);
}

/// Where the centre of result o lies.
template <class S>
S position(S step, int64_t o, bool corners) {
  return corners ? step * static_cast<S>(o) : step * (static_cast<S>(o) + S(0.5)) - S(0.5);
}

// Keys 1981, "Cubic convolution interpolation": within one element, within two.
double near_cubic(double x, double a) { return ((a + 2) * x - (a + 3)) * x * x + 1; }
double far_cubic(double x, double a) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; }

double sinc(double x) {
  const double at = x * 3.14159265358979323846;
  return x == 0 ? 1 : std::sin(at) / at;
}

int64_t inside(int64_t i, int64_t n) { return std::clamp<int64_t>(i, 0, n - 1); }

/// Element i of a padded row, brought back inside [0, n).
int64_t bring_back(Resampling mode, int64_t i, int64_t n) {
  if (mode == Resampling::replicate) return inside(i, n);
  if (mode == Resampling::circular) return ((i % n) + n) % n;
  if (n == 1) return 0;
  const int64_t period = 2 * (n - 1), at = ((i % period) + period) % period;
  return at < n ? at : period - at;
}

class Builder {
 public:
  explicit Builder(int64_t out) { taps.begin.reserve(static_cast<size_t>(out) + 1); }
  void next() { taps.begin.push_back(static_cast<int64_t>(taps.index.size())); }
  void add(int64_t index, double weight) {
    taps.index.push_back(index);
    taps.weight.push_back(weight);
  }
  Taps taps;
};

template <class S>
void nearest(Builder& b, const Resample& how, int d, int64_t in, int64_t out) {
  const bool exact = how.mode == Resampling::nearest_exact;
  // PyTorch computes these positions in float whatever the dtype.
  const float step = step_of<float>(how, d, in, out, false);
  for (int64_t o = 0; o < out; ++o) {
    int64_t i;
    if (exact)
      i = static_cast<int64_t>(std::floor((static_cast<float>(o) + 0.5f) * step));
    else if (out == in)
      i = o;
    else if (out == 2 * in)
      i = o >> 1;
    else
      i = static_cast<int64_t>(std::floor(static_cast<float>(o) * step));
    b.next();
    b.add(std::min(i, in - 1), 1);
  }
}

template <class S>
void linear(Builder& b, const Resample& how, int d, int64_t in, int64_t out) {
  const S step = step_of<S>(how, d, in, out, how.align_corners);
  for (int64_t o = 0; o < out; ++o) {
    b.next();
    if (in == out) {
      b.add(o, 1);
      continue;
    }
    const S at = std::max(S(0), position(step, o, how.align_corners));
    const int64_t i = std::min(static_cast<int64_t>(at), in - 1);
    const S second = std::clamp(at - static_cast<S>(i), S(0), S(1));
    b.add(i, static_cast<double>(S(1) - second));
    b.add(std::min(i + 1, in - 1), static_cast<double>(second));
  }
}

template <class S>
void cubic(Builder& b, const Resample& how, int d, int64_t in, int64_t out) {
  const S step = step_of<S>(how, d, in, out, how.align_corners);
  for (int64_t o = 0; o < out; ++o) {
    b.next();
    const S at = position(step, o, how.align_corners);
    const auto i = static_cast<int64_t>(std::floor(at));
    const auto t = static_cast<double>(std::clamp(at - std::floor(at), S(0), S(1)));
    constexpr double a = -0.75;
    const double weights[] = {far_cubic(t + 1, a), near_cubic(t, a), near_cubic(1 - t, a),
                              far_cubic(2 - t, a)};
    for (int k = 0; k < 4; ++k) b.add(inside(i - 1 + k, in), weights[k]);
  }
}

/// A filter as wide as the step, so that shrinking averages: what Pillow does.
void antialiased(Builder& b, const Resample& how, int d, int64_t in, int64_t out) {
  const bool is_cubic = how.mode == Resampling::cubic, is_lanczos = how.mode == Resampling::lanczos;
  const auto step = step_of<double>(how, d, in, out, how.align_corners);
  const double size = is_lanczos ? 6 : is_cubic ? 4 : 2;
  const double support = step >= 1 ? size * 0.5 * step : size * 0.5;
  const double inverse = step >= 1 ? 1 / step : 1;
  const auto filter = [&](double x) {
    x = std::abs(x);
    if (is_lanczos) return x < 3 ? sinc(x) * sinc(x / 3) : 0.0;
    if (!is_cubic) return x < 1 ? 1 - x : 0.0;
    return x < 1 ? near_cubic(x, -0.5) : x < 2 ? far_cubic(x, -0.5) : 0.0;
  };
  std::vector<double> weights;
  for (int64_t o = 0; o < out; ++o) {
    const double centre = step * (static_cast<double>(o) + 0.5);
    const auto first = std::max<int64_t>(static_cast<int64_t>(centre - support + 0.5), 0);
    const int64_t last = std::min(static_cast<int64_t>(centre + support + 0.5), in);
    weights.clear();
    double total = 0;
    for (int64_t i = first; i < last; ++i) {
      weights.push_back(filter((static_cast<double>(i) - centre + 0.5) * inverse));
      total += weights.back();
    }
    b.next();
    for (int64_t i = first; i < last; ++i) {
      const double w = weights[static_cast<size_t>(i - first)];
      b.add(i, total != 0 ? w / total : w);
    }
  }
}

template <class S>
void build(Builder& b, const Resample& how, int d, int64_t in, int64_t out) {
  switch (how.mode) {
    case Resampling::nearest:
    case Resampling::nearest_exact:
      return nearest<S>(b, how, d, in, out);
    case Resampling::linear:
      return how.antialias ? antialiased(b, how, d, in, out) : linear<S>(b, how, d, in, out);
    case Resampling::lanczos:
      return antialiased(b, how, d, in, out);
    case Resampling::cubic:
      return how.antialias ? antialiased(b, how, d, in, out) : cubic<S>(b, how, d, in, out);
    default:
      for (int64_t o = 0; o < out; ++o) {
        b.next();
        b.add(bring_back(how.mode, o - how.padding[d], in), 1);
      }
  }
}

}  // namespace

bool Taps::picks() const {
  bool one = index.size() + 1 == begin.size();
  for (size_t o = 0; one && o < index.size(); ++o)
    one = begin[o] == static_cast<int64_t>(o) && weight[o] == 1;
  return one;
}

Taps taps_of(const Resample& how, int d, int64_t in, int64_t out, bool single) {
  Builder b(out);
  if (in > 0) {
    if (single)
      build<float>(b, how, d, in, out);
    else
      build<double>(b, how, d, in, out);
  }
  b.next();
  return std::move(b.taps);
}

Taps transpose(const Taps& taps, int64_t in) {
  Taps back;
  std::vector<int64_t> count(static_cast<size_t>(in) + 1, 0);
  for (int64_t i : taps.index) ++count[static_cast<size_t>(i) + 1];
  for (int64_t i = 0; i < in; ++i)
    count[static_cast<size_t>(i) + 1] += count[static_cast<size_t>(i)];
  back.begin = count;
  back.index.resize(taps.index.size());
  back.weight.resize(taps.index.size());
  for (size_t o = 0; o + 1 < taps.begin.size(); ++o)
    for (int64_t t = taps.begin[o]; t < taps.begin[o + 1]; ++t) {
      const auto to =
          static_cast<size_t>(count[static_cast<size_t>(taps.index[static_cast<size_t>(t)])]++);
      back.index[to] = static_cast<int64_t>(o);
      back.weight[to] = taps.weight[static_cast<size_t>(t)];
    }
  return back;
}

}  // namespace qs::kernels
