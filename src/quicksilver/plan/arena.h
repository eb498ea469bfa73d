// Offsets for buffers that share one block of memory: pure arithmetic on sizes and lifetimes.
//
// Buffers whose lifetimes meet must lie apart. The least memory is NP-hard to find; here the
// buffers are placed one by one at the lowest offset that is free, in several orders, and the best
// result is kept. When it is above the lower bound (the most bytes alive at one time), buffers that
// end up at the top are moved to the front of the order and placed again, a bounded number of
// times.
//
// Buffers that are as before but for their sizes are packed in the order that was best then: it
// mostly is again, as sizes grow together, and costs one placement instead of hundreds.
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
  int64_t bytes = 0;           // of all
  double excess = 1;           // over the lower bound, when the order was looked for
  std::vector<int32_t> order;  // in which they were placed
  /// Begins (2 i + 1) and ends (2 i) of the buffers i, as they come, ends first.
  std::vector<uint32_t> changes;
};

Packing pack_arena(const std::vector<Lifetime>& buffers);
/// `packing` is of buffers with the same lifetimes; it becomes one of these. In their old order if
/// that ends about as close to the lower bound as it did, else anew.
void pack_again(const std::vector<Lifetime>& buffers, Packing& packing);
/// The most bytes alive at one step: no packing is smaller.
int64_t most_alive(const std::vector<Lifetime>& buffers);

}  // namespace qs::plan
