// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_FRAMES_FRAME_SENDER_H_
#define PARLEY_FRAMES_FRAME_SENDER_H_

// The sending end of an arena: memory of any size that goes to the other process without being
// copied, and comes back in any order. For pictures, tensors and blocks that are kept for a while,
// where a ring's first in, first out would hold up everything behind them.
//
// The arena lies in the region that this side alone can write. The ring carries who may read which
// bytes; what the peer returns is a word for each frame in its own region.
//
// Trust: a peer can keep our frames (TryAcquire says kWouldBlock, until RevokeOldest takes them
// back; it then reads what we write next, which it could in any case), and return them in any
// order. What it says about others changes nothing. How much that can leave unused is bounded
// (frames/arena_allocator.h). A Try call makes at most one system call on what the peer shares, a
// doorbell, which does not wait, and looks at kMaxFrames words of the peer's at most.
// Threads: one at a time, its frames included. Another thread may use the channel's FrameReceiver.
// Ordering: what was written to a frame before it was sent is visible to whoever received it.
//
// The channel sends, and has an arena for that (RingRequest::arena, set on the accepting side). The
// peer has a FrameReceiver. Other messages may go through the channel's Sender, under other tags,
// where the peer expects them (FrameReceiver::Open).
//
// Have room for at least 4 frames, 4 MiB together, or both processes wait for each other's cache
// (ArenaFor says how much where sizes differ);
// send what is longer than a few MiB as several frames of 2 MiB (docs/BENCHMARKS.md).
//
//   AcceptOptions options;                                             // of the other side
//   options.receive.arena = ArenaFor(4, kPictureBytes);
//
//   absl::StatusOr<FrameSender> sender = FrameSender::Create(*channel);
//   absl::StatusOr<OutFrame> frame = sender->Acquire(kPictureBytes, deadline);
//   if (frame.ok()) {
//     Render(frame->bytes());
//     absl::Status sent = sender->Send(&*frame, kPictureBytes, kTag, metadata, deadline);
//   }

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/boundary/violation.h"
#include "parley/channel/channel.h"
#include "parley/frames/frame_wire.h"
#include "parley/os/deadline.h"
#include "parley/ring/ring_types.h"
#include "parley/shm/arena_layout.h"
#include "parley/wait/waitable.h"

namespace parley {

// What is done where nothing fits, because the receiver has it. Each is counted by its reason, and
// the receiver is told how many frames it missed.
enum class WhenFull : uint8_t {
  kWait,        // for a return, until the deadline
  kDropNewest,  // the new frame is left out: kResourceExhausted, whatever the deadline
  kDropOldest,  // what the receiver has had for longest is taken back
};

struct FrameSenderOptions {
  // The most metadata that goes with a frame; at most kMaxFrameMetadataBytes, and such that the
  // channel's longest message has room for it.
  std::size_t metadata_bytes = 64;
  WhenFull when_full = WhenFull::kWait;
};

struct FrameSenderStats {
  uint64_t sent = 0;
  uint64_t returned = 0;
  uint64_t revoked = 0;          // all that were taken back, also by kDropOldest
  uint64_t dropped_newest = 0;   // by Acquire, with kDropNewest
  uint64_t dropped_oldest = 0;   // by Acquire, with kDropOldest
  uint64_t dropped_timeout = 0;  // by Acquire, at the deadline
};

namespace internal {
struct FrameOwner;
struct FrameSenderState;
}  // namespace internal

// A frame of ours: to be filled until it is sent, and only read from then on. It returns itself.
// May end after its FrameSender (or FrameFanOut). Used by the thread of that.
class OutFrame {
 public:
  // None.
  OutFrame() = default;
  OutFrame(OutFrame&& other) noexcept { Swap(other); }
  OutFrame& operator=(OutFrame&& other) noexcept {
    OutFrame(std::move(other)).Swap(*this);
    return *this;
  }
  ~OutFrame() { Reset(); }

  explicit operator bool() const { return owner_ != nullptr; }
  // As many bytes as were asked for, aligned as was agreed on, with what was written there before.
  // The peer can watch them being filled. Aborts where the frame was sent: see Share.
  absl::Span<std::byte> bytes() const;
  absl::Span<const std::byte> read_only_bytes() const { return bytes_; }

  // A second handle to the same bytes. They are free for others when all handles have ended and the
  // peer has returned each use. So a decoder can send a picture and go on predicting from it: an
  // honest receiver only reads, and no other process can write to it. What it must not do is to
  // write to the frame once it was sent. The frame may be sent again.
  OutFrame Share() const;

  // Makes it none. The peer may have read what was written.
  void Reset();

 private:
  friend class FrameFanOut;
  friend class FrameSender;
  friend struct internal::FrameOwner;
  void Swap(OutFrame& other) {
    std::swap(owner_, other.owner_);
    std::swap(extent_, other.extent_);
    std::swap(bytes_, other.bytes_);
  }

  internal::FrameOwner* owner_ = nullptr;
  uint32_t extent_ = 0;
  absl::Span<std::byte> bytes_;
};

class FrameSender {
 public:
  // `channel` may be moved or end before this does; it can have one FrameSender in its life.
  // kFailedPrecondition: it does not send, has no arena for that, has a FrameSender already, or its
  // messages are too short for a frame's record.
  static absl::StatusOr<FrameSender> Create(const Channel& channel,
                                            const FrameSenderOptions& options = {});
  FrameSender(FrameSender&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  FrameSender& operator=(FrameSender&& other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~FrameSender();

  // A frame to fill, the one that suits the caches (ArenaAllocator::kReuseBytes). kWouldBlock:
  // nothing fits, or kMaxFrames are out. kClosed: the same, and the peer takes no more. What it
  // returns once it is known to be gone is nothing: RevokeOldest takes it back. kTooLong: longer
  // than the arena. Drops nothing, whatever the options say.
  Outcome TryAcquire(std::size_t size_bytes, OutFrame* frame);
  // The same, doing what `when_full` says. kDeadlineExceeded; kResourceExhausted: with kDropNewest,
  // or with kDropOldest where our own caller has the frames; kInvalidArgument: longer than the
  // arena; kOutOfRange, kUnavailable, kDataLoss, kCancelled as with Sender::Send.
  absl::StatusOr<OutFrame> Acquire(std::size_t size_bytes, Deadline deadline);

  // Lends the first `used_bytes` of it to the peer. `*frame` is a frame of this sender's, and none
  // after kOk; after anything else it is as before. `metadata` is no longer than
  // options.metadata_bytes, tag <= kMaxTag. kWouldBlock only with a peer that takes no records, or
  // where a frame is sent several times.
  Outcome TrySend(OutFrame* frame, std::size_t used_bytes, uint32_t tag,
                  absl::Span<const std::byte> metadata = {});
  absl::Status Send(OutFrame* frame, std::size_t used_bytes, uint32_t tag,
                    absl::Span<const std::byte> metadata, Deadline deadline);

  // Takes back what the peer has had for longest; false if it has nothing. The peer can find out
  // (InFrame::StillValid) and need not look.
  bool RevokeOldest();

  // Ends our stream in order, instead of Sender::Close: what was sent before arrives. Never waits.
  void Close();

  // For event loops, as with Sender: if PrepareToWait(size) is true nothing was returned since the
  // last TryAcquire, and nothing fits; poll descriptor() for POLLIN, then FinishWait, and try once
  // more.
  bool PrepareToWait(std::size_t size_bytes);
  absl::Status FinishWait(std::size_t size_bytes);
  int descriptor() const;
  // For a WaitSet (wait_set/wait_set.h): waits until a frame of `size_bytes` may be had.
  Waitable* waitable(std::size_t size_bytes) const;
  void Interrupt() const;

  const ArenaGeometry& arena() const;
  // What is free as far as is known without asking the peer, in one piece or not, and how many uses
  // it has.
  uint64_t free_bytes() const;
  uint32_t lent_frames() const;
  Violation violation() const;
  FrameSenderStats stats() const;

 private:
  explicit FrameSender(internal::FrameSenderState* state) : state_(state) {}

  internal::FrameSenderState* state_;  // shared with the frames that are out of it
};

}  // namespace parley

#endif  // PARLEY_FRAMES_FRAME_SENDER_H_
