// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_FUZZ_ENDED_CHANNEL_H_
#define PARLEY_FUZZ_ENDED_CHANNEL_H_

// A peer that is gone when the call returns.
//
// Trust: nothing from outside.
// Threads: one.
//
//   EndNow(Peer());

#include "parley/channel/channel.h"
#include "parley/testing/disposal_helpers.h"

namespace parley::fuzz {

// Before Linux 6.16 a helper closes its socket, a moment after the destructor.
inline void EndNow(Channel& channel) {
  channel = Channel();
  testing::AwaitDisposalHelpers();
}

}  // namespace parley::fuzz

#endif  // PARLEY_FUZZ_ENDED_CHANNEL_H_
