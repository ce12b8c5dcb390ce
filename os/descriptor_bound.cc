// SPDX-License-Identifier: Apache-2.0
#include "parley/os/descriptor_bound.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

namespace parley {
namespace {

int TableSize() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("FDSize:", 0) == 0) return std::stoi(line.substr(7));
  }
  return 0;
}

}  // namespace

int DescriptorBoundWithoutCloseRange() {
  // Of no descriptor at all: the last number there is.
  if (::syscall(SYS_close_range, ~0u, ~0u, 0) == 0) return 0;
  if (const int size = TableSize(); size > 0) return 2 * size;
  rlimit limit = {};
  constexpr rlim_t kMax = 1 << 20;  // what the kernel allows unless told otherwise (fs.nr_open)
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return static_cast<int>(kMax);
  return static_cast<int>(std::min(limit.rlim_cur, kMax));
}

}  // namespace parley
