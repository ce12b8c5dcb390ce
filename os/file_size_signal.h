// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_OS_FILE_SIZE_SIGNAL_H_
#define PARLEY_OS_FILE_SIZE_SIGNAL_H_

// Writing more than RLIMIT_FSIZE raises SIGXFSZ, which kills a process that has no handler for it.
// Memfds count, and what is printed to a file. While one of these lives, the calling thread gets
// EFBIG alone.
//
// Trust: a limit is set by whoever started the process; how much is written may be a peer's choice.
// Threads: for the calling one; ends there.
//
//   const NoFileSizeSignal no_signal;
//   if (::pwrite(memfd, bytes, size_bytes, 0) < 0) return errno;  // EFBIG

#include <signal.h>

namespace parley {

class NoFileSizeSignal {
 public:
  NoFileSizeSignal();
  // A signal that was pending before stays so.
  ~NoFileSizeSignal();
  NoFileSizeSignal(const NoFileSizeSignal&) = delete;
  NoFileSizeSignal& operator=(const NoFileSizeSignal&) = delete;

 private:
  sigset_t only_this_;
  sigset_t before_;
  bool was_pending_;
};

}  // namespace parley

#endif  // PARLEY_OS_FILE_SIZE_SIGNAL_H_
