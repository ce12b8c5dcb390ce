// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/namespace_holder.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <linux/mount.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "parley/sandbox/ordinary.h"
#include "parley/sandbox/plain_code.h"
#include "parley/sandbox/raw_call.h"

// glibc's, 2.35 and later: where the kernel writes each time that a thread is moved.
extern "C" {
extern const ptrdiff_t __rseq_offset __attribute__((weak));
}

namespace parley::internal {
namespace {

constexpr int kPatienceMs = 10'000;
constexpr pid_t kWorker = 2;

// The numbers of what the holder keeps.
constexpr int kSocket = 0;
constexpr int kRoot = 1;
constexpr int kWorkerPidfd = 2;

constexpr int kDetach = 2;  // MNT_DETACH: <sys/mount.h> and <linux/mount.h> do not go together

constexpr int64_t kPageBytes = 4096;
constexpr int64_t kCodeBytes = 2 * kPageBytes;
constexpr int64_t kStackBytes = 4 * kPageBytes;

[[noreturn]] PARLEY_PLAIN_CODE void End() {
  while (true) ::syscall(SYS_exit_group, 1);
}

// 0 or errno.
PARLEY_PLAIN_CODE int WriteFile(const char* path, const char* text, size_t size_bytes) {
  const long fd = ::syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC);  // NOLINT
  if (fd < 0) return errno;
  const long written = ::syscall(SYS_write, fd, text, size_bytes);         // NOLINT: syscall's type
  const int error = written == static_cast<long>(size_bytes) ? 0 : errno;  // NOLINT
  ::syscall(SYS_close, fd);
  return error;
}

// Orphans are reaped by the kernel.
PARLEY_PLAIN_CODE void IgnoreChildren() {
  const struct {
    uintptr_t handler, flags, restorer;
    uint64_t mask;
  } ignore = {1 /* SIG_IGN */, 0, 0, 0};
  ::syscall(SYS_rt_sigaction, SIGCHLD, &ignore, nullptr, sizeof(uint64_t));
}

PARLEY_PLAIN_CODE void DieWithParent(int parent_pidfd) {
  if (parent_pidfd < 0) return;
  ::syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  // The parent may have ended before that.
  pollfd entry = {parent_pidfd, POLLIN, 0};
  const timespec none = {0, 0};
  if (::syscall(SYS_ppoll, &entry, 1, &none, nullptr, 0) != 0) End();
}

PARLEY_PLAIN_CODE int WriteMaps(const HolderStart& start) {
  // Without a privilege one must give up changing groups first.
  WriteFile("/proc/self/setgroups", "deny", 4);
  if (int error = WriteFile("/proc/self/uid_map", start.user_map, start.user_map_bytes);
      error != 0) {
    return error;
  }
  return WriteFile("/proc/self/gid_map", start.group_map, start.group_map_bytes);
}

// The root's descriptor, or -errno: without fsmount (Linux 5.2) there is none.
PARLEY_PLAIN_CODE int MakeEmptyRoot() {
  const long context = ::syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);  // NOLINT: syscall's type
  if (context < 0) return -errno;
  long root = -1;  // NOLINT: syscall's type
  // One inode is the directory itself: nothing can be made in it.
  if (::syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "nr_inodes", "1", 0) == 0 &&
      ::syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "mode", "0555", 0) == 0 &&
      ::syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0) {
    root = ::syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC,
                     MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
  }
  const int error = errno;
  ::syscall(SYS_close, context);
  return root >= 0 ? static_cast<int>(root) : -error;
}

// Puts what is kept under its number, and closes everything else.
PARLEY_PLAIN_CODE void KeepOnly(int socket, int root, int worker_pidfd, int descriptor_bound) {
  const int kept[] = {socket, root, worker_pidfd};
  int above[3];
  for (int i = 0; i < 3; ++i) {
    above[i] = static_cast<int>(::syscall(SYS_fcntl, kept[i], F_DUPFD_CLOEXEC, 3));
  }
  for (int i = 0; i < 3; ++i) {
    if (above[i] < 0 || ::syscall(SYS_dup3, above[i], i, O_CLOEXEC) < 0) ::syscall(SYS_close, i);
  }
  if (::syscall(SYS_close_range, 3, ~0u, 0) == 0) return;
  if (descriptor_bound == 0) End();
  for (int fd = 3; fd < descriptor_bound; ++fd) ::syscall(SYS_close, fd);
}

// Whether the kernel writes to no memory of this thread's any more. It does so behind our back to
// what libc has registered, and would end the process where nothing is mapped there.
PARLEY_PLAIN_CODE bool ForgetRestartableSequences() {
  constexpr unsigned kBytes = 32;
  constexpr unsigned kSignature = 0x53053053;
  constexpr int kUnregister = 1;
  if (&__rseq_offset != nullptr) {
    char* const area = static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset;
    if (::syscall(SYS_rseq, area, kBytes, kUnregister, kSignature) == 0) return true;
  }
  // Was there any at all? Then another one cannot be registered.
  alignas(32) char probe[kBytes] = {};
  if (::syscall(SYS_rseq, probe, kBytes, 0, kSignature) != 0) return errno == ENOSYS;
  return ::syscall(SYS_rseq, probe, kBytes, kUnregister, kSignature) == 0;
}

// NOLINTBEGIN(google-runtime-int): addresses and answers as the kernel takes them
inline __attribute__((always_inline)) PARLEY_GENERAL_REGISTERS long AsNumber(
    const volatile void* address) {
  return __builtin_bit_cast(long, address);
}

#define PARLEY_LONE_CODE                                                            \
  PARLEY_PLAIN_CODE __attribute__((noinline, aligned(4096), section("parley_lone"), \
                                   no_stack_protector, no_profile_instrument_function))

// Runs on its two pages of code and a few of stack: no call, no constant in memory, no libc. Every
// local that the kernel reads is volatile, or an optimizing compiler copies it from a constant. The
// section has no relocation (objdump -r -j parley_lone), or the holder dies and its worker with it.
[[noreturn]] PARLEY_LONE_CODE PARLEY_GENERAL_REGISTERS void HoldAlone(bool unmap, int root_error) {
  if (unmap) {
    // What lies at these addresses is never touched again.
    const long code = __builtin_bit_cast(long, &HoldAlone);
    const long frame = AsNumber(__builtin_frame_address(0)) & ~(kPageBytes - 1);
    const long stack = frame - kStackBytes;
    const long stack_end = frame + kPageBytes;
    const bool code_first = code < stack;
    const long first = code_first ? code : stack;
    const long first_end = code_first ? code + kCodeBytes : stack_end;
    const long second = code_first ? stack : code;
    const long second_end = code_first ? stack_end : code + kCodeBytes;
    RawCall(SYS_munmap, 0, first);
    RawCall(SYS_munmap, first_end, second - first_end);
    // Where addresses end depends on the architecture and its configuration.
    for (int bits = 56; bits > 35; --bits) {
      const long end = (1L << bits) - kPageBytes;
      if (end > second_end && RawCall(SYS_munmap, second_end, end - second_end) == 0) break;
    }
  }
  bool listens = true;
  while (true) {
    // Field by field, each time: no image of them in memory that is gone.
    volatile pollfd entries[2];
    entries[0].fd = kWorkerPidfd;
    entries[0].events = POLLIN;
    entries[0].revents = 0;
    entries[1].fd = listens ? kSocket : -1;
    entries[1].events = POLLIN;
    entries[1].revents = 0;
    RawCall(SYS_ppoll, AsNumber(entries), 2, 0, 0, 8);
    if (entries[0].revents != 0) RawCall(SYS_exit_group, 0);
    if (entries[1].revents == 0) continue;
    listens = false;
    volatile char order = 0;
    if (RawCall(SYS_recvfrom, kSocket, AsNumber(&order), 1, MSG_DONTWAIT) != 1) continue;  // closed
    // Letter by letter, or they would lie in memory that is gone.
    volatile char here[2];
    volatile char top[2];
    volatile char nothing[1];
    here[0] = '.';
    here[1] = '\0';
    top[0] = '/';
    top[1] = '\0';
    nothing[0] = '\0';
    long answer = -root_error;
    if (answer == 0) {
      answer = RawCall(SYS_move_mount, kRoot, AsNumber(nothing), AT_FDCWD, AsNumber(top),
                       MOVE_MOUNT_F_EMPTY_PATH);
    }
    if (answer == 0) answer = RawCall(SYS_fchdir, kRoot);
    // The old root then lies over the new one, and is taken off with all that is mounted in it.
    if (answer == 0) answer = RawCall(SYS_pivot_root, AsNumber(here), AsNumber(here));
    if (answer == 0) answer = RawCall(SYS_umount2, AsNumber(here), kDetach);
    volatile int error = static_cast<int>(-answer);
    RawCall(SYS_sendto, kSocket, AsNumber(&error), sizeof(error), MSG_DONTWAIT | MSG_NOSIGNAL);
    RawCall(SYS_close, kRoot);
    RawCall(SYS_close, kSocket);
  }
}
// NOLINTEND(google-runtime-int)

}  // namespace

PARLEY_PLAIN_CODE void Announce(Event& event, uint32_t value) {
  __sync_synchronize();
  event.value = value;
  ::syscall(SYS_futex, &event.value, FUTEX_WAKE, 100, nullptr, nullptr, 0);
}

PARLEY_PLAIN_CODE uint32_t Await(Event& event, int milliseconds) {
  timespec left = {milliseconds / 1000, (milliseconds % 1000) * 1'000'000L};
  // Only a change ends it early, so one sleep is enough; a signal cannot, since all are blocked.
  if (event.value == 0) ::syscall(SYS_futex, &event.value, FUTEX_WAIT, 0, &left, nullptr, 0);
  __sync_synchronize();
  return event.value;
}

PARLEY_PLAIN_CODE void HoldNamespaces(const HolderStart& start) {
  IgnoreChildren();
  ::syscall(SYS_setsid);
  DieWithParent(start.parent_pidfd);
  ::syscall(SYS_prctl, PR_SET_NAME, "parley-holder", 0, 0, 0);
  if (start.writes_maps) {
    const bool written = WriteMaps(start) == 0;
    Announce(start.events->mapped, written ? kHappened : kFailed);
    if (!written) End();
  } else if (Await(start.events->mapped, kPatienceMs) != kHappened) {
    End();
  }
  static_cast<void>(MakeOrdinary(0));
  const int root = start.mounts ? MakeEmptyRoot() : -ENOSYS;
  // For this user namespace: what a kernel gives whoever makes another one is a way round.
  WriteFile("/proc/sys/user/max_user_namespaces", "0", 1);
  Announce(start.events->walled, kHappened);
  if (Await(start.events->runs, kPatienceMs) != kHappened) End();
  // From here on nothing of ours is for others of the same user to read.
  ::syscall(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
  const long worker = ::syscall(SYS_pidfd_open, kWorker, 0);  // NOLINT: syscall's type
  if (worker < 0) End();
  KeepOnly(start.socket, root, static_cast<int>(worker), start.descriptor_bound);
  const bool unmap = start.small_pages && ForgetRestartableSequences();
  Announce(start.events->held, kHappened);
  HoldAlone(unmap, root >= 0 ? 0 : -root);
}

}  // namespace parley::internal
