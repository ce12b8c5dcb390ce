// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_CHANNEL_CHANNEL_H_
#define PARLEY_CHANNEL_CHANNEL_H_

// A channel between two processes that do not trust each other: what users hold.
//
// Trust: see Sender and Receiver for what a hostile peer can cause, options.h for what is agreed at
// the start. Everything the peer costs (memory, descriptors) is spent here, within the limits.
// Threads: making a channel: one. Afterwards one thread may use the sender and another the
// receiver.
// Fork: a channel belongs to the process that made it. Used in a forked child it aborts with a
// sentence (sealing/guarded_range.h); destroying it there is fine.
//
//   // The accepting side, for instance a viewer:
//   ChannelListener listener = *ChannelListener::Listen("/run/user/1000/viewer.sock", {});
//   absl::StatusOr<Channel> channel = listener.Accept(Deadline::After(absl::Minutes(1)));
//
//   // The connecting side:
//   absl::StatusOr<Channel> channel =
//       ConnectChannel("/run/user/1000/viewer.sock", {}, Deadline::After(absl::Seconds(5)));
//   absl::Status sent = channel->sender.Send(kTag, bytes, deadline);

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "parley/channel/receiver.h"
#include "parley/channel/sender.h"
#include "parley/handshake/identity.h"
#include "parley/handshake/options.h"
#include "parley/handshake/server_limits.h"
#include "parley/os/deadline.h"
#include "parley/wait/wait_options.h"

namespace parley {

class PeerSocket;  // handshake/peer_socket.h
class Server;      // handshake/server.h
class Session;     // handshake/session.h

struct Channel {
  Sender sender;            // false if this direction does not exist
  Receiver receiver;        // false if this direction does not exist
  ChannelId id = {};        // random, the same at both ends
  std::string peer_format;  // the peer's blob: its content is the peer's, at most 4 KiB
  // What the two stand on. For what else does: a broadcast's readers (patterns/).
  std::shared_ptr<Session> session;
};

// What must stay open for a channel to work: for a worker that closes everything else, and whose
// system call filter names eventfds (sandbox/profile.h). Owned by the channel.
// Without those that an event loop's first descriptor() makes later.
struct ChannelDescriptors {
  std::vector<int> all;
  // Of these: those of an eventfd doorbell, those by which the threads of this process wake each
  // other (socket doorbell), and that of a Signaller.
  std::vector<int> eventfds;
};
ChannelDescriptors DescriptorsOf(const Channel& channel);

// The accepting side of a socket that exists already: our end of a spawned worker's socketpair.
absl::StatusOr<Channel> AcceptChannel(PeerSocket socket, const AcceptOptions& options,
                                      Deadline deadline, const WaitOptions& wait = {});

// The connecting side of a socket that exists already.
absl::StatusOr<Channel> ConnectChannel(PeerSocket socket, const ConnectOptions& options,
                                       Deadline deadline, const WaitOptions& wait = {});
// The connecting side, by the listener's path or abstract name ("@name").
absl::StatusOr<Channel> ConnectChannel(const std::string& name, const ConnectOptions& options,
                                       Deadline deadline, const WaitOptions& wait = {});
// The connecting side in a spawned worker: the socket whose number is in kSocketVariable.
absl::StatusOr<Channel> ConnectInheritedChannel(const ConnectOptions& options, Deadline deadline,
                                                const WaitOptions& wait = {});

// The accepting side by name. Bad peers do not end it; see Server.
class ChannelListener {
 public:
  static absl::StatusOr<ChannelListener> Listen(const std::string& name, AcceptOptions options,
                                                ServerLimits limits = {},
                                                const WaitOptions& wait = {});
  ChannelListener(ChannelListener&& other) noexcept;
  ChannelListener& operator=(ChannelListener&& other) noexcept;
  ~ChannelListener();

  // The next peer that completes its handshake. kDeadlineExceeded.
  absl::StatusOr<Channel> Accept(Deadline deadline);
  // For loops that do other things as well (handshake/server.h): Tend whenever descriptor() is
  // readable, and Accept while HasReady.
  void Tend();
  bool HasReady() const;
  absl::StatusOr<int> descriptor();
  // How many handshakes failed so far.
  uint64_t failures() const;
  const absl::Status& last_failure() const;

 private:
  ChannelListener(std::unique_ptr<Server> server, const WaitOptions& wait);
  std::unique_ptr<Server> server_;
  WaitOptions wait_;
};

// A channel from a completed handshake, for those who drive handshakes themselves.
absl::StatusOr<Channel> MakeChannel(const std::shared_ptr<Session>& session,
                                    const WaitOptions& wait = {});

}  // namespace parley

#endif  // PARLEY_CHANNEL_CHANNEL_H_
