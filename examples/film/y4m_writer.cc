// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/film/y4m_writer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "parley/media/colour.h"

namespace parley::film {
namespace {

struct Space {
  PixelFormat format;
  const char* name;
};
// As ffmpeg writes and reads them; 8-bit 4:2:0 has three names.
constexpr Space kSpaces[] = {
    {PixelFormat::kGray8, "mono"},
    {PixelFormat::kGray9, "mono9"},
    {PixelFormat::kGray10, "mono10"},
    {PixelFormat::kGray12, "mono12"},
    {PixelFormat::kGray16, "mono16"},
    {PixelFormat::kI411, "411 XYSCSS=411"},
    {PixelFormat::kI420, "420jpeg"},
    {PixelFormat::kI422, "422 XYSCSS=422"},
    {PixelFormat::kI444, "444 XYSCSS=444"},
    {PixelFormat::kI444A, "444alpha XYSCSS=444"},
    {PixelFormat::kI420P9, "420p9 XYSCSS=420P9"},
    {PixelFormat::kI422P9, "422p9 XYSCSS=422P9"},
    {PixelFormat::kI444P9, "444p9 XYSCSS=444P9"},
    {PixelFormat::kI420P10, "420p10 XYSCSS=420P10"},
    {PixelFormat::kI422P10, "422p10 XYSCSS=422P10"},
    {PixelFormat::kI444P10, "444p10 XYSCSS=444P10"},
    {PixelFormat::kI420P12, "420p12 XYSCSS=420P12"},
    {PixelFormat::kI422P12, "422p12 XYSCSS=422P12"},
    {PixelFormat::kI444P12, "444p12 XYSCSS=444P12"},
    {PixelFormat::kI420P14, "420p14 XYSCSS=420P14"},
    {PixelFormat::kI422P14, "422p14 XYSCSS=422P14"},
    {PixelFormat::kI444P14, "444p14 XYSCSS=444P14"},
    {PixelFormat::kI420P16, "420p16 XYSCSS=420P16"},
    {PixelFormat::kI422P16, "422p16 XYSCSS=422P16"},
    {PixelFormat::kI444P16, "444p16 XYSCSS=444P16"},
};

// Null: y4m has none.
const char* ColourSpace(const VideoFormat& format) {
  if (format.pixel_format == PixelFormat::kI420) {
    if (format.chroma_place == ChromaPlace::kLeft) return "420mpeg2 XYSCSS=420MPEG2";
    if (format.chroma_place == ChromaPlace::kTopLeft) return "420paldv XYSCSS=420PALDV";
  }
  for (const Space& space : kSpaces) {
    if (space.format == format.pixel_format) return space.name;
  }
  return nullptr;
}

char FieldLetter(FieldOrder order) {
  switch (order) {
    case FieldOrder::kTopFirst:
      return 't';
    case FieldOrder::kBottomFirst:
      return 'b';
    case FieldOrder::kProgressive:
    case FieldOrder::kUnspecified:
      break;
  }
  return 'p';
}

std::string WhatIsNotSaid(const VideoFormat& format) {
  std::string text;
  const auto add = [&](std::string_view what) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", std::string(what));
  };
  if (format.display_matrix != DisplayMatrix{}) add("that the pictures are to be turned");
  VideoFormat guessed = format;
  guessed.colour.matrix = kMatrixUnspecified;
  if (ResolveColour(format).matrix != ResolveColour(guessed).matrix) {
    add(absl::StrCat("their matrix (number ", format.colour.matrix, " of H.273)"));
  }
  if (format.colour.transfer == 16 || format.colour.transfer == 18) add("that they are HDR");
  if (!format.icc.bytes().empty()) add("their ICC profile");
  return text;
}

absl::Span<const std::byte> Text(std::string_view text) {
  // SAFETY: characters seen as bytes.
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

constexpr std::string_view kFrameLine = "FRAME\n";

}  // namespace

std::string PartPath(const std::string& path, int part) {
  if (part == 1) return path;
  const size_t slash = path.rfind('/');
  const size_t dot = path.rfind('.');
  const bool has_extension =
      dot != std::string::npos && dot > (slash == std::string::npos ? 0 : slash + 1);
  const std::string suffix = absl::StrCat("-", part);
  return has_extension ? path.substr(0, dot) + suffix + path.substr(dot) : path + suffix;
}

std::vector<PixelFormat> Y4mPixelFormats() {
  std::vector<PixelFormat> formats;
  for (const Space& space : kSpaces) formats.push_back(space.format);
  return formats;
}

absl::Status Y4mWriter::Begin(const Picture& picture) {
  const VideoFormat& format = picture.format;
  const char* space = ColourSpace(format);
  if (space == nullptr) {
    return absl::UnimplementedError(absl::StrCat("y4m has no ", ToString(format)));
  }
  if (file_.has_value() && file_->direct() && !file_->swallows()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the pictures become ", ToString(format), ", and ", path_,
                     " is no regular file that another one could follow: it gets no more"));
  }
  // /dev/null takes the next one under its own name.
  const bool swallowed = file_.has_value() && file_->swallows();
  const absl::Status finished = Finish();
  if (!finished.ok()) return finished;
  if (files_.size() == kMaxParts) {
    return absl::ResourceExhaustedError(absl::StrCat("the format changes again, and ", kMaxParts,
                                                     " files for ", path_, " are enough"));
  }
  const std::string path = swallowed ? path_ : PartPath(path_, static_cast<int>(files_.size()) + 1);
  if (names_ != nullptr) {
    const absl::Status free = names_->Claim(path, "--y4m");
    if (!free.ok()) return free;
  }
  absl::StatusOr<cli::OutputFile> file = cli::OutputFile::Create(path);
  if (!file.ok()) return file.status();
  file_.emplace(*std::move(file));
  // The first picture is the first one of the file, whenever the film shows it.
  base_ns_ = picture.pts_ns;
  next_slot_ = 0;
  has_picture_ = false;
  format_ = format;
  rate_ = format.frame_rate.numerator != 0 ? format.frame_rate : Ratio{25, 1};
  // No camera: the unit of the container's clock.
  if (rate_.numerator / rate_.denominator > kMaxPicturesPerSecond) rate_ = {60, 1};
  if (rate_.denominator / rate_.numerator > kMaxGapNs / 1'000'000'000) rate_ = {1, 1};
  if (not_said_.empty()) not_said_ = WhatIsNotSaid(format);
  const uint32_t aspect_x = format.pixel_aspect.numerator;
  const uint32_t aspect_y = aspect_x == 0 ? 0 : format.pixel_aspect.denominator;
  return file_->Write(Text(absl::StrCat(
      "YUV4MPEG2 W", format.width, " H", format.height, " F", rate_.numerator, ":",
      rate_.denominator, " I", std::string(1, FieldLetter(format.field_order)), " A", aspect_x, ":",
      aspect_y, " C", space,
      ResolveColour(format).full_range ? " XCOLORRANGE=FULL" : " XCOLORRANGE=LIMITED", "\n")));
}

absl::Status Y4mWriter::WritePacked(uint64_t times) {
  for (uint64_t i = 0; i < times; ++i) {
    if (file_->size_bytes() > kMaxFileBytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat(path_, " has grown to ", kMaxFileBytes >> 40, " TiB, which is enough"));
    }
    const absl::Status written = file_->Write(packed_);
    if (!written.ok()) return written;
    file_->Mark();
    ++next_slot_;
  }
  return absl::OkStatus();
}

absl::Status Y4mWriter::Write(const Picture& picture) {
  if (!file_.has_value() || !(picture.format == format_)) {
    const absl::Status begun = Begin(picture);
    if (!begun.ok()) return begun;
  }
  // In which picture of a constant rate this one begins. The numbers are at most 2^61 and 2^32; a
  // double is exact enough, since half a picture decides.
  const double rate = static_cast<double>(rate_.numerator) / static_cast<double>(rate_.denominator);
  const auto slot_of = [&](int64_t ns) {
    return std::llround(static_cast<double>(ns - base_ns_) / 1e9 * rate);
  };
  // Measured from what is written, not from what the last picture said of its length.
  const int64_t written_ns = static_cast<int64_t>(static_cast<double>(next_slot_) / rate * 1e9);
  const int64_t gap_ns = picture.pts_ns - base_ns_ - written_ns;
  if (has_picture_ && (gap_ns > kMaxGapNs || gap_ns < -kMaxGapNs)) {
    base_ns_ = picture.pts_ns - written_ns;
  }
  end_ns_ = picture.pts_ns + picture.duration_ns;
  const int64_t slot = slot_of(picture.pts_ns);
  if (has_picture_ && slot > next_slot_) {
    const uint64_t missing = static_cast<uint64_t>(slot - next_slot_);
    repeated_ += missing;
    const absl::Status filled = WritePacked(missing);
    if (!filled.ok()) return filled;
  }
  if (has_picture_ && slot < next_slot_) {
    // Its time is taken: it replaces nothing, and shows if another one is repeated.
    ++left_out_;
  }
  const PictureShape shape = ShapeOf(picture.format);
  packed_.resize(kFrameLine.size() + shape.size_bytes());
  std::memcpy(packed_.data(), kFrameLine.data(), kFrameLine.size());
  std::byte* out = packed_.data() + kFrameLine.size();
  for (size_t plane = 0; plane < shape.count; ++plane) {
    const uint32_t row_bytes = shape.planes[plane].row_bytes;
    for (uint32_t row = 0; row < shape.planes[plane].rows; ++row) {
      std::memcpy(out, picture.Row(plane, row, row_bytes).data(), row_bytes);
      out += row_bytes;
    }
  }
  has_picture_ = true;
  return slot < next_slot_ ? absl::OkStatus() : WritePacked(1);
}

absl::Status Y4mWriter::Finish() {
  if (!file_.has_value()) return absl::OkStatus();
  absl::Status published = absl::OkStatus();
  if (has_picture_) {
    // The last picture stays for as long as it lasts.
    const double rate =
        static_cast<double>(rate_.numerator) / static_cast<double>(rate_.denominator);
    const int64_t shown_ns =
        std::min(end_ns_ - base_ns_,
                 static_cast<int64_t>(static_cast<double>(next_slot_) / rate * 1e9) + kMaxGapNs);
    const int64_t last = std::llround(static_cast<double>(shown_ns) / 1e9 * rate);
    if (last > next_slot_ && !file_->broken()) {
      repeated_ += static_cast<uint64_t>(last - next_slot_);
      published = WritePacked(static_cast<uint64_t>(last - next_slot_));
    }
  }
  published.Update(file_->Publish());
  const bool named = !files_.empty() && files_.back() == file_->path();
  if (published.ok() && !named) files_.push_back(file_->path());
  file_.reset();
  has_picture_ = false;
  return published;
}

}  // namespace parley::film
