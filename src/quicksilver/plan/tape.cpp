#include "quicksilver/plan/tape.h"

#include <pthread.h>

#include <cstdlib>
#include <memory>

#include "quicksilver/core/error.h"
#include "quicksilver/plan/explain.h"

namespace qs::plan {
namespace {

// Past the soft limit a tape is cut where its first node comes round again, so that the turns of a
// loop that reads nothing are cut alike; the hard limits are last.
constexpr int32_t k_soft_node_limit = 1024;
constexpr int32_t k_hard_node_limit = 4096;
constexpr int64_t k_hard_byte_limit = int64_t{2} << 30;

LineFunction g_line = nullptr;

/// All tapes of the process, never freed: contents keep plain pointers to them. A thread that ends
/// leaves its tapes for the next thread.
struct Registry {
  std::mutex mutex;  // the recording lock
  std::vector<Tape*> all[k_device_type_count];
  std::vector<Tape*> idle[k_device_type_count];
  Fault faults[k_device_type_count];
  uint64_t next_epoch = 1;
};

Registry& registry() {
  static Registry* r = [] {
    auto* made = new Registry;
    pthread_atfork([] { registry().mutex.lock(); }, [] { registry().mutex.unlock(); },
                   [] { registry().mutex.unlock(); });
    return made;
  }();
  return *r;
}

/// The tapes of one thread; handed back when the thread ends, as they are. They are not cut here:
/// what a run needs of the thread (the driver's scratch) may be gone already, and whoever needs a
/// value cuts.
struct ThreadTapes {
  Tape* tapes[k_device_type_count] = {};
  ~ThreadTapes() {
    for (int d = 0; d < k_device_type_count; ++d) {
      if (!tapes[d]) continue;
      std::lock_guard lock(registry().mutex);
      registry().idle[d].push_back(tapes[d]);
    }
  }
};
thread_local ThreadTapes t_tapes;

/// Equal for the same call in two turns of a loop.
uint64_t likeness(graph::Op op, DType compute, size_t operands, std::span<const Out> out) {
  uint64_t h = static_cast<uint64_t>(op) | uint64_t(compute) << 16 | uint64_t(operands) << 24 |
               uint64_t(out.size()) << 32;
  if (!out.empty())
    for (int64_t s : out[0].layout->shape) h = h * 0x9e3779b97f4a7c15ull + static_cast<uint64_t>(s);
  return h;
}

bool runs_at_once(DeviceType device) {
  if (device == DeviceType::cpu) return true;
  const char* sync = std::getenv("QS_SYNC");
  return sync && *sync && *sync != '0';
}

}  // namespace

std::mutex& recording_mutex() { return registry().mutex; }
void set_line_function(LineFunction f) { g_line = f; }

void leave_fault(DeviceType device, Fault fault) {
  Fault& kept = registry().faults[static_cast<int>(device)];
  if (kept.kind == Fault::none) kept = std::move(fault);
}

void raise_fault(DeviceType device) {
  Fault fault;
  {
    std::lock_guard lock(registry().mutex);
    std::swap(fault, registry().faults[static_cast<int>(device)]);
  }
  if (fault.kind == Fault::index) throw IndexError(fault.text);
  if (fault.kind != Fault::none) throw Error(fault.text);
}

void Recording::clear() {
  key.clear();
  hash = {};
  words.clear();
  values.clear();
  lines.clear();
  nodes = 0;
}

Content::~Content() {
  if (!tape_) return;
  std::lock_guard lock(registry().mutex);
  if (!tape_->holds(*this)) return;
  Recording::Value& v = tape_->recording_.values[value_];
  v.content = nullptr;
  if (!block) tape_->pending_bytes_ -= bytes;
}

Tape::Tape(DeviceType device)
    : type_(device),
      device_(device_runtime(device)),
      immediate_(runs_at_once(device)),
      epoch_(registry().next_epoch++) {}

Tape& Tape::current(DeviceType device) {
  Tape*& mine = t_tapes.tapes[static_cast<int>(device)];
  if (!mine) [[unlikely]] {
    device_runtime(device);  // may throw; opened before the lock is taken
    Registry& r = registry();
    std::lock_guard lock(r.mutex);
    auto& idle = r.idle[static_cast<int>(device)];
    if (!idle.empty()) {
      mine = idle.back();
      idle.pop_back();
    } else {
      mine = new Tape(device);
      r.all[static_cast<int>(device)].push_back(mine);
    }
  }
  return *mine;
}

graph::ValueId Tape::value_of(Content& content) {
  if (holds(content)) return content.value_;
  QS_CHECK(content.block, Error, "{}",
           content.error.empty() ? "the tensor has no content" : content.error.c_str());
  const auto id = static_cast<graph::ValueId>(recording_.values.size());
  recording_.values.push_back({nullptr, content.block, true, true});
  content.tape_ = this;
  content.epoch_ = epoch_;
  content.value_ = id;
  return id;
}

void Tape::record(graph::Op op, DType compute, std::span<const In> in, std::span<const Out> out,
                  std::span<const uint64_t> attrs) {
  std::string line;
  if ((graph::info(op).can_fail || explaining()) && g_line) line = g_line();
  {
    std::lock_guard lock(registry().mutex);
    for (const In& i : in) {
      if (i.kind != In::tensor) continue;
      Content& c = *i.content;
      if (c.tape_ && c.tape_ != this && c.tape_->holds(c)) c.tape_->cut_locked();
      QS_CHECK(c.block || holds(c), Error, "{}",
               c.error.empty() ? "the tensor has no content" : c.error.c_str());
    }
    // From here on nothing throws but for want of memory for the key itself.
    const uint64_t like = likeness(op, compute, in.size(), out);
    if (recording_.nodes >= k_soft_node_limit && like == first_node_) cut_locked();
    if (recording_.nodes == 0) first_node_ = like;
    graph::KeyWriter key(recording_.key, recording_.hash);
    key.node(op, compute, in.size(), out.size(), attrs.size(), region_);
    for (const In& i : in) {
      switch (i.kind) {
        case In::absent:
          key.absent();
          break;
        case In::scalar:
          key.scalar(i.dtype);
          recording_.words.push_back(i.word);
          break;
        case In::tensor: {
          const graph::ValueId id = value_of(*i.content);
          const bool dynamic = recording_.values[id].root_external;
          const int64_t start = i.layout->offset * static_cast<int64_t>(size_of(i.dtype));
          key.value(id, i.dtype, *i.layout, dynamic, start % 16 == 0, i.read);
          if (dynamic) recording_.words.push_back(static_cast<uint64_t>(i.layout->offset));
          break;
        }
      }
    }
    for (const Out& o : out) {
      key.result(o.dtype, *o.layout, o.target, o.full);
      const auto id = static_cast<graph::ValueId>(recording_.values.size());
      bool root_external = false;
      if (o.target >= 0) {
        Recording::Value& base = recording_.values[o.content->value_];
        base.content = nullptr;
        root_external = base.root_external;
      } else {
        o.content->tape_ = this;
        o.content->epoch_ = epoch_;
        pending_bytes_ += o.content->bytes;
      }
      o.content->value_ = id;
      recording_.values.push_back({o.content, {}, false, root_external});
    }
    for (uint64_t a : attrs) key.attr(a);
    if (!line.empty() || graph::info(op).can_fail)
      recording_.lines.push_back({recording_.nodes, std::move(line)});
    ++recording_.nodes;
    if (immediate_ || recording_.nodes >= k_hard_node_limit || pending_bytes_ > k_hard_byte_limit)
      cut_locked();
  }
  if (immediate_ && graph::info(op).can_fail) raise_fault(type_);
}

void Tape::cut_locked() {
  if (!recording_.nodes) return;
  // Whatever happens, the tape is empty afterwards; `execute` leaves each content a block or an
  // error.
  struct Close {
    Tape& tape;
    ~Close() {
      tape.recording_.clear();
      tape.pending_bytes_ = 0;
      tape.epoch_ = registry().next_epoch++;
    }
  } close{*this};
  execute(device_, recording_);
}

void Tape::cut() {
  std::lock_guard lock(registry().mutex);
  cut_locked();
}

void Tape::backward_ended() {
  std::lock_guard lock(registry().mutex);
  if (recording_.nodes >= k_soft_node_limit) cut_locked();
}

void Tape::materialize(Content& content) {
  {
    std::lock_guard lock(registry().mutex);
    Tape* tape = content.tape_;
    if (tape && tape->holds(content) && !tape->recording_.values[content.value_].external)
      tape->cut_locked();
  }
  if (!content.block) {
    raise_fault(content.device);
    throw Error(content.error.empty() ? "the tensor has no content" : content.error);
  }
  device_runtime(content.device).synchronize();
  raise_fault(content.device);
}

void Tape::settle(Content& content) {
  {
    std::lock_guard lock(registry().mutex);
    if (content.tape_ && content.tape_->holds(content)) content.tape_->cut_locked();
  }
  materialize(content);
}

void Tape::synchronize(DeviceType device) {
  {
    std::lock_guard lock(registry().mutex);
    for (Tape* tape : registry().all[static_cast<int>(device)]) tape->cut_locked();
  }
  if (DeviceRuntime* open = open_device_runtime(device)) open->synchronize();
  raise_fault(device);
}

}  // namespace qs::plan
