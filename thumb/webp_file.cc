// SPDX-License-Identifier: Apache-2.0
#include "parley/thumb/webp_file.h"

#include <array>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "parley/av/libav.h"
#include "parley/thumb/animated_webp.h"
#include "parley/thumb/render.h"

namespace parley::thumb {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{256} << 20;
constexpr int64_t kNsPerMs = 1'000'000;

class WebpFile final : public MediaFile {
 public:
  WebpFile(std::vector<std::byte> bytes, AnimatedWebp animation, uint64_t max_pixels)
      : bytes_(std::move(bytes)), animation_(std::move(animation)), max_pixels_(max_pixels) {
    for (const WebpFrame& frame : animation_.frames) duration_ns_ += frame.duration_ms * kNsPerMs;
  }

  MediaFacts Facts() const override {
    MediaFacts facts;
    facts.container = "webp";
    facts.duration_ns = duration_ns_;
    StreamFacts stream;
    stream.kind = StreamKind::kVideo;
    stream.can_be_decoded = true;
    stream.codec = "webp";
    stream.duration_ns = duration_ns_;
    stream.width = animation_.canvas_width;
    stream.height = animation_.canvas_height;
    facts.streams.push_back(std::move(stream));
    return facts;
  }
  // As other animations.
  bool is_still() const override { return true; }
  int64_t duration_ns() const override { return duration_ns_; }

  absl::StatusOr<DecodedPicture> PictureAt(int64_t time_ns, Exactness /*exactness*/) override {
    const std::vector<WebpFrame>& frames = animation_.frames;
    std::size_t wanted = 0;
    int64_t begin_ns = 0;
    while (wanted + 1 < frames.size() && begin_ns < time_ns) {
      begin_ns += frames[wanted++].duration_ms * kNsPerMs;
    }
    if (canvas_ == nullptr || shown_ > wanted + 1) {
      absl::StatusOr<av::AvFrame> canvas =
          NewCanvas(animation_.canvas_width, animation_.canvas_height);
      if (!canvas.ok()) return canvas.status();
      canvas_ = *std::move(canvas);
      shown_ = 0;
    }
    while (shown_ <= wanted) {
      if (absl::Status status = ShowNext(); !status.ok()) return status;
    }
    DecodedPicture picture;
    picture.frame = canvas_.get();
    picture.time_ns = begin_ns;
    return picture;
  }

 private:
  // One that cannot be decoded leaves the canvas as it was, and the next is tried when it is asked
  // for.
  absl::Status ShowNext() {
    if (shown_ > 0) {
      const WebpFrame& last = animation_.frames[shown_ - 1];
      if (last.is_taken_away && IsWithin(last)) {
        ClearCanvas(last.left, last.top, last.width, last.height, *canvas_);
      }
    }
    const WebpFrame& next = animation_.frames[shown_++];
    if (!IsWithin(next)) return absl::InvalidArgumentError("a picture beyond its canvas");
    const std::vector<std::byte> still = StillOf(next);
    av::SpanSource source(still);
    const auto file = MediaFile::Open(source, max_pixels_);
    if (!file.ok()) return file.status();
    const absl::StatusOr<DecodedPicture> picture = (*file)->PictureAt(0, Exactness::kKeyPicture);
    if (!picture.ok()) return picture.status();
    return PutOnCanvas(*picture->frame, next.left, next.top, next.blends, *canvas_);
  }

  bool IsWithin(const WebpFrame& frame) const {
    return uint64_t{frame.left} + frame.width <= animation_.canvas_width &&
           uint64_t{frame.top} + frame.height <= animation_.canvas_height;
  }

  const std::vector<std::byte> bytes_;  // which the animation's frames lie in
  const AnimatedWebp animation_;
  const uint64_t max_pixels_;
  int64_t duration_ns_ = 0;
  av::AvFrame canvas_;  // with the frames before shown_
  std::size_t shown_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MediaFile>> OpenAnimatedWebp(av::ByteSource& source,
                                                            uint64_t max_pixels) {
  std::array<std::byte, 16> head;
  if (source.size_bytes() > kMaxBytes || source.ReadAt(0, absl::MakeSpan(head)) < head.size() ||
      head[8] != std::byte{'W'}) {
    return nullptr;
  }
  std::vector<std::byte> file(source.size_bytes());
  std::size_t have = 0;
  while (have < file.size()) {
    const std::size_t got = source.ReadAt(have, absl::MakeSpan(file).subspan(have));
    if (got == 0) break;
    have += got;
  }
  file.resize(have);
  std::optional<AnimatedWebp> animation = ParseAnimatedWebp(file);
  if (!animation.has_value()) return nullptr;
  if (uint64_t{animation->canvas_width} * animation->canvas_height > max_pixels) {
    return absl::InvalidArgumentError(
        absl::StrCat("the picture has ", animation->canvas_width, " x ", animation->canvas_height,
                     " pixels; at most ", max_pixels, " are allowed"));
  }
  return std::make_unique<WebpFile>(std::move(file), *std::move(animation), max_pixels);
}

}  // namespace parley::thumb
