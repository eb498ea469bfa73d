// A driver that lets another one work on a thread of its own, late: what a GPU does to the host.
#pragma once
#include <cstdint>
#include <memory>

#include "quicksilver/driver/driver.h"

namespace qs::driver {

/// How the late drivers of the process behave; for tests.
struct LateOrders {
  int64_t delay_us = 20;  // before each list of commands
  bool held = false;      // nothing begins until this is false again
};
void set_late_orders(LateOrders orders);

/// submit returns at once; lists, copies and releases run in order on a worker thread. `inner`
/// works at once and has host memory or none.
std::unique_ptr<Driver> open_late_driver(std::unique_ptr<Driver> inner);

}  // namespace qs::driver
