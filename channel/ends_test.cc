// SPDX-License-Identifier: Apache-2.0

// Each call of a Sender and a Receiver by itself: when it signals, what it counts, what it says of
// an end, and what a port tells a WaitSet. No second thread where none is needed.

#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/violation.h"
#include "parley/channel/channel.h"
#include "parley/channel/hostile_access.h"
#include "parley/handshake/options.h"
#include "parley/handshake/peer_socket.h"
#include "parley/handshake/session.h"
#include "parley/os/deadline.h"
#include "parley/os/pidfd.h"
#include "parley/os/unique_fd.h"
#include "parley/ring/layout.h"
#include "parley/ring/ring_types.h"
#include "parley/sealing/file_registry.h"
#include "parley/sealing/guarded_range.h"
#include "parley/testing/channel_pair.h"
#include "parley/wait/doorbell.h"
#include "parley/wait/layout.h"
#include "parley/wait/signaller.h"
#include "parley/wait/wait_options.h"
#include "parley/wait/waitable.h"

namespace parley {
namespace {

using testing::ChannelPair;
using testing::ChannelPairOptions;

// A ring is at least a page; messages are a quarter of it, whatever that is.
const uint32_t kPages = static_cast<uint32_t>(PageBytes() / 4096);
const uint32_t kMaxMessage = 1024 * kPages;

Deadline In(int milliseconds) { return Deadline::After(absl::Milliseconds(milliseconds)); }
Deadline Past() { return Deadline::AtMonotonicNs(0); }

// Two channels of sockets, or of eventfds.
struct EndsTest : ::testing::TestWithParam<bool> {
  std::unique_ptr<ChannelPair> pair = Make();
  Sender* sender = nullptr;      // the accepting side's
  Receiver* receiver = nullptr;  // the connecting side's
  std::vector<std::byte> buffer = std::vector<std::byte>(kMaxMessage);
  std::vector<std::byte> large = std::vector<std::byte>(1000 * kPages, std::byte{0x55});

  EndsTest() { Use(); }
  void Use() {
    sender = &pair->accepting().sender;
    receiver = &pair->connecting().receiver;
  }
  std::unique_ptr<ChannelPair> Make(const WaitOptions& wait = {}) {
    ChannelPairOptions options;
    options.ring = {4096 * kPages, kMaxMessage};
    options.eventfd = GetParam();
    options.wait = wait;
    auto made = ChannelPair::Create(options);
    EXPECT_TRUE(made.ok()) << made.status();
    return *std::move(made);
  }
  // How many of the large messages found room.
  int Fill() {
    int sent = 0;
    while (sender->TrySend(1, large) == Outcome::kOk) ++sent;
    return sent;
  }
  Outcome Take() {
    Record record;
    return receiver->TryReceive(absl::MakeSpan(buffer), &record);
  }
};

INSTANTIATE_TEST_SUITE_P(Doorbells, EndsTest, ::testing::Bool(),
                         [](const auto& p) { return p.param ? "Eventfd" : "Socket"; });

// --- who is signalled, and what is counted

TEST_P(EndsTest, EachCallThatPublishesSignalsASleeperOnce) {
  const std::vector<std::byte> small(5);
  const auto reserve = [&](std::size_t size) {
    absl::Span<std::byte> room;
    EXPECT_EQ(sender->TryReserve(size, &room), Outcome::kOk);
    EXPECT_GE(room.size(), size);
  };
  struct Case {
    const char* name;
    std::function<void()> call;
    uint64_t signals;
    uint64_t messages;
    uint64_t bytes;
  };
  const Case cases[] = {
      {"TrySend short", [&] { EXPECT_EQ(sender->TrySend(1, small), Outcome::kOk); }, 1, 1, 16},
      {"TrySend long", [&] { EXPECT_EQ(sender->TrySend(1, large), Outcome::kOk); }, 1, 1,
       1000 * kPages + 8},
      {"Send", [&] { EXPECT_TRUE(sender->Send(1, small, Past()).ok()); }, 1, 1, 16},
      {"Commit",
       [&] {
         reserve(100);
         sender->Commit(1, 5);
       },
       1, 1, 16},
      {"TryStage short", [&] { EXPECT_EQ(sender->TryStage(1, small), Outcome::kOk); }, 0, 1, 16},
      {"TryStage long", [&] { EXPECT_EQ(sender->TryStage(1, large), Outcome::kOk); }, 0, 1,
       1000 * kPages + 8},
      {"Stage",
       [&] {
         reserve(100);
         sender->Stage(1, 5);
       },
       0, 1, 16},
      {"Publish after TryStage",
       [&] {
         EXPECT_EQ(sender->TryStage(1, small), Outcome::kOk);
         EXPECT_EQ(sender->TryStage(1, large), Outcome::kOk);
         sender->Publish();
       },
       1, 2, 1000 * kPages + 24},
      {"Publish of nothing", [&] { sender->Publish(); }, 0, 0, 0},
      {"TryReserve", [&] { reserve(100); }, 0, 0, 0},
      {"Close", [&] { sender->Close(); }, 1, 0, 0},
      {"Close twice",
       [&] {
         sender->Close();
         sender->Close();
       },
       1, 0, 0},
      {"a poison", [&] { sender->Poison(Violation::kMetadataInvalid); }, 0, 0, 0},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    pair = Make();
    Use();
    const ChannelStats none;
    EXPECT_EQ(none.messages + none.bytes + none.violations, 0u);
    for (const ChannelStats& stats : {sender->stats(), receiver->stats()}) {
      EXPECT_EQ(stats.messages, 0u);
      EXPECT_EQ(stats.bytes, 0u);
      EXPECT_EQ(stats.violations, 0u);
      EXPECT_EQ(stats.signals, 0u);
    }
    ASSERT_TRUE(receiver->PrepareToWait());
    c.call();
    EXPECT_EQ(sender->stats().signals, c.signals);
    EXPECT_EQ(sender->stats().messages, c.messages);
    EXPECT_EQ(sender->stats().bytes, c.bytes);
    sender->Publish();
    uint64_t taken = 0;
    while (Take() == Outcome::kOk) ++taken;
    EXPECT_EQ(taken, c.messages);
    EXPECT_EQ(receiver->stats().messages, c.messages);
    EXPECT_EQ(receiver->stats().bytes, c.bytes);
  }
}

TEST_P(EndsTest, EachCallThatGivesRoomBackSignalsASleeperOnce) {
  const auto peek = [&] {
    PeekedMessage message;
    EXPECT_EQ(receiver->TryPeek(&message), Outcome::kOk);
    EXPECT_EQ(message.record.size_bytes, large.size());
    EXPECT_EQ(message.record.tag, 1u);
  };
  struct Case {
    const char* name;
    std::function<void()> call;
    uint64_t signals;
  };
  const Case cases[] = {
      {"TryReceive", [&] { EXPECT_EQ(Take(), Outcome::kOk); }, 1},
      {"Receive", [&] { EXPECT_TRUE(receiver->Receive(absl::MakeSpan(buffer), Past()).ok()); }, 1},
      {"TryPeek", [&] { peek(); }, 0},
      {"Release after TryPeek",
       [&] {
         peek();
         receiver->Release();
       },
       1},
      {"Release of nothing", [&] { receiver->Release(); }, 0},
      {"Close", [&] { receiver->Close(); }, 1},
      {"Close twice",
       [&] {
         receiver->Close();
         receiver->Close();
       },
       1},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    pair = Make();
    Use();
    const int sent = Fill();
    ASSERT_GE(sent, 3);
    ASSERT_TRUE(sender->PrepareToWait(large.size()));
    c.call();
    EXPECT_EQ(receiver->stats().signals, c.signals);
  }
  // The known ones as well, once an eighth of the ring is free again.
  pair = Make();
  Use();
  Fill();
  for (uint64_t signals = 1; Take() == Outcome::kOk; ++signals) {
    EXPECT_EQ(receiver->stats().signals, signals - 1);
    if (!sender->PrepareToWait(sender->capacity_bytes() - 8)) break;
  }
}

TEST_P(EndsTest, AViolationIsCountedOnceAtTheEndThatFoundIt) {
  HostileAccess::Control(*sender).StoreRelease64(kTailOffset, ~uint64_t{0});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Take(), Outcome::kPoisoned);
  EXPECT_EQ(receiver->stats().violations, 1u);
  // A head that the peer never had.
  Fill();
  HostileAccess::Control(*receiver).StoreRelease64(kHeadOffset, uint64_t{1} << 40);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(sender->TrySend(1, large), Outcome::kPoisoned);
  EXPECT_EQ(sender->violation(), Violation::kConsumerPositionOutOfRange);
  EXPECT_EQ(sender->stats().violations, 1u);

  pair = Make();
  Use();
  sender->Poison(Violation::kMetadataInvalid);
  EXPECT_EQ(sender->violation(), Violation::kMetadataInvalid);
  EXPECT_EQ(sender->stats().violations, 1u);
  receiver->Poison(Violation::kDoorbellFlood);
  EXPECT_EQ(receiver->violation(), Violation::kDoorbellFlood);
  EXPECT_EQ(receiver->stats().violations, 1u);
}

// --- after a violation of either end

TEST_P(EndsTest, PromiseP6ContainmentNoCallGoesOnAfterAViolation) {
  Channel& ours = pair->accepting();
  Channel& theirs = pair->connecting();
  const std::vector<std::byte> small(5);
  // The receiver knows of a second message, and the sender of room.
  ASSERT_EQ(theirs.sender.TrySend(1, small), Outcome::kOk);
  ASSERT_EQ(theirs.sender.TrySend(1, small), Outcome::kOk);
  ASSERT_EQ(theirs.sender.TrySend(1, small), Outcome::kOk);
  Record record;
  ASSERT_EQ(ours.receiver.TryReceive(absl::MakeSpan(buffer), &record), Outcome::kOk);
  ASSERT_EQ(ours.sender.TrySend(1, small), Outcome::kOk);
  ours.receiver.Poison(Violation::kMetadataInvalid);
  absl::Span<std::byte> room;
  PeekedMessage message;
  const auto lost = [](const absl::Status& status) {
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  };
  EXPECT_EQ(ours.sender.TrySend(1, small), Outcome::kPoisoned);
  EXPECT_EQ(ours.sender.TrySend(1, large), Outcome::kPoisoned);
  EXPECT_EQ(ours.sender.TryStage(1, small), Outcome::kPoisoned);
  EXPECT_EQ(ours.sender.TryStage(1, large), Outcome::kPoisoned);
  EXPECT_EQ(ours.sender.TryReserve(5, &room), Outcome::kPoisoned);
  lost(ours.sender.Send(1, small, In(1000)));
  lost(ours.sender.Reserve(5, In(1000)).status());
  lost(ours.sender.AwaitDrained(In(1000)));
  EXPECT_EQ(ours.receiver.TryReceive(absl::MakeSpan(buffer), &record), Outcome::kPoisoned);
  EXPECT_EQ(ours.receiver.TryPeek(&message), Outcome::kPoisoned);
  lost(ours.receiver.Receive(absl::MakeSpan(buffer), In(1000)).status());
  lost(ours.receiver.Peek(In(1000)).status());
  EXPECT_FALSE(ours.receiver.PrepareToWait());
  lost(ours.receiver.FinishWait());
  // Also where there is no room.
  pair = Make();
  Use();
  Fill();
  sender->Poison(Violation::kMetadataInvalid);
  EXPECT_FALSE(sender->PrepareToWait(large.size()));
  lost(sender->FinishWait(large.size()));
}

// Whichever call is the first one after it.
TEST_P(EndsTest, PromiseP6ContainmentTheFirstCallAfterAViolationSaysSo) {
  const std::vector<std::byte> small(5);
  absl::Span<std::byte> room;
  PeekedMessage message;
  const std::function<bool()> calls[] = {
      [&] { return sender->TrySend(1, small) == Outcome::kPoisoned; },
      [&] { return sender->TrySend(1, large) == Outcome::kPoisoned; },
      [&] { return sender->TryReserve(5, &room) == Outcome::kPoisoned; },
      [&] { return sender->TryStage(1, small) == Outcome::kPoisoned; },
      [&] { return sender->TryStage(1, large) == Outcome::kPoisoned; },
      [&] { return absl::IsDataLoss(sender->Send(1, small, In(1000))); },
      [&] { return absl::IsDataLoss(sender->Reserve(5, In(1000)).status()); },
      [&] { return absl::IsDataLoss(sender->AwaitDrained(In(1000))); },
  };
  for (const auto& call : calls) {
    pair = Make();
    Use();
    pair->accepting().receiver.Poison(Violation::kMetadataInvalid);
    EXPECT_TRUE(call()) << &call - calls;
  }
  const std::function<bool()> receives[] = {
      [&] { return Take() == Outcome::kPoisoned; },
      [&] { return receiver->TryPeek(&message) == Outcome::kPoisoned; },
      [&] {
        return absl::IsDataLoss(receiver->Receive(absl::MakeSpan(buffer), In(1000)).status());
      },
      [&] { return absl::IsDataLoss(receiver->Peek(In(1000)).status()); },
      [&] { return !receiver->PrepareToWait(); },
  };
  for (const bool known : {false, true}) {
    for (const auto& call : receives) {
      pair = Make();
      Use();
      ASSERT_EQ(sender->TrySend(1, small), Outcome::kOk);
      ASSERT_EQ(sender->TrySend(1, small), Outcome::kOk);
      ASSERT_TRUE(!known || Take() == Outcome::kOk);
      pair->connecting().sender.Poison(Violation::kMetadataInvalid);
      EXPECT_TRUE(call()) << &call - receives << known;
    }
  }
}

// An event loop has nothing to sleep for, also where nothing is there.
TEST_P(EndsTest, PromiseP6ContainmentNobodySleepsAfterAViolation) {
  pair->connecting().sender.Poison(Violation::kMetadataInvalid);
  EXPECT_FALSE(receiver->PrepareToWait());
  EXPECT_NE(receiver->waitable()->Arm(), Waitable::Armed::kSleeping);
  Fill();
  pair->accepting().receiver.Poison(Violation::kMetadataInvalid);
  EXPECT_FALSE(sender->PrepareToWait(large.size()));
  EXPECT_NE(sender->waitable(large.size())->Arm(), Waitable::Armed::kSleeping);
}

TEST_P(EndsTest, ReserveGivesRoomOrKeepsItsDeadline) {
  const auto room = sender->Reserve(large.size(), Past());
  ASSERT_TRUE(room.ok()) << room.status();
  EXPECT_GE(room->size(), large.size());
  sender->Commit(1, static_cast<uint32_t>(large.size()));
  ASSERT_GE(Fill(), 2);
  EXPECT_EQ(sender->Reserve(large.size(), Past()).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(sender->Reserve(large.size(), In(5)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  std::thread peer([&] { EXPECT_TRUE(receiver->Receive(absl::MakeSpan(buffer), In(1000)).ok()); });
  EXPECT_TRUE(sender->Reserve(large.size(), In(20'000)).ok());
  peer.join();
}

// What is behind a payload is zero, also where the record was known to be there already.
TEST_P(EndsTest, AttackR5PaddingThatIsNotZeroIsAViolation) {
  const std::vector<std::byte> small(5);
  for (const bool peeks : {false, true}) {
    for (const std::size_t size : {small.size(), std::size_t{1005 - 4}}) {
      pair = Make();
      Use();
      const std::vector<std::byte> bytes(size);
      ASSERT_EQ(sender->TrySend(1, small), Outcome::kOk);
      ASSERT_EQ(sender->TrySend(2, bytes), Outcome::kOk);
      const std::array<std::byte, 1> one = {std::byte{1}};
      HostileAccess::Data(*sender).CopyIn(16 + 8 + size, one);
      ASSERT_EQ(Take(), Outcome::kOk);
      PeekedMessage message;
      EXPECT_EQ(peeks ? receiver->TryPeek(&message) : Take(), Outcome::kPoisoned);
      EXPECT_EQ(receiver->violation(), Violation::kRecordPaddingNotZero);
    }
  }
}

TEST_P(EndsTest, EachKnownMessageArrivesByEitherCall) {
  for (const bool peeks : {false, true}) {
    pair = Make();
    Use();
    const std::size_t sizes[] = {8, 5, 16, 1000, 1001, 3, 0};
    uint32_t tag = 0;
    for (const std::size_t size : sizes) {
      ASSERT_EQ(sender->TrySend(++tag, std::vector<std::byte>(size, std::byte{7})), Outcome::kOk);
    }
    tag = 0;
    for (const std::size_t size : sizes) {
      Record record;
      PeekedMessage message;
      if (peeks) {
        ASSERT_EQ(receiver->TryPeek(&message), Outcome::kOk);
        record = message.record;
        ASSERT_EQ(message.view.size_bytes(), size);
        message.view.CopyTo(0, absl::MakeSpan(buffer).first(size));
        receiver->Release();
      } else {
        std::fill(buffer.begin(), buffer.end(), std::byte{1});
        ASSERT_EQ(receiver->TryReceive(absl::MakeSpan(buffer), &record), Outcome::kOk);
        EXPECT_EQ(buffer[size], std::byte{1});
      }
      EXPECT_EQ(record.tag, ++tag);
      EXPECT_EQ(record.size_bytes, size);
      EXPECT_EQ(std::count(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(size),
                           std::byte{7}),
                static_cast<std::ptrdiff_t>(size));
    }
  }
}

TEST_P(EndsTest, ABufferThatIsTooShortIsTheCallersBugWhateverIsThere) {
  const std::vector<std::byte> small(5);
  std::array<std::byte, 8> short_buffer;
  Record record;
  EXPECT_DEATH(receiver->TryReceive(absl::MakeSpan(short_buffer), &record), "buffer shorter");
  ASSERT_EQ(sender->TrySend(1, small), Outcome::kOk);
  ASSERT_EQ(sender->TrySend(1, small), Outcome::kOk);
  ASSERT_EQ(Take(), Outcome::kOk);
  EXPECT_DEATH(receiver->TryReceive(absl::MakeSpan(short_buffer), &record), "buffer shorter");
}

// --- an end that does not exist

TEST(NoEndTest, EachCallSaysWhichDirectionThereIsNot) {
  Sender sender;
  Receiver receiver;
  EXPECT_FALSE(sender);
  EXPECT_FALSE(receiver);
  const std::array<std::byte, 8> bytes = {};
  std::array<std::byte, 8> into;
  absl::Span<std::byte> space;
  Record record;
  PeekedMessage peeked;
  const std::function<void()> of_sender[] = {
      [&] { sender.TrySend(1, bytes); },
      [&] { sender.Send(1, bytes, In(10)).IgnoreError(); },
      [&] { sender.TryReserve(8, &space); },
      [&] { sender.Reserve(8, In(10)).IgnoreError(); },
      [&] { sender.TryStage(1, bytes); },
      [&] { sender.Publish(); },
      [&] { sender.Close(); },
      [&] { sender.AwaitDrained(In(10)).IgnoreError(); },
      [&] { sender.PrepareToWait(8); },
      [&] { sender.FinishWait(8).IgnoreError(); },
      [&] { static_cast<void>(sender.descriptor()); },
      [&] { static_cast<void>(sender.waitable(8)); },
      [&] { sender.Interrupt(); },
      [&] { static_cast<void>(sender.max_message_bytes()); },
      [&] { static_cast<void>(sender.capacity_bytes()); },
      [&] { static_cast<void>(sender.arena_memory()); },
      [&] { sender.Poison(Violation::kMetadataInvalid); },
      [&] { static_cast<void>(sender.violation()); },
      [&] { static_cast<void>(sender.peer_gone()); },
      [&] { static_cast<void>(sender.stats()); },
  };
  for (const auto& call : of_sender) {
    EXPECT_DEATH(call(), "no sending direction") << &call - of_sender;
  }
  const std::function<void()> of_receiver[] = {
      [&] { receiver.TryReceive(absl::MakeSpan(into), &record); },
      [&] { receiver.Receive(absl::MakeSpan(into), In(10)).IgnoreError(); },
      [&] { receiver.TryPeek(&peeked); },
      [&] { receiver.Peek(In(10)).IgnoreError(); },
      [&] { receiver.Close(); },
      [&] { receiver.PrepareToWait(); },
      [&] { receiver.FinishWait().IgnoreError(); },
      [&] { static_cast<void>(receiver.descriptor()); },
      [&] { static_cast<void>(receiver.waitable()); },
      [&] { receiver.Interrupt(); },
      [&] { static_cast<void>(receiver.max_message_bytes()); },
      [&] { static_cast<void>(receiver.capacity_bytes()); },
      [&] { static_cast<void>(receiver.arena_memory()); },
      [&] { receiver.Poison(Violation::kMetadataInvalid); },
      [&] { static_cast<void>(receiver.violation()); },
      [&] { static_cast<void>(receiver.peer_gone()); },
      [&] { static_cast<void>(receiver.stats()); },
  };
  for (const auto& call : of_receiver) {
    EXPECT_DEATH(call(), "no receiving direction") << &call - of_receiver;
  }
}

TEST_P(EndsTest, AMovedEndGoesOnAndWhatItWasMovedFromIsNone) {
  const std::vector<std::byte> small(5);
  Sender moved_sender = std::move(*sender);
  Receiver moved_receiver = std::move(*receiver);
  EXPECT_FALSE(*sender);
  EXPECT_FALSE(*receiver);
  EXPECT_TRUE(moved_sender);
  EXPECT_TRUE(moved_receiver);
  EXPECT_DEATH(sender->TrySend(1, small), "no sending direction");
  EXPECT_EQ(moved_sender.TrySend(1, small), Outcome::kOk);
  *sender = std::move(moved_sender);
  *receiver = std::move(moved_receiver);
  EXPECT_TRUE(*sender);
  EXPECT_TRUE(*receiver);
  EXPECT_EQ(Take(), Outcome::kOk);
  EXPECT_EQ(sender->max_message_bytes(), kMaxMessage);
  EXPECT_EQ(receiver->max_message_bytes(), kMaxMessage);
  EXPECT_EQ(sender->capacity_bytes(), PageBytes());
  EXPECT_EQ(receiver->capacity_bytes(), sender->capacity_bytes());
}

// --- what is staged must be seen, or both sides would wait

TEST_P(EndsTest, AWaitPublishesWhatIsStaged) {
  const auto fill = [&] {
    int staged = 0;
    while (sender->TryStage(1, large) == Outcome::kOk) ++staged;
    return staged;
  };
  ASSERT_GE(fill(), 3);
  EXPECT_EQ(Take(), Outcome::kWouldBlock);
  EXPECT_EQ(sender->Send(1, large, Past()).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(Take(), Outcome::kOk);

  pair = Make();
  Use();
  ASSERT_GE(fill(), 3);
  EXPECT_EQ(sender->AwaitDrained(Past()).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(Take(), Outcome::kOk);

  pair = Make();
  Use();
  ASSERT_GE(fill(), 3);
  EXPECT_TRUE(sender->PrepareToWait(large.size()));
  EXPECT_EQ(Take(), Outcome::kOk);

  pair = Make();
  Use();
  ASSERT_GE(fill(), 3);
  EXPECT_EQ(sender->waitable(large.size())->Arm(), Waitable::Armed::kSleeping);
  EXPECT_EQ(Take(), Outcome::kOk);

  pair = Make();
  Use();
  ASSERT_GE(fill(), 3);
  sender->Close();
  EXPECT_EQ(Take(), Outcome::kOk);
}

TEST_P(EndsTest, AwaitDrainedEndsWithThePeersEndWhateverIsLeft) {
  EXPECT_TRUE(sender->AwaitDrained(Past()).ok());
  ASSERT_EQ(sender->TrySend(1, large), Outcome::kOk);
  receiver->Close();
  EXPECT_EQ(sender->AwaitDrained(In(20'000)).code(), absl::StatusCode::kOutOfRange);
  pair = Make();
  Use();
  ASSERT_EQ(sender->TrySend(1, large), Outcome::kOk);
  pair->connecting() = Channel();
  EXPECT_EQ(sender->AwaitDrained(In(20'000)).code(), absl::StatusCode::kUnavailable);
}

// Each Try call by itself learns of a death, also where it is the only one that is made.
TEST_P(EndsTest, EachTryCallLearnsOfADeath) {
  Record record;
  absl::Span<std::byte> room;
  PeekedMessage message;
  const std::pair<bool, std::function<Outcome()>> calls[] = {
      {true, [&] { return sender->TrySend(1, large); }},
      {true, [&] { return sender->TryStage(1, large); }},
      {true, [&] { return sender->TryReserve(large.size(), &room); }},
      {false, [&] { return receiver->TryReceive(absl::MakeSpan(buffer), &record); }},
      {false, [&] { return receiver->TryPeek(&message); }},
  };
  for (const auto& [sends, call] : calls) {
    pair = Make();
    Use();
    if (sends) Fill();
    (sends ? pair->connecting() : pair->accepting()) = Channel();
    Outcome outcome = Outcome::kWouldBlock;
    for (const Deadline give_up = In(20'000);
         outcome == Outcome::kWouldBlock && !give_up.Expired();) {
      outcome = call();
    }
    EXPECT_EQ(outcome, Outcome::kClosed) << sends;
    EXPECT_TRUE(sends ? sender->peer_gone() : receiver->peer_gone());
  }
}

// A peer that hangs up and lives on: it can write its words after its end was told.
struct HungUpTest : EndsTest {
  // How an end is told.
  enum class How { kTry, kWait, kEventLoop, kDrained };
  Channel& victim() { return pair->accepting(); }
  Channel& peer() { return pair->connecting(); }

  void HangUp() { ASSERT_EQ(::shutdown(HostileAccess::ConnectionOf(peer().sender), SHUT_RDWR), 0); }
  void AskTheSender(How how) {
    absl::Status status;
    for (const Deadline give_up = In(20'000); status.ok() && !give_up.Expired();) {
      if (how == How::kTry && victim().sender.TrySend(1, large) == Outcome::kClosed) return;
      if (how == How::kWait) status = victim().sender.Send(1, large, In(20'000));
      if (how == How::kDrained) status = victim().sender.AwaitDrained(In(20'000));
      if (how == How::kEventLoop) status = victim().sender.FinishWait(large.size());
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  }
  void AskTheReceiver(How how) {
    Record record;
    absl::Status status;
    for (const Deadline give_up = In(20'000); status.ok() && !give_up.Expired();) {
      if (how == How::kTry &&
          victim().receiver.TryReceive(absl::MakeSpan(buffer), &record) == Outcome::kClosed) {
        return;
      }
      if (how == How::kWait) {
        status = victim().receiver.Receive(absl::MakeSpan(buffer), In(20'000)).status();
      }
      if (how == How::kEventLoop) status = victim().receiver.FinishWait();
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  }
};

INSTANTIATE_TEST_SUITE_P(Doorbells, HungUpTest, ::testing::Bool(),
                         [](const auto& p) { return p.param ? "Eventfd" : "Socket"; });

TEST_P(HungUpTest, ASenderThatWasToldOfTheEndSendsNoMore) {
  for (const How how : {How::kTry, How::kWait, How::kEventLoop, How::kDrained}) {
    SCOPED_TRACE(static_cast<int>(how));
    pair = Make();
    sender = &victim().sender;
    ASSERT_GE(Fill(), 3);
    HangUp();
    AskTheSender(how);
    const uint64_t published = HostileAccess::Published(*sender);
    // Now there is room.
    HostileAccess::Control(peer().receiver).StoreRelease64(kHeadOffset, published);
    absl::Span<std::byte> room;
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(sender->TrySend(1, large), Outcome::kClosed);
      EXPECT_EQ(sender->TryStage(1, {}), Outcome::kClosed);
      EXPECT_EQ(sender->TryReserve(1, &room), Outcome::kClosed);
      EXPECT_FALSE(sender->PrepareToWait(1));
      EXPECT_EQ(sender->Send(1, {}, In(20'000)).code(), absl::StatusCode::kUnavailable);
      EXPECT_EQ(sender->AwaitDrained(In(20'000)).code(), absl::StatusCode::kUnavailable);
      EXPECT_EQ(sender->FinishWait(1).code(), absl::StatusCode::kUnavailable);
      // Nor does it close after its end.
      HostileAccess::Control(peer().receiver).StoreRelease64(kConsumerStateOffset, kStreamClosed);
    }
    EXPECT_EQ(HostileAccess::Published(*sender), published);
  }
}

TEST_P(HungUpTest, AReceiverThatWasToldOfTheEndGetsNoMore) {
  for (const How how : {How::kTry, How::kWait, How::kEventLoop}) {
    SCOPED_TRACE(static_cast<int>(how));
    pair = Make();
    Receiver& told = victim().receiver;
    HangUp();
    AskTheReceiver(how);
    ASSERT_EQ(peer().sender.TrySend(1, large), Outcome::kOk);
    Record record;
    PeekedMessage message;
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(told.TryReceive(absl::MakeSpan(buffer), &record), Outcome::kClosed);
      EXPECT_EQ(told.TryPeek(&message), Outcome::kClosed);
      EXPECT_FALSE(told.PrepareToWait());
      EXPECT_EQ(told.Receive(absl::MakeSpan(buffer), In(20'000)).status().code(),
                absl::StatusCode::kUnavailable);
      EXPECT_EQ(told.Peek(In(20'000)).status().code(), absl::StatusCode::kUnavailable);
      EXPECT_EQ(told.FinishWait().code(), absl::StatusCode::kUnavailable);
      HostileAccess::Control(peer().sender).StoreRelease64(kProducerStateOffset, kStreamClosed);
    }
    // Nor does a close of our own make another end of it.
    told.Close();
    EXPECT_EQ(told.Receive(absl::MakeSpan(buffer), In(20'000)).status().code(),
              absl::StatusCode::kUnavailable);
    EXPECT_EQ(told.FinishWait().code(), absl::StatusCode::kUnavailable);
  }
}

// At once: nobody waits for a peer that is known to be gone.
TEST_P(HungUpTest, ASenderThatWasToldOfTheEndWaitsForNothing) {
  sender = &victim().sender;
  ASSERT_GE(Fill(), 3);
  HangUp();
  AskTheSender(How::kDrained);
  const uint64_t waits = sender->stats().waits;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(sender->AwaitDrained(In(20'000)).code(), absl::StatusCode::kUnavailable);
  }
  EXPECT_EQ(sender->stats().waits, waits);
}

// What it wrote before its end counts, whoever is asked first.
TEST_P(HungUpTest, APeerThatClosedBeforeItsEndHasClosed) {
  for (const How how : {How::kTry, How::kWait, How::kDrained}) {
    SCOPED_TRACE(static_cast<int>(how));
    pair = Make();
    sender = &victim().sender;
    Fill();
    victim().receiver.Close();
    peer().sender.Close();
    HangUp();
    while (!victim().receiver.peer_gone()) {  // the other end learns of it first
      static_cast<void>(victim().receiver.FinishWait());
    }
    peer().receiver.Close();
    if (how == How::kTry) {
      EXPECT_EQ(sender->TrySend(1, large), Outcome::kClosed);
    }
    if (how == How::kDrained) {
      EXPECT_EQ(sender->AwaitDrained(Past()).code(), absl::StatusCode::kOutOfRange);
    }
    EXPECT_EQ(sender->Send(1, large, In(20'000)).code(), absl::StatusCode::kOutOfRange);
    // And an end of our own making is not the peer's.
    EXPECT_EQ(victim().receiver.Receive(absl::MakeSpan(buffer), In(20'000)).status().code(),
              absl::StatusCode::kOutOfRange);
  }
}

// A last look may find a lie.
TEST_P(HungUpTest, ALieBeforeTheEndIsAViolation) {
  for (const How how : {How::kTry, How::kEventLoop}) {
    SCOPED_TRACE(static_cast<int>(how));
    pair = Make();
    sender = &victim().sender;
    Fill();
    HangUp();
    while (!victim().receiver.peer_gone()) static_cast<void>(victim().receiver.FinishWait());
    HostileAccess::Control(peer().receiver).StoreRelease64(kConsumerStateOffset, 7);
    if (how == How::kTry) {
      EXPECT_EQ(sender->TrySend(1, large), Outcome::kPoisoned);
    }
    if (how == How::kEventLoop) static_cast<void>(sender->FinishWait(large.size()));
    EXPECT_EQ(sender->Send(1, large, In(20'000)).code(), absl::StatusCode::kDataLoss);
    EXPECT_EQ(victim().receiver.violation(), Violation::kConsumerStateInvalid);
    EXPECT_EQ(sender->stats().violations, 1u);
  }
}

// --- event loops

TEST_P(EndsTest, FinishWaitSaysWhatThereIs) {
  // A signal for nothing, for too little, and for enough.
  ASSERT_GE(Fill(), 3);
  ASSERT_TRUE(sender->PrepareToWait(large.size()));
  HostileAccess::DoorbellOf(*receiver).Signal();
  EXPECT_TRUE(sender->FinishWait(large.size()).ok());
  EXPECT_EQ(sender->stats().wakeups, 1u);
  EXPECT_EQ(sender->stats().spurious_wakeups, 1u);
  // A step of the peer's, which is not enough.
  HostileAccess::Control(*receiver).StoreRelease64(kHeadOffset, 16);
  HostileAccess::DoorbellOf(*receiver).Signal();
  EXPECT_TRUE(sender->FinishWait(large.size()).ok());
  EXPECT_EQ(sender->stats().wakeups, 2u);
  EXPECT_EQ(sender->stats().spurious_wakeups, 1u);
  HostileAccess::DoorbellOf(*receiver).Signal();
  EXPECT_TRUE(sender->FinishWait(large.size()).ok());
  EXPECT_EQ(sender->stats().wakeups, 3u);
  EXPECT_EQ(sender->stats().spurious_wakeups, 2u);

  ASSERT_FALSE(receiver->PrepareToWait());
  while (Take() == Outcome::kOk) {
  }
  ASSERT_TRUE(receiver->PrepareToWait());
  HostileAccess::DoorbellOf(*sender).Signal();
  EXPECT_TRUE(receiver->FinishWait().ok());
  EXPECT_EQ(receiver->stats().spurious_wakeups, 1u);
  ASSERT_EQ(sender->TrySend(1, large), Outcome::kOk);
  HostileAccess::DoorbellOf(*sender).Signal();
  EXPECT_TRUE(receiver->FinishWait().ok());
  EXPECT_EQ(receiver->stats().spurious_wakeups, 1u);
}

TEST_P(EndsTest, AfterADeathWhatIsThereIsStillToBeHad) {
  const auto finish = [](auto& end, auto... size) {
    absl::Status status = end.FinishWait(size...);
    // The end may be told a moment later than what it left.
    for (const Deadline give_up = In(20'000);
         status.ok() && !end.peer_gone() && !give_up.Expired();)
      status = end.FinishWait(size...);
    return status;
  };
  ASSERT_EQ(sender->TrySend(1, large), Outcome::kOk);
  pair->accepting() = Channel();
  EXPECT_TRUE(finish(*receiver).ok());
  EXPECT_EQ(Take(), Outcome::kOk);
  EXPECT_EQ(receiver->FinishWait().code(), absl::StatusCode::kUnavailable);

  pair = Make();
  Use();
  Fill();
  pair->connecting() = Channel();
  EXPECT_EQ(finish(*sender, large.size()).code(), absl::StatusCode::kUnavailable);

  pair = Make();
  Use();
  pair->connecting() = Channel();
  EXPECT_TRUE(finish(*sender, large.size()).ok());
}

// An interrupt is not lost because there is something to do as well.
TEST_P(EndsTest, AnInterruptIsToldWhateverIsThere) {
  ASSERT_EQ(sender->TrySend(1, large), Outcome::kOk);
  receiver->Interrupt();
  EXPECT_EQ(receiver->FinishWait().code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(receiver->FinishWait().ok());
  sender->Interrupt();
  EXPECT_EQ(sender->FinishWait(1).code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(sender->FinishWait(1).ok());
}

// A signal that comes when its message was taken already, each time: what the peer did pays for it.
TEST_P(EndsTest, WhatThePeerDidRefundsItsWakeUps) {
  WaitOptions wait;
  wait.spurious_wakeups = 8;
  wait.spurious_refill = absl::Hours(1);
  for (const bool by_port : {false, true}) {
    pair = Make(wait);
    Use();
    const std::vector<std::byte> small(8);
    absl::Status status;
    for (int i = 0; i < 100; ++i) {
      HostileAccess::DoorbellOf(*sender).Signal();
      if (by_port) {
        EXPECT_FALSE(receiver->waitable()->TakeWakeUps({}, &status));
      } else {
        status = receiver->FinishWait();
      }
      ASSERT_TRUE(status.ok()) << i << status;
      ASSERT_EQ(sender->TrySend(1, small), Outcome::kOk);
      ASSERT_EQ(Take(), Outcome::kOk);
      if (by_port) {
        EXPECT_EQ(receiver->waitable()->Arm(), Waitable::Armed::kSleeping);
        receiver->waitable()->Disarm();
      } else {
        EXPECT_TRUE(receiver->PrepareToWait());
      }
    }
    EXPECT_EQ(receiver->stats().throttles, 0u) << by_port;
  }
}

// The same of an end that sends: what the peer took pays for its signals.
TEST_P(EndsTest, WhatThePeerTookRefundsItsWakeUps) {
  WaitOptions wait;
  wait.spurious_wakeups = 8;
  wait.spurious_refill = absl::Hours(1);
  for (const bool by_port : {false, true}) {
    pair = Make(wait);
    Use();
    ASSERT_GE(Fill(), 3);
    absl::Status status;
    for (int i = 0; i < 100; ++i) {
      HostileAccess::DoorbellOf(*receiver).Signal();
      if (by_port) {
        EXPECT_FALSE(sender->waitable(large.size())->TakeWakeUps({}, &status));
      } else {
        status = sender->FinishWait(large.size());
      }
      ASSERT_TRUE(status.ok()) << i << status;
      for (int message = 0; message < 3; ++message) ASSERT_EQ(Take(), Outcome::kOk);
      ASSERT_EQ(Fill(), 3);
      if (by_port) {
        EXPECT_EQ(sender->waitable(large.size())->Arm(), Waitable::Armed::kSleeping);
        sender->waitable(large.size())->Disarm();
      } else {
        EXPECT_TRUE(sender->PrepareToWait(large.size()));
      }
    }
    EXPECT_EQ(sender->stats().throttles, 0u) << by_port;
  }
}

// --- ports of a WaitSet

TEST_P(EndsTest, APortOfAReceiverTellsOfDataAndOnceOfTheEnd) {
  Waitable* const port = receiver->waitable();
  EXPECT_EQ(port, receiver->waitable());
  EXPECT_FALSE(port->polled().empty());
  EXPECT_EQ(port->throttled_until_ns(), 0);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(port->Arm(), Waitable::Armed::kSleeping);
    port->Disarm();
  }
  absl::Status status = absl::UnknownError("not said");
  HostileAccess::DoorbellOf(*sender).Signal();
  EXPECT_FALSE(port->TakeWakeUps({}, &status));  // for nothing
  ASSERT_EQ(sender->TrySend(1, large), Outcome::kOk);
  status = absl::UnknownError("not said");
  EXPECT_TRUE(port->TakeWakeUps({}, &status));
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(port->Arm(), Waitable::Armed::kReady);
  ASSERT_EQ(Take(), Outcome::kOk);
  receiver->Interrupt();
  EXPECT_TRUE(port->TakeWakeUps({}, &status));
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  sender->Close();
  ASSERT_EQ(Take(), Outcome::kClosed);
  EXPECT_EQ(port->Arm(), Waitable::Armed::kReady);
  EXPECT_EQ(port->Arm(), Waitable::Armed::kOver);
  EXPECT_EQ(port->Arm(), Waitable::Armed::kOver);
  EXPECT_FALSE(port->ended());

  // Its own end is one, too.
  pair = Make();
  Use();
  receiver->Close();
  EXPECT_NE(receiver->waitable()->Arm(), Waitable::Armed::kOver);
  EXPECT_EQ(receiver->waitable()->Arm(), Waitable::Armed::kOver);

  pair = Make();
  Use();
  receiver->Poison(Violation::kMetadataInvalid);
  EXPECT_TRUE(receiver->waitable()->ended());
  EXPECT_TRUE(receiver->waitable()->TakeWakeUps({}, &status));
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
}

TEST_P(EndsTest, APortOfASenderTellsOfFreeSpaceAndOnceOfTheEnd) {
  ASSERT_GE(Fill(), 3);
  Waitable* const port = sender->waitable(large.size());
  EXPECT_FALSE(port->polled().empty());
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(port->Arm(), Waitable::Armed::kSleeping);
    port->Disarm();
  }
  absl::Status status = absl::UnknownError("not said");
  HostileAccess::DoorbellOf(*receiver).Signal();
  EXPECT_FALSE(port->TakeWakeUps({}, &status));
  ASSERT_EQ(Take(), Outcome::kOk);
  // The last size that was asked for is what counts.
  EXPECT_EQ(port, sender->waitable(kMaxMessage));
  status = absl::UnknownError("not said");
  EXPECT_TRUE(sender->waitable(large.size())->TakeWakeUps({}, &status));
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(port->Arm(), Waitable::Armed::kReady);
  sender->Interrupt();
  EXPECT_TRUE(port->TakeWakeUps({}, &status));
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  receiver->Close();
  while (sender->TrySend(1, large) == Outcome::kOk) {
  }
  ASSERT_EQ(sender->TrySend(1, large), Outcome::kClosed);
  EXPECT_EQ(port->Arm(), Waitable::Armed::kReady);
  EXPECT_EQ(port->Arm(), Waitable::Armed::kOver);
  EXPECT_EQ(port->Arm(), Waitable::Armed::kOver);

  pair = Make();
  Use();
  sender->Close();
  EXPECT_NE(sender->waitable(1)->Arm(), Waitable::Armed::kOver);
  EXPECT_EQ(sender->waitable(1)->Arm(), Waitable::Armed::kOver);

  pair = Make();
  Use();
  Fill();
  sender->Poison(Violation::kMetadataInvalid);
  EXPECT_TRUE(sender->waitable(1)->TakeWakeUps({}, &status));
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
}

// --- how a channel comes to be

TEST_P(EndsTest, AChannelHasItsIdItsSessionAndItsDescriptors) {
  EXPECT_NE(pair->accepting().id, ChannelId());
  EXPECT_EQ(pair->accepting().id, pair->connecting().id);
  EXPECT_EQ(pair->accepting().id, pair->accepting().session->id());
  const ChannelDescriptors none = DescriptorsOf(Channel());
  EXPECT_TRUE(none.all.empty());
  EXPECT_TRUE(none.eventfds.empty());
}

TEST(ChannelMakingTest, ASignallerAndAPidfdAreAmongTheDescriptors) {
  auto signaller = Signaller::Create();
  ASSERT_TRUE(signaller.ok());
  auto pidfd = OpenPidfd(::getppid());
  ASSERT_TRUE(pidfd.ok());
  WaitOptions wait;
  wait.signaller = *signaller;
  for (const Direction direction : {Direction::kSendOnly, Direction::kReceiveOnly}) {
    AcceptOptions accept;
    accept.direction = direction;
    accept.peer_pidfd = pidfd->get();
    ConnectOptions connect;
    connect.direction =
        direction == Direction::kSendOnly ? Direction::kReceiveOnly : Direction::kSendOnly;
    auto pair = ChannelPair::CreateByHandshake(accept, connect, wait);
    ASSERT_TRUE(pair.ok()) << pair.status();
    const ChannelDescriptors found = DescriptorsOf((*pair)->accepting());
    const auto count = [](const std::vector<int>& all, int fd) {
      return std::count(all.begin(), all.end(), fd);
    };
    EXPECT_EQ(count(found.all, (*signaller)->eventfd()), 1);
    EXPECT_EQ(count(found.eventfds, (*signaller)->eventfd()), 1);
    EXPECT_EQ(count(found.all, (*pair)->accepting().session->connection()), 1);
    EXPECT_EQ(count(found.all, (*pair)->accepting().session->peer().pidfd.get()), 1);
    EXPECT_TRUE(std::is_sorted(found.all.begin(), found.all.end()));
    EXPECT_GE(found.all.front(), 0);
    EXPECT_GE(found.eventfds.front(), 0);
  }
}

// A futex has no descriptor; the connection and the peer's process are watched all the same.
TEST(ChannelMakingTest, WithFutexesTheConnectionAndThePidfdAreLeft) {
  auto pidfd = OpenPidfd(::getppid());
  ASSERT_TRUE(pidfd.ok());
  AcceptOptions accept;
  accept.doorbell = DoorbellKind::kFutex;
  accept.peer_pidfd = pidfd->get();
  accept.format = "ours";
  ConnectOptions connect;
  connect.doorbell = DoorbellKind::kFutex;
  connect.format = "theirs";
  auto pair = ChannelPair::CreateByHandshake(accept, connect);
  ASSERT_TRUE(pair.ok()) << pair.status();
  const Session& session = *(*pair)->accepting().session;
  std::vector<int> expected = {session.connection(), session.peer().pidfd.get()};
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(DescriptorsOf((*pair)->accepting()).all, expected);
  EXPECT_TRUE(DescriptorsOf((*pair)->accepting()).eventfds.empty());
  EXPECT_EQ((*pair)->accepting().peer_format, "theirs");
  EXPECT_EQ((*pair)->connecting().peer_format, "ours");
}

TEST(ChannelMakingTest, PromiseP7ResourcesAFullSignallerTakesNoEnd) {
  struct Nothing final : Signaller::Task {
    void SignalNow() override {}
  };
  auto signaller = Signaller::Create();
  ASSERT_TRUE(signaller.ok());
  Nothing nothing;
  std::vector<std::size_t> numbers;
  while (true) {
    auto number = (*signaller)->Add(&nothing);
    if (!number.ok()) break;
    numbers.push_back(*number);
  }
  WaitOptions wait;
  wait.signaller = *signaller;
  // With no place left for either end, or for the first one alone.
  for (int places = 0; places < 2; ++places) {
    const auto pair = ChannelPair::CreateByHandshake({}, {}, wait);
    EXPECT_EQ(pair.status().code(), absl::StatusCode::kResourceExhausted) << pair.status();
    (*signaller)->Remove(numbers.back());
    numbers.pop_back();
  }
  for (const std::size_t number : numbers) (*signaller)->Remove(number);
}

std::string Name(const char* what) {
  return "@parley_ends_" + std::to_string(::getpid()) + "_" + what;
}

TEST(ChannelMakingTest, EachWayToAChannelSaysWhatIsMissing) {
  using enum absl::StatusCode;
  auto pair = PeerSocket::Pair();
  pair->first.HangUp();
  EXPECT_EQ(ConnectChannel(std::move(pair->second), {}, In(1000)).status().code(), kUnavailable);
  pair = PeerSocket::Pair();
  pair->second.HangUp();
  EXPECT_EQ(AcceptChannel(std::move(pair->first), {}, In(1000)).status().code(), kUnavailable);
  EXPECT_EQ(ConnectChannel(Name("nobody"), {}, In(1000)).status().code(), kUnavailable);
  ::unsetenv(kSocketVariable);
  EXPECT_EQ(ConnectInheritedChannel({}, In(1000)).status().code(), kFailedPrecondition);

  FileRegistry accepting;
  FileRegistry connecting;
  AcceptOptions accept;
  accept.registry = &accepting;
  ConnectOptions connect;
  connect.registry = &connecting;
  auto listener = ChannelListener::Listen(Name("a"), accept);
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_EQ(ChannelListener::Listen(Name("a"), accept).status().code(), kAlreadyExists);
  EXPECT_EQ(listener->Accept(Past()).status().code(), kDeadlineExceeded);
  ConnectOptions impossible;
  impossible.limits.max_capacity_bytes = 1;
  EXPECT_EQ(ConnectChannel(Name("a"), impossible, In(1000)).status().code(), kInvalidArgument);
  EXPECT_EQ(listener->failures(), 0u);
  connect.direction = Direction::kSendOnly;  // which does not match
  absl::StatusOr<Channel> connected = absl::UnknownError("");
  std::thread refused([&] { connected = ConnectChannel(Name("a"), connect, In(10'000)); });
  for (const Deadline give_up = In(10'000); listener->failures() == 0 && !give_up.Expired();) {
    EXPECT_FALSE(listener->Accept(In(10)).ok());
  }
  refused.join();
  EXPECT_EQ(connected.status().code(), kFailedPrecondition) << connected.status();
  EXPECT_EQ(listener->failures(), 1u);
  EXPECT_FALSE(listener->last_failure().ok());
  EXPECT_FALSE(listener->HasReady());

  connect.direction = Direction::kBoth;
  ChannelListener moved = *std::move(listener);
  std::thread welcome([&] { connected = ConnectChannel(Name("a"), connect, In(10'000)); });
  auto accepted = moved.Accept(In(10'000));
  welcome.join();
  ASSERT_TRUE(accepted.ok() && connected.ok()) << accepted.status() << connected.status();
  EXPECT_EQ(accepted->id, connected->id);
}

TEST(ChannelMakingTest, AnInheritedSocketMakesAChannel) {
  FileRegistry accepting;
  FileRegistry connecting;
  AcceptOptions accept;
  accept.registry = &accepting;
  ConnectOptions connect;
  connect.registry = &connecting;
  auto pair = PeerSocket::Pair();
  const int number = std::move(pair->second).Release().Release();
  ::setenv(kSocketVariable, std::to_string(number).c_str(), 1);
  absl::StatusOr<Channel> connected = absl::UnknownError("");
  std::thread worker([&] { connected = ConnectInheritedChannel(connect, In(10'000)); });
  const auto accepted = AcceptChannel(std::move(pair->first), accept, In(10'000));
  worker.join();
  ASSERT_TRUE(accepted.ok() && connected.ok()) << accepted.status() << connected.status();
  EXPECT_TRUE(connected->session->peer_is_supervisor());
}

TEST(ChannelMakingTest, TheSocketFilesModeIsAsAskedForOrAsThePolicyNeedsIt) {
  std::string folder = "/tmp/parley_ends_XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const std::string path = folder + "/a";
  const struct {
    mode_t asked;
    PeerPolicy policy;
    mode_t expected;
  } kCases[] = {
      {0, PeerPolicy::SameUser(), 0600},
      {0, PeerPolicy::Gid(7), 0666},
      {0660, PeerPolicy::SameUser(), 0660},
      {0660, PeerPolicy::Gid(7), 0660},
  };
  for (const auto& c : kCases) {
    AcceptOptions accept;
    accept.policy = c.policy;
    ServerLimits limits;
    limits.socket_file_mode = c.asked;
    const auto listener = ChannelListener::Listen(path, accept, limits);
    ASSERT_TRUE(listener.ok()) << listener.status();
    struct stat info = {};
    ASSERT_EQ(::stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, c.expected);
  }
  EXPECT_EQ(::rmdir(folder.c_str()), 0);
}

}  // namespace
}  // namespace parley
