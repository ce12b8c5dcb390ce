// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/child_start.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <ctime>

#include "parley/sandbox/capabilities.h"
#include "parley/sandbox/clone_wire.h"
#include "parley/sandbox/ordinary.h"
#include "parley/sandbox/plain_code.h"

namespace parley::internal {
namespace {

constexpr int kSignals = 64;
constexpr int kPatienceMs = 10'000;

PARLEY_PLAIN_CODE int ResetSignals() {
  // As the kernel has it; libc's sigaction is wrapped by sanitizers. All zero is SIG_DFL.
  const struct {
    uintptr_t handler, flags, restorer;
    uint64_t mask;
  } standard = {};
  for (int number = 1; number <= kSignals; ++number) {
    // SIGKILL and SIGSTOP have nothing to reset and say EINVAL.
    ::syscall(SYS_rt_sigaction, number, &standard, nullptr, sizeof(uint64_t));
  }
  const uint64_t none = 0;
  return ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, sizeof(none)) == 0 ? 0 : errno;
}

// Everything but its own descriptors, whether or not somebody forgot its close-on-exec (attack
// F4). Since we have copies, a thread of our parent's may have closed a peer's file: a close here
// is then its release, which takes as long as the peer likes. Where there is an exec, the exec
// closes them; it lets our parent go on before that.
PARLEY_PLAIN_CODE int CloseOthers(const ChildStart& start) {
  const int first = start.descriptor_count;
  const bool executes = start.program != nullptr;
  const unsigned how = executes ? CLOSE_RANGE_CLOEXEC : 0;
  if (::syscall(SYS_close_range, first, ~0u, how) == 0) return 0;
  // Before Linux 5.11.
  if (errno == EINVAL && ::syscall(SYS_close_range, first, ~0u, 0) == 0) return 0;
  if (start.descriptor_bound == 0) return errno;
  for (int fd = first; fd < start.descriptor_bound; ++fd) {
    if (executes) {
      ::syscall(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC);
    } else {
      ::syscall(SYS_close, fd);
    }
  }
  return 0;
}

PARLEY_PLAIN_CODE int PlaceDescriptors(const ChildStart& start) {
  // First all to numbers above the targets, so that placing one cannot overwrite the next.
  // DESCRIPTOR: the worker's own, which begin at 0; nothing of the parent's sees them.
  for (int i = 0; i < start.descriptor_count; ++i) {
    start.descriptors[i] = static_cast<int>(
        ::syscall(SYS_fcntl, start.descriptors[i], F_DUPFD_CLOEXEC, start.descriptor_count));
    if (start.descriptors[i] < 0) return errno;
  }
  for (int i = 0; i < start.descriptor_count; ++i) {
    // DESCRIPTOR: as above.
    if (::syscall(SYS_dup3, start.descriptors[i], i, 0) < 0) return errno;
  }
  return CloseOthers(start);
}

PARLEY_PLAIN_CODE int DieWithParent(const ChildStart& start) {
  if (!start.dies_with_parent) return 0;
  if (::syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return errno;
  // The parent may have ended before that; then nobody is left to read the failure.
  if (start.parent_pidfd < 0) return ::syscall(SYS_getppid) == start.parent ? 0 : ESRCH;
  pollfd entry = {start.parent_pidfd, POLLIN, 0};
  const timespec none = {0, 0};
  return ::syscall(SYS_ppoll, &entry, 1, &none, nullptr, 0) == 0 ? 0 : ESRCH;
}

// 0 or why there is none.
PARLEY_PLAIN_CODE int AwaitNetwork(const WallStart& wall) {
  switch (Await(wall.events->networked, kPatienceMs)) {
    case kHappened:
      return 0;
    case kFailed:
      return wall.events->network_error;
    default:
      return ETIMEDOUT;
  }
}

// With all capabilities of the user namespace, which are dropped next.
PARLEY_PLAIN_CODE void MountProc(const WallStart& wall) {
  if ((wall.namespaces & CLONE_NEWNS) != 0) {
    const bool mounted = ::syscall(SYS_mount, "proc", "/proc", "proc",
                                   MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) == 0;
    *wall.proc_error = mounted ? 0 : errno;
  }
}

PARLEY_PLAIN_CODE int EnterLate(const WallStart& wall) {
  if (wall.entered_late == 0) return 0;
  if (const int error = AwaitNetwork(wall); error != 0) return error;
  return ::syscall(SYS_setns, wall.holder_pidfd, wall.entered_late) == 0 ? 0 : errno;
}

PARLEY_PLAIN_CODE int UseNamespaces(const WallStart& wall) {
  MountProc(wall);
  if (const int error = EnterLate(wall); error != 0) return error;
  if (!wall.becomes_nobody) return 0;
  if (::syscall(SYS_setgroups, 0, nullptr) != 0) return errno;
  if (::syscall(SYS_setresgid, kNobody, kNobody, kNobody) != 0) return errno;
  return ::syscall(SYS_setresuid, kNobody, kNobody, kNobody) == 0 ? 0 : errno;
}

PARLEY_PLAIN_CODE int SetLimits(const ChildStart& start) {
  for (size_t i = 0; i < start.limit_count; ++i) {
    if (::syscall(SYS_prlimit64, 0, start.limits[i].resource, &start.limits[i].value, nullptr) !=
        0) {
      return errno;
    }
  }
  return 0;
}

PARLEY_PLAIN_CODE void LimitProcessesWithin(const ChildStart& start) {
  if (start.processes_within == 0) return;
  // It fails where ours is lower, which is then the one in force.
  const rlimit limit = {start.processes_within, start.processes_within};
  ::syscall(SYS_prlimit64, 0, RLIMIT_NPROC, &limit, nullptr);
}

PARLEY_PLAIN_CODE int DropPrivileges() {
  if (::syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
  return DropCapabilities();
}

// At its first call, of a clone.
PARLEY_PLAIN_CODE void Report(const ChildStart& start, StartStep step, int error) {
  const CloneStarted started = {static_cast<int32_t>(step), error,
                                start.wall != nullptr ? *start.wall->proc_error : ENOSYS};
  ::syscall(SYS_sendto, start.report_socket, &started, sizeof(started), MSG_DONTWAIT | MSG_NOSIGNAL,
            nullptr, 0);
}

[[noreturn]] PARLEY_PLAIN_CODE void Fail(const ChildStart& start, StartStep step, int error) {
  start.failure->error = error;
  start.failure->step = step;
  if (start.report_socket >= 0) Report(start, step, error);
  // Not _exit, which sanitizers wrap.
  const int code = start.program == nullptr ? kCloneFailed + static_cast<int>(step) : 127;
  while (true) ::syscall(SYS_exit_group, code);
}

PARLEY_PLAIN_CODE void FailUnlessZero(const ChildStart& start, StartStep step, int error) {
  if (error != 0) Fail(start, step, error);
}

// The rest of StartAsChild, by a program in a memory of its own.
[[noreturn]] PARLEY_PLAIN_CODE void GoOnAsNobodyProgram(const ChildStart& start) {
  MountProc(*start.wall);
  FailUnlessZero(start, StartStep::kOrdinary, OrdinaryOomScore());
  FailUnlessZero(start, StartStep::kNamespaces, EnterLate(*start.wall));
  FailUnlessZero(start, StartStep::kPrivileges, KeepIdChangesOverExec());
  FailUnlessZero(start, StartStep::kDescriptors, PlaceDescriptors(start));
  Announce(start.wall->events->runs, kHappened);
  char* const none[] = {nullptr};
  ::syscall(SYS_execveat, start.wall->nobody_program, "", none, none, AT_EMPTY_PATH);
  Fail(start, StartStep::kHolderProgram, errno);
}

}  // namespace

PARLEY_PLAIN_CODE void StartAsChild(const ChildStart& start) {
  FailUnlessZero(start, StartStep::kSignals, ResetSignals());
  if (::syscall(SYS_setsid) < 0) Fail(start, StartStep::kSession, errno);
  if (start.wall != nullptr && start.wall->nobody_program >= 0) GoOnAsNobodyProgram(start);
  if (start.wall == nullptr) {
    FailUnlessZero(start, StartStep::kOrdinary, MakeOrdinary(start.nice));
  } else {
    FailUnlessZero(start, StartStep::kNamespaces, UseNamespaces(*start.wall));
  }
  FailUnlessZero(start, StartStep::kOrdinary, OrdinaryOomScore());
  FailUnlessZero(start, StartStep::kPrivileges, DropPrivileges());
  // After the last change of ids or capabilities, which could undo it.
  FailUnlessZero(start, StartStep::kDieWithParent, DieWithParent(start));
  FailUnlessZero(start, StartStep::kDescriptors, PlaceDescriptors(start));
  FailUnlessZero(start, StartStep::kLimits, SetLimits(start));
  if (start.wall != nullptr) LimitProcessesWithin(start);
  if (start.directory != nullptr && ::syscall(SYS_chdir, start.directory) != 0) {
    Fail(start, StartStep::kDirectory, errno);
  }
  if (start.wall != nullptr) Announce(start.wall->events->runs, kHappened);
  ::syscall(SYS_execve, start.program, start.arguments, start.environment);
  Fail(start, StartStep::kExec, errno);
}

PARLEY_PLAIN_CODE void PrepareClone(const ChildStart& start) {
  if (::syscall(SYS_setsid) < 0) Fail(start, StartStep::kSession, errno);
  if (start.wall != nullptr) {
    FailUnlessZero(start, StartStep::kNamespaces, UseNamespaces(*start.wall));
  }
  FailUnlessZero(start, StartStep::kPrivileges, DropPrivileges());
  FailUnlessZero(start, StartStep::kDieWithParent, DieWithParent(start));
  Report(start, StartStep::kNone, 0);
  // The socket's number is another descriptor's from here on, and the exit code says the step.
  ChildStart reported = start;
  reported.report_socket = -1;
  FailUnlessZero(reported, StartStep::kDescriptors, PlaceDescriptors(reported));
  FailUnlessZero(reported, StartStep::kLimits, SetLimits(reported));
  if (reported.wall != nullptr) LimitProcessesWithin(reported);
}

PARLEY_PLAIN_CODE int StartOnStack(void* start) {
  StartAsChild(**static_cast<const ChildStart* const*>(start));
}

PARLEY_PLAIN_CODE void EnterAndStart(EntranceStart& entrance) {
  const ChildStart& start = *entrance.child;
  // Here and not in the child: outside of the user namespace its privileges still count.
  FailUnlessZero(start, StartStep::kOrdinary, MakeOrdinary(start.nice));
  // Entering takes the right to look into the holder, which it grants until the worker runs.
  if (Await(start.wall->events->mapped, kPatienceMs) != kHappened) {
    Fail(start, StartStep::kNamespaces, EPERM);
  }
  const int namespaces = start.wall->namespaces & ~start.wall->entered_late;
  if ((namespaces & CLONE_NEWNET) != 0) {
    FailUnlessZero(start, StartStep::kNamespaces, AwaitNetwork(*start.wall));
  }
  if (::syscall(SYS_setns, start.wall->holder_pidfd, namespaces) != 0) {
    Fail(start, StartStep::kNamespaces, errno);
  }
  // Our parent's child, as if it had made it itself.
  // DESCRIPTOR: in the parent's table, where it gets its UniqueFd (start_process.cc).
  constexpr int kFlags = CLONE_PARENT | CLONE_PIDFD | CLONE_VFORK;
  long pid = 0;  // NOLINT: syscall's type
  if (entrance.child_stack_end != nullptr) {
    pid = ::clone(StartOnStack, entrance.child_stack_end, kFlags | CLONE_VM,
                  static_cast<void*>(&entrance.child), &entrance.pidfd);
  } else {
    pid = ::syscall(SYS_clone, kFlags, nullptr, &entrance.pidfd, nullptr, nullptr);
    if (pid == 0) StartAsChild(start);
  }
  if (pid < 0) Fail(start, StartStep::kNamespaces, errno);
  entrance.pid = static_cast<pid_t>(pid);
}

}  // namespace parley::internal
