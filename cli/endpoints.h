// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_CLI_ENDPOINTS_H_
#define PARLEY_CLI_ENDPOINTS_H_

// What both verbs stand on: interrupts, standard input and output or a command, progress.
//
// Threads: one at a time.
//
//   absl::StatusOr<Pipe> from = Pipe::ReadFrom(options.command);   // or standard input
//   FdSource source(from->fd(), patience);

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/cli/input.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"

namespace parley::cli {

enum ExitCode {
  kExitWhole = 0,
  kExitTrouble = 1,
  kExitUsage = 2,
  kExitBadInput = 3,
  kExitPeer = 4,
  kExitCommand = 5,
  kExitTimedOut = 6,
  kExitLimit = 7,
  kExitInterrupted = 130,
  kExitReaderLeft = 141,
};

// SIGINT, SIGTERM and SIGHUP end what waits; SIGPIPE is an error of the write.
void CatchSignals();
bool Interrupted();
absl::Status InterruptedStatus();  // kCancelled

// How often a wait asks whether it was interrupted.
inline constexpr absl::Duration kSlice = absl::Milliseconds(100);

// One end of a pipe to a command, or standard input or output where there is none.
class Pipe {
 public:
  static absl::StatusOr<Pipe> ReadFrom(const std::vector<std::string>& command);
  static absl::StatusOr<Pipe> WriteTo(const std::vector<std::string>& command);
  Pipe(Pipe&& other) noexcept
      : fd_(std::move(other.fd_)),
        number_(other.number_),
        child_(std::exchange(other.child_, -1)) {}
  Pipe& operator=(Pipe&&) = delete;
  // A command that still runs gets SIGTERM, and is reaped.
  ~Pipe();

  int fd() const { return number_; }
  // Closes our end and waits: whether the command ended with 0; true where there is none. One that
  // doesn't end in time, or when we are interrupted, is ended.
  bool Finish(absl::Duration patience);

 private:
  Pipe(UniqueFd fd, int number, pid_t child) : fd_(std::move(fd)), number_(number), child_(child) {}
  static absl::StatusOr<Pipe> Start(const std::vector<std::string>& command, bool reads);

  UniqueFd fd_;
  int number_;
  pid_t child_;
};

// kCancelled: interrupted; kDeadlineExceeded: nothing came for `patience`.
class FdSource final : public ByteSource {
 public:
  FdSource(int fd, absl::Duration patience) : fd_(fd), patience_(patience) {}
  absl::StatusOr<size_t> Read(absl::Span<std::byte> into) override;
  // Calls it now and then while nothing comes.
  void OnIdle(std::function<void()> idle) { idle_ = std::move(idle); }

 private:
  int fd_;
  absl::Duration patience_;
  std::function<void()> idle_;
};

// All of it, through a small buffer of the kernel's; kAborted: the reader has left.
absl::Status WriteAll(int fd, absl::Span<const std::byte> bytes, absl::Duration patience);

// One line on a terminal, drawn over and over; elsewhere nothing.
class Progress {
 public:
  Progress();
  ~Progress() { Clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void Show(uint64_t messages, uint64_t bytes, uint64_t dropped);
  void Clear();
  double seconds() const;

 private:
  bool on_terminal_;
  bool visible_ = false;
  int64_t began_ns_;
  int64_t last_ns_ = 0;
};

void Say(const std::string& verb, const std::string& sentence);
// The line of --stats.
void SayStats(const std::string& verb, uint64_t messages, uint64_t bytes, uint64_t dropped,
              double seconds);
// The exit code of an error that is none of the peer's.
ExitCode CodeOf(const absl::Status& status);

}  // namespace parley::cli

#endif  // PARLEY_CLI_ENDPOINTS_H_
