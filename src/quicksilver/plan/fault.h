// What went wrong in a run, and who is told.
//
// A fault is shared by all that it took down: each lost content raises it at every read. The first
// one that nobody has raised yet also stays with its device: the next read or synchronise raises
// it, whatever it asks for, and until then nothing older than the fault is written (the device's
// error record stays set, see driver/source.h), by what the raising thread has recorded meanwhile
// neither. One that is never raised is printed at exit.
#pragma once
#include <string>

#include "quicksilver/core/device.h"
#include "quicksilver/core/export.h"
#include "quicksilver/core/ref.h"

namespace qs {
class DeviceRuntime;
}

namespace qs::plan {

class Fault : public RefCounted {
 public:
  enum Kind : uint8_t { index, memory, device, internal, other };
  Fault(Kind kind, std::string text);
  /// Of the exception that is being handled.
  static Ref<Fault> current();
  [[noreturn]] void raise() const;

  const Kind kind;
  const std::string text;  // complete: op, value, bound, the user's line
  const uint64_t number;   // faults are counted as they come
};

/// Keeps the first fault of a device until it is raised. Execution lock held.
void leave_fault(DeviceRuntime& device, Ref<Fault> fault);
/// The fault that waits, if any. Execution lock held.
Ref<Fault> waiting_fault(DeviceType device);
/// Throws the waiting fault and forgets it; does nothing when there is none.
QS_API void raise_fault(DeviceType device);
/// Throws `fault`, or the one that waits when it is older: op by op, that would have been met
/// first. What waited has now been read.
[[noreturn]] void raise_fault(DeviceType device, const Ref<Fault>& fault);

}  // namespace qs::plan
