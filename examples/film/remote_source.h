#ifndef PARLEY_EXAMPLES_FILM_REMOTE_SOURCE_H_
#define PARLEY_EXAMPLES_FILM_REMOTE_SOURCE_H_

// The worker's end of a film that stays with the viewer: asks for pieces of it over the channel.
//
// Threads: one at a time, the one that sends pictures. After lock-down it makes no system call but
// those of the channel.
//
//   RemoteSource source(*channel, film_bytes);
//   auto wants = source.ReceiveAcceptance(deadline);

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/channel/channel.h"
#include "parley/examples/film/film_source.h"
#include "parley/media/acceptance.h"
#include "parley/os/deadline.h"

namespace parley::film {

class RemoteSource final : public FilmSource {
 public:
  // The channel outlives this.
  RemoteSource(Channel& channel, uint64_t size_bytes);

  // The viewer's first message.
  absl::StatusOr<Acceptance> ReceiveAcceptance(Deadline deadline);

  uint64_t size_bytes() const override { return size_bytes_; }
  size_t ReadAt(uint64_t offset, absl::Span<std::byte> into) override;

 private:
  Channel& channel_;
  uint64_t size_bytes_;
  std::vector<std::byte> piece_;  // the last one
  uint64_t piece_offset_ = 0;
  size_t piece_bytes_ = 0;
};

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_REMOTE_SOURCE_H_
