#ifndef PARLEY_HANDSHAKE_LISTENER_H_
#define PARLEY_HANDSHAKE_LISTENER_H_

// A listening socket, by path or abstract name, and how to connect to one.
//
// A path that begins with '@' is a name in the abstract namespace (it needs no file and vanishes
// with the process; any local process can take it first). Any other is a socket file, made with
// mode 0600 and removed when the Listener goes. A file left behind by a process that died is
// replaced; a name on which somebody listens is an error that says so.
//
// Trust: whoever can reach the name may connect, any number of times; Server (server.h) bounds what
// that costs.
// Threads: one at a time.
//
//   absl::StatusOr<Listener> listener = Listener::Bind("/run/user/1000/viewer.sock");
//   absl::StatusOr<PeerSocket> socket = ConnectTo("/run/user/1000/viewer.sock", deadline);

#include <sys/stat.h>

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
  static absl::StatusOr<Listener> Bind(const std::string& name);

  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&& other) noexcept;
  ~Listener() { RemoveFile(); }

  // The next connection if there is one; nothing if there is none, or if it is gone already. Never
  // waits. kResourceExhausted where this process has no descriptor left for it.
  absl::StatusOr<std::optional<PeerSocket>> TryAccept() const;

  int fd() const { return socket_.get(); }
  const std::string& name() const { return name_; }

 private:
  Listener(UniqueFd socket, std::string name, bool is_file, dev_t device, ino_t inode);
  void RemoveFile();

  UniqueFd socket_;
  std::string name_;
  bool owns_file_ = false;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

// Connects to a listener. kNotFound or kUnavailable where nobody listens; waits, until `deadline`,
// only while the listener's queue is full.
absl::StatusOr<PeerSocket> ConnectTo(const std::string& name, Deadline deadline);

}  // namespace parley

#endif  // PARLEY_HANDSHAKE_LISTENER_H_
