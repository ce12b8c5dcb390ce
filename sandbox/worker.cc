// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/worker.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/os/errors.h"
#include "parley/os/poll.h"
#include "parley/sandbox/start_process.h"
#include "parley/sandbox/system_call_name.h"
#include "parley/sandbox/unreaped.h"

namespace parley {
namespace {

// The kernel ends a killed process at once, unless it is stuck in a driver or a file system that
// does not answer, or is traced; then we go on without it (sandbox/unreaped.h).
constexpr absl::Duration kPatience = absl::Seconds(2);

int SignalProcess(int pidfd, int signal) {
  return ::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) == 0 ? 0 : errno;
}

}  // namespace

Worker::Worker(std::string name, internal::StartedProcess process,
               std::optional<internal::RefusalWatch> refusals,
               std::optional<internal::OutputRelay> output)
    : name_(std::move(name)),
      pid_(process.pid),
      pidfd_(std::move(process.pidfd)),
      holder_(std::move(process.holder)),
      wall_(std::move(process.wall)),
      refusals_(std::move(refusals)),
      output_(std::move(output)) {}

Worker& Worker::operator=(Worker&& other) noexcept {
  if (this == &other) return *this;
  KillAndReap();
  name_ = std::move(other.name_);
  pid_ = other.pid_;
  pidfd_ = std::move(other.pidfd_);
  holder_ = std::move(other.holder_);
  wall_ = std::move(other.wall_);
  refusals_ = std::move(other.refusals_);
  output_ = std::move(other.output_);
  ended_ = std::move(other.ended_);
  return *this;
}

Worker::~Worker() { KillAndReap(); }

void Worker::KillAndReap() {
  const Deadline deadline = Deadline::After(kPatience);
  if (pidfd_.ok() && !ended_.has_value()) {
    Kill();
    if (!Wait(deadline).ok()) internal::ReapLater(std::move(pidfd_));
  }
  ReapHolder(deadline);
  if (holder_.ok()) internal::ReapLater(std::move(holder_));
}

void Worker::ReapHolder(Deadline deadline) {
  if (!holder_.ok()) return;
  siginfo_t info;
  rusage usage;
  // Its end is that of all in its namespace, and has been ordered.
  if (internal::ReapUntil(holder_.get(), deadline, &info, &usage) != internal::Reaped::kNotYet) {
    holder_.Reset();
  }
}

int Worker::output_fd() { return output_.has_value() ? output_->fd() : -1; }

void Worker::RelayOutput() {
  if (output_.has_value()) output_->Relay();
}

bool Worker::HasEndedBy(Deadline deadline) {
  while (true) {
    pollfd entries[] = {{pidfd_.get(), POLLIN, 0}, {output_fd(), POLLIN, 0}};
    const absl::StatusOr<int> ready = PollUntil(absl::MakeSpan(entries), deadline);
    if (!ready.ok() || *ready == 0) return false;
    if (entries[0].revents != 0) return true;
    RelayOutput();
  }
}

void Worker::Kill() {
  if (!pidfd_.ok() || ended_.has_value()) return;
  // And with it all that is in its namespace.
  if (holder_.ok()) SignalProcess(holder_.get(), SIGKILL);
  // ESRCH: reaped behind our back, so that the number may be another process's by now.
  if (SignalProcess(pidfd_.get(), SIGKILL) == ESRCH) return;
  // Until its leader is reaped, the group's number cannot be anybody else's. Spawn made the worker
  // the leader of its own before this object existed.
  ::kill(-pid_, SIGKILL);
}

absl::StatusOr<ExitReport> Worker::Wait(Deadline deadline) {
  if (ended_.has_value()) return *ended_;
  if (!pidfd_.ok()) return absl::FailedPreconditionError("this worker was moved away");
  if (!HasEndedBy(deadline)) {
    return absl::DeadlineExceededError(name_ + " is still running at the deadline");
  }
  if (ended_.has_value()) return *ended_;  // by the function that took its output
  Kill();                                  // what it left in its group, before the number is free

  ExitReport report;
  report.name = name_;
  report.pid = pid_;
  siginfo_t info = {};
  rusage usage = {};
  switch (internal::ReapUntil(pidfd_.get(), deadline, &info, &usage)) {
    case internal::Reaped::kNotYet:
      return absl::DeadlineExceededError(name_ + " has ended, and a process that traces it lives");
    case internal::Reaped::kNotOurs:
      break;
    case internal::Reaped::kYes:
      (info.si_code == CLD_EXITED ? report.exit_code : report.signal) = info.si_status;
      break;
  }
  report.user_time = absl::DurationFromTimeval(usage.ru_utime);
  report.system_time = absl::DurationFromTimeval(usage.ru_stime);
  report.peak_memory_bytes = int64_t{usage.ru_maxrss} * 1024;
  // Whatever the exit status is, or if something else has taken it.
  const std::optional<int> number = refusals_.has_value() ? refusals_->refused() : std::nullopt;
  if (number.has_value()) report.refused_call = SystemCallName(*number);
  ended_ = report;
  if (output_.has_value()) output_->Finish();
  ReapHolder(deadline);
  return report;
}

}  // namespace parley
