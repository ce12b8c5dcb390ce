// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>
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
#include "parley/handshake/options.h"
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
  absl::Status written;
  StreamReceiver stream(options.kind, limits, options.limit_bytes,
                        [&](absl::Span<const std::byte> bytes) {
                          written = WriteAll(to->fd(), bytes, options.timeout);
                          return written;
                        });
  Progress progress;
  std::vector<std::byte> buffer(channel->receiver.max_message_bytes());
  ExitCode code = kExitWhole;
  std::string why;
  Deadline patience = Deadline::After(options.timeout);
  while (true) {
    if (Interrupted()) {
      why = "interrupted";
      code = kExitInterrupted;
      break;
    }
    const absl::StatusOr<Record> message =
        channel->receiver.Receive(absl::MakeSpan(buffer), Deadline::After(kSlice).Or(patience));
    if (absl::IsDeadlineExceeded(message.status())) {
      if (!patience.Expired()) continue;
      why = absl::StrCat("nothing came for ", absl::FormatDuration(options.timeout));
      code = kExitTimedOut;
      break;
    }
    if (!message.ok()) {
      why = absl::IsDataLoss(message.status()) ? std::string(message.status().message())
                                               : "the sender left before the end of the stream";
      code = kExitPeer;
      break;
    }
    const absl::Status taken =
        stream.OnMessage(message->tag, absl::MakeConstSpan(buffer).first(message->size_bytes));
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
    Say(kVerb, absl::StrCat("note: the sender dropped ", stream.dropped(), " messages in ",
                            stream.gaps(), " gaps, because this end was slow"));
  }
  if (!why.empty()) Say(kVerb, why);
  if (options.stats) {
    SayStats(kVerb, stream.messages(), stream.bytes(), stream.dropped(), progress.seconds());
  }
  return code;
}

}  // namespace parley::cli
