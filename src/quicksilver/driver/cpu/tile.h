// The tile VM: builds tile programs into kernels and runs them, piece by piece, for the cpu driver.
//
// A TileKernel is the shape-generic part. A TileLaunch fits it to extents and strides; it is built
// once and run any number of times, by any number of threads, but never two runs at a time:
//
//   launch.begin(table);                                  // one thread, after all earlier commands
//   launch.run(table, first, last, scratch);              // any threads, any split of [0,
//   chunks()) launch.finish(table, first, last, scratch);           // after all of run; [0,
//   finish_chunks())
//
// The results do not depend on who ran which chunk.
#pragma once
#include <cstdint>
#include <memory>

#include "quicksilver/driver/driver.h"

namespace qs::driver::cpu {

struct TileCode;
struct TileState;

/// Memory that one worker keeps from launch to launch; aligned to 64 bytes.
class TileScratch {
 public:
  TileScratch() = default;
  TileScratch(const TileScratch&) = delete;
  TileScratch& operator=(const TileScratch&) = delete;
  ~TileScratch();
  /// At least `bytes` bytes with unspecified content. Throws OutOfMemoryError.
  char* reserve(size_t bytes) {
    if (bytes > size_) grow(bytes);
    return data_;
  }

 private:
  void grow(size_t bytes);
  char* data_ = nullptr;
  size_t size_ = 0;
};

class TileKernel : public Kernel {
 public:
  /// Validates and lowers the program; throws InternalError when it breaks the contract of source.h
  /// or uses what the VM lacks (complex numbers).
  explicit TileKernel(const TileProgram& program);
  ~TileKernel() override;
  const TileCode& code() const { return *code_; }
  /// The arguments of a launch over the part of `args`' loops that begins at `start`.
  TileArgs part(const TileArgs& args, const Dims& start, const Dims& extents) const;

 private:
  std::unique_ptr<const TileCode> code_;
};

class TileLaunch {
 public:
  /// `kernel` must outlive the launch. Throws InternalError when `args` does not fit the program.
  TileLaunch(const TileKernel& kernel, const TileArgs& args, int32_t tag);
  TileLaunch(TileLaunch&&) noexcept;
  TileLaunch& operator=(TileLaunch&&) noexcept;
  ~TileLaunch();

  /// Independent pieces of work, about 8 us each; 1 for a small launch, 0 when there is nothing to
  /// do.
  int64_t chunks() const;
  /// Pieces of the second stage, which combines the parts of a split reduction; usually 0.
  int64_t finish_chunks() const;
  /// Rough time of the whole launch on one thread.
  double estimated_ns() const;

  void begin(const Launch& table) const;
  void run(const Launch& table, int64_t first, int64_t last, TileScratch& scratch) const;
  void finish(const Launch& table, int64_t first, int64_t last, TileScratch& scratch) const;

 private:
  std::unique_ptr<TileState> state_;
};

}  // namespace qs::driver::cpu
