// SPDX-License-Identifier: Apache-2.0

// Attacks the parsers of media/: format records, frame headers and the stream that remembers both.
// A model (media_script.h) says of each record whether it must be refused, and what it means if
// not; accepted planes are read to their last byte.
//
// Input: kind of stream and limits, then steps: one byte each (modulo 7), followed by what it
// needs.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/boundary/wire_copy.h"
#include "parley/fuzz/media_script.h"
#include "parley/media/acceptance.h"
#include "parley/media/format.h"
#include "parley/media/frame.h"
#include "parley/media/incoming_stream.h"
#include "parley/os/check.h"
#include "parley/testing/scripted_memory.h"

namespace parley::fuzz {
namespace {

using testing::Script;

constexpr int kMaxSteps = 60;

void ExpectDataLoss(const absl::Status& status) {
  PARLEY_CHECK(absl::IsDataLoss(status), "an error that is not typed as documented");
}

void ExpectSame(const Frame& frame, const std::vector<std::byte>& header,
                const FrameModel& expected, const FormatModel& format) {
  PARLEY_CHECK(frame.sequence == Number(header, 0, 8) &&
                   static_cast<uint64_t>(frame.pts_ns) == Number(header, 8, 8) &&
                   static_cast<uint64_t>(frame.duration_ns) == Number(header, 16, 8) &&
                   frame.flags == Number(header, 28, 2) && frame.plane_count == format.planes,
               "another frame than the header says");
  for (std::size_t i = 0; i < format.planes; ++i) {
    const Plane& plane = frame.planes[i];
    PARLEY_CHECK(plane.offset_bytes == expected.offset[i] &&
                     plane.stride_bytes == expected.stride[i] &&
                     plane.size_bytes == expected.size[i],
                 "another plane than the header says");
    PARLEY_CHECK(
        !format.video || (plane.row_bytes == format.row_bytes[i] && plane.rows == format.rows[i]),
        "other rows than the format has");
  }
  PARLEY_CHECK(frame.audio_frames == expected.frames, "another number of samples");
}

class Run {
 public:
  explicit Run(Script script) : script_(script) {
    const uint8_t bits = script_.Take8();
    video_ = (bits & 1) != 0;
    if ((bits & 2) != 0) {  // as lax as a caller can be
      limits_.format = {0xffff'ffff, 0xffff'ffff, ~uint64_t{0},
                        0xffff'ffff, 0xffff'ffff, 0xffff'ffff};
    }
    if ((bits & 4) != 0) limits_.max_format_changes = 3;
    if ((bits & 16) != 0) limits_.alignment = {.plane_bytes = 2, .row_bytes = 4};
    next_ = (bits & 8) != 0 ? script_.Take64() : 0;
    stream_.emplace(video_ ? StreamKind::kVideo : StreamKind::kAudio, limits_, next_);
  }

  void Everything() {
    for (int i = 0; i < kMaxSteps && !script_.empty(); ++i) Step();
  }

 private:
  void Step() {
    const uint8_t op = script_.Take8();
    switch (op % 7) {
      case 0: {
        std::vector<std::byte> record =
            MakeFormat(script_, video_ != (op > 250), static_cast<uint32_t>(generation_ + 1));
        Spoil(script_, &record);
        return OnFormat(record);
      }
      case 1:
        return OnFormat(script_.TakeBytes(script_.Take8()));
      case 2:
      case 3: {
        if (!format_) return;
        std::vector<std::byte> message = MakeFrame(script_, *format_, next_);
        Spoil(script_, &message);
        return OnFrame(message);
      }
      case 4:
        return OnFrame(script_.TakeBytes(script_.Take8()));
      case 5:
        return WithoutPayload();
      case 6:
        return OnAcceptance();
    }
  }

  void OnFormat(const std::vector<std::byte>& record) {
    const absl::StatusOr<NumberedFormat> parsed = ParseFormat(record, limits_.format);
    const std::optional<FormatModel> expected = ModelOfFormat(record, limits_.format);
    PARLEY_CHECK(parsed.ok() == expected.has_value(), "ParseFormat accepts or refuses wrongly");
    if (parsed.ok()) {
      ExpectWhole(*parsed, record, *expected);
    } else {
      ExpectDataLoss(parsed.status());
    }

    const absl::Status status = stream_->OnFormat(record);
    const bool welcome = !poisoned_ && expected.has_value() && expected->video == video_ &&
                         expected->generation == generation_ + 1 && frame_since_format_ &&
                         generation_ < limits_.max_format_changes;
    PARLEY_CHECK(status.ok() == welcome, "OnFormat accepts or refuses wrongly");
    if (!status.ok()) {
      poisoned_ = true;
      return ExpectDataLoss(status);
    }
    ++generation_;
    format_ = expected;
    numbered_ = *parsed;
    frame_since_format_ = false;
    PARLEY_CHECK(stream_->has_format() && stream_->format() == *parsed, "another format");
  }

  // Of an accepted format: it is told back to the same bytes, and a packed header of it is good.
  void ExpectWhole(const NumberedFormat& format, const std::vector<std::byte>& record,
                   const FormatModel& expected) {
    const auto encoded = EncodeFormat(format);
    PARLEY_CHECK(std::vector<std::byte>(encoded.begin(), encoded.end()) == record,
                 "EncodeFormat does not give back what was parsed");
    const std::string text = std::visit([](const auto& f) { return ToString(f); }, format.format);
    for (const char c : text) PARLEY_CHECK(c >= ' ' && c <= '~', "ToString: not printable");

    uint64_t whole = 64;  // more than the gaps between planes
    for (std::size_t i = 0; i < 4; ++i) whole += expected.row_bytes[i] * expected.rows[i];
    if (whole > 0xffff'ffff) return;
    uint32_t payload = 0;
    const FrameHeaderWire wire = expected.video ? PackedVideoHeader(format, &payload)
                                                : PackedAudioHeader(format, 7, &payload);
    const auto bytes = WireBytes(wire);
    PARLEY_CHECK(ValidateFrame(bytes, payload, format).ok(), "a packed header is refused");
    PARLEY_CHECK(!ValidateFrame(bytes, payload - 1, format).ok(), "a packed header ends early");
  }

  void OnFrame(const std::vector<std::byte>& message) {
    const absl::StatusOr<Frame> frame = stream_->OnFrame(message);
    std::optional<FrameModel> expected;
    if (!poisoned_ && format_ && message.size() >= 64) {
      expected = ModelOfFrame(message, message.size() - 64, *format_, limits_.alignment);
      if (expected && Number(message, 0, 8) != next_) expected.reset();
    }
    PARLEY_CHECK(frame.ok() == expected.has_value(), "OnFrame accepts or refuses wrongly");
    if (!frame.ok()) {
      poisoned_ = true;
      return ExpectDataLoss(frame.status());
    }
    ++next_;
    frame_since_format_ = true;
    PARLEY_CHECK(stream_->next_sequence() == next_, "another number is next");
    ExpectSame(*frame, message, *expected, *format_);
    uint64_t sum = 0;
    for (std::size_t i = 0; i < frame->plane_count; ++i) {
      for (const std::byte b : absl::MakeConstSpan(message).subspan(
               64 + frame->planes[i].offset_bytes, frame->planes[i].size_bytes)) {
        sum += std::to_integer<uint64_t>(b);
      }
    }
    static_cast<void>(sum);
  }

  // A receiver's record, as its sender reads it: right ones come back as they were, and whatever
  // they accept of the current format is within their limits.
  void OnAcceptance() {
    Acceptance wants;
    for (uint64_t& word : wants.pixel_formats) word = script_.Take64();
    const uint8_t bits = script_.Take8();
    wants.planar = (bits & 1) != 0;
    wants.interleaved = (bits & 2) != 0 || !wants.planar;
    wants.alignment = {.plane_bytes = 1u << (bits / 4 % 8), .row_bytes = 1u << (bits / 32)};
    wants.limits.max_channels = script_.Take8();
    wants.limits.max_width = script_.Take8();
    const auto encoded = EncodeAcceptance(wants);
    std::vector<std::byte> record(encoded.begin(), encoded.end());
    Spoil(script_, &record);
    const absl::StatusOr<Acceptance> parsed = ParseAcceptance(record);
    PARLEY_CHECK(parsed.ok() == ModelOfAcceptance(record),
                 "ParseAcceptance accepts or refuses wrongly");
    if (!parsed.ok()) return ExpectDataLoss(parsed.status());
    const auto again = EncodeAcceptance(*parsed);
    PARLEY_CHECK(std::vector<std::byte>(again.begin(), again.end()) == record,
                 "EncodeAcceptance does not give back what was parsed");
    if (!format_ || !parsed->Check(numbered_.format).ok()) return;
    const std::vector<std::byte> format = EncodeFormat(numbered_);
    PARLEY_CHECK(ModelOfFormat(format, parsed->limits).has_value(),
                 "a format that is accepted and beyond the limits");
    if (const auto* video = std::get_if<VideoFormat>(&numbered_.format)) {
      const auto number = static_cast<uint64_t>(video->pixel_format);
      PARLEY_CHECK((Number(record, 8 + number / 8, 1) >> (number % 8) & 1) != 0,
                   "a pixel format that is accepted and not in the record");
    }
  }

  // The check alone, for payloads of any length, which need not be there.
  void WithoutPayload() {
    if (!format_) return;
    std::vector<std::byte> header = MakeFrame(script_, *format_, script_.Take64());
    header.resize(64);
    const uint64_t payload = script_.Take64() >> (script_.Take8() % 64);
    Spoil(script_, &header);
    const absl::StatusOr<Frame> frame =
        ValidateFrame(header, static_cast<std::size_t>(payload), numbered_);
    std::optional<FrameModel> expected;
    if (header.size() == 64) expected = ModelOfFrame(header, payload, *format_);
    PARLEY_CHECK(frame.ok() == expected.has_value(), "ValidateFrame accepts or refuses wrongly");
    if (frame.ok()) {
      ExpectSame(*frame, header, *expected, *format_);
    } else {
      ExpectDataLoss(frame.status());
    }
  }

  Script script_;
  bool video_ = false;
  IncomingLimits limits_;
  std::optional<IncomingStream> stream_;
  // The model's memory.
  uint64_t next_ = 0;
  uint64_t generation_ = 0;
  std::optional<FormatModel> format_;
  NumberedFormat numbered_;
  bool frame_since_format_ = true;
  bool poisoned_ = false;
};

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  parley::fuzz::Run(parley::testing::Script(data, size)).Everything();
  return 0;
}
