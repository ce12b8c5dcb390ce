// SPDX-License-Identifier: Apache-2.0
#include "parley/tests/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "parley/os/check.h"
#include "parley/os/pidfd.h"
#include "parley/os/poll.h"

namespace parley {
namespace {

std::string Environment(const char* name, const std::string& otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : value;
}

std::pair<UniqueFd, UniqueFd> Pipe() {
  std::array<int, 2> ends;
  PARLEY_CHECK(::pipe2(ends.data(), O_CLOEXEC) == 0, "pipe2");
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

// Only async-signal-safe calls: the test may have threads.
[[noreturn]] void Become(char* const* arguments, const char* folder, int in, int out, int err) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  if (::dup2(in, 0) < 0 || ::dup2(out, 1) < 0 || ::dup2(err, 2) < 0 || ::chdir(folder) != 0) {
    ::_exit(126);
  }
  ::execvp(arguments[0], arguments);
  ::_exit(127);
}

}  // namespace

std::string Binary(const std::string& path) {
  const std::string runfiles = Environment("TEST_SRCDIR", "");
  if (runfiles.empty()) return path;
  return runfiles + "/" + Environment("TEST_WORKSPACE", "parley") + "/" + path;
}

Process::Process(std::vector<std::string> arguments) {
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  const std::string folder = Environment("TEST_TMPDIR", "/tmp");
  auto in = Pipe();
  auto out = Pipe();
  auto err = Pipe();
  pid_ = ::fork();
  PARLEY_CHECK(pid_ >= 0, "fork");
  if (pid_ == 0) {
    Become(pointers.data(), folder.c_str(), in.first.get(), out.second.get(), err.second.get());
  }
  auto pidfd = OpenPidfd(pid_);
  PARLEY_CHECK(pidfd.ok(), "pidfd_open");
  pidfd_ = *std::move(pidfd);
  input_ = std::move(in.second);
  output_pipe_ = std::move(out.first);
  errors_pipe_ = std::move(err.first);
  ::fcntl(input_.get(), F_SETFL, O_NONBLOCK);
}

Process::~Process() {
  Signal(SIGKILL);
  Wait(Deadline::After(absl::Seconds(60)));
}

std::vector<pid_t> Process::AwaitChildren(const std::string& program, size_t count,
                                          Deadline deadline) const {
  const std::string pid = std::to_string(pid_);
  std::vector<pid_t> found;
  while (true) {
    found.clear();
    std::ifstream children("/proc/" + pid + "/task/" + pid + "/children");
    for (pid_t child = 0; children >> child;) {
      std::string name;
      std::ifstream("/proc/" + std::to_string(child) + "/comm") >> name;
      if (name == program) found.push_back(child);
    }
    if (found.size() >= count || deadline.Expired()) return found;
    absl::SleepFor(absl::Milliseconds(20));
  }
}

void Process::Signal(int signal) const {
  if (pid_ > 0) ::kill(pid_, signal);
}

bool Process::Type(const std::string& text, Deadline deadline) {
  ::signal(SIGPIPE, SIG_IGN);
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t wrote = ::write(input_.get(), text.data() + done, text.size() - done);
    if (wrote > 0) {
      done += static_cast<std::size_t>(wrote);
    } else if (errno != EAGAIN && errno != EINTR) {
      return false;
    } else {
      pollfd entry = {input_.get(), POLLOUT, 0};
      const auto ready = PollUntil(absl::MakeSpan(&entry, 1), deadline);
      if (!ready.ok() || *ready == 0) return false;
    }
  }
  return true;
}

bool Process::ReadSome(Deadline deadline) {
  std::array<pollfd, 2> polled = {
      {{output_pipe_.get(), POLLIN, 0}, {errors_pipe_.get(), POLLIN, 0}}};
  if (!output_pipe_.ok() && !errors_pipe_.ok()) return false;
  const auto ready = PollUntil(absl::MakeSpan(polled), deadline);
  if (!ready.ok() || *ready == 0) return false;
  std::array<char, 65536> bytes;
  for (const bool is_output : {true, false}) {
    if (polled[is_output ? 0 : 1].revents == 0) continue;
    UniqueFd& pipe = is_output ? output_pipe_ : errors_pipe_;
    const ssize_t got = ::read(pipe.get(), bytes.data(), bytes.size());
    if (got > 0) {
      (is_output ? output_ : errors_).append(bytes.data(), static_cast<std::size_t>(got));
    } else if (got == 0 || errno != EINTR) {
      pipe.Reset();
    }
  }
  return true;
}

bool Process::AwaitOutput(const std::string& text, Deadline deadline) {
  while (output_.find(text) == std::string::npos) {
    if (!ReadSome(deadline)) return false;
  }
  return true;
}

bool Process::AwaitErrors(const std::string& text, Deadline deadline) {
  while (errors_.find(text) == std::string::npos) {
    if (!ReadSome(deadline)) return false;
  }
  return true;
}

int Process::Wait(Deadline deadline) {
  if (pid_ <= 0) return result_;
  while (ReadSome(deadline)) {
  }
  pollfd entry = {pidfd_.get(), POLLIN, 0};
  const auto ready = PollUntil(absl::MakeSpan(&entry, 1), deadline);
  if (!ready.ok() || *ready == 0) return -1;
  int status = 0;
  PARLEY_CHECK(::waitpid(pid_, &status, 0) == pid_, "waitpid");
  pid_ = -1;
  pidfd_.Reset();
  result_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result_;
}

}  // namespace parley
