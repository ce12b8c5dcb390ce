// SPDX-License-Identifier: Apache-2.0
// call [--seconds S] [--mouth_a WAV] [--ear_b WAV] ...: a voice call between two processes, a and
// b, that are both confined and do not trust each other. Each has one channel, to this program,
// whose real-time thread passes blocks of 10 ms on; they measure the time from mouth to ear.
//
//   a (confined)  == what it says, what it hears ==>  call  <== ...  b (confined)
//                 <== what the other one says =======
//
// Mouth to ear: from the time at which a sample reaches the microphone to the time at which it is
// handed to the loudspeaker. So it holds the 10 ms in which a block is spoken, and the jitter
// buffer; what sound cards hold back themselves would come on top.
//
// Exit codes: 0; 1: a party could not be started, or ended before the call did, or a file could not
// be written; 2: wrong usage; 130: interrupted.

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/bench/histogram.h"
#include "parley/cli/interrupt.h"
#include "parley/cli/output_file.h"
#include "parley/cli/wav.h"
#include "parley/examples/call/call_protocol.h"
#include "parley/examples/call/period.h"
#include "parley/examples/latency/latency_report.h"
#include "parley/examples/real_time/absences.h"
#include "parley/examples/real_time/real_time.h"
#include "parley/media/audio_port.h"
#include "parley/media/format.h"
#include "parley/os/deadline.h"
#include "parley/os/errors.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/sealed_blob.h"
#include "parley/supervise/worker_end.h"
#include "parley/supervise/worker_link.h"

ABSL_FLAG(double, seconds, 10, "how long; 0.1 to 86400, and to 600 with --ear_a or --ear_b");
ABSL_FLAG(uint32_t, buffer_ms, 20, "of each party's jitter buffer; 10 to 50");
ABSL_FLAG(std::string, mouth_a, "",
          "a WAV that a says, 48 kHz; without it, something like a voice");
ABSL_FLAG(std::string, mouth_b, "", "a WAV that b says");
ABSL_FLAG(std::string, ear_a, "", "write what a hears to this WAV");
ABSL_FLAG(std::string, ear_b, "", "write what b hears to this WAV");
ABSL_FLAG(std::string, json, "", "write the times as lines of JSON (examples/latency)");
ABSL_FLAG(uint32_t, priority, 0,
          "SCHED_FIFO priority of the three audio threads, 1 to 50; 0: ordinary threads");
ABSL_FLAG(bool, watch, false, "say how often the machine itself was not there for 5 ms or more");
ABSL_FLAG(std::string, worker, "", "a party's program; by default call_worker beside this one");

namespace parley::call {
namespace {

const Deadline kNow = Deadline::AtMonotonicNs(0);
constexpr int64_t kExchangeNs = 1'000'000;
constexpr int64_t kGoodbyeNs = 2'000'000'000;
constexpr int64_t kMaxPlausibleNs = 10'000'000'000;
constexpr uint64_t kMaxWavBytes = uint64_t{256} << 20;
// Of one party's in one round; more wait for the next one, a millisecond later.
constexpr int kMaxBlocksPerRound = 8;

void Say(const std::string& sentence) { std::fprintf(stderr, "call: %s\n", sentence.c_str()); }

struct Party {
  std::string name;
  std::optional<SealedBlob> wav;
  std::optional<WorkerLink> link;
  std::optional<AudioPort> port;
  // The audio thread's, until it has ended.
  bool ended = false;
  uint64_t spoken_blocks = 0;
  uint64_t heard_blocks = 0;
  bench::Histogram mouth_to_ear;  // nanoseconds, as this party measured it
  uint64_t implausible = 0;
  std::optional<std::array<int64_t, kTallies>> tallies;  // its own word
  std::vector<float> ear;
  std::size_t ear_frames = 0;
};

absl::StatusOr<std::unique_ptr<Party>> StartParty(std::string name, double pitch_hz,
                                                  const std::string& mouth, bool keeps_ear) {
  auto party = std::make_unique<Party>();
  party->name = std::move(name);
  if (keeps_ear) {
    party->ear.resize(static_cast<std::size_t>((absl::GetFlag(FLAGS_seconds) + 1) * kRateHz));
  }
  WorkerLinkOptions options;
  if (!mouth.empty()) {
    const UniqueFd fd(::open(mouth.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.ok()) return ErrnoStatus(errno, absl::StrCat("open ", mouth));
    absl::StatusOr<SealedBlob> wav = SealedBlob::CreateFromFile(fd.get(), kMaxWavBytes);
    if (!wav.ok()) return wav.status();
    party->wav = *std::move(wav);
    options.input = &*party->wav;
  }
  const uint32_t prefill_frames = absl::GetFlag(FLAGS_buffer_ms) * kRateHz / 1000;
  options.program = {.path = absl::GetFlag(FLAGS_worker),
                     .name = party->name,
                     .arguments = {absl::StrCat(prefill_frames), absl::StrCat(pitch_hz)}};
  options.to_worker = AudioSendRing(HostOptions());
  options.from_worker = AudioReceiveRing(HostOptions());
  const Deadline deadline = Deadline::After(absl::Seconds(10));
  absl::StatusOr<WorkerLink> link = WorkerLink::Start(std::move(options), deadline);
  if (!link.ok()) return link.status();
  std::vector<std::byte> buffer(link->max_message_bytes());
  const absl::StatusOr<Record> ready = link->Receive(absl::MakeSpan(buffer), deadline);
  if (!ready.ok()) return ready.status();
  party->link = *std::move(link);
  absl::StatusOr<AudioPort> port = AudioPort::Create(party->link->channel(), HostOptions());
  if (!port.ok()) return port.status();
  party->port = *std::move(port);
  if (const auto priority = static_cast<int>(absl::GetFlag(FLAGS_priority)); priority > 0) {
    const absl::Status made = MakeRealTime(party->link->worker().pid(), priority);
    if (!made.ok()) return made;
  }
  return party;
}

void TakeMarks(const AudioBlock& block, Party& from) {
  for (const AudioEvent& event : block.events) {
    const Mark mark = ToMark(event);
    if (event.kind == kHeard) {
      ++from.heard_blocks;
      if (mark.value >= 0 && mark.value < kMaxPlausibleNs) {
        from.mouth_to_ear.Add(static_cast<uint64_t>(mark.value));
      } else {
        ++from.implausible;
      }
    } else if (event.kind == kTally && mark.number < kTallies) {
      if (!from.tallies.has_value()) from.tallies.emplace();
      (*from.tallies)[mark.number] = mark.value;
    }
  }
}

// What `from` has sent: its voice goes to the other party, unless the call is over, and the rest
// stays here.
void Pass(Party& from, Party& to, bool over) {
  for (int i = 0; i < kMaxBlocksPerRound && !from.ended; ++i) {
    const AudioOutcome outcome = from.port->Take(
        [&](const AudioBlock& block) {
          TakeMarks(block, from);
          std::array<float, kBlockFrames> voice;
          for (std::size_t frame = 0; frame < block.frames; ++frame) {
            voice[frame] = block.in[2 * frame];
            if (from.ear_frames < from.ear.size()) {
              from.ear[from.ear_frames++] = block.in[2 * frame + 1];
            }
          }
          if (over) return;
          std::array<AudioEvent, 1> spoken;
          std::size_t marks = 0;
          for (const AudioEvent& event : block.events) {
            if (event.kind == kSpoken && marks < spoken.size()) spoken[marks++] = event;
          }
          ++from.spoken_blocks;
          to.port->Write(absl::MakeConstSpan(voice).first(block.frames),
                         absl::MakeConstSpan(spoken).first(marks), kNow);
        },
        kNow);
    if (outcome == AudioOutcome::kLate) return;
    if (outcome == AudioOutcome::kEnded) from.ended = true;
  }
}

// The audio thread.
void Exchange(Party& a, Party& b, const std::atomic<bool>& hang_up) {
  // From here on: no lock, no allocation, and no system call but the wait for the next period.
  ::pthread_setname_np(::pthread_self(), "audio");
  // What one of them has said while the other one was started is nobody's. No more than a ring has,
  // or one that speaks without a pause would keep us here.
  for (Party* party : {&a, &b}) {
    for (uint32_t i = 0; i < HostOptions().ring_blocks; ++i) {
      if (party->port->Take([](const AudioBlock& /*block*/) {}, kNow) != AudioOutcome::kOk) break;
    }
  }
  Period period(kExchangeNs);
  std::optional<int64_t> give_up_ns;
  while (!(a.ended && b.ended)) {
    period.Wait();
    if (!give_up_ns.has_value() && (hang_up || a.ended || b.ended)) {
      a.port->Close();
      b.port->Close();
      give_up_ns = MonotonicNowNs() + kGoodbyeNs;
    }
    if (give_up_ns.has_value() && MonotonicNowNs() > *give_up_ns) return;
    Pass(a, b, give_up_ns.has_value());
    Pass(b, a, give_up_ns.has_value());
  }
}

// Until the time is over, Ctrl-C, or the end of a party. Whether one has ended.
bool Talk(Party& a, Party& b) {
  const auto priority = static_cast<int>(absl::GetFlag(FLAGS_priority));
  std::atomic<bool> hang_up{false};
  std::atomic<bool> over{false};
  std::thread audio([&] {
    // Before the parties: what this thread passes on late is late for both of them.
    const absl::Status made = priority > 0 ? MakeRealTime(0, priority + 1) : absl::OkStatus();
    if (!made.ok()) Say(std::string(made.message()));
    Exchange(a, b, hang_up);
    over = true;
  });
  const Deadline end = Deadline::After(absl::Seconds(absl::GetFlag(FLAGS_seconds)));
  bool gone = false;
  while (!over && !gone && !end.Expired() && !cli::Interrupted()) {
    absl::SleepFor(absl::Milliseconds(20));
    // A system call, so it isn't the audio thread's.
    gone = !a.port->CheckPeer() || !b.port->CheckPeer();
  }
  gone = gone || over;
  hang_up = true;
  audio.join();
  return gone;
}

void Print(const Party& from, const Party& to) {
  std::printf("%s to %s: %llu blocks spoken, %llu without free space; ", from.name.c_str(),
              to.name.c_str(), static_cast<unsigned long long>(from.spoken_blocks),
              static_cast<unsigned long long>(to.port->stats().overruns));
  if (!to.tallies.has_value()) {
    std::printf("%s did not say what it heard\n", to.name.c_str());
  } else {
    const auto& t = *to.tallies;
    std::printf(
        "%lld frames heard, %lld skipped, %lld missed, %lld underruns with %lld frames of silence, "
        "%lld overruns, %lld late periods\n",
        static_cast<long long>(t[kHeardFrames]), static_cast<long long>(t[kSkippedFrames]),
        static_cast<long long>(t[kMissedFrames]), static_cast<long long>(t[kUnderruns]),
        static_cast<long long>(t[kSilentFrames]), static_cast<long long>(t[kOverruns]),
        static_cast<long long>(t[kLatePeriods]));
  }
  std::printf("mouth to ear, %llu blocks, %llu implausible: %s",
              static_cast<unsigned long long>(to.heard_blocks),
              static_cast<unsigned long long>(to.implausible),
              latency::Describe(to.mouth_to_ear).c_str());
}

absl::Status WriteEar(const Party& party, const std::string& path) {
  if (path.empty()) return absl::OkStatus();
  absl::StatusOr<cli::OutputFile> file = cli::OutputFile::Create(path);
  if (!file.ok()) return file.status();
  cli::WavStream wav;
  wav.format.sample_format = SampleFormat::kF32;
  wav.format.channels = 1;
  wav.format.rate_hz = kRateHz;
  wav.file_sample_bytes = sizeof(float);
  if (absl::Status written = file->Write(cli::WavHeader(wav)); !written.ok()) return written;
  const auto samples = std::as_bytes(std::span(party.ear).first(party.ear_frames));
  if (absl::Status written = file->Write(samples); !written.ok()) return written;
  return file->Publish();
}

// False, and the reason printed, where it ended otherwise than it should.
bool End(Party& party) {
  if (party.port->violation() != Violation::kNone) {
    party.link->Poison("a block of sound that cannot be");
  }
  const WorkerEnd end = party.link->End(Deadline::After(absl::Seconds(2)));
  if (!end.done()) Say(end.ToString());
  return end.done();
}

int Main() {
  auto a = StartParty("a", 110, absl::GetFlag(FLAGS_mouth_a), !absl::GetFlag(FLAGS_ear_a).empty());
  auto b = a.ok() ? StartParty("b", 190, absl::GetFlag(FLAGS_mouth_b),
                               !absl::GetFlag(FLAGS_ear_b).empty())
                  : a.status();
  if (!b.ok()) {
    Say(std::string(b.status().message()));
    return 1;
  }
  std::unique_ptr<AbsenceWatch> watch;
  if (absl::GetFlag(FLAGS_watch)) {
    const auto priority = static_cast<int>(absl::GetFlag(FLAGS_priority));
    watch = std::make_unique<AbsenceWatch>(absl::Milliseconds(5));
    const absl::Status started = watch->Start(priority > 0 ? priority + 2 : 0);
    if (!started.ok()) {
      Say(std::string(started.message()));
      return 1;
    }
  }
  const bool gone = Talk(**a, **b);
  const bool interrupted = cli::Interrupted();
  if (watch != nullptr) {
    watch->Stop();
    std::printf("the machine: %s\n", watch->ToString().c_str());
  }
  Print(**a, **b);
  Print(**b, **a);
  bool good = End(**a);
  good = End(**b) && good && !gone;
  if (gone && !interrupted) Say("the call ended early");
  absl::Status written = WriteEar(**a, absl::GetFlag(FLAGS_ear_a));
  written.Update(WriteEar(**b, absl::GetFlag(FLAGS_ear_b)));
  if (const std::string json = absl::GetFlag(FLAGS_json); !json.empty()) {
    written.Update(
        latency::WriteJsonLines(json, {{"call, mouth of a to ear of b", &(*b)->mouth_to_ear},
                                       {"call, mouth of b to ear of a", &(*a)->mouth_to_ear}}));
  }
  if (!written.ok()) Say(std::string(written.message()));
  if (interrupted) {
    Say("interrupted");
    return 130;
  }
  return good && written.ok() ? 0 : 1;
}

}  // namespace
}  // namespace parley::call

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "a voice call between two confined processes, measured from mouth to ear\n\n"
      "  call [--seconds=S] [--mouth_a=WAV] [--mouth_b=WAV] [--ear_a=WAV] [--ear_b=WAV]\n"
      "       [--buffer_ms=MS] [--priority=N] [--watch] [--json=FILE]\n\n"
      "Exit codes: 0; 1 trouble with a party or a file; 2 wrong usage; 130 interrupted.");
  const std::vector<char*> rest = absl::ParseCommandLine(argc, argv);
  const double seconds = absl::GetFlag(FLAGS_seconds);
  const bool keeps = !absl::GetFlag(FLAGS_ear_a).empty() || !absl::GetFlag(FLAGS_ear_b).empty();
  const uint32_t buffer_ms = absl::GetFlag(FLAGS_buffer_ms);
  if (rest.size() > 1 || !(seconds >= 0.1 && seconds <= (keeps ? 600 : 86'400)) || buffer_ms < 10 ||
      buffer_ms > 50 || absl::GetFlag(FLAGS_priority) > 50) {
    std::fprintf(stderr,
                 "call: --seconds is 0.1 to 86400 (600 with --ear_a or --ear_b), --buffer_ms 10 to "
                 "50, --priority 0 to 50, and there is nothing else to give\n");
    return 2;
  }
  if (absl::GetFlag(FLAGS_worker).empty()) {
    const std::string self = argv[0];
    absl::SetFlag(&FLAGS_worker, self.substr(0, self.rfind('/') + 1) + "call_worker");
  }
  parley::cli::CatchInterrupts();
  return parley::call::Main();
}
