// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_ENDURANCE_PRIVATE_CLOCK_H_
#define PARLEY_ENDURANCE_PRIVATE_CLOCK_H_

// A CLOCK_REALTIME that jumps for the calling process alone: the machine's other processes need
// theirs. Two halves, because a program meets that clock in two ways.
//
// Reading it: this library defines clock_gettime, gettimeofday and time, which come before the C
// library's in every program that links it, for the C++ library and Abseil, too. From
// JumpAtEachReading on, each reading is further away from the last one than an hour, forwards and
// backwards in turn, and is counted.
// Waiting for it: only the kernel can do that, so ForbidRealtimeTimers asks the kernel to kill the
// process at the first system call that arms a timer on that clock, or reads it without the above.
//
// Threads: any; ForbidRealtimeTimers is for the calling thread and those that it starts.

#include <cstdint>

#include "absl/status/status.h"

namespace parley::endurance {

// False under a sanitizer, which has clock functions of its own.
bool ClockIsPrivate();
void JumpAtEachReading(bool on);
int64_t Readings();

// A relative sleep is allowed: no jump changes it, whatever its clock.
absl::Status ForbidRealtimeTimers();

}  // namespace parley::endurance

#endif  // PARLEY_ENDURANCE_PRIVATE_CLOCK_H_
