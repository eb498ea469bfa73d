// text/draw.h; QS_NAMESPACE names it.
namespace QS_NAMESPACE {
#define QS_THREADS 128
#include "quicksilver/kernels/text/walk.h"
#include "quicksilver/kernels/text/number.h"
#include "quicksilver/kernels/text/philox.h"
#include "quicksilver/kernels/text/draw.h"
const bool k_added = qs::test::grid::add({"walk number philox draw",
    {{"QS_THREADS", QS_THREADS},
    },
    {{"draw_points", draw_points}}});
#undef QS_THREADS
#undef QS_NAMESPACE
}  // namespace QS_NAMESPACE
