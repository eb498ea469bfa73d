#include "quicksilver/driver/fault/fault_driver.h"

#include <charconv>
#include <condition_variable>
#include <cstdlib>
#include <limits>
#include <mutex>

#include "quicksilver/core/error.h"

namespace qs::driver {
namespace {

enum Call { k_alloc, k_build, k_submit, k_wait, k_calls };
constexpr std::string_view k_names[k_calls] = {"alloc", "build", "submit", "wait"};

/// Which calls fail, and how many there were.
struct Orders {
  struct {
    int64_t seen = 0;
    int64_t first = 0, last = 0;  // of the calls that fail, from 1; 0: none
  } calls[k_calls];
  int64_t failed = 0;
};

int64_t take_number(std::string_view& text) {
  int64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  QS_CHECK(error == std::errc() && n > 0, ValueError,
           "faults: a count from 1 is expected at \"{}\"", text);
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return n;
}

Orders read_orders(std::string_view what) {
  Orders orders;
  while (!what.empty()) {
    if (what[0] == ',' || what[0] == ' ') {
      what.remove_prefix(1);
      continue;
    }
    const size_t equal = what.find('=');
    int call = 0;
    while (call < k_calls && k_names[call] != what.substr(0, equal)) ++call;
    QS_CHECK(equal != what.npos && call < k_calls, ValueError,
             "faults: alloc=, build=, submit= or wait= is expected at \"{}\"", what);
    what.remove_prefix(equal + 1);
    auto& order = orders.calls[call];
    order.first = order.last = take_number(what);
    if (what.substr(0, 1) == "+") {
      order.last = std::numeric_limits<int64_t>::max();
      what.remove_prefix(1);
    } else if (what.substr(0, 1) == "x") {
      what.remove_prefix(1);
      order.last = order.first + take_number(what) - 1;
    }
  }
  return orders;
}

class FaultDriver final : public Driver, public FaultInjector {
 public:
  explicit FaultDriver(std::unique_ptr<Driver> inner) : inner_(std::move(inner)) {
    info_ = inner_->info();
    info_.driver = "fault:" + info_.driver;
    if (const char* what = std::getenv("QS_FAULTS")) orders_ = read_orders(what);
  }
  const DriverInfo& info() const override { return info_; }
  void* alloc(size_t bytes) override {
    QS_CHECK(!fails(k_alloc), OutOfMemoryError, "an allocation of {} bytes was made to fail",
             bytes);
    return inner_->alloc(bytes);
  }
  void release(void* p, size_t bytes) noexcept override { inner_->release(p, bytes); }
  void write(void* dst, const void* src, size_t bytes) override { inner_->write(dst, src, bytes); }
  void read(void* dst, const void* src, size_t bytes) override { inner_->read(dst, src, bytes); }
  void copy(void* dst, const void* src, size_t bytes) override { inner_->copy(dst, src, bytes); }
  std::unique_ptr<Kernel> build(const Source& source) override {
    QS_CHECK(!fails(k_build), DeviceError, "a kernel was made to fail");
    return inner_->build(source);
  }
  bool accepts(const Source& source) const override { return inner_->accepts(source); }
  Fence submit(std::span<const Command> commands, const Launch& launch) override {
    QS_CHECK(!fails(k_submit), DeviceError, "a list of {} commands was made to fail",
             commands.size());
    pass();
    return inner_->submit(commands, launch);
  }
  std::unique_ptr<Program> freeze(std::vector<Command> commands) override {
    return inner_->freeze(std::move(commands));
  }
  Fence replay(Program& program, const Launch& launch) override {
    QS_CHECK(!fails(k_submit), DeviceError, "a replay was made to fail");
    pass();
    return inner_->replay(program, launch);
  }
  void wait(Fence fence) override {
    QS_CHECK(!fails(k_wait), DeviceError, "a wait was made to fail");
    inner_->wait(fence);
  }
  bool done(Fence fence) override { return inner_->done(fence); }
  int64_t allocated_bytes() const override { return inner_->allocated_bytes(); }

  void inject(std::string_view what) override {
    const Orders read = read_orders(what);
    const std::lock_guard lock(mutex_);
    orders_ = read;
  }
  void hold(bool on) override {
    const std::lock_guard lock(mutex_);
    holding_ = on;
    changed_.notify_all();
  }
  Counts counts() const override {
    const std::lock_guard lock(mutex_);
    const auto& c = orders_.calls;
    return {c[k_alloc].seen, c[k_build].seen, c[k_submit].seen,
            c[k_wait].seen,  orders_.failed,  held_};
  }

 private:
  /// Counts the call; true when it is to fail.
  bool fails(Call call) {
    const std::lock_guard lock(mutex_);
    auto& c = orders_.calls[call];
    ++c.seen;
    const bool failing = c.first > 0 && c.seen >= c.first && c.seen <= c.last;
    orders_.failed += failing;
    return failing;
  }

  /// Lets a list through, once nothing is held.
  void pass() {
    std::unique_lock lock(mutex_);
    ++held_;
    changed_.wait(lock, [&] { return !holding_; });
    --held_;
  }

  std::unique_ptr<Driver> inner_;
  DriverInfo info_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool holding_ = false;
  int64_t held_ = 0;
  Orders orders_;
};

}  // namespace

std::unique_ptr<Driver> open_fault_driver(std::unique_ptr<Driver> inner) {
  return std::make_unique<FaultDriver>(std::move(inner));
}

}  // namespace qs::driver
