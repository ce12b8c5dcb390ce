// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_WORKER_TEMPLATE_H_
#define PARLEY_SANDBOX_WORKER_TEMPLATE_H_

// A worker program that was started and warmed up once, and is cloned for each worker: what costs
// tens of milliseconds with exec (loading and relocating large libraries) costs one or two. The
// program's side, and what clones share: sandbox/template_main.h.
//
// A clone is a Worker as Spawn makes them: our own child, in namespaces of its own where they can
// be made, with limits, relayed output and refused calls of its own. It dies with the thread that
// started the template, and its namespaces with the thread that cloned it.
//
// Trust: the template is our program and touches no hostile input. If it ends, Clone is an error
// and clones that were made go on.
// Threads: one at a time.
//
//   absl::StatusOr<WorkerTemplate> warm = WorkerTemplate::Start(std::move(spawn_options),
//   deadline); absl::StatusOr<Worker> worker = warm->Clone(std::move(clone_options), deadline);

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/second_wall.h"
#include "parley/sandbox/spawn.h"
#include "parley/sandbox/start_process.h"
#include "parley/sandbox/worker.h"

namespace parley {

struct CloneOptions {
  std::string name;                              // for reports
  std::vector<InheritedDescriptor> descriptors;  // at most 8, under short names
  ResourceLimits limits;                         // cut to the template's own
  NamespaceOptions namespaces;
  std::function<void(std::string_view lines)> output;  // as SpawnOptions::output
};

class WorkerTemplate {
 public:
  // Starts `options.program`, which calls ServeClones (WorkerMain does), and returns once it is
  // warm. Its limits are upper limits of all clones; `namespaces` and `dies_with_parent` of the
  // options are not used: it has none, and dies with the calling thread. kUnimplemented in a build
  // with a sanitizer; else errors as those of Spawn, and kUnavailable with its last line for a
  // template that ended.
  static absl::StatusOr<WorkerTemplate> Start(SpawnOptions options, Deadline deadline);

  // A new worker. kUnavailable: the template has ended, or does not answer by the deadline.
  // kResourceExhausted and others: why the clone could not be made.
  absl::StatusOr<Worker> Clone(CloneOptions options, Deadline deadline);

  const Worker& process() const { return process_; }
  uint64_t clones() const { return clones_; }

 private:
  WorkerTemplate(Worker process, UniqueFd socket)
      : process_(std::move(process)), socket_(std::move(socket)) {}
  struct Message {
    std::size_t size_bytes = 0;  // 0: all that could say something have closed their end
    pid_t sender = -1;           // the kernel's word
  };
  // All that is known of one clone while it is made.
  struct Making {
    pid_t between = -1;
    pid_t pid = -1;
    bool answered = false;
    bool has_started = false;
    internal::StartFailure failure = {};
    int proc_error = 0;
  };
  struct Request;
  absl::Status FindAttempts(const CloneOptions& options);
  static absl::StatusOr<Request> MakeRequest(CloneOptions* options);
  // One clone in the namespaces of `attempt`, or `process->failure`. An error: the template is of
  // no more use. Either way the caller reaps what was made.
  absl::Status Attempt(const internal::NamespaceAttempt& attempt, const Request& request,
                       internal::HolderPage& page, Deadline deadline,
                       internal::StartedProcess* process);
  absl::Status Order(const internal::NamespaceAttempt& attempt, const Request& request,
                     Deadline deadline, internal::StartedProcess* process, int* proc_error);
  // Whether there is another attempt after this failure, which is the first one of attempts_ then.
  bool HasAnother(const internal::StartFailure& failure);
  static absl::StatusOr<Worker> MakeWorker(const std::string& name,
                                           internal::StartedProcess process, Request request);
  absl::StatusOr<Message> AwaitMessage(Deadline deadline, absl::Span<char> into);
  absl::Status AwaitClone(Deadline deadline, Making* making);
  absl::Status Take(const Message& message, const char* bytes, Making* making);
  // Of a clone that came to nothing: whatever was made of it is killed and reaped.
  void Abandon(Making* making);

  Worker process_;
  UniqueFd socket_;
  uint64_t clones_ = 0;
  // For a clone that asks for the same as the last one: what was found not to work is not tried
  // again.
  NamespaceOptions asked_;
  std::vector<internal::NamespaceAttempt> attempts_;
  std::string missing_;
};

}  // namespace parley

#endif  // PARLEY_SANDBOX_WORKER_TEMPLATE_H_
