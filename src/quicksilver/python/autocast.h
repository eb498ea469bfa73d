// Mixed precision (torch.autocast): while it is on for a device, functions of two lists cast their
// floating-point tensors before they run, those of products to the lower precision, those that
// would lose much in it to float32. The casts are verbs, so gradients come back in the own dtype.
#pragma once
#include <atomic>
#include <vector>

#include "quicksilver/python/arguments.h"

namespace qs::python {

/// On how many threads and devices it is on: the one thing that a call looks at without it.
inline std::atomic<int> g_autocasts = 0;
inline bool may_autocast() { return g_autocasts.load(std::memory_order_relaxed) != 0; }

/// Replaces the tensors among the arguments of a matched call; `kept` holds the new ones.
void autocast(Call& call, std::vector<PyRef>& kept);
/// A product's operand.
Tensor autocast_lower(const Tensor& t);

}  // namespace qs::python
