// The loops that fused chains are compared with, for this machine and for AVX2 (where it is not the
// same).
#pragma once
#include <cstdint>

#define QS_LOOPS(name)                                                    \
  namespace name {                                                        \
  /* out = tanh(x w + 0.5) sigmoid(x) + exp(-x x) w */                    \
  void chain(const float* x, const float* w, float* out, int64_t n);      \
  /* out = 0.5 max(2 x + w, 0) - w */                                     \
  void arithmetic(const float* x, const float* w, float* out, int64_t n); \
  }
QS_LOOPS(hand_native)
#if defined(__x86_64__)
QS_LOOPS(hand_avx2)
#else
namespace hand_avx2 = hand_native;
#endif
#undef QS_LOOPS
