// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/system_calls.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "parley/bench/pair.h"
#include "parley/os/errors.h"

namespace parley::bench {
namespace {

constexpr int kSystemCallStop = SIGTRAP | 0x80;  // with PTRACE_O_TRACESYSGOOD

// waitpid returns now and then, so that deadlines and interrupts are seen.
void SetTimer(bool on) {
  struct sigaction action = {};
  action.sa_handler = [](int) {};
  ::sigaction(SIGALRM, &action, nullptr);
  const suseconds_t period_us = on ? 100'000 : 0;
  const itimerval timer = {{0, period_us}, {0, period_us}};
  ::setitimer(ITIMER_REAL, &timer, nullptr);
}

bool IsEntry(pid_t thread) {
  __ptrace_syscall_info info = {};
  return ::ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof(info), &info) > 0 &&
         info.op == PTRACE_SYSCALL_INFO_ENTRY;
}

// The process that a thread belongs to.
pid_t ProcessOf(pid_t thread, const std::array<pid_t, 2>& pids) {
  for (const pid_t pid : pids) {
    const std::string path = "/proc/" + std::to_string(pid) + "/task/" + std::to_string(thread);
    if (::access(path.c_str(), F_OK) == 0) return pid;
  }
  return -1;
}

}  // namespace

absl::Status SystemCallCounter::Attach(pid_t pid) {
  constexpr unsigned long kOptions =
      PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
  if (::ptrace(PTRACE_SEIZE, pid, nullptr, kOptions) != 0 ||
      ::ptrace(PTRACE_INTERRUPT, pid, nullptr, nullptr) != 0) {
    return ErrnoStatus(errno, "trace a process of ours");
  }
  return absl::OkStatus();
}

SystemCallCounter::SystemCallCounter(std::array<pid_t, 2> pids, Arena& arena, SystemCalls& calls)
    : pids_(pids), arena_(arena), calls_(calls) {
  sides_ = {{pids[0], Side::kSender}, {pids[1], Side::kReceiver}};
  SetTimer(true);
}

SystemCallCounter::~SystemCallCounter() { SetTimer(false); }

Side SystemCallCounter::SideOf(pid_t thread) {
  auto found = sides_.find(thread);
  if (found == sides_.end()) {
    const Side side = ProcessOf(thread, pids_) == pids_[1] ? Side::kReceiver : Side::kSender;
    found = sides_.emplace(thread, side).first;
  }
  return found->second;
}

absl::StatusOr<std::optional<SystemCallCounter::Ended>> SystemCallCounter::Step() {
  int status = 0;
  const pid_t thread = ::waitpid(-1, &status, __WALL);
  if (thread < 0) {
    if (errno == EINTR) return std::nullopt;
    return ErrnoStatus(errno, "wait for a traced process");
  }
  const Side side = SideOf(thread);
  if (WIFEXITED(status) || WIFSIGNALED(status)) {
    if (thread != pids_[0] && thread != pids_[1]) return std::nullopt;  // a thread of it
    return Ended{side, status};
  }
  int signal = WSTOPSIG(status);
  if (signal == kSystemCallStop) {
    const auto i = static_cast<std::size_t>(side);
    if (arena_.measuring[i].load() && IsEntry(thread)) ++calls_.by_side[i];
    signal = 0;
  } else if (status >> 16 != 0) {
    signal = 0;  // an event of ptrace's own: a new thread, or the stop that attached it
  }
  ::ptrace(PTRACE_SYSCALL, thread, nullptr, signal);
  return std::nullopt;
}

}  // namespace parley::bench
