#include "parley/sealing/seal_shared.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "parley/os/errors.h"
#include "parley/os/poll.h"
#include "parley/os/unique_fd.h"

// Linux 5.2; in the kernel's headers, not in all C libraries.
#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif

namespace parley {
namespace {

// Helpers that were killed while the peer held them. The number of an unreaped child can't be
// reused, so it is enough to remember it.
class Leftovers {
 public:
  static Leftovers& Get() {
    static auto* const leftovers = new Leftovers;
    return *leftovers;
  }
  void Add(pid_t pid) {
    const std::lock_guard lock(mutex_);
    pids_.push_back(pid);
  }
  void Reap() {
    const std::lock_guard lock(mutex_);
    std::erase_if(pids_, [](pid_t pid) { return ::waitpid(pid, nullptr, WNOHANG | __WALL) != 0; });
  }

 private:
  std::mutex mutex_;
  std::vector<pid_t> pids_;  // guarded by mutex_
};

// The helper must not run our signal handlers; what arrives meanwhile is ours and waits.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

struct Helper {
  pid_t pid;
  UniqueFd pidfd;
};

// A copy of this process that adds the seals and exits with the errno of that. The raw system call
// runs no fork handlers, and the copy touches nothing but its stack: other threads' locks do not
// matter to it.
absl::StatusOr<Helper> StartHelper(int fd, off_t size_bytes, SealSet seals) {
  const SignalsBlocked blocked;
  int pidfd = -1;
  // The low byte, the signal to the parent at exit, is zero: none.
  const unsigned long flags = CLONE_FILES | CLONE_PIDFD;  // NOLINT: the system call's own type
#if defined(__s390__)
  const long pid = ::syscall(SYS_clone, nullptr, flags, &pidfd, nullptr, nullptr);  // NOLINT
#else
  // The two orders of the last arguments do not matter: both are null.
  const long pid = ::syscall(SYS_clone, flags, nullptr, &pidfd, nullptr, nullptr);  // NOLINT
#endif
  if (pid == 0) {
    ::syscall(SYS_ftruncate, fd, size_bytes);  // frees what lies beyond the end
    const bool sealed = ::syscall(SYS_fcntl, fd, F_ADD_SEALS, seals) == 0;
    ::syscall(SYS_exit_group, sealed ? 0 : errno);
    __builtin_unreachable();
  }
  if (pid < 0) return ErrnoStatus(errno, "start a helper process to seal shared memory");
  return Helper{static_cast<pid_t>(pid), UniqueFd(pidfd)};
}

}  // namespace

absl::Status AddSealsToShared(int fd, SealSet seals, Deadline deadline) {
  Leftovers::Get().Reap();
  absl::StatusOr<SealSet> present = GetSeals(fd);
  if (!present.ok()) return present.status();
  const SealSet missing = seals & ~*present;
  if (missing == 0) return absl::OkStatus();

  struct stat file;
  if (::fstat(fd, &file) != 0) return ErrnoStatus(errno, "look at a memfd");
  absl::StatusOr<Helper> helper = StartHelper(fd, file.st_size, missing);
  if (!helper.ok()) return helper.status();
  pollfd entry = {helper->pidfd.get(), POLLIN, 0};
  const absl::StatusOr<int> ended = PollUntil(absl::MakeSpan(&entry, 1), deadline);
  if (!ended.ok() || *ended == 0) {
    ::kill(helper->pid, SIGKILL);  // still our unreaped child: the number can't be another's
    Leftovers::Get().Add(helper->pid);
    if (!ended.ok()) return ended.status();
    return absl::DeadlineExceededError(
        "sealing the shared memory was held off until the deadline: the peer has its file locked");
  }
  int wait_status = 0;
  if (::waitpid(helper->pid, &wait_status, __WALL) == helper->pid && WIFEXITED(wait_status) &&
      WEXITSTATUS(wait_status) != 0) {
    return ErrnoStatus(WEXITSTATUS(wait_status),
                       "add the seals " + SealNames(missing) + " to a shared memfd");
  }
  return VerifySeals(fd, seals);  // however the helper ended, this is what counts
}

}  // namespace parley
