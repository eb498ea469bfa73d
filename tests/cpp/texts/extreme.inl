// text/scan.h for extremes under the options of order.h; QS_NAMESPACE names it.
namespace QS_NAMESPACE {
#define QS_THREADS 128
#define QS_ITEMS 8
#include "quicksilver/kernels/text/walk.h"
#include "quicksilver/kernels/text/number.h"
#include "quicksilver/kernels/text/order.h"
#include "quicksilver/kernels/text/scan.h"
const bool k_added = qs::test::grid::add({"walk number order scan",
    {{"QS_THREADS", QS_THREADS},
     {"QS_BYTES", QS_BYTES},
     {"QS_ORDER", QS_ORDER},
#ifdef QS_INFINITY
     {"QS_INFINITY", QS_INFINITY},
#endif
     {"QS_SCAN", QS_SCAN},
     {"QS_ITEMS", QS_ITEMS},
    },
    {{"scan_rows", scan_rows}, {"scan_tiles", scan_tiles}}});
#undef QS_THREADS
#undef QS_BYTES
#undef QS_ORDER
#undef QS_INFINITY
#undef QS_SCAN
#undef QS_ITEMS
#undef QS_NAMESPACE
}  // namespace QS_NAMESPACE
