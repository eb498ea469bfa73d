// text/gather.h for QS_BYTES; QS_NAMESPACE names it.
namespace QS_NAMESPACE {
#define QS_THREADS 128
#include "quicksilver/kernels/text/walk.h"
#include "quicksilver/kernels/text/bytes.h"
#include "quicksilver/kernels/text/index.h"
#include "quicksilver/kernels/text/gather.h"
const bool k_added = qs::test::grid::add({"walk bytes index gather",
    {{"QS_THREADS", QS_THREADS},
     {"QS_BYTES", QS_BYTES},
    },
    {{"gather_points", gather_points}}});
#undef QS_THREADS
#undef QS_BYTES
#undef QS_NAMESPACE
}  // namespace QS_NAMESPACE
