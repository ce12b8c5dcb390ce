// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_THUMB_MEDIA_FILE_H_
#define PARLEY_THUMB_MEDIA_FILE_H_

// One film or picture, read with libav on one thread: what is in it, and single pictures of it.
//
// Trust: the file is hostile, and so is libav once it has seen it: for a confined worker alone (and
// for tests that compare). It opens no other file, whatever a file names.
// Threads: one at a time. After WarmUpLibav() it makes no system call but those of the allocator.
//
//   WarmUpLibav();                                     // before the lock-down
//   auto file = MediaFile::Open(source, max_pixels);   // after it
//   auto picture = (*file)->PictureAt(0, Exactness::kKeyPicture);

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/av/byte_source.h"
#include "parley/av/libav.h"
#include "parley/media/turn.h"
#include "parley/thumb/facts.h"

namespace parley::thumb {

enum class Exactness {
  kKeyPicture,  // what a seek finds, at or before the time
  kExact,       // the first one at or after the time
};

struct DecodedPicture {
  const AVFrame* frame = nullptr;  // until the next call
  Turn turn;
  AVRational pixel_aspect = {1, 1};
  int64_t time_ns = 0;  // from the start of the film
};

class MediaFile {
 public:
  // `source` outlives it. Errors say what is wrong with the file, in libav's words where it has
  // some.
  static absl::StatusOr<std::unique_ptr<MediaFile>> Open(av::ByteSource& source,
                                                         uint64_t max_pixels);
  MediaFile(const MediaFile&) = delete;
  MediaFile& operator=(const MediaFile&) = delete;
  virtual ~MediaFile() = default;

  virtual MediaFacts Facts() const = 0;
  // A single picture, an animation or a cover: there are no times to choose from by default.
  virtual bool is_still() const = 0;
  virtual int64_t duration_ns() const = 0;

  // The picture at a time from the start; the last one before it where the film ends before it,
  // and any that can be decoded where none can be there. kInvalidArgument: there is none.
  virtual absl::StatusOr<DecodedPicture> PictureAt(int64_t time_ns, Exactness exactness) = 0;

 protected:
  MediaFile() = default;
};

void WarmUpLibav();

}  // namespace parley::thumb

#endif  // PARLEY_THUMB_MEDIA_FILE_H_
