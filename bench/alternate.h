#ifndef PARLEY_BENCH_ALTERNATE_H_
#define PARLEY_BENCH_ALTERNATE_H_

// Both ends in one thread, in turns, as a stream whose receiver is a little behind.
//
// Threads: one.

#include <algorithm>
#include <cstdint>

namespace parley::bench {

inline constexpr uint64_t kAtOnce = 16;

// Calls send(number) and receive() `pairs` times each; the sum of what was received.
template <typename Send, typename Receive>
uint64_t Alternate(uint64_t pairs, uint64_t at_once, const Send& send, const Receive& receive) {
  uint64_t sum = 0;
  for (uint64_t done = 0; done < pairs;) {
    const uint64_t now = std::min(at_once, pairs - done);
    for (uint64_t i = 0; i < now; ++i) send(done + i);
    for (uint64_t i = 0; i < now; ++i) sum += receive();
    done += now;
  }
  return sum;
}

}  // namespace parley::bench

#endif  // PARLEY_BENCH_ALTERNATE_H_
