// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_OS_EVENTFD_H_
#define PARLEY_OS_EVENTFD_H_

// Taking an eventfd's count without waiting, whatever its flags are.
//
// Trust: the peer shares the eventfd and can clear O_NONBLOCK on it between a poll and a read; so
// each read says for itself that it does not wait (RWF_NOWAIT).
// Threads: any.

#include <cstdint>

#include "absl/status/statusor.h"

namespace parley {

// The count, which is zero from then on; 0 if it was zero, or could not be read.
uint64_t TakeEventfdCount(int fd);

// Whether TakeEventfdCount works here. It needs preadv2 with RWF_NOWAIT on eventfds, which Linux
// before 5.8, some emulations of Linux and some system call filters refuse. Without it, an eventfd
// doorbell is never drained and an honest peer looks like a flood: so this is asked before one is
// offered or agreed on. An error, and no answer, where there is no descriptor or memory for the
// question (kResourceExhausted). Four system calls.
absl::StatusOr<bool> EventfdCountsCanBeTaken();

}  // namespace parley

#endif  // PARLEY_OS_EVENTFD_H_
