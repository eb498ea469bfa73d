// Hardened compilers let longjmp go up its own stack only; fibers go to another one on purpose.
#undef _FORTIFY_SOURCE
#include "grid.h"

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <sstream>

#include "quicksilver/core/error.h"
#include "quicksilver/kernels/texts.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace qs::test::grid {
namespace {

constexpr size_t k_stack_bytes = 128 * 1024;
constexpr unsigned char k_poison = 0xff, k_guard = 0xa5;
constexpr size_t k_guard_bytes = 64;

/// A stack and a place in it. Sanitizers must be told of each change of stacks;
/// without them setjmp saves the system call that swapcontext makes.
struct Fiber {
  ucontext_t context;
  jmp_buf place;
  bool began = false;
  std::unique_ptr<char[]> stack;
  const void* bottom = nullptr;  // of the stack, for sanitizers, as the rest
  size_t bytes = 0;
  void* sanitizer = nullptr;
};

void switch_fiber(Fiber& from, Fiber& to) {
#if defined(__SANITIZE_ADDRESS__)
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, to.bottom, to.bytes);
  swapcontext(&from.context, &to.context);
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#elif defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(to.sanitizer, 0);
  swapcontext(&from.context, &to.context);
#else
  from.began = true;
  if (_setjmp(from.place)) return;
  if (to.began) _longjmp(to.place, 1);
  to.began = true;
  setcontext(&to.context);
#endif
}

struct SharedArray {
  std::vector<unsigned char> bytes;  // with a guard behind
};

class Machine {
 public:
  enum State : uint8_t { ready, at_barrier, at_simd, done };
  struct Thread {
    Fiber fiber;
    State state = done;
    int line = 0;
    u32 value = 0;
  };

  static Machine& instance() {
    static Machine machine;
    return machine;
  }

  void run_launch(Entry entry, const QsLaunch& launch, int threads, int64_t groups,
                  std::mt19937_64& random) {
    entry_ = entry;
    launch_ = &launch;
    random_ = &random;
    groups_ = static_cast<u32>(groups);
    while (threads_.size() < static_cast<size_t>(threads)) make_thread();
    order_.resize(static_cast<size_t>(threads));
    shared_.clear();
    std::vector<u32> group_order(static_cast<size_t>(groups));
    for (size_t i = 0; i < group_order.size(); ++i) group_order[i] = static_cast<u32>(i);
    std::shuffle(group_order.begin(), group_order.end(), random);
    for (u32 group : group_order) run_group(group);
  }

  // What the prelude calls, on a thread's fiber.
  u32 local() const { return current_; }
  u32 at() const { return group_; }
  u32 groups() const { return groups_; }
  void wait(State state, int line) {
    Thread& t = *threads_[current_];
    t.state = state;
    t.line = line;
    switch_fiber(t.fiber, host_);
  }
  u32 simd_prefix_sum(u32 x, int line) {
    threads_[current_]->value = x;
    const u32 me = current_;
    wait(at_simd, line);
    return threads_[me]->value;
  }
  void* shared(int line, size_t bytes) {
    SharedArray& array = shared_[line];
    if (array.bytes.empty()) {
      array.bytes.assign(bytes + k_guard_bytes, k_poison);
      std::memset(array.bytes.data() + bytes, k_guard, k_guard_bytes);
    }
    return array.bytes.data();
  }

 private:
  void make_thread() {
    auto t = std::make_unique<Thread>();
    t->fiber.stack = std::make_unique<char[]>(k_stack_bytes);
    t->fiber.bottom = t->fiber.stack.get();
    t->fiber.bytes = k_stack_bytes;
    getcontext(&t->fiber.context);
    t->fiber.context.uc_stack.ss_sp = t->fiber.stack.get();
    t->fiber.context.uc_stack.ss_size = k_stack_bytes;
    t->fiber.context.uc_link = nullptr;
    makecontext(&t->fiber.context, &Machine::body, 0);
#if defined(__SANITIZE_THREAD__)
    t->fiber.sanitizer = __tsan_create_fiber(0);
    if (!host_.sanitizer) host_.sanitizer = __tsan_get_current_fiber();
#endif
    threads_.push_back(std::move(t));
  }

  /// A fiber's life: one thread of group after group.
  static void body() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &instance().host_.bottom, &instance().host_.bytes);
#endif
    Machine& m = instance();
    for (;;) {
      m.entry_(*m.launch_);
      m.wait(done, 0);
    }
  }

  void run_group(u32 group) {
    group_ = group;
    for (auto& [line, array] : shared_)
      std::memset(array.bytes.data(), k_poison, array.bytes.size() - k_guard_bytes);
    for (size_t i = 0; i < order_.size(); ++i) {
      order_[i] = static_cast<u32>(i);
      threads_[i]->state = ready;
    }
    for (;;) {
      std::shuffle(order_.begin(), order_.end(), *random_);
      for (u32 i : order_) {
        if (threads_[i]->state != ready) continue;
        current_ = i;
        switch_fiber(host_, threads_[i]->fiber);
      }
      if (!release()) break;
    }
    for (const auto& [line, array] : shared_)
      for (size_t i = array.bytes.size() - k_guard_bytes; i < array.bytes.size(); ++i)
        QS_CHECK(array.bytes[i] == k_guard, Error, "memory behind the array of line {} was written",
                 line);
  }

  /// Lets threads go on that wait for each other; false when all are done.
  bool release() {
    const size_t n = order_.size();
    bool any = false;
    for (size_t first = 0; first < n; first += QS_SIMD_WIDTH) {
      const size_t last = std::min<size_t>(n, first + QS_SIMD_WIDTH);
      size_t waiting = 0;
      for (size_t i = first; i < last; ++i) waiting += threads_[i]->state == at_simd;
      if (waiting == 0) continue;
      u32 sum = 0;
      for (size_t i = first; i < last; ++i) {
        fail_unless(threads_[i]->state == at_simd && threads_[i]->line == threads_[first]->line,
                    "a simd function is not reached by all threads of a simdgroup");
        threads_[i]->value = sum += threads_[i]->value;
        threads_[i]->state = ready;
      }
      any = true;
    }
    if (any) return true;
    size_t ended = 0;
    for (size_t i = 0; i < n; ++i) ended += threads_[i]->state == done;
    if (ended == n) return false;
    for (size_t i = 0; i < n; ++i) {
      fail_unless(threads_[i]->state == at_barrier && threads_[i]->line == threads_[0]->line,
                  "a barrier is not reached by all threads of a group");
      threads_[i]->state = ready;
    }
    return true;
  }

  void fail_unless(bool good, const char* what) {
    if (good) return;
    threads_.clear();  // some wait in the middle of a kernel for ever
    throw Error(what);
  }

  Fiber host_;
  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<u32> order_;
  std::map<int, SharedArray> shared_;
  Entry entry_ = nullptr;
  const QsLaunch* launch_ = nullptr;
  std::mt19937_64* random_ = nullptr;
  u32 current_ = 0, group_ = 0, groups_ = 0;
};

std::vector<Compiled>& all() {
  static std::vector<Compiled> list;
  return list;
}

std::map<std::string, uint64_t> options_of(const std::string& text) {
  std::map<std::string, uint64_t> options;
  std::istringstream lines(text);
  std::string define, name, value;
  while (lines >> define >> name >> value) {
    QS_ASSERT(define == "#define");
    options[name] = static_cast<uint64_t>(std::stoll(value, nullptr, 0));
  }
  return options;
}

std::string parts_of(const driver::KernelText& text) {
  std::string names;
  for (size_t i = 1; i < text.parts.size(); ++i)
    for (const kernels::TextPart* p = kernels::k_text_parts; !p->name.empty(); ++p)
      if (p->text.data() == text.parts[i].data()) {
        if (!names.empty()) names += ' ';
        names += p->name;
      }
  return names;
}

unsigned char* resolve(const driver::PtrRef& ref, const driver::Launch& launch) {
  auto* p = static_cast<unsigned char*>(launch.bases[static_cast<size_t>(ref.base)]) + ref.bytes;
  if (ref.offset_word >= 0)
    p += static_cast<int64_t>(launch.words[static_cast<size_t>(ref.offset_word)]) * ref.item_size;
  return p;
}

}  // namespace

bool add(Compiled text) {
  all().push_back(std::move(text));
  return true;
}

const Compiled& find(const driver::KernelText& text) {
  const std::string parts = parts_of(text);
  const auto options = options_of(text.options);
  for (const Compiled& c : all())
    if (c.parts == parts && c.options == options) return c;
  throw Error(format("the tests have not compiled {} with\n{}", parts, text.options));
}

void run(const driver::KernelText& text, const driver::KernelArgs& args,
         const driver::Launch& launch, int32_t tag, uint64_t seed) {
  const Compiled& compiled = find(text);
  const driver::TextPlan plan = text.plan(args);
  std::mt19937_64 random(seed);
  std::vector<unsigned char> own;
  QsLaunch call{};
  QS_ASSERT(args.pointers.size() <= QS_POINTERS);
  for (size_t i = 0; i < args.pointers.size(); ++i)
    call.pointers[i] = resolve(args.pointers[i], launch);
  if (args.scratch.base >= 0) {
    call.scratch = resolve(args.scratch, launch);
  } else {
    own.resize(static_cast<size_t>(plan.scratch_bytes) + k_guard_bytes);
    call.scratch = own.data();
    std::memset(own.data() + plan.scratch_bytes, k_guard, k_guard_bytes);
  }
  if (plan.scratch_bytes)
    std::memset(call.scratch, k_poison, static_cast<size_t>(plan.scratch_bytes));
  std::vector<uint64_t> words;
  for (const driver::ScalarRef& s : args.scalars)
    words.push_back(s.word >= 0 ? launch.words[static_cast<size_t>(s.word)] : s.value);
  call.ints = args.ints.data();
  call.words = words.data();
  call.error = reinterpret_cast<QsError*>(launch.error);
  call.tag = tag;
  static_assert(sizeof(QsError) == sizeof(driver::ErrorRecord));
  for (const driver::TextLaunch& l : plan.launches) {
    call.steps = l.steps.data();
    static_assert(std::tuple_size_v<decltype(l.steps)> == QS_STEPS);
    QS_ASSERT(l.groups >= 1 && l.groups < int64_t{1} << 31);
    const std::string& name = text.entries.at(static_cast<size_t>(l.entry));
    int64_t groups = l.groups;
    if (seed % 2) groups = 1 + static_cast<int64_t>(random() % static_cast<uint64_t>(groups));
    Machine::instance().run_launch(compiled.entries.at(name), call, text.threads, groups, random);
  }
  if (!own.empty())
    for (size_t i = own.size() - k_guard_bytes; i < own.size(); ++i)
      QS_CHECK(own[i] == k_guard, Error, "memory behind the scratch was written");
}

}  // namespace qs::test::grid

namespace qs_grid {

using qs::test::grid::Machine;

u32 local() { return Machine::instance().local(); }
u32 at() { return Machine::instance().at(); }
u32 groups() { return Machine::instance().groups(); }
void barrier(int line) { Machine::instance().wait(Machine::at_barrier, line); }
u32 simd_prefix_sum(u32 x, int line) { return Machine::instance().simd_prefix_sum(x, line); }
void* shared(int line, u64 bytes) {
  return Machine::instance().shared(line, static_cast<size_t>(bytes));
}

}  // namespace qs_grid
