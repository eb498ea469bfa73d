// The environment switches of the library, typed, read once a process.
#pragma once
#include <string>
#include <string_view>

#include "quicksilver/core/export.h"

namespace qs {

/// Every QS_ switch there is. A bad value costs one warning line on stderr and means "not set".
struct Env {
  std::string isa;         // QS_ISA: avx2, avx512; "" lets the machine decide
  std::string gemm;        // QS_GEMM: own, dnnl, auto (the default)
  std::string conv;        // QS_CONV: own, dnnl, auto (the default)
  std::string mps_driver;  // QS_MPS_DRIVER: metal, cuda, cpu, none, null, record:<driver>; "" best
  std::string log;         // QS_LOG: topics, separated by commas ("plan,driver"), or "all"
  int num_threads = 0;     // QS_NUM_THREADS: 1 to 1024; 0 means one a core
  bool sync = false;       // QS_SYNC: 1 makes mps run each op at once
};

/// Reads the environment at the first call in the process.
QS_API const Env& env();
/// Whether QS_LOG names `topic`.
QS_API bool log_enabled(std::string_view topic);
/// Forgets what was read, so that a test can set variables. Not safe beside other threads.
QS_API void reset_env_for_tests();
/// One line on stderr: "quicksilver: warning: <text>".
QS_API void warn(std::string_view text);

}  // namespace qs
