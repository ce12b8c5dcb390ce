// SPDX-License-Identifier: Apache-2.0
#include "parley/os/file_size_signal.h"

#include <cerrno>
#include <ctime>

namespace parley {

NoFileSizeSignal::NoFileSizeSignal() {
  ::sigemptyset(&only_this_);
  ::sigaddset(&only_this_, SIGXFSZ);
  sigset_t pending;
  ::sigemptyset(&pending);
  ::sigpending(&pending);
  was_pending_ = ::sigismember(&pending, SIGXFSZ) == 1;
  ::pthread_sigmask(SIG_BLOCK, &only_this_, &before_);
}

NoFileSizeSignal::~NoFileSizeSignal() {
  const timespec now = {};
  if (!was_pending_) {
    while (::sigtimedwait(&only_this_, nullptr, &now) < 0 && errno == EINTR) {
    }
  }
  ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

}  // namespace parley
