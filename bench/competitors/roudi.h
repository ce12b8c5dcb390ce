// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_COMPETITORS_ROUDI_H_
#define PARLEY_BENCH_COMPETITORS_ROUDI_H_

// iceoryx's daemon, which every process that uses it needs: started when it is wanted, and ended,
// with what it left in /dev/shm, when the benchmark ends.
//
// Threads: one at a time.

#include <sys/types.h>

#include <string>

#include "absl/status/status.h"

namespace parley::bench {

class Roudi {
 public:
  // Where Debian puts it.
  static constexpr char kPath[] = "/usr/bin/iox-roudi";

  Roudi() = default;
  Roudi(const Roudi&) = delete;
  Roudi& operator=(const Roudi&) = delete;
  // Asks it to end, and waits for it.
  ~Roudi();

  // Starts it if it does not run. kUnavailable if it does not come up (another one may run).
  absl::Status EnsureRunning();

 private:
  absl::Status Start();

  pid_t pid_ = -1;
  pid_t owner_ = -1;  // a forked child must not end it
  std::string folder_;
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_COMPETITORS_ROUDI_H_
