#include "parley/os/unique_fd.h"

#include <unistd.h>

#include <cerrno>

namespace parley {

void UniqueFd::Reset(int fd) {
  if (fd_ >= 0) {
    const int saved = errno;
    // Never retried on EINTR: Linux has freed the number by then, and it may be another thread's.
    ::close(fd_);
    errno = saved;
  }
  fd_ = fd;
}

}  // namespace parley
