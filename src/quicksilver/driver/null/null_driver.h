// A driver that does nothing and counts: planning tests need no device.
#pragma once
#include <cstdint>
#include <memory>

#include "quicksilver/driver/driver.h"

namespace qs::driver {

/// Over all null drivers of the process, since the last reset.
struct NullCounters {
  int64_t kernels_built = 0;
  int64_t launches = 0;       // commands submitted or replayed
  int64_t submits = 0;        // lists of commands
  int64_t replays = 0;        // of these, frozen
  int64_t touched_bytes = 0;  // read or written by the commands; see touched_bytes() below
};

NullCounters null_counters();
void reset_null_counters();

/// What a command reads and writes: for each operand of a tile program the product of the extents
/// of loops it moves along, times the element size; for a matrix product A, B, C (twice when beta
/// is not 0) and the bias. A portable kernel does not tell, and counts 0.
int64_t touched_bytes(const Source& source, const Args& args);

/// Memory is made of addresses only: read() gives zeros.
std::unique_ptr<Driver> open_null_driver();

}  // namespace qs::driver
