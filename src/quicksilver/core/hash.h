// A rolling 128-bit hash over 64-bit words, for the tape's key.
#pragma once
#include <cstddef>
#include <cstdint>

namespace qs {

struct Hash128 {
  uint64_t a = 0x9e3779b97f4a7c15ull, b = 0xc2b2ae3d27d4eb4full;
  void add(uint64_t w) {
    const unsigned __int128 m = static_cast<unsigned __int128>(a ^ w) * 0xd6e8feb86659fd93ull;
    a = static_cast<uint64_t>(m) ^ b;
    b += static_cast<uint64_t>(m >> 64) ^ w;
  }
  friend bool operator==(const Hash128&, const Hash128&) = default;
};

inline uint64_t hash_words(const uint64_t* w, size_t n) {
  Hash128 h;
  for (size_t i = 0; i < n; ++i) h.add(w[i]);
  return h.a ^ h.b;
}

}  // namespace qs
