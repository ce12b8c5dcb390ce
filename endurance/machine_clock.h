// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_ENDURANCE_MACHINE_CLOCK_H_
#define PARLEY_ENDURANCE_MACHINE_CLOCK_H_

// The machine's CLOCK_REALTIME: moved away from where it belongs, and back. Where it belongs is
// known from CLOCK_MONOTONIC, which nobody can set.

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace parley::endurance {

class MachineClock {
 public:
  // Where the clock is now is where it belongs.
  MachineClock();
  // Sets it so far away from there; zero: back. kPermissionDenied but for root.
  absl::Status Set(absl::Duration away) const;
  // How far away it is.
  absl::Duration Offset() const;

 private:
  absl::Duration ahead_;  // of CLOCK_MONOTONIC
};

}  // namespace parley::endurance

#endif  // PARLEY_ENDURANCE_MACHINE_CLOCK_H_
