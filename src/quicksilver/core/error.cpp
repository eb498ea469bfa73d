#include "quicksilver/core/error.h"

namespace qs {

void throw_internal(const char* file, int line, const std::string& what) {
  throw InternalError(
      format("internal error at {}:{}: {}. This is a bug in Quicksilver; please report it with the "
             "program "
             "that caused it.",
             file, line, what));
}

}  // namespace qs
