// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_FRAMES_FRAME_FAN_OUT_H_
#define PARLEY_FRAMES_FRAME_FAN_OUT_H_

// The sending end of an arena for many receivers: each frame is written once, in a broadcast that
// all of them map and none of them can write, and lent to each of them. They attach and leave at
// any time.
//
//   producer                                   receivers, any number
//     FrameFanOut --> arena in a broadcast  --> FrameReceiver
//        |  '------- a record in its ring ----->   |
//        '<--------- what it returned -------------'   each by a channel of its own
//
// Each receiver has a policy and a quota of its own. With kDropNewest or kDropOldest it costs the
// producer a look at its words and a record for each frame, and a signal if it sleeps, whatever it
// does. What the arena lacks is taken back from the receiver that has most of it, the oldest first:
// who has no more than an equal share loses nothing to one that is stopped, dead or hostile. Who
// loses a frame can see it (InFrame::StillValid, FrameReceiverStats).
//
// Trust: what a receiver says is about what it has itself. It can return in any order, forge, or
// never return; it can make its signals expensive, up to its channel's budget (WaitOptions), after
// which it is let go of as any that broke the protocol. It reads what others are sent, and for as
// long as it lives whatever else is written to the arena.
// Threads: one at a time, its frames included. Interrupt is for any thread.
// Ordering: what was written to a frame before it was sent is visible to whoever received it.
//
//   auto broadcast = *Broadcast::Create({FramesSection(ArenaFor(12, kPictureBytes))});
//   FrameFanOut fan_out = *FrameFanOut::Create(broadcast);
//   AcceptOptions options;
//   options.direction = Direction::kSendOnly;
//   options.send = {.capacity_bytes = 16384, .max_message_bytes = 1024};
//   options.broadcast = broadcast;
//   ChannelListener listener = *ChannelListener::Listen(name, options);
//   while (running) {
//     listener.Tend();
//     while (listener.HasReady()) {
//       absl::StatusOr<Channel> channel = listener.Accept(deadline);
//       if (channel.ok()) Log(fan_out.Attach(*std::move(channel)).status());
//     }
//     absl::StatusOr<OutFrame> frame = fan_out.Acquire(kPictureBytes, deadline);
//     if (!frame.ok()) break;
//     Render(frame->bytes());
//     fan_out.Send(&*frame, kPictureBytes, kTag, metadata);
//     for (const FanOutEnd& end : fan_out.TakeEnded()) Log(end.why);
//   }
//
//   // A receiver, in another process:
//   ConnectOptions options;
//   options.direction = Direction::kReceiveOnly;
//   options.broadcast_kinds = {kSectionFrames};
//   Channel channel = *ConnectChannel(name, options, deadline);
//   FrameReceiver receiver = *FrameReceiver::Create(channel);

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/channel/channel.h"
#include "parley/frames/frame_sender.h"
#include "parley/os/deadline.h"
#include "parley/ring/ring_types.h"
#include "parley/shm/arena_layout.h"
#include "parley/shm/broadcast.h"

namespace parley {

struct FanOutOptions {
  // The most metadata that goes with a frame; at most kMaxFrameMetadataBytes.
  std::size_t metadata_bytes = 64;
};

struct FanOutReceiverOptions {
  // What is done where the receiver has its quota. kWait: it misses nothing as long as it returns
  // something within max_wait; the producer, and so all others, wait for it that long. After that
  // it is treated as kDropNewest until it returns something. kDropOldest: it loses what it has had
  // for longest; the choice of who wants the newest, with FrameReceiver::TryReceiveLatest.
  WhenFull when_full = WhenFull::kDropNewest;
  // The quota: how much the receiver has at once.
  uint32_t max_frames = 4;  // 1 to kMaxFrames
  uint64_t max_bytes = 0;   // 0: as much as the arena has
  absl::Duration max_wait = absl::Seconds(1);
};

// What became of the frames that were sent since a receiver attached, and until it left:
// offered = sent + all that was dropped, and sent = returned + revoked + held.
struct FanOutStats {
  uint64_t offered = 0;
  uint64_t sent = 0;
  uint64_t returned = 0;
  uint64_t revoked = 0;             // taken back: for the arena, by kDropOldest, or at its end
  uint64_t dropped_before_key = 0;  // decoding can't begin there: after it attached, or a drop
  uint64_t dropped_newest = 0;      // it had its quota
  uint64_t dropped_unread = 0;      // it took no records from its ring
  uint64_t dropped_timeout = 0;     // with kWait, after max_wait
  uint32_t held = 0;                // now
};

// A receiver, among all that one FrameFanOut ever had.
using FanOutId = uint64_t;

// One that left.
struct FanOutEnd {
  FanOutId id = 0;
  // kOutOfRange: it closed; kUnavailable: its process ended; kDataLoss: it broke the protocol.
  absl::Status why;
  FanOutStats stats;
};

namespace internal {
struct FanOutState;
}  // namespace internal

class FrameFanOut {
 public:
  // The one writer of the broadcast's section of frames, which it keeps alive. kNotFound: there is
  // none; kAlreadyExists: it has a writer; kInvalidArgument: not one of FramesSection.
  static absl::StatusOr<FrameFanOut> Create(std::shared_ptr<Broadcast> broadcast,
                                            const FanOutOptions& options = {});
  FrameFanOut(FrameFanOut&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  FrameFanOut& operator=(FrameFanOut&& other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~FrameFanOut();

  // A receiver that gets the frames from the next key frame on. kFailedPrecondition: the channel
  // does not send, its peer has no broadcast of ours, its messages are too short for a frame's
  // record, or it has a FrameSender. kInvalidArgument: the options.
  absl::StatusOr<FanOutId> Attach(Channel channel, const FanOutReceiverOptions& options = {});
  // Lets it go, in order: what is in its ring arrives, and what it has is taken back. Who left by
  // itself was let go of before, so that is no error. Not in TakeEnded.
  void Detach(FanOutId id);

  // What each receiver gets before its first frame, for instance the format that its frames are in;
  // and, where this is called again, before the next one. It goes through the ring, whole, as a
  // message that is no frame: a receiver takes both with its channel's Receiver, and has what came
  // under the tags of frames opened (FrameReceiver::Open). bytes.size() <= kMaxPreambleBytes, and
  // within each channel's messages: a receiver without room for it gets nothing.
  static constexpr std::size_t kMaxPreambleBytes = 65536;
  void SetPreamble(uint32_t tag, absl::Span<const std::byte> bytes);

  // A frame to fill. Takes back what is needed for it, but not from a receiver with kWait.
  // kWouldBlock: such ones, or our own caller's handles, have the arena. kTooLong: longer than it.
  Outcome TryAcquire(std::size_t size_bytes, OutFrame* frame);
  // Waits for the receivers with kWait, each for its max_wait from the call on, or from its last
  // return. kDeadlineExceeded; kResourceExhausted: our own caller's handles have the arena;
  // kInvalidArgument: longer than the arena; kCancelled: Interrupt.
  absl::StatusOr<OutFrame> Acquire(std::size_t size_bytes, Deadline deadline);

  // Lends the first `used_bytes` of it to every receiver whose policy has it, and makes it none.
  // How many. `is_key`: decoding can begin with it, as it can with any picture that is not
  // compressed; a receiver that missed a frame gets nothing more until the next of these. Waits for
  // receivers with kWait alone, each at most for its max_wait from the call on, and until
  // `deadline`. After Interrupt it goes on without the one that it waited for.
  // `*frame` is a frame of this one's; tag <= kMaxTag, metadata.size() <= options.metadata_bytes.
  uint32_t Send(OutFrame* frame, std::size_t used_bytes, uint32_t tag,
                absl::Span<const std::byte> metadata = {}, bool is_key = true,
                Deadline deadline = Deadline::Never());

  // A message to one receiver, among its frames and under another tag, without waiting. kClosed:
  // there is no such receiver (any more).
  Outcome TrySendMessage(FanOutId id, uint32_t tag, absl::Span<const std::byte> bytes);

  // Those that left since the last call: to be asked now and then, since each is remembered until
  // then. That one has left is found by Send, but for one that has all of its quota, and by this,
  // which asks the kernel once for each.
  std::vector<FanOutEnd> TakeEnded();

  // Ends all streams in order: what was sent before arrives. Never waits. Sending is for those that
  // are attached later.
  void Close();
  // Ends a wait that is under way, or else the next one.
  void Interrupt();

  std::vector<FanOutId> receivers() const;
  // kNotFound: there is no such receiver (any more).
  absl::StatusOr<FanOutStats> stats(FanOutId id) const;
  const ArenaGeometry& arena() const;
  // How many uses of frames are out.
  uint32_t lent_frames() const;

 private:
  explicit FrameFanOut(internal::FanOutState* state) : state_(state) {}

  internal::FanOutState* state_;  // shared with the frames that are out of it
};

}  // namespace parley

#endif  // PARLEY_FRAMES_FRAME_FAN_OUT_H_
