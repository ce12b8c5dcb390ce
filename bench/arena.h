// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_ARENA_H_
#define PARLEY_BENCH_ARENA_H_

// What the two measured processes and the one that started them share: where they meet, the bare
// two-line exchange, and their results. Trusted, and no part of any transport.
//
// Threads: as each member says.

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "parley/bench/cell.h"
#include "parley/bench/histogram.h"
#include "parley/bench/usage.h"

namespace parley::bench {

// Lines are fetched in pairs.
inline constexpr std::size_t kLineBytes = 128;

struct SideResult {
  Usage usage;  // of the measured stretch
  uint64_t digest = 0;
  bool done = false;
  std::array<char, 200> error = {};  // empty: none

  void Fail(std::string_view text);
  bool failed() const { return error[0] != 0; }
};

struct Arena {
  // --- where both meet
  alignas(kLineBytes) std::atomic<uint32_t> arrived{0};
  alignas(kLineBytes) std::atomic<uint32_t> generation{0};
  // --- the bare exchange
  alignas(kLineBytes) std::atomic<uint64_t> ping{0};
  alignas(kLineBytes) std::atomic<uint64_t> pong{0};
  // --- said by the sender between two meetings
  alignas(kLineBytes) uint64_t count = 0;  // messages of the stretch that comes
  uint64_t block = 1;                      // the receiver of a stream takes the time of so many
  bool measured = false;                   // it is the measured one
  bool over = false;                       // there is none
  double probe_before_ns = 0;
  double probe_after_ns = 0;
  uint64_t begin_ticks = 0;  // the sender's first send
  uint64_t end_ticks = 0;    // the last message was read
  // --- results
  std::array<SideResult, 2> side;
  Histogram histogram;  // of the measured stretch, in ticks
  // --- set while a side is within its measured stretch: whose system calls count
  std::array<std::atomic<bool>, 2> measuring = {};

  SideResult& result(Side which) { return side[static_cast<std::size_t>(which)]; }

  // Waits for the other end. Called by each as often. Spins a little, then sleeps.
  void Meet();
  // The bare exchange, by both ends at once; the sender gets nanoseconds per round trip, the median
  // of a few short stretches.
  double ProbeAsSender(double ticks_per_ns);
  void ProbeAsReceiver();
};

// Shared between the processes that are forked after it; unmapped at the end.
class SharedArena {
 public:
  SharedArena();
  SharedArena(const SharedArena&) = delete;
  SharedArena& operator=(const SharedArena&) = delete;
  ~SharedArena();

  Arena& operator*() const { return *arena_; }
  Arena* operator->() const { return arena_; }

 private:
  Arena* arena_ = nullptr;
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_ARENA_H_
