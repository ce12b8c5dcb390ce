// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_ENDURANCE_CONVERSATION_H_
#define PARLEY_ENDURANCE_CONVERSATION_H_

// What is said over a channel: numbered messages whose whole content follows from the number, so
// that each can be checked by whoever gets it.
//
//   Converse(channel, diary, {.messages = 100});   // one end
//   Answer(channel, diary, {});                    // the other

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/channel/channel.h"
#include "parley/endurance/survivor.h"

namespace parley::endurance {

inline constexpr uint32_t kTag = 7;

// Message `number`: 8 to 1031 bytes, rarely up to 9 KiB.
void FillMessage(uint64_t number, std::vector<std::byte>* message);
// Its number; 0 if it is no message with the right content. Numbers begin with 1.
uint64_t CheckMessage(absl::Span<const std::byte> message);

struct Pace {
  int messages = 100;
  // The deadlines of single waits: random between these. One that is reached is counted, and the
  // call is made again.
  absl::Duration shortest = absl::Seconds(20);
  absl::Duration longest = absl::Seconds(20);
  uint64_t seed = 1;
};

// Sends each message and expects it back, then closes and waits for the peer's close. OK, or how it
// ended: kUnavailable the peer died, anything else should not be.
absl::Status Converse(Channel& channel, Diary& diary, const Pace& pace);
// Sends back what comes, until the end; then closes.
absl::Status Answer(Channel& channel, Diary& diary, const Pace& pace);

// Waits in the diary; as the channel's own calls, but again after a deadline of `pace`, until
// Patience is at its end.
class Talk {
 public:
  Talk(Channel& channel, Diary& diary, const Pace& pace);
  absl::Status Send(absl::Span<const std::byte> bytes);
  // The number of the next message. kDataLoss if its content is wrong.
  absl::StatusOr<uint64_t> Receive();
  absl::Span<const std::byte> received() const {
    return absl::MakeConstSpan(buffer_).first(received_bytes_);
  }
  // Receive, expecting the end.
  absl::Status AwaitEnd();

 private:
  Deadline NextDeadline();
  Channel& channel_;
  Diary& diary_;
  const Pace pace_;
  std::mt19937_64 random_;
  std::vector<std::byte> buffer_;
  std::size_t received_bytes_ = 0;
};

// A Diary for processes that keep none.
Diary& NoDiary();

}  // namespace parley::endurance

#endif  // PARLEY_ENDURANCE_CONVERSATION_H_
