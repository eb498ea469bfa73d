// What the processor is and which instruction set our kernels use on it.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "quicksilver/core/export.h"

namespace qs {

/// Each tier includes the ones before it. `avx2` means AVX2, FMA, F16C and BMI2; `avx512` means
/// F, BW, DQ and VL. On other processors than x86-64 only `generic` exists.
enum class Isa : uint8_t { generic, avx2, avx512 };

struct CpuInfo {
  std::string name;              // "AMD EPYC"; "CPU" when the machine does not tell
  Isa best = Isa::generic;       // what the machine can run
  Isa isa = Isa::generic;        // what we use: `best`, or less when QS_ISA says so
  bool has_avx512_bf16 = false;  // and `isa` allows it
  int cores = 1;                 // that this process may use
  int64_t memory_bytes = 0;      // physical
};

/// Read at the first call. QS_ISA above what the machine has costs one warning line.
QS_API const CpuInfo& cpu_info();
/// "AVX-512", "AVX2", "generic"
QS_API std::string_view name_of(Isa isa);
/// Uses `isa` from now on (not above `best`); objects that exist keep what they chose.
QS_API void set_isa_for_tests(Isa isa);

}  // namespace qs
