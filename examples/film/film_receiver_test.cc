// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/film/film_receiver.h"

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/wire_copy.h"
#include "parley/examples/film/film_protocol.h"
#include "parley/examples/film/media_units.h"
#include "parley/media/format.h"
#include "parley/media/frame.h"

namespace parley::film {
namespace {

using Verdict = FilmReceiver::Verdict;

const NumberedFormat kGray = {VideoFormat{.pixel_format = PixelFormat::kGray8,
                                          .width = 8,
                                          .height = 4,
                                          .frame_rate = {25, 1},
                                          .pixel_aspect = {1, 1}},
                              1};
const NumberedFormat kMono = {
    AudioFormat{.sample_format = SampleFormat::kS16, .rate_hz = 8000, .channels = 1}, 1};

class Collector final : public MediaSink {
 public:
  absl::Status OnPicture(const Picture& picture) override {
    pictures.push_back(std::to_integer<int>(*picture.planes[0]));
    return pictures.size() > most ? absl::ResourceExhaustedError("disk full") : absl::OkStatus();
  }
  absl::Status OnAudio(const AudioBlock& audio) override {
    audio_frames += audio.frames;
    for (size_t i = 0; i < audio.planes.size(); ++i) {
      channels.push_back(std::to_integer<int>(audio.Plane(i).front()));
      channels.push_back(std::to_integer<int>(audio.Plane(i).back()));
    }
    return absl::OkStatus();
  }
  std::vector<int> pictures;
  uint64_t audio_frames = 0;
  std::vector<int> channels;  // the first and the last byte of each
  size_t most = 1000;
};

std::vector<std::byte> PictureMessage(uint64_t number, bool key) {
  uint32_t payload = 0;
  FrameHeaderWire wire = PackedVideoHeader(kGray, &payload);
  wire.sequence = number;
  wire.pts_ns = static_cast<int64_t>(number) * 40;
  wire.duration_ns = 40;
  wire.flags = key ? kFrameKey : kFrameDelta;
  std::vector<std::byte> message(kFrameHeaderBytes + payload, static_cast<std::byte>(number));
  std::memcpy(message.data(), &wire, sizeof(wire));
  return message;
}

std::vector<std::byte> AudioMessage(uint64_t number, uint32_t frames) {
  uint32_t payload = 0;
  FrameHeaderWire wire = PackedAudioHeader(kMono, frames, &payload);
  wire.sequence = number;
  std::vector<std::byte> message(kFrameHeaderBytes + payload);
  std::memcpy(message.data(), &wire, sizeof(wire));
  return message;
}

const NumberedFormat kThreeChannels = {
    AudioFormat{
        .sample_format = SampleFormat::kS16, .rate_hz = 8000, .channels = 3, .planar = true},
    1};

// A block of sound in a frame of the arena: 10 samples of each channel.
struct SoundInFrame {
  explicit SoundInFrame(const NumberedFormat& format) {
    uint32_t payload_bytes = 0;
    header = PackedAudioHeader(format, 10, &payload_bytes);
    bytes.resize(payload_bytes);
  }
  Verdict Send(FilmReceiver& receiver) const {
    return receiver.OnFrame(tag, WireBytes(header), bytes);
  }
  uint32_t tag = kTagAudioInPlace;
  FrameHeaderWire header;
  std::vector<std::byte> bytes;
};

EndWire Totals(uint64_t pictures, uint64_t blocks, uint64_t frames) {
  return {.pictures = pictures,
          .audio_blocks = blocks,
          .audio_frames = frames,
          .bad_packets = 0,
          .truncated = 0,
          .reserved = 0};
}

TEST(FilmReceiverTest, DeliversAFilm) {
  Collector sink;
  FilmReceiver receiver({}, {}, sink, nullptr);
  EXPECT_EQ(receiver.OnMessage(kTagFormat, EncodeFormat(kGray)), Verdict::kGoOn);
  EXPECT_EQ(receiver.OnMessage(kTagFormat, EncodeFormat(kMono)), Verdict::kGoOn);
  EXPECT_EQ(receiver.OnMessage(kTagPicture, PictureMessage(0, true)), Verdict::kGoOn);
  EXPECT_EQ(receiver.OnMessage(kTagAudio, AudioMessage(0, 100)), Verdict::kGoOn);
  EXPECT_EQ(receiver.OnMessage(kTagPicture, PictureMessage(1, false)), Verdict::kGoOn);
  EXPECT_EQ(receiver.OnMessage(kTagEnd, WireBytes(Totals(2, 1, 100))), Verdict::kEnded);
  EXPECT_EQ(sink.pictures, (std::vector<int>{0, 1}));
  EXPECT_EQ(sink.audio_frames, 100u);
  EXPECT_EQ(receiver.delivered().reached_ns, 80);
}

TEST(FilmReceiverTest, AReplacedWorkerDeliversEachPictureOnce) {
  Collector sink;
  FilmReceiver first({}, {}, sink, nullptr);
  first.OnMessage(kTagFormat, EncodeFormat(kGray));
  for (uint64_t i = 0; i < 5; ++i) first.OnMessage(kTagPicture, PictureMessage(i, i % 3 == 0));
  ASSERT_EQ(first.OnMessage(99, {}), Verdict::kViolation);
  ASSERT_EQ(first.delivered().key_picture, 3u);

  std::vector<uint64_t> again;
  FilmReceiver second({}, first.delivered(), sink,
                      [&](uint64_t number, const Picture&) { again.push_back(number); });
  EXPECT_EQ(second.OnMessage(kTagProgress, WireBytes(ProgressWire{2, 0})), Verdict::kGoOn);
  second.OnMessage(kTagFormat, EncodeFormat(kGray));
  for (uint64_t i = 3; i < 8; ++i) {
    EXPECT_EQ(second.OnMessage(kTagPicture, PictureMessage(i, i % 3 == 0)), Verdict::kGoOn);
  }
  EXPECT_EQ(second.OnMessage(kTagEnd, WireBytes(Totals(8, 0, 0))), Verdict::kEnded);
  EXPECT_EQ(sink.pictures, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(again, (std::vector<uint64_t>{3, 4}));
}

TEST(FilmReceiverTest, EachLieIsAViolationForGood) {
  const auto text = [](const char* c) { return std::vector<std::byte>(std::strlen(c)); };
  const std::vector<std::pair<std::string, std::function<Verdict(FilmReceiver&)>>> lies = {
      {"unknown tag", [&](auto& r) { return r.OnMessage(0, {}); }},
      {"short format", [&](auto& r) { return r.OnMessage(kTagFormat, text("x")); }},
      {"short picture", [&](auto& r) { return r.OnMessage(kTagPicture, text("x")); }},
      {"picture number",
       [&](auto& r) { return r.OnMessage(kTagPicture, PictureMessage(2, true)); }},
      {"audio without format", [&](auto& r) { return r.OnMessage(kTagAudio, AudioMessage(0, 1)); }},
      {"picture as audio",
       [&](auto& r) { return r.OnMessage(kTagAudio, PictureMessage(1, true)); }},
      {"empty info", [&](auto& r) { return r.OnMessage(kTagInfo, {}); }},
      {"two infos",
       [&](auto& r) {
         r.OnMessage(kTagInfo, WireBytes(InfoWire{}));
         return r.OnMessage(kTagInfo, WireBytes(InfoWire{}));
       }},
      {"progress without need",
       [&](auto& r) { return r.OnMessage(kTagProgress, WireBytes(ProgressWire{1, 0})); }},
      {"progress of nothing",
       [&](auto& r) { return r.OnMessage(kTagProgress, WireBytes(ProgressWire{0, 0})); }},
      {"end too early", [&](auto& r) { return r.OnMessage(kTagEnd, WireBytes(Totals(9, 0, 0))); }},
      {"end with more audio",
       [&](auto& r) { return r.OnMessage(kTagEnd, WireBytes(Totals(1, 0, 7))); }},
      {"end with a reserved bit",
       [&](auto& r) {
         EndWire end = Totals(1, 0, 0);
         end.reserved = 1;
         return r.OnMessage(kTagEnd, WireBytes(end));
       }},
      {"long failure",
       [&](auto& r) { return r.OnMessage(kTagFailed, std::vector<std::byte>(257)); }},
  };
  for (const auto& [name, lie] : lies) {
    Collector sink;
    FilmReceiver receiver({}, {}, sink, nullptr);
    ASSERT_EQ(receiver.OnMessage(kTagFormat, EncodeFormat(kGray)), Verdict::kGoOn);
    ASSERT_EQ(receiver.OnMessage(kTagPicture, PictureMessage(0, true)), Verdict::kGoOn);
    EXPECT_EQ(lie(receiver), Verdict::kViolation) << name;
    EXPECT_EQ(receiver.status().code(), absl::StatusCode::kDataLoss) << name;
    EXPECT_EQ(receiver.OnMessage(kTagPicture, PictureMessage(1, false)), Verdict::kViolation);
    EXPECT_EQ(sink.pictures.size(), 1u) << name;
  }
}

TEST(FilmReceiverTest, TheChannelsOfASoundFrameLieWhereItsHeaderSays) {
  Collector sink;
  FilmReceiver receiver({}, {}, sink, nullptr);
  ASSERT_EQ(receiver.OnMessage(kTagFormat, EncodeFormat(kThreeChannels)), Verdict::kGoOn);
  SoundInFrame sound(kThreeChannels);
  sound.bytes.resize(7 + 2 * 33 + 20);
  sound.header.planes[0].offset_bytes = 7;
  sound.header.planes[1].stride_bytes = 33;
  for (size_t i = 0; i < sound.bytes.size(); ++i) sound.bytes[i] = static_cast<std::byte>(i);
  EXPECT_EQ(sound.Send(receiver), Verdict::kGoOn) << receiver.status();
  EXPECT_EQ(sink.channels, (std::vector<int>{7, 26, 40, 59, 73, 92}));
  EXPECT_EQ(receiver.delivered().audio_blocks, 1u);
  EXPECT_EQ(receiver.delivered().bytes, 60u);
}

// Samples x channels beyond the frame, planes that were moved or overlap, and all else.
TEST(FilmReceiverTest, EachLieAboutASoundFrameIsAViolationForGood) {
  struct Lie {
    std::string name;
    std::function<void(SoundInFrame&)> tell;
  };
  const std::vector<Lie> lies = {
      {"more samples than the frame has", [](auto& s) { s.header.planes[0].stride_bytes += 2; }},
      {"a length that wraps around", [](auto& s) { s.header.planes[0].stride_bytes = 0xfffffffe; }},
      {"half a sample", [](auto& s) { s.header.planes[0].stride_bytes -= 1; }},
      {"no samples", [](auto& s) { s.header.planes[0].stride_bytes = 0; }},
      {"moved by a sample", [](auto& s) { s.header.planes[0].offset_bytes = 2; }},
      {"moved around the end", [](auto& s) { s.header.planes[0].offset_bytes = 0xfffffffe; }},
      {"channels so far apart that they wrap around",
       [](auto& s) { s.header.planes[1].stride_bytes = 0x80000000; }},
      {"a second plane", [](auto& s) { s.header.plane_count = 2; }},
      {"no plane", [](auto& s) { s.header.plane_count = 0; }},
      {"an offset between the channels", [](auto& s) { s.header.planes[1].offset_bytes = 2; }},
      {"a third plane", [](auto& s) { s.header.planes[2].stride_bytes = 20; }},
      {"a shorter frame", [](auto& s) { s.bytes.pop_back(); }},
      {"an empty frame", [](auto& s) { s.bytes.clear(); }},
      {"an older format", [](auto& s) { s.header.format_generation = 0; }},
      {"a format to come", [](auto& s) { s.header.format_generation = 2; }},
      {"a block left out", [](auto& s) { s.header.sequence += 1; }},
      {"the last block again", [](auto& s) { s.header.sequence -= 1; }},
      {"a time out of range", [](auto& s) { s.header.pts_ns = kMaxTimestampNs + 1; }},
      {"sound as a picture", [](auto& s) { s.tag = kTagPictureInPlace; }},
      {"a frame under a message's tag", [](auto& s) { s.tag = kTagAudio; }},
      {"an unknown tag", [](auto& s) { s.tag = 12; }},
  };
  for (const NumberedFormat& format : {kMono, kThreeChannels}) {
    const bool planar = format == kThreeChannels;
    std::vector<Lie> all = lies;
    if (planar) {
      all.push_back(
          {"channels that overlap", [](auto& s) { s.header.planes[1].stride_bytes -= 2; }});
      all.push_back(
          {"channels upon each other", [](auto& s) { s.header.planes[1].stride_bytes = 0; }});
      all.push_back(
          {"channels beyond the frame", [](auto& s) { s.header.planes[1].stride_bytes += 2; }});
    } else {
      all.push_back(
          {"channels where there are none", [](auto& s) { s.header.planes[1].stride_bytes = 20; }});
    }
    for (const Lie& lie : all) {
      Collector sink;
      FilmReceiver receiver({}, {}, sink, nullptr);
      ASSERT_EQ(receiver.OnMessage(kTagFormat, EncodeFormat(kGray)), Verdict::kGoOn);
      ASSERT_EQ(receiver.OnMessage(kTagFormat, EncodeFormat(format)), Verdict::kGoOn);
      SoundInFrame sound(format);
      ASSERT_EQ(sound.Send(receiver), Verdict::kGoOn) << receiver.status();
      sound.header.sequence = 1;
      const SoundInFrame right = sound;
      lie.tell(sound);
      EXPECT_EQ(sound.Send(receiver), Verdict::kViolation) << lie.name << planar;
      EXPECT_EQ(receiver.status().code(), absl::StatusCode::kDataLoss) << lie.name;
      EXPECT_EQ(right.Send(receiver), Verdict::kViolation) << lie.name;
      EXPECT_EQ(sink.audio_frames, 10u) << lie.name;
    }
    // Without a whole header.
    for (const size_t header_bytes : {size_t{0}, size_t{63}}) {
      Collector sink;
      FilmReceiver receiver({}, {}, sink, nullptr);
      ASSERT_EQ(receiver.OnMessage(kTagFormat, EncodeFormat(format)), Verdict::kGoOn);
      const SoundInFrame sound(format);
      const auto header = WireBytes(sound.header);
      EXPECT_EQ(receiver.OnFrame(kTagAudioInPlace, absl::MakeConstSpan(header).first(header_bytes),
                                 sound.bytes),
                Verdict::kViolation);
    }
  }
}

TEST(FilmReceiverTest, AWorkersTextCannotCommandATerminal) {
  Collector sink;
  FilmReceiver receiver({}, {}, sink, nullptr);
  FailedWire failed = {};
  const std::string text = "no\x1b[2J\nfilm\x80";
  std::memcpy(failed.reason.data(), text.data(), text.size());
  EXPECT_EQ(receiver.OnMessage(kTagFailed, WireBytes(failed)), Verdict::kFailed);
  EXPECT_EQ(receiver.failure(), "no?[2J?film?");
  failed.reason.fill('a');
  FilmReceiver full({}, {}, sink, nullptr);
  full.OnMessage(kTagFailed, WireBytes(failed));
  EXPECT_EQ(full.failure().size(), 256u);
}

TEST(FilmReceiverTest, AFullDiskIsNotTheWorkersFault) {
  Collector sink;
  sink.most = 0;
  FilmReceiver receiver({}, {}, sink, nullptr);
  receiver.OnMessage(kTagFormat, EncodeFormat(kGray));
  EXPECT_EQ(receiver.OnMessage(kTagPicture, PictureMessage(0, true)), Verdict::kSinkFailed);
  EXPECT_EQ(receiver.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(receiver.delivered().pictures, 0u);
}

}  // namespace
}  // namespace parley::film
