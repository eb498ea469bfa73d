// How much memory the arena takes, against the best there is for the order of the groups.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "quicksilver/plan/arena.h"

namespace qs::test {
namespace {

using plan::Lifetime;

void expect_apart(const std::vector<Lifetime>& buffers, const plan::Packing& packing) {
  ASSERT_EQ(packing.offsets.size(), buffers.size());
  for (size_t i = 0; i < buffers.size(); ++i) {
    ASSERT_GE(packing.offsets[i], 0);
    ASSERT_LE(packing.offsets[i] + buffers[i].bytes, packing.bytes);
    for (size_t k = i + 1; k < buffers.size(); ++k) {
      if (buffers[i].last < buffers[k].first || buffers[k].last < buffers[i].first) continue;
      ASSERT_TRUE(packing.offsets[i] + buffers[i].bytes <= packing.offsets[k] ||
                  packing.offsets[k] + buffers[k].bytes <= packing.offsets[i])
          << i << " and " << k;
    }
  }
}

/// The least memory: some order of placing each buffer as low as possible gives it, so all are
/// tried, and given up where they are no better than what is known.
class Exhaustive {
 public:
  explicit Exhaustive(const std::vector<Lifetime>& buffers)
      : buffers_(buffers), offsets_(buffers.size(), -1) {
    for (const Lifetime& b : buffers) best_ += b.bytes;
    go(0, 0);
  }
  int64_t best() const { return best_; }

 private:
  void go(size_t placed, int64_t top) {
    if (top >= best_) return;
    if (placed == buffers_.size()) {
      best_ = top;
      return;
    }
    for (size_t b = 0; b < buffers_.size(); ++b) {
      if (offsets_[b] >= 0) continue;
      offsets_[b] = lowest(b);
      go(placed + 1, std::max(top, offsets_[b] + buffers_[b].bytes));
      offsets_[b] = -1;
    }
  }
  int64_t lowest(size_t b) const {
    int64_t at = 0;
    for (bool moved = true; moved;) {
      moved = false;
      for (size_t k = 0; k < buffers_.size(); ++k) {
        if (offsets_[k] < 0 || k == b || buffers_[k].last < buffers_[b].first ||
            buffers_[b].last < buffers_[k].first)
          continue;
        if (offsets_[k] < at + buffers_[b].bytes && at < offsets_[k] + buffers_[k].bytes) {
          at = offsets_[k] + buffers_[k].bytes;
          moved = true;
        }
      }
    }
    return at;
  }

  const std::vector<Lifetime>& buffers_;
  std::vector<int64_t> offsets_;
  int64_t best_ = 0;
};

TEST(Arena, CloseToTheOptimumOfSmallPrograms) {
  std::mt19937_64 engine(7);
  auto below = [&](int64_t n) { return static_cast<int64_t>(engine() % static_cast<uint64_t>(n)); };
  for (int program = 0; program < 500; ++program) {
    std::vector<Lifetime> buffers(static_cast<size_t>(2 + below(6)));
    for (Lifetime& b : buffers) {
      b.bytes = 64 * (1 + (below(2) ? below(4) : below(40)));
      b.first = static_cast<int32_t>(below(10));
      b.last = b.first + static_cast<int32_t>(below(6));
    }
    const plan::Packing packing = plan::pack_arena(buffers);
    expect_apart(buffers, packing);
    const int64_t best = Exhaustive(buffers).best();
    ASSERT_GE(best, plan::most_alive(buffers));
    ASSERT_LE(static_cast<double>(packing.bytes), 1.15 * static_cast<double>(best))
        << "program " << program << ", best " << best;
  }
}

/// Forward and backward through layers: activations live until their gradient is made, scratch
/// between two steps; and plain random lifetimes.
TEST(Arena, CloseToTheLowerBoundOfLargePrograms) {
  std::mt19937_64 engine(11);
  auto below = [&](int64_t n) { return static_cast<int64_t>(engine() % static_cast<uint64_t>(n)); };
  for (int program = 0; program < 60; ++program) {
    const auto n = static_cast<int32_t>(20 + below(200));
    std::vector<Lifetime> buffers;
    for (int32_t i = 0; i < n; ++i) {
      Lifetime b;
      b.bytes = 64 * (1 + below(2) * below(1000) + below(30));
      b.first = program % 2 ? i : static_cast<int32_t>(below(n));
      b.last = program % 2 ? (below(2) ? 2 * n - i : i + 1 + static_cast<int32_t>(below(3)))
                           : b.first + static_cast<int32_t>(below(12));
      buffers.push_back(b);
    }
    const plan::Packing packing = plan::pack_arena(buffers);
    expect_apart(buffers, packing);
    ASSERT_LE(static_cast<double>(packing.bytes),
              1.15 * static_cast<double>(plan::most_alive(buffers)))
        << "program " << program;
  }
}

/// Other sizes are packed in the order that was found, as long as that is good for them.
TEST(Arena, OtherSizesKeepTheOrderWhileItIsGood) {
  std::mt19937_64 engine(13);
  auto below = [&](int64_t n) { return static_cast<int64_t>(engine() % static_cast<uint64_t>(n)); };
  int64_t kept = 0, all = 0;
  for (int program = 0; program < 40; ++program) {
    const auto n = static_cast<int32_t>(20 + below(60));
    std::vector<Lifetime> buffers;
    std::vector<int64_t> unit;
    for (int32_t i = 0; i < n; ++i) {
      const int32_t first = static_cast<int32_t>(below(n));
      unit.push_back(below(4) ? 64 * (1 + below(300)) : 0);
      buffers.push_back({64 * (1 + below(20)), first, first + static_cast<int32_t>(below(12))});
    }
    const std::vector<Lifetime> fixed = buffers;
    auto size_for = [&](int64_t batch) {
      for (size_t i = 0; i < buffers.size(); ++i)
        buffers[i].bytes = unit[i] ? unit[i] * batch : fixed[i].bytes;
    };
    size_for(50);
    plan::Packing packing = plan::pack_arena(buffers);
    for (int64_t batch : {51, 49, 64, 47, 1, 400, 50}) {
      size_for(batch);
      const std::vector<int32_t> order = packing.order;
      plan::pack_again(buffers, packing);
      expect_apart(buffers, packing);
      ASSERT_LE(static_cast<double>(packing.bytes),
                1.2 * static_cast<double>(plan::most_alive(buffers)))
          << "program " << program << ", batch " << batch;
      kept += packing.order == order;
      ++all;
    }
    for (Lifetime& b : buffers) b.bytes = 64 * (1 + below(1000));  // nothing like before
    plan::pack_again(buffers, packing);
    expect_apart(buffers, packing);
    ASSERT_LE(static_cast<double>(packing.bytes),
              1.2 * static_cast<double>(plan::most_alive(buffers)));
  }
  EXPECT_GT(kept * 10, all * 8) << kept << " of " << all;
}

TEST(Arena, NothingAndOne) {
  EXPECT_EQ(plan::pack_arena({}).bytes, 0);
  const plan::Packing one = plan::pack_arena({{640, 3, 9}});
  EXPECT_EQ(one.bytes, 640);
  EXPECT_EQ(one.offsets, std::vector<int64_t>{0});
}

}  // namespace
}  // namespace qs::test
