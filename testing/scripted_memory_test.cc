// SPDX-License-Identifier: Apache-2.0
#include "parley/testing/scripted_memory.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"

namespace parley::testing {
namespace {

uint64_t Value(Untrusted<uint64_t> fetched) { return fetched.AnyValueIsAcceptable(); }

TEST(ScriptTest, GivesTheBytesAndThenZeros) {
  const std::array<uint8_t, 5> input = {1, 2, 3, 255, 9};
  Script script(input.data(), input.size());
  EXPECT_EQ(script.Take8(), 1);
  EXPECT_EQ(script.Take16(), 0x0302);
  EXPECT_EQ(script.TakeSigned8(), -1);
  EXPECT_EQ(script.Take32(), 9u);
  EXPECT_TRUE(script.empty());
  EXPECT_EQ(script.Take64(), 0u);
  EXPECT_TRUE(script.TakeBytes(10).empty());
}

TEST(ScriptedMemoryTest, TheAttackerStrikesBeforeEachFetchAndAllAreRecorded) {
  ScriptedRegion region(4096);
  uint64_t next = 10;
  region.before_fetch = [&](const Fetch& fetch) { region.SetControl(fetch.offset, next++); };
  const ScriptedPeerMemory control = region.peer_control();
  EXPECT_EQ(Value(control.LoadAcquire64(8)), 10u);
  EXPECT_EQ(Value(control.LoadRelaxed64(8)), 11u);  // a double fetch shows
  ASSERT_EQ(region.fetches.size(), 2u);
  EXPECT_EQ(region.fetches[1].word, 11u);
  EXPECT_EQ(region.fetches[1].offset, 8u);
  EXPECT_FALSE(region.fetches[1].of_data);
}

TEST(ScriptedMemoryTest, DataShowTwiceInARow) {
  ScriptedRegion region(4096);
  region.SetData(4092, 0x0807060504030201);  // across the end
  std::vector<std::byte> into(8);
  region.peer_data().CopyOut(4092, absl::MakeSpan(into));
  EXPECT_EQ(into[7], std::byte{8});
  EXPECT_EQ(region.data_bytes()[0], std::byte{5});

  ScriptedOwnMemory own = region.own_data();
  const std::array<std::byte, 4> four = {std::byte{9}, std::byte{8}, std::byte{7}, std::byte{6}};
  own.CopyIn(4094, four);
  EXPECT_EQ(region.data_bytes()[4095], std::byte{8});
  EXPECT_EQ(region.data_bytes()[1], std::byte{6});
  own.CopyIn(4096, four);
  EXPECT_EQ(region.data_bytes()[0], std::byte{9});

  absl::Span<std::byte> lent = own.Writable(4090, 12);
  for (std::byte& b : lent) b = std::byte{0x77};
  own.StoreRelaxed64(8, 1);  // any later store brings what was filled in place
  EXPECT_EQ(region.data_bytes()[5], std::byte{0x77});
  EXPECT_EQ(region.data_bytes()[6], std::byte{0});
}

TEST(ScriptedMemoryTest, FreshWordsDifferAtEachLoad) {
  ScriptedRegion region(4096);
  uint64_t next = 1;
  region.fresh_word = [&](const Fetch&) { return next++ << 56; };
  EXPECT_NE(Value(region.peer_data().LoadRelaxed64(0)), Value(region.peer_data().LoadRelaxed64(0)));
  std::vector<std::byte> first(16);
  std::vector<std::byte> second(16);
  const auto view = region.peer_data().ViewOf(64, 16);
  view.CopyTo(0, absl::MakeSpan(first));
  view.CopyTo(0, absl::MakeSpan(second));
  EXPECT_NE(first, second);
}

TEST(ScriptedMemoryDeathTest, AStepOutsideDies) {
  ScriptedRegion region(4096);
  std::vector<std::byte> into(16);
  EXPECT_DEATH(region.peer_data().CopyOut(8192 - 8, absl::MakeSpan(into)), "a step outside");
  EXPECT_DEATH(Value(region.peer_data().LoadRelaxed64(8192)), "a step outside");
  EXPECT_DEATH(Value(region.peer_data().LoadRelaxed64(4)), "not aligned");
  EXPECT_DEATH(region.own_data().CopyIn(8190, into), "a step outside");
}

}  // namespace
}  // namespace parley::testing
