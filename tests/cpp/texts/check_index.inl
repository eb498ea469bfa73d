// text/check_index.h; QS_NAMESPACE names it.
namespace QS_NAMESPACE {
#define QS_THREADS 128
#include "quicksilver/kernels/text/walk.h"
#include "quicksilver/kernels/text/index.h"
#include "quicksilver/kernels/text/check_index.h"
const bool k_added = qs::test::grid::add({"walk index check_index",
    {{"QS_THREADS", QS_THREADS},
    },
    {{"check_points", check_points}}});
#undef QS_THREADS
#undef QS_NAMESPACE
}  // namespace QS_NAMESPACE
