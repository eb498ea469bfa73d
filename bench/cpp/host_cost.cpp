// What recording costs on the host, from C++: prints one line a measurement, "name value unit".
// Each figure is the median of several rounds; the tape is cut between rounds, outside the clock.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <vector>

#include "quicksilver/quicksilver.h"

namespace {

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Median seconds of `f` over `rounds`, with `between` run after each round outside the clock.
template <class F, class G>
double median(int rounds, F f, G between) {
  std::vector<double> times;
  for (int i = 0; i < rounds; ++i) {
    const double start = seconds();
    f();
    times.push_back(seconds() - start);
    between();
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

constexpr int k_ops = 200;

void record_cost(const char* name, const qs::Tensor& x, const qs::Tensor& y) {
  std::vector<qs::Tensor> held(k_ops);
  const double t = median(
      51,
      [&] {
        for (int i = 0; i < k_ops; ++i) held[static_cast<size_t>(i)] = qs::add(x, y);
      },
      [&] {
        for (qs::Tensor& h : held) h = {};  // dropped before the cut: nothing is computed
        qs::synchronize();
      });
  std::printf("%s %.4f us\n", name, t / k_ops * 1e6);
}

}  // namespace

int main() {
  const qs::Tensor x = qs::ones({1}, qs::DeviceType::mps), y = qs::ones({1}, qs::DeviceType::mps);
  qs::synchronize();
  record_cost("record_add", x, y);
  const qs::Tensor w = qs::ones({1}, qs::DeviceType::mps);
  w.set_requires_grad();
  record_cost("record_add_needing_grad", w, y);

  // A known plan of 100 nodes, ten chains of ten that differ in a number: cut, look up, launch.
  qs::Tensor out[10];
  const auto build = [&] {
    for (int c = 0; c < 10; ++c) {
      qs::Tensor v = x;
      for (int i = 0; i < 10; ++i) v = i % 2 ? qs::mul(v, y) : qs::add(v, 0.5 + c);
      out[c] = v;
    }
  };
  for (int i = 0; i < 5; ++i) {
    build();
    qs::synchronize();
  }
  std::vector<double> times;
  for (int i = 0; i < 201; ++i) {
    build();
    const double start = seconds();
    qs::synchronize();
    times.push_back(seconds() - start);
  }
  std::sort(times.begin(), times.end());
  std::printf("cut_100_nodes %.3f us\n", times[100] * 1e6);
  return 0;
}
