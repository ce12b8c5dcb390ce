// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_ALTERNATE_H_
#define PARLEY_BENCH_ALTERNATE_H_

// Both ends in one thread, in turns, as a stream whose receiver is a little behind.
//
// Threads: one.

#include <algorithm>
#include <cstdint>

namespace parley::bench {

// So many that the receiver finds enough with each look: with fewer it would take a stream's looks
// a little later (ring/receive_position.h), and that pause would be most of what is measured.
inline constexpr uint64_t kAtOnce = 128;

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
