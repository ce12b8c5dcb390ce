// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_THREADS_H_
#define PARLEY_SANDBOX_THREADS_H_

// The threads of this process, as /proc/self/task has them.
//
// Trust: the kernel's word. Thread names are our own process's, before it can be hijacked.
// Threads: any; others may come and go meanwhile, so the list is for messages and checks, and what
// makes confinement complete is the kernel's own synchronisation (TSYNC).

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace parley::internal {

struct Thread {
  pid_t id = 0;
  std::string name;
  bool has_capabilities = false;  // permitted ones
};

// At least one, or an error.
absl::StatusOr<std::vector<Thread>> ListThreads();

// "thread 4712 'av:h264:df3'", or without the name if it is not in the list.
std::string DescribeThread(const std::vector<Thread>& threads, pid_t id);

}  // namespace parley::internal

#endif  // PARLEY_SANDBOX_THREADS_H_
