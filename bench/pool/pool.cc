// SPDX-License-Identifier: Apache-2.0

// What a fresh confined worker costs: until the first byte of its result, in processor time, in
// memory of its own, and in jobs a second; beside fork and exec of a program, with and without
// bubblewrap. ./dev bench pool [--quick].
//
// Processor time is of all processes of a way, its template among them, over all its jobs. What
// else the machine has to do changes it little, and times until the first byte a lot.

#include "parley/supervise/pool.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/bench/quantile.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/sealed_blob.h"

namespace parley {
namespace {

constexpr int kWorkers = 2;
constexpr int kWarmUps = 5;
constexpr std::size_t kInputBytes = std::size_t{64} << 10;

// How often: one after the other, then as many at once as there are workers.
struct Rounds {
  int starts = 300;
  int jobs = 600;
  int programs = 200;  // of a small one; a tenth of that of a large one
};

struct Row {
  std::string way;
  std::vector<double> start_ms;
  double processor_ms = 0;  // each
  double jobs_per_second = 0;
  double own_kib = -1;
  double ready_ms = -1;  // p50: from the pool's decision to start a worker until it is locked down
};

double MsSince(int64_t then_ns) { return static_cast<double>(MonotonicNowNs() - then_ns) / 1e6; }

double ProcessorMs() {
  double sum_ms = 0;
  for (const auto who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage usage = {};
    ::getrusage(who, &usage);
    for (const timeval& time : {usage.ru_utime, usage.ru_stime}) {
      sum_ms += static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_usec) / 1e3;
    }
  }
  return sum_ms;
}

std::shared_ptr<const SealedBlob> Input() {
  const std::vector<std::byte> bytes(kInputBytes, std::byte{7});
  auto blob = SealedBlob::Create(bytes);
  if (!blob.ok()) return nullptr;
  return std::make_shared<const SealedBlob>(*std::move(blob));
}

// Private pages of the largest of our workers; -1 where that may not be seen.
double OwnKib() {
  double largest = -1;
  const std::string command =
      "for t in /proc/" + std::to_string(::getpid()) + "/task/*/children; do cat $t; done";
  std::unique_ptr<FILE, int (*)(FILE*)> list(::popen(command.c_str(), "re"), ::pclose);
  int pid = 0;
  while (list != nullptr && std::fscanf(list.get(), "%d", &pid) == 1) {
    std::ifstream name("/proc/" + std::to_string(pid) + "/comm");
    std::string text;
    name >> text;
    if (text != "pool_worker") continue;
    std::ifstream rollup("/proc/" + std::to_string(pid) + "/smaps_rollup");
    double kib = 0;
    for (std::string line; std::getline(rollup, line);) {
      double value = 0;
      if (std::sscanf(line.c_str(), "Private_Dirty: %lf", &value) == 1 ||
          std::sscanf(line.c_str(), "Private_Clean: %lf", &value) == 1) {
        kib += value;
      }
    }
    largest = std::max(largest, kib);
  }
  return largest;
}

struct Way {
  const char* name;
  bool use_template;
  uint32_t jobs_per_worker;
  bool start_ahead;
};

absl::StatusOr<Row> ByPool(const Way& way, const std::string& worker, const Rounds& rounds) {
  Row row;
  row.way = way.name;
  const double before_ms = ProcessorMs();
  PoolOptions options;
  options.program.path = worker;
  options.program.name = "pool_worker";
  options.workers = kWorkers;
  options.use_template = way.use_template;
  options.jobs_per_worker = way.jobs_per_worker;
  options.start_ahead = way.start_ahead;
  options.max_queued = 16;
  auto pool = Pool::Start(std::move(options));
  if (!pool.ok()) return pool.status();
  const auto input = Input();
  const auto submit = [&](const std::string& request, std::vector<double>* first_byte_ms) {
    JobOptions job;
    job.input = input;
    job.request = request;
    if (first_byte_ms != nullptr) {
      job.on_message = [first_byte_ms, began_ns = MonotonicNowNs()](uint32_t,
                                                                    absl::Span<const std::byte>) {
        first_byte_ms->push_back(MsSince(began_ns));
        return absl::OkStatus();
      };
    }
    return (*pool)->Submit(std::move(job), Deadline::Never());
  };
  for (int i = 0; i < rounds.starts + kWarmUps; ++i) {
    // Ahead is as soon as there is time for it.
    if (way.start_ahead) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    auto job = submit("", &row.start_ms);
    if (!job.ok()) return job.status();
    if (!job->Wait().done()) return absl::InternalError(job->Wait().what);
    if (i == kWarmUps - 1) row.start_ms.clear();
  }
  // Of these alone: of those that follow, two at once share the processors.
  if (!way.start_ahead && way.jobs_per_worker == 1) {
    row.ready_ms = absl::ToDoubleMilliseconds((*pool)->stats().started_p50);
  }
  auto waiting = submit("wait", nullptr);
  if (!waiting.ok()) return waiting.status();
  static_cast<void>(waiting->Wait(Deadline::After(absl::Milliseconds(300))));
  row.own_kib = OwnKib();
  waiting->Cancel();
  static_cast<void>(waiting->Wait());
  const int64_t began_ns = MonotonicNowNs();
  std::vector<PoolJob> jobs;
  for (int i = 0; i < rounds.jobs; ++i) {
    auto job = submit("", nullptr);
    if (!job.ok()) return job.status();
    jobs.push_back(*std::move(job));
  }
  for (const PoolJob& job : jobs) {
    if (!job.Wait().done()) return absl::InternalError(job.Wait().what);
  }
  row.jobs_per_second = rounds.jobs / (MsSince(began_ns) / 1e3);
  pool->reset();
  row.processor_ms = (ProcessorMs() - before_ms) / (rounds.starts + kWarmUps + rounds.jobs + 1);
  return row;
}

// Until the first byte of a program's output, and its end.
double RunOnce(const std::vector<std::string>& command) {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) return -1;
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  const int64_t began_ns = MonotonicNowNs();
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(theirs.get(), 1);
    const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    ::dup2(null.get(), 2);
    std::vector<char*> arguments;
    std::vector<std::string> copy = command;
    for (std::string& argument : copy) arguments.push_back(argument.data());
    arguments.push_back(nullptr);
    ::execvp(arguments[0], arguments.data());
    ::_exit(127);
  }
  theirs.Reset();
  char byte = 0;
  const bool got = ::read(ours.get(), &byte, 1) == 1;
  const double ms = MsSince(began_ns);
  char rest[4096];
  while (::read(ours.get(), rest, sizeof(rest)) > 0) {
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  return got && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? ms : -1;
}

// Nothing where the program is not there, or does not run here.
void ByExec(const std::string& way, const std::vector<std::string>& command, int starts,
            std::vector<Row>* rows) {
  if (RunOnce(command) < 0) {
    std::printf("%-40s not here\n", way.c_str());
    return;
  }
  Row row;
  row.way = way;
  const double before_ms = ProcessorMs();
  for (int i = 0; i < starts; ++i) row.start_ms.push_back(RunOnce(command));
  const int64_t began_ns = MonotonicNowNs();
  std::vector<std::thread> threads;
  for (int t = 0; t < kWorkers; ++t) {
    threads.emplace_back([&command, starts] {
      for (int i = 0; i < starts; ++i) RunOnce(command);
    });
  }
  for (std::thread& thread : threads) thread.join();
  row.jobs_per_second = kWorkers * starts / (MsSince(began_ns) / 1e3);
  row.processor_ms = (ProcessorMs() - before_ms) / ((1 + kWorkers) * starts);
  rows->push_back(std::move(row));
}

// One small picture, and as many of it as are asked for; nothing without ffmpeg.
class Pictures {
 public:
  explicit Pictures(int count) {
    std::string folder = "/tmp/parley-bench-XXXXXX";
    if (::mkdtemp(folder.data()) == nullptr) return;
    folder_ = folder;
    const std::string first = folder + "/0.png";
    const std::vector<std::string> make = {
        "sh", "-c",
        "ffmpeg -v quiet -f lavfi -i testsrc=size=320x240 -frames:v 1 " + first + " && echo x"};
    if (RunOnce(make) < 0) return;
    for (int i = 0; i < count; ++i) {
      const std::string name = folder + "/" + std::to_string(i) + ".png";
      if (i > 0) std::filesystem::copy_file(first, name);
      files_.push_back(name);
    }
  }
  Pictures(const Pictures&) = delete;
  Pictures& operator=(const Pictures&) = delete;
  ~Pictures() {
    std::error_code ignored;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
  }
  const std::string& folder() const { return folder_; }
  const std::vector<std::string>& files() const { return files_; }

 private:
  std::string folder_;
  std::vector<std::string> files_;
};

// A program that makes pictures of all files at once, its own start among what it takes.
void ByBatch(const std::string& way, const std::string& program, const Pictures& pictures,
             std::vector<Row>* rows) {
  const std::string out = pictures.folder() + "/out";
  std::filesystem::create_directory(out);
  std::vector<std::string> command = {program, "--size",    "64",     "--format",
                                      "ppm",   "--verbose", "--jobs", std::to_string(kWorkers),
                                      "-o",    out};
  command.insert(command.end(), pictures.files().begin(), pictures.files().end());
  // RunOnce wants a byte of output; it reports on its standard error.
  command.insert(command.begin(), {"sh", "-c", "\"$0\" \"$@\" && echo x"});
  const double before_ms = ProcessorMs();
  const double ms = RunOnce(command);
  const auto count = static_cast<double>(pictures.files().size());
  const auto made = static_cast<double>(std::distance(std::filesystem::directory_iterator(out),
                                                      std::filesystem::directory_iterator()));
  if (ms < 0 || made != count) {
    std::printf("%-40s made %g of %g pictures\n", way.c_str(), made, count);
    return;
  }
  Row row;
  row.way = way;
  row.jobs_per_second = count / (ms / 1e3);
  row.processor_ms = (ProcessorMs() - before_ms) / count;
  rows->push_back(std::move(row));
}

int Main(const std::string& worker, const std::string& thumb, const Rounds& rounds) {
  std::vector<Row> rows;
  const std::vector<Way> ways = {
      {"pool, clone of a template", true, 1, false},
      {"pool, clone started ahead, 20 ms apart", true, 1, true},
      {"pool, fork and exec", false, 1, false},
      {"pool, worker reused (100 jobs)", true, 100, false},
  };
  for (const Way& way : ways) {
    auto row = ByPool(way, worker, rounds);
    if (!row.ok()) {
      std::fprintf(stderr, "pool: %s: %s\n", way.name, std::string(row.status().message()).c_str());
      return 1;
    }
    rows.push_back(*std::move(row));
  }
  const std::vector<std::string> bwrap = {"bwrap", "--ro-bind", "/", "/", "--unshare-all", "--"};
  const auto inside = [&bwrap](std::vector<std::string> command) {
    command.insert(command.begin(), bwrap.begin(), bwrap.end());
    return command;
  };
  const std::vector<std::string> echo = {"/bin/echo", "x"};
  const Pictures pictures(rounds.programs);
  const std::string picture = pictures.files().empty() ? "none" : pictures.files()[0];
  const std::vector<std::string> ffmpeg = {"ffmpeg", "-v",  "quiet",       "-i",
                                           picture,  "-vf", "scale=64:48", "-frames:v",
                                           "1",      "-f",  "rawvideo",    "-"};
  ByExec("fork and exec of echo, not confined", echo, rounds.programs, &rows);
  ByExec("bwrap echo", inside(echo), rounds.programs, &rows);
  ByExec("fork and exec of ffmpeg, not confined", ffmpeg, rounds.programs / 10, &rows);
  ByExec("bwrap ffmpeg", inside(ffmpeg), rounds.programs / 10, &rows);
  if (!thumb.empty() && !pictures.files().empty()) {
    ByBatch("parley-thumb, the same picture", thumb, pictures, &rows);
  }
  const auto figure = [](double value) {
    char text[32];
    std::snprintf(text, sizeof(text), "%.2f", value);
    return std::string(value < 0 ? "-" : text);
  };
  std::printf("%-40s %9s %9s %9s %9s %9s %9s %9s\n", "way", "ready p50", "p10 ms", "p50 ms",
              "p99 ms", "cpu ms", "jobs/s", "own KiB");
  for (const Row& row : rows) {
    const auto at = [&row, &figure](double part) {
      return figure(row.start_ms.empty() ? -1 : bench::Quantile(row.start_ms, part));
    };
    std::printf("%-40s %9s %9s %9s %9s %9.2f %9.0f %9s\n", row.way.c_str(),
                figure(row.ready_ms).c_str(), at(0.1).c_str(), at(0.5).c_str(), at(0.99).c_str(),
                row.processor_ms, row.jobs_per_second,
                row.own_kib < 0 ? "-" : std::to_string(static_cast<int>(row.own_kib)).c_str());
  }
  return 0;
}

}  // namespace
}  // namespace parley

int main(int argc, char** argv) {
  const bool quick = argc > 2 && std::string_view(argv[argc - 1]) == "--quick";
  const int named = argc - (quick ? 1 : 0);
  if (named != 2 && named != 3) {
    std::fprintf(stderr, "usage: pool WORKER [PARLEY_THUMB] [--quick]\n");
    return 2;
  }
  return parley::Main(argv[1], named == 3 ? argv[2] : "",
                      quick ? parley::Rounds{100, 200, 50} : parley::Rounds{});
}
