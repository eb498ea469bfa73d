#include "quicksilver/core/env.h"

#include <cstdio>
#include <cstdlib>
#include <initializer_list>

#include "quicksilver/core/error.h"

namespace qs {
namespace {

std::string text_of(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::string choice(const char* name, std::initializer_list<std::string_view> allowed) {
  std::string value = text_of(name);
  if (value.empty()) return value;
  std::string list;
  for (std::string_view a : allowed) {
    if (value == a) return value;
    list += list.empty() ? std::string(a) : ", " + std::string(a);
  }
  warn(format("{}={} is ignored: expected one of {}", name, value, list));
  return "";
}

int integer(const char* name, int low, int high) {
  const std::string value = text_of(name);
  if (value.empty()) return 0;
  char* end = nullptr;
  const long n = std::strtol(value.c_str(), &end, 10);
  if (*end == 0 && n >= low && n <= high) return static_cast<int>(n);
  warn(format("{}={} is ignored: expected a number from {} to {}", name, value, low, high));
  return 0;
}

Env read_env() {
  Env e;
  e.isa = choice("QS_ISA", {"avx2", "avx512"});
  e.gemm = choice("QS_GEMM", {"own", "dnnl", "auto"});
  e.conv = choice("QS_CONV", {"own", "dnnl", "auto"});
  e.mps_driver = text_of("QS_MPS_DRIVER");  // open_driver knows the names
  e.log = text_of("QS_LOG");
  e.num_threads = integer("QS_NUM_THREADS", 1, 1024);
  e.sync = choice("QS_SYNC", {"0", "1"}) == "1";
  return e;
}

Env& storage() {
  static Env* e = new Env(read_env());  // leaked: read by threads that outlive main
  return *e;
}

}  // namespace

const Env& env() { return storage(); }

bool log_enabled(std::string_view topic) {
  std::string_view rest = env().log;
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    const std::string_view word = rest.substr(0, comma);
    if (word == topic || word == "all") return true;
    rest = comma == std::string_view::npos ? "" : rest.substr(comma + 1);
  }
  return false;
}

void reset_env_for_tests() { storage() = read_env(); }

void warn(std::string_view text) {
  std::fprintf(stderr, "quicksilver: warning: %.*s\n", static_cast<int>(text.size()), text.data());
}

}  // namespace qs
