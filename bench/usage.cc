// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/usage.h"

#include <sys/resource.h>

namespace parley::bench {
namespace {

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

}  // namespace

Usage UsageNow() {
  rusage now = {};
  ::getrusage(RUSAGE_SELF, &now);
  return {Seconds(now.ru_utime), Seconds(now.ru_stime), now.ru_nvcsw, now.ru_nivcsw};
}

}  // namespace parley::bench
