#include "quicksilver/runtime/allocator.h"

#include <sched.h>

#include <algorithm>
#include <bit>
#include <mutex>

#include "quicksilver/core/error.h"
#include "quicksilver/driver/driver.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define QS_SANITIZE_BLOCKS 1
#else
#define QS_SANITIZE_BLOCKS 0
#define ASAN_POISON_MEMORY_REGION(ptr, bytes) (void)(ptr)
#define ASAN_UNPOISON_MEMORY_REGION(ptr, bytes) (void)(ptr)
#endif

namespace qs {
namespace {

constexpr size_t k_slab_bytes = size_t{2} << 20;
constexpr size_t k_slab_block = size_t{64} << 10;  // the largest block carved from a slab
constexpr int k_classes = 8 + 8 * 40;              // up to 2^49 bytes
constexpr int k_larger_classes = 2;  // a cached block this many classes larger (25 %) is taken too

// Sizes up to 512 are multiples of 64: classes 0 to 7. Above, with 2^e < bytes <= 2^(e+1), classes
// are 2^(e-3) apart.
int class_of(size_t bytes) {
  const size_t last = bytes == 0 ? 0 : bytes - 1;
  if (last < 512) return static_cast<int>(last >> 6);
  const int e = std::bit_width(last) - 1;
  return 8 + (e - 9) * 8 + static_cast<int>((last >> (e - 3)) & 7);
}

size_t class_bytes(int c) {
  if (c < 8) return static_cast<size_t>(c + 1) << 6;
  const int e = 9 + (c - 8) / 8;
  return (size_t{1} << e) + (static_cast<size_t>((c - 8) % 8 + 1) << (e - 3));
}

// A lock of one word: held for tens of nanoseconds, yields when its holder lost the core.
class SpinLock {
 public:
  void lock() noexcept {
    for (int spins = 0; held_.exchange(true, std::memory_order_acquire);) {
      while (held_.load(std::memory_order_relaxed))
        if (++spins > 100) sched_yield();
    }
  }
  void unlock() noexcept { held_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool> held_{false};
};

struct Slab {
  char* ptr = nullptr;  // null: given back
  size_t used = 0;
  int64_t live_blocks = 0;
};

struct SizeClass {
  Block* free = nullptr;
  int64_t cached = 0, live = 0;
};

std::string megabytes(int64_t bytes) {
  if (bytes < (1 << 20)) return format("{:.1f} KiB", static_cast<double>(bytes) / 1024);
  return format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

}  // namespace

struct Allocator::Impl {
  explicit Impl(driver::Driver& d)
      : driver(d),
        granule(d.info().is_gpu ? 256 : 64),
        memory_bytes(d.info().memory_bytes),
        guards(QS_SANITIZE_BLOCKS && d.info().host_memory && !d.info().asynchronous) {}

  driver::Driver& driver;
  const size_t granule;
  const int64_t memory_bytes;
  // Under the address sanitizer no one may touch free blocks, nor bytes behind those asked for.
  // Not on drivers that work behind our back: they still read what is free already.
  const bool guards;
  mutable SpinLock mutex;
  std::mutex slow;  // around the driver's calls; taken before `mutex`
  SizeClass classes[k_classes];
  uint64_t nonempty[(k_classes + 63) / 64] = {};  // classes with a free block
  std::vector<Slab> slabs;                        // changed under both locks
  int open_slab = -1;
  Block* unused = nullptr;  // Block objects without memory
  MemoryStats s;
  std::atomic<FaultHook> fault{nullptr};
  void* fault_context = nullptr;

  void mark(int c) { nonempty[c >> 6] |= uint64_t{1} << (c & 63); }
  void unmark(int c) { nonempty[c >> 6] &= ~(uint64_t{1} << (c & 63)); }

  // First class in [c, c + k_larger_classes] with a free block, or -1.
  int find_free(int c) const {
    const int last = std::min(c + k_larger_classes, k_classes - 1);
    for (int i = c; i <= last; ++i)
      if (nonempty[i >> 6] >> (i & 63) & 1) return i;
    return -1;
  }

  Block* pop(int c) {
    Block* b = classes[c].free;
    classes[c].free = b->next_;
    if (!b->next_) unmark(c);
    --classes[c].cached;
    s.cached_bytes -= static_cast<int64_t>(b->bytes_);
    return b;
  }

  void count_live(Block* b) {
    ++classes[b->size_class_].live;
    if (b->slab_ >= 0) ++slabs[b->slab_].live_blocks;
    s.live_bytes += static_cast<int64_t>(b->bytes_);
    ++s.live_blocks;
    ++s.allocations;
    s.peak_live_bytes = std::max(s.peak_live_bytes, s.live_bytes);
    b->count_.store(1, std::memory_order_relaxed);
  }

  Ref<Block> hand_out(Block* b, size_t asked) {
    if (guards) {
      ASAN_UNPOISON_MEMORY_REGION(b->ptr_, b->bytes_);
      ASAN_POISON_MEMORY_REGION(static_cast<char*>(b->ptr_) + asked, b->bytes_ - asked);
      b->bytes_ = asked;
    }
    return Ref<Block>::adopt(b);
  }
  void take_back(Block* b) noexcept {
    if (!guards) return;
    b->bytes_ = class_bytes(static_cast<int>(b->size_class_));
    ASAN_POISON_MEMORY_REGION(b->ptr_, b->bytes_);
  }

  Block* block_object(Allocator* owner) {
    Block* b = unused;
    if (b) {
      unused = b->next_;
    } else {
      b = new Block;
    }
    b->owner_ = owner;
    b->next_ = nullptr;
    return b;
  }

  void put_unused(Block* b) noexcept {
    b->ptr_ = nullptr;
    b->release_ = nullptr;
    b->next_ = unused;
    unused = b;
  }

  // From the driver, under `slow` alone; null when it or the limit refuses.
  void* driver_alloc(size_t bytes) noexcept {
    {
      std::lock_guard lock(mutex);
      if (s.limit_bytes > 0 && s.driver_bytes + static_cast<int64_t>(bytes) > s.limit_bytes)
        return nullptr;
    }
    void* p = nullptr;
    try {
      p = driver.alloc(bytes);
    } catch (...) {  // the reason is always "no memory"; the table tells more than the driver
      return nullptr;
    }
    std::lock_guard lock(mutex);
    s.driver_bytes += static_cast<int64_t>(bytes);
    s.cached_bytes += static_cast<int64_t>(bytes);
    s.peak_driver_bytes = std::max(s.peak_driver_bytes, s.driver_bytes);
    ++s.driver_allocations;
    return p;
  }

  void driver_release(void* p, size_t bytes) noexcept {
    if (guards) ASAN_UNPOISON_MEMORY_REGION(p, bytes);
    driver.release(p, bytes);
    std::lock_guard lock(mutex);
    s.driver_bytes -= static_cast<int64_t>(bytes);
  }

  Block* fresh(Allocator* owner, int c);
  Block* carve(Allocator* owner, int c, size_t bytes);
  void give_back_cached() noexcept;
  std::string table() const;
};

// A block of class c that no list has, or null when the driver refuses. Under `slow`.
Block* Allocator::Impl::fresh(Allocator* owner, int c) {
  const size_t bytes = class_bytes(c);
  if (bytes <= k_slab_block) return carve(owner, c, bytes);
  void* p = driver_alloc(bytes);
  if (!p) return nullptr;
  std::lock_guard lock(mutex);
  Block* b = block_object(owner);
  b->ptr_ = p;
  b->bytes_ = bytes;
  b->size_class_ = static_cast<uint32_t>(c);
  b->slab_ = -1;
  s.cached_bytes -= static_cast<int64_t>(bytes);
  count_live(b);
  return b;
}

Block* Allocator::Impl::carve(Allocator* owner, int c, size_t bytes) {
  if (open_slab < 0 || slabs[open_slab].used + bytes > k_slab_bytes) {
    void* p = driver_alloc(k_slab_bytes);
    if (!p) return nullptr;
    std::lock_guard lock(mutex);
    const auto gone = std::find_if(slabs.begin(), slabs.end(), [](auto& x) { return !x.ptr; });
    open_slab = static_cast<int>(gone - slabs.begin());
    if (gone == slabs.end()) slabs.emplace_back();
    slabs[open_slab] = Slab{static_cast<char*>(p), 0, 0};
  }
  std::lock_guard lock(mutex);
  Block* b = block_object(owner);
  Slab& slab = slabs[open_slab];
  b->ptr_ = slab.ptr + slab.used;
  b->bytes_ = bytes;
  b->size_class_ = static_cast<uint32_t>(c);
  b->slab_ = open_slab;
  slab.used += bytes;
  s.cached_bytes -= static_cast<int64_t>(bytes);
  count_live(b);
  return b;
}

// Under `slow`: takes out of the lists what no live block needs, then frees it without the lock.
void Allocator::Impl::give_back_cached() noexcept {
  Block* gone = nullptr;
  std::vector<int> empty;  // slabs; decided under the lock, since blocks come back at any time
  {
    std::lock_guard lock(mutex);
    for (size_t i = 0; i < slabs.size(); ++i)
      if (slabs[i].ptr && slabs[i].live_blocks == 0) empty.push_back(static_cast<int>(i));
    for (int c = 0; c < k_classes; ++c) {
      Block** link = &classes[c].free;
      while (Block* b = *link) {
        if (b->slab_ >= 0 && slabs[b->slab_].live_blocks > 0) {
          link = &b->next_;
          continue;
        }
        *link = b->next_;
        --classes[c].cached;
        s.cached_bytes -= static_cast<int64_t>(b->bytes_);
        b->next_ = gone;
        gone = b;
      }
      if (!classes[c].free) unmark(c);
    }
  }
  while (Block* b = gone) {
    gone = b->next_;
    if (b->slab_ < 0) driver_release(b->ptr_, b->bytes_);
    std::lock_guard lock(mutex);
    put_unused(b);
  }
  for (int i : empty) {
    driver_release(slabs[i].ptr, k_slab_bytes);
    std::lock_guard lock(mutex);
    s.cached_bytes -= static_cast<int64_t>(k_slab_bytes - slabs[i].used);
    slabs[i] = Slab{};
    if (open_slab == i) open_slab = -1;
  }
}

std::string Allocator::Impl::table() const {
  std::string text;
  for (int c = k_classes - 1, rows = 0; c >= 0 && rows < 12; --c) {
    if (classes[c].live == 0 && classes[c].cached == 0) continue;
    text +=
        format("\n  blocks of {:>10}: {} live, {} cached",
               megabytes(static_cast<int64_t>(class_bytes(c))), classes[c].live, classes[c].cached);
    ++rows;
  }
  return text;
}

Allocator::Allocator(driver::Driver& driver) : impl_(new Impl(driver)) {}

Allocator::~Allocator() {
  std::lock_guard slow(impl_->slow);
  impl_->give_back_cached();
  while (Block* b = impl_->unused) {
    impl_->unused = b->next_;
    delete b;
  }
}

Ref<Block> Allocator::allocate(size_t bytes) {
  Impl& m = *impl_;
  if (FaultHook hook = m.fault.load(std::memory_order_acquire)) [[unlikely]] {
    QS_CHECK(!hook(bytes, m.fault_context), OutOfMemoryError,
             "out of memory: a test refused an allocation of {} bytes", bytes);
  }
  QS_CHECK(bytes <= size_t{1} << 48, OutOfMemoryError,
           "out of memory: {} bytes are more than any device has", bytes);
  const int c = class_of((bytes + m.granule - 1) & ~(m.granule - 1));
  {
    std::lock_guard lock(m.mutex);
    if (const int from = m.find_free(c); from >= 0) [[likely]] {
      Block* b = m.pop(from);
      ++m.s.reuses;
      m.count_live(b);
      return m.hand_out(b, bytes);
    }
  }
  std::lock_guard slow(m.slow);
  if (Block* b = m.fresh(this, c)) return m.hand_out(b, bytes);
  m.give_back_cached();
  if (Block* b = m.fresh(this, c)) return m.hand_out(b, bytes);
  const MemoryStats s = stats();
  std::string text = format(
      "{} is out of memory: {} were asked for; {} are in live tensors ({} blocks), {} cached, {} "
      "taken from the driver{}",
      m.driver.info().driver, megabytes(static_cast<int64_t>(bytes)), megabytes(s.live_bytes),
      s.live_blocks, megabytes(s.cached_bytes), megabytes(s.driver_bytes),
      s.limit_bytes > 0 ? format(" of at most {}", megabytes(s.limit_bytes)) : std::string());
  std::lock_guard lock(m.mutex);
  throw OutOfMemoryError(text + m.table());
}

Ref<Block> Allocator::wrap(void* ptr, size_t bytes, Block::Release release, void* context) {
  Impl& m = *impl_;
  std::lock_guard lock(m.mutex);
  Block* b = m.block_object(this);
  b->ptr_ = ptr;
  b->bytes_ = bytes;
  b->release_ = release ? release : [](void*) noexcept {};
  b->context_ = context;
  b->slab_ = -1;
  b->count_.store(1, std::memory_order_relaxed);
  m.s.external_bytes += static_cast<int64_t>(bytes);
  ++m.s.external_blocks;
  return Ref<Block>::adopt(b);
}

void Block::recycle() noexcept {
  Allocator::Impl& m = *owner_->impl_;
  spoilt_ = nullptr;
  if (release_) {
    release_(context_);
    std::lock_guard lock(m.mutex);
    m.s.external_bytes -= static_cast<int64_t>(bytes_);
    --m.s.external_blocks;
    m.put_unused(this);
    return;
  }
  m.take_back(this);
  std::lock_guard lock(m.mutex);
  SizeClass& c = m.classes[size_class_];
  next_ = c.free;
  if (!c.free) m.mark(static_cast<int>(size_class_));
  c.free = this;
  ++c.cached;
  --c.live;
  if (slab_ >= 0) --m.slabs[slab_].live_blocks;
  m.s.live_bytes -= static_cast<int64_t>(bytes_);
  m.s.cached_bytes += static_cast<int64_t>(bytes_);
  --m.s.live_blocks;
}

void Allocator::empty_cache() noexcept {
  std::lock_guard slow(impl_->slow);
  impl_->give_back_cached();
}

MemoryStats Allocator::stats() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->s;
}

void Allocator::reset_peak() noexcept {
  std::lock_guard lock(impl_->mutex);
  impl_->s.peak_live_bytes = impl_->s.live_bytes;
  impl_->s.peak_driver_bytes = impl_->s.driver_bytes;
}

void Allocator::set_memory_fraction(double fraction) {
  QS_CHECK(fraction >= 0 && fraction <= 2, ValueError,
           "the memory fraction must be from 0 to 2, got {}", fraction);
  std::lock_guard lock(impl_->mutex);
  impl_->s.limit_bytes = static_cast<int64_t>(fraction * static_cast<double>(impl_->memory_bytes));
}

std::string Allocator::report() const {
  const MemoryStats s = stats();
  std::string text =
      format("live {} in {} blocks (peak {}), cached {}, from the driver {} (peak {}, {} calls)",
             megabytes(s.live_bytes), s.live_blocks, megabytes(s.peak_live_bytes),
             megabytes(s.cached_bytes), megabytes(s.driver_bytes), megabytes(s.peak_driver_bytes),
             s.driver_allocations);
  std::lock_guard lock(impl_->mutex);
  return text + impl_->table();
}

void Allocator::set_fault_hook(FaultHook hook, void* context) {
  impl_->fault_context = context;
  impl_->fault.store(hook, std::memory_order_release);
}

void Allocator::lock_for_fork() noexcept {
  impl_->slow.lock();
  impl_->mutex.lock();
}

void Allocator::unlock_for_fork() noexcept {
  impl_->mutex.unlock();
  impl_->slow.unlock();
}

size_t Allocator::rounded(size_t bytes) { return class_bytes(class_of(bytes)); }

}  // namespace qs
