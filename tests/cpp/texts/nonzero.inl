// text/nonzero.h for QS_BYTES and QS_FLOATS; QS_NAMESPACE names it.
namespace QS_NAMESPACE {
#define QS_THREADS 128
#include "quicksilver/kernels/text/walk.h"
#include "quicksilver/kernels/text/nonzero.h"
const bool k_added = qs::test::grid::add({"walk nonzero",
    {{"QS_THREADS", QS_THREADS},
     {"QS_BYTES", QS_BYTES},
     {"QS_FLOATS", QS_FLOATS},
     {"QS_BLOCK", QS_BLOCK},
    },
    {{"count_blocks", count_blocks}, {"sum_blocks", sum_blocks}, {"fill_blocks", fill_blocks}}});
#undef QS_THREADS
#undef QS_BYTES
#undef QS_FLOATS
#undef QS_BLOCK
#undef QS_NAMESPACE
}  // namespace QS_NAMESPACE
