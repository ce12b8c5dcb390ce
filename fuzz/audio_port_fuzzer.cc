// SPDX-License-Identifier: Apache-2.0
// Attacks the receiving half of an AudioPort over a real channel: blocks that no honest peer
// writes, between the reads or the cycles of an honest user.
//
// Input: which use (1 byte, modulo 3: a reader, a host, an effect), then steps: one byte each
// (modulo 5), followed by what it needs; 255 hangs up, and writes on afterwards; 254 closes what
// takes. Deadlines are over, so no clock decides anything.
//
// What must hold, by a model of its own that reads the records byte by byte: each sample and event
// of each call, in its place; every sample finite, bounded and not subnormal; what no honest peer
// can say ends the port, and nothing else does; an end that a call told of stays one.

#include <sys/socket.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "parley/boundary/violation.h"
#include "parley/channel/channel.h"
#include "parley/channel/hostile_access.h"
#include "parley/media/audio_port.h"
#include "parley/os/check.h"
#include "parley/os/deadline.h"
#include "parley/ring/ring_types.h"
#include "parley/testing/channel_pair.h"
#include "parley/testing/scripted_memory.h"

namespace parley::fuzz {
namespace {

using testing::ChannelPair;
using testing::Script;
using Message = std::vector<std::byte>;

constexpr int kMaxSteps = 200;
constexpr uint32_t kTag = 0x61;
constexpr uint32_t kFrames = 8;
constexpr uint32_t kEvents = 2;
constexpr uint32_t kBlocks = 4;
constexpr uint32_t kPrefill = 3;
constexpr uint32_t kMaxDelay = 20;
constexpr float kLimit = 2;
constexpr uint8_t kCloseReceiver = 254;
constexpr uint8_t kHangUp = 255;

AudioPortOptions Options() {
  AudioPortOptions options;
  options.max_block_frames = kFrames;
  options.max_block_events = kEvents;
  options.ring_blocks = kBlocks;
  options.prefill_frames = kPrefill;
  options.max_delay_frames = kMaxDelay;
  options.limit = kLimit;
  return options;
}

uint64_t At(const Message& m, std::size_t offset, std::size_t bytes) {
  uint64_t value = 0;
  for (std::size_t i = bytes; i-- > 0;) {
    value = value << 8 | std::to_integer<uint64_t>(m[offset + i]);
  }
  return value;
}

void Put(Message& m, std::size_t bytes, uint64_t value) {
  for (std::size_t i = 0; i < bytes; ++i) m.push_back(static_cast<std::byte>(value >> (8 * i)));
}

float Playable(uint32_t bits) {
  float sample = 0;
  std::memcpy(&sample, &bits, sizeof(sample));
  if (std::isnan(sample) || std::fpclassify(sample) == FP_SUBNORMAL) return 0;
  return std::clamp(sample, -kLimit, kLimit);
}

// One record, as the model reads it.
struct Block {
  bool honest = false;
  uint64_t position = 0;
  std::vector<float> samples;
  std::vector<AudioEvent> events;
};

Block Parse(uint32_t tag, const Message& m) {
  Block block;
  if (tag != kTag || m.size() < 16) return block;
  block.position = At(m, 0, 8);
  const uint64_t frames = At(m, 8, 4);
  const uint64_t events = At(m, 12, 4);
  if (block.position > uint64_t{1} << 62 || frames == 0 || frames > kFrames || events > kEvents ||
      m.size() != 16 + 24 * events + 4 * frames) {
    return block;
  }
  for (uint64_t i = 0; i < events; ++i) {
    AudioEvent event;
    std::memcpy(&event, m.data() + 16 + 24 * i, sizeof(event));
    if (event.frame >= frames) return block;
    if (i > 0 && event.frame < block.events.back().frame) return block;
    block.events.push_back(event);
  }
  for (uint64_t i = 0; i < frames; ++i) {
    block.samples.push_back(Playable(static_cast<uint32_t>(At(m, 16 + 24 * events + 4 * i, 4))));
  }
  block.honest = true;
  return block;
}

enum Use : uint8_t { kReads, kCycles, kAnswers };

bool Same(const AudioEvent& a, const AudioEvent& b) { return a.kind == b.kind && a.data == b.data; }

class Run {
 public:
  Run(Script script, Use use)
      : script_(script),
        use_(use),
        pair_(*ChannelPair::Create()),
        port_(*AudioPort::Create(pair_->accepting(), Options())) {}

  void Steps() {
    for (int i = 0; i < kMaxSteps && !script_.empty(); ++i) {
      const uint8_t op = script_.Take8();
      if (op >= kCloseReceiver) {
        op == kHangUp ? HangUp() : CloseReceiver();
        continue;
      }
      switch (op % 5) {
        case 0:
          SendBlock();
          break;
        case 1:
          Send(script_.Take8() % 4 == 0 ? script_.Take8() : kTag,
               script_.TakeBytes(script_.Take8() % 64));
          break;
        case 2:
          Act();
          break;
        case 3:
          Drain();
          break;
        case 4:
          if (!closed_) pair_->connecting().sender.Close();
          closed_ = true;
          break;
      }
      const bool ended = port_.violation() != Violation::kNone;
      PARLEY_CHECK(ended == dead_, "the port's end, or none, is not the model's");
    }
  }

 private:
  void Act() {
    switch (use_) {
      case kReads:
        return Read();
      case kCycles:
        return Cycle();
      case kAnswers:
        return Answer();
    }
  }

  void HangUp() {
    if (gone_ || dead_) return;
    ::shutdown(HostileAccess::ConnectionOf(pair_->connecting().sender), SHUT_RDWR);
    PARLEY_CHECK(!port_.CheckPeer(), "a peer that hung up is there");
    gone_ = true;
  }
  void CloseReceiver() {
    pair_->connecting().receiver.Close();
    takes_ = false;
  }

  void Send(uint32_t tag, const Message& record) {
    if (closed_) return;
    if (pair_->connecting().sender.TrySend(tag, record) == Outcome::kOk) {
      queue_.push_back(Parse(tag, record));
    }
  }

  // Mostly honest: a small step back or on, a number of frames near the limit.
  void SendBlock() {
    const uint8_t shape = script_.Take8();
    const uint64_t base =
        use_ == kCycles ? sent_frames_ - std::min<uint64_t>(sent_frames_, 8) : next_;
    const uint64_t position = base + (shape & 0x0f) - ((shape & 0x10) != 0 ? 1 : 0);
    const uint32_t frames = script_.Take8() % (kFrames + 2);
    const uint32_t events = (shape >> 5) % (kEvents + 2);
    Message record;
    Put(record, 8, position);
    Put(record, 4, frames);
    Put(record, 4, events);
    for (uint32_t i = 0; i < events; ++i) {
      Put(record, 4, script_.Take8() % (kFrames + 1));
      Put(record, 4, script_.Take8());
      Put(record, 8, i);
      Put(record, 8, ~uint64_t{i});
    }
    for (uint32_t i = 0; i < frames; ++i) Put(record, 4, script_.Take32());
    next_ = position + frames;
    Send(kTag, record);
  }

  void Drain() {
    Receiver& receiver = pair_->connecting().receiver;
    Message into(receiver.max_message_bytes());
    Record record;
    while (receiver.TryReceive(absl::MakeSpan(into), &record) == Outcome::kOk) {
      if (use_ != kAnswers) continue;
      PARLEY_CHECK(!answers_.empty(), "an answer to nothing");
      const Message& answer = answers_.front();
      PARLEY_CHECK(record.tag == kTag && record.size_bytes == answer.size() &&
                       std::equal(answer.begin(), answer.end(), into.begin()),
                   "another answer than given");
      answers_.pop_front();
    }
    PARLEY_CHECK(answers_.empty() || !takes_, "an answer that was not sent");
  }

  void Read() {
    const uint32_t wanted = script_.Take8() % (kFrames + 1);
    std::vector<float> samples(wanted, 9);
    std::vector<AudioEvent> events(script_.Take8() % 4);
    const AudioReadResult result =
        port_.Read(absl::MakeSpan(samples), absl::MakeSpan(events), Deadline::AtMonotonicNs(0));
    while (!dead_ && !saw_end_ && !queue_.empty() && kFrames * kBlocks - held_.size() >= kFrames) {
      const Block block = queue_.front();
      queue_.pop_front();
      dead_ = !block.honest || block.position < expected_;
      if (dead_) break;
      expected_ = block.position + block.samples.size();
      for (AudioEvent event : block.events) {
        if (held_events_.size() == kEvents * kBlocks) continue;  // dropped, and counted
        held_events_.emplace_back(first_ + held_.size() + event.frame, event);
      }
      held_.insert(held_.end(), block.samples.begin(), block.samples.end());
    }
    // What was sent before the end is read first; it is seen by looking.
    const bool looked = !dead_ && queue_.empty() && kFrames * kBlocks - held_.size() >= kFrames;
    saw_end_ = saw_end_ || ((closed_ || gone_) && looked);
    const bool over = dead_ || saw_end_;
    running_ = running_ || held_.size() >= kPrefill || saw_end_;
    if (running_ && held_.size() > kMaxDelay) Forget(held_.size() - kPrefill);
    const std::size_t frames = running_ || over ? std::min<std::size_t>(wanted, held_.size()) : 0;
    PARLEY_CHECK(result.frames == frames, "another number of frames");
    const AudioOutcome expected = frames == wanted ? AudioOutcome::kOk
                                  : over           ? AudioOutcome::kEnded
                                                   : AudioOutcome::kLate;
    PARLEY_CHECK(result.outcome == expected, "another outcome");
    for (std::size_t i = 0; i < wanted; ++i) {
      PARLEY_CHECK(samples[i] == (i < frames ? held_[i] : 0), "another sample");
    }
    uint32_t count = 0;
    for (const auto& [frame, event] : held_events_) {
      if (frame >= first_ + frames || count == events.size()) break;
      PARLEY_CHECK(count < result.events && events[count].frame == frame - first_ &&
                       Same(events[count], event),
                   "another event, or elsewhere");
      ++count;
    }
    PARLEY_CHECK(count == result.events, "events that nobody sent");
    Forget(frames);
    if (frames < wanted) running_ = false;
  }

  void Forget(std::size_t frames) {
    held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(frames));
    first_ += frames;
    while (!held_events_.empty() && held_events_.front().first < first_) held_events_.pop_front();
  }

  void Cycle() {
    const uint32_t frames = 1 + script_.Take8() % kFrames;
    const std::vector<float> in(frames, 0.5f);
    std::vector<float> out(frames, 9);
    std::vector<AudioEvent> events(kEvents);
    const AudioPortStats before = port_.stats();
    const AudioReadResult result = port_.Process(
        in, {}, absl::MakeSpan(out), absl::MakeSpan(events), Deadline::AtMonotonicNs(0));
    const uint64_t position = sent_frames_;
    sent_frames_ += frames;
    const bool asked = port_.stats().blocks_sent != before.blocks_sent;
    const bool over = dead_ || gone_ || saw_end_ || refused_;
    PARLEY_CHECK(!over || !asked, "a question after the end");
    // A peer that takes no more is seen once the ring is full.
    refused_ = refused_ || (!over && !asked && port_.stats().overruns == before.overruns);
    PARLEY_CHECK(!refused_ || !takes_, "the end of a peer that has not ended");
    AudioOutcome expected = over || refused_ ? AudioOutcome::kEnded : AudioOutcome::kLate;
    Block answer;
    while (expected == AudioOutcome::kLate && !queue_.empty()) {
      const Block block = queue_.front();
      queue_.pop_front();
      dead_ = !block.honest;
      if (!dead_ && block.position < position) continue;
      dead_ = dead_ || !asked || block.position != position || block.samples.size() != frames;
      expected = dead_ ? AudioOutcome::kEnded : AudioOutcome::kOk;
      if (!dead_) answer = block;
    }
    if (closed_ && expected == AudioOutcome::kLate) {
      saw_end_ = true;
      expected = AudioOutcome::kEnded;
    }
    PARLEY_CHECK(result.outcome == expected, "another outcome of a cycle");
    answer.samples.resize(frames, 0);
    PARLEY_CHECK(out == answer.samples, "another answer");
    PARLEY_CHECK(result.events == answer.events.size(), "other events of an answer");
    for (std::size_t i = 0; i < answer.events.size(); ++i) {
      PARLEY_CHECK(events[i].frame == answer.events[i].frame && Same(events[i], answer.events[i]),
                   "another event of an answer");
    }
  }

  // Each sample comes back, and so does each event.
  void Answer() {
    Block block;
    const bool over = dead_ || gone_ || refused_;
    AudioOutcome expected =
        over || (closed_ && queue_.empty()) ? AudioOutcome::kEnded : AudioOutcome::kLate;
    if (!over && !queue_.empty()) {
      block = queue_.front();
      queue_.pop_front();
      dead_ = !block.honest || block.position < expected_;
      expected = dead_ ? AudioOutcome::kEnded : AudioOutcome::kOk;
    }
    const AudioPortStats before = port_.stats();
    bool asked = false;
    const AudioOutcome outcome = port_.Respond(
        [&](const AudioBlock& got) {
          asked = true;
          PARLEY_CHECK(
              expected == AudioOutcome::kOk &&
                  std::equal(got.in.begin(), got.in.end(), block.samples.begin(),
                             block.samples.end()) &&
                  got.events.size() == block.events.size() &&
                  std::equal(got.events.begin(), got.events.end(), block.events.begin(), Same),
              "another block than was sent");
          std::copy(got.in.begin(), got.in.end(), got.out.begin());
          std::copy(got.events.begin(), got.events.end(), got.out_events.begin());
          return got.events.size();
        },
        Deadline::AtMonotonicNs(0));
    PARLEY_CHECK(asked == (expected == AudioOutcome::kOk), "an effect that was not asked, or was");
    if (expected == AudioOutcome::kOk) {
      expected_ = block.position + block.samples.size();
      if (port_.stats().overruns != before.overruns) {
        expected = AudioOutcome::kLate;
      } else if (port_.stats().blocks_sent != before.blocks_sent) {
        answers_.push_back(AnswerTo(block));
      } else {
        PARLEY_CHECK(!takes_, "an answer that finds the end of a peer that has not ended");
        refused_ = true;
        expected = AudioOutcome::kEnded;
      }
    }
    PARLEY_CHECK(outcome == expected, "another outcome of an answer");
  }

  static Message AnswerTo(const Block& block) {
    Message record;
    Put(record, 8, block.position);
    Put(record, 4, block.samples.size());
    Put(record, 4, block.events.size());
    for (const AudioEvent& event : block.events) {
      const auto* bytes = reinterpret_cast<const std::byte*>(&event);  // SAFETY: a wire type
      record.insert(record.end(), bytes, bytes + sizeof(event));
    }
    for (const float sample : block.samples) {
      uint32_t bits = 0;
      std::memcpy(&bits, &sample, sizeof(bits));
      Put(record, 4, bits);
    }
    return record;
  }

  Script script_;
  const Use use_;
  std::unique_ptr<ChannelPair> pair_;
  AudioPort port_;
  std::deque<Block> queue_;  // on its way
  uint64_t next_ = 0;        // an honest writer's position
  uint64_t expected_ = 0;
  std::deque<float> held_;
  std::deque<std::pair<uint64_t, AudioEvent>> held_events_;
  uint64_t first_ = 0;        // the number of held_.front()
  uint64_t sent_frames_ = 0;  // of our own blocks
  bool running_ = false;
  std::deque<Message> answers_;  // of ours, that the peer has not taken
  bool closed_ = false;          // by the peer
  bool takes_ = true;            // or it closed that as well
  bool gone_ = false;            // it hung up, which was seen
  bool saw_end_ = false;         // of what the peer sends: a call told of it
  bool refused_ = false;         // a call was told that the peer takes no more
  bool dead_ = false;
};

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  parley::testing::Script script(data, size);
  const auto use = static_cast<parley::fuzz::Use>(script.Take8() % 3);
  parley::fuzz::Run(script, use).Steps();
  return 0;
}
