#ifndef PARLEY_CHANNEL_CORE_H_
#define PARLEY_CHANNEL_CORE_H_

// What the two ends of one channel share in this process. Internal to channel/.
//
// Trust: holds what the handshake validated. The first violation that either end finds stops both.
// Threads: the termination may be set and read from any thread; the rest is constant.

#include <cstddef>
#include <utility>

#include "parley/handshake/options.h"
#include "parley/wait/event_count.h"
#include "parley/wait/termination.h"

namespace parley::internal {

class Core {
 public:
  explicit Core(Established established) : established_(std::move(established)) {
    termination_.Wakes(established_.send_doorbell.get(), established_.receive_doorbell.get());
  }

  Established& established() { return established_; }
  Termination& termination() { return termination_; }
  // For an end whose epoch is at `own` in our region, and its peer's at `peer` in its region.
  EventCountPlaces Places(std::size_t own, std::size_t peer) {
    return {established_.outgoing.control(), established_.incoming.control(),  own, peer,
            established_.skips_fences,       established_.barrier_before_sleep};
  }

 private:
  Established established_;
  Termination termination_;
};

}  // namespace parley::internal

#endif  // PARLEY_CHANNEL_CORE_H_
