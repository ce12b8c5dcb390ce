// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/film/check_receiver.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "parley/boundary/wire_copy.h"
#include "parley/media/colour.h"
#include "parley/media/pixel_format.h"

namespace parley::film {
namespace {

// A container's start is rounded to a microsecond.
constexpr double kMaxSeconds = 2e-6;
// Of 255, for the mean of a cell: swscale makes 8 bits of 5 by shifting, and interpolates chroma. A
// range that was mistaken makes 16 to 20.
constexpr int kMaxGridDifference = 8;

absl::Status Bad(const std::string& what) { return absl::DataLossError(what); }

bool SameTime(int64_t pts_ns, double seconds) {
  return std::abs(static_cast<double>(pts_ns) / 1e9 - seconds) <=
         kMaxSeconds + std::abs(seconds) * 1e-9;
}

template <typename T>
absl::Status ReadExactly(absl::Span<const std::byte> message, const char* name, T* out) {
  if (message.size() == sizeof(T) && ReadWire(message, out)) return absl::OkStatus();
  return Bad(absl::StrCat(name, " record of ", message.size(), " bytes"));
}

// Counter-clockwise, 0 to 359, of what is not mirrored any more.
int Degrees(const DisplayMatrix& m, bool* mirrored) {
  *mirrored = false;
  if (m == DisplayMatrix{}) return 0;
  double a = m[0];
  double c = m[3];
  *mirrored = a * m[4] - static_cast<double>(m[1]) * c < 0;
  if (*mirrored) {
    a = -a;
    c = -c;
  }
  const double b = m[1];
  const double scale0 = std::hypot(a, c);
  const double scale1 = std::hypot(b, static_cast<double>(m[4]));
  if (scale0 == 0 || scale1 == 0) return 0;
  const double turn = -std::atan2(b / scale1, a / scale0) * 180 / std::acos(-1.0);
  return (static_cast<int>(std::lround(turn)) + 360) % 360;
}

std::string RangeName(int full_range) {
  return full_range == 1 ? "full" : full_range == 0 ? "limited" : "not specified";
}

int RangeNumber(ColourRange range) {
  return range == ColourRange::kFull ? 1 : range == ColourRange::kLimited ? 0 : 2;
}

}  // namespace

std::string WhyPictureDiffers(const FactsOfPicture& delivered, const VideoFormat& format,
                              const CheckPictureWire& check) {
  if (!SameTime(delivered.pts_ns, check.seconds)) {
    return absl::StrCat("its time is ", static_cast<double>(delivered.pts_ns) / 1e9, " s and not ",
                        check.seconds, " s");
  }
  if (format.width != check.width || format.height != check.height) {
    return absl::StrCat("it has ", format.width, "x", format.height, " pixels and not ",
                        check.width, "x", check.height);
  }
  const uint32_t aspect_denominator =
      format.pixel_aspect.numerator == 0 ? 0 : format.pixel_aspect.denominator;
  if (format.pixel_aspect.numerator != check.aspect_numerator ||
      aspect_denominator != check.aspect_denominator) {
    return "the shape of its pixels";
  }
  bool mirrored = false;
  const int degrees = Degrees(format.display_matrix, &mirrored);
  if (degrees != check.rotation_degrees || mirrored != (check.mirrored != 0)) {
    return absl::StrCat("it is turned by ", degrees, " degrees and not by ",
                        check.rotation_degrees);
  }
  if (delivered.interlaced != (check.interlaced != 0) ||
      delivered.top_first != (check.top_first != 0)) {
    return "its fields";
  }
  if (delivered.key != (check.key != 0)) return "whether it is a key picture";
  if (format.chroma_place != static_cast<ChromaPlace>(check.chroma_place)) {
    return "where its chroma samples lie";
  }
  if (format.colour.primaries != check.primaries || format.colour.transfer != check.transfer) {
    return "its primaries or its transfer function";
  }
  const PixelFormatInfo& info = InfoOf(format.pixel_format);
  const std::string name = Printable(check.pixel_format);
  if (name == std::string(info.libav)) {
    if (RangeNumber(format.colour.range) != check.full_range) {
      return absl::StrCat("its range is ", RangeName(RangeNumber(format.colour.range)), " and not ",
                          RangeName(check.full_range));
    }
    if (format.colour.matrix != check.matrix) return "its matrix";
    return delivered.digest == check.digest ? "" : "its content";
  }
  if (delivered.stored_grid.size() != kGridBytes || delivered.rgb_grid.size() != kGridBytes) {
    return absl::StrCat("it is ", std::string(info.name), " and not ", name);
  }
  if (check.has_grid == 0) return "";  // nothing to compare it with
  const bool as_rgb = check.grid_kind == kGridRgb;
  const bool gray = info.model == ColourModel::kGray || check.grid_kind == kGridGray;
  const std::vector<uint8_t>& ours = as_rgb ? delivered.rgb_grid : delivered.stored_grid;
  for (size_t i = 0; i < kGridBytes; ++i) {
    if (!as_rgb && gray && i % 3 != 0) continue;
    if (std::abs(int{ours[i]} - int{check.grid[i]}) > kMaxGridDifference) {
      return absl::StrCat("its colours: ", int{ours[i]}, " and not ", int{check.grid[i]},
                          " of 255 in cell ", i / 3);
    }
  }
  return "";
}

std::string WhyAudioDiffers(const FactsOfAudio& delivered, const CheckAudioWire& check) {
  const AudioFormat& format = delivered.format;
  if (!SameTime(delivered.pts_ns, check.seconds)) {
    return absl::StrCat("its time is ", static_cast<double>(delivered.pts_ns) / 1e9, " s and not ",
                        check.seconds, " s");
  }
  if (delivered.frames != check.frames || format.rate_hz != check.rate_hz ||
      format.channels != check.channels) {
    return "its length, rate or number of channels";
  }
  if (Printable(check.sample_format) !=
      std::string(LibavName(format.sample_format, format.planar))) {
    return "the format of its samples";
  }
  const uint64_t mask = format.layout.kind == ChannelLayout::Kind::kMask ? format.layout.mask : 0;
  if (mask != check.mask) return "its channel layout";
  return delivered.digest == check.digest ? "" : "its samples";
}

Verdict CheckReceiver::OnMessage(uint32_t tag, absl::Span<const std::byte> message) {
  if (verdict_ != Verdict::kGoOn) return verdict_;
  FailedWire failed;
  switch (tag) {
    case kTagCheckPicture:
      status_ = OnPicture(message);
      break;
    case kTagCheckAudio:
      status_ = OnAudio(message);
      break;
    case kTagEnd:
      status_ = OnEnd(message);
      break;
    case kTagFailed:
      status_ = ReadExactly(message, "a failure", &failed);
      if (!status_.ok()) break;
      failure_ = Printable(failed.reason);
      verdict_ = Verdict::kFailed;
      break;
    default:
      status_ = Bad(absl::StrCat("a message with the unknown tag ", tag));
  }
  if (!status_.ok()) verdict_ = Verdict::kViolation;
  return verdict_;
}

void CheckReceiver::Differs(const std::string& why, uint64_t number, std::vector<uint64_t>& list) {
  if (why.empty()) return;
  if (result_.first_reason.empty()) result_.first_reason = why;
  list.push_back(number);
}

absl::Status CheckReceiver::OnPicture(absl::Span<const std::byte> message) {
  CheckPictureWire wire;
  const absl::Status read = ReadExactly(message, "a picture's check", &wire);
  if (!read.ok()) return read;
  const uint64_t number = result_.pictures++;
  if (number >= pictures_.size()) {
    // Each one more costs a word; so many more than were delivered are none.
    if (number >= 2 * pictures_.size() + 1000) return Bad("more pictures than can be");
    Differs("it was not delivered", number, result_.differing_pictures);
    return absl::OkStatus();
  }
  const FactsOfPicture& delivered = pictures_[number];
  Differs(WhyPictureDiffers(delivered, formats_[delivered.format], wire), number,
          result_.differing_pictures);
  return absl::OkStatus();
}

absl::Status CheckReceiver::OnAudio(absl::Span<const std::byte> message) {
  CheckAudioWire wire;
  const absl::Status read = ReadExactly(message, "a block's check", &wire);
  if (!read.ok()) return read;
  const uint64_t number = result_.audio_blocks++;
  result_.audio_frames += wire.frames;
  if (number >= audio_.size()) {
    if (number >= 2 * audio_.size() + 1000) return Bad("more blocks of audio than can be");
    Differs("it was not delivered", number, result_.differing_audio_blocks);
    return absl::OkStatus();
  }
  Differs(WhyAudioDiffers(audio_[number], wire), number, result_.differing_audio_blocks);
  return absl::OkStatus();
}

absl::Status CheckReceiver::OnEnd(absl::Span<const std::byte> message) {
  EndWire wire;
  const absl::Status read = ReadExactly(message, "an end", &wire);
  if (!read.ok()) return read;
  for (uint64_t i = result_.pictures; i < pictures_.size(); ++i) {
    Differs("it is none of the film's", i, result_.differing_pictures);
  }
  for (uint64_t i = result_.audio_blocks; i < audio_.size(); ++i) {
    Differs("it is none of the film's", i, result_.differing_audio_blocks);
  }
  verdict_ = Verdict::kEnded;
  return absl::OkStatus();
}

std::string NumberList(const std::vector<uint64_t>& ascending, size_t max_ranges) {
  std::string text;
  size_t ranges = 0;
  for (size_t i = 0; i < ascending.size();) {
    size_t last = i;
    while (last + 1 < ascending.size() && ascending[last + 1] == ascending[last] + 1) ++last;
    if (ranges++ == max_ranges) {
      absl::StrAppend(&text, " and ", ascending.size() - i, " more");
      return text;
    }
    absl::StrAppend(&text, i == 0 ? "" : ", ", ascending[i]);
    if (last > i) absl::StrAppend(&text, last == i + 1 ? ", " : " to ", ascending[last]);
    i = last + 1;
  }
  return text;
}

}  // namespace parley::film
