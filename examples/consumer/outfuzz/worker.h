// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_CONSUMER_OUTFUZZ_WORKER_H_
#define PARLEY_EXAMPLES_CONSUMER_OUTFUZZ_WORKER_H_

// The worker's side: shakes hands, locks itself down, and runs the target on one input after the
// other until the supervisor hangs up or an input ends it.
//
// Trust: none. The target may overwrite anything in this process, the channel's bookkeeping
// included; the supervisor counts on nothing that comes from here.
// Threads: one.

#include <cstdint>
#include <functional>

#include "absl/types/span.h"
#include "parley/channel/channel.h"

namespace outfuzz {

// The input lies on the heap with nothing behind it, so that the address sanitizer sees an
// overread. The channel is what a target that was taken over has in its hands anyway: for tests.
using WorkerTarget = std::function<void(absl::Span<const uint8_t> input, parley::Channel& channel)>;

// The exit code of main; does not return once the worker is confined.
int RunWorker(const WorkerTarget& target);

}  // namespace outfuzz

#endif  // PARLEY_EXAMPLES_CONSUMER_OUTFUZZ_WORKER_H_
