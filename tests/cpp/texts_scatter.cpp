// Every text of the scatter family, compiled for the emulated grid.
#include "grid.h"

#define QS_NAMESPACE scatter_0
#define QS_DTYPE 0
#define QS_WIDE 0
#include "texts/scatter.inl"

#define QS_NAMESPACE scatter_1
#define QS_DTYPE 1
#define QS_WIDE 0
#include "texts/scatter.inl"

#define QS_NAMESPACE scatter_2
#define QS_DTYPE 2
#define QS_WIDE 0
#include "texts/scatter.inl"

#define QS_NAMESPACE scatter_3
#define QS_DTYPE 3
#define QS_WIDE 0
#include "texts/scatter.inl"

#define QS_NAMESPACE scatter_4
#define QS_DTYPE 4
#define QS_WIDE 0
#include "texts/scatter.inl"

#define QS_NAMESPACE scatter_5
#define QS_DTYPE 5
#define QS_WIDE 0
#include "texts/scatter.inl"

#define QS_NAMESPACE scatter_6
#define QS_DTYPE 6
#define QS_WIDE 0
#include "texts/scatter.inl"

#define QS_NAMESPACE scatter_7
#define QS_DTYPE 7
#define QS_WIDE 0
#include "texts/scatter.inl"

#define QS_NAMESPACE scatter_8
#define QS_DTYPE 8
#define QS_WIDE 0
#include "texts/scatter.inl"

#define QS_NAMESPACE scatter_9
#define QS_DTYPE 9
#define QS_WIDE 0
#include "texts/scatter.inl"

#define QS_NAMESPACE scatter_10
#define QS_DTYPE 10
#define QS_WIDE 0
#include "texts/scatter.inl"

#define QS_NAMESPACE scatter_10_wide
#define QS_DTYPE 10
#define QS_WIDE 1
#include "texts/scatter.inl"

#define QS_NAMESPACE scatter_11
#define QS_DTYPE 11
#define QS_WIDE 0
#include "texts/scatter.inl"

#define QS_NAMESPACE scatter_11_wide
#define QS_DTYPE 11
#define QS_WIDE 1
#include "texts/scatter.inl"

#define QS_NAMESPACE scatter_12
#define QS_DTYPE 12
#define QS_WIDE 0
#include "texts/scatter.inl"

#define QS_NAMESPACE scatter_13
#define QS_DTYPE 13
#define QS_WIDE 0
#include "texts/scatter.inl"

#define QS_NAMESPACE scatter_14
#define QS_DTYPE 14
#define QS_WIDE 0
#include "texts/scatter.inl"
