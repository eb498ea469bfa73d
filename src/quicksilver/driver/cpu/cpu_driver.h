// The cpu driver: host memory, and commands run at once by the calling thread and the pool.
#pragma once
#include <memory>
#include <string>

#include "quicksilver/driver/driver.h"

namespace qs::driver {

std::unique_ptr<Driver> open_cpu_driver();

/// What matrix products may use: "own AVX-512 and oneDNN 2.6.3". Opens the library.
std::string cpu_libraries();

}  // namespace qs::driver
