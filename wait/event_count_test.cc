// SPDX-License-Identifier: Apache-2.0
#include "parley/wait/event_count.h"

#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "gtest/gtest.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/testing/filter.h"
#include "parley/wait/memory_barrier.h"

namespace parley::internal {
namespace {

constexpr std::size_t kWords = 64;

struct EventCountTest : ::testing::Test {
  alignas(64) uint64_t ours[kWords] = {};
  alignas(64) uint64_t theirs[kWords] = {};

  EventCountPlaces Places() {
    EventCountPlaces places;
    places.own_control = OwnMemory(reinterpret_cast<std::byte*>(ours), sizeof(ours));
    places.peer_control = PeerMemory(reinterpret_cast<std::byte*>(theirs), sizeof(theirs));
    return places;
  }
};

TEST_F(EventCountTest, UnlessToldOtherwiseBothSidesFence) {
  EXPECT_EQ(EventCountPlaces().own_epoch_offset, 0u);
  EXPECT_EQ(EventCountPlaces().peer_epoch_offset, 0u);
  EXPECT_FALSE(EventCountPlaces().skips_fences);
  EXPECT_FALSE(EventCountPlaces().barrier_before_sleep);
}

// docs/SPEC.md: larger by one each time. Nothing else is written, and nothing of the peer's.
TEST_F(EventCountTest, EachAnnouncementIsANewEpochAtItsPlace) {
  for (const std::size_t word : {0u, 1u, 32u, 63u}) {
    EventCountPlaces places = Places();
    places.own_epoch_offset = 8 * word;
    places.peer_epoch_offset = 8 * ((word + 1) % kWords);
    EventCount events(places);
    for (uint64_t epoch = 0; epoch < 4; ++epoch) {
      for (std::size_t i = 0; i < kWords; ++i) {
        EXPECT_EQ(ours[i], i == word ? epoch : 0u) << word << " " << i;
        EXPECT_EQ(theirs[i], 0u) << word << " " << i;
      }
      events.Announce();
    }
    ours[word] = 0;
  }
}

TEST_F(EventCountTest, APeersEpochIsSignalledOnceAndAnyOtherIsANewOne) {
  for (const bool skips_fences : {false, true}) {
    for (const std::size_t word : {0u, 1u, 33u, 63u}) {
      EventCountPlaces places = Places();
      places.peer_epoch_offset = 8 * word;
      places.own_epoch_offset = 8 * ((word + 1) % kWords);
      places.skips_fences = skips_fences;
      EventCount events(places);
      uint64_t epoch = 4711;
      EXPECT_FALSE(events.PeerAwaitsSignal(&epoch));
      EXPECT_EQ(epoch, 0u);
      for (const uint64_t announced :
           {uint64_t{1}, uint64_t{2}, ~uint64_t{0}, uint64_t{7}, uint64_t{0}}) {
        theirs[word] = announced;
        for (int i = 0; i < 2; ++i) {  // until it is signalled
          EXPECT_TRUE(events.PeerAwaitsSignal(&epoch)) << announced;
          EXPECT_EQ(epoch, announced);
        }
        events.SetSignalled(epoch);
        EXPECT_FALSE(events.PeerAwaitsSignal(&epoch)) << announced;
        EXPECT_EQ(epoch, announced);
      }
    }
  }
}

// Whether the barrier failed is said where one was wanted, and only there; it is not tried again.
TEST_F(EventCountTest, ABarrierThatIsDeniedIsSaid) {
  const bool works = SystemWideBarrierWorks();
  for (const bool wanted : {false, true}) {
    for (const bool denied : {false, true}) {
      EventCountPlaces places = Places();
      places.barrier_before_sleep = wanted;
      EXPECT_EQ(testing::InAProcessOfItsOwn([&] {
                  if (denied) testing::Refuse({SYS_membarrier, EPERM});
                  EventCount events(places);
                  if (events.barrier_failed()) return 1;
                  for (int i = 0; i < 2; ++i) {
                    events.Announce();
                    if (events.barrier_failed() != (wanted && (denied || !works))) return 2;
                  }
                  // A filter that is answered by death shows that nobody asks again.
                  if (!wanted || denied)
                    testing::Answer({SYS_membarrier}, SECCOMP_RET_KILL_PROCESS);
                  events.Announce();
                  return ours[0] == 3 ? 0 : 3;
                }),
                0)
          << wanted << denied;
    }
  }
}

// One that comes later, as a worker's does.
TEST_F(EventCountTest, ABarrierThatIsDeniedLaterIsSaidToo) {
  if (!SystemWideBarrierWorks()) GTEST_SKIP() << "this kernel has no membarrier GLOBAL_EXPEDITED";
  EventCountPlaces places = Places();
  places.barrier_before_sleep = true;
  EXPECT_EQ(testing::InAProcessOfItsOwn([&] {
              EventCount events(places);
              events.Announce();
              if (events.barrier_failed()) return 1;
              testing::Refuse({SYS_membarrier, EPERM});
              events.Announce();
              return events.barrier_failed() ? 0 : 2;
            }),
            0);
}

}  // namespace
}  // namespace parley::internal
