// Runs that a device has not finished yet.
//
// With a driver that works behind our back, `submit` returns at once: outputs have their blocks,
// but what is in them, and whether the run failed, is known when its fence is done. A Flight keeps
// what is needed until then: memory the run uses, the contents it makes or writes (so that a read
// waits for its own run), and how to tell what a failure takes down. With a driver that works at
// once a run is finished as soon as it is submitted and never gets here.
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
  std::vector<Ref<Block>> used;    // externals
  std::vector<Content*> outputs;   // by the plan's outputs; null when gone. Recording lock
  std::vector<Content*> written;   // older storages it writes; null when gone. Recording lock
  std::vector<Ref<Block>> blocks;  // of the outputs
  bool lost = false;               // it read something that a failed run was to make

  /// `content` dies. Recording lock held.
  void forget(const Content* content) noexcept;
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
  size_t size() const { return runs_.size(); }
  /// In a forked child: forgets the runs, which are the parent's.
  void abandon() { new std::deque(std::move(runs_)); }

 private:
  void finish_first();
  DeviceRuntime* device_ = nullptr;
  std::deque<std::unique_ptr<Run>> runs_;
  uint64_t last_id_ = 0;
};

Flight& flight_of(DeviceType device);

/// What a failure of the run `id` loses: a mark for each output; empty when nothing is lost.
/// `fault` is the one that the error record tells of: made here when this run set it, else the
/// waiting one.
std::vector<uint8_t> losses(DeviceRuntime& device, uint64_t id, const FaultTable& table,
                            const std::vector<Recording::Line>& lines, Ref<Fault>& fault);

}  // namespace qs::plan
