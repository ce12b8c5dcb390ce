// SPDX-License-Identifier: Apache-2.0
#include "parley/thumb/run.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "parley/os/deadline.h"
#include "parley/os/errors.h"
#include "parley/sandbox/printable.h"
#include "parley/supervise/pool.h"
#include "parley/thumb/image_file.h"
#include "parley/thumb/input.h"
#include "parley/thumb/json.h"
#include "parley/thumb/report.h"
#include "parley/thumb/result_reader.h"
#include "parley/thumb/targets.h"
#include "parley/thumb/thumb_wire.h"

namespace parley::thumb {
namespace {

// How soon a signal is noticed.
constexpr absl::Duration kWait = absl::Milliseconds(50);
// What headers and facts may cost besides pixels.
constexpr uint64_t kOutputBytes = 256 << 10;
// Address space of libav and what it needs, before a file is looked at: 273 MiB with Debian 12's.
constexpr uint64_t kLibraryBytes = uint64_t{384} << 20;
constexpr std::size_t kMaxErrorBytes = 700;

// One file on its way through the pool.
struct Pending {
  std::size_t index = 0;
  uint64_t size_bytes = 0;
  std::shared_ptr<ResultReader> reader;
  PoolJob job;
};

struct Verdict {
  Fate fate = Fate::kDone;
  std::string what;
};

Verdict VerdictOf(const JobResult& result) {
  using Outcome = JobResult::Outcome;
  const auto its_worker = [&](Fate fate) {
    return Verdict{fate, absl::StrCat("its worker was ended: ", result.what)};
  };
  switch (result.outcome) {
    case Outcome::kDone:
      return {Fate::kDone, ""};
    case Outcome::kFailed:
      // By its own word; its memory limit is met in libav's allocations first.
      return {absl::IsResourceExhausted(result.status) ? Fate::kOutOfMemory : Fate::kRefused,
              result.what};
    case Outcome::kOutOfTime:
      return its_worker(Fate::kOutOfTime);
    case Outcome::kTooMuchOutput:
      return its_worker(Fate::kTooMuchOutput);
    case Outcome::kRejected:
      return its_worker(Fate::kBrokeProtocol);
    case Outcome::kCancelled:
    case Outcome::kExpired:
      return {Fate::kInterrupted, "interrupted"};
    case Outcome::kNotStarted:
      return {Fate::kNoWorker, absl::StrCat("no worker could be started: ", result.what)};
    case Outcome::kWorkerEnded:
      break;
  }
  using Cause = WorkerEnd::Cause;
  const Cause cause = result.end.has_value() ? result.end->cause : Cause::kUnknown;
  Fate fate = Fate::kCrashed;
  if (cause == Cause::kRefusedCall) fate = Fate::kRefusedCall;
  if (cause == Cause::kOutOfTime) fate = Fate::kOutOfTime;
  if (cause == Cause::kOutOfMemory) fate = Fate::kOutOfMemory;
  if (cause == Cause::kBrokeProtocol || cause == Cause::kDone) fate = Fate::kBrokeProtocol;
  return {fate, absl::StrCat("its ", result.what)};
}

std::string TimingOf(const JobResult& result) {
  return absl::StrCat("waited ", absl::ToInt64Milliseconds(result.waited), " ms, worker ready in ",
                      absl::ToInt64Milliseconds(result.started_in), " ms, decoded in ",
                      absl::ToInt64Milliseconds(result.ran), " ms");
}

class Run {
 public:
  Run(const ThumbOptions& options, const std::function<int()>& interrupted_by,
      std::vector<std::string> targets)
      : options_(options),
        interrupted_by_(interrupted_by),
        targets_(std::move(targets)),
        report_(options.files.size(), options.verbose, options.quiet) {}

  int AllFiles(const std::string& worker);

 private:
  bool Stopped() const { return interrupted_by_() != 0; }
  absl::StatusOr<std::unique_ptr<Pool>> StartPool(const std::string& worker);
  // Reads the file and hands it to the pool.
  void Begin(Pool& pool, std::size_t index);
  // Waits for the oldest one, and writes what came of it.
  void EndOldest(Pool& pool);
  Verdict Write(const Pending& pending);
  // kDone, or what became of the output.
  Verdict Deliver(std::size_t index, const std::string& bytes);
  void Fail(std::size_t index, Fate fate, std::string_view what, std::string_view timing = "");

  const ThumbOptions& options_;
  const std::function<int()>& interrupted_by_;
  const std::vector<std::string> targets_;
  Report report_;
  std::deque<Pending> pending_;
  bool reader_left_ = false;  // of standard output: no other result has a place to go
};

absl::StatusOr<std::unique_ptr<Pool>> Run::StartPool(const std::string& worker) {
  PoolOptions options;
  options.program.path = worker;
  options.program.name = "worker";
  options.program.output = [this](std::string_view lines) { report_.WorkerSays(lines); };
  options.workers = static_cast<int>(
      std::min<std::size_t>(static_cast<std::size_t>(options_.jobs), options_.files.size()));
  // A program of low priority on a busy machine takes long to load libav.
  options.start_time = absl::Minutes(1);
  options.format = kThumbProtocol;
  options.from_worker.capacity_bytes = uint64_t{4} * kMessageBytes;
  options.from_worker.max_message_bytes = kMessageBytes;
  options.limits.wall_time = options_.time_limit;
  options.limits.cpu_seconds =
      static_cast<uint64_t>(std::max<int64_t>(1, absl::ToInt64Seconds(options_.time_limit) + 1));
  options.limits.memory_bytes = options_.memory_limit_bytes + kLibraryBytes;
  // Each message costs 64 bytes more, and holds kMessageBytes.
  options.limits.output_bytes =
      uint64_t{MaxWidth(options_.request)} * MaxHeight(options_.request) * 4 / 1000 * 1001 +
      kOutputBytes;
  return Pool::Start(std::move(options));
}

void Run::Fail(std::size_t index, Fate fate, std::string_view what, std::string_view timing) {
  const std::string& file = options_.files[index];
  if (options_.format == Format::kJson && fate != Fate::kInterrupted && fate != Fate::kNotWritten) {
    const Verdict written =
        Deliver(index, ErrorToJson(file, Printable(what, kMaxErrorBytes)) + "\n");
    if (written.fate != Fate::kDone) {
      report_.Add(file, written.fate, written.what, timing);
      return;
    }
  }
  report_.Add(file, fate, what, timing);
}

void Run::Begin(Pool& pool, std::size_t index) {
  absl::StatusOr<SealedBlob> blob =
      ReadInput(options_.files[index], options_.max_input_bytes,
                Deadline::After(options_.time_limit), [this, &pool] {
                  // Results do not wait for a pipe that is slow.
                  while (!pending_.empty() && pending_.front().job.Wait(Deadline::After({})).ok()) {
                    EndOldest(pool);
                  }
                  return Stopped();
                });
  if (absl::IsCancelled(blob.status())) return Fail(index, Fate::kInterrupted, "interrupted");
  if (!blob.ok()) {
    return Fail(index, Fate::kUnreadable, std::string(blob.status().message()));
  }
  auto reader = std::make_shared<ResultReader>(options_.request);
  JobOptions job;
  const uint64_t size_bytes = blob->size_bytes();
  job.input = std::make_shared<const SealedBlob>(*std::move(blob));
  job.request = Encode(options_.request);
  job.on_message = [reader](uint32_t tag, absl::Span<const std::byte> bytes) {
    return reader->Add(tag, bytes);
  };
  // No more files are begun than fit into the queue.
  absl::StatusOr<PoolJob> submitted = pool.Submit(std::move(job), Deadline::Never());
  if (!submitted.ok()) {
    return Fail(index, Fate::kNoWorker, std::string(submitted.status().message()));
  }
  pending_.push_back({index, size_bytes, std::move(reader), *std::move(submitted)});
}

Verdict Run::Write(const Pending& pending) {
  if (const absl::Status whole = pending.reader->Finish(); !whole.ok()) {
    return {Fate::kBrokeProtocol, std::string(whole.message())};
  }
  std::string bytes;
  if (options_.format == Format::kJson) {
    bytes =
        FactsToJson(options_.files[pending.index], pending.size_bytes, *pending.reader->facts()) +
        "\n";
  } else if (options_.format == Format::kPpm) {
    bytes = EncodePpm(*pending.reader->picture());
  } else {
    absl::StatusOr<std::string> png = EncodePng(*pending.reader->picture());
    if (!png.ok()) return {Fate::kNotWritten, std::string(png.status().message())};
    bytes = *std::move(png);
  }
  return Deliver(pending.index, bytes);
}

Verdict Run::Deliver(std::size_t index, const std::string& bytes) {
  const absl::Status written = WriteTarget(targets_[index], bytes, [this] { return Stopped(); });
  if (written.ok()) return {};
  if (absl::IsCancelled(written)) return {Fate::kInterrupted, "interrupted"};
  reader_left_ = reader_left_ || absl::IsUnavailable(written);
  return {Fate::kNotWritten, std::string(written.message())};
}

void Run::EndOldest(Pool& pool) {
  const Pending pending = std::move(pending_.front());
  pending_.pop_front();
  std::optional<JobResult> result;
  while (!result.has_value()) {
    absl::StatusOr<JobResult> now = pending.job.Wait(Deadline::After(kWait));
    if (now.ok()) result = *std::move(now);
    if (Stopped()) pool.CancelAll();
  }
  Verdict verdict = VerdictOf(*result);
  if (verdict.fate == Fate::kDone) verdict = Write(pending);
  if (verdict.fate == Fate::kDone) {
    report_.Add(options_.files[pending.index], Fate::kDone, "", TimingOf(*result));
  } else {
    Fail(pending.index, verdict.fate, verdict.what, TimingOf(*result));
  }
}

int Run::AllFiles(const std::string& worker) {
  {
    absl::StatusOr<std::unique_ptr<Pool>> pool = StartPool(worker);
    if (!pool.ok()) {
      std::fprintf(stderr, "parley-thumb: %s\n", std::string(pool.status().message()).c_str());
      return kExitNoWorker;
    }
    // Read ahead, so that no worker waits for a disk; not far, since inputs lie in memory.
    const auto max_pending = static_cast<std::size_t>(options_.jobs) + 1;
    for (std::size_t i = 0; i < options_.files.size() && !Stopped(); ++i) {
      while (pending_.size() >= max_pending) EndOldest(**pool);
      if (reader_left_) break;
      Begin(**pool, i);
      // Without a worker no other file will have one.
      if (report_.count(Fate::kNoWorker) > 0) break;
    }
    while (!pending_.empty()) EndOldest(**pool);
  }
  report_.Finish();
  if (const int number = interrupted_by_(); number != 0) return kExitSignal + number;
  if (report_.count(Fate::kNoWorker) > 0) return kExitNoWorker;
  if (report_.count(Fate::kNotWritten) > 0) return kExitNotWritten;
  return report_.count(Fate::kDone) == options_.files.size() ? kExitDone : kExitNoPicture;
}

}  // namespace

absl::StatusOr<std::string> FindWorker() {
  std::array<char, 4096> path = {};
  const ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size() - 1);
  if (length <= 0) return ErrnoStatus(errno, "find this program");
  const std::string self(path.data(), static_cast<std::size_t>(length));
  const std::string folder = self.substr(0, self.rfind('/'));
  for (const char* place : {"/thumb_worker", "/../libexec/parley/parley-thumb-worker"}) {
    const std::string worker = folder + place;
    if (::access(worker.c_str(), X_OK) == 0) return worker;
  }
  return absl::NotFoundError(absl::StrCat("there is no parley-thumb-worker by ", folder));
}

int RunThumb(const ThumbOptions& options, const std::string& worker,
             const std::function<int()>& interrupted_by) {
  // A reader that leaves, and a limit for files (ulimit -f), are errors of writing and not the end.
  static_cast<void>(::signal(SIGPIPE, SIG_IGN));
  static_cast<void>(::signal(SIGXFSZ, SIG_IGN));
  absl::StatusOr<std::vector<std::string>> targets = TargetsOf(options);
  if (!targets.ok()) {
    std::fprintf(stderr, "parley-thumb: %s\n",
                 Printable(std::string(targets.status().message()), kMaxErrorBytes).c_str());
    return kExitUsage;
  }
  return Run(options, interrupted_by, *std::move(targets)).AllFiles(worker);
}

}  // namespace parley::thumb
