// SPDX-License-Identifier: Apache-2.0
#include "parley/handshake/negotiate.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <utility>
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
#include "parley/wait/memory_barrier.h"

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

// --- each limit and each term --------------------------------------------------------------------

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

bool Says(const absl::Status& status, const std::string& sentence) {
  return status.ToString().find(sentence) != std::string::npos;
}

// What both kinds of options have.
struct CommonCase {
  std::function<void(Direction*, RingRequest*, RingRequest*, ChannelLimits*, std::string*)> set;
  std::string sentence;  // empty: it is allowed
};

TEST(CheckedOptionsTest, EachLimitIsAllowedAndNothingBeyondIt) {
  const uint64_t least = std::max<uint64_t>(kMinCapacityBytes, PageBytes());
  const auto limit = [](auto change) {
    return [change](Direction*, RingRequest*, RingRequest*, ChannelLimits* limits, std::string*) {
      change(limits);
    };
  };
  const auto ring = [](RingRequest request) {
    return [request](Direction*, RingRequest* send, RingRequest*, ChannelLimits*, std::string*) {
      *send = request;
    };
  };
  // A direction that is not there, and what is asked for it.
  const auto without = [](RingRequest request) {
    return [request](Direction* direction, RingRequest* send, RingRequest*, ChannelLimits*,
                     std::string*) {
      *direction = Direction::kReceiveOnly;
      *send = request;
    };
  };
  const auto received = [](RingRequest request) {
    return [request](Direction*, RingRequest*, RingRequest* receive, ChannelLimits*, std::string*) {
      *receive = request;
    };
  };
  const auto format = [](std::size_t size) {
    return [size](Direction*, RingRequest*, RingRequest*, ChannelLimits*, std::string* text) {
      *text = std::string(size, 'x');
    };
  };
  const auto small_messages = [least](uint32_t message) {
    return [=](Direction*, RingRequest* send, RingRequest*, ChannelLimits* limits, std::string*) {
      limits->max_message_bytes = 1000;
      *send = {least, message};
    };
  };
  const uint64_t kMost = ChannelLimits().max_capacity_bytes;
  const uint64_t kArena = ChannelLimits().max_arena_bytes;
  const auto least_message = static_cast<uint32_t>(least) - 8;
  const CommonCase cases[] = {
      {limit([=](ChannelLimits* l) { l->max_capacity_bytes = least; }), ""},
      {limit([](ChannelLimits* l) { l->max_capacity_bytes = kMinCapacityBytes; }), ""},
      {limit([](ChannelLimits* l) { l->max_capacity_bytes = kMinCapacityBytes - 1; }),
       "::limits.max_capacity_bytes is 4095; allowed"},
      {limit([](ChannelLimits* l) { l->max_capacity_bytes = kMaxCapacityBytes; }), ""},
      {limit([](ChannelLimits* l) { l->max_capacity_bytes = kMaxCapacityBytes + 1; }),
       "::limits.max_capacity_bytes is 1073741825; allowed"},
      {limit([](ChannelLimits* l) { l->max_message_bytes = 64; }), ""},
      {limit([](ChannelLimits* l) { l->max_message_bytes = 63; }),
       "::limits.max_message_bytes is 63; allowed"},
      {ring({.arena = {4096, 64}}), ""},
      {ring({.arena = {4096, 0}}), ""},
      {ring({.arena = {0, 4096}}), ""},
      {ring({.arena = {4096, 48}}), "::send.arena: 4096 bytes, aligned to 48"},
      {ring({.arena = {kArena, 64}}), ""},
      {ring({.arena = {kArena + 4096, 64}}), "beyond limits.max_arena_bytes"},
      {without({}), ""},
      {without({least, 0}), "::send is set, and `direction` says"},
      {without({0, 64}), "::send is set, and `direction` says"},
      {without({.arena = {4096, 64}}), "::send is set, and `direction` says"},
      {without({.arena = {0, 64}}), "::send is set, and `direction` says"},
      {ring({least, 0}), ""},
      {ring({least / 2 - 1, 0}), "::send.capacity_bytes is "},
      {ring({3 * least, 0}), "::send.capacity_bytes is "},
      {ring({kMost, 0}), ""},
      {ring({2 * kMost, 0}), "limits.max_capacity_bytes, 16777216"},
      {ring({0, 64}), ""},
      {ring({0, 63}), "::send.max_message_bytes is 63; allowed: 0, or 64 to"},
      {ring({least, least_message}), ""},
      {ring({least, least_message + 1}), "::send.max_message_bytes is "},
      {small_messages(1000), ""},
      {small_messages(1001), "::send.max_message_bytes is 1001; allowed: 0, or 64 to 1000"},
      {received({0, 63}), "::receive.max_message_bytes is 63"},
      {received({3 * least, 0}), "::receive.capacity_bytes is "},
      {received({0, 64}), ""},
      {format(kMaxFormatBytes), ""},
      {format(kMaxFormatBytes + 1), "::format has 4097 bytes"},
  };
  for (const CommonCase& c : cases) {
    AcceptOptions accept;
    c.set(&accept.direction, &accept.send, &accept.receive, &accept.limits, &accept.format);
    ConnectOptions connect;
    c.set(&connect.direction, &connect.send, &connect.receive, &connect.limits, &connect.format);
    const absl::Status statuses[] = {CheckedAcceptOptions::Make(accept).status(),
                                     CheckedConnectOptions::Make(connect).status()};
    const char* const names[] = {"AcceptOptions", "ConnectOptions"};
    for (int side = 0; side < 2; ++side) {
      const absl::Status& status = statuses[side];
      EXPECT_EQ(status.code(), c.sentence.empty() ? absl::StatusCode::kOk : kInvalid)
          << &c - cases << ": " << status;
      if (c.sentence.empty()) continue;
      EXPECT_TRUE(Says(status, c.sentence)) << &c - cases << ": " << status;
      EXPECT_TRUE(Says(status, names[side])) << &c - cases << ": " << status;
    }
  }
}

// What a side's own caller may rely on, in full.
TEST(CheckedOptionsTest, TheTermsOfADirectionAreThoseThatWereAskedFor) {
  const uint64_t least = std::max<uint64_t>(kMinCapacityBytes, PageBytes());
  const uint64_t ring = 2 * least;
  const uint64_t usual = std::max(kDefaultCapacityBytes, least);
  const uint32_t longest = ChannelLimits().max_message_bytes;
  const auto quarter = [](uint64_t capacity) { return static_cast<uint32_t>(capacity / 4); };
  struct Case {
    RingRequest request;
    DirectionSpec asked;
    DirectionSpec chosen;
    uint64_t floor_capacity;
    uint32_t floor_message;
    uint32_t ceiling;
  };
  const Case cases[] = {
      {{}, {}, {usual, quarter(usual)}, 0, 64, longest},
      {{ring, 0}, {ring, quarter(ring)}, {ring, quarter(ring)}, ring, 64, longest},
      {{0, 1000}, {usual, 1000}, {usual, 1000}, 0, 1000, 1000},
      {{ring, 1000}, {ring, 1000}, {ring, 1000}, ring, 1000, 1000},
      {{.arena = {8192, 0}},
       {.arena = {8192, 0}},
       {usual, quarter(usual), {8192, 64}},
       0,
       64,
       longest},
      {{.arena = {8192, 256}},
       {.arena = {8192, 256}},
       {usual, quarter(usual), {8192, 256}},
       0,
       64,
       longest},
      {{.arena = {0, 128}}, {.arena = {0, 128}}, {usual, quarter(usual)}, 0, 64, longest},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(&c - cases);
    AcceptOptions accept;
    accept.send = c.request;
    ConnectOptions connect;
    connect.receive = c.request;
    const auto accepting = CheckedAcceptOptions::Make(accept);
    const auto connecting = CheckedConnectOptions::Make(connect);
    ASSERT_TRUE(accepting.ok() && connecting.ok());
    for (const DirectionTerms& terms : {accepting->send(), connecting->receive()}) {
      EXPECT_TRUE(terms.exists);
      EXPECT_EQ(terms.asked, c.asked);
      EXPECT_EQ(terms.chosen, c.chosen);
      EXPECT_EQ(terms.min_capacity_bytes, least);
      EXPECT_EQ(terms.floor_capacity_bytes, c.floor_capacity);
      EXPECT_EQ(terms.floor_message_bytes, c.floor_message);
      EXPECT_EQ(terms.ceiling_message_bytes, c.ceiling);
    }
    EXPECT_EQ(accepting->receive().asked, DirectionSpec());
  }
  // Never beyond the limits, also where nobody asks.
  AcceptOptions tight;
  tight.limits.max_capacity_bytes = least;
  tight.limits.max_message_bytes = 100;
  const auto checked = CheckedAcceptOptions::Make(tight);
  ASSERT_TRUE(checked.ok());
  EXPECT_EQ(checked->send().chosen, (DirectionSpec{least, 100, {}}));
  EXPECT_EQ(checked->send().ceiling_message_bytes, 100u);
}

// Where a page is larger, what is asked for and its own limit become a page (./dev pages).
TEST(CheckedOptionsTest, TheSmallestRingIsWithinItsOwnLimitWhateverThePagesAre) {
  const uint64_t least = std::max<uint64_t>(kMinCapacityBytes, PageBytes());
  AcceptOptions accept;
  accept.send = accept.receive = {kMinCapacityBytes, 100};
  accept.limits.max_capacity_bytes = kMinCapacityBytes;
  ConnectOptions connect;
  connect.send = connect.receive = accept.send;
  connect.limits = accept.limits;
  const auto accepting = CheckedAcceptOptions::Make(accept);
  const auto connecting = CheckedConnectOptions::Make(connect);
  ASSERT_TRUE(accepting.ok()) << accepting.status();
  ASSERT_TRUE(connecting.ok()) << connecting.status();
  EXPECT_EQ(accepting->send().chosen, (DirectionSpec{least, 100, {}}));
  EXPECT_EQ(connecting->receive().chosen, (DirectionSpec{least, 100, {}}));
  EXPECT_EQ(accepting->get().limits.max_capacity_bytes, least);
  EXPECT_EQ(connecting->get().limits.max_capacity_bytes, least);
}

TEST(CheckedOptionsTest, ADirectionThatIsNotThereHasNoTerms) {
  FileRegistry registry;
  for (const Direction direction :
       {Direction::kBoth, Direction::kSendOnly, Direction::kReceiveOnly, Direction::kNone}) {
    const bool sends = direction == Direction::kBoth || direction == Direction::kSendOnly;
    const bool receives = direction == Direction::kBoth || direction == Direction::kReceiveOnly;
    AcceptOptions accept;
    accept.direction = direction;
    BroadcastOptions of_broadcast;
    of_broadcast.registry = &registry;
    accept.broadcast = *Broadcast::Create({{3, 1, 1}}, of_broadcast);
    ConnectOptions connect;
    connect.direction = direction;
    connect.broadcast_kinds = {3};
    const auto accepting = CheckedAcceptOptions::Make(accept);
    const auto connecting = CheckedConnectOptions::Make(connect);
    ASSERT_TRUE(accepting.ok() && connecting.ok());
    EXPECT_EQ(MakeHello(*connecting).roles,
              (sends ? kRoleSends : 0U) | (receives ? kRoleReceives : 0U));
    for (const auto& [terms, exists] :
         {std::pair(accepting->send(), sends), std::pair(accepting->receive(), receives),
          std::pair(connecting->send(), sends), std::pair(connecting->receive(), receives)}) {
      EXPECT_EQ(terms.exists, exists);
      if (exists) continue;
      EXPECT_EQ(terms.asked, DirectionSpec());
      EXPECT_EQ(terms.chosen, DirectionSpec());
      EXPECT_EQ(terms.min_capacity_bytes, 0u);
      EXPECT_EQ(terms.floor_capacity_bytes, 0u);
      EXPECT_EQ(terms.floor_message_bytes, 0u);
      EXPECT_EQ(terms.ceiling_message_bytes, 0u);
    }
    // Each other's opposite agrees, and nobody else does.
    for (uint32_t roles = 0; roles < 4; ++roles) {
      Hello hello = PlainHello(roles);
      hello.broadcast_kinds = {3};
      const auto answer = Negotiate(*accepting, hello);
      const bool fits = roles == ((receives ? kRoleSends : 0U) | (sends ? kRoleReceives : 0U));
      ASSERT_EQ(std::holds_alternative<Agreement>(answer), fits) << roles;
      if (fits) {
        EXPECT_EQ(std::get<Agreement>(answer).roles, roles);
      } else {
        EXPECT_EQ(std::get<Refusal>(answer).reason, RefusalReason::kRoles);
      }
    }
  }
  // Without a broadcast there has to be a direction, and only then.
  AcceptOptions nothing;
  nothing.direction = Direction::kSendOnly;
  EXPECT_TRUE(CheckedAcceptOptions::Make(nothing).ok());
  ConnectOptions reader;
  reader.broadcast_kinds = {1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_TRUE(CheckedConnectOptions::Make(reader).ok());
  reader.direction = Direction::kNone;
  EXPECT_TRUE(CheckedConnectOptions::Make(reader).ok());
  reader.broadcast_kinds = {1};
  EXPECT_TRUE(CheckedConnectOptions::Make(reader).ok());
}

PeerTrust Trust(bool trusts) { return trusts ? PeerTrust::Because("a test") : PeerTrust(); }

constexpr DoorbellKind kDoorbellKinds[] = {DoorbellKind::kAutomatic, DoorbellKind::kSocket,
                                           DoorbellKind::kEventfd, DoorbellKind::kFutex};

TEST(NegotiateTest, ADoorbellIsOneThatIsOfferedAndThatWeWouldUse) {
  for (const DoorbellKind kind : kDoorbellKinds) {
    for (const bool trusts : {false, true}) {
      SCOPED_TRACE(::testing::Message() << static_cast<int>(kind) << " " << trusts);
      AcceptOptions accept;
      accept.doorbell = kind;
      accept.trust = Trust(trusts);
      ConnectOptions connect;
      connect.doorbell = kind;
      connect.trust = Trust(trusts);
      const auto accepting = CheckedAcceptOptions::Make(accept);
      const auto connecting = CheckedConnectOptions::Make(connect);
      if (kind == DoorbellKind::kEventfd && !trusts) {
        EXPECT_TRUE(Says(accepting.status(), "doorbell is kEventfd")) << accepting.status();
        EXPECT_TRUE(Says(connecting.status(), "doorbell is kEventfd")) << connecting.status();
        continue;
      }
      ASSERT_TRUE(accepting.ok() && connecting.ok());
      const bool may =
          trusts && (kind == DoorbellKind::kAutomatic || kind == DoorbellKind::kEventfd);
      EXPECT_EQ(accepting->may_use_eventfds(), may);
      EXPECT_EQ(connecting->may_use_eventfds(), may);
      const uint32_t usable = kind == DoorbellKind::kFutex     ? kDoorbellFutex
                              : kind == DoorbellKind::kEventfd ? kDoorbellEventfd
                              : may                            ? kDoorbellEventfd | kDoorbellSocket
                                                               : kDoorbellSocket;
      EXPECT_EQ(MakeHello(*connecting).doorbells, usable);
      for (uint32_t offered = 0; offered < 16; ++offered) {
        Hello hello = PlainHello();
        hello.doorbells = offered;
        const auto answer = Negotiate(*accepting, hello);
        const uint32_t both = offered & usable;
        if (both == 0) {
          EXPECT_EQ(std::get<Refusal>(answer).reason, RefusalReason::kDoorbell) << offered;
        } else {
          // The cheaper one of two.
          EXPECT_EQ(std::get<Agreement>(answer).doorbell, both & (~both + 1)) << offered;
        }
      }
    }
  }
  // A kind that nobody knows is no kind.
  AcceptOptions none;
  none.doorbell = static_cast<DoorbellKind>(99);
  const auto checked = CheckedAcceptOptions::Make(none);
  ASSERT_TRUE(checked.ok());
  Hello hello = PlainHello();
  hello.doorbells = 15;
  EXPECT_EQ(std::get<Refusal>(Negotiate(*checked, hello)).reason, RefusalReason::kDoorbell);
}

TEST(NegotiateTest, AnAnswerThatCannotBeHadIsAnErrorOfTheOptions) {
  const int wrong = [] {
    const pid_t child = ::fork();
    if (child == 0) {
      rlimit none = {0, 0};
      if (::setrlimit(RLIMIT_NOFILE, &none) != 0) ::_exit(100);
      AcceptOptions accept;
      accept.trust = PeerTrust::Because("a test");
      ConnectOptions connect;
      connect.trust = PeerTrust::Because("a test");
      const auto accepting = CheckedAcceptOptions::Make(accept);
      if (!absl::IsResourceExhausted(accepting.status())) ::_exit(1);
      const auto connecting = CheckedConnectOptions::Make(connect);
      if (!absl::IsResourceExhausted(connecting.status())) ::_exit(2);
      ::_exit(0);
    }
    int status = 0;
    if (::waitpid(child, &status, 0) != child || !WIFEXITED(status)) return 100;
    return WEXITSTATUS(status);
  }();
  EXPECT_EQ(wrong, 0);
}

TEST(NegotiateTest, EachSideSkipsAndMakesBarriersWhereItSaysSo) {
  using enum FenceMode;
  const bool barrier_works = SystemWideBarrierWorks();
  const bool registered = RegisterForBarriers();
  for (const FenceMode fences : {kAutomatic, kFull, kAsymmetric}) {
    for (const bool trusts : {false, true}) {
      SCOPED_TRACE(::testing::Message() << static_cast<int>(fences) << " " << trusts);
      AcceptOptions accept;
      accept.fences = fences;
      accept.trust = Trust(trusts);
      ConnectOptions connect;
      connect.fences = fences;
      connect.trust = Trust(trusts);
      const auto accepting = CheckedAcceptOptions::Make(accept);
      const auto connecting = CheckedConnectOptions::Make(connect);
      ASSERT_TRUE(accepting.ok() && connecting.ok());
      const bool asked = fences == kAsymmetric;
      const bool trusted = fences == kAutomatic && trusts;
      EXPECT_EQ(accepting->may_make_barrier(), (asked || trusted) && barrier_works);
      EXPECT_EQ(accepting->may_skip_fences(), asked && registered);
      EXPECT_EQ(connecting->may_make_barrier(), asked && barrier_works);
      EXPECT_EQ(connecting->may_skip_fences(), (asked || trusted) && registered);
      const Hello offer = MakeHello(*connecting);
      EXPECT_EQ(offer.features,
                (connecting->may_skip_fences() ? kFeatureSkipsFences : 0U) |
                    (connecting->may_make_barrier() ? kFeatureBarrierBeforeSleep : 0U));
      for (uint32_t offered = 0; offered < 8; ++offered) {
        Hello hello = PlainHello();
        hello.features = offered;
        const auto answer = Negotiate(*accepting, hello);
        if (offered >= 4) {
          EXPECT_EQ(std::get<Refusal>(answer).reason, RefusalReason::kFeatures);
          continue;
        }
        const bool makes = accepting->may_make_barrier() && (offered & kFeatureSkipsFences) != 0;
        const bool skips =
            accepting->may_skip_fences() && (offered & kFeatureBarrierBeforeSleep) != 0;
        EXPECT_EQ(std::get<Agreement>(answer).features,
                  (makes ? kFeatureBarrierBeforeSleep : 0U) | (skips ? kFeatureSkipsFences : 0U))
            << offered;
        // What the connecting side takes for an answer to that offer.
        Agreement agreement = std::get<Agreement>(answer);
        for (uint32_t accepted = 0; accepted < 4; ++accepted) {
          agreement.features = accepted;
          const bool offered_both = ((accepted & kFeatureBarrierBeforeSleep) == 0 ||
                                     (offered & kFeatureSkipsFences) != 0) &&
                                    ((accepted & kFeatureSkipsFences) == 0 ||
                                     (offered & kFeatureBarrierBeforeSleep) != 0);
          EXPECT_EQ(CheckAgreement(*connecting, hello, agreement).ok(), offered_both)
              << offered << " " << accepted;
        }
      }
    }
  }
}

TEST(NegotiateTest, AVersionInCommonIsNeeded) {
  const auto checked = CheckedAcceptOptions::Make({});
  const auto connecting = CheckedConnectOptions::Make({});
  ASSERT_TRUE(checked.ok() && connecting.ok());
  Agreement agreement = std::get<Agreement>(Negotiate(*checked, PlainHello()));
  for (uint16_t min = 0; min <= 3; ++min) {
    for (uint16_t max = 0; max <= 3; ++max) {
      Hello hello = PlainHello();
      hello.version_min = min;
      hello.version_max = max;
      const auto answer = Negotiate(*checked, hello);
      EXPECT_EQ(std::holds_alternative<Agreement>(answer), min <= 1 && max >= 1);
      if (const auto* refusal = std::get_if<Refusal>(&answer)) {
        EXPECT_EQ(refusal->reason, RefusalReason::kVersion);
      }
      for (uint16_t version = 0; version <= 3; ++version) {
        agreement.version = version;
        EXPECT_EQ(CheckAgreement(*connecting, hello, agreement).ok(),
                  min <= version && version <= max)
            << min << " " << max << " " << version;
      }
    }
  }
}

// Each number that a Hello may ask for at the limit of what we allow, and one step beyond it.
TEST(NegotiateTest, EachNumberIsAllowedUpToItsLimit) {
  const uint64_t least = std::max<uint64_t>(kMinCapacityBytes, PageBytes());
  const uint64_t ring = 4 * least;
  AcceptOptions given;
  given.limits.max_capacity_bytes = 8 * least;
  given.limits.max_message_bytes = 3000;
  AcceptOptions relied_on = given;
  relied_on.send = {ring, 2000, {8192, 128}};
  relied_on.receive = {ring, 1000};
  const auto open = CheckedAcceptOptions::Make(given);
  const auto fixed = CheckedAcceptOptions::Make(relied_on);
  ASSERT_TRUE(open.ok() && fixed.ok());
  struct Case {
    const CheckedAcceptOptions* options;
    bool we_send;
    DirectionSpec request;
    std::string sentence;  // empty: it is agreed on
    uint64_t asked = 0;
    uint64_t allowed = 0;
    ArenaGeometry arena = {};
  };
  const Case cases[] = {
      {&*open, false, {least, 64}, ""},
      {&*open, true, {least, 64}, ""},
      {&*open, false, {least / 2, 64}, "smaller than a page", least / 2, least},
      {&*open, true, {least / 2, 64}, "smaller than a page", least / 2, least},
      {&*open, false, {8 * least, 64}, ""},
      {&*open, false, {16 * least, 64}, "a larger ring than our limits", 16 * least, 8 * least},
      {&*open, true, {16 * least, 64}, "a larger ring than our limits", 16 * least, 8 * least},
      {&*open, false, {least, 3000}, ""},
      {&*open, false, {least, 3001}, "longer messages than our limits", 3001, 3000},
      {&*open, true, {least, 3001}, "longer messages than our limits", 3001, 3000},
      {&*open, false, {least, 64, {0, 256}}, ""},
      {&*open, true, {least, 64, {4096, 64}}, "another arena", 4096, 0},
      {&*fixed, false, {least, 1000}, ""},
      {&*fixed, false, {least, 1001}, "longer messages than we receive", 1001, 1000},
      {&*fixed, true, {ring, 2000}, "", 0, 0, {8192, 128}},
      {&*fixed, true, {ring, 3000}, "", 0, 0, {8192, 128}},
      {&*fixed, true, {ring / 2, 2000}, "a smaller ring than we send on", ring / 2, ring},
      {&*fixed, true, {ring, 1999}, "shorter messages than we send", 1999, 2000},
      {&*fixed, true, {ring, 2000, {8192, 64}}, "", 0, 0, {8192, 128}},
      {&*fixed, true, {ring, 2000, {8192, 256}}, "", 0, 0, {8192, 256}},
      {&*fixed, true, {ring, 2000, {0, 256}}, "", 0, 0, {8192, 256}},
      {&*fixed, true, {ring, 2000, {4096, 64}}, "another arena", 4096, 8192},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(&c - cases);
    Hello hello = PlainHello();
    // The connecting side's "send" is our "receive".
    (c.we_send ? hello.receive : hello.send) = c.request;
    const auto answer = Negotiate(*c.options, hello);
    if (const auto* refusal = std::get_if<Refusal>(&answer)) {
      EXPECT_FALSE(c.sentence.empty()) << refusal->sentence;
      EXPECT_EQ(refusal->reason, RefusalReason::kSize);
      EXPECT_NE(std::string(refusal->sentence).find(c.sentence), std::string::npos)
          << refusal->sentence;
      EXPECT_EQ(refusal->asked, c.asked);
      EXPECT_EQ(refusal->allowed, c.allowed);
      continue;
    }
    EXPECT_TRUE(c.sentence.empty());
    const Agreement& agreed = std::get<Agreement>(answer);
    EXPECT_EQ(c.we_send ? agreed.receive : agreed.send,
              (DirectionSpec{c.request.capacity_bytes, c.request.max_message_bytes, c.arena}));
    EXPECT_EQ(c.we_send ? agreed.send : agreed.receive,
              c.we_send ? c.options->receive().chosen : c.options->send().chosen);
  }
}

TEST(NegotiateTest, ARefusalIsItsSentenceAndItsTwoNumbersIfItHasAny) {
  using enum absl::StatusCode;
  const Refusal plain = {RefusalReason::kVersion, "no version"};
  EXPECT_EQ(plain.ToStatus(), absl::FailedPreconditionError("no version"));
  const struct {
    Refusal refusal;
    absl::StatusCode code;
    const char* text;
  } kCases[] = {
      {{RefusalReason::kSize, "too much", 5, 0},
       kResourceExhausted,
       "too much: 5, and here it is 0"},
      {{RefusalReason::kSize, "too much", 0, 7},
       kResourceExhausted,
       "too much: 0, and here it is 7"},
      {{RefusalReason::kSize, "too much", 5, 7},
       kResourceExhausted,
       "too much: 5, and here it is 7"},
      {{RefusalReason::kIdentity, "not you"}, kPermissionDenied, "not you"},
      {{RefusalReason::kRoles, "not so"}, kFailedPrecondition, "not so"},
  };
  for (const auto& c : kCases) {
    EXPECT_EQ(c.refusal.ToStatus().code(), c.code);
    EXPECT_EQ(c.refusal.ToStatus().message(), c.text);
  }
}

TEST(NegotiateTest, AHelloSaysWhatTheOptionsSay) {
  const uint64_t ring = 2 * std::max<uint64_t>(kMinCapacityBytes, PageBytes());
  ConnectOptions options;
  options.send = {ring, 1000, {8192, 0}};
  options.receive = {2 * ring, 2000, {0, 256}};
  options.broadcast_kinds = {9, 3};
  options.format = "raw";
  const auto checked = CheckedConnectOptions::Make(options);
  ASSERT_TRUE(checked.ok());
  const Hello hello = MakeHello(*checked);
  EXPECT_EQ(hello.version_min, kWireVersion);
  EXPECT_EQ(hello.version_max, kWireVersion);
  EXPECT_EQ(hello.roles, kRoleSends | kRoleReceives);
  EXPECT_EQ(hello.send, (DirectionSpec{ring, 1000, {8192, 0}}));
  EXPECT_EQ(hello.receive, (DirectionSpec{2 * ring, 2000, {0, 256}}));
  EXPECT_EQ(hello.broadcast_kinds, (std::vector<uint16_t>{3, 9}));
  EXPECT_EQ(hello.format, "raw");
}

// What the accepting side may answer, seen from the connecting side: each number at its limit and
// one step beyond, in either direction.
TEST(NegotiateTest, AnAnswerIsTakenUpToItsLimits) {
  using enum absl::StatusCode;
  const uint64_t least = std::max<uint64_t>(kMinCapacityBytes, PageBytes());
  ConnectOptions given;
  given.limits.max_capacity_bytes = 8 * least;
  given.limits.max_message_bytes = 3000;
  given.limits.max_arena_bytes = 65536;
  ConnectOptions asked = given;
  asked.send = asked.receive = {2 * least, 1000, {8192, 128}};
  ConnectOptions sends = given;
  sends.direction = Direction::kSendOnly;
  ConnectOptions receives = given;
  receives.direction = Direction::kReceiveOnly;
  const DirectionSpec good = {2 * least, 1000, {8192, 128}};
  struct Case {
    const ConnectOptions* options;
    DirectionSpec answer;
    absl::StatusCode code;
    const char* sentence = "";
  };
  const Case cases[] = {
      {&given, {least, 64}, kOk},
      {&given, {least / 2, 64}, kInvalidArgument, "smaller than a page"},
      {&given, {8 * least, 64}, kOk},
      {&given, {16 * least, 64}, kResourceExhausted, "ring is beyond our limits"},
      {&given, {least, 3000}, kOk},
      {&given, {least, 3001}, kResourceExhausted, "ring is beyond our limits"},
      {&given, {least, 64, {65536, 64}}, kOk},
      {&given, {least, 64, {65536 + 4096, 64}}, kResourceExhausted, "arena is beyond our limits"},
      {&given, {}, kInvalidArgument, "directions that were not offered"},
      {&asked, good, kOk},
      {&asked, {4 * least, 1000, {8192, 128}}, kInvalidArgument, "another ring"},
      {&asked, {2 * least, 999, {8192, 128}}, kInvalidArgument, "another ring"},
      {&asked, {2 * least, 1001, {8192, 128}}, kInvalidArgument, "another ring"},
      {&asked, {2 * least, 1000, {12288, 128}}, kInvalidArgument, "another arena"},
      {&asked, {2 * least, 1000, {8192, 64}}, kInvalidArgument, "aligns its frames to less"},
      {&asked, {2 * least, 1000, {8192, 256}}, kOk},
      {&asked, {2 * least, 1000, {}}, kInvalidArgument, "another arena"},
  };
  for (const Case& c : cases) {
    for (const bool sending : {false, true}) {
      SCOPED_TRACE(::testing::Message() << &c - cases << " " << sending);
      const auto checked = CheckedConnectOptions::Make(*c.options);
      ASSERT_TRUE(checked.ok());
      const Hello hello = MakeHello(*checked);
      Agreement agreement;
      agreement.roles = hello.roles;
      agreement.doorbell = kDoorbellSocket;
      const DirectionSpec usual = c.options == &asked ? good : DirectionSpec{least, 64, {}};
      agreement.send = sending ? c.answer : usual;
      agreement.receive = sending ? usual : c.answer;
      const absl::Status status = CheckAgreement(*checked, hello, agreement);
      EXPECT_EQ(status.code(), c.code) << status;
      EXPECT_TRUE(Says(status, c.sentence)) << status;
    }
  }
  // A direction that was not offered, and nothing for one that was.
  for (const ConnectOptions* options : {&sends, &receives}) {
    const auto checked = CheckedConnectOptions::Make(*options);
    ASSERT_TRUE(checked.ok());
    const Hello hello = MakeHello(*checked);
    Agreement agreement;
    agreement.roles = hello.roles;
    agreement.doorbell = kDoorbellSocket;
    (options == &sends ? agreement.send : agreement.receive) = {least, 64, {}};
    EXPECT_TRUE(CheckAgreement(*checked, hello, agreement).ok());
    std::swap(agreement.send, agreement.receive);
    EXPECT_TRUE(
        Says(CheckAgreement(*checked, hello, agreement), "directions that were not offered"));
    agreement.send = agreement.receive = {least, 64, {}};
    EXPECT_TRUE(
        Says(CheckAgreement(*checked, hello, agreement), "directions that were not offered"));
    agreement.roles ^= kRoleSends | kRoleReceives;
    EXPECT_TRUE(Says(CheckAgreement(*checked, hello, agreement), "chose what was not offered"));
  }
}

}  // namespace
}  // namespace parley
