// SPDX-License-Identifier: Apache-2.0
#include "parley/cli/endpoints.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <initializer_list>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "parley/os/errors.h"

namespace parley::cli {
namespace {

volatile std::sig_atomic_t interrupted = 0;

void OnSignal(int) { interrupted = 1; }

// Waits for `events`; OK: try now. Calls `idle`, if it is set, while there are none.
absl::Status AwaitFd(int fd, int16_t events, absl::Duration patience,
                     const std::function<void()>& idle = {}) {
  const Deadline deadline = Deadline::After(patience);
  while (true) {
    if (Interrupted()) return InterruptedStatus();
    pollfd what = {.fd = fd, .events = events, .revents = 0};
    const int ready = ::poll(&what, 1, static_cast<int>(absl::ToInt64Milliseconds(kSlice)));
    if (ready > 0) return absl::OkStatus();
    if (ready < 0 && errno != EINTR) return ErrnoStatus(errno, "wait for the stream");
    if (deadline.Expired()) {
      return absl::DeadlineExceededError(
          absl::StrCat("nothing moved for ", absl::FormatDuration(patience)));
    }
    if (idle) idle();
  }
}

bool StdoutIsPipe() {
  struct stat info;
  return ::fstat(STDOUT_FILENO, &info) == 0 && S_ISFIFO(info.st_mode);
}

// How much one write may be asked to take, so that it doesn't wait for longer than a disk.
size_t MaxWriteBytes(int fd) {
  constexpr size_t kMany = size_t{1} << 20;
  const int flags = ::fcntl(fd, F_GETFL);
  struct stat info;
  if (flags >= 0 && (flags & O_NONBLOCK) != 0) return kMany;
  if (::fstat(fd, &info) == 0 && (S_ISREG(info.st_mode) || S_ISCHR(info.st_mode))) return kMany;
  // What a pipe takes at once when poll calls it writable.
  return 4096;
}

}  // namespace

void CatchSignals() {
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  // Once: afterwards the signal does what it always does.
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(number, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

bool Interrupted() { return interrupted != 0; }

absl::Status InterruptedStatus() { return absl::CancelledError("interrupted"); }

absl::StatusOr<Pipe> Pipe::ReadFrom(const std::vector<std::string>& command) {
  if (command.empty()) return Pipe(UniqueFd(), STDIN_FILENO, -1);
  return Start(command, true);
}

absl::StatusOr<Pipe> Pipe::WriteTo(const std::vector<std::string>& command) {
  if (command.empty()) {
    // A description of our own, where standard output is a pipe: nobody else's writes become
    // non-blocking with ours.
    if (StdoutIsPipe()) {
      UniqueFd ours(::open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_CLOEXEC));
      if (ours.ok()) {
        const int number = ours.get();
        return Pipe(std::move(ours), number, -1);
      }
    }
    return Pipe(UniqueFd(), STDOUT_FILENO, -1);
  }
  return Start(command, false);
}

absl::StatusOr<Pipe> Pipe::Start(const std::vector<std::string>& command, bool reads) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return ErrnoStatus(errno, "make a pipe");
  UniqueFd ours(ends[reads ? 0 : 1]);
  const UniqueFd theirs(ends[reads ? 1 : 0]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, theirs.get(), reads ? STDOUT_FILENO : STDIN_FILENO);
  // The command gets SIGPIPE as everybody does.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  std::vector<std::string> words = command;
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t child = -1;
  const int error = ::posix_spawnp(&child, argv[0], &actions, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return ErrnoStatus(error, absl::StrCat("start ", command[0]));
  // Our end is ours alone.
  if (!reads) static_cast<void>(::fcntl(ours.get(), F_SETFL, O_WRONLY | O_NONBLOCK));
  const int number = ours.get();
  return Pipe(std::move(ours), number, child);
}

Pipe::~Pipe() {
  fd_.Reset();
  if (child_ > 0) static_cast<void>(Finish(absl::ZeroDuration()));
}

bool Pipe::Finish(absl::Duration patience) {
  fd_.Reset();
  if (child_ <= 0) return true;
  const Deadline deadline = Deadline::After(patience);
  int status = 0;
  pid_t got = 0;
  while ((got = ::waitpid(child_, &status, WNOHANG)) == 0) {
    if (deadline.Expired() || Interrupted()) {
      ::kill(child_, SIGTERM);
      for (int i = 0; i < 100 && got == 0; ++i) {
        absl::SleepFor(absl::Milliseconds(10));
        got = ::waitpid(child_, &status, WNOHANG);
      }
      if (got == 0) {
        ::kill(child_, SIGKILL);
        got = ::waitpid(child_, &status, 0);
      }
      break;
    }
    absl::SleepFor(absl::Milliseconds(5));
  }
  const bool good = got == child_ && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  child_ = -1;
  return good;
}

absl::StatusOr<size_t> FdSource::Read(absl::Span<std::byte> into) {
  while (true) {
    const absl::Status ready = AwaitFd(fd_, POLLIN, patience_, idle_);
    if (!ready.ok()) return ready;
    const ssize_t got = ::read(fd_, into.data(), into.size());
    if (got >= 0) return static_cast<size_t>(got);
    if (errno != EINTR && errno != EAGAIN) return ErrnoStatus(errno, "read the stream");
  }
}

absl::Status WriteAll(int fd, absl::Span<const std::byte> bytes, absl::Duration patience) {
  const size_t max_bytes = MaxWriteBytes(fd);
  while (!bytes.empty()) {
    const absl::Status ready = AwaitFd(fd, POLLOUT, patience);
    if (!ready.ok()) return ready;
    const ssize_t written = ::write(fd, bytes.data(), std::min(bytes.size(), max_bytes));
    if (written < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      if (errno == EPIPE) return absl::AbortedError("the reader of the output has left");
      if (errno == ENOSPC) return absl::ResourceExhaustedError("no space is left for the output");
      return ErrnoStatus(errno, "write the stream");
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

Progress::Progress() : on_terminal_(::isatty(STDERR_FILENO) == 1), began_ns_(MonotonicNowNs()) {}

double Progress::seconds() const { return static_cast<double>(MonotonicNowNs() - began_ns_) / 1e9; }

void Progress::Show(uint64_t messages, uint64_t bytes, uint64_t dropped) {
  if (!on_terminal_) return;
  const int64_t now_ns = MonotonicNowNs();
  if (visible_ && now_ns - last_ns_ < 100'000'000) return;
  last_ns_ = now_ns;
  visible_ = true;
  std::fprintf(stderr, "\r\033[K%.1f s  %llu messages  %.1f MB", seconds(),
               static_cast<unsigned long long>(messages), static_cast<double>(bytes) / 1e6);
  if (dropped > 0) {
    std::fprintf(stderr, "  %llu dropped", static_cast<unsigned long long>(dropped));
  }
  std::fflush(stderr);
}

void Progress::Clear() {
  if (!visible_) return;
  std::fprintf(stderr, "\r\033[K");
  std::fflush(stderr);
  visible_ = false;
}

void Say(const std::string& verb, const std::string& sentence) {
  std::fprintf(stderr, "parley %s: %s\n", verb.c_str(), sentence.c_str());
}

void SayStats(const std::string& verb, uint64_t messages, uint64_t bytes, uint64_t dropped,
              double seconds) {
  std::fprintf(stderr, "parley %s: %llu messages, %llu bytes, %llu dropped, %.2f s, %.1f MB/s\n",
               verb.c_str(), static_cast<unsigned long long>(messages),
               static_cast<unsigned long long>(bytes), static_cast<unsigned long long>(dropped),
               seconds, static_cast<double>(bytes) / 1e6 / seconds);
}

ExitCode CodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitWhole;
    case absl::StatusCode::kCancelled:
      return kExitInterrupted;
    case absl::StatusCode::kDeadlineExceeded:
      return kExitTimedOut;
    case absl::StatusCode::kAborted:
      return kExitReaderLeft;
    default:
      return kExitTrouble;
  }
}

}  // namespace parley::cli
