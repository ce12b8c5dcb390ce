// SPDX-License-Identifier: Apache-2.0

// The two private accounts of an arena, alone: what each says to every word of the peer's.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <vector>

#include "gtest/gtest.h"
#include "parley/boundary/untrusted.h"
#include "parley/boundary/violation.h"
#include "parley/frames/arena_allocator.h"
#include "parley/frames/fan_out_account.h"
#include "parley/frames/frame_wire.h"
#include "parley/frames/receiver_account.h"
#include "parley/frames/sender_account.h"
#include "parley/shm/arena_layout.h"

namespace parley {
namespace {

constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
constexpr ArenaGeometry kArena = {8192, 64};

// The peer's words.
struct Words {
  std::map<uint32_t, uint64_t> returned;
  auto Load() const {
    return [this](uint32_t id) {
      const auto found = returned.find(id);
      return Untrusted<uint64_t>(found == returned.end() ? 0 : found->second);
    };
  }
};

FrameSenderAccount::Use LendOne(FrameSenderAccount* account, uint64_t bytes = 4096) {
  const uint32_t extent = account->TryAcquire(bytes);
  EXPECT_NE(extent, ArenaAllocator::kNone);
  const FrameSenderAccount::Use use = *account->NextUse();
  account->Lend(extent);
  return use;
}
bool Full(FrameSenderAccount* account) {
  const uint32_t extent = account->TryAcquire(4096);
  if (extent == ArenaAllocator::kNone) return true;
  account->LetGo(extent);
  return false;
}

TEST(FrameSenderAccountTest, AttackR12OnlyTheUseThatIsLentIsReturned) {
  FrameSenderAccount account(kArena);
  Words words;
  const auto first = LendOne(&account);
  LendOne(&account);
  ASSERT_TRUE(Full(&account));
  EXPECT_EQ(first.generation, 1u);
  // Every word but the right one, under every id, means nothing.
  for (uint32_t id = 0; id < kMaxFrames; ++id) {
    for (const uint64_t word : {uint64_t{0}, uint64_t{2}, uint64_t{3}, kMost}) {
      words.returned[id] = word;
      EXPECT_EQ(account.TakeAllReturns(words.Load()), 0u);
      EXPECT_EQ(account.TakeReturnsInOrder(words.Load()), 0u);
    }
    if (id >= 2) words.returned[id] = 1;  // of no use that is lent
  }
  EXPECT_EQ(account.TakeAllReturns(words.Load()), 0u);
  words.returned[first.id] = first.generation;
  EXPECT_TRUE(account.AnyReturned(words.Load()));
  EXPECT_EQ(account.TakeReturnsInOrder(words.Load()), 1u);
  EXPECT_EQ(account.lent_count(), 1u);
  EXPECT_FALSE(Full(&account));
  // The word stays where it is, and counts once.
  EXPECT_EQ(account.TakeAllReturns(words.Load()), 0u);
}

TEST(FrameSenderAccountTest, ReturnsInAnyOrder) {
  FrameSenderAccount account(kArena);
  Words words;
  const auto first = LendOne(&account);
  const auto second = LendOne(&account);
  words.returned[second.id] = second.generation;
  EXPECT_EQ(account.TakeReturnsInOrder(words.Load()), 0u);  // the first one is not there
  EXPECT_EQ(account.TakeAllReturns(words.Load()), 1u);
  EXPECT_EQ(account.lent_count(), 1u);
  words.returned[first.id] = first.generation;
  EXPECT_EQ(account.TakeReturnsInOrder(words.Load()), 1u);
}

TEST(FrameSenderAccountTest, WhatWasRevokedMayComeBackLateAndIsNotFreedTwice) {
  FrameSenderAccount account({4096, 64});
  Words words;
  const auto first = LendOne(&account);
  const auto revoked = account.RevokeOldest();
  ASSERT_TRUE(revoked.has_value());
  EXPECT_EQ(revoked->id, first.id);
  EXPECT_FALSE(account.RevokeOldest().has_value());
  FrameSenderAccount::Use again;
  // Until the same id comes round.
  for (uint32_t i = 0; i < kMaxFrames; ++i) {
    again = LendOne(&account);
    if (again.id == first.id) break;
    ASSERT_TRUE(account.RevokeOldest().has_value());
  }
  ASSERT_EQ(again.id, first.id);
  EXPECT_EQ(again.generation, first.generation + 1);
  words.returned[first.id] = first.generation;  // on its way already
  EXPECT_EQ(account.TakeAllReturns(words.Load()), 0u);
  EXPECT_TRUE(Full(&account));
  words.returned[first.id] = again.generation;
  EXPECT_EQ(account.TakeAllReturns(words.Load()), 1u);
  EXPECT_FALSE(Full(&account));
}

TEST(FrameSenderAccountTest, AFrameIsFreeWhenItsWriterAndEachUseHaveLetGo) {
  FrameSenderAccount account({4096, 64});
  Words words;
  const uint32_t extent = account.TryAcquire(4096);
  EXPECT_FALSE(account.WasSent(extent));
  account.Share(extent);
  account.Share(extent);
  const auto first = *account.NextUse();
  account.Lend(extent);
  EXPECT_TRUE(account.WasSent(extent));
  const auto second = *account.NextUse();
  account.Lend(extent);  // once more, while the peer has it
  EXPECT_NE(first.id, second.id);
  words.returned[first.id] = first.generation;
  EXPECT_EQ(account.TakeAllReturns(words.Load()), 1u);
  EXPECT_TRUE(Full(&account));
  EXPECT_EQ(account.RevokeOldest()->id, second.id);
  EXPECT_TRUE(Full(&account));  // the writer's own handle
  account.LetGo(extent);
  EXPECT_FALSE(Full(&account));
}

TEST(FrameSenderAccountTest, PromiseP7ResourcesAsManyFramesAsThereAreIds) {
  FrameSenderAccount account({uint64_t{1} << 20, 64});
  for (uint32_t i = 0; i < kMaxFrames; ++i) LendOne(&account, 64);
  EXPECT_EQ(account.TryAcquire(64), ArenaAllocator::kNone);
  EXPECT_FALSE(account.NextUse().has_value());
  EXPECT_TRUE(account.RevokeOldest().has_value());
  LendOne(&account, 64);
}

// Every sequence of six steps with room for two frames, against a list of what is lent.
class Sequences {
 public:
  void Walk(const FrameSenderAccount& account, const std::vector<FrameSenderAccount::Use>& lent,
            const Words& words, int left) {
    ++visited_;
    ASSERT_EQ(account.lent_count(), lent.size());
    ASSERT_EQ(account.allocator().live_count(), lent.size());
    if (left == 0) return;
    {
      FrameSenderAccount next = account;
      auto more = lent;
      const uint32_t extent = next.TryAcquire(4096);
      ASSERT_EQ(extent != ArenaAllocator::kNone, lent.size() < 2);
      if (extent != ArenaAllocator::kNone) {
        more.push_back(*next.NextUse());
        next.Lend(extent);
      }
      Walk(next, more, words, left - 1);
    }
    {
      FrameSenderAccount next = account;
      auto less = lent;
      const auto revoked = next.RevokeOldest();
      ASSERT_EQ(revoked.has_value(), !lent.empty());
      if (revoked) {
        ASSERT_EQ(revoked->id, lent.front().id);
        less.erase(less.begin());
      }
      Walk(next, less, words, left - 1);
    }
    for (uint32_t id = 0; id < 3; ++id) {
      for (uint64_t generation = 0; generation < 4; ++generation) {
        FrameSenderAccount next = account;
        auto less = lent;
        Words changed = words;
        changed.returned[id] = generation;
        uint32_t expected = 0;
        std::erase_if(less, [&](const FrameSenderAccount::Use& use) {
          const bool gone = changed.returned[use.id] == use.generation;
          expected += gone ? 1 : 0;
          return gone;
        });
        ASSERT_EQ(next.AnyReturned(changed.Load()), expected != 0);
        ASSERT_EQ(next.TakeAllReturns(changed.Load()), expected);
        Walk(next, less, changed, left - 1);
      }
    }
  }
  int visited() const { return visited_; }

 private:
  int visited_ = 0;
};

TEST(FrameSenderAccountTest, EverySequenceOfFourStepsAgreesWithAListOfWhatIsLent) {
  Sequences sequences;
  sequences.Walk(FrameSenderAccount(kArena), {}, {}, 4);
  EXPECT_GT(sequences.visited(), 30'000);
}

// --- the receiver's ------------------------------------------------------------------------------

Untrusted<FrameSentWire> Sent(uint32_t id, uint64_t generation, uint64_t offset, uint64_t size) {
  return Untrusted<FrameSentWire>({id, 0, generation, offset, size});
}

TEST(FrameReceiverAccountTest, AttackR12AnIdThatExistsANewerUseAndBytesOfTheArena) {
  FrameReceiverAccount account(kArena);
  FrameSentWire sent = {};
  const auto refused = [&](uint32_t id, uint64_t generation, uint64_t offset, uint64_t size) {
    return account.TakeSent(Sent(id, generation, offset, size), &sent) ==
           Violation::kMetadataInvalid;
  };
  EXPECT_TRUE(refused(kMaxFrames, 1, 0, 0));
  EXPECT_TRUE(refused(std::numeric_limits<uint32_t>::max(), 1, 0, 0));
  EXPECT_TRUE(refused(0, 0, 0, 0));
  EXPECT_TRUE(refused(0, 1, 0, 8193));
  EXPECT_TRUE(refused(0, 1, 0, kMost));
  EXPECT_TRUE(refused(0, 1, 8192, 1));
  EXPECT_TRUE(refused(0, 1, 64, 8192 - 63));
  EXPECT_TRUE(refused(0, 1, 8256, 0));
  EXPECT_TRUE(refused(0, 1, kMost - 63, 64));            // the sum is 0
  EXPECT_TRUE(refused(0, 1, kMost - 63, kMost));         //
  EXPECT_TRUE(refused(0, 1, uint64_t{1} << 63, kMost));  //
  EXPECT_TRUE(refused(0, 1, 32, 32));                    // not aligned
  EXPECT_FALSE(account.Holds(0, 1));
  EXPECT_FALSE(refused(0, 1, 0, 8192));
  EXPECT_EQ(sent.size_bytes, 8192u);
  EXPECT_TRUE(account.Holds(0, 1));
  EXPECT_EQ(account.taken_back(), 0u);
  EXPECT_EQ(account.missed(), 0u);
  EXPECT_TRUE(refused(0, 1, 0, 8192));
  EXPECT_TRUE(account.GiveBack(0, 1));
  EXPECT_FALSE(account.GiveBack(0, 1));
  EXPECT_TRUE(refused(0, 1, 0, 8192));
  EXPECT_FALSE(refused(1, 7, 8192, 0));  // nothing, at the end
  EXPECT_EQ(sent.offset_bytes, 8192u);
  EXPECT_EQ(sent.size_bytes, 0u);
  EXPECT_FALSE(refused(2, 9, 0, 8192));  // on top of the first: its own memory
  EXPECT_FALSE(refused(0, kMost, 8128, 64));
  EXPECT_TRUE(refused(0, kMost, 8128, 64));
}

TEST(FrameReceiverAccountTest, ANewerUseOfAnIdThatIsHeldEndsTheOlderHold) {
  FrameReceiverAccount account(kArena);
  FrameSentWire sent = {};
  ASSERT_EQ(account.TakeSent(Sent(2, 5, 0, 1), &sent), Violation::kNone);
  ASSERT_EQ(account.TakeSent(Sent(2, 7, 0, 1), &sent), Violation::kNone);
  EXPECT_FALSE(account.GiveBack(2, 5));
  EXPECT_TRUE(account.Holds(2, 7));
  EXPECT_EQ(account.taken_back(), 1u);
  account.Forget(2);
  EXPECT_EQ(account.taken_back(), 2u);
  EXPECT_EQ(account.missed(), 1u);
  EXPECT_FALSE(account.GiveBack(2, 7));
}

// What the rules say about a fan-out's uses, written the long way round.
struct FanOutModel {
  struct Use {
    uint32_t id;
    uint64_t generation;
    uint32_t extent;
    bool revoked;
    std::map<uint32_t, bool> receivers;  // who has it
  };
  std::vector<Use> out;  // oldest first
  std::map<uint32_t, uint32_t> handles;
};

TEST(FanOutAccountTest, AnyOrderOfStepsIsAsTheRulesSay) {
  uint64_t seed = 1;
  const auto random = [&](uint64_t below) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 33) % below;
  };
  constexpr uint32_t kReceivers = 3;
  for (int run = 0; run < 200; ++run) {
    FanOutAccount account({16384, 64});
    std::vector<Words> words(kReceivers);
    std::vector<uint32_t> slots;
    for (uint32_t r = 0; r < kReceivers; ++r) slots.push_back(account.AddReceiver());
    FanOutModel model;
    std::vector<uint32_t> acquired;
    std::map<uint32_t, bool> cleared;  // ids whose line says that their last use is over
    const auto drop = [&](std::size_t index, uint32_t r, bool revoked) {
      FanOutModel::Use& use = model.out[index];
      use.receivers.erase(r);
      use.revoked |= revoked;
      if (!use.receivers.empty()) return;
      if (use.revoked) cleared[use.id] = true;
      if (--model.handles[use.extent] == 0) model.handles.erase(use.extent);
      model.out.erase(model.out.begin() + static_cast<std::ptrdiff_t>(index));
    };
    for (int step = 0; step < 300; ++step) {
      switch (random(6)) {
        case 0: {
          account.TakeRevoked([&](uint32_t id) { EXPECT_EQ(cleared.erase(id), 1u); });
          ASSERT_TRUE(cleared.empty());
          const uint32_t extent = account.TryAcquire(4096);
          ASSERT_EQ(extent == ArenaAllocator::kNone, model.handles.size() == 4);
          if (extent == ArenaAllocator::kNone) break;
          ASSERT_EQ(model.handles.count(extent), 0u);
          model.handles[extent] = 1;
          acquired.push_back(extent);
          break;
        }
        case 1: {  // to any of the receivers, or to nobody
          if (acquired.empty()) break;
          account.TakeRevoked([&](uint32_t id) { EXPECT_EQ(cleared.erase(id), 1u); });
          const uint32_t extent = acquired.back();
          if (random(3) == 0) {
            account.Share(extent);
            ++model.handles[extent];
          } else {
            acquired.pop_back();
          }
          const auto use = account.Begin(extent);
          FanOutModel::Use made = {use.id, use.generation, extent, false, {}};
          for (const FanOutModel::Use& other : model.out) ASSERT_NE(other.id, use.id);
          for (uint32_t r = 0; r < kReceivers; ++r) {
            if (random(2) == 0) continue;
            account.Lend(use.id, slots[r]);
            made.receivers[r] = true;
          }
          account.Finish(use.id);
          if (!made.receivers.empty()) {
            model.out.push_back(made);
          } else if (--model.handles[extent] == 0) {
            model.handles.erase(extent);
          }
          break;
        }
        case 2: {  // any word, often that of a use which is out
          const auto r = static_cast<uint32_t>(random(kReceivers));
          auto id = static_cast<uint32_t>(random(kMaxFrames));
          uint64_t word = random(4);
          if (!model.out.empty() && random(4) != 0) {
            const FanOutModel::Use& use = model.out[random(model.out.size())];
            id = use.id;
            word = use.generation + random(3) / 2;
          }
          words[r].returned[id] = word;
          break;
        }
        case 3: {
          const auto r = static_cast<uint32_t>(random(kReceivers));
          uint32_t expected = 0;
          for (std::size_t i = model.out.size(); i-- > 0;) {
            const FanOutModel::Use use = model.out[i];
            const auto found = words[r].returned.find(use.id);
            if (use.receivers.count(r) == 0 || found == words[r].returned.end() ||
                found->second != use.generation) {
              continue;
            }
            drop(i, r, false);
            ++expected;
          }
          ASSERT_EQ(account.AnyReturned(slots[r], words[r].Load()), expected != 0);
          ASSERT_EQ(account.TakeReturns(slots[r], words[r].Load()), expected);
          break;
        }
        case 4: {
          const auto r = static_cast<uint32_t>(random(kReceivers));
          std::optional<std::size_t> oldest;
          std::optional<uint32_t> let_go;
          for (std::size_t i = model.out.size(); i-- > 0;) {
            if (model.out[i].receivers.count(r) == 0) continue;
            oldest = i;
            bool held = false;
            for (const uint32_t extent : acquired) held |= extent == model.out[i].extent;
            if (!held) let_go = model.out[i].id;
          }
          ASSERT_EQ(account.OldestLetGoOf(slots[r]), let_go);
          ASSERT_EQ(account.OldestOf(slots[r]).has_value(), oldest.has_value());
          if (!oldest) break;
          ASSERT_EQ(*account.OldestOf(slots[r]), model.out[*oldest].id);
          account.Revoke(slots[r], model.out[*oldest].id);
          drop(*oldest, r, true);
          break;
        }
        case 5: {  // one leaves, and another comes
          if (random(4) != 0) break;
          const auto r = static_cast<uint32_t>(random(kReceivers));
          for (std::size_t i = model.out.size(); i-- > 0;) {
            if (model.out[i].receivers.count(r) != 0) drop(i, r, true);
          }
          account.RemoveReceiver(slots[r]);
          slots[r] = account.AddReceiver();
          break;
        }
      }
      ASSERT_EQ(account.out_count(), model.out.size());
      for (uint32_t r = 0; r < kReceivers; ++r) {
        uint32_t frames = 0;
        for (const FanOutModel::Use& use : model.out) frames += use.receivers.count(r) != 0 ? 1 : 0;
        ASSERT_EQ(account.held(slots[r]).frames, frames);
        ASSERT_EQ(account.held(slots[r]).bytes, frames * uint64_t{4096});
      }
    }
  }
}

TEST(FanOutAccountTest, AReceiversNumberIsUsedAgainAndByOneAtATime) {
  FanOutAccount account({16384, 64});
  const uint32_t first = account.AddReceiver();
  const uint32_t second = account.AddReceiver();
  EXPECT_NE(first, second);
  EXPECT_EQ(account.RemoveReceiver(first), 0u);
  EXPECT_EQ(account.AddReceiver(), first);
  const uint32_t third = account.AddReceiver();
  EXPECT_NE(third, first);
  EXPECT_NE(third, second);
  // What it had is taken back, and said.
  const auto use = account.Begin(account.TryAcquire(4096));
  account.Lend(use.id, second);
  account.Finish(use.id);
  EXPECT_EQ(account.RemoveReceiver(second), 1u);
  EXPECT_EQ(account.out_count(), 0u);
  EXPECT_EQ(account.AddReceiver(), second);
  EXPECT_EQ(account.held(second).frames, 0u);
}

TEST(FanOutAccountTest, AFrameThatWasSentIsOnlyReadFromThenOn) {
  FanOutAccount account({4096, 64});
  const uint32_t extent = account.TryAcquire(4096);
  EXPECT_FALSE(account.WasSent(extent));
  account.Share(extent);
  const auto use = account.Begin(extent);
  EXPECT_EQ(use.generation, 1u);
  EXPECT_TRUE(account.WasSent(extent));
  account.Finish(use.id);
  EXPECT_TRUE(account.WasSent(extent));
  account.LetGo(extent);
  EXPECT_EQ(account.TryAcquire(4096), extent);
  EXPECT_FALSE(account.WasSent(extent));
}

TEST(FanOutAccountTest, WhatSomebodyWasMadeToLetGoOfIsSaidOnce) {
  FanOutAccount account({16384, 64});
  const uint32_t receiver = account.AddReceiver();
  std::vector<uint32_t> said;
  const auto take = [&] { return account.TakeRevoked([&](uint32_t id) { said.push_back(id); }); };
  EXPECT_FALSE(take());
  const auto first = account.Begin(account.TryAcquire(4096));
  account.Lend(first.id, receiver);
  account.Revoke(receiver, first.id);
  EXPECT_FALSE(take());  // it is not over yet
  account.Finish(first.id);
  EXPECT_TRUE(take());
  EXPECT_FALSE(take());
  const auto second = account.Begin(account.TryAcquire(4096));
  account.Lend(second.id, receiver);
  account.Finish(second.id);
  account.Revoke(receiver, second.id);
  EXPECT_TRUE(take());
  EXPECT_EQ(said, (std::vector<uint32_t>{first.id, second.id}));
}

TEST(AccountsTest, AUseThatNobodyHasMadeIsNone) {
  const FrameSenderAccount::Use sent;
  EXPECT_EQ(sent.id, 0u);
  EXPECT_EQ(sent.generation, 0u);
  const FanOutAccount::Use lent;
  EXPECT_EQ(lent.id, 0u);
  EXPECT_EQ(lent.generation, 0u);
}

using AccountsDeathTest = ::testing::Test;

TEST(AccountsDeathTest, PromiseP9AbortIsOursMoreUsesThanThereAreIds) {
  FrameSenderAccount sender({4096, 64});
  FanOutAccount fan_out({4096, 64});
  const uint32_t extent = sender.TryAcquire(64);
  const uint32_t other = fan_out.TryAcquire(64);
  for (uint32_t i = 0; i < kMaxFrames; ++i) {
    sender.Share(extent);
    sender.Lend(extent);
    fan_out.Share(other);
    EXPECT_TRUE(fan_out.CanBegin());
    fan_out.Begin(other);
  }
  EXPECT_FALSE(fan_out.CanBegin());
  EXPECT_DEATH(sender.Lend(extent), "FrameSenderAccount: no id is free");
  EXPECT_DEATH(fan_out.Begin(other), "FanOutAccount: no id is free");
}

}  // namespace
}  // namespace parley
