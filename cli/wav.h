// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_CLI_WAV_H_
#define PARLEY_CLI_WAV_H_

// WAV, read strictly as a stream and written as one: without going back, so its sizes are those of
// a file that goes on to the end.
//
// Trust: the bytes are anybody's; chunks are skipped in pieces, each number is checked.
// Threads: one at a time.
//
//   absl::StatusOr<WavStream> wav = ReadWavHeader(input, limits);
//   ... wav->data_bytes of samples, or until the end ...

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "parley/cli/input.h"
#include "parley/media/format.h"

namespace parley::cli {

struct WavStream {
  AudioFormat format;  // interleaved
  // Of one sample in the file: 3 where the format is kS32 with 24 significant bits.
  uint32_t file_sample_bytes = 0;
  std::optional<uint64_t> data_bytes;  // not set: until the end
};

// kDataLoss with the reason; kResourceExhausted: above a limit; kUnimplemented: no PCM.
absl::StatusOr<WavStream> ReadWavHeader(BufferedInput& input, const FormatLimits& limits);

std::vector<std::byte> WavHeader(const WavStream& wav);

// How a format is written: kS32 with 24 significant bits has 3 bytes for a sample, the others what
// they have. kS24In32 and kS64 are not written: nullopt.
std::optional<uint32_t> WavSampleBytes(const AudioFormat& format);

}  // namespace parley::cli

#endif  // PARLEY_CLI_WAV_H_
