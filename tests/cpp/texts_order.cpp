// The texts of searching, and of running extremes, compiled for the emulated grid.
#include "grid.h"

#define QS_NAMESPACE search_u8
#define QS_BYTES 1
#define QS_ORDER 0
#include "texts/search.inl"

#define QS_NAMESPACE extreme_u8
#define QS_BYTES 1
#define QS_ORDER 0
#define QS_SCAN 3
#include "texts/extreme.inl"

#define QS_NAMESPACE search_i8
#define QS_BYTES 1
#define QS_ORDER 1
#include "texts/search.inl"

#define QS_NAMESPACE extreme_i8
#define QS_BYTES 1
#define QS_ORDER 1
#define QS_SCAN 3
#include "texts/extreme.inl"

#define QS_NAMESPACE search_u16
#define QS_BYTES 2
#define QS_ORDER 0
#include "texts/search.inl"

#define QS_NAMESPACE extreme_u16
#define QS_BYTES 2
#define QS_ORDER 0
#define QS_SCAN 3
#include "texts/extreme.inl"

#define QS_NAMESPACE search_i16
#define QS_BYTES 2
#define QS_ORDER 1
#include "texts/search.inl"

#define QS_NAMESPACE extreme_i16
#define QS_BYTES 2
#define QS_ORDER 1
#define QS_SCAN 3
#include "texts/extreme.inl"

#define QS_NAMESPACE search_u32
#define QS_BYTES 4
#define QS_ORDER 0
#include "texts/search.inl"

#define QS_NAMESPACE extreme_u32
#define QS_BYTES 4
#define QS_ORDER 0
#define QS_SCAN 3
#include "texts/extreme.inl"

#define QS_NAMESPACE search_i32
#define QS_BYTES 4
#define QS_ORDER 1
#include "texts/search.inl"

#define QS_NAMESPACE extreme_i32
#define QS_BYTES 4
#define QS_ORDER 1
#define QS_SCAN 3
#include "texts/extreme.inl"

#define QS_NAMESPACE search_u64
#define QS_BYTES 8
#define QS_ORDER 0
#include "texts/search.inl"

#define QS_NAMESPACE extreme_u64
#define QS_BYTES 8
#define QS_ORDER 0
#define QS_SCAN 3
#include "texts/extreme.inl"

#define QS_NAMESPACE search_i64
#define QS_BYTES 8
#define QS_ORDER 1
#include "texts/search.inl"

#define QS_NAMESPACE extreme_i64
#define QS_BYTES 8
#define QS_ORDER 1
#define QS_SCAN 3
#include "texts/extreme.inl"

#define QS_NAMESPACE search_f16
#define QS_BYTES 2
#define QS_ORDER 2
#define QS_INFINITY 0x7c00
#include "texts/search.inl"

#define QS_NAMESPACE extreme_f16
#define QS_BYTES 2
#define QS_ORDER 2
#define QS_INFINITY 0x7c00
#define QS_SCAN 3
#include "texts/extreme.inl"

#define QS_NAMESPACE search_bf16
#define QS_BYTES 2
#define QS_ORDER 2
#define QS_INFINITY 0x7f80
#include "texts/search.inl"

#define QS_NAMESPACE extreme_bf16
#define QS_BYTES 2
#define QS_ORDER 2
#define QS_INFINITY 0x7f80
#define QS_SCAN 3
#include "texts/extreme.inl"

#define QS_NAMESPACE search_f32
#define QS_BYTES 4
#define QS_ORDER 2
#define QS_INFINITY 0x7f800000
#include "texts/search.inl"

#define QS_NAMESPACE extreme_f32
#define QS_BYTES 4
#define QS_ORDER 2
#define QS_INFINITY 0x7f800000
#define QS_SCAN 3
#include "texts/extreme.inl"

#define QS_NAMESPACE search_f64
#define QS_BYTES 8
#define QS_ORDER 2
#define QS_INFINITY 0x7ff0000000000000
#include "texts/search.inl"

#define QS_NAMESPACE extreme_f64
#define QS_BYTES 8
#define QS_ORDER 2
#define QS_INFINITY 0x7ff0000000000000
#define QS_SCAN 3
#include "texts/extreme.inl"
