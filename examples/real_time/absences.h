// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_REAL_TIME_ABSENCES_H_
#define PARLEY_EXAMPLES_REAL_TIME_ABSENCES_H_

// When the machine itself was late: one thread for each processor does nothing but sleep for a
// short time, above all audio threads in priority, and notes each sleep that took much longer. So a
// block that was not there in time can be told from a processor that was not there (a virtual
// machine's above all).
//
// Threads: one at a time.
//
//   AbsenceWatch watch(absl::Microseconds(500));
//   if (absl::Status started = watch.Start(priority + 2); !started.ok()) return started;
//   ...                                                   // what is to be judged
//   watch.Stop();
//   if (watch.Overlaps(began_ns, ended_ns)) ...           // the machine's doing, perhaps

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace parley {

class AbsenceWatch {
 public:
  // What is shorter than `least` is not noted.
  explicit AbsenceWatch(absl::Duration least);
  AbsenceWatch(const AbsenceWatch&) = delete;
  AbsenceWatch& operator=(const AbsenceWatch&) = delete;
  ~AbsenceWatch();

  // Once. `priority` of SCHED_FIFO; 0: ordinary threads, which see what is not idle as absent.
  // kPermissionDenied as MakeRealTime.
  absl::Status Start(int priority);
  // The rest is asked after this.
  void Stop();

  // Whether a processor was absent at any time from `from_ns` to `to_ns`, CLOCK_MONOTONIC.
  bool Overlaps(int64_t from_ns, int64_t to_ns) const;
  // A line: how many absences there were and how long the longest was.
  std::string ToString() const;

 private:
  struct Absence {
    int64_t begin_ns;
    int64_t end_ns;
  };
  struct Processor {
    std::thread thread;
    absl::Status made;
    std::vector<Absence> absences;  // in order
    int64_t longest_ns = 0;
    uint64_t count = 0;  // those that found no room too
  };

  void Watch(Processor& processor, int number, int priority);

  const int64_t least_ns_;
  std::atomic<int> ready_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::unique_ptr<Processor>> processors_;
};

}  // namespace parley

#endif  // PARLEY_EXAMPLES_REAL_TIME_ABSENCES_H_
