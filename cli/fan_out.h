// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_CLI_FAN_OUT_H_
#define PARLEY_CLI_FAN_OUT_H_

// `parley send --fan-out`: what StreamSender makes, for many receivers at once.
//
// Trust: a receiver is of our own user, and costs the stream and the others what its policy allows
// (frames/frame_fan_out.h).
// Threads: one at a time.
//
//   absl::StatusOr<std::unique_ptr<FanOut>> out = FanOut::Listen(options, max_message_bytes);
//   absl::Status there = (*out)->AwaitReceivers();
//   while ((sent = stream.SendNext(**out)).ok()) ...
//   (*out)->End();

#include <cstdint>
#include <deque>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/channel/channel.h"
#include "parley/cli/arguments.h"
#include "parley/cli/stream_sender.h"
#include "parley/frames/frame_fan_out.h"
#include "parley/shm/broadcast.h"

namespace parley::cli {

// The channel of a stream that is sent: one that a receiver of another kind is refused.
AcceptOptions AcceptStream(StreamKind kind);

class FanOut final : public MessageSink {
  struct Private {};

 public:
  FanOut(Private, const StreamOptions& options, ChannelListener listener, FrameFanOut fan_out)
      : options_(options), listener_(std::move(listener)), fan_out_(std::move(fan_out)) {}
  // `max_format_bytes`: of the message that each receiver gets first.
  static absl::StatusOr<std::unique_ptr<FanOut>> Listen(const StreamOptions& options,
                                                        uint32_t max_message_bytes,
                                                        uint32_t max_format_bytes);

  // Until as many receivers are there as were asked for. kDeadlineExceeded, kCancelled.
  absl::Status AwaitReceivers();
  // Takes those that have come, and lets those go that left: for times when there is nothing to
  // send. Never waits.
  void Tend();

  absl::StatusOr<absl::Span<std::byte>> Reserve(uint32_t size_bytes, bool may_drop) override;
  void Commit(uint32_t tag, uint32_t size_bytes) override;

  // Says to each receiver what it got, and waits until all have taken it, ten seconds at most, or
  // the timeout.
  absl::Status End();

  // One line for each receiver; of those that left, for the last thousand.
  void SayStats() const;
  uint64_t dropped() const;

 private:
  void TakeNewcomers();
  void TakeLeavers();

  const StreamOptions options_;
  ChannelListener listener_;
  FrameFanOut fan_out_;
  OutFrame frame_;
  std::deque<FanOutEnd> left_;  // the last ones
  uint64_t forgotten_ = 0;      // before them
  uint64_t forgotten_dropped_ = 0;
  uint64_t commits_ = 0;
};

}  // namespace parley::cli

#endif  // PARLEY_CLI_FAN_OUT_H_
