// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_TESTING_SLOW_FILES_H_
#define PARLEY_TESTING_SLOW_FILES_H_

// Files whose last close takes long: what a hostile peer sends to be released by us.
//
// Threads: one at a time.
//
//   UniqueFd file = LingeringSocket(absl::Seconds(3));

#include <sys/types.h>

#include "absl/time/time.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/test_support.h"  // RunInChild, FailSystemCall

namespace parley::testing_support {

// A TCP socket with unsent data and SO_LINGER: its last close waits for `linger`.
UniqueFd LingeringSocket(absl::Duration linger);

// A file of a FUSE daemon that does not answer writes, with data that its release has to write: it
// hangs in state D, also in a process that ends, until the daemon ends. For a forked child: it
// takes a mount namespace of its own. Wants root, FUSE, and a kernel whose release waits for the
// data (6.18 does, 6.1 and 6.12 do not): ask Possible, in the test itself.
class HangingFile {
 public:
  HangingFile();
  ~HangingFile() { StopDaemon(); }
  HangingFile(const HangingFile&) = delete;
  HangingFile& operator=(const HangingFile&) = delete;

  bool ok() const { return file_.ok(); }
  // Tries it in a child, the release too.
  static bool Possible();
  // Sends a message of one byte with the file, of which the queue then has the only reference.
  bool SendTo(int socket);
  void StopDaemon();

 private:
  pid_t daemon_ = -1;
  pid_t writer_ = -1;
  UniqueFd file_;
};

// Sends one byte with a descriptor. False if the kernel refuses.
bool SendWithDescriptor(int socket, int fd);

}  // namespace parley::testing_support

#endif  // PARLEY_TESTING_SLOW_FILES_H_
