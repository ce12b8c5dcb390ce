// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_PRESETS_PACER_H_
#define PARLEY_BENCH_PRESETS_PACER_H_

// Says when the next message is due: at fixed times, whatever the last one took.
//
// Low rates sleep until an absolute time; high ones spin, for no timer is that fine. The spin is
// the benchmark's own cost, so its length is kept, to be taken off the processor time.
//
// Threads: one at a time.

#include <cstdint>

namespace parley::bench {

class Pacer {
 public:
  // `rate_hz` 0: at once, always.
  Pacer(double rate_hz, double ticks_per_ns);

  // Waits until the next time that is due. Times that were missed are skipped, not made up for.
  void Await();

  // Spent in Await's spins so far.
  double spun_s() const;

  // From here on Await spins instead of sleeping.
  static constexpr double kSpinsFromHz = 10'000;

 private:
  void SleepUntilDue();
  void SpinUntilDue();

  const double ticks_per_ns_;
  const bool spins_;
  int64_t period_ns_ = 0;  // 0: never waits
  uint64_t period_ticks_ = 0;
  int64_t due_ns_ = 0;      // of sleeps
  uint64_t due_ticks_ = 0;  // of spins
  uint64_t spun_ticks_ = 0;
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_PRESETS_PACER_H_
