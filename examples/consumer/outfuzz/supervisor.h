// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_CONSUMER_OUTFUZZ_SUPERVISOR_H_
#define PARLEY_EXAMPLES_CONSUMER_OUTFUZZ_SUPERVISOR_H_

// Runs inputs in a confined worker, replaces each worker that an input has ended, and says of every
// input what became of it.
//
// Trust: as WorkerSession. An end is put down to the input that ran then. A worker that an earlier
// input has corrupted may end with an innocent one: `rerun` tries the input again in a new worker,
// and `worker_first` says with which input the ended worker's life began.
// Threads: one.
//
//   Supervisor supervisor({.worker = {.program = path}});
//   absl::Status status = supervisor.Run(0, next_input, on_result);

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "outfuzz/worker_session.h"

namespace outfuzz {

using Input = std::vector<uint8_t>;

struct Result {
  uint64_t number = 0;
  Verdict verdict = Verdict::kOk;
  std::string cause;          // of everything but kOk
  uint64_t worker_first = 0;  // the first input of the worker that ran it
  std::optional<bool> alone;  // whether it ends a new worker, too; absent: not tried
};

struct SupervisorStats {
  uint64_t inputs = 0;
  uint64_t workers = 0;  // started, reruns included
  uint64_t retired = 0;  // let go after inputs_per_worker
  uint64_t reruns = 0;
};

struct SupervisorOptions {
  WorkerOptions worker;
  // A worker that was corrupted and lives is not kept for ever.
  uint64_t inputs_per_worker = 100'000;
  // Whether to try the input of this result once more, in a worker of its own.
  std::function<bool(const Result&)> rerun = [](const Result&) { return false; };
  // Asked often; true ends the run.
  std::function<bool()> stop = [] { return false; };
};

class Supervisor {
 public:
  // The input of this number, of at most max_input_bytes; nothing at the end.
  using NextInput = std::function<std::optional<Input>(uint64_t number)>;
  // In order of the numbers, each once. An error ends the run.
  using OnResult = std::function<absl::Status(const Result&, const Input&)>;

  explicit Supervisor(SupervisorOptions options) : options_(std::move(options)) {}

  // From input `first` on, until there is no next one. Errors: of `on_result`, and if no worker can
  // be started, several times in a row. No worker is left.
  absl::Status Run(uint64_t first, const NextInput& next, const OnResult& on_result);
  const SupervisorStats& stats() const { return stats_; }

 private:
  struct Pending {
    uint64_t number = 0;
    Input input;
  };
  absl::Status StartWorker(uint64_t first);
  void OfferAll();
  std::optional<bool> RunAlone(const Pending& pending);

  SupervisorOptions options_;
  SupervisorStats stats_;
  std::deque<Pending> pending_;  // not answered, oldest first
  std::size_t offered_ = 0;      // of these, to the present worker
  std::unique_ptr<WorkerSession> session_;
  uint64_t session_first_ = 0;
  uint64_t session_given_ = 0;
};

}  // namespace outfuzz

#endif  // PARLEY_EXAMPLES_CONSUMER_OUTFUZZ_SUPERVISOR_H_
