// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_UNREAPED_H_
#define PARLEY_SANDBOX_UNREAPED_H_

// Reaping a child without ever waiting for it.
//
// A process that has ended cannot be reaped by its parent while another one traces it: until the
// tracer has seen the end (strace: at once) or ends itself (a hijacked worker's own child: whenever
// it likes). waitid without WNOHANG blocks for as long. So it is asked again and again, and what
// cannot be reaped at its owner's end is kept here and asked for later.
//
// Trust: the worker decides how long it stays a zombie. That costs us a descriptor and the kernel a
// process, and no call of ours waits for it.
// Threads: any.

#include <signal.h>
#include <sys/resource.h>

#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"

namespace parley::internal {

enum class Reaped {
  kYes,      // `info` and `usage` are set
  kNotYet,   // it lives, or is traced
  kNotOurs,  // something else in this process has reaped it
};

// One question; never blocks.
Reaped TryReap(int pidfd, siginfo_t* info, rusage* usage);

// Asks until `deadline`, and at least once.
Reaped ReapUntil(int pidfd, Deadline deadline, siginfo_t* info, rusage* usage);

// Takes over a process that was killed and could not be reaped.
void ReapLater(UniqueFd pidfd);

// Asks once for each of those. Spawn and ReapLater do so.
void ReapWhatCanBe();

}  // namespace parley::internal

#endif  // PARLEY_SANDBOX_UNREAPED_H_
