// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_HANDSHAKE_PEER_SOCKET_H_
#define PARLEY_HANDSHAKE_PEER_SOCKET_H_

// One end of the connected AF_UNIX SOCK_SEQPACKET socket between the two processes: whole messages,
// and descriptors in one direction only.
//
// Trust: the peer sends anything at any time. Messages are cut at nobody's convenience: a longer
// one than expected, an empty one, one with descriptors where none belong, ends the session.
// A message with descriptors is never taken out of the queue where none are expected, and a socket
// whose queue can hold one is never closed here: either would release the peer's files in this
// thread, for as long as the peer likes (os/connected_socket.h). ReceiveWithDescriptors is for the
// connecting side: what comes is kept by a guard that releases it elsewhere.
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
#include "parley/os/connected_socket.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"

namespace parley {

// The environment variable that holds the number of an inherited socket.
inline constexpr char kSocketVariable[] = "PARLEY_SOCKET";

// Second references to descriptors that a peer sent, so that no close of the first ones releases
// the peer's files: that is left to DisposeOf, at the end of this object.
class DescriptorGuard {
 public:
  DescriptorGuard() = default;
  explicit DescriptorGuard(std::vector<UniqueFd> descriptors)
      : descriptors_(std::move(descriptors)) {}
  DescriptorGuard(DescriptorGuard&&) = default;
  DescriptorGuard& operator=(DescriptorGuard&& other) noexcept;
  ~DescriptorGuard();
  DescriptorGuard(const DescriptorGuard&) = delete;
  DescriptorGuard& operator=(const DescriptorGuard&) = delete;

  // All of them were found to be memfds or doorbells, whose release is short: closes in place.
  void Verified() { descriptors_.clear(); }
  std::size_t size() const { return descriptors_.size(); }

 private:
  std::vector<UniqueFd> descriptors_;
};

// At its end it is closed and, where that must wait, shut down (os/connected_socket.h). An end that
// another process goes on using, forked for it, is given up with Release.
class PeerSocket {
 public:
  // How this end came to be, which says what SO_PEERCRED and SO_PEERPIDFD mean (identity.h).
  enum class Origin {
    kGiven,      // a pair: they name who made it
    kInherited,  // by a worker from its supervisor, which it trusts: the same
    kAccepted,   // by a Listener: they name who connected
    kConnected,  // by ConnectTo: they name who called listen
  };

  // Checks that `fd` is a connected AF_UNIX SOCK_SEQPACKET socket and makes it close-on-exec.
  static absl::StatusOr<PeerSocket> Adopt(UniqueFd fd, Origin origin = Origin::kGiven);
  // Both ends, close-on-exec: `first` is for the accepting side, and the kernel refuses descriptors
  // that are sent to it (Linux 6.16); `second` is handed to a child or a thread that connects.
  static absl::StatusOr<std::pair<PeerSocket, PeerSocket>> Pair();
  // The socket whose number is in `variable`; removes the variable, so that it is taken once.
  static absl::StatusOr<PeerSocket> Inherited(const char* variable = kSocketVariable);

  PeerSocket(PeerSocket&&) = default;
  PeerSocket& operator=(PeerSocket&& other) noexcept;
  // Never releases anything of the peer's in this thread.
  ~PeerSocket() { Close(); }
  PeerSocket(const PeerSocket&) = delete;
  PeerSocket& operator=(const PeerSocket&) = delete;

  // Sends one message, with duplicates of `descriptors` (at most 8). One system call, which never
  // waits: kResourceExhausted if the peer does not drain its socket, kUnavailable if it is gone;
  // what it said before that can still be received.
  absl::Status Send(absl::Span<const std::byte> message,
                    absl::Span<const int> descriptors = {}) const;

  // One message if there is one, nothing if there is none yet. kUnavailable at the end of the
  // session, after what was sent before it; kInvalidArgument for a message longer than `into`, an
  // empty one, or one with descriptors, which stays in the queue. One system call, or, where the
  // kernel does not refuse descriptors, a look before it; one more after a reset.
  absl::StatusOr<std::optional<std::size_t>> TryReceive(absl::Span<std::byte> into) const;
  // The same, waiting until `deadline`: kDeadlineExceeded then.
  absl::StatusOr<std::size_t> Receive(absl::Span<std::byte> into, Deadline deadline) const;

  struct WithDescriptors {
    std::size_t size_bytes = 0;
    DescriptorGuard guard;              // goes after `descriptors`
    std::vector<UniqueFd> descriptors;  // close-on-exec
  };
  // One message with at most `max_descriptors` (<= 8) descriptors; more than that, or a control
  // message of any other kind, is kInvalidArgument, and all that came is disposed of.
  absl::StatusOr<WithDescriptors> ReceiveWithDescriptors(absl::Span<std::byte> into,
                                                         std::size_t max_descriptors,
                                                         Deadline deadline) const;

  // For the connecting side, before it says anything that the peer may answer with descriptors.
  void AllowDescriptors() const;
  // From now on the kernel refuses messages with descriptors that are sent to this end (Linux
  // 6.16). True if it does and none can be queued. Where something is queued already this end goes
  // on looking before it receives; it may be called again.
  bool RefuseDescriptors() const;
  // Drops what the peer sent and lets it send no more, so that our last message reaches it. For an
  // end that no other process of ours uses.
  void StopReceiving() const;
  // The peer reads what was sent, and then the end. For an end that no other process of ours uses.
  void HangUp() const;

  Origin origin() const { return origin_; }
  int fd() const { return fd_.get(); }
  // The caller owns it as a ConnectedSocket.
  UniqueFd Release() && { return fd_.Release(); }

 private:
  PeerSocket(UniqueFd fd, Origin origin) : fd_(std::move(fd)), origin_(origin) {}
  void Close();

  ConnectedSocket fd_;
  Origin origin_;
  // Whether only we can have sent anything to this end: it was made here and is not in use yet.
  bool unused_ = false;
};

}  // namespace parley

#endif  // PARLEY_HANDSHAKE_PEER_SOCKET_H_
