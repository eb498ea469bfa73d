#include "quicksilver/plan/flight.h"

#include <algorithm>

#include "quicksilver/core/error.h"
#include "quicksilver/plan/one_by_one.h"
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

namespace {
/// All runs under way, of all devices. Guarded by the recording lock.
std::vector<Run*>& under_way() {
  static auto* runs = new std::vector<Run*>;
  return *runs;
}
}  // namespace

void Run::begin() { under_way().push_back(this); }

void Run::forget(const Content* content) noexcept {
  for (Run* run : under_way())
    for (auto* list : {&run->outputs, &run->written})
      for (Held& held : *list)
        if (held.content == content) held.content = nullptr;
}

std::vector<Ref<Block>> rescue(DeviceRuntime& device, const FaultTable& table, Recording& recording,
                               const std::vector<graph::ValueId>& newest,
                               const std::vector<uint8_t>& lost) {
  std::vector<graph::ValueId> wanted;
  for (size_t i = 0; i < lost.size(); ++i)
    if (lost[i] && table.rewritten[i]) wanted.push_back(newest[i]);
  if (wanted.empty()) return {};
  std::vector<Ref<Block>> good = last_good(device, recording, wanted);
  std::vector<Ref<Block>> kept(lost.size());
  for (size_t i = 0, next = 0; i < lost.size(); ++i)
    if (lost[i] && table.rewritten[i]) kept[i] = std::move(good[next++]);
  return kept;
}

void Run::spoil(const std::vector<uint8_t>& lost, const Ref<Fault>& fault) {
  for (size_t i = 0; i < lost.size(); ++i)
    if (lost[i] && blocks[i]) blocks[i]->spoil(fault);
}

void Run::over(const std::vector<uint8_t>& lost, const Ref<Fault>& fault,
               const std::vector<Ref<Block>>& kept) {
  const auto is_lost = [&](size_t i) { return !lost.empty() && lost[i]; };
  spoil(lost, fault);
  {
    const std::lock_guard lock(recording_mutex());
    for (size_t i = 0; i < outputs.size(); ++i) {
      Content* content = outputs[i].content;
      if (!content) continue;
      if (is_lost(i) && i < kept.size() && kept[i])
        content->block = kept[i];
      else if (is_lost(i))
        content->lose(fault);
      content->finished(this);
    }
    for (const Held& held : written)
      if (held.content) held.content->finished(this);
    outputs.clear();
    written.clear();
    std::erase(under_way(), this);
  }
  blocks.clear();
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
  rescue_all();
}

void Flight::add(DeviceRuntime& device, std::unique_ptr<Run> run) {
  QS_ASSERT(device_ == &device);
  runs_.push_back(std::move(run));
}

void Flight::finish(const Run* run) {
  while (std::any_of(runs_.begin(), runs_.end(), [&](const auto& r) { return r.get() == run; }))
    finish_first();
  rescue_all();
}

void Flight::drain() {
  while (!runs_.empty()) finish_first();
}

void Flight::finish_all() {
  drain();
  rescue_all();
}

/// The runs behind a failed one skip what they were to write; they end first, because the device
/// writes again meanwhile.
void Flight::rescue_all() {
  while (!ended_.empty()) {
    drain();
    const std::vector<Ended> all = std::exchange(ended_, {});
    for (const Ended& e : all) {
      std::vector<Ref<Block>> kept;
      if (e.fault && e.run->recording)
        kept = rescue(*device_, *e.run->table, *e.run->recording, e.run->newest, e.lost);
      e.run->over(e.lost, e.fault, kept);
    }
  }
}

void Flight::finish_first() {
  device_->driver().wait(runs_.front()->fence);  // throws: the run stays, and may be waited for
  std::unique_ptr<Run> run = std::move(runs_.front());
  runs_.pop_front();
  Ref<Fault> fault;
  std::vector<uint8_t> lost = losses(*device_, run->id, *run->table, run->lines, fault);
  if (fault) leave_fault(*device_, fault);
  for (const Ref<Block>& used : run->used) {
    if (!used->spoilt()) continue;
    if (!fault) fault = Ref(static_cast<Fault*>(used->spoilt()));
    lost.assign(run->outputs.size(), 1);
  }
  run->spoil(lost, fault);
  if ((fault && run->recording) || !ended_.empty())  // a later run is not over before
    ended_.push_back({std::move(run), std::move(lost), std::move(fault)});
  else
    run->over(lost, fault);
}

}  // namespace qs::plan
