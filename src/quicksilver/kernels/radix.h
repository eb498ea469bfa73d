// Stable radix sort of a row of (key, position) items, by the digits in which keys differ.
#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "quicksilver/core/thread_pool.h"

namespace qs::kernels {

/// An item is one word, 32 bits of key above 32 of position, or has both whole.
struct Wide {
  uint64_t key;
  int64_t position;
};

inline uint64_t key_bits(uint64_t word) { return word >> 32; }
inline uint64_t key_bits(const Wide& w) { return w.key; }

/// Calls f(part, first, last) for parts of [0, n): one, or for long rows as many as there are
/// threads. Inside a chunk of a launch of several chunks they run one after the other.
template <class F>
void in_parts(int64_t n, int64_t parts, F&& f) {
  if (parts == 1) return f(int64_t{0}, int64_t{0}, n);
  ThreadPool::instance().parallel_for(parts, [&](int64_t first, int64_t last, int) {
    for (int64_t p = first; p < last; ++p) f(p, n * p / parts, n * (p + 1) / parts);
  });
}

/// How many parts a row of n elements is worth.
inline int64_t parts_of(int64_t n) {
  constexpr int64_t k_part = 65536;
  return std::clamp<int64_t>(n / k_part, 1, ThreadPool::instance().threads());
}

/// Least significant digit first. `differing` has the bits in which any two keys differ; a digit
/// without one is passed over. Digits of 8 bits: a bucket a page of memory is what the processor's
/// table of pages holds. Gives where the result is: `items` or `other`, both of n.
template <class Item>
Item* radix_sort(Item* items, Item* other, int64_t n, uint64_t differing) {
  constexpr int64_t k_buckets = 256;
  const int64_t parts = parts_of(n);
  std::vector<uint32_t> places(static_cast<size_t>(parts * k_buckets));
  for (int shift = 0; shift < 64; shift += 8) {
    if ((differing >> shift & 255) == 0) continue;
    std::fill(places.begin(), places.end(), 0);
    in_parts(n, parts, [&](int64_t part, int64_t first, int64_t last) {
      uint32_t* count = places.data() + part * k_buckets;
      for (int64_t i = first; i < last; ++i) ++count[key_bits(items[i]) >> shift & 255];
    });
    uint32_t sum = 0;
    for (int64_t b = 0; b < k_buckets; ++b)
      for (int64_t p = 0; p < parts; ++p)
        sum += std::exchange(places[static_cast<size_t>(p * k_buckets + b)], sum);
    in_parts(n, parts, [&](int64_t part, int64_t first, int64_t last) {
      uint32_t* place = places.data() + part * k_buckets;
      for (int64_t i = first; i < last; ++i)
        other[place[key_bits(items[i]) >> shift & 255]++] = items[i];
    });
    std::swap(items, other);
  }
  return items;
}

}  // namespace qs::kernels
