// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SUPERVISE_WORKER_LINK_MAKER_H_
#define PARLEY_SUPERVISE_WORKER_LINK_MAKER_H_

// What stands between a process that was started, in whatever way, and a WorkerLink: handshake,
// verification, begin. Internal to supervise/.
//
// Trust: the process runs our code and has not touched hostile input. One that is not confined in
// the kernel's eyes gives no link.
// Threads: the one that will use the link.
//
//   return WorkerLinkMaker::Make(options, *std::move(worker), std::move(socket), deadline);

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/spawn.h"
#include "parley/sealing/sealed_blob.h"
#include "parley/supervise/worker_link.h"

namespace parley {

namespace internal {

// What a worker prints before it begins: held, because the reason of one that cannot be set up is
// in the error, and is said once.
struct HeldOutput {
  bool holds = true;
  std::string lines;
  std::function<void(std::string_view lines)> sink;

  // What was held goes to the sink, and the rest directly.
  void PassOn();
};
// Puts it in front of `program->output`.
std::shared_ptr<HeldOutput> HoldOutput(WorkerProgram* program);

}  // namespace internal

class WorkerLinkMaker {
 public:
  static absl::StatusOr<WorkerLink> Make(const WorkerLinkOptions& options, Worker worker,
                                         PeerSocket socket, Deadline deadline,
                                         internal::HeldOutput& output);

  // Of a pool: hands over one job. `in_place`: `input` is the one that the link was started with,
  // and lies in the worker; else the worker reads it from here, and it outlives the job. Receive
  // then gives kOutOfRange at the job's end, and JobOutcome the worker's word for it.
  static absl::Status BeginJob(WorkerLink& link, uint64_t number, const SealedBlob* input,
                               bool in_place, const std::string& request, Deadline deadline);
  static std::optional<absl::Status> JobOutcome(const WorkerLink& link);
  // One that came too late for its job is nothing to the next one's. Nobody interrupts meanwhile.
  static void ForgetInterrupt(WorkerLink& link);

  // Of a worker that is restarted: it acknowledges what was sent to it by SendNumbered.
  static void ExpectAcknowledgements(WorkerLink& link, uint32_t epoch);
  static absl::Status SendNumbered(WorkerLink& link, uint64_t number,
                                   absl::Span<const std::byte> message, Deadline deadline);
  // The number up to which it has done so; 0: none.
  static uint64_t Acknowledged(const WorkerLink& link);

 private:
  static absl::Status NotStarted(const std::string& name, Worker& worker,
                                 const absl::Status& status, internal::HeldOutput& output);
};

namespace internal {

absl::Status CheckLinkOptions(const WorkerLinkOptions& options);
// The limits of a worker with its rings and its input.
ResourceLimits LimitsOf(const WorkerLinkOptions& options);
// `socket`: the worker's end.
SpawnOptions SpawnOptionsOf(const WorkerLinkOptions& options, UniqueFd socket);

}  // namespace internal
}  // namespace parley

#endif  // PARLEY_SUPERVISE_WORKER_LINK_MAKER_H_
