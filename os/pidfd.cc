// SPDX-License-Identifier: Apache-2.0
#include "parley/os/pidfd.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "parley/os/errors.h"
#include "parley/os/poll.h"

namespace parley {

absl::StatusOr<UniqueFd> OpenPidfd(pid_t pid) {
  // pidfd_open sets close-on-exec by itself.
  UniqueFd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!fd.ok()) return ErrnoStatus(errno, "open a process descriptor");
  return fd;
}

bool ProcessHasEnded(int pidfd) {
  pollfd entry = {pidfd, POLLIN, 0};
  auto ready = PollUntil(absl::MakeSpan(&entry, 1), Deadline::AtMonotonicNs(0));
  return ready.ok() && *ready > 0;
}

}  // namespace parley
