// SPDX-License-Identifier: Apache-2.0
// effect [--seconds S] [--stall] [--priority N] [--watch] [--json FILE]: an audio effect in a
// process of its own, as a plug-in host would run it. Each 2.7 ms a block goes to a confined worker
// and its answer is waited for, for at most half of that; what is not there in time is silence, and
// counted.
//
// Exit codes: 0; 1: the worker could not be started, or ended; 2: wrong usage; 130: interrupted.

#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/bench/histogram.h"
#include "parley/cli/interrupt.h"
#include "parley/examples/effect/effect_options.h"
#include "parley/examples/latency/latency_report.h"
#include "parley/examples/real_time/absences.h"
#include "parley/examples/real_time/real_time.h"
#include "parley/media/audio_port.h"
#include "parley/os/deadline.h"
#include "parley/supervise/worker_link.h"

ABSL_FLAG(double, seconds, 5, "how long; 0.1 to 86400");
ABSL_FLAG(bool, stall, false, "the worker stops half a second after its start");
ABSL_FLAG(uint32_t, priority, 0,
          "SCHED_FIFO priority of the effect, and one more for the host; 1 to 50; 0: ordinary");
ABSL_FLAG(bool, watch, false, "say how many of the silent cycles fell on an absent processor");
ABSL_FLAG(std::string, json, "", "write the times as a line of JSON (examples/latency)");
ABSL_FLAG(std::string, worker, "",
          "the effect's program; by default effect_worker beside this one");

namespace {

constexpr uint32_t kFrames = 128;
// As long as this the machine may be away, and the answer is still in time.
constexpr absl::Duration kAbsence = absl::Microseconds(500);
constexpr int64_t kPeriodNs = int64_t{kFrames} * 1'000'000'000 / 48'000;

// Looks for the worker's death and for Ctrl-C, which the audio thread does not: a look is a system
// call. CheckPeer and Interrupt end its next cycle.
class Lookout {
 public:
  explicit Lookout(const parley::AudioPort& port)
      : thread_([this, &port] {
          while (!over_) {
            absl::SleepFor(absl::Milliseconds(20));
            if (!port.CheckPeer()) return;
            if (parley::cli::Interrupted()) port.Interrupt();
          }
        }) {}
  ~Lookout() {
    over_ = true;
    thread_.join();
  }
  Lookout(const Lookout&) = delete;
  Lookout& operator=(const Lookout&) = delete;

 private:
  std::atomic<bool> over_{false};
  std::thread thread_;
};

int Run(const std::string& worker) {
  const parley::AudioPortOptions audio = parley::effect::Options();
  parley::WorkerLinkOptions options;
  options.program.path = worker;
  if (absl::GetFlag(FLAGS_stall)) options.program.arguments = {"stall"};
  options.to_worker = parley::AudioSendRing(audio);
  options.from_worker = parley::AudioReceiveRing(audio);
  auto link =
      parley::WorkerLink::Start(std::move(options), parley::Deadline::After(absl::Seconds(10)));
  if (!link.ok()) {
    std::fprintf(stderr, "effect: %s\n", std::string(link.status().message()).c_str());
    return 1;
  }
  parley::AudioPortOptions ours = audio;
  ours.poll_sleep = absl::ZeroDuration();  // a real-time thread's
  auto port = parley::AudioPort::Create(link->channel(), ours);
  if (!port.ok()) {
    std::fprintf(stderr, "effect: %s\n", std::string(port.status().message()).c_str());
    return 1;
  }

  if (const auto priority = static_cast<int>(absl::GetFlag(FLAGS_priority)); priority > 0) {
    absl::Status made = parley::MakeRealTime(link->worker().pid(), priority);
    made.Update(parley::MakeRealTime(0, priority + 1));
    if (!made.ok()) {
      std::fprintf(stderr, "effect: %s\n", std::string(made.message()).c_str());
      return 1;
    }
  }

  std::unique_ptr<parley::AbsenceWatch> watch;
  if (absl::GetFlag(FLAGS_watch)) {
    const auto priority = static_cast<int>(absl::GetFlag(FLAGS_priority));
    watch = std::make_unique<parley::AbsenceWatch>(kAbsence);
    const absl::Status started = watch->Start(priority > 0 ? priority + 2 : 0);
    if (!started.ok()) {
      std::fprintf(stderr, "effect: %s\n", std::string(started.message()).c_str());
      return 1;
    }
  }

  std::array<float, size_t{kFrames} * 2> in = {};
  std::array<float, size_t{kFrames} * 2> out = {};
  double phase = 0;
  double peak = 0;
  auto took = std::make_unique<parley::bench::Histogram>();  // of nanoseconds
  const auto cycles =
      static_cast<int64_t>(absl::GetFlag(FLAGS_seconds) * 1e9 / static_cast<double>(kPeriodNs));
  std::vector<int64_t> silent_ns;  // when the silent cycles began
  if (watch != nullptr) silent_ns.reserve(static_cast<size_t>(cycles));
  int64_t cycle = 0;
  bool gone = false;
  auto lookout = std::make_unique<Lookout>(*port);
  timespec next = {};
  ::clock_gettime(CLOCK_MONOTONIC, &next);
  for (; cycle < cycles; ++cycle) {
    // What a sound card does for a real host.
    next.tv_nsec += kPeriodNs;
    if (next.tv_nsec >= 1'000'000'000) {
      next.tv_nsec -= 1'000'000'000;
      ++next.tv_sec;
    }
    ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, nullptr);
    for (size_t i = 0; i < in.size(); i += 2) {
      in[i] = in[i + 1] = static_cast<float>(0.25 * std::sin(phase));
      phase += 440 * 2 * M_PI / 48'000;
    }
    const int64_t began_ns = parley::MonotonicNowNs();
    const parley::AudioReadResult result = port->Process(
        in, {}, absl::MakeSpan(out), {}, parley::Deadline::AtMonotonicNs(began_ns + kPeriodNs / 2));
    if (result.outcome == parley::AudioOutcome::kOk) {
      took->Add(static_cast<uint64_t>(parley::MonotonicNowNs() - began_ns));
    }
    if (result.outcome == parley::AudioOutcome::kEnded) {
      gone = true;
      break;
    }
    if (watch != nullptr && result.outcome != parley::AudioOutcome::kOk) {
      silent_ns.push_back(began_ns);
    }
    for (const float sample : out) peak = std::max(peak, std::fabs(static_cast<double>(sample)));
  }
  lookout.reset();
  const parley::AudioPortStats stats = port->stats();
  std::printf(
      "%llu cycles of %u frames: %llu answered in time, %llu of silence, %llu answers late\n",
      static_cast<unsigned long long>(cycle), kFrames,
      static_cast<unsigned long long>(took->total()),
      static_cast<unsigned long long>(stats.underruns),
      static_cast<unsigned long long>(stats.late_blocks));
  if (watch != nullptr) {
    watch->Stop();
    const auto absent = [&](int64_t began_ns) {
      return watch->Overlaps(began_ns, began_ns + kPeriodNs / 2);
    };
    const auto explained = std::count_if(silent_ns.begin(), silent_ns.end(), absent);
    std::printf("%s; on one fell %lld of the %llu silent cycles\n", watch->ToString().c_str(),
                static_cast<long long>(explained),
                static_cast<unsigned long long>(silent_ns.size()));
  }
  std::printf("loudest sample %.3f\n", peak);
  std::printf("there and back: %s", parley::latency::Describe(*took).c_str());
  port->Close();
  if (port->violation() != parley::Violation::kNone) link->Poison("an answer that cannot be");
  const bool interrupted = parley::cli::Interrupted();
  const bool stopped = absl::GetFlag(FLAGS_stall) && !gone;  // as it was asked to
  const parley::WorkerEnd end =
      stopped ? link->Kill("it stopped") : link->End(parley::Deadline::After(absl::Seconds(2)));
  const bool good = stopped || (end.done() && !gone);
  if (!good && !interrupted) std::fprintf(stderr, "effect: %s\n", end.ToString().c_str());
  if (const std::string path = absl::GetFlag(FLAGS_json); !path.empty()) {
    const absl::Status written =
        parley::latency::WriteJsonLines(path, {{"effect, there and back", took.get()}});
    if (!written.ok()) {
      std::fprintf(stderr, "effect: %s\n", std::string(written.message()).c_str());
      return 1;
    }
  }
  if (interrupted) {
    std::fprintf(stderr, "effect: interrupted\n");
    return 130;
  }
  return good ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage("an audio effect in a confined process, measured");
  const std::vector<char*> rest = absl::ParseCommandLine(argc, argv);
  const double seconds = absl::GetFlag(FLAGS_seconds);
  if (rest.size() > 1 || !(seconds >= 0.1 && seconds <= 86'400) ||
      absl::GetFlag(FLAGS_priority) > 50) {
    std::fprintf(stderr,
                 "effect: --seconds is 0.1 to 86400, --priority 0 to 50, and there is nothing else "
                 "to give\n");
    return 2;
  }
  std::string worker = absl::GetFlag(FLAGS_worker);
  if (worker.empty()) {
    const std::string self = argv[0];
    worker = self.substr(0, self.rfind('/') + 1) + "effect_worker";
  }
  parley::cli::CatchInterrupts();
  return Run(worker);
}
