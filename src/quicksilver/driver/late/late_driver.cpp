#include "quicksilver/driver/late/late_driver.h"

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "quicksilver/core/error.h"

namespace qs::driver {
namespace {

/// Process-wide: how late.
struct Gate {
  std::mutex mutex;
  std::condition_variable changed;
  LateOrders orders;

  void pass() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return !orders.held; });
    const auto delay = std::chrono::microseconds(orders.delay_us);
    lock.unlock();
    if (delay.count() > 0) std::this_thread::sleep_for(delay);
  }
};
Gate& gate() {
  static Gate* g = new Gate;
  return *g;
}

/// The launch table, kept until the commands run.
struct Table {
  std::vector<void*> bases;
  std::vector<uint64_t> words;
  Launch launch;
  explicit Table(const Launch& given)
      : bases(given.bases.begin(), given.bases.end()),
        words(given.words.begin(), given.words.end()),
        launch(given) {
    launch.bases = bases;
    launch.words = words;
  }
};

struct LateProgram final : Program {
  std::shared_ptr<Program> inner;  // kept by the replays that are under way
};

class LateDriver final : public Driver {
 public:
  explicit LateDriver(std::unique_ptr<Driver> inner) : inner_(std::move(inner)) {
    info_ = inner_->info();
    info_.driver = "late:" + info_.driver;
    info_.asynchronous = true;
    worker_ = std::thread([this] { work(); });
  }
  ~LateDriver() override {
    add(nullptr);
    worker_.join();
  }
  const DriverInfo& info() const override { return info_; }

  void* alloc(size_t bytes) override { return inner_->alloc(bytes); }
  void release(void* p, size_t bytes) noexcept override {
    try {
      add([this, p, bytes] { inner_->release(p, bytes); });
    } catch (...) {  // no memory for the note: wait for whoever uses `p` instead
      finish(last_fence());
      inner_->release(p, bytes);
    }
  }
  void write(void* dst, const void* src, size_t bytes) override {
    auto staged = std::make_shared<std::vector<char>>(bytes);
    if (bytes) std::memcpy(staged->data(), src, bytes);
    add([this, dst, staged] { inner_->write(dst, staged->data(), staged->size()); });
  }
  void read(void* dst, const void* src, size_t bytes) override {
    finish(add([=, this] { inner_->read(dst, src, bytes); }));
  }
  void copy(void* dst, const void* src, size_t bytes) override {
    add([=, this] { inner_->copy(dst, src, bytes); });
  }

  std::unique_ptr<Kernel> build(const Source& source) override { return inner_->build(source); }
  bool accepts(const Source& source) const override { return inner_->accepts(source); }

  Fence submit(std::span<const Command> commands, const Launch& launch) override {
    auto table = std::make_shared<Table>(launch);
    auto list = std::make_shared<std::vector<Command>>(commands.begin(), commands.end());
    return add([this, table, list] {
      gate().pass();
      inner_->submit(*list, table->launch);
    });
  }
  std::unique_ptr<Program> freeze(std::vector<Command> commands) override {
    auto program = std::make_unique<LateProgram>();
    program->inner = inner_->freeze(std::move(commands));
    return program;
  }
  Fence replay(Program& program, const Launch& launch) override {
    auto table = std::make_shared<Table>(launch);
    auto inner = static_cast<LateProgram&>(program).inner;
    return add([this, table, inner] {
      gate().pass();
      inner_->replay(*inner, table->launch);
    });
  }
  void wait(Fence fence) override { finish(fence); }
  bool done(Fence fence) override {
    const std::lock_guard lock(mutex_);
    return done_ >= fence;
  }
  int64_t allocated_bytes() const override { return inner_->allocated_bytes(); }

 private:
  using Job = std::function<void()>;

  Fence add(Job job) {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
    changed_.notify_all();
    return ++added_;
  }
  Fence last_fence() {
    const std::lock_guard lock(mutex_);
    return added_;
  }
  void finish(Fence fence) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return done_ >= fence; });
  }
  void work() {
    for (;;) {
      Job job;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return !jobs_.empty(); });
        job = std::move(jobs_.front());
        jobs_.pop_front();
      }
      if (!job) return;
      job();
      job = nullptr;
      const std::lock_guard lock(mutex_);
      ++done_;
      changed_.notify_all();
    }
  }

  std::unique_ptr<Driver> inner_;
  DriverInfo info_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  Fence added_ = 0, done_ = 0;
  std::thread worker_;
};

}  // namespace

void set_late_orders(LateOrders orders) {
  Gate& g = gate();
  const std::lock_guard lock(g.mutex);
  g.orders = orders;
  g.changed.notify_all();
}

std::unique_ptr<Driver> open_late_driver(std::unique_ptr<Driver> inner) {
  return std::make_unique<LateDriver>(std::move(inner));
}

}  // namespace qs::driver
