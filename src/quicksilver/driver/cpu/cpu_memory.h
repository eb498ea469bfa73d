// Host memory for the cpu driver: aligned, in 2 MiB pages where the block is large.
#pragma once
#include <cstddef>

namespace qs::driver::cpu {

/// 64-byte aligned; null when the system refuses. Blocks of 2 MiB and more are whole huge pages.
void* host_alloc(size_t bytes) noexcept;
void host_release(void* p, size_t bytes) noexcept;

/// Scratch memory of the calling thread that grows and stays; content is undefined. One user at a
/// time: a chunk of a command takes it once. Throws OutOfMemoryError.
void* thread_scratch(size_t bytes);
/// The same for the thread that runs a command: shared by the command's chunks, whichever threads
/// run them.
void* command_scratch(size_t bytes);

}  // namespace qs::driver::cpu
