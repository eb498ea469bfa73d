// The random number generator of a device: a seed and an offset into the Philox4x32-10 stream.
#pragma once
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "quicksilver/core/export.h"

namespace qs {

/// Draw i of an op is word i % 4 of Philox counter `offset + i / 4` under key `seed`, on every
/// driver.
struct RandomRange {
  uint64_t seed = 0;
  uint64_t offset = 0;  // in counters of four 32-bit words
};

class QS_API Generator {
 public:
  static constexpr uint64_t k_default_seed = 67280421310721ull;  // PyTorch's

  /// Takes the counters for `draws` 32-bit draws and moves on by shape alone.
  RandomRange reserve(int64_t draws);
  /// Sets the seed and starts its stream at 0.
  void manual_seed(uint64_t seed);
  /// A seed from the operating system's entropy; returns it.
  uint64_t seed();
  uint64_t initial_seed() const;
  uint64_t offset() const;
  void set_offset(uint64_t offset);
  /// 16 bytes: seed, then offset, little-endian.
  std::vector<uint8_t> get_state() const;
  /// Throws RuntimeError when `state` is not what get_state gives.
  void set_state(std::span<const uint8_t> state);

 private:
  mutable std::mutex mutex_;
  RandomRange next_{k_default_seed, 0};
};

}  // namespace qs
