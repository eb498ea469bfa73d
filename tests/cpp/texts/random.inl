// text/random.h for QS_F64; QS_NAMESPACE names it.
namespace QS_NAMESPACE {
#define QS_THREADS 128
#include "quicksilver/kernels/text/walk.h"
#include "quicksilver/kernels/text/number.h"
#include "quicksilver/kernels/text/philox.h"
#include "quicksilver/kernels/text/random.h"
const bool k_added = qs::test::grid::add({"walk number philox random",
    {{"QS_THREADS", QS_THREADS},
     {"QS_F64", QS_F64},
    },
    {{"random_points", random_points}}});
#undef QS_THREADS
#undef QS_F64
#undef QS_NAMESPACE
}  // namespace QS_NAMESPACE
