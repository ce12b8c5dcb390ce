// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_SAFETY_CASE_H_
#define PARLEY_BENCH_SAFETY_CASE_H_

// A wall or a check, with it or without: something that can be done many times over.
//
// Threads: values.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace parley::bench {

struct Case {
  std::string what;     // "position checks, 8 B"; bench/report/safety.py knows it by this
  std::string variant;  // "on" or "off"
  // Does it so often, in this process and thread; the sum of what was received, so that nothing
  // can be left out.
  std::function<uint64_t(uint64_t times)> run;
  uint64_t at_once = 0;  // so often between two looks at the clock
  bool counted = false;  // callgrind can see what it does: no work of the kernel's
  // Instead of `run`: nanoseconds for each, where a process of its own is needed.
  std::function<absl::StatusOr<double>(uint64_t times)> measure;
};

// What is paid for each message.
std::vector<Case> MessageCases();
// What is paid for each channel.
std::vector<Case> SetUpCases();
// What is paid for each sleep, and for being able to sleep.
std::vector<Case> WakeUpCases();
// What a bounded sleep through a word of the peer's is made of.
std::vector<Case> SleepCases();

inline std::vector<Case> AllCases() {
  std::vector<Case> all;
  for (auto cases : {MessageCases, SetUpCases, WakeUpCases, SleepCases}) {
    for (Case& one : cases()) all.push_back(std::move(one));
  }
  return all;
}

}  // namespace parley::bench

#endif  // PARLEY_BENCH_SAFETY_CASE_H_
