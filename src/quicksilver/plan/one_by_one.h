// The way out when a plan cannot have its memory or its kernels, or the driver refuses its list.
#pragma once
#include "quicksilver/plan/fault.h"
#include "quicksilver/plan/tape.h"

namespace qs::plan {

/// Runs the recording node by node in recorded order, freeing what is not needed any more. A node
/// that fails takes down what depends on it; in-place writes that fail or depend on a loss leave
/// the old content, and storages older than the recording are as they were when the first node
/// failed. Contents that were left to `run` already get theirs as well. Returns the first fault.
/// Execution lock held.
Ref<Fault> one_by_one(DeviceRuntime& device, Recording& recording, struct Run* run = nullptr);

/// What a failed run was to make and had made already when something went wrong: for each of
/// `wanted`, newest values of storages of `recording`, a block with the last good value of the
/// storage, or null. Nothing older is written. No run may be under way. Execution lock held.
std::vector<Ref<Block>> last_good(DeviceRuntime& device, Recording& recording,
                                  std::span<const graph::ValueId> wanted);

}  // namespace qs::plan
