// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_WORKER_MAKER_H_
#define PARLEY_SANDBOX_WORKER_MAKER_H_

// What makes a Worker of a process that was started, for Spawn and for WorkerTemplate. Internal to
// sandbox/.
//
// Trust: the process is a child of ours that nobody else reaps.
// Threads: any.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/child_start.h"
#include "parley/sandbox/output_relay.h"
#include "parley/sandbox/refusal.h"
#include "parley/sandbox/spawn.h"
#include "parley/sandbox/start_process.h"
#include "parley/sandbox/worker.h"

namespace parley {

class WorkerMaker {
 public:
  static Worker Make(std::string name, internal::StartedProcess process,
                     std::optional<internal::RefusalWatch> refusals,
                     std::optional<internal::OutputRelay> output) {
    return Worker(std::move(name), std::move(process), std::move(refusals), std::move(output));
  }
  static void Watch(Worker& worker, internal::RefusalWatch refusals) {
    worker.refusals_ = std::move(refusals);
  }
};

namespace internal {

// The kernel's form of `limits`, none above our own hard limits.
std::vector<ChildStart::Limit> LimitsOfChild(const ResourceLimits& limits);
// Whether the kernel of this release ("6.1.0-13-amd64") counts processes and threads for each user
// namespace: since Linux 5.14. Before, a limit on one worker's counts all that its user runs.
bool CountsProcessesWithin(const std::string& release);
// What `limits.processes` is where it is not given and the kernel counts them for each user
// namespace; else 0.
unsigned ProcessesWithin(const ResourceLimits& limits);
// ", dropping its privileges": what comes after "cannot start decoder"; may be empty.
const char* StepText(StartStep step);

}  // namespace internal
}  // namespace parley

#endif  // PARLEY_SANDBOX_WORKER_MAKER_H_
