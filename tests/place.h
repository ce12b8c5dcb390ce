// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_TESTS_PLACE_H_
#define PARLEY_TESTS_PLACE_H_

// Where people run programs: as root, as a plain user, in a container. The programs of a test are
// copied to a folder that all places can read, and run there.
//
// Threads: one at a time.
//
//   Stage stage({"sandbox/walls", "sandbox/testing_worker"});
//   const Ran run = stage.RunIn(Place::kContainer, "sandbox/walls");
//   EXPECT_EQ(run.exit_code, 0) << run.output;

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "parley/os/deadline.h"

namespace parley {

enum class Place {
  kRoot,       // root with all capabilities, outside of any container
  kUser,       // uid 1000, no capability, outside of any container
  kContainer,  // uid 1000 in runc with Docker's system call filter, no capability, no namespace to
               // be made, 64 KiB of /dev/shm: ../shared/containers/run-in-container
};

std::string ToString(Place place);

// Why the place cannot be had here, in one sentence; nothing where it can.
std::optional<std::string> WhyNot(Place place);

struct Ran {
  int exit_code = -1;  // 128 + the signal; -1 at the deadline
  std::string output;  // of both streams
};

class Stage {
 public:
  // Copies of files that the test's `data` name, each under the same path.
  explicit Stage(const std::vector<std::string>& files);
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;
  // Removes the folder.
  ~Stage();

  // Puts one more file there, under `as`.
  void Add(const std::string& path, const std::string& as) const;
  const std::string& folder() const { return folder_; }

  // A line for /bin/sh, in the folder, with an environment of PATH, HOME and `environment`.
  Ran RunIn(Place place, const std::string& line, const std::vector<std::string>& environment = {},
            Deadline deadline = Deadline::After(absl::Minutes(4))) const;

 private:
  std::string folder_;
};

}  // namespace parley

#endif  // PARLEY_TESTS_PLACE_H_
