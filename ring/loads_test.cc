// SPDX-License-Identifier: Apache-2.0

// Counts what the compiled code really fetches from the peer's memory and stores to ours: the
// memory is out of reach, so each access is a fault; it is noted, and one instruction runs with the
// memory in reach. BUILD.bazel compiles this with each level of optimisation, and ./dev check with
// both compilers: gcc 12 has been seen to make two fetches of one in the source (attack R3).

#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/ring/consumer.h"
#include "parley/ring/layout.h"
#include "parley/ring/producer.h"
#include "parley/ring/typed_ring.h"
#include "parley/testing/sanitizers.h"

namespace parley {
namespace {

constexpr uint64_t kCapacity = 4096;
constexpr RingGeometry kGeometry = {kCapacity, 1024};

// The real memory, and yet types of this file alone: so the templates are compiled here, with this
// file's level of optimisation.
struct Own : OwnMemory {
  using OwnMemory::OwnMemory;
};
struct Peer : PeerMemory {
  using PeerMemory::PeerMemory;
};

// One control page and the data twice, as a region has them (here without the mirror).
constexpr std::size_t kRegionBytes = kControlBytes + 2 * kCapacity;
constexpr std::size_t kMost = 4096;

struct Access {
  std::size_t offset;
  bool write;
  bool operator==(const Access& other) const = default;
};
void PrintTo(const Access& access, std::ostream* out) {
  *out << (access.write ? "store at +" : "load at +") << access.offset;
}
Access Load(std::size_t offset) { return {offset, false}; }
Access Store(std::size_t offset) { return {offset, true}; }

#if defined(__x86_64__)
constexpr bool kCanCount = true;

// Of the one Watched region at a time, for the handlers.
std::byte* watched = nullptr;
std::array<Access, kMost> accesses;
std::size_t access_count = 0;
constexpr greg_t kTrapFlag = 0x100;
constexpr greg_t kWasWrite = 2;  // in the page fault's error code

void OnFault(int, siginfo_t* info, void* context) {
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const auto* address = static_cast<std::byte*>(info->si_addr);
  if (address < watched || address >= watched + kRegionBytes || access_count == kMost) {
    ::signal(SIGSEGV, SIG_DFL);  // a fault of another kind: let it be seen
    return;
  }
  accesses[access_count++] = {static_cast<std::size_t>(address - watched),
                              (registers[REG_ERR] & kWasWrite) != 0};
  ::mprotect(watched, kRegionBytes, PROT_READ | PROT_WRITE);
  registers[REG_EFL] |= kTrapFlag;
}

void OnStep(int, siginfo_t*, void* context) {
  ::mprotect(watched, kRegionBytes, PROT_NONE);
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL] &= ~kTrapFlag;
}

void Handle(int number, void (*handler)(int, siginfo_t*, void*)) {
  struct sigaction action = {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(number, &action, nullptr);
}
#else
constexpr bool kCanCount = false;
#endif

class Region {
 public:
  Region()
      : base_(static_cast<std::byte*>(::mmap(nullptr, kRegionBytes, PROT_READ | PROT_WRITE,
                                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {}
  Region(const Region&) = delete;
  ~Region() { ::munmap(base_, kRegionBytes); }

  template <typename Memory>
  Memory control() const {
    return Memory(base_, kControlBytes);
  }
  template <typename Memory>
  Memory data() const {
    return Memory(base_ + kControlBytes, 2 * kCapacity);
  }
  void Set(std::size_t offset, uint64_t word) const {
    std::memcpy(base_ + offset, &word, sizeof(word));
  }

  // Each access to this region while `body` runs, in order.
  std::vector<Access> During(const std::function<void()>& body) const {
#if defined(__x86_64__)
    watched = base_;
    access_count = 0;
    Handle(SIGSEGV, OnFault);
    Handle(SIGTRAP, OnStep);
    ::mprotect(base_, kRegionBytes, PROT_NONE);
    body();
    ::mprotect(base_, kRegionBytes, PROT_READ | PROT_WRITE);
    ::signal(SIGSEGV, SIG_DFL);
    ::signal(SIGTRAP, SIG_DFL);
    return {accesses.begin(), accesses.begin() + static_cast<std::ptrdiff_t>(access_count)};
#else
    body();
    return {};
#endif
  }

 private:
  std::byte* const base_;
};

class LoadsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!kCanCount) GTEST_SKIP() << "single steps are known here for x86-64 alone";
    if (PARLEY_HAS_TSAN) GTEST_SKIP() << "the thread sanitizer looks at each atomic word itself";
  }
  // A record at `at`, and the tail behind it.
  void Publish(uint64_t at, uint32_t size_bytes, uint32_t tag) const {
    peer.Set(kControlBytes + at, uint64_t{tag} << 32 | size_bytes);
    peer.Set(kTailOffset, at + 8 + (uint64_t{size_bytes} + 7) / 8 * 8);
  }

  Region own;
  Region peer;
  std::vector<std::byte> buffer = std::vector<std::byte>(1024);
};

constexpr std::size_t kData = kControlBytes;
const std::vector<Access> kNone;

TEST_F(LoadsTest, TheCounterSeesASecondFetch) {
  peer.Set(64, 7);
  const auto* word = peer.control<Peer>().ViewOf(64, 8).BytesThatThePeerMayRewriteAtAnyTime();
  // SAFETY: an aligned word of this test's own memory.
  const auto* careless = reinterpret_cast<const volatile uint64_t*>(word);
  uint64_t sum = 0;
  EXPECT_EQ(peer.During([&] { sum = *careless + *careless; }),
            (std::vector<Access>{Load(64), Load(64)}));
  EXPECT_EQ(sum, 14u);
  EXPECT_EQ(peer.During([&] { sum = *careless; }), (std::vector<Access>{Load(64)}));
}

using TestConsumer = BasicConsumer<Own, Peer>;
using TestProducer = BasicProducer<Own, Peer>;

TEST_F(LoadsTest, AttackR3EachWordOfAPeekedRecordIsFetchedOnce) {
  TestConsumer consumer(own.control<Own>(), peer.control<Peer>(), peer.data<Peer>(), kGeometry);
  Publish(0, 61, 5);
  Publish(72, 64, 6);
  Record record;
  TestConsumer::View view;
  Outcome outcome = Outcome::kWouldBlock;
  const auto peek = [&] { outcome = consumer.TryPeek(&record, &view); };
  // The peer's two words, the header, and the word with the padding.
  EXPECT_EQ(peer.During(peek), (std::vector<Access>{Load(kProducerStateOffset), Load(kTailOffset),
                                                    Load(kData), Load(kData + 64)}));
  EXPECT_EQ(outcome, Outcome::kOk);
  EXPECT_EQ(record.size_bytes, 61u);
  // What is known is not looked at again; there is no padding.
  EXPECT_EQ(peer.During(peek), (std::vector<Access>{Load(kData + 72)}));
  EXPECT_EQ(outcome, Outcome::kOk);
  EXPECT_EQ(record.tag, 6u);
  EXPECT_EQ(peer.During(peek),
            (std::vector<Access>{Load(kProducerStateOffset), Load(kTailOffset)}));
  EXPECT_EQ(outcome, Outcome::kWouldBlock);
}

// The payload is one call of the copy routine: it may fetch a byte twice, into private memory where
// one of the two stays. Words that decide anything are fetched before it, once.
TEST_F(LoadsTest, AttackR3EachWordOfAReceivedRecordIsFetchedOnce) {
  for (const auto size_bytes : std::initializer_list<std::size_t>{0, 1, 7, 8, 61, 200, 1000}) {
    const Region fresh;
    TestConsumer consumer(own.control<Own>(), fresh.control<Peer>(), fresh.data<Peer>(), kGeometry);
    fresh.Set(kData, size_bytes);
    fresh.Set(kTailOffset, 8 + (size_bytes + 7) / 8 * 8);
    Record record;
    Outcome outcome = Outcome::kWouldBlock;
    std::vector<Access> got =
        fresh.During([&] { outcome = consumer.TryReceive(absl::MakeSpan(buffer), &record); });
    EXPECT_EQ(outcome, Outcome::kOk);
    EXPECT_EQ(record.size_bytes, size_bytes);
    std::vector<Access> wanted = {Load(kProducerStateOffset), Load(kTailOffset), Load(kData)};
    if (size_bytes % 8 != 0) wanted.push_back(Load(kData + 8 + size_bytes / 8 * 8));
    ASSERT_GE(got.size(), wanted.size());
    const auto copy = got.begin() + static_cast<std::ptrdiff_t>(wanted.size());
    EXPECT_EQ((std::vector<Access>{got.begin(), copy}), wanted);
    for (auto access = copy; access != got.end(); ++access) {
      EXPECT_FALSE(access->write);
      EXPECT_GE(access->offset, kData + 8) << "a word that was checked before";
      EXPECT_LT(access->offset, kData + 8 + size_bytes) << "behind the payload";
    }
  }
}

TEST_F(LoadsTest, AttackR3ALieIsNotLookedAtTwice) {
  TestConsumer consumer(own.control<Own>(), peer.control<Peer>(), peer.data<Peer>(), kGeometry);
  Publish(0, 4000, 5);
  Record record;
  Outcome outcome = Outcome::kWouldBlock;
  const auto receive = [&] { outcome = consumer.TryReceive(absl::MakeSpan(buffer), &record); };
  EXPECT_EQ(peer.During(receive),
            (std::vector<Access>{Load(kProducerStateOffset), Load(kTailOffset), Load(kData)}));
  EXPECT_EQ(outcome, Outcome::kPoisoned);
  EXPECT_EQ(peer.During(receive), kNone);
}

TEST_F(LoadsTest, AttackR3TheProducerFetchesTwoWordsOrNone) {
  TestProducer producer(own.control<Own>(), own.data<Own>(), peer.control<Peer>(), kGeometry);
  Outcome outcome = Outcome::kWouldBlock;
  const auto send = [&] { outcome = producer.TrySend(1, absl::MakeConstSpan(buffer)); };
  const std::vector<Access> look = {Load(kConsumerStateOffset), Load(kHeadOffset)};
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(peer.During(send), kNone) << "there is room";
    EXPECT_EQ(outcome, Outcome::kOk);
  }
  EXPECT_EQ(peer.During(send), look);
  EXPECT_EQ(outcome, Outcome::kWouldBlock);
  peer.Set(kHeadOffset, 2 * 1032);
  EXPECT_EQ(peer.During(send), look);
  EXPECT_EQ(outcome, Outcome::kOk);
  bool drained = true;
  EXPECT_EQ(peer.During([&] { drained = producer.Drained(); }), look);
  EXPECT_FALSE(drained);
  EXPECT_EQ(peer.During([&] { static_cast<void>(producer.HasFreeSpace(1024)); }), kNone);
  peer.Set(kHeadOffset, 5000);
  EXPECT_EQ(peer.During([&] { drained = producer.Drained(); }), look);
  EXPECT_EQ(producer.violation(), Violation::kConsumerPositionOutOfRange);
  EXPECT_EQ(peer.During(send), kNone) << "poisoned";
}

TEST_F(LoadsTest, AttackR3TypedEndsFetchTwoWordsAndTheElements) {
  TypedConsumer<uint64_t, Own, Peer> consumer(own.control<Own>(), peer.control<Peer>(),
                                              peer.data<Peer>(), kCapacity);
  peer.Set(kTailOffset, 24);
  std::array<uint64_t, 3> elements = {};
  std::size_t count = 0;
  const auto got = peer.During([&] { count = consumer.TryPop(absl::MakeSpan(elements)); });
  EXPECT_EQ(count, 3u);
  ASSERT_GE(got.size(), 3u);
  EXPECT_EQ(got[0], Load(kProducerStateOffset));
  EXPECT_EQ(got[1], Load(kTailOffset));
  for (std::size_t i = 2; i < got.size(); ++i) {
    EXPECT_FALSE(got[i].write);
    EXPECT_GE(got[i].offset, kData);
    EXPECT_LT(got[i].offset, kData + 24);
  }

  TypedProducer<uint64_t, Own, Peer> producer(own.control<Own>(), own.data<Own>(),
                                              peer.control<Peer>(), kCapacity);
  EXPECT_EQ(peer.During([&] { count = producer.TryPush(absl::MakeConstSpan(elements)); }), kNone);
  EXPECT_EQ(count, 3u);
}

// Whoever else may write to our region, by /dev/udmabuf or a mapping that it kept: it changes
// nothing for us.
TEST_F(LoadsTest, AttackM15WhatWeWroteIsNeverReadBack) {
  TestProducer producer(own.control<Own>(), own.data<Own>(), peer.control<Peer>(), kGeometry);
  TestConsumer consumer(own.control<Own>(), peer.control<Peer>(), peer.data<Peer>(), kGeometry);
  Publish(0, 61, 5);
  std::vector<Access> stores = own.During([&] {
    Record record;
    absl::Span<std::byte> room;
    EXPECT_EQ(producer.TrySend(1, absl::MakeConstSpan(buffer).first(61)), Outcome::kOk);
    EXPECT_EQ(producer.TryReserve(8, &room), Outcome::kOk);
    producer.Commit(2, 0);
    EXPECT_EQ(consumer.TryReceive(absl::MakeSpan(buffer), &record), Outcome::kOk);
    EXPECT_EQ(consumer.TryReceive(absl::MakeSpan(buffer), &record), Outcome::kWouldBlock);
    EXPECT_FALSE(producer.Drained());
    consumer.Close();
    producer.Close();
  });
  EXPECT_GE(stores.size(), 8u);
  for (const Access& access : stores) EXPECT_TRUE(access.write) << access.offset;
  EXPECT_EQ(stores.back(), Store(kProducerStateOffset));
}

}  // namespace
}  // namespace parley
