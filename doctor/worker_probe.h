// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_DOCTOR_WORKER_PROBE_H_
#define PARLEY_DOCTOR_WORKER_PROBE_H_

// A confined worker that tries one thing, as a worker of a user's would: started by Spawn, locked
// down with a profile, checked by VerifyConfined. Both sides; the worker is this program again.
//
// Trust: the worker is ours and runs no hostile input.
// Threads: one at a time.
//
//   absl::StatusOr<WorkerAnswer> answer = TryInWorker(self, "heap", "file");

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "parley/sandbox/exit_report.h"
#include "parley/sandbox/second_wall.h"

namespace parley {

// How this program is started again: "/usr/bin/parley" with "doctor", for one.
struct SelfProgram {
  std::string path;
  std::vector<std::string> leading;
};

// The argument that follows `leading` in a worker; RunDoctor hands over to WorkerMain then.
inline constexpr char kWorkerFlag[] = "--confined-worker";

// What can be tried, in the order of a report.
struct Probe {
  std::string id;
  std::string title;
};
const std::vector<Probe>& Probes();

// What LockDown reported, over the worker's socket.
struct LockedDown {
  int landlock_abi = 0;
  bool mdwe = false;
  bool empty_root = false;
  bool code_is_sealed = false;
  bool reports_refusals = false;
  std::string text;  // ConfinementReport::ToString
};

struct WorkerAnswer {
  // Absent: it could not be locked down, for the reason `why_not`.
  std::optional<LockedDown> locked_down;
  std::string why_not;
  // Why the kernel's word could not be had or was another one; empty where it was.
  std::string unproven;
  SecondWall wall;
  // Of the probe: 0, or the error with which it failed; absent where it ended the worker.
  std::optional<int> error;
  ExitReport report;
};

// `profile`: "ring", or additions to it, as in "heap,threads,files-absent". kInvalidArgument for
// another word; otherwise an error where no worker could be started.
absl::StatusOr<WorkerAnswer> TryInWorker(const SelfProgram& self, const std::string& profile,
                                         const std::string& probe);

// The words that a profile may have, for a usage line.
std::string ProfileWords();
bool IsProfile(const std::string& profile);

// The worker's own main: its exit code.
int WorkerMain(const std::string& profile, const std::string& probe);

}  // namespace parley

#endif  // PARLEY_DOCTOR_WORKER_PROBE_H_
