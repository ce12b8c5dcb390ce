// SPDX-License-Identifier: Apache-2.0

// Rows L1 to L6: what an attacker can read that was not meant for it.

#include <unistd.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <string>
#include <utility>

#include "parley/ring/layout.h"
#include "parley/villain/case.h"
#include "parley/villain/raw_peer.h"

namespace parley::villain {
namespace {

constexpr uint32_t kServed = static_cast<uint32_t>(End::kServed);

// Every word of the victim's control page that has no meaning.
void ReadControlPage(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  ::usleep(100'000);
  for (std::size_t at = 0; at < kControlBytes; at += 8) {
    if (at % 128 < 16 && at < 384) continue;
    if (peer.theirs.Load(at) != 0) a.Leaked("a word without meaning is not zero");
  }
  a.Mounted("nothing but the six words is ever written on the control page");
  Attacker::Stay();
}

void ReadFreshRegion(Attacker& a) {
  RawPeer::Plan plan;
  plan.before_seal = [&](RawPeer& fresh) {
    for (const Words& words : {fresh.theirs, fresh.own}) {
      for (std::size_t at = 0; at < words.size_bytes(); at += 8) {
        if (words.Load(at) != 0) a.Leaked("a fresh region has content");
      }
    }
    a.Mounted("both regions came all zero");
  };
  const RawPeer peer = RawPeer::Connect(a, plan);
  Attacker::Stay();
}

// Behind the last byte of each record (the victim's are 61 zeros), and behind the last record.
void ReadBehindRecords(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  const Words data = peer.TheirData();
  while (peer.theirs.Load(kTailOffset) < 720 && !a.until.Expired()) ::usleep(100);
  const uint64_t tail = peer.theirs.Load(kTailOffset);
  if (tail < 720) a.CannotMount("the victim sent too little");
  for (uint64_t at = 0; at + 72 <= tail; at += 72) {
    if (data.Load(at) != RecordWord(61, 7)) a.Leaked("a header of another kind");
    for (uint64_t word = at + 8; word < at + 72; word += 8) {
      if (data.Load(word) != 0) a.Leaked("bytes behind a record's end");
    }
  }
  a.Mounted(std::to_string(tail / 72) + " records, and nothing between them");
  Attacker::Stay();
}

// Any word that points into the victim.
void LookForAddresses(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  ::usleep(50'000);
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  std::ifstream maps("/proc/" + std::to_string(a.victim_pid) + "/maps");
  for (std::string line; std::getline(maps, line);) {
    unsigned long long from = 0;
    unsigned long long to = 0;
    // A sanitizer's shadow spans terabytes, small numbers among them; nothing real is that large.
    // NOLINTNEXTLINE(cert-err34-c): the kernel writes this line
    if (std::sscanf(line.c_str(), "%llx-%llx", &from, &to) == 2 && to - from < 1ull << 30) {
      ranges.emplace_back(from, to);
    }
  }
  if (ranges.empty()) a.CannotMount("the victim's maps cannot be read");
  const auto points = [&](uint64_t word) {
    for (const auto& [from, to] : ranges) {
      if (word >= from && word < to) return true;
    }
    return false;
  };
  for (std::size_t at = 0; at < peer.theirs.size_bytes(); at += 8) {
    if (points(peer.theirs.Load(at))) a.Leaked("a shared word is an address of the victim's");
  }
  for (const uint64_t word : peer.welcome.channel_id) {
    if (points(word)) a.Leaked("the channel's id is an address of the victim's");
  }
  a.Mounted("no shared word and no id points into the victim");
  Attacker::Stay();
}

void ReadNames(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  std::string names;
  for (int i = 0; i < 2; ++i) {
    std::array<char, 256> target = {};
    const std::string path =
        "/proc/self/fd/" + std::to_string(peer.descriptors[static_cast<std::size_t>(i)].get());
    static_cast<void>(!::readlink(path.c_str(), target.data(), target.size() - 1));
    const std::string name = target.data();
    for (const char c : name) {
      if (c >= '0' && c <= '9') a.Leaked("a memfd's name tells something: " + name);
    }
    names += name + " ";
  }
  a.Mounted("the names are " + names);
  Attacker::Stay();
}

// Times its own loads of the victim's region for a trace of what the victim looked at. Without a
// gadget that depends on a secret there is nothing to see: the case shows that the access is there
// and gives constants only.
void TimeTheCache(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  uint64_t changes = 0;
  for (int round = 0; round < 2000; ++round) {
    for (std::size_t at = kControlBytes + 4096; at < peer.theirs.size_bytes(); at += 64) {
      changes += peer.theirs.Load(at) & 1;
    }
    peer.own.Store(kTailOffset, 8 * (1 + static_cast<uint64_t>(round) % 2));
  }
  static_cast<void>(changes);
  peer.own.Store(kTailOffset, ~uint64_t{0} & ~uint64_t{7});
  peer.RingBoth();
  a.Mounted("tails out of bounds while it times the victim's lines");
  Attacker::Stay();
}

}  // namespace

std::vector<Case> LeakCases() {
  const VictimSetup accept;
  return {
      {"read-control-page", "L1", "padding of the shared structs", accept, ReadControlPage,
       kServed},
      {"read-fresh-region", "L2", "what another channel left in a region", accept, ReadFreshRegion,
       kServed},
      {"read-behind-records", "L3", "bytes behind a record's last one", accept, ReadBehindRecords,
       kServed},
      {"look-for-addresses", "L4", "addresses in shared words and ids", accept, LookForAddresses,
       kServed},
      {"read-names", "L5", "what a memfd's name tells", accept, ReadNames, kServed},
      {"time-the-cache", "L6", "tails out of bounds, for what speculation leaves in the cache",
       accept, TimeTheCache, static_cast<uint32_t>(End::kPoisoned)},
  };
}

}  // namespace parley::villain
