#include "quicksilver/core/version.h"

namespace qs {

const char* version() noexcept { return QS_VERSION; }

}  // namespace qs
