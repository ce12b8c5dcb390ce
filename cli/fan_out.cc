// SPDX-License-Identifier: Apache-2.0
#include "parley/cli/fan_out.h"

#include <algorithm>
#include <bit>
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
// How many messages a receiver has at once: pictures or lines, and of a NUT pieces of one.
constexpr uint32_t kQueue = 8;
constexpr uint32_t kNutQueue = 32;
// For the others to go on with, where several receivers have different ones.
constexpr uint64_t kQueuesOfAnArena = 4;
constexpr uint64_t kMaxArenaOfAStream = uint64_t{1} << 30;
// Of each receiver's ring, which carries records and the format: so many of the longest.
constexpr uint32_t kRingMessages = 4;
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

uint32_t QueueOf(StreamKind kind) { return kind == StreamKind::kNut ? kNutQueue : kQueue; }

EndWire EndOf(const FanOutStats& s) {
  return {s.sent, 0, s.dropped_newest, s.dropped_unread, s.dropped_timeout, s.dropped_before_key};
}

void SayOne(FanOutId id, const FanOutStats& s, const std::string& why) {
  Say(kVerb, absl::StrCat("receiver ", id, ": ", s.offered, " offered, ", s.sent, " sent, ",
                          DroppedOf(s), " dropped (", ReasonsOf(EndOf(s)), "), ", s.returned,
                          " returned, ", s.revoked, " taken back, ", s.held, " held", why));
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
                                                       uint32_t max_message_bytes,
                                                       uint32_t max_format_bytes) {
  const uint64_t messages = std::clamp<uint64_t>(kMaxArenaOfAStream / max_message_bytes, 2,
                                                 kQueuesOfAnArena * QueueOf(options.kind));
  auto broadcast = Broadcast::Create({FramesSection(ArenaFor(messages, max_message_bytes))},
                                     {.max_bytes = uint64_t{2} << 30});
  if (!broadcast.ok()) return broadcast.status();
  auto fan_out = FrameFanOut::Create(*broadcast);
  if (!fan_out.ok()) return fan_out.status();
  AcceptOptions accept = AcceptStream(options.kind);
  accept.send = {.capacity_bytes = std::bit_ceil(uint64_t{kRingMessages} * max_format_bytes),
                 .max_message_bytes = max_format_bytes};
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
    // One that was started again may come before its predecessor is known to have left.
    if (fan_out_.receivers().size() >= options_.fan_out) TakeLeavers();
    if (fan_out_.receivers().size() >= options_.fan_out) continue;  // is closed
    // One that asked for no broadcast is of another version: closed as well.
    static_cast<void>(fan_out_.Attach(*std::move(channel), {.when_full = PolicyOf(options_.policy),
                                                            .max_frames = QueueOf(options_.kind)}));
  }
}

void FanOut::TakeLeavers() {
  for (FanOutEnd& end : fan_out_.TakeEnded()) left_.push_back(std::move(end));
  for (; left_.size() > kMaxLeft; left_.pop_front()) {
    ++forgotten_;
    forgotten_dropped_ += DroppedOf(left_.front().stats);
  }
}

void FanOut::Tend() {
  TakeLeavers();
  TakeNewcomers();
}

absl::Status FanOut::AwaitReceivers() {
  const Deadline deadline = Deadline::After(options_.timeout);
  while (true) {
    Tend();
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
  const bool is_key = options_.kind != StreamKind::kNut || tag == kTagResume;
  fan_out_.Send(&frame_, size_bytes, tag | kTagInArena, {}, is_key);
}

absl::Status FanOut::End() {
  const Deadline deadline = Deadline::After(std::min(options_.timeout, kGoodbye));
  std::vector<FanOutId> to_tell = fan_out_.receivers();
  while (true) {
    std::erase_if(to_tell, [&](FanOutId id) {
      const absl::StatusOr<FanOutStats> stats = fan_out_.stats(id);
      if (!stats.ok()) return true;  // it left
      const auto end = WireBytes(EndOf(*stats));
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
