// Offsets for buffers that share one block of memory: pure arithmetic on sizes and lifetimes.
//
// Buffers whose lifetimes meet must lie apart. The least memory is NP-hard to find; here the
// buffers are placed one by one at the lowest offset that is free, in several orders, and the best
// result is kept. When it is above the lower bound (the most bytes alive at one time), buffers that
// end up at the top are moved to the front of the order and placed again, a bounded number of
// times.
#pragma once
#include <cstdint>
#include <vector>

namespace qs::plan {

struct Lifetime {
  int64_t bytes = 0;
  int32_t first = 0, last = 0;  // steps, both included
};

struct Packing {
  std::vector<int64_t> offsets;
  int64_t bytes = 0;  // of all
};

Packing pack_arena(const std::vector<Lifetime>& buffers);
/// The most bytes alive at one step: no packing is smaller.
int64_t most_alive(const std::vector<Lifetime>& buffers);

}  // namespace qs::plan
