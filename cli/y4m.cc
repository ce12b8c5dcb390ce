// SPDX-License-Identifier: Apache-2.0
#include "parley/cli/y4m.h"

#include <array>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace parley::cli {
namespace {

constexpr size_t kMaxLineBytes = 1024;
constexpr std::string_view kMagic = "YUV4MPEG2";

absl::Status Bad(const std::string& what) {
  return absl::DataLossError(absl::StrCat("this is no y4m: ", what));
}

struct Space {
  const char* name;
  PixelFormat format;
  ChromaPlace place = ChromaPlace::kUnspecified;
};
// The names that ffmpeg writes and reads; the first of a format and place is the one written.
constexpr Space kSpaces[] = {
    {"420jpeg", PixelFormat::kI420, ChromaPlace::kCentre},
    {"420mpeg2", PixelFormat::kI420, ChromaPlace::kLeft},
    {"420paldv", PixelFormat::kI420, ChromaPlace::kTopLeft},
    {"420", PixelFormat::kI420, ChromaPlace::kUnspecified},
    {"411", PixelFormat::kI411},
    {"422", PixelFormat::kI422},
    {"444", PixelFormat::kI444},
    {"444alpha", PixelFormat::kI444A},
    {"mono", PixelFormat::kGray8},
    {"mono9", PixelFormat::kGray9},
    {"mono10", PixelFormat::kGray10},
    {"mono12", PixelFormat::kGray12},
    {"mono16", PixelFormat::kGray16},
    {"420p9", PixelFormat::kI420P9},
    {"422p9", PixelFormat::kI422P9},
    {"444p9", PixelFormat::kI444P9},
    {"420p10", PixelFormat::kI420P10},
    {"422p10", PixelFormat::kI422P10},
    {"444p10", PixelFormat::kI444P10},
    {"420p12", PixelFormat::kI420P12},
    {"422p12", PixelFormat::kI422P12},
    {"444p12", PixelFormat::kI444P12},
    {"420p14", PixelFormat::kI420P14},
    {"422p14", PixelFormat::kI422P14},
    {"444p14", PixelFormat::kI444P14},
    {"420p16", PixelFormat::kI420P16},
    {"422p16", PixelFormat::kI422P16},
    {"444p16", PixelFormat::kI444P16},
};

// Digits alone: no sign, no space.
std::optional<uint32_t> Number(std::string_view text) {
  if (text.empty() || text.size() > 10) return std::nullopt;
  uint64_t number = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + static_cast<uint64_t>(c - '0');
  }
  if (number > 0xffff'ffff) return std::nullopt;
  return static_cast<uint32_t>(number);
}

// "25:1"; 0:0 is unknown.
std::optional<Ratio> RatioOf(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const std::optional<uint32_t> numerator = Number(text.substr(0, colon));
  const std::optional<uint32_t> denominator = Number(text.substr(colon + 1));
  if (!numerator || !denominator) return std::nullopt;
  if (*numerator == 0) return Ratio{0, 1};
  if (*denominator == 0) return std::nullopt;
  return Ratio{*numerator, *denominator};
}

}  // namespace

absl::StatusOr<VideoFormat> ParseY4mParameters(std::string_view parameters,
                                               const FormatLimits& limits) {
  VideoFormat format;
  format.chroma_place = ChromaPlace::kCentre;  // without a C: 4:2:0 as JPEG has it
  std::string seen;
  while (!parameters.empty()) {
    const size_t space = parameters.find(' ');
    const std::string_view parameter = parameters.substr(0, space);
    parameters.remove_prefix(space == std::string_view::npos ? parameters.size() : space + 1);
    if (parameter.empty()) return Bad("two spaces in a row");
    const char kind = parameter[0];
    const std::string_view value = parameter.substr(1);
    if (kind != 'X') {
      if (seen.find(kind) != std::string::npos) {
        return Bad(absl::StrCat("two parameters ", std::string(1, kind)));
      }
      seen.push_back(kind);
    }
    bool good = true;
    switch (kind) {
      case 'W':
        good = Number(value).has_value();
        format.width = Number(value).value_or(0);
        break;
      case 'H':
        good = Number(value).has_value();
        format.height = Number(value).value_or(0);
        break;
      case 'F':
        good = RatioOf(value).has_value();
        format.frame_rate = RatioOf(value).value_or(Ratio{});
        break;
      case 'A':
        good = RatioOf(value).has_value();
        format.pixel_aspect = RatioOf(value).value_or(Ratio{});
        break;
      case 'I':
        good = value.size() == 1 && std::string_view("?ptbm").find(value[0]) != std::string::npos;
        format.field_order = value == "t"   ? FieldOrder::kTopFirst
                             : value == "b" ? FieldOrder::kBottomFirst
                             : value == "p" ? FieldOrder::kProgressive
                                            : FieldOrder::kUnspecified;
        break;
      case 'C':
        good = false;
        for (const Space& one : kSpaces) {
          if (value != one.name) continue;
          good = true;
          format.pixel_format = one.format;
          format.chroma_place = one.place;
        }
        break;
      case 'X':
        if (value == "COLORRANGE=FULL") format.colour.range = ColourRange::kFull;
        if (value == "COLORRANGE=LIMITED") format.colour.range = ColourRange::kLimited;
        break;
      default:
        return Bad(absl::StrCat("an unknown parameter, number ", seen.size()));
    }
    if (!good) return Bad(absl::StrCat("the value of ", std::string(1, kind)));
  }
  if (format.width == 0 || format.height == 0) return Bad("no width or no height");
  const absl::Status within = CheckLimits(format, limits);
  if (!within.ok()) return within;
  return format;
}

absl::StatusOr<VideoFormat> ReadY4mHeader(BufferedInput& input, const FormatLimits& limits) {
  const absl::StatusOr<std::string> line = input.ReadLine(kMaxLineBytes);
  if (absl::IsOutOfRange(line.status())) return Bad("it is empty");
  if (absl::IsDataLoss(line.status())) return Bad(std::string(line.status().message()));
  if (!line.ok()) return line.status();
  std::string_view text = *line;
  if (text.substr(0, kMagic.size()) != kMagic) return Bad("it does not begin with YUV4MPEG2");
  text.remove_prefix(kMagic.size());
  if (!text.empty() && text[0] != ' ') return Bad("it does not begin with YUV4MPEG2");
  if (!text.empty()) text.remove_prefix(1);
  return ParseY4mParameters(text, limits);
}

absl::Status ReadY4mFrameLine(BufferedInput& input) {
  const absl::StatusOr<std::string> line = input.ReadLine(kMaxLineBytes);
  if (!line.ok()) return line.status();
  if (line->substr(0, 5) != "FRAME" || (line->size() > 5 && (*line)[5] != ' ')) {
    return absl::DataLossError("a picture does not begin with FRAME");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> Y4mHeader(const VideoFormat& format) {
  const Space* found = nullptr;
  for (const Space& one : kSpaces) {
    if (one.format != format.pixel_format) continue;
    if (found == nullptr || one.place == format.chroma_place) found = &one;
  }
  if (found == nullptr) {
    return absl::UnimplementedError(absl::StrCat("y4m has no ", ToString(format)));
  }
  const char order = format.field_order == FieldOrder::kTopFirst      ? 't'
                     : format.field_order == FieldOrder::kBottomFirst ? 'b'
                     : format.field_order == FieldOrder::kProgressive ? 'p'
                                                                      : '?';
  const auto ratio = [](const Ratio& r) {
    return r.numerator == 0 ? std::string("0:0") : absl::StrCat(r.numerator, ":", r.denominator);
  };
  const char* range = format.colour.range == ColourRange::kFull      ? " XCOLORRANGE=FULL"
                      : format.colour.range == ColourRange::kLimited ? " XCOLORRANGE=LIMITED"
                                                                     : "";
  return absl::StrCat("YUV4MPEG2 W", format.width, " H", format.height, " F",
                      ratio(format.frame_rate), " I", std::string(1, order), " A",
                      ratio(format.pixel_aspect), " C", found->name, range, "\n");
}

}  // namespace parley::cli
