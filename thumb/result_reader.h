// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_THUMB_RESULT_READER_H_
#define PARLEY_THUMB_RESULT_READER_H_

// Reads what a worker says of one file: the only road from it into the host.
//
// Trust: every byte is the worker's. A picture is no larger than the request's box and has 3 or 4
// channels; its bytes may show anything. Texts are printable ASCII of at most 32 characters,
// numbers lie in their ranges. Memory: the picture's, which follows from the request; it is taken
// as bytes arrive and never because of a number that announces them.
// Threads: one at a time.
//
//   ResultReader reader(request);
//   ... status = reader.Add(tag, bytes) for each message ...
//   if (absl::Status status = reader.Finish(); !status.ok()) return status;
//   Write(*reader.picture());

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "parley/thumb/facts.h"
#include "parley/thumb/picture.h"
#include "parley/thumb/request.h"

namespace parley::thumb {

class ResultReader {
 public:
  // `request` is valid.
  explicit ResultReader(const ThumbRequest& request) : request_(request) {}

  // kDataLoss with the reason: an honest worker sends no such message.
  absl::Status Add(uint32_t tag, absl::Span<const std::byte> bytes);
  // Whether it is complete; kDataLoss.
  absl::Status Finish() const;

  // One of the two, as requested, once Finish gave OK.
  const std::optional<Picture>& picture() const { return picture_; }
  const std::optional<MediaFacts>& facts() const { return facts_; }

 private:
  absl::Status AddPicture(absl::Span<const std::byte> bytes);
  absl::Status AddPixels(absl::Span<const std::byte> bytes);
  absl::Status AddFile(absl::Span<const std::byte> bytes);
  absl::Status AddStream(absl::Span<const std::byte> bytes);

  ThumbRequest request_;
  std::optional<Picture> picture_;
  std::size_t picture_bytes_ = 0;
  std::optional<MediaFacts> facts_;
  uint32_t streams_ = 0;
};

}  // namespace parley::thumb

#endif  // PARLEY_THUMB_RESULT_READER_H_
