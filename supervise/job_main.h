// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SUPERVISE_JOB_MAIN_H_
#define PARLEY_SUPERVISE_JOB_MAIN_H_

// The worker's side of a pool (supervise/pool.h): WorkerMain for a program that is given jobs, one
// after the other where the pool was told so, one alone otherwise.
//
//   int main() {
//     return parley::JobMain({}, [](parley::Job& job) -> absl::Status {
//       const auto picture = job.input().Bytes();
//       if (!picture.ok()) return picture.status();
//       return job.Send(kThumbnail, MakeThumbnail(*picture, job.request()));
//     });
//   }
//
// Trust: as WorkerMain. A worker that has looked at one job's input may be taken over, and then
// sees the next job's: see PoolOptions::jobs_per_worker.
// Threads: as WorkerMain.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/supervise/worker_main.h"

namespace parley {

// One job, as its body sees it.
class Job {
 public:
  // Hostile. The first job's lies in the host's pages, a later one's is read from the host.
  WorkerInput& input() { return worker_->input(); }
  // The host's word, as it was submitted.
  const std::string& request() const { return request_; }
  // One message of the result; as ConfinedWorker.
  absl::Status Send(uint32_t tag, absl::Span<const std::byte> bytes) {
    return worker_->Send(tag, bytes);
  }
  ConfinedWorker& worker() { return *worker_; }

 private:
  friend class JobLoop;
  Job(ConfinedWorker* worker, std::string request)
      : worker_(worker), request_(std::move(request)) {}
  ConfinedWorker* worker_;
  std::string request_;
};

// As WorkerMain. An error of the body is the job's outcome, with its text, and the worker goes on.
int JobMain(const WorkerMainOptions& options, const std::function<absl::Status(Job& job)>& body);

}  // namespace parley

#endif  // PARLEY_SUPERVISE_JOB_MAIN_H_
