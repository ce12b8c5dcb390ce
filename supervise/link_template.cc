// SPDX-License-Identifier: Apache-2.0
#include "parley/supervise/link_template.h"

#include <optional>

#include "absl/status/status.h"
#include "parley/handshake/peer_socket.h"
#include "parley/supervise/worker_link_maker.h"

namespace parley {

absl::StatusOr<LinkTemplate> LinkTemplate::Start(const WorkerProgram& program, Deadline deadline) {
  WorkerLinkOptions options;
  options.program = program;
  if (absl::Status status = internal::CheckLinkOptions(options); !status.ok()) return status;
  SpawnOptions spawn = internal::SpawnOptionsOf(options, UniqueFd());
  spawn.descriptors.clear();
  // Each clone gets its own; what it gets cannot be more than this.
  spawn.limits.address_space_bytes = std::nullopt;
  spawn.limits.cpu_seconds = std::nullopt;
  absl::StatusOr<WorkerTemplate> started = WorkerTemplate::Start(std::move(spawn), deadline);
  if (!started.ok()) return started.status();
  return LinkTemplate(*std::move(started));
}

absl::StatusOr<StartedClone> LinkTemplate::StartClone(WorkerLinkOptions options,
                                                      Deadline deadline) {
  if (absl::Status status = internal::CheckLinkOptions(options); !status.ok()) return status;
  auto sockets = PeerSocket::Pair();
  if (!sockets.ok()) return sockets.status();
  const auto output = internal::HoldOutput(&options.program);
  SpawnOptions like = internal::SpawnOptionsOf(options, std::move(sockets->second).Release());
  CloneOptions clone;
  clone.name = std::move(like.name);
  clone.descriptors = std::move(like.descriptors);
  clone.limits = like.limits;
  clone.namespaces = like.namespaces;
  clone.output = std::move(like.output);
  absl::StatusOr<Worker> worker = template_.Clone(std::move(clone), deadline);
  if (!worker.ok()) return worker.status();
  return StartedClone(std::move(options), *std::move(worker), std::move(sockets->first), output);
}

absl::StatusOr<WorkerLink> StartedClone::Link(Deadline deadline) && {
  return WorkerLinkMaker::Make(options_, std::move(worker_), std::move(socket_), deadline,
                               *output_);
}

absl::StatusOr<WorkerLink> LinkTemplate::StartLink(WorkerLinkOptions options, Deadline deadline) {
  absl::StatusOr<StartedClone> started = StartClone(std::move(options), deadline);
  if (!started.ok()) return started.status();
  return std::move(*started).Link(deadline);
}

}  // namespace parley
