#include "quicksilver/plan/arena.h"

#include <algorithm>
#include <numeric>

namespace qs::plan {
namespace {

constexpr size_t k_many = 1500;       // buffers beyond which one order must do
constexpr int64_t k_effort = 400000;  // comparisons that improving may cost
constexpr double k_worse = 1.03;      // how much more an old order may take of other sizes

/// Each buffer at the lowest free offset, in the given order.
int64_t place_in_order(const std::vector<Lifetime>& buffers, const std::vector<int32_t>& order,
                       std::vector<int64_t>& offsets) {
  std::vector<int32_t> placed;  // by offset
  placed.reserve(order.size());
  int64_t top = 0;
  for (int32_t b : order) {
    const Lifetime& x = buffers[static_cast<size_t>(b)];
    int64_t at = 0;
    for (int32_t p : placed) {
      const Lifetime& y = buffers[static_cast<size_t>(p)];
      if (y.last < x.first || x.last < y.first) continue;
      const int64_t begin = offsets[static_cast<size_t>(p)];
      if (begin - at >= x.bytes) break;
      at = std::max(at, begin + y.bytes);
    }
    offsets[static_cast<size_t>(b)] = at;
    const auto behind =
        std::upper_bound(placed.begin(), placed.end(), at,
                         [&](int64_t a, int32_t p) { return a < offsets[static_cast<size_t>(p)]; });
    placed.insert(behind, b);
    top = std::max(top, at + x.bytes);
  }
  return top;
}

}  // namespace

namespace {

std::vector<uint32_t> changes_of(const std::vector<Lifetime>& buffers) {
  std::vector<uint32_t> changes(2 * buffers.size());
  std::iota(changes.begin(), changes.end(), 0);
  auto step = [&](uint32_t c) {
    const Lifetime& b = buffers[c / 2];
    return c % 2 ? int64_t{b.first} : int64_t{b.last} + 1;
  };
  std::sort(changes.begin(), changes.end(), [&](uint32_t a, uint32_t b) {
    return step(a) != step(b) ? step(a) < step(b) : a % 2 < b % 2;
  });
  return changes;
}

int64_t most_alive(const std::vector<Lifetime>& buffers, const std::vector<uint32_t>& changes) {
  int64_t now = 0, most = 0;
  for (uint32_t c : changes) {
    now += c % 2 ? buffers[c / 2].bytes : -buffers[c / 2].bytes;
    most = std::max(most, now);
  }
  return most;
}

}  // namespace

int64_t most_alive(const std::vector<Lifetime>& buffers) {
  return most_alive(buffers, changes_of(buffers));
}

namespace {

/// In several orders, improved while that is cheap.
Packing find_packing(const std::vector<Lifetime>& buffers) {
  const size_t n = buffers.size();
  const int64_t least = most_alive(buffers);
  Packing best;
  std::vector<int32_t> order(n);
  std::vector<int64_t> offsets(n, 0);
  auto attempt = [&] {
    const int64_t bytes = place_in_order(buffers, order, offsets);
    if (!best.offsets.empty() && bytes >= best.bytes) return false;
    best.offsets = offsets;
    best.bytes = bytes;
    best.order = order;
    return true;
  };
  auto by = [&](auto&& key) {  // the largest key first
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return key(buffers[static_cast<size_t>(a)]) > key(buffers[static_cast<size_t>(b)]);
    });
    attempt();
    return best.bytes == least;
  };
  if (by([](const Lifetime& b) { return -int64_t{b.first}; })) return best;
  if (n > k_many) {
    by([](const Lifetime& b) { return b.bytes; });
    return best;
  }
  if (by([](const Lifetime& b) { return b.bytes; })) return best;
  if (by([](const Lifetime& b) { return b.last - b.first; })) return best;
  if (by([](const Lifetime& b) { return b.bytes * (b.last - b.first + 1); })) return best;
  if (by([](const Lifetime& b) { return int64_t{b.last}; })) return best;
  // What reached the top comes first, then what stands under it.
  const int64_t turns =
      std::clamp<int64_t>(k_effort / std::max<int64_t>(int64_t(n * n), 1), 4, 400);
  order = best.order;
  offsets = best.offsets;
  int64_t bytes = best.bytes;
  for (int64_t turn = 0; turn < turns && best.bytes > least; ++turn) {
    const auto top = std::find_if(order.begin(), order.end(), [&](int32_t b) {
      return offsets[static_cast<size_t>(b)] + buffers[static_cast<size_t>(b)].bytes == bytes;
    });
    // Every third time only half the way up, or two orders would follow each other for ever.
    const auto to = turn % 3 == 2 ? order.begin() + (top - order.begin()) / 2 : order.begin();
    std::rotate(to, top, top + 1);
    bytes = place_in_order(buffers, order, offsets);
    if (bytes < best.bytes) {
      best.bytes = bytes;
      best.offsets = offsets;
      best.order = order;
    }
  }
  return best;
}

}  // namespace

Packing pack_arena(const std::vector<Lifetime>& buffers) {
  Packing packing = find_packing(buffers);
  packing.changes = changes_of(buffers);
  const int64_t least = most_alive(buffers, packing.changes);
  if (least) packing.excess = static_cast<double>(packing.bytes) / static_cast<double>(least);
  return packing;
}

void pack_again(const std::vector<Lifetime>& buffers, Packing& packing) {
  const double least = static_cast<double>(most_alive(buffers, packing.changes));
  packing.bytes = place_in_order(buffers, packing.order, packing.offsets);
  if (static_cast<double>(packing.bytes) > least * packing.excess * k_worse)
    packing = pack_arena(buffers);
}

}  // namespace qs::plan
