// A user's program: it sees only installed headers and what libquicksilver exports.
#include <cstdio>
#include <cstring>

#include "quicksilver/core/version.h"

int main() {
  std::printf("%s\n", qs::version());
  return std::strcmp(qs::version(), QS_VERSION);
}
