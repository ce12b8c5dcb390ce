// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_FUZZ_RING_MODEL_H_
#define PARLEY_FUZZ_RING_MODEL_H_

// What both ends of a ring have to do, said a second time: slowly, in plain 128-bit integers that
// never wrap, from docs/SPEC.md alone. Shares no line with ring/; the offsets below are its own.
//
// A model is not told what the memory holds. It takes the fetches that the code under test made,
// one by one, and dies if one is missing, surplus, twice, or elsewhere; from the values it says
// what must come out.
//
// Trust: this is the judge.
// Threads: one.
//
//   fuzz::Fetches seen(&region);
//   outcome = consumer.TryReceive(...);
//   expected = model.Receive(seen);   // then seen.ExpectNoMore()

#include <cstddef>
#include <cstdint>
#include <vector>

#include "parley/boundary/violation.h"
#include "parley/os/check.h"
#include "parley/ring/ring_types.h"
#include "parley/testing/scripted_memory.h"

namespace parley::fuzz {

// A typedef, because __extension__ goes with nothing else.
__extension__ typedef unsigned __int128 Wide;  // NOLINT(modernize-use-using)

// What a call fetched, in order.
class Fetches {
 public:
  explicit Fetches(testing::ScriptedRegion* region) : region_(region) { region_->fetches.clear(); }

  Wide Control(std::size_t offset) { return Word(false, offset); }
  Wide Data(std::size_t offset) { return Word(true, offset); }
  const std::vector<std::byte>& Copy(std::size_t offset, std::size_t length) {
    const testing::Fetch& f = Next();
    PARLEY_CHECK(f.of_data && !f.is_word && f.offset == offset && f.length == length,
                 "model: not the copy that the rules ask for");
    return f.bytes;
  }
  void ExpectNoMore() const {
    PARLEY_CHECK(next_ == region_->fetches.size(), "model: a fetch that the rules do not know");
  }

 private:
  Wide Word(bool of_data, std::size_t offset) {
    const testing::Fetch& f = Next();
    PARLEY_CHECK(f.of_data == of_data && f.is_word && f.offset == offset,
                 "model: not the word that the rules ask for");
    return f.word;
  }
  const testing::Fetch& Next() {
    PARLEY_CHECK(next_ < region_->fetches.size(),
                 "model: a look that the rules ask for is missing");
    return region_->fetches[next_++];
  }
  testing::ScriptedRegion* region_;
  std::size_t next_ = 0;
};

// The receiving end's bookkeeping.
struct ReceiveModel {
  Wide capacity = 0;
  Wide grain = 8;
  Wide taken = 0;     // stepped over
  Wide told = 0;      // given back
  Wide promised = 0;  // the producer's last good tail
  Violation violation = Violation::kNone;
  bool saw_end = false;
  bool closed = false;

  Outcome Break(Violation v) {
    if (violation == Violation::kNone) violation = v;
    promised = taken;
    return Outcome::kPoisoned;
  }

  // All that was stepped over is given back, if nothing more was promised or if it is an eighth of
  // the ring.
  void GiveBack() {
    if (promised <= taken || (taken - told) * 8 >= capacity) told = taken;
  }

  Outcome Look(Fetches& seen) {
    if (promised > taken) return Outcome::kOk;
    if (violation != Violation::kNone) return Outcome::kPoisoned;
    if (saw_end || closed) return Outcome::kClosed;
    const Wide state = seen.Control(8);
    if (state > 1) return Break(Violation::kProducerStateInvalid);
    const Wide tail = seen.Control(0);
    if (tail < told || tail > told + capacity) {
      return Break(Violation::kProducerPositionOutOfRange);
    }
    if (tail < promised) return Break(Violation::kProducerPositionBackwards);
    if (tail % grain != 0) return Break(Violation::kProducerPositionMisaligned);
    promised = tail;
    if (promised > taken) return Outcome::kOk;
    if (state == 0) return Outcome::kWouldBlock;
    saw_end = true;
    return Outcome::kClosed;
  }
};

struct RecordModel {
  Wide tag = 0;
  Wide size = 0;
  std::size_t payload_at = 0;
};

// The next record; stepped over if kOk.
inline Outcome NextRecord(ReceiveModel& m, Wide max_message, Fetches& seen, RecordModel* record) {
  const Outcome look = m.Look(seen);
  if (look != Outcome::kOk) return look;
  const auto at = static_cast<std::size_t>(m.taken % m.capacity);
  const Wide header = seen.Data(at);
  const Wide size = header % (Wide{1} << 32);
  const Wide tag = header / (Wide{1} << 32);
  if (tag >= Wide{1} << 31) return m.Break(Violation::kRecordTagReserved);
  if (size > max_message) return m.Break(Violation::kRecordTooLong);
  Wide whole = 8 + size;
  while (whole % 8 != 0) ++whole;
  if (m.taken + whole > m.promised) return m.Break(Violation::kRecordBeyondTail);
  if (size % 8 != 0) {
    Wide last = seen.Data(at + static_cast<std::size_t>(whole) - 8);
    for (Wide i = 0; i < size % 8; ++i) last /= 256;
    if (last != 0) return m.Break(Violation::kRecordPaddingNotZero);
  }
  m.taken += whole;
  *record = {tag, size, at + 8};
  return Outcome::kOk;
}

// The sending end's bookkeeping.
struct SendModel {
  Wide capacity = 0;
  Wide grain = 8;
  Wide written = 0;
  Wide told = 0;   // published
  Wide freed = 0;  // the consumer's last good head
  Violation violation = Violation::kNone;
  bool peer_ended = false;
  bool closed = false;

  Wide Room() const {
    if (violation != Violation::kNone || peer_ended) return 0;
    return capacity - (written - freed);
  }
  void Break(Violation v) {
    if (violation == Violation::kNone) violation = v;
  }
  void Refresh(Fetches& seen) {
    const Wide state = seen.Control(136);
    if (state > 1) return Break(Violation::kConsumerStateInvalid);
    const Wide head = seen.Control(128);
    if (head < freed || head > told) {
      // Which side of the valid stretch is nearer, on the circle of 2^64 positions?
      const Wide circle = Wide{1} << 64;
      const Wide beyond = head > told ? head - told : head + circle - told;
      const Wide behind = head < freed ? freed - head : freed + circle - head;
      return Break(beyond <= behind ? Violation::kConsumerPositionOutOfRange
                                    : Violation::kConsumerPositionBackwards);
    }
    if (head % grain != 0) return Break(Violation::kConsumerPositionMisaligned);
    freed = head;
    if (state == 1) peer_ended = true;
  }
  Outcome AskFor(Wide needed, Fetches& seen) {
    if (Room() >= needed && violation == Violation::kNone && !peer_ended) return Outcome::kOk;
    if (violation == Violation::kNone && !peer_ended) Refresh(seen);
    if (violation != Violation::kNone) return Outcome::kPoisoned;
    if (peer_ended) return Outcome::kClosed;
    return Room() >= needed ? Outcome::kOk : Outcome::kWouldBlock;
  }
  bool Drained(Fetches& seen) {
    if (violation == Violation::kNone && freed != told) Refresh(seen);
    return freed == told;
  }
};

// Our own control page: all words but the expected ones are zero.
inline void ExpectControl(const testing::ScriptedRegion& mine, Wide tail, bool producer_closed,
                          Wide head, bool consumer_closed) {
  for (std::size_t offset = 0; offset < testing::ScriptedRegion::kControlBytes; offset += 8) {
    const Wide expected = offset == 0     ? tail
                          : offset == 8   ? Wide{producer_closed}
                          : offset == 128 ? head
                          : offset == 136 ? Wide{consumer_closed}
                                          : Wide{0};
    PARLEY_CHECK(mine.Control(offset) == expected,
                 "model: a published word is not as it should be");
  }
}

}  // namespace parley::fuzz

#endif  // PARLEY_FUZZ_RING_MODEL_H_
