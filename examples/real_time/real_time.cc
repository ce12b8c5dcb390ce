// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/real_time/real_time.h"

#include <sched.h>
#include <sys/resource.h>

#include <cerrno>

#include "parley/os/errors.h"

namespace parley {
namespace {

constexpr rlimit kWithoutASleepUs = {.rlim_cur = 500'000, .rlim_max = 1'000'000};

}  // namespace

absl::Status MakeRealTime(pid_t pid, int priority) {
  if (pid != 0 && ::prlimit(pid, RLIMIT_RTTIME, &kWithoutASleepUs, nullptr) != 0) {
    return ErrnoStatus(errno, "limit a real-time priority");
  }
  const sched_param parameters = {.sched_priority = priority};
  if (::sched_setscheduler(pid, SCHED_FIFO, &parameters) != 0) {
    return ErrnoStatus(errno, "set a real-time priority");
  }
  return absl::OkStatus();
}

}  // namespace parley
