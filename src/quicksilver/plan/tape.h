// The tape: what one thread has recorded for one device since its last cut.
//
// Recording appends words to a key (graph/program.h) and keeps three lists beside it: launch words
// (scalars and start offsets), the values with the storages behind them, and the user's lines of
// the nodes that can fail. A cut moves all of it into a Recording and hands it to `execute`, which
// finds or builds the plan, runs it and gives every storage that is still alive its buffer.
//
// A storage's content is *material* (it has a block) or *pending* (it is a value of some tape).
// One process-wide lock, `recording_mutex`, guards all tapes and the tape fields of all contents;
// it is held while a node is recorded (well under a microsecond) and while a cut runs. Nothing
// under it calls Python or drops a Python object. A storage whose pending value or reads lie in
// another thread's tape is first brought up to date by cutting that tape.
#pragma once
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "quicksilver/core/device.h"
#include "quicksilver/core/ref.h"
#include "quicksilver/core/scalar.h"
#include "quicksilver/graph/program.h"
#include "quicksilver/runtime/device.h"

namespace qs::plan {

class Tape;

/// What a storage holds. The tensor room derives its Storage from this.
class QS_API Content : public RefCounted {
 public:
  Content(DeviceType device, int64_t bytes) : device(device), bytes(bytes) {}
  ~Content() override;
  bool pending() const { return !block; }

  const DeviceType device;
  const int64_t bytes;
  Ref<Block> block;   // null while the content is pending (and once it is lost, see error)
  std::string error;  // why a pending value could not be computed; raised at each read

 private:
  friend class Tape;
  Tape* tape_ = nullptr;  // the tape that last recorded this storage, valid while epochs agree
  uint64_t epoch_ = 0;
  graph::ValueId value_ = 0;  // its newest value there
};

/// Everything one cut hands over.
struct Recording {
  std::vector<uint64_t> key;
  Hash128 hash;
  std::vector<uint64_t> words;
  struct Value {
    Content* content = nullptr;  // the live storage whose newest value this is; else null
    Ref<Block> block;            // external values: their memory, kept alive for the run
    bool external = false;
    bool root_external = false;  // its storage existed before: start offsets are launch words
  };
  std::vector<Value> values;  // by ValueId
  struct Line {
    int32_t node;
    std::string text;  // "train.py:31"
  };
  std::vector<Line> lines;
  int32_t nodes = 0;
  void clear();
};

/// One operand as the tensor room hands it over.
struct In {
  enum Kind : uint8_t { absent, tensor, scalar } kind = absent;
  DType dtype = DType::f32;
  bool read = true;
  Content* content = nullptr;
  const Layout* layout = nullptr;
  uint64_t word = 0;  // scalar
};

/// One result: a fresh content (pending when the call returns), or an operand's in place.
struct Out {
  Content* content = nullptr;
  DType dtype = DType::f32;
  const Layout* layout = nullptr;
  int target = -1;
  bool full = true;
};

class QS_API Tape {
 public:
  /// The calling thread's tape for a device; another thread's when this one ends.
  static Tape& current(DeviceType device);

  /// Appends one node. Throws before it changes anything, or not at all. With the device in
  /// immediate mode (cpu; QS_SYNC=1) the node has run when the call returns.
  void record(graph::Op op, DType compute, std::span<const In> in, std::span<const Out> out,
              std::span<const uint64_t> attrs);
  /// Runs everything recorded. A data-dependent error stays with the device (raise_fault).
  void cut();
  /// A top-level backward() is over: a place to cut a long tape.
  void backward_ended();
  size_t size() const { return static_cast<size_t>(recording_.nodes); }
  void set_region(uint32_t region) { region_ = region; }

  explicit Tape(DeviceType device);

 private:
  friend class Content;
  graph::ValueId value_of(Content& content);
  void cut_locked();
  bool holds(const Content& content) const {
    return content.tape_ == this && content.epoch_ == epoch_;
  }

  const DeviceType type_;
  DeviceRuntime& device_;
  const bool immediate_;
  uint32_t region_ = 0;
  uint64_t epoch_;
  uint64_t first_node_ = 0;    // likeness of the first node
  int64_t pending_bytes_ = 0;  // of fresh results whose storages are alive
  Recording recording_;

 public:
  /// Makes `content` material (cutting the tape that holds it) and waits for its fence; throws its
  /// error when it was lost, and whatever data-dependent error the device met before.
  static void materialize(Content& content);
  /// The same, and nothing recorded uses the storage any more: its address may be handed out.
  static void settle(Content& content);
  /// Cuts every thread's tape of the device and waits; raises the device's fault.
  static void synchronize(DeviceType device);
};

/// A data-dependent error that a run met (an index out of bounds, say). The oldest one stays with
/// the device until somebody reads from it.
struct Fault {
  enum Kind : uint8_t { none, index, other } kind = none;
  std::string text;  // complete: op, value, bound, the user's line
};
/// Called by `execute` (recording lock held); keeps the first.
void leave_fault(DeviceType device, Fault fault);
/// Throws the fault as IndexError or RuntimeError and forgets it.
QS_API void raise_fault(DeviceType device);

/// Where `line()` of a failing node comes from; Python installs its own.
using LineFunction = std::string (*)();
QS_API void set_line_function(LineFunction f);

std::mutex& recording_mutex();

/// Finds or builds the plan of a recording and runs it; afterwards each content in it that is alive
/// has its block, or its error. Called with the recording lock held. plan/execute.cpp.
void execute(DeviceRuntime& device, Recording& recording);

}  // namespace qs::plan
