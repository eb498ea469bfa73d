// Runs a kernel call twice, by the host's function and as text on the emulated grid, and compares
// all memory byte for byte.
#pragma once
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "grid.h"
#include "quicksilver/kernels/kernels.h"

namespace qs::test {

/// A strided tensor in memory of its own, filled with random bits; gaps must not change.
struct Memory {
  kernels::View view;
  std::vector<char> bytes;

  // kind 0: row-major; 1: dimensions reversed; 2: every second element; 3: backwards; 4: broadcast
  // along the first dimension (for operands)
  Memory(DType dtype, Dims shape, int kind, int slot, uint64_t seed) {
    view.dtype = dtype;
    view.shape = shape;
    view.strides.resize(shape.size());
    view.ptr.base = slot;
    int64_t step = kind == 2 ? 2 : 1, start = 0;
    for (size_t i = 0; i < shape.size(); ++i) {
      const size_t d = kind == 1 ? i : shape.size() - 1 - i;
      const bool broadcast = kind == 4 && d == 0;
      view.strides[d] = broadcast ? 0 : kind == 3 ? -step : step;
      if (kind == 3 && shape[d] > 0) start += (shape[d] - 1) * step;
      if (!broadcast) step *= std::max<int64_t>(shape[d], 1);
    }
    view.ptr.bytes = start * static_cast<int64_t>(size_of(dtype));
    bytes.resize(static_cast<size_t>(step + 2) * size_of(dtype));
    std::mt19937_64 random(seed);
    for (char& b : bytes) b = static_cast<char>(random());
    if (dtype == DType::bool_)
      for (char& b : bytes) b &= 1;
  }
  template <class T>
  T* data() {
    return reinterpret_cast<T*>(bytes.data());
  }
};

constexpr size_t k_guard_bytes = 8192;  // behind each memory, compared like it

struct Outcome {
  std::vector<std::vector<char>> memory;
  driver::ErrorRecord error;
};

/// `seed` < 0: by the host's function.
inline Outcome outcome_of(const kernels::KernelCall& call, std::vector<Memory*> memories,
                          int64_t seed, std::vector<uint64_t> words = {}) {
  Outcome out;
  std::vector<void*> bases;
  for (const Memory* m : memories) {
    out.memory.push_back(m->bytes);
    out.memory.back().resize(m->bytes.size() + k_guard_bytes, 0x5a);
  }
  for (auto& m : out.memory) bases.push_back(m.data());
  driver::Launch launch{bases, words, &out.error, 1};
  if (seed >= 0) {
    grid::run(*call.kernel->text, call.args, launch, 3, static_cast<uint64_t>(seed));
    return out;
  }
  std::vector<void*> pointers;
  for (const driver::PtrRef& p : call.args.pointers)
    pointers.push_back(static_cast<char*>(bases[static_cast<size_t>(p.base)]) + p.bytes);
  std::vector<uint64_t> scalars;
  for (const driver::ScalarRef& s : call.args.scalars)
    scalars.push_back(s.word >= 0 ? words[static_cast<size_t>(s.word)] : s.value);
  const driver::KernelView view{pointers.data(), call.args.ints.data(), scalars.data(), &out.error,
                                3};
  call.kernel->host(view, 0, call.args.items);
  return out;
}

/// The host and three schedules of the grid leave the same bytes and report the same failure.
inline void expect_same(const kernels::KernelCall& call, std::vector<Memory*> memories,
                        int schedules = 2) {
  ASSERT_NE(call.kernel->text, nullptr) << call.kernel->name;
  const Outcome want = outcome_of(call, memories, -1);
  for (int seed = 0; seed < schedules; ++seed) {
    const Outcome got = outcome_of(call, memories, seed);
    for (size_t i = 0; i < memories.size(); ++i)
      ASSERT_EQ(std::memcmp(got.memory[i].data(), want.memory[i].data(), want.memory[i].size()), 0)
          << call.kernel->name << " memory " << i << " schedule " << seed;
    ASSERT_EQ(got.error.set, want.error.set);
    ASSERT_EQ(got.error.failed, want.error.failed);
    ASSERT_EQ(got.error.reason, want.error.reason);
  }
}

}  // namespace qs::test
