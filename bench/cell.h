// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_CELL_H_
#define PARLEY_BENCH_CELL_H_

// What one sample measures: which way, how large, where the two processes run.

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace parley::bench {

enum class Direction : uint8_t {
  kOneWay,     // one end sends as fast as it can, the other receives
  kRoundTrip,  // a request and an answer of the same size, one at a time
};

enum class Placement : uint8_t {
  kApart,     // each end pinned to a processor of its own
  kUnpinned,  // the scheduler's choice
  kTogether,  // both pinned to one processor
};

// How an end waits when there is nothing to do. Rows of different kinds are never compared.
enum class Waiting : uint8_t {
  kSpin,      // never sleeps, burns its processor
  kSleep,     // sleeps at once, in the kernel
  kAdaptive,  // spins a while, then sleeps
};

enum class Side : uint8_t { kSender = 0, kReceiver = 1 };  // of requests; both send in a round trip

struct Cell {
  Direction direction = Direction::kOneWay;
  Placement placement = Placement::kApart;
  std::size_t size_bytes = 64;  // a multiple of 8
  std::size_t queue_bytes = 0;  // 0: DefaultQueueBytes
};

// As in the results' JSON.
constexpr std::string_view Name(Direction direction) {
  return direction == Direction::kOneWay ? "one way" : "round trip";
}
constexpr std::string_view Name(Placement placement) {
  return placement == Placement::kApart      ? "apart"
         : placement == Placement::kUnpinned ? "unpinned"
                                             : "one core";
}
constexpr std::string_view Name(Waiting waiting) {
  return waiting == Waiting::kSpin ? "spin" : waiting == Waiting::kSleep ? "sleep" : "adaptive";
}

// How much every transport may have under way: the same for all that can be told, large enough for
// a few messages of each size, and larger than the second-level cache of today's cores: what has
// left the writer's own cache for the shared one moves several times faster than what has to be
// fetched out of it, line by line (docs/decisions/speed.md, "The length of the ring").
constexpr std::size_t DefaultQueueBytes(std::size_t size_bytes) {
  std::size_t bytes = std::size_t{2} << 20;
  while (bytes < size_bytes * 4) bytes *= 2;
  return bytes;
}
constexpr std::size_t QueueBytes(const Cell& cell) {
  return cell.queue_bytes != 0 ? cell.queue_bytes : DefaultQueueBytes(cell.size_bytes);
}

}  // namespace parley::bench

#endif  // PARLEY_BENCH_CELL_H_
