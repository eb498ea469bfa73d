// The texts of sums, gathers, non-zero positions and draws, compiled for the emulated grid.
#include "grid.h"

#define QS_NAMESPACE scan_0
#define QS_SCAN 0
#include "texts/scan.inl"

#define QS_NAMESPACE scan_1
#define QS_SCAN 1
#include "texts/scan.inl"

#define QS_NAMESPACE scan_2
#define QS_SCAN 2
#include "texts/scan.inl"

#define QS_NAMESPACE gather_1
#define QS_BYTES 1
#include "texts/gather.inl"

#define QS_NAMESPACE gather_2
#define QS_BYTES 2
#include "texts/gather.inl"

#define QS_NAMESPACE gather_4
#define QS_BYTES 4
#include "texts/gather.inl"

#define QS_NAMESPACE gather_8
#define QS_BYTES 8
#include "texts/gather.inl"

#define QS_NAMESPACE gather_16
#define QS_BYTES 16
#include "texts/gather.inl"

#define QS_NAMESPACE nonzero_1_0
#define QS_BYTES 1
#define QS_FLOATS 0
#define QS_BLOCK 16384
#include "texts/nonzero.inl"

#define QS_NAMESPACE nonzero_2_0
#define QS_BYTES 2
#define QS_FLOATS 0
#define QS_BLOCK 16384
#include "texts/nonzero.inl"

#define QS_NAMESPACE nonzero_4_0
#define QS_BYTES 4
#define QS_FLOATS 0
#define QS_BLOCK 16384
#include "texts/nonzero.inl"

#define QS_NAMESPACE nonzero_8_0
#define QS_BYTES 8
#define QS_FLOATS 0
#define QS_BLOCK 16384
#include "texts/nonzero.inl"

#define QS_NAMESPACE nonzero_2_1
#define QS_BYTES 2
#define QS_FLOATS 1
#define QS_BLOCK 16384
#include "texts/nonzero.inl"

#define QS_NAMESPACE nonzero_4_1
#define QS_BYTES 4
#define QS_FLOATS 1
#define QS_BLOCK 16384
#include "texts/nonzero.inl"

#define QS_NAMESPACE nonzero_8_1
#define QS_BYTES 8
#define QS_FLOATS 1
#define QS_BLOCK 16384
#include "texts/nonzero.inl"

#define QS_NAMESPACE nonzero_8_2
#define QS_BYTES 8
#define QS_FLOATS 2
#define QS_BLOCK 16384
#include "texts/nonzero.inl"

#define QS_NAMESPACE nonzero_16_2
#define QS_BYTES 16
#define QS_FLOATS 2
#define QS_BLOCK 16384
#include "texts/nonzero.inl"

#define QS_NAMESPACE check
#include "texts/check_index.inl"

#define QS_NAMESPACE draw
#include "texts/draw.inl"

#define QS_NAMESPACE random_0
#define QS_F64 0
#include "texts/random.inl"

#define QS_NAMESPACE random_1
#define QS_F64 1
#include "texts/random.inl"
