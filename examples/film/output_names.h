// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_OUTPUT_NAMES_H_
#define PARLEY_EXAMPLES_FILM_OUTPUT_NAMES_H_

// Which files the outputs of one run are, so that none of them replaces the input or another one:
// compared by device and inode where there is a file, through links, and by folder and name where
// there is none yet.
//
// Threads: one at a time.
//
//   OutputNames names;
//   names.ProtectInput(input_fd, "film.mp4");
//   absl::Status free = names.Claim("out.y4m", "--y4m");   // before anything is written

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace parley::film {

class OutputNames {
 public:
  absl::Status ProtectInput(int fd, const std::string& path);
  // kInvalidArgument with both names, if `path` is the input, or what another `owner` has claimed.
  // An owner may claim a name again. /dev/null and terminals belong to nobody.
  absl::Status Claim(const std::string& path, const std::string& owner);

 private:
  struct Name {
    std::string owner;
    std::string path;
    bool exists = false;
    dev_t device = 0;  // of the file, where there is one
    ino_t inode = 0;
    dev_t folder_device = 0;
    ino_t folder_inode = 0;
    std::string leaf;  // its name in that folder; empty: not known
  };
  static absl::Status Resolve(const std::string& path, Name& name);
  static bool Same(const Name& a, const Name& b);

  std::vector<Name> names_;
};

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_OUTPUT_NAMES_H_
