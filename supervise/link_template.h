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
// Threads: one at a time. A worker dies with the thread that called Start, and where it has
// namespaces with the one that called StartLink.

#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"
#include "parley/os/deadline.h"
#include "parley/sandbox/worker_template.h"
#include "parley/supervise/worker_link.h"

namespace parley {

class LinkTemplate {
 public:
  // Returns once the program is warm. Errors as those of WorkerTemplate::Start.
  static absl::StatusOr<LinkTemplate> Start(const WorkerProgram& program, Deadline deadline);

  // As WorkerLink::Start, with the program of this template: of options.program only name, limits,
  // memory_bytes, namespaces and output are used. kUnavailable: the template has ended.
  absl::StatusOr<WorkerLink> StartLink(WorkerLinkOptions options, Deadline deadline);

  const Worker& process() const { return template_.process(); }
  uint64_t clones() const { return template_.clones(); }

 private:
  explicit LinkTemplate(WorkerTemplate started) : template_(std::move(started)) {}
  WorkerTemplate template_;
};

}  // namespace parley

#endif  // PARLEY_SUPERVISE_LINK_TEMPLATE_H_
