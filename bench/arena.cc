// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <ctime>
#include <memory>

#include "parley/bench/clock.h"
#include "parley/os/check.h"

namespace parley::bench {
namespace {

constexpr int kProbes = 7;
constexpr uint64_t kExchanges = 300;
constexpr int kSpinsBeforeSleep = 2'000;

}  // namespace

void SideResult::Fail(std::string_view text) {
  const std::size_t length = std::min(text.size(), error.size() - 1);
  std::copy_n(text.begin(), length, error.begin());
  error[length] = 0;
}

void Arena::Meet() {
  // PAIRS WITH: the store to generation below: what either wrote before is visible to both after.
  const uint32_t now = generation.load(std::memory_order_acquire);
  if (arrived.fetch_add(1) == 1) {
    arrived.store(0);
    // PAIRS WITH: the loads of generation in this function.
    generation.store(now + 1, std::memory_order_release);
    return;
  }
  // PAIRS WITH: the store to generation above.
  for (int spins = 0; generation.load(std::memory_order_acquire) == now; ++spins) {
    if (spins < kSpinsBeforeSleep) {
      Relax();
    } else {
      const timespec a_moment = {0, 20'000};
      ::nanosleep(&a_moment, nullptr);
    }
  }
}

double Arena::ProbeAsSender(double ticks_per_ns) {
  std::array<uint64_t, kProbes> ticks = {};
  // RELAXED: only this end writes ping.
  uint64_t turn = ping.load(std::memory_order_relaxed);
  for (uint64_t& stretch : ticks) {
    const uint64_t begin = Ticks();
    for (uint64_t i = 0; i < kExchanges; ++i) {
      ++turn;
      // PAIRS WITH: the load of ping in ProbeAsReceiver.
      ping.store(turn, std::memory_order_release);
      // PAIRS WITH: the store to pong in ProbeAsReceiver.
      while (pong.load(std::memory_order_acquire) != turn) SpinOnce();
    }
    stretch = Ticks() - begin;
  }
  std::sort(ticks.begin(), ticks.end());
  return static_cast<double>(ticks[kProbes / 2]) / ticks_per_ns / static_cast<double>(kExchanges);
}

void Arena::ProbeAsReceiver() {
  // RELAXED: only this end writes pong.
  uint64_t turn = pong.load(std::memory_order_relaxed);
  for (uint64_t i = 0; i < kProbes * kExchanges; ++i) {
    ++turn;
    // PAIRS WITH: the store to ping in ProbeAsSender.
    while (ping.load(std::memory_order_acquire) != turn) SpinOnce();
    // PAIRS WITH: the load of pong in ProbeAsSender.
    pong.store(turn, std::memory_order_release);
  }
}

SharedArena::SharedArena() {
  void* memory = ::mmap(nullptr, sizeof(Arena), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  PARLEY_CHECK(memory != MAP_FAILED, "mmap of the arena");
  arena_ = std::construct_at(static_cast<Arena*>(memory));
}

SharedArena::~SharedArena() {
  std::destroy_at(arena_);
  ::munmap(arena_, sizeof(Arena));
}

}  // namespace parley::bench
