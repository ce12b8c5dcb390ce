// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_TESTING_CHILDREN_H_
#define PARLEY_TESTING_CHILDREN_H_

// For tests: the processes that we have.

#include <sys/types.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "parley/testing/disposal_helpers.h"

namespace parley::testing {

// Of any thread of ours, zombies among them, but for those that close a descriptor for us, which
// before Linux 6.16 come with each channel's end (os/disposal).
inline std::set<pid_t> Children() {
  AwaitDisposalHelpers();
  std::set<pid_t> children;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream file(task.path() / "children");
    for (pid_t pid = 0; file >> pid;) children.insert(pid);
  }
  return children;
}

}  // namespace parley::testing

#endif  // PARLEY_TESTING_CHILDREN_H_
