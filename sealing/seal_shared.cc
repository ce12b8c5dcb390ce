// SPDX-License-Identifier: Apache-2.0
#include "parley/sealing/seal_shared.h"

#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/os/errors.h"
#include "parley/os/pidfd.h"
#include "parley/os/poll.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/seal_helper.h"

#ifndef P_PIDFD
#define P_PIDFD static_cast<idtype_t>(3)
#endif

namespace parley {
namespace {

using internal::SealHelper;

constexpr absl::Duration kMoment = absl::Milliseconds(1);

// Helpers that were killed while a peer held them.
class Leftovers {
 public:
  // Of this process: a forked child starts with none, and with a lock that nobody holds.
  static Leftovers& Get() {
    static std::atomic<Leftovers*> current = nullptr;
    // PAIRS WITH: the exchange below.
    Leftovers* leftovers = current.load(std::memory_order_acquire);
    while (leftovers == nullptr || leftovers->maker_ != ::getpid()) {
      auto* const fresh = new Leftovers;
      // PAIRS WITH: the load above. Of two threads at once, one keeps its own.
      if (current.compare_exchange_strong(leftovers, fresh, std::memory_order_acq_rel)) {
        return *fresh;
      }
      delete fresh;
    }
    return *leftovers;
  }

  // One that was killed. If it ends until then, it is none.
  void Add(UniqueFd pidfd, uid_t maker, Deadline moment) {
    pollfd entry = {pidfd.get(), POLLIN, 0};
    if (pidfd.ok()) PollUntil(absl::MakeSpan(&entry, 1), moment).IgnoreError();
    if (HasEnded(pidfd)) return;
    const std::lock_guard lock(mutex_);
    entries_.push_back({std::move(pidfd), maker});
  }
  std::size_t Count() {
    const std::lock_guard lock(mutex_);
    ForgetEnded();
    return entries_.size();
  }
  // OK if one more may hang.
  absl::Status Admit(uid_t maker) {
    const std::lock_guard lock(mutex_);
    ForgetEnded();
    const auto of_maker = std::count_if(entries_.begin(), entries_.end(),
                                        [=](const Entry& entry) { return entry.maker == maker; });
    if (of_maker < kMaxLeftoversOfOneMaker && entries_.size() < size_t{kMaxLeftovers}) {
      return absl::OkStatus();
    }
    return absl::ResourceExhaustedError(
        "too many helper processes hang in sealing shared memory, " + std::to_string(of_maker) +
        " of them on files of user " + std::to_string(maker) + ": a peer has its files locked");
  }

 private:
  struct Entry {
    UniqueFd pidfd;
    uid_t maker;
  };
  void ForgetEnded() {
    std::erase_if(entries_, [](const Entry& entry) { return HasEnded(entry.pidfd); });
  }
  static bool HasEnded(const UniqueFd& pidfd) {
    if (pidfd.ok() && !ProcessHasEnded(pidfd.get())) return false;
    // It is our child where we are init or a subreaper, or it is a copy of us.
    siginfo_t ended = {};
    if (pidfd.ok()) {
      ::waitid(P_PIDFD, static_cast<id_t>(pidfd.get()), &ended, WEXITED | WNOHANG | __WALL);
    }
    return true;
  }

  const pid_t maker_ = ::getpid();
  std::mutex mutex_;
  std::vector<Entry> entries_;  // guarded by mutex_
};

// What is killed at the deadline has until `moment` to be gone.
absl::Status Await(SealHelper& helper, uid_t maker, SealSet seals, Deadline deadline,
                   Deadline moment, bool* was_not_executed) {
  const absl::StatusOr<bool> ended = helper.Wait(deadline);
  if (!ended.ok() || !*ended) Leftovers::Get().Add(helper.TakeLeftover(), maker, moment);
  if (!ended.ok()) return ended.status();
  if (!*ended) {
    return absl::DeadlineExceededError(
        "sealing the shared memory was held off until the deadline: the peer has its file locked");
  }
  *was_not_executed = helper.was_not_executed();
  if (!*was_not_executed && helper.error() != 0) {
    return ErrnoStatus(helper.error(), "add the seals " + SealNames(seals) + " to a shared memfd");
  }
  return absl::OkStatus();
}

}  // namespace

struct SharedSealing::Job {
  int fd;
  off_t size_bytes;
  uid_t maker;
  SealSet wanted;
  SealSet missing;
  std::optional<SealHelper> helper;  // none where no program of ours may be executed
};

SharedSealing::SharedSealing(std::unique_ptr<Job> job) : job_(std::move(job)) {}
SharedSealing::SharedSealing(SharedSealing&&) noexcept = default;
SharedSealing::~SharedSealing() {
  if (job_ == nullptr || !job_->helper.has_value()) return;
  // This may be the end of a call whose deadline is over, and a peer can hold the helper up. One
  // that nobody holds is gone within a moment, and leaves no descriptor behind.
  bool was_not_executed = false;
  Await(*job_->helper, job_->maker, job_->missing, Deadline::After(absl::ZeroDuration()),
        Deadline::After(kMoment), &was_not_executed)
      .IgnoreError();
}

absl::StatusOr<SharedSealing> SharedSealing::Start(int fd, SealSet seals) {
  return Start(fd, seals, /*free_beyond_end=*/true);
}

absl::StatusOr<SharedSealing> SharedSealing::Start(int fd, SealSet seals, bool free_beyond_end) {
  absl::StatusOr<SealSet> present = GetSeals(fd);
  if (!present.ok()) return present.status();
  const SealSet missing = seals & ~*present;
  if (missing == 0) return SharedSealing(nullptr);
  struct stat file;
  if (::fstat(fd, &file) != 0) return ErrnoStatus(errno, "look at a memfd");
  absl::Status status = Leftovers::Get().Admit(file.st_uid);
  if (!status.ok()) return status;

  auto job = std::make_unique<Job>(Job{fd, free_beyond_end ? file.st_size : SealHelper::kSizeAsItIs,
                                       file.st_uid, seals, missing, std::nullopt});
  absl::StatusOr<SealHelper> helper =
      SealHelper::Start(fd, job->size_bytes, missing, SealHelper::Kind::kOwnProgram);
  if (helper.ok()) {
    job->helper.emplace(*std::move(helper));
  } else if (helper.status().code() != absl::StatusCode::kUnimplemented) {
    return helper.status();
  }
  return SharedSealing(std::move(job));
}

absl::Status SharedSealing::Finish(Deadline deadline) {
  if (job_ == nullptr) return absl::OkStatus();
  const std::unique_ptr<Job> job = std::move(job_);
  bool was_not_executed = !job->helper.has_value();
  if (job->helper.has_value()) {
    absl::Status status = Await(*job->helper, job->maker, job->missing, deadline,
                                Deadline::AtMonotonicNs(0), &was_not_executed);
    if (!status.ok()) return status;
  }
  if (was_not_executed) {
    if (deadline.Expired()) {
      return absl::DeadlineExceededError("no time is left to seal the shared memory");
    }
    absl::StatusOr<SealHelper> copy = SealHelper::Start(job->fd, job->size_bytes, job->missing,
                                                        SealHelper::Kind::kCopyOfThisProcess);
    if (!copy.ok()) return copy.status();
    absl::Status status = Await(*copy, job->maker, job->missing, deadline,
                                Deadline::AtMonotonicNs(0), &was_not_executed);
    if (!status.ok()) return status;
  }
  // However the helper ended, this is what counts.
  return VerifySeals(job->fd, job->wanted);
}

absl::Status AddSealsToShared(int fd, SealSet seals, Deadline deadline) {
  absl::StatusOr<SharedSealing> sealing = SharedSealing::Start(fd, seals);
  return sealing.ok() ? sealing->Finish(deadline) : sealing.status();
}

absl::Status internal::AddSealsAlone(int fd, SealSet seals, Deadline deadline) {
  absl::StatusOr<SharedSealing> sealing =
      SharedSealing::Start(fd, seals, /*free_beyond_end=*/false);
  return sealing.ok() ? sealing->Finish(deadline) : sealing.status();
}

std::size_t internal::SealHelpersLeft() { return Leftovers::Get().Count(); }

}  // namespace parley
