// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_FRAMES_FRAME_PORT_H_
#define PARLEY_FRAMES_FRAME_PORT_H_

// A frame pool: large pieces of memory that go from one process to the other without being copied,
// and come back in any order. For video frames, tensors and blocks that are kept for a while, where
// a ring's first in, first out would hold everything behind them up.
//
// Each direction has its own frames, in the region that its sender alone can write. What the rings
// carry is who may read which frame now: "sent", and in the other ring "returned".
//
// Trust: the bytes of a received frame are the peer's, and it may rewrite them at any time; what
// decides anything is to be copied first (PeerView::CopyTo, then StillValid). Frame numbers, sizes
// and generations are checked: one that an honest peer can't say poisons the channel (kPoisoned,
// kDataLoss). A peer that keeps our frames makes TryAcquire say kWouldBlock, until RevokeOldest
// takes them back; it then reads what we write next, which it could in any case. A Try call makes
// at most two system calls, doorbells, which do not wait, and takes at most kMaxRecordsPerCall
// records in. Threads: one at a time.
// Ordering: what was written to a frame before it was sent is visible to whoever received it.
//
// The channel has both directions, and frames in at least one (RingRequest::frames, set on the
// accepting side). Both sides use a FramePort, and neither sends through the channel nor closes it
// but by the port.
//
// Have at least 4 frames, and 4 MiB of them together, or both processes wait for each other's
// cache; send what is longer than a few MiB as several frames of 2 MiB (docs/BENCHMARKS.md).
//
//   AcceptOptions options;
//   options.receive.frames = {.count = 4, .frame_bytes = 4 << 20};
//   absl::StatusOr<Channel> channel = AcceptChannel(socket, options, deadline);
//   absl::StatusOr<FramePort> port = FramePort::Create(&*channel);
//   absl::StatusOr<ReceivedFrame> frame = port->Receive(deadline);
//   if (frame.ok()) { Show(frame->view, frame->metadata); port->Return(*frame); }
//
//   absl::StatusOr<WritableFrame> room = port->Acquire(deadline);          // the other side
//   if (room.ok()) { Render(room->bytes); port->Send(*room, size, kTag, metadata, deadline); }

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/boundary/violation.h"
#include "parley/channel/channel.h"
#include "parley/frames/frame_wire.h"
#include "parley/frames/receiver_pool.h"
#include "parley/frames/sender_pool.h"
#include "parley/os/deadline.h"
#include "parley/ring/ring_types.h"
#include "parley/shm/frame_layout.h"
#include "parley/wait/waitable.h"

namespace parley {

struct FramePortOptions {
  // The most metadata that this side sends with a frame; at most kMaxFrameMetadataBytes.
  std::size_t metadata_bytes = 64;
};

// A frame of ours, to be filled. The peer can watch it being filled.
struct WritableFrame {
  uint32_t slot = 0;
  absl::Span<std::byte> bytes;
};

// A frame of the peer's, to be read until it is returned.
struct ReceivedFrame {
  uint32_t slot = 0;
  uint64_t generation = 0;
  uint32_t tag = 0;
  PeerView view;
  // A private copy, in the port, until the next frame is received.
  absl::Span<const std::byte> metadata;
};

struct FramePortStats {
  uint64_t sent = 0;
  uint64_t returned = 0;  // to us
  uint64_t revoked = 0;   // by us
  uint64_t received = 0;
  uint64_t taken_back = 0;  // by the peer, while we held them
};

class FramePort {
 public:
  // A Try call takes no more records from the ring than this: twice what an honest peer can have
  // sent, since each frame is announced once and returned once.
  static constexpr int kMaxRecordsPerCall = 4 * kMaxFrames;

  // `channel` may be moved or end before this does. kFailedPrecondition: it lacks a direction, has
  // no frames, or its ring is too short for a record of each frame at once (the text has the size).
  static absl::StatusOr<FramePort> Create(const Channel* channel,
                                          const FramePortOptions& options = {});

  FramePort(FramePort&&) = default;
  FramePort(const FramePort&) = delete;

  // --- our frames

  // A frame to fill, the one that suits the caches (FrameSenderPool::kReuseBytes). Until it is sent
  // or discarded it is the caller's. kWouldBlock: all are lent or acquired. kClosed: the same, and
  // none can come back.
  Outcome TryAcquire(WritableFrame* frame);
  // The same, waiting for a return. Errors as those of Receive.
  absl::StatusOr<WritableFrame> Acquire(Deadline deadline);
  // Lends the first `used_bytes` of it to the peer. `frame` was acquired, `metadata` is no longer
  // than options.metadata_bytes, tag <= kMaxTag. After anything but kOk the frame is still
  // acquired. kWouldBlock only with a peer that takes no records.
  Outcome TrySend(const WritableFrame& frame, std::size_t used_bytes, uint32_t tag,
                  absl::Span<const std::byte> metadata = {});
  absl::Status Send(const WritableFrame& frame, std::size_t used_bytes, uint32_t tag,
                    absl::Span<const std::byte> metadata, Deadline deadline);
  // Makes an acquired frame free again. The peer may have read what was written.
  void Discard(const WritableFrame& frame);
  // Takes the frame back that the peer has had for longest; false if it has none. The peer can find
  // out (StillValid) and need not look.
  bool RevokeOldest();

  const FrameGeometry& send_frames() const { return send_geometry_; }
  // How many can be acquired without hearing from the peer, and how many it has.
  uint32_t free_frames() const { return sender_pool_.free_count(); }
  uint32_t lent_frames() const { return sender_pool_.lent_count(); }

  // --- the peer's frames

  // The next frame. The peer has at most as many out as there are: return them.
  Outcome TryReceive(ReceivedFrame* frame);
  // kDeadlineExceeded; kOutOfRange: the end of the stream; kUnavailable: the peer ended without
  // closing; kDataLoss: it broke the protocol, see violation().
  absl::StatusOr<ReceivedFrame> Receive(Deadline deadline);
  // Whether the peer says that it has not begun to write the frame anew: asked after reading, it
  // tells whole frames from those that an impatient, honest peer took back meanwhile.
  bool StillValid(const ReceivedFrame& frame) const;
  // Gives it back, once. Never waits, and can't fail: what finds no room goes with a later call.
  void Return(const ReceivedFrame& frame);

  const FrameGeometry& receive_frames() const { return receiver_pool_.geometry(); }

  // Ends our stream in order, instead of Sender::Close: what was sent and returned before arrives.
  // Frames of the peer can still be received; returning them then tells nobody. Never waits.
  void Close();

  // For event loops, as with Receiver: if PrepareToWait() is true there is no frame and no return
  // now; poll the receiver's descriptor(), call its FinishWait(), and try once more.
  bool PrepareToWait();
  // For a WaitSet (wait_set/wait_set.h), which waits for a frame or a return. Belongs to the
  // channel's receiver, and lives as long as this or the channel.
  Waitable* waitable() const { return receiver_.waitable(); }

  Violation violation() const { return receiver_.violation(); }
  FramePortStats stats() const;

 private:
  struct Announced {
    FrameSentWire sent = {};
    uint32_t tag = 0;
    std::size_t metadata_bytes = 0;
    std::array<std::byte, kMaxFrameMetadataBytes> metadata = {};
  };

  FramePort(const Channel* channel, const FramePortOptions& options);

  // Takes records until `have`; kOk once it is.
  template <typename Have>
  Outcome TakeUntil(Have have);
  // Takes what was peeked at, which is not released yet.
  Violation Take(const PeekedMessage& message);
  Violation TakeSent(const PeekedMessage& message);
  void SendReturns();
  // Waits for one record and takes it.
  absl::Status AwaitRecord(Deadline deadline);
  // `attempt()` until it is done, with the next record in between.
  template <typename Try>
  absl::Status Until(Try attempt, Deadline deadline);
  using RecordBuffer = std::array<std::byte, sizeof(FrameSentWire) + kMaxFrameMetadataBytes>;
  // The record that announces a frame, at the front of `buffer`.
  absl::Span<const std::byte> Encode(const WritableFrame& frame, std::size_t used_bytes,
                                     absl::Span<const std::byte> metadata, RecordBuffer* buffer);
  void Sent(const WritableFrame& frame);

  // Second handles to the ends of the channel.
  Sender sender_;
  Receiver receiver_;
  FramePortOptions options_;
  FrameGeometry send_geometry_;
  OwnMemory own_;
  PeerMemory peer_;
  FrameSenderPool sender_pool_;
  FrameReceiverPool receiver_pool_;
  FramePortStats stats_;
  bool closed_ = false;
  // Announced by the peer and not yet received by our caller: a queue of slots, each at most once.
  std::array<Announced, kMaxFrames> announced_;
  std::array<uint32_t, kMaxFrames> queue_ = {};
  uint32_t queue_begin_ = 0;
  uint32_t queue_count_ = 0;
  uint64_t queued_ = 0;  // a bit for each slot
  // Returned by our caller and not yet told: a bit for each slot; always its newest use.
  uint64_t returning_ = 0;
  std::array<std::byte, kMaxFrameMetadataBytes> metadata_ = {};
};

}  // namespace parley

#endif  // PARLEY_FRAMES_FRAME_PORT_H_
