// SPDX-License-Identifier: Apache-2.0

// Looks for the fences of the waiting protocol in the code that runs: no test of what arrives would
// miss them for days, and the thread sanitizer does not know them. A call is taken instruction by
// instruction, and what matters is noted: a store to our control page, a load from the peer's
// (which is out of reach, so that each is a fault), a fence, a barrier. verify/ shows why they must
// come in this order.

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <ostream>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/channel/channel.h"
#include "parley/channel/hostile_access.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/deadline.h"
#include "parley/ring/layout.h"
#include "parley/sealing/file_registry.h"
#include "parley/testing/sanitizers.h"
#include "parley/wait/layout.h"
#include "parley/wait/memory_barrier.h"

namespace parley {
namespace {

struct Event {
  enum Kind : uint8_t { kStore, kLoad, kFence, kBarrier } kind;
  std::size_t offset;  // of the word in the control page; 0 for the last two
  bool operator==(const Event& other) const = default;
};
void PrintTo(const Event& event, std::ostream* out) {
  constexpr std::array<const char*, 4> kNames = {"store at +", "load at +", "fence ", "barrier "};
  *out << kNames[event.kind] << event.offset;
}
Event Store(std::size_t offset) { return {Event::kStore, offset}; }
Event Load(std::size_t offset) { return {Event::kLoad, offset}; }
const Event kFence = {Event::kFence, 0};
const Event kBarrier = {Event::kBarrier, 0};

#if defined(__x86_64__) && !PARLEY_HAS_SANITIZER
constexpr bool kCanWatch = true;
constexpr greg_t kTrapFlag = 0x100;

constexpr std::array<std::size_t, 6> kWords = {kTailOffset,         kProducerStateOffset,
                                               kHeadOffset,         kConsumerStateOffset,
                                               kReceiveEpochOffset, kSendEpochOffset};

// Of the one call that is watched, for the handlers.
volatile bool watching = false;
std::byte* own_page = nullptr;
std::byte* peer_page = nullptr;
bool peer_page_in_reach = false;
std::array<uint64_t, kWords.size()> before;
std::array<Event, 1000> events;
std::size_t event_count = 0;

void Note(Event event) {
  if (event_count < events.size()) events[event_count++] = event;
}

uint64_t OwnWord(std::size_t offset) {
  uint64_t word = 0;
  std::memcpy(&word, own_page + offset, sizeof(word));
  return word;
}

void OnStep(int, siginfo_t*, void* context) {
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  if (!watching) {
    registers[REG_EFL] &= ~kTrapFlag;
    return;
  }
  for (std::size_t i = 0; i < kWords.size(); ++i) {
    if (const uint64_t now = OwnWord(kWords[i]); now != before[i]) {
      before[i] = now;
      Note(Store(kWords[i]));
    }
  }
  if (peer_page_in_reach) {
    ::mprotect(peer_page, kControlBytes, PROT_NONE);
    peer_page_in_reach = false;
  }
  // What comes next: mfence, anything with a lock prefix, or the system call.
  std::array<uint8_t, 3> code;
  // SAFETY: the address of the next instruction, which is at least as long as what is compared.
  // NOLINTNEXTLINE(performance-no-int-to-ptr): the kernel gives it as a number
  const auto* next = reinterpret_cast<const uint8_t*>(registers[REG_RIP]);
  std::memcpy(code.data(), next, code.size());
  if (code[0] == 0xf0 || code == std::array<uint8_t, 3>{0x0f, 0xae, 0xf0}) Note(kFence);
  if (code[0] == 0x0f && code[1] == 0x05 && registers[REG_RAX] == SYS_membarrier) Note(kBarrier);
}

void OnFault(int, siginfo_t* info, void*) {
  const auto* address = static_cast<std::byte*>(info->si_addr);
  if (!watching || address < peer_page || address >= peer_page + kControlBytes) {
    ::signal(SIGSEGV, SIG_DFL);  // a fault of another kind: let it be seen
    return;
  }
  Note(Load(static_cast<std::size_t>(address - peer_page)));
  ::mprotect(peer_page, kControlBytes, PROT_READ);
  peer_page_in_reach = true;
}

struct sigaction Handle(int number, void (*handler)(int, siginfo_t*, void*)) {
  struct sigaction action = {};
  struct sigaction old = {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(number, &action, &old);
  return old;
}

void StartToStep() { asm volatile("pushfq; orq $0x100, (%%rsp); popfq" : : : "memory", "cc"); }

std::vector<Event> Watch(std::byte* own, std::byte* peer, const std::function<void()>& call) {
  own_page = own;
  peer_page = peer;
  event_count = 0;
  for (std::size_t i = 0; i < kWords.size(); ++i) before[i] = OwnWord(kWords[i]);
  const auto old_trap = Handle(SIGTRAP, OnStep);
  const auto old_fault = Handle(SIGSEGV, OnFault);
  peer_page_in_reach = false;
  ::mprotect(peer_page, kControlBytes, PROT_NONE);
  watching = true;
  StartToStep();
  call();
  watching = false;  // the next step is the last one
  ::mprotect(peer_page, kControlBytes, PROT_READ);
  ::sigaction(SIGTRAP, &old_trap, nullptr);
  ::sigaction(SIGSEGV, &old_fault, nullptr);
  return std::vector<Event>(events.begin(),
                            events.begin() + static_cast<std::ptrdiff_t>(event_count));
}
#else
constexpr bool kCanWatch = false;
std::vector<Event> Watch(std::byte*, std::byte*, const std::function<void()>&) { return {}; }
#endif

// Where this process has mapped the control pages of the regions that it only reads.
std::vector<std::byte*> ReadOnlyControlPages() {
  std::vector<std::byte*> pages;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find(" r--s 00000000 ") == std::string::npos ||
        line.find("memfd:parley") == std::string::npos) {
      continue;
    }
    uintptr_t start = 0;
    std::istringstream(line) >> std::hex >> start;
    // SAFETY: the kernel's word for it.
    // NOLINTNEXTLINE(performance-no-int-to-ptr): in text
    pages.push_back(reinterpret_cast<std::byte*>(start));
  }
  return pages;
}

// One end of a channel, to be watched, and the other one.
struct FenceTest : ::testing::Test {
  FileRegistry registry;
  FileRegistry others_registry;
  Channel channel;
  Channel other;
  std::byte* own = nullptr;
  std::byte* peer = nullptr;
  std::vector<std::byte> buffer = std::vector<std::byte>(1024);

  void SetUp() override {
    if (!kCanWatch) GTEST_SKIP() << "for x86-64 without sanitizers";
  }

  void Connect(FenceMode fences) {
    AcceptOptions accept;
    accept.registry = &registry;
    accept.fences = fences;
    accept.send = {4096, 1024};
    accept.receive = {4096, 1024};
    ConnectOptions connect;
    connect.registry = &others_registry;
    connect.fences = fences;
    auto pair = PeerSocket::Pair();
    const Deadline soon = Deadline::After(absl::Seconds(5));
    absl::StatusOr<Channel> connected = absl::UnknownError("");
    std::thread thread([&] { connected = ConnectChannel(std::move(pair->second), connect, soon); });
    auto accepted = AcceptChannel(std::move(pair->first), accept, soon);
    thread.join();
    ASSERT_TRUE(accepted.ok() && connected.ok()) << accepted.status() << connected.status();
    channel = *std::move(accepted);
    other = *std::move(connected);
    own = HostileAccess::Control(channel.sender).Writable(0, kControlBytes).data();
    // Both ends are mapped here: which of the two it is shows in a word that the other one writes.
    HostileAccess::Control(other.sender).StoreRelease64(kSendEpochOffset, 4711);
    for (std::byte* page : ReadOnlyControlPages()) {
      uint64_t word = 0;
      std::memcpy(&word, page + kSendEpochOffset, sizeof(word));
      if (word == 4711) peer = page;
    }
    ASSERT_NE(peer, nullptr);
    HostileAccess::Control(other.sender).StoreRelease64(kSendEpochOffset, 0);
  }

  std::vector<Event> Watched(const std::function<void()>& call) { return Watch(own, peer, call); }

  // What came after the last store of `word` and before the first load of `looked_at` behind it.
  static std::vector<Event> Between(const std::vector<Event>& all, std::size_t word,
                                    std::size_t looked_at) {
    std::vector<Event> found;
    bool stored = false;
    for (const Event& event : all) {
      if (event == Store(word)) {
        stored = true;
        found.clear();
      } else if (stored && event == Load(looked_at)) {
        return found;
      } else if (stored) {
        found.push_back(event);
      }
    }
    ADD_FAILURE() << "no store at +" << word << " and then a load at +" << looked_at;
    return found;
  }

  void FillTheRing() {
    while (channel.sender.TrySend(1, absl::MakeConstSpan(buffer)) == Outcome::kOk) {
    }
  }

  // Each way to publish, and the look whether somebody sleeps; `expected` in between.
  void ExpectOfWhoRings(const std::vector<Event>& expected) {
    const auto bytes = absl::MakeConstSpan(buffer).first(8);
    EXPECT_EQ(Between(Watched([&] { channel.sender.TrySend(1, bytes); }), kTailOffset,
                      kReceiveEpochOffset),
              expected);
    ASSERT_EQ(other.sender.TrySend(1, bytes), Outcome::kOk);
    Record record;
    EXPECT_EQ(
        Between(Watched([&] { channel.receiver.TryReceive(absl::MakeSpan(buffer), &record); }),
                kHeadOffset, kSendEpochOffset),
        expected);
    EXPECT_EQ(record.size_bytes, 8u);
    EXPECT_EQ(
        Between(Watched([&] { channel.receiver.Close(); }), kConsumerStateOffset, kSendEpochOffset),
        expected);
    EXPECT_EQ(Between(Watched([&] { channel.sender.Close(); }), kProducerStateOffset,
                      kReceiveEpochOffset),
              expected);
  }

  // Each way to announce a sleep, and the last look.
  void ExpectOfWhoSleeps(const std::vector<Event>& expected) {
    EXPECT_EQ(Between(Watched([&] { EXPECT_TRUE(channel.receiver.PrepareToWait()); }),
                      kReceiveEpochOffset, kTailOffset)
                  .front(),
              expected.front());
    FillTheRing();
    EXPECT_EQ(Between(Watched([&] { EXPECT_TRUE(channel.sender.PrepareToWait(1024)); }),
                      kSendEpochOffset, kHeadOffset)
                  .front(),
              expected.front());
  }
};

TEST_F(FenceTest, TheSignallingSidePublishesThenFencesThenReadsTheEpoch) {
  Connect(FenceMode::kFull);
  ExpectOfWhoRings({kFence});
}

TEST_F(FenceTest, TheSleeperPublishesItsEpochThenFencesThenPollsAgain) {
  Connect(FenceMode::kFull);
  ExpectOfWhoSleeps({kFence});
}

TEST_F(FenceTest, WhereTheSleeperMakesABarrierTheRingerHasNoFence) {
  if (!SystemWideBarrierWorks()) GTEST_SKIP() << "this kernel has no membarrier GLOBAL_EXPEDITED";
  Connect(FenceMode::kAsymmetric);
  ExpectOfWhoRings({});
}

TEST_F(FenceTest, WhereTheRingerHasNoFenceTheSleeperMakesABarrier) {
  if (!SystemWideBarrierWorks()) GTEST_SKIP() << "this kernel has no membarrier GLOBAL_EXPEDITED";
  Connect(FenceMode::kAsymmetric);
  ExpectOfWhoSleeps({kBarrier});
}

}  // namespace
}  // namespace parley
