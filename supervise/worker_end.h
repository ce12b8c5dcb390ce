// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SUPERVISE_WORKER_END_H_
#define PARLEY_SUPERVISE_WORKER_END_H_

// How a worker ended: one cause and one sentence, merged from what the kernel reports of its
// process, what the channel shows of its behaviour, and what it said itself.
//
// Trust: the cause is the kernel's word or our own finding, except kSaidWhy, whose text is the
// worker's own and printable.
// Threads: a value; any.
//
//   const WorkerEnd end = link.End(Deadline::After(absl::Seconds(2)));
//   if (!end.done()) std::cerr << end.ToString() << "\n";

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "parley/boundary/violation.h"
#include "parley/sandbox/exit_report.h"

namespace parley {

struct WorkerEnd {
  // In the order in which they are looked for: the first that holds is the cause.
  enum class Cause {
    kBrokeProtocol,  // of the channel, or of a layer above it that poisoned it
    kRefusedCall,    // the system call filter ended it
    kOutOfTime,      // its CPU time is used up
    kOutOfMemory,    // it said so by its exit code, or the kernel's OOM killer is likely
    kSaidWhy,        // the body, or its set-up, failed and gave a reason
    kKilled,         // by us: it did not end in time, or was not wanted any more
    kCrashed,        // by a signal
    kExitCode,       // another one than 0
    kDone,           // ended by itself with exit code 0
    kUnknown,        // no exit status could be had
  };
  Cause cause = Cause::kUnknown;
  // Without the worker's name: "was killed by the system call filter: it called openat".
  std::string what;
  ExitReport report;

  bool done() const { return cause == Cause::kDone; }
  // One sentence without a full stop: "decoder (pid 71) was killed by signal 11 (...)".
  std::string ToString() const;
};

// "refused call", for logs and statistics; never null.
const char* ToString(WorkerEnd::Cause cause);

namespace internal {

// What a host knows of a worker beside the kernel's report.
struct EndFacts {
  Violation violation = Violation::kNone;
  std::string violation_text;         // where a layer above the channel has a better word
  std::optional<absl::Status> said;   // Failed message
  std::string last_line;              // of its stderr, printable
  std::optional<std::string> killed;  // why we ended it
  uint64_t resident_bytes = 0;        // the limit for which the kernel has ended it; 0: none
};

// `report`: absent where the process could not be reaped.
WorkerEnd MergeEnd(const std::string& name, const std::optional<ExitReport>& report,
                   const EndFacts& facts);

}  // namespace internal
}  // namespace parley

#endif  // PARLEY_SUPERVISE_WORKER_END_H_
