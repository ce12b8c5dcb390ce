// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/film/hijack.h"

#include <array>
#include <utility>

namespace parley::film {
namespace {

constexpr std::array<std::pair<Hijack, std::string_view>, 12> kNames = {{
    {Hijack::kIndexJump, "index-jump"},
    {Hijack::kLengthLie, "length-lie"},
    {Hijack::kRewind, "rewind"},
    {Hijack::kSilence, "silence"},
    {Hijack::kFlood, "flood"},
    {Hijack::kTruncate, "truncate"},
    {Hijack::kDeath, "death"},
    {Hijack::kPayloadRewrite, "payload-rewrite"},
    {Hijack::kBadFrame, "bad-frame"},
    {Hijack::kFormatFlood, "format-flood"},
    {Hijack::kEarlyEnd, "early-end"},
    {Hijack::kOpenFile, "open-file"},
}};

}  // namespace

std::optional<Hijack> HijackFromName(std::string_view name) {
  for (const auto& [hijack, its_name] : kNames) {
    if (name == its_name) return hijack;
  }
  return std::nullopt;
}

std::string HijackName(Hijack hijack) {
  for (const auto& [kind, name] : kNames) {
    if (kind == hijack) return std::string(name);
  }
  return "none";
}

std::string HijackNames() {
  std::string text;
  for (const auto& [hijack, name] : kNames) {
    if (!text.empty()) text += ", ";
    text += name;
  }
  return text;
}

}  // namespace parley::film
