// text/search.h under the options of order.h; QS_NAMESPACE names it.
namespace QS_NAMESPACE {
#define QS_THREADS 128
#include "quicksilver/kernels/text/walk.h"
#include "quicksilver/kernels/text/order.h"
#include "quicksilver/kernels/text/search.h"
const bool k_added = qs::test::grid::add({"walk order search",
    {{"QS_THREADS", QS_THREADS},
     {"QS_BYTES", QS_BYTES},
     {"QS_ORDER", QS_ORDER},
#ifdef QS_INFINITY
     {"QS_INFINITY", QS_INFINITY},
#endif
    },
    {{"search_points", search_points}}});
#undef QS_THREADS
#undef QS_BYTES
#undef QS_ORDER
#undef QS_INFINITY
#undef QS_NAMESPACE
}  // namespace QS_NAMESPACE
