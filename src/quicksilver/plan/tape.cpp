#include "quicksilver/plan/tape.h"

#include <pthread.h>

#include <algorithm>
#include <cstdlib>

#include "quicksilver/core/error.h"
#include "quicksilver/plan/explain.h"
#include "quicksilver/plan/flight.h"

namespace qs::plan {
namespace {

constexpr int32_t k_soft_nodes = 1024;
constexpr int32_t k_late_nodes = 2048;  // the body may be too long to be met twice
constexpr int32_t k_hard_nodes = 4096;

LineFunction g_line = nullptr;
std::atomic<uint64_t> g_losses{0};

/// All tapes of the process, never freed: contents keep plain pointers to them. A thread that ends
/// leaves its tapes for the next thread. Guarded by the recording lock.
struct Registry {
  std::vector<Tape*> all[k_device_type_count];
  std::vector<Tape*> idle[k_device_type_count];
  uint64_t next_epoch = 1;
};
Registry& registry() {
  static Registry* r = [] {
    pthread_atfork(nullptr, nullptr, &Tape::abandon_in_child);
    return new Registry;
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
      const std::lock_guard lock(recording_mutex());
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
  return h * 0xff51afd7ed558ccdull;
}

bool runs_at_once(DeviceType device) {
  if (device == DeviceType::cpu) return true;
  const char* sync = std::getenv("QS_SYNC");
  return sync && *sync && *sync != '0';
}

/// Whether operand `i` is a target that a node writes in full.
bool overwrites(std::span<const Out> out, size_t i) {
  return std::any_of(out.begin(), out.end(),
                     [&](const Out& o) { return o.target == static_cast<int>(i) && o.full; });
}

[[noreturn]] void raise_lost(const Content& content) {
  if (content.error) raise_fault(content.device, content.error);
  throw Error("the tensor has no content");
}

}  // namespace

void set_line_function(LineFunction f) { g_line = f; }

uint64_t losses() noexcept { return g_losses.load(std::memory_order_relaxed); }

void Content::lose(Ref<Fault> fault) {
  block = nullptr;
  error = std::move(fault);
  g_losses.fetch_add(1, std::memory_order_relaxed);
}

void Recording::find_live() {
  live.assign((values.size() + 63) / 64, 0);
  for (size_t v = 0; v < values.size(); ++v)
    if (values[v].content && !values[v].external && !values[v].root_external)
      live[v / 64] |= uint64_t{1} << (v % 64);
}

void Recording::clear() {
  key.clear();
  hash = {};
  words.clear();
  values.clear();
  live.clear();
  lines.clear();
  nodes = 0;
}

Content::~Content() {
  if (!tape_ && !run_) return;
  const std::lock_guard lock(recording_mutex());
  if (run_) Run::forget(this);
  if (!tape_) return;
  if (tape_->holds(*this)) {
    Recording::Value& v = tape_->recording_.values[value_];
    v.content = nullptr;
    // A pending result is wanted no more; a material one stays for the sake of the tape alone.
    tape_->live_bytes_ += block ? bytes : -bytes;
  } else if (epoch_ == tape_->running_epoch_) {
    tape_->running_.values[value_].content = nullptr;
  }
}

Tape::Tape(DeviceType device)
    : type_(device),
      device_(device_runtime(device)),
      immediate_(runs_at_once(device)),
      soft_bytes_(std::max<int64_t>(device_.info().memory_bytes / 16, int64_t{1} << 26)),
      epoch_(registry().next_epoch++) {}

Tape& Tape::current(DeviceType device) {
  Tape*& mine = t_tapes.tapes[static_cast<int>(device)];
  if (!mine) [[unlikely]] {
    device_runtime(device);  // may throw; opened before the lock is taken
    const std::lock_guard lock(recording_mutex());
    Registry& r = registry();
    auto& idle = r.idle[static_cast<int>(device)];
    auto& all = r.all[static_cast<int>(device)];
    if (!idle.empty()) {
      mine = idle.back();
      idle.pop_back();
    } else {
      mine = new Tape(device);
      mine->mark_ = uint64_t{1} << (all.size() % 64);
      all.push_back(mine);
    }
  }
  return *mine;
}

void Tape::cut_current(DeviceType device) {
  if (Tape* mine = t_tapes.tapes[static_cast<int>(device)]) mine->cut();
}

// ---- who uses what ------------------------------------------------------------------------------

Tape::Hold Tape::held(const Content& c) {
  if (!c.tape_ || !c.tape_->holds(c)) return Hold::none;
  return c.tape_->recording_.values[c.value_].external ? Hold::read : Hold::write;
}

Tape::Hold Tape::running(const Content& c) {
  if (!c.tape_ || c.epoch_ != c.tape_->running_epoch_) return Hold::none;
  return c.tape_->running_.values[c.value_].external ? Hold::read : Hold::write;
}

bool Tape::reads(const Content& c) const {
  return holds(c) || (!shared_.empty() && shared_.contains(c.block.get()));
}

/// A tape that must be cut before this one uses `c`, or null.
Tape* Tape::other_user(const Content& c, bool write) const {
  if (c.tape_ && c.tape_ != this && held(c) == Hold::write) return c.tape_;
  if (!write || !(c.users_ & ~mark_)) return nullptr;
  for (Tape* tape : registry().all[static_cast<int>(type_)])
    if (tape != this && (c.users_ & tape->mark_) && tape->reads(c)) return tape;
  return nullptr;
}

/// A lost storage that is about to be overwritten whole: zeros first, so that there is a value to
/// go back to when that fails, too.
void Tape::begin_anew(Content& content) {
  content.error = nullptr;
  const Layout bytes = Layout::contiguous(Dims{content.bytes});
  const In zero{In::scalar, DType::i64, true, nullptr, nullptr, 0};
  const Out whole{&content, DType::u8, &bytes, -1, true};
  if (!immediate_) likes_.push_back(likeness(graph::Op::full, DType::u8, 1, {&whole, 1}));
  append(graph::Op::full, DType::u8, {&zero, 1}, {&whole, 1}, {}, {});
}

/// Settles what stands in the way of a node. True when the lock was let go: look again.
bool Tape::make_way(std::span<const In> in, std::span<const Out> out, Lock& lock) {
  uint32_t written = 0;
  for (const Out& o : out)
    if (o.target >= 0) written |= 1u << o.target;
  for (size_t i = 0; i < in.size(); ++i) {
    if (in[i].kind != In::tensor) continue;
    const Content& c = *in[i].content;
    if (holds(c) && !(written >> i & 1)) continue;
    if (Tape* tape = other_user(c, written >> i & 1)) {
      lock.unlock();
      tape->cut();
      lock.lock();
      return true;
    }
    if (running(c) == Hold::write) {
      Handover& blocks = handover(type_);
      const uint32_t seen = blocks.count();
      lock.unlock();
      blocks.wait(seen);
      lock.lock();
      return true;
    }
    if (!c.block && !holds(c)) {
      if (c.error && !in[i].read && overwrites(out, i)) {
        begin_anew(*in[i].content);
        continue;
      }
      lock.unlock();
      if (immediate_ && c.error) c.error->raise();
      raise_lost(c);
    }
  }
  return false;
}

graph::ValueId Tape::value_of(Content& c) {
  if (holds(c)) return c.value_;
  if (!shared_.empty())
    if (const auto it = shared_.find(c.block.get()); it != shared_.end()) {
      if (held(c) != Hold::none) return it->second;
      c.tape_ = this;
      c.epoch_ = epoch_;
      return c.value_ = it->second;
    }
  const auto id = static_cast<graph::ValueId>(recording_.values.size());
  recording_.values.push_back({nullptr, c.block, true, true});
  c.users_ |= mark_;
  if (held(c) != Hold::none) {
    shared_.emplace(c.block.get(), id);
    return id;
  }
  c.tape_ = this;
  c.epoch_ = epoch_;
  return c.value_ = id;
}

// ---- recording ----------------------------------------------------------------------------------

void Tape::record(graph::Op op, DType compute, std::span<const In> in, std::span<const Out> out,
                  std::span<const uint64_t> attrs) {
  if (type_ == DeviceType::mps) device_runtime(type_);  // throws in a fork of its process
  std::string line;
  const bool can_fail = graph::info(op).can_fail;
  if ((can_fail || explaining()) && g_line) line = g_line();
  if (immediate_) {
    Ref<Fault> fault;
    {
      const Turn turn(type_, false);  // so nothing else is recorded or run
      Lock lock(recording_mutex());
      make_way(in, out, lock);
      append(op, compute, in, out, attrs, std::move(line));
      fault = run(lock);
      if (fault) [[unlikely]]
        device_.take_error();
    }
    if (fault) [[unlikely]]
      fault->raise();
    if (device_.info().asynchronous) synchronize(type_);
    return;
  }
  const uint64_t like = likeness(op, compute, in.size(), out);
  bool full, pinned = false;
  {
    Lock lock(recording_mutex());
    for (;;) {
      if (recording_.nodes >= k_soft_nodes || live_bytes_ > soft_bytes_) [[unlikely]] {
        if (recording_.nodes && limit_reached()) {
          lock.unlock();
          cut();
          lock.lock();
          continue;
        }
      }
      if (!make_way(in, out, lock)) break;
    }
    likes_.push_back(like);
    append(op, compute, in, out, attrs, std::move(line));
    full = recording_.nodes >= k_hard_nodes || live_bytes_ > 2 * soft_bytes_;
    for (const In& i : in) pinned |= i.kind == In::tensor && i.content->pinned;
  }
  if (full || pinned) [[unlikely]]
    cut();
  if (pinned && device_.info().asynchronous && device_.info().host_memory) [[unlikely]]
    finish_runs();
}

/// Others read host memory without asking whether a run is over.
void Tape::finish_runs() {
  const Turn turn(type_);
  try {
    flight_of(type_).finish_all();
  } catch (const std::exception&) {  // the runs stay under way: whoever needs them will meet it
  }
}

/// Nothing throws here but for want of memory for the key itself. Recording lock held. All is
/// inlined here, and the hash is a copy that can stay in registers: its chain of multiplications
/// over a node's dozen words is what the function waits for.
[[gnu::flatten]] void Tape::append(graph::Op op, DType compute, std::span<const In> in,
                                   std::span<const Out> out, std::span<const uint64_t> attrs,
                                   std::string line) {
  Hash128 hash = recording_.hash;
  graph::KeyWriter key(recording_.key, hash);
  if (!numbered_) [[unlikely]] {
    region_number_ = region_ ? ++regions_ : 0;
    numbered_ = true;
  }
  key.node(op, compute, in.size(), out.size(), attrs.size(), region_number_);
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
      live_bytes_ += o.content->bytes;
    }
    o.content->users_ = mark_;
    o.content->value_ = id;
    recording_.values.push_back({o.content, {}, false, root_external});
  }
  for (uint64_t a : attrs) key.attr(a);
  recording_.hash = hash;
  if (!line.empty() || graph::info(op).can_fail)
    recording_.lines.push_back({recording_.nodes, std::move(line)});
  ++recording_.nodes;
}

// ---- where to cut -------------------------------------------------------------------------------

/// What came last, as far as it tells places apart.
uint64_t Tape::place() const {
  constexpr size_t k_reach = 64;
  uint64_t h = 0;
  for (size_t i = likes_.size() - std::min(likes_.size(), k_reach); i < likes_.size(); ++i)
    h = h * 0x9e3779b97f4a7c15ull + likes_[i];
  return h;
}

/// Past a soft limit, before another node is recorded.
bool Tape::limit_reached() {
  const auto n = static_cast<uint32_t>(likes_.size());
  while (borders_.size() < n) {
    const auto i = static_cast<uint32_t>(borders_.size());
    uint32_t border = i ? borders_[i - 1] : 0;
    while (border && likes_[i] != likes_[border]) border = borders_[border - 1];
    borders_.push_back(i && likes_[i] == likes_[border] ? border + 1 : 0);
  }
  const uint32_t period = n - borders_[n - 1];
  if (2 * period <= n) return n % period == 0;
  if (recording_.nodes < k_late_nodes && live_bytes_ <= soft_bytes_) return false;
  return std::find(std::begin(places_), std::end(places_), place()) != std::end(places_);
}

/// What was recorded for a device that the child has not is left where it lies.
void Tape::abandon_in_child() {
  flight_of(DeviceType::mps).abandon();
  for (Tape* tape : registry().all[static_cast<int>(DeviceType::mps)]) {
    new Recording(std::move(tape->recording_));
    tape->recording_ = {};
    tape->epoch_ = registry().next_epoch++;
    tape->live_bytes_ = 0;
    tape->shared_.clear();
    tape->likes_.clear();
    tape->borders_.clear();
  }
}

void Tape::cut() {
  const Turn turn(type_, !immediate_);
  Lock lock(recording_mutex());
  if (Ref<Fault> fault = run(lock)) leave_fault(device_, std::move(fault));
}

void Tape::step_ended() {
  {
    const Lock lock(recording_mutex());
    if (recording_.nodes < k_soft_nodes && live_bytes_ <= soft_bytes_)
      for (const Recording::Value& v : recording_.values)
        if (v.content && !v.root_external && v.content->saves.load(std::memory_order_relaxed) > 0)
          return;
  }
  cut();
}

void Tape::backward_ended() {
  {
    const Lock lock(recording_mutex());
    if (recording_.nodes < k_soft_nodes && live_bytes_ <= soft_bytes_) return;
  }
  cut();
}

/// Takes the recording and runs it. Both locks are held; the recording lock is let go.
Ref<Fault> Tape::run(Lock& lock) {
  if (!recording_.nodes) {
    lock.unlock();
    return nullptr;
  }
  recording_.find_live();
  std::swap(recording_, running_);
  running_epoch_ = epoch_;
  epoch_ = registry().next_epoch++;
  live_bytes_ = 0;
  shared_.clear();
  regions_ = 0;
  numbered_ = false;
  if (!immediate_) {
    const uint64_t here = place();
    if (std::find(std::begin(places_), std::end(places_), here) == std::end(places_))
      places_[next_place_++ % k_places] = here;
    likes_.clear();
    borders_.clear();
  }
  lock.unlock();
  Ref<Fault> fault = execute(device_, running_);
  lock.lock();
  running_epoch_ = 0;
  lock.unlock();
  handover(type_).announce();
  running_.clear();  // without the lock: memory of others is released by their own functions
  return fault;
}

// ---- reading ------------------------------------------------------------------------------------

/// Cuts what makes or writes `content`, or, to settle it, whatever uses it; waits for its run.
void Tape::bring_up(Content& content, bool settle) {
  device_runtime(content.device);  // throws in a fork of its process
  Lock lock(recording_mutex());
  const auto& all = registry().all[static_cast<int>(content.device)];
  for (;;) {
    Tape* user = held(content) == Hold::write || (settle && held(content) != Hold::none)
                     ? content.tape_
                     : nullptr;
    for (size_t i = 0; settle && !user && i < all.size(); ++i)
      if (all[i]->reads(content)) user = all[i];
    const bool runs = running(content) == Hold::write || (settle && running(content) != Hold::none);
    if (user) {
      lock.unlock();
      user->cut();
    } else if (runs) {
      lock.unlock();
      const Turn wait(content.device);
    } else if (content.run_) {
      const Run* run = content.run_;
      lock.unlock();
      const Turn turn(content.device);
      flight_of(content.device).finish(run);
    } else {
      content.pinned |= settle;
      break;
    }
    lock.lock();
  }
  lock.unlock();
  if (!content.block) raise_lost(content);
  raise_fault(content.device);
}

void Tape::materialize(Content& content) { bring_up(content, false); }
void Tape::settle(Content& content) { bring_up(content, true); }

void Tape::synchronize(DeviceType device) {
  std::vector<Tape*> all;
  {
    const Lock lock(recording_mutex());
    all = registry().all[static_cast<int>(device)];
  }
  for (Tape* tape : all) tape->cut();
  {
    const Turn turn(device);
    flight_of(device).finish_all();
  }
  raise_fault(device);
}

}  // namespace qs::plan
