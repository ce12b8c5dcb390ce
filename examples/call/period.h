// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_CALL_PERIOD_H_
#define PARLEY_EXAMPLES_CALL_PERIOD_H_

// Waits for the next period of a clock, as a sound card lets a real-time thread wait. The only
// system call of the three audio threads of a call (CallTest.TheAudioThreadsMakeNoSystemCallBut
// TheWaitForTheNextPeriod).
//
// Threads: one at a time.
//
//   Period period(10'000'000);
//   while (going) { period.Wait(); Play(); }

#include <time.h>

#include <cstdint>

#include "parley/os/deadline.h"

namespace parley::call {

class Period {
 public:
  explicit Period(int64_t length_ns) : length_ns_(length_ns), due_ns_(MonotonicNowNs()) {}

  // Until the period's end, which may be over already.
  void Wait() {
    due_ns_ += length_ns_;
    const timespec due = {.tv_sec = due_ns_ / 1'000'000'000, .tv_nsec = due_ns_ % 1'000'000'000};
    ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, nullptr);
  }
  // When the last period ended; Wait returns somewhat later.
  int64_t ended_ns() const { return due_ns_; }

 private:
  const int64_t length_ns_;
  int64_t due_ns_;
};

}  // namespace parley::call

#endif  // PARLEY_EXAMPLES_CALL_PERIOD_H_
