// text/sort.h under the options that are defined where this is included; QS_NAMESPACE names it.
namespace QS_NAMESPACE {
#define QS_THREADS 128
#define QS_ITEMS 8
#include "quicksilver/kernels/text/walk.h"
#include "quicksilver/kernels/text/order.h"
#include "quicksilver/kernels/text/sort.h"
#include "quicksilver/kernels/text/merge_sort.h"
const bool k_added = qs::test::grid::add({"walk order sort merge_sort",
                                          {{"QS_THREADS", QS_THREADS},
                                           {"QS_ITEMS", QS_ITEMS},
                                           {"QS_WIDE", QS_WIDE},
                                           {"QS_BYTES", QS_BYTES},
                                           {"QS_ORDER", QS_ORDER},
#if QS_ORDER == 2
                                           {"QS_INFINITY", QS_INFINITY},
#endif
                                          },
                                          {{"merge_tiles", merge_tiles},
                                           {"merge_runs", merge_runs}}});
#undef QS_THREADS
#undef QS_ITEMS
#undef QS_WIDE
#undef QS_BYTES
#undef QS_ORDER
#undef QS_INFINITY
#undef QS_NAMESPACE
}  // namespace QS_NAMESPACE
