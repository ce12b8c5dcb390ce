// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/program_probe.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "parley/sandbox/plain_code.h"

namespace parley::internal {
namespace {

enum class Answer : int { kUnknown, kRuns, kRefused };

constexpr std::size_t kStackBytes = std::size_t{64} << 10;

struct Probe {
  int program;
  int error;  // of a program that was not executed
};

// In our memory, which the calling thread gets back at the exec or the exit (CLONE_VFORK).
PARLEY_PLAIN_CODE int ExecuteProgram(void* argument) {
  auto& probe = *static_cast<Probe*>(argument);
  // HoldAlone ends where there is no worker: under number 2.
  // DESCRIPTOR: that process's own; the exec closes it.
  const auto program = static_cast<int>(::syscall(SYS_fcntl, probe.program, F_DUPFD_CLOEXEC, 4));
  for (int fd = 0; fd < 4; ++fd) ::syscall(SYS_close, fd);
  const char* const none[] = {nullptr};
  ::syscall(SYS_execveat, program, "", none, none, AT_EMPTY_PATH);
  probe.error = errno;
  while (true) ::syscall(SYS_exit_group, 1);
}

// No handler of ours runs in that process.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

Answer Ask(int program_fd) {
  void* const stack = ::mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) return Answer::kUnknown;
  Probe probe = {program_fd, 0};
  const int before = errno;  // the process shares it
  pid_t pid = -1;
  siginfo_t info = {};
  {
    const SignalsBlocked blocked;
    // Without a signal at its end, so that nobody else's wait sees it.
    pid = ::clone(ExecuteProgram, static_cast<char*>(stack) + kStackBytes, CLONE_VM | CLONE_VFORK,
                  &probe);
    while (pid > 0 && ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | __WALL) != 0) {
      if (errno != EINTR) break;
    }
  }
  errno = before;
  ::munmap(stack, kStackBytes);
  if (pid < 0) return Answer::kUnknown;
  if (probe.error == EACCES || probe.error == EPERM || probe.error == ENOSYS ||
      probe.error == ENOEXEC) {
    return Answer::kRefused;
  }
  if (probe.error != 0) return Answer::kUnknown;
  // Killed at the call, by a filter that answers so.
  if (info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED) return Answer::kRefused;
  return Answer::kRuns;
}

}  // namespace

bool ProgramRunsHere(const UniqueFd& program) {
  static std::atomic<Answer> known{Answer::kUnknown};
  Answer answer = known.load();
  if (answer == Answer::kUnknown) {
    answer = Ask(program.get());
    if (answer != Answer::kUnknown) known.store(answer);
  }
  return answer != Answer::kRefused;
}

}  // namespace parley::internal
