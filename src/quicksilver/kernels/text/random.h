// Text: the random ops of graph/ops.def as kernels; behind walk.h, number.h and philox.h. What they
// compute is what the op table says, rounded where it rounds: a driver whose generated text calls
// these functions draws the same numbers. Pointers and ints: kernels/random.cpp. steps: points.
//
// Option: QS_F64 1 to compute in f64, as ops on f64 do; else in f32.

#if QS_F64
typedef f64 number;
QS_FUNCTION number random_unit(u32 bits) { return (number)bits * (number)2.3283064365386963e-10; }
#else
typedef f32 number;
/// In [0, 1): 24 bits fill an f32; more would round up to 1.
QS_FUNCTION number random_unit(u32 bits) { return (number)(bits >> 8) * 5.9604644775390625e-8f; }
#endif

/// In [from, to). `digits`: keep that many, so that rounding to a short dtype cannot give `to`; 0:
/// all.
QS_FUNCTION number random_uniform(u32 bits, number from, number to, i64 digits) {
  number unit = random_unit(bits);
  if (digits) {
    const number steps = (number)((u32)1 << digits);
    unit = floor(unit * steps) * (1 / steps);
  }
  return unit * (to - from) + from;
}

/// Box and Muller on two draws.
QS_FUNCTION number random_normal(u32 bits, u32 more_bits, number mean, number deviation) {
  const number radius = sqrt(log(1 - random_unit(bits)) * -2);
  return radius * cos(random_unit(more_bits) * (number)6.28318530717958647693) * deviation + mean;
}

/// `range` > 0; `wide` when it is beyond 2^32.
QS_FUNCTION i64 random_integer(u32 bits, u32 more_bits, i64 low, i64 range, bool wide) {
  const u64 all = wide ? (u64)bits + ((u64)(more_bits & 0x7fffffff) << 32) : (u64)bits;
  return (i64)((u64)low + all % (u64)range);
}

QS_KERNEL(random_points) {
  QS_BEGIN;
  const i64 which = qs.ints[0], dtype = qs.ints[1], attribute = qs.ints[2], rank = qs.ints[3];
  QS_CONSTANT const i64* shape = qs.ints + 4;
  const u64 seed = qs.words[2], offset = qs.words[3];
  for (i64 point = (i64)QS_AT * QS_THREADS + QS_LOCAL; point < qs.steps[0];
       point += (i64)QS_GROUPS * QS_THREADS) {
    const i64 to = offset_of(shape, shape + rank, rank, point);
    const u32 bits = random_bits(point, seed, offset, 0);
    if (which == 3) {
      const u32 more_bits = attribute ? random_bits(point, seed, offset, 1) : 0;
      const i64 x = random_integer(bits, more_bits, (i64)qs.words[0], (i64)qs.words[1], attribute);
      if (dtype == 5)
        QS_OPERAND(i64, 0)[to] = x;
      else
        store_real(qs.pointers[0], dtype, to, (real)x);
      continue;
    }
    const number a = qs.ints[4 + 2 * rank] != 0
                         ? (number)load_real(qs.pointers[1], dtype,
                                             offset_of(shape, shape + 2 * rank + 1, rank, point))
                         : (number)real_word(qs.words[0]);
    const number b = (number)real_word(qs.words[1]);
    number x = 0;
    if (which == 0) x = random_uniform(bits, a, b, attribute);
    if (which == 1) x = random_normal(bits, random_bits(point, seed, offset, 1), a, b);
    if (which == 2) x = random_unit(bits) < a ? 1 : 0;
    store_real(qs.pointers[0], dtype, to, (real)x);
  }
}
