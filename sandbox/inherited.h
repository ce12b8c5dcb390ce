// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_INHERITED_H_
#define PARLEY_SANDBOX_INHERITED_H_

// The worker's side of Spawn's descriptors.
//
// Trust: the environment is our parent's word, and the parent is the side that starts us.
// Threads: call at start, before there are threads (it changes the environment).
//
//   absl::StatusOr<UniqueFd> film = TakeInheritedFd("FILM_FD");  // as Spawn was told to call it
//
// The socket of a channel is taken by ConnectInheritedChannel, under the name kSocketVariable.

#include <string>

#include "absl/status/statusor.h"
#include "parley/os/unique_fd.h"

namespace parley {

// The open descriptor whose number is in the environment variable `name`, made close-on-exec. The
// variable is removed, so that a descriptor is taken once and not passed on. kNotFound without the
// variable, kInvalidArgument if it is not a number from 3 on or nothing is open there.
absl::StatusOr<UniqueFd> TakeInheritedFd(const std::string& name);

}  // namespace parley

#endif  // PARLEY_SANDBOX_INHERITED_H_
