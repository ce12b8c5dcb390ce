// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/channel/channel.h"
#include "parley/cli/send.h"
#include "parley/cli/stream_receiver.h"
#include "parley/frames/frame_receiver.h"
#include "parley/frames/frame_wire.h"
#include "parley/handshake/options.h"
#include "parley/handshake/session.h"
#include "parley/os/deadline.h"

namespace parley::cli {
namespace {

constexpr char kVerb[] = "recv";
// A sender that is started at the same time may read its first header first.
constexpr absl::Duration kAwaitSender = absl::Seconds(10);
constexpr absl::Duration kBetweenTries = absl::Milliseconds(20);

absl::StatusOr<Channel> Connect(const StreamOptions& options) {
  ConnectOptions connect;
  connect.direction = Direction::kReceiveOnly;
  connect.format = ChannelFormat(options.kind);
  connect.broadcast_kinds = {kSectionFrames};
  connect.limits.max_broadcast_bytes = uint64_t{2} << 30;
  connect.limits.max_capacity_bytes = uint64_t{1} << 30;
  // A picture with its header and what lies between its planes.
  connect.limits.max_message_bytes = (options.max_frame_mib << 20) + 65536;
  const absl::Duration patience =
      options.timeout == absl::InfiniteDuration() ? kAwaitSender : options.timeout;
  const Deadline deadline = Deadline::After(patience);
  while (true) {
    if (Interrupted()) return InterruptedStatus();
    absl::StatusOr<Channel> channel =
        ConnectChannel(options.path, connect, Deadline::After(absl::Seconds(5)).Or(deadline));
    // Not there yet, or just gone.
    if (channel.ok() ||
        (!absl::IsNotFound(channel.status()) && !absl::IsUnavailable(channel.status()))) {
      return channel;
    }
    if (deadline.Expired()) {
      return absl::DeadlineExceededError(
          absl::StrCat("no sender at ", options.path, " for ", absl::FormatDuration(patience)));
    }
    absl::SleepFor(kBetweenTries);
  }
}

// Messages of one sender: through the ring, or where it has several receivers from its arena.
class Messages {
 public:
  // The error is the sender's.
  static absl::StatusOr<Messages> Of(Channel& channel, uint64_t max_bytes) {
    Messages made(channel, max_bytes);
    if (channel.session->broadcast() == nullptr) return made;
    absl::StatusOr<FrameReceiver> frames = FrameReceiver::Create(channel);
    if (!frames.ok()) return frames.status();
    made.frames_.emplace(*std::move(frames));
    return made;
  }
  bool one_of_many() const { return frames_.has_value(); }

  // kAborted: it was taken back before it was read.
  absl::StatusOr<uint32_t> Receive(Deadline deadline) {
    const absl::StatusOr<Record> record =
        channel_.receiver.Receive(absl::MakeSpan(ring_), deadline);
    if (!record.ok()) return record.status();
    const auto bytes = absl::MakeConstSpan(ring_).first(record->size_bytes);
    if (!frames_.has_value() || (record->tag & kTagInArena) == 0) {
      message_ = bytes;
      return record->tag;
    }
    InFrame frame;
    const Outcome outcome = frames_->Open(record->tag, bytes, &frame);
    if (outcome == Outcome::kWouldBlock) return TakenBack();
    if (outcome != Outcome::kOk) {
      return absl::DataLossError("the sender broke the protocol: a frame that can't be");
    }
    if (frame.size_bytes() > max_bytes_) {
      return absl::DataLossError(absl::StrCat("a message of ", frame.size_bytes(), " bytes"));
    }
    private_.resize(frame.size_bytes());
    if (!frame.CopyOut(absl::MakeSpan(private_))) return TakenBack();
    message_ = private_;
    return record->tag & ~uint32_t{kTagInArena};
  }
  // What came, a private copy.
  absl::Span<const std::byte> message() const { return message_; }

 private:
  Messages(Channel& channel, uint64_t max_bytes)
      : channel_(channel), max_bytes_(max_bytes), ring_(channel.receiver.max_message_bytes()) {}
  static absl::Status TakenBack() { return absl::AbortedError("taken back"); }

  Channel& channel_;
  uint64_t max_bytes_;
  std::vector<std::byte> ring_;
  std::vector<std::byte> private_;
  absl::Span<const std::byte> message_;
  std::optional<FrameReceiver> frames_;
};

}  // namespace

ExitCode RunRecv(const StreamOptions& options) {
  absl::StatusOr<Channel> channel = Connect(options);
  if (!channel.ok()) {
    Say(kVerb, std::string(channel.status().message()));
    return CodeOf(channel.status());
  }
  if (channel->peer_format != ChannelFormat(options.kind)) {
    Say(kVerb, "the sender sends another kind of stream");
    return kExitTrouble;
  }
  absl::StatusOr<Pipe> to = Pipe::WriteTo(options.command);
  if (!to.ok()) {
    Say(kVerb, std::string(to.status().message()));
    return kExitTrouble;
  }
  FormatLimits limits;
  limits.max_frame_bytes = uint64_t{options.max_frame_mib} << 20;
  absl::StatusOr<Messages> messages = Messages::Of(*channel, limits.max_frame_bytes + 65536);
  if (!messages.ok()) {
    Say(kVerb, std::string(messages.status().message()));
    return kExitPeer;
  }
  absl::Status written;
  StreamReceiver stream(
      options.kind, limits, options.limit_bytes,
      [&](absl::Span<const std::byte> bytes) {
        written = WriteAll(to->fd(), bytes, options.timeout);
        return written;
      },
      messages->one_of_many());
  Progress progress;
  ExitCode code = kExitWhole;
  std::string why;
  Deadline patience = Deadline::After(options.timeout);
  while (true) {
    if (Interrupted()) {
      why = "interrupted";
      code = kExitInterrupted;
      break;
    }
    const absl::StatusOr<uint32_t> tag = messages->Receive(Deadline::After(kSlice).Or(patience));
    const bool taken_back = absl::IsAborted(tag.status());
    if (taken_back) stream.Missed();
    // A sender that takes back all that it sends has sent nothing.
    if (taken_back || absl::IsDeadlineExceeded(tag.status())) {
      if (!patience.Expired()) continue;
      why = absl::StrCat("nothing came for ", absl::FormatDuration(options.timeout));
      code = kExitTimedOut;
      break;
    }
    if (!tag.ok()) {
      why = absl::IsDataLoss(tag.status()) ? std::string(tag.status().message())
                                           : "the sender left before the end of the stream";
      code = kExitPeer;
      break;
    }
    const absl::Status taken = stream.OnMessage(*tag, messages->message());
    if (absl::IsOutOfRange(taken)) break;
    if (!taken.ok()) {
      why = std::string(taken.message());
      code = !written.ok()                      ? CodeOf(written)
             : absl::IsResourceExhausted(taken) ? kExitLimit
                                                : kExitPeer;
      break;
    }
    progress.Show(stream.messages(), stream.bytes(), 0);
    patience = Deadline::After(options.timeout);
  }
  progress.Clear();
  channel->receiver.Close();
  // A command gets the end of its input, and the time that it needs.
  const bool command_done = to->Finish(code == kExitWhole ? options.timeout : absl::ZeroDuration());
  if (code == kExitWhole && !command_done) {
    why = absl::StrCat(options.command[0], " failed");
    code = kExitCommand;
  }
  if (code == kExitWhole && stream.dropped() > 0) {
    const bool came_late = stream.dropped() == stream.end().dropped_before_key;
    Say(kVerb, absl::StrCat("note: the sender dropped ", stream.dropped(), " messages in ",
                            stream.gaps(), " gaps, because this end ",
                            came_late ? "came before a key frame" : "was slow"));
  }
  if (!why.empty()) Say(kVerb, why);
  if (options.stats) {
    SayStats(kVerb, stream.messages(), stream.bytes(), stream.dropped(), progress.seconds());
    if (stream.dropped() > 0) {
      Say(kVerb, absl::StrCat("dropped ", ReasonsOf(stream.end()), ", ", stream.taken_back(),
                              " taken back, ", stream.left_out(), " behind these"));
    }
  }
  return code;
}

}  // namespace parley::cli
