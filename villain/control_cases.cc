// SPDX-License-Identifier: Apache-2.0

// No attack at all: peers that any victim must serve, a naive one included. They show that a FAIL
// elsewhere is the attack's doing.

#include <unistd.h>

#include <string>

#include "parley/ring/layout.h"
#include "parley/sealing/seals.h"
#include "parley/villain/case.h"
#include "parley/villain/raw_peer.h"

namespace parley::villain {
namespace {

constexpr uint32_t kServed = static_cast<uint32_t>(End::kServed);

// Sends honest records at a leisurely pace and takes what comes.
void Play(Attacker& a, const Words& own, const Words& theirs, const std::function<void()>& ring) {
  const Words data(static_cast<uint64_t*>(own.address()) + kControlBytes / 8,
                   own.size_bytes() - kControlBytes);
  uint64_t tail = 0;
  for (int i = 0;; ++i) {
    if (tail - theirs.Load(kHeadOffset) <= data.size_bytes() - 16) {
      data.Store(tail % data.size_bytes(), RecordWord(8, TagForSize(8)));
      data.Store((tail + 8) % data.size_bytes(), static_cast<uint64_t>(i));
      tail += 16;
      own.Store(kTailOffset, tail);
    }
    own.Store(kHeadOffset, theirs.Load(kTailOffset));
    ring();
    if (i == 20) a.Mounted("sends honest records and takes what comes");
    ::usleep(500);
  }
}

void HonestConnecting(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  Play(a, peer.own, peer.theirs, [&] { peer.RingData(); });
}

void HonestAccepting(Attacker& a) {
  RawHost host = RawHost::Prepare(a);
  host.theirs = MapShared(a, host.descriptors[1].get(), kControlBytes + kRingBytes, false);
  if (!host.SendWelcome() || !host.Finish()) a.CannotMount("the victim refused an honest welcome");
  Play(a, host.own, host.theirs,
       [&] { static_cast<void>(!::write(host.socket.fd(), &kDataSignal, 1)); });
}

void HonestBlob(Attacker& a) {
  const UniqueFd fd = MakeMemfd(65536, kBlobSeals);
  if (!SendRaw(a.socket.get(), "b", 1, {fd.get()})) a.CannotMount("not sent");
  a.Mounted("sent a complete, sealed blob");
  Attacker::Stay();
}

}  // namespace

std::vector<Case> ControlCases() {
  VictimSetup connect;
  connect.kind = VictimKind::kConnect;
  VictimSetup blob;
  blob.kind = VictimKind::kBlob;
  return {
      {"honest-connecting",
       "-",
       "no attack: an honest peer connects",
       {},
       HonestConnecting,
       kServed},
      {"honest-accepting", "-", "no attack: an honest peer accepts", connect, HonestAccepting,
       kServed},
      {"honest-blob", "-", "no attack: a complete, sealed blob", blob, HonestBlob, kServed},
  };
}

}  // namespace parley::villain
