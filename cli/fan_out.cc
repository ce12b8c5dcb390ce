// SPDX-License-Identifier: Apache-2.0
#include "parley/cli/fan_out.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "parley/boundary/wire_copy.h"
#include "parley/cli/endpoints.h"
#include "parley/frames/frame_wire.h"
#include "parley/os/deadline.h"
#include "parley/shm/arena_layout.h"

namespace parley::cli {
namespace {

constexpr char kVerb[] = "send";
constexpr absl::Duration kGoodbye = absl::Seconds(10);
// How many messages a receiver has at once.
constexpr uint32_t kQueue = 8;
// For the others to go on with, where several receivers have different ones.
constexpr uint64_t kArenaMessages = 4 * kQueue;
constexpr uint64_t kMaxArenaOfAStream = uint64_t{1} << 30;
// Of each receiver's ring, which carries records and the format.
constexpr uint64_t kRingBytes = uint64_t{16} << 10;
constexpr uint32_t kRecordBytes = 4096;
// Of receivers that left: more are counted, and not said one by one.
constexpr std::size_t kMaxLeft = 1000;
// How often the kernel is asked who left.
constexpr uint64_t kCommitsPerLook = 16;

WhenFull PolicyOf(SlowReceiver policy) {
  switch (policy) {
    case SlowReceiver::kBlock:
      return WhenFull::kWait;
    case SlowReceiver::kDropNewest:
      return WhenFull::kDropNewest;
    case SlowReceiver::kDropOldest:
      return WhenFull::kDropOldest;
  }
  return WhenFull::kWait;
}

uint64_t DroppedOf(const FanOutStats& stats) { return stats.offered - stats.sent; }

void SayOne(FanOutId id, const FanOutStats& s, const std::string& why) {
  Say(kVerb,
      absl::StrCat("receiver ", id, ": ", s.offered, " offered, ", s.sent, " sent, ", DroppedOf(s),
                   " dropped (", s.dropped_newest, " newest, ", s.dropped_unread, " unread, ",
                   s.dropped_timeout, " late, ", s.dropped_before_key, " before a key), ",
                   s.returned, " returned, ", s.revoked, " taken back, ", s.held, " held", why));
}

}  // namespace

AcceptOptions AcceptStream(StreamKind kind) {
  AcceptOptions accept;
  accept.direction = Direction::kSendOnly;
  accept.format = ChannelFormat(kind);
  accept.check_format = [wanted = accept.format](const std::string& format) {
    return format == wanted ? absl::OkStatus()
                            : absl::InvalidArgumentError("the sender sends another kind of stream");
  };
  return accept;
}

absl::StatusOr<std::unique_ptr<FanOut>> FanOut::Listen(const StreamOptions& options,
                                                       uint32_t max_message_bytes) {
  const uint64_t messages =
      std::clamp<uint64_t>(kMaxArenaOfAStream / max_message_bytes, 2, kArenaMessages);
  auto broadcast = Broadcast::Create({FramesSection(ArenaFor(messages, max_message_bytes))},
                                     {.max_bytes = uint64_t{2} << 30});
  if (!broadcast.ok()) return broadcast.status();
  auto fan_out = FrameFanOut::Create(*broadcast);
  if (!fan_out.ok()) return fan_out.status();
  AcceptOptions accept = AcceptStream(options.kind);
  accept.send = {.capacity_bytes = kRingBytes, .max_message_bytes = kRecordBytes};
  accept.broadcast = *std::move(broadcast);
  absl::StatusOr<ChannelListener> listener = ChannelListener::Listen(options.path, accept);
  if (!listener.ok()) return listener.status();
  return std::make_unique<FanOut>(Private(), options, *std::move(listener), *std::move(fan_out));
}

void FanOut::TakeNewcomers() {
  listener_.Tend();
  while (listener_.HasReady()) {
    absl::StatusOr<Channel> channel = listener_.Accept(Deadline::After(absl::ZeroDuration()));
    if (!channel.ok()) return;
    if (fan_out_.receivers().size() >= options_.fan_out) continue;  // is closed
    // One that asked for no broadcast is of another version: closed as well.
    static_cast<void>(fan_out_.Attach(
        *std::move(channel), {.when_full = PolicyOf(options_.policy), .max_frames = kQueue}));
  }
}

void FanOut::TakeLeavers() {
  for (FanOutEnd& end : fan_out_.TakeEnded()) left_.push_back(std::move(end));
  for (; left_.size() > kMaxLeft; left_.pop_front()) {
    ++forgotten_;
    forgotten_dropped_ += DroppedOf(left_.front().stats);
  }
}

absl::Status FanOut::AwaitReceivers() {
  const Deadline deadline = Deadline::After(options_.timeout);
  while (true) {
    TakeLeavers();
    TakeNewcomers();
    if (fan_out_.receivers().size() >= options_.await_receivers) return absl::OkStatus();
    if (Interrupted()) return InterruptedStatus();
    if (deadline.Expired()) {
      return absl::DeadlineExceededError(
          absl::StrCat(fan_out_.receivers().size(), " of ", options_.await_receivers,
                       " receivers came in ", absl::FormatDuration(options_.timeout)));
    }
    absl::SleepFor(absl::Milliseconds(2));
  }
}

absl::StatusOr<absl::Span<std::byte>> FanOut::Reserve(uint32_t size_bytes, bool /*may_drop*/) {
  if (Interrupted()) return InterruptedStatus();
  TakeNewcomers();
  // A receiver that is waited for is, for a second at most.
  absl::StatusOr<OutFrame> frame =
      fan_out_.Acquire(std::max(size_bytes, 1u), Deadline::After(options_.timeout));
  if (!frame.ok()) return frame.status();
  frame_ = *std::move(frame);
  return frame_.bytes().first(size_bytes);
}

void FanOut::Commit(uint32_t tag, uint32_t size_bytes) {
  if (++commits_ % kCommitsPerLook == 0) TakeLeavers();
  if (tag == kTagFormat) {
    // Whoever comes later needs it first.
    fan_out_.SetPreamble(tag, frame_.bytes().first(size_bytes));
    frame_.Reset();
    return;
  }
  fan_out_.Send(&frame_, size_bytes, tag | kTagInArena);
}

absl::Status FanOut::End() {
  const Deadline deadline = Deadline::After(std::min(options_.timeout, kGoodbye));
  std::vector<FanOutId> to_tell = fan_out_.receivers();
  while (true) {
    std::erase_if(to_tell, [&](FanOutId id) {
      const absl::StatusOr<FanOutStats> stats = fan_out_.stats(id);
      if (!stats.ok()) return true;  // it left
      const auto end = WireBytes(EndWire{stats->sent, 0, DroppedOf(*stats)});
      return fan_out_.TrySendMessage(id, kTagEnd, end) == Outcome::kOk;
    });
    TakeLeavers();
    // One that has taken all of it closes.
    if (fan_out_.receivers().empty()) return absl::OkStatus();
    if (Interrupted()) return InterruptedStatus();
    if (deadline.Expired()) break;
    absl::SleepFor(absl::Milliseconds(2));
  }
  Say(kVerb,
      absl::StrCat("note: ", fan_out_.receivers().size(), " receivers did not take the end"));
  return absl::OkStatus();
}

uint64_t FanOut::dropped() const {
  uint64_t dropped = forgotten_dropped_;
  for (const FanOutEnd& end : left_) dropped += DroppedOf(end.stats);
  for (const FanOutId id : fan_out_.receivers()) dropped += DroppedOf(*fan_out_.stats(id));
  return dropped;
}

void FanOut::SayStats() const {
  if (forgotten_ > 0) Say(kVerb, absl::StrCat(forgotten_, " receivers left before these"));
  for (const FanOutEnd& end : left_) {
    SayOne(end.id, end.stats,
           absl::IsOutOfRange(end.why) ? "" : absl::StrCat("; ", std::string(end.why.message())));
  }
  for (const FanOutId id : fan_out_.receivers()) SayOne(id, *fan_out_.stats(id), "; it stayed");
}

}  // namespace parley::cli
