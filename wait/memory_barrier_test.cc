// SPDX-License-Identifier: Apache-2.0
#include "parley/wait/memory_barrier.h"

#include <linux/membarrier.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

#include "gtest/gtest.h"
#include "parley/testing/filter.h"

namespace parley {
namespace {

struct Shared {
  alignas(128) std::atomic<uint32_t> round;
  alignas(128) std::atomic<uint32_t> x;
  alignas(128) std::atomic<uint32_t> y;
  alignas(128) std::atomic<uint32_t> child_saw;  // round << 1 | whether it saw x
  std::atomic<bool> registered;
};

// RELAXED: what orders these two is what is tested.
void Set(std::atomic<uint32_t>& word, uint32_t value) {
  word.store(value, std::memory_order_relaxed);  // RELAXED: see above
}
uint32_t Get(const std::atomic<uint32_t>& word) {
  return word.load(std::memory_order_relaxed);  // RELAXED: see above
}

// The two may have to share a processor.
void Breathe(int looks) {
  if (looks % 256 == 0) ::sched_yield();
}

// Store, then load, without a fence: the frequent side.
void FrequentSide(Shared* shared, uint32_t rounds) {
  shared->registered = RegisterForBarriers();
  for (uint32_t round = 1; round <= rounds; ++round) {
    for (int looks = 1; Get(shared->round) != round; ++looks) Breathe(looks);
    Set(shared->y, round);
    // PAIRS WITH: SystemWideBarrier in the test; this one is for the compiler.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    const bool saw = Get(shared->x) == round;
    shared->child_saw = round << 1 | (saw ? 1 : 0);
  }
}

// Both sides store, then look at the other's word. At least one must see the other, each time.
TEST(MemoryBarrierTest, OneOfTheTwoAlwaysSeesTheOther) {
  if (!SystemWideBarrierWorks()) GTEST_SKIP() << "this kernel has no membarrier GLOBAL_EXPEDITED";
  constexpr uint32_t kRounds = 20'000;
  void* memory =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto* shared = static_cast<Shared*>(memory);  // zeros: no round yet
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    FrequentSide(shared, kRounds);
    ::_exit(0);
  }
  uint32_t neither = 0;
  uint32_t both = 0;
  for (uint32_t round = 1; round <= kRounds; ++round) {
    Set(shared->round, round);
    Set(shared->x, round);
    ASSERT_TRUE(SystemWideBarrier());
    const bool saw = Get(shared->y) == round;
    uint32_t answer = 0;
    for (int looks = 1; (answer = shared->child_saw) >> 1 != round; ++looks) Breathe(looks);
    const bool child_saw = (answer & 1) != 0;
    neither += !saw && !child_saw ? 1 : 0;
    both += saw && child_saw ? 1 : 0;
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(shared->registered);
  EXPECT_EQ(neither, 0u) << "both were seen in " << both << " rounds";
  ::munmap(memory, sizeof(Shared));
}

// As the kernel itself answers, and no where a filter denies it.
TEST(MemoryBarrierTest, EachCallSaysWhatTheKernelSays) {
  const bool barrier = ::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0;
  const bool registers =
      ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0;
  EXPECT_EQ(SystemWideBarrierWorks(), barrier);
  EXPECT_EQ(SystemWideBarrier(), barrier);
  EXPECT_EQ(RegisterForBarriers(), registers);
  EXPECT_EQ(RegisterForBarriers(), registers);  // again
  for (const int command :
       {MEMBARRIER_CMD_GLOBAL_EXPEDITED, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED}) {
    EXPECT_EQ(testing::InAProcessOfItsOwn([&] {
                testing::Refuse({SYS_membarrier, EPERM, 0, ~0u, static_cast<uint32_t>(command)});
                const bool asked = command == MEMBARRIER_CMD_GLOBAL_EXPEDITED;
                if (SystemWideBarrierWorks() != (barrier && !asked)) return 1;
                if (SystemWideBarrier() != (barrier && !asked)) return 2;
                return RegisterForBarriers() == (registers && asked) ? 0 : 3;
              }),
              0)
        << command;
  }
}

}  // namespace
}  // namespace parley
