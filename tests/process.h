// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_TESTS_PROCESS_H_
#define PARLEY_TESTS_PROCESS_H_

// A program that a test runs as a user would: arguments, standard input and output, signals.
//
// Threads: one at a time.
//
//   Process receiver({Binary("examples/hello/hello_receiver"), "hello.sock"});
//   EXPECT_TRUE(receiver.AwaitOutput("hello", Generous()));
//   EXPECT_EQ(receiver.Wait(Generous()), 0);

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <vector>

#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"

namespace parley {

// The absolute path of a binary that the test's `data` name, by its path in the workspace.
std::string Binary(const std::string& path);

class Process {
 public:
  // Found in PATH if it has no slash. Runs in TEST_TMPDIR, so that socket paths are short.
  explicit Process(std::vector<std::string> arguments);
  Process(const Process&) = delete;
  // Kills and reaps.
  ~Process();

  pid_t pid() const { return pid_; }
  // Waits while the program reads nothing, up to the deadline: false then.
  bool Type(const std::string& text, Deadline deadline);
  void EndInput() { input_.Reset(); }
  void Signal(int signal) const;
  // Of its main thread's children those whose program has this name (15 bytes at most), once there
  // are `count`, or at the deadline.
  std::vector<pid_t> AwaitChildren(const std::string& program, size_t count,
                                   Deadline deadline) const;

  // Until standard output (error) contains `text`: false at the deadline or at its end.
  bool AwaitOutput(const std::string& text, Deadline deadline);
  bool AwaitErrors(const std::string& text, Deadline deadline);
  // The exit code, or 128 + the signal; -1 at the deadline. Everything was read then.
  int Wait(Deadline deadline);

  const std::string& output() const { return output_; }
  const std::string& errors() const { return errors_; }

 private:
  // Reads what there is, waiting up to the deadline; false at the deadline or at the end of both.
  bool ReadSome(Deadline deadline);

  pid_t pid_ = -1;
  int result_ = -1;
  UniqueFd pidfd_;
  UniqueFd input_;
  UniqueFd output_pipe_;
  UniqueFd errors_pipe_;
  std::string output_;
  std::string errors_;
};

}  // namespace parley

#endif  // PARLEY_TESTS_PROCESS_H_
