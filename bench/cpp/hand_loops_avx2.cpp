#define QS_HAND_LOOPS hand_avx2
#include "hand_loops.inl"
