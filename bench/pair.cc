// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/pair.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "absl/types/span.h"
#include "parley/bench/placement.h"
#include "parley/bench/system_calls.h"
#include "parley/os/deadline.h"
#include "parley/os/errors.h"
#include "parley/os/pidfd.h"
#include "parley/os/poll.h"
#include "parley/os/unique_fd.h"

namespace parley::bench {
namespace {

volatile std::sig_atomic_t interrupted = 0;

constexpr int kFailed = 3;

// A process that is killed and reaped at the end, if it has not ended by itself.
class Child {
 public:
  Child() = default;
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ > 0 && !reaped_) {
      ::kill(pid_, SIGKILL);
      Reap();
    }
  }

  void Set(pid_t pid) { pid_ = pid; }
  pid_t pid() const { return pid_; }
  void Reap() {
    while (::waitpid(pid_, &status_, __WALL) < 0 && errno == EINTR) {
    }
    reaped_ = true;
  }
  void SetReaped(int status) {
    status_ = status;
    reaped_ = true;
  }
  bool reaped() const { return reaped_; }
  int status() const { return status_; }

 private:
  pid_t pid_ = -1;
  bool reaped_ = false;
  int status_ = 0;
};

[[noreturn]] void BeSide(Side side, Body body, Arena& arena, const PairOptions& options,
                         pid_t parent, int start) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(kFailed);
  // The parent decides what an interrupt of the whole group means.
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGTERM, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);
  char byte = 0;
  while (::read(start, &byte, 1) < 0 && errno == EINTR) {
  }
  ::close(start);
  absl::Status status = Place(options.placement, side);
  if (status.ok()) status = body(side);
  // The transport goes before what libraries tear down at exit.
  body = nullptr;
  if (!status.ok()) arena.result(side).Fail(status.ToString());
  // NOLINTNEXTLINE(concurrency-mt-unsafe): a fork of a process with one thread
  std::exit(status.ok() ? 0 : kFailed);
}

absl::Status Ended(const Child& child, Arena& arena, Side side) {
  const char* who = side == Side::kSender ? "sender" : "receiver";
  const SideResult& result = arena.result(side);
  if (result.failed()) return absl::AbortedError(std::string(who) + ": " + result.error.data());
  if (WIFSIGNALED(child.status())) {
    return absl::AbortedError(std::string(who) + " was ended by signal " +
                              std::to_string(WTERMSIG(child.status())));
  }
  if (WEXITSTATUS(child.status()) != 0) {
    return absl::AbortedError(std::string(who) + " ended with code " +
                              std::to_string(WEXITSTATUS(child.status())));
  }
  return absl::OkStatus();
}

absl::Status Await(std::array<Child, 2>& children, Arena& arena, Deadline deadline) {
  std::array<UniqueFd, 2> ends;
  for (std::size_t i = 0; i < 2; ++i) {
    auto pidfd = OpenPidfd(children[i].pid());
    if (!pidfd.ok()) return pidfd.status();
    ends[i] = *std::move(pidfd);
  }
  while (!children[0].reaped() || !children[1].reaped()) {
    if (interrupted != 0) return absl::CancelledError("interrupted");
    if (deadline.Expired()) return absl::DeadlineExceededError("not finished in time");
    std::array<pollfd, 2> polled = {};
    for (std::size_t i = 0; i < 2; ++i) {
      polled[i] = {children[i].reaped() ? -1 : ends[i].get(), POLLIN, 0};
    }
    const auto ready = PollUntil(absl::MakeSpan(polled), Deadline::After(absl::Milliseconds(100)));
    if (!ready.ok()) return ready.status();
    for (const Side side : {Side::kSender, Side::kReceiver}) {
      const auto i = static_cast<std::size_t>(side);
      if (polled[i].revents == 0) continue;
      children[i].Reap();
      if (absl::Status status = Ended(children[i], arena, side); !status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

absl::Status AwaitTraced(std::array<Child, 2>& children, Arena& arena, Deadline deadline,
                         SystemCalls* calls) {
  SystemCallCounter counter({children[0].pid(), children[1].pid()}, arena, *calls);
  while (true) {
    if (interrupted != 0) return absl::CancelledError("interrupted");
    if (deadline.Expired()) return absl::DeadlineExceededError("not finished in time");
    const auto ended = counter.Step();
    if (!ended.ok()) return ended.status();
    if (!ended->has_value()) continue;
    const auto i = static_cast<std::size_t>((*ended)->side);
    children[i].SetReaped((*ended)->status);
    if (absl::Status status = Ended(children[i], arena, (*ended)->side); !status.ok()) {
      return status;
    }
    if (children[0].reaped() && children[1].reaped()) return absl::OkStatus();
  }
}

}  // namespace

absl::Status RunPair(Body body, Arena& arena, const PairOptions& options, SystemCalls* calls) {
  const Deadline deadline = Deadline::After(options.limit);
  std::array<int, 2> start = {-1, -1};
  if (::pipe2(start.data(), O_CLOEXEC) != 0) return ErrnoStatus(errno, "make a pipe");
  UniqueFd wait_for_start(start[0]);
  UniqueFd starter(start[1]);
  std::fflush(nullptr);  // or the children would print it again

  std::array<Child, 2> children;
  const pid_t parent = ::getpid();
  for (const Side side : {Side::kSender, Side::kReceiver}) {
    const pid_t pid = ::fork();
    if (pid < 0) return ErrnoStatus(errno, "start a process");
    if (pid == 0) {
      starter.Reset();
      BeSide(side, std::move(body), arena, options, parent, std::move(wait_for_start).Release());
    }
    children[static_cast<std::size_t>(side)].Set(pid);
  }
  body = nullptr;  // closes this process's copies of descriptors
  if (options.count_system_calls) {
    for (const Child& child : children) {
      if (absl::Status status = SystemCallCounter::Attach(child.pid()); !status.ok()) return status;
    }
  }
  starter.Reset();  // both go
  return options.count_system_calls ? AwaitTraced(children, arena, deadline, calls)
                                    : Await(children, arena, deadline);
}

void CatchInterrupts() {
  struct sigaction action = {};
  action.sa_handler = [](int) { interrupted = 1; };
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

bool Interrupted() { return interrupted != 0; }

}  // namespace parley::bench
