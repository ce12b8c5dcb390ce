// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_FUZZ_RING_ATTACKER_H_
#define PARLEY_FUZZ_RING_ATTACKER_H_

// What a hostile peer writes into its region, one write at a time, as a script says: right records,
// wrong positions near every boundary, headers changed right after they were looked at.
//
// Trust: this is the attacker.
// Threads: one.
//
//   RingAttacker attacker(&theirs, &mine, {4096, 512, 8});
//   attacker.Strike(script);

#include <array>
#include <cstddef>
#include <cstdint>

#include "parley/testing/scripted_memory.h"

namespace parley::fuzz {

struct AttackedRing {
  uint64_t capacity = 0;
  uint64_t max_message = 0;
  uint64_t grain = 8;
};

class RingAttacker {
 public:
  RingAttacker(testing::ScriptedRegion* own, const testing::ScriptedRegion* victim,
               AttackedRing ring)
      : own_(own), victim_(victim), ring_(ring) {}

  // As the attacked end fetches: remembers where, for strikes at the same word.
  void NoteFetch(const testing::Fetch& fetch) {
    if (fetch.of_data) last_data_offset_ = fetch.offset;
  }

  // One write of a hostile producer.
  void StrikeConsumer(testing::Script& script) {
    switch (script.Take8() % 14) {
      case 0:
        return;
      case 1:
        WriteRecord(script);
        return own_->SetControl(kTail, honest_tail_);
      case 2:
        return WriteRecord(script);
      case 3:
        return own_->SetControl(kTail, honest_tail_);
      case 4:
        return Move(kTail, script.TakeSigned8() * static_cast<int64_t>(ring_.grain));
      case 5:
        return Move(kTail, script.TakeSigned8());
      case 6:
        return own_->SetControl(kTail, script.Take64());
      case 7:
        return own_->SetControl(kTail, victim_->Control(kHead) + Boundary(script));
      case 8:
        return own_->SetControl(kProducerState, State(script));
      case 9:
        return own_->SetData(WordNear(honest_tail_, script.TakeSigned8()), Header(script));
      case 10:
        return own_->SetData(WordNear(honest_tail_, script.TakeSigned8()), script.Take64());
      case 11: {
        const uint64_t offset = script.Take16();
        return own_->SetDataByte(offset, std::byte{script.Take8()});
      }
      case 12:  // the word that was fetched last, changed behind the reader's back
        return own_->SetData(last_data_offset_, Header(script));
      case 13:  // as much data as fits, at once
        honest_tail_ = victim_->Control(kHead) + ring_.capacity / ring_.grain * ring_.grain;
        return own_->SetControl(kTail, honest_tail_);
    }
  }

  // One write of a hostile consumer.
  void StrikeProducer(testing::Script& script) {
    switch (script.Take8() % 8) {
      case 0:
        return;
      case 1:  // takes all that there is
        return own_->SetControl(kHead, victim_->Control(kTail));
      case 2:
        return Move(kHead, script.TakeSigned8() * static_cast<int64_t>(ring_.grain));
      case 3:
        return Move(kHead, script.TakeSigned8());
      case 4:
        return own_->SetControl(kHead, script.Take64());
      case 5:
        return own_->SetControl(kHead, victim_->Control(kTail) - Boundary(script));
      case 6:
        return own_->SetControl(kConsumerState, State(script));
      case 7:
        return Move(kHead, static_cast<int64_t>(script.Take16()) * 8);
    }
  }

  // A value for the fresh mode: near what the victim knows, or anything.
  uint64_t FreshWord(testing::Script& script, const testing::Fetch& fetch) {
    const bool is_state =
        !fetch.of_data && (fetch.offset == kProducerState || fetch.offset == kConsumerState);
    const uint64_t base = fetch.offset == kTail ? victim_->Control(kHead) : victim_->Control(kTail);
    switch (script.Take8() % 4) {
      case 0:
        return is_state ? 0 : fetch.of_data ? Header(script) : base;
      case 1:
        return is_state        ? State(script)
               : fetch.of_data ? 0
                               : base + ring_.grain * static_cast<uint64_t>(script.TakeSigned8());
      case 2:
        return is_state ? 0 : base + Boundary(script);
      default:
        return script.Take64();
    }
  }

 private:
  static constexpr std::size_t kTail = 0;
  static constexpr std::size_t kProducerState = 8;
  static constexpr std::size_t kHead = 128;
  static constexpr std::size_t kConsumerState = 136;

  // A right record at the honest tail. Whether there is room is not the attacker's worry.
  void WriteRecord(testing::Script& script) {
    const uint64_t kind = script.Take8();
    const uint64_t size = kind < 240 ? kind % (ring_.max_message + 1) : ring_.max_message;
    own_->SetData(honest_tail_, size | uint64_t{script.Take8()} << 32);
    for (uint64_t i = 0; i < (size + 7) / 8 * 8; ++i) {
      own_->SetDataByte(honest_tail_ + 8 + i,
                        i < size ? static_cast<std::byte>(honest_tail_ + i * 7 + 1) : std::byte{0});
    }
    honest_tail_ += 8 + (size + 7) / 8 * 8;
  }
  void Move(std::size_t word, int64_t by) {
    own_->SetControl(word, own_->Control(word) + static_cast<uint64_t>(by));
  }
  uint64_t WordNear(uint64_t position, int64_t words) const {
    return (position + static_cast<uint64_t>(words) * 8) & (ring_.capacity - 1) & ~uint64_t{7};
  }
  uint64_t Boundary(testing::Script& script) const {
    const std::array<uint64_t, 12> values = {
        0,
        ring_.grain,
        uint64_t{0} - ring_.grain,
        ring_.capacity,
        ring_.capacity - ring_.grain,
        ring_.capacity + ring_.grain,
        2 * ring_.capacity,
        uint64_t{0} - ring_.capacity,
        uint64_t{1} << 32,
        uint64_t{1} << 63,
        (uint64_t{1} << 63) - ring_.grain,
        1,
    };
    return values[script.Take8() % values.size()];
  }
  static uint64_t State(testing::Script& script) {
    const uint8_t kind = script.Take8();
    return kind % 8 < 3 ? kind % 8 : kind % 8 == 3 ? script.Take64() : kind & 1;
  }
  uint64_t Header(testing::Script& script) const {
    const std::array<uint64_t, 10> sizes = {
        0,
        1,
        ring_.max_message,
        ring_.max_message + 1,
        ring_.max_message + 8,
        ring_.capacity,
        ring_.capacity - 8,
        0xffff'ffff,
        0x8000'0000,
        0xffff'fff8,
    };
    const uint8_t kind = script.Take8();
    const uint64_t size = kind < 128 ? kind : sizes[kind % sizes.size()];
    const uint8_t tag = script.Take8();
    return size | (tag == 255 ? uint64_t{1} << 63 : uint64_t{tag} << 32);
  }

  testing::ScriptedRegion* own_;
  const testing::ScriptedRegion* victim_;
  AttackedRing ring_;
  uint64_t honest_tail_ = 0;
  std::size_t last_data_offset_ = 0;
};

}  // namespace parley::fuzz

#endif  // PARLEY_FUZZ_RING_ATTACKER_H_
