#include "parley/examples/film/film_sender.h"

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "parley/examples/film/decoder.h"
#include "parley/examples/film/film_protocol.h"
#include "parley/examples/film/film_receiver.h"
#include "parley/examples/film/outputs.h"
#include "parley/examples/film/test_clip.h"
#include "parley/examples/film/verify.h"
#include "parley/media/frame.h"

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

absl::Status Stream(const std::vector<std::byte>& film, DirectOut& out, const FilmStart& start) {
  WarmUpDecoder();
  auto decoder = FilmDecoder::Open(film);
  if (!decoder.ok()) return decoder.status();
  FilmSender sender(out, start);
  absl::Status status = sender.SendInfo((*decoder)->info());
  if (!status.ok()) return status;
  auto totals = (*decoder)->Run(sender);
  return totals.ok() ? sender.SendEnd(*totals) : totals.status();
}

const OutputOptions kDigestsOnly = {.y4m = "", .wav = "", .sheet = "", .digests = true};

TEST(FilmSenderTest, EveryClipArrivesIdentical) {
  for (const std::string& name : TestClipNames()) {
    const std::vector<std::byte> film = ReadAll(TestClip(name));
    Outputs outputs(kDigestsOnly);
    FilmReceiver receiver({}, {}, outputs, nullptr);
    DirectOut out(1 << 26);
    out.receiver = &receiver;
    ASSERT_TRUE(Stream(film, out, {}).ok()) << name;
    ASSERT_EQ(out.verdict, FilmReceiver::Verdict::kEnded) << name << receiver.status();
    auto result =
        Verify(film, outputs.picture_digests(), outputs.audio_digests(), [] { return false; });
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_TRUE(result->identical()) << name;
    EXPECT_EQ(result->audio_frames, receiver.totals().audio_frames);
  }
}

TEST(FilmSenderTest, ASecondWorkerCompletesTheFilmFromAnyPoint) {
  const std::vector<std::byte> film = ReadAll(TestClip("h264-aac.mp4"));
  for (const int stop_after : {0, 1, 2, 3, 20, 60, 61, 62, 100}) {
    Outputs outputs(kDigestsOnly);
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
    auto result =
        Verify(film, outputs.picture_digests(), outputs.audio_digests(), [] { return false; });
    ASSERT_TRUE(result.ok());
    EXPECT_TRUE(result->identical()) << stop_after;
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
                    .pixel_aspect = {},
                    .full_range = false};
  picture.planes = {sample.data(), sample.data(), sample.data(), nullptr};
  picture.strides_bytes = {9, 5, 5, 0};
  DirectOut out(1 << 20);
  FilmSender sender(out, {});
  ASSERT_TRUE(sender.OnPicture(picture).ok());
  size_t stale = 0;
  for (const std::byte b : out.last) stale += b == std::byte{0xee} ? 1 : 0;
  EXPECT_EQ(stale, 0u);
}

TEST(FilmSenderTest, TheReasonOfAFailureArrives) {
  Outputs outputs(kDigestsOnly);
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
