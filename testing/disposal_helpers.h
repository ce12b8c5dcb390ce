// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_TESTING_DISPOSAL_HELPERS_H_
#define PARLEY_TESTING_DISPOSAL_HELPERS_H_

// For tests and fuzz targets: what os/disposal does a moment later.

#include <unistd.h>

#include "parley/os/disposal.h"

namespace parley::testing {

// Until no helper is left that closes a descriptor for us, for eight seconds at most.
inline void AwaitDisposalHelpers() {
  for (int i = 0; i < 80'000 && TendDisposal().helpers != 0; ++i) ::usleep(100);
}

}  // namespace parley::testing

#endif  // PARLEY_TESTING_DISPOSAL_HELPERS_H_
