// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_TESTS_CHILD_H_
#define PARLEY_TESTS_CHILD_H_

// A forked process of a test. It never outlives this object, nor the test.
//
// Threads: fork only while the test has one thread.
//
//   Child child([] { return 7; });
//   EXPECT_EQ(child.Wait(Deadline::After(absl::Seconds(20))), 7);

#include <sys/types.h>

#include <functional>

#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"

namespace parley {

class Child {
 public:
  // The child runs `body` and ends with what it returns, without any destructors or exit handlers.
  explicit Child(const std::function<int()>& body);
  Child(Child&& other) noexcept;
  Child(const Child&) = delete;
  // Kills and reaps.
  ~Child();

  pid_t pid() const { return pid_; }
  int pidfd() const { return pidfd_.get(); }
  void Signal(int signal) const;
  // The exit code, or 128 + the signal that ended it; -1 at the deadline.
  int Wait(Deadline deadline);
  int Kill();

 private:
  pid_t pid_ = -1;
  UniqueFd pidfd_;
  int result_ = -1;
};

}  // namespace parley

#endif  // PARLEY_TESTS_CHILD_H_
