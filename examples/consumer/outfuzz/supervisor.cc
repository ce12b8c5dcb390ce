// SPDX-License-Identifier: Apache-2.0
#include "outfuzz/supervisor.h"

#include <utility>

#include "absl/time/time.h"
#include "parley/os/deadline.h"

namespace outfuzz {
namespace {

constexpr std::size_t kMaxPending = 256;
constexpr int kMaxFailedStarts = 3;
// How often `stop` is asked while nothing comes.
constexpr absl::Duration kSlice = absl::Milliseconds(50);

}  // namespace

absl::Status Supervisor::StartWorker(uint64_t first) {
  absl::Status status;
  for (int i = 0; i < kMaxFailedStarts && !options_.stop(); ++i) {
    auto session = WorkerSession::Start(options_.worker);
    status = session.status();
    if (!status.ok()) continue;
    session_ = *std::move(session);
    session_first_ = first;
    session_given_ = 0;
    offered_ = 0;
    ++stats_.workers;
    return absl::OkStatus();
  }
  return status;
}

void Supervisor::OfferAll() {
  while (offered_ < pending_.size() && session_given_ < options_.inputs_per_worker) {
    const Pending& pending = pending_[offered_];
    if (!session_->Offer(pending.number, pending.input)) return;
    ++offered_;
    ++session_given_;
  }
}

std::optional<bool> Supervisor::RunAlone(const Pending& pending) {
  if (!StartWorker(pending.number).ok() || session_ == nullptr) return std::nullopt;
  ++stats_.reruns;
  session_given_ = 1;
  session_->Offer(pending.number, pending.input);
  while (!options_.stop()) {
    const Answer answer = session_->Await(parley::Deadline::After(kSlice));
    if (answer.kind == Answer::Kind::kRan) return false;
    if (answer.kind == Answer::Kind::kNothing) continue;
    session_.reset();
    return true;
  }
  session_.reset();
  return std::nullopt;
}

absl::Status Supervisor::Run(uint64_t first, const NextInput& next, const OnResult& on_result) {
  uint64_t number = first;
  bool more = true;
  absl::Status status;
  while (status.ok() && !options_.stop()) {
    while (more && pending_.size() < kMaxPending) {
      std::optional<Input> input = next(number);
      more = input.has_value();
      if (more) pending_.push_back({number++, *std::move(input)});
    }
    if (pending_.empty()) break;
    if (session_ == nullptr) {
      status = StartWorker(pending_.front().number);
      continue;
    }
    OfferAll();
    if (offered_ == 0 && session_given_ >= options_.inputs_per_worker) {
      session_->Retire();
      session_.reset();
      ++stats_.retired;
      continue;
    }
    const Answer answer = session_->Await(parley::Deadline::After(kSlice));
    if (answer.kind == Answer::Kind::kNothing) continue;
    const Pending done = std::move(pending_.front());
    pending_.pop_front();
    ++stats_.inputs;
    Result result = {.number = done.number,
                     .verdict = answer.verdict,
                     .cause = answer.cause,
                     .worker_first = session_first_,
                     .alone = std::nullopt};
    if (answer.kind == Answer::Kind::kRan) {
      --offered_;
    } else {
      session_.reset();
      offered_ = 0;
      // With others behind it in the ring, it may have been one of those: a lie can be seen before
      // the answers that came ahead of it.
      if (session_given_ == 1) {
        result.alone = true;
      } else if (options_.rerun(result)) {
        result.alone = RunAlone(done);
      }
    }
    status = on_result(result, done.input);
  }
  if (session_ != nullptr && offered_ == 0) session_->Retire();
  session_.reset();
  pending_.clear();
  offered_ = 0;
  return status;
}

}  // namespace outfuzz
