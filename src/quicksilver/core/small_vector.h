// A vector with room for N elements inside; for trivially copyable element types only.
#pragma once
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <type_traits>
#include <utility>

namespace qs {

template <class T, uint32_t N>
class SmallVector {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  SmallVector() = default;
  explicit SmallVector(size_t n, T value = T()) { resize(n, value); }
  SmallVector(std::initializer_list<T> list) { assign(list.begin(), list.size()); }
  SmallVector(std::span<const T> s) { assign(s.data(), s.size()); }
  SmallVector(const T* first, const T* last) { assign(first, static_cast<size_t>(last - first)); }
  SmallVector(const SmallVector& o) { copy(o); }
  SmallVector(SmallVector&& o) noexcept { steal(o); }
  SmallVector& operator=(const SmallVector& o) {
    if (this != &o) copy(o);
    return *this;
  }
  SmallVector& operator=(SmallVector&& o) noexcept {
    if (this != &o) {
      free_heap();
      steal(o);
    }
    return *this;
  }
  ~SmallVector() { free_heap(); }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T* data() { return heap_ ? heap_ : inline_; }
  const T* data() const { return heap_ ? heap_ : inline_; }
  T* begin() { return data(); }
  T* end() { return data() + size_; }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size_; }
  T& operator[](size_t i) { return data()[i]; }
  const T& operator[](size_t i) const { return data()[i]; }
  T& front() { return data()[0]; }
  const T& front() const { return data()[0]; }
  T& back() { return data()[size_ - 1]; }
  const T& back() const { return data()[size_ - 1]; }
  operator std::span<const T>() const { return {data(), size_}; }

  void reserve(size_t n) {
    if (n > capacity_) grow(n);
  }
  void resize(size_t n, T value = T()) {
    reserve(n);
    T* p = data();
    for (size_t i = size_; i < n; ++i) p[i] = value;
    size_ = static_cast<uint32_t>(n);
  }
  void clear() { size_ = 0; }
  void push_back(T v) {
    if (size_ == capacity_) grow(size_ * 2 + 2);
    data()[size_++] = v;
  }
  void pop_back() { --size_; }
  void assign(const T* p, size_t n) {
    size_ = 0;
    reserve(n);
    if (n) std::memcpy(static_cast<void*>(data()), p, n * sizeof(T));
    size_ = static_cast<uint32_t>(n);
  }
  void insert(size_t at, T v) {
    push_back(v);
    for (size_t i = size_ - 1; i > at; --i) std::swap(data()[i], data()[i - 1]);
  }
  void erase(size_t at) {
    for (size_t i = at; i + 1 < size_; ++i) data()[i] = data()[i + 1];
    --size_;
  }
  friend bool operator==(const SmallVector& a, const SmallVector& b) {
    if (a.size_ != b.size_) return false;
    const T *p = a.data(), *q = b.data();
    for (size_t i = 0; i < a.size_; ++i)
      if (!(p[i] == q[i])) return false;
    return true;
  }

 private:
  void grow(size_t n) {
    T* p = static_cast<T*>(::operator new(n * sizeof(T)));
    if (size_) std::memcpy(static_cast<void*>(p), data(), size_ * sizeof(T));
    free_heap();
    heap_ = p;
    capacity_ = static_cast<uint32_t>(n);
  }
  void free_heap() noexcept {
    if (heap_) ::operator delete(heap_);
    heap_ = nullptr;
    capacity_ = N;
  }
  /// The elements inside, and what lies behind them: a copy of fixed size is a few moves, one of
  /// the size that is used is a call.
  void copy_inside(const SmallVector& o) noexcept {
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // what lies behind is copied, never read
#endif
    constexpr size_t k_few_bytes = 64;
    size_ = o.size_;
    if constexpr (sizeof inline_ <= k_few_bytes)
      std::memcpy(static_cast<void*>(inline_), o.inline_, sizeof inline_);
    else if (size_)
      std::memcpy(static_cast<void*>(inline_), o.inline_, size_ * sizeof(T));
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
  }
  void copy(const SmallVector& o) {
    if (o.heap_ || heap_) [[unlikely]]
      assign(o.data(), o.size_);
    else
      copy_inside(o);
  }
  void steal(SmallVector& o) noexcept {
    capacity_ = o.capacity_;
    heap_ = o.heap_;
    if (heap_) [[unlikely]]
      size_ = o.size_;
    else
      copy_inside(o);
    o.heap_ = nullptr;
    o.capacity_ = N;
    o.size_ = 0;
  }

  uint32_t size_ = 0, capacity_ = N;
  T* heap_ = nullptr;
  T inline_[N];
};

}  // namespace qs
