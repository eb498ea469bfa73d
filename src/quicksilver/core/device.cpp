#include "quicksilver/core/device.h"

#include "quicksilver/core/error.h"

namespace qs {

Device Device::parse(std::string_view text) {
  const size_t colon = text.find(':');
  const std::string_view type = text.substr(0, colon);
  QS_CHECK(type == "cpu" || type == "mps", DeviceError,
           "unknown device \"{}\": expected one of cpu, mps (cpu:0 and mps:0 mean the same)", text);
  const DeviceType device_type = type == "cpu" ? DeviceType::cpu : DeviceType::mps;
  if (colon == std::string_view::npos) return Device(device_type);
  const std::string_view index = text.substr(colon + 1);
  const bool number = !index.empty() && index.find_first_not_of("0123456789") == index.npos;
  QS_CHECK(number, DeviceError,
           "malformed device \"{}\": expected cpu, mps or one of them with an index, as in mps:0",
           text);
  QS_CHECK(index == "0", DeviceError, "device \"{}\" does not exist: there are cpu:0 and mps:0",
           text);
  return Device(device_type, 0);
}

std::string Device::str() const {
  std::string s = type == DeviceType::cpu ? "cpu" : "mps";
  if (index >= 0) s += ":" + std::to_string(index);
  return s;
}

}  // namespace qs
