// SPDX-License-Identifier: Apache-2.0

// Rows P1 to P5: pictures and sound that are none.

#include <unistd.h>

#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "parley/media/format.h"
#include "parley/media/frame.h"
#include "parley/ring/layout.h"
#include "parley/villain/case.h"
#include "parley/villain/honest_media.h"
#include "parley/villain/raw_peer.h"
#include "parley/villain/victims.h"

namespace parley::villain {
namespace {

constexpr uint32_t kServed = static_cast<uint32_t>(End::kServed);
constexpr uint32_t kCaught = static_cast<uint32_t>(End::kPoisoned);

// Sends records as an honest producer would; what is in them is another matter.
class Sender {
 public:
  explicit Sender(Attacker& a) : attacker_(a), peer_(RawPeer::Connect(a)) {}

  void Send(uint32_t tag, const void* bytes, std::size_t size) {
    const uint64_t step = 8 + (size + 7) / 8 * 8;
    while (tail_ + step - peer_.theirs.Load(kHeadOffset) > kRingBytes) {
      peer_.Drain();
      peer_.RingData();
      if (attacker_.until.Expired()) attacker_.CannotMount("the victim takes nothing");
      ::usleep(50);
    }
    std::vector<uint64_t> words((size + 7) / 8);
    if (size != 0) std::memcpy(words.data(), bytes, size);
    peer_.Data().Store(tail_ % kRingBytes, RecordWord(static_cast<uint32_t>(size), tag));
    for (std::size_t i = 0; i < words.size(); ++i) {
      peer_.Data().Store((tail_ + 8 + 8 * i) % kRingBytes, words[i]);
    }
    last_ = tail_;
    tail_ += step;
    peer_.own.Store(kTailOffset, tail_);
    peer_.Drain();
    peer_.RingData();
  }
  const RawPeer& peer() const { return peer_; }
  uint64_t last() const { return last_; }

 private:
  Attacker& attacker_;
  RawPeer peer_;
  uint64_t tail_ = 0;
  uint64_t last_ = 0;
};

void SendFormat(Sender& sender, const NumberedFormat& format, uint32_t tag) {
  const auto record = EncodeFormat(format);
  sender.Send(tag, record.data(), record.size());
}

// A frame and its payload of 512 bytes.
void SendFrame(Sender& sender, const FrameHeaderWire& header, uint32_t tag = kVideoTag,
               const void* payload = nullptr, std::size_t size = 512) {
  std::vector<std::byte> record(sizeof(header) + size);
  std::memcpy(record.data(), &header, sizeof(header));
  if (payload != nullptr) std::memcpy(record.data() + sizeof(header), payload, size);
  sender.Send(tag, record.data(), record.size());
}

// One honest frame, then one that `spoil` has been at.
AttackFunction Frame(const std::function<void(FrameHeaderWire&)>& spoil, const char* what) {
  return [=](Attacker& a) {
    Sender sender(a);
    SendFormat(sender, Picture(1), kFormatTag);
    SendFrame(sender, HonestFrame(0));
    FrameHeaderWire header = HonestFrame(1);
    spoil(header);
    SendFrame(sender, header);
    a.Mounted(what);
    Attacker::Stay();
  };
}

AttackFunction FormatRecord(const std::function<void(VideoFormatWire&)>& spoil, const char* what) {
  return [=](Attacker& a) {
    Sender sender(a);
    const auto record = EncodeFormat(Picture(1));
    VideoFormatWire wire;
    std::memcpy(&wire, record.data(), sizeof(wire));
    spoil(wire);
    sender.Send(kFormatTag, &wire, sizeof(wire));
    SendFrame(sender, HonestFrame(0));
    a.Mounted(what);
    Attacker::Stay();
  };
}

AttackFunction SoundRecord(const std::function<void(AudioFormatWire&)>& spoil, const char* what) {
  return [=](Attacker& a) {
    Sender sender(a);
    const auto record = EncodeFormat(Stereo());
    AudioFormatWire wire;
    std::memcpy(&wire, record.data(), sizeof(wire));
    spoil(wire);
    sender.Send(kAudioFormatTag, &wire, sizeof(wire));
    a.Mounted(what);
    Attacker::Stay();
  };
}

void HostileSamples(Attacker& a) {
  Sender sender(a);
  const NumberedFormat format = Stereo();
  SendFormat(sender, format, kAudioFormatTag);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float nasty[] = {
      std::numeric_limits<float>::quiet_NaN(),  kInfinity, -kInfinity, 1e9f, -1e30f,
      std::numeric_limits<float>::denorm_min(), 2.0f,      -0.0f};
  std::vector<float> samples(128);
  for (std::size_t i = 0; i < samples.size(); ++i) samples[i] = nasty[i % 8];
  for (uint64_t sequence = 0;; ++sequence) {
    uint32_t payload = 0;
    FrameHeaderWire header = PackedAudioHeader(format, 64, &payload);
    header.sequence = sequence;
    SendFrame(sender, header, kAudioTag, samples.data(), payload);
    if (sequence == 3) a.Mounted("sends NaN, infinities and 1e9 as samples");
  }
}

void FormatStorm(Attacker& a) {
  Sender sender(a);
  for (uint32_t i = 1;; ++i) {
    SendFormat(sender, Picture(i), kFormatTag);
    SendFrame(sender, HonestFrame(i - 1, i));
    if (i == 1) a.Mounted("changes the format at each frame");
  }
}

void RewritePicture(Attacker& a) {
  Sender sender(a);
  SendFormat(sender, Picture(1), kFormatTag);
  a.Mounted("rewrites each picture while it is read");
  for (uint64_t sequence = 0;; ++sequence) {
    SendFrame(sender, HonestFrame(sequence));
    const Words data = sender.peer().Data();
    // All but the record's header and the frame's, which stay honest; until it was taken.
    uint64_t round = sequence;
    do {
      for (uint64_t at = 8 + kFrameHeaderBytes; at < 8 + kFrameHeaderBytes + 512; at += 8) {
        data.Store((sender.last() + at) % kRingBytes, ++round * at * 0x9e37'79b9);
      }
    } while (sender.peer().theirs.Load(kHeadOffset) <= sender.last() && !a.until.Expired());
  }
}

}  // namespace

std::vector<Case> PayloadCases() {
  VictimSetup media;
  media.kind = VictimKind::kMedia;
  // Its viewer's limits are no limits, so that the product itself has to be right.
  VictimSetup boundless = media;
  boundless.open_options = true;
  return {
      {"hostile-samples", "P1", "NaN, infinities and 1e9 as samples", media, HostileSamples,
       kServed},
      {"stride-overflows", "P2", "a stride whose product with the rows overflows", media,
       Frame([](FrameHeaderWire& h) { h.planes[0].stride_bytes = 0x1111'1112; },
             "a stride of 0x11111112"),
       kCaught},
      {"plane-outside", "P2", "a plane that begins behind the payload", media,
       Frame([](FrameHeaderWire& h) { h.planes[0].offset_bytes = 0xffff'fff0; },
             "a plane at 4 GiB"),
       kCaught},
      {"picture-overflows", "P2", "a width and height whose product overflows", boundless,
       FormatRecord(
           [](VideoFormatWire& f) {
             f.width = 0x1'0000;
             f.height = 0x1'0001;
           },
           "a picture of 65536 x 65537, within the limits of its viewer"),
       kCaught},
      {"zero-denominator", "P2", "a frame rate with a zero denominator", media,
       FormatRecord([](VideoFormatWire& f) { f.frame_rate_denominator = 0; }, "25/0 per second"),
       kCaught},
      {"timestamp-extreme", "P3", "a timestamp of -2^63", media,
       Frame([](FrameHeaderWire& h) { h.pts_ns = std::numeric_limits<int64_t>::min(); },
             "a timestamp of -2^63"),
       kCaught},
      {"sequence-old", "P3", "a frame that was there before", media,
       Frame([](FrameHeaderWire& h) { h.sequence = 0; }, "the first frame again"), kCaught},
      {"sequence-skips", "P3", "a frame from the future", media,
       Frame([](FrameHeaderWire& h) { h.sequence = uint64_t{1} << 63; }, "frame 2^63"), kCaught},
      {"format-storm", "P4", "a change of format at each frame", media, FormatStorm, kCaught},
      {"picture-rewritten", "P5", "a picture rewritten while it is read", media, RewritePicture,
       kServed},
      {"format-unknown", "P6", "a pixel format without a name", media,
       FormatRecord([](VideoFormatWire& f) { f.pixel_format = 0xffff'fff0; }, "no such format"),
       kCaught},
      {"profile-longer", "P6", "an ICC profile longer than its record", media,
       FormatRecord([](VideoFormatWire& f) { f.icc_bytes = 0xffff'ff80; },
                    "a profile of 4 GiB in a record of 128 bytes"),
       kCaught},
      {"matrix-flat", "P6", "a display matrix that cannot be inverted", media,
       FormatRecord([](VideoFormatWire& f) { f.display_matrix.fill(1); }, "a flat matrix"),
       kCaught},
      {"format-reserved", "P6", "a reserved field of a format", media,
       FormatRecord([](VideoFormatWire& f) { f.reserved.back() = 1; }, "a reserved field"),
       kCaught},
      {"sound-absurd", "P6", "sound of 4 billion channels", boundless,
       SoundRecord([](AudioFormatWire& f) { f.channels = 0xffff'fffe; }, "4294967294 channels"),
       kCaught},
      {"layout-too-many", "P6", "a layout of more channels than there are", media,
       SoundRecord(
           [](AudioFormatWire& f) {
             f.layout = static_cast<uint8_t>(ChannelLayout::Kind::kMask);
             f.mask = ~uint64_t{0};
           },
           "64 places for two channels"),
       kCaught},
  };
}

}  // namespace parley::villain
