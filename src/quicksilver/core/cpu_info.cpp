#include "quicksilver/core/cpu_info.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "quicksilver/core/env.h"
#include "quicksilver/core/error.h"
#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace qs {
namespace {

std::string brand_string() {
  std::string name;
#if defined(__x86_64__)
  unsigned regs[12] = {};
  if (__get_cpuid_max(0x80000000u, nullptr) >= 0x80000004u) {
    for (unsigned i = 0; i < 3; ++i)
      __get_cpuid(0x80000002u + i, &regs[4 * i], &regs[4 * i + 1], &regs[4 * i + 2],
                  &regs[4 * i + 3]);
    char text[49] = {};
    std::memcpy(text, regs, 48);
    name = text;
  }
#endif
  const size_t first = name.find_first_not_of(' ');
  const size_t last = name.find_last_not_of(' ');
  return first == std::string::npos ? "CPU" : name.substr(first, last - first + 1);
}

int usable_cores() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

Isa best_isa() {
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi2");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return avx2 ? (avx512 ? Isa::avx512 : Isa::avx2) : Isa::generic;
#else
  return Isa::generic;
#endif
}

void use(CpuInfo& c, Isa isa) {
  c.isa = std::min(isa, c.best);
#if defined(__x86_64__)
  c.has_avx512_bf16 = c.isa == Isa::avx512 && __builtin_cpu_supports("avx512bf16");
#endif
}

CpuInfo read_cpu() {
  CpuInfo c;
  c.name = brand_string();
  c.best = best_isa();
  c.cores = usable_cores();
  c.memory_bytes =
      static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<int64_t>(sysconf(_SC_PAGESIZE));
  const std::string& wanted = env().isa;
  const Isa isa = wanted == "avx2" ? Isa::avx2 : wanted == "avx512" ? Isa::avx512 : c.best;
  if (isa > c.best)
    warn(format("QS_ISA={} is ignored: this processor has {} only", wanted, name_of(c.best)));
  use(c, isa);
  return c;
}

CpuInfo& storage() {
  static CpuInfo* c = new CpuInfo(read_cpu());
  return *c;
}

}  // namespace

const CpuInfo& cpu_info() { return storage(); }

std::string_view name_of(Isa isa) {
  constexpr std::string_view names[] = {"generic", "AVX2", "AVX-512"};
  return names[static_cast<int>(isa)];
}

void set_isa_for_tests(Isa isa) { use(storage(), isa); }

}  // namespace qs
