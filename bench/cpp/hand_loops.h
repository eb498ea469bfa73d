// The loops that fused chains are compared with; hand_loops_native.cpp is compiled for this
// machine.
#pragma once
#include <cstdint>

/// out = tanh(x w + 0.5) sigmoid(x) + exp(-x x) w
void hand_chain(const float* x, const float* w, float* out, int64_t n);
/// out = 0.5 max(2 x + w, 0) - w
void hand_arithmetic(const float* x, const float* w, float* out, int64_t n);
