// The tape: what one thread has recorded for one device since its last cut.
//
// Recording appends words to a key (graph/program.h) and keeps three lists beside it: launch words
// (scalars and start offsets), the values with the storages behind them, and the user's lines of
// the nodes that can fail. A cut takes all of it away as a Recording and hands it to `execute`,
// which finds or builds the plan, runs it and gives every storage that is still alive its block.
//
// A storage's content is *material* (it has a block), *pending* (it is a value of some tape, or of
// a recording that is being run) or *lost* (it has the fault that took it, until it is overwritten
// whole). A block whose run is
// still in flight on the device is material too; whoever reads it from the host waits for that run.
//
// Threads. Each has a tape of its own for each device; turn.h says which locks there are. A content
// remembers one tape that uses it; a tape that reads a material content which another tape reads as
// well finds it by its block in `shared_`, so that threads can share weights without meeting. Only
// when one tape writes what another one has recorded a use of, or uses what another one has
// written, the other tape is cut first.
//
// Where a tape is cut: when a pending value is read, at synchronize(), at the end of an optimizer's
// step (step_ended), and by limits on nodes and on bytes. The bytes are those that the tape keeps
// alive: pending results that somebody still holds, and material contents that nobody does. Limits
// must land alike in every turn of a loop, or each turn would be another plan. So the tape keeps a
// likeness of every node (op, dtype, shape of the result), and past a soft limit it is cut when it
// holds a whole number of equal turns: the shortest period of the likenesses, found as in
// Knuth-Morris-Pratt matching, divides their number. The next tape then begins at the same place of
// the loop. A loop whose body is longer than half the hard limit is cut where it was cut before:
// the last likenesses before a cut are remembered as a place. Every cut at a hard limit adds one,
// until one is always met in time.
#pragma once
#include <atomic>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "quicksilver/core/device.h"
#include "quicksilver/core/ref.h"
#include "quicksilver/core/scalar.h"
#include "quicksilver/graph/program.h"
#include "quicksilver/plan/fault.h"
#include "quicksilver/plan/turn.h"
#include "quicksilver/runtime/device.h"

namespace qs::plan {

class Tape;
struct Run;

/// What a storage holds. The tensor room derives its Storage from this.
class QS_API Content : public RefCounted {
 public:
  Content(DeviceType device, int64_t bytes) : device(device), bytes(bytes) {}
  ~Content() override;
  bool pending() const { return !block; }

  const DeviceType device;
  bool pinned = false;  // its address was handed out: ops on it run at once, its block never moves
  bool read_only = false;  // memory of others who do not let us write (set before it is shared)
  /// Uses by autograd histories that have not run. A hint: threads may lose a count to each other.
  std::atomic<int32_t> saves{0};
  const int64_t bytes;
  Ref<Block> block;  // null while the content is pending, and once it is lost
  Ref<Fault> error;  // why it is lost; raised at each read

  // For the rest of this room; recording lock held.
  void lose(Ref<Fault> fault);
  void started(Run* run) {
    run_ = run;
    tape_ = nullptr;  // who records a use of it need not wait for the run
  }
  void finished(const Run* run) {
    if (run_ == run) run_ = nullptr;
  }

 private:
  friend class Tape;
  Tape* tape_ = nullptr;  // a tape that uses this storage, valid while epochs agree
  uint64_t epoch_ = 0;
  uint64_t users_ = 0;        // marks of the tapes that have used it (see Tape::mark_)
  Run* run_ = nullptr;        // the last run in flight that makes or writes it
  graph::ValueId value_ = 0;  // its newest value in tape_
};

/// Everything one cut hands over.
struct Recording {
  std::vector<uint64_t> key;
  Hash128 hash;
  std::vector<uint64_t> words;
  struct Value {
    Content* content = nullptr;  // the storage whose newest value this is; null when it is gone
    Ref<Block> block;            // external values: their memory, kept alive for the run
    bool external = false;
    bool root_external = false;  // its storage existed before: start offsets are launch words
  };
  std::vector<Value> values;   // by ValueId. Contents are read under the recording lock
  std::vector<uint64_t> live;  // bit v: value v must be there after the run
  struct Line {
    int32_t node;
    std::string text;  // "train.py:31"
  };
  std::vector<Line> lines;
  int32_t nodes = 0;
  void find_live();
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
  /// Cuts what this thread has recorded; nothing when it never recorded there.
  static void cut_current(DeviceType device);

  /// Appends one node. Throws before it changes anything, or not at all. With the device in
  /// immediate mode (cpu; QS_SYNC=1) the node has run when the call returns, and its fault is
  /// thrown here.
  void record(graph::Op op, DType compute, std::span<const In> in, std::span<const Out> out,
              std::span<const uint64_t> attrs);
  /// Runs everything recorded. Faults are left with what they took down and with the device.
  void cut();
  /// An optimizer's step is over: a place to cut, unless histories that have not run hold pending
  /// values of a small tape (the other half of a GAN's step).
  void step_ended();
  /// A top-level backward() is over: a place to cut a long tape.
  void backward_ended();
  size_t size() const { return static_cast<size_t>(recording_.nodes); }
  void set_region(uint32_t region) {
    region_ = region;
    numbered_ = false;
  }

  explicit Tape(DeviceType device);

  /// Makes `content` material (cutting the tape that holds it) and waits for its run. Throws its
  /// fault when it is lost, and else whatever fault waits with the device.
  static void materialize(Content& content);
  /// The same, and nothing recorded uses the storage any more: its address may be handed out. It
  /// is pinned from now on.
  static void settle(Content& content);
  /// Cuts every thread's tape of the device and waits; raises the device's fault.
  static void synchronize(DeviceType device);
  static void abandon_in_child();  // of a fork

 private:
  friend class Content;
  enum class Hold : uint8_t { none, read, write };  // what a recording does with a content
  using Lock = std::unique_lock<RecordingMutex>;

  graph::ValueId value_of(Content& content);
  bool holds(const Content& content) const {
    return content.tape_ == this && content.epoch_ == epoch_;
  }
  static Hold held(const Content& content);
  static Hold running(const Content& content);
  bool reads(const Content& content) const;
  Tape* other_user(const Content& content, bool write) const;
  bool make_way(std::span<const In> in, std::span<const Out> out, Lock& lock);
  void begin_anew(Content& content);
  bool limit_reached();
  void finish_runs();
  uint64_t place() const;
  void append(graph::Op op, DType compute, std::span<const In> in, std::span<const Out> out,
              std::span<const uint64_t> attrs, std::string line);
  static void bring_up(Content& content, bool settle);
  Ref<Fault> run(Lock& lock);

  const DeviceType type_;
  DeviceRuntime& device_;
  const bool immediate_;
  const int64_t soft_bytes_;
  uint64_t mark_ = 0;  // one bit; tapes may share one
  uint32_t region_ = 0;
  // The key has the region's number in its recording, so that each turn of a loop has the same.
  bool numbered_ = false;
  uint32_t region_number_ = 0, regions_ = 0;
  uint64_t epoch_;
  uint64_t running_epoch_ = 0;  // of what is being run; 0: nothing
  int64_t live_bytes_ = 0;      // of fresh results that are alive, and of dead contents in use
  Recording recording_;
  Recording running_;  // execution lock; contents also recording lock
  std::unordered_map<const Block*, graph::ValueId> shared_;

  // Where to cut.
  static constexpr size_t k_places = 64;
  std::vector<uint64_t> likes_;    // of the nodes recorded
  std::vector<uint32_t> borders_;  // of each beginning of likes_: its longest proper border
  uint64_t places_[k_places] = {};
  uint32_t next_place_ = 0;
};

/// How many contents were lost so far, of all devices: who keeps tensors over many steps need not
/// look at them while it stays the same.
QS_API uint64_t losses() noexcept;

/// Where `line()` of a failing node comes from; Python installs its own.
using LineFunction = std::string (*)();
QS_API void set_line_function(LineFunction f);

/// Finds or builds the plan of a recording and runs it; afterwards each content in it that is alive
/// has its block, or its fault. Returns the first fault (of a driver that works behind our back: of
/// what went wrong before it began). Throws nothing. Execution lock held. plan/execute.cpp.
Ref<Fault> execute(DeviceRuntime& device, Recording& recording);

}  // namespace qs::plan
