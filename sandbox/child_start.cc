#include "parley/sandbox/child_start.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "parley/sandbox/capabilities.h"
#include "parley/sandbox/ordinary.h"
#include "parley/sandbox/plain_code.h"

namespace parley::internal {
namespace {

constexpr int kSignals = 64;

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

PARLEY_PLAIN_CODE int PlaceDescriptors(const ChildStart& start) {
  // First all to numbers above the targets, so that placing one cannot overwrite the next.
  for (int i = 0; i < start.descriptor_count; ++i) {
    start.descriptors[i] = static_cast<int>(
        ::syscall(SYS_fcntl, start.descriptors[i], F_DUPFD_CLOEXEC, start.descriptor_count));
    if (start.descriptors[i] < 0) return errno;
  }
  for (int i = 0; i < start.descriptor_count; ++i) {
    if (::syscall(SYS_dup3, start.descriptors[i], i, 0) < 0) return errno;
  }
  // Everything else, whether or not somebody forgot its close-on-exec (attack F4).
  return ::syscall(SYS_close_range, start.descriptor_count, ~0u, 0) == 0 ? 0 : errno;
}

PARLEY_PLAIN_CODE int DieWithParent(const ChildStart& start) {
  if (!start.dies_with_parent) return 0;
  if (::syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return errno;
  // The parent may have ended before that; then nobody is left to read the failure.
  return ::syscall(SYS_getppid) == start.parent ? 0 : ESRCH;
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

PARLEY_PLAIN_CODE int DropPrivileges() {
  if (::syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
  return DropCapabilities();
}

[[noreturn]] PARLEY_PLAIN_CODE void Fail(const ChildStart& start, StartStep step, int error) {
  start.failure->error = error;
  start.failure->step = step;
  // Not _exit, which sanitizers wrap.
  while (true) ::syscall(SYS_exit_group, 127);
}

PARLEY_PLAIN_CODE void FailUnlessZero(const ChildStart& start, StartStep step, int error) {
  if (error != 0) Fail(start, step, error);
}

}  // namespace

PARLEY_PLAIN_CODE void StartAsChild(const ChildStart& start) {
  FailUnlessZero(start, StartStep::kDieWithParent, DieWithParent(start));
  FailUnlessZero(start, StartStep::kSignals, ResetSignals());
  if (::syscall(SYS_setsid) < 0) Fail(start, StartStep::kSession, errno);
  FailUnlessZero(start, StartStep::kDescriptors, PlaceDescriptors(start));
  FailUnlessZero(start, StartStep::kOrdinary, MakeOrdinary(start.nice));
  FailUnlessZero(start, StartStep::kPrivileges, DropPrivileges());
  FailUnlessZero(start, StartStep::kLimits, SetLimits(start));
  if (start.directory != nullptr && ::syscall(SYS_chdir, start.directory) != 0) {
    Fail(start, StartStep::kDirectory, errno);
  }
  ::syscall(SYS_execve, start.program, start.arguments, start.environment);
  Fail(start, StartStep::kExec, errno);
}

}  // namespace parley::internal
