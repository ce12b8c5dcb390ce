// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/film/film_sender.h"

#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/av/decoder.h"
#include "parley/av/decoder_memory.h"
#include "parley/channel/channel.h"
#include "parley/examples/film/check_receiver.h"
#include "parley/examples/film/film_protocol.h"
#include "parley/examples/film/film_receiver.h"
#include "parley/examples/film/film_source.h"
#include "parley/examples/film/outputs.h"
#include "parley/examples/film/second_look.h"
#include "parley/examples/film/test_clip.h"
#include "parley/frames/frame_receiver.h"
#include "parley/frames/frame_sender.h"
#include "parley/media/acceptance.h"
#include "parley/media/frame.h"
#include "parley/os/deadline.h"
#include "parley/testing/channel_pair.h"

namespace parley::film {
namespace {

// Hands each message to a receiver, as the channel would; every byte of it was written by then.
class DirectOut final : public MessageOut {
 public:
  explicit DirectOut(uint32_t max_message_bytes) : max_message_bytes_(max_message_bytes) {}
  uint32_t max_message_bytes() const override { return max_message_bytes_; }
  absl::StatusOr<absl::Span<std::byte>> Reserve(uint32_t size_bytes) override {
    if (stop_after-- == 0) return absl::UnavailableError("the viewer has gone");
    // Stale bytes, as in a ring that goes round.
    buffer_.assign(size_bytes, std::byte{0xee});
    return absl::MakeSpan(buffer_);
  }
  void Commit(uint32_t tag, uint32_t size_bytes) override {
    ASSERT_EQ(size_bytes, buffer_.size());
    ++messages[tag];
    last = buffer_;
    if (receiver != nullptr) verdict = receiver->OnMessage(tag, buffer_);
  }

  FilmReceiver* receiver = nullptr;
  FilmReceiver::Verdict verdict = FilmReceiver::Verdict::kGoOn;
  std::map<uint32_t, int> messages;
  std::vector<std::byte> last;
  int stop_after = -1;

 private:
  uint32_t max_message_bytes_;
  std::vector<std::byte> buffer_;
};

absl::Status Stream(const std::vector<std::byte>& film, DirectOut& out, const FilmStart& start,
                    const Acceptance& acceptance = {}) {
  av::WarmUpDecoder();
  MemorySource source(film);
  auto decoder = av::FilmDecoder::Open(source, acceptance);
  if (!decoder.ok()) return decoder.status();
  FilmSender sender(out, start, acceptance);
  absl::Status status = sender.SendInfo((*decoder)->info());
  if (!status.ok()) return status;
  auto totals = (*decoder)->Run(sender);
  return totals.ok() ? sender.SendEnd(*totals) : totals.status();
}

const OutputOptions kFactsOnly = {
    .y4m = "", .wav = "", .sheet = "", .list = "", .facts = true, .keep_going = false};

// What the second look says of what was delivered.
VerifyResult LookAgain(const std::vector<std::byte>& film, const Outputs& outputs) {
  class ToReceiver final : public MessageOut {
   public:
    explicit ToReceiver(CheckReceiver& receiver) : receiver_(receiver) {}
    uint32_t max_message_bytes() const override { return 1 << 20; }
    absl::StatusOr<absl::Span<std::byte>> Reserve(uint32_t size_bytes) override {
      buffer_.resize(size_bytes);
      return absl::MakeSpan(buffer_);
    }
    void Commit(uint32_t tag, uint32_t) override { verdict = receiver_.OnMessage(tag, buffer_); }
    Verdict verdict = Verdict::kGoOn;

   private:
    CheckReceiver& receiver_;
    std::vector<std::byte> buffer_;
  };
  CheckReceiver check(outputs.picture_facts(), outputs.recorder().formats(), outputs.audio_facts());
  ToReceiver out(check);
  MemorySource source(film);
  EXPECT_TRUE(SecondLook(source, [](std::string_view) { return true; }, out).ok());
  EXPECT_EQ(out.verdict, Verdict::kEnded) << check.failure();
  return check.result();
}

TEST(FilmSenderTest, EveryClipArrivesIdentical) {
  for (const std::string& name : TestClipNames()) {
    const std::vector<std::byte> film = ReadAll(TestClip(name));
    Outputs outputs(kFactsOnly);
    FilmReceiver receiver({}, {}, outputs, nullptr);
    DirectOut out(1 << 26);
    out.receiver = &receiver;
    ASSERT_TRUE(Stream(film, out, {}).ok()) << name;
    ASSERT_EQ(out.verdict, FilmReceiver::Verdict::kEnded) << name << receiver.status();
    const VerifyResult result = LookAgain(film, outputs);
    EXPECT_TRUE(result.identical()) << name << result.first_reason;
    EXPECT_EQ(result.audio_frames, receiver.totals().audio_frames);
  }
}

// ---- Pictures and sound in the arena of a channel.

class ChannelOut final : public MessageOut {
 public:
  explicit ChannelOut(Sender& sender) : sender_(sender) {}
  uint32_t max_message_bytes() const override { return sender_.max_message_bytes(); }
  absl::StatusOr<absl::Span<std::byte>> Reserve(uint32_t size_bytes) override {
    return sender_.Reserve(size_bytes, Deadline::After(absl::Seconds(60)));
  }
  void Commit(uint32_t tag, uint32_t size_bytes) override { sender_.Commit(tag, size_bytes); }

 private:
  Sender& sender_;
};

// How long a viewer keeps what it got.
enum class Keeps { kForAWhile, kUntilThereIsSound, kForAWhileOnceItHasSlept };

// Which way something came.
struct Ways {
  int in_place = 0;
  int copied = 0;
};

// A viewer that reads in place.
class KeepingViewer {
 public:
  KeepingViewer(Channel& channel, MessageHandler& handler, Keeps keeps)
      : messages_(channel.receiver),
        frames_(*FrameReceiver::Create(channel)),
        handler_(handler),
        keeps_(keeps),
        buffer_(messages_.max_message_bytes()) {}

  Verdict Run() {
    if (std::exchange(keeps_, keeps_ == Keeps::kUntilThereIsSound
                                  ? Keeps::kUntilThereIsSound
                                  : Keeps::kForAWhile) == Keeps::kForAWhileOnceItHasSlept) {
      absl::SleepFor(av::DecoderMemory::kMaxWait * 5 / 4);
    }
    const Deadline end = Deadline::After(absl::Seconds(120));
    while (!end.Expired()) {
      const absl::StatusOr<Record> record = messages_.Receive(
          absl::MakeSpan(buffer_), Deadline::After(absl::Milliseconds(kept_.empty() ? 100 : 1)));
      if (absl::IsDeadlineExceeded(record.status())) {
        if (!kept_.empty() && keeps_ == Keeps::kForAWhile) ReturnOldest();
        continue;
      }
      EXPECT_TRUE(record.ok()) << record.status();
      if (!record.ok()) break;
      const Verdict verdict = Take(*record);
      if (verdict != Verdict::kGoOn) return verdict;
    }
    return Verdict::kFailed;
  }

  Ways pictures;
  Ways sound;

 private:
  struct Kept {
    InFrame frame;
    std::vector<std::byte> bytes;  // as they came
  };
  Verdict Take(const Record& record) {
    const auto message = absl::MakeConstSpan(buffer_).first(record.size_bytes);
    const bool is_sound = record.tag == kTagAudio || record.tag == kTagAudioInPlace;
    if (is_sound) keeps_ = Keeps::kForAWhile;
    Ways& ways = is_sound ? sound : pictures;
    if (record.tag == kTagPicture || record.tag == kTagAudio) ++ways.copied;
    if (record.tag != kTagPictureInPlace && record.tag != kTagAudioInPlace) {
      return handler_.OnMessage(record.tag, message);
    }
    ++ways.in_place;
    Kept kept;
    EXPECT_EQ(frames_.Open(record.tag, message, &kept.frame), Outcome::kOk);
    kept.bytes.resize(kept.frame.size_bytes());
    EXPECT_TRUE(kept.frame.CopyOut(absl::MakeSpan(kept.bytes)));
    const Verdict verdict = handler_.OnFrame(
        record.tag, kept.frame.metadata(),
        {kept.frame.view().BytesThatThePeerMayRewriteAtAnyTime(), kept.frame.size_bytes()});
    kept_.push_back(std::move(kept));
    while (kept_.size() > 3 && keeps_ == Keeps::kForAWhile) ReturnOldest();
    return verdict;
  }
  // What was sent is never written to: the decoder only reads it.
  void ReturnOldest() {
    Kept& oldest = kept_.front();
    std::vector<std::byte> now(oldest.bytes.size());
    EXPECT_TRUE(oldest.frame.CopyOut(absl::MakeSpan(now)));
    EXPECT_TRUE(now == oldest.bytes) << "written to after it was sent";
    kept_.pop_front();
  }

  Receiver& messages_;
  FrameReceiver frames_;
  MessageHandler& handler_;
  Keeps keeps_;
  std::vector<std::byte> buffer_;
  std::deque<Kept> kept_;
};

struct Arrival {
  bool identical = false;
  std::string reason;
  Ways pictures;
  Ways sound;
  AudioFormat audio_format;  // of the last block
};

Arrival StreamThroughArena(const std::string& path, uint64_t arena_bytes,
                           const Acceptance& acceptance = {}, Keeps keeps = Keeps::kForAWhile) {
  testing::ChannelPairOptions options;
  options.ring = {uint64_t{8} << 20, 4 << 20, {arena_bytes, 64}};
  const auto pair = testing::ChannelPair::Create(options);
  if (!pair.ok()) {
    ADD_FAILURE() << pair.status();
    return Arrival();
  }
  const std::vector<std::byte> film = ReadAll(path);
  Outputs outputs(kFactsOnly);
  FilmReceiver receiver(
      {.format = {}, .max_format_changes = 100, .alignment = acceptance.alignment}, {}, outputs,
      nullptr);
  KeepingViewer viewer((*pair)->accepting(), receiver, keeps);
  av::WarmUpDecoder();
  std::thread worker([&] {
    Channel& channel = (*pair)->connecting();
    ChannelOut out(channel.sender);
    absl::StatusOr<FrameSender> arena =
        FrameSender::Create(channel, {.metadata_bytes = kFrameHeaderBytes});
    ASSERT_TRUE(arena.ok()) << arena.status();
    MemorySource source(film);
    auto decoder = av::FilmDecoder::Open(source, acceptance, {&channel.sender, &*arena});
    ASSERT_TRUE(decoder.ok()) << decoder.status();
    FilmSender sender(out, {}, acceptance, &*arena);
    ASSERT_TRUE(sender.SendInfo((*decoder)->info()).ok());
    const auto totals = (*decoder)->Run(sender);
    ASSERT_TRUE(totals.ok()) << totals.status();
    EXPECT_TRUE(sender.SendEnd(*totals).ok());
  });
  const Verdict verdict = viewer.Run();
  worker.join();
  EXPECT_EQ(verdict, Verdict::kEnded) << path << receiver.status();
  const VerifyResult result = LookAgain(film, outputs);
  const std::vector<FactsOfAudio>& blocks = outputs.audio_facts();
  return {.identical = result.identical(),
          .reason = result.first_reason,
          .pictures = viewer.pictures,
          .sound = viewer.sound,
          .audio_format = blocks.empty() ? AudioFormat() : blocks.back().format};
}

TEST(FilmSenderTest, EverythingIsSentWhereItWasDecodedAndNeverWrittenToAgain) {
  for (const std::string& clip : TestClipNames()) {
    const Arrival arrival = StreamThroughArena(TestClip(clip), uint64_t{64} << 20);
    EXPECT_TRUE(arrival.identical) << clip << arrival.reason;
    EXPECT_GT(arrival.pictures.in_place + arrival.sound.in_place, 5) << clip;
    EXPECT_EQ(arrival.pictures.copied, 0) << clip;
    EXPECT_EQ(arrival.sound.copied, 0) << clip;
  }
}

// What libav keeps may not leave the viewer's frames no room, and nobody waits for ever.
TEST(FilmSenderTest, InAnArenaOfAnySizeTheFilmArrives) {
  for (const uint64_t kib : {4u, 64u, 128u, 300u, 600u, 1200u}) {
    const Arrival arrival = StreamThroughArena(TestClip("h264-aac.mp4"), kib << 10);
    EXPECT_TRUE(arrival.identical) << kib << arrival.reason;
    EXPECT_EQ(arrival.pictures.in_place + arrival.pictures.copied, 50) << kib;
    EXPECT_EQ(arrival.pictures.in_place != 0, kib >= 128)
        << kib << " " << arrival.pictures.in_place;
    // libav asks for 2048 samples in any case.
    EXPECT_EQ(arrival.sound.in_place != 0, kib >= 64) << kib << " " << arrival.sound.in_place;
  }
}

std::string Make(const std::string& name, const std::string& arguments) {
  const std::string path = ::testing::TempDir() + "/" + name;
  const CommandResult made =
      RunCommand("ffmpeg -nostdin -loglevel error -y " + arguments + " '" + path + "'");
  EXPECT_EQ(made.exit_code, 0) << made.output;
  return path;
}

TEST(FilmSenderTest, SoundOfEachFormatIsSentWhereItWasDecoded) {
  struct Case {
    std::string name;
    std::string how;
    std::string libav;
    uint32_t channels = 1;
    uint32_t rate_hz = 44100;
  };
  const std::string many = "-af 'pan=24C|c0=c0|c23=c0' ";
  const std::vector<Case> cases = {
      {"u8.wav", "-c:a pcm_u8", "u8"},
      {"s16.wav", "-c:a pcm_s16le", "s16"},
      {"s24.wav", "-c:a pcm_s24le", "s32"},
      {"s32.wav", "-c:a pcm_s32le -ar 192000", "s32", 1, 192000},
      {"f32.wav", "-c:a pcm_f32le", "flt"},
      {"f64.wav", "-c:a pcm_f64le", "dbl"},
      {"s64.nut", "-c:a pcm_s64le", "s64"},
      {"u8p.nut", "-c:a pcm_s8_planar", "u8p"},
      {"s16p.m4a", "-c:a alac -ac 6", "s16p", 6},
      {"s32p.wv", "-c:a wavpack -sample_fmt s32p -ac 2", "s32p", 2},
      {"f32p.mp4", "-c:a aac -ac 2", "fltp", 2},
      {"24.wav", many + "-c:a pcm_s24le -ar 192000", "s32", 24, 192000},
      {"24p.nut", many + "-c:a pcm_s16le_planar", "s16p", 24},
  };
  Acceptance aligned;
  aligned.alignment = {.plane_bytes = 4096, .row_bytes = 64};
  const std::string folder = ::testing::TempDir() + "/sounds";
  std::string make =
      "mkdir -p '" + folder + "'; ffmpeg -nostdin -loglevel error -y -f lavfi -i sine=duration=0.3";
  for (const Case& each : cases) make += " " + each.how + " '" + folder + "/" + each.name + "'";
  const CommandResult made = RunCommand(make);
  ASSERT_EQ(made.exit_code, 0) << made.output;
  for (const Case& each : cases) {
    const std::string path = folder + "/" + each.name;
    for (const Acceptance& acceptance : {Acceptance(), aligned}) {
      const Arrival arrival = StreamThroughArena(path, uint64_t{4} << 20, acceptance);
      const AudioFormat& format = arrival.audio_format;
      EXPECT_TRUE(arrival.identical) << each.name << arrival.reason;
      EXPECT_EQ(LibavName(format.sample_format, format.planar), each.libav) << each.name;
      EXPECT_EQ(format.channels, each.channels) << each.name;
      EXPECT_EQ(format.rate_hz, each.rate_hz) << each.name;
      EXPECT_GT(arrival.sound.in_place, 0) << each.name;
      EXPECT_EQ(arrival.sound.copied, 0) << each.name;
    }
  }
}

TEST(FilmSenderTest, PlanesThatDoNotLieAsTheReceiverAsksForAreCopied) {
  Acceptance wants;
  wants.alignment = {.plane_bytes = 4096, .row_bytes = 64};
  const Arrival arrival = StreamThroughArena(TestClip("h264-aac.mp4"), uint64_t{16} << 20, wants);
  EXPECT_TRUE(arrival.identical) << arrival.reason;
  EXPECT_EQ(arrival.pictures.copied, 50);
  EXPECT_EQ(arrival.sound.copied, 0);
}

// Two seconds of pictures before the first sound, in an arena that has room for ten of them: sound
// does not wait for room behind pictures that the viewer keeps until it comes.
TEST(FilmSenderTest, SoundArrivesWhileTheViewerKeepsAllPicturesUntilThereIsSound) {
  const std::string path =
      Make("late-sound.mkv",
           "-f lavfi -i testsrc2=size=320x180:rate=25:duration=2.2 -itsoffset 2 "
           "-f lavfi -i sine=duration=0.2 -map 0 -map 1 -c:v mpeg4 -c:a aac");
  const Arrival arrival =
      StreamThroughArena(path, uint64_t{1} << 20, {}, Keeps::kUntilThereIsSound);
  EXPECT_TRUE(arrival.identical) << arrival.reason;
  EXPECT_EQ(arrival.pictures.in_place + arrival.pictures.copied, 55);
  EXPECT_GT(arrival.pictures.in_place, 5);
  EXPECT_GT(arrival.pictures.copied, 5);
  EXPECT_GT(arrival.sound.in_place + arrival.sound.copied, 5);
}

// A viewer that is slow or was stopped is waited for, whatever it takes.
TEST(FilmSenderTest, AViewerThatTakesNothingForAWhileGetsEverythingInPlace) {
  const Arrival arrival = StreamThroughArena(TestClip("h264-aac.mp4"), uint64_t{1} << 20, {},
                                             Keeps::kForAWhileOnceItHasSlept);
  EXPECT_TRUE(arrival.identical) << arrival.reason;
  EXPECT_EQ(arrival.pictures.in_place, 50);
  EXPECT_EQ(arrival.sound.copied, 0);
}

TEST(FilmSenderTest, ASecondWorkerCompletesTheFilmFromAnyPoint) {
  const std::vector<std::byte> film = ReadAll(TestClip("h264-aac.mp4"));
  for (const int stop_after : {0, 1, 3, 20, 61, 100}) {
    Outputs outputs(kFactsOnly);
    FilmReceiver first({}, {}, outputs, nullptr);
    DirectOut dying(1 << 26);
    dying.receiver = &first;
    dying.stop_after = stop_after;
    EXPECT_EQ(Stream(film, dying, {}).code(), absl::StatusCode::kUnavailable);

    FilmReceiver second({}, first.delivered(), outputs, nullptr);
    DirectOut out(1 << 26);
    out.receiver = &second;
    ASSERT_TRUE(Stream(film, out,
                       {.first_picture = first.delivered().key_picture,
                        .first_audio_block = first.delivered().audio_blocks})
                    .ok());
    ASSERT_EQ(out.verdict, FilmReceiver::Verdict::kEnded) << second.status();
    EXPECT_TRUE(LookAgain(film, outputs).identical()) << stop_after;
    // Some of what went before is sent again, but never more than one group of pictures.
    EXPECT_LT(second.pictures_again(), 12u);
  }
}

TEST(FilmSenderTest, APictureAboveTheLimitIsRefusedWithItsSize) {
  DirectOut out(64 << 10);
  const absl::Status status = Stream(ReadAll(TestClip("h264-aac.mp4")), out, {});
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(std::string(status.message()).find("86400 bytes"), std::string::npos) << status;
  EXPECT_EQ(out.messages[kTagPicture], 0);
}

// P5: nothing but what was committed: no byte of the ring's past between two planes.
TEST(FilmSenderTest, TheGapsBetweenPlanesAreZero) {
  std::vector<std::byte> sample(size_t{9} * 5, std::byte{1});
  Picture picture;
  picture.format = {.pixel_format = PixelFormat::kI420,
                    .width = 9,
                    .height = 5,
                    .frame_rate = {},
                    .pixel_aspect = {}};
  picture.planes = {sample.data(), sample.data(), sample.data(), nullptr};
  picture.strides_bytes = {9, 5, 5, 0};
  DirectOut out(1 << 20);
  FilmSender sender(out, {});
  ASSERT_TRUE(sender.OnPicture(picture).ok());
  size_t stale = 0;
  for (const std::byte b : out.last) stale += b == std::byte{0xee} ? 1 : 0;
  EXPECT_EQ(stale, 0u);
}

// The sender knows its receiver's limits: what would be refused is never sent.
TEST(FilmSenderTest, WhatTheReceiverDoesNotAcceptIsASentenceAndNoViolation) {
  Acceptance wants;
  wants.limits.max_channels = 64;
  wants.limits.max_width = 1000;
  wants.SetPixelFormats({PixelFormat::kGray8});
  wants.max_format_changes = 1;
  const std::vector<const std::byte*> planes(65);
  AudioBlock sound;
  sound.format = {.sample_format = SampleFormat::kS16, .rate_hz = 8000, .channels = 65};
  sound.frames = 1;
  sound.planes = absl::MakeConstSpan(planes).first(1);
  Picture picture;
  picture.format = {.pixel_format = PixelFormat::kGray8, .width = 1001, .height = 1};
  DirectOut out(1 << 20);
  FilmSender sender(out, {}, wants);
  EXPECT_EQ(sender.OnAudio(sound).message(),
            "65 channels of sound, more than the receiver's limit of 64");
  EXPECT_EQ(sender.OnPicture(picture).message(),
            "a picture of 1001x1: pixels in a row, more than the receiver's limit of 1000");
  picture.format.width = 8;
  picture.format.pixel_format = PixelFormat::kRgb24;
  EXPECT_EQ(sender.OnPicture(picture).message(), "the receiver does not accept pictures as rgb24");
  const std::vector<std::byte> row(8);
  picture.format.pixel_format = PixelFormat::kGray8;
  picture.planes[0] = row.data();
  EXPECT_TRUE(sender.OnPicture(picture).ok());
  picture.format.width = 7;
  EXPECT_EQ(sender.OnPicture(picture).message(),
            "the film changes its format more often than the receiver's limit of 1");
  EXPECT_EQ(out.messages[kTagFormat], 1);
}

TEST(FilmSenderTest, PlanesLieAsTheReceiverAsksFor) {
  for (const std::string name : {"odd-444.mkv", "audio-only.ogg"}) {
    Acceptance wants;
    wants.alignment = {.plane_bytes = 4096, .row_bytes = 64};
    Outputs outputs(kFactsOnly);
    FilmReceiver receiver({.format = {}, .max_format_changes = 9, .alignment = wants.alignment}, {},
                          outputs, nullptr);
    DirectOut out(1 << 26);
    out.receiver = &receiver;
    const std::vector<std::byte> film = ReadAll(TestClip(name));
    ASSERT_TRUE(Stream(film, out, {}, wants).ok()) << name;
    EXPECT_EQ(out.verdict, FilmReceiver::Verdict::kEnded) << name << receiver.status();
    EXPECT_TRUE(LookAgain(film, outputs).identical()) << name;
  }
}

TEST(FilmSenderTest, TheReasonOfAFailureArrives) {
  Outputs outputs(kFactsOnly);
  FilmReceiver receiver({}, {}, outputs, nullptr);
  DirectOut out(1 << 20);
  out.receiver = &receiver;
  FilmSender sender(out, {});
  ASSERT_TRUE(sender.SendFailed(std::string(1000, 'x')).ok());
  EXPECT_EQ(out.verdict, FilmReceiver::Verdict::kFailed);
  EXPECT_EQ(receiver.failure(), std::string(256, 'x'));
}

}  // namespace
}  // namespace parley::film
