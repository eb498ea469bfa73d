// Convolutions of one channel and one row a group: planes are dealt out, and all of a thread's
// share one setting up (conv_planes.inl). The gradient of the weights is dealt out by groups, so
// that the order of its sums follows from the shape.
#include <algorithm>

#include "quicksilver/core/thread_pool.h"
#include "quicksilver/driver/cpu/conv.h"
#include "quicksilver/driver/cpu/cpu_memory.h"
#include "quicksilver/driver/cpu/gemm.h"

namespace qs::driver::cpu {
namespace {

constexpr int64_t k_small_work = 32 << 10;  // multiply-adds that wake nobody: memory counts more

}  // namespace

void ConvPlan::finish_planes() {
  const bool weight = call_.kind == ConvCall::weight;
  const ConvTable& table = conv_table();
  for (Pass& pass : passes_) {
    pass.geometry.taps = pass.taps.data();
    pass.scratch = table.plane_scratch[type_](pass.geometry, weight);
    pass.first_chunk = chunks_;
    chunks_ += weight ? args_.groups : args_.batch * args_.groups;
  }
}

void ConvPlan::run_planes(const ConvPointers& p) const {
  const ConvTable& table = conv_table();
  const bool input = call_.kind == ConvCall::input, weight = call_.kind == ConvCall::weight;
  const ConvArgs::Tensor &source = input ? args_.y : args_.x, &out = input ? args_.x : args_.y;
  ConvPlanes all;
  all.gemm = &gemm_table();
  all.groups = args_.groups;
  all.items = args_.batch;
  all.source_group = source.strides[1];
  all.out_group = out.strides[1];
  all.weight_group = args_.w.strides[0];
  all.source = input ? p.y : p.x;
  all.weights = p.w;
  all.bias = call_.bias ? p.bias : nullptr;
  all.out = const_cast<void*>(input ? p.x : p.y);
  const auto run = [&](int64_t first, int64_t last, int) {
    for (size_t i = 0; i < passes_.size(); ++i) {
      const Pass& pass = passes_[i];
      const int64_t end = i + 1 < passes_.size() ? passes_[i + 1].first_chunk : chunks_;
      ConvPlanes part = all;
      part.pass = &pass.geometry;
      part.first = std::max(first, pass.first_chunk) - pass.first_chunk;
      part.last = std::min(last, end) - pass.first_chunk;
      if (part.first >= part.last) continue;
      part.scratch = static_cast<char*>(thread_scratch(static_cast<size_t>(pass.scratch)));
      (weight ? table.weight_planes : table.gather_planes)[type_](part);
    }
  };
  const auto volume = [](const int64_t (&size)[3]) { return size[0] * size[1] * size[2]; };
  if (args_.batch * args_.out * volume(args_.y_size) * volume(args_.kernel) < k_small_work)
    run(0, chunks_, 0);
  else
    ThreadPool::instance().parallel_for(chunks_, run);
}

}  // namespace qs::driver::cpu
