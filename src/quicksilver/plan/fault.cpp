#include "quicksilver/plan/fault.h"

#include <pthread.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "quicksilver/core/error.h"
#include "quicksilver/plan/flight.h"
#include "quicksilver/plan/turn.h"
#include "quicksilver/runtime/device.h"

namespace qs::plan {
namespace {

struct Waiting {
  std::atomic<bool> any{false};  // a look without the lock
  Ref<Fault> fault;              // under the execution lock
  DeviceRuntime* device = nullptr;
};
void print_unread();
Waiting& waiting(DeviceType device) {
  static Waiting* all = [] {
    std::atexit(print_unread);
    pthread_atfork(nullptr, nullptr, [] {  // the parent tells
      for (int d = 0; d < k_device_type_count; ++d) waiting(static_cast<DeviceType>(d)).any = false;
    });
    return new Waiting[k_device_type_count];
  }();
  return all[static_cast<int>(device)];
}

void print_unread() {
  for (int d = 0; d < k_device_type_count; ++d) {
    const auto device = static_cast<DeviceType>(d);
    try {
      const Turn turn(device, false);
      flight_of(device).finish_all();
    } catch (const std::exception& e) {
      std::fprintf(stderr, "quicksilver: an error that was never read: %s\n", e.what());
    }
    const Waiting& w = waiting(device);
    if (w.any)
      std::fprintf(stderr, "quicksilver: an error that was never read: %s\n",
                   w.fault->text.c_str());
  }
}

/// Takes the fault away, so that the device writes again. Nothing that was skipped because of it
/// may still be under way.
Ref<Fault> take(Waiting& w) {
  Ref<Fault> fault = std::move(w.fault);
  w.fault = nullptr;
  w.any = false;
  w.device->take_error();
  return fault;
}

}  // namespace

Fault::Fault(Kind kind, std::string text)
    : kind(kind), text(std::move(text)), number([] {
        static std::atomic<uint64_t> last{0};
        return ++last;
      }()) {}

Ref<Fault> Fault::current() {
  try {
    throw;
  } catch (const IndexError& e) {
    return make_ref<Fault>(index, e.what());
  } catch (const OutOfMemoryError& e) {
    return make_ref<Fault>(memory, e.what());
  } catch (const DeviceError& e) {
    return make_ref<Fault>(Fault::device, e.what());
  } catch (const InternalError& e) {
    return make_ref<Fault>(internal, e.what());
  } catch (const std::bad_alloc&) {
    return make_ref<Fault>(memory, "the host is out of memory");
  } catch (const std::exception& e) {
    return make_ref<Fault>(other, e.what());
  }
}

void Fault::raise() const {
  switch (kind) {
    case index:
      throw IndexError(text);
    case memory:
      throw OutOfMemoryError(text);
    case device:
      throw DeviceError(text);
    case internal:
      throw InternalError(text);
    case other:
      break;
  }
  throw Error(text);
}

void leave_fault(DeviceRuntime& device, Ref<Fault> fault) {
  Waiting& w = waiting(device.type());
  if (w.any) return;
  w.fault = std::move(fault);
  w.device = &device;
  w.any = true;
  if (device.failed()) return;
  // Known to the host only: what is under way was recorded before it, and still writes.
  Flight& flight = flight_of(device.type());
  try {
    flight.finish_all();
  } catch (const std::exception&) {  // the fault that waits is the older one
  }
  device.block_writes(flight.next_id());
}

Ref<Fault> waiting_fault(DeviceType device) {
  const Waiting& w = waiting(device);
  return w.any ? w.fault : nullptr;
}

void raise_fault(DeviceType device) {
  Waiting& w = waiting(device);
  if (!w.any.load(std::memory_order_acquire)) return;
  Tape::cut_current(device);  // see below
  Ref<Fault> fault;
  {
    const Turn turn(device);
    if (!w.any) return;
    flight_of(device).finish_all();
    fault = take(w);
  }
  fault->raise();
}

void raise_fault(DeviceType device, const Ref<Fault>& fault) {
  Waiting& w = waiting(device);
  Ref<Fault> first = fault;
  if (w.any.load(std::memory_order_acquire)) {
    // What this thread has recorded since would not have happened, had every op run at once: it
    // runs while nothing older is written.
    Tape::cut_current(device);
    const Turn turn(device);
    if (w.fault && w.fault->number <= fault->number) {
      flight_of(device).finish_all();
      first = take(w);
    }
  }
  first->raise();
}

}  // namespace qs::plan
