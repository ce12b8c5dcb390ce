// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SUPERVISE_CONVERSE_H_
#define PARLEY_SUPERVISE_CONVERSE_H_

// The host's side of one job: hands it over, takes what the worker sends, and keeps the job's
// limits. Internal to the pool, and what the villain attacks.
//
// Trust: the worker may send anything at any time; it costs what the limits allow. What is no
// message of this job's ends the worker's channel (JobResult::kWorkerEnded).
// Threads: that of the link.

#include <cstdint>

#include "parley/supervise/pool.h"
#include "parley/supervise/worker_link.h"

namespace parley::internal {

// From the hand-over to the outcome, but for the worker's end, which is the caller's to bring about
// after anything but kDone and kFailed. `in_place`: as WorkerLinkMaker::BeginJob. Returns once
// limits.wall_time is over, at the latest.
JobResult Converse(WorkerLink& link, uint64_t number, const JobOptions& job,
                   const JobLimits& limits, bool in_place);

}  // namespace parley::internal

#endif  // PARLEY_SUPERVISE_CONVERSE_H_
