// A driver that hands everything on to another one, but for the calls that it is told to fail.
#pragma once
#include <memory>

#include "quicksilver/driver/driver.h"

namespace qs::driver {

/// The result is also a FaultInjector (dynamic_cast). It begins with what QS_FAULTS in the
/// environment says.
std::unique_ptr<Driver> open_fault_driver(std::unique_ptr<Driver> inner);

}  // namespace qs::driver
