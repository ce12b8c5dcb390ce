#ifndef PARLEY_EXAMPLES_FILM_DIGEST_H_
#define PARLEY_EXAMPLES_FILM_DIGEST_H_

// SHA-256 of what a picture shows or a block of audio sounds like: format, time and every sample,
// without the padding between rows. A cryptographic one, because the other side would gain from a
// collision.
//
// Threads: one at a time per Digester.
//
//   Digester digester;
//   const Digest digest = digester.Of(picture);

#include <array>
#include <cstdint>

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

  Digest Of(const Picture& picture);
  Digest Of(const AudioBlock& audio);

 private:
  void Add(absl::Span<const std::byte> bytes);

  AVSHA* sha_;
};

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_DIGEST_H_
