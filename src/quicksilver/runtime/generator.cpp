#include "quicksilver/runtime/generator.h"

#include <random>

#include "quicksilver/core/error.h"

namespace qs {

RandomRange Generator::reserve(int64_t draws) {
  std::lock_guard lock(mutex_);
  const RandomRange range = next_;
  if (draws > 0) next_.offset += (static_cast<uint64_t>(draws) + 3) / 4;
  return range;
}

void Generator::manual_seed(uint64_t seed) {
  std::lock_guard lock(mutex_);
  next_ = {seed, 0};
}

uint64_t Generator::seed() {
  std::random_device entropy;
  // 53 bits, as PyTorch: the seed survives a trip through a double.
  const uint64_t bits = (static_cast<uint64_t>(entropy()) << 32 | entropy()) & 0x1fffffffffffffull;
  manual_seed(bits);
  return bits;
}

uint64_t Generator::initial_seed() const {
  std::lock_guard lock(mutex_);
  return next_.seed;
}

uint64_t Generator::offset() const {
  std::lock_guard lock(mutex_);
  return next_.offset;
}

void Generator::set_offset(uint64_t offset) {
  std::lock_guard lock(mutex_);
  next_.offset = offset;
}

std::vector<uint8_t> Generator::get_state() const {
  std::lock_guard lock(mutex_);
  std::vector<uint8_t> bytes(16);
  for (int i = 0; i < 8; ++i) {
    bytes[i] = static_cast<uint8_t>(next_.seed >> (8 * i));
    bytes[8 + i] = static_cast<uint8_t>(next_.offset >> (8 * i));
  }
  return bytes;
}

void Generator::set_state(std::span<const uint8_t> state) {
  QS_CHECK(state.size() == 16, Error, "RNG state is wrong size: expected 16 bytes, got {}",
           state.size());
  RandomRange next;
  for (int i = 0; i < 8; ++i) {
    next.seed |= static_cast<uint64_t>(state[i]) << (8 * i);
    next.offset |= static_cast<uint64_t>(state[8 + i]) << (8 * i);
  }
  std::lock_guard lock(mutex_);
  next_ = next;
}

}  // namespace qs
