// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SUPERVISE_LINK_TEMPLATE_H_
#define PARLEY_SUPERVISE_LINK_TEMPLATE_H_

// Links whose workers are clones of one process that was warmed up once
// (sandbox/worker_template.h): for programs that call WorkerMain, without a change.
//
//   absl::StatusOr<LinkTemplate> warm = LinkTemplate::Start(options.program, deadline);
//   absl::StatusOr<WorkerLink> link = warm->StartLink(std::move(options), deadline);
//
// Trust: as WorkerLink; the template itself touches no hostile input.
// Threads: one at a time; a StartedClone needs the template no more, so one thread may link a clone
// while another one starts the next. A worker dies with the thread that called Start, and where it
// has namespaces with the one that called StartLink or StartClone.

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/deadline.h"
#include "parley/sandbox/worker.h"
#include "parley/sandbox/worker_template.h"
#include "parley/supervise/worker_link.h"

namespace parley {

namespace internal {
struct HeldOutput;
}  // namespace internal

// A clone that runs, and has neither shaken hands nor shown that it is confined.
class StartedClone {
 public:
  // The rest of StartLink: half of its time, none of it the template's.
  absl::StatusOr<WorkerLink> Link(Deadline deadline) &&;

 private:
  friend class LinkTemplate;
  StartedClone(WorkerLinkOptions options, Worker worker, PeerSocket socket,
               std::shared_ptr<internal::HeldOutput> output)
      : options_(std::move(options)),
        worker_(std::move(worker)),
        socket_(std::move(socket)),
        output_(std::move(output)) {}
  WorkerLinkOptions options_;
  Worker worker_;
  PeerSocket socket_;
  std::shared_ptr<internal::HeldOutput> output_;
};

class LinkTemplate {
 public:
  // Returns once the program is warm. Errors as those of WorkerTemplate::Start.
  static absl::StatusOr<LinkTemplate> Start(const WorkerProgram& program, Deadline deadline);

  // As WorkerLink::Start, with the program of this template: of options.program only name, limits,
  // memory_bytes, namespaces and output are used. kUnavailable: the template has ended.
  absl::StatusOr<WorkerLink> StartLink(WorkerLinkOptions options, Deadline deadline);
  // The first half of it.
  absl::StatusOr<StartedClone> StartClone(WorkerLinkOptions options, Deadline deadline);

  const Worker& process() const { return template_.process(); }
  uint64_t clones() const { return template_.clones(); }

 private:
  explicit LinkTemplate(WorkerTemplate started) : template_(std::move(started)) {}
  WorkerTemplate template_;
};

}  // namespace parley

#endif  // PARLEY_SUPERVISE_LINK_TEMPLATE_H_
