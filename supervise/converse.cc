// SPDX-License-Identifier: Apache-2.0
#include "parley/supervise/converse.h"

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/os/deadline.h"
#include "parley/supervise/worker_link_maker.h"

namespace parley {
namespace {

using JobOutcome = JobResult::Outcome;

// What a message costs us besides its bytes.
constexpr uint64_t kMessageCost = 64;

}  // namespace

JobResult internal::Converse(WorkerLink& link, uint64_t number, const JobOptions& job,
                             const JobLimits& limits, bool in_place) {
  const Deadline deadline = Deadline::After(limits.wall_time);
  JobResult result;
  absl::Status status =
      WorkerLinkMaker::BeginJob(link, number, job.input.get(), in_place, job.request, deadline);
  std::vector<std::byte> buffer(link.max_message_bytes());
  uint64_t left_bytes = limits.output_bytes;
  uint64_t left_pixels = limits.output_pixels;
  while (status.ok()) {
    // Receive asks the deadline only where it has to wait: what lies ready comes after it, too.
    if (deadline.Expired()) {
      status = absl::DeadlineExceededError("no outcome by the deadline");
      break;
    }
    const absl::StatusOr<Record> message = link.Receive(absl::MakeSpan(buffer), deadline);
    status = message.status();
    if (!status.ok()) break;
    const uint64_t cost = kMessageCost + message->size_bytes;
    if (cost > left_bytes) {
      result.outcome = JobOutcome::kTooMuchOutput;
      result.what = absl::StrCat("it sent more than ", limits.output_bytes, " bytes");
      return result;
    }
    left_bytes -= cost;
    const auto bytes = absl::MakeConstSpan(buffer).first(message->size_bytes);
    // TRUST: the worker's claim; it only counts against the worker.
    const uint64_t pixels = job.pixels != nullptr ? job.pixels(message->tag, bytes) : 0;
    if (pixels > left_pixels) {
      result.outcome = JobOutcome::kTooMuchOutput;
      result.what = absl::StrCat("it sent more than ", limits.output_pixels, " pixels");
      return result;
    }
    left_pixels -= pixels;
    if (job.on_message == nullptr) {
      result.messages.push_back({message->tag, {bytes.begin(), bytes.end()}});
      continue;
    }
    result.status = job.on_message(message->tag, bytes);
    if (result.status.ok()) continue;
    result.outcome = JobOutcome::kRejected;
    result.what = std::string(result.status.message());
    return result;
  }
  if (const std::optional<absl::Status> outcome = WorkerLinkMaker::JobOutcome(link);
      outcome.has_value()) {
    // TRUST: the worker's word for its own job; its text is printable.
    result.outcome = outcome->ok() ? JobOutcome::kDone : JobOutcome::kFailed;
    result.status = *outcome;
    result.what = std::string(outcome->message());
  } else if (absl::IsDeadlineExceeded(status)) {
    result.outcome = JobOutcome::kOutOfTime;
    result.what = absl::StrCat("no outcome after ", absl::FormatDuration(limits.wall_time));
  } else if (absl::IsCancelled(status)) {
    result.outcome = JobOutcome::kCancelled;
    result.what = "cancelled";
  } else {
    result.outcome = JobOutcome::kWorkerEnded;
    result.what = std::string(status.message());
  }
  return result;
}

}  // namespace parley
