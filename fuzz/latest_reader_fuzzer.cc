// SPDX-License-Identifier: Apache-2.0

// Attacks the reader of a latest value: an honest writer's versions, and hostile words between any
// two of the reader's fetches.
//
// Input: value size (1 byte), slots (1 byte), what the reader takes (2 bytes), then steps: publish,
// read, poll, or write a word.
// Bit 7 of a read: words are also written between its fetches.
//
// What must hold, by rules of its own: only whole copies from one slot are accepted, each bracketed
// by the same complete sequence; versions grow; a read makes a bounded number of fetches; a word
// that no honest writer stores is a violation for good.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "parley/boundary/violation.h"
#include "parley/os/check.h"
#include "parley/patterns/latest/core.h"
#include "parley/patterns/latest/layout.h"
#include "parley/testing/scripted_memory.h"

namespace parley::fuzz {
namespace {

using testing::Fetch;
using testing::Script;
using testing::ScriptedOwnMemory;
using testing::ScriptedPeerMemory;
using testing::ScriptedRegion;
using Reader = internal::BasicLatestReader<ScriptedPeerMemory>;

constexpr int kMaxSteps = 300;

class Run {
 public:
  explicit Run(Script script)
      : script_(script),
        geometry_(*LatestGeometry::Make(
            {.max_value_bytes = 1 + script_.Take8() * 2u, .slots = 2u << (script_.Take8() % 3)})),
        region_(geometry_.section_bytes()),
        writer_(region_.own_data(), geometry_),
        min_value_bytes_(script_.Take8() % 2 == 0 ? 0 : 8),
        reader_(region_.peer_data(), geometry_, min_value_bytes_, MaxOf(geometry_, script_)),
        buffer_(reader_.max_value_bytes()) {}

  void Steps() {
    for (int i = 0; i < kMaxSteps && !script_.empty(); ++i) {
      const uint8_t op = script_.Take8();
      switch (op & 3) {
        case 0:
          writer_.Write(script_.TakeBytes(script_.Take8() % (geometry_.max_value_bytes() + 1)));
          break;
        case 1:
          Read((op & 0x80) != 0);
          break;
        case 2:
          region_.fetches.clear();
          static_cast<void>(reader_.HasNewer());
          PARLEY_CHECK(region_.fetches.size() <= 1, "a poll is one fetch");
          break;
        case 3:
          Strike();
          break;
      }
    }
  }

 private:
  // All that fits, or less.
  static uint64_t MaxOf(const LatestGeometry& geometry, Script& script) {
    const uint8_t less = script.Take8();
    return less % 4 != 3 ? geometry.max_value_bytes() : 8 + less / 4;
  }

  // A word of the head, of a slot's line, or of a value.
  void Strike() {
    const uint8_t where = script_.Take8();
    const uint32_t slot = where % geometry_.slots();
    uint64_t value = script_.Take8();
    if ((where & 0x40) != 0) value = script_.Take64();
    const uint64_t offsets[] = {LatestGeometry::kVersionOffset, geometry_.SequenceOffset(slot),
                                geometry_.SizeOffset(slot), geometry_.ValueOffset(slot)};
    region_.SetData(offsets[where >> 4 & 3], value);
  }

  void Read(bool struck) {
    region_.fetches.clear();
    if (struck) {
      region_.before_fetch = [this](const Fetch&) {
        if (script_.Take8() % 4 == 0) Strike();
      };
    }
    const bool was_poisoned = reader_.violation() != Violation::kNone;
    LatestValue value;
    const LatestOutcome outcome = reader_.TryRead(absl::MakeSpan(buffer_), &value);
    region_.before_fetch = nullptr;
    const std::vector<Fetch>& seen = region_.fetches;
    PARLEY_CHECK(seen.size() <= 6 * Reader::kMaxAttempts, "a read is a bounded number of fetches");
    PARLEY_CHECK(!was_poisoned || (outcome == LatestOutcome::kPoisoned && seen.empty()),
                 "after a violation nothing is read");
    PARLEY_CHECK((outcome == LatestOutcome::kPoisoned) == (reader_.violation() != Violation::kNone),
                 "poisoned, and why");
    if (outcome != LatestOutcome::kOk) return;
    // The last five fetches: version, sequence, size, the value, and the sequence again.
    PARLEY_CHECK(seen.size() >= 5, "a value out of nothing");
    const Fetch* last = &seen[seen.size() - 5];
    const uint64_t version = last[0].word;
    PARLEY_CHECK(version == value.version && version > read_, "versions grow");
    read_ = version;
    const auto slot = static_cast<uint32_t>(version % geometry_.slots());
    PARLEY_CHECK(last[1].offset == geometry_.SequenceOffset(slot) && last[1].word == 2 * version &&
                     last[4].offset == last[1].offset && last[4].word == 2 * version,
                 "the same complete sequence before and after the copy");
    PARLEY_CHECK(last[2].word == value.size_bytes && value.size_bytes >= min_value_bytes_ &&
                     value.size_bytes <= buffer_.size(),
                 "a size that was not agreed on");
    PARLEY_CHECK(!last[3].is_word && last[3].offset == geometry_.ValueOffset(slot) &&
                     last[3].length == value.size_bytes &&
                     std::equal(last[3].bytes.begin(), last[3].bytes.end(), buffer_.begin()),
                 "one copy of the whole value");
  }

  Script script_;
  const LatestGeometry geometry_;
  ScriptedRegion region_;
  internal::BasicLatestWriter<ScriptedOwnMemory> writer_;
  const uint64_t min_value_bytes_;
  Reader reader_;
  std::vector<std::byte> buffer_;
  uint64_t read_ = 0;
};

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  parley::fuzz::Run(parley::testing::Script(data, size)).Steps();
  return 0;
}
