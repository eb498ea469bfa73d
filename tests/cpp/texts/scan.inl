// text/scan.h for sums, QS_SCAN; QS_NAMESPACE names it.
namespace QS_NAMESPACE {
#define QS_THREADS 128
#define QS_ITEMS 8
#include "quicksilver/kernels/text/walk.h"
#include "quicksilver/kernels/text/number.h"
#include "quicksilver/kernels/text/scan.h"
const bool k_added = qs::test::grid::add({"walk number scan",
    {{"QS_THREADS", QS_THREADS},
     {"QS_SCAN", QS_SCAN},
     {"QS_ITEMS", QS_ITEMS},
    },
    {{"scan_rows", scan_rows}, {"scan_tiles", scan_tiles}}});
#undef QS_THREADS
#undef QS_SCAN
#undef QS_ITEMS
#undef QS_NAMESPACE
}  // namespace QS_NAMESPACE
