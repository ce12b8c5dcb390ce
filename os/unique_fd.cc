// SPDX-License-Identifier: Apache-2.0
#include "parley/os/unique_fd.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace parley {

int UniqueFd::Raised(int fd) {
  // DESCRIPTOR: this is the function.
  const int high = ::fcntl(fd, F_DUPFD_CLOEXEC, kFirst);
  // The call says EINVAL where the limit is 3 or less.
  const int error = high < 0 && errno == EINVAL ? EMFILE : errno;
  // The file stays open through `high`, so this close is not its last.
  ::close(fd);
  errno = error;
  return high;
}

void UniqueFd::Reset(int fd) {
  if (fd_ >= 0) {
    const int saved = errno;
    // Never retried on EINTR: Linux has freed the number by then, and it may be another thread's.
    ::close(fd_);
    errno = saved;
  }
  fd_ = fd < kFirst && fd >= 0 ? Raised(fd) : fd;
}

}  // namespace parley
