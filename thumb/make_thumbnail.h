// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_THUMB_MAKE_THUMBNAIL_H_
#define PARLEY_THUMB_MAKE_THUMBNAIL_H_

// One request, one file, one result: what the worker does. Without a sandbox around it this is for
// tests alone.
//
// Trust: the file is hostile; see media_file.h.
// Threads: one at a time in a process.
//
//   auto result = MakeThumbnail(source, request);

#include <optional>

#include "absl/status/statusor.h"
#include "parley/av/byte_source.h"
#include "parley/thumb/facts.h"
#include "parley/thumb/picture.h"
#include "parley/thumb/request.h"

namespace parley::thumb {

// One of the two, as requested.
struct ThumbResult {
  std::optional<Picture> picture;
  std::optional<MediaFacts> facts;
};

// Errors say in one sentence why there is none.
absl::StatusOr<ThumbResult> MakeThumbnail(av::ByteSource& source, const ThumbRequest& request);

}  // namespace parley::thumb

#endif  // PARLEY_THUMB_MAKE_THUMBNAIL_H_
