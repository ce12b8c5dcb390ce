// SPDX-License-Identifier: Apache-2.0

// Rows M16, M17 and R14: a hostile writer of a broadcast, one of its readers, and a hostile writer
// of the latest values in it.

#include <fcntl.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "parley/frames/frame_wire.h"
#include "parley/patterns/latest/layout.h"
#include "parley/ring/layout.h"
#include "parley/sealing/seals.h"
#include "parley/villain/case.h"
#include "parley/villain/raw_peer.h"

namespace parley::villain {
namespace {

constexpr uint32_t kRefused = static_cast<uint32_t>(End::kRefused);
constexpr uint32_t kServed = static_cast<uint32_t>(End::kServed);
constexpr uint32_t kPoisoned = static_cast<uint32_t>(End::kPoisoned);

constexpr uint64_t kValueBytes = 16384;

LatestGeometry Geometry() { return *LatestGeometry::Make({.max_value_bytes = kValueBytes}); }

// Page and section, in whole pages.
uint64_t FileBytes(uint64_t section_bytes) {
  return kControlBytes + (section_bytes + 4095) / 4096 * 4096;
}

// A host with a broadcast: the section that it announces, and the file that it hands over.
struct Host {
  RawHost host;
  Words section;

  static Host Prepare(Attacker& a, const Section& announced, uint64_t file_bytes, unsigned seals) {
    Host made{RawHost::Prepare(a), Words()};
    if (made.host.hello.broadcast_kinds.empty()) a.CannotMount("the victim reads no broadcast");
    made.host.welcome.broadcast = {announced};
    UniqueFd fd = MakeMemfd(file_bytes, seals & (F_SEAL_SHRINK | F_SEAL_GROW));
    const Words all = MapShared(a, fd.get(), file_bytes, true);
    made.section = Words(static_cast<uint64_t*>(all.address()) + kControlBytes / 8,
                         file_bytes - kControlBytes);
    ::fcntl(fd.get(), F_ADD_SEALS, seals & ~unsigned{F_SEAL_SEAL});
    ::fcntl(fd.get(), F_ADD_SEALS, seals & F_SEAL_SEAL);
    made.host.descriptors.push_back(std::move(fd));
    return made;
  }
  static Host Prepare(Attacker& a) {
    return Prepare(a, Geometry().section(), FileBytes(Geometry().section_bytes()), kRegionSeals);
  }

  // An honest version of `size_bytes`.
  void Publish(uint64_t version, uint64_t size_bytes) const {
    const LatestGeometry geometry = Geometry();
    const uint32_t slot = geometry.SlotOf(version);
    section.Store(geometry.SizeOffset(slot), size_bytes);
    section.Store(geometry.SequenceOffset(slot), 2 * version);
    section.Store(LatestGeometry::kVersionOffset, version);
  }
  void Start(Attacker& a) {
    if (!host.SendWelcome()) a.CannotMount("welcome not sent");
    if (!host.Finish()) a.CannotMount("the victim refused an honest host");
  }
};

void CutLater(Attacker& a) {
  Host made = Host::Prepare(a, Geometry().section(), FileBytes(Geometry().section_bytes()),
                            kRegionSeals & ~unsigned{F_SEAL_SHRINK});
  made.Publish(1, kValueBytes);
  if (!made.host.SendWelcome()) a.CannotMount("welcome not sent");
  a.Mounted("handed over a broadcast that can be cut");
  made.host.Finish();
  static_cast<void>(!::ftruncate(made.host.descriptors.back().get(), 0));
  Attacker::Stay();
}

void Shorter(Attacker& a) {
  Host made = Host::Prepare(a, Geometry().section(), kControlBytes + 4096, kRegionSeals);
  made.Publish(2, kValueBytes);
  if (!made.host.SendWelcome()) a.CannotMount("welcome not sent");
  a.Mounted("announced more than the file has");
  made.host.Finish();
  Attacker::Stay();
}

void Huge(Attacker& a) {
  Section announced = Geometry().section();
  announced.bytes = kLatestFrontBytes + kMaxLatestValueBytes;
  announced.count = kMaxLatestSlots;
  Host made = Host::Prepare(a, announced, FileBytes(Geometry().section_bytes()), kRegionSeals);
  // In slot 0, which a careless reader finds whatever the slots' size is.
  made.section.Store(Geometry().SizeOffset(0), kMaxLatestValueBytes);
  made.section.Store(Geometry().SequenceOffset(0), uint64_t{2} * kMaxLatestSlots);
  made.section.Store(LatestGeometry::kVersionOffset, kMaxLatestSlots);
  if (!made.host.SendWelcome()) a.CannotMount("welcome not sent");
  a.Mounted("announced 4 GiB of broadcast");
  made.host.Finish();
  Attacker::Stay();
}

void TooLong(Attacker& a) {
  Host made = Host::Prepare(a);
  made.Start(a);
  made.Publish(3, uint64_t{1} << 40);
  a.Mounted("published a value longer than its slot");
  Attacker::Stay();
}

void NeverFinished(Attacker& a) {
  Host made = Host::Prepare(a);
  made.Start(a);
  made.Publish(1, 100);
  made.section.Store(Geometry().SequenceOffset(2), 3);
  made.section.Store(LatestGeometry::kVersionOffset, 2);
  a.Mounted("began to write a value, and never ends");
  Attacker::Stay();
}

void Backwards(Attacker& a) {
  Host made = Host::Prepare(a);
  made.Start(a);
  made.Publish(8, 100);
  ::usleep(100'000);
  made.Publish(4, 100);
  a.Mounted("published an older version");
  Attacker::Stay();
}

// One of many readers, which pulls at the file that all of them read, and tries to hold its lock.
void PullAtBroadcast(Attacker& a) {
  RawPeer::Plan plan;
  plan.hello.broadcast_kinds = {kSectionFrames};
  const RawPeer peer = RawPeer::Connect(a, plan);
  if (peer.welcome.broadcast.empty()) a.CannotMount("the victim has no broadcast");
  const int fd = peer.descriptors[2].get();  // docs/SPEC.md, section 4
  const Words mapped = MapShared(a, fd, 4096, false);
  const auto pull = [&] {
    PullAt(a, fd, mapped);
    for (const int seal : {F_SEAL_WRITE, F_SEAL_FUTURE_WRITE, F_SEAL_SHRINK, F_SEAL_GROW}) {
      if (::fcntl(fd, F_ADD_SEALS, seal) == 0) a.Leaked("added a seal to a finished broadcast");
    }
    a.Mounted("no resize, hole, write, seal or writable mapping of the broadcast got through");
  };
  pull();
  // Where the lock is held, whoever pulls waits for it as well.
  const bool held = HasUserfaultfd().empty() && TryToHoldInodeLock(fd);
  while (!held) pull();
  Attacker::Stay();
}

VictimSetup Reader() {
  VictimSetup setup;
  setup.kind = VictimKind::kConnect;
  setup.reads_latest = true;
  return setup;
}

}  // namespace

std::vector<Case> BroadcastCases() {
  const VictimSetup reader = Reader();
  VictimSetup writer;
  writer.kind = VictimKind::kFrames;
  writer.fan_out = true;
  return {
      {"broadcast-can-shrink", "M16", "a broadcast that its writer cuts later", reader, CutLater,
       kRefused},
      {"broadcast-shorter", "M16", "a broadcast shorter than its list says", reader, Shorter,
       kRefused},
      {"broadcast-huge", "M16", "a broadcast of 4 GiB on a file of some pages", reader, Huge,
       kRefused},
      {"broadcast-pulled", "M17", "one of its readers writes, cuts, punches, seals, locks", writer,
       PullAtBroadcast, kServed},
  };
}

std::vector<Case> LatestCases() {
  const VictimSetup reader = Reader();
  return {
      {"latest-too-long", "R14", "a latest value longer than its slot", reader, TooLong, kPoisoned},
      {"latest-never-finished", "R14", "a latest value that is being written for ever", reader,
       NeverFinished, kServed},
      {"latest-backwards", "R14", "an older version after a newer one", reader, Backwards,
       kPoisoned},
  };
}

}  // namespace parley::villain
