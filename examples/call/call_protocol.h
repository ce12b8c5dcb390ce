// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_CALL_CALL_PROTOCOL_H_
#define PARLEY_EXAMPLES_CALL_CALL_PROTOCOL_H_

// What the host and the two parties of a call have agreed on: 10 ms blocks of 48 kHz mono. A party
// has no sound card, so it sends two channels: what it says, and what its loudspeaker would play.
//
// Trust: a mark is a party's claim. The host measures with it and relies on none.
// Threads: pure functions.

#include <bit>
#include <cstdint>

#include "parley/media/audio_port.h"

namespace parley::call {

inline constexpr uint32_t kRateHz = 48'000;
inline constexpr uint32_t kBlockFrames = 480;
inline constexpr int64_t kBlockNs = 10'000'000;

// A party's one message before its sound: it has read its WAV. It has no bytes.
inline constexpr uint32_t kReadyTag = 1;

enum MarkKind : uint32_t {
  kSpoken = 1,  // at a block's first frame; `value`: the monotonic time at which it was spoken
  kHeard = 2,   // of a block whose first frame was played; `value`: mouth to ear, in nanoseconds
  kTally = 3,   // in a party's last block; `number`: a Tally, `value`: its count
};

// The data of an AudioEvent.
struct Mark {
  uint64_t number = 0;  // of the block that was spoken
  int64_t value = 0;
};
static_assert(sizeof(Mark) == sizeof(AudioEvent::data));

inline AudioEvent ToEvent(uint32_t frame, MarkKind kind, const Mark& mark) {
  return {frame, kind, std::bit_cast<decltype(AudioEvent::data)>(mark)};
}
inline Mark ToMark(const AudioEvent& event) { return std::bit_cast<Mark>(event.data); }

// What a party counts itself.
enum Tally : uint32_t {
  kHeardFrames,    // sound, not silence
  kSilentFrames,   // in place of sound, once it had begun
  kUnderruns,      // reads with such silence
  kSkippedFrames,  // dropped because too much delay had gathered
  kMissedFrames,   // that the host had no free space for
  kOverruns,       // blocks of its own that found no free space
  kLatePeriods,    // in which it was woken more than a block too late
  kTallies,
};

inline AudioPortOptions PartyOptions(uint32_t prefill_frames) {
  AudioPortOptions options;
  options.rate_hz = kRateHz;
  options.send_channels = 2;
  options.receive_channels = 1;
  options.max_block_frames = kBlockFrames;
  options.max_block_events = 16;
  options.prefill_frames = prefill_frames;
  options.max_delay_frames = prefill_frames + 2 * kBlockFrames;
  return options;
}

// The host passes blocks on, so it holds none back.
inline AudioPortOptions HostOptions() {
  AudioPortOptions options = PartyOptions(kBlockFrames);
  options.send_channels = 1;
  options.receive_channels = 2;
  return options;
}

}  // namespace parley::call

#endif  // PARLEY_EXAMPLES_CALL_CALL_PROTOCOL_H_
