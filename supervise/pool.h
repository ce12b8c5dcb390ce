// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SUPERVISE_POOL_H_
#define PARLEY_SUPERVISE_POOL_H_

// Runs jobs in confined workers: each job is one hostile input and a request, its result is the
// messages that the worker sends. A fresh worker for each job, cloned from a template that was
// warmed up once; so one job's death, theft or silence is that job's result and nobody else's.
//
//   PoolOptions options;
//   options.program.path = "/usr/libexec/thumbnail_worker";   // calls JobMain
//   auto pool = Pool::Start(std::move(options));
//   auto input = std::make_shared<const SealedBlob>(*std::move(blob));
//   auto job = (*pool)->Submit({.input = input, .request = "128x128"}, deadline);
//   JobResult result = job->Wait();
//   if (!result.done()) std::cerr << result.what << "\n";
//
// Trust: a worker is hostile once it has its input. What it can cause: a result that is a lie, a
// result that says how it ended, and for so long and so much as the job's limits allow. It never
// sees another job's input, descriptors or memory, unless jobs_per_worker is more than 1.
// Threads: any may submit, cancel and wait. The pool has one thread for each worker, and callbacks
// run there. No signal is delivered to them.
// Ends: the destructor cancels what is queued or runs, and returns when no process is left.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/os/deadline.h"
#include "parley/sealing/sealed_blob.h"
#include "parley/supervise/worker_end.h"
#include "parley/supervise/worker_link.h"

namespace parley {

struct JobLimits {
  absl::Duration wall_time = absl::Seconds(30);  // from the hand-over to the outcome
  // Of the worker's process: of a reused one for all its jobs together.
  uint64_t cpu_seconds = 30;
  uint64_t memory_bytes = uint64_t{2} << 30;   // address space; WorkerProgram::memory_bytes
  uint64_t output_bytes = uint64_t{64} << 20;  // of all messages; each counts 64 bytes more
  // Of all messages, as JobOptions::pixels counts them.
  uint64_t output_pixels = uint64_t{1} << 28;
  // Resident memory, where that can be had: WorkerProgram::resident_bytes, and PoolStats.
  uint64_t resident_bytes = 0;
  bool operator==(const JobLimits&) const = default;
};

struct PoolOptions {
  WorkerProgram program;  // calls JobMain
  int workers = 2;        // at the same time; 1 to 256
  // 1: a fresh worker for each job. More, for those who accept that a worker which was taken over
  // by one job's input sees and answers the next ones: inputs of one and the same origin, for
  // instance.
  uint32_t jobs_per_worker = 1;
  // Whether workers are cloned from a template, where that works; else each is started by exec.
  bool use_template = true;
  // Whether each thread of the pool starts its next worker while it has no job, so that a job finds
  // one that is locked down. That worker is as fresh as any: no job has used it. It costs a process
  // for each thread while nothing is to be done, and reads its input from the host; so a job with
  // an input above kMaxInputBytesOfAhead, or with limits of its own, still gets one by itself.
  bool start_ahead = false;
  // A new template, with a new layout of memory, after so many.
  uint64_t clones_per_template = 10'000;
  std::size_t max_queued = 64;
  JobLimits limits;
  // For a worker, or a template, to be ready.
  absl::Duration start_time = absl::Seconds(20);
  RingRequest to_worker;
  RingRequest from_worker;
  std::string format;
  ConfinementWanted wanted;
};

inline constexpr uint64_t kMaxInputBytesOfAhead = uint64_t{1} << 20;

struct JobMessage {
  uint32_t tag = 0;
  std::vector<std::byte> bytes;
};

struct JobResult {
  enum class Outcome {
    kDone,           // the body gave OK
    kFailed,         // the body gave `status`
    kWorkerEnded,    // `end` says how: crash, refused call, memory, CPU time, broken protocol
    kOutOfTime,      // wall_time
    kTooMuchOutput,  // output_bytes, output_pixels
    kCancelled,      // Cancel, the pool's end
    kRejected,       // on_message gave `status`
    kExpired,        // not begun by `begin_by`
    kNotStarted,     // no worker could be started: `status`
  };
  Outcome outcome = Outcome::kNotStarted;
  absl::Status status;
  std::string what;                  // one sentence, of anything but kDone
  std::vector<JobMessage> messages;  // in order; none where on_message takes them
  std::optional<WorkerEnd> end;      // of a worker that has ended with the job
  absl::Duration waited;             // in the queue
  absl::Duration started_in;         // until its worker was ready; 0 where it was before
  absl::Duration ran;

  bool done() const { return outcome == Outcome::kDone; }
};
// "out of time", for logs; never null.
const char* ToString(JobResult::Outcome outcome);

struct JobOptions {
  std::shared_ptr<const SealedBlob> input = {};  // may be null
  std::string request = {};                      // at most kMaxRequestBytes
  std::optional<JobLimits> limits = {};          // instead of the pool's
  // Takes each message instead of JobResult::messages; an error ends the job. Called from the
  // pool's thread, whose worker waits meanwhile.
  std::function<absl::Status(uint32_t tag, absl::Span<const std::byte> bytes)> on_message = {};
  // How many pixels a message claims to hold, by what the host reads in it; before on_message.
  std::function<uint64_t(uint32_t tag, absl::Span<const std::byte> bytes)> pixels = {};
  std::optional<Deadline> begin_by = {};
};
inline constexpr std::size_t kMaxRequestBytes = 4096;

struct PoolStats {
  uint64_t submitted = 0;
  std::map<JobResult::Outcome, uint64_t> outcomes;
  std::map<WorkerEnd::Cause, uint64_t> ends;  // of workers that ended with a job
  uint64_t spawned = 0;                       // by exec
  uint64_t cloned = 0;
  uint64_t reused = 0;  // jobs for a worker that had one before
  uint64_t ahead = 0;   // jobs for a fresh worker that was ready
  uint64_t templates = 0;
  std::string no_template;        // why none is used, if one was wanted
  std::string no_resident_limit;  // why resident_bytes is not in force, if it was asked for
  std::size_t queued = 0;         // now
  // Of the last 1024 jobs.
  absl::Duration waited_p50, waited_p99, started_p50, started_p99;
};

namespace internal {
struct PoolJobState;
struct PoolState;
}  // namespace internal

// One submitted job. Copies mean the same one.
class PoolJob {
 public:
  // Returns when there is a result; the same one each time.
  const JobResult& Wait() const;
  // kDeadlineExceeded.
  absl::StatusOr<JobResult> Wait(Deadline deadline) const;
  // Takes it out of the queue, or ends its worker. Does not wait. Nothing once there is a result.
  void Cancel() const;

 private:
  friend class Pool;
  explicit PoolJob(std::shared_ptr<internal::PoolJobState> state) : state_(std::move(state)) {}
  std::shared_ptr<internal::PoolJobState> state_;
};

class Pool {
  struct Private {};

 public:
  Pool(Private, std::shared_ptr<internal::PoolState> state);
  // Checks the options, makes the threads, and warms the template up in the background.
  static absl::StatusOr<std::unique_ptr<Pool>> Start(PoolOptions options);
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  // Cancels what is queued or runs, and waits for it; but for a job whose on_message ends the pool.
  ~Pool();

  // Queues a job; waits for room until `deadline`. kResourceExhausted: there was none;
  // kInvalidArgument; kCancelled: the pool ends.
  absl::StatusOr<PoolJob> Submit(JobOptions job, Deadline deadline);

  // Cancels all that is queued or runs; the pool goes on. Safe where a signal handler is not: use a
  // thread, or the loop that the handler wakes.
  void CancelAll();

  PoolStats stats() const;

 private:
  std::shared_ptr<internal::PoolState> state_;
};

}  // namespace parley

#endif  // PARLEY_SUPERVISE_POOL_H_
