// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_CHANNEL_RECEIVER_H_
#define PARLEY_CHANNEL_RECEIVER_H_

// The receiving end of a channel: a ring's consumer that can also wait.
//
// Trust: the peer may send nothing (kWouldBlock, kDeadlineExceeded), lie about its positions and
// lengths (kPoisoned, kDataLoss with the reason), write any content, rewrite what is seen in place,
// or die (kUnavailable, after everything that it had sent; kClosed from a Try call, and
// peer_gone()). Each of these ends is for good, whatever the peer writes later. A Try call makes at
// most one system call on what the peer shares: the doorbell, or a look whether the peer is still
// there, neither of which waits. Every other call keeps its deadline.
// Threads: one at a time. Another thread may use the channel's Sender meanwhile. Interrupt is for
// any thread, and for signal handlers.
// Ordering: what the peer wrote before it sent a message is visible once a call returned it.
//
//   std::vector<std::byte> buffer(channel->receiver.max_message_bytes());
//   while (true) {
//     absl::StatusOr<Record> message = channel->receiver.Receive(absl::MakeSpan(buffer), deadline);
//     if (absl::IsOutOfRange(message.status())) break;   // the peer closed in order
//     if (!message.ok()) return message.status();
//     Handle(message->tag, absl::MakeConstSpan(buffer).first(message->size_bytes));
//   }

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/boundary/peer_memory.h"
#include "parley/boundary/violation.h"
#include "parley/channel/internal/end_handle.h"
#include "parley/channel/stats.h"
#include "parley/os/deadline.h"
#include "parley/ring/ring_types.h"

namespace parley {

namespace internal {
struct FrameReceiverState;
}  // namespace internal

class Session;
class Waitable;
struct ArenaGeometry;
struct WaitOptions;

// A message seen where it lies, until Release.
struct PeekedMessage {
  Record record;
  PeerView view;
};

class Receiver {
 public:
  // One that does not exist: the channel has no such direction.
  Receiver();
  Receiver(Receiver&& other) noexcept;
  Receiver& operator=(Receiver&& other) noexcept;
  explicit operator bool() const { return static_cast<bool>(state_); }

  // Copies the next message to the front of `into`, which has at least max_message_bytes().
  Outcome TryReceive(absl::Span<std::byte> into, Record* record);
  // The same, waiting for one. kDeadlineExceeded; kOutOfRange: the end of the stream; kUnavailable:
  // the peer ended without closing, and all that it sent was delivered; kDataLoss: it broke the
  // protocol, see violation().
  absl::StatusOr<Record> Receive(absl::Span<std::byte> into, Deadline deadline);

  // The next message in place. Several may be peeked at; Release gives all of them back. The sender
  // is told of room, here as after Receive, with the last message that is known to be there, or
  // once an eighth of the ring has gathered. So who stops in the middle of what has arrived may
  // leave the sender short of that much, until the next message is taken.
  Outcome TryPeek(PeekedMessage* message);
  absl::StatusOr<PeekedMessage> Peek(Deadline deadline);
  void Release();

  // Takes no more: the peer's sends end with kOutOfRange. Never waits.
  void Close();

  // For event loops: if PrepareToWait() is true there is nothing now; poll descriptor() for POLLIN,
  // then call FinishWait (an error means that nothing will come any more) and try once more. Not
  // for a channel whose doorbell is a futex, which both ends asked for (DoorbellKind::kFutex):
  // descriptor() is -1, and the other two abort. As Sender::descriptor says, the first call makes
  // two descriptors.
  bool PrepareToWait();
  absl::Status FinishWait();
  int descriptor() const;

  // For a WaitSet (wait_set/wait_set.h), which waits for data, or for the end of it. Lives as long
  // as this end; one set at a time. With a futex doorbell there is nothing that a set could poll.
  Waitable* waitable() const;

  // As Sender::Interrupt.
  void Interrupt() const;

  uint32_t max_message_bytes() const;
  uint64_t capacity_bytes() const;
  // The arena of the region that the peer writes, for frames/; empty without.
  ArenaGeometry arena_geometry() const;
  PeerMemory arena_memory() const;
  // Poisons the channel for a reason that a higher layer found, such as kMetadataInvalid.
  void Poison(Violation violation);
  Violation violation() const;
  // Whether the peer was seen to have ended; as Sender::peer_gone.
  bool peer_gone() const;
  ChannelStats stats() const;

 private:
  friend class ChannelMaker;
  friend class HostileAccess;
  // Ports that stand on this end hold a second handle to it, and so keep it alive wherever the
  // channel is moved to. Used by the same thread.
  friend class BulkReceiver;
  friend class AudioPort;  // and uses its ring, since it may never signal
  friend class FrameReceiver;
  friend struct internal::FrameReceiverState;
  Receiver(const Receiver&);

  struct State;
  class Port;
  static absl::StatusOr<Receiver> Create(std::shared_ptr<Session> session,
                                         const WaitOptions& options);
  State& state() const;  // aborts where there is none
  template <typename Try>
  absl::Status Until(Try attempt, Deadline deadline);

  internal::EndHandle<State> state_;
};

}  // namespace parley

#endif  // PARLEY_CHANNEL_RECEIVER_H_
