// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_CALL_MOUTH_H_
#define PARLEY_EXAMPLES_CALL_MOUTH_H_

// What a party says: a WAV, then silence; or, without one, something like a voice.
//
// Trust: the WAV is anybody's; it is parsed in the party's confined process alone.
// Threads: one at a time.
//
//   absl::StatusOr<Mouth> mouth = Mouth::OfWav(bytes);
//   const float sample = mouth->Next();

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace parley::call {

class Mouth {
 public:
  // 48 kHz, 16-bit or float; the first channel. kInvalidArgument: another format; otherwise as
  // ReadWavHeader.
  static absl::StatusOr<Mouth> OfWav(absl::Span<const std::byte> wav);
  // A vowel that comes and goes.
  explicit Mouth(double pitch_hz) : pitch_hz_(pitch_hz) {}

  float Next();

 private:
  explicit Mouth(std::vector<float> samples) : samples_(std::move(samples)) {}

  std::vector<float> samples_;
  double pitch_hz_ = 0;
  uint64_t at_ = 0;
};

}  // namespace parley::call

#endif  // PARLEY_EXAMPLES_CALL_MOUTH_H_
