// The caching allocator, the same for all drivers: blocks in size classes, kept once they exist.
//
// A block of up to k_slab_block bytes is carved from a slab, a larger one is the driver's own. A
// block that is released goes to the free list of its class and comes back from there: no call to
// the driver, no malloc, one short lock. Reuse while the device still works on the old content is
// safe because a driver runs everything in the order of submission.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "quicksilver/core/export.h"
#include "quicksilver/core/ref.h"

namespace qs::driver {
class Driver;
}

namespace qs {

class Allocator;

/// A piece of device memory, shared by Ref<Block>. The last reference gives it back to its
/// allocator, or, for memory that is not ours (a NumPy array's), calls its owner's callback.
class QS_API Block {
 public:
  using Release = void (*)(void* context) noexcept;
  void* ptr() const noexcept { return ptr_; }
  /// What may be used: the class's size, at least what was asked for; exact for external memory
  /// and under the address sanitizer, which watches the rest.
  size_t bytes() const noexcept { return bytes_; }
  bool is_external() const noexcept { return release_ != nullptr; }
  uint32_t use_count() const noexcept { return count_.load(std::memory_order_acquire); }

  /// Notes why the content is worthless, for those who use the block all the same; forgotten when
  /// it is free. Both under the execution lock of the plans that use it (plan/turn.h).
  void spoil(Ref<RefCounted> why) { spoilt_ = std::move(why); }
  RefCounted* spoilt() const { return spoilt_.get(); }

  void retain() const noexcept { count_.fetch_add(1, std::memory_order_relaxed); }
  void release() const noexcept {
    if (count_.fetch_sub(1, std::memory_order_acq_rel) == 1) const_cast<Block*>(this)->recycle();
  }

 private:
  friend class Allocator;
  Block() = default;
  void recycle() noexcept;

  mutable std::atomic<uint32_t> count_{0};
  uint32_t size_class_ = 0;
  int32_t slab_ = -1;  // index of the slab it is carved from; -1: the driver's own allocation
  void* ptr_ = nullptr;
  size_t bytes_ = 0;
  Allocator* owner_ = nullptr;
  Block* next_ = nullptr;  // in a free list
  Release release_ = nullptr;
  void* context_ = nullptr;
  Ref<RefCounted> spoilt_;
};

struct MemoryStats {
  int64_t live_bytes = 0;  // in blocks that somebody holds (external memory not counted)
  int64_t live_blocks = 0;
  int64_t peak_live_bytes = 0;  // since the start or reset_peak
  int64_t cached_bytes = 0;     // held for reuse: driver_bytes - live_bytes
  int64_t driver_bytes = 0;     // what the driver has given us
  int64_t peak_driver_bytes = 0;
  int64_t driver_allocations = 0;  // calls to Driver::alloc so far
  int64_t allocations = 0;         // blocks handed out so far
  int64_t reuses = 0;              // of these, from a free list
  int64_t external_bytes = 0;
  int64_t external_blocks = 0;
  int64_t limit_bytes = 0;  // driver_bytes may not exceed it; 0: none
};

class QS_API Allocator {
 public:
  explicit Allocator(driver::Driver& driver);
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  /// At least `bytes` bytes, aligned as the driver aligns (64 on the host, 256 on a GPU). Content
  /// is undefined. Throws OutOfMemoryError with a table of who holds what, after it gave the driver
  /// all cached memory back and asked again. 0 bytes give a small block.
  Ref<Block> allocate(size_t bytes);
  /// Wraps memory of somebody else; `release(context)` runs when the last reference goes.
  Ref<Block> wrap(void* ptr, size_t bytes, Block::Release release, void* context);

  /// Gives all unused memory back to the driver.
  void empty_cache() noexcept;
  MemoryStats stats() const;
  void reset_peak() noexcept;
  /// Bounds what is taken from the driver to `fraction` (0 to 2) of its memory_bytes; 0 lifts the
  /// bound. Throws ValueError outside that range.
  void set_memory_fraction(double fraction);
  /// A readable table of the classes with live or cached blocks, largest first.
  std::string report() const;

  /// Asked before each allocation, for tests: true makes it fail with OutOfMemoryError.
  using FaultHook = bool (*)(size_t bytes, void* context);
  void set_fault_hook(FaultHook hook, void* context);

  /// Held over fork, so that the child finds the lists whole.
  void lock_for_fork() noexcept;
  void unlock_for_fork() noexcept;

  /// The size of the class that `bytes` falls in: multiples of 64 up to 512, then eight steps for
  /// each doubling. Exposed for the memory planner and the tests.
  static size_t rounded(size_t bytes);

 private:
  friend class Block;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qs
