// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_SCALE_CHANNELS_H_
#define PARLEY_BENCH_SCALE_CHANNELS_H_

// Many channels in one process, all to another one: what each holds, how fast they are made, and
// what it costs to wait for all of them.
//
// Threads: one at a time.

#include <cstddef>

#include "absl/status/statusor.h"
#include "parley/bench/scale/footprint.h"

namespace parley::bench {

struct ChannelsResult {
  std::size_t channels = 0;
  double set_up_s = 0;  // of all of them, by name, one after the other
  Footprint before;     // of the accepting process
  Footprint after;
  // Medians, of the accepting process, with the events there already: no sleep, no scheduler.
  double one_ready_ns = 0;  // epoll_wait, the message of one of them, ready to wait again
  double all_ready_ns = 0;  // the same for all, per message
  double arm_ns = 0;        // PrepareToWait, per channel
  double poll_ns = 0;       // a TryReceive that finds nothing, per channel
};

// kResourceExhausted, with the limit, where this process may not have so many descriptors.
absl::StatusOr<ChannelsResult> MeasureChannels(std::size_t channels);

}  // namespace parley::bench

#endif  // PARLEY_BENCH_SCALE_CHANNELS_H_
