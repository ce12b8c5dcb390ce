// SPDX-License-Identifier: Apache-2.0
#include "parley/cli/stream_protocol.h"

#include <array>

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
  return "parley-stream/1 " + std::string(NameOf(kind));
}

}  // namespace parley::cli
