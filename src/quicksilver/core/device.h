// What a user names: "cpu" (runs at once) or "mps" (recorded), each with index 0.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "quicksilver/core/export.h"

namespace qs {

enum class DeviceType : uint8_t { cpu, mps };
inline constexpr int k_device_type_count = 2;

struct Device {
  DeviceType type = DeviceType::cpu;
  int8_t index = -1;  // -1: not said; both types have index 0 only

  constexpr Device() = default;
  constexpr Device(DeviceType t, int i = -1) : type(t), index(static_cast<int8_t>(i)) {}
  /// "cpu", "mps", "mps:0"; an unknown type throws DeviceError that lists what exists.
  QS_API static Device parse(std::string_view text);
  /// "cpu", "mps" or with the index when one was said: "mps:0".
  QS_API std::string str() const;
  bool is_cpu() const { return type == DeviceType::cpu; }
  bool is_mps() const { return type == DeviceType::mps; }
  friend bool operator==(Device a, Device b) { return a.type == b.type && a.index == b.index; }
};

inline constexpr Device cpu{DeviceType::cpu};

/// The device, and what may be asked about it: `ones({5}, qs::mps)`, `qs::mps.is_available()`.
struct MpsDevice : Device {
  constexpr MpsDevice() : Device(DeviceType::mps) {}
  /// The library was compiled with the mps device.
  QS_API bool is_built() const noexcept;
  /// A driver can open it here, now (done at the first call).
  QS_API bool is_available() const noexcept;
  /// Why not, in one sentence; "" when it is available.
  QS_API std::string why_unavailable() const;
  /// "cpu", "cuda" or "metal"; "" when there is none.
  QS_API std::string driver() const;
  /// "cpu: AMD EPYC, 2 threads"; "" when there is none.
  QS_API std::string name() const;
  /// Runs everything recorded and waits.
  QS_API void synchronize() const;
};
inline constexpr MpsDevice mps;

}  // namespace qs
