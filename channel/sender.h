// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_CHANNEL_SENDER_H_
#define PARLEY_CHANNEL_SENDER_H_

// The sending end of a channel: a ring's producer that can also wait.
//
// Trust: the peer may not drain (kWouldBlock, kDeadlineExceeded), lie (kPoisoned, kDataLoss with
// the reason) or die (kUnavailable; kClosed from a Try call, and peer_gone()). Each of these ends
// is for good, whatever the peer writes later. A Try call makes at most one system call on what the
// peer shares: the doorbell, or a look whether the peer is still there, neither of which waits.
// Every other call keeps its deadline.
// Threads: one at a time. Another thread may use the channel's Receiver meanwhile. Interrupt is for
// any thread, and for signal handlers.
// Ordering: what was written before a message was sent is visible to whoever received it.
//
//   absl::Status sent = channel->sender.Send(kTag, bytes, Deadline::After(absl::Seconds(1)));
//   auto room = channel->sender.Reserve(frame_bytes, deadline);   // or in place
//   if (room.ok()) { Render(*room); channel->sender.Commit(kTag, frame_bytes); }
//   channel->sender.Close();   // the peer gets all of it, then the end of the stream

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/boundary/violation.h"
#include "parley/channel/internal/end_handle.h"
#include "parley/channel/stats.h"
#include "parley/os/deadline.h"
#include "parley/ring/ring_types.h"

namespace parley {

namespace internal {
struct FanOutState;
struct FrameSenderState;
}  // namespace internal

class OwnMemory;
class Session;
class Waitable;
struct ArenaGeometry;
struct WaitOptions;

class Sender {
 public:
  // One that does not exist: the channel has no such direction.
  Sender();
  Sender(Sender&& other) noexcept;
  Sender& operator=(Sender&& other) noexcept;
  explicit operator bool() const { return static_cast<bool>(state_); }

  // Copies one message. tag <= kMaxTag: anything else is the caller's bug and aborts. kTooLong:
  // bytes.size() > max_message_bytes(). The handshake agreed on that: what our options ask for, or
  // where they leave it open the peer's choice, but never less than kMinMessageLimitBytes.
  Outcome TrySend(uint32_t tag, absl::Span<const std::byte> bytes);
  // The same, waiting for room. kDeadlineExceeded; kInvalidArgument: the message is
  // too long; kOutOfRange: the peer takes no more (it closed);
  // kUnavailable: the peer has ended; kDataLoss: it broke the protocol, see violation().
  absl::Status Send(uint32_t tag, absl::Span<const std::byte> bytes, Deadline deadline);

  // Room for one message of up to size_bytes, to be filled in place and sent by Commit. The peer
  // can watch it being filled.
  Outcome TryReserve(std::size_t size_bytes, absl::Span<std::byte>* room);
  absl::StatusOr<absl::Span<std::byte>> Reserve(std::size_t size_bytes, Deadline deadline);
  void Commit(uint32_t tag, std::size_t used_bytes);
  // Gives up what was reserved: nothing else can be sent before that, or Commit.
  void DropReserved();
  bool reserved() const;

  // A batch: messages that become visible, and wake the peer, all at once at Publish (or at the
  // next call that sends or waits).
  Outcome TryStage(uint32_t tag, absl::Span<const std::byte> bytes);
  void Stage(uint32_t tag, std::size_t used_bytes);  // of reserved room
  void Publish();

  // Ends the stream in order. Messages sent before still arrive. Never waits.
  void Close();
  bool closed() const;
  // Waits until the peer has taken everything. Errors as for Send. A peer that has closed may still
  // give back what it had peeked at: so OK can follow kOutOfRange. kUnavailable is for good.
  absl::Status AwaitDrained(Deadline deadline);

  // For event loops: if PrepareToWait(size) is true there is no room for such a message now; poll
  // descriptor() for POLLIN, then call FinishWait (an error means that there is no use in trying
  // again) and try once more. Not for a channel whose doorbell is a futex, which both ends asked
  // for (DoorbellKind::kFutex): descriptor() is -1, and the other two abort.
  // descriptor() makes an epoll and a timer descriptor when it is called first, so call it before a
  // lock-down; -1 if there was none left. A peer that signals without end finds it blind for
  // WaitOptions::throttle_time at a time.
  bool PrepareToWait(std::size_t size_bytes);
  absl::Status FinishWait(std::size_t size_bytes);
  int descriptor() const;

  // For a WaitSet (wait_set/wait_set.h), which waits for free space for a message of `size_bytes`,
  // the last that was asked for. Lives as long as this end; one set at a time. With a futex
  // doorbell there is nothing that a set could poll.
  Waitable* waitable(std::size_t size_bytes) const;

  // Ends the wait that is under way, or else the next one, with kCancelled; makes descriptor()
  // readable, and FinishWait say so. From any thread and from a signal handler, while this end
  // exists. With a futex doorbell the wait ends after kMaxFutexSleep at most.
  void Interrupt() const;

  uint32_t max_message_bytes() const;
  uint64_t capacity_bytes() const;
  // The arena of the region that we write, for frames/; empty without.
  ArenaGeometry arena_geometry() const;
  OwnMemory arena_memory() const;
  // Poisons the channel for a reason that a higher layer found.
  void Poison(Violation violation);
  Violation violation() const;
  // Whether the peer was seen to have ended. A caller that makes only Try calls gets kClosed then,
  // after 64 empty ones at the latest, and it asks the kernel once in 10 ms at most.
  bool peer_gone() const;
  ChannelStats stats() const;

 private:
  friend class ChannelMaker;
  friend class HostileAccess;
  // Ports that stand on this end hold a second handle to it, and so keep it alive wherever the
  // channel is moved to. Used by the same thread.
  friend class BulkSender;
  friend class AudioPort;  // and uses its ring, since it may never signal
  friend class FrameFanOut;
  friend class FrameSender;
  friend struct internal::FanOutState;
  friend struct internal::FrameSenderState;
  Sender(const Sender&);

  struct State;
  class Port;
  static absl::StatusOr<Sender> Create(std::shared_ptr<Session> session,
                                       const WaitOptions& options);
  State& state() const;  // aborts where there is none
  absl::Status WaitForFreeSpace(std::size_t size_bytes, Deadline deadline);
  absl::Status StatusOf(Outcome outcome) const;

  internal::EndHandle<State> state_;
};

}  // namespace parley

#endif  // PARLEY_CHANNEL_SENDER_H_
