// SPDX-License-Identifier: Apache-2.0
#include "parley/thumb/report.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "parley/sandbox/printable.h"

namespace parley::thumb {
namespace {

constexpr std::size_t kMaxWorkerBytes = std::size_t{1} << 20;
constexpr std::size_t kMaxNameBytes = 300;
constexpr std::size_t kMaxWhatBytes = 700;
constexpr std::size_t kBarWidth = 24;

void Write(std::string_view text) {
  static_cast<void>(std::fwrite(text.data(), 1, text.size(), stderr));
}

}  // namespace

const char* ToString(Fate fate) {
  switch (fate) {
    case Fate::kDone:
      return "made";
    case Fate::kUnreadable:
      return "could not be read";
    case Fate::kRefused:
      return "damaged, or no picture in it";
    case Fate::kCrashed:
      return "crashed their worker";
    case Fate::kRefusedCall:
      return "made their worker try what it may not";
    case Fate::kOutOfTime:
      return "used up their time";
    case Fate::kOutOfMemory:
      return "used up their memory";
    case Fate::kBrokeProtocol:
      return "made their worker break the protocol";
    case Fate::kTooMuchOutput:
      return "made their worker send too much";
    case Fate::kNoWorker:
      return "without a worker";
    case Fate::kNotWritten:
      return "could not be written";
    case Fate::kInterrupted:
      break;
  }
  return "interrupted";
}

Report::Report(std::size_t files, bool verbose, bool quiet)
    : files_(files),
      verbose_(verbose),
      quiet_(quiet),
      on_terminal_(!quiet && files > 1 && ::isatty(STDERR_FILENO) == 1) {}

Report::~Report() { Clear(); }

void Report::Clear() {
  if (!visible_) return;
  Write("\r\033[K");
  visible_ = false;
}

void Report::Show() {
  if (!on_terminal_) return;
  uint64_t over = 0;
  for (const uint64_t count : counts_) over += count;
  const std::size_t filled = std::min<std::size_t>(kBarWidth, kBarWidth * over / files_);
  Write(absl::StrCat("\r\033[K[", std::string(filled, '='), std::string(kBarWidth - filled, ' '),
                     "] ", over, " of ", files_, " files"));
  std::fflush(stderr);
  visible_ = true;
}

void Report::Add(std::string_view file, Fate fate, std::string_view what, std::string_view timing) {
  ++counts_[static_cast<std::size_t>(fate)];
  Clear();
  ShowWorkersWords();
  const bool bad = fate != Fate::kDone && fate != Fate::kInterrupted;
  if (bad || (verbose_ && !quiet_)) {
    std::string line = absl::StrCat("parley-thumb: ", Printable(file, kMaxNameBytes), ": ",
                                    Printable(what.empty() ? ToString(fate) : what, kMaxWhatBytes));
    if (verbose_ && !timing.empty()) {
      absl::StrAppend(&line, " (", absl::string_view(timing.data(), timing.size()), ")");
    }
    Write(line + "\n");
  }
  Show();
}

void Report::WorkerSays(std::string_view lines) {
  if (!verbose_ || quiet_) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  if (worker_bytes_ + lines.size() > kMaxWorkerBytes) return;
  worker_bytes_ += lines.size();
  workers_words_ += lines;
}

void Report::ShowWorkersWords() {
  std::string words;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    words.swap(workers_words_);
  }
  Write(words);
}

void Report::Finish() {
  Clear();
  ShowWorkersWords();
  if (quiet_ || files_ < 2) return;
  std::string text = absl::StrCat("parley-thumb: ", files_, " files: ");
  bool first = true;
  for (std::size_t i = 0; i < kFates; ++i) {
    if (counts_[i] == 0) continue;
    absl::StrAppend(&text, first ? "" : "; ", counts_[i], " ", ToString(static_cast<Fate>(i)));
    first = false;
  }
  Write(text + "\n");
}

}  // namespace parley::thumb
