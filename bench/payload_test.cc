// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/payload.h"

#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace parley::bench {
namespace {

TEST(PayloadTest, FillsAndSumsEveryWordOfEachLength) {
  for (std::size_t words = 0; words <= 600; ++words) {
    std::vector<std::byte> bytes(words * 8 + 8, std::byte{0x5a});
    FillWords(bytes.data(), words * 8, FirstWord(words));
    for (std::size_t i = 0; i < words; ++i) {
      uint64_t word = 0;
      std::memcpy(&word, bytes.data() + i * 8, 8);
      ASSERT_EQ(word, FirstWord(words) + i);
    }
    for (std::size_t i = 0; i < 8; ++i) ASSERT_EQ(bytes[words * 8 + i], std::byte{0x5a});
    ASSERT_EQ(SumWords(bytes.data(), words * 8), ExpectedSum(words * 8, FirstWord(words)));
  }
}

TEST(PayloadTest, AnySingleBitMatters) {
  std::vector<std::byte> bytes(1024);
  FillWords(bytes.data(), bytes.size(), FirstWord(3));
  for (std::byte& byte : bytes) {
    byte ^= std::byte{4};
    ASSERT_NE(SumWords(bytes.data(), bytes.size()), ExpectedSum(bytes.size(), FirstWord(3)));
    byte ^= std::byte{4};
  }
}

TEST(PayloadTest, TheDigestFindsLostDoubledAndSwappedMessages) {
  constexpr std::size_t kBytes = 64;
  const auto digest_of = [](const std::vector<uint64_t>& numbers) {
    Digest digest;
    for (const uint64_t number : numbers) digest.Add(ExpectedSum(kBytes, FirstWord(number)));
    return digest.value();
  };
  const uint64_t expected = ExpectedDigest(5, 4, kBytes);
  EXPECT_EQ(digest_of({5, 6, 7, 8}), expected);
  EXPECT_NE(digest_of({5, 6, 7}), expected);
  EXPECT_NE(digest_of({5, 6, 7, 7}), expected);
  EXPECT_NE(digest_of({5, 7, 6, 8}), expected);
  EXPECT_NE(digest_of({4, 5, 6, 7}), expected);
}

}  // namespace
}  // namespace parley::bench
