#ifndef PARLEY_HANDSHAKE_PEER_SOCKET_H_
#define PARLEY_HANDSHAKE_PEER_SOCKET_H_

// One end of the connected AF_UNIX SOCK_SEQPACKET socket between the two processes: whole messages,
// and descriptors in one direction only.
//
// Trust: the peer sends anything at any time. Messages are cut at nobody's convenience: a longer
// one than expected, an empty one, one with descriptors where none belong, ends the session.
// Receive has no control buffer, so a descriptor that the peer sends is never installed here (a
// descriptor on a FUSE file could hang our fstat, close and exit). ReceiveWithDescriptors is for
// the connecting side, which has to trust its supervisor that far.
// Threads: one at a time.
// System calls: as each method says; none can block but the ones with a deadline.
//
//   auto pair = PeerSocket::Pair();
//   absl::Status sent = pair->first.Send(bytes);
//   absl::StatusOr<std::size_t> size = pair->second.Receive(absl::MakeSpan(buffer), deadline);

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"

namespace parley {

// The environment variable that holds the number of an inherited socket.
inline constexpr char kSocketVariable[] = "PARLEY_SOCKET";

class PeerSocket {
 public:
  // Checks that `fd` is a connected AF_UNIX SOCK_SEQPACKET socket and makes it close-on-exec.
  static absl::StatusOr<PeerSocket> Adopt(UniqueFd fd);
  // Both ends, close-on-exec: one is kept, the other handed to a child or a thread.
  static absl::StatusOr<std::pair<PeerSocket, PeerSocket>> Pair();
  // The socket whose number is in `variable`; removes the variable, so that it is taken once.
  static absl::StatusOr<PeerSocket> Inherited(const char* variable = kSocketVariable);

  // Sends one message, with duplicates of `descriptors` (at most 8). One system call, which never
  // waits: kResourceExhausted if the peer does not drain its socket, kUnavailable if it is gone.
  absl::Status Send(absl::Span<const std::byte> message,
                    absl::Span<const int> descriptors = {}) const;

  // One message if there is one, nothing if there is none yet. kUnavailable at the end of the
  // session; kInvalidArgument for a message longer than `into`, an empty one, or one with
  // descriptors. One system call.
  absl::StatusOr<std::optional<std::size_t>> TryReceive(absl::Span<std::byte> into) const;
  // The same, waiting until `deadline`: kDeadlineExceeded then.
  absl::StatusOr<std::size_t> Receive(absl::Span<std::byte> into, Deadline deadline) const;

  struct WithDescriptors {
    std::size_t size_bytes = 0;
    std::vector<UniqueFd> descriptors;  // close-on-exec
  };
  // One message with at most `max_descriptors` (<= 8) descriptors; more than that, or a control
  // message of any other kind, is kInvalidArgument, and all that came is closed.
  absl::StatusOr<WithDescriptors> ReceiveWithDescriptors(absl::Span<std::byte> into,
                                                         std::size_t max_descriptors,
                                                         Deadline deadline) const;

  // Asks the kernel not to let the peer attach descriptors at all (Linux 6.16; without it, the
  // missing control buffer does the same later).
  void RefuseDescriptors() const;

  int fd() const { return fd_.get(); }
  UniqueFd Release() && { return std::move(fd_); }

 private:
  explicit PeerSocket(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace parley

#endif  // PARLEY_HANDSHAKE_PEER_SOCKET_H_
