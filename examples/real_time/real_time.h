// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_REAL_TIME_REAL_TIME_H_
#define PARLEY_EXAMPLES_REAL_TIME_REAL_TIME_H_

// Gives an audio thread a real-time priority: one of this process, or that of a worker, which can't
// ask for one itself and gets none from Spawn.
//
// Trust: a worker with such a priority can keep a processor from everybody else. RLIMIT_RTTIME ends
// one that uses it for half a second without a sleep, which is for bugs: a hostile one sleeps for a
// moment now and then. The kernel leaves 5 per cent of the time to the others
// (sched_rt_runtime_us). So this is for machines with more processors than such workers.
// Threads: any.
//
//   if (auto made = MakeRealTime(worker.pid(), 10); !made.ok()) ...  // goes on as an ordinary one

#include <sys/types.h>

#include "absl/status/status.h"

namespace parley {

// SCHED_FIFO, for the main thread of the process `pid`; 0: for the calling thread, without the
// limit. kPermissionDenied without CAP_SYS_NICE and where RLIMIT_RTPRIO is lower.
absl::Status MakeRealTime(pid_t pid, int priority);

}  // namespace parley

#endif  // PARLEY_EXAMPLES_REAL_TIME_REAL_TIME_H_
