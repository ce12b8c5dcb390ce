// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_VILLAIN_LATENESS_H_
#define PARLEY_VILLAIN_LATENESS_H_

// How late this machine is by itself, measured while something else is judged: a control process
// with no peer sleeps to one deadline after the other, and spins in between. What it is late by is
// the scheduler's doing, and the hypervisor's. A call that is judged beside it may be as late, and
// kSmallLatenessNs more.
//
// The kernel also counts for each thread how long it was ready to run and did not: the second
// number of /proc/thread-self/schedstat. ThreadDelayNs reads it, so that a call which was preempted
// is told from a call which waited for the peer.
//
// Trust: no peer has a part in either; a peer that keeps all processors busy makes both grow, as
// any other program does.
// Threads: LatenessControl forks; one. ThreadDelayNs: the thread that it is asked about.
//
//   LatenessControl control;
//   RunWhatIsJudged();
//   EXPECT_LE(late_ns, control.max_ns() + kSmallLateness);

#include <sys/types.h>

#include <cstdint>
#include <memory>

#include "parley/os/unique_fd.h"
#include "parley/villain/process.h"

namespace parley::villain {

// What is left for a call that is late beyond the control: a time slice of four threads that were
// ready before it, and a page fault or two. 20 ms; ten times that under a sanitizer, whose own work
// takes so long.
inline constexpr int64_t kMsNs = 1'000'000;
extern const int64_t kSmallLatenessNs;
// Whether this build has the address, memory or thread sanitizer.
bool IsSanitizedBuild();

class LatenessControl {
 public:
  LatenessControl();
  ~LatenessControl();

  // The most that it was late by so far: after a sleep, or between two readings of the clock.
  int64_t max_ns() const;
  // How many deadlines it has reached.
  int64_t samples() const;
  pid_t pid() const { return process_->pid(); }

 private:
  struct Page;
  Page* const page_;
  std::unique_ptr<Process> process_;
};

// How long the calling thread was ready to run and did not, so far, in ns; 0 where it is not known.
// WatchThreadDelay opens what it is read from, one descriptor until the thread ends; before it, and
// under a filter that allows no pread, there is nothing to be known.
void WatchThreadDelay();
int64_t ThreadDelayNs();
// The same of the main thread of another process.
int64_t DelayOf(pid_t pid);

}  // namespace parley::villain

#endif  // PARLEY_VILLAIN_LATENESS_H_
