// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_CONSUMER_OUTFUZZ_WORKER_SESSION_H_
#define PARLEY_EXAMPLES_CONSUMER_OUTFUZZ_WORKER_SESSION_H_

// The supervisor's side of one worker, from its start to its end.
//
// Trust: the worker is hostile from its first input on. It can end, stay silent or lie; each of
// these ends the session within `timeout` with a verdict on the oldest input without an answer.
// What it cannot be prevented from: saying that an input ran which it never looked at, and taking
// back answers that were not read yet, so that an earlier input gets the blame. (The guilty one
// then has no verdict, is run again, and ends the next worker.)
// Threads: one, which outlives the session (the worker dies with it).
//
//   auto session = WorkerSession::Start(options);
//   (*session)->Offer(7, input);
//   Answer answer = (*session)->Await(deadline);

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/os/deadline.h"
#include "parley/supervise/worker_link.h"

namespace outfuzz {

enum class Verdict {
  kOk,
  kCrash,      // the worker ended: a signal, an exit
  kHang,       // no answer in time
  kViolation,  // the system call filter ended it
  kHostile,    // it broke the channel's rules or ours
};
const char* VerdictName(Verdict verdict);

struct WorkerOptions {
  std::string program;
  std::vector<std::string> arguments;
  absl::Duration timeout = absl::Seconds(1);  // for one input
  uint32_t max_input_bytes = 4096;
  uint64_t memory_bytes = uint64_t{512} << 20;  // of address space
};

struct Answer {
  enum class Kind { kNothing, kRan, kEnded };
  Kind kind = Kind::kNothing;
  Verdict verdict = Verdict::kOk;
  // Of an end: "signal 11 (Segmentation fault)". Made here, from the kernel's word; only the name
  // of a refused call is the worker's.
  std::string cause;
};

class WorkerSession {
  struct Private {};

 public:
  WorkerSession(Private, WorkerOptions options, parley::WorkerLink link);
  // Returns once the worker is confined. An error is about the setting up, not about an input.
  static absl::StatusOr<std::unique_ptr<WorkerSession>> Start(const WorkerOptions& options);
  WorkerSession(const WorkerSession&) = delete;
  WorkerSession& operator=(const WorkerSession&) = delete;

  // Hands over an input of at most max_input_bytes; false if there is no room now.
  bool Offer(uint64_t number, absl::Span<const uint8_t> input);
  // Waits for what becomes of the oldest input, kNothing at the deadline. After kEnded the worker
  // is dead and reaped, and the session good for nothing.
  Answer Await(parley::Deadline deadline);
  // Lets a worker go that has answered everything; whether it went in order.
  bool Retire();

 private:
  Answer AwaitMessage(parley::Deadline deadline);
  Answer EndedBy(Verdict verdict, std::string cause);
  Answer EndedByItself();

  WorkerOptions options_;
  parley::WorkerLink link_;
  std::vector<std::byte> buffer_;
  std::deque<uint64_t> unanswered_;
  int64_t oldest_since_ns_ = 0;
  std::string refuses_inputs_;  // why, if it does
};

}  // namespace outfuzz

#endif  // PARLEY_EXAMPLES_CONSUMER_OUTFUZZ_WORKER_SESSION_H_
