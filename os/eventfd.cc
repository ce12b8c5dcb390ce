// SPDX-License-Identifier: Apache-2.0
#include "parley/os/eventfd.h"

#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <cerrno>

#include "parley/os/errors.h"
#include "parley/os/system_call.h"
#include "parley/os/unique_fd.h"

namespace parley {

uint64_t TakeEventfdCount(int fd) {
  uint64_t count = 0;
  iovec into = {&count, sizeof(count)};
  // The raw call: some C libraries have no function for it. -1 is the file's own position, in
  // whichever halves the kernel wants it.
  const auto got = SystemCall(SYS_preadv2, fd, &into, 1, -1, -1, RWF_NOWAIT);
  return got == sizeof(count) ? count : 0;
}

absl::StatusOr<bool> EventfdCountsCanBeTaken() {
  const UniqueFd fd(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
  if (fd.ok()) return TakeEventfdCount(fd.get()) == 1;
  // A filter that has no eventfds answers; a full table does not.
  if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENODEV) {
    return ErrnoStatus(errno, "find out whether eventfds can be drained here");
  }
  return false;
}

}  // namespace parley
