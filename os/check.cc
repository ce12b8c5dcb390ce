// SPDX-License-Identifier: Apache-2.0
#include "parley/os/check.h"

#include <cstdio>
#include <cstdlib>

namespace parley::internal {

void CheckFailed(const char* file, int line, const char* condition, const char* message) {
  std::fprintf(stderr, "%s:%d: caller's bug: %s (check failed: %s)\n", file, line, message,
               condition);
  std::abort();
}

}  // namespace parley::internal
