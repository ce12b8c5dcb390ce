// SPDX-License-Identifier: Apache-2.0
// One party of a call, in a confined process: each 10 ms it plays a block of the other one's and
// says one of its own. It counts what is missing, and measures the time from mouth to ear.
//
//   call_worker PREFILL_FRAMES PITCH_HZ      its input: the WAV that it says, or none

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/examples/call/call_protocol.h"
#include "parley/examples/call/mouth.h"
#include "parley/examples/call/period.h"
#include "parley/media/audio_port.h"
#include "parley/os/deadline.h"
#include "parley/supervise/worker_main.h"

namespace parley::call {
namespace {

const Deadline kNow = Deadline::AtMonotonicNs(0);
constexpr std::size_t kMaxEvents = 16;

// The events of one block that is sent.
class Events {
 public:
  void Clear() { count_ = 0; }
  void Add(MarkKind kind, const Mark& mark) {
    if (count_ < kMaxEvents) events_[count_++] = ToEvent(0, kind, mark);
  }
  absl::Span<const AudioEvent> all() const { return absl::MakeConstSpan(events_).first(count_); }

 private:
  std::array<AudioEvent, kMaxEvents> events_ = {};
  std::size_t count_ = 0;
};

void AddTallies(const AudioPortStats& stats, uint64_t heard_frames, uint64_t late_periods,
                Events& events) {
  const std::array<uint64_t, kTallies> counts = {
      heard_frames,        stats.silent_frames, stats.underruns, stats.skipped_frames,
      stats.missed_frames, stats.overruns,      late_periods};
  for (uint32_t which = 0; which < kTallies; ++which) {
    events.Add(kTally, {which, static_cast<int64_t>(counts[which])});
  }
}

absl::Status Talk(AudioPort port, Mouth mouth) {
  std::array<float, kBlockFrames> ear = {};
  std::array<float, std::size_t{kBlockFrames} * 2> says = {};
  std::array<AudioEvent, kMaxEvents> marks = {};
  Events events;
  uint64_t heard_frames = 0;
  uint64_t late_periods = 0;
  Period period(kBlockNs);
  for (uint64_t block = 0; true; ++block) {
    // The audio thread: no lock, no allocation, and no other system call than this.
    period.Wait();
    const int64_t now_ns = MonotonicNowNs();
    if (now_ns - period.ended_ns() > kBlockNs) ++late_periods;
    events.Clear();
    // The microphone has had the block since it began.
    events.Add(kSpoken, {block, period.ended_ns() - kBlockNs});
    const AudioReadResult read = port.Read(absl::MakeSpan(ear), absl::MakeSpan(marks), kNow);
    heard_frames += read.frames;
    for (std::size_t i = 0; i < read.events; ++i) {
      if (marks[i].kind != kSpoken) continue;
      // The loudspeaker begins with the block now, and plays its frames one after the other. In
      // unsigned numbers, because the time is the other party's claim.
      const Mark spoken = ToMark(marks[i]);
      const uint64_t ear_ns =
          static_cast<uint64_t>(now_ns) + uint64_t{marks[i].frame} * kBlockNs / kBlockFrames;
      events.Add(kHeard, {spoken.number,
                          static_cast<int64_t>(ear_ns - static_cast<uint64_t>(spoken.value))});
    }
    for (std::size_t i = 0; i < kBlockFrames; ++i) {
      says[2 * i] = mouth.Next();
      says[2 * i + 1] = ear[i];
    }
    const bool over = read.outcome == AudioOutcome::kEnded;
    if (over) AddTallies(port.stats(), heard_frames, late_periods, events);
    if (port.Write(says, events.all(), kNow) == AudioOutcome::kEnded || over) break;
  }
  port.Close();
  return absl::OkStatus();
}

absl::StatusOr<Mouth> MouthOf(WorkerInput& input, double pitch_hz) {
  if (input.size_bytes() == 0) return Mouth(pitch_hz);
  const absl::StatusOr<absl::Span<const std::byte>> wav = input.Bytes();
  return wav.ok() ? Mouth::OfWav(*wav) : wav.status();
}

}  // namespace
}  // namespace parley::call

int main(int argc, char** argv) {
  using parley::call::MouthOf;
  if (argc != 3) return 2;
  const auto prefill_frames = static_cast<uint32_t>(std::strtoul(argv[1], nullptr, 10));
  const double pitch_hz = std::strtod(argv[2], nullptr);
  return parley::WorkerMain({}, [&](parley::ConfinedWorker& worker) -> absl::Status {
    absl::StatusOr<parley::call::Mouth> mouth = MouthOf(worker.input(), pitch_hz);
    if (!mouth.ok()) return mouth.status();
    // From here on the channel is the port's.
    const absl::Status ready = worker.Send(parley::call::kReadyTag, {});
    if (!ready.ok()) return ready;
    absl::StatusOr<parley::AudioPort> port =
        parley::AudioPort::Create(worker.channel(), parley::call::PartyOptions(prefill_frames));
    if (!port.ok()) return port.status();
    return parley::call::Talk(*std::move(port), *std::move(mouth));
  });
}
