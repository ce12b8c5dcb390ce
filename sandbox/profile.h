// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_PROFILE_H_
#define PARLEY_SANDBOX_PROFILE_H_

// What a confined worker may still ask of the kernel: a named base and named additions, each a list
// of system calls with filters on their arguments. A value; pure data until Policy compiles it.
//
//   const ChannelDescriptors channel_fds = DescriptorsOf(channel);
//   const Profile profile = Profile::Ring(channel_fds.all).WithHeap().WithSanitizerIfBuiltIn();
//
// Ring(descriptors), the base, is what a channel needs once it is mapped and warm. `descriptors`
// are the channel's: DescriptorsOf(channel).all; none for a futex doorbell without a socket.
//   wait    poll and ppoll of up to kMaxPolled entries, restart_syscall (a wait with a timeout that
//           was stopped and continued dies without it: attack S3), clock_nanosleep, nanosleep,
//           sched_yield; of `descriptors` alone, epoll_ctl MOD and timerfd_settime with an absolute
//           time, which change what is there and add nothing
//   wake    on `descriptors` alone: sendto with exactly MSG_DONTWAIT|MSG_NOSIGNAL and no address,
//           recvfrom with MSG_DONTWAIT, and before Linux 6.16 recvmsg with exactly MSG_PEEK and
//           MSG_DONTWAIT; futex WAIT, WAKE and their BITSET forms, private or shared
//           (which is all that the futex doorbell needs; no REQUEUE, no PI); membarrier QUERY,
//           PRIVATE_EXPEDITED and REGISTER_GLOBAL_EXPEDITED (GLOBAL_EXPEDITED fails with EPERM)
//   look    clock_gettime and clock_getres (fixed clocks only), gettimeofday, time, getpid, gettid,
//           getrandom; on `descriptors` alone: fstat, fcntl F_GETFD, F_GETFL and F_GET_SEALS
//   finish  shutdown of `descriptors`; close, munmap, exit, exit_group, rt_sigreturn,
//           rt_sigprocmask; LockDown adds tgkill of SIGABRT to itself (WithAbortOf)
// WithEventfd(fd): write of 8 bytes to, and preadv2(RWF_NOWAIT) from, that descriptor.
// WithEpoll(fd): epoll_wait, epoll_pwait and epoll_pwait2 of that one. No epoll_ctl: what is waited
//   for was set up before.
// WithWriteTo(fd), WithReadFrom(fd): write and writev, read, of that descriptor.
// WithHeap(): brk; mmap of private anonymous memory without PROT_EXEC (huge pages of hugetlbfs fail
//   with ENOMEM); mprotect without PROT_EXEC; madvise DONTNEED, FREE and NOHUGEPAGE (other hints
//   that a heap may give, HUGEPAGE for one, fail with EINVAL, as in a kernel without them). mremap
//   fails with ENOMEM, and realloc copies: it could make any bytes of a file executable by growing
//   the mapping of the code before them.
// WithThreads(): for threads that exist before lock-down, none can be made after it: madvise
//   DONTNEED on their stacks, set_robust_list and rseq (the first steps of one that was made just
//   before), sched_getaffinity of itself.
// WithFilesAbsent(): opening, looking at and reading links of files fails with ENOENT, and isatty
//   with ENOTTY, instead of ending the process. The calls are not made. For large libraries that
//   look for a file now and then and live without it (libavformat wants iconv's tables for the
//   names in a transport stream); it gives up the report of an attempt.
// WithSanitizer(): what the runtimes of the address and thread sanitizers do in a healthy run, and
//   an EPERM instead of an end for what they try while they print a report. It weakens the filter:
//   for test builds.
//
// Each call that takes a descriptor names it, with three exceptions, which are bounded otherwise:
//   poll    a filter cannot read the array. What is open after lock-down is what was kept, and
//           kMaxPolled entries for each thread are what a worker can add to the wait queue of a
//           doorbell that we signal (attack W3).
//   close   does what the process's end does anyway. A destructor may close what LockDown has.
//   write   and read of 0, 1 and 2, where /dev/null lies there (LockDownOptions::keep).
//
// In no profile, whatever is combined: anything that makes a descriptor, a process, a thread, an
// executable page or a name; F_SETFL, F_SETOWN and the other setting commands; ioctl. clone3 is
// answered with ENOSYS. Notably absent is newfstatat, which glibc's fstat() uses and which can look
// at any path; on 0, 1 and 2, where stdio tries it, it fails with EBADF.
//
// No filter is asked by a kernel that makes these without one (x86-64): uretprobe (335, Linux 6.14)
// and uprobe (336, 6.18). Called from elsewhere than the kernel's own probe they are SIGILL.
//
// Trust: the worker is hijacked when this matters. Descriptor numbers are safe to name here because
// nothing in any profile can put another file under a number.
// Threads: a value; any.

#include <cstdint>
#include <span>
#include <vector>

namespace parley {

// One condition on one argument: (argument & mask) <op> value, unsigned, all 64 bits.
struct ArgumentFilter {
  enum class Op { kEqual, kAtMost };
  unsigned index = 0;            // 0 to 5
  uint64_t mask = ~uint64_t{0};  // only with kEqual
  Op op = Op::kEqual;
  uint64_t value = 0;
  bool operator==(const ArgumentFilter&) const = default;
};

// A call is allowed if the filters of at least one of its rules all hold.
struct Rule {
  enum class Answer {
    kAllow,
    kErrno,  // the call is not made and fails with `error`
    kKill,   // no report: the process ends at once
  };
  const char* call = "";  // as in the man page; skipped where this architecture has no such call
  std::vector<ArgumentFilter> filters;
  Answer answer = Answer::kAllow;
  int error = 0;
};

class Profile {
 public:
  // More than the descriptors of a channel and of a program around it.
  static constexpr int kMaxPolled = 64;
  // What lies on one of the descriptors 0, 1 and 2.
  enum class Stream {
    kNull,   // /dev/null: reading and writing are allowed
    kNone,   // nothing, or nothing for this worker: reading and writing fail with EBADF
    kNamed,  // what the profile says otherwise
  };

  static Profile Ring(std::vector<int> descriptors);

  Profile WithEventfd(int fd) const;
  Profile WithEpoll(int fd) const;
  Profile WithWriteTo(int fd) const;
  Profile WithReadFrom(int fd) const;
  Profile WithHeap() const;
  Profile WithThreads() const;
  Profile WithFilesAbsent() const;
  // What a codec library lives under: WithHeap, WithThreads, WithFilesAbsent, and
  // WithSanitizerIfBuiltIn.
  Profile ForCodec() const;
  Profile WithSanitizer() const;
  // WithSanitizer() in a build with a sanitizer, otherwise this profile unchanged.
  Profile WithSanitizerIfBuiltIn() const;
  // What LockDown adds. tgkill(SIGABRT) of the process `pid`, in its own pid namespace, and a soft
  // answer to what libc does first: an abort, a failed check and a damaged heap are seen as such.
  Profile WithAbortOf(int pid) const;
  // One of 0, 1, 2: what stdio does to it before it writes fails, and does not end the process.
  Profile WithStream(int fd, Stream is) const;
  // LockDown's last step but for closing; nobody can be made to be dumped by it.
  Profile WithoutDump() const;
  // The one message by which LockDown tells the parent that it is done.
  Profile WithSendmsgOf(int fd) const;
  // For a process that has a filter around it already, whose errors come before our notifications:
  // the calls of this profile, whatever their arguments, and ordinary ones that the filters of
  // container engines, Flatpak and services allow whatever theirs are. A filter of it is laid under
  // that of this profile, and kills for everything else.
  Profile UnderAnotherFilter() const;

  // Whether WithSanitizer() is part of it: it allows more than a worker in production may do.
  bool has_sanitizer_exceptions() const { return has_sanitizer_exceptions_; }
  // Whether an addition above names the descriptor.
  bool Names(int fd) const;
  const std::vector<Rule>& rules() const { return rules_; }

 private:
  friend class ProfileForTests;

  Profile() = default;
  void Add(std::vector<Rule> rules);
  void AddQuestions(int fd);

  std::vector<Rule> rules_;
  std::vector<int> named_;
  bool has_sanitizer_exceptions_ = false;
};

// Calls that end the process at once, without a report, in every profile: no honest worker makes
// them by accident, and each is a known way around a filter or into another process (attack S2).
std::span<const char* const> CallsThatKillAtOnce();

}  // namespace parley

#endif  // PARLEY_SANDBOX_PROFILE_H_
