// Checks that throw formatted exceptions; for the library's own sources, as it needs {fmt}.
#pragma once
#include "quicksilver/core/exceptions.h"
#include "quicksilver/core/format.h"

/// Throws `Kind` with a formatted text when `cond` does not hold: QS_CHECK(n > 0, ValueError,
/// "..").
#define QS_CHECK(cond, Kind, ...)                  \
  do {                                             \
    if (!(cond)) [[unlikely]]                      \
      throw ::qs::Kind(::qs::format(__VA_ARGS__)); \
  } while (0)

/// What only our own bug can break.
#define QS_ASSERT(cond, ...)                                                                \
  do {                                                                                      \
    if (!(cond)) [[unlikely]]                                                               \
      ::qs::throw_internal(__FILE__, __LINE__, "assertion " #cond " failed: " __VA_ARGS__); \
  } while (0)
