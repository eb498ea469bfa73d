// Room for at most N objects on the stack, of which only those that are asked for are made.
#pragma once
#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <utility>

namespace qs {

/// For what a call needs a few of and may need many of: an array T[N] would make all of them.
template <class T, size_t N>
class Scratch {
 public:
  explicit Scratch(size_t n = 0) {
    for (; size_ < n; ++size_) new (raw_ + sizeof(T) * size_) T();
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { std::destroy_n(data(), size_); }

  /// The caller sees to it that there are never more than N.
  T& add(T value) { return *new (raw_ + sizeof(T) * size_++) T(std::move(value)); }
  size_t size() const { return size_; }
  T* data() { return std::launder(reinterpret_cast<T*>(raw_)); }
  T& operator[](size_t i) { return data()[i]; }
  T* begin() { return data(); }
  T* end() { return data() + size_; }
  operator std::span<T>() { return {data(), size_}; }
  operator std::span<const T>() { return {data(), size_}; }

 private:
  size_t size_ = 0;
  alignas(T) std::byte raw_[N * sizeof(T)];
};

}  // namespace qs
