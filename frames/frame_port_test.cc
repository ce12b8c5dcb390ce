// SPDX-License-Identifier: Apache-2.0
#include "parley/frames/frame_port.h"

#include <algorithm>
#include <array>
#include <atomic>
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
#include "parley/channel/hostile_access.h"
#include "parley/frames/frame_wire.h"
#include "parley/os/deadline.h"
#include "parley/ring/consumer.h"
#include "parley/ring/layout.h"
#include "parley/ring/ring_types.h"
#include "parley/shm/frame_layout.h"
#include "parley/testing/channel_pair.h"
#include "parley/wait/layout.h"

namespace parley {
namespace {

using testing::ChannelPair;
using testing::ChannelPairOptions;

constexpr FrameGeometry kFrames = {3, 8192};

Deadline In(int milliseconds) { return Deadline::After(absl::Milliseconds(milliseconds)); }
// Long enough for any machine; a test that gets there has failed.
Deadline Generous() { return In(30'000); }

std::unique_ptr<ChannelPair> MakePair(FrameGeometry frames = kFrames,
                                      uint64_t capacity_bytes = 65536) {
  ChannelPairOptions options;
  options.ring = {capacity_bytes, 1024, frames};
  auto pair = ChannelPair::Create(options);
  EXPECT_TRUE(pair.ok()) << pair.status();
  return *std::move(pair);
}

FramePort PortOf(Channel* channel, const FramePortOptions& options = {}) {
  auto port = FramePort::Create(channel, options);
  EXPECT_TRUE(port.ok()) << port.status();
  return *std::move(port);
}

// Both ends with a port each.
struct Ports {
  explicit Ports(FrameGeometry frames = kFrames, uint64_t capacity_bytes = 65536)
      : pair(MakePair(frames, capacity_bytes)),
        ours(PortOf(&pair->accepting())),
        theirs(PortOf(&pair->connecting())) {}
  std::unique_ptr<ChannelPair> pair;
  FramePort ours;
  FramePort theirs;
};

// One end with a port, the other in the hands of an attacker.
struct Victim {
  explicit Victim(FrameGeometry frames = kFrames)
      : pair(MakePair(frames)), port(PortOf(&pair->accepting())) {}
  Sender& attacker() { return pair->connecting().sender; }
  void Say(absl::Span<const std::byte> record, uint32_t tag = 0) {
    ASSERT_EQ(attacker().TrySend(tag, record), Outcome::kOk);
  }
  void SayReturned(uint32_t slot, uint64_t generation) {
    Say(WireBytes(FrameReturnedWire{kFrameReturned, slot, generation}));
  }
  void SaySent(uint32_t slot, uint64_t generation, uint64_t size_bytes) {
    Say(WireBytes(FrameSentWire{kFrameSent, slot, generation, size_bytes}));
  }
  std::unique_ptr<ChannelPair> pair;
  FramePort port;
};

void FillFrame(const WritableFrame& frame, std::size_t size, uint32_t seed) {
  for (std::size_t i = 0; i < size; ++i) {
    frame.bytes[i] = static_cast<std::byte>((i * 31 + i / 251 + seed) % 239);
  }
}
bool HasPattern(const ReceivedFrame& frame, uint32_t seed) {
  std::vector<std::byte> bytes(frame.view.size_bytes());
  frame.view.CopyTo(0, absl::MakeSpan(bytes));
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != static_cast<std::byte>((i * 31 + i / 251 + seed) % 239)) return false;
  }
  return true;
}

void SendOne(FramePort* port, std::size_t size, uint32_t seed) {
  WritableFrame frame;
  ASSERT_EQ(port->TryAcquire(&frame), Outcome::kOk);
  ASSERT_EQ(frame.bytes.size(), kFrames.frame_bytes);
  FillFrame(frame, size, seed);
  const auto metadata = WireBytes(uint64_t{seed});
  ASSERT_EQ(port->TrySend(frame, size, seed, metadata), Outcome::kOk);
}
ReceivedFrame ReceiveOne(FramePort* port) {
  ReceivedFrame frame;
  EXPECT_EQ(port->TryReceive(&frame), Outcome::kOk);
  return frame;
}
void ExpectFrame(const ReceivedFrame& frame, std::size_t size, uint32_t seed) {
  EXPECT_EQ(frame.view.size_bytes(), size);
  EXPECT_EQ(frame.tag, seed);
  EXPECT_TRUE(HasPattern(frame, seed));
  uint64_t metadata = 0;
  ASSERT_TRUE(ReadWire(frame.metadata, &metadata));
  EXPECT_EQ(frame.metadata.size(), sizeof(metadata));
  EXPECT_EQ(metadata, seed);
}

// --- honest ends ---------------------------------------------------------------------------------

TEST(FramePortTest, FramesGoBothWaysAndComeBackInAnyOrder) {
  Ports ports;
  for (uint32_t round = 0; round < 200; ++round) {
    for (FramePort* from : {&ports.ours, &ports.theirs}) {
      FramePort* to = from == &ports.ours ? &ports.theirs : &ports.ours;
      std::vector<ReceivedFrame> held;
      for (uint32_t i = 0; i < kFrames.count; ++i) {
        SendOne(from, (round * 977 + i * 4096) % (kFrames.frame_bytes + 1), round + i);
        held.push_back(ReceiveOne(to));
        ExpectFrame(held.back(), (round * 977 + i * 4096) % (kFrames.frame_bytes + 1), round + i);
        EXPECT_TRUE(to->StillValid(held.back()));
      }
      WritableFrame none;
      EXPECT_EQ(from->TryAcquire(&none), Outcome::kWouldBlock);
      EXPECT_EQ(from->lent_frames(), kFrames.count);
      std::rotate(held.begin(), held.begin() + round % kFrames.count, held.end());
      for (const ReceivedFrame& frame : held) to->Return(frame);
    }
  }
  EXPECT_EQ(ports.ours.stats().sent, 600u);
  EXPECT_EQ(ports.theirs.stats().received, 600u);
  EXPECT_EQ(ports.theirs.stats().taken_back, 0u);
}

TEST(FramePortTest, FramesThatArriveWhileWeWaitForAReturnAreKept) {
  Ports ports;
  for (uint32_t i = 0; i < kFrames.count; ++i) {
    SendOne(&ports.ours, 100, i);
    SendOne(&ports.theirs, 200, 10 + i);
  }
  const ReceivedFrame taken = ReceiveOne(&ports.theirs);
  ports.theirs.Return(taken);
  auto free = ports.ours.Acquire(Generous());  // behind three frames for us
  ASSERT_TRUE(free.ok()) << free.status();
  ports.ours.Discard(*free);
  for (uint32_t i = 0; i < kFrames.count; ++i) {
    ExpectFrame(ReceiveOne(&ports.ours), 200, 10 + i);
  }
}

TEST(FramePortTest, WaitsEndWithDataOrAtTheDeadline) {
  Ports ports;
  EXPECT_TRUE(absl::IsDeadlineExceeded(ports.ours.Receive(In(20)).status()));
  std::thread peer([&] {
    for (uint32_t i = 0; i < 500; ++i) {
      auto frame = ports.theirs.Receive(Generous());
      ASSERT_TRUE(frame.ok()) << frame.status();
      ExpectFrame(*frame, i, i);
      ports.theirs.Return(*frame);
    }
  });
  for (uint32_t i = 0; i < 500; ++i) {
    auto frame = ports.ours.Acquire(Generous());
    ASSERT_TRUE(frame.ok()) << frame.status();
    FillFrame(*frame, i, i);
    const auto metadata = WireBytes(uint64_t{i});
    ASSERT_TRUE(ports.ours.Send(*frame, i, i, metadata, Generous()).ok());
  }
  peer.join();
}

TEST(FramePortTest, TheEndOfTheStreamAndTheEndOfThePeer) {
  Ports ports;
  SendOne(&ports.theirs, 1, 1);
  ports.theirs.Close();
  ExpectFrame(ReceiveOne(&ports.ours), 1, 1);
  EXPECT_TRUE(absl::IsOutOfRange(ports.ours.Receive(In(20)).status()));
  for (uint32_t i = 0; i < kFrames.count; ++i) SendOne(&ports.ours, 1, i);
  WritableFrame none;
  EXPECT_EQ(ports.ours.TryAcquire(&none), Outcome::kClosed);

  Victim others;
  for (uint32_t i = 0; i < kFrames.count; ++i) SendOne(&others.port, 1, i);
  others.pair->connecting() = Channel();
  EXPECT_TRUE(absl::IsUnavailable(others.port.Acquire(Generous()).status()));
}

TEST(FramePortTest, AnEventLoopIsToldOfFramesThatAreKept) {
  Ports ports;
  EXPECT_TRUE(ports.ours.PrepareToWait());
  SendOne(&ports.theirs, 1, 1);
  EXPECT_TRUE(ports.pair->accepting().receiver.FinishWait().ok());
  EXPECT_FALSE(ports.ours.PrepareToWait());
  for (uint32_t i = 0; i < kFrames.count; ++i) SendOne(&ports.ours, 1, i);
  WritableFrame none;
  EXPECT_EQ(ports.ours.TryAcquire(&none),
            Outcome::kWouldBlock);  // takes the frame in, and keeps it
  EXPECT_FALSE(ports.ours.PrepareToWait());
  ExpectFrame(ReceiveOne(&ports.ours), 1, 1);
}

TEST(FramePortTest, ChannelsThatCannotCarryFramesAreRefusedInWords) {
  const auto code = [](FrameGeometry frames, uint64_t capacity_bytes, std::size_t metadata_bytes) {
    auto pair = MakePair(frames, capacity_bytes);
    return FramePort::Create(&pair->accepting(), {.metadata_bytes = metadata_bytes}).status();
  };
  EXPECT_TRUE(code({64, 4096}, 32768, 256).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(code({}, 32768, 64)));
  EXPECT_TRUE(absl::IsFailedPrecondition(code({64, 4096}, 16384, 256)));
  EXPECT_TRUE(code({64, 4096}, 16384, 64).ok());
  auto pair = MakePair();
  pair->accepting().sender = Sender();
  EXPECT_TRUE(absl::IsFailedPrecondition(FramePort::Create(&pair->accepting()).status()));
}

// --- taken back ----------------------------------------------------------------------------------

TEST(FramePortTest, AFrameThatIsNotReturnedCanBeTakenBackAndItsReaderFindsOut) {
  Ports ports;
  for (uint32_t i = 0; i < kFrames.count; ++i) SendOne(&ports.ours, 64, i);
  const ReceivedFrame held = ReceiveOne(&ports.theirs);
  EXPECT_TRUE(ports.theirs.StillValid(held));
  ASSERT_TRUE(ports.ours.RevokeOldest());
  EXPECT_TRUE(ports.theirs.StillValid(held));  // nothing was written yet
  WritableFrame anew;
  ASSERT_EQ(ports.ours.TryAcquire(&anew), Outcome::kOk);
  EXPECT_EQ(anew.slot, held.slot);
  EXPECT_FALSE(ports.theirs.StillValid(held));
  // Returned before the peer hears of the next use: late, and no violation.
  ports.theirs.Return(held);
  FillFrame(anew, 64, 77);
  ASSERT_EQ(ports.ours.TrySend(anew, 64, 77, WireBytes(uint64_t{77})), Outcome::kOk);
  WritableFrame none;
  EXPECT_EQ(ports.ours.TryAcquire(&none), Outcome::kWouldBlock);
  EXPECT_EQ(ports.ours.violation(), Violation::kNone);
  ExpectFrame(ReceiveOne(&ports.theirs), 64, 1);
  ExpectFrame(ReceiveOne(&ports.theirs), 64, 2);
  const ReceivedFrame next = ReceiveOne(&ports.theirs);
  ExpectFrame(next, 64, 77);
  EXPECT_TRUE(ports.theirs.StillValid(next));
  EXPECT_EQ(ports.ours.stats().revoked, 1u);
}

TEST(FramePortTest, AFrameThatIsSentAnewWhileItIsHeldNeedsNoReturn) {
  Ports ports;
  for (uint32_t i = 0; i < kFrames.count; ++i) SendOne(&ports.ours, 64, 1);
  const ReceivedFrame held = ReceiveOne(&ports.theirs);
  for (uint32_t i = 1; i < kFrames.count; ++i) ports.theirs.Return(ReceiveOne(&ports.theirs));
  ASSERT_TRUE(ports.ours.RevokeOldest());
  ReceivedFrame anew;
  while (anew.slot != held.slot || anew.generation == 0) {
    if (anew.generation != 0) ports.theirs.Return(anew);
    SendOne(&ports.ours, 64, 2);
    anew = ReceiveOne(&ports.theirs);
  }
  ExpectFrame(anew, 64, 2);
  EXPECT_FALSE(ports.theirs.StillValid(held));
  EXPECT_EQ(ports.theirs.stats().taken_back, 1u);
  ports.theirs.Return(held);  // nothing happens
  EXPECT_TRUE(ports.theirs.StillValid(anew));
  ports.theirs.Return(anew);
  for (uint32_t i = 0; i < kFrames.count; ++i) SendOne(&ports.ours, 1, i);
  EXPECT_EQ(ports.ours.violation(), Violation::kNone);
}

// --- hostile ends --------------------------------------------------------------------------------

TEST(FramePortTest, AttackR12AForgedOrSecondReturnEndsTheChannelAndFreesNothing) {
  struct Forged {
    uint32_t slot;
    uint64_t generation;
  };
  for (const Forged forged : {Forged{1, 1}, Forged{0, 2}, Forged{0, 0}, Forged{3, 1},
                              Forged{~uint32_t{0}, 1}, Forged{0, ~uint64_t{0}}}) {
    Victim victim;
    SendOne(&victim.port, 10, 1);  // frame 0, first use
    ASSERT_EQ(victim.port.lent_frames(), 1u);
    victim.SayReturned(forged.slot, forged.generation);
    ReceivedFrame frame;
    EXPECT_EQ(victim.port.TryReceive(&frame), Outcome::kPoisoned);
    EXPECT_EQ(victim.port.violation(), Violation::kMetadataInvalid);
    EXPECT_EQ(victim.port.lent_frames(), 1u);
    WritableFrame none;
    EXPECT_EQ(victim.port.TryAcquire(&none), Outcome::kPoisoned);
    EXPECT_TRUE(absl::IsDataLoss(victim.port.Acquire(Generous()).status()));
    EXPECT_EQ(victim.pair->accepting().sender.TrySend(0, {}), Outcome::kPoisoned);
  }
  Victim victim;
  SendOne(&victim.port, 10, 1);
  victim.SayReturned(0, 1);
  victim.SayReturned(0, 1);
  ReceivedFrame frame;
  EXPECT_EQ(victim.port.TryReceive(&frame), Outcome::kPoisoned);
}

TEST(FramePortTest, AttackR12AFrameThatCannotBeEndsTheChannel) {
  struct Forged {
    uint32_t slot;
    uint64_t generation;
    uint64_t size_bytes;
  };
  for (const Forged forged :
       {Forged{3, 1, 0}, Forged{64, 1, 0}, Forged{~uint32_t{0}, 1, 0}, Forged{0, 1, 8193},
        Forged{0, 1, ~uint64_t{0}}, Forged{0, 0, 0}, Forged{1, 9, 5}}) {
    Victim victim;
    victim.SaySent(1, 9, 8192);
    const ReceivedFrame good = ReceiveOne(&victim.port);
    EXPECT_EQ(good.view.size_bytes(), 8192u);
    victim.SaySent(forged.slot, forged.generation, forged.size_bytes);
    ReceivedFrame frame;
    EXPECT_EQ(victim.port.TryReceive(&frame), Outcome::kPoisoned);
    EXPECT_TRUE(absl::IsDataLoss(victim.port.Receive(Generous()).status()));
    // Nothing of the peer's is looked at any more.
    EXPECT_FALSE(victim.port.StillValid(good));
  }
}

TEST(FramePortTest, RecordsThatAreNeitherEndTheChannel) {
  for (const std::size_t size : {0u, 1u, 8u, 15u, 16u, 17u, 23u, 24u, 281u, 300u}) {
    Victim victim;
    victim.Say(std::vector<std::byte>(size, std::byte{2}));
    ReceivedFrame frame;
    EXPECT_EQ(victim.port.TryReceive(&frame), Outcome::kPoisoned) << size;
  }
  Victim victim;
  std::vector<std::byte> longest(sizeof(FrameSentWire) + kMaxFrameMetadataBytes);
  const auto header = WireBytes(FrameSentWire{kFrameSent, 0, 1, 1});
  std::copy(header.begin(), header.end(), longest.begin());
  victim.Say(longest);
  EXPECT_EQ(ReceiveOne(&victim.port).metadata.size(), kMaxFrameMetadataBytes);
  longest.push_back(std::byte{0});
  longest[8] = std::byte{2};  // the generation
  victim.Say(longest);
  ReceivedFrame frame;
  EXPECT_EQ(victim.port.TryReceive(&frame), Outcome::kPoisoned);
}

TEST(FramePortTest, PromiseP3WorkAPeerThatAnnouncesWithoutEndCostsABoundedCall) {
  Victim victim({1, 4096});
  uint64_t generation = 0;
  while (victim.attacker().TrySend(0, WireBytes(FrameSentWire{kFrameSent, 0, ++generation, 1})) ==
         Outcome::kOk) {
  }
  ASSERT_GT(generation, uint64_t{4} * FramePort::kMaxRecordsPerCall);
  WritableFrame frame;
  ASSERT_EQ(victim.port.TryAcquire(&frame), Outcome::kOk);
  ASSERT_EQ(victim.port.TrySend(frame, 1, 0), Outcome::kOk);
  const uint64_t before = victim.pair->accepting().receiver.stats().messages;
  EXPECT_EQ(victim.port.TryAcquire(&frame), Outcome::kWouldBlock);
  EXPECT_EQ(victim.pair->accepting().receiver.stats().messages - before,
            uint64_t{FramePort::kMaxRecordsPerCall});
  // One frame is kept, whatever was announced.
  const ReceivedFrame newest = ReceiveOne(&victim.port);
  EXPECT_EQ(newest.generation, uint64_t{FramePort::kMaxRecordsPerCall});
}

TEST(FramePortTest, PromiseP2TimeAPeerThatAnnouncesWithoutEndCannotKeepAWait) {
  Victim victim({1, 4096});
  WritableFrame frame;
  ASSERT_EQ(victim.port.TryAcquire(&frame), Outcome::kOk);
  ASSERT_EQ(victim.port.TrySend(frame, 1, 0), Outcome::kOk);
  std::atomic<bool> done = false;
  std::thread peer([&] {
    uint64_t generation = 0;
    while (!done) {
      if (victim.attacker().TrySend(
              0, WireBytes(FrameSentWire{kFrameSent, 0, generation + 1, 1})) == Outcome::kOk) {
        ++generation;
      }
    }
  });
  const absl::Time begin = absl::Now();
  EXPECT_TRUE(absl::IsDeadlineExceeded(victim.port.Acquire(In(50)).status()));
  EXPECT_LT(absl::Now() - begin, absl::Seconds(20));
  done = true;
  peer.join();
}

TEST(FramePortTest, PromiseP2TimeAnyNumberOfReturnsIsOneDoorbell) {
  Victim victim({64, 4096});
  for (uint32_t slot = 0; slot < 64; ++slot) victim.SaySent(slot, 1, 1);
  std::vector<ReceivedFrame> held(64);
  for (ReceivedFrame& frame : held) frame = ReceiveOne(&victim.port);
  // The peer takes nothing, so that the returns pile up behind a full ring, and says before each of
  // our calls that it sleeps.
  Sender& sender = victim.pair->accepting().sender;
  const std::vector<std::byte> junk(1000);
  while (sender.TrySend(0, junk) == Outcome::kOk) {
  }
  for (std::size_t i = 0; i < 60; ++i) victim.port.Return(held[i]);
  std::vector<std::byte> buffer(1024);
  Record record;
  while (victim.pair->connecting().receiver.TryReceive(absl::MakeSpan(buffer), &record) ==
         Outcome::kOk) {
  }
  HostileAccess::Control(victim.attacker()).StoreRelease64(kReceiveEpochOffset, 12345);
  const uint64_t before = sender.stats().signals;
  ReceivedFrame none;
  EXPECT_EQ(victim.port.TryReceive(&none), Outcome::kWouldBlock);
  EXPECT_EQ(sender.stats().signals - before, 1u);
  int returned = 0;
  while (victim.pair->connecting().receiver.TryReceive(absl::MakeSpan(buffer), &record) ==
         Outcome::kOk) {
    if (record.size_bytes == sizeof(FrameReturnedWire)) ++returned;
  }
  EXPECT_GE(returned, 59);
}

// A peer that takes no records decides that a return is still to be told; whether that aborts after
// we have closed is not for it to say.
TEST(FramePortTest, PromiseP9AbortIsOursAReturnThatFoundNoRoomDoesNotOutliveClose) {
  Victim victim;
  for (uint32_t slot = 0; slot < 3; ++slot) victim.SaySent(slot, 1, 1);
  const ReceivedFrame held = ReceiveOne(&victim.port);
  const ReceivedFrame later = ReceiveOne(&victim.port);
  while (victim.pair->accepting().sender.TrySend(0, std::vector<std::byte>(8)) == Outcome::kOk) {
  }
  victim.port.Return(held);  // finds no room
  victim.port.Close();
  ReceivedFrame last = ReceiveOne(&victim.port);
  EXPECT_EQ(last.slot, 2u);
  victim.port.Return(later);
  EXPECT_EQ(victim.port.TryReceive(&last), Outcome::kWouldBlock);
  EXPECT_TRUE(victim.port.PrepareToWait());
}

TEST(FramePortTest, PromiseP6ContainmentOneChannelEndsAndOthersGoOn) {
  Victim victim;
  Ports others;
  victim.SaySent(9, 9, 9);
  ReceivedFrame frame;
  EXPECT_EQ(victim.port.TryReceive(&frame), Outcome::kPoisoned);
  SendOne(&others.ours, 5, 5);
  ExpectFrame(ReceiveOne(&others.theirs), 5, 5);
}

using FramePortDeathTest = ::testing::Test;

TEST(FramePortDeathTest, PromiseP9AbortIsOursOnlyTheCallersBugsAbort) {
  Ports ports;
  EXPECT_DEATH(ports.ours.Discard({0, {}}), "not acquired");
  EXPECT_DEATH(static_cast<void>(ports.ours.TrySend({0, {}}, 0, 0)), "not acquired");
  EXPECT_DEATH(ports.ours.Return({}), "never received");
  WritableFrame room;
  ASSERT_EQ(ports.ours.TryAcquire(&room), Outcome::kOk);
  EXPECT_DEATH(static_cast<void>(ports.ours.TrySend(room, 8193, 0)), "more bytes");
  EXPECT_DEATH(static_cast<void>(ports.ours.TrySend(room, 0, 0, std::vector<std::byte>(65))),
               "more metadata");
  ports.ours.Discard(room);
  SendOne(&ports.theirs, 1, 1);
  const ReceivedFrame frame = ReceiveOne(&ports.ours);
  ports.ours.Return(frame);
  EXPECT_DEATH(ports.ours.Return(frame), "once");
}

struct ChannelAndPort {
  Channel channel;
  FramePort port;
};

ChannelAndPort MakeChannelAndPort(Channel* made) {
  Channel channel = std::move(*made);
  FramePort port = PortOf(&channel);
  return {std::move(channel), std::move(port)};
}

// A port keeps what it stands on alive, wherever its channel is moved to.
TEST(FramePortTest, AStructOfAChannelAndItsPortIsReturnedFromAFunction) {
  auto pair = MakePair();
  ChannelAndPort ours = MakeChannelAndPort(&pair->accepting());
  std::optional<ChannelAndPort> theirs = MakeChannelAndPort(&pair->connecting());
  theirs->channel = Channel();  // the port goes on
  const auto room = ours.port.Acquire(Generous());
  ASSERT_TRUE(room.ok()) << room.status();
  ASSERT_TRUE(ours.port.Send(*room, 8, 1, {}, Generous()).ok());
  const auto frame = theirs->port.Receive(Generous());
  ASSERT_TRUE(frame.ok()) << frame.status();
  theirs->port.Return(*frame);
  theirs.reset();
  EXPECT_EQ(ours.port.Receive(Generous()).status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace parley
