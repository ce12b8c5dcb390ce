// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_EXIT_REPORT_H_
#define PARLEY_SANDBOX_EXIT_REPORT_H_

// How a worker ended, as numbers for programs and as one sentence for people.
//
// Trust: exit code, signal, times and the refused call come from the kernel.
// Threads: a value; any.
//
//   auto report = worker.Wait(Deadline::After(absl::Seconds(2)));
//   if (report.ok() && !report->clean()) std::cerr << report->ToString() << "\n";

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"

namespace parley {

struct ExitReport {
  std::string name;  // SpawnOptions::name
  pid_t pid = -1;

  // Exactly one of the two is set, unless something else in this process reaped the worker (SIGCHLD
  // ignored, or a stray wait): then neither is.
  std::optional<int> exit_code;
  std::optional<int> signal;

  // The name of the system call that the filter refused ("openat"), or "system call 999" where the
  // number has no name here; we ended the worker for it (by SIGKILL). Absent when the filter killed
  // at once (by SIGSYS): see sandbox/policy.h and ConfinementReport::reports_refusals.
  std::optional<std::string> refused_call;

  absl::Duration user_time;
  absl::Duration system_time;
  int64_t peak_memory_bytes = 0;

  // Ended by itself with code 0.
  bool clean() const { return exit_code == 0; }
  // Ended by the system call filter, whether it named the call or not.
  bool killed_by_filter() const;
  // One sentence without a full stop: "decoder (pid 71) was killed by the system call filter: it
  // called openat".
  std::string ToString() const;
};

}  // namespace parley

#endif  // PARLEY_SANDBOX_EXIT_REPORT_H_
