// The one file that knows which drivers exist.
#include "quicksilver/core/error.h"
#include "quicksilver/driver/cpu/cpu_driver.h"
#include "quicksilver/driver/driver.h"
#include "quicksilver/driver/fault/fault_driver.h"
#include "quicksilver/driver/late/late_driver.h"
#include "quicksilver/driver/null/null_driver.h"
#include "quicksilver/driver/record/record_driver.h"

namespace qs::driver {

#if QS_HAS_CUDA
std::unique_ptr<Driver> open_cuda_driver();
#endif
#if QS_HAS_METAL
std::unique_ptr<Driver> open_metal_driver();
#endif

namespace {

struct Row {
  std::string_view name;
  std::unique_ptr<Driver> (*open)();
  bool listed;  // not for tests only
};

// Best first.
constexpr Row k_drivers[] = {
#if QS_HAS_METAL
    {"metal", open_metal_driver, true},
#endif
#if QS_HAS_CUDA
    {"cuda", open_cuda_driver, true},
#endif
    {"cpu", open_cpu_driver, true},
    {"null", open_null_driver, false},
};

// "record:cpu": drivers over another one, for tests.
struct Wrapper {
  std::string_view prefix;
  std::unique_ptr<Driver> (*open)(std::unique_ptr<Driver> inner);
};
constexpr Wrapper k_wrappers[] = {
    {"record:", open_record_driver},
    {"fault:", open_fault_driver},
    {"late:", open_late_driver},
};

}  // namespace

std::unique_ptr<Driver> open_driver(std::string_view name) {
  for (const Wrapper& w : k_wrappers)
    if (name.starts_with(w.prefix)) return w.open(open_driver(name.substr(w.prefix.size())));
  std::string names;
  for (const Row& row : k_drivers) {
    if (row.name == name) return row.open();
    names += format("{}{}", names.empty() ? "" : ", ", row.name);
  }
  throw DeviceError(format(
      "there is no driver \"{}\" in this build; it has {} (and record:, fault: or late:<driver>)",
      name, names));
}

std::vector<std::string> driver_names() {
  std::vector<std::string> names;
  for (const Row& row : k_drivers)
    if (row.listed) names.emplace_back(row.name);
  return names;
}

}  // namespace qs::driver
