#include "parley/examples/film/y4m_writer.h"

#include <string_view>

#include "absl/strings/str_cat.h"

namespace parley::film {
namespace {

const char* ColourSpace(PixelFormat format) {
  switch (format) {
    case PixelFormat::kGray8:
      return "mono";
    case PixelFormat::kI420:
      return "420jpeg";
    case PixelFormat::kI422:
      return "422";
    case PixelFormat::kI444:
      return "444";
    case PixelFormat::kGray10:
      return "mono10";
    case PixelFormat::kI420P10:
      return "420p10 XYSCSS=420P10";
    case PixelFormat::kI422P10:
      return "422p10 XYSCSS=422P10";
    case PixelFormat::kI444P10:
      return "444p10 XYSCSS=444P10";
  }
  return "mono";
}

absl::Span<const std::byte> Text(std::string_view text) {
  // SAFETY: characters seen as bytes.
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

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

absl::Status Y4mWriter::Begin(const VideoFormat& format) {
  const absl::Status finished = Finish();
  if (!finished.ok()) return finished;
  absl::StatusOr<OutputFile> file =
      OutputFile::Create(PartPath(path_, static_cast<int>(files_.size()) + 1));
  if (!file.ok()) return file.status();
  file_.emplace(*std::move(file));
  format_ = format;
  const Ratio rate = format.frame_rate.numerator != 0 ? format.frame_rate : Ratio{25, 1};
  const uint32_t aspect_x = format.pixel_aspect.numerator;
  const uint32_t aspect_y = aspect_x == 0 ? 0 : format.pixel_aspect.denominator;
  return file_->Write(Text(absl::StrCat(
      "YUV4MPEG2 W", format.width, " H", format.height, " F", rate.numerator, ":", rate.denominator,
      " Ip A", aspect_x, ":", aspect_y, " C", ColourSpace(format.pixel_format),
      format.full_range ? " XCOLORRANGE=FULL" : " XCOLORRANGE=LIMITED", "\n")));
}

absl::Status Y4mWriter::Write(const Picture& picture) {
  if (!file_.has_value() || !(picture.format == format_)) {
    const absl::Status begun = Begin(picture.format);
    if (!begun.ok()) return begun;
  }
  absl::Status written = file_->Write(Text("FRAME\n"));
  const PictureShape shape = ShapeOf(picture.format);
  for (size_t plane = 0; plane < shape.count; ++plane) {
    const uint32_t row_bytes = shape.planes[plane].row_bytes;
    for (uint32_t row = 0; row < shape.planes[plane].rows && written.ok(); ++row) {
      written = file_->Write(picture.Row(plane, row, row_bytes));
    }
  }
  return written;
}

absl::Status Y4mWriter::Finish() {
  if (!file_.has_value()) return absl::OkStatus();
  const absl::Status published = file_->Publish();
  if (published.ok()) files_.push_back(file_->path());
  file_.reset();
  return published;
}

}  // namespace parley::film
