// The contract of a driver: memory, kernels, commands, fences. One folder per driver implements it.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "quicksilver/core/ref.h"
#include "quicksilver/driver/source.h"

namespace qs::driver {

/// A built Source. The runtime's kernel cache holds it, and whoever made commands that name it:
/// it outlives them, and what was submitted of them.
class Kernel : public RefCounted {};

/// What a matrix product does with each piece of C that is finished, while it is in the cache: a
/// map over the loops [batch, m, n]. Its operands at C's address read or replace C itself.
struct Epilogue {
  const Kernel* kernel = nullptr;  // of a tile program; null: nothing follows
  TileArgs args;
};

/// Whether an operand of an epilogue lies where C does: that it is touched costs no memory traffic.
inline bool is_same_place(const PtrRef& x, const PtrRef& y) {
  return x.base == y.base && x.bytes == y.bytes && x.offset_word == y.offset_word;
}

/// One launch. A tile kernel may be given several parts: the same program over other memory and
/// extents. Parts touch nothing that another part writes, and run in any order or at once.
struct Command {
  const Kernel* kernel = nullptr;
  Args args;
  int32_t tag = 0;  // what an error record names: the recorded node in the plan
  bool predicated =
      false;  // skipped while the error record is set: it writes what must not be lost
  std::vector<TileArgs> more =
      {};                  // the parts beyond `args`; a kernel that has them records no error
  Epilogue epilogue = {};  // of a matrix product
};

/// A command list prepared for many runs.
class Program {
 public:
  virtual ~Program() = default;
};

/// A point in the driver's work; 0 is "long done".
using Fence = uint64_t;

struct DriverInfo {
  std::string driver;  // "cpu", "cuda", "metal", "null"
  std::string name;    // "AMD EPYC, 2 threads" — what get_name() shows after the driver
  bool is_gpu = false;
  bool host_memory = false;   // addresses may be read and written by the host
  bool exact_rows = false;    // computes some rows of a matrix product as in the whole, when asked
  bool asynchronous = false;  // submit returns before the commands have run
  bool has_f64 = true;
  bool takes_text = false;    // runs portable kernels as text: calls want scratch
  int32_t dlpack_device = 0;  // what DLPack calls its memory; 0: nobody else can use it
  int64_t memory_bytes = 0;   // recommended working set
  int threads = 1;            // cores of a GPU, threads of a cpu
};

class Driver {
 public:
  virtual ~Driver() = default;
  virtual const DriverInfo& info() const = 0;

  /// At least `bytes` bytes aligned to 64 (host) or 256 (GPU); throws OutOfMemoryError.
  virtual void* alloc(size_t bytes) = 0;
  /// Work that was submitted before may still use the memory: it goes when that is done.
  virtual void release(void* p, size_t bytes) noexcept = 0;
  /// Ordered after all submitted work; `write` may return before the copy once `src` was read.
  virtual void write(void* dst, const void* src, size_t bytes) = 0;
  virtual void read(void* dst, const void* src, size_t bytes) = 0;
  virtual void copy(void* dst, const void* src, size_t bytes) = 0;

  /// Throws DeviceError with the driver's text; `accepts` false means the plan must not ask.
  virtual std::unique_ptr<Kernel> build(const Source& source) = 0;
  virtual bool accepts(const Source&) const { return true; }

  /// Runs the commands in order. Kernels see each other's results in order, and those of all lists
  /// submitted before. The launch table (bases, words) is read before the call returns; the error
  /// record is written until the fence is done. Throws DeviceError before any command has run, or
  /// not at all.
  virtual Fence submit(std::span<const Command> commands, const Launch& launch) = 0;
  /// Prepares `commands` for replay; the program keeps what it needs of them. It may be destroyed
  /// while a replay of it is under way.
  virtual std::unique_ptr<Program> freeze(std::vector<Command> commands) = 0;
  virtual Fence replay(Program& program, const Launch& launch) = 0;
  /// Throws DeviceError when the device failed; the fence may be waited for again.
  virtual void wait(Fence fence) = 0;
  virtual bool done(Fence fence) = 0;
  /// Bytes that alloc has handed out and not got back.
  virtual int64_t allocated_bytes() const = 0;
};

/// Opens a driver by name ("cpu", "null", …), or throws DeviceError with one sentence why not.
/// Defined in driver/all.cpp, the one file that knows which drivers exist.
std::unique_ptr<Driver> open_driver(std::string_view name);
/// Names this build has, best first ("metal", "cuda", "cpu"); test-only drivers are left out.
std::vector<std::string> driver_names();

/// Wraps another driver and fails the calls that it is told to.
class FaultInjector {
 public:
  virtual ~FaultInjector() = default;
  /// "alloc=5, build=2x3, submit=7+": fails the fifth allocation, the second to fourth kernel
  /// built, and everything submitted from the seventh list on; `wait` likewise. Calls are counted
  /// from here, replays as submits. "" lets all pass. Throws ValueError for anything else.
  virtual void inject(std::string_view what) = 0;
  /// While it is on, lists that are submitted wait where they are.
  virtual void hold(bool on) = 0;
  struct Counts {  // since the last inject
    int64_t allocs = 0, builds = 0, submits = 0, waits = 0;
    int64_t failed = 0;  // of all these
    int64_t held = 0;    // lists that wait now
  };
  virtual Counts counts() const = 0;
};

// Wraps another driver and keeps a readable list of the commands it was given.
class CommandLog {
 public:
  virtual ~CommandLog() = default;
  virtual std::vector<std::string> lines() const = 0;  // one a command
  virtual void clear() = 0;
};

}  // namespace qs::driver
