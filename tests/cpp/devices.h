// The devices that tests of both run on: cpu, and mps where the build has it.
#pragma once
#include <vector>

#include "quicksilver/core/device.h"

namespace qs {

inline std::vector<DeviceType> test_devices() {
#if QS_HAS_MPS
  return {DeviceType::cpu, DeviceType::mps};
#else
  return {DeviceType::cpu};
#endif
}

}  // namespace qs
