// SPDX-License-Identifier: Apache-2.0

// Attacks `parley send` and `parley recv`: the parsers of y4m, WAV and NUT with text in pieces of
// any size, and the receiver with messages that are right or nearly right. What is accepted is
// written and read again: it must mean the same; and where a NUT can be cut does not depend on the
// pieces in which it came.
//
// Input: what to attack (one byte, modulo 5), the size of the pieces, then the text or the
// messages. A NUT is written as a script of parts, with their checksums.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/boundary/wire_copy.h"
#include "parley/cli/input.h"
#include "parley/cli/nut.h"
#include "parley/cli/stream_protocol.h"
#include "parley/cli/stream_receiver.h"
#include "parley/cli/stream_sender.h"
#include "parley/cli/testing_nut.h"
#include "parley/cli/wav.h"
#include "parley/cli/y4m.h"
#include "parley/fuzz/media_script.h"
#include "parley/os/check.h"
#include "parley/testing/scripted_memory.h"

namespace parley::fuzz {
namespace {

using cli::StreamKind;
using testing::Script;

constexpr uint64_t kLimitBytes = 1 << 20;

FormatLimits SmallLimits() {
  FormatLimits limits;
  limits.max_frame_bytes = 1 << 16;
  return limits;
}

class Pieces final : public cli::ByteSource {
 public:
  Pieces(std::vector<std::byte> bytes, std::size_t piece)
      : bytes_(std::move(bytes)), piece_(std::max<std::size_t>(piece, 1)) {}
  absl::StatusOr<std::size_t> Read(absl::Span<std::byte> into) override {
    const std::size_t taken = std::min({into.size(), piece_, bytes_.size() - at_});
    if (taken > 0) std::memcpy(into.data(), bytes_.data() + at_, taken);
    at_ += taken;
    return taken;
  }

 private:
  std::vector<std::byte> bytes_;
  std::size_t piece_;
  std::size_t at_ = 0;
};

void ExpectTyped(const absl::Status& status) {
  PARLEY_CHECK(absl::IsDataLoss(status) || absl::IsResourceExhausted(status) ||
                   absl::IsUnimplemented(status) || absl::IsOutOfRange(status),
               "an error that is not typed as documented");
}

class Through final : public cli::MessageSink {
 public:
  explicit Through(cli::StreamReceiver& receiver) : receiver_(receiver) {}
  absl::StatusOr<absl::Span<std::byte>> Reserve(uint32_t size_bytes, bool may_drop) override {
    if (may_drop && ++asked_ % 3 == 0) return absl::UnavailableError("no space now");
    PARLEY_CHECK(size_bytes <= 1u << 23, "a message that no limit allows");
    buffer_.resize(size_bytes);
    return absl::MakeSpan(buffer_);
  }
  void Commit(uint32_t tag, uint32_t size_bytes) override {
    buffer_.resize(size_bytes);
    taken_ = receiver_.OnMessage(tag, buffer_);
    PARLEY_CHECK(taken_.ok() || absl::IsOutOfRange(taken_), "an honest message is refused");
  }
  const absl::Status& taken() const { return taken_; }

 private:
  cli::StreamReceiver& receiver_;
  std::vector<std::byte> buffer_;
  absl::Status taken_;
  int asked_ = 0;
};

// Whatever a sender makes of the text, its receiver takes; and what comes out of the receiver is
// read again to the same bytes.
std::string Pass(StreamKind kind, std::vector<std::byte> text, std::size_t piece, bool drop,
                 bool* whole) {
  Pieces source(std::move(text), piece);
  cli::BufferedInput input(source);
  cli::StreamSender sender(kind, input, SmallLimits(), kLimitBytes);
  if (drop) sender.DropNewest();
  std::string out;
  *whole = false;
  absl::Status status = sender.Begin();
  if (!status.ok()) {
    ExpectTyped(status);
    return out;
  }
  PARLEY_CHECK(sender.max_message_bytes() <= 1u << 23, "a message of any size");
  cli::StreamReceiver receiver(
      kind, SmallLimits(), kLimitBytes, [&](absl::Span<const std::byte> bytes) {
        out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        return absl::OkStatus();
      });
  Through through(receiver);
  while ((status = sender.SendNext(through)).ok()) {
  }
  ExpectTyped(status);
  if (!absl::IsOutOfRange(status)) return out;
  PARLEY_CHECK(sender.SendEnd(through).ok() && absl::IsOutOfRange(through.taken()),
               "an honest end is refused");
  PARLEY_CHECK(receiver.messages() == sender.messages() && receiver.bytes() == sender.bytes() &&
                   receiver.dropped() == sender.dropped(),
               "the two ends count differently");
  *whole = true;
  return out;
}

// Parts of a NUT, right or not, in any order.
std::vector<std::byte> MakeNut(Script& script, int max_parts) {
  namespace nut = cli::testing;
  constexpr uint64_t kStartcodes[] = {nut::kNutMain,  nut::kNutStream, nut::kNutSyncpoint,
                                      nut::kNutIndex, nut::kNutInfo,   0x4e41'0102'0304'0506};
  const auto take = [&](std::size_t most) {
    const std::vector<std::byte> bytes = script.TakeBytes(most);
    std::string text(bytes.size(), 0);
    if (!bytes.empty()) std::memcpy(text.data(), bytes.data(), bytes.size());
    return text;
  };
  std::string text;
  for (int i = 0; i < max_parts && !script.empty() && text.size() < 200'000; ++i) {
    const uint8_t op = script.Take8();
    const uint8_t value = script.Take8();
    switch (op % 8) {
      case 0:
        text += take(value);
        break;
      case 1: {
        std::vector<uint64_t> kinds;
        for (int stream = 0; stream <= value % 4; ++stream)
          kinds.push_back(value >> (stream + 2) & 1);
        text += nut::NutHeaders(kinds);
        break;
      }
      case 2:
        text += nut::NutPacket(kStartcodes[op / 8 % 6], take(value));
        break;
      case 3:
        text += nut::NutSync(value, script.Take16());
        break;
      case 4:
        text += nut::NutFrame(value / 2 % 4, value % 2 != 0, script.Take8() * std::size_t{131});
        break;
      case 5:
        text += "\1" + take(value % 40);
        break;
      case 6: {
        std::string content = nut::NutMain(1 + value % 3);
        content[script.Take8() % content.size()] = static_cast<char>(script.Take8());
        text +=
            std::string("nut/multimedia container\0", 25) + nut::NutPacket(nut::kNutMain, content);
        break;
      }
      default:
        text += nut::NutPacket(kStartcodes[op / 8 % 6], std::string(value * std::size_t{37}, 'x'));
    }
  }
  std::vector<std::byte> bytes(text.size());
  if (!text.empty()) std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

// What is found in a NUT, and where; last, why it ends.
std::vector<std::string> Cuts(absl::Span<const std::byte> text, std::size_t piece) {
  cli::NutSplitter nut(SmallLimits().max_frame_bytes);
  std::vector<std::string> cuts;
  while (!text.empty()) {
    absl::Span<const std::byte> part = text.first(std::min(piece, text.size()));
    text.remove_prefix(part.size());
    while (!part.empty()) {
      const absl::StatusOr<cli::NutSplitter::Step> step = nut.Take(part);
      if (!step.ok()) {
        ExpectTyped(step.status());
        cuts.emplace_back(step.status().message());
        return cuts;
      }
      PARLEY_CHECK(step->taken > 0 && step->taken <= part.size(), "more bytes than there are");
      PARLEY_CHECK(nut.undecided_bytes() <= cli::kMaxNutUndecidedBytes + 1024 &&
                       nut.open_bytes() <= SmallLimits().max_frame_bytes + 1024 &&
                       nut.open_bytes() <= nut.position() && step->found_bytes <= nut.position(),
                   "more is held back than came");
      part.remove_prefix(step->taken);
      if (step->found == cli::NutSplitter::Found::kNothing) continue;
      cuts.push_back(std::to_string(static_cast<int>(step->found)) + " " +
                     std::to_string(nut.position() - step->found_bytes));
    }
  }
  cuts.emplace_back(nut.End().message());
  return cuts;
}

void AttackParsers(Script script, StreamKind kind) {
  const uint8_t bits = script.Take8();
  const std::size_t piece = 1 + bits % 64;
  const bool drop = bits >= 192 && kind != StreamKind::kWav;
  const std::vector<std::byte> text =
      kind == StreamKind::kNut ? MakeNut(script, 60) : script.TakeBytes(script.left());
  if (kind == StreamKind::kNut) {
    PARLEY_CHECK(Cuts(text, piece) == Cuts(text, text.size()), "pieces change where a NUT is cut");
  }
  bool whole = false;
  const std::string out = Pass(kind, text, piece, drop, &whole);
  // A NUT can be read behind a gap.
  if (!whole || (drop && kind != StreamKind::kNut)) return;
  if (!drop && (kind == StreamKind::kLines || kind == StreamKind::kNut)) {
    const bool same =
        std::equal(out.begin(), out.end(), text.begin(), text.end(),
                   [](char a, std::byte b) { return static_cast<std::byte>(a) == b; });
    PARLEY_CHECK(same, "other bytes than came");
    return;
  }
  std::vector<std::byte> again(out.size());
  if (!out.empty()) std::memcpy(again.data(), out.data(), out.size());
  const std::string twice = Pass(kind, std::move(again), 50, false, &whole);
  PARLEY_CHECK(whole && twice == out, "what was written is not read as it was");
}

void AttackReceiver(Script script) {
  const uint8_t bits = script.Take8();
  const auto kind = static_cast<StreamKind>(bits % 5);
  uint64_t written = 0;
  cli::StreamReceiver receiver(kind, SmallLimits(), bits >= 128 ? 500 : kLimitBytes,
                               [&](absl::Span<const std::byte> bytes) {
                                 written += bytes.size();
                                 return absl::OkStatus();
                               });
  std::optional<FormatModel> format;
  uint64_t next = 0;
  bool over = false;
  for (int i = 0; i < 40 && !script.empty(); ++i) {
    const uint8_t op = script.Take8();
    uint32_t tag = op % 8;
    std::vector<std::byte> message;
    const bool nut = kind == StreamKind::kNut;
    if (nut && (tag == cli::kTagFormat || tag == cli::kTagBytes || tag == cli::kTagResume)) {
      if (op >= 128) receiver.Missed();
      const auto position =
          WireBytes(cli::ResumeWire{tag == cli::kTagResume ? uint64_t{script.Take16()} : 0});
      if (tag == cli::kTagResume) message.assign(position.begin(), position.end());
      const std::vector<std::byte> bytes = (op & 64) != 0
                                               ? MakeNut(script, 1 + op / 8 % 8)
                                               : script.TakeBytes(script.Take16() % 1024);
      message.insert(message.end(), bytes.begin(), bytes.end());
    } else if (tag == cli::kTagFormat) {
      message = MakeFormat(script, kind != StreamKind::kWav, 1);
    } else if (tag == cli::kTagFrame && format) {
      message = MakeFrame(script, *format, next);
    } else if (tag == cli::kTagEnd) {
      const auto wire =
          WireBytes(cli::EndWire{receiver.messages() + receiver.left_out() + receiver.taken_back(),
                                 receiver.bytes(), script.Take8(), 0, 0, 0});
      message.assign(wire.begin(), wire.end());
    } else {
      message = script.TakeBytes(script.Take8());
    }
    Spoil(script, &message);
    const absl::Status status = receiver.OnMessage(tag, message);
    PARLEY_CHECK(!over || !status.ok(), "a stream that goes on behind its end");
    if (!status.ok()) {
      ExpectTyped(status);
      over = true;
    } else if (tag == cli::kTagFormat && !nut) {
      format = ModelOfFormat(message, SmallLimits());
      PARLEY_CHECK(format.has_value() && next == 0, "a format was accepted against the rules");
    } else if (tag == cli::kTagFrame) {
      PARLEY_CHECK(format && ModelOfFrame(message, message.size() - 64, *format) &&
                       Number(message, 0, 8) == next,
                   "a frame was accepted against the rules");
      ++next;
    }
  }
  PARLEY_CHECK(receiver.bytes() <= (bits >= 128 ? 500 : kLimitBytes), "more than the limit");
  PARLEY_CHECK(written <= receiver.bytes() + receiver.messages() * 8 + 1200,
               "more was written than came");
}

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using parley::cli::StreamKind;
  parley::testing::Script script(data, size);
  switch (script.Take8() % 5) {
    case 0:
      parley::fuzz::AttackParsers(script, StreamKind::kY4m);
      break;
    case 1:
      parley::fuzz::AttackParsers(script, StreamKind::kWav);
      break;
    case 2:
      parley::fuzz::AttackParsers(script, StreamKind::kLines);
      break;
    case 3:
      parley::fuzz::AttackReceiver(script);
      break;
    default:
      parley::fuzz::AttackParsers(script, StreamKind::kNut);
  }
  return 0;
}
