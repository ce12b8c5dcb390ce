// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_OUTPUT_RELAY_H_
#define PARLEY_SANDBOX_OUTPUT_RELAY_H_

// What a worker prints, on its way to a place of ours: a socket of its own, bounded and printable.
//
// Trust: the worker writes what and as much as it likes. Each Relay reads 4 KiB at most, with one
// system call that can't block; over time 32 KiB and then 1 KiB a second, 256 KiB in all, where a
// message counts for 64 bytes at least; in between there is no descriptor to wake us. More stays in
// the socket (128 KiB), where writing fails for the worker with EAGAIN. A socket and not a pipe: a
// pipe's writer holds its lock while it copies, which userfaultfd makes last for ever (attack W7).
// It goes one way, and a descriptor that is sent along is never installed.
// Threads: not thread-safe.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/printable.h"

namespace parley::internal {

// How much may be read: a bucket that time refills, and a total.
class OutputBudget {
 public:
  static constexpr int64_t kBurstBytes = 32 << 10;
  static constexpr int64_t kBytesPerSecond = 1 << 10;
  static constexpr int64_t kTotalBytes = 256 << 10;
  static constexpr int64_t kMinMessageBytes = 64;

  explicit OutputBudget(int64_t now_ns) : refilled_ns_(now_ns) {}
  // How many bytes may be read now. 0: none, until later or for good.
  int64_t Available(int64_t now_ns);
  void Take(int64_t bytes);
  bool exhausted_for_good() const { return total_bytes_ <= 0; }

 private:
  int64_t refilled_ns_;
  int64_t bucket_bytes_ = kBurstBytes;
  int64_t total_bytes_ = kTotalBytes;
};

// Takes the printable lines, whole, and may not block.
using OutputSink = std::function<void(std::string_view lines)>;

class OutputRelay {
 public:
  // `worker_end` gets the descriptor for the worker's stdout and stderr.
  static absl::StatusOr<OutputRelay> Make(std::string name, OutputSink sink, UniqueFd& worker_end);

  // Readable when there is something to relay; -1 while there is nothing to wait for.
  int fd();
  // One read, and its lines to the sink.
  void Relay();
  // After the worker's end: what is left, within the budget.
  void Finish();
  // The last line that went to the sink, without the worker's name.
  const std::string& last_line() const { return last_line_; }

 private:
  OutputRelay(std::string name, OutputSink sink, UniqueFd socket);
  void Show(const std::string& text);

  UniqueFd socket_;
  OutputSink sink_;
  PrintableLines lines_;
  OutputBudget budget_;
  std::string last_line_;
};

// Writes to stderr what fits there at once; the rest is lost. Never blocks, never raises SIGPIPE or
// SIGTTOU, whatever stderr is and whatever its flags are.
void WriteToStderrWithoutBlocking(std::string_view text);

}  // namespace parley::internal

#endif  // PARLEY_SANDBOX_OUTPUT_RELAY_H_
