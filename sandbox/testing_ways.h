// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_TESTING_WAYS_H_
#define PARLEY_SANDBOX_TESTING_WAYS_H_

// For this package's tests: the ways in which Spawn starts a worker.

#include <sys/syscall.h>

#include <cerrno>

#include "parley/sandbox/spawn.h"
#include "parley/testing/filter.h"

namespace parley::testing {

enum class Way {
  kWithout,  // no namespaces
  kRoot,     // in namespaces, as its parent's user
  kNobody,   // in namespaces as another user, whom it becomes in a program of its own
  kCopy,     // the same where no file may be executed: it begins as a copy
};
inline constexpr Way kWays[] = {Way::kWithout, Way::kRoot, Way::kNobody, Way::kCopy};
inline constexpr const char* kWayNames[] = {"without", "root", "nobody", "copy"};

inline void AskFor(Way way, SpawnOptions* options) {
  options->namespaces.use =
      way == Way::kWithout ? NamespaceOptions::Use::kNone : NamespaceOptions::Use::kRequired;
  options->namespaces.root_becomes_nobody = way != Way::kRoot;
}

// What the calling process has to be like for it, for the rest of its life.
inline void MakeWay(Way way) {
  if (way == Way::kCopy) Refuse({.call = SYS_execveat, .error = EACCES});
}

}  // namespace parley::testing

#endif  // PARLEY_SANDBOX_TESTING_WAYS_H_
