// An emulated GPU: kernel texts, compiled with the host's prelude, run on a grid of threadgroups.
//
// Each thread of a group is a fiber. Between two barriers the threads of a group run one after the
// other in an order that the seed shuffles anew each time; groups run in shuffled order, too, and
// the seed may give a launch fewer groups than it asked for, which a text must not notice. Shared
// memory is poisoned before each group, scratch before each call. Throws when a barrier or a simd
// function is not reached by all threads that must reach it, or when memory behind shared arrays or
// scratch was written.
//
// What it cannot show: real concurrency within a phase, a device's memory order, its compiler, its
// rounding and its limits.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "quicksilver/driver/driver.h"
#include "quicksilver/kernels/prelude.h"

namespace qs::test::grid {

using Entry = void (*)(const QsLaunch&);

/// A text as this binary has it: the names of its parts (without the prelude), what its options
/// define, its entry points.
struct Compiled {
  std::string parts;
  std::map<std::string, uint64_t> options;
  std::map<std::string, Entry> entries;
};
/// Called once for each compiled text, from static initialisers.
bool add(Compiled text);
/// The same parts under the same options as `text`; throws when this binary has none.
const Compiled& find(const driver::KernelText& text);

/// Runs one call, as a driver would.
void run(const driver::KernelText& text, const driver::KernelArgs& args,
         const driver::Launch& launch, int32_t tag, uint64_t seed);

}  // namespace qs::test::grid
