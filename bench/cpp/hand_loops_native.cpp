#define QS_HAND_LOOPS hand_native
#include "hand_loops.inl"
