// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/ordinary.h"

#include <fcntl.h>
#include <linux/ioprio.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "parley/sandbox/plain_code.h"
#include "parley/sandbox/raw_call.h"

namespace parley::internal {
namespace {

constexpr int kTimerSlackNs = 50'000;  // the kernel's own default
constexpr int kDefaultIoLevel = 4;     // 0 is the most urgent
constexpr int kSchedDeadline = 6;

// NOLINTBEGIN(google-runtime-int): system calls' type

PARLEY_PLAIN_CODE PARLEY_GENERAL_REGISTERS int OrdinaryScheduling() {
  const long answer = RawCall(SYS_sched_getscheduler, 0);
  if (answer < 0) return static_cast<int>(-answer);
  const int policy = static_cast<int>(answer) & ~SCHED_RESET_ON_FORK;
  if (policy != SCHED_FIFO && policy != SCHED_RR && policy != kSchedDeadline) return 0;
  const sched_param none = {};
  return static_cast<int>(-RawCall(SYS_sched_setscheduler, 0, SCHED_OTHER, RawAddress(&none)));
}

PARLEY_PLAIN_CODE PARLEY_GENERAL_REGISTERS int OrdinaryNice(int nice) {
  // The system call's own answer is 20 less the nice value, to keep it positive.
  const long answer = RawCall(SYS_getpriority, PRIO_PROCESS, 0);
  if (answer < 0) return static_cast<int>(-answer);
  const int ours = 20 - static_cast<int>(answer);
  const int wanted = (ours < 0 ? 0 : ours) + nice;
  if (wanted == ours) return 0;
  return static_cast<int>(-RawCall(SYS_setpriority, PRIO_PROCESS, 0, wanted));
}

PARLEY_PLAIN_CODE PARLEY_GENERAL_REGISTERS int OrdinaryIoPriority() {
  const long answer = RawCall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0);
  if (answer < 0) return 0;  // a kernel without block devices
  const int kind = static_cast<int>(answer) >> IOPRIO_CLASS_SHIFT;
  const int level = static_cast<int>(answer) & 7;
  const bool urgent =
      kind == IOPRIO_CLASS_RT || (kind == IOPRIO_CLASS_BE && level < kDefaultIoLevel);
  if (!urgent) return 0;
  // No class of its own: it follows from the nice value.
  return static_cast<int>(-RawCall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, 0));
}

// NOLINTEND(google-runtime-int)

constexpr char kOomScore[] = "/proc/self/oom_score_adj";

PARLEY_PLAIN_CODE bool IsSparedWhenMemoryIsOut() {
  // DESCRIPTOR: the child's, for three calls; it has no other thread.
  const long fd =  // NOLINT: syscall's type
      ::syscall(SYS_openat, AT_FDCWD, kOomScore, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;  // without /proc there is no way to ask or change
  char sign = 0;
  ::syscall(SYS_read, fd, &sign, 1);
  ::syscall(SYS_close, fd);
  return sign == '-';
}

PARLEY_PLAIN_CODE int RaiseOomScoreToZero() {
  // DESCRIPTOR: the child's, for three calls; it has no other thread.
  const long fd =  // NOLINT: syscall's type
      ::syscall(SYS_openat, AT_FDCWD, kOomScore, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  const int error = ::syscall(SYS_write, fd, "0", 1) == 1 ? 0 : errno;
  ::syscall(SYS_close, fd);
  return error;
}

}  // namespace

PARLEY_PLAIN_CODE PARLEY_GENERAL_REGISTERS int MakeOrdinaryInSharedMemory(int nice) {
  if (const int error = OrdinaryScheduling(); error != 0) return error;
  if (const int error = OrdinaryNice(nice); error != 0) return error;
  if (const int error = OrdinaryIoPriority(); error != 0) return error;
  if (RawCall(SYS_prctl, PR_SET_TIMERSLACK, kTimerSlackNs) != 0) return EINVAL;
  // Both are refused in some containers, and nothing there hangs on them.
  RawCall(SYS_personality, 0);
  RawCall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0);
  RawCall(SYS_umask, 077);
  return 0;
}

PARLEY_PLAIN_CODE int MakeOrdinary(int nice) {
  if (const int error = MakeOrdinaryInSharedMemory(nice); error != 0) return error;
  // With our privileges, if there are any, it could not be lowered again. Otherwise the child does
  // it (OrdinaryOomScore).
  if (IsSparedWhenMemoryIsOut()) static_cast<void>(RaiseOomScoreToZero());
  return 0;
}

PARLEY_PLAIN_CODE int OrdinaryOomScore() {
  if (!IsSparedWhenMemoryIsOut()) return 0;
  if (RaiseOomScoreToZero() == 0) return 0;
  // The file is root's while this copy of our memory cannot be dumped.
  const long dumpable = ::syscall(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0);  // NOLINT
  ::syscall(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
  const int error = RaiseOomScoreToZero();
  ::syscall(SYS_prctl, PR_SET_DUMPABLE, dumpable, 0, 0, 0);
  return error;
}

}  // namespace parley::internal
