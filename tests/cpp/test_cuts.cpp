// Where the tape is cut: loops of any length settle on few plans, whatever their body.
#include <gtest/gtest.h>

#include "quicksilver/autograd/autograd.h"
#include "quicksilver/plan/execute.h"
#include "quicksilver/plan/tape.h"
#include "quicksilver/quicksilver.h"

namespace qs {
namespace {

#if QS_HAS_MPS

constexpr DeviceType k_mps = DeviceType::mps;

int64_t plans_built() { return plan::stats(k_mps).plans_built; }
size_t tape_size() { return plan::Tape::current(k_mps).size(); }

/// Runs `body(x)` `turns` times without a read; gives the plans made after the first `warm` turns.
template <class F>
int64_t plans_of_loop(F body, int turns, int warm) {
  synchronize(k_mps);
  Tensor x = full(Dims{3}, 0.5, k_mps);
  synchronize(k_mps);
  int64_t before = 0;
  for (int i = 0; i < turns; ++i) {
    if (i == warm) before = plans_built();
    x = body(std::move(x));  // nobody else holds it: what is live repeats with the nodes
  }
  return plans_built() - before;
}

Tensor chain(Tensor x, int nodes) {
  for (int i = 0; i < nodes; ++i) x = i % 3 == 0 ? x * 0.5 : i % 3 == 1 ? x + 0.25 : exp(x * 0.0);
  return x;
}

TEST(Cuts, LoopsOfOneTo97NodesSettle) {
  for (int nodes = 1; nodes <= 97; nodes += nodes < 8 ? 1 : 11) {
    const int period = 4096 / nodes + 2;
    EXPECT_LE(
        plans_of_loop([&](Tensor x) { return chain(std::move(x), nodes); }, 4 * period, period), 1)
        << nodes;
  }
}

TEST(Cuts, AFirstNodeThatComesAgainInTheBody) {
  const auto body = [](Tensor x) {  // x * 0.5 opens the turn and stands in it three times
    Tensor y = x * 0.5;
    y = y + 1.0;
    y = y * 0.5;
    y = tanh(y);
    y = y * 0.5;
    for (int i = 0; i < 8; ++i) y = sigmoid(y);
    return y;
  };
  EXPECT_LE(plans_of_loop(body, 2000, 700), 1);
}

TEST(Cuts, BodiesLongerThanTheHardLimitSettle) {
  const auto body = [](Tensor x) {
    for (int i = 0; i < 5000; ++i) x = i % 7 == 3 ? x + 0.5 : i % 11 == 5 ? tanh(x) : x * 0.5;
    return x;
  };
  EXPECT_LE(plans_of_loop(body, 40, 25), 1);
}

TEST(Cuts, PendingBytesAreALimit) {
  synchronize(k_mps);
  const int64_t memory = device_runtime(k_mps).info().memory_bytes;
  const int64_t n = memory / 16 / 40 / 4;  // forty of them reach the soft limit
  std::vector<Tensor> held;
  const Tensor x = empty_tensor(Dims{1}, DType::f32, k_mps);
  size_t most = 0;
  for (int i = 0; i < 10; ++i) {
    held.push_back(expand(x, Dims{n}) + 1.0);
    most = std::max(most, tape_size());
  }
  EXPECT_EQ(most, 10u);
  held.clear();  // dropped: nothing is pending any more
  for (int i = 0; i < 200; ++i) {
    Tensor y = expand(x, Dims{n}) * 2.0;
    most = std::max(most, tape_size());
  }
  EXPECT_GE(most, 200u);
  synchronize(k_mps);
}

TEST(Cuts, AStepEndsThePlan) {
  synchronize(k_mps);
  const Tensor w = full(Dims{4}, 1.0, k_mps).set_requires_grad();
  (w * 2.0).sum().backward();
  EXPECT_GT(tape_size(), 0u);
  step_end();
  EXPECT_EQ(tape_size(), 0u);
}

// The generator's history is still to be run when the discriminator's step ends.
TEST(Cuts, AStepWithinAnothersHistoryEndsNothing) {
  synchronize(k_mps);
  const Tensor g = full(Dims{4}, 1.0, k_mps).set_requires_grad();
  const Tensor d = full(Dims{4}, 2.0, k_mps).set_requires_grad();
  const auto turn = [&] {
    const Tensor fake = tanh(g * 3.0);
    (fake.detach() * d).sum().backward();
    sgd_step_(d, d.grad(), {}, 0.1, 0, 0, 0, false);
    step_end();
    EXPECT_GT(tape_size(), 0u);
    (fake * d).sum().backward();
    sgd_step_(g, g.grad(), {}, 0.1, 0, 0, 0, false);
    step_end();
    EXPECT_EQ(tape_size(), 0u);
    g.set_grad({});
    d.set_grad({});
  };
  turn();
  turn();
  const int64_t before = plans_built();
  for (int i = 0; i < 5; ++i) turn();
  EXPECT_EQ(plans_built(), before);
}

TEST(Cuts, APinnedStorageIsNeverPending) {
  const Tensor x = full(Dims{8}, 1.0, k_mps);
  auto* p = static_cast<float*>(x.data_ptr());
  const Tensor y = x + 1.0;
  x.mul_(full(Dims{8}, 3.0, k_mps));
  EXPECT_EQ(tape_size(), 0u);
  synchronize(k_mps);  // submitted is not yet done
  EXPECT_EQ(p[7], 3);
  p[7] = 10;
  EXPECT_EQ((x * 2.0)[7].item<float>(), 20);
  EXPECT_EQ(y[7].item<float>(), 2);
  EXPECT_EQ(x.data_ptr(), p);
}

// Offsets move when a draw is recorded, by its shape alone: dead and failed draws count.
TEST(Cuts, RandomOffsetsMoveAtRecordTime) {
  Generator& generator = device_runtime(k_mps).generator();
  generator.manual_seed(3);
  rand(Dims{10}, k_mps);
  EXPECT_EQ(generator.offset(), 3u);
  {
    const Tensor bad = index_select(rand(Dims{4, 4}, k_mps), 0, arange(9, 10).to(qs::mps));
    EXPECT_EQ(generator.offset(), 7u);
    EXPECT_THROW(synchronize(k_mps), IndexError);
  }
  const float next = rand(Dims{1}, k_mps).item<float>();
  generator.manual_seed(3);
  generator.set_offset(7);
  EXPECT_EQ(rand(Dims{1}, k_mps).item<float>(), next);
}

TEST(Cuts, ALostTensorRaisesAtEachUse) {
  const Tensor table = full(Dims{4}, 1.0, k_mps);
  const Tensor bad = index_select(table, 0, arange(9, 10).to(qs::mps));
  const Tensor good = table + 1.0;
  for (int i = 0; i < 2; ++i) EXPECT_THROW(bad.item<float>(), IndexError);
  EXPECT_THROW(bad * 2.0, IndexError);
  EXPECT_EQ(good[1].item<float>(), 2);
  synchronize(k_mps);
}

#endif

}  // namespace
}  // namespace qs
