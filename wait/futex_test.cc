// SPDX-License-Identifier: Apache-2.0
#include "parley/wait/futex.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/os/deadline.h"

namespace parley {
namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kWord = 384;

int64_t InMs(int milliseconds) {
  return Deadline::After(absl::Milliseconds(milliseconds)).monotonic_ns();
}

// A page as its writer has it, and as the other process has it: another mapping, without the right
// to write, and sealed against it as a region is.
struct FutexTest : ::testing::Test {
  FutexTest() {
    const int fd = ::memfd_create("page", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    EXPECT_EQ(::ftruncate(fd, kPageBytes), 0);
    writable = ::mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    EXPECT_EQ(
        ::fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL),
        0);
    readable = ::mmap(nullptr, kPageBytes, PROT_READ, MAP_SHARED, fd, 0);
    EXPECT_NE(writable, MAP_FAILED);
    EXPECT_NE(readable, MAP_FAILED);
    ::close(fd);
    own = OwnMemory(static_cast<std::byte*>(writable), kPageBytes);
    peer = PeerMemory(static_cast<std::byte*>(readable), kPageBytes);
  }
  ~FutexTest() override {
    ::munmap(writable, kPageBytes);
    ::munmap(readable, kPageBytes);
  }

  void* writable = nullptr;
  void* readable = nullptr;
  OwnMemory own;
  PeerMemory peer;
};

TEST_F(FutexTest, SleepsOnlyWhileTheWordIsTheExpectedOne) {
  own.StoreRelaxed64(kWord, 5);
  EXPECT_EQ(Futex::SleepWhile(peer, kWord, 4, InMs(10'000)), Futex::Slept::kChanged);
  const int64_t until_ns = InMs(30);
  EXPECT_EQ(Futex::SleepWhile(peer, kWord, 5, until_ns), Futex::Slept::kTimedOut);
  EXPECT_GE(MonotonicNowNs(), until_ns);
  // The low half alone counts.
  own.StoreRelaxed64(kWord, (uint64_t{7} << 32) | 5);
  EXPECT_EQ(Futex::SleepWhile(peer, kWord, 5, InMs(1)), Futex::Slept::kTimedOut);
  EXPECT_EQ(Futex::SleepWhile(peer, kWord, 5, -1), Futex::Slept::kTimedOut);
}

// A page that the kernel cannot read stands for a filter that refuses the call. Whoever tries again
// and again makes no busy loop of it.
TEST_F(FutexTest, WhereTheKernelRefusesItIsAShortSleep) {
  void* const nobodys = ::mmap(nullptr, kPageBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(nobodys, MAP_FAILED);
  const PeerMemory unreadable(static_cast<std::byte*>(nobodys), kPageBytes);
  const int64_t start_ns = MonotonicNowNs();
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(Futex::SleepWhile(unreadable, kWord, 0, InMs(10'000)), Futex::Slept::kFailed);
  }
  EXPECT_GE(MonotonicNowNs() - start_ns, int64_t{10} * 500'000);
  ::munmap(nobodys, kPageBytes);
}

TEST_F(FutexTest, AWakeUpReachesASleeperInAnotherMappingThatIsReadOnly) {
  std::atomic<int> woken{0};
  std::thread sleepers[3];
  for (std::thread& sleeper : sleepers) {
    sleeper = std::thread([&] {
      if (Futex::SleepWhile(peer, kWord, 0, InMs(20'000)) == Futex::Slept::kWoken) ++woken;
    });
  }
  // One at a time, and never more than one.
  for (int wakes = 1; wakes <= 3; ++wakes) {
    do {
      ::usleep(20'000);
      Futex::WakeOne(own, kWord);
      ::usleep(20'000);
    } while (woken < wakes);
    EXPECT_EQ(woken, wakes);
  }
  for (std::thread& sleeper : sleepers) sleeper.join();
  Futex::WakeOne(own, kWord);  // nobody
}

// The peer makes our wake-up fail; it is a call that returned all the same.
TEST_F(FutexTest, AttackW5APriorityInheritanceWaiterOnlyMakesOurWakeUpFail) {
  static uint32_t other = 0;
  std::thread waiter([&] {
    timespec at = {};
    ::clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += 2;
    ::syscall(SYS_futex, static_cast<std::byte*>(readable) + kWord, FUTEX_WAIT_REQUEUE_PI, 0, &at,
              &other, 0);
  });
  ::usleep(200'000);
  EXPECT_EQ(::syscall(SYS_futex, static_cast<std::byte*>(writable) + kWord, FUTEX_WAKE, 1, nullptr,
                      nullptr, 0),
            -1);
  const int64_t before_ns = MonotonicNowNs();
  for (int i = 0; i < 100; ++i) Futex::WakeOne(own, kWord);
  EXPECT_LT(MonotonicNowNs() - before_ns, 500'000'000);
  waiter.join();
}

}  // namespace
}  // namespace parley
