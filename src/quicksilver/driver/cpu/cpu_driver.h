// The cpu driver: host memory, and commands run at once by the calling thread and the pool.
#pragma once
#include <memory>

#include "quicksilver/driver/driver.h"

namespace qs::driver {

std::unique_ptr<Driver> open_cpu_driver();

}  // namespace qs::driver
