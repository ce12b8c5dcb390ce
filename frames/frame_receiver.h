// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_FRAMES_FRAME_RECEIVER_H_
#define PARLEY_FRAMES_FRAME_RECEIVER_H_

// The receiving end of an arena: frames of the peer's, read where they lie or copied out, kept for
// a while, and returned in any order. frames/frame_sender.h has the other end.
//
// Trust: the bytes of a received frame are the peer's, and it may rewrite them at any time; what
// decides anything is copied first (CopyOut). Where a frame lies, how long it is and which use it
// is are checked: what an honest peer can't say poisons the channel (kPoisoned, kDataLoss). The
// peer may take a frame back while it is held, and write something else there: StillValid says
// whether it admits to that. A Try call makes at most one system call on what the peer shares, a
// doorbell, which does not wait, and takes at most kMaxRecordsPerCall records.
// Threads: one at a time, its frames included. Another thread may use the channel's FrameSender.
// Ordering: what was written to a frame before it was sent is visible to whoever received it.
//
// The channel receives, and has an arena for that (RingRequest::arena, set on the accepting side;
// `alignment` on either), or its session reads a broadcast with frames (frames/frame_fan_out.h).
// Where nothing but frames comes through this end of it, the FrameReceiver receives; where frames
// come among other messages, the channel's Receiver does, and Open has what it received under the
// tags of frames. One way for the life of a channel.
//
//   absl::StatusOr<FrameReceiver> receiver = FrameReceiver::Create(*channel);
//   absl::StatusOr<InFrame> frame = receiver->Receive(deadline);
//   if (frame.ok() && frame->CopyOut(absl::MakeSpan(picture))) Show(picture, frame->metadata());

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/boundary/peer_memory.h"
#include "parley/boundary/violation.h"
#include "parley/channel/channel.h"
#include "parley/frames/frame_wire.h"
#include "parley/os/deadline.h"
#include "parley/ring/ring_types.h"
#include "parley/shm/arena_layout.h"
#include "parley/wait/waitable.h"

namespace parley {

struct FrameReceiverStats {
  uint64_t received = 0;
  uint64_t taken_back = 0;         // by the peer, while they were held or before
  uint64_t missed = 0;             // of these, before they were received
  uint64_t dropped_by_sender = 0;  // as the peer says: left out, or taken back
  uint64_t skipped = 0;            // by ReceiveLatest, because there was a newer one
};

namespace internal {
struct FrameReceiverState;
}  // namespace internal

// A frame of the peer's that we hold. It returns itself. May end after its FrameReceiver. Used by
// the thread of its FrameReceiver.
class InFrame {
 public:
  // None. The metadata are left as they are.
  InFrame() {}  // NOLINT(modernize-use-equals-default,cppcoreguidelines-pro-type-member-init)
  InFrame(InFrame&& other) noexcept { MoveFrom(other); }
  InFrame& operator=(InFrame&& other) noexcept {
    if (this == &other) return *this;
    Reset();
    MoveFrom(other);
    return *this;
  }
  ~InFrame() { Reset(); }

  explicit operator bool() const { return state_ != nullptr; }
  uint32_t tag() const { return tag_; }
  // Its bytes where they lie, as many as the peer sent, aligned as was agreed on. Until the frame
  // ends.
  PeerView view() const { return view_; }
  std::size_t size_bytes() const { return view_.size_bytes(); }
  // A private copy, until the frame ends.
  absl::Span<const std::byte> metadata() const { return {metadata_.data(), metadata_bytes_}; }
  // How many frames the peer says that it left out or took back since the last one that it sent.
  uint32_t dropped_before() const { return dropped_; }

  // Whether the peer says that it has not begun to write something else there: asked after reading,
  // it tells whole frames from those that an impatient, honest peer took back meanwhile.
  bool StillValid() const;
  // Copies the first into.size() bytes. False: it has fewer, and nothing was copied, or they are
  // not valid any more.
  bool CopyOut(absl::Span<std::byte> into) const;

  // Returns it, and makes it none. Never waits, and can't fail.
  void Reset();

 private:
  friend struct internal::FrameReceiverState;
  void MoveFrom(InFrame& other);

  internal::FrameReceiverState* state_ = nullptr;
  uint64_t generation_ = 0;
  uint32_t id_ = 0;
  uint32_t tag_ = 0;
  uint32_t dropped_ = 0;
  uint32_t metadata_bytes_ = 0;
  PeerView view_;
  std::array<std::byte, kMaxFrameMetadataBytes> metadata_;
};

class FrameReceiver {
 public:
  // A Try call takes no more records than this: the peer can take frames back before we see them.
  static constexpr int kMaxRecordsPerCall = 2 * kMaxFrames;

  // `channel` may be moved or end before this does; it can have one FrameReceiver in its life.
  // kFailedPrecondition: it does not receive, has no arena for that, or has a FrameReceiver.
  static absl::StatusOr<FrameReceiver> Create(const Channel& channel);
  FrameReceiver(FrameReceiver&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  FrameReceiver& operator=(FrameReceiver&& other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~FrameReceiver();

  // The next frame that the peer has not taken back. The peer has at most kMaxFrames out, in the
  // arena's bytes: end them. kWouldBlock, kClosed, kPoisoned as with Receiver.
  Outcome TryReceive(InFrame* frame);
  // kDeadlineExceeded; kOutOfRange: the end of the stream; kUnavailable: the peer ended without
  // closing; kDataLoss: it broke the protocol, see violation(); kCancelled: Interrupt.
  absl::StatusOr<InFrame> Receive(Deadline deadline);
  // The newest frame that is there; those before it are returned, and counted as skipped. Takes
  // kMaxRecordsPerCall records at most.
  Outcome TryReceiveLatest(InFrame* frame);

  // The frame of a message that the channel's Receiver has received, each once and in order; `tag`
  // and `message`, a private copy, as they came. kWouldBlock: the peer has taken it back;
  // kPoisoned: it is the record of no frame, or the channel is poisoned.
  Outcome Open(uint32_t tag, absl::Span<const std::byte> message, InFrame* frame);

  // Takes no more: the peer's sends end. Frames that are held stay valid. Never waits.
  void Close();

  // For event loops, as with Receiver.
  bool PrepareToWait();
  absl::Status FinishWait();
  int descriptor() const;
  // For a WaitSet (wait_set/wait_set.h), which waits for a frame.
  Waitable* waitable() const;
  void Interrupt() const;

  const ArenaGeometry& arena() const;
  Violation violation() const;
  FrameReceiverStats stats() const;

 private:
  explicit FrameReceiver(internal::FrameReceiverState* state) : state_(state) {}

  internal::FrameReceiverState* state_;  // shared with the frames that are held
};

}  // namespace parley

#endif  // PARLEY_FRAMES_FRAME_RECEIVER_H_
