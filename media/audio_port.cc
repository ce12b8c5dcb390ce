// SPDX-License-Identifier: Apache-2.0
#include "parley/media/audio_port.h"

#include <poll.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/wire_copy.h"
#include "parley/channel/internal/end_state.h"
#include "parley/handshake/session.h"
#include "parley/media/audio_wire.h"
#include "parley/media/pcm.h"
#include "parley/os/check.h"
#include "parley/os/poll.h"
#include "parley/os/relax.h"
#include "parley/ring/consumer.h"
#include "parley/ring/layout.h"
#include "parley/ring/producer.h"

namespace parley {
namespace {

using internal::AudioBlockLimits;
using internal::AudioBlockWire;
using internal::kAudioBlockTag;

constexpr uint32_t kMaxChannels = 64;
constexpr uint32_t kMaxFrames = 1u << 16;
constexpr uint32_t kMaxEvents = 4096;
constexpr uint32_t kMaxRingBlocks = 256;
// Reads after which the mean of what is buffered is worth comparing with, and its weight.
constexpr uint64_t kReadsBeforeDrift = 512;
constexpr double kMeanWeight = 1.0 / 128;

AudioBlockLimits LimitsOf(const AudioPortOptions& options, uint32_t channels) {
  return {channels, options.max_block_frames, options.max_block_events};
}

absl::Status Wrong(const char* name, uint64_t value, const char* allowed) {
  return absl::InvalidArgumentError(
      absl::StrFormat("AudioPortOptions::%s is %d; allowed: %s", name, value, allowed));
}

// What a stream's reader can hold beside the block that comes in.
uint32_t MaxBuffered(const AudioPortOptions& o) { return (o.ring_blocks - 1) * o.max_block_frames; }

uint32_t PrefillOf(const AudioPortOptions& o) {
  return o.prefill_frames != 0 ? o.prefill_frames
                               : std::min(o.max_block_frames * 3 / 2 + 1, MaxBuffered(o));
}

uint32_t MaxDelayOf(const AudioPortOptions& o) {
  return o.max_delay_frames != 0 ? o.max_delay_frames : MaxBuffered(o);
}

absl::Status Check(const AudioPortOptions& o) {
  if (o.rate_hz < 1000 || o.rate_hz > 1'000'000)
    return Wrong("rate_hz", o.rate_hz, "1000 to 1 MHz");
  if (o.send_channels > kMaxChannels) return Wrong("send_channels", o.send_channels, "0 to 64");
  if (o.receive_channels > kMaxChannels) {
    return Wrong("receive_channels", o.receive_channels, "0 to 64");
  }
  if (o.max_block_frames < 1 || o.max_block_frames > kMaxFrames) {
    return Wrong("max_block_frames", o.max_block_frames, "1 to 65536");
  }
  if (o.max_block_events > kMaxEvents) {
    return Wrong("max_block_events", o.max_block_events, "0 to 4096");
  }
  if (o.ring_blocks < 2 || o.ring_blocks > kMaxRingBlocks) {
    return Wrong("ring_blocks", o.ring_blocks, "2 to 256");
  }
  if (PrefillOf(o) > MaxBuffered(o)) {
    return Wrong("prefill_frames", o.prefill_frames, "up to (ring_blocks - 1) * max_block_frames");
  }
  if (MaxDelayOf(o) < PrefillOf(o) || MaxDelayOf(o) > MaxBuffered(o)) {
    return Wrong("max_delay_frames", o.max_delay_frames,
                 "prefill_frames (1.5 blocks where that is 0) to (ring_blocks - 1) * "
                 "max_block_frames");
  }
  if (!(o.limit > 0 && std::isfinite(o.limit))) {
    return absl::InvalidArgumentError("AudioPortOptions::limit is not a positive number");
  }
  if (o.poll_sleep < absl::ZeroDuration() || o.poll_sleep > absl::Seconds(1)) {
    return absl::InvalidArgumentError("AudioPortOptions::poll_sleep; allowed: 0 to 1 s");
  }
  return absl::OkStatus();
}

RingRequest RingFor(const AudioPortOptions& options, uint32_t channels) {
  RingRequest ring;
  const std::size_t block_bytes = LimitsOf(options, channels).MaxBytes();
  ring.max_message_bytes =
      static_cast<uint32_t>(std::max<std::size_t>(block_bytes, kMinMessageLimitBytes));
  ring.capacity_bytes = std::bit_ceil(std::max<uint64_t>(
      4096, options.ring_blocks * (block_bytes + kRecordHeaderBytes + kRecordAlignBytes)));
  return ring;
}

// As the accepting side sees the channels.
std::string Format(const AudioPortOptions& o, uint32_t to_connecting, uint32_t to_accepting) {
  return absl::StrFormat("parley-audio/1 %d Hz, f32 %d and %d channels, %d frames, %d events",
                         o.rate_hz, to_connecting, to_accepting, o.max_block_frames,
                         o.max_block_events);
}

void SetRings(const AudioPortOptions& options, RingRequest* send, RingRequest* receive,
              ChannelLimits* limits) {
  *send = AudioSendRing(options);
  *receive = AudioReceiveRing(options);
  limits->max_capacity_bytes =
      std::max({limits->max_capacity_bytes, send->capacity_bytes, receive->capacity_bytes});
  limits->max_message_bytes =
      std::max({limits->max_message_bytes, send->max_message_bytes, receive->max_message_bytes});
}

}  // namespace

RingRequest AudioSendRing(const AudioPortOptions& options) {
  return RingFor(options, options.send_channels);
}

RingRequest AudioReceiveRing(const AudioPortOptions& options) {
  return RingFor(options, options.receive_channels);
}

AcceptOptions AudioAcceptOptions(const AudioPortOptions& options) {
  AcceptOptions accept;
  SetRings(options, &accept.send, &accept.receive, &accept.limits);
  accept.format = Format(options, options.send_channels, options.receive_channels);
  accept.check_format = [wanted = accept.format](const std::string& format) {
    return format == wanted
               ? absl::OkStatus()
               : absl::InvalidArgumentError("it wants another port than '" + wanted + "'");
  };
  return accept;
}

ConnectOptions AudioConnectOptions(const AudioPortOptions& options) {
  ConnectOptions connect;
  SetRings(options, &connect.send, &connect.receive, &connect.limits);
  connect.format = Format(options, options.receive_channels, options.send_channels);
  return connect;
}

struct AudioPort::State {
  State(const Channel& channel, const AudioPortOptions& o)
      : options(o),
        sender(channel.sender),
        receiver(channel.receiver),
        send_limits(LimitsOf(o, o.send_channels)),
        receive_limits(LimitsOf(o, o.receive_channels)),
        producer(sender.state().ring),
        consumer(receiver.state().ring),
        session(channel.session),
        held_frames(o.ring_blocks * o.max_block_frames),
        held(std::size_t{held_frames} * o.receive_channels),
        held_events(std::size_t{o.ring_blocks} * std::max(o.max_block_events, 1u)),
        block_events(o.max_block_events),
        in(std::size_t{o.max_block_frames} * o.receive_channels),
        out(std::size_t{o.max_block_frames} * o.send_channels),
        out_events(o.max_block_events),
        prefill(PrefillOf(o)),
        max_delay(MaxDelayOf(o)) {}

  // Ended by a violation, found by anybody, or by us.
  bool Broken() {
    sender.state().HearOfPoison();
    receiver.state().HearOfPoison();
    return receiver.state().Stopped() ||
           stop.load(std::memory_order_relaxed);  // RELAXED: a flag that stands alone
  }
  bool PeerGone() const { return session->termination().peer_gone(); }
  // Whether nothing more will be taken from us, as far as it was seen.
  bool Stopped() { return Broken() || PeerGone() || producer.peer_ended(); }
  // A look found nothing, and the peer was gone before it: nothing more is taken from it, whatever
  // it writes later.
  void EndInput() {
    consumer.SetPeerGone();
    input_ended = true;
  }
  void Lied() { receiver.Poison(Violation::kMetadataInvalid); }

  // True until the deadline is over, a moment later.
  bool MayLookAgain(Deadline deadline) const {
    const int64_t left_ns = deadline.monotonic_ns() - MonotonicNowNs();
    if (left_ns <= 0) return false;
    if (options.poll_sleep > absl::ZeroDuration()) {
      const auto sleep = absl::ToTimespec(std::min(options.poll_sleep, absl::Nanoseconds(left_ns)));
      ::clock_nanosleep(CLOCK_MONOTONIC, 0, &sleep, nullptr);
    } else {
      internal::RelaxFor(32);
    }
    return true;
  }

  // Writes one block; kWouldBlock: no room now. `position`: of its first frame.
  Outcome TryWrite(uint64_t position, uint32_t frames, absl::Span<const float> samples,
                   absl::Span<const AudioEvent> events);
  // The next block of the peer's, validated, its payload still where it is; gone with Done.
  Outcome TryTake(AudioBlockWire* block, PeerView* view);
  void Done() { consumer.Release(); }
  // Its parts, private and harmless. False: an event is out of place, which ends the port.
  void CopySamples(const AudioBlockWire& block, const PeerView& view, absl::Span<float> into);
  bool CopyEvents(const AudioBlockWire& block, const PeerView& view);
  // Counts what the peer left out before `block`. False: it goes backwards, which ends the port.
  bool Follow(const AudioBlockWire& block);

  // A stream's reader. kOk: there may be more.
  Outcome Gather(uint32_t* may_look);
  void Hold(const AudioBlockWire& block, const PeerView& view);
  void Skip(uint32_t frames);
  uint32_t Serve(absl::Span<float> samples, uint32_t frames, absl::Span<AudioEvent> events);
  uint32_t buffered() const { return static_cast<uint32_t>(held_end - held_begin); }
  void NoteBuffered(uint32_t wanted);

  const AudioPortOptions options;
  Sender sender;
  Receiver receiver;
  const AudioBlockLimits send_limits;
  const AudioBlockLimits receive_limits;
  Producer& producer;
  Consumer& consumer;
  const std::shared_ptr<Session> session;
  std::atomic<bool> stop{false};

  uint64_t send_position = 0;
  uint64_t receive_position = 0;  // of what comes next

  // Frames held_begin to held_end of a stream, at their number modulo held_frames.
  const uint32_t held_frames;
  std::vector<float> held;
  uint64_t held_begin = 0;
  uint64_t held_end = 0;
  struct HeldEvent {
    uint64_t frame;
    AudioEvent event;
  };
  std::vector<HeldEvent> held_events;
  uint64_t events_begin = 0;
  uint64_t events_end = 0;
  std::vector<AudioEvent> block_events;
  std::vector<float> in;
  std::vector<float> out;
  std::vector<AudioEvent> out_events;
  uint64_t answer_position = 0;

  const uint32_t prefill;
  const uint32_t max_delay;
  bool running = false;
  bool input_ended = false;  // the peer closed or is gone, and all before that was taken

  // For the drift.
  uint64_t reads = 0;
  uint64_t read_frames = 0;  // since the mean was worth it
  double mean_buffered = 0;
  double first_mean = 0;

  AudioPortStats stats;
};

AudioPort::AudioPort(std::unique_ptr<State> state) : state_(std::move(state)) {}
AudioPort::AudioPort(AudioPort&&) noexcept = default;
AudioPort& AudioPort::operator=(AudioPort&&) noexcept = default;
AudioPort::~AudioPort() = default;

absl::StatusOr<AudioPort> AudioPort::Create(const Channel& channel,
                                            const AudioPortOptions& options) {
  if (absl::Status status = Check(options); !status.ok()) return status;
  if (!channel.sender || !channel.receiver) {
    return absl::InvalidArgumentError("an AudioPort needs a channel with both directions");
  }
  if (channel.sender.max_message_bytes() < LimitsOf(options, options.send_channels).MaxBytes() ||
      channel.receiver.max_message_bytes() <
          LimitsOf(options, options.receive_channels).MaxBytes()) {
    return absl::InvalidArgumentError(
        "the channel's messages are shorter than a block: make it with AudioAcceptOptions and "
        "AudioConnectOptions");
  }
  return AudioPort(std::make_unique<State>(channel, options));
}

Outcome AudioPort::State::TryWrite(uint64_t position, uint32_t frames,
                                   absl::Span<const float> samples,
                                   absl::Span<const AudioEvent> events) {
  absl::Span<std::byte> room;
  const Outcome outcome =
      producer.TryReserve(send_limits.Bytes(frames, static_cast<uint32_t>(events.size())), &room);
  if (outcome == Outcome::kPoisoned) sender.state().SpreadViolation();
  if (outcome != Outcome::kOk) return outcome;
  const AudioBlockWire block = {
      .position = position, .frames = frames, .events = static_cast<uint32_t>(events.size())};
  const auto header = WireBytes(block);
  std::memcpy(room.data(), header.data(), header.size());
  std::byte* at = room.data() + sizeof(block);
  if (!events.empty()) std::memcpy(at, events.data(), events.size() * sizeof(AudioEvent));
  at += events.size() * sizeof(AudioEvent);
  if (!samples.empty()) std::memcpy(at, samples.data(), samples.size() * sizeof(float));
  producer.Commit(kAudioBlockTag, room.size());
  ++stats.blocks_sent;
  stats.events_sent += events.size();
  return Outcome::kOk;
}

Outcome AudioPort::State::TryTake(AudioBlockWire* block, PeerView* view) {
  Record record;
  const Outcome outcome = consumer.TryPeek(&record, view);
  if (outcome == Outcome::kClosed) input_ended = true;
  if (outcome == Outcome::kPoisoned) receiver.state().SpreadViolation();
  if (outcome != Outcome::kOk) return outcome;
  // TRUST: a private copy of the header, and what is checked is what is used.
  std::array<std::byte, sizeof(AudioBlockWire)> bytes = {};
  if (record.tag == kAudioBlockTag && record.size_bytes >= bytes.size()) {
    view->CopyTo(0, absl::MakeSpan(bytes));
  }
  if (!ReadWire(absl::MakeConstSpan(bytes), block) ||
      !internal::IsAudioBlock(*block, record.size_bytes, receive_limits) ||
      !CopyEvents(*block, *view)) {
    Lied();
    return Outcome::kPoisoned;
  }
  ++stats.blocks_received;
  stats.events_received += block->events;
  return Outcome::kOk;
}

bool AudioPort::State::CopyEvents(const AudioBlockWire& block, const PeerView& view) {
  if (block.events == 0) return true;
  const auto events = absl::MakeSpan(block_events).first(block.events);
  view.CopyTo(sizeof(AudioBlockWire), WritableBytesOfWire(events));
  uint32_t last = 0;
  for (const AudioEvent& event : events) {
    if (event.frame < last || event.frame >= block.frames) return false;
    last = event.frame;
  }
  return true;
}

void AudioPort::State::CopySamples(const AudioBlockWire& block, const PeerView& view,
                                   absl::Span<float> into) {
  if (into.empty()) return;
  view.CopyTo(sizeof(AudioBlockWire) + std::size_t{block.events} * internal::kAudioEventBytes,
              WritableBytesOfWire(into));
  stats.repaired_samples += SanitizeF32(WritableBytesOfWire(into), options.limit);
}

bool AudioPort::State::Follow(const AudioBlockWire& block) {
  if (block.position < receive_position) {
    Lied();
    return false;
  }
  stats.missed_frames += block.position - receive_position;
  receive_position = block.position + block.frames;
  return true;
}

AudioOutcome AudioPort::Write(absl::Span<const float> samples, absl::Span<const AudioEvent> events,
                              Deadline deadline) {
  State& s = *state_;
  const uint32_t channels = s.send_limits.channels;
  PARLEY_CHECK(channels > 0 && !samples.empty() && samples.size() % channels == 0 &&
                   samples.size() / channels <= s.send_limits.max_frames &&
                   events.size() <= s.send_limits.max_events,
               "AudioPort::Write: not a block of 1 to max_block_frames with its events");
  const auto frames = static_cast<uint32_t>(samples.size() / channels);
  const uint64_t position = std::exchange(s.send_position, s.send_position + frames);
  while (!s.Stopped()) {
    const Outcome outcome = s.TryWrite(position, frames, samples, events);
    if (outcome == Outcome::kOk) return AudioOutcome::kOk;
    if (outcome != Outcome::kWouldBlock) break;
    if (!s.MayLookAgain(deadline)) {
      ++s.stats.overruns;
      return AudioOutcome::kLate;
    }
  }
  return AudioOutcome::kEnded;
}

void AudioPort::State::Hold(const AudioBlockWire& block, const PeerView& view) {
  const uint32_t channels = receive_limits.channels;
  const auto samples = absl::MakeSpan(in).first(std::size_t{block.frames} * channels);
  CopySamples(block, view, samples);
  const auto at = static_cast<uint32_t>(held_end % held_frames);
  const uint32_t first = std::min(block.frames, held_frames - at);
  std::copy_n(samples.begin(), std::size_t{first} * channels,
              held.begin() + std::ptrdiff_t{at} * channels);
  std::copy(samples.begin() + std::ptrdiff_t{first} * channels, samples.end(), held.begin());
  for (const AudioEvent& event : absl::MakeConstSpan(block_events).first(block.events)) {
    if (events_end - events_begin == held_events.size()) {
      ++stats.events_dropped;
      continue;
    }
    held_events[events_end++ % held_events.size()] = {held_end + event.frame, event};
  }
  held_end += block.frames;
}

// What has come, as far as there is room for it.
Outcome AudioPort::State::Gather(uint32_t* may_look) {
  while (*may_look > 0 && held_frames - buffered() >= options.max_block_frames) {
    AudioBlockWire block;
    PeerView view;
    if (const Outcome taken = TryTake(&block, &view); taken != Outcome::kOk) return taken;
    if (!Follow(block)) return Outcome::kPoisoned;
    --*may_look;
    Hold(block, view);
    Done();
  }
  return Outcome::kOk;
}

void AudioPort::State::Skip(uint32_t frames) {
  held_begin += frames;
  stats.skipped_frames += frames;
  while (events_begin != events_end &&
         held_events[events_begin % held_events.size()].frame < held_begin) {
    ++events_begin;
    ++stats.events_dropped;
  }
}

uint32_t AudioPort::State::Serve(absl::Span<float> samples, uint32_t frames,
                                 absl::Span<AudioEvent> events) {
  const uint32_t channels = receive_limits.channels;
  const auto at = static_cast<uint32_t>(held_begin % held_frames);
  const uint32_t first = std::min(frames, held_frames - at);
  std::copy_n(held.begin() + std::ptrdiff_t{at} * channels, std::size_t{first} * channels,
              samples.begin());
  std::copy_n(held.begin(), std::size_t{frames - first} * channels,
              samples.begin() + std::ptrdiff_t{first} * channels);
  uint32_t count = 0;
  while (events_begin != events_end) {
    const HeldEvent& next = held_events[events_begin % held_events.size()];
    if (next.frame >= held_begin + frames) break;
    if (count == events.size()) {
      ++stats.events_dropped;
    } else {
      events[count] = next.event;
      events[count++].frame = static_cast<uint32_t>(next.frame - held_begin);
    }
    ++events_begin;
  }
  held_begin += frames;
  return count;
}

// What has gathered before each read, in the mean; silence that was given instead of it, and sound
// that was dropped, count as if they were there or not.
void AudioPort::State::NoteBuffered(uint32_t wanted) {
  const auto moved = static_cast<double>(stats.skipped_frames + stats.missed_frames) -
                     static_cast<double>(stats.silent_frames);
  const double now = buffered() + moved;
  mean_buffered = reads == 0 ? now : mean_buffered + (now - mean_buffered) * kMeanWeight;
  ++reads;
  if (reads == kReadsBeforeDrift) first_mean = mean_buffered;
  if (reads > kReadsBeforeDrift) read_frames += wanted;
}

AudioReadResult AudioPort::Read(absl::Span<float> samples, absl::Span<AudioEvent> events,
                                Deadline deadline) {
  State& s = *state_;
  const uint32_t channels = s.receive_limits.channels;
  PARLEY_CHECK(channels > 0 && samples.size() % channels == 0 &&
                   samples.size() / channels <= s.receive_limits.max_frames,
               "AudioPort::Read: not up to max_block_frames of receive_channels samples each");
  const auto wanted = static_cast<uint32_t>(samples.size() / channels);
  uint32_t may_look = kMaxBlocksPerCall;
  bool over = false;
  while (true) {
    // What the peer sent before its end is read as well: the end is seen first.
    const bool gone = s.PeerGone();
    if (!s.Broken() && !s.input_ended && s.Gather(&may_look) == Outcome::kWouldBlock && gone) {
      s.EndInput();
    }
    over = s.Broken() || s.input_ended;
    if (s.buffered() >= s.prefill || s.input_ended) s.running = true;
    if (s.running && s.buffered() > s.max_delay) s.Skip(s.buffered() - s.prefill);
    if (over || (s.running && s.buffered() >= wanted)) break;
    if (!s.MayLookAgain(deadline)) break;
  }
  const bool began = s.reads > 0 || s.running;
  if (began) s.NoteBuffered(wanted);
  AudioReadResult result;
  result.frames = s.running || over ? std::min(wanted, s.buffered()) : 0;
  result.events = s.Serve(samples, result.frames, events);
  if (result.frames == wanted) return result;
  std::fill(samples.begin() + std::ptrdiff_t{result.frames} * channels, samples.end(), 0.0f);
  result.outcome = over ? AudioOutcome::kEnded : AudioOutcome::kLate;
  s.running = false;
  if (began && !over) {
    ++s.stats.underruns;
    s.stats.silent_frames += wanted - result.frames;
  }
  return result;
}

AudioReadResult AudioPort::Process(absl::Span<const float> in,
                                   absl::Span<const AudioEvent> in_events, absl::Span<float> out,
                                   absl::Span<AudioEvent> out_events, Deadline deadline) {
  State& s = *state_;
  const uint32_t channels = s.receive_limits.channels;
  PARLEY_CHECK(
      s.send_limits.channels > 0 && out.size() == in.size() / s.send_limits.channels * channels,
      "AudioPort::Process: `out` has not as many frames as `in`");
  const uint64_t position = s.send_position;
  const auto frames = static_cast<uint32_t>(in.size() / s.send_limits.channels);
  AudioReadResult result;
  // An end that was seen stays one, also where there is no room for a question any more.
  result.outcome =
      s.input_ended ? AudioOutcome::kEnded : Write(in, in_events, Deadline::AtMonotonicNs(0));
  // A worker that has left no room will not answer in time either. It may have ended.
  const bool asked = result.outcome == AudioOutcome::kOk;
  uint32_t may_look = kMaxBlocksPerCall;
  while (result.outcome != AudioOutcome::kEnded) {
    AudioBlockWire block;
    PeerView view;
    Outcome taken = Outcome::kWouldBlock;
    if (s.Stopped()) {
      taken = Outcome::kClosed;
    } else if (may_look > 0) {
      taken = s.TryTake(&block, &view);
    }
    if (taken == Outcome::kWouldBlock) {
      if (asked && may_look > 0 && s.MayLookAgain(deadline)) continue;
      result.outcome = AudioOutcome::kLate;
      break;
    }
    if (taken != Outcome::kOk) {
      result.outcome = AudioOutcome::kEnded;
      continue;
    }
    --may_look;
    if (block.position < position) {
      ++s.stats.late_blocks;
      s.Done();
      continue;
    }
    if (!asked || block.position != position || block.frames != frames) {
      s.Lied();
      continue;
    }
    s.CopySamples(block, view, out);
    result.frames = frames;
    result.events = std::min<uint32_t>(block.events, static_cast<uint32_t>(out_events.size()));
    s.stats.events_dropped += block.events - result.events;
    std::copy_n(s.block_events.begin(), result.events, out_events.begin());
    s.Done();
    return result;
  }
  std::fill(out.begin(), out.end(), 0.0f);
  if (result.outcome == AudioOutcome::kLate) {
    ++s.stats.underruns;
    s.stats.silent_frames += frames;
  }
  return result;
}

AudioOutcome AudioPort::TakeBlock(AudioBlock* block, Deadline deadline) {
  State& s = *state_;
  while (!s.Broken()) {
    // What the peer sent before its end is taken as well: the end is seen first.
    const bool gone = s.PeerGone();
    AudioBlockWire wire;
    PeerView view;
    const Outcome taken = s.TryTake(&wire, &view);
    if (taken == Outcome::kWouldBlock) {
      if (gone) s.EndInput();
      if (!gone && !s.MayLookAgain(deadline)) return AudioOutcome::kLate;
      continue;
    }
    if (taken != Outcome::kOk || !s.Follow(wire)) break;
    block->frames = wire.frames;
    const auto in =
        absl::MakeSpan(s.in).first(std::size_t{wire.frames} * s.receive_limits.channels);
    s.CopySamples(wire, view, in);
    s.Done();
    block->in = in;
    block->events = absl::MakeConstSpan(s.block_events).first(wire.events);
    block->out = absl::MakeSpan(s.out).first(std::size_t{wire.frames} * s.send_limits.channels);
    std::fill(block->out.begin(), block->out.end(), 0.0f);
    block->out_events = absl::MakeSpan(s.out_events);
    s.answer_position = wire.position;
    return AudioOutcome::kOk;
  }
  return AudioOutcome::kEnded;
}

bool AudioPort::TakesAnswers() { return !state_->Stopped() && !state_->producer.closed(); }

AudioOutcome AudioPort::Answer(const AudioBlock& block, std::size_t events) {
  State& s = *state_;
  PARLEY_CHECK(events <= block.out_events.size(), "AudioPort::Respond: more events than room");
  if (!TakesAnswers()) return AudioOutcome::kEnded;  // the effect may have closed it
  switch (s.TryWrite(s.answer_position, block.frames, block.out, block.out_events.first(events))) {
    case Outcome::kOk:
      return AudioOutcome::kOk;
    case Outcome::kWouldBlock:
      ++s.stats.overruns;
      return AudioOutcome::kLate;
    default:
      return AudioOutcome::kEnded;
  }
}

void AudioPort::Close() {
  if (!state_->producer.closed()) state_->producer.Close();
}

bool AudioPort::CheckPeer() const {
  Session& session = *state_->session;
  if (session.termination().ended()) return false;
  std::array<pollfd, 2> polled = {
      {{session.connection(), POLLRDHUP, 0}, {session.peer().pidfd.get(), POLLIN, 0}}};
  const auto ready = PollUntil(absl::MakeSpan(polled), Deadline::AtMonotonicNs(0));
  if (!ready.ok() || *ready == 0) return true;
  session.termination().SetPeerGone();
  return false;
}

void AudioPort::Interrupt() const {
  state_->stop.store(true, std::memory_order_relaxed);  // RELAXED: a flag that stands alone
}

Violation AudioPort::violation() const { return state_->session->termination().poison(); }

AudioPortStats AudioPort::stats() const {
  const State& s = *state_;
  AudioPortStats stats = s.stats;
  stats.buffered_frames = s.buffered();
  if (s.read_frames > 0) {
    stats.drift_ppm = (s.mean_buffered - s.first_mean) / static_cast<double>(s.read_frames) * 1e6;
  }
  return stats;
}

}  // namespace parley
