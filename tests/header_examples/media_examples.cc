// SPDX-License-Identifier: Apache-2.0
// The examples in the headers of media/, each in a function that has what it takes for granted.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/channel/channel.h"
#include "parley/media/acceptance.h"
#include "parley/media/audio_port.h"
#include "parley/media/colour.h"
#include "parley/media/format.h"
#include "parley/media/frame.h"
#include "parley/media/incoming_stream.h"
#include "parley/media/pcm.h"
#include "parley/media/pixel_format.h"
#include "parley/media/turn.h"
#include "parley/os/deadline.h"

namespace parley {
namespace {

using ConstBytes = absl::Span<const std::byte>;

[[maybe_unused]] absl::Status AcceptanceExamples(ConstBytes record, const StreamFormat& format) {
  const auto Send = [](const auto& /*record*/) {};
#include "tests/header_examples/media/acceptance_0.inc"
  return absl::OkStatus();
}

[[maybe_unused]] void AudioPortExample(const std::string& name, Deadline deadline,
                                       absl::Span<const float> in, absl::Span<float> out) {
  const auto Reverb = [](absl::Span<const float> /*in*/, absl::Span<float> /*out*/) {};
#include "tests/header_examples/media/audio_port_0.inc"
}

[[maybe_unused]] void ColourExample(const VideoFormat& picture_format,
                                    const std::array<const std::byte*, kMaxPlanes>& planes,
                                    const std::array<ptrdiff_t, kMaxPlanes>& strides_bytes,
                                    uint32_t x, uint32_t y) {
#include "tests/header_examples/media/colour_0.inc"
}

[[maybe_unused]] absl::Status FormatExample(ConstBytes message) {
  const auto Show = [](const VideoFormat& /*video*/) {};
#include "tests/header_examples/media/format_0.inc"
  return absl::OkStatus();
}

[[maybe_unused]] absl::Status FrameExample(ConstBytes message,
                                           const NumberedFormat& current_format) {
#include "tests/header_examples/media/frame_0.inc"
  return absl::OkStatus();
}

[[maybe_unused]] void IncomingStreamExample(ConstBytes record, ConstBytes message) {
  const auto Drop = [](const absl::Status& /*why*/) {};
#include "tests/header_examples/media/incoming_stream_0.inc"
}

[[maybe_unused]] void PcmExample(absl::Span<std::byte> samples) {
#include "tests/header_examples/media/pcm_0.inc"
}

[[maybe_unused]] void PixelFormatExample() {
#include "tests/header_examples/media/pixel_format_0.inc"
}

[[maybe_unused]] void TurnExample(const VideoFormat& picture_format, uint32_t shown_width,
                                  uint32_t shown_height) {
#include "tests/header_examples/media/turn_0.inc"
}

}  // namespace
}  // namespace parley
