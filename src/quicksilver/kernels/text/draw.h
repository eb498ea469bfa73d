// Text: Poisson, Gamma and binomial draws; behind walk.h, number.h and philox.h. Pointers, ints and
// the methods: kernels/draw.cpp. steps: points. Where `real` is f32 draws differ from those of
// other devices now and then, as a test that accepts a candidate is decided by the last bits of a
// logarithm.

struct Stream {
  u64 seed, offset, element;
  u32 group, at;
  Philox block;
};

/// Uniform in (0, 1).
QS_FUNCTION real next_unit(QS_THREAD Stream& s) {
  if (s.at == 4) {
    s.block = philox_block(s.element, s.offset ^ (u64)(++s.group << 8) << 32, s.seed);
    s.at = 0;
  }
#if QS_HAS_F64
  return ((real)s.block.word[s.at++] + 0.5) * (real)2.3283064365386963e-10;
#else
  return ((real)(s.block.word[s.at++] >> 8) + 0.5f) * 5.9604644775390625e-8f;
#endif
}

QS_FUNCTION real next_normal(QS_THREAD Stream& s) {
  const real u = next_unit(s);
  return sqrt(-2 * log(u)) * cos((real)6.28318530717958647693 * next_unit(s));
}

QS_FUNCTION real draw_poisson(QS_THREAD Stream& s, real mean) {
  if (mean != mean) return mean;
  if (!(mean > 0)) return 0;
  if (mean < 10) {
    const real limit = exp(-mean);
    real product = next_unit(s), k = 0;
    for (; product > limit; k += 1) product *= next_unit(s);
    return k;
  }
  const real root = sqrt(mean), log_mean = log(mean);
  const real b = (real)0.931 + (real)2.53 * root, a = (real)-0.059 + (real)0.02483 * b;
  const real inverse_alpha = (real)1.1239 + (real)1.1328 / (b - (real)3.4);
  const real vr = (real)0.9277 - (real)3.6224 / (b - 2);
  for (;;) {
    const real u = next_unit(s) - (real)0.5, v = next_unit(s), us = (real)0.5 - fabs(u);
    const real k = floor((2 * a / us + b) * u + mean + (real)0.43);
    if (us >= (real)0.07 && v <= vr) return k;
    if (k < 0 || (us < (real)0.013 && v > us)) continue;
    if (log(v) + log(inverse_alpha) - log(a / (us * us) + b) <= k * log_mean - mean - lgamma(k + 1))
      return k;
  }
}

QS_FUNCTION real draw_gamma(QS_THREAD Stream& s, real shape) {
  if (!(shape > 0)) return shape == 0 ? (real)0 : (real)qs_f32(0x7fc00000);
  real scale = 1;
  if (shape < 1) {
    scale = pow(next_unit(s), 1 / shape);
    shape += 1;
  }
  const real d = shape - (real)1 / 3, c = 1 / sqrt(9 * d);
  for (;;) {
    real x = 0, v = 0;
    do {
      x = next_normal(s);
      v = 1 + c * x;
    } while (v <= 0);
    v = v * v * v;
    const real u = next_unit(s), x2 = x * x;
    if (u < 1 - (real)0.0331 * x2 * x2 || log(u) < (real)0.5 * x2 + d * (1 - v + log(v)))
      return scale * d * v;
  }
}

/// Of Stirling's series for log(k!).
QS_FUNCTION real stirling_tail(real k) {
  return lgamma(k + 1) - ((k + (real)0.5) * log(k + 1) - (k + 1) + (real)0.91893853320467274178);
}

/// p in (0, 0.5].
QS_FUNCTION real draw_successes(QS_THREAD Stream& s, real count, real p) {
  if (count * p < 10) {
    const real log_q = log1p(-p);
    real sum = 0;
    for (real k = 0;; k += 1) {
      sum += ceil(log(next_unit(s)) / log_q);
      if (sum > count) return k;
    }
  }
  const real spread = sqrt(count * p * (1 - p));
  const real b = (real)1.15 + (real)2.53 * spread,
             a = (real)-0.0873 + (real)0.0248 * b + (real)0.01 * p;
  const real c = count * p + (real)0.5, vr = (real)0.92 - (real)4.2 / b;
  const real alpha = ((real)2.83 + (real)5.1 / b) * spread;
  const real r = p / (1 - p), m = floor((count + 1) * p);
  for (;;) {
    const real u = next_unit(s) - (real)0.5;
    real v = next_unit(s);
    const real us = (real)0.5 - fabs(u), k = floor((2 * a / us + b) * u + c);
    if (us >= (real)0.07 && v <= vr) return k;
    if (k < 0 || k > count) continue;
    v = log(v * alpha / (a / (us * us) + b));
    const real bound = (m + (real)0.5) * log((m + 1) / (r * (count - m + 1))) +
                       (count + 1) * log((count - m + 1) / (count - k + 1)) +
                       (k + (real)0.5) * log(r * (count - k + 1) / (k + 1)) + stirling_tail(m) +
                       stirling_tail(count - m) - stirling_tail(k) - stirling_tail(count - k);
    if (v <= bound) return k;
  }
}

QS_FUNCTION real draw_binomial(QS_THREAD Stream& s, real count, real p) {
  if (count != count || p != p) return (real)qs_f32(0x7fc00000);
  if (count <= 0 || p <= 0) return 0;
  if (p >= 1) return count;
  return p > (real)0.5 ? count - draw_successes(s, count, 1 - p) : draw_successes(s, count, p);
}

QS_KERNEL(draw_points) {
  QS_BEGIN;
  const i64 which = qs.ints[0], dtype = qs.ints[1], rank = qs.ints[2];
  QS_CONSTANT const i64* shape = qs.ints + 3;
  QS_CONSTANT const i64* strides = shape + rank;
  for (i64 point = (i64)QS_AT * QS_THREADS + QS_LOCAL; point < qs.steps[0];
       point += (i64)QS_GROUPS * QS_THREADS) {
    Stream s = {qs.words[0], qs.words[1], (u64)point, 0, 4, {{0, 0, 0, 0}}};
    const real x = load_real(qs.pointers[1], dtype, offset_of(shape, strides + rank, rank, point));
    real y = 0;
    if (which == 0) y = draw_poisson(s, x);
    if (which == 1) y = draw_gamma(s, x);
    if (which == 2)
      y = draw_binomial(
          s, x,
          load_real(qs.pointers[2], dtype, offset_of(shape, strides + 2 * rank, rank, point)));
    // A Gamma draw of a tiny shape is not 0.
    if (which == 1 && dtype == 11 && (f32)y == 0 && x > 0) y = (real)qs_f32(0x00800000);
    store_real(qs.pointers[0], dtype, offset_of(shape, strides, rank, point), y);
  }
}
