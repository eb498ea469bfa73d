// text/scatter.h for QS_DTYPE and QS_WIDE; QS_NAMESPACE names it.
namespace QS_NAMESPACE {
#define QS_THREADS 128
#define QS_ITEMS 8
#include "quicksilver/kernels/text/walk.h"
#include "quicksilver/kernels/text/number.h"
#include "quicksilver/kernels/text/index.h"
#include "quicksilver/kernels/text/scatter.h"
#include "quicksilver/kernels/text/merge_sort.h"
#include "quicksilver/kernels/text/scatter_segments.h"
const bool k_added = qs::test::grid::add({"walk number index scatter merge_sort scatter_segments",
                                          {{"QS_THREADS", QS_THREADS},
                                           {"QS_ITEMS", QS_ITEMS},
                                           {"QS_WIDE", QS_WIDE},
                                           {"QS_DTYPE", QS_DTYPE}},
                                          {{"merge_tiles", merge_tiles},
                                           {"merge_runs", merge_runs},
                                           {"scatter_walk", scatter_walk},
                                           {"scatter_segments", scatter_segments}}});
#undef QS_THREADS
#undef QS_ITEMS
#undef QS_WIDE
#undef QS_DTYPE
#undef QS_NAMESPACE
}  // namespace QS_NAMESPACE
