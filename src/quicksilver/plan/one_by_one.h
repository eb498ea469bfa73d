// The way out when a plan cannot have its memory or its kernels.
#pragma once
#include "quicksilver/plan/fault.h"
#include "quicksilver/plan/tape.h"

namespace qs::plan {

/// Runs the recording node by node in recorded order, freeing what is not needed any more. A node
/// that fails takes down what depends on it, and nothing else; in-place writes that fail or depend
/// on a loss leave the old content. Returns the first fault. Execution lock held.
Ref<Fault> one_by_one(DeviceRuntime& device, Recording& recording);

}  // namespace qs::plan
