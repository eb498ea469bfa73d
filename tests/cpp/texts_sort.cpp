// Every text of the sort family, compiled for the emulated grid. A wide one holds positions in 64
// bits.
#include "grid.h"

#define QS_NAMESPACE sort_u8
#define QS_BYTES 1
#define QS_ORDER 0
#define QS_WIDE 0
#include "texts/sort.inl"

#define QS_NAMESPACE sort_i8
#define QS_BYTES 1
#define QS_ORDER 1
#define QS_WIDE 0
#include "texts/sort.inl"

#define QS_NAMESPACE sort_u16
#define QS_BYTES 2
#define QS_ORDER 0
#define QS_WIDE 0
#include "texts/sort.inl"

#define QS_NAMESPACE sort_i16
#define QS_BYTES 2
#define QS_ORDER 1
#define QS_WIDE 0
#include "texts/sort.inl"

#define QS_NAMESPACE sort_u32
#define QS_BYTES 4
#define QS_ORDER 0
#define QS_WIDE 0
#include "texts/sort.inl"

#define QS_NAMESPACE sort_i32
#define QS_BYTES 4
#define QS_ORDER 1
#define QS_WIDE 0
#include "texts/sort.inl"

#define QS_NAMESPACE sort_u64
#define QS_BYTES 8
#define QS_ORDER 0
#define QS_WIDE 0
#include "texts/sort.inl"

#define QS_NAMESPACE sort_i64
#define QS_BYTES 8
#define QS_ORDER 1
#define QS_WIDE 0
#include "texts/sort.inl"

#define QS_NAMESPACE sort_i64_wide
#define QS_BYTES 8
#define QS_ORDER 1
#define QS_WIDE 1
#include "texts/sort.inl"

#define QS_NAMESPACE sort_f16
#define QS_BYTES 2
#define QS_ORDER 2
#define QS_INFINITY 0x7c00
#define QS_WIDE 0
#include "texts/sort.inl"

#define QS_NAMESPACE sort_bf16
#define QS_BYTES 2
#define QS_ORDER 2
#define QS_INFINITY 0x7f80
#define QS_WIDE 0
#include "texts/sort.inl"

#define QS_NAMESPACE sort_f32
#define QS_BYTES 4
#define QS_ORDER 2
#define QS_INFINITY 0x7f800000
#define QS_WIDE 0
#include "texts/sort.inl"

#define QS_NAMESPACE sort_f32_wide
#define QS_BYTES 4
#define QS_ORDER 2
#define QS_INFINITY 0x7f800000
#define QS_WIDE 1
#include "texts/sort.inl"

#define QS_NAMESPACE sort_f64
#define QS_BYTES 8
#define QS_ORDER 2
#define QS_INFINITY 0x7ff0000000000000
#define QS_WIDE 0
#include "texts/sort.inl"
