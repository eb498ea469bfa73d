#include "quicksilver/plan/flight.h"

#include <algorithm>

#include "quicksilver/core/error.h"
#include "quicksilver/plan/turn.h"

namespace qs::plan {
namespace {

/// PyTorch's words for what a kernel refused.
Ref<Fault> fault_of(const driver::ErrorRecord& e, const FaultTable& table,
                    const std::vector<Recording::Line>& lines) {
  const auto tag = static_cast<size_t>(e.set - 1);
  const graph::Op op = tag < table.ops.size() ? table.ops[tag] : graph::Op::copy;
  const bool index = e.reason == 1;
  std::string text;
  if (index && op == graph::Op::cross_entropy)
    text = format("Target {} is out of bounds.", e.value);
  else if (index)
    text = format("index {} is out of bounds for dimension {} with size {}", e.value,
                  tag < table.dims.size() ? table.dims[tag] : 0, e.bound);
  else
    text = "ZeroDivisionError";
  for (const Recording::Line& line : lines)
    if (line.node == static_cast<int32_t>(tag) && !line.text.empty())
      text += format(" ({}, {})", graph::name_of(op), line.text);
  return make_ref<Fault>(index ? Fault::index : Fault::other, std::move(text));
}

}  // namespace

std::vector<uint8_t> losses(DeviceRuntime& device, uint64_t id, const FaultTable& table,
                            const std::vector<Recording::Line>& lines, Ref<Fault>& fault) {
  const driver::ErrorRecord& record = *device.error_record();
  if (!device.failed()) return {};
  // Not signed yet: a run behind this one has set it.
  const uint64_t setter = std::atomic_ref(device.error_record()->run).load();
  if (setter == 0 || id < setter) return {};
  const bool own = id == setter;
  if (!own)
    fault = waiting_fault(device.type());
  else
    fault = fault_of(record, table, lines);
  QS_ASSERT(fault, "an error record that nobody set");
  std::vector<uint8_t> lost = table.skipped;
  for (const FaultTable::Loss& loss : table.losses)
    if (!own || (loss.tags & record.failed))
      for (size_t i = 0; i < lost.size(); ++i) lost[i] |= loss.outputs[i];
  return lost;
}

void Run::forget(const Content* content) noexcept {
  std::replace(outputs.begin(), outputs.end(), const_cast<Content*>(content), (Content*)nullptr);
  std::replace(written.begin(), written.end(), const_cast<Content*>(content), (Content*)nullptr);
}

Flight& flight_of(DeviceType device) {
  static Flight* all = new Flight[k_device_type_count];
  return all[static_cast<int>(device)];
}

void Flight::make_room(DeviceRuntime& device) {
  if (device_ != &device) {
    finish_all();
    device_ = &device;
  }
  while (runs_.size() >= k_most_runs) finish_first();
}

void Flight::add(DeviceRuntime& device, std::unique_ptr<Run> run) {
  QS_ASSERT(device_ == &device);
  runs_.push_back(std::move(run));
}

void Flight::finish(const Run* run) {
  while (std::any_of(runs_.begin(), runs_.end(), [&](const auto& r) { return r.get() == run; }))
    finish_first();
}

void Flight::finish_all() {
  while (!runs_.empty()) finish_first();
}

void Flight::finish_first() {
  device_->driver().wait(runs_.front()->fence);  // throws: the run stays, and may be waited for
  const std::unique_ptr<Run> run = std::move(runs_.front());
  runs_.pop_front();
  Ref<Fault> fault;
  std::vector<uint8_t> lost = losses(*device_, run->id, *run->table, run->lines, fault);
  if (run->lost) {
    if (!fault) fault = waiting_fault(device_->type());
    lost.assign(run->outputs.size(), 1);
  }
  if (fault) {
    leave_fault(*device_, fault);
    for (size_t i = 0; i < lost.size(); ++i)  // runs behind this one took them for good
      for (const auto& later : runs_)
        for (const Ref<Block>& used : later->used) later->lost |= lost[i] && used == run->blocks[i];
  }
  const std::lock_guard lock(recording_mutex());
  for (size_t i = 0; i < run->outputs.size(); ++i) {
    Content* content = run->outputs[i];
    if (!content) continue;
    if (!lost.empty() && lost[i]) content->lose(fault);
    content->finished(run.get());
  }
  for (Content* content : run->written)
    if (content) content->finished(run.get());
}

}  // namespace qs::plan
