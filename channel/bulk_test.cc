// SPDX-License-Identifier: Apache-2.0
#include "parley/channel/bulk.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/violation.h"
#include "parley/boundary/wire_copy.h"
#include "parley/channel/bulk_assembly.h"
#include "parley/channel/bulk_wire.h"
#include "parley/os/deadline.h"
#include "parley/ring/consumer.h"
#include "parley/ring/layout.h"
#include "parley/ring/ring_types.h"
#include "parley/testing/channel_pair.h"
#include "parley/wait/wait_options.h"

namespace parley {
namespace {

using testing::ChannelPair;
using testing::ChannelPairOptions;

constexpr std::byte kUntouched{0xEE};

Deadline In(int milliseconds) { return Deadline::After(absl::Milliseconds(milliseconds)); }
// Long enough for any machine; a test that gets there has failed.
Deadline Generous() { return In(30'000); }
Deadline Expired() { return Deadline::AtMonotonicNs(0); }

// Each position's byte differs from that of its neighbours, lines, pages and chunks.
std::vector<std::byte> Pattern(std::size_t size, uint32_t seed) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::byte>((i * 31 + i / 251 + seed) % 239);
  }
  return bytes;
}

std::unique_ptr<ChannelPair> MakePair(const ChannelPairOptions& options) {
  auto pair = ChannelPair::Create(options);
  EXPECT_TRUE(pair.ok()) << pair.status();
  return *std::move(pair);
}
std::unique_ptr<ChannelPair> MakePair(uint64_t capacity_bytes, uint32_t max_message_bytes) {
  ChannelPairOptions options;
  options.ring = {capacity_bytes, max_message_bytes};
  return MakePair(options);
}

std::vector<std::byte> Header(uint64_t total_bytes, uint64_t reserved = 0) {
  const auto bytes = WireBytes(BulkHeaderWire{total_bytes, reserved});
  return {bytes.begin(), bytes.end()};
}
// The payload of a message's first record.
std::vector<std::byte> First(uint64_t total_bytes, std::size_t chunk_bytes) {
  std::vector<std::byte> payload = Header(total_bytes);
  payload.resize(payload.size() + chunk_bytes, std::byte{0x55});
  return payload;
}

// --- what is sent is what arrives --------------------------------------------------------------

struct Shape {
  const char* name;
  uint64_t capacity_bytes;
  uint32_t max_message_bytes;
  std::size_t chunk_bytes;     // wanted
  std::size_t expected_bytes;  // what comes of it
};

class BulkShapes : public ::testing::TestWithParam<Shape> {};

INSTANTIATE_TEST_SUITE_P(
    Shapes, BulkShapes,
    ::testing::Values(Shape{"AsWanted", 1 << 20, 1 << 19, 65536, 65536},
                      // A quarter of the ring less both headers, at whole cache lines.
                      Shape{"CutByTheRing", 1 << 16, 1 << 15, 65536, 16320},
                      Shape{"CutByTheLongestMessage", 1 << 16, 1000, 65536, 960},
                      Shape{"ShortestMessage", 4096, 64, 65536, 48},
                      Shape{"OddChunk", 8192, 2000, 333, 333}),
    [](const auto& shape) { return shape.param.name; });

TEST_P(BulkShapes, EveryLengthArrivesAsItWasSent) {
  const Shape& shape = GetParam();
  auto pair = MakePair(shape.capacity_bytes, shape.max_message_bytes);
  BulkSender sender(&pair->accepting().sender, {.chunk_bytes = shape.chunk_bytes});
  const std::size_t chunk = sender.chunk_bytes();
  EXPECT_EQ(chunk, shape.expected_bytes);
  EXPECT_EQ(sender.max_record_bytes(), chunk + sizeof(BulkHeaderWire));
  std::vector<std::size_t> sizes = {0, 1, 15, 16, 17, 31, 32, 33, 4095};
  for (const std::size_t around : {chunk, 2 * chunk, 3 * chunk, chunk + 16}) {
    for (std::size_t size = around - 1; size <= around + 1; ++size) sizes.push_back(size);
  }
  const std::size_t three_rings = 3 * shape.capacity_bytes;
  sizes.push_back(three_rings);
  if (chunk > 300) {
    sizes.push_back(std::size_t{1} << 20);
    sizes.push_back(std::size_t{4} << 20);
  }
  const std::size_t longest = *std::max_element(sizes.begin(), sizes.end());

  std::thread peer([&] {
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      const auto bytes = Pattern(sizes[i], static_cast<uint32_t>(i));
      const absl::Status sent = sender.Send(static_cast<uint32_t>(i), bytes, Generous());
      ASSERT_TRUE(sent.ok()) << sizes[i] << ": " << sent;
      ASSERT_FALSE(sender.unfinished());
    }
    pair->accepting().sender.Close();
  });
  BulkReceiver receiver(&pair->connecting().receiver, longest);
  std::vector<std::byte> into(longest + 8, kUntouched);
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    std::fill(into.begin(), into.end(), kUntouched);
    const auto message = receiver.Receive(absl::MakeSpan(into), Generous());
    ASSERT_TRUE(message.ok()) << sizes[i] << ": " << message.status();
    ASSERT_FALSE(receiver.unfinished());
    EXPECT_EQ(message->tag, i);
    ASSERT_EQ(message->size_bytes, sizes[i]);
    const auto bytes = Pattern(sizes[i], static_cast<uint32_t>(i));
    ASSERT_TRUE(std::equal(bytes.begin(), bytes.end(), into.begin())) << sizes[i];
    EXPECT_EQ(into[sizes[i]], kUntouched) << "written beyond the message of " << sizes[i];
  }
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(receiver.Receive(absl::MakeSpan(into), Generous()).status().code(),
              absl::StatusCode::kOutOfRange);
  }
  peer.join();
}

// As many records as the chunk's size says, each visible before the next one is made.
TEST(BulkTest, EachChunkIsPublishedAtOnce) {
  auto pair = MakePair(8192, 2000);
  BulkSender sender(&pair->accepting().sender, {.chunk_bytes = 100});
  const auto bytes = Pattern(250, 1);
  Receiver& receiver = pair->connecting().receiver;
  std::vector<std::byte> into(2000);
  Record record;
  for (const std::size_t expected : {std::size_t{116}, std::size_t{100}, std::size_t{50}}) {
    EXPECT_EQ(receiver.TryReceive(absl::MakeSpan(into), &record), Outcome::kWouldBlock);
    EXPECT_EQ(sender.Send(9, bytes, Expired()).ok(), expected == 50);
    EXPECT_EQ(receiver.TryReceive(absl::MakeSpan(into), &record), Outcome::kOk);
    EXPECT_EQ(record.size_bytes, expected);
    EXPECT_EQ(record.tag, 9u);
  }
}

TEST(BulkTest, ARecordOfTheHeaderAloneIsAllowed) {
  auto pair = MakePair(4096, 1024);
  Sender& sender = pair->accepting().sender;
  ASSERT_EQ(sender.TrySend(5, First(3, 0)), Outcome::kOk);
  ASSERT_EQ(sender.TrySend(5, Pattern(3, 1)), Outcome::kOk);
  BulkReceiver receiver(&pair->connecting().receiver, 3);
  std::vector<std::byte> into(3);
  const auto message = receiver.Receive(absl::MakeSpan(into), Generous());
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(message->tag, 5u);
  EXPECT_EQ(message->size_bytes, 3u);
  EXPECT_EQ(into, Pattern(3, 1));
}

TEST(BulkTest, MessagesOfNothingButTheirTag) {
  auto pair = MakePair(4096, 1024);
  BulkSender sender(&pair->accepting().sender);
  ASSERT_TRUE(sender.Send(kMaxTag, {}, Generous()).ok());
  BulkReceiver receiver(&pair->connecting().receiver, 0);
  const auto message = receiver.Receive({}, Generous());
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(message->tag, kMaxTag);
  EXPECT_EQ(message->size_bytes, 0u);
}

enum class Bell { kSocket, kEventfd, kFutex };

class BulkDoorbells : public ::testing::TestWithParam<Bell> {};

INSTANTIATE_TEST_SUITE_P(Doorbells, BulkDoorbells,
                         ::testing::Values(Bell::kSocket, Bell::kEventfd, Bell::kFutex),
                         [](const auto& kind) {
                           return kind.param == Bell::kFutex     ? "Futex"
                                  : kind.param == Bell::kEventfd ? "Eventfd"
                                                                 : "Socket";
                         });

// Four threads, no spin: a lost wake-up would cost the whole deadline.
TEST_P(BulkDoorbells, BothDirectionsAtOnce) {
  ChannelPairOptions options;
  options.ring = {1 << 16, 1 << 14};
  options.eventfd = GetParam() == Bell::kEventfd;
  options.futex = GetParam() == Bell::kFutex;
  options.wait = WaitOptions::LowestPower();
  auto pair = MakePair(options);
  constexpr std::size_t kBytes = 1 << 20;
  constexpr uint32_t kMessages = 8;
  const auto send = [&](Sender& end, uint32_t seed) {
    BulkSender sender(&end);
    for (uint32_t i = 0; i < kMessages; ++i) {
      const absl::Status sent = sender.Send(i, Pattern(kBytes - i, seed + i), Generous());
      ASSERT_TRUE(sent.ok()) << sent;
    }
  };
  const auto receive = [&](Receiver& end, uint32_t seed) {
    BulkReceiver receiver(&end, kBytes);
    std::vector<std::byte> into(kBytes);
    for (uint32_t i = 0; i < kMessages; ++i) {
      const auto message = receiver.Receive(absl::MakeSpan(into), Generous());
      ASSERT_TRUE(message.ok()) << message.status();
      ASSERT_EQ(message->tag, i);
      const auto bytes = Pattern(kBytes - i, seed + i);
      ASSERT_EQ(message->size_bytes, bytes.size());
      ASSERT_TRUE(std::equal(bytes.begin(), bytes.end(), into.begin()));
    }
  };
  std::thread threads[] = {std::thread([&] { send(pair->accepting().sender, 100); }),
                           std::thread([&] { receive(pair->accepting().receiver, 200); }),
                           std::thread([&] { send(pair->connecting().sender, 200); }),
                           std::thread([&] { receive(pair->connecting().receiver, 100); })};
  for (std::thread& t : threads) t.join();
}

// --- a deadline in the middle --------------------------------------------------------------------

// Two threads, one at each end, that send and receive by turns, a little at a time: messages of
// three rings each way cross without either side having a thread that only receives.
TEST_P(BulkDoorbells, TwoThreadsGoOnWhereADeadlineStoppedThem) {
  ChannelPairOptions options;
  options.ring = {4096, 1024};
  options.eventfd = GetParam() == Bell::kEventfd;
  options.futex = GetParam() == Bell::kFutex;
  auto pair = MakePair(options);
  constexpr std::size_t kBytes = 3 * 4096 + 5;
  constexpr int kRounds = 20;
  const auto exchange = [&](Channel& end, uint32_t out_seed, uint32_t in_seed) {
    BulkSender sender(&end.sender);
    BulkReceiver receiver(&end.receiver, kBytes);
    std::vector<std::byte> into(kBytes);
    const Deadline whole = Generous();
    for (int i = 0; i < kRounds; ++i) {
      const auto out = Pattern(kBytes, out_seed);
      bool sent = false;
      bool received = false;
      while (!sent || !received) {
        ASSERT_FALSE(whole.Expired());
        if (!sent) {
          const absl::Status status = sender.Send(1, out, Expired());
          sent = status.ok();
          ASSERT_TRUE(sent || absl::IsDeadlineExceeded(status)) << status;
        }
        if (!received) {
          const auto message = receiver.Receive(absl::MakeSpan(into), sent ? In(2) : Expired());
          received = message.ok();
          ASSERT_TRUE(received || absl::IsDeadlineExceeded(message.status())) << message.status();
        }
      }
      ASSERT_EQ(into, Pattern(kBytes, in_seed));
    }
  };
  std::thread peer([&] { exchange(pair->connecting(), 1, 2); });
  exchange(pair->accepting(), 2, 1);
  peer.join();
}

TEST(BulkTest, PromiseP2TimeADeadlineInTheMiddleKeepsTheProgress) {
  auto pair = MakePair(4096, 1024);
  BulkSender sender(&pair->accepting().sender);
  constexpr size_t kBytes = 200'000;  // more than a ring, of pages of 64 KiB too
  BulkReceiver receiver(&pair->connecting().receiver, kBytes);
  std::vector<std::byte> into(kBytes, kUntouched);
  const auto bytes = Pattern(kBytes, 1);

  int64_t start_ns = MonotonicNowNs();
  EXPECT_EQ(receiver.Receive(absl::MakeSpan(into), In(20)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_GE(MonotonicNowNs() - start_ns, 20'000'000);
  EXPECT_FALSE(receiver.unfinished());
  // The ring is full in the middle of the message.
  start_ns = MonotonicNowNs();
  EXPECT_EQ(sender.Send(1, bytes, In(20)).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_GE(MonotonicNowNs() - start_ns, 20'000'000);
  EXPECT_TRUE(sender.unfinished());
  // And empty in the middle of it.
  start_ns = MonotonicNowNs();
  EXPECT_EQ(receiver.Receive(absl::MakeSpan(into), In(20)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_GE(MonotonicNowNs() - start_ns, 20'000'000);
  EXPECT_TRUE(receiver.unfinished());

  std::thread peer([&] { EXPECT_TRUE(sender.Send(1, bytes, Generous()).ok()); });
  const auto message = receiver.Receive(absl::MakeSpan(into), Generous());
  peer.join();
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(message->size_bytes, bytes.size());
  EXPECT_EQ(into, bytes);
  EXPECT_FALSE(sender.unfinished());
  EXPECT_FALSE(receiver.unfinished());
}

// Before its first record a message may be given up: nothing of it was sent.
TEST(BulkTest, ADeadlineBeforeTheFirstRecordLeavesNothingBehind) {
  auto pair = MakePair(4096, 1024);
  BulkSender sender(&pair->accepting().sender);
  const auto lost = Pattern(3000, 7);
  const std::vector<std::byte> filler(1000);
  while (pair->accepting().sender.TrySend(1, filler) == Outcome::kOk) {
  }
  EXPECT_EQ(sender.Send(2, lost, Expired()).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(sender.unfinished());
  std::vector<std::byte> into(1024);
  Record record;
  while (pair->connecting().receiver.TryReceive(absl::MakeSpan(into), &record) == Outcome::kOk) {
  }
  ASSERT_TRUE(sender.Send(3, Pattern(10, 3), Generous()).ok());
  BulkReceiver receiver(&pair->connecting().receiver, 1000);
  const auto message = receiver.Receive(absl::MakeSpan(into), Generous());
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(message->tag, 3u);
  EXPECT_EQ(message->size_bytes, 10u);
}

// A peer that always has one more byte ready: nothing is waited for, and the deadline holds yet.
TEST(BulkTest, PromiseP2TimeAPeerThatDribblesDoesNotStretchACall) {
  auto pair = MakePair(1 << 16, 1024);
  Sender& sender = pair->accepting().sender;
  ASSERT_EQ(sender.TrySend(1, First(100'000, 0)), Outcome::kOk);
  const std::array<std::byte, 1> one = {};
  while (sender.TrySend(1, one) == Outcome::kOk) {
  }
  std::vector<std::byte> into(100'000);
  BulkReceiver receiver(&pair->connecting().receiver, into.size());
  for (uint64_t calls = 1; calls <= 100; ++calls) {
    EXPECT_EQ(receiver.Receive(absl::MakeSpan(into), Expired()).status().code(),
              absl::StatusCode::kDeadlineExceeded);
    EXPECT_EQ(pair->connecting().receiver.stats().messages, calls);
  }
}

// --- the peer lies -------------------------------------------------------------------------------

struct Lie {
  std::string name;
  std::vector<std::pair<uint32_t, std::vector<std::byte>>> records;  // tag, payload
  Violation expected;
};

std::vector<Lie> Lies() {
  const auto bytes = [](std::size_t size) { return std::vector<std::byte>(size, std::byte{0x55}); };
  std::vector<Lie> lies = {
      {"total one more than we take", {{1, First(101, 50)}}, Violation::kMetadataInvalid},
      {"total 2^32", {{1, First(uint64_t{1} << 32, 50)}}, Violation::kMetadataInvalid},
      {"total 2^32 + 50", {{1, First((uint64_t{1} << 32) + 50, 50)}}, Violation::kMetadataInvalid},
      {"total 2^63", {{1, First(uint64_t{1} << 63, 50)}}, Violation::kMetadataInvalid},
      {"total all ones", {{1, First(~uint64_t{0}, 50)}}, Violation::kMetadataInvalid},
      {"total all ones, alone", {{1, First(~uint64_t{0}, 0)}}, Violation::kMetadataInvalid},
      {"reserved 1", {{1, Header(0, 1)}}, Violation::kMetadataInvalid},
      {"reserved top bit", {{1, Header(0, uint64_t{1} << 63)}}, Violation::kMetadataInvalid},
      {"no header at all", {{1, {}}}, Violation::kMetadataInvalid},
      {"one byte", {{1, bytes(1)}}, Violation::kMetadataInvalid},
      {"a byte after nothing", {{1, First(0, 1)}}, Violation::kMetadataInvalid},
      {"first chunk one too long", {{1, First(50, 51)}}, Violation::kMetadataInvalid},
      {"first chunk beyond all we take", {{1, First(50, 900)}}, Violation::kMetadataInvalid},
      {"empty chunk", {{1, First(100, 50)}, {1, {}}}, Violation::kMetadataInvalid},
      {"empty chunk after a header alone",
       {{1, First(100, 0)}, {1, {}}},
       Violation::kMetadataInvalid},
      {"chunk one too long", {{1, First(100, 50)}, {1, bytes(51)}}, Violation::kMetadataInvalid},
      {"chunk beyond all we take",
       {{1, First(100, 99)}, {1, bytes(999)}},
       Violation::kMetadataInvalid},
      {"third chunk one too long",
       {{1, First(100, 50)}, {1, bytes(49)}, {1, bytes(2)}},
       Violation::kMetadataInvalid},
      {"another tag", {{1, First(100, 50)}, {2, bytes(50)}}, Violation::kMetadataInvalid},
      {"another message in the middle",
       {{1, First(100, 50)}, {2, First(10, 10)}},
       Violation::kMetadataInvalid},
      {"a lie after an honest message",
       {{1, First(100, 50)}, {1, bytes(50)}, {1, bytes(15)}},
       Violation::kMetadataInvalid},
  };
  return lies;
}

TEST(BulkTest, PromiseP1MemoryEachLiePoisonsTheChannel) {
  for (const Lie& lie : Lies()) {
    SCOPED_TRACE(lie.name);
    auto pair = MakePair(8192, 1024);
    for (const auto& [tag, payload] : lie.records) {
      ASSERT_EQ(pair->accepting().sender.TrySend(tag, payload), Outcome::kOk);
    }
    Receiver& end = pair->connecting().receiver;
    BulkReceiver receiver(&end, 100);
    // Behind the buffer lies what a copy without a check would hit.
    std::vector<std::byte> into(2000, kUntouched);
    // Each call takes one record: nothing has to be waited for.
    absl::StatusOr<BulkMessage> message = absl::UnknownError("no records");
    for (std::size_t i = 0; i < lie.records.size(); ++i) {
      EXPECT_EQ(end.violation(), Violation::kNone);
      message = receiver.Receive(absl::MakeSpan(into), Expired());
    }
    EXPECT_EQ(message.status().code(), absl::StatusCode::kDataLoss) << message.status();
    EXPECT_EQ(end.violation(), lie.expected) << ToString(end.violation());
    EXPECT_EQ(message.status().message(),
              std::string("the peer broke the protocol: ") + ToString(lie.expected));
    EXPECT_TRUE(
        std::all_of(into.begin() + 100, into.end(), [](std::byte b) { return b == kUntouched; }));
    // For good, for both directions, and with any buffer.
    std::vector<std::byte> other(100);
    EXPECT_EQ(receiver.Receive(absl::MakeSpan(other), Generous()).status(), message.status());
    EXPECT_EQ(pair->connecting().sender.TrySend(1, other), Outcome::kPoisoned);
    BulkSender back(&pair->connecting().sender);
    EXPECT_EQ(back.Send(1, other, Generous()).code(), absl::StatusCode::kDataLoss);
    EXPECT_EQ(end.stats().violations, 1u);
  }
}

// What a sender publishes it can still rewrite: a payload of which each fetch gives other bytes,
// and that counts them.
class ChangingView {
 public:
  // The header says 80 at first, and as much as fits into it from then on.
  explicit ChangingView(std::size_t size_bytes) : fetched_(size_bytes) {}
  std::size_t size_bytes() const { return fetched_.size(); }
  void CopyTo(std::size_t offset_bytes, absl::Span<std::byte> into) const {
    ASSERT_LE(offset_bytes, size_bytes());
    ASSERT_LE(into.size(), size_bytes() - offset_bytes);
    const std::vector<std::byte> header = Header(80);
    for (std::size_t i = 0; i < into.size(); ++i) {
      const std::size_t at = offset_bytes + i;
      const bool first_time = ++fetched_[at] == 1;
      into[i] = !first_time ? std::byte{0xFF} : at < header.size() ? header[at] : std::byte{0x55};
    }
  }
  bool EachByteOnce() const {
    return std::all_of(fetched_.begin(), fetched_.end(), [](int n) { return n == 1; });
  }

 private:
  mutable std::vector<int> fetched_;
};

TEST(BulkTest, PromiseP4OneFetchEachByteIsFetchedOnce) {
  internal::BulkAssembly assembly(80);
  std::vector<std::byte> into(80);
  const ChangingView first(16 + 50);
  EXPECT_EQ(assembly.Take(1, first, absl::MakeSpan(into)), Violation::kNone);
  EXPECT_TRUE(first.EachByteOnce());
  EXPECT_TRUE(assembly.unfinished());
  EXPECT_EQ(assembly.total_bytes(), 80u);
  const ChangingView second(30);
  EXPECT_EQ(assembly.Take(1, second, absl::MakeSpan(into)), Violation::kNone);
  EXPECT_TRUE(second.EachByteOnce());
  EXPECT_FALSE(assembly.unfinished());
  EXPECT_EQ(assembly.total_bytes(), 80u);
}

// --- the peer ends -------------------------------------------------------------------------------

TEST(BulkTest, AnEndInTheMiddleIsToldFromAnOrderlyOne) {
  for (const bool orderly : {true, false}) {
    SCOPED_TRACE(orderly ? "closed" : "died");
    auto pair = MakePair(4096, 1024);
    ASSERT_EQ(pair->accepting().sender.TrySend(1, First(100, 50)), Outcome::kOk);
    if (orderly) pair->accepting().sender.Close();
    if (!orderly) pair->accepting() = Channel();
    BulkReceiver receiver(&pair->connecting().receiver, 100);
    std::vector<std::byte> into(100);
    std::vector<std::byte> other(100);
    for (std::vector<std::byte>* buffer : {&into, &other}) {
      EXPECT_EQ(receiver.Receive(absl::MakeSpan(*buffer), Generous()).status().code(),
                absl::StatusCode::kUnavailable);
    }
    EXPECT_TRUE(receiver.unfinished());
    EXPECT_EQ(pair->connecting().receiver.violation(), Violation::kNone);
  }
}

TEST(BulkTest, WhatWasSentBeforeTheDeathArrives) {
  auto pair = MakePair(4096, 1024);
  const auto bytes = Pattern(3000, 1);
  ASSERT_TRUE(BulkSender(&pair->accepting().sender).Send(1, bytes, Generous()).ok());
  pair->accepting() = Channel();
  BulkReceiver receiver(&pair->connecting().receiver, 3000);
  std::vector<std::byte> into(3000);
  const auto message = receiver.Receive(absl::MakeSpan(into), Generous());
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(into, bytes);
  EXPECT_EQ(receiver.Receive(absl::MakeSpan(into), Generous()).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST(BulkTest, ADeathInTheMiddleWakesBothKindsOfWaiter) {
  auto pair = MakePair(4096, 1024);
  // Each has begun a message that the peer will not let it finish.
  ASSERT_EQ(pair->accepting().sender.TrySend(1, First(100'000, 100)), Outcome::kOk);
  std::thread death([&] {
    absl::SleepFor(absl::Milliseconds(50));
    pair->accepting() = Channel();
  });
  std::thread receiving([&] {
    BulkReceiver receiver(&pair->connecting().receiver, 100'000);
    std::vector<std::byte> into(100'000);
    EXPECT_EQ(receiver.Receive(absl::MakeSpan(into), Generous()).status().code(),
              absl::StatusCode::kUnavailable);
    EXPECT_TRUE(receiver.unfinished());
  });
  BulkSender sender(&pair->connecting().sender);
  const auto bytes = Pattern(100'000, 1);
  EXPECT_EQ(sender.Send(1, bytes, Generous()).code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(sender.unfinished());
  // For good, whatever is asked.
  EXPECT_EQ(sender.Send(2, {}, Generous()).code(), absl::StatusCode::kUnavailable);
  receiving.join();
  death.join();
}

TEST(BulkTest, AReceiverThatClosesEndsTheSenderInTheMiddle) {
  auto pair = MakePair(4096, 1024);
  BulkSender sender(&pair->accepting().sender);
  const auto bytes = Pattern(100'000, 1);
  EXPECT_EQ(sender.Send(1, bytes, Expired()).code(), absl::StatusCode::kDeadlineExceeded);
  pair->connecting().receiver.Close();
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(sender.Send(1, bytes, Generous()).code(), absl::StatusCode::kOutOfRange);
  }
}

TEST(BulkDeathTest, OnlyTheCallersBugsAbort) {
  auto pair = MakePair(4096, 1024);
  std::vector<std::byte> into(100);
  std::vector<std::byte> other(100);
  BulkReceiver receiver(&pair->connecting().receiver, 100);
  EXPECT_DEATH(static_cast<void>(receiver.Receive(absl::MakeSpan(into).first(99), Expired())),
               "buffer shorter than max_bytes");
  ASSERT_EQ(pair->accepting().sender.TrySend(1, First(100, 50)), Outcome::kOk);
  ASSERT_FALSE(receiver.Receive(absl::MakeSpan(into), Expired()).ok());
  EXPECT_DEATH(static_cast<void>(receiver.Receive(absl::MakeSpan(other), Expired())),
               "another buffer, while a message is unfinished");

  BulkSender sender(&pair->connecting().sender);
  const auto bytes = Pattern(10'000, 1);
  const auto same = bytes;  // NOLINT(performance-unnecessary-copy-initialization): other memory
  ASSERT_FALSE(sender.Send(1, bytes, Expired()).ok());
  EXPECT_DEATH(static_cast<void>(sender.Send(2, bytes, Expired())), "another message");
  EXPECT_DEATH(static_cast<void>(sender.Send(1, same, Expired())), "another message");
  EXPECT_DEATH(static_cast<void>(sender.Send(1, absl::MakeSpan(bytes).first(9'999), Expired())),
               "another message");
  EXPECT_DEATH(BulkSender(&pair->connecting().sender, {.chunk_bytes = kMinBulkChunkBytes - 1}),
               "at least kMinBulkChunkBytes");
}

TEST(BulkTest, TheSmallestChunkIsAllowedAndNothingIsUnderWayAtFirst) {
  auto pair = MakePair(4096, 1024);
  BulkSender sender(&pair->accepting().sender, {.chunk_bytes = kMinBulkChunkBytes});
  EXPECT_EQ(sender.chunk_bytes(), kMinBulkChunkBytes);
  EXPECT_EQ(sender.max_record_bytes(), kMinMessageLimitBytes);
  EXPECT_FALSE(sender.unfinished());
  BulkReceiver receiver(&pair->connecting().receiver, 100);
  EXPECT_FALSE(receiver.unfinished());
  EXPECT_EQ(receiver.max_bytes(), 100u);
  EXPECT_EQ(BulkMessage().tag, 0u);
  EXPECT_EQ(BulkMessage().size_bytes, 0u);
  const internal::BulkAssembly assembly(100);
  EXPECT_FALSE(assembly.unfinished());
  EXPECT_EQ(assembly.max_bytes(), 100u);
  EXPECT_EQ(assembly.tag(), 0u);
  EXPECT_EQ(assembly.total_bytes(), 0u);
  // An end between two messages is an orderly one.
  std::vector<std::byte> into(100);
  pair->accepting().sender.Close();
  EXPECT_EQ(receiver.Receive(absl::MakeSpan(into), Generous()).status().code(),
            absl::StatusCode::kOutOfRange);
}

struct BulkEnds {
  Channel channel;
  BulkSender sender;
  BulkReceiver receiver;
};

BulkEnds MakeBulkEnds(Channel* made) {
  Channel channel = std::move(*made);
  BulkSender sender(&channel.sender);
  BulkReceiver receiver(&channel.receiver, 10'000);
  return {std::move(channel), std::move(sender), std::move(receiver)};
}

// A port keeps what it stands on alive, wherever its channel is moved to.
TEST(BulkTest, AStructOfAChannelAndItsPortsIsReturnedFromAFunction) {
  auto pair = MakePair(65536, 16384);
  BulkEnds ours = MakeBulkEnds(&pair->accepting());
  std::optional<BulkEnds> theirs = MakeBulkEnds(&pair->connecting());
  const auto bytes = Pattern(10'000, 1);
  std::vector<std::byte> into(10'000);
  ASSERT_TRUE(ours.sender.Send(1, bytes, Generous()).ok());
  ASSERT_TRUE(theirs->receiver.Receive(absl::MakeSpan(into), Generous()).ok());
  EXPECT_EQ(into, bytes);
  theirs->channel = Channel();  // the ports go on
  ASSERT_TRUE(theirs->sender.Send(1, bytes, Generous()).ok());
  ASSERT_TRUE(ours.receiver.Receive(absl::MakeSpan(into), Generous()).ok());
  theirs.reset();
  EXPECT_EQ(ours.receiver.Receive(absl::MakeSpan(into), Generous()).status().code(),
            absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace parley
