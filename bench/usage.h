// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_USAGE_H_
#define PARLEY_BENCH_USAGE_H_

// What a process used, all its threads together, by the kernel's accounts.
//
// Threads: functions; any.

#include <cstdint>

namespace parley::bench {

struct Usage {
  double user_s = 0;
  double system_s = 0;
  int64_t voluntary_switches = 0;
  int64_t involuntary_switches = 0;

  friend Usage operator-(const Usage& a, const Usage& b) {
    return {a.user_s - b.user_s, a.system_s - b.system_s,
            a.voluntary_switches - b.voluntary_switches,
            a.involuntary_switches - b.involuntary_switches};
  }
};

Usage UsageNow();

}  // namespace parley::bench

#endif  // PARLEY_BENCH_USAGE_H_
