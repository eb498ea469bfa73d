// Fused chains against the best loop a person would write for them, on one thread: prints one line
// a chain and size, "name ours hand" in seconds. Ours records, looks the plan up and runs it; the
// loop writes into memory it has had before, compiled for this machine (with QS_ISA=avx2: for AVX2)
// with vector math functions.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string_view>
#include <vector>

#include "hand_loops.h"
#include "quicksilver/quicksilver.h"

namespace {

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <class F>
double once(int repeats, F&& f) {
  const double start = seconds();
  for (int i = 0; i < repeats; ++i) f();
  return (seconds() - start) / repeats;
}

/// The least of several turns of both, in turn: other load on the machine hits both alike.
template <class Ours, class Hand>
void compare(const char* name, int64_t n, Ours&& ours, Hand&& hand) {
  const int repeats = static_cast<int>(std::max<int64_t>(1, 2'000'000 / n));
  double least[2] = {std::numeric_limits<double>::max(), std::numeric_limits<double>::max()};
  for (int turn = 0; turn < 25; ++turn) {
    least[0] = std::min(least[0], once(repeats, ours));
    least[1] = std::min(least[1], once(repeats, hand));
  }
  std::printf("%s_%.0e %.9f %.9f\n", name, static_cast<double>(n), least[0], least[1]);
}

}  // namespace

int main() {
  setenv("QS_NUM_THREADS", "1", 1);
  const char* isa = std::getenv("QS_ISA");
  const bool avx2 = isa && std::string_view(isa) == "avx2";
  const auto hand_chain = avx2 ? hand_avx2::chain : hand_native::chain;
  const auto hand_arithmetic = avx2 ? hand_avx2::arithmetic : hand_native::arithmetic;
  for (const int64_t n : {int64_t{100'000}, int64_t{10'000'000}}) {
    const qs::Tensor x = qs::rand(qs::Dims{n}, qs::mps), w = qs::rand(qs::Dims{n}, qs::mps);
    std::vector<float> a(static_cast<size_t>(n)), b(a.size()), c(a.size());
    for (size_t i = 0; i < a.size(); ++i) {
      a[i] = static_cast<float>(i % 1000) * 0.001f;
      b[i] = static_cast<float>(i % 777) * 0.001f;
    }
    qs::Tensor y;
    compare(
        "chain", n,
        [&] {
          y = qs::tanh(x * w + 0.5) * qs::sigmoid(x) + qs::exp(qs::neg(x) * x) * w;
          qs::synchronize();
        },
        [&] { hand_chain(a.data(), b.data(), c.data(), n); });
    compare(
        "arithmetic", n,
        [&] {
          y = qs::relu(x * 2.0 + w) * 0.5 - w;
          qs::synchronize();
        },
        [&] { hand_arithmetic(a.data(), b.data(), c.data(), n); });
  }
  return 0;
}
