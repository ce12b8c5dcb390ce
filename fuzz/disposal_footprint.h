// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_FUZZ_DISPOSAL_FOOTPRINT_H_
#define PARLEY_FUZZ_DISPOSAL_FOOTPRINT_H_

// LeavesNothing for code that gives descriptors to os/disposal. On a machine so busy that a helper
// gets no processor for 0.1 s they stay open until the next one.
//
// Trust: nothing from outside.
// Threads: one, with no other thread opening files.

#include <unistd.h>

#include "parley/fuzz/footprint.h"
#include "parley/os/disposal.h"

namespace parley::fuzz {

template <typename Body>
void LeavesNothingAfterDisposal(Body body) {
  LeavesNothing([&] {
    body();
    for (int i = 0; i < 10'000 && TendDisposal().parked != 0; ++i) ::usleep(1000);
  });
}

}  // namespace parley::fuzz

#endif  // PARLEY_FUZZ_DISPOSAL_FOOTPRINT_H_
