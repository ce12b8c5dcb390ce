// SPDX-License-Identifier: Apache-2.0

// Rows R1 to R13: positions, states, records and races.

#include <signal.h>
#include <unistd.h>

#include <random>
#include <string>
#include <utility>

#include "parley/ring/layout.h"
#include "parley/villain/case.h"
#include "parley/villain/raw_peer.h"
#include "parley/wait/layout.h"

namespace parley::villain {
namespace {

constexpr uint32_t kCaught = static_cast<uint32_t>(End::kPoisoned);
constexpr uint32_t kServed = static_cast<uint32_t>(End::kServed);

// Writes one word of its own control page, then wakes the victim.
AttackFunction StoreWord(std::size_t offset_bytes, uint64_t value) {
  return [=](Attacker& a) {
    const RawPeer peer = RawPeer::Connect(a);
    peer.own.Store(offset_bytes, value);
    peer.RingBoth();
    a.Mounted("wrote " + std::to_string(value) + " at +" + std::to_string(offset_bytes));
    Attacker::Stay();
  };
}

// Publishes one record whose header is `header`, up to `tail`.
AttackFunction OneRecord(uint64_t header, uint64_t tail) {
  return [=](Attacker& a) {
    const RawPeer peer = RawPeer::Connect(a);
    peer.Publish(header, tail);
    a.Mounted("published a record with the header " + std::to_string(header));
    Attacker::Stay();
  };
}

// All headers of the ring, over and over, from one of two values to the other; the tail runs on.
AttackFunction FlipHeaders(uint64_t one, uint64_t other, uint64_t step_bytes) {
  return [=](Attacker& a) {
    const RawPeer peer = RawPeer::Connect(a);
    const Words data = peer.Data();
    for (std::size_t at = 0; at < kRingBytes; at += step_bytes) data.Store(at, one);
    a.Mounted("flips the header of each record between two values while they are read");
    uint64_t tail = 0;
    for (uint64_t round = 0;; ++round) {
      for (std::size_t at = 0; at < kRingBytes; at += step_bytes) {
        data.Store(at, round % 2 == 0 ? other : one);
      }
      const uint64_t taken = peer.theirs.Load(kHeadOffset);
      if (taken + kRingBytes > tail) {
        tail = taken + kRingBytes;
        peer.own.Store(kTailOffset, tail);
        peer.RingBoth();
      }
    }
  };
}

// Publishes a first tail, waits until it was looked at, then a second one.
AttackFunction TwoTails(uint64_t first, uint64_t second) {
  return [=](Attacker& a) {
    const RawPeer peer = RawPeer::Connect(a);
    peer.Publish(RecordWord(2040, TagForSize(2040)), first);
    while (peer.theirs.Load(kHeadOffset) < first && !a.until.Expired()) {
      peer.Drain();
      ::usleep(100);
    }
    if (peer.theirs.Load(kHeadOffset) < first) a.CannotMount("the victim took nothing");
    peer.own.Store(kTailOffset, second);
    peer.RingBoth();
    a.Mounted("moved the tail from " + std::to_string(first) + " to " + std::to_string(second));
    Attacker::Stay();
  };
}

void FlipTail(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  a.Mounted("flips its tail between a record and 2^63 at full speed");
  for (uint64_t round = 0;; ++round) {
    peer.own.Store(kTailOffset, 8);
    peer.own.Store(kTailOffset, uint64_t{1} << 63);
    if (round % 1024 == 0) peer.RingBoth();
  }
}

void RewriteConsumed(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  const Words data = peer.Data();
  a.Mounted("rewrites everything that the victim has taken, before it says so");
  uint64_t tail = 0;
  while (true) {
    const uint64_t taken = peer.theirs.Load(kHeadOffset);
    // Honest records ahead of the victim, rubbish behind it.
    while (tail - taken <= kRingBytes - 64) {
      data.Store(tail % kRingBytes, RecordWord(0, TagForSize(0)));
      tail += 8;
    }
    for (uint64_t at = taken - std::min<uint64_t>(taken, 56); at < taken; at += 8) {
      if (tail - at > kRingBytes) continue;
      data.Store(at % kRingBytes, ~uint64_t{0});
    }
    peer.own.Store(kTailOffset, tail);
    peer.Drain();
    peer.RingData();
  }
}

void RewritePayload(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  const Words data = peer.Data();
  constexpr uint32_t kSize = 1016;
  for (std::size_t at = 0; at < kRingBytes; at += 1024) {
    data.Store(at, RecordWord(kSize, TagForSize(kSize)));
  }
  a.Mounted("rewrites the payload of each record while it is read");
  for (uint64_t round = 1;; ++round) {
    peer.own.Store(kTailOffset, peer.theirs.Load(kHeadOffset) + kRingBytes);
    peer.Drain();
    if (round % 64 == 0) peer.RingData();
    for (std::size_t at = 0; at < kRingBytes; at += 8) {
      if (at % 1024 != 0) data.Store(at, round * 0x9e37'79b9'7f4a'7c15);
    }
  }
}

void Scribble(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  std::mt19937_64 random(static_cast<uint64_t>(a.victim_pid));
  a.Mounted("writes random words all over its region");
  while (true) {
    peer.own.Store(8 * (random() % (peer.own.size_bytes() / 8)), random() >> random() % 64);
    if (random() % 64 == 0) peer.RingBoth();
  }
}

void TrainThenStrike(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  const Words data = peer.Data();
  uint64_t tail = 0;
  for (int i = 0; i < 150; ++i) {
    data.Store(tail % kRingBytes, RecordWord(8, TagForSize(8)));
    tail += 16;
    peer.own.Store(kTailOffset, tail);
    peer.Drain();
    peer.RingBoth();
    while (tail - peer.theirs.Load(kHeadOffset) > 64) {
      if (a.until.Expired()) a.CannotMount("the victim took too little");
      peer.Drain();
      ::usleep(50);
    }
  }
  data.Store(tail % kRingBytes, RecordWord(0x7fff'fff8, 1));
  peer.own.Store(kTailOffset, tail + 16);
  peer.RingBoth();
  a.Mounted("150 records in bounds, then one far outside");
  Attacker::Stay();
}

void StopHalfWay(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  // A header without its tail, and everything else as it may be when one is stopped.
  peer.Data().Store(0, RecordWord(8, TagForSize(8)));
  peer.own.Store(kReceiveEpochOffset, 1);
  a.Mounted("stopped by SIGSTOP in the middle of a record");
  ::raise(SIGSTOP);
  Attacker::Stay();
}

void AllOnes(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  for (std::size_t at = 0; at < peer.own.size_bytes(); at += 8) peer.own.Store(at, ~uint64_t{0});
  peer.RingBoth();
  a.Mounted("set every bit of its region");
  Attacker::Stay();
}

// Gives back what it took once, then goes back behind it.
void GiveBackTwice(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  while (peer.theirs.Load(kTailOffset) < 256 && !a.until.Expired()) ::usleep(100);
  const uint64_t tail = peer.theirs.Load(kTailOffset);
  if (tail < 256) a.CannotMount("the victim sent nothing");
  a.Mounted("takes its head back, and forward again");
  while (true) {
    peer.own.Store(kHeadOffset, tail);
    peer.RingBoth();
    ::usleep(60'000);
    peer.own.Store(kHeadOffset, tail - 72);
    peer.RingBoth();
    ::usleep(60'000);
  }
}

}  // namespace

std::vector<Case> RingCases() {
  const auto flawed = [](Flaw flaw) {
    VictimSetup setup;
    setup.flaw = flaw;
    return setup;
  };
  return {
      {"tail-beyond-ring",
       "R1",
       "a tail one record beyond the ring's length",
       {},
       StoreWord(kTailOffset, kRingBytes + 8),
       kCaught},
      {"tail-all-ones",
       "R1",
       "a tail of 2^64 - 8",
       {},
       StoreWord(kTailOffset, ~uint64_t{7}),
       kCaught},
      {"tail-misaligned",
       "R1",
       "a tail between two words",
       {},
       StoreWord(kTailOffset, 13),
       kCaught},
      {"head-beyond-tail",
       "R1",
       "a head ahead of all that was sent",
       {},
       StoreWord(kHeadOffset, uint64_t{1} << 40),
       kCaught},
      {"head-misaligned", "R1", "a head between two words", {}, StoreWord(kHeadOffset, 3), kCaught},
      {"producer-state",
       "R1",
       "a producer neither open nor closed",
       {},
       StoreWord(kProducerStateOffset, 7),
       kCaught},
      {"consumer-state",
       "R1",
       "a consumer neither open nor closed",
       {},
       StoreWord(kConsumerStateOffset, 7),
       kCaught},
      {"tail-flips", "R2", "a tail that is valid in one look and not in the next",
       flawed(Flaw::kBelievesTwice), FlipTail, End::kPoisoned | End::kServed},
      {"header-flips",
       "R3",
       "a header that is one of two valid ones, another at each look",
       {},
       FlipHeaders(RecordWord(24, TagForSize(24)), RecordWord(17, TagForSize(17)), 32),
       kServed},
      {"tail-rewinds", "R4", "a tail that goes back", {}, TwoTails(2048, 1024), kCaught},
      {"tail-jumps",
       "R4",
       "a tail that jumps by a multiple of the capacity",
       {},
       TwoTails(2048, 2048 + 16 * kRingBytes),
       kCaught},
      {"consumed-rewritten", "R5", "records rewritten between our look and our release",
       flawed(Flaw::kUsesReleased), RewriteConsumed, End::kServed | End::kPoisoned},
      {"length-grows",
       "R6",
       "a length that grows to 2 GiB after it was checked",
       {},
       FlipHeaders(RecordWord(24, TagForSize(24)), RecordWord(0x7fff'fff0, 1), 32),
       End::kPoisoned | End::kServed},
      {"record-beyond-tail",
       "R6",
       "a record longer than what is published",
       {},
       OneRecord(RecordWord(512, TagForSize(512)), 64),
       kCaught},
      {"record-too-long",
       "R6",
       "a record longer than agreed",
       {},
       OneRecord(RecordWord(4096, TagForSize(4096)), 4104),
       kCaught},
      {"tag-reserved",
       "R6",
       "a record with the reserved tag bit",
       {},
       OneRecord(RecordWord(0, 0x8000'0001), 8),
       kCaught},
      {"padding-not-zero",
       "R6",
       "bytes behind a record's end that are not zero",
       {},
       [](Attacker& a) {
         const RawPeer peer = RawPeer::Connect(a);
         peer.Data().Store(8, ~uint64_t{0});
         peer.Publish(RecordWord(5, TagForSize(5)), 16);
         a.Mounted("five bytes and three that leak or smuggle");
         Attacker::Stay();
       },
       kCaught},
      {"payload-rewritten",
       "R7",
       "a payload that changes while it is parsed",
       {},
       RewritePayload,
       kServed},
      {"scribble",
       "R8",
       "random words all over the region, at full speed",
       {},
       Scribble,
       End::kPoisoned | End::kServed},
      {"train-then-strike",
       "R9",
       "a branch predictor trained on 150 records, then one outside",
       {},
       TrainThenStrike,
       kCaught},
      {"stopped-half-way", "R10", "a peer stopped in the middle of a record",
       flawed(Flaw::kSpinsOnPeer), StopHalfWay, kServed},
      {"all-ones", "R11", "every bit of the region set", {}, AllOnes, kCaught},
      {"given-back-twice",
       "R12",
       "room that is taken back after it was given",
       {},
       GiveBackTwice,
       kCaught},
  };
}

std::vector<Case> WrapCases() {
  const auto edge = [](const char* name, const char* row, uint64_t tail) {
    return Case{
        name,   row, "a tail at an edge of the arithmetic", {}, StoreWord(kTailOffset, tail),
        kCaught};
  };
  return {
      edge("wrap-32", "R13", uint64_t{1} << 32),
      edge("wrap-63", "R13", (uint64_t{1} << 63) + 16),
      edge("wrap-64", "R13", ~uint64_t{0} - kRingBytes + 1),
  };
}

}  // namespace parley::villain
