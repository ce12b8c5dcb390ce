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
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/spawn.h"
#include "parley/sealing/sealed_blob.h"
#include "parley/supervise/worker_link.h"

namespace parley {

class WorkerLinkMaker {
 public:
  static absl::StatusOr<WorkerLink> Make(const WorkerLinkOptions& options, Worker worker,
                                         PeerSocket socket, Deadline deadline);

  // Of a pool: hands over one job. `in_place`: `input` is the one that the link was started with,
  // and lies in the worker; else the worker reads it from here, and it outlives the job. Receive
  // then gives kOutOfRange at the job's end, and JobOutcome the worker's word for it.
  static absl::Status BeginJob(WorkerLink& link, uint64_t number, const SealedBlob* input,
                               bool in_place, const std::string& request, Deadline deadline);
  static std::optional<absl::Status> JobOutcome(const WorkerLink& link);

 private:
  static absl::Status NotStarted(const std::string& name, Worker& worker,
                                 const absl::Status& status);
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
