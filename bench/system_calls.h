// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_SYSTEM_CALLS_H_
#define PARLEY_BENCH_SYSTEM_CALLS_H_

// Counts the system calls of both ends, of all their threads, by stopping at each (ptrace). That
// slows them down, so it happens in samples of its own, whose times nobody looks at; an end that
// can sleep may do so more often than at full speed.
//
// Threads: the one that attached.

#include <sys/types.h>

#include <array>
#include <map>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/bench/arena.h"
#include "parley/bench/cell.h"

namespace parley::bench {

struct SystemCalls;

class SystemCallCounter {
 public:
  // While `pid` has one thread; those that it makes are counted as well.
  static absl::Status Attach(pid_t pid);

  // `calls` outlives this.
  SystemCallCounter(std::array<pid_t, 2> pids, Arena& arena, SystemCalls& calls);
  SystemCallCounter(const SystemCallCounter&) = delete;
  SystemCallCounter& operator=(const SystemCallCounter&) = delete;
  ~SystemCallCounter();

  struct Ended {
    Side side;
    int status;  // as from waitpid, which has reaped it
  };
  // Handles one stop of any thread. Returns after at most 100 ms; a value if a process ended.
  absl::StatusOr<std::optional<Ended>> Step();

 private:
  Side SideOf(pid_t thread);

  const std::array<pid_t, 2> pids_;
  Arena& arena_;
  SystemCalls& calls_;
  std::map<pid_t, Side> sides_;
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_SYSTEM_CALLS_H_
