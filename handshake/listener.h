// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_HANDSHAKE_LISTENER_H_
#define PARLEY_HANDSHAKE_LISTENER_H_

// A listening socket, by path or abstract name, and how to connect to one.
//
// A path that begins with '@' is a name in the abstract namespace (it needs no file and vanishes
// with the process; any local process can take it first). Any other is a socket file, removed when
// the Listener goes, by the process that made it and no child of it. A file left behind by a
// process that died is replaced; a name on which somebody listens is an error that says so.
//
// The file's mode says who may connect, whatever the umask: 0600 by default, the same user. A
// policy for others wants another: 0660 and the folder's or the file's group, or 0666, and the
// policy decides alone. Whoever may not write to the file is refused by the kernel.
//
// Trust: whoever can reach the name may connect, any number of times; Server (server.h) bounds what
// that costs.
// Threads: one at a time.
//
//   absl::StatusOr<Listener> listener = Listener::Bind("/run/user/1000/viewer.sock");
//   absl::StatusOr<PeerSocket> socket = ConnectTo("/run/user/1000/viewer.sock", deadline);

#include <sys/stat.h>
#include <sys/types.h>

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"

namespace parley {

class Listener {
 public:
  // kAlreadyExists: another process listens there. kInvalidArgument: the name is empty or too long
  // (107 bytes), or names a file that is no socket.
  // `mode`: of the socket file, 0600 to 0666.
  static absl::StatusOr<Listener> Bind(const std::string& name, mode_t mode = 0600);

  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&& other) noexcept;
  ~Listener();

  // The next connection if there is one; nothing if there is none, or if it is gone already. Never
  // waits, and never releases what its peer sent already. kResourceExhausted where this process has
  // no descriptor left for it: then the connection is taken with a spare one and closed, so that
  // the listener is not ready any more and a caller that tries again does not spin.
  absl::StatusOr<std::optional<PeerSocket>> TryAccept();

  int fd() const { return socket_.get(); }
  const std::string& name() const { return name_; }

 private:
  Listener(UniqueFd socket, std::string name, bool is_file, dev_t device, ino_t inode);
  void RemoveFile();

  void Close();

  UniqueFd socket_;
  UniqueFd spare_;  // given up for a connection that there is no descriptor for
  std::string name_;
  pid_t maker_ = 0;
  bool owns_file_ = false;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

// Connects to a listener. kNotFound or kUnavailable where nobody listens; waits, until `deadline`,
// only while the listener's queue is full, in the order in which connecting processes came.
absl::StatusOr<PeerSocket> ConnectTo(const std::string& name, Deadline deadline);

}  // namespace parley

#endif  // PARLEY_HANDSHAKE_LISTENER_H_
