// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_THUMB_WEBP_FILE_H_
#define PARLEY_THUMB_WEBP_FILE_H_

// An animated WebP as a film of pictures: its frames decoded by libav one by one, and put together.
//
// Trust: for the confined worker: every byte is hostile.
// Threads: one at a time.
//
//   auto file = OpenAnimatedWebp(source, max_pixels);
//   if (file.ok() && *file == nullptr) file = MediaFile::Open(source, max_pixels);

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "parley/av/byte_source.h"
#include "parley/thumb/media_file.h"

namespace parley::thumb {

// Null where the source is anything else, or longer than 256 MiB. Errors: a canvas with more than
// `max_pixels`.
absl::StatusOr<std::unique_ptr<MediaFile>> OpenAnimatedWebp(av::ByteSource& source,
                                                            uint64_t max_pixels);

}  // namespace parley::thumb

#endif  // PARLEY_THUMB_WEBP_FILE_H_
