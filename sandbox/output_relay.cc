// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/output_relay.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <utility>

#include "parley/os/deadline.h"
#include "parley/os/errors.h"
#include "parley/os/file_size_signal.h"
#include "parley/os/system_call.h"

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83  // Linux 6.16
#endif
#ifndef RWF_NOWAIT
#define RWF_NOWAIT 8  // not in each C library's <sys/uio.h>
#endif

namespace parley::internal {
namespace {

constexpr size_t kReadBytes = 4096;
constexpr int kSocketBytes = 64 << 10;  // the kernel doubles it

// While one of these lives, writing to a place without a reader, or to a terminal from the
// background, is an error and no signal.
class NoSignalsFromWriting {
 public:
  NoSignalsFromWriting() {
    sigemptyset(&both_);
    sigaddset(&both_, SIGPIPE);
    sigaddset(&both_, SIGTTOU);
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    ::pthread_sigmask(SIG_BLOCK, &both_, &before_);
  }
  NoSignalsFromWriting(const NoSignalsFromWriting&) = delete;
  NoSignalsFromWriting& operator=(const NoSignalsFromWriting&) = delete;
  ~NoSignalsFromWriting() {
    sigset_t pipe_only;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    const timespec none = {0, 0};
    // One of ours, if there was none before.
    if (!was_pending_) ::sigtimedwait(&pipe_only, nullptr, &none);
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t both_;
  sigset_t before_;
  bool was_pending_;
};

}  // namespace

int64_t OutputBudget::Available(int64_t now_ns) {
  constexpr int64_t kSecond = 1'000'000'000;
  // Long ago is as good as full, and cannot overflow.
  refilled_ns_ = std::max(refilled_ns_, now_ns - 100 * kSecond);
  const int64_t more_bytes = (now_ns - refilled_ns_) * kBytesPerSecond / kSecond;
  bucket_bytes_ = std::min(bucket_bytes_ + more_bytes, kBurstBytes);
  refilled_ns_ += more_bytes * kSecond / kBytesPerSecond;
  const int64_t available = std::min(bucket_bytes_, total_bytes_);
  // In steps that are worth a wake-up.
  return available >= kMinMessageBytes ? available : 0;
}

void OutputBudget::Take(int64_t bytes) {
  const int64_t taken = std::max(bytes, kMinMessageBytes);
  bucket_bytes_ -= taken;
  total_bytes_ -= taken;
  // Too little for another message.
  if (total_bytes_ < kMinMessageBytes) total_bytes_ = 0;
}

OutputRelay::OutputRelay(std::string name, OutputSink sink, UniqueFd socket)
    : socket_(std::move(socket)),
      sink_(std::move(sink)),
      lines_(std::move(name)),
      budget_(MonotonicNowNs()) {}

absl::StatusOr<OutputRelay> OutputRelay::Make(std::string name, OutputSink sink,
                                              UniqueFd& worker_end) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
    return ErrnoStatus(errno, "make the socket of a worker's output");
  }
  UniqueFd ours(ends[0]);
  worker_end.Reset(ends[1]);
  if (::setsockopt(worker_end.get(), SOL_SOCKET, SO_SNDBUF, &kSocketBytes, sizeof(kSocketBytes)) !=
          0 ||
      ::shutdown(ours.get(), SHUT_WR) != 0) {
    return ErrnoStatus(errno, "limit the socket of a worker's output");
  }
  const int off = 0;
  // Older kernels: what is sent along is dropped when it is read.
  static_cast<void>(::setsockopt(ours.get(), SOL_SOCKET, SO_PASSRIGHTS, &off, sizeof(off)));
  return OutputRelay(std::move(name), std::move(sink), std::move(ours));
}

int OutputRelay::fd() { return budget_.Available(MonotonicNowNs()) > 0 ? socket_.get() : -1; }

void OutputRelay::Relay() {
  const int64_t available = budget_.Available(MonotonicNowNs());
  if (!socket_.ok() || available == 0) return;
  char raw[kReadBytes];
  const ssize_t size_bytes = ::recv(
      socket_.get(), raw, std::min(sizeof(raw), static_cast<size_t>(available)), MSG_DONTWAIT);
  std::string text;
  if (size_bytes > 0) {
    // TRUST: any bytes, made printable before anybody sees them.
    lines_.Add({raw, static_cast<size_t>(size_bytes)}, text);
    budget_.Take(size_bytes);
    if (budget_.exhausted_for_good()) {
      lines_.Flush(text);
      lines_.Add("(it has printed so much that the rest is not shown)\n", text);
    }
  } else if (size_bytes == 0 || (errno != EAGAIN && errno != EINTR)) {
    lines_.Flush(text);
    socket_.Reset();
  }
  Show(text);
}

void OutputRelay::Show(const std::string& text) {
  if (text.empty()) return;
  const size_t end = text.find_last_not_of('\n');
  const size_t before = text.rfind('\n', end);
  const size_t start = before == std::string::npos ? 0 : before + 1;
  last_line_ = text.substr(start, end + 1 - start);
  // Without "[decoder] ".
  last_line_.erase(0, last_line_.find("] ") + 2);
  sink_(text);
}

void OutputRelay::Finish() {
  // The budget bounds the number of rounds.
  while (fd() >= 0) {
    const int64_t before = budget_.Available(MonotonicNowNs());
    Relay();
    // Nothing is left, though another process may hold the other end.
    if (budget_.Available(MonotonicNowNs()) >= before) break;
  }
  std::string text;
  lines_.Flush(text);
  Show(text);
  socket_.Reset();
}

void WriteToStderrWithoutBlocking(std::string_view text) {
  struct stat status;
  if (text.empty() || ::fstat(STDERR_FILENO, &status) != 0) return;
  if (S_ISSOCK(status.st_mode)) {
    static_cast<void>(::send(STDERR_FILENO, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
    return;
  }
  const NoSignalsFromWriting quiet;
  if (S_ISREG(status.st_mode)) {
    const NoFileSizeSignal no_signal;
    static_cast<void>(!::write(STDERR_FILENO, text.data(), text.size()));
    return;
  }
  // A pipe or a terminal. Its flags are not ours to change, since others share them; so it is
  // opened once more.
  const UniqueFd again(
      ::open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | O_APPEND));
  if (again.ok()) {
    static_cast<void>(!::write(again.get(), text.data(), text.size()));
    return;
  }
  // Where it cannot be, the call itself says that it may not wait; or what cannot be so is dropped.
  std::string copy(text);  // the struct knows no const
  const iovec part = {copy.data(), copy.size()};
  // The raw call: some C libraries have no function for it. -1 twice: the file's own position.
  static_cast<void>(SystemCall(SYS_pwritev2, STDERR_FILENO, &part, 1, -1, -1, RWF_NOWAIT));
}

}  // namespace parley::internal
