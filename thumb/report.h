// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_THUMB_REPORT_H_
#define PARLEY_THUMB_REPORT_H_

// What parley-thumb says on standard error: a progress line on a terminal, a line for each file
// that went wrong, what workers print, and counts at the end.
//
// Trust: file names and workers' words are hostile; each line is printable ASCII. What workers
// print is bounded for all of them together, besides each one's own bound (sandbox/output_relay.h).
// Threads: WorkerSays: any, and it never waits for the terminal. The rest: one.
//
//   Report report(files, verbose, quiet);
//   report.Add("a.mp4", Fate::kCrashed, "its worker was killed by signal 11", "");
//   report.Finish();

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

namespace parley::thumb {

// What became of a file.
enum class Fate {
  kDone,
  kUnreadable,     // no worker has seen it
  kRefused,        // its worker said why there is no picture
  kCrashed,        // its worker died by itself, of a signal or an exit code
  kRefusedCall,    // its worker tried what the sandbox does not allow
  kOutOfTime,      // wall or processor time
  kOutOfMemory,    // the memory limit
  kBrokeProtocol,  // its worker said what an honest one does not
  kTooMuchOutput,  // its worker sent more than a picture
  kNoWorker,       // none could be started
  kNotWritten,     // the picture was there, the output was not
  kInterrupted,    // by a signal to us
};
inline constexpr std::size_t kFates = 12;
// "pictures made", for the counts at the end; never null.
const char* ToString(Fate fate);

class Report {
 public:
  Report(std::size_t files, bool verbose, bool quiet);
  Report(const Report&) = delete;
  Report& operator=(const Report&) = delete;
  ~Report();

  // A file is over. `what` is empty for kDone.
  void Add(std::string_view file, Fate fate, std::string_view what, std::string_view timing);
  // Lines of a worker's, printable already. Shown, if at all, with what is said next.
  void WorkerSays(std::string_view lines);
  // The counts, of more than one file.
  void Finish();

  uint64_t count(Fate fate) const { return counts_[static_cast<std::size_t>(fate)]; }

 private:
  void Clear();
  void Show();
  void ShowWorkersWords();

  const std::size_t files_;
  const bool verbose_;
  const bool quiet_;
  const bool on_terminal_;
  std::array<uint64_t, kFates> counts_ = {};
  bool visible_ = false;
  std::mutex mutex_;  // of these two
  std::string workers_words_;
  std::size_t worker_bytes_ = 0;  // of all of them
};

}  // namespace parley::thumb

#endif  // PARLEY_THUMB_REPORT_H_
