// SPDX-License-Identifier: Apache-2.0

// Row P11: a `parley send` that lies to `parley recv`, once they talk: formats, pictures, lines,
// pieces of a NUT, and what it says at the end.

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/types/span.h"
#include "parley/cli/stream_protocol.h"
#include "parley/cli/testing_nut.h"
#include "parley/media/format.h"
#include "parley/media/frame.h"
#include "parley/villain/case.h"
#include "parley/villain/honest_media.h"
#include "parley/villain/speaker.h"

namespace parley::villain {
namespace {

constexpr uint32_t kCaught = static_cast<uint32_t>(End::kPoisoned);
constexpr uint64_t kMost = ~uint64_t{0};

// What it sends; Mounted is said behind the last message that is honest.
AttackFunction Lies(const char* what, void (*tell)(Attacker& a, Speaker& sender)) {
  return [=](Attacker& a) {
    Speaker sender(a);
    tell(a, sender);
    a.Mounted(what);
    Attacker::Stay();
  };
}

void SendFormat(Speaker& sender, const NumberedFormat& format) {
  sender.SendBytes(cli::kTagFormat, EncodeFormat(format));
}

void SendPicture(Speaker& sender, uint64_t sequence, uint32_t generation = 1) {
  sender.Send(cli::kTagFrame, HonestFrame(sequence, generation), std::string(512, 'p'));
}

void SendText(Speaker& sender, uint32_t tag, std::string_view text) {
  sender.SendBytes(tag, std::as_bytes(std::span(text)));
}

void PictureFirst(Attacker&, Speaker& sender) { SendPicture(sender, 0); }

void SecondFormat(Attacker&, Speaker& sender) {
  for (const uint32_t generation : {1u, 2u}) {
    SendFormat(sender, Picture(generation));
    SendPicture(sender, generation - 1, generation);
  }
}

void FormatOfAnother(Attacker&, Speaker& sender) {
  NumberedFormat picture = Picture(1);
  std::get<VideoFormat>(picture.format).pixel_format = PixelFormat::kRgba;
  SendFormat(sender, picture);
}

void NoChannels(Attacker&, Speaker& sender) {
  const std::vector<std::byte> record = EncodeFormat(Stereo());
  AudioFormatWire wire;
  std::memcpy(&wire, record.data(), sizeof(wire));
  wire.channels = 0;
  sender.Send(cli::kTagFormat, wire);
  uint32_t payload = 0;
  const FrameHeaderWire header = PackedAudioHeader(Stereo(), 64, &payload);
  sender.Send(cli::kTagFrame, header, std::string(payload, 's'));
}

void LineInLine(Attacker&, Speaker& sender) {
  SendText(sender, cli::kTagBytes, "honest");
  SendText(sender, cli::kTagBytes, "a line\n2026-01-01 root: another one");
}

void LongLine(Attacker&, Speaker& sender) {
  SendText(sender, cli::kTagBytes, std::string(cli::kMaxPieceBytes + 4096, 'x'));
}

void LineBehindOpenOne(Attacker&, Speaker& sender) {
  SendText(sender, cli::kTagOpenLine, "the last one");
  SendText(sender, cli::kTagBytes, ", and another one");
}

void TagOfNothing(Attacker&, Speaker& sender) { SendText(sender, 77, "what is this?"); }

void FalseEnd(Attacker&, Speaker& sender) {
  SendText(sender, cli::kTagBytes, "one");
  sender.Send(cli::kTagEnd, cli::EndWire{kMost, kMost, 0, 0, 0, 0});
}

void SendNut(Speaker& sender) {
  SendText(sender, cli::kTagFormat, cli::testing::NutHeaders({0}));
  SendText(sender, cli::kTagBytes,
           cli::testing::NutSync(0) + cli::testing::NutFrame(0, true, 2000));
}

void ResumeFarAway(Attacker&, Speaker& sender) {
  SendNut(sender);
  sender.Send(cli::kTagResume, cli::ResumeWire{uint64_t{1} << 63}, cli::testing::NutSync(1));
}

void ResumeBefore(Attacker&, Speaker& sender) {
  SendNut(sender);
  sender.Send(cli::kTagResume, cli::ResumeWire{0}, cli::testing::NutSync(1));
}

void EndlessPacket(Attacker&, Speaker& sender) {
  SendNut(sender);
  // As long as it says, and the checksum of that is right.
  const std::string lead = cli::testing::BigEndian(cli::testing::kNutInfo, 8) +
                           cli::testing::NutNumber(uint64_t{1} << 50);
  SendText(sender, cli::kTagBytes, lead + cli::testing::NutChecksum(lead) + std::string(100, 'i'));
}

void HeadersTwice(Attacker&, Speaker& sender) {
  SendNut(sender);
  SendText(sender, cli::kTagFormat, cli::testing::NutHeaders({0}));
}

}  // namespace

std::vector<Case> StreamCases() {
  const auto of = [](const char* kind) {
    VictimSetup setup;
    setup.kind = VictimKind::kStream;
    setup.stream = kind;
    return setup;
  };
  return {
      {"stream-picture-first", "P11", "a picture before its format", of("y4m"),
       Lies("a picture of no format", PictureFirst), kCaught},
      {"stream-second-format", "P11", "a second format, which y4m does not have", of("y4m"),
       Lies("a second format", SecondFormat), kCaught},
      {"stream-format-of-another", "P11", "a pixel format that y4m does not have", of("y4m"),
       Lies("RGBA in y4m", FormatOfAnother), kCaught},
      {"stream-no-channels", "P11", "sound without a channel", of("wav"),
       Lies("sound of no channels", NoChannels), kCaught},
      {"stream-line-in-line", "P11", "a line with another one in it", of("lines"),
       Lies("a newline in a line", LineInLine), kCaught},
      {"stream-long-line", "P11", "a line above the longest", of("lines"),
       Lies("68 KiB in a line", LongLine), kCaught},
      {"stream-line-goes-on", "P11", "a line behind one that has no end", of("lines"),
       Lies("goes on behind an open line", LineBehindOpenOne), kCaught},
      {"stream-unknown-tag", "P11", "a message of a kind that there is not", of("lines"),
       Lies("tag 77", TagOfNothing), kCaught},
      {"stream-false-end", "P11", "an end that counts 2^64 - 1 messages", of("lines"),
       Lies("2^64 - 1 messages, of which one came", FalseEnd), kCaught},
      {"nut-resumes-far", "P11", "a NUT that goes on at byte 2^63", of("nut"),
       Lies("goes on at byte 2^63", ResumeFarAway), kCaught},
      {"nut-resumes-before", "P11", "a NUT that goes on at a byte that was there", of("nut"),
       Lies("goes on at byte 0", ResumeBefore), kCaught},
      {"nut-endless-packet", "P11", "a NUT's packet of 2^50 bytes", of("nut"),
       Lies("a packet of 2^50 bytes", EndlessPacket), kCaught},
      {"nut-headers-twice", "P11", "a NUT's headers for the second time", of("nut"),
       Lies("headers twice", HeadersTwice), kCaught},
  };
}

}  // namespace parley::villain
