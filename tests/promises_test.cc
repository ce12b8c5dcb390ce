// SPDX-License-Identifier: Apache-2.0

// One test or more for each promise of docs/DESIGN.md, section 1, against a real hostile process.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/violation.h"
#include "parley/channel/channel.h"
#include "parley/channel/hostile_access.h"
#include "parley/handshake/connector.h"
#include "parley/handshake/listener.h"
#include "parley/handshake/options.h"
#include "parley/handshake/peer_socket.h"
#include "parley/handshake/wire.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/ring/layout.h"
#include "parley/tests/child.h"
#include "parley/tests/peer.h"
#include "parley/tests/resources.h"
#include "parley/tests/shared_counter.h"
#include "parley/wait/doorbell.h"
#include "parley/wait/layout.h"

namespace parley {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;

// --- the hostile side
// -----------------------------------------------------------------------------

// Keeps a process busy with nothing until it is killed.
[[noreturn]] void PauseForEver() {
  while (true) ::pause();
}

// A word that a check might get wrong: near what was last valid, at an edge, or anything.
uint64_t NastyWord(std::mt19937_64& random, uint64_t near) {
  switch (random() % 6) {
    case 0:
      return near + 8 * (random() % 16);
    case 1:
      return near - 8 * (random() % 16);
    case 2:
      return random() % 65536;
    case 3:
      return uint64_t{1} << (random() % 64);
    case 4:
      return ~uint64_t{0} - random() % 65536;
    default:
      return random();
  }
}

// Writes rubbish over everything that the victim reads, at full speed, until `until`.
void Scribble(Session& mine, std::mt19937_64& random, Deadline until) {
  OwnMemory control = mine.control();
  OwnMemory data = mine.send()->data;
  constexpr std::array<std::size_t, 6> kWords = {kTailOffset,         kProducerStateOffset,
                                                 kHeadOffset,         kConsumerStateOffset,
                                                 kReceiveEpochOffset, kSendEpochOffset};
  uint64_t tail = 0;
  while (!until.Expired()) {
    for (int i = 0; i < 64; ++i) {
      // Headers of all kinds, most of them short enough to be taken.
      const uint64_t size_bytes = random() % 4 == 0 ? random() : random() % 64;
      const uint64_t tag = random() % 8 == 0 ? random() : 1;
      data.StoreRelaxed64(8 * (random() % (data.size_bytes() / 8)),
                          tag << 32 | (size_bytes & 0xffffffff));
    }
    tail += 8 * (random() % 64);
    control.StoreRelease64(kTailOffset, tail);
    if (random() % 4 == 0) mine.send()->doorbell->Signal();
    if (random() % 4 == 0) mine.receive()->doorbell->Signal();
    if (random() % 64 == 0) {
      control.StoreRelease64(kWords[random() % kWords.size()], NastyWord(random, tail));
    }
  }
}

// --- the victim
// -----------------------------------------------------------------------------------

bool IsTyped(const absl::Status& status) {
  return status.ok() || absl::IsDeadlineExceeded(status) || absl::IsDataLoss(status) ||
         absl::IsUnavailable(status) || absl::IsOutOfRange(status);
}

// Uses a channel in every way there is until it ends or the deadline; true if it ended.
bool UseInEveryWay(Channel& channel, std::mt19937_64& random, Deadline until) {
  Sender& sender = channel.sender;
  Receiver& receiver = channel.receiver;
  std::vector<std::byte> buffer(receiver.max_message_bytes() + 200, std::byte{0xC5});
  const auto into = absl::MakeSpan(buffer).first(receiver.max_message_bytes());
  bool ended = false;
  while (!until.Expired() && !ended) {
    const int64_t start_ns = MonotonicNowNs();
    // The peer had a say in the longest message.
    const auto longest = std::min<std::size_t>(199, sender.max_message_bytes());
    const auto bytes = absl::MakeConstSpan(buffer).first(random() % (longest + 1));
    Record record;
    PeekedMessage peeked;
    absl::Status status;
    switch (random() % 9) {
      case 0:
        ended = sender.TrySend(1, bytes) == Outcome::kPoisoned;
        break;
      case 1:
        status = sender.Send(1, bytes, In(2));
        break;
      case 2:
        status = sender.Reserve(longest, In(2)).status();
        if (status.ok()) sender.Commit(1, longest / 2);
        break;
      case 3:
        status = sender.AwaitDrained(In(2));
        break;
      case 4:
        if (receiver.TryReceive(into, &record) == Outcome::kOk) {
          EXPECT_LE(record.size_bytes, receiver.max_message_bytes());
        }
        break;
      case 5:
        status = receiver.Receive(into, In(2)).status();
        break;
      case 6:
        if (receiver.TryPeek(&peeked) == Outcome::kOk) {
          peeked.view.CopyTo(0, into.first(peeked.view.size_bytes()));
          receiver.Release();
        }
        break;
      case 7:
        if (receiver.PrepareToWait()) status = receiver.FinishWait();
        break;
      default:
        if (sender.PrepareToWait(100)) status = sender.FinishWait(100);
        break;
    }
    EXPECT_TRUE(IsTyped(status)) << status;
    EXPECT_LT(MonotonicNowNs() - start_ns, 15 * kSecondNs);
    ended |= !status.ok() && !absl::IsDeadlineExceeded(status);
  }
  // Nothing was written past the buffer that was handed in.
  for (std::size_t i = into.size(); i < buffer.size(); ++i) EXPECT_EQ(buffer[i], std::byte{0xC5});
  return ended;
}

// A hostile process comes back with a new channel each time the last one was poisoned.
TEST(Promise, P1MemoryRandomWordsAtFullSpeedDoNoHarm) {
  const std::string name = "@parley-promise-1-" + std::to_string(::getpid());
  AcceptOptions options;
  options.receive = {8192, 2048};
  options.send = {8192, 2048};
  auto listener = ChannelListener::Listen(name, options);
  ASSERT_TRUE(listener.ok()) << listener.status();
  Peer honest = Peer::Start({}, Echo);
  Child hostile([&] {
    std::mt19937_64 random(1);
    while (true) {
      auto socket = ConnectTo(name, Generous());
      if (!socket.ok()) return 1;
      auto mine = ConnectHandshake(*std::move(socket), {}, Generous());
      if (!mine.ok()) return 2;
      Scribble(**mine, random, In(1 + static_cast<int>(random() % 20)));
    }
  });
  std::mt19937_64 random(2);
  int channels = 0;
  int violations = 0;
  const Deadline until = In(1500);
  Resources before;
  while (!until.Expired()) {
    auto channel = listener->Accept(Generous());
    ASSERT_TRUE(channel.ok()) << channel.status();
    UseInEveryWay(*channel, random, In(100));
    if (channel->receiver.violation() != Violation::kNone) ++violations;
    EXPECT_TRUE(RoundTrip(honest.channel, "the other channel goes on"));
    *channel = Channel();
    if (++channels == 5) before = Resources::Now();
  }
  EXPECT_GT(channels, 5);
  EXPECT_GT(violations, 0);
  if (channels > 5) ExpectNothingLeaked(before);
}

// All that the holder of a region's descriptor can try on the memory under our feet.
TEST(Promise, P1MemoryTheRegionCannotBePulledFromUnderUs) {
  auto sockets = PeerSocket::Pair();
  ASSERT_TRUE(sockets.ok());
  Child hostile([&] {
    {
      auto unused = std::move(sockets->first);
    }
    Hello hello;
    hello.roles = kRoleSends | kRoleReceives;
    hello.doorbells = kDoorbellSocket;
    if (!sockets->second.Send(EncodeHello(hello)).ok()) return 1;
    std::vector<std::byte> buffer(kMaxMessageBytes);
    auto size = sockets->second.Receive(absl::MakeSpan(buffer), Generous());
    if (!size.ok()) return 2;
    auto welcome = ParseWelcome(absl::MakeConstSpan(buffer).first(*size));
    if (!welcome.ok()) return 3;
    if (!sockets->second.Send(EncodeChannelId(MessageType::kAccepted, welcome->channel_id)).ok()) {
      return 16;
    }
    auto got = sockets->second.ReceiveWithDescriptors(absl::MakeSpan(buffer), 6, Generous());
    if (!got.ok()) return 17;
    // The victim's region: every way to change it must fail.
    const int theirs = got->descriptors[0].get();
    const std::string path = "/proc/self/fd/" + std::to_string(theirs);
    const UniqueFd reopened(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    for (const int fd : {theirs, reopened.get()}) {
      if (fd < 0) continue;
      if (::ftruncate(fd, 0) == 0 || ::ftruncate(fd, 1 << 20) == 0) return 4;
      if (::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0) return 5;
      if (::pwrite(fd, "x", 1, 0) >= 0) return 6;
      if (::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED) return 7;
      if (::fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0) return 8;
    }
    // Its own: mapped and sealed as it must be, then attacked the same way.
    const int own = got->descriptors[1].get();
    const std::size_t size_bytes = 4096;
    void* mapped = ::mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, own, 0);
    if (mapped == MAP_FAILED) return 9;
    if (::fcntl(own, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0) return 10;
    if (!sockets->second.Send(EncodeChannelId(MessageType::kMapped, welcome->channel_id)).ok()) {
      return 11;
    }
    if (!sockets->second.Receive(absl::MakeSpan(buffer), Generous()).ok()) return 15;
    for (int i = 0; i < 200; ++i) {
      if (::ftruncate(own, 0) == 0) return 12;
      if (::fallocate(own, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0) return 13;
      if (::madvise(mapped, size_bytes, MADV_REMOVE) == 0) return 14;
    }
    return 0;
  });
  {
    auto unused = std::move(sockets->second);
  }
  AcceptOptions options;
  options.peer_pidfd = hostile.pidfd();
  auto channel = AcceptChannel(std::move(sockets->first), options, Generous());
  ASSERT_TRUE(channel.ok()) << channel.status() << ", " << hostile.Wait(Generous());
  std::vector<std::byte> buffer(channel->receiver.max_message_bytes());
  Record record;
  while (hostile.Wait(In(0)) == -1) {
    ASSERT_EQ(channel->receiver.TryReceive(absl::MakeSpan(buffer), &record), Outcome::kWouldBlock);
    static_cast<void>(channel->sender.TrySend(1, BytesOf("a write to our own region")));
  }
  EXPECT_EQ(hostile.Wait(In(0)), 0);
}

// --- P2
// -------------------------------------------------------------------------------------------

// However the peer rings, lies about waiting or stops: no call is late.
TEST(Promise, P2TimeDeadlinesAreKeptUnderAFloodAndAStop) {
  PeerSetup setup;
  setup.wait.throttles = 1'000'000;  // parked for ever rather than a violation
  Peer peer = Peer::Hostile(setup, [](Session& mine) {
    for (uint64_t epoch = 1;; ++epoch) {
      mine.send()->doorbell->Signal();
      mine.receive()->doorbell->Signal();
      mine.control().StoreRelease64(kReceiveEpochOffset, epoch);
      mine.control().StoreRelease64(kSendEpochOffset, epoch);
    }
    return 0;
  });
  std::vector<std::byte> buffer(peer.channel.receiver.max_message_bytes());
  while (peer.channel.sender.TrySend(1, BytesOf(std::string(1000, 'x'))) == Outcome::kOk) {
  }
  for (int i = 0; i < 6; ++i) {
    if (i == 3) peer.child.Signal(SIGSTOP);
    int64_t start_ns = MonotonicNowNs();
    const int64_t cpu_ns = CpuTimeNs();
    auto got = peer.channel.receiver.Receive(absl::MakeSpan(buffer), In(100));
    EXPECT_TRUE(absl::IsDeadlineExceeded(got.status())) << got.status();
    EXPECT_GE(MonotonicNowNs() - start_ns, 100'000'000);
    EXPECT_LT(MonotonicNowNs() - start_ns, 15 * kSecondNs);
    // Most of the wait is slept, not spent on waking up (a million times a second).
    EXPECT_LT(CpuTimeNs() - cpu_ns, 75'000'000) << i;
    start_ns = MonotonicNowNs();
    const absl::Status sent = peer.channel.sender.Send(1, BytesOf(std::string(1000, 'x')), In(100));
    EXPECT_TRUE(absl::IsDeadlineExceeded(sent)) << sent;
    EXPECT_GE(MonotonicNowNs() - start_ns, 100'000'000);
    EXPECT_LT(MonotonicNowNs() - start_ns, 15 * kSecondNs);
  }
}

TEST(Promise, P2TimeTryCallsReturnWhateverThePeerDoes) {
  Peer peer = Peer::Start({}, [](Channel&) -> int { PauseForEver(); });
  peer.child.Signal(SIGSTOP);
  std::vector<std::byte> buffer(peer.channel.receiver.max_message_bytes());
  const int64_t cpu_ns = CpuTimeNs();
  Record record;
  for (int i = 0; i < 100'000; ++i) {
    ASSERT_NE(peer.channel.sender.TrySend(1, BytesOf("x")), Outcome::kPoisoned);
    ASSERT_EQ(peer.channel.receiver.TryReceive(absl::MakeSpan(buffer), &record),
              Outcome::kWouldBlock);
  }
  EXPECT_LT(CpuTimeNs() - cpu_ns, 20 * kSecondNs);
  EXPECT_LE(peer.channel.sender.stats().signals, 1u);
}

// --- P3
// -------------------------------------------------------------------------------------------

// "Eight million empty records are waiting": each call still takes one, and asks for no memory.
TEST(Promise, P3WorkDependsOnOurArgumentsNotOnThePeersNumbers) {
  PeerSetup setup;
  setup.ring = {64 << 20, 4096};
  Peer peer = Peer::Hostile(setup, [](Session& mine) {
    // The data are all zero: as many records without a payload as there are words.
    mine.control().StoreRelease64(kTailOffset, 64 << 20);
    mine.send()->doorbell->Signal();
    PauseForEver();
    return 0;
  });
  Receiver& receiver = peer.channel.receiver;
  std::vector<std::byte> buffer(receiver.max_message_bytes());
  ASSERT_TRUE(receiver.Receive(absl::MakeSpan(buffer), Generous()).ok());
  const int64_t resident_bytes = ResidentBytes();
  const int64_t cpu_ns = CpuTimeNs();
  Record record;
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(receiver.TryReceive(absl::MakeSpan(buffer), &record), Outcome::kOk);
    ASSERT_EQ(record.size_bytes, 0u);
    ASSERT_EQ(receiver.stats().messages, static_cast<uint64_t>(i) + 2);
  }
  // Taking all of them at each call would cost 8,000 times as much.
  EXPECT_LT(CpuTimeNs() - cpu_ns, 5 * kSecondNs);
  EXPECT_LT(ResidentBytes() - resident_bytes, 16 << 20);
}

TEST(Promise, P3WorkAClaimedLengthAllocatesNothing) {
  Peer peer = Peer::Hostile({}, [](Session& mine) {
    mine.send()->data.StoreRelaxed64(0, uint64_t{1} << 32 | 0xffff'fff0);
    mine.control().StoreRelease64(kTailOffset, 65536);
    mine.send()->doorbell->Signal();
    PauseForEver();
    return 0;
  });
  std::vector<std::byte> buffer(peer.channel.receiver.max_message_bytes());
  const int64_t resident_bytes = ResidentBytes();
  auto got = peer.channel.receiver.Receive(absl::MakeSpan(buffer), Generous());
  EXPECT_TRUE(absl::IsDataLoss(got.status())) << got.status();
  EXPECT_EQ(peer.channel.receiver.violation(), Violation::kRecordTooLong);
  EXPECT_LT(ResidentBytes() - resident_bytes, 16 << 20);
}

// --- P4
// -------------------------------------------------------------------------------------------

// Every record's header flips all the time between two that are both valid and equally long with
// their padding: {24 bytes, tag 1} and {17 bytes, tag 2}. Whichever one a call sees, its size, its
// tag and the bytes that are copied agree.
TEST(Promise, P4OneLookTheHeaderThatWasCheckedIsTheOneThatIsUsed) {
  Peer peer = Peer::Hostile({}, [](Session& mine) {
    constexpr std::array<uint64_t, 2> kHeaders = {uint64_t{1} << 32 | 24, uint64_t{2} << 32 | 17};
    OwnMemory data = mine.send()->data;
    for (uint64_t round = 0;; ++round) {
      for (std::size_t at = 0; at < 65536; at += 32) data.StoreRelaxed64(at, kHeaders[round % 2]);
      // As much as the victim can have at this moment; never backwards.
      const uint64_t head = mine.peer_control().LoadAcquire64(kHeadOffset).AnyValueIsAcceptable();
      mine.control().StoreRelease64(kTailOffset, head + 65536);
      mine.send()->doorbell->Signal();
    }
    return 0;
  });
  Receiver& receiver = peer.channel.receiver;
  std::vector<std::byte> buffer(receiver.max_message_bytes());
  std::array<uint64_t, 3> seen = {};
  const Deadline until = In(1000);
  const Deadline give_up = Generous();
  while ((!until.Expired() || seen[1] == 0 || seen[2] == 0) && !give_up.Expired()) {
    std::memset(buffer.data(), 0xC5, 64);
    auto record = receiver.Receive(absl::MakeSpan(buffer), Generous());
    ASSERT_TRUE(record.ok()) << record.status() << " after " << seen[1] << "+" << seen[2];
    ASSERT_TRUE((record->tag == 1 && record->size_bytes == 24) ||
                (record->tag == 2 && record->size_bytes == 17))
        << record->tag << ": " << record->size_bytes;
    ++seen[record->tag];
    ASSERT_EQ(buffer[record->size_bytes], std::byte{0xC5}) << "written past the checked size";
  }
  EXPECT_GT(seen[1], 0u);
  EXPECT_GT(seen[2], 0u);
}

// --- P5
// -------------------------------------------------------------------------------------------

constexpr std::array<unsigned char, 8> kSecret = {0x5E, 0xC3, 0xE7, 0x91, 0xA5, 0x3C, 0xF0, 0x8D};

// Leaves the secret where uninitialised memory comes from: below the stack pointer and in free
// heap.
[[gnu::noinline]] void LeaveSecretsEverywhere() {
  std::array<unsigned char, 65536> stack;
  for (std::size_t i = 0; i < stack.size(); ++i) stack[i] = kSecret[i % kSecret.size()];
  asm volatile("" : : "r"(stack.data()) : "memory");
  for (std::size_t size = 16; size <= 1 << 14; size *= 2) {
    std::vector<std::vector<unsigned char>> heap(8, std::vector<unsigned char>(size));
    for (auto& piece : heap) {
      for (std::size_t i = 0; i < size; ++i) piece[i] = kSecret[i % kSecret.size()];
      asm volatile("" : : "r"(piece.data()) : "memory");
    }
  }
}

// The peer's whole view of our region: exactly the messages that were sent, byte for byte, and
// zeros.
TEST(Promise, P5SilenceThePeerSeesWhatWasCommittedAndNothingElse) {
  constexpr std::size_t kMessages = 300;
  Peer peer = Peer::Hostile({}, [](Session& mine) {
    // Until the victim has sent everything and closed.
    const PeerMemory control = mine.peer_control();
    const Deadline deadline = Generous();
    while (control.LoadAcquire64(kProducerStateOffset).AnyValueIsAcceptable() != kStreamClosed) {
      if (deadline.Expired()) return 1;
    }
    std::vector<std::byte> page(control.size_bytes());
    control.CopyOut(0, absl::MakeSpan(page));
    const std::set<std::size_t> words = {kTailOffset,         kProducerStateOffset,
                                         kHeadOffset,         kConsumerStateOffset,
                                         kReceiveEpochOffset, kSendEpochOffset};
    for (std::size_t at = 0; at < page.size(); ++at) {
      if (page[at] != std::byte{0} && words.count(at / 8 * 8) == 0) return 2;
    }
    uint64_t receive_epoch = 0;
    std::memcpy(&receive_epoch, page.data() + kReceiveEpochOffset, 8);
    if (receive_epoch > 1000) return 3;  // a count, no address and no clock

    std::vector<std::byte> data(mine.receive()->data.size_bytes() / 2);
    mine.receive()->data.CopyOut(0, absl::MakeSpan(data));
    std::vector<std::byte> expected;
    for (std::size_t i = 0; i < kMessages; ++i) {
      const std::array<uint32_t, 2> header = {static_cast<uint32_t>(i % 100), 7};
      const auto* bytes = reinterpret_cast<const std::byte*>(header.data());
      expected.insert(expected.end(), bytes, bytes + 8);
      expected.insert(expected.end(), i % 100, std::byte{'M'});
      expected.resize((expected.size() + 7) / 8 * 8);
    }
    expected.resize(data.size());
    if (data != expected) return 4;
    for (const auto* memory : {&page, &data}) {
      const auto* begin = reinterpret_cast<const unsigned char*>(memory->data());
      const auto* end = begin + memory->size();
      if (std::search(begin, end, kSecret.begin(), kSecret.end()) != end) return 5;
    }
    return 0;
  });
  const std::string text(100, 'M');
  std::vector<std::byte> buffer(peer.channel.receiver.max_message_bytes());
  for (std::size_t i = 0; i < kMessages; ++i) {
    if (i % 10 == 0) LeaveSecretsEverywhere();
    const std::string message = text.substr(0, i % 100);
    switch (i % 3) {
      case 0:
        ASSERT_TRUE(peer.channel.sender.Send(7, BytesOf(message), Generous()).ok());
        break;
      case 1:
        ASSERT_EQ(peer.channel.sender.TryStage(7, BytesOf(message)), Outcome::kOk);
        break;
      default:
        // More was reserved than is used.
        auto room = peer.channel.sender.Reserve(message.size() + 40, Generous());
        ASSERT_TRUE(room.ok());
        std::memcpy(room->data(), message.data(), message.size());
        peer.channel.sender.Commit(7, message.size());
        break;
    }
    if (i % 50 == 0) {
      const auto none = peer.channel.receiver.Receive(absl::MakeSpan(buffer), In(1));
      EXPECT_TRUE(absl::IsDeadlineExceeded(none.status()));
    }
  }
  peer.channel.sender.Close();
  EXPECT_EQ(peer.child.Wait(Generous()), 0);
}

// What the handshake says, as the peer receives it.
TEST(Promise, P5SilenceTheHandshakeHasNoByteThatNobodyWrote) {
  auto sockets = PeerSocket::Pair();
  ASSERT_TRUE(sockets.ok());
  Child hostile([&] {
    {
      auto unused = std::move(sockets->first);
    }
    Hello hello;
    hello.roles = kRoleSends | kRoleReceives;
    hello.doorbells = kDoorbellSocket;
    if (!sockets->second.Send(EncodeHello(hello)).ok()) return 1;
    std::vector<std::byte> buffer(kMaxMessageBytes);
    auto size = sockets->second.Receive(absl::MakeSpan(buffer), Generous());
    if (!size.ok()) return 2;
    const auto bytes = absl::MakeConstSpan(buffer).first(*size);
    auto welcome = ParseWelcome(bytes);
    if (!welcome.ok() || welcome->format != "format") return 3;
    // What it means, encoded again, is what it was: nothing else is in there.
    if (absl::MakeConstSpan(EncodeWelcome(*welcome)) != bytes) return 4;
    if (!sockets->second.Send(EncodeChannelId(MessageType::kAccepted, welcome->channel_id)).ok()) {
      return 7;
    }
    auto got = sockets->second.ReceiveWithDescriptors(absl::MakeSpan(buffer), 6, Generous());
    if (!got.ok()) return 8;
    // The victim's region and the draft of ours, as they are before a byte was sent: zeros.
    for (const std::size_t i : {0u, 1u}) {
      std::vector<unsigned char> file(4096 + 65536, 1);
      const int fd = got->descriptors[i].get();
      if (::pread(fd, file.data(), file.size(), 0) != static_cast<ssize_t>(file.size())) return 5;
      if (std::any_of(file.begin(), file.end(), [](unsigned char c) { return c != 0; })) return 6;
    }
    return 0;
  });
  {
    auto unused = std::move(sockets->second);
  }
  LeaveSecretsEverywhere();
  AcceptOptions options;
  options.format = "format";
  options.peer_pidfd = hostile.pidfd();
  auto channel = AcceptChannel(std::move(sockets->first), options, Generous());
  EXPECT_TRUE(absl::IsUnavailable(channel.status())) << channel.status();
  EXPECT_EQ(hostile.Wait(Generous()), 0);
}

// --- P6
// -------------------------------------------------------------------------------------------

TEST(Promise, P6ContainmentOneViolationEndsOneChannelForGoodWithAReason) {
  Peer honest = Peer::Start({}, Echo);
  Peer peer = Peer::Start({}, [](Channel& channel) -> int {
    if (!channel.sender.Send(1, BytesOf("honest so far"), Generous()).ok()) return 1;
    if (!channel.sender.AwaitDrained(Generous()).ok()) return 2;
    HostileAccess::Control(channel.sender).StoreRelease64(kTailOffset, 0);  // rewind
    HostileAccess::DoorbellOf(channel.sender).Signal();
    PauseForEver();
  });
  std::vector<std::byte> buffer(peer.channel.receiver.max_message_bytes());
  ASSERT_TRUE(peer.channel.receiver.Receive(absl::MakeSpan(buffer), Generous()).ok());
  for (int i = 0; i < 3; ++i) {
    auto got = peer.channel.receiver.Receive(absl::MakeSpan(buffer), Generous());
    EXPECT_TRUE(absl::IsDataLoss(got.status())) << got.status();
    EXPECT_NE(std::string(got.status().message()).find("position"), std::string::npos);
    EXPECT_EQ(peer.channel.sender.TrySend(1, BytesOf("x")), Outcome::kPoisoned);
    // Before what was taken already, so in no possible range.
    EXPECT_EQ(peer.channel.sender.violation(), Violation::kProducerPositionOutOfRange);
    EXPECT_TRUE(RoundTrip(honest.channel, "unharmed"));
  }
  honest.channel.sender.Close();
  EXPECT_EQ(honest.child.Wait(Generous()), 0);
}

// --- P7
// -------------------------------------------------------------------------------------------

TEST(Promise, P7ResourcesAPeerThatWantsMoreThanTheLimitsIsRefusedBeforeAnythingIsSpent) {
  const Resources before = Resources::Now();
  struct Wish {
    uint64_t capacity_bytes;
    uint32_t max_message_bytes;
  };
  for (const Wish wish : {Wish{1 << 30, 4096}, Wish{2 << 20, 2000000}}) {
    auto sockets = PeerSocket::Pair();
    ASSERT_TRUE(sockets.ok());
    Child greedy([&] {
      {
        auto unused = std::move(sockets->first);
      }
      ConnectOptions options;
      options.limits.max_capacity_bytes = 1 << 30;
      options.send = {wish.capacity_bytes, wish.max_message_bytes};
      auto channel = ConnectChannel(std::move(sockets->second), options, Generous());
      // And it learns why.
      return std::string(channel.status().message()).find("limits") != std::string::npos ? 0 : 1;
    });
    {
      auto unused = std::move(sockets->second);
    }
    AcceptOptions options;
    options.limits = {4 << 20, 1 << 20};
    auto channel = AcceptChannel(std::move(sockets->first), options, Generous());
    EXPECT_TRUE(absl::IsResourceExhausted(channel.status())) << channel.status();
    EXPECT_EQ(greedy.Wait(Generous()), 0);
  }
  ExpectNothingLeaked(before);
}

// A process that connects as fast as it can and never goes on costs a bounded number of descriptors
// and no memory to speak of, and an honest peer still gets in.
TEST(Promise, P7ResourcesAFloodOfConnectionsIsBoundedAndAnHonestPeerStillGetsIn) {
  const std::string name = "@parley-promise-7-" + std::to_string(::getpid());
  ServerLimits limits;
  limits.max_pending = 8;
  limits.handshake_time = absl::Milliseconds(100);
  auto listener = ChannelListener::Listen(name, {}, limits);
  ASSERT_TRUE(listener.ok()) << listener.status();
  Child flood([&] {
    std::vector<PeerSocket> kept;
    while (true) {
      auto socket = ConnectTo(name, Generous());
      if (!socket.ok()) return 1;
      kept.push_back(*std::move(socket));
      if (kept.size() > 200) kept.clear();
    }
  });
  const Resources before = Resources::Now();
  int max_descriptors = 0;
  const Deadline until = In(700);
  while (!until.Expired()) {
    EXPECT_TRUE(absl::IsDeadlineExceeded(listener->Accept(In(10)).status()));
    max_descriptors = std::max(max_descriptors, static_cast<int>(OpenDescriptors().size()));
  }
  EXPECT_GT(listener->failures(), 8u);
  EXPECT_LE(max_descriptors, before.descriptors + limits.max_pending);
  Child honest([&] {
    const Deadline deadline = Generous();
    while (!deadline.Expired()) {
      auto channel = ConnectChannel(name, {}, deadline);
      if (channel.ok()) return Echo(*channel);
    }
    return 1;
  });
  auto channel = listener->Accept(Generous());
  ASSERT_TRUE(channel.ok()) << channel.status();
  EXPECT_TRUE(RoundTrip(*channel, "got in"));
  channel->sender.Close();
  EXPECT_EQ(honest.Wait(Generous()), 0);
  EXPECT_LE(Resources::Now().resident_bytes, before.resident_bytes + (8 << 20));
}

// --- P8
// -------------------------------------------------------------------------------------------

struct SideDoors : ::testing::TestWithParam<DoorbellKind> {
  SideDoors() { setup.doorbell = GetParam(); }
  PeerSetup setup;
};
INSTANTIATE_TEST_SUITE_P(Promise, SideDoors,
                         ::testing::Values(DoorbellKind::kSocket, DoorbellKind::kEventfd,
                                           DoorbellKind::kFutex),
                         [](const auto& kind) { return DoorbellName(kind.param); });

TEST_P(SideDoors, P8NoSideDoorsEveryDescriptorIsCloseOnExecAndNothingHasAName) {
  const std::string name = "@parley-promise-8-" + std::to_string(::getpid());
  const auto files = [] {
    std::set<std::string> found;
    for (const char* folder : {std::getenv("TEST_TMPDIR")}) {
      if (folder == nullptr) continue;
      for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        found.insert(entry.path().string());
      }
    }
    return found;
  };
  const std::set<std::string> files_before = files();
  const std::vector<int> descriptors = OpenDescriptors();
  const std::vector<std::string> mappings = Mappings();
  auto listener = ChannelListener::Listen(name, {});
  ASSERT_TRUE(listener.ok());
  Peer peer = Peer::Start(setup, Echo);
  ASSERT_TRUE(RoundTrip(peer.channel, "in use"));
  int looked_at = 0;
  for (const int fd : OpenDescriptors()) {
    if (std::count(descriptors.begin(), descriptors.end(), fd) != 0) continue;
    ++looked_at;
    EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0) << DescriptorName(fd);
    const std::string what = DescriptorName(fd);
    EXPECT_TRUE(what.rfind("socket:[", 0) == 0 || what.rfind("anon_inode:[", 0) == 0 ||
                what.rfind("/memfd:parley", 0) == 0)
        << what;
  }
  EXPECT_GT(looked_at, 3);
  int shared = 0;
  for (const std::string& line : Mappings()) {
    if (line.find(" rw-s ") == std::string::npos && line.find(" r--s ") == std::string::npos)
      continue;
    if (std::count(mappings.begin(), mappings.end(), line) != 0) continue;
    ++shared;
    EXPECT_NE(line.find("/memfd:parley"), std::string::npos) << line;
  }
  EXPECT_GT(shared, 1);
  EXPECT_EQ(files(), files_before);
}

TEST_P(SideDoors, P8NoSideDoorsADeadPeerSendsNoSignal) {
  // In a process of its own, so that a signal would be seen as one.
  Child victim([&] {
    for (const int signal : {SIGPIPE, SIGIO, SIGURG}) ::signal(signal, SIG_DFL);
    for (const bool accepting : {true, false}) {
      setup.accepting = accepting;
      Peer peer = Peer::Start(setup, [](Channel& channel) {
        std::vector<std::byte> buffer(channel.receiver.max_message_bytes());
        static_cast<void>(channel.receiver.Receive(absl::MakeSpan(buffer), In(20)));
        return 0;
      });
      if (!peer.channel.sender) return 1;
      peer.child.Wait(Generous());
      // Its end is closed, and it waited, so the doorbell is rung.
      for (int i = 0; i < 200; ++i) {
        static_cast<void>(peer.channel.sender.TrySend(1, BytesOf(std::string(1000, 'x'))));
      }
      if (!absl::IsUnavailable(
              peer.channel.sender.Send(1, BytesOf(std::string(1000, 'x')), Generous()))) {
        return 2;
      }
      struct sigaction now = {};
      if (::sigaction(SIGPIPE, nullptr, &now) != 0 || now.sa_handler != SIG_DFL) return 3;
    }
    return 0;
  });
  EXPECT_EQ(victim.Wait(Generous()), 0);
}

// --- P9
// -------------------------------------------------------------------------------------------

// Every message of the handshake, mutated in every way, in a process of its own: it may refuse, but
// it may not abort, and afterwards an honest peer gets in.
TEST(Promise, P9AbortIsOursNoHandshakeMessageMakesUsAbort) {
  const std::string name = "@parley-promise-9-" + std::to_string(::getpid());
  SharedCounter stop;
  Child victim([&] {
    ServerLimits limits;
    limits.handshake_time = absl::Milliseconds(50);
    auto listener = ChannelListener::Listen(name, {}, limits);
    if (!listener.ok()) return 1;
    std::mt19937_64 random(3);
    const Deadline deadline = Generous();
    while (stop.Get() == 0 && !deadline.Expired()) {
      auto channel = listener->Accept(In(20));
      if (channel.ok()) UseInEveryWay(*channel, random, In(10));
    }
    return listener->failures() > 50 ? 0 : 2;
  });
  std::mt19937_64 random(4);
  Hello hello;
  hello.roles = kRoleSends | kRoleReceives;
  hello.doorbells = kDoorbellSocket;
  hello.send = {8192, 1024};
  hello.format = "format";
  const std::vector<std::byte> good = EncodeHello(hello);
  const Deadline until = In(1200);
  int tries = 0;
  while (!until.Expired() || tries < 200) {
    auto socket = ConnectTo(name, Generous());
    if (!socket.ok()) {  // not listening yet
      absl::SleepFor(absl::Milliseconds(1));
      ASSERT_EQ(victim.Wait(In(0)), -1);
      continue;
    }
    ++tries;
    std::vector<std::byte> message = good;
    const auto changes = random() % 4;
    for (uint64_t i = 0; i < changes; ++i) {
      const std::size_t at = random() % message.size();
      if (random() % 2 == 0) {
        message[at] = static_cast<std::byte>(random());
      } else if (at + 8 <= message.size()) {
        const uint64_t word = NastyWord(random, 8192);
        std::memcpy(message.data() + at / 8 * 8, &word, 8);
      }
    }
    if (random() % 8 == 0) message.resize(1 + random() % (2 * message.size()));
    static_cast<void>(socket->Send(message));
    std::vector<std::byte> buffer(kMaxMessageBytes);
    auto size = socket->Receive(absl::MakeSpan(buffer), In(200));
    if (!size.ok()) continue;
    auto welcome = ParseWelcome(absl::MakeConstSpan(buffer).first(*size));
    if (!welcome.ok()) continue;
    message = EncodeChannelId(MessageType::kAccepted, welcome->channel_id);
    if (random() % 4 == 0) message[random() % message.size()] ^= std::byte{1};
    static_cast<void>(socket->Send(message));
    auto got = socket->ReceiveWithDescriptors(absl::MakeSpan(buffer), 6, In(200));
    if (!got.ok() || got->descriptors.size() < 2) continue;
    // Now a Mapped that may be wrong, on a region that was never mapped or sealed.
    if (random() % 2 == 0) {
      ::fcntl(got->descriptors[1].get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
    }
    message = EncodeChannelId(MessageType::kMapped, welcome->channel_id);
    if (random() % 2 == 0) message[random() % message.size()] ^= std::byte{1};
    static_cast<void>(socket->Send(message));
    for (int i = 0; i < 3; ++i) {
      // What comes after the handshake are wake-ups of one byte; these are none.
      static_cast<void>(socket->Send(absl::MakeConstSpan(good).first(1 + random() % 40)));
    }
  }
  stop.Set(1);
  EXPECT_EQ(victim.Wait(Generous()), 0);
}

// Every word that the peer owns, set to every kind of value, one at a time: an outcome, no abort.
TEST(Promise, P9AbortIsOursNoWordInSharedMemoryMakesUsAbort) {
  constexpr std::array<std::size_t, 6> kWords = {kTailOffset,         kProducerStateOffset,
                                                 kHeadOffset,         kConsumerStateOffset,
                                                 kReceiveEpochOffset, kSendEpochOffset};
  std::vector<uint64_t> values = {
      0, 1, 2, 7, 8, 16, 4096, 65528, 65536, 65544, ~uint64_t{0}, ~uint64_t{7}};
  for (int bit = 20; bit < 64; bit += 11) values.push_back(uint64_t{1} << bit);
  // One hostile process, a channel for each value: the victim says when to go on by closing.
  const std::string name = "@parley-promise-9b-" + std::to_string(::getpid());
  auto listener = ChannelListener::Listen(name, {});
  ASSERT_TRUE(listener.ok());
  Child hostile([&] {
    for (const std::size_t word : kWords) {
      for (const uint64_t value : values) {
        auto socket = ConnectTo(name, Generous());
        if (!socket.ok()) return 1;
        auto mine = ConnectHandshake(*std::move(socket), {}, Generous());
        if (!mine.ok()) return 2;
        (*mine)->control().StoreRelease64(word, value);
        (*mine)->send()->doorbell->Signal();
        (*mine)->receive()->doorbell->Signal();
        // Until the victim has let go of the channel.
        pollfd entry = {(*mine)->connection(), POLLIN, 0};
        const Deadline deadline = Generous();
        while (!deadline.Expired()) {
          ::poll(&entry, 1, 100);
          if ((*mine)->send()->doorbell->Drain() == Doorbell::Drained::kPeerGone) break;
        }
      }
    }
    return 0;
  });
  std::mt19937_64 random(5);
  for (std::size_t i = 0; i < kWords.size() * values.size(); ++i) {
    auto channel = listener->Accept(Generous());
    ASSERT_TRUE(channel.ok()) << channel.status();
    UseInEveryWay(*channel, random, In(10));
  }
  EXPECT_EQ(hostile.Wait(Generous()), 0);
}

}  // namespace
}  // namespace parley
