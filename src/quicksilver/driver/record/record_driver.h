// A driver that hands everything on to another one and keeps a line for each command it saw.
#pragma once
#include <memory>

#include "quicksilver/driver/driver.h"

namespace qs::driver {

/// The result is also a CommandLog (dynamic_cast). Lines look like
///   "tile map [64, 256] operands 3 instrs 4 folds 0"
///   "matmul f32 64x256x784 batch 1 bias"
///   "gather_b4 items 64"
/// and start with "replay " when they came from a frozen program.
std::unique_ptr<Driver> open_record_driver(std::unique_ptr<Driver> inner);

}  // namespace qs::driver
