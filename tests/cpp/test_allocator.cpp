// The caching allocator, the generator and the device objects.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <random>
#include <set>
#include <thread>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#include "quicksilver/core/env.h"
#include "quicksilver/core/error.h"
#include "quicksilver/runtime/device.h"

namespace qs {
namespace {

// Host memory that runs out at `limit` bytes.
struct SmallDriver final : driver::Driver {
  driver::DriverInfo info_;
  int64_t limit = 64 << 20, used = 0;
  SmallDriver() {
    info_.driver = "small";
    info_.memory_bytes = limit;
  }
  const driver::DriverInfo& info() const override { return info_; }
  void* alloc(size_t bytes) override {
    if (used + static_cast<int64_t>(bytes) > limit) throw OutOfMemoryError("full");
    used += static_cast<int64_t>(bytes);
    return std::aligned_alloc(64, bytes);
  }
  void release(void* p, size_t bytes) noexcept override {
    used -= static_cast<int64_t>(bytes);
    std::free(p);
  }
  void write(void*, const void*, size_t) override {}
  void read(void*, const void*, size_t) override {}
  void copy(void*, const void*, size_t) override {}
  std::unique_ptr<driver::Kernel> build(const driver::Source&) override {
    return std::make_unique<driver::Kernel>();
  }
  driver::Fence submit(std::span<const driver::Command>, const driver::Launch&) override {
    return 0;
  }
  std::unique_ptr<driver::Program> freeze(std::vector<driver::Command>) override { return nullptr; }
  driver::Fence replay(driver::Program&, const driver::Launch&) override { return 0; }
  void wait(driver::Fence) override {}
  bool done(driver::Fence) override { return true; }
  int64_t allocated_bytes() const override { return used; }
};

TEST(Allocator, SizeClasses) {
  size_t before = 0;
  for (size_t bytes = 1; bytes < (size_t{1} << 24); bytes += 1 + bytes / 37) {
    const size_t rounded = Allocator::rounded(bytes);
    EXPECT_GE(rounded, bytes);
    EXPECT_EQ(rounded % 64, 0u);
    EXPECT_GE(rounded, before);
    if (bytes > 512) {
      EXPECT_LE(static_cast<double>(rounded), 1.126 * static_cast<double>(bytes) + 64);
    }
    EXPECT_EQ(Allocator::rounded(rounded), rounded);
    before = rounded;
  }
}

TEST(Allocator, ReusesWithoutTheDriver) {
  SmallDriver driver;
  Allocator allocator(driver);
  void* first = nullptr;
  for (int i = 0; i < 100; ++i) {
    Ref<Block> small = allocator.allocate(1000), large = allocator.allocate(5 << 20);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(small->ptr()) % 64, 0u);
    EXPECT_GE(small->bytes(), 1000u);
    if (!first) first = large->ptr();
    EXPECT_EQ(large->ptr(), first);
  }
  const MemoryStats s = allocator.stats();
  EXPECT_EQ(s.driver_allocations, 2);
  EXPECT_EQ(s.allocations, 200);
  EXPECT_EQ(s.reuses, 198);
  EXPECT_EQ(s.live_bytes, 0);
  EXPECT_EQ(s.live_blocks, 0);
  EXPECT_EQ(s.cached_bytes, s.driver_bytes);
  EXPECT_EQ(s.driver_bytes, driver.used);
  allocator.empty_cache();
  EXPECT_EQ(driver.used, 0);
  EXPECT_EQ(allocator.stats().driver_bytes, 0);
  EXPECT_EQ(allocator.stats().cached_bytes, 0);
}

TEST(Allocator, BlocksDoNotOverlap) {
  SmallDriver driver;
  Allocator allocator(driver);
  std::mt19937 random(1);
  std::vector<Ref<Block>> held;
  int64_t live = 0;
  for (int i = 0; i < 3000; ++i) {
    if (held.size() > 50 || (i % 3 == 0 && !held.empty())) {
      const size_t at = random() % held.size();
      live -= static_cast<int64_t>(held[at]->bytes());
      held[at] = held.back();
      held.pop_back();
    }
    if (i % 500 == 499) allocator.empty_cache();
    const size_t bytes = size_t{1} << (random() % 20);
    held.push_back(allocator.allocate(bytes + random() % bytes));
    live += static_cast<int64_t>(held.back()->bytes());
    ASSERT_EQ(allocator.stats().live_bytes, live);
    ASSERT_EQ(allocator.stats().driver_bytes, driver.used);
    ASSERT_EQ(allocator.stats().cached_bytes, driver.used - live);
  }
  std::vector<std::pair<char*, char*>> ranges;
  for (const auto& b : held) {
    char* p = static_cast<char*>(b->ptr());
    ranges.emplace_back(p, p + b->bytes());
  }
  std::sort(ranges.begin(), ranges.end());
  for (size_t i = 1; i < ranges.size(); ++i) EXPECT_LE(ranges[i - 1].second, ranges[i].first);
  EXPECT_GE(allocator.stats().peak_live_bytes, live);
  held.clear();
  allocator.empty_cache();
  EXPECT_EQ(driver.used, 0);
}

TEST(Allocator, EmptiesTheCacheBeforeItGivesUp) {
  SmallDriver driver;
  Allocator allocator(driver);
  Ref<Block> a = allocator.allocate(20 << 20), b = allocator.allocate(20 << 20);
  b = nullptr;
  Ref<Block> c = allocator.allocate(40 << 20);  // only fits when b's memory went back
  EXPECT_EQ(allocator.stats().cached_bytes, 0);
  try {
    allocator.allocate(30 << 20);
    FAIL();
  } catch (const OutOfMemoryError& e) {
    const std::string text = e.what();
    EXPECT_NE(text.find("small is out of memory: 30.0 MiB were asked for; 60.0 MiB are in live"),
              std::string::npos)
        << text;
    EXPECT_NE(text.find("40.0 MiB: 1 live, 0 cached"), std::string::npos) << text;
  }
  c = nullptr;
  EXPECT_TRUE(allocator.allocate(30 << 20));
}

TEST(Allocator, MemoryFraction) {
  SmallDriver driver;
  Allocator allocator(driver);
  EXPECT_THROW(allocator.set_memory_fraction(-0.1), ValueError);
  EXPECT_THROW(allocator.set_memory_fraction(2.1), ValueError);
  allocator.set_memory_fraction(0.25);
  EXPECT_EQ(allocator.stats().limit_bytes, 16 << 20);
  Ref<Block> a = allocator.allocate(10 << 20);
  EXPECT_THROW(allocator.allocate(10 << 20), OutOfMemoryError);
  allocator.set_memory_fraction(0);
  EXPECT_TRUE(allocator.allocate(10 << 20));
}

TEST(Allocator, ExternalMemory) {
  SmallDriver driver;
  Allocator allocator(driver);
  int released = 0;
  char memory[16];
  Ref<Block> block = allocator.wrap(
      memory, sizeof memory, [](void* p) noexcept { ++*static_cast<int*>(p); }, &released);
  EXPECT_EQ(block->ptr(), memory);
  EXPECT_TRUE(block->is_external());
  EXPECT_EQ(allocator.stats().external_bytes, 16);
  Ref<Block> other = block;
  block = nullptr;
  EXPECT_EQ(released, 0);
  other = nullptr;
  EXPECT_EQ(released, 1);
  EXPECT_EQ(allocator.stats().external_blocks, 0);
  EXPECT_EQ(allocator.stats().live_bytes, 0);
}

TEST(Allocator, FaultHook) {
  SmallDriver driver;
  Allocator allocator(driver);
  int countdown = 2;
  allocator.set_fault_hook([](size_t, void* p) { return --*static_cast<int*>(p) < 0; }, &countdown);
  EXPECT_TRUE(allocator.allocate(10));
  EXPECT_TRUE(allocator.allocate(10));
  EXPECT_THROW(allocator.allocate(10), OutOfMemoryError);
  allocator.set_fault_hook(nullptr, nullptr);
  EXPECT_TRUE(allocator.allocate(10));
}

#if defined(__SANITIZE_ADDRESS__)
TEST(Allocator, TheSanitizerWatchesWhatIsNotHandedOut) {
  SmallDriver driver;
  driver.info_.host_memory = true;
  Allocator allocator(driver);
  for (const size_t bytes : {1u, 100u, 5000u, 100000u}) {
    Ref<Block> block = allocator.allocate(bytes);
    char* p = static_cast<char*>(block->ptr());
    const size_t rounded = Allocator::rounded(bytes);
    EXPECT_EQ(__asan_region_is_poisoned(p, bytes), nullptr);
    EXPECT_EQ(__asan_region_is_poisoned(p, rounded), p + bytes);
    block = nullptr;
    EXPECT_EQ(__asan_region_is_poisoned(p, rounded), p);
    block = allocator.allocate(rounded);
    EXPECT_EQ(block->ptr(), p);
    EXPECT_EQ(__asan_region_is_poisoned(p, rounded), nullptr);
  }
}
#endif

TEST(Allocator, ManyThreads) {
  SmallDriver driver;
  Allocator allocator(driver);
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      std::vector<Ref<Block>> held(16);
      for (int i = 0; i < 20000; ++i) {
        Ref<Block>& b = held[random() % 16];
        b = allocator.allocate(1 + random() % 100000);
        *static_cast<unsigned*>(b->ptr()) = t;
        const Ref<Block>& c = held[random() % 16];
        if (c) {
          EXPECT_EQ(*static_cast<unsigned*>(c->ptr()), t);
        }
        if (i % 5000 == 0) allocator.empty_cache();
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(allocator.stats().live_blocks, 0);
  EXPECT_EQ(allocator.stats().driver_bytes, driver.used);
  allocator.empty_cache();
  EXPECT_EQ(driver.used, 0);
}

TEST(Generator, ReservesByShapeAlone) {
  Generator g;
  EXPECT_EQ(g.initial_seed(), 67280421310721u);
  EXPECT_EQ(g.reserve(1).offset, 0u);
  EXPECT_EQ(g.reserve(4).offset, 1u);
  EXPECT_EQ(g.reserve(5).offset, 2u);
  EXPECT_EQ(g.reserve(0).offset, 4u);
  const auto state = g.get_state();
  const RandomRange next = g.reserve(10);
  g.manual_seed(3);
  EXPECT_EQ(g.reserve(1).seed, 3u);
  g.set_state(state);
  EXPECT_EQ(g.reserve(10).offset, next.offset);
  EXPECT_EQ(g.initial_seed(), next.seed);
  EXPECT_THROW(g.set_state(std::span(state).first(15)), Error);
  const uint64_t a = g.seed(), b = g.seed();
  EXPECT_NE(a, b);
  EXPECT_EQ(g.initial_seed(), b);
}

struct MpsScope {
  explicit MpsScope(const char* driver) {
    if (driver)
      setenv("QS_MPS_DRIVER", driver, 1);
    else
      unsetenv("QS_MPS_DRIVER");
    reset_mps_for_tests();
  }
  ~MpsScope() {
    unsetenv("QS_MPS_DRIVER");
    reset_mps_for_tests();
  }
};

TEST(Device, Parse) {
  EXPECT_EQ(Device::parse("cpu").str(), "cpu");
  EXPECT_EQ(Device::parse("mps:0").str(), "mps:0");
  EXPECT_TRUE(Device::parse("mps").is_mps());
  for (const char* bad : {"nonexistent_gpu", "cuda", "meta", "", "mps:1", "cpu:7", "mps:", "mps:x",
                          "mps:-1", "mps:0:0", "MPS", " mps"}) {
    try {
      Device::parse(bad);
      FAIL() << bad;
    } catch (const DeviceError& e) {
      EXPECT_NE(std::string(e.what()).find("mps"), std::string::npos) << e.what();
    }
  }
}

TEST(Device, CpuIsAlwaysThere) {
  DeviceRuntime& cpu = device_runtime(DeviceType::cpu);
  EXPECT_EQ(&cpu, &device_runtime(DeviceType::cpu));
  EXPECT_EQ(cpu.info().driver, "cpu");
  EXPECT_EQ(cpu.description().rfind("cpu: ", 0), 0u);
  EXPECT_TRUE(cpu.info().host_memory);
}

#if QS_HAS_MPS
TEST(Device, DriverIsPickedByName) {
  for (const char* name : {"cpu", "null", "record:cpu", "record:null"}) {
    MpsScope scope(name);
    EXPECT_TRUE(mps_is_available()) << mps_why_unavailable();
    EXPECT_EQ(mps_driver_name(), name);
    EXPECT_EQ(mps_device_name().rfind(std::string(name) + ": ", 0), 0u);
  }
}

TEST(Device, NoneAndNonsense) {
  {
    MpsScope scope("none");
    EXPECT_FALSE(mps_is_available());
    EXPECT_EQ(mps_why_unavailable(), "the mps device is switched off: QS_MPS_DRIVER=none");
    EXPECT_EQ(mps_driver_name(), "");
    EXPECT_THROW(device_runtime(DeviceType::mps), DeviceError);
    EXPECT_EQ(device_runtime(DeviceType::cpu).info().driver, "cpu");
  }
  MpsScope scope("abacus");
  EXPECT_FALSE(mps_is_available());
  EXPECT_NE(mps_why_unavailable().find("abacus"), std::string::npos);
}

TEST(Device, MpsIsLostInAForkedChildOfItsUser) {
  MpsScope scope("cpu");
  Ref<Block> held = device_runtime(DeviceType::mps).allocator().allocate(100);
  const pid_t child = fork();
  if (child == 0) {
    int code = mps_is_available() ? 1 : 0;
    held = nullptr;  // goes back without a complaint
    if (!device_runtime(DeviceType::cpu).allocator().allocate(100)) code = 2;
    _exit(code);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(mps_is_available());
}
#else
TEST(Device, MpsIsNotBuilt) {
  EXPECT_FALSE(mps_is_built());
  EXPECT_FALSE(mps_is_available());
  EXPECT_NE(mps_why_unavailable().find("QS_MPS=OFF"), std::string::npos);
}
#endif

TEST(Device, KernelsAreBuiltOnce) {
  DeviceRuntime& cpu = device_runtime(DeviceType::cpu);
  const auto before = cpu.kernel_counts();
  driver::MatmulCall a{DType::f64, true}, b{DType::f64, true}, c{DType::f64, false};
  const auto first = cpu.kernel(driver::Source(a));
  EXPECT_EQ(first, cpu.kernel(driver::Source(b)));
  EXPECT_NE(first, cpu.kernel(driver::Source(c)));
  EXPECT_LE(cpu.kernel_counts().built - before.built, 2);
  EXPECT_GE(cpu.kernel_counts().hits - before.hits, 1);
}

TEST(Device, ArenaGrowsAndErrorsAreTaken) {
  DeviceRuntime& cpu = device_runtime(DeviceType::cpu);
  std::lock_guard lock(cpu.mutex());
  void* p = cpu.arena(1000);
  EXPECT_EQ(p, cpu.arena(500));
  cpu.arena(100000);
  EXPECT_GE(cpu.arena_bytes(), 100000u);
  cpu.error_record()->set = 3;
  cpu.error_record()->value = 9;
  EXPECT_EQ(cpu.take_error().value, 9);
  EXPECT_EQ(cpu.take_error().set, 0);
}

}  // namespace
}  // namespace qs
