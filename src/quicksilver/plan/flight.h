// Runs that are under way.
//
// Outputs get their blocks before a run begins, so that other threads may record uses of them
// beside it; what is in them, and whether the run failed, is known when it is over. A Run keeps
// what is needed until then: memory it uses, the contents it makes or writes (so that a read waits
// for its own run), and how to tell what a failure takes down. With a driver that works at once a
// run is over when `submit` returns. With one that works behind our back it waits in a Flight until
// its fence is done.
//
// What a failed run was to make is lost for its tensors, and the blocks are marked as spoilt, for
// those who have recorded a use of them meanwhile (execute.cpp).
//
// At most k_most_runs runs are under way; the next one waits for the oldest (back-pressure), so the
// host never runs far ahead and memory does not pile up.
#pragma once
#include <deque>
#include <memory>
#include <vector>

#include "quicksilver/core/ref.h"
#include "quicksilver/plan/compiled.h"
#include "quicksilver/plan/fault.h"
#include "quicksilver/plan/tape.h"
#include "quicksilver/runtime/device.h"

namespace qs::plan {

/// One submitted plan.
struct Run {
  driver::Fence fence = 0;
  uint64_t id = 0;
  std::shared_ptr<const FaultTable> table;
  std::vector<Recording::Line> lines;
  std::vector<Ref<Block>> used;  // externals
  struct Held {
    Content* content = nullptr;  // null when gone. Recording lock
    graph::ValueId value = 0;    // its newest
  };
  std::vector<Held> outputs;       // by the plan's outputs
  std::vector<Held> written;       // older storages it writes
  std::vector<Ref<Block>> blocks;  // of the outputs
  /// What was run and the newest values of the outputs, when a failure may leave an earlier value
  /// of some good.
  std::unique_ptr<Recording> recording;
  std::vector<graph::ValueId> newest;

  /// From here on it is known to its contents, until it is over. Recording lock held.
  void begin();
  /// `content` dies: no run under way may touch it. Recording lock held.
  static void forget(const Content* content) noexcept;
  /// The run has ended: marks what is `lost` (by output; empty: nothing) with `fault`, except where
  /// there is a block in `kept`, and lets go of everything. Execution lock held.
  void over(const std::vector<uint8_t>& lost, const Ref<Fault>& fault,
            const std::vector<Ref<Block>>& kept = {});
  void spoil(const std::vector<uint8_t>& lost, const Ref<Fault>& fault);
  bool idle() const { return outputs.empty() && written.empty(); }
};

/// Guarded by the device's execution lock.
class Flight {
 public:
  static constexpr size_t k_most_runs = 2;

  /// A number for the next run: what the error record calls it.
  uint64_t next_id() { return ++last_id_; }
  uint64_t last_id() const { return last_id_; }
  /// Waits until another run may be submitted. Throws what the driver's wait throws.
  void make_room(DeviceRuntime& device);
  void add(DeviceRuntime& device, std::unique_ptr<Run> run);
  /// Waits for the run, if it is still under way, and for all before it.
  void finish(const Run* run);
  void finish_all();
  /// The same, but what may be kept of failed runs is left for later: no plan is run or built.
  void drain();
  size_t size() const { return runs_.size(); }
  /// In a forked child: forgets the runs, which are the parent's.
  void abandon() {
    new std::deque(std::move(runs_));
    new std::vector(std::move(ended_));
    runs_.clear();
    ended_.clear();
  }

 private:
  struct Ended {
    std::unique_ptr<Run> run;
    std::vector<uint8_t> lost;
    Ref<Fault> fault;
  };
  void finish_first();
  void rescue_all();
  DeviceRuntime* device_ = nullptr;
  std::deque<std::unique_ptr<Run>> runs_;
  std::vector<Ended> ended_;  // from one on of which it is not known yet what can be kept
  uint64_t last_id_ = 0;
};

Flight& flight_of(DeviceType device);

/// By output: the last good value of what is `lost` and had one. No run is under way.
std::vector<Ref<Block>> rescue(DeviceRuntime& device, const FaultTable& table, Recording& recording,
                               const std::vector<graph::ValueId>& newest,
                               const std::vector<uint8_t>& lost);

/// What a failure of the run `id` loses: a mark for each output; empty when nothing is lost.
/// `fault` is the one that the error record tells of: made here when this run set it, else the
/// waiting one.
std::vector<uint8_t> losses(DeviceRuntime& device, uint64_t id, const FaultTable& table,
                            const std::vector<Recording::Line>& lines, Ref<Fault>& fault);

}  // namespace qs::plan
