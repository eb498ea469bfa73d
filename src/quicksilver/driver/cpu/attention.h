// Attention on the cpu, forward and backward: planned once a shape, run in chunks that are
// independent. The result depends on the call and its shape only.
#pragma once
#include <cstdint>

#include "quicksilver/driver/source.h"

namespace qs::driver::cpu {

struct AttentionPointers {
  const void *q = nullptr, *k = nullptr, *v = nullptr, *mask = nullptr, *grad_out = nullptr;
  void *out = nullptr, *logsumexp = nullptr;  // results forward, operands backward
  void *grad_q = nullptr, *grad_k = nullptr, *grad_v = nullptr;
  double keep = 1, drop_scale = 1;
  uint64_t seed = 0, offset = 0;
};

class AttentionPlan {
 public:
  AttentionPlan(const AttentionCall& call, const AttentionArgs& args);

  int64_t chunks() const { return (items_ + step_ - 1) / step_; }
  void run(const AttentionPointers& pointers, int64_t first, int64_t last) const;

 private:
  template <class T>
  friend class AttentionWork;
  AttentionCall call_;
  AttentionArgs args_;
  int64_t items_ = 0, step_ = 1;
  int64_t key_items_ = 0;  // backward: items that give the gradients of K and V; the others Q's
  bool together_ = false;  // backward: an item gives all three gradients of one key head
};

}  // namespace qs::driver::cpu
