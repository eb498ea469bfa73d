// The exceptions of the library. Python sees the type named beside each; texts follow PyTorch's.
#pragma once
#include <stdexcept>
#include <string>

#include "quicksilver/core/export.h"

namespace qs {

/// RuntimeError in Python; the base of all.
class QS_API Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
#define QS_ERROR_KIND(name)          \
  class QS_API name : public Error { \
   public:                           \
    using Error::Error;              \
  };
QS_ERROR_KIND(TypeError)            // TypeError
QS_ERROR_KIND(ValueError)           // ValueError
QS_ERROR_KIND(IndexError)           // IndexError
QS_ERROR_KIND(KeyError)             // KeyError
QS_ERROR_KIND(NotImplementedError)  // NotImplementedError
QS_ERROR_KIND(FileError)            // OSError; a missing, unreadable or unwritable file
QS_ERROR_KIND(DeviceError)          // quicksilver.mps.MPSDeviceError, a RuntimeError
QS_ERROR_KIND(OutOfMemoryError)     // quicksilver.OutOfMemoryError, a RuntimeError
QS_ERROR_KIND(InternalError)        // quicksilver.InternalError, a RuntimeError: our bug
#undef QS_ERROR_KIND

[[noreturn]] QS_API void throw_internal(const char* file, int line, const std::string& what);

}  // namespace qs
