#include "parley/examples/film/verify.h"

#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "parley/examples/film/decoder.h"
#include "parley/examples/film/outputs.h"
#include "parley/examples/film/test_clip.h"

namespace parley::film {
namespace {

class VerifyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    film_ = ReadAll(TestClip("h264-aac.mp4"));
    Outputs outputs({.y4m = "", .wav = "", .sheet = "", .digests = true});
    WarmUpDecoder();
    auto decoder = FilmDecoder::Open(film_);
    ASSERT_TRUE(decoder.ok());
    ASSERT_TRUE((*decoder)->Run(outputs).ok());
    pictures_ = outputs.picture_digests();
    audio_ = outputs.audio_digests();
  }
  std::vector<std::byte> film_;
  std::vector<Digest> pictures_;
  std::vector<Digest> audio_;
};

TEST_F(VerifyTest, TheSameFilmIsIdentical) {
  auto result = Verify(film_, pictures_, audio_, [] { return false; });
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->identical());
  EXPECT_EQ(result->pictures, 50u);
  EXPECT_GT(result->audio_blocks, 10u);
}

TEST_F(VerifyTest, NamesWhatDiffersIsMissingOrIsTooMuch) {
  pictures_[7][0] ^= 1;
  audio_.pop_back();
  pictures_.push_back(Digest{});
  auto result = Verify(film_, pictures_, audio_, [] { return false; });
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->differing_pictures, (std::vector<uint64_t>{7, 50}));
  EXPECT_EQ(result->differing_audio_blocks, (std::vector<uint64_t>{audio_.size()}));
}

TEST_F(VerifyTest, StopsWhenAsked) {
  auto result = Verify(film_, pictures_, audio_, [] { return true; });
  EXPECT_EQ(result.status().code(), absl::StatusCode::kCancelled);
}

TEST(NumberListTest, JoinsRuns) {
  EXPECT_EQ(NumberList({}, 3), "");
  EXPECT_EQ(NumberList({3}, 3), "3");
  EXPECT_EQ(NumberList({3, 4}, 3), "3, 4");
  EXPECT_EQ(NumberList({1, 7, 8, 9, 20}, 3), "1, 7 to 9, 20");
  EXPECT_EQ(NumberList({1, 3, 5, 7, 9}, 2), "1, 3 and 3 more");
}

}  // namespace
}  // namespace parley::film
