// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_DIGEST_H_
#define PARLEY_EXAMPLES_FILM_DIGEST_H_

// SHA-256 of the rows of a picture or the samples of a block of audio, without the padding between
// them, and of both with format and time. A cryptographic one, because the other side would gain
// from a collision.
//
// Threads: one at a time per Digester.
//
//   Digester digester;
//   const Digest digest = digester.Of(picture);

#include <array>
#include <cstdint>

#include "absl/types/span.h"
#include "parley/examples/film/media_units.h"

struct AVSHA;

namespace parley::film {

using Digest = std::array<uint8_t, 32>;

class Digester {
 public:
  Digester();
  ~Digester();
  Digester(const Digester&) = delete;
  Digester& operator=(const Digester&) = delete;

  // With format and time.
  Digest Of(const Picture& picture);
  Digest Of(const AudioBlock& audio);
  // Without.
  Digest OfRows(const Picture& picture);
  Digest OfSamples(const AudioBlock& audio);
  Digest OfBytes(absl::Span<const std::byte> bytes);

 private:
  void Begin();
  void Add(absl::Span<const std::byte> bytes);
  void AddRows(const Picture& picture);
  Digest End();

  AVSHA* sha_;
};

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_DIGEST_H_
