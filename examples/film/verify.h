#ifndef PARLEY_EXAMPLES_FILM_VERIFY_H_
#define PARLEY_EXAMPLES_FILM_VERIFY_H_

// Decodes the film once more, here, without sandbox and channel, and compares every picture and
// block of audio with what was delivered.
//
// Trust: this runs libavcodec on the film inside the calling process. For films that are known to
// be harmless: tests and demonstrations.
// Threads: one at a time.
//
//   auto result = Verify(film, outputs.picture_digests(), outputs.audio_digests(), stop);
//   if (result.ok() && result->identical()) ...

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/examples/film/digest.h"

namespace parley::film {

struct VerifyResult {
  uint64_t pictures = 0;  // that were compared
  uint64_t audio_blocks = 0;
  uint64_t audio_frames = 0;
  std::vector<uint64_t> differing_pictures;
  std::vector<uint64_t> differing_audio_blocks;

  bool identical() const { return differing_pictures.empty() && differing_audio_blocks.empty(); }
};

// What is missing on one side counts as differing. `stop` is asked at each picture and block;
// kCancelled once it says true.
absl::StatusOr<VerifyResult> Verify(absl::Span<const std::byte> film,
                                    const std::vector<Digest>& pictures,
                                    const std::vector<Digest>& audio_blocks,
                                    const std::function<bool()>& stop);

// "3, 7 to 12, 20"; beyond `max_ranges`, "and 5 more".
std::string NumberList(const std::vector<uint64_t>& ascending, size_t max_ranges);

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_VERIFY_H_
