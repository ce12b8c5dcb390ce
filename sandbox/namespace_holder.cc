// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/namespace_holder.h"

#include <elf.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <linux/mount.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <ctime>

#include "parley/os/file_size_signal.h"
#include "parley/sandbox/ordinary.h"
#include "parley/sandbox/plain_code.h"
#include "parley/sandbox/raw_call.h"

// In the kernel's headers, not in all C libraries.
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

// glibc's, 2.35 and later: where the kernel writes each time that a thread is moved.
extern "C" {
extern const ptrdiff_t __rseq_offset __attribute__((weak));
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

#if defined(__x86_64__)
constexpr Elf64_Half kMachine = EM_X86_64;
#elif defined(__aarch64__)
constexpr Elf64_Half kMachine = EM_AARCH64;
#endif

constexpr int64_t kPageBytes = 4096;
constexpr int64_t kCodeBytes = 2 * kPageBytes;
constexpr int64_t kStackBytes = 4 * kPageBytes;

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
#define PARLEY_LONE_CODE                                                            \
  PARLEY_PLAIN_CODE __attribute__((noinline, aligned(4096), section("parley_lone"), \
                                   no_stack_protector, no_profile_instrument_function))

// Runs on its two pages of code and a few of stack: no call, no constant in memory, no libc. Every
// local that the kernel reads is volatile, or an optimizing compiler copies it from a constant. The
// section has no relocation (objdump -r -j parley_lone), or the holder dies and its worker with it.
// Called at the end of a copy, and where HolderProgram starts: with zeros in all registers.
[[noreturn]] PARLEY_LONE_CODE PARLEY_GENERAL_REGISTERS void HoldAlone(bool keeps_mapped,
                                                                      int root_error) {
  // From here on nothing of ours is for others of the same user to read.
  RawCall(SYS_prctl, PR_SET_DUMPABLE, 0);
  volatile uint64_t name[2];
  name[0] = 0x682d79656c726170;  // "parley-h"
  name[1] = 0x7265646c6f;        // "older"
  RawCall(SYS_prctl, PR_SET_NAME, RawAddress(name));
  if (!keeps_mapped) {
    // What lies at these addresses is never touched again.
    const long code = __builtin_bit_cast(long, &HoldAlone) & ~(kPageBytes - 1);
    const long frame = RawAddress(__builtin_frame_address(0)) & ~(kPageBytes - 1);
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
    long answer = -root_error;
    if (answer == 0) {
      answer = RawCall(SYS_move_mount, kRoot, RawAddress(nothing), AT_FDCWD, RawAddress(top),
                       MOVE_MOUNT_F_EMPTY_PATH);
    }
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

PARLEY_RAW_CODE void HoldNamespaces(const HolderStart& start) {
  IgnoreChildren();
  RawCall(SYS_setsid);
  DieWithParent(start.parent_pidfd);
  RawCall(SYS_prctl, PR_SET_NAME, RawAddress("parley-holder"));
  if (start.writes_maps) {
    const bool written = WriteMaps(start) == 0;
    Announce(start.events->mapped, written ? kHappened : kFailed);
    if (!written) End();
  } else if (Await(start.events->mapped, kPatienceMs) != kHappened) {
    End();
  }
  // Without oom_score_adj: little is left of its memory, and the worker has its own.
  static_cast<void>(MakeOrdinaryInSharedMemory(0));
  const int root = start.mounts ? MakeEmptyRoot() : -ENOSYS;
  // For this user namespace: what a kernel gives whoever makes another one is a way round.
  WriteFile("/proc/sys/user/max_user_namespaces", "0", 1);
  Announce(start.events->walled, kHappened);
  if (Await(start.events->runs, kPatienceMs) != kHappened) End();
  const long worker = RawCall(SYS_pidfd_open, kWorker, 0);  // NOLINT: a system call's type
  if (worker < 0) End();
  KeepOnly(start.socket, root, static_cast<int>(worker), start.program, start.descriptor_bound);
  if (start.program < 0) {
    RawCall(SYS_prctl, PR_SET_DUMPABLE, 0);
    const bool unmap = start.small_pages && ForgetRestartableSequences();
    Announce(start.events->held, kHappened);
    HoldAlone(!unmap, root >= 0 ? 0 : -root);
  }
  KeepMountsOverExec();
  const char* const none[] = {nullptr};
  start.events->execution_error = 0;
  start.events->execution_error = static_cast<int>(-RawCall(
      SYS_execveat, kProgram, RawAddress(""), RawAddress(none), RawAddress(none), AT_EMPTY_PATH));
  End();
}

UniqueFd HolderProgram(int* error) {
  constexpr uint64_t kAddress = 0x400000;
  *error = 0;
  UniqueFd file(::memfd_create("parley-holder", MFD_CLOEXEC | MFD_EXEC));
  if (!file.ok() && errno == EINVAL) {
    file.Reset(::memfd_create("parley-holder", MFD_CLOEXEC));  // before Linux 6.3
  }
  if (!file.ok()) {
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) *error = errno;
    return UniqueFd();
  }
  const auto code_bytes = static_cast<size_t>(__stop_parley_lone - __start_parley_lone);
  struct {
    Elf64_Ehdr file;
    Elf64_Phdr code;
    Elf64_Phdr stack;
  } header = {};
  std::memcpy(header.file.e_ident, ELFMAG, SELFMAG);
  header.file.e_ident[EI_CLASS] = ELFCLASS64;
  header.file.e_ident[EI_DATA] = ELFDATA2LSB;
  header.file.e_ident[EI_VERSION] = EV_CURRENT;
  header.file.e_type = ET_EXEC;
  header.file.e_machine = kMachine;
  header.file.e_version = EV_CURRENT;
  header.file.e_entry = kAddress + kPageBytes;
  header.file.e_phoff = offsetof(decltype(header), code);
  header.file.e_ehsize = sizeof(header.file);
  header.file.e_phentsize = sizeof(header.code);
  header.file.e_phnum = 2;
  header.code.p_type = PT_LOAD;
  header.code.p_flags = PF_R | PF_X;
  header.code.p_offset = kPageBytes;
  header.code.p_vaddr = kAddress + kPageBytes;
  header.code.p_filesz = code_bytes;
  header.code.p_memsz = code_bytes;
  header.code.p_align = kPageBytes;
  header.stack.p_type = PT_GNU_STACK;
  header.stack.p_flags = PF_R | PF_W;
  const NoFileSizeSignal no_signal;
  errno = EFBIG;  // of one that wrote only a part
  if (::pwrite(file.get(), &header, sizeof(header), 0) != sizeof(header) ||
      ::pwrite(file.get(), __start_parley_lone, code_bytes, kPageBytes) !=
          static_cast<ssize_t>(code_bytes)) {
    if (errno != EFBIG) *error = errno;
    return UniqueFd();
  }
  return file;
}

}  // namespace parley::internal
