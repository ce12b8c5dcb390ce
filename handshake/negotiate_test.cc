// SPDX-License-Identifier: Apache-2.0
#include "parley/handshake/negotiate.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "parley/handshake/checked_options.h"
#include "parley/handshake/peer_trust_maker.h"
#include "parley/os/without_preadv2.h"
#include "parley/ring/layout.h"
#include "parley/ring/ring_types.h"
#include "parley/sealing/file_registry.h"
#include "parley/sealing/guarded_range.h"
#include "parley/shm/broadcast.h"
#include "parley/shm/sections.h"

namespace parley {
namespace {

Hello PlainHello(uint32_t roles = kRoleSends | kRoleReceives) {
  Hello hello;
  hello.roles = roles;
  hello.doorbells = kDoorbellSocket;
  return hello;
}

// --- options are checked where they are given ----------------------------------------------------

TEST(CheckedOptionsTest, ImpossibleAcceptOptionsAreNamedAndNothingElseHappens) {
  struct Case {
    void (*spoil)(AcceptOptions&);
    std::string sentence;
  };
  const uint64_t least = std::max<uint64_t>(4096, PageBytes());
  const Case cases[] = {
      {[](AcceptOptions& o) { o.send.capacity_bytes = 4097; }, "send.capacity_bytes is 4097"},
      {[](AcceptOptions& o) { o.receive.capacity_bytes = 2048; }, "receive.capacity_bytes is 2048"},
      {[](AcceptOptions& o) { o.send.capacity_bytes = uint64_t{1} << 31; }, "send.capacity_bytes"},
      {[](AcceptOptions& o) { o.send.capacity_bytes = 32 << 20; }, "limits.max_capacity_bytes"},
      {[](AcceptOptions& o) { o.send.max_message_bytes = 63; }, "allowed: 0, or 64 to"},
      {[](AcceptOptions& o) {
         o.receive = {4096, static_cast<uint32_t>(std::max<uint64_t>(4096, PageBytes()) - 7)};
       },
       "receive.max_message_bytes is " + std::to_string(least - 7)},
      {[](AcceptOptions& o) { o.receive.max_message_bytes = 5 << 20; }, "limits.max_message_bytes"},
      {[](AcceptOptions& o) { o.send.arena = {4096, 65}; }, "send.arena"},
      {[](AcceptOptions& o) { o.send.arena = {4095, 64}; }, "send.arena"},
      {[](AcceptOptions& o) { o.send.arena = {1 << 30, 64}; }, "limits.max_arena_bytes"},
      {[](AcceptOptions& o) {
         o.direction = Direction::kSendOnly;
         o.receive = {4096, 64};
       },
       "receive is set"},
      {[](AcceptOptions& o) { o.limits.max_capacity_bytes = 0; }, "limits.max_capacity_bytes is 0"},
      {[](AcceptOptions& o) { o.limits.max_message_bytes = 8; }, "limits.max_message_bytes is 8"},
      {[](AcceptOptions& o) { o.format = std::string(4097, 'x'); }, "format has 4097"},
      {[](AcceptOptions& o) { o.doorbell = DoorbellKind::kEventfd; }, "doorbell is kEventfd"},
      {[](AcceptOptions& o) { o.trust = PeerTrust::Because(""); }, "trust has no reason"},
  };
  for (const Case& c : cases) {
    AcceptOptions options;
    c.spoil(options);
    const auto checked = CheckedAcceptOptions::Make(options);
    EXPECT_EQ(checked.status().code(), absl::StatusCode::kInvalidArgument) << c.sentence;
    EXPECT_NE(checked.status().message().find(c.sentence), std::string::npos) << checked.status();
  }
  EXPECT_TRUE(CheckedAcceptOptions::Make({}).ok());
  EXPECT_TRUE(CheckedConnectOptions::Make({}).ok());
  AcceptOptions nothing;
  nothing.direction = Direction::kNone;
  EXPECT_NE(CheckedAcceptOptions::Make(nothing).status().message().find("with a `broadcast`"),
            std::string::npos);
  for (const std::vector<uint16_t>& kinds :
       {std::vector<uint16_t>{0}, {3, 3}, {5, 3, 5}, {1, 2, 3, 4, 5, 6, 7, 8, 9}}) {
    ConnectOptions reader;
    reader.broadcast_kinds = kinds;
    EXPECT_NE(CheckedConnectOptions::Make(reader).status().message().find("broadcast_kinds"),
              std::string::npos);
  }
  ConnectOptions connect;
  connect.direction = Direction::kNone;
  EXPECT_NE(CheckedConnectOptions::Make(connect).status().message().find("direction is kNone"),
            std::string::npos);
  connect.direction = Direction::kBoth;
  connect.send = {8192, 1};
  EXPECT_NE(CheckedConnectOptions::Make(connect).status().message().find("ConnectOptions::send"),
            std::string::npos);
}

TEST(CheckedOptionsTest, AMessageLengthWithoutACapacityGetsARingForTwo) {
  for (const uint32_t message : {64u, 100'000u, 4u << 20}) {
    AcceptOptions options;
    options.send.max_message_bytes = message;
    const auto checked = CheckedAcceptOptions::Make(options);
    ASSERT_TRUE(checked.ok()) << checked.status();
    const DirectionSpec& chosen = checked->send().chosen;
    EXPECT_EQ(chosen.max_message_bytes, message);
    EXPECT_GE(chosen.capacity_bytes, 2 * (uint64_t{message} + kRecordHeaderBytes));
    EXPECT_LE(chosen.capacity_bytes, options.limits.max_capacity_bytes);
  }
}

// What is right on a machine of small pages is right on one of large ones, simulated.
TEST(CheckedOptionsDeathTest, OnAMachineOfLargePagesARingHasAtLeastOne) {
  EXPECT_EXIT(
      {
        internal::SimulatePageBytes(65536);
        AcceptOptions options;
        options.send.capacity_bytes = 4096;
        options.send.max_message_bytes = 1024;
        const auto checked = CheckedAcceptOptions::Make(options);
        const bool is_a_page = checked.ok() && checked->send().chosen.capacity_bytes == 65536 &&
                               checked->send().chosen.max_message_bytes == 1024;
        options.send.capacity_bytes = 2048;
        std::_Exit(is_a_page && !CheckedAcceptOptions::Make(options).ok() ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
}

// --- what two sides agree on ---------------------------------------------------------------------

// Every combination of our options and the peer's numbers: an agreement that our caller can live
// with, and that is possible, or a refusal; never an abort, and never a ring without room for small
// messages.
TEST(NegotiateTest, PromiseP9AbortIsOursNoNumberOfThePeersMeetsACheck) {
  const uint64_t page = PageBytes();
  const uint32_t ours[] = {0, 64, 1000, 100'000};
  const uint64_t our_capacities[] = {0, page, 65536, 1 << 20};
  const uint64_t capacities[] = {0, 4096, page, 65536, 1 << 20, kMaxCapacityBytes};
  const uint32_t messages[] = {64, 65, 4088, 100'000, 1 << 20, (1u << 30) - 8};
  int agreed = 0;
  for (const uint64_t our_capacity : our_capacities) {
    for (const uint32_t our_message : ours) {
      AcceptOptions options;
      options.send = options.receive = {our_capacity, our_message};
      const auto checked = CheckedAcceptOptions::Make(options);
      if (our_capacity != 0 && our_message > our_capacity - 8) {
        EXPECT_FALSE(checked.ok());
        continue;
      }
      ASSERT_TRUE(checked.ok()) << checked.status();
      for (const uint64_t capacity : capacities) {
        for (const uint32_t message : messages) {
          Hello hello = PlainHello();
          // A Hello that parses: both zero, or a ring that can be.
          if (capacity != 0 && message > capacity - 8) continue;
          hello.send = {capacity, capacity == 0 ? 0 : message};
          hello.receive = hello.send;
          const auto answer = Negotiate(*checked, hello);
          const auto* agreement = std::get_if<Agreement>(&answer);
          if (agreement == nullptr) {
            EXPECT_EQ(std::get<Refusal>(answer).reason, RefusalReason::kSize);
            continue;
          }
          ++agreed;
          for (const DirectionSpec& way : {agreement->send, agreement->receive}) {
            EXPECT_TRUE(IsValid(RingGeometry{way.capacity_bytes, way.max_message_bytes}));
            EXPECT_GE(way.max_message_bytes, kMinMessageLimitBytes);
            EXPECT_GE(way.capacity_bytes, page);
            EXPECT_LE(way.capacity_bytes, options.limits.max_capacity_bytes);
            EXPECT_LE(way.max_message_bytes, options.limits.max_message_bytes);
          }
          // The connecting side's "receive" is what we send on.
          EXPECT_GE(agreement->receive.max_message_bytes, our_message);
          EXPECT_GE(agreement->receive.capacity_bytes, our_capacity);
          if (our_message != 0) {
            EXPECT_LE(agreement->send.max_message_bytes, our_message);
          }
        }
      }
    }
  }
  EXPECT_GT(agreed, 50);
}

TEST(NegotiateTest, ARefusalSaysWhatWasAskedForAndWhatIsAllowed) {
  const auto checked = CheckedAcceptOptions::Make({});
  ASSERT_TRUE(checked.ok());
  Hello hello = PlainHello();
  hello.send = {uint64_t{1} << 30, 4096};
  const auto answer = Negotiate(*checked, hello);
  const absl::Status status = std::get<Refusal>(answer).ToStatus();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(status.message().find("1073741824"), std::string::npos) << status;
  EXPECT_NE(status.message().find("16777216"), std::string::npos) << status;
}

TEST(NegotiateTest, AHelloOfOursIsAnsweredWithWhatWeCanLiveWith) {
  for (const bool trust : {false, true}) {
    for (const FenceMode fences :
         {FenceMode::kAutomatic, FenceMode::kFull, FenceMode::kAsymmetric}) {
      AcceptOptions accept;
      ConnectOptions connect;
      accept.fences = connect.fences = fences;
      if (trust) accept.trust = PeerTrust::Because("a test");
      if (trust) connect.trust = internal::PeerTrustMaker::ConfinedBy("a test");
      connect.send = {std::max<uint64_t>(8192, PageBytes()), 0};
      connect.receive = {0, 5000};
      const auto accepting = CheckedAcceptOptions::Make(accept);
      const auto connecting = CheckedConnectOptions::Make(connect);
      ASSERT_TRUE(accepting.ok() && connecting.ok());
      const Hello hello = MakeHello(*connecting);
      const auto answer = Negotiate(*accepting, hello);
      const auto* agreement = std::get_if<Agreement>(&answer);
      ASSERT_NE(agreement, nullptr);
      EXPECT_TRUE(CheckAgreement(*connecting, hello, *agreement).ok());
      EXPECT_EQ(agreement->doorbell, trust ? kDoorbellEventfd : kDoorbellSocket);
      EXPECT_EQ(agreement->send.max_message_bytes, connect.send.capacity_bytes / 4);
      EXPECT_EQ(agreement->receive.max_message_bytes, 5000u);

      // What was not offered.
      Agreement other = *agreement;
      other.roles = kRoleSends;
      EXPECT_FALSE(CheckAgreement(*connecting, hello, other).ok());
      other = *agreement;
      other.doorbell = kDoorbellFutex;
      EXPECT_FALSE(CheckAgreement(*connecting, hello, other).ok());
      other = *agreement;
      other.receive.max_message_bytes = 4000;
      EXPECT_FALSE(CheckAgreement(*connecting, hello, other).ok());
      other = *agreement;
      other.send = {};
      EXPECT_FALSE(CheckAgreement(*connecting, hello, other).ok());
      other = *agreement;
      other.send.arena = {512 << 20, 64};
      EXPECT_EQ(CheckAgreement(*connecting, hello, other).code(),
                absl::StatusCode::kResourceExhausted);
      Hello aligned = hello;
      aligned.send.arena = {8192, 128};
      other.send.arena = {8192, 128};
      EXPECT_TRUE(CheckAgreement(*connecting, aligned, other).ok());
      other.send.arena = {8192, 64};
      EXPECT_FALSE(CheckAgreement(*connecting, aligned, other).ok());
      other.send.arena = {4096, 128};
      EXPECT_FALSE(CheckAgreement(*connecting, aligned, other).ok());
    }
  }
}

std::shared_ptr<Broadcast> SomeBroadcast(FileRegistry* registry) {
  BroadcastOptions options;
  options.registry = registry;
  return *Broadcast::Create({{3, 4, 100}, {9, 1, 65536}}, options);
}

// All of the broadcast, for whoever takes one of its kinds; nothing for everybody else.
TEST(NegotiateTest, ABroadcastIsForThoseThatTakeOneOfItsKinds) {
  FileRegistry registry;
  AcceptOptions options;
  const auto without = CheckedAcceptOptions::Make(options);
  options.broadcast = SomeBroadcast(&registry);
  const auto with = CheckedAcceptOptions::Make(options);
  options.direction = Direction::kNone;
  const auto alone = CheckedAcceptOptions::Make(options);
  ASSERT_TRUE(without.ok() && with.ok() && alone.ok());
  struct Case {
    std::vector<uint16_t> kinds;
    bool granted;
  };
  for (const Case& c :
       {Case{{}, false}, Case{{1}, false}, Case{{3}, true}, Case{{9}, true}, Case{{3, 9}, true},
        Case{{1, 2, 4, 5, 6, 7, 8, 9}, true}, Case{{0xffff}, false}}) {
    Hello hello = PlainHello();
    hello.broadcast_kinds = c.kinds;
    const SectionList all = options.broadcast->layout().list();
    EXPECT_EQ(std::get<Agreement>(Negotiate(*with, hello)).broadcast,
              c.granted ? all : SectionList());
    EXPECT_TRUE(std::get<Agreement>(Negotiate(*without, hello)).broadcast.empty());
    EXPECT_EQ(std::get<Refusal>(Negotiate(*alone, hello)).reason, RefusalReason::kRoles);
    hello.roles = 0;
    EXPECT_EQ(std::get<Refusal>(Negotiate(*with, hello)).reason, RefusalReason::kRoles);
    const auto answer = Negotiate(*alone, hello);
    ASSERT_EQ(std::holds_alternative<Agreement>(answer), c.granted);
    if (!c.granted) {
      EXPECT_EQ(std::get<Refusal>(answer).reason, RefusalReason::kRoles);
      continue;
    }
    EXPECT_EQ(std::get<Agreement>(answer).broadcast, all);
    EXPECT_EQ(std::get<Agreement>(answer).send, DirectionSpec());
  }
}

TEST(NegotiateTest, AReaderLivesWithABroadcastOfAKindThatItOfferedWithinItsLimits) {
  ConnectOptions options;
  options.broadcast_kinds = {9, 3};
  options.limits.max_broadcast_bytes = 65536 + 8 * PageBytes();
  const auto checked = CheckedConnectOptions::Make(options);
  ASSERT_TRUE(checked.ok()) << checked.status();
  const Hello hello = MakeHello(*checked);
  EXPECT_EQ(hello.broadcast_kinds, (std::vector<uint16_t>{3, 9}));
  Agreement agreement;
  agreement.roles = hello.roles;
  agreement.doorbell = kDoorbellSocket;
  agreement.send = agreement.receive = {65536, 1000};
  constexpr uint64_t kMost = ~uint64_t{0};
  struct Case {
    SectionList broadcast;
    absl::StatusCode code;
  };
  using enum absl::StatusCode;
  for (const Case& c :
       {Case{{}, kOk}, Case{{{3, 1, 1}}, kOk}, Case{{{3, 4, 100}, {9, 1, 65536}}, kOk},
        // Also sections that it does not know, where it knows one.
        Case{{{3, 1, 1}, {4, 1, 1}, {0xffff, 1, 1}}, kOk}, Case{{{4, 1, 1}}, kInvalidArgument},
        Case{{{3, 2, 65536 + 8 * PageBytes()}}, kResourceExhausted},
        Case{{{3, 0xffffffff, kMost}}, kResourceExhausted},
        Case{{{3, 1, kMost}, {9, 1, kMost}}, kResourceExhausted},
        Case{{{3, 1, 1}, {4, 1, uint64_t{1} << 40}}, kResourceExhausted}}) {
    agreement.broadcast = c.broadcast;
    const absl::Status status = CheckAgreement(*checked, hello, agreement);
    EXPECT_EQ(status.code(), c.code) << status;
  }
  // Without an offer there is none.
  const auto plain = CheckedConnectOptions::Make({});
  agreement.broadcast = {{3, 1, 1}};
  EXPECT_EQ(CheckAgreement(*plain, MakeHello(*plain), agreement).code(), kInvalidArgument);
}

// kAutomatic makes a barrier for a peer that it trusts, and for no other that merely offers to skip
// its fences: the barrier is this side's time.
TEST(NegotiateTest, AStrangerThatSkipsFencesGetsNoBarrier) {
  Hello hello = PlainHello();
  hello.features = kFeatureSkipsFences | kFeatureBarrierBeforeSleep;
  const auto stranger = CheckedAcceptOptions::Make({});
  ASSERT_TRUE(stranger.ok());
  EXPECT_EQ(std::get<Agreement>(Negotiate(*stranger, hello)).features, 0u);
  AcceptOptions options;
  options.trust = PeerTrust::Because("a test");
  const auto trusting = CheckedAcceptOptions::Make(options);
  ASSERT_TRUE(trusting.ok());
  EXPECT_EQ(std::get<Agreement>(Negotiate(*trusting, hello)).features,
            trusting->may_make_barrier() ? kFeatureBarrierBeforeSleep : 0u);
}

TEST(PeerTrustTest, IsNoneByDefaultAndHasAReason) {
  EXPECT_FALSE(PeerTrust());
  EXPECT_TRUE(PeerTrust::Because("ours"));
  EXPECT_EQ(PeerTrust::Because("ours").reason(), "ours");
  EXPECT_FALSE(PeerTrust::Because("ours").confined());
  EXPECT_TRUE(internal::PeerTrustMaker::ConfinedBy("a filter").confined());
}

// --- what this system has ------------------------------------------------------------------------

// A doorbell that is never drained would make an honest peer look like a flood.
TEST(NegotiateTest, NoEventfdIsOfferedOrChosenWhereNoneCanBeDrained) {
  for (const int error : {ENOSYS, EOPNOTSUPP, EPERM}) {
    const int wrong = testing::InChildWithoutPreadv2(error, [] {
      ConnectOptions connect;
      connect.trust = PeerTrust::Because("a test");
      const auto connecting = CheckedConnectOptions::Make(connect);
      if (!connecting.ok() || MakeHello(*connecting).doorbells != kDoorbellSocket) return 1;

      AcceptOptions accept;
      accept.trust = PeerTrust::Because("a test");
      const auto accepting = CheckedAcceptOptions::Make(accept);
      Hello hello = PlainHello();
      hello.doorbells = kDoorbellSocket | kDoorbellEventfd;
      if (!accepting.ok()) return 2;
      const auto answer = Negotiate(*accepting, hello);
      const auto* agreement = std::get_if<Agreement>(&answer);
      if (agreement == nullptr || agreement->doorbell != kDoorbellSocket) return 3;

      connect.doorbell = DoorbellKind::kEventfd;
      accept.doorbell = DoorbellKind::kEventfd;
      if (!absl::IsUnimplemented(CheckedConnectOptions::Make(connect).status())) return 4;
      if (!absl::IsUnimplemented(CheckedAcceptOptions::Make(accept).status())) return 5;
      return 0;
    });
    EXPECT_EQ(wrong, 0) << error;
  }
}

}  // namespace
}  // namespace parley
