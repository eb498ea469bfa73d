// Draws that take an uncertain number of random words: Poisson, Gamma and binomial.
//
// Element i has a stream of its own: Philox4x32-10 with counter (i, word group, offset) and key
// seed. So a draw depends on its place alone, not on how the elements are dealt out to threads.
//
// pointers  out, a, b (binomial)
// ints      which, dtype of a (and out), rank, shape, strides of out, a, b
// scalars   seed, offset
// items     points, row-major
//
// Poisson: Knuth's product below mean 10, else PTRS (Hormann 1993, "The transformed rejection
// method for generating Poisson random variables"). Gamma: Marsaglia and Tsang 2000. Binomial:
// waiting times below mean 10, else BTRS (Hormann 1993, "The generation of binomial random
// variates").
#include <cmath>

#include "quicksilver/core/error.h"
#include "quicksilver/kernels/strided.h"
#include "quicksilver/kernels/texts.h"

namespace qs::kernels {
namespace {

using driver::KernelView;
using driver::PortableKernel;

class Stream {
 public:
  Stream(uint64_t seed, uint64_t offset, uint64_t element)
      : seed_(seed), offset_(offset), element_(element) {}

  /// Uniform in (0, 1).
  double unit() {
    if (at_ == 4) refill();
    return (static_cast<double>(words_[at_++]) + 0.5) * 0x1p-32;
  }
  double normal() {
    const double u = unit();
    return std::sqrt(-2 * std::log(u)) * std::cos(6.28318530717958647693 * unit());
  }

 private:
  void refill() {
    uint32_t c[4] = {static_cast<uint32_t>(element_), static_cast<uint32_t>(element_ >> 32),
                     static_cast<uint32_t>(offset_),
                     static_cast<uint32_t>(offset_ >> 32) ^ ++group_ << 8};
    uint32_t k0 = static_cast<uint32_t>(seed_), k1 = static_cast<uint32_t>(seed_ >> 32);
    for (int round = 0; round < 10; ++round) {
      const uint64_t a = uint64_t{0xD2511F53} * c[0], b = uint64_t{0xCD9E8D57} * c[2];
      const uint32_t next[4] = {
          static_cast<uint32_t>(b >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(b),
          static_cast<uint32_t>(a >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(a)};
      for (int i = 0; i < 4; ++i) c[i] = next[i];
      k0 += 0x9E3779B9;
      k1 += 0xBB67AE85;
    }
    for (int i = 0; i < 4; ++i) words_[i] = c[i];
    at_ = 0;
  }

  uint64_t seed_, offset_, element_;
  uint32_t group_ = 0, words_[4] = {};
  int at_ = 4;
};

double poisson(Stream& s, double mean) {
  if (std::isnan(mean)) return mean;
  if (!(mean > 0)) return 0;
  if (mean < 10) {
    const double limit = std::exp(-mean);
    double product = s.unit();
    int64_t k = 0;
    for (; product > limit; ++k) product *= s.unit();
    return static_cast<double>(k);
  }
  const double root = std::sqrt(mean), log_mean = std::log(mean);
  const double b = 0.931 + 2.53 * root, a = -0.059 + 0.02483 * b;
  const double inverse_alpha = 1.1239 + 1.1328 / (b - 3.4), vr = 0.9277 - 3.6224 / (b - 2);
  for (;;) {
    const double u = s.unit() - 0.5, v = s.unit(), us = 0.5 - std::fabs(u);
    const double k = std::floor((2 * a / us + b) * u + mean + 0.43);
    if (us >= 0.07 && v <= vr) return k;
    if (k < 0 || (us < 0.013 && v > us)) continue;
    if (std::log(v) + std::log(inverse_alpha) - std::log(a / (us * us) + b) <=
        k * log_mean - mean - std::lgamma(k + 1))
      return k;
  }
}

double gamma(Stream& s, double shape) {
  if (!(shape > 0)) return shape == 0 ? 0 : NAN;
  double scale = 1;
  if (shape < 1) {
    scale = std::pow(s.unit(), 1 / shape);
    shape += 1;
  }
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    double x = 0, v = 0;
    do {
      x = s.normal();
      v = 1 + c * x;
    } while (v <= 0);
    v = v * v * v;
    const double u = s.unit(), x2 = x * x;
    if (u < 1 - 0.0331 * x2 * x2 || std::log(u) < 0.5 * x2 + d * (1 - v + std::log(v)))
      return scale * d * v;
  }
}

double tail(double k) {  // of Stirling's series for log(k!)
  return std::lgamma(k + 1) - ((k + 0.5) * std::log(k + 1) - (k + 1) + 0.91893853320467274178);
}

double binomial(Stream& s, double count, double p) {
  if (std::isnan(count) || std::isnan(p)) return NAN;
  if (count <= 0 || p <= 0) return 0;
  if (p >= 1) return count;
  if (p > 0.5) return count - binomial(s, count, 1 - p);
  if (count * p < 10) {  // the waiting times between successes are geometric
    const double log_q = std::log1p(-p);
    double sum = 0;
    for (int64_t k = 0;; ++k) {
      sum += std::ceil(std::log(s.unit()) / log_q);
      if (sum > count) return static_cast<double>(k);
    }
  }
  const double spread = std::sqrt(count * p * (1 - p));
  const double b = 1.15 + 2.53 * spread, a = -0.0873 + 0.0248 * b + 0.01 * p;
  const double c = count * p + 0.5, vr = 0.92 - 4.2 / b, alpha = (2.83 + 5.1 / b) * spread;
  const double r = p / (1 - p), m = std::floor((count + 1) * p);
  for (;;) {
    const double u = s.unit() - 0.5;
    double v = s.unit();
    const double us = 0.5 - std::fabs(u), k = std::floor((2 * a / us + b) * u + c);
    if (us >= 0.07 && v <= vr) return k;
    if (k < 0 || k > count) continue;
    v = std::log(v * alpha / (a / (us * us) + b));
    const double bound = (m + 0.5) * std::log((m + 1) / (r * (count - m + 1))) +
                         (count + 1) * std::log((count - m + 1) / (count - k + 1)) +
                         (k + 0.5) * std::log(r * (count - k + 1) / (k + 1)) + tail(m) +
                         tail(count - m) - tail(k) - tail(count - k);
    if (v <= bound) return k;
  }
}

template <class T>
void draw_points(const KernelView& view, int64_t begin, int64_t end) {
  IntReader ints(view.ints);
  const int64_t which = ints.next();
  ints.next();
  const int64_t rank = ints.next();
  const int64_t* shape = ints.take(rank);
  const int64_t* strides[3];
  for (const int64_t*& s : strides) s = ints.take(rank);
  T* out = static_cast<T*>(view.pointers[0]);
  const T* a = static_cast<const T*>(view.pointers[1]);
  const T* b = which == 2 ? static_cast<const T*>(view.pointers[2]) : a;
  int64_t element = begin;
  for_runs(rank, shape, 3, strides, begin, end, [&](const int64_t* at, int64_t length) {
    for (int64_t i = 0; i < length; ++i, ++element) {
      const auto place = [&](int o) { return at[o] + (rank > 0 ? i * strides[o][rank - 1] : 0); };
      Stream s(view.scalars[0], view.scalars[1], static_cast<uint64_t>(element));
      const auto value = [](T x) {
        if constexpr (k_is_half<T>)
          return static_cast<double>(static_cast<float>(x));
        else
          return static_cast<double>(x);
      };
      const double x = value(a[place(1)]);
      const double y = which == 0   ? poisson(s, x)
                       : which == 1 ? gamma(s, x)
                                    : binomial(s, x, value(b[place(2)]));
      if constexpr (k_is_half<T>)
        out[place(0)] = T::of(static_cast<float>(y));
      else
        out[place(0)] = static_cast<T>(y);
      if constexpr (std::is_same_v<T, float>)  // a Gamma draw of a tiny shape is not 0
        if (which == 1 && out[place(0)] == 0 && x > 0) out[place(0)] = 1.17549435e-38f;
    }
  });
}

}  // namespace

const PortableKernel& draw_kernel(DType dtype) {
  static const std::vector<PortableKernel> kernels = [] {
    const driver::KernelText* text =
        make_text({"walk", "number", "philox", "draw"}, "", {"draw_points"}, plan_points);
    std::vector<PortableKernel> list(k_dtype_count);
    for (int d = 0; d < k_dtype_count; ++d)
      dispatch(static_cast<DType>(d), [&]<class T>(T) {
        if constexpr (std::is_floating_point_v<T> || k_is_half<T>)
          list[d] = {"draw_" + std::string(k_dtype_info[d].short_name), text, draw_points<T>};
      });
    return list;
  }();
  QS_ASSERT(is_floating(dtype));
  return kernels[static_cast<size_t>(dtype)];
}

KernelCall draw(Draw which, const View& out, const View& a, const View* b,
                const driver::ScalarRef& seed, const driver::ScalarRef& offset) {
  QS_ASSERT(out.shape == a.shape && out.dtype == a.dtype);
  const View* views[] = {&out, &a, b ? b : &a};
  // Not simplified: a stream belongs to an element's row-major place in the tensor.
  KernelCall call;
  call.kernel = &draw_kernel(out.dtype);
  driver::KernelArgs& args = call.args;
  args.pointers = {out.ptr, a.ptr};
  if (b) args.pointers.push_back(b->ptr);
  args.scalars = {seed, offset};
  args.ints = {static_cast<int64_t>(which), static_cast<int64_t>(a.dtype),
               static_cast<int64_t>(out.shape.size())};
  append(args.ints, out.shape);
  for (const View* v : views) append(args.ints, v->strides);
  args.items = 1;
  for (int64_t s : out.shape) args.items *= s;
  args.grain = 256;
  return call;
}

}  // namespace qs::kernels
