// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_POLICY_H_
#define PARLEY_SANDBOX_POLICY_H_

// A profile compiled to the program that the kernel runs, which can be asked here, in this process,
// what it would answer, and can be written out for others (`bwrap --seccomp`).
//
// A call that no rule allows gets one of two answers:
//   kKill    the kernel ends the process, and nothing in it runs again. CallsThatKillAtOnce(),
//            foreign architectures (int 0x80) and x32 numbers always; everything else too unless
//            `unlisted` says otherwise.
//   kReport  the calling thread stays in the kernel, and the parent is notified of the call's
//            number; it ends the process (sandbox/refusal.h). The call is not made. For everything
//            that an honest worker may run into by mistake. Other threads go on until the parent
//            has acted, with the calls that the profile lists, as if the refused one had not been
//            tried. Where nobody is notified any more the call fails with ENOSYS. Where another
//            filter answers the call with an error, that comes first: Profile::UnderAnotherFilter.
// docs/decisions/refused-calls.md says why it is this and no signal handler, ptrace or audit.
//
// Trust: depends on nothing that a peer wrote.
// Threads: immutable once built; any.
//
//   auto policy = Policy::Compile(Profile::Ring({4}), {});
//   policy->Ask("openat").answer == Policy::Answer::kKill

#include <linux/filter.h>

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/sandbox/profile.h"

namespace parley {

class Policy {
 public:
  enum class Answer {
    kAllow,
    kErrno,
    kReport,
    kKill,
    // No filter is asked by a kernel that makes this call without one: uretprobe since Linux 6.14
    // and uprobe since 6.18, on x86-64. From elsewhere than the kernel's own probe it is SIGILL.
    kNotAsked,
  };
  struct Verdict {
    Answer answer = Answer::kKill;
    int error = 0;  // for kErrno
    friend bool operator==(const Verdict&, const Verdict&) = default;
  };
  struct Options {
    // kReport needs somebody who is notified, as LockDown arranges under Spawn.
    Answer unlisted = Answer::kKill;
  };
  using Arguments = std::array<uint64_t, 6>;

  // Of two rules for a call with the same filters, or whose first has none, the first one in the
  // profile holds. kInvalidArgument if two others have different answers for some arguments.
  static absl::StatusOr<Policy> Compile(const Profile& profile, Options options);

  // What the filter answers, by a small interpreter of our own. An unknown name is kKill.
  Verdict Ask(const std::string& call, const Arguments& arguments = {}) const;
  // With the number and the AUDIT_ARCH_* value as the kernel would give them.
  Verdict AskRaw(uint32_t audit_arch, uint32_t number, const Arguments& arguments = {}) const;

  // Whether there are kernels that ask no filter about this call (kNotAsked).
  static bool PassesEveryFilter(uint32_t audit_arch, uint32_t number);

  // The program: what SECCOMP_SET_MODE_FILTER takes.
  const std::vector<sock_filter>& program() const { return program_; }
  // The same as raw bytes to `fd`: what `bwrap --seccomp FD` reads. A program that is started under
  // the filter needs a profile that lets it start.
  absl::Status WriteTo(int fd) const;

 private:
  explicit Policy(std::vector<sock_filter> program) : program_(std::move(program)) {}
  std::vector<sock_filter> program_;
};

}  // namespace parley

#endif  // PARLEY_SANDBOX_POLICY_H_
