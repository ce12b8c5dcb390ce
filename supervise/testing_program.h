// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SUPERVISE_TESTING_PROGRAM_H_
#define PARLEY_SUPERVISE_TESTING_PROGRAM_H_

// For this package's tests: the program of a testing worker.

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "parley/os/deadline.h"
#include "parley/supervise/worker_link.h"

namespace parley::testing {

// Generous: a loaded machine under a sanitizer. A test that waits this long has failed.
inline constexpr absl::Duration kLong = absl::Seconds(30);

// A program of this package, by its target's name, with one argument.
WorkerProgram Program(const std::string& target, const std::string& argument);

// WorkerLink::Start; in the targets with `_cloned` in their name, through a template of its own.
absl::StatusOr<WorkerLink> StartLink(WorkerLinkOptions options, Deadline deadline);

bool HasSanitizer();

}  // namespace parley::testing

#endif  // PARLEY_SUPERVISE_TESTING_PROGRAM_H_
