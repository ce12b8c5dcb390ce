// SPDX-License-Identifier: Apache-2.0
#include "parley/media/audio_port.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/boundary/violation.h"
#include "parley/boundary/wire_copy.h"
#include "parley/channel/hostile_access.h"
#include "parley/media/audio_wire.h"
#include "parley/os/deadline.h"
#include "parley/ring/layout.h"
#include "parley/testing/channel_pair.h"
#include "parley/testing/sanitizers.h"

namespace {
std::atomic<uint64_t> allocations{0};
}  // namespace

// Counts what is allocated in this program.
void* operator new(std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);  // RELAXED: a count
  if (void* const memory = std::malloc(size)) return memory;
  std::abort();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace parley {
namespace {

using internal::AudioBlockWire;
using internal::kAudioBlockTag;
using testing::ChannelPair;

const Deadline kNow = Deadline::AtMonotonicNs(0);
constexpr uint32_t kBlock = 64;
constexpr int kMoreBlocksThanFit = 500;  // also into a ring of a page of 64 KiB

AudioPortOptions Options() {
  AudioPortOptions options;
  options.send_channels = 2;
  options.receive_channels = 2;
  options.max_block_frames = kBlock;
  options.max_block_events = 8;
  options.prefill_frames = 1;
  return options;
}

AudioPortOptions Mirrored(AudioPortOptions options) {
  std::swap(options.send_channels, options.receive_channels);
  return options;
}

struct Ports {
  std::unique_ptr<ChannelPair> pair;
  AudioPort a;
  AudioPort b;
};

Ports MakePorts(const AudioPortOptions& options = Options()) {
  auto pair = ChannelPair::CreateByHandshake(AudioAcceptOptions(options),
                                             AudioConnectOptions(Mirrored(options)));
  EXPECT_TRUE(pair.ok()) << pair.status();
  auto a = AudioPort::Create((*pair)->accepting(), options);
  auto b = AudioPort::Create((*pair)->connecting(), Mirrored(options));
  EXPECT_TRUE(a.ok() && b.ok()) << a.status() << b.status();
  return {*std::move(pair), *std::move(a), *std::move(b)};
}

// A peer that writes whatever records it likes; its ring is honest.
struct Hostile {
  std::unique_ptr<ChannelPair> pair;
  AudioPort port;
  Sender& sender() { return pair->connecting().sender; }
  Receiver& receiver() { return pair->connecting().receiver; }
  Outcome Send(AudioBlockWire block, std::vector<AudioEvent> events, std::vector<float> samples,
               uint32_t tag = kAudioBlockTag) {
    std::vector<std::byte> bytes;
    const auto add = [&](const void* from, std::size_t size) {
      const auto* at = static_cast<const std::byte*>(from);
      bytes.insert(bytes.end(), at, at + size);
    };
    add(&block, sizeof(block));
    add(events.data(), events.size() * sizeof(AudioEvent));
    add(samples.data(), samples.size() * sizeof(float));
    return sender().TrySend(tag, bytes);
  }
};

Hostile MakeHostile(const AudioPortOptions& options = Options()) {
  auto pair = ChannelPair::CreateByHandshake(AudioAcceptOptions(options),
                                             AudioConnectOptions(Mirrored(options)));
  EXPECT_TRUE(pair.ok()) << pair.status();
  auto port = AudioPort::Create((*pair)->accepting(), options);
  EXPECT_TRUE(port.ok()) << port.status();
  return {*std::move(pair), *std::move(port)};
}

// Frame `from` and on: the left channel counts up, the right one down; both stay below 1.
std::vector<float> Ramp(uint64_t from, uint32_t frames) {
  std::vector<float> samples;
  for (uint32_t i = 0; i < frames; ++i) {
    samples.push_back(static_cast<float>(from + i) / 65536);
    samples.push_back(-static_cast<float>(from + i) / 65536);
  }
  return samples;
}

AudioEvent Event(uint32_t frame, uint32_t kind) { return {frame, kind, {}}; }

// ---- A stream.

TEST(AudioPortTest, SamplesAndEventsArriveAtTheirFramesWhateverSizesAreReadAndWritten) {
  Ports ports = MakePorts();
  uint64_t written = 0;
  uint64_t read = 0;
  std::vector<uint64_t> event_frames;
  std::vector<uint64_t> heard;
  for (uint32_t round = 0; round < 400; ++round) {
    const uint32_t frames = 1 + round * 7 % kBlock;
    const std::vector<AudioEvent> events = {Event(0, 7), Event(frames / 2, 7),
                                            Event(frames - 1, 7)};
    for (const AudioEvent& event : events) event_frames.push_back(written + event.frame);
    ASSERT_EQ(ports.a.Write(Ramp(written, frames), events, kNow), AudioOutcome::kOk);
    written += frames;
    const uint32_t wanted =
        std::min<uint32_t>(1 + round * 13 % kBlock, static_cast<uint32_t>(written - read));
    std::vector<float> samples(std::size_t{wanted} * 2);
    std::vector<AudioEvent> got(64);
    const AudioReadResult result = ports.b.Read(absl::MakeSpan(samples), absl::MakeSpan(got), kNow);
    ASSERT_EQ(result.outcome, AudioOutcome::kOk) << round;
    ASSERT_EQ(samples, Ramp(read, wanted));
    for (uint32_t i = 0; i < result.events; ++i) heard.push_back(read + got[i].frame);
    read += wanted;
    while (written - read > uint64_t{2} * kBlock) {
      samples.resize(std::size_t{kBlock} * 2);
      const auto more = ports.b.Read(absl::MakeSpan(samples), absl::MakeSpan(got), kNow);
      ASSERT_EQ(more.frames, kBlock);
      for (uint32_t i = 0; i < more.events; ++i) heard.push_back(read + got[i].frame);
      read += kBlock;
    }
  }
  ASSERT_LE(heard.size(), event_frames.size());
  event_frames.resize(heard.size());
  EXPECT_EQ(heard, event_frames);
  EXPECT_GT(heard.size(), 1000u);
  const AudioPortStats stats = ports.b.stats();
  EXPECT_EQ(stats.underruns + stats.missed_frames + stats.skipped_frames, 0u);
  EXPECT_EQ(stats.blocks_received, ports.a.stats().blocks_sent);
}

TEST(AudioPortTest, BothDirectionsMayHaveOtherChannels) {
  AudioPortOptions options = Options();
  options.send_channels = 1;
  options.receive_channels = 6;
  Ports ports = MakePorts(options);
  std::vector<float> six(6 * 10, 0.5f);
  std::vector<float> one(10, 0.25f);
  ASSERT_EQ(ports.a.Write(one, {}, kNow), AudioOutcome::kOk);
  ASSERT_EQ(ports.b.Write(six, {}, kNow), AudioOutcome::kOk);
  std::vector<float> got_one(10);
  std::vector<float> got_six(60);
  EXPECT_EQ(ports.b.Read(absl::MakeSpan(got_one), {}, kNow).frames, 10u);
  EXPECT_EQ(ports.a.Read(absl::MakeSpan(got_six), {}, kNow).frames, 10u);
  EXPECT_EQ(got_one, one);
  EXPECT_EQ(got_six, six);
}

// What is missing at the deadline is silence; after that, silence until there is enough again.
TEST(AudioPortTest, AnUnderrunIsSilenceAndCountedAndRefills) {
  AudioPortOptions options = Options();
  options.prefill_frames = 2 * kBlock;
  Ports ports = MakePorts(options);
  std::vector<float> samples(std::size_t{kBlock} * 2, 9);
  const auto read = [&] { return ports.b.Read(absl::MakeSpan(samples), {}, kNow); };
  EXPECT_EQ(read().outcome, AudioOutcome::kLate);
  EXPECT_EQ(ports.b.stats().underruns, 0u) << "it has not begun";
  uint64_t position = 0;
  const auto write = [&](uint32_t frames) {
    EXPECT_EQ(ports.a.Write(Ramp(position, frames), {}, kNow), AudioOutcome::kOk);
    position += frames;
  };
  write(kBlock);
  EXPECT_EQ(read().frames, 0u) << "not enough to begin";
  write(kBlock);
  EXPECT_EQ(read().frames, kBlock);
  EXPECT_EQ(samples, Ramp(0, kBlock));
  EXPECT_EQ(read().frames, kBlock);
  write(10);
  const AudioReadResult result = read();
  EXPECT_EQ(result.outcome, AudioOutcome::kLate);
  EXPECT_EQ(result.frames, 10u);
  std::vector<float> expected = Ramp(uint64_t{2} * kBlock, 10);
  expected.resize(samples.size(), 0);
  EXPECT_EQ(samples, expected);
  write(kBlock);
  EXPECT_EQ(read().frames, 0u);
  write(kBlock);
  EXPECT_EQ(read().frames, kBlock);
  EXPECT_EQ(samples, Ramp(2 * kBlock + 10, kBlock));
  const AudioPortStats stats = ports.b.stats();
  EXPECT_EQ(stats.underruns, 2u);
  EXPECT_EQ(stats.silent_frames, uint64_t{2 * kBlock - 10});
}

TEST(AudioPortTest, ABlockWithoutRoomIsDroppedAndTheReaderSeesTheGap) {
  Ports ports = MakePorts();
  uint64_t position = 0;
  uint64_t dropped = 0;
  const auto write = [&] {
    if (ports.a.Write(Ramp(position, kBlock), {}, kNow) != AudioOutcome::kOk) dropped += kBlock;
    position += kBlock;
  };
  for (int i = 0; i < kMoreBlocksThanFit; ++i) write();
  EXPECT_GT(dropped, 0u);
  EXPECT_EQ(ports.a.stats().overruns, dropped / kBlock);
  std::vector<float> samples(std::size_t{kBlock} * 2);
  for (int i = 0; i < 40; ++i) {
    ports.b.Read(absl::MakeSpan(samples), {}, kNow);
    write();
  }
  EXPECT_EQ(ports.b.stats().missed_frames, dropped);
}

TEST(AudioPortTest, DelayThatGathersIsCut) {
  AudioPortOptions options = Options();
  options.prefill_frames = kBlock;
  options.max_delay_frames = 3 * kBlock;
  Ports ports = MakePorts(options);
  for (uint64_t i = 0; i < 5; ++i) {
    ASSERT_EQ(ports.a.Write(Ramp(i * kBlock, kBlock), {}, kNow), AudioOutcome::kOk);
  }
  std::vector<float> samples(std::size_t{kBlock} * 2);
  EXPECT_EQ(ports.b.Read(absl::MakeSpan(samples), {}, kNow).frames, kBlock);
  EXPECT_EQ(samples, Ramp(uint64_t{4} * kBlock, kBlock)) << "the newest block";
  EXPECT_EQ(ports.b.stats().skipped_frames, uint64_t{4} * kBlock);
}

TEST(AudioPortTest, TheDelayThatIsAllowedIsNotCut) {
  AudioPortOptions options = Options();
  options.prefill_frames = kBlock;
  options.max_delay_frames = 3 * kBlock;
  Ports ports = MakePorts(options);
  for (uint64_t i = 0; i < 3; ++i) {
    ASSERT_EQ(ports.a.Write(Ramp(i * kBlock, kBlock), {}, kNow), AudioOutcome::kOk);
  }
  std::vector<float> samples(std::size_t{kBlock} * 2);
  EXPECT_EQ(ports.b.Read(absl::MakeSpan(samples), {}, kNow).frames, kBlock);
  EXPECT_EQ(samples, Ramp(0, kBlock)) << "the oldest block";
  EXPECT_EQ(ports.b.stats().skipped_frames, 0u);
}

// A writer whose clock is 1 in 1000 faster.
TEST(AudioPortTest, TheDriftOfTheTwoClocksIsSeen) {
  AudioPortOptions options = Options();
  options.prefill_frames = kBlock;
  Ports ports = MakePorts(options);
  std::vector<float> samples(std::size_t{kBlock} * 2);
  double due = 3 * kBlock;
  uint64_t position = 0;
  for (int i = 0; i < 60'000; ++i) {
    due += kBlock * 1.001;
    while (due >= static_cast<double>(position + 16)) {
      ports.a.Write(Ramp(position % 30'000, 16), {}, kNow);
      position += 16;
    }
    ports.b.Read(absl::MakeSpan(samples), {}, kNow);
  }
  EXPECT_NEAR(ports.b.stats().drift_ppm, 1000, 30);
}

TEST(AudioPortTest, AfterCloseTheReaderGetsTheRestAndThenTheEnd) {
  Ports ports = MakePorts();
  ASSERT_EQ(ports.a.Write(Ramp(0, 100 % kBlock), {}, kNow), AudioOutcome::kOk);
  ports.a.Close();
  std::vector<float> samples(std::size_t{kBlock} * 2);
  AudioReadResult result = ports.b.Read(absl::MakeSpan(samples), {}, kNow);
  EXPECT_EQ(result.frames, 36u);
  EXPECT_EQ(result.outcome, AudioOutcome::kEnded);
  EXPECT_EQ(ports.b.stats().underruns, 0u) << "an end is none";
  result = ports.b.Read(absl::MakeSpan(samples), {}, Deadline::After(absl::Seconds(30)));
  EXPECT_EQ(result.outcome, AudioOutcome::kEnded);
  EXPECT_EQ(result.frames, 0u);
  EXPECT_EQ(samples, std::vector<float>(samples.size(), 0));
}

// ---- A cycle.

TEST(AudioPortTest, ACycleAnswersEachBlockInItsPlace) {
  Ports ports = MakePorts();
  std::thread effect([&] {
    AudioOutcome outcome = AudioOutcome::kOk;
    while (outcome != AudioOutcome::kEnded) {
      outcome = ports.b.Respond(
          [](const AudioBlock& block) {
            for (std::size_t i = 0; i < block.out.size(); ++i) block.out[i] = block.in[i] * 2;
            std::copy(block.events.begin(), block.events.end(), block.out_events.begin());
            for (const AudioEvent& event : block.events)
              block.out[std::size_t{event.frame} * 2] = 1.5f;
            return block.events.size();
          },
          Deadline::After(absl::Seconds(10)));
    }
  });
  std::vector<float> out(std::size_t{kBlock} * 2);
  for (uint64_t cycle = 0; cycle < 200; ++cycle) {
    const std::vector<float> in = Ramp(cycle, kBlock);
    const std::vector<AudioEvent> events = {Event(static_cast<uint32_t>(cycle % kBlock), 1)};
    std::vector<AudioEvent> answered(8);
    const AudioReadResult result =
        ports.a.Process(in, events, absl::MakeSpan(out), absl::MakeSpan(answered),
                        Deadline::After(absl::Seconds(10)));
    ASSERT_EQ(result.outcome, AudioOutcome::kOk) << cycle;
    ASSERT_EQ(result.events, 1u);
    ASSERT_EQ(answered[0].frame, events[0].frame);
    for (std::size_t i = 0; i < out.size(); ++i) {
      const bool marked = i == cycle % kBlock * 2;
      ASSERT_EQ(out[i], marked ? 1.5f : in[i] * 2) << cycle << " " << i;
    }
  }
  ports.a.Close();
  effect.join();
  EXPECT_EQ(ports.a.stats().underruns, 0u);
}

TEST(AudioPortTest, AnAnswerThatComesLateIsDropped) {
  Ports ports = MakePorts();
  const auto answer = [&](float value) {
    return ports.b.Respond(
        [&](const AudioBlock& block) { std::fill(block.out.begin(), block.out.end(), value); },
        kNow);
  };
  const std::vector<float> in(std::size_t{kBlock} * 2, 0.5f);
  std::vector<float> out(in.size(), 9);
  EXPECT_EQ(ports.a.Process(in, {}, absl::MakeSpan(out), {}, kNow).outcome, AudioOutcome::kLate);
  EXPECT_EQ(out, std::vector<float>(in.size(), 0));
  EXPECT_EQ(answer(0.1f), AudioOutcome::kOk);
  EXPECT_EQ(answer(0.1f), AudioOutcome::kLate) << "no second block";
  std::thread late([&] {
    while (answer(0.2f) == AudioOutcome::kLate) absl::SleepFor(absl::Milliseconds(1));
  });
  EXPECT_EQ(
      ports.a.Process(in, {}, absl::MakeSpan(out), {}, Deadline::After(absl::Seconds(10))).outcome,
      AudioOutcome::kOk);
  late.join();
  EXPECT_EQ(out, std::vector<float>(in.size(), 0.2f));
  EXPECT_EQ(ports.a.stats().late_blocks, 1u);
  EXPECT_EQ(ports.a.stats().underruns, 1u);
}

TEST(AudioPortTest, AWorkerThatStopsCostsItsDeadlineAndThenNotEvenThat) {
  Ports ports = MakePorts();
  const std::vector<float> in(std::size_t{kBlock} * 2, 0.5f);
  std::vector<float> out(in.size());
  int64_t longest_ns = 0;
  int full = 0;
  uint64_t cycles = 0;
  // Until the ring is full, which has a page at least, and some more: no wait for an answer that
  // cannot come.
  for (; full < 20 && cycles < 1000; ++cycles) {
    const uint64_t overruns = ports.a.stats().overruns;
    const int64_t began_ns = MonotonicNowNs();
    ports.a.Process(in, {}, absl::MakeSpan(out), {}, Deadline::After(absl::Milliseconds(1)));
    const int64_t took_ns = MonotonicNowNs() - began_ns;
    if (ports.a.stats().overruns > overruns) ++full;
    longest_ns = std::max(longest_ns, took_ns);
  }
  EXPECT_EQ(full, 20);
  EXPECT_EQ(ports.a.stats().underruns, cycles);
  EXPECT_LT(longest_ns, 1'000'000'000);
}

// ---- Passing on.

// A bridge: what is taken from one port is written to another one as it is, and not answered.
TEST(AudioPortTest, ABlockIsTakenAsItIsAndNotAnswered) {
  Ports from = MakePorts();
  Ports to = MakePorts();
  const auto pass = [&] {
    return from.a.Take(
        [&](const AudioBlock& block) {
          EXPECT_TRUE(block.out.empty() && block.out_events.empty());
          EXPECT_EQ(to.a.Write(block.in, block.events, kNow), AudioOutcome::kOk);
        },
        kNow);
  };
  EXPECT_EQ(pass(), AudioOutcome::kLate);
  for (uint64_t i = 0; i < 20; ++i) {
    const std::vector<AudioEvent> events = {Event(static_cast<uint32_t>(i), 7)};
    ASSERT_EQ(from.b.Write(Ramp(i * kBlock, kBlock), events, kNow), AudioOutcome::kOk);
    ASSERT_EQ(pass(), AudioOutcome::kOk);
    EXPECT_EQ(pass(), AudioOutcome::kLate);
    std::vector<float> samples(std::size_t{kBlock} * 2);
    std::vector<AudioEvent> got(8);
    const AudioReadResult read = to.b.Read(absl::MakeSpan(samples), absl::MakeSpan(got), kNow);
    ASSERT_EQ(read.frames, kBlock);
    EXPECT_EQ(samples, Ramp(i * kBlock, kBlock));
    ASSERT_EQ(read.events, 1u);
    EXPECT_EQ(got[0].frame, i);
  }
  EXPECT_EQ(from.a.stats().blocks_received, 20u);
  EXPECT_EQ(from.a.stats().blocks_sent, 0u);
  from.b.Close();
  EXPECT_EQ(pass(), AudioOutcome::kEnded);
  EXPECT_EQ(from.a.violation(), Violation::kNone);
}

TEST(AudioPortTest, AttackP16ALieIsNotPassedOn) {
  Hostile liar = MakeHostile();
  liar.Send({0, 4, 1}, {Event(4, 0)}, std::vector<float>(8));
  bool taken = false;
  EXPECT_EQ(liar.port.Take([&](const AudioBlock&) { taken = true; }, kNow), AudioOutcome::kEnded);
  EXPECT_FALSE(taken);
  EXPECT_EQ(liar.port.violation(), Violation::kMetadataInvalid);
  // Samples are repaired on the way.
  Hostile bad = MakeHostile();
  bad.Send({0, 1, 0}, {}, {std::numeric_limits<float>::quiet_NaN(), -1e30f});
  EXPECT_EQ(bad.port.Take(
                [](const AudioBlock& block) {
                  EXPECT_EQ(std::vector<float>(block.in.begin(), block.in.end()),
                            (std::vector<float>{0, -4}));
                },
                kNow),
            AudioOutcome::kOk);
}

// ---- What a real-time thread may not do.

// Each use of a port, with and without a wait.
void UseAll(Ports& ports, int rounds) {
  static std::array<float, std::size_t{kBlock} * 2> samples = {};
  static std::array<AudioEvent, 8> events = {};
  const Deadline soon = Deadline::AtMonotonicNs(MonotonicNowNs() + 100'000);
  for (int i = 0; i < rounds; ++i) {
    ports.a.Write(samples, events, kNow);
    ports.b.Read(absl::MakeSpan(samples), absl::MakeSpan(events), kNow);
    ports.b.Read(absl::MakeSpan(samples), absl::MakeSpan(events), soon);
    ports.a.Process(samples, events, absl::MakeSpan(samples), absl::MakeSpan(events), kNow);
    ports.b.Respond([](const AudioBlock& block) { block.out[0] = 1; }, kNow);
    ports.a.Take([](const AudioBlock&) {}, kNow);
    static_cast<void>(ports.b.stats());
  }
}

TEST(AudioPortTest, NoCallAllocates) {
  Ports ports = MakePorts();
  const uint64_t before = allocations.load();
  UseAll(ports, 100);
  EXPECT_EQ(allocations.load(), before);
}

// Every system call but the end of the process kills it.
[[noreturn]] void UseAllWithoutSystemCalls() {
  Ports ports = MakePorts();
  UseAll(ports, 1);
  Hostile liar = MakeHostile();
  liar.Send({0, 0, 0}, {}, {});
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
  };
  const sock_fprog program = {4, filter};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    ::_exit(100);
  }
  UseAll(ports, 300);
  // The ends as well: a violation that is found, and our own.
  static std::array<float, std::size_t{kBlock} * 2> samples = {};
  const bool found =
      liar.port.Read(absl::MakeSpan(samples), {}, kNow).outcome == AudioOutcome::kEnded;
  while (ports.a.Write(samples, {}, kNow) == AudioOutcome::kOk) {
  }
  ports.a.Write(samples, {}, Deadline::AtMonotonicNs(MonotonicNowNs() + 100'000));
  ports.a.Close();
  ports.b.Interrupt();
  ::_exit(found && ports.b.stats().blocks_received > 300 ? 0 : 1);
}

TEST(AudioPortTest, NoCallIsASystemCall) {
  if (PARLEY_HAS_SANITIZER) GTEST_SKIP() << "a sanitizer makes system calls of its own";
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(UseAllWithoutSystemCalls(), ::testing::ExitedWithCode(0), "");
}

// ---- A hostile peer.

TEST(AudioPortTest, AttackP16EachLieEndsThePort) {
  struct Lie {
    const char* what;
    AudioBlockWire block;
    std::vector<AudioEvent> events;
    std::size_t samples;
    uint32_t tag = kAudioBlockTag;
  };
  constexpr uint64_t kFar = ~uint64_t{0};
  const std::vector<Lie> lies = {
      {"no frames", {0, 0, 0}, {}, 0},
      {"more frames than agreed", {0, kBlock + 1, 0}, {}, std::size_t{kBlock + 1} * 2},
      {"frames that overflow", {0, 0x8000'0000, 0}, {}, 0},
      {"more samples than frames", {0, 4, 0}, {}, 9},
      {"fewer samples than frames", {0, 4, 0}, {}, 7},
      {"more events than agreed", {0, 4, 9}, std::vector<AudioEvent>(9), 8},
      {"more events than there are", {0, 4, 2}, std::vector<AudioEvent>(1), 8},
      {"events that overflow", {0, 4, 0xffff'ffff}, {}, 8},
      {"an event behind the block", {0, 4, 1}, {Event(4, 0)}, 8},
      {"events out of order", {0, 4, 2}, {Event(3, 0), Event(2, 0)}, 8},
      {"a position that wraps", {kFar, 4, 0}, {}, 8},
      {"another tag", {0, 4, 0}, {}, 8, kAudioBlockTag + 1},
  };
  std::vector<float> samples(std::size_t{kBlock} * 2);
  for (const Lie& lie : lies) {
    for (const bool cycle : {false, true}) {
      SCOPED_TRACE(lie.what);
      Hostile peer = MakeHostile();
      ASSERT_EQ(peer.Send(lie.block, lie.events, std::vector<float>(lie.samples), lie.tag),
                Outcome::kOk);
      const AudioOutcome outcome =
          cycle ? peer.port.Process(samples, {}, absl::MakeSpan(samples), {}, kNow).outcome
                : peer.port.Read(absl::MakeSpan(samples), {}, kNow).outcome;
      EXPECT_EQ(outcome, AudioOutcome::kEnded);
      EXPECT_EQ(peer.port.violation(), Violation::kMetadataInvalid);
      EXPECT_EQ(peer.port.Read(absl::MakeSpan(samples), {}, kNow).outcome, AudioOutcome::kEnded);
      EXPECT_EQ(peer.port.Write(samples, {}, kNow), AudioOutcome::kEnded);
    }
  }
  Hostile short_one = MakeHostile();
  std::vector<std::byte> three(3);
  ASSERT_EQ(short_one.sender().TrySend(kAudioBlockTag, three), Outcome::kOk);
  short_one.port.Read(absl::MakeSpan(samples), {}, kNow);
  EXPECT_EQ(short_one.port.violation(), Violation::kMetadataInvalid);
}

TEST(AudioPortTest, AttackP16AStreamThatGoesBackwardsOrAnAnswerToNoQuestionEndsThePort) {
  std::vector<float> samples(std::size_t{kBlock} * 2);
  Hostile stream = MakeHostile();
  stream.Send({100, 4, 0}, {}, std::vector<float>(8));
  stream.Send({103, 4, 0}, {}, std::vector<float>(8));
  stream.port.Read(absl::MakeSpan(samples), {}, kNow);
  EXPECT_EQ(stream.port.violation(), Violation::kMetadataInvalid);
  // Of a cycle: an answer from the future, and one of another length.
  for (const AudioBlockWire& answer :
       {AudioBlockWire{kBlock, kBlock, 0}, AudioBlockWire{0, 4, 0}}) {
    Hostile cycle = MakeHostile();
    cycle.Send(answer, {}, std::vector<float>(std::size_t{answer.frames} * 2));
    EXPECT_EQ(cycle.port.Process(samples, {}, absl::MakeSpan(samples), {}, kNow).outcome,
              AudioOutcome::kEnded);
    EXPECT_EQ(cycle.port.violation(), Violation::kMetadataInvalid);
  }
}

TEST(AudioPortTest, AttackP16EverySampleIsFiniteBoundedAndNotSubnormal) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> bad = {nan, infinity, -infinity, 1e30f, -5, 1e-40f, 0.5f, 4};
  Hostile peer = MakeHostile();
  peer.Send({0, 4, 0}, {}, bad);
  std::vector<float> samples(8);
  ASSERT_EQ(peer.port.Read(absl::MakeSpan(samples), {}, kNow).frames, 4u);
  EXPECT_EQ(samples, (std::vector<float>{0, 4, -4, 4, -4, 0, 0.5f, 4}));
  EXPECT_EQ(peer.port.stats().repaired_samples, 6u);
  // An answer's as well.
  const std::vector<float> in(8);
  peer.Send({0, 4, 0}, {}, bad);
  ASSERT_EQ(peer.port.Process(in, {}, absl::MakeSpan(samples), {}, kNow).frames, 4u);
  EXPECT_EQ(samples, (std::vector<float>{0, 4, -4, 4, -4, 0, 0.5f, 4}));
}

// Blocks of one frame and stale answers, written as fast as they are taken.
TEST(AudioPortTest, AttackP16AFloodOfBlocksCostsABoundedNumberOfLooks) {
  AudioPortOptions options = Options();
  options.ring_blocks = 64;
  Hostile peer = MakeHostile(options);
  std::atomic<bool> stop{false};
  std::thread flood([&] {
    std::vector<std::byte> block(sizeof(AudioBlockWire) + 8);
    const AudioBlockWire wire = {0, 1, 0};
    std::memcpy(block.data(), &wire, sizeof(wire));
    while (!stop) peer.sender().TrySend(kAudioBlockTag, block);
  });
  const std::vector<float> in(std::size_t{kBlock} * 2);
  std::vector<float> out(in.size());
  // Its first block is number 0 as well; the flood answers that with another length.
  peer.port.Write(in, {}, kNow);
  for (int i = 0; i < 200; ++i) {
    const uint64_t before = peer.port.stats().late_blocks;
    peer.port.Process(in, {}, absl::MakeSpan(out), {}, Deadline::After(absl::Milliseconds(1)));
    ASSERT_LE(peer.port.stats().late_blocks - before, AudioPort::kMaxBlocksPerCall);
    Record record;
    std::vector<std::byte> into(peer.receiver().max_message_bytes());
    while (peer.receiver().TryReceive(absl::MakeSpan(into), &record) == Outcome::kOk) {
    }
  }
  stop = true;
  flood.join();
  EXPECT_EQ(peer.port.violation(), Violation::kNone);
}

// The ring's own words, by each half of a port that looks at them.
TEST(AudioPortTest, AttackP16ALieAboutAPositionEndsThePortForBothHalves) {
  std::vector<float> samples(std::size_t{kBlock} * 2);
  Hostile head = MakeHostile();
  // More was taken than was ever sent; seen once our ring seems full.
  HostileAccess::Control(head.receiver()).StoreRelease64(kHeadOffset, uint64_t{1} << 40);
  for (int i = 0; i < kMoreBlocksThanFit; ++i) head.port.Write(samples, {}, kNow);
  EXPECT_EQ(head.port.violation(), Violation::kConsumerPositionOutOfRange);
  EXPECT_EQ(head.port.Read(absl::MakeSpan(samples), {}, kNow).outcome, AudioOutcome::kEnded);
  Hostile tail = MakeHostile();
  HostileAccess::Control(tail.sender()).StoreRelease64(kTailOffset, uint64_t{1} << 40);
  EXPECT_EQ(tail.port.Read(absl::MakeSpan(samples), {}, kNow).outcome, AudioOutcome::kEnded);
  EXPECT_EQ(tail.port.violation(), Violation::kProducerPositionOutOfRange);
  EXPECT_EQ(tail.port.Write(samples, {}, kNow), AudioOutcome::kEnded);
}

TEST(AudioPortTest, WhatThePeerHadSentBeforeItsEndIsRead) {
  Hostile peer = MakeHostile();
  peer.Send({0, 4, 0}, {}, std::vector<float>(8, 0.5f));
  peer.pair->connecting() = Channel();
  while (peer.port.CheckPeer()) absl::SleepFor(absl::Milliseconds(1));
  std::vector<float> samples(std::size_t{kBlock} * 2);
  const AudioReadResult result = peer.port.Read(absl::MakeSpan(samples), {}, kNow);
  EXPECT_EQ(result.frames, 4u);
  EXPECT_EQ(result.outcome, AudioOutcome::kEnded);
}

// Its end is told of, and then it writes on.
void HangUp(Hostile& peer) {
  ASSERT_EQ(::shutdown(HostileAccess::ConnectionOf(peer.sender()), SHUT_RDWR), 0);
  while (peer.port.CheckPeer()) absl::SleepFor(absl::Milliseconds(1));
}

TEST(AudioPortTest, APeerThatHungUpAndWritesOnIsNotReadAgain) {
  std::vector<float> samples(std::size_t{kBlock} * 2);
  const std::vector<float> silence(samples.size(), 0);
  const std::vector<float> sound(8, 0.5f);
  for (const bool takes : {false, true}) {
    SCOPED_TRACE(takes);
    Hostile peer = MakeHostile();
    uint32_t taken = 0;
    const auto next = [&] {
      if (takes) return peer.port.Take([&](const AudioBlock& b) { taken += b.frames; }, kNow);
      samples.assign(samples.size(), 9);
      const AudioReadResult result = peer.port.Read(absl::MakeSpan(samples), {}, kNow);
      taken += result.frames;
      return result.outcome;
    };
    peer.Send({0, 4, 0}, {}, sound);
    HangUp(peer);
    if (takes) {
      EXPECT_EQ(next(), AudioOutcome::kOk);
    }
    EXPECT_EQ(next(), AudioOutcome::kEnded);
    EXPECT_EQ(taken, 4u) << "what was sent before";
    for (uint64_t i = 1; i < 4; ++i) {
      ASSERT_EQ(peer.Send({4 * i, 4, 0}, {}, sound), Outcome::kOk);
      EXPECT_EQ(next(), AudioOutcome::kEnded);
      if (!takes) {
        EXPECT_EQ(samples, silence);
      }
    }
    peer.sender().Close();
    EXPECT_EQ(next(), AudioOutcome::kEnded);
    EXPECT_EQ(taken, 4u);
  }
}

// More of them than one call takes.
TEST(AudioPortTest, TheEndIsToldOnceAllBlocksBeforeItAreRead) {
  AudioPortOptions options = Options();
  options.max_block_frames = 2 * AudioPort::kMaxBlocksPerCall;
  Hostile peer = MakeHostile(options);
  constexpr uint32_t kSent = 2 * AudioPort::kMaxBlocksPerCall + 90;
  for (uint64_t i = 0; i < kSent; ++i) {
    ASSERT_EQ(peer.Send({i, 1, 0}, {}, {0.5f, 0.5f}), Outcome::kOk);
  }
  HangUp(peer);
  std::vector<float> samples(std::size_t{options.max_block_frames} * 2);
  uint32_t read = 0;
  for (int calls = 0; calls < 10; ++calls) {
    const AudioReadResult result = peer.port.Read(absl::MakeSpan(samples), {}, kNow);
    read += result.frames;
    if (result.outcome == AudioOutcome::kEnded) break;
  }
  EXPECT_EQ(read, kSent);
  EXPECT_EQ(peer.port.Read(absl::MakeSpan(samples), {}, kNow).outcome, AudioOutcome::kEnded);
}

// An effect that closed, and reads no more.
TEST(AudioPortTest, ACycleWhosePeerClosedHasEndedForGood) {
  for (const bool full : {false, true}) {
    SCOPED_TRACE(full);
    Ports ports = MakePorts();
    const std::vector<float> in(std::size_t{kBlock} * 2, 0.5f);
    std::vector<float> out(in.size());
    const auto cycle = [&] {
      return ports.a.Process(in, {}, absl::MakeSpan(out), {}, kNow).outcome;
    };
    while (full && ports.a.stats().overruns == 0) ASSERT_EQ(cycle(), AudioOutcome::kLate);
    ports.b.Close();
    const AudioPortStats before = ports.a.stats();
    for (int i = 0; i < 200; ++i) ASSERT_EQ(cycle(), AudioOutcome::kEnded) << i;
    EXPECT_EQ(ports.a.stats().underruns, before.underruns);
    EXPECT_EQ(ports.a.violation(), Violation::kNone);
  }
}

TEST(AudioPortTest, AnEffectWhoseAnswersAreNotTakenAnyMoreHasEndedForGood) {
  Hostile host = MakeHostile();
  uint64_t asked = 0;
  const auto respond = [&] { return host.port.Respond([&](const AudioBlock&) { ++asked; }, kNow); };
  host.receiver().Close();
  uint64_t sent = 0;
  AudioOutcome outcome = AudioOutcome::kOk;
  for (; sent < kMoreBlocksThanFit && outcome == AudioOutcome::kOk; ++sent) {
    ASSERT_EQ(
        host.Send({kBlock * sent, kBlock, 0}, {}, std::vector<float>(std::size_t{kBlock} * 2)),
        Outcome::kOk);
    outcome = respond();
  }
  EXPECT_EQ(outcome, AudioOutcome::kEnded);
  const uint64_t before = asked;
  EXPECT_EQ(respond(), AudioOutcome::kEnded) << "with no question";
  host.Send({kBlock * sent, kBlock, 0}, {}, std::vector<float>(std::size_t{kBlock} * 2));
  EXPECT_EQ(respond(), AudioOutcome::kEnded);
  EXPECT_EQ(asked, before);
}

TEST(AudioPortTest, APeerThatIsGoneIsSeenByAnotherThreadAndEndsTheCalls) {
  Hostile peer = MakeHostile();
  EXPECT_TRUE(peer.port.CheckPeer());
  std::thread watcher([&] {
    peer.pair->connecting() = Channel();
    while (peer.port.CheckPeer()) absl::SleepFor(absl::Milliseconds(1));
  });
  std::vector<float> samples(std::size_t{kBlock} * 2, 9);
  const AudioReadResult result =
      peer.port.Read(absl::MakeSpan(samples), {}, Deadline::After(absl::Seconds(30)));
  watcher.join();
  EXPECT_EQ(result.outcome, AudioOutcome::kEnded);
  EXPECT_EQ(samples, std::vector<float>(samples.size(), 0));
}

TEST(AudioPortTest, AnInterruptEndsAWait) {
  Hostile peer = MakeHostile();
  std::thread other([&] {
    absl::SleepFor(absl::Milliseconds(20));
    peer.port.Interrupt();
  });
  std::vector<float> samples(std::size_t{kBlock} * 2);
  EXPECT_EQ(peer.port.Read(absl::MakeSpan(samples), {}, Deadline::After(absl::Seconds(30))).outcome,
            AudioOutcome::kEnded);
  other.join();
}

// ---- Options.

TEST(AudioPortTest, OptionsAreCheckedAndBothSidesMustHaveTheSame) {
  AudioPortOptions other = Mirrored(Options());
  other.rate_hz = 44'100;
  const auto pair =
      ChannelPair::CreateByHandshake(AudioAcceptOptions(Options()), AudioConnectOptions(other));
  EXPECT_FALSE(pair.ok());
  const auto status = [](auto change) {
    AudioPortOptions options = Options();
    change(options);
    return AudioPort::Create(Channel(), options).status().ToString();
  };
  using O = AudioPortOptions;
  for (const auto& text :
       {status([](O& o) { o.rate_hz = 0; }), status([](O& o) { o.send_channels = 65; }),
        status([](O& o) { o.receive_channels = 65; }), status([](O& o) { o.max_block_frames = 0; }),
        status([](O& o) { o.max_block_frames = 65'537; }),
        status([](O& o) { o.max_block_events = 5000; }), status([](O& o) { o.ring_blocks = 1; }),
        status([](O& o) { o.prefill_frames = 1'000'000; }),
        status([](O& o) { o.max_delay_frames = 1'000'000; }),
        status([](O& o) { o.prefill_frames = 0, o.max_delay_frames = 10; }),
        status([](O& o) { o.limit = 0; }), status([](O& o) { o.limit = std::nanf(""); }),
        status([](O& o) { o.poll_sleep = absl::Seconds(2); })}) {
    EXPECT_NE(text.find("AudioPortOptions::"), std::string::npos) << text;
  }
  EXPECT_NE(status([](O&) {}).find("both directions"), std::string::npos);
  // A channel that was made for something else.
  testing::ChannelPairOptions other_use;
  other_use.ring = {4096, 64};
  auto small = ChannelPair::Create(other_use);
  ASSERT_TRUE(small.ok());
  EXPECT_FALSE(AudioPort::Create((*small)->accepting(), Options()).ok());
}

// Each limit that is a number: the last one that is allowed, and the next one.
TEST(AudioPortTest, EachLimitOfTheOptionsIsExact) {
  using O = AudioPortOptions;
  const auto refused = [](auto change, auto value) {
    O options = Options();
    options.prefill_frames = options.max_delay_frames = 0;
    change(options, value);
    const std::string text = AudioPort::Create(Channel(), options).status().ToString();
    return text.find("AudioPortOptions::") != std::string::npos;
  };
  const auto check = [&](auto change, auto first, auto last, auto step) {
    EXPECT_FALSE(refused(change, first));
    EXPECT_FALSE(refused(change, last));
    EXPECT_TRUE(refused(change, last + step));
  };
  const auto below = [&](auto change, auto value) { EXPECT_TRUE(refused(change, value)); };
  const auto rate = [](O& o, uint32_t n) { o.rate_hz = n; };
  check(rate, 1000u, 1'000'000u, 1u);
  below(rate, 999u);
  check([](O& o, uint32_t n) { o.send_channels = n; }, 0u, 64u, 1u);
  check([](O& o, uint32_t n) { o.receive_channels = n; }, 0u, 64u, 1u);
  const auto frames = [](O& o, uint32_t n) { o.max_block_frames = n; };
  check(frames, 1u, 65'536u, 1u);
  below(frames, 0u);
  check([](O& o, uint32_t n) { o.max_block_events = n; }, 0u, 4096u, 1u);
  const auto blocks = [](O& o, uint32_t n) { o.ring_blocks = n; };
  check(blocks, 2u, 256u, 1u);
  below(blocks, 1u);
  const auto sleep = [](O& o, absl::Duration time) { o.poll_sleep = time; };
  check(sleep, absl::ZeroDuration(), absl::Seconds(1), absl::Nanoseconds(1));
  below(sleep, absl::Nanoseconds(-1));
  const uint32_t buffered = (Options().ring_blocks - 1) * Options().max_block_frames;
  const auto prefill = [](O& o, uint32_t n) { o.prefill_frames = n; };
  check(prefill, 1u, buffered, 1u);
  const auto delay = [](O& o, uint32_t n) { o.max_delay_frames = n, o.prefill_frames = 7; };
  check(delay, 7u, buffered, 1u);
  below(delay, 6u);
}

TEST(AudioPortDeathTest, ABlockThatIsNoneIsTheCallersBug) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  Ports ports = MakePorts();
  std::vector<float> three(3);
  std::vector<float> long_one(std::size_t{kBlock + 1} * 2);
  EXPECT_DEATH(ports.a.Write(three, {}, kNow), "AudioPort::Write");
  EXPECT_DEATH(ports.a.Write(long_one, {}, kNow), "AudioPort::Write");
  EXPECT_DEATH(ports.a.Read(absl::MakeSpan(three), {}, kNow), "AudioPort::Read");
  EXPECT_DEATH(ports.a.Process(long_one, {}, absl::MakeSpan(three), {}, kNow),
               "AudioPort::Process");
}

}  // namespace
}  // namespace parley
