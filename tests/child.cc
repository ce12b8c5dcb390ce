// SPDX-License-Identifier: Apache-2.0
#include "parley/tests/child.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/time/time.h"
#include "parley/os/check.h"
#include "parley/os/pidfd.h"
#include "parley/os/poll.h"

namespace parley {

Child::Child(const std::function<int()>& body) {
  std::fflush(nullptr);
  pid_ = ::fork();
  PARLEY_CHECK(pid_ >= 0, "fork");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::_exit(body());
  }
  auto pidfd = OpenPidfd(pid_);
  PARLEY_CHECK(pidfd.ok(), "pidfd_open");
  pidfd_ = *std::move(pidfd);
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      pidfd_(std::move(other.pidfd_)),
      result_(other.result_) {}

Child::~Child() {
  if (pid_ > 0) Kill();
}

void Child::Signal(int signal) const {
  if (pid_ > 0) ::kill(pid_, signal);
}

int Child::Wait(Deadline deadline) {
  if (pid_ <= 0) return result_;
  pollfd entry = {pidfd_.get(), POLLIN, 0};
  const auto ready = PollUntil(absl::MakeSpan(&entry, 1), deadline);
  if (!ready.ok() || *ready == 0) return -1;
  int status = 0;
  PARLEY_CHECK(::waitpid(pid_, &status, 0) == pid_, "waitpid");
  pid_ = -1;
  pidfd_.Reset();
  result_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result_;
}

int Child::Kill() {
  Signal(SIGKILL);
  return Wait(Deadline::After(absl::Seconds(60)));
}

}  // namespace parley
