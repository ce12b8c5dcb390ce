#ifndef PARLEY_SANDBOX_PROFILE_H_
#define PARLEY_SANDBOX_PROFILE_H_

// What a confined worker may still ask of the kernel: a named base and named additions, each a list
// of system calls with filters on their arguments. A value; pure data until Policy compiles it.
//
//   const Profile profile = Profile::Ring().WithHeap().WithThreads().WithSanitizerIfBuiltIn();
//
// Ring(), the base, is what a channel needs once it is mapped and warm:
//   wait    ppoll poll epoll_wait epoll_pwait epoll_pwait2, restart_syscall (a wait with a timeout
//           that was stopped and continued dies without it: attack S3), clock_nanosleep, nanosleep,
//           sched_yield
//   wake    sendto with exactly MSG_DONTWAIT|MSG_NOSIGNAL and no address, recvfrom with
//           MSG_DONTWAIT; futex WAIT, WAKE and their BITSET forms, private or shared (which is all
//           that the futex doorbell needs; no REQUEUE, no PI); membarrier QUERY,
//           PRIVATE_EXPEDITED and REGISTER_GLOBAL_EXPEDITED (GLOBAL_EXPEDITED fails with EPERM)
//   look    clock_gettime and clock_getres (fixed clocks only), gettimeofday, time, fstat, getpid,
//           gettid, getrandom, fcntl F_GETFD, F_GETFL and F_GET_SEALS
//   finish  close, shutdown, munmap, exit, exit_group, rt_sigreturn, rt_sigprocmask, and tgkill of
//           SIGABRT to itself, so that a failed CHECK is seen as one
// WithEventfd(fd): write of 8 bytes to, and preadv2(RWF_NOWAIT) from, that descriptor.
// WithWriteTo(fd), WithReadFrom(fd): write and writev, read, of that descriptor.
// WithHeap(): brk; mmap of private anonymous memory without PROT_EXEC; mprotect without PROT_EXEC;
//   mremap; madvise DONTNEED and FREE. What malloc of glibc uses.
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
// In no profile, whatever is combined: anything that makes a descriptor, a process, a thread, an
// executable page or a name; F_SETFL, F_SETOWN and the other setting commands; ioctl. clone3 is
// answered with ENOSYS. Notably absent is newfstatat, which glibc's fstat() uses and which can look
// at any path: print once to stdout before lock-down, or not at all.
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
  static Profile Ring();

  Profile WithEventfd(int fd) const;
  Profile WithWriteTo(int fd) const;
  Profile WithReadFrom(int fd) const;
  Profile WithHeap() const;
  Profile WithThreads() const;
  Profile WithFilesAbsent() const;
  Profile WithSanitizer() const;
  // WithSanitizer() in a build with a sanitizer, otherwise this profile unchanged.
  Profile WithSanitizerIfBuiltIn() const;
  // tgkill(SIGABRT) of the process `pid`, in its own pid namespace; LockDown adds it.
  Profile WithAbortOf(int pid) const;

  const std::vector<Rule>& rules() const { return rules_; }

 private:
  friend class ProfileForTests;

  Profile() = default;
  void Add(std::vector<Rule> rules);

  std::vector<Rule> rules_;
};

// Calls that end the process at once, without a report, in every profile: no honest worker makes
// them by accident, and each is a known way around a filter or into another process (attack S2).
std::span<const char* const> CallsThatKillAtOnce();

}  // namespace parley

#endif  // PARLEY_SANDBOX_PROFILE_H_
