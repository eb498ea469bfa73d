// The version of the library that was compiled against and of the one that was loaded.
#pragma once

#include "quicksilver/core/export.h"

// The one place that states the version: CMake and the Python package read this line.
#define QS_VERSION "0.1.0"

namespace qs {

/// The version of the loaded library, such as "0.1.0". Differs from QS_VERSION when a program was
/// compiled against other headers than the library it found.
QS_API const char* version() noexcept;

}  // namespace qs
