// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_CONFINE_H_
#define PARLEY_SANDBOX_CONFINE_H_

// The worker gives up everything it does not need, for good: the step between "set up" and "touch
// hostile input", and the types that keep the three in this order.
//
//   SealedBlob blob = ...;                                    // received, not looked at
//   HostileInput<SealedBlob> film(std::move(blob));           // sandbox/hostile_input.h
//   Channel channel = ...;                                    // handshake done, mapped, warm
//   absl::StatusOr<Confined> confined =
//       LockDown(Prepared::After(channel), Profile::Ring(DescriptorsOf(channel).all).WithHeap(),
//                {.keep = DescriptorsOf(channel).all});
//   if (!confined.ok()) return Fail(confined.status());       // end the process
//   Decode(*confined, film.Open(*confined), channel.sender);  // no Confined, no input
//
// A function that parses hostile bytes takes a `const Confined&`: it cannot be called before
// LockDown has succeeded, since nothing else makes one. LockDown takes a Prepared, which only
// exists once the objects it is made from do.
//
// Trust: from here on the process may be taken over. Everything below holds against arbitrary code
// in any of its threads.
// Threads: any one thread, once. Threads that exist already are confined with it or LockDown
// refuses, with the thread's id (attack S4).

#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "parley/sandbox/profile.h"

namespace parley {

// Says that set-up is over: handshake done, memory mapped, decoder opened, stdio used once. Name
// the objects that must be there; the compiler then knows that they were made before.
class [[nodiscard]] Prepared {
 public:
  template <typename... T>
  static Prepared After(const T&... what_was_set_up) {
    static_assert(sizeof...(T) > 0, "name what was set up: the channel, the decoder, ...");
    static_assert((std::is_class_v<T> && ...), "name the objects themselves, and no number of one");
    (static_cast<void>(what_was_set_up), ...);
    return Prepared();
  }
  Prepared(Prepared&&) = default;
  Prepared& operator=(Prepared&&) = default;
  Prepared(const Prepared&) = delete;
  Prepared& operator=(const Prepared&) = delete;

 private:
  Prepared() = default;
};

struct LockDownOptions {
  // Descriptors that stay open; all others are closed. /dev/null lies on 0, 1 and 2 afterwards, so
  // that a library which prints is no reason to end the process and reaches nobody: except where a
  // number is listed here, or named by the profile (WithWriteTo(2)). Where it is listed and not
  // named, it stays what it was, and writing to it fails with EBADF.
  std::vector<int> keep;
  // Files and sockets are refused by the system call filter in any case. Landlock and MDWE are a
  // second wall where the kernel has them; true makes their absence an error.
  bool require_landlock = false;
  bool require_mdwe = false;
  // The empty root of a worker with namespaces (sandbox/second_wall.h).
  bool require_empty_root = false;
};

// What holds now, for logs and tests.
struct ConfinementReport {
  // 0 where the kernel has no Landlock. Denies all file access, TCP, and signals and abstract
  // sockets outside of the worker, as far as that version of it can.
  int landlock_abi = 0;
  // Landlock binds the calling thread (and its future children). Threads made earlier have only the
  // filter between them and the files.
  bool landlock_covers_all_threads = false;
  bool mdwe = false;            // no page can become executable, by the kernel's own rule
  bool empty_root = false;      // there is no file or directory, whatever the filter lets through
  bool code_is_sealed = false;  // code and read-only data stay where and as they are (Linux 6.10)
  // The kernel tells the parent the name of a refused call, and the parent ends the process.
  // Otherwise the kernel ends it at once and tells nobody the name: not started by Spawn, or with
  // dies_with_parent = false; before Linux 5.7; inside of something that is notified itself. Inside
  // of another filter (a container's) unusual calls end it without a name.
  bool reports_refusals = false;
  int threads = 1;
  std::string ToString() const;
};

// The proof of confinement, and under which profile. Only LockDown makes one.
class [[nodiscard]] Confined {
 public:
  Confined(Confined&&) = default;
  Confined& operator=(Confined&&) = default;
  Confined(const Confined&) = delete;
  Confined& operator=(const Confined&) = delete;

  const ConfinementReport& report() const { return report_; }
  // What is in force, with what LockDown added to it.
  const Profile& profile() const { return profile_; }

 private:
  friend absl::StatusOr<Confined> LockDown(Prepared, const Profile&, const LockDownOptions&);
  Confined(ConfinementReport report, Profile profile)
      : report_(report), profile_(std::move(profile)) {}
  ConfinementReport report_;
  Profile profile_;
};

// In this order: warms up libc (sandbox/warm_up.h), drops all capabilities, no_new_privs, closes
// descriptors, puts /dev/null on the standard streams, asks for an empty root where the worker has
// namespaces, Landlock, MDWE, not dumpable (no ptrace or core by others of the same uid), seals the
// code, no handlers for SIGABRT and SIGXCPU (a signal that the worker can cause would withdraw a
// refused call), waits until the root is empty, the filter on all threads at once.
// After an error the process is somewhere in between: it must end.
//
// kPermissionDenied or kUnimplemented, with the reason, where seccomp(2) is refused or missing.
// kFailedPrecondition with the thread's id if a thread cannot be confined: it has a filter of its
// own, or capabilities (which the kernel keeps per thread: start the worker with Spawn, which drops
// them before there are threads).
absl::StatusOr<Confined> LockDown(Prepared prepared, const Profile& profile,
                                  const LockDownOptions& options);

}  // namespace parley

#endif  // PARLEY_SANDBOX_CONFINE_H_
