// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/namespace_holder.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <linux/mount.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <ctime>
#include <string_view>

#include "parley/sandbox/lone_program.h"
#include "parley/sandbox/ordinary.h"
#include "parley/sandbox/plain_code.h"
#include "parley/sandbox/raw_call.h"
#include "parley/sandbox/rseq.h"

extern "C" {
// The linker's: where the section of HoldAlone lies, which begins with it.
[[gnu::visibility("hidden")]] extern const char __start_parley_lone[];
[[gnu::visibility("hidden")]] extern const char __stop_parley_lone[];
}

namespace parley::internal {
namespace {

constexpr int kPatienceMs = 10'000;
constexpr pid_t kWorker = 2;

// The numbers of what the holder keeps.
constexpr int kSocket = 0;
constexpr int kRoot = 1;
constexpr int kWorkerPidfd = 2;
constexpr int kProgram = 3;  // until it is executed

constexpr int kDetach = 2;  // MNT_DETACH: <sys/mount.h> and <linux/mount.h> do not go together

constexpr int64_t kPageBytes = 4096;
constexpr int64_t kCodeBytes = 2 * kPageBytes;
constexpr int64_t kStackBytes = 4 * kPageBytes;
// How far what HoldAlone has on its stack lies above the address of its frame, which is the lowest
// there on arm64 and the highest on x86-64.
#if defined(__aarch64__)
constexpr int64_t kAboveFrame = 512;
#else
constexpr int64_t kAboveFrame = 0;
#endif

#define PARLEY_RAW_CODE PARLEY_PLAIN_CODE PARLEY_GENERAL_REGISTERS

// NOLINTBEGIN(google-runtime-int): addresses and answers as the kernel takes them

[[noreturn]] PARLEY_RAW_CODE void End() {
  while (true) RawCall(SYS_exit_group, 1);
}

// 0 or errno.
PARLEY_RAW_CODE int WriteFile(const char* path, const char* text, size_t size_bytes) {
  const long fd = RawCall(SYS_openat, AT_FDCWD, RawAddress(path), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return static_cast<int>(-fd);
  const long written = RawCall(SYS_write, fd, RawAddress(text), static_cast<long>(size_bytes));
  RawCall(SYS_close, fd);
  if (written < 0) return static_cast<int>(-written);
  return written == static_cast<long>(size_bytes) ? 0 : EIO;
}

// Orphans are reaped by the kernel.
PARLEY_RAW_CODE void IgnoreChildren() {
  const struct {
    uintptr_t handler, flags, restorer;
    uint64_t mask;
  } ignore = {1 /* SIG_IGN */, 0, 0, 0};
  RawCall(SYS_rt_sigaction, SIGCHLD, RawAddress(&ignore), 0, sizeof(uint64_t));
}

PARLEY_RAW_CODE void DieWithParent(int parent_pidfd) {
  if (parent_pidfd < 0) return;
  RawCall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
  // The parent may have ended before that.
  pollfd entry = {parent_pidfd, POLLIN, 0};
  const timespec none = {0, 0};
  if (RawCall(SYS_ppoll, RawAddress(&entry), 1, RawAddress(&none)) != 0) End();
}

PARLEY_RAW_CODE int WriteMaps(const HolderStart& start) {
  // Without a privilege one must give up changing groups first.
  WriteFile("/proc/self/setgroups", "deny", 4);
  if (int error = WriteFile("/proc/self/uid_map", start.user_map, start.user_map_bytes);
      error != 0) {
    return error;
  }
  return WriteFile("/proc/self/gid_map", start.group_map, start.group_map_bytes);
}

PARLEY_RAW_CODE long Configure(long context, long command, const char* key, const char* value) {
  return RawCall(SYS_fsconfig, context, command, RawAddress(key), RawAddress(value), 0);
}

// The root's descriptor, or -errno: without fsmount (Linux 5.2) there is none.
PARLEY_RAW_CODE int MakeEmptyRoot() {
  const long context = RawCall(SYS_fsopen, RawAddress("tmpfs"), FSOPEN_CLOEXEC);
  if (context < 0) return static_cast<int>(context);
  // One inode is the directory itself: nothing can be made in it.
  long answer = Configure(context, FSCONFIG_SET_STRING, "nr_inodes", "1");
  if (answer == 0) answer = Configure(context, FSCONFIG_SET_STRING, "mode", "0555");
  if (answer == 0) answer = Configure(context, FSCONFIG_CMD_CREATE, nullptr, nullptr);
  if (answer == 0) {
    answer = RawCall(SYS_fsmount, context, FSMOUNT_CLOEXEC,
                     MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
  }
  RawCall(SYS_close, context);
  return static_cast<int>(answer);
}

// Puts what is kept under its number, its program's file after that, and closes everything else.
PARLEY_RAW_CODE void KeepOnly(int socket, int root, int worker_pidfd, int program,
                              int descriptor_bound) {
  const int kept[] = {socket, root, worker_pidfd, program};
  const int count = program < 0 ? 3 : 4;
  long above[4] = {};
  for (int i = 0; i < count; ++i) above[i] = RawCall(SYS_fcntl, kept[i], F_DUPFD_CLOEXEC, 4);
  for (int i = 0; i < count; ++i) {
    const int flags = i == kProgram ? O_CLOEXEC : 0;
    if (above[i] < 0 || RawCall(SYS_dup3, above[i], i, flags) < 0) RawCall(SYS_close, i);
  }
  if (RawCall(SYS_close_range, count, ~0u, 0) == 0) return;
  if (descriptor_bound == 0) End();
  for (int fd = count; fd < descriptor_bound; ++fd) RawCall(SYS_close, fd);
}

// The one capability that it needs, to empty the root, for a user whose exec would drop it: any but
// the user namespace's root.
PARLEY_RAW_CODE void KeepMountsOverExec() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  if (RawCall(SYS_capget, RawAddress(&header), RawAddress(&sets)) != 0) return;
  sets[0].inheritable |= 1u << CAP_SYS_ADMIN;
  if (RawCall(SYS_capset, RawAddress(&header), RawAddress(&sets)) != 0) return;
  RawCall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN);
}

// NOLINTEND(google-runtime-int)

// Whether the kernel writes to no memory of this thread's any more. It does so behind our back to
// what libc has registered, and would end the process where nothing is mapped there.
PARLEY_PLAIN_CODE bool ForgetRestartableSequences() {
  constexpr int kUnregister = 1;
  if (&__rseq_offset != nullptr) {
    char* const area = static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset;
    if (::syscall(SYS_rseq, area, kRseqBytes, kUnregister, kRseqSignature) == 0) return true;
  }
  // Was there any at all? Then another one cannot be registered.
  alignas(32) char probe[kRseqBytes] = {};
  if (::syscall(SYS_rseq, probe, kRseqBytes, 0, kRseqSignature) != 0) return errno == ENOSYS;
  return ::syscall(SYS_rseq, probe, kRseqBytes, kUnregister, kRseqSignature) == 0;
}

// NOLINTBEGIN(google-runtime-int): addresses and answers as the kernel takes them
// Runs on its two pages of code and a few of stack: no call, no constant in memory, no libc. Every
// local that the kernel reads is volatile, or an optimizing compiler copies it from a constant. The
// section has no relocation (objdump -r -j parley_lone), or the holder dies and its worker with it.
// Called at the end of a copy, and where HolderProgram starts: with zeros in all registers.
[[noreturn]] PARLEY_LONE_CODE("parley_lone") void HoldAlone(bool keeps_mapped) {
  // From here on nothing of ours is for others of the same user to read.
  RawCall(SYS_prctl, PR_SET_DUMPABLE, 0);
  volatile uint64_t name[2];
  name[0] = 0x682d79656c726170;  // "parley-h"
  name[1] = 0x7265646c6f;        // "older"
  RawCall(SYS_prctl, PR_SET_NAME, RawAddress(name));
  if (!keeps_mapped) {
    // What lies at these addresses is never touched again.
    const long code = __builtin_bit_cast(long, &HoldAlone) & ~(kPageBytes - 1);
    const long frame = RawAddress(__builtin_frame_address(0));
    const long stack = (frame & ~(kPageBytes - 1)) - kStackBytes;
    const long stack_end = ((frame + kAboveFrame) & ~(kPageBytes - 1)) + kPageBytes;
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
    RawCall(SYS_ppoll, RawAddress(entries), 2, 0, 0, 8);
    if (entries[0].revents != 0) RawCall(SYS_exit_group, 0);
    if (entries[1].revents == 0) continue;
    listens = false;
    volatile char order = 0;
    if (RawCall(SYS_recvfrom, kSocket, RawAddress(&order), 1, MSG_DONTWAIT) != 1)
      continue;  // closed
    // Letter by letter, or they would lie in memory that is gone.
    volatile char here[2];
    volatile char top[2];
    volatile char nothing[1];
    here[0] = '.';
    here[1] = '\0';
    top[0] = '/';
    top[1] = '\0';
    nothing[0] = '\0';
    long answer = RawCall(SYS_move_mount, kRoot, RawAddress(nothing), AT_FDCWD, RawAddress(top),
                          MOVE_MOUNT_F_EMPTY_PATH);
    if (answer == 0) answer = RawCall(SYS_fchdir, kRoot);
    // The old root then lies over the new one, and is taken off with all that is mounted in it.
    if (answer == 0) answer = RawCall(SYS_pivot_root, RawAddress(here), RawAddress(here));
    if (answer == 0) answer = RawCall(SYS_umount2, RawAddress(here), kDetach);
    volatile int error = static_cast<int>(-answer);
    RawCall(SYS_sendto, kSocket, RawAddress(&error), sizeof(error), MSG_DONTWAIT | MSG_NOSIGNAL);
    RawCall(SYS_close, kRoot);
    RawCall(SYS_close, kSocket);
  }
}
// NOLINTEND(google-runtime-int)

}  // namespace

PARLEY_RAW_CODE void Announce(Event& event, uint32_t value) {
  __sync_synchronize();
  event.value = value;
  RawCall(SYS_futex, RawAddress(&event.value), FUTEX_WAKE, 100);
}

PARLEY_RAW_CODE uint32_t AwaitChange(Event& event, uint32_t from, int milliseconds) {
  timespec left = {milliseconds / 1000, (milliseconds % 1000) * 1'000'000L};
  // Only a change ends it early, so one sleep is enough; a signal cannot, since all are blocked.
  if (event.value == from) {
    RawCall(SYS_futex, RawAddress(&event.value), FUTEX_WAIT, from, RawAddress(&left));
  }
  __sync_synchronize();
  return event.value;
}

PARLEY_RAW_CODE uint32_t Await(Event& event, int milliseconds) {
  return AwaitChange(event, 0, milliseconds);
}

// Where none is wanted, too.
PARLEY_RAW_CODE void MakeNetwork(const HolderStart& start) {
  const long answer = start.network ? RawCall(SYS_unshare, CLONE_NEWNET) : 0;  // NOLINT: as above
  start.events->network_error = static_cast<int>(-answer);
  Announce(start.events->networked, answer == 0 ? kHappened : kFailed);
  if (answer == 0) return;
  // Our end would be the worker's, which has to note why it does not start; then we are killed.
  Await(start.events->runs, kPatienceMs);
  End();
}

PARLEY_RAW_CODE void HoldNamespaces(const HolderStart& start) {
  IgnoreChildren();
  RawCall(SYS_setsid);
  DieWithParent(start.parent_pidfd);
  RawCall(SYS_prctl, PR_SET_NAME, RawAddress("parley-holder"));
  if (start.writes_maps) {
    const bool written = WriteMaps(start) == 0;
    Announce(start.events->mapped, written ? kHappened : kFailed);
    if (!written) End();
  }
  MakeNetwork(start);
  if (!start.writes_maps && Await(start.events->mapped, kPatienceMs) != kHappened) End();
  // Without oom_score_adj: little is left of its memory, and the worker has its own.
  static_cast<void>(MakeOrdinaryInSharedMemory(0));
  const int root = start.mounts ? MakeEmptyRoot() : -ENOSYS;
  // For this user namespace: what a kernel gives whoever makes another one is a way round.
  WriteFile("/proc/sys/user/max_user_namespaces", "0", 1);
  Announce(start.events->walled, kHappened);
  if (Await(start.events->runs, kPatienceMs) != kHappened) End();
  const long worker = RawCall(SYS_pidfd_open, kWorker, 0);  // NOLINT: a system call's type
  if (worker < 0) End();
  if (root < 0) {
    // The answer to the question that the worker will ask; the program knows nothing of it.
    const int error = -root;
    RawCall(SYS_sendto, start.socket, RawAddress(&error), sizeof(error),
            MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  KeepOnly(start.socket, root, static_cast<int>(worker), start.program, start.descriptor_bound);
  if (start.program < 0) {
    RawCall(SYS_prctl, PR_SET_DUMPABLE, 0);
    const bool unmap = start.small_pages && ForgetRestartableSequences();
    Announce(start.events->held, kHappened);
    HoldAlone(!unmap);
  }
  KeepMountsOverExec();
  const char* const none[] = {nullptr};
  start.events->execution_error = 0;
  start.events->execution_error = static_cast<int>(-RawCall(
      SYS_execveat, kProgram, RawAddress(""), RawAddress(none), RawAddress(none), AT_EMPTY_PATH));
  End();
}

UniqueFd HolderProgram(int* error) {
  const std::string_view code(__start_parley_lone,
                              static_cast<size_t>(__stop_parley_lone - __start_parley_lone));
  return MakeLoneProgram("parley-holder", code, "", error);
}

}  // namespace parley::internal
