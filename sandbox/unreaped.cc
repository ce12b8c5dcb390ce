// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/unreaped.h"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace parley::internal {
namespace {

// There is nothing to poll for the end of tracing.
constexpr timespec kBetweenQuestions = {0, 1'000'000};

struct Unreaped {
  std::mutex mutex;
  std::vector<UniqueFd> pidfds;
};

Unreaped& All() {
  // Never destroyed: a Worker may be, at the end of the process.
  static auto& all = *std::make_unique<Unreaped>().release();
  return all;
}

}  // namespace

Reaped TryReap(int pidfd, siginfo_t* info, rusage* usage) {
  *info = {};
  // The raw call, for its fifth argument.
  if (::syscall(SYS_waitid, P_PIDFD, pidfd, info, WEXITED | WNOHANG | __WALL, usage) != 0) {
    return errno == EINTR ? Reaped::kNotYet : Reaped::kNotOurs;
  }
  return info->si_pid == 0 ? Reaped::kNotYet : Reaped::kYes;
}

Reaped ReapUntil(int pidfd, Deadline deadline, siginfo_t* info, rusage* usage) {
  while (true) {
    const Reaped reaped = TryReap(pidfd, info, usage);
    if (reaped != Reaped::kNotYet || deadline.Expired()) return reaped;
    ::clock_nanosleep(CLOCK_MONOTONIC, 0, &kBetweenQuestions, nullptr);
  }
}

void ReapLater(UniqueFd pidfd) {
  ReapWhatCanBe();
  Unreaped& all = All();
  const std::lock_guard<std::mutex> lock(all.mutex);
  all.pidfds.push_back(std::move(pidfd));
}

void ReapWhatCanBe() {
  Unreaped& all = All();
  const std::lock_guard<std::mutex> lock(all.mutex);
  std::erase_if(all.pidfds, [](const UniqueFd& pidfd) {
    siginfo_t info;
    rusage usage;
    return TryReap(pidfd.get(), &info, &usage) != Reaped::kNotYet;
  });
}

}  // namespace parley::internal
