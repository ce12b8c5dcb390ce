// SPDX-License-Identifier: Apache-2.0
#include "parley/cli/stream_protocol.h"

#include <array>

#include "absl/strings/str_cat.h"

namespace parley::cli {
namespace {

constexpr std::array<std::string_view, 5> kNames = {"raw", "lines", "nut", "y4m", "wav"};

}  // namespace

std::string_view NameOf(StreamKind kind) { return kNames[static_cast<size_t>(kind)]; }

std::optional<StreamKind> StreamKindFromName(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<StreamKind>(i);
  }
  return std::nullopt;
}

std::string ChannelFormat(StreamKind kind) {
  return "parley-stream/2 " + std::string(NameOf(kind));
}

uint64_t DroppedOf(const EndWire& end) {
  return end.dropped_newest + end.dropped_unread + end.dropped_late + end.dropped_before_key;
}

std::string ReasonsOf(const EndWire& end) {
  return absl::StrCat(end.dropped_newest, " newest, ", end.dropped_unread, " unread, ",
                      end.dropped_late, " late, ", end.dropped_before_key, " before a key");
}

}  // namespace parley::cli
