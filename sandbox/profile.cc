// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/profile.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <set>
#include <string_view>
#include <utility>

#include "parley/os/connected_socket.h"
#include "parley/sandbox/plain_code.h"

namespace parley {
namespace {

// F_GET_SEALS is in <fcntl.h> only with _GNU_SOURCE, which g++ and clang++ define.
constexpr int kMadvCollapse = 25;         // MADV_COLLAPSE, Linux 6.1
constexpr uint64_t kLastFixedClock = 11;  // CLOCK_TAI; beyond are other processes' clocks

// CLONE_NEWNS to CLONE_NEWNET, and CLONE_NEWTIME, which lies in the exit signal's byte.
constexpr uint64_t kNewNamespaces = 0x7e020080;

constexpr uint64_t U(int value) { return static_cast<uint64_t>(static_cast<unsigned>(value)); }

ArgumentFilter Is(unsigned index, uint64_t value) {
  return {.index = index, .op = ArgumentFilter::Op::kEqual, .value = value};
}

ArgumentFilter AtMost(unsigned index, uint64_t value) {
  return {.index = index, .op = ArgumentFilter::Op::kAtMost, .value = value};
}

// The bits of `mask` in the argument are exactly `value`.
ArgumentFilter Masked(unsigned index, uint64_t mask, uint64_t value) {
  return {.index = index, .mask = mask, .op = ArgumentFilter::Op::kEqual, .value = value};
}

Rule Allow(const char* call, std::vector<ArgumentFilter> filters = {}) {
  return {.call = call, .filters = std::move(filters)};
}

Rule Fail(const char* call, int error, std::vector<ArgumentFilter> filters = {}) {
  return {
      .call = call, .filters = std::move(filters), .answer = Rule::Answer::kErrno, .error = error};
}

bool MapsMemory(const Rule& rule) { return std::string_view(rule.call) == "mmap"; }

// No other bit than these two: in particular no PROT_EXEC.
constexpr uint64_t kNotReadWrite = ~U(PROT_READ | PROT_WRITE);
// Private anonymous memory; not shared, not huge pages, not locked, not growing on its own.
constexpr uint64_t kMapKindMask =
    U(MAP_SHARED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_LOCKED | MAP_GROWSDOWN);
constexpr uint64_t kMapKind = U(MAP_PRIVATE | MAP_ANONYMOUS);

}  // namespace

void Profile::Add(std::vector<Rule> rules) {
  for (Rule& rule : rules) rules_.push_back(std::move(rule));
}

// What a program may ask about a descriptor that it has.
void Profile::AddQuestions(int fd) {
  Add({Allow("fstat", {Is(0, U(fd))})});
  for (const int command : {F_GETFD, F_GETFL, F_GET_SEALS}) {
    Add({Allow("fcntl", {Is(0, U(fd)), Is(1, U(command))})});
  }
}

Profile Profile::Ring(std::vector<int> descriptors) {
  Profile profile;
  for (const char* call : CallsThatKillAtOnce()) {
    profile.Add({{.call = call, .filters = {}, .answer = Rule::Answer::kKill}});
  }
  // glibc tries clone3 first and falls back to clone, whose flags a filter can see (it refuses it).
  profile.Add({Fail("clone3", ENOSYS)});
  // Wait.
  for (const char* call : {"restart_syscall", "nanosleep", "sched_yield"}) {
    profile.Add({Allow(call)});
  }
  for (const char* call : {"ppoll", "poll"}) {
    profile.Add({Allow(call, {AtMost(1, kMaxPolled)})});
  }
  profile.Add({Allow("clock_nanosleep", {AtMost(0, kLastFixedClock)})});
  // Wake. An address would let a datagram socket reach any other one, by its abstract name too.
  for (const int fd : descriptors) {
    profile.Add({Allow("sendto", {Is(0, U(fd)), Is(3, U(MSG_DONTWAIT | MSG_NOSIGNAL)), Is(4, 0)}),
                 Allow("recvfrom", {Is(0, U(fd)), Masked(3, U(MSG_DONTWAIT), U(MSG_DONTWAIT))}),
                 Allow("shutdown", {Is(0, U(fd))})});
    // Where the kernel does not keep descriptors out, a look goes before each receive.
    if (MayBringRights(fd)) {
      profile.Add({Allow("recvmsg", {Is(0, U(fd)), Is(2, U(MSG_PEEK | MSG_DONTWAIT))})});
    }
    // An event loop whose peer floods it takes the doorbell out of its own epoll for a while.
    // Neither call makes or adds a descriptor.
    profile.Add({Allow("epoll_ctl", {Is(0, U(fd)), Is(1, U(EPOLL_CTL_MOD))}),
                 Allow("timerfd_settime", {Is(0, U(fd)), Is(1, U(TFD_TIMER_ABSTIME))})});
    profile.AddQuestions(fd);
  }
  for (const int operation : {FUTEX_WAIT, FUTEX_WAKE, FUTEX_WAIT_BITSET, FUTEX_WAKE_BITSET}) {
    profile.Add(
        {Allow("futex", {Masked(1, ~U(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME), U(operation))})});
  }
  // Being registered is at the worker's own cost. The other commands interrupt other processes'
  // processors (wait/memory_barrier.h), so a worker that waits does without.
  for (const int command : {int{MEMBARRIER_CMD_QUERY}, int{MEMBARRIER_CMD_PRIVATE_EXPEDITED},
                            int{MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED}}) {
    profile.Add({Allow("membarrier", {Is(0, U(command)), Is(1, 0)})});
  }
  profile.Add({{.call = "membarrier",
                .filters = {Is(0, U(int{MEMBARRIER_CMD_GLOBAL_EXPEDITED})), Is(1, 0)},
                .answer = Rule::Answer::kErrno,
                .error = EPERM}});
  // Look.
  for (const char* call : {"clock_gettime", "clock_getres"}) {
    profile.Add({Allow(call, {AtMost(0, kLastFixedClock)})});
  }
  for (const char* call : {"gettimeofday", "time", "getpid", "gettid", "getrandom"}) {
    profile.Add({Allow(call)});
  }
  // Finish. Closing cannot free a number for another file: nothing here makes descriptors.
  for (const char* call :
       {"close", "munmap", "exit", "exit_group", "rt_sigreturn", "rt_sigprocmask"}) {
    profile.Add({Allow(call)});
  }
  profile.named_ = std::move(descriptors);
  return profile;
}

Profile Profile::WithEventfd(int fd) const {
  Profile profile = *this;
  profile.named_.push_back(fd);
  profile.Add({Allow("write", {Is(0, U(fd)), Is(2, 8)}),
               Allow("preadv2", {Is(0, U(fd)), Is(2, 1), Is(5, U(RWF_NOWAIT))})});
  return profile;
}

Profile Profile::WithEpoll(int fd) const {
  Profile profile = *this;
  profile.named_.push_back(fd);
  for (const char* call : {"epoll_wait", "epoll_pwait", "epoll_pwait2"}) {
    profile.Add({Allow(call, {Is(0, U(fd))})});
  }
  return profile;
}

Profile Profile::WithWriteTo(int fd) const {
  Profile profile = *this;
  profile.named_.push_back(fd);
  profile.Add({Allow("write", {Is(0, U(fd))}), Allow("writev", {Is(0, U(fd))})});
  return profile;
}

Profile Profile::WithReadFrom(int fd) const {
  Profile profile = *this;
  profile.named_.push_back(fd);
  profile.Add({Allow("read", {Is(0, U(fd))})});
  return profile;
}

Profile Profile::WithHeap() const {
  Profile profile = *this;
  // WithAbortOf, where it came first, refuses what this allows.
  std::erase_if(profile.rules_, MapsMemory);
  profile.Add({Allow("brk"),
               Allow("mmap", {Masked(2, kNotReadWrite, 0), Masked(3, kMapKindMask, kMapKind)}),
               Fail("mmap", ENOMEM,
                    {Masked(2, kNotReadWrite, 0), Masked(3, kMapKindMask, kMapKind | MAP_HUGETLB)}),
               Allow("mprotect", {Masked(2, kNotReadWrite, 0)}), Fail("mremap", ENOMEM)});
  for (const int advice : {MADV_DONTNEED, MADV_FREE, MADV_NOHUGEPAGE}) {
    profile.Add({Allow("madvise", {Is(2, U(advice))})});
  }
  for (const int advice :
       {MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_HUGEPAGE, MADV_COLD,
        MADV_PAGEOUT, MADV_POPULATE_READ, MADV_POPULATE_WRITE, kMadvCollapse}) {
    profile.Add({Fail("madvise", EINVAL, {Is(2, U(advice))})});
  }
  return profile;
}

Profile Profile::WithThreads() const {
  Profile profile = *this;
  profile.Add({Allow("madvise", {Is(2, U(MADV_DONTNEED))}), Allow("sched_getaffinity", {Is(0, 0)}),
               // A thread made just before may do the first steps of its life after the lock-down.
               Allow("set_robust_list"), Allow("rseq")});
  return profile;
}

Profile Profile::WithFilesAbsent() const {
  Profile profile = *this;
  for (const char* call : {"open", "openat", "openat2", "stat", "newfstatat", "statx", "lstat",
                           "access", "faccessat", "faccessat2", "readlink", "readlinkat"}) {
    profile.Add({Fail(call, ENOENT)});
  }
  profile.Add({{.call = "ioctl",
                .filters = {Is(1, TCGETS)},
                .answer = Rule::Answer::kErrno,
                .error = ENOTTY}});
  return profile;
}

Profile Profile::WithSanitizer() const {
  Profile profile = WithHeap().WithThreads().WithWriteTo(2);
  profile.has_sanitizer_exceptions_ = true;
  profile.Add({Allow("sigaltstack"), Allow("rt_sigaction"), Allow("getrusage"),
               Allow("prctl", {Is(0, PR_GET_DUMPABLE)})});
  for (const int advice : {MADV_DONTDUMP, MADV_DODUMP}) {
    profile.Add({Allow("madvise", {Is(2, U(advice))})});
  }
  // A report wants /proc files and a symbolizer. It is printed without them.
  for (const char* call :
       {"open", "openat", "stat", "newfstatat", "statx", "lstat", "access", "readlink",
        "readlinkat", "pipe", "pipe2", "socketpair", "clone", "fork", "vfork"}) {
    profile.Add({Fail(call, EPERM)});
  }
  return profile;
}

Profile Profile::ForCodec() const {
  return WithHeap().WithThreads().WithFilesAbsent().WithSanitizerIfBuiltIn();
}

Profile Profile::WithSanitizerIfBuiltIn() const {
  return internal::kSanitizer ? WithSanitizer() : *this;
}

Profile Profile::WithAbortOf(int pid) const {
  Profile profile = *this;
  profile.Add({Allow("tgkill", {Is(0, U(pid)), Is(2, SIGABRT)})});
  const bool has_heap = std::any_of(rules_.begin(), rules_.end(), MapsMemory);
  // glibc keeps its last words ("double free or corruption") in a mapping, if it can.
  if (!has_heap) {
    profile.Add({Fail("mmap", ENOMEM,
                      {Is(2, U(PROT_READ | PROT_WRITE)), Is(3, U(MAP_PRIVATE | MAP_ANONYMOUS))})});
  }
  return profile;
}

Profile Profile::WithStream(int fd, Stream is) const {
  Profile profile = *this;
  profile.Add({Fail("newfstatat", EBADF, {Is(0, U(fd))}),
               Fail("ioctl", ENOTTY, {Is(0, U(fd)), Is(1, TCGETS)})});
  if (is == Stream::kNamed) return profile;
  for (const char* call : {"read", "write", "writev"}) {
    profile.Add(
        {is == Stream::kNull ? Allow(call, {Is(0, U(fd))}) : Fail(call, EBADF, {Is(0, U(fd))})});
  }
  if (is == Stream::kNull) profile.AddQuestions(fd);
  return profile;
}

Profile Profile::WithoutDump() const {
  Profile profile = *this;
  profile.Add({Allow("prctl", {Is(0, PR_SET_DUMPABLE), Is(1, 0)})});
  return profile;
}

Profile Profile::WithSendmsgOf(int fd) const {
  Profile profile = *this;
  profile.Add({Allow("sendmsg", {Is(0, U(fd)), Is(2, U(MSG_DONTWAIT | MSG_NOSIGNAL))})});
  return profile;
}

Profile Profile::UnderAnotherFilter() const {
  std::set<std::string_view> calls = {
      // Files.
      "open", "openat", "openat2", "creat", "stat", "lstat", "newfstatat", "statx", "fstat",
      "access", "faccessat", "faccessat2", "readlink", "readlinkat", "getdents64", "getcwd",
      "chdir", "unlink", "unlinkat", "mkdir", "mkdirat", "rename", "renameat2", "ftruncate",
      "fallocate", "lseek", "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv2",
      "fcntl", "fsync", "dup", "dup2", "dup3", "pipe", "pipe2", "memfd_create", "statfs", "fstatfs",
      "sendfile",
      // Processes and memory; the filter of this profile comes after the one below it.
      "seccomp", "execve", "fork", "vfork", "wait4", "waitid", "kill", "tgkill", "getppid",
      "getuid", "getgid", "geteuid", "getegid", "getpgrp", "setsid", "mmap", "mprotect", "mremap",
      "madvise", "brk", "rt_sigaction", "sigaltstack", "sched_getaffinity", "sched_setaffinity",
      "getrusage", "sysinfo", "uname", "prlimit64", "getrlimit", "setrlimit", "set_robust_list",
      // Sockets and waiting.
      "socketpair", "connect", "bind", "listen", "accept", "accept4", "sendmsg", "recvmsg",
      "setsockopt", "getsockopt", "getsockname", "getpeername", "eventfd2", "epoll_create1",
      "epoll_ctl", "epoll_wait", "epoll_pwait", "timerfd_create", "timerfd_settime", "select",
      "pselect6"};
  for (const Rule& rule : rules_) {
    if (rule.answer == Rule::Answer::kKill) {
      calls.erase(rule.call);
    } else {
      calls.insert(rule.call);
    }
  }
  // Those whose arguments decide: keys to a terminal, namespaces, families of sockets.
  calls.erase("ioctl");
  calls.erase("clone");
  Profile profile;
  // NOLINTNEXTLINE(bugprone-suspicious-stringview-data-usage): each has an end
  for (const std::string_view call : calls) profile.Add({Allow(call.data())});
  profile.Add({Allow("ioctl", {Is(1, TCGETS)}), Allow("clone", {Masked(0, kNewNamespaces, 0)})});
  for (const int family : {AF_UNIX, AF_INET, AF_INET6}) {
    profile.Add({Allow("socket", {Is(0, U(family))})});
  }
  return profile;
}

bool Profile::Names(int fd) const {
  return std::find(named_.begin(), named_.end(), fd) != named_.end();
}

std::span<const char* const> CallsThatKillAtOnce() {
  static constexpr const char* kCalls[] = {
      // Other processes.
      "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease",
      "pidfd_open", "pidfd_getfd", "pidfd_send_signal", "kcmp", "perf_event_open", "migrate_pages",
      "move_pages",
      // Other roads into the kernel.
      "io_uring_setup", "io_uring_enter", "io_uring_register", "io_setup", "io_submit", "bpf",
      "userfaultfd", "modify_ldt", "iopl", "ioperm", "personality", "remap_file_pages",
      "memfd_secret",
      // The view of the system.
      "mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen", "fsconfig",
      "fsmount", "fspick", "mount_setattr", "setns", "unshare", "name_to_handle_at",
      "open_by_handle_at", "fanotify_init", "quotactl", "swapon", "swapoff", "acct",
      // The kernel itself.
      "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot",
      "add_key", "request_key", "keyctl", "settimeofday", "clock_settime", "clock_adjtime",
      "adjtimex"};
  return kCalls;
}

}  // namespace parley
