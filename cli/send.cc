// SPDX-License-Identifier: Apache-2.0
#include "parley/cli/send.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/channel/channel.h"
#include "parley/cli/fan_out.h"
#include "parley/cli/input.h"
#include "parley/cli/stream_sender.h"
#include "parley/handshake/options.h"
#include "parley/os/deadline.h"

namespace parley::cli {
namespace {

constexpr char kVerb[] = "send";
// For the receiver to take the rest.
constexpr absl::Duration kGoodbye = absl::Seconds(10);
constexpr uint64_t kMinCapacityBytes = uint64_t{1} << 20;
constexpr uint64_t kMaxCapacityBytes = uint64_t{1} << 30;

// What went wrong at the other end, told from what went wrong here by a code of its own.
constexpr absl::StatusCode kPeerCode = absl::StatusCode::kDataLoss;

absl::Status OfThePeer(const absl::Status& status) {
  if (absl::IsUnavailable(status)) return absl::Status(kPeerCode, "the receiver has left");
  if (absl::IsOutOfRange(status)) return absl::Status(kPeerCode, "the receiver takes no more");
  return absl::Status(kPeerCode, absl::StrCat("the receiver: ", std::string(status.message())));
}

class ChannelSink final : public MessageSink {
 public:
  ChannelSink(Sender& sender, absl::Duration patience) : sender_(sender), patience_(patience) {}

  absl::StatusOr<absl::Span<std::byte>> Reserve(uint32_t size_bytes, bool may_drop) override {
    if (may_drop) {
      absl::Span<std::byte> room;
      const Outcome outcome = sender_.TryReserve(size_bytes, &room);
      if (outcome == Outcome::kOk) return room;
      if (outcome == Outcome::kWouldBlock) return absl::UnavailableError("no space now");
    }
    const Deadline deadline = Deadline::After(patience_);
    while (true) {
      if (Interrupted()) return InterruptedStatus();
      const auto room = sender_.Reserve(size_bytes, Deadline::After(kSlice).Or(deadline));
      if (room.ok()) return room;
      if (!absl::IsDeadlineExceeded(room.status())) {
        failed_ = true;
        return OfThePeer(room.status());
      }
      if (deadline.Expired()) {
        return absl::DeadlineExceededError(
            absl::StrCat("the receiver took nothing for ", absl::FormatDuration(patience_)));
      }
    }
  }
  void Commit(uint32_t tag, uint32_t size_bytes) override { sender_.Commit(tag, size_bytes); }
  // The last error was the peer's.
  bool failed() const { return failed_; }

 private:
  Sender& sender_;
  absl::Duration patience_;
  bool failed_ = false;
};

absl::StatusOr<Channel> AwaitReceiver(const StreamOptions& options, const StreamSender& stream) {
  const uint64_t capacity = std::clamp(std::bit_ceil(uint64_t{3} * stream.max_message_bytes()),
                                       kMinCapacityBytes, kMaxCapacityBytes);
  AcceptOptions accept = AcceptStream(options.kind);
  accept.send = {.capacity_bytes = capacity, .max_message_bytes = stream.max_message_bytes()};
  accept.limits.max_capacity_bytes = capacity;
  accept.limits.max_message_bytes =
      std::max(accept.limits.max_message_bytes, stream.max_message_bytes());
  absl::StatusOr<ChannelListener> listener = ChannelListener::Listen(options.path, accept);
  if (!listener.ok()) return listener.status();
  const Deadline deadline = Deadline::After(options.timeout);
  while (true) {
    if (Interrupted()) return InterruptedStatus();
    absl::StatusOr<Channel> channel = listener->Accept(Deadline::After(kSlice).Or(deadline));
    if (channel.ok() || !absl::IsDeadlineExceeded(channel.status())) return channel;
    if (deadline.Expired()) {
      return absl::DeadlineExceededError(
          absl::StrCat("no receiver came for ", absl::FormatDuration(options.timeout)));
    }
  }
}

absl::Status Drain(Sender& sender, absl::Duration patience) {
  const Deadline deadline = Deadline::After(std::min(patience, kGoodbye));
  while (true) {
    if (Interrupted()) return InterruptedStatus();
    const absl::Status drained = sender.AwaitDrained(Deadline::After(kSlice).Or(deadline));
    if (drained.ok()) return drained;
    if (!absl::IsDeadlineExceeded(drained)) return OfThePeer(drained);
    if (deadline.Expired())
      return absl::DeadlineExceededError("the receiver does not take the end");
  }
}

// Of a stream that ended early for no fault of a receiver's.
ExitCode CodeOfInput(const absl::Status& status) {
  if (absl::IsDataLoss(status)) return kExitBadInput;
  if (absl::IsResourceExhausted(status)) return kExitLimit;
  return CodeOf(status);
}

// To many.
ExitCode SendToAll(const StreamOptions& options, StreamSender& stream, Pipe& from,
                   FdSource& source) {
  absl::StatusOr<std::unique_ptr<FanOut>> out =
      FanOut::Listen(options, stream.max_message_bytes(), stream.max_format_bytes());
  absl::Status status = out.ok() ? (*out)->AwaitReceivers() : out.status();
  if (!status.ok()) {
    Say(kVerb, std::string(status.message()));
    return CodeOf(status);
  }
  Progress progress;
  source.OnIdle([&] { (*out)->Tend(); });
  while ((status = stream.SendNext(**out)).ok()) {
    progress.Show(stream.messages(), stream.bytes(), 0);
  }
  source.OnIdle({});
  ExitCode code = kExitWhole;
  if (absl::IsOutOfRange(status)) {
    if (from.Finish(options.timeout)) {
      status = (*out)->End();
    } else {
      status = absl::InternalError(absl::StrCat(options.command[0], " failed"));
      code = kExitCommand;
    }
  }
  progress.Clear();
  if (!status.ok()) {
    Say(kVerb, std::string(status.message()));
    if (code == kExitWhole) code = CodeOfInput(status);
  }
  if (options.stats) {
    SayStats(kVerb, stream.messages(), stream.bytes(), (*out)->dropped(), progress.seconds());
    (*out)->SayStats();
  }
  return code;
}

}  // namespace

ExitCode RunSend(const StreamOptions& options) {
  absl::StatusOr<Pipe> from = Pipe::ReadFrom(options.command);
  if (!from.ok()) {
    Say(kVerb, std::string(from.status().message()));
    return kExitTrouble;
  }
  FdSource source(from->fd(), options.timeout);
  BufferedInput input(source);
  FormatLimits limits;
  limits.max_frame_bytes = uint64_t{options.max_frame_mib} << 20;
  StreamSender stream(options.kind, input, limits, options.limit_bytes);
  if (options.policy == SlowReceiver::kDropNewest && options.fan_out == 0) stream.DropNewest();
  absl::Status status = stream.Begin();
  if (!status.ok()) {
    Say(kVerb, std::string(status.message()));
    const bool bad = absl::IsDataLoss(status) || absl::IsResourceExhausted(status) ||
                     absl::IsUnimplemented(status);
    return bad ? kExitBadInput : CodeOf(status);
  }
  if (stream.has_no_resume_points() &&
      (options.fan_out != 0 || options.policy != SlowReceiver::kBlock)) {
    Say(kVerb,
        "note: this NUT has no syncpoints: a receiver that is late, or misses something, gets "
        "nothing more of it");
  }
  if (options.fan_out != 0) return SendToAll(options, stream, *from, source);
  absl::StatusOr<Channel> channel = AwaitReceiver(options, stream);
  if (!channel.ok()) {
    Say(kVerb, std::string(channel.status().message()));
    return CodeOf(channel.status());
  }
  Progress progress;
  ChannelSink out(channel->sender, options.timeout);
  while ((status = stream.SendNext(out)).ok()) {
    progress.Show(stream.messages(), stream.bytes(), stream.dropped());
  }
  ExitCode code = kExitWhole;
  if (absl::IsOutOfRange(status)) {
    // A command that failed has not said all of it: no end, then.
    if (!from->Finish(options.timeout)) {
      status = absl::InternalError(absl::StrCat(options.command[0], " failed"));
      code = kExitCommand;
    } else {
      status = stream.SendEnd(out);
      if (status.ok()) {
        channel->sender.Close();
        status = Drain(channel->sender, options.timeout);
        if (status.code() == kPeerCode) code = kExitPeer;
      }
    }
  }
  progress.Clear();
  if (!status.ok()) {
    Say(kVerb, std::string(status.message()));
    if (code == kExitWhole) {
      code = out.failed() ? kExitPeer : CodeOfInput(status);
    }
  }
  if (options.stats) {
    SayStats(kVerb, stream.messages(), stream.bytes(), stream.dropped(), progress.seconds());
    if (stream.dropped() > 0) Say(kVerb, absl::StrCat("dropped ", ReasonsOf(stream.totals())));
  }
  return code;
}

}  // namespace parley::cli
